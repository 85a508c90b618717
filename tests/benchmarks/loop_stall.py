"""How long others on the loop wait for their turn while a graph runs."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterator
from typing import Any

from asyncgraph import delayed, start
from tests.benchmarks.table import Row
from tests.benchmarks.timing import Benchmark, taking_turns
from tests.benchmarks.workloads import not_suspending, suspending

_IDLE = 0.3
"""Seconds for which an idle loop is watched: about as long as a graph of 100 000 nodes takes."""

_FEWER = 20
"""Processes get so many times fewer nodes."""


def _identity(value: Any) -> Any:
    return value


async def longest_wait(begin: Callable[[], Any]) -> float:
    """Milliseconds of the longest time for which `sleep(0)` did not return, from before `begin()`.

    What it begins has `done()`, and is awaited at the end.
    """
    worst, last = 0.0, time.perf_counter()
    work = begin()
    while not work.done():
        await asyncio.sleep(0)
        now = time.perf_counter()
        worst, last = max(worst, now - last), now
    await work
    return worst * 1e3


def _of_graph(function: Any, count: int) -> Callable[[], float]:
    node_of, total = delayed(function), delayed(len, executor="loop")
    if not asyncio.iscoroutinefunction(function):
        node_of = function

    async def main() -> float:
        node = total([node_of(number) for number in range(count)])
        return await longest_wait(lambda: start(node))

    return lambda: asyncio.run(main())


def _of_task(work: Callable[[], Awaitable[object]]) -> Callable[[], float]:
    async def main() -> float:
        return await longest_wait(lambda: asyncio.ensure_future(work()))

    return lambda: asyncio.run(main())


def rows(items: int, rounds: int) -> Iterator[Row]:
    """For each way of running, beside a TaskGroup and a loop on which nothing happens."""

    async def task_group() -> None:
        async with asyncio.TaskGroup() as group:
            for number in range(items):
                group.create_task(not_suspending(number))

    few = max(1, items // _FEWER)
    judged = {
        f"inline, {items:,} nodes": _of_graph(delayed(_identity, executor="loop"), items),
        f"coroutines that do not suspend, {items:,} nodes": _of_graph(not_suspending, items),
        f"coroutines that suspend once, {items:,} nodes": _of_graph(suspending, items),
        f"threads, {items:,} nodes": _of_graph(delayed(_identity, executor="thread"), items),
        f"processes, {few:,} nodes, started included": _of_graph(delayed(_identity, executor="process"), few),
    }
    others = {
        f"TaskGroup, {items:,} tasks": _of_task(task_group),
        f"idle loop, {_IDLE:g} s": _of_task(lambda: asyncio.sleep(_IDLE)),
    }
    for label, figures in taking_turns({**judged, **others}, rounds).items():
        yield Row(label, figures, "ms", at_most=10 if label in judged else None)


BENCHMARKS = [
    Benchmark("stall", "the longest wait of another coroutine for its turn while a graph runs", 100_000, rows)
]
