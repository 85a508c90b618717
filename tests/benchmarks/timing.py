"""How things are measured: contenders take turns, garbage is collected before each, every figure is kept."""

from __future__ import annotations

import asyncio
import gc
import statistics
import time
from collections.abc import Callable, Coroutine, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

from tests.benchmarks.table import Row

T = TypeVar("T")

Contender = Callable[[int], float]
"""Does so many items of the work once, and returns the seconds that the measured part took."""

OURS = "asyncgraph"


@dataclass(frozen=True)
class Benchmark:
    """One part of the suite.

    Attributes:
        name: What it is called on the command line.
        what: What it measures.
        items: How many nodes, calls or coroutines by default; 0 if that cannot be chosen.
        rows: Measures, given the number of items and of rounds.
        most_rounds: More rounds than this are not made, because one takes seconds.
        contenders: Those that it compares, if that is all it does.
    """

    name: str
    what: str
    items: int
    rows: Callable[[int, int], Iterator[Row]]
    most_rounds: int | None = None
    contenders: Mapping[str, Contender] | None = None

    def measure(self, items: int | None, rounds: int) -> Iterator[Row]:
        """Measure at the default size or another."""
        if self.most_rounds is not None:
            rounds = min(rounds, self.most_rounds)
        return self.rows(self.items if items is None else items, rounds)


def taking_turns(works: Mapping[str, Callable[[], T]], rounds: int) -> dict[str, list[T]]:
    """What each of them returned in each round."""
    results: dict[str, list[T]] = {name: [] for name in works}
    for _ in range(rounds):
        for name, work in works.items():
            gc.collect()
            results[name].append(work())
    return results


def compared(
    name: str,
    what: str,
    items: int,
    contenders: Mapping[str, Contender],
    *,
    at_least: Mapping[str, float],
    most: Mapping[str, int] | None = None,
) -> Benchmark:
    """A benchmark that compares contenders in microseconds an item; the first of them is ours.

    Args:
        name: Of the benchmark.
        what: Likewise.
        items: Likewise.
        contenders: By name.
        at_least: How many times our time the others are to take.
        most: The most items for single contenders, whose cost an item does not depend on it.
    """
    limits = most or {}

    def rows(items: int, rounds: int) -> Iterator[Row]:
        counts = {each: min(items, limits.get(each, items)) for each in contenders}
        results = taking_turns(
            {each: (lambda each=each: contenders[each](counts[each])) for each in contenders}, rounds
        )
        figures = {each: [s / counts[each] * 1e6 for s in seconds] for each, seconds in results.items()}
        yield from rows_beside_ours(
            figures, "µs", at_least, {each: f"{n:,} of them" for each, n in counts.items() if n < items}
        )

    return Benchmark(name, what, items, rows, contenders=contenders)


def rows_beside_ours(
    figures: Mapping[str, list[float]],
    unit: str,
    at_least: Mapping[str, float],
    remarks: Mapping[str, str] | None = None,
    prefix: str = "",
) -> Iterator[Row]:
    """Rows of contenders, the first of them ours, and how many times our figure the others have."""
    ours = statistics.median(next(iter(figures.values())))
    for index, (name, each) in enumerate(figures.items()):
        remark = (remarks or {}).get(name)
        label = f"{prefix}{name}{f' ({remark})' if remark else ''}"
        ratio = statistics.median(each) / ours if index else None
        yield Row(label, each, unit, ratio, at_least=at_least.get(name) if index else None)


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
