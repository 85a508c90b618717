"""What it costs a run that somebody sees how far it is."""

from __future__ import annotations

import asyncio
import io
import statistics
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

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


class Took(NamedTuple):
    """How long a graph has taken: computing, in all threads, and until it was done."""

    computing: float
    seconds: float


def took(build: Callable[[int], Any], items: int, observers: list[Any]) -> Took:
    """Run such a graph."""
    root = build(items)
    with asyncio.Runner() as runner:
        began = time.process_time(), time.perf_counter()
        runner.run(_compute(root, observers))
        return Took(time.process_time() - began[0], time.perf_counter() - began[1])


async def _compute(root: Any, observers: list[Any]) -> None:
    await root.compute(observers=observers)


def rows(items: int, rounds: int) -> Iterator[Row]:
    """Each piece of work with and without a bar, and which part of the time with one the bar has taken.

    What the work takes differs from round to round by more than the bar takes, so that it is measured, too.
    """
    for label, build in WORKS.items():
        bars: list[_Bar] = []

        def with_bar(build: Callable[[int], Any] = build, bars: list[_Bar] = bars) -> Took:
            bars.append(_Bar())
            return took(build, items, [bars[-1]])

        figures = taking_turns({OURS: lambda build=build: took(build, items, []), "bar": with_bar}, rounds)
        plain, shown = ([each.computing / items * 1e6 for each in several] for several in figures.values())
        yield Row(label, plain, "µs")
        ratio = statistics.median(shown) / statistics.median(plain)
        yield Row(f"{label}, with ProgressBar()", shown, "µs", ratio)
        parts = [
            (bar.taken + bar.clock.taken) / each.seconds * 100
            for bar, each in zip(bars, figures["bar"], strict=True)
        ]
        yield Row(f"{label}, the bar's part of the time", parts, "%", at_most=2)


BENCHMARKS = [Benchmark("progress", "run graphs that a progress bar is shown of, a node", 100_000, rows)]
