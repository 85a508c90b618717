"""Pieces of work that several benchmarks share."""

from __future__ import annotations

import asyncio
import contextlib
import operator
from collections.abc import Callable, Iterator
from typing import Any

from asyncgraph import Runtime, delayed
from tests.benchmarks.timing import Contender, timed

try:
    import dask
except ImportError:  # its rows are left out
    dask = None

__all__ = [
    "add_in_thread",
    "add_on_loop",
    "dask",
    "not_suspending",
    "open_runtime",
    "pairwise",
    "suspending",
    "timed",
    "tree",
    "with_dask",
]


def with_dask(contenders: dict[str, Contender]) -> dict[str, Contender]:
    """The contenders, or none where dask is not installed."""
    return contenders if dask is not None else {}


def pairwise(leaves: list[Any], add: Callable[[Any, Any], Any]) -> Any:
    """A tree of `add` over the leaves, as many calls as there are leaves but one."""
    while len(leaves) > 1:
        rest = leaves[len(leaves) & ~1 :]
        leaves = [add(leaves[i], leaves[i + 1]) for i in range(0, len(leaves) - 1, 2)] + rest
    return leaves[0]


def tree(add: Callable[[Any, Any], Any], items: int) -> Any:
    """A tree of `items` calls over plain numbers."""
    return pairwise(list(range(items + 1)), add)


add_on_loop = delayed(operator.add, executor="loop")
add_in_thread = delayed(operator.add, executor="thread")


async def not_suspending(number: int) -> int:
    """A coroutine that finishes in its first step."""
    return number


async def suspending(number: int) -> int:
    """A coroutine that lets the loop go round once."""
    await asyncio.sleep(0)
    return number


@contextlib.contextmanager
def open_runtime(**options: int) -> Iterator[tuple[asyncio.Runner, Runtime]]:
    """A loop with a runtime that stays open from one `runner.run(...)` to the next."""
    with asyncio.Runner() as runner:
        runtime = Runtime(**options)
        runner.run(_enter(runtime))
        try:
            yield runner, runtime
        finally:
            runner.run(runtime.__aexit__(None, None, None))


async def _enter(runtime: Runtime) -> None:
    await runtime.__aenter__()
