"""How many of something there are over time: nodes that run, nodes that wait for a slot, bytes of results.

Each is a series of steps, made from a run that is over. It is a function of a recording, and nothing else.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from math import isnan

from asyncgraph.observe.recorded import RecordedRun
from asyncgraph.observe.schedule import Schedule

__all__ = ["Series", "alive", "ready", "running", "series_of"]


@dataclass(frozen=True)
class Series:
    """A number that changes over time.

    Attributes:
        times: When it changes, in rising order, each once.
        values: What it is from then on; 0 before the first.
    """

    times: list[float]
    values: list[int]

    def __iter__(self) -> Iterator[tuple[float, int]]:
        return iter(zip(self.times, self.values, strict=True))

    def __len__(self) -> int:
        return len(self.times)

    @property
    def peak(self) -> int:
        """The highest value."""
        return max(self.values, default=0)

    def pieces(self, until: float) -> Iterator[tuple[float, float, int]]:
        """Each stretch in which it stays the same: beginning, end and value. The last goes on to `until`."""
        for index, (time, value) in enumerate(self):
            end = self.times[index + 1] if index + 1 < len(self.times) else max(until, time)
            yield time, end, value

    def total(self, until: float) -> float:
        """The sum of value times seconds, up to then."""
        return sum((end - time) * value for time, end, value in self.pieces(until))

    def thinned(self, most: int) -> Series:
        """The same with at most so many steps: of neighbours, the highest value; the last step stays."""
        length = len(self)
        if length <= most:
            return self
        width = -(-(length - 1) // max(most - 1, 1))
        firsts = range(0, length - 1, width)
        times = [self.times[first] for first in firsts]
        values = [max(self.values[first : min(first + width, length - 1)]) for first in firsts]
        return Series([*times, self.times[-1]], [*values, self.values[-1]])


def series_of(changes: Iterable[tuple[float, int]]) -> Series:
    """The series that these changes, of any order, make."""
    times: list[float] = []
    values: list[int] = []
    value = 0
    for time, change in sorted(changes):
        value += change
        if times and times[-1] == time:
            values[-1] = value
        else:
            times.append(time)
            values.append(value)
    return Series(times, values)


def running(schedule: Schedule, executors: Iterable[str] | None = None) -> Series:
    """How many calls were going on; of some executors, or of all."""
    return series_of(_calls(schedule, None if executors is None else set(executors)))


def _calls(schedule: Schedule, executors: set[str] | None) -> Iterator[tuple[float, int]]:
    for call in schedule.calls:
        if executors is None or schedule.executor_of(call) in executors:
            yield call.began, 1
            yield call.ended, -1


def ready(schedule: Schedule, executors: Iterable[str] | None = None) -> Series:
    """How many nodes waited for nothing but a slot."""
    wanted = None if executors is None else set(executors)
    return series_of(_waits(schedule, wanted))


def _waits(schedule: Schedule, executors: set[str] | None) -> Iterator[tuple[float, int]]:
    run = schedule.run
    for call in schedule.calls:
        since = run.ready[call.number]
        if call.earlier >= 0 or not since < call.began:
            continue
        if executors is None or schedule.executor_of(call) in executors:
            yield since, 1
            yield call.began, -1


def alive(run: RecordedRun) -> Series:
    """About how many bytes the values took that had come and not been let go of."""
    return series_of(_sizes(run))


def _sizes(run: RecordedRun) -> Iterator[tuple[float, int]]:
    for number, size in enumerate(run.sizes):
        # What a node has by returning another one is the value of that.
        if size and number not in run.roots and not isnan(run.ends[number]):
            yield run.ends[number], size
            if not isnan(gone := run.released[number]):
                yield max(gone, run.ends[number]), -size
