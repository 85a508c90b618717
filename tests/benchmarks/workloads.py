"""What is measured against peers: for each workload the same work done by asyncgraph and by them.

A contender is a function of the number of items that does the work once and returns the seconds that
the measured part took; what it builds for that is not in them.
"""

from __future__ import annotations

import asyncio
import functools
import operator
import time
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field
from typing import Any

from asyncgraph import Input, compile, compute, delayed

try:
    import dask
except ImportError:  # its rows are left out
    dask = None

Contender = Callable[[int], float]


@dataclass(frozen=True)
class Workload:
    """One line of work: ours first, then the peers.

    Attributes:
        name: What it is called on the command line.
        what: What it is.
        items: How many nodes, calls or coroutines by default.
        contenders: Who does it, by name; the first is asyncgraph.
        targets: For peers, how many times as long as asyncgraph they are to take at least.
        most: At most so many items for single contenders, whose cost an item does not depend on it.
    """

    name: str
    what: str
    items: int
    contenders: dict[str, Contender]
    targets: dict[str, float]
    most: dict[str, int] = field(default_factory=dict)


def timed(work: Callable[[], object]) -> float:
    """Seconds that `work` takes."""
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def timed_on_loop(work: Callable[[], Coroutine[Any, Any, object]]) -> float:
    """Seconds that `await work()` takes, inside a running loop."""

    async def main() -> float:
        start = time.perf_counter()
        await work()
        return time.perf_counter() - start

    return asyncio.run(main())


def pairwise(leaves: list[Any], add: Callable[[Any, Any], Any]) -> Any:
    """A tree of `add` over the leaves, as many calls as there are leaves but one."""
    while len(leaves) > 1:
        rest = leaves[len(leaves) & ~1 :]
        leaves = [add(leaves[i], leaves[i + 1]) for i in range(0, len(leaves) - 1, 2)] + rest
    return leaves[0]


def tree(add: Callable[[Any, Any], Any], items: int) -> Any:
    """A tree of about `items` calls over plain numbers."""
    return pairwise(list(range(items + 1)), add)


add_on_loop = delayed(operator.add, executor="loop")
add_in_thread = delayed(operator.add, executor="thread")


def build_with(add: Callable[[Any, Any], Any]) -> Contender:
    """Build the tree."""
    return lambda items: timed(lambda: tree(add, items))


def run_ours(add: Callable[[Any, Any], Any]) -> Contender:
    """Run the tree with asyncgraph."""

    def contender(items: int) -> float:
        root = tree(add, items)
        return timed_on_loop(root.compute)

    return contender


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
        for start in range(0, items, 100):
            await asyncio.gather(
                *(asyncio.to_thread(operator.add, 1, 2) for _ in range(min(100, items - start)))
            )

    return timed_on_loop(work)


async def not_suspending(number: int) -> int:
    """A coroutine that finishes in its first step."""
    return number


async def suspending(number: int) -> int:
    """A coroutine that lets the loop go round once."""
    await asyncio.sleep(0)
    return number


def sum_ours(function: Callable[[int], Coroutine[Any, Any, int]]) -> Contender:
    """Build, run and sum with asyncgraph."""
    node_of, total = delayed(function), delayed(sum, executor="loop")

    async def work(items: int) -> None:
        result = await compute(total([node_of(number) for number in range(items)]))
        assert result == items * (items - 1) // 2

    return lambda items: timed_on_loop(functools.partial(work, items))


async def _task_group(function: Callable[[int], Coroutine[Any, Any, int]], items: int) -> int:
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(function(number)) for number in range(items)]
    return sum(task.result() for task in tasks)


def sum_task_group(function: Callable[[int], Coroutine[Any, Any, int]]) -> Contender:
    """Run and sum with a TaskGroup."""

    async def work(items: int) -> None:
        assert await _task_group(function, items) == items * (items - 1) // 2

    return lambda items: timed_on_loop(functools.partial(work, items))


def sum_gather(function: Callable[[int], Coroutine[Any, Any, int]]) -> Contender:
    """Run and sum with `gather`."""

    async def work(items: int) -> None:
        results = await asyncio.gather(*(function(number) for number in range(items)))
        assert sum(results) == items * (items - 1) // 2

    return lambda items: timed_on_loop(functools.partial(work, items))


# A graph of so many nodes is called again and again.
_REQUEST = 100


def call_compiled(function: Callable[[int], Coroutine[Any, Any, int]]) -> Contender:
    """Call a compiled graph of a hundred nodes, `items` nodes in all."""
    first, node_of, total = Input("first"), delayed(function), delayed(sum, executor="loop")
    request = compile(total([node_of(first), *(node_of(number) for number in range(1, _REQUEST))]))

    async def work(items: int) -> None:
        for _ in range(items // _REQUEST):
            assert await request(first=0) == _REQUEST * (_REQUEST - 1) // 2

    return lambda items: timed_on_loop(functools.partial(work, items))


def call_task_groups(function: Callable[[int], Coroutine[Any, Any, int]]) -> Contender:
    """The same by a TaskGroup for each request."""

    async def work(items: int) -> None:
        for _ in range(items // _REQUEST):
            assert await _task_group(function, _REQUEST) == _REQUEST * (_REQUEST - 1) // 2

    return lambda items: timed_on_loop(functools.partial(work, items))


def _with_dask(contenders: dict[str, Contender]) -> dict[str, Contender]:
    return contenders if dask is not None else {}


WORKLOADS = [
    Workload(
        "build",
        "build a pairwise tree",
        20_000,
        {
            "asyncgraph": build_with(add_on_loop),
            "functools.partial": build_with(functools.partial(functools.partial, operator.add)),
            **_with_dask({"dask.delayed": build_dask}),
        },
        {"functools.partial": 1 / 5, "dask.delayed": 120},
        {"dask.delayed": 20_000},
    ),
    Workload(
        "inline",
        'run the tree, executor="loop"',
        20_000,
        {
            "asyncgraph": run_ours(add_on_loop),
            "plain calls": call_plainly,
            **_with_dask({"dask sync": run_dask("sync")}),
        },
        {"dask sync": 50},
        {"dask sync": 20_000},
    ),
    Workload(
        "threads",
        "run the tree in threads",
        20_000,
        {
            "asyncgraph": run_ours(add_in_thread),
            "asyncio.to_thread": run_to_thread,
            **_with_dask({"dask threads": run_dask("threads")}),
        },
        {"asyncio.to_thread": 25, "dask threads": 60},
        {"asyncio.to_thread": 5_000, "dask threads": 5_000},
    ),
    Workload(
        "async",
        "coroutines that do not suspend, built, run and summed",
        50_000,
        {
            "asyncgraph": sum_ours(not_suspending),
            "TaskGroup": sum_task_group(not_suspending),
            "gather": sum_gather(not_suspending),
        },
        {"TaskGroup": 5},
    ),
    Workload(
        "suspend",
        "coroutines that suspend once, built, run and summed",
        50_000,
        {
            "asyncgraph": sum_ours(suspending),
            "TaskGroup": sum_task_group(suspending),
            "gather": sum_gather(suspending),
        },
        {"TaskGroup": 2.5},
    ),
    Workload(
        "compile",
        "a compiled graph of 100 coroutines that do not suspend, called with an input",
        20_000,
        {"asyncgraph": call_compiled(not_suspending), "TaskGroup": call_task_groups(not_suspending)},
        {"TaskGroup": 4},
    ),
]
