"""Short calls and long ones for worker processes: when all is done, and whether short ones are held up."""

from __future__ import annotations

import asyncio
import functools
import heapq
import itertools
import random
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from typing import NamedTuple

from tests.benchmarks.called import Spell, rest, rest_long
from tests.benchmarks.pool_contenders import (
    EXECUTOR,
    MAP,
    WORKERS,
    Opened,
    in_stdlib,
    there,
    warm_ours,
    warm_stdlib,
)
from tests.benchmarks.table import Row
from tests.benchmarks.timing import OURS, Benchmark, taking_turns

_SHORT = 0.001
_LONG_OF = 1 / 600
"""Of 600 calls, the long ones take a second; of others, as many times more or less."""

_LONG_ONES = 2
_CHUNK = 10

_SEED = 42
"""One whose order can be kept, so that a figure is not a matter of luck: whoever gives each call to the first
worker that is free is done in time. And the long ones are far from each other."""


def workload(items: int) -> list[float]:
    """How long each call takes, in the order in which they are asked for."""
    seconds = [_SHORT] * items + [items * _LONG_OF] * _LONG_ONES
    random.Random(_SEED).shuffle(seconds)
    return seconds


def in_order(seconds: Sequence[float], workers: int) -> float:
    """When all are done if each in turn goes to the first free worker. Simulated."""
    free = [0.0] * workers
    for each in seconds:
        heapq.heapreplace(free, free[0] + each)
    return max(free)


class Measured(NamedTuple):
    """What came of a run.

    Attributes:
        efficiency: Per cent: the soonest that all could have been done, over when it was.
        held_up: Milliseconds for which a short call was kept behind a long one while another worker
            had nothing to do; the longest such time.
    """

    efficiency: float
    held_up: float


def measured(spells: Sequence[Spell], taken: float, long: float) -> Measured:
    """What came of a run in which a call that took `long` or more is a long one."""
    lengths = [ended - began for _, began, ended in spells]
    soonest = max(*lengths, sum(lengths) / WORKERS)
    return Measured(soonest / taken * 100, held_up(spells, long) * 1e3)


def held_up(spells: Sequence[Spell], long: float) -> float:
    """Seconds of the longest time for which a worker was in a long call, others to follow, another idle.

    What runs in a worker after a long call was there to be begun all the while: no call needs another.
    """
    of_worker: defaultdict[int, list[tuple[float, float]]] = defaultdict(list)
    for worker, began, ended in sorted(spells, key=lambda spell: spell[1]):
        of_worker[worker].append((began, ended))
    first, last = min(began for _, began, _ in spells), max(ended for _, _, ended in spells)
    lanes = list(of_worker.values()) + [[] for _ in range(WORKERS - len(of_worker))]
    worst = 0.0
    for lane in lanes:
        for began, ended in lane[:-1]:
            if ended - began < long:
                continue
            for other in lanes:
                if other is lane:
                    continue
                edges = [(first, first), *other, (last, last)]
                for (_, idle_from), (idle_to, _) in itertools.pairwise(edges):
                    worst = max(worst, min(idle_to, ended) - max(idle_from, began))
    return worst


def ours(opened: Opened, *, is_one_function: bool) -> Callable[[Sequence[float]], Measured]:
    """A node for each call, of one function or of two; nothing is known of them before the first round."""
    runner, runtime = opened
    short = there(rest)
    other = short if is_one_function else there(rest_long)

    async def work(seconds: Sequence[float]) -> Measured:
        nodes = [(short if each == _SHORT else other)(each) for each in seconds]
        began = time.perf_counter()
        spells = await runtime.compute(nodes)
        return measured(spells, time.perf_counter() - began, max(seconds))

    return lambda seconds: runner.run(work(seconds))


def with_executor(pool: ProcessPoolExecutor) -> Callable[[Sequence[float]], Measured]:
    """A future for each call."""

    async def work(seconds: Sequence[float]) -> Measured:
        began = time.perf_counter()
        spells = await in_stdlib(pool, rest, seconds)
        return measured(spells, time.perf_counter() - began, max(seconds))

    return lambda seconds: asyncio.run(work(seconds))


def with_map(pool: ProcessPoolExecutor) -> Callable[[Sequence[float]], Measured]:
    """Several calls at a time."""

    def work(seconds: Sequence[float]) -> Measured:
        began = time.perf_counter()
        spells = list(pool.map(rest, seconds, chunksize=_CHUNK))
        return measured(spells, time.perf_counter() - began, max(seconds))

    return work


def rows(items: int, rounds: int) -> Iterator[Row]:
    """Efficiency, then how long a short call was held up."""
    seconds = workload(items)
    judged = [f"{OURS}, one function", f"{OURS}, two functions"]
    with warm_ours() as opened, warm_stdlib() as pool:
        works = {
            judged[0]: ours(opened, is_one_function=True),
            judged[1]: ours(opened, is_one_function=False),
            EXECUTOR: with_executor(pool),
            f"{MAP}, chunks of {_CHUNK}": with_map(pool),
        }
        results = taking_turns(
            {name: functools.partial(work, seconds) for name, work in works.items()}, rounds
        )
    for name, each in results.items():
        figures = [one.efficiency for one in each]
        yield Row(f"efficiency: {name}", figures, "%", at_least=95 if name in judged else None)
    kept = max(*seconds, sum(seconds) / WORKERS) / in_order(seconds, WORKERS) * 100
    yield Row("efficiency: in the order given, simulated", [kept], "%")
    for name, each in results.items():
        figures = [one.held_up for one in each]
        yield Row(f"held up: {name}", figures, "ms", at_most=2 if name in judged else None)


BENCHMARKS = [
    Benchmark(
        "pool-mix",
        f"calls of 1 ms and {_LONG_ONES} of 1 s, {WORKERS} worker processes: the lower bound over when all "
        "is done, and how long a short one was kept behind a long one while another worker was idle",
        600,
        rows,
    )
]
