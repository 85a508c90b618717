"""`get`: asyncgraph as a scheduler of Dask's.

It is called by Dask, blocks, and returns values. What runs, runs on the loop of a thread (see `bridge`).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from asyncgraph._runtime.options import whole_number
from asyncgraph.dask.bridge import compute
from asyncgraph.dask.callbacks import Callbacks
from asyncgraph.dask.pools import in_pool, workers_of
from asyncgraph.dask.required import require_dask
from asyncgraph.dask.translation import Translation

__all__ = ["get"]


def get(
    dsk: Any,
    keys: Any,
    cache: Mapping[Any, Any] | None = None,
    num_workers: int | None = None,
    pool: Any = None,
    *,
    callbacks: Any = None,
    **options: Any,
) -> Any:
    """Compute keys of a Dask graph, as Dask's own schedulers do: `dask.config.set(scheduler=get)`.

    It may be called from plain code, from inside a running event loop, which it then blocks as Dask's own
    schedulers do, and from inside the tasks of another call. Tasks run in threads that asyncgraph keeps for
    it; those that are coroutine functions on the loop of a thread.

    Args:
        dsk: A mapping of keys to tasks, or a Dask expression.
        keys: A key, or a list of keys and of such lists.
        cache: Values by key, for keys that need not be computed.
        num_workers: How many tasks run at once; by default what `dask.config` has for it, or else as many as
            there are cores.
        pool: A `concurrent.futures.Executor` or `multiprocessing.pool.Pool` for the tasks to run in, as many
            at once as it has workers; by default what `dask.config` has for it.
        callbacks: Tuples of functions, as Dask's callbacks are; by default those that are active. They are
            called by the threads that run the tasks, one at a time.
        options: What else Dask passes to schedulers; it says nothing here.

    Returns:
        The value of the key, or a tuple of them for a list.

    Raises:
        Exception: What the first task to fail has raised, as itself; no other task is running by then.
        MissingKeyError: A key is not in the graph.
        CycleError: Keys wait for each other in a circle.
        KeyboardInterrupt: Ctrl-C was pressed. The run has been cancelled, and is over.
        ImportError: Dask is not installed.

    Example:
        >>> import dask
        >>> from asyncgraph.dask import get
        >>> increment = dask.delayed(lambda x: x + 1)
        >>> with dask.config.set(scheduler=get):
        ...     print(dask.compute(increment(1), increment(increment(1))))
        (2, 3)
    """
    require_dask()
    from dask.callbacks import local_callbacks
    from dask.core import flatten
    from dask.local import nested_get

    wanted = list(dict.fromkeys(flatten(keys))) if isinstance(keys, list) else [keys]
    call = _Call(_graph_of(dsk, cache or {}), cache or {}, wanted, *_pool_and_workers(pool, num_workers))
    # Those of the outermost call are not told of what its tasks compute in turn.
    with local_callbacks(callbacks) as told:
        values = call.values_told(told) if told else call.values()
    return nested_get(keys, dict(zip(wanted, values, strict=True)))


class _Call(NamedTuple):
    """What is asked for.

    Attributes:
        graph: The graph, in which there may be values.
        known: Other values, by key.
        wanted: The keys, each once.
        pool: Where tasks run, if that is not in asyncgraph's threads.
        workers: How many run at once.
    """

    graph: dict[Any, Any]
    known: Mapping[Any, Any]
    wanted: list[Any]
    pool: Any
    workers: int

    def values_told(self, told: Iterable[Any]) -> list[Any]:
        """As `values`, with callbacks."""
        from dask._task_spec import convert_legacy_graph
        from dask.callbacks import normalize_callback

        callbacks = Callbacks(map(normalize_callback, told), self.graph)
        has_failed = True
        try:
            callbacks.start()
            self.graph.update(convert_legacy_graph(self.graph))  # there may be values in it by now
            values = self.values(callbacks)
            has_failed = False
        finally:
            callbacks.finish(has_failed=has_failed)
        return values

    def values(self, callbacks: Callbacks | None = None) -> list[Any]:
        """Compute what is wanted."""
        pool, told = self.pool, None if callbacks is None else callbacks.wrap
        wrap = told if pool is None else in_pool(pool, told)
        nodes = Translation(self.graph, known=self.known, wrap=wrap).nodes(self.wanted)
        if callbacks is not None:
            callbacks.start_state()
        values: list[Any] = compute(nodes, self.workers, None if pool is None else self.workers)
        return values


def _graph_of(dsk: Any, known: Mapping[Any, Any]) -> dict[Any, Any]:
    """The graph as Dask's own tasks."""
    from dask._task_spec import convert_legacy_graph

    if not isinstance(dsk, Mapping):
        dsk = dsk.__dask_graph__()
    graph: dict[Any, Any] = convert_legacy_graph(dsk, all_keys={*dsk, *known} if known else None)
    return graph


def _pool_and_workers(pool: Any, number: int | None) -> tuple[Any, int]:
    """Where tasks run, and how many at once; what is None is as `dask.config` has it."""
    from dask import config
    from dask.system import CPU_COUNT

    pool = pool if pool is not None else config.get("pool", None)
    number = number if number is not None else config.get("num_workers", None)
    if pool is not None:
        return pool, workers_of(pool) or number or CPU_COUNT
    return None, whole_number("num_workers", CPU_COUNT if number is None else number)
