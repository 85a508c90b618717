"""`as_completed`: the results of several graphs as they come."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncGenerator, Callable, Iterable
from functools import partial
from typing import Any, TypeVar

from asyncgraph._lazy.node import Delayed
from asyncgraph._runtime.front import begin
from asyncgraph._runtime.options import checked_observers
from asyncgraph._runtime.run import Run
from asyncgraph._runtime.runtime import Runtime, check_options
from asyncgraph.observe.entered import AnyObserver

__all__ = ["as_completed"]

T = TypeVar("T")


def as_completed(
    nodes: Iterable[Delayed[T]],
    /,
    *,
    timeout: float | None = None,
    return_exceptions: bool = False,
    runtime: Runtime | None = None,
    observers: Iterable[AnyObserver] = (),
) -> AsyncGenerator[tuple[Delayed[T], T], None]:
    """Run several graphs as one, and give each requested node with its value as soon as it has one.

    A value is not kept once it has been given. A loop that is left early leaves the rest to be cancelled
    when the iterator is closed: at once with `async with contextlib.aclosing(as_completed(...))`,
    otherwise when it is collected.

    Args:
        nodes: The nodes; one that is there twice is given once.
        timeout: As in `compute`.
        return_exceptions: Give the exception of a node that failed in place of its value, and go on.
        runtime: As in `compute`.
        observers: Likewise.

    Raises:
        Exception: As `compute` does, from the iteration, once the values that were there have been given.

    Example:
        >>> from asyncgraph import as_completed, delayed
        >>> squares = [delayed(pow)(number, 2) for number in (1, 2, 3)]
        >>> sorted([value async for node, value in as_completed(squares)])
        [1, 4, 9]
    """
    if isinstance(nodes, Delayed):
        raise TypeError("as_completed takes several nodes, as in as_completed([node]); for one, `await` it")
    if not isinstance(nodes, Iterable):
        raise TypeError(f"as_completed takes several nodes, as in as_completed([node]), not {nodes!r}")
    requested = list({id(node): node for node in nodes}.values())
    for node in requested:
        if not isinstance(node, Delayed):
            raise TypeError(f"as_completed takes nodes, not {node!r}")
    check_options(timeout, runtime)
    options = {"return_exceptions": return_exceptions, "observers": checked_observers(observers)}
    return _as_completed(requested, partial(begin, runtime, (requested,), timeout=timeout, **options))


async def _as_completed(
    nodes: list[Delayed[T]], start: Callable[..., Run[Any]]
) -> AsyncGenerator[tuple[Delayed[T], T], None]:
    arrived: deque[tuple[Delayed[Any], Any]] = deque()
    news = asyncio.Event()

    def on_output(node: Delayed[Any], value: Any, error: BaseException | None) -> None:
        arrived.append((node, value if error is None else error))
        news.set()

    background = start(on_output=on_output)
    background.add_done_callback(lambda _: news.set())
    try:
        for _ in nodes:
            while not arrived and not background.done():
                news.clear()
                await news.wait()
            if not arrived:
                break
            yield arrived.popleft()
        _, error = await background.outcome()
        if error is not None:
            try:
                raise error
            finally:
                del error
    finally:
        await background.aclose()
        del background  # as the error, which has this frame in its traceback
