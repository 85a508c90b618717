"""When a workflow of uneven tasks is done on few slots, beside when it could be done at best."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from typing import Any

from asyncgraph import delayed
from tests.benchmarks.table import Row
from tests.benchmarks.timing import OURS, Benchmark, taking_turns
from tests.benchmarks.workflows import WORKFLOWS, Task, bound, critical_path_first, scaled
from tests.benchmarks.workloads import open_runtime

_SLOTS = 16
_WORKERS = 2
_SECONDS_A_TASK = 1.2 / 300
"""A run of 300 tasks is scaled to take 1.2 s at best, so that what a timer is late hardly counts."""

_FIRST_COME = "first come, first served"
_Measure = Callable[[], float]


async def sleep(seconds: float, *needs: None) -> None:
    """A coroutine that takes so long."""
    await asyncio.sleep(seconds)


def rest(seconds: float, *needs: None) -> None:
    """A call that takes so long and no processor, of which there may be fewer than workers."""
    time.sleep(seconds)


def sinks(tasks: list[Task]) -> list[int]:
    """The tasks that no other needs."""
    needed = {each for task in tasks for each in task.needs}
    return [number for number in range(len(tasks)) if number not in needed]


@contextlib.contextmanager
def ours(tasks: list[Task], function: Any, executor: str | None, **slots: int) -> Iterator[_Measure]:
    """Run by asyncgraph, a function for each kind of task; once before it counts, so that means are known."""
    functions = {task.kind: delayed(function, executor=executor, name=task.kind) for task in tasks}
    join = delayed(len, executor="loop")
    with open_runtime(**slots) as (runner, runtime):

        async def main() -> float:
            nodes: list[Any] = []
            for task in tasks:
                nodes.append(functions[task.kind](task.seconds, *(nodes[each] for each in task.needs)))
            root = join([nodes[number] for number in sinks(tasks)])
            start = time.perf_counter()
            await runtime.compute(root)
            return time.perf_counter() - start

        runner.run(main())
        yield lambda: runner.run(main())


async def first_come(tasks: list[Task], slots: int, work: Callable[[float], Any]) -> float:
    """Seconds by a program written by hand: a task of asyncio each, which waits for others and for a slot."""
    free = asyncio.Semaphore(slots)
    started: list[asyncio.Task[None]] = []

    async def one(task: Task) -> None:
        for each in task.needs:
            await started[each]
        async with free:
            await work(task.seconds)

    start = time.perf_counter()
    started += [asyncio.create_task(one(task)) for task in tasks]
    await asyncio.gather(*started)
    return time.perf_counter() - start


@contextlib.contextmanager
def with_coroutines(tasks: list[Task]) -> Iterator[dict[str, _Measure]]:
    """Those who run coroutines."""
    with ours(tasks, sleep, None, concurrency=_SLOTS) as measure:
        yield {OURS: measure, _FIRST_COME: lambda: asyncio.run(first_come(tasks, _SLOTS, sleep))}


@contextlib.contextmanager
def with_processes(tasks: list[Task]) -> Iterator[dict[str, _Measure]]:
    """Those who run calls in worker processes."""
    with (
        ours(tasks, rest, "process", processes=_WORKERS) as measure,
        ProcessPoolExecutor(_WORKERS, mp_context=get_context("spawn")) as pool,
    ):
        list(pool.map(rest, [0.05] * _WORKERS))  # which starts them

        def call(seconds: float) -> asyncio.Future[None]:
            return asyncio.get_running_loop().run_in_executor(pool, rest, seconds)

        yield {OURS: measure, _FIRST_COME: lambda: asyncio.run(first_come(tasks, _WORKERS, call))}


def _rows_of(contenders: Any, slots: int, most: float) -> Callable[[int, int], Iterator[Row]]:
    def rows(items: int, rounds: int) -> Iterator[Row]:
        for name, make in WORKFLOWS.items():
            tasks = make(items)
            tasks = scaled(tasks, slots, _SECONDS_A_TASK * len(tasks))
            least = bound(tasks, slots)
            with contenders(tasks) as measures:
                results = taking_turns(measures, rounds)
            for contender, seconds in results.items():
                figures = [each / least for each in seconds]
                target = most if contender == OURS else None
                yield Row(f"{name}, {len(tasks)} tasks: {contender}", figures, "x", at_most=target)
            known = critical_path_first(tasks, slots) / least
            yield Row(f"{name}: longest path first, simulated", [known], "x")

    return rows


BENCHMARKS = [
    Benchmark(
        "makespan",
        f"coroutines that sleep, {_SLOTS} slots: when all is done, over the lower bound",
        300,
        _rows_of(with_coroutines, _SLOTS, 1.10),
        most_rounds=3,
    ),
    Benchmark(
        "makespan-p",
        f"calls that sleep, {_WORKERS} worker processes: when all is done, over the lower bound",
        300,
        _rows_of(with_processes, _WORKERS, 1.03),
        most_rounds=3,
    ),
]
