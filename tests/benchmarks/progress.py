"""What it costs a run that somebody sees how far it is."""

from __future__ import annotations

import asyncio
import io
import statistics
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

from asyncgraph import delayed
from asyncgraph.observe import ProgressBar
from asyncgraph.observe.progress.painter import SYSTEM
from tests.benchmarks.table import Row
from tests.benchmarks.timing import OURS, Benchmark, taking_turns
from tests.benchmarks.workloads import add_in_thread, add_on_loop, suspending, tree

_count = delayed(len, executor="loop")
_suspend = delayed(suspending)


class _Terminal(io.StringIO):
    """A terminal that nobody looks at."""

    def isatty(self) -> bool:
        return True


async def suspending_often(number: int) -> int:
    """A coroutine that lets the loop go round several times."""
    for _ in range(10):
        await asyncio.sleep(0)
    return number


_suspend_often = delayed(suspending_often)

WORKS: dict[str, Callable[[int], Any]] = {
    "inline": lambda items: tree(add_on_loop, items),
    "threads": lambda items: tree(add_in_thread, items),
    "coroutines that suspend": lambda items: _count([_suspend(number) for number in range(items)]),
    "those that do ten times": lambda items: _count([_suspend_often(number) for number in range(items)]),
}


class _Clock:
    """The real one, which notes how much time the thread of the bar has taken."""

    now = staticmethod(SYSTEM.now)
    spent = staticmethod(SYSTEM.spent)

    def __init__(self) -> None:
        self.taken = 0.0

    def wait(self, changed: threading.Condition, seconds: float) -> bool:
        self.taken = time.thread_time()
        is_up = SYSTEM.wait(changed, seconds)
        self.taken = time.thread_time()
        return is_up


class _Bar(ProgressBar):
    """A bar that notes how much time it has taken."""

    def __init__(self) -> None:
        super().__init__(file=_Terminal())
        self._clock = self.clock = _Clock()
        self.taken = 0.0

    def __call__(self, event: Any) -> None:
        began = time.thread_time()
        super().__call__(event)
        self.taken += time.thread_time() - began


def seconds(build: Callable[[int], Any], items: int, observers: list[Any]) -> float:
    """How much time such a graph takes to run, of all threads and not of other programs."""
    root = build(items)
    with asyncio.Runner() as runner:
        began = time.process_time()
        runner.run(_compute(root, observers))
        return time.process_time() - began


async def _compute(root: Any, observers: list[Any]) -> None:
    await root.compute(observers=observers)


def rows(items: int, rounds: int) -> Iterator[Row]:
    """Each piece of work with and without a bar, and which part of the time with one is the bar's."""
    for label, build in WORKS.items():
        bars: list[_Bar] = []

        def with_bar(build: Callable[[int], Any] = build, bars: list[_Bar] = bars) -> float:
            bars.append(_Bar())
            return seconds(build, items, [bars[-1]])

        figures = taking_turns(
            {OURS: lambda build=build: seconds(build, items, []), "with a bar": with_bar}, rounds
        )
        plain, shown = figures.values()
        yield Row(label, [each / items * 1e6 for each in plain], "µs")
        ratio = statistics.median(shown) / statistics.median(plain)
        yield Row(f"{label}, with ProgressBar()", [each / items * 1e6 for each in shown], "µs", ratio)
        parts = [(bar.taken + bar.clock.taken) / each * 100 for bar, each in zip(bars, shown, strict=True)]
        yield Row(f"{label}, what of this is the bar's", parts, "%", at_most=2)


BENCHMARKS = [Benchmark("progress", "run graphs that a progress bar is shown of, a node", 100_000, rows)]
