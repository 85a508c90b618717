"""What it costs a run that somebody sees how far it is."""

from __future__ import annotations

import asyncio
import io
import statistics
import time
from collections.abc import Callable, Iterator
from typing import Any

from asyncgraph import delayed
from asyncgraph.observe import ProgressBar
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
    """Each piece of work with and without a bar; the ratio is that of the two."""
    for label, build in WORKS.items():
        figures = taking_turns(
            {
                OURS: lambda build=build: seconds(build, items, []),
                "with ProgressBar()": lambda build=build: seconds(
                    build, items, [ProgressBar(file=_Terminal())]
                ),
            },
            rounds,
        )
        plain, shown = ([each / items * 1e6 for each in several] for several in figures.values())
        yield Row(label, plain, "µs")
        ratio = statistics.median(shown) / statistics.median(plain)
        yield Row(f"{label}, with ProgressBar()", shown, "µs", ratio, at_most=1.02)


BENCHMARKS = [Benchmark("progress", "run graphs that a progress bar is shown of, a node", 100_000, rows)]
