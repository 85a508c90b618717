"""What the times of a run say: how busy executors were, and how long functions take.

All of this is a function of a schedule, without a clock, and tested on schedules whose answers are known.
"""

from __future__ import annotations

import math
from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import accumulate

from asyncgraph.observe.counters import Series, ready, running
from asyncgraph.observe.recorded import RecordedRun
from asyncgraph.observe.schedule import Call, Schedule

__all__ = [
    "ExecutorUse",
    "FunctionTimes",
    "Intervals",
    "excess_of",
    "executors_of",
    "functions_of",
    "parallelism",
    "quantile",
]

_USAGE_NAMES = {"coroutine": "loop", "thread": "thread", "process": "process"}
"""What `Runtime.usage` calls the slots of an executor. Inline calls have none: they take the loop itself."""


class Intervals:
    """Stretches of time that do not overlap, in order; how much of another one they cover is soon found."""

    def __init__(self, stretches: Iterator[tuple[float, float]]) -> None:
        self.stretches = [(start, end) for start, end in stretches if end > start]
        self._ends = [end for _, end in self.stretches]
        self._sums = [0.0, *accumulate(end - start for start, end in self.stretches)]

    @property
    def total(self) -> float:
        """How long they are together."""
        return self._sums[-1]

    def within(self, start: float, end: float) -> float:
        """How much of this time they cover."""
        return max(self._until(end) - self._until(start), 0.0)

    def _until(self, time: float) -> float:
        index = bisect_left(self._ends, time)
        covered = self._sums[index]
        if index < len(self.stretches):
            covered += max(time - self.stretches[index][0], 0.0)
        return covered


@dataclass(frozen=True)
class ExecutorUse:
    """How busy an executor was, while a run went on.

    Attributes:
        executor: "loop" for inline calls, "coroutine", "thread" or "process".
        slots: How many calls it makes at once; if that is not known, how many it has made at once.
        is_known: Whether that is known.
        calls: How many calls it has made.
        busy: Seconds of calls, added up.
        utilisation: The share of the slots' time in which they were in use, from 0 to 1.
        peak: The most calls that went on at once.
        full: When all slots were in use.
        crowded: When they were and other nodes were ready.
        most_ready: The most nodes that were ready in such a time.
    """

    executor: str
    slots: int
    is_known: bool
    calls: int
    busy: float
    utilisation: float
    peak: int
    full: Intervals
    crowded: Intervals
    most_ready: int


def executors_of(schedule: Schedule) -> list[ExecutorUse]:
    """How busy each executor was that has made a call."""
    return [_use_of(schedule.run, executor, calls) for executor, calls in schedule.by_executor.items()]


def _use_of(run: RecordedRun, executor: str, calls: list[Call]) -> ExecutorUse:
    ended = run.began if run.ended is None else run.ended
    going, waiting = running(calls), ready(run, calls)
    known = run.slots.get(_USAGE_NAMES.get(executor, ""), 1 if executor == "loop" else 0)
    slots = max(known, going.peak, 1)
    busy = math.fsum(call.ended - call.began for call in calls)
    seconds = ended - run.began
    full = [(start, end) for start, end, value in going.pieces(ended) if value >= slots]
    crowded = list(_while_ready(full, waiting, ended))
    return ExecutorUse(
        executor,
        slots,
        bool(known),
        len(calls),
        busy,
        min(busy / (slots * seconds), 1.0) if seconds > 0 else 0.0,
        going.peak,
        Intervals(iter(full)),
        Intervals((start, end) for start, end, _ in crowded),
        max((count for *_, count in crowded), default=0),
    )


def _while_ready(
    full: Sequence[tuple[float, float]], waiting: Series, until: float
) -> Iterator[tuple[float, float, int]]:
    """The parts of these stretches in which nodes were ready, and how many."""
    pieces = [piece for piece in waiting.pieces(until) if piece[2] > 0]
    index = 0
    for start, end in full:
        while index < len(pieces) and pieces[index][1] <= start:
            index += 1
        later = index
        while later < len(pieces) and pieces[later][0] < end:
            begin, finish, count = pieces[later]
            if min(finish, end) > max(begin, start):
                yield max(begin, start), min(finish, end), count
            later += 1


def parallelism(schedule: Schedule) -> float:
    """How many calls went on at once, on average over the run."""
    run = schedule.run
    seconds = 0.0 if run.ended is None else run.ended - run.began
    return sum(call.ended - call.began for call in schedule.calls) / seconds if seconds > 0 else 0.0


@dataclass(frozen=True)
class FunctionTimes:
    """How long the calls of a function took, in seconds.

    Attributes:
        name: The name of the function.
        executor: Where it was called.
        count: How many calls there were, failed ones and repeated ones included.
        total: All of them added up.
        mean: Their average.
        median: Half took longer.
        p95: One in twenty took longer.
        longest: The longest took so long.
        longest_key: The key of the node of the longest.
        failed: How many nodes have failed.
        retried: How many calls were repeated.
        cancelled: How many were stopped.
    """

    name: str
    executor: str
    count: int
    total: float
    mean: float
    median: float
    p95: float
    longest: float
    longest_key: str
    failed: int
    retried: int
    cancelled: int


def functions_of(schedule: Schedule) -> list[FunctionTimes]:
    """How long the calls of each function took; those that took most time in all come first."""
    groups: dict[tuple[str, str], list[int]] = {}
    for index, call in enumerate(schedule.calls):
        groups.setdefault((schedule.name_of(call), schedule.executor_of(call)), []).append(index)
    rows = [_times_of(schedule, name, executor, indices) for (name, executor), indices in groups.items()]
    rows.sort(key=lambda row: (-row.total, row.name))
    return rows


def _times_of(schedule: Schedule, name: str, executor: str, indices: list[int]) -> FunctionTimes:
    calls = [schedule.calls[index] for index in indices]
    seconds = sorted(call.ended - call.began for call in calls)
    longest = max(calls, key=lambda call: call.ended - call.began)
    outcomes = [call.outcome for call in calls]
    total = math.fsum(seconds)
    return FunctionTimes(
        name,
        executor,
        len(calls),
        total,
        min(total / len(calls), seconds[-1]),
        quantile(seconds, 0.5),
        quantile(seconds, 0.95),
        seconds[-1],
        schedule.key_of(longest),
        outcomes.count("failed"),
        outcomes.count("retried"),
        outcomes.count("cancelled"),
    )


def quantile(ordered: Sequence[float], share: float) -> float:
    """The least of these, which are in order, that this share of them does not exceed."""
    return ordered[max(math.ceil(share * len(ordered)) - 1, 0)]


def excess_of(these: Sequence[float], those: Sequence[float]) -> float:
    """By how many standard deviations these are larger than those, against chance (the rank-sum test)."""
    ordered = sorted(those)
    more = sum(bisect_left(ordered, each) + bisect_right(ordered, each) for each in these) / 2
    pairs = len(these) * len(those)
    deviation = math.sqrt(pairs * (len(these) + len(those) + 1) / 12)
    return (more - pairs / 2) / deviation if deviation else 0.0
