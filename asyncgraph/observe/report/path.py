"""The critical path of a run: what it waited for at each moment, from its end back to its beginning.

The walk begins at the call that ended last. What that call waited for is, of the calls that had to be over
before, the one that ended last; between the two the node waited for a slot, for a worker to start, for the
pause before another attempt, or for the loop. So the steps of the path are as long as the run, together, and
each second of it has one cause.

Beside this there is the longest chain: the calls of the path that would be left if there were slots for
everything. No number of workers makes the run shorter than it.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from asyncgraph.observe.recorded import RecordedWorker
from asyncgraph.observe.report.analysis import ExecutorUse
from asyncgraph.observe.schedule import Call, Schedule, needed_by

__all__ = ["CriticalPath", "LongestChain", "Step", "critical_path_of", "longest_chain_of"]


_MOSTLY = 0.25
"""Where all slots are in use for so much of a wait, it is one for a slot: between two calls each is free."""


class Step(NamedTuple):
    """A part of the critical path.

    Attributes:
        kind: "call"; "slot", for the wait for a slot; "worker", for that until a worker process was there;
            "held", for that of a node which needs nothing and was held back, because what such nodes feed
            waited for slots; "pause", before another attempt; "loop", for what lies between the end of a call
            and what followed from it, if it is none of these; "begin" before the first node was ready; "end"
            after the last call.
        began: When it began, in seconds on the clock of events.
        ended: When it ended.
        number: The number of the node that was called, or waited; -1 for "begin" and "end".
        key: Its key; "" for those.
        name: The name of its function.
        executor: Where it was called, or was to be called.
        behind: For "slot": the key of the call that had the slot before, if there was one. For "held": the
            executor whose slots were all in use.
    """

    kind: str
    began: float
    ended: float
    number: int = -1
    key: str = ""
    name: str = ""
    executor: str = ""
    behind: str = ""

    @property
    def seconds(self) -> float:
        """How long it took."""
        return self.ended - self.began


@dataclass(frozen=True)
class CriticalPath:
    """What a run waited for.

    Attributes:
        steps: In the order of time; each begins where the one before it has ended.
    """

    steps: list[Step]

    @property
    def seconds(self) -> float:
        """How long it is: as long as the run."""
        return self.steps[-1].ended - self.steps[0].began if self.steps else 0.0

    def seconds_by_kind(self) -> dict[str, float]:
        """How long the steps of each kind are together."""
        kinds: dict[str, float] = {}
        for step in self.steps:
            kinds[step.kind] = kinds.get(step.kind, 0.0) + step.seconds
        return kinds


class LongestChain(NamedTuple):
    """The chain of calls, each needed by the next, that takes longest.

    Attributes:
        seconds: How long its calls take together.
        calls: The calls, in the order of time.
    """

    seconds: float
    calls: list[Call]


class _Before:
    """Which calls had to be over before a call could begin."""

    def __init__(self, schedule: Schedule) -> None:
        self._last = schedule.last
        self._needed = dict(needed_by(schedule.run))
        # For each call that is not the first of its number, the one before it.
        self._former: dict[int, int] = {}
        if schedule.run.calls:
            seen: dict[int, int] = {}
            for index, call in enumerate(schedule.calls):
                if call.number in seen:
                    self._former[index] = seen[call.number]
                seen[call.number] = index
        self._schedule = schedule

    def is_needing(self, number: int) -> bool:
        """Whether a node needs others."""
        return bool(self._needed.get(number))

    def of(self, index: int) -> list[int]:
        """The indices of these calls."""
        call = self._schedule.calls[index]
        before = [self._last[each] for each in self._needed.get(call.number, ()) if self._last[each] >= 0]
        if index in self._former:
            before.append(self._former[index])
        return before


def longest_chain_of(schedule: Schedule) -> LongestChain:
    """The longest chain of the calls of a run."""
    calls, before = schedule.calls, _Before(schedule)
    lengths: list[float] = []
    previous: list[int] = []
    for index, call in enumerate(calls):
        best, origin = 0.0, -1
        for each in before.of(index):
            if each < index and calls[each].ended <= call.began and lengths[each] > best:
                best, origin = lengths[each], each
        lengths.append(best + call.ended - call.began)
        previous.append(origin)
    if not calls:
        return LongestChain(0.0, [])
    at = max(range(len(calls)), key=lengths.__getitem__)
    seconds, chain = lengths[at], []
    while at >= 0:
        chain.append(calls[at])
        at = previous[at]
    return LongestChain(seconds, chain[::-1])


def critical_path_of(
    schedule: Schedule, uses: Sequence[ExecutorUse], workers: Sequence[RecordedWorker] = ()
) -> CriticalPath:
    """The critical path of a run that is over.

    Args:
        schedule: Its calls.
        uses: How busy its executors were (see `executors_of`).
        workers: The worker processes that came meanwhile.
    """
    return CriticalPath(_Walk(schedule, uses, workers).steps())


class _Walk:
    """The way from the end of a run back to its beginning."""

    def __init__(
        self, schedule: Schedule, uses: Sequence[ExecutorUse], workers: Sequence[RecordedWorker]
    ) -> None:
        self._schedule = schedule
        self._run = schedule.run
        self._before = _Before(schedule)
        self._full = {use.executor: use.full for use in uses}
        self._started = {worker.worker: worker.started for worker in workers}
        self._on_track: dict[int, list[Call]] = {}
        for call in schedule.calls:
            self._on_track.setdefault(call.track, []).append(call)
        self._steps: list[Step] = []
        # Where the steps that are known begin.
        self._at = self._run.began if self._run.ended is None else self._run.ended

    def steps(self) -> list[Step]:
        calls = self._schedule.calls
        index = max(range(len(calls)), key=lambda each: (calls[each].ended, each), default=-1)
        if index >= 0:
            self._go_back("end", min(calls[index].ended, self._at))
        while index >= 0:
            call = calls[index]
            self._go_back("call", call.began, call)
            index = self._cause_of(index)
            if index >= 0:
                self._wait(call, calls[index])
            else:
                self._first_wait(call)
        self._go_back("end" if not calls else "begin", self._run.began)
        return self._steps[::-1]

    def _go_back(self, kind: str, until: float, call: Call | None = None, behind: str = "") -> None:
        """A step that begins then, if it is not behind the beginning of what is known, nor before the run."""
        began = max(until, self._run.began)
        if began >= self._at:
            return
        later = self._steps[-1] if self._steps else None
        if call is None:
            self._steps.append(Step(kind, began, self._at))
        elif later is not None and kind == later.kind != "call" and call.number == later.number:
            self._steps[-1] = later._replace(began=began)
        else:
            schedule = self._schedule
            key, name = schedule.key_of(call), schedule.name_of(call)
            executor = schedule.executor_of(call)
            self._steps.append(Step(kind, began, self._at, call.number, key, name, executor, behind))
        self._at = began

    def _cause_of(self, index: int) -> int:
        """The call that was over last before this one could begin, or -1."""
        calls = self._schedule.calls
        call = calls[index]
        # Which is earlier in the list, so that the walk ends whatever the times are.
        before = [each for each in self._before.of(index) if each < index and calls[each].ended <= call.began]
        return max(before, key=lambda each: (calls[each].ended, each), default=-1)

    def _wait(self, call: Call, cause: Call) -> None:
        if cause.number == call.number:
            self._go_back("pause" if cause.outcome == "retried" else "loop", cause.ended, call)
            return
        self._wait_since(call, self._ready_of(call, cause.ended))
        self._go_back("loop", cause.ended, call)

    def _first_wait(self, call: Call) -> None:
        self._wait_since(call, self._ready_of(call, self._run.began))

    def _ready_of(self, call: Call, earliest: float) -> float:
        ready = self._run.ready[call.number]
        if call.earlier < 0 and earliest <= ready <= call.began:
            return ready
        return call.began if call.earlier >= 0 else earliest

    def _wait_since(self, call: Call, since: float) -> None:
        """The wait of a node between being ready and its call."""
        executor = self._schedule.executor_of(call)
        started = self._started.get(self._schedule.tracks[call.track].name, since)
        for_worker = max(min(started, call.began) - since, 0.0) if executor == "process" else 0.0
        after = since + for_worker
        former = self._former_on_track(call)
        free = after + self._wait_for_slot(executor, after, call, former)
        crowded = self._held_for(call, executor, free)
        self._go_back("held" if crowded else "loop", free, call, crowded)
        self._go_back("slot", after, call, "" if former is None else self._schedule.key_of(former))
        self._go_back("worker", since, call)

    def _wait_for_slot(self, executor: str, since: float, call: Call, former: Call | None) -> float:
        """For how long it had no slot: others had them all, or were on their way to one just free."""
        full = self._full.get(executor)
        if full is None or since >= call.began:
            return 0.0
        until = since if former is None else min(max(former.ended, since), call.began)
        if full.within(since, until) >= _MOSTLY * (until - since) > 0:
            return until - since
        return min(full.within(since, call.began), call.began - since)

    def _held_for(self, call: Call, executor: str, since: float) -> str:
        """The other executor whose slots were in use while it had no call, if it only feeds others; or ""."""
        if self._before.is_needing(call.number) or since >= call.began:
            return ""
        within = {
            name: full.within(since, call.began) for name, full in self._full.items() if name != executor
        }
        busiest = max(within, key=within.__getitem__, default="")
        return busiest if busiest and within[busiest] >= _MOSTLY * (call.began - since) else ""

    def _former_on_track(self, call: Call) -> Call | None:
        """The call that was on the same track before."""
        row = self._on_track[call.track]
        place = bisect_left(row, (call.began, call.ended), key=lambda each: (each.began, each.ended))
        return row[place - 1] if place > 0 else None
