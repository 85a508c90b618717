"""The functions by which a graph is run: `compute`, `start` and `run`."""

from __future__ import annotations

import asyncio
import importlib.util
import inspect
import os
from collections.abc import Awaitable, Callable, Coroutine, Iterable
from functools import partial
from typing import Any, TypeVar, overload

from asyncgraph._graph.node import Node
from asyncgraph._runtime import run as runs
from asyncgraph._runtime.options import checked_observers
from asyncgraph._runtime.run import Run
from asyncgraph._runtime.runtime import Runtime, check_request, current_runtime
from asyncgraph.observe.entered import AnyObserver

__all__ = ["begin", "compute", "run", "start"]

T = TypeVar("T")
T1 = TypeVar("T1")
T2 = TypeVar("T2")
T3 = TypeVar("T3")
_Compute = Coroutine[Any, Any, T]


@overload
def compute(
    node: Node[T],
    /,
    *,
    timeout: float | None = None,
    return_exceptions: bool = False,
    runtime: Runtime | None = None,
    observers: Iterable[AnyObserver] = (),
) -> _Compute[T]: ...
@overload
def compute(
    node: Node[T1],
    node2: Node[T2],
    /,
    *,
    timeout: float | None = None,
    return_exceptions: bool = False,
    runtime: Runtime | None = None,
    observers: Iterable[AnyObserver] = (),
) -> _Compute[tuple[T1, T2]]: ...
@overload
def compute(
    node: Node[T1],
    node2: Node[T2],
    node3: Node[T3],
    /,
    *,
    timeout: float | None = None,
    return_exceptions: bool = False,
    runtime: Runtime | None = None,
    observers: Iterable[AnyObserver] = (),
) -> _Compute[tuple[T1, T2, T3]]: ...
@overload
def compute(
    *nodes: Any,
    timeout: float | None = None,
    return_exceptions: bool = False,
    runtime: Runtime | None = None,
    observers: Iterable[AnyObserver] = (),
) -> _Compute[Any]: ...
def compute(
    *nodes: Any,
    timeout: float | None = None,
    return_exceptions: bool = False,
    runtime: Runtime | None = None,
    observers: Iterable[AnyObserver] = (),
) -> Coroutine[Any, Any, Any]:
    """Run several graphs as one, nodes that they share once, on the running event loop.

    Args:
        nodes: Nodes, or containers with nodes in them. Anything else among them stays as it is.
        timeout: Seconds after which everything is cancelled and TimeoutError raised.
        return_exceptions: Run all that can run; a node that failed comes back as its exception, and one
            that was not run because of that as a DependencyError whose cause it is.
        runtime: Where to run; by default the runtime whose `async with` block this is in, or else the
            default runtime of the loop.
        observers: Who is told of what the run does, beside those of the runtime and of `with` blocks; see
            `asyncgraph.observe`.

    Returns:
        A tuple with a value for each argument, of the same shape; for a single argument its value.

    Raises:
        Exception: What the first node to fail raised, as itself, with a note that says which node it
            was. The other nodes have been cancelled by then, and none of them is running any more.
        TimeoutError: `timeout` has passed.
        asyncio.CancelledError: The awaiting task was cancelled; so were all nodes.

    Example:
        >>> from asyncgraph import compute, delayed
        >>> one = delayed(1)
        >>> await compute(one + 1, {"three": one + 2})
        (2, {'three': 3})
    """
    check_request(nodes, timeout, runtime)
    options = {"return_exceptions": return_exceptions, "observers": checked_observers(observers)}
    return runs.compute(partial(begin, runtime, nodes, timeout=timeout, **options))


def begin(runtime: Runtime | None, nodes: tuple[Any, ...], **options: Any) -> Run[Any]:
    return current_runtime(runtime).begin(nodes, **options)


@overload
def start(
    node: Node[T],
    /,
    *,
    timeout: float | None = None,
    return_exceptions: bool = False,
    runtime: Runtime | None = None,
    observers: Iterable[AnyObserver] = (),
) -> Run[T]: ...
@overload
def start(
    node: Any,
    /,
    *,
    timeout: float | None = None,
    return_exceptions: bool = False,
    runtime: Runtime | None = None,
    observers: Iterable[AnyObserver] = (),
) -> Run[Any]: ...
def start(
    node: Any,
    /,
    *,
    timeout: float | None = None,
    return_exceptions: bool = False,
    runtime: Runtime | None = None,
    observers: Iterable[AnyObserver] = (),
) -> Run[Any]:
    """Run a graph in the background; `await` the `Run` it returns, or cancel it, or ask how far it is.

    Args:
        node: A node, or a container with nodes in it.
        timeout: As in `compute`.
        return_exceptions: Likewise.
        runtime: Likewise.
        observers: Likewise.

    Raises:
        RuntimeError: No event loop is running.

    Example:
        >>> from asyncgraph import delayed, start
        >>> run = start(delayed(sum)([1, 2]))
        >>> await run
        3
    """
    check_request((node,), timeout, runtime)
    options = {"return_exceptions": return_exceptions, "observers": checked_observers(observers)}
    return begin(runtime, (node,), timeout=timeout, is_resumable=True, **options)


def run(main: Node[T] | Coroutine[Any, Any, T] | Awaitable[T]) -> T:
    """Run a node or a coroutine in a plain script, on an event loop of its own.

    The loop is uvloop's where that is installed and no standard stream is closed, asyncio's elsewhere.

    Args:
        main: A node, or a coroutine such as `main()`.

    Raises:
        RuntimeError: An event loop is running in this thread already: `await` the node there.
        TypeError: `main` is neither.
        BaseException: Whatever `await main` raises.
    """
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        pass
    else:
        if asyncio.iscoroutine(main):
            main.close()
        raise RuntimeError(
            "an event loop is running here already: `await` the node (or the coroutine) instead"
        )
    if not isinstance(main, Awaitable):
        hint = ": call it, as in run(main())" if callable(main) else ""
        raise TypeError(f"run() takes a node or a coroutine, not {main!r}{hint}")
    coroutine: Coroutine[Any, Any, T] = main if asyncio.iscoroutine(main) else _awaited(main)
    try:
        with asyncio.Runner(loop_factory=_loop_factory()) as runner:
            return runner.run(coroutine)
    finally:
        # Ctrl-C may come before it has begun; or so often that it has not ended, and would not now.
        if inspect.getcoroutinestate(coroutine) == inspect.CORO_CREATED:
            coroutine.close()


async def _awaited(main: Awaitable[T]) -> T:
    return await main


def _loop_factory() -> Callable[[], asyncio.AbstractEventLoop] | None:
    if importlib.util.find_spec("uvloop") is None or _lacks_a_standard_stream():
        return None
    import uvloop

    return uvloop.new_event_loop


def _lacks_a_standard_stream() -> bool:
    """Whether a shell has closed one of the three (`>&-`).

    The loop's own descriptors would have its number then, and uvloop aborts the program when it closes them.
    """
    try:
        for number in range(3):
            os.fstat(number)
    except OSError:
        return True
    return False
