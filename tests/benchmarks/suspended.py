"""Coroutines that are all suspended at once: time and memory, each run in an interpreter of its own."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable, Iterator
from typing import Any

from asyncgraph import Runtime, compute, delayed
from tests.benchmarks import resident
from tests.benchmarks.table import Row
from tests.benchmarks.timing import OURS, Benchmark, rows_beside_ours, taking_turns

_Work = Callable[[int, Callable[[], Awaitable[None]]], Awaitable[None]]


async def _ours(items: int, wait: Any) -> None:
    node_of = delayed(wait)
    async with Runtime(concurrency=items):
        await compute([node_of() for _ in range(items)])


async def _task_group(items: int, wait: Any) -> None:
    async with asyncio.TaskGroup() as group:
        for _ in range(items):
            group.create_task(wait())


WORKS: dict[str, _Work] = {OURS: _ours, "TaskGroup": _task_group}


async def _all_at_once(work: _Work, items: int) -> float:
    """Seconds until all have begun, waited for each other, and ended."""
    begun, go = 0, asyncio.Event()

    async def wait() -> None:
        nonlocal begun
        begun += 1
        if begun == items:
            go.set()
        await go.wait()

    start = time.perf_counter()
    await work(items, wait)
    return time.perf_counter() - start


def measure_here(name: str, items: int) -> tuple[float, float]:
    """Seconds, and bytes by which memory (RSS) grew at the peak; 0 bytes where there is no /proc."""
    before = resident.now()
    seconds = asyncio.run(_all_at_once(WORKS[name], items))
    return seconds, resident.peak() - before


def _in_interpreter(name: str, items: int) -> tuple[float, float]:
    command = [sys.executable, "-m", "tests.benchmarks.suspended", name, str(items)]
    printed = subprocess.run(command, check=True, capture_output=True, text=True).stdout.split()
    return float(printed[0]), float(printed[1])


def rows(items: int, rounds: int) -> Iterator[Row]:
    """Ours beside a TaskGroup."""
    results = taking_turns({name: (lambda name=name: _in_interpreter(name, items)) for name in WORKS}, rounds)
    target = {"TaskGroup": 1.0}
    times = {name: [seconds / items * 1e6 for seconds, _ in each] for name, each in results.items()}
    yield from rows_beside_ours(times, "µs", target, prefix="time: ")
    if resident.IS_KNOWN:
        sizes = {name: [size / items for _, size in each] for name, each in results.items()}
        yield from rows_beside_ours(sizes, "bytes", target, prefix="memory: ")
    else:
        yield Row("memory", remark=resident.WITHOUT)


BENCHMARKS = [
    Benchmark(
        "suspended",
        "coroutines that all wait until the last has begun: time, and growth of RSS at the peak, a coroutine",
        100_000,
        rows,
    )
]

if __name__ == "__main__":
    print(*measure_here(sys.argv[1], int(sys.argv[2])))
