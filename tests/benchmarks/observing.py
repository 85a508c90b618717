"""What it costs a run to be observed: as a whole, or node by node."""

from __future__ import annotations

import asyncio
import statistics
import time
from collections.abc import Callable, Iterator
from typing import Any

from asyncgraph import delayed
from asyncgraph.observe import LoopGuard, NodeFinished, Observer, Recording, RunFinished, RunStarted
from tests.benchmarks.table import Row
from tests.benchmarks.timing import OURS, Benchmark, taking_turns
from tests.benchmarks.workloads import add_on_loop, suspending, tree

_count = delayed(len, executor="loop")
_suspend = delayed(suspending)


class _Runs(Observer):
    """Hears of runs only."""

    kinds = frozenset({RunStarted, RunFinished})

    def __call__(self, event: Any) -> None:
        pass


class _Finished(_Runs):
    """Hears of each node once."""

    kinds = frozenset({NodeFinished})


class _All(_Runs):
    """Hears of everything."""

    kinds = Observer.kinds


WORKS: dict[str, Callable[[int], Any]] = {
    "inline": lambda items: tree(add_on_loop, items),
    "coroutines that suspend": lambda items: _count([_suspend(number) for number in range(items)]),
}

OBSERVERS: dict[str, Callable[[], Any]] = {
    "told of runs": _Runs,
    "LoopGuard": LoopGuard,
    "told of each node once": _Finished,
    "told of everything": _All,
    "Recording": Recording,
}


def seconds_of(build: Callable[[int], Any], items: int, observers: list[Any]) -> float:
    """How long such a graph takes to run."""
    root = build(items)
    with asyncio.Runner() as runner:
        began = time.perf_counter()
        runner.run(_compute(root, observers))
        return time.perf_counter() - began


async def _compute(root: Any, observers: list[Any]) -> None:
    await root.compute(observers=observers)


def rows(items: int, rounds: int) -> Iterator[Row]:
    """Each piece of work without an observer and with one of each kind."""
    for label, build in WORKS.items():
        works = {OURS: lambda build=build: seconds_of(build, items, [])}
        for name, make in OBSERVERS.items():
            works[name] = lambda build=build, make=make: seconds_of(build, items, [make()])
        figures = {
            name: [each / items * 1e6 for each in several]
            for name, several in taking_turns(works, rounds).items()
        }
        plain = figures.pop(OURS)
        yield Row(f"{label}, no observer", plain, "µs")
        for name, several in figures.items():
            ratio = statistics.median(several) / statistics.median(plain)
            yield Row(f"{label}, {name}", several, "µs", ratio)


BENCHMARKS = [Benchmark("observing", "run graphs that are observed, a node", 20_000, rows)]
