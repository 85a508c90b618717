"""How many of something there are over time: nodes that run, nodes that wait for a slot, bytes of results.

Each is a series of steps, made from a run that is over. It is a function of a recording, and nothing else.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from math import isnan

from asyncgraph.observe.ordering import in_order
from asyncgraph.observe.recorded import RecordedRun
from asyncgraph.observe.schedule import Call

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

    def at(self, time: float) -> int:
        """What it is at a time."""
        index = bisect_right(self.times, time) - 1
        return self.values[index] if index >= 0 else 0

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
    for time, change in in_order(changes):
        value += change
        _step(times, values, time, value)
    return Series(times, values)


def running(calls: Iterable[Call]) -> Series:
    """How many of these calls were going on."""
    return _between((call.began, call.ended) for call in calls)


def ready(run: RecordedRun, calls: Iterable[Call]) -> Series:
    """How many nodes waited for nothing but a slot, of those that these calls of the run are of."""
    since = run.ready
    return _between(
        (since[call.number], call.began)
        for call in calls
        if call.earlier < 0 and since[call.number] < call.began
    )


def _between(stretches: Iterable[tuple[float, float]]) -> Series:
    """How many of these stretches of time each moment is in."""
    pairs = list(stretches)
    # Numbers are sorted in a tenth of the time that pairs of them take.
    begins = sorted([begin for begin, _ in pairs])
    ends = sorted([end for _, end in pairs])
    times: list[float] = []
    values: list[int] = []
    value = first = 0
    for time in ends:
        while first < len(begins) and begins[first] <= time:
            value += 1
            _step(times, values, begins[first], value)
            first += 1
        value -= 1
        _step(times, values, time, value)
    return Series(times, values)


def _step(times: list[float], values: list[int], time: float, value: int) -> None:
    """From this time on it is this."""
    if times and times[-1] == time:
        values[-1] = value
    else:
        times.append(time)
        values.append(value)


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
