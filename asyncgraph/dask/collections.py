"""`from_dask`: nodes of Dask collections."""

from __future__ import annotations

import sys
import threading
from collections.abc import Sequence
from types import FrameType
from typing import Any, Literal, overload

from asyncgraph._lazy.node import Delayed
from asyncgraph.dask.required import require_dask
from asyncgraph.dask.translation import Translation

__all__ = ["from_dask", "is_collection", "nodes_of"]

_EXECUTORS = ("thread", "process")

# Held while Dask optimizes. Its expressions have cached properties, each of which has one lock for all
# expressions in Python 3.11: two threads that optimize at once can wait for each other for ever.
optimizing = threading.RLock()


@overload
def from_dask(collection: Any, /, *, executor: Literal["thread", "process"] = "thread") -> Delayed[Any]: ...
@overload
def from_dask(
    collection: Any, other: Any, /, *others: Any, executor: Literal["thread", "process"] = "thread"
) -> tuple[Delayed[Any], ...]: ...
def from_dask(*collections: Any, executor: str = "thread") -> Any:
    """Make a node of a Dask collection, whose value is what the collection computes to.

    The graph of the collection is optimized now, as `dask.compute` would, and each of its tasks becomes a
    node. That takes Dask a while where the graph is large, and asyncgraph some microseconds a task: on an
    event loop that is to go on serving, write `await asyncio.to_thread(from_dask, collection)`.

    Args:
        collections: An array, dataframe, bag or delayed value, or several, which then share tasks.
        executor: Where tasks run, "thread" or "process". Coroutine functions run on the event loop.

    Returns:
        A node, or for several collections a tuple of them. Nothing has run.

    Raises:
        TypeError: An argument is no Dask collection, or there is none.
        ValueError: There is no such executor.
        ImportError: Dask is not installed.
        Exception: What optimizing raises, as where a file that is to be read does not exist.

    When it runs, it fails with what a task has raised, as itself; cancelled, it leaves nothing running.

    Example:
        >>> import dask.array as da
        >>> from asyncgraph.dask import from_dask
        >>> numbers = da.arange(1_000, chunks=100)
        >>> int(await from_dask(numbers.sum()))
        499500
    """
    require_dask()
    if executor not in _EXECUTORS:
        raise ValueError(f"executor= is 'thread' or 'process' for tasks of Dask's, not {executor!r}")
    if not collections:
        raise TypeError("from_dask takes one or more Dask collections")
    for each in collections:
        if not is_collection(each):
            raise TypeError(f"from_dask takes Dask collections, not {each!r}")
    nodes = nodes_of(collections, executor, sys._getframe(1))
    return nodes[0] if len(nodes) == 1 else tuple(nodes)


def is_collection(value: Any) -> bool:
    """Whether this is a Dask collection, and no node of ours, which is one too."""
    from dask.base import is_dask_collection

    return not isinstance(value, Delayed) and bool(is_dask_collection(value))


def nodes_of(collections: Sequence[Any], executor: str, frame: FrameType) -> list[Delayed[Any]]:
    """A node for each of these collections, which share tasks, written at `frame`."""
    with optimizing:
        graph, keys = _optimized(collections)
    translation = Translation(graph, executor=executor, code=frame.f_code, lasti=frame.f_lasti)
    return translation.nodes(keys)


def _optimized(collections: Sequence[Any]) -> tuple[dict[Any, Any], list[Any]]:
    """The tasks of the collections, and the key of each collection's value."""
    from dask._expr import FinalizeCompute, HLGExpr, _ExprSequence
    from dask._task_spec import convert_legacy_graph
    from dask.base import collections_to_expr
    from dask.core import flatten

    # One group for each way of optimizing, as Dask does it: the results of several groups it gives in another
    # order, and it warns of expressions beside graphs.
    groups: dict[Any, list[int]] = {}
    expressions = [collections_to_expr(each) for each in collections]
    for at, each in enumerate(expressions):
        way = each.low_level_optimizer if isinstance(each, HLGExpr) else HLGExpr
        groups.setdefault(way, []).append(at)
    keys: dict[int, Any] = {}
    graph: dict[Any, Any] = {}
    for numbers in groups.values():
        together = FinalizeCompute(_ExprSequence(*[expressions[at] for at in numbers])).optimize()
        keys.update(zip(numbers, flatten(together.__dask_keys__()), strict=True))
        graph.update(together.__dask_graph__())
    return convert_legacy_graph(graph), [keys[at] for at in range(len(collections))]
