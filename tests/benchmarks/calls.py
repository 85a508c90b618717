"""Plain calls: building a graph of them, and running it inline and in threads."""

from __future__ import annotations

import asyncio
import functools
import operator
from collections.abc import Callable
from contextvars import Context, copy_context
from typing import Any

from tests.benchmarks.timing import OURS, Contender, compared, timed, timed_on_loop
from tests.benchmarks.workloads import add_in_thread, add_on_loop, dask, tree, with_dask

_AT_ONCE = 100


def build_with(add: Callable[[Any, Any], Any]) -> Contender:
    """Build the tree."""
    return lambda items: timed(lambda: tree(add, items))


class _Filled:
    """As many fields as a node has."""

    __slots__ = ("args", "code", "dependencies", "function", "key", "kwargs", "lasti")


def fill(*args: Any) -> _Filled:
    """The least that Python can do to record a call: no look at the arguments, none at who calls."""
    made = object.__new__(_Filled)
    made.function = operator.add
    made.args = made.dependencies = args
    made.kwargs = made.code = made.key = None
    made.lasti = 0
    return made


def add_in_context(base: Context, one: int, other: int) -> int:
    """A call that finds a context of its own, as each node does."""
    total: int = base.copy().run(operator.add, one, other)
    return total


def call_in_contexts(items: int) -> float:
    """Do the work without any graph, each call in a copy of a context."""
    return timed(lambda: tree(functools.partial(add_in_context, copy_context()), items))


def run_ours(add: Callable[[Any, Any], Any]) -> Contender:
    """Run the tree with asyncgraph."""

    def contender(items: int) -> float:
        root = tree(add, items)
        return timed_on_loop(lambda: _checked(root, items))

    return contender


async def _checked(root: Any, items: int) -> None:
    assert await root == items * (items + 1) // 2


def build_dask(items: int) -> float:
    """Build the tree with dask."""
    add = dask.delayed(operator.add, pure=False)
    return timed(lambda: tree(add, items))


def run_dask(scheduler: str) -> Contender:
    """Run the tree with one of dask's local schedulers."""

    def contender(items: int) -> float:
        root = tree(dask.delayed(operator.add, pure=False), items)
        return timed(lambda: root.compute(scheduler=scheduler))

    return contender


def call_plainly(items: int) -> float:
    """Do the work without any graph."""
    return timed(lambda: tree(operator.add, items))


def run_to_thread(items: int) -> float:
    """As many calls by `asyncio.to_thread`, a hundred at a time."""

    async def work() -> None:
        for start in range(0, items, _AT_ONCE):
            count = min(_AT_ONCE, items - start)
            await asyncio.gather(*(asyncio.to_thread(operator.add, 1, 2) for _ in range(count)))

    return timed_on_loop(work)


BENCHMARKS = [
    compared(
        "build",
        "build a pairwise tree of additions",
        20_000,
        {
            OURS: build_with(add_on_loop),
            "functools.partial": build_with(functools.partial(functools.partial, operator.add)),
            "as many slots, filled": build_with(fill),
            **with_dask({"dask.delayed": build_dask}),
        },
        at_least={"functools.partial": 1 / 5, "dask.delayed": 120},
    ),
    compared(
        "inline",
        'run that tree on the loop, executor="loop"',
        20_000,
        {
            OURS: run_ours(add_on_loop),
            "plain calls": call_plainly,
            "calls in contexts of their own": call_in_contexts,
            **with_dask({"dask sync": run_dask("sync")}),
        },
        at_least={"dask sync": 50},
    ),
    compared(
        "threads",
        'run that tree with executor="thread"; to_thread makes as many calls, a hundred at a time',
        20_000,
        {
            OURS: run_ours(add_in_thread),
            "asyncio.to_thread": run_to_thread,
            **with_dask({"dask threads": run_dask("threads")}),
        },
        at_least={"asyncio.to_thread": 25, "dask threads": 60},
        most={"asyncio.to_thread": 5_000, "dask threads": 5_000},
    ),
]
