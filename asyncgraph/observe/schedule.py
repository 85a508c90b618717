"""The schedule of a run that is over: its calls, each on a track on which no other overlaps it.

This decides what tracks there are. A worker is one; coroutines, which overlap on the loop, get as many as
were being computed at once. Traces and reports draw it. It is a function of a recording, and nothing else.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property
from heapq import heappop, heappush
from math import isnan
from typing import NamedTuple

from asyncgraph.observe.ordering import in_order
from asyncgraph.observe.recorded import CANCELLED, FAILED, STATES, RecordedRun

__all__ = ["Call", "Schedule", "Track", "needed_by", "schedule_of", "value_of"]


class Call(NamedTuple):
    """A call of a node's function.

    Attributes:
        number: The number of the node.
        began: When it began, in seconds on the clock of events.
        ended: When it ended; not before.
        track: The index of its track.
        attempt: Which attempt of the node it was, from 1 on.
        outcome: "finished", "failed", "cancelled", "retried", or "expanded" if it has returned a node.
        earlier: The index in the run's `calls`, for one that another call of the same number has followed;
            -1 for the last call of a node.
    """

    number: int
    began: float
    ended: float
    track: int
    attempt: int
    outcome: str
    earlier: int


class Track(NamedTuple):
    """A row of calls of which no two overlap.

    Attributes:
        name: "loop", "loop 3" for coroutines, "thread 2" or "process 4711".
        executor: "loop", "coroutine", "thread" or "process".
    """

    name: str
    executor: str


@dataclass(frozen=True)
class Schedule:
    """The calls of a run, and the tracks that they are on.

    Attributes:
        run: The run.
        calls: The calls, in the order in which they began.
        tracks: The tracks: the loop's first, then those of threads, then those of processes.
        last: For each node that was called, the index of its last call; -1 for the others.
    """

    run: RecordedRun
    calls: list[Call]
    tracks: list[Track]
    last: list[int]

    def name_of(self, call: Call) -> str:
        """The name of the function that was called."""
        if call.earlier >= 0:
            return self.run.calls[call.earlier].name
        return self.run.infos.name_of(call.number)

    def key_of(self, call: Call) -> str:
        """The key that the node had."""
        if call.earlier >= 0:
            return self.run.calls[call.earlier].key
        return self.run.infos.key_of(call.number)

    @cached_property
    def by_executor(self) -> dict[str, list[Call]]:
        """The calls that each executor has made, in the order in which they began."""
        calls: dict[str, list[Call]] = {track.executor: [] for track in self.tracks}
        lists = [calls[track.executor] for track in self.tracks]
        for call in self.calls:
            lists[call.track].append(call)
        return calls

    def executor_of(self, call: Call) -> str:
        """Where it was called: "loop", "coroutine", "thread" or "process"."""
        return self.tracks[call.track].executor


_Row = tuple[float, float, int, int, str, int]


def schedule_of(run: RecordedRun) -> Schedule:
    """The schedule of a run that is over."""
    groups: dict[tuple[str, str], list[_Row]] = {}
    for group, row in _rows(run):
        groups.setdefault(group, []).append(row)
    tracks: list[Track] = []
    calls: list[Call] = []
    for group in sorted(groups, key=_place_of):
        rows = in_order(groups[group])
        lanes = _lanes_of(rows)
        first = len(tracks)
        tracks += [Track(_lane_name(group, lane), group[0]) for lane in range(max(lanes) + 1)]
        calls += [
            Call(number, began, ended, first + lane, attempt, outcome, earlier)
            for (began, ended, number, attempt, outcome, earlier), lane in zip(rows, lanes, strict=True)
        ]
    calls = in_order(calls, lambda call: (call.began, call.ended))
    last = [-1] * len(run)
    for index, call in enumerate(calls):
        if call.earlier < 0:
            last[call.number] = index
    return Schedule(run, calls, tracks, last)


def value_of(run: RecordedRun, number: int) -> int:
    """The node whose call has made the value of a node: another one, if it has returned that."""
    roots = run.roots
    seen = 0
    while number in roots and seen <= len(roots):  # a circle would be a fault of the events
        number = roots[number]
        seen += 1
    return number


def needed_by(run: RecordedRun) -> Iterator[tuple[int, set[int]]]:
    """For each node, the nodes whose calls had to be over before it could begin."""
    sources = _sources_of(run)
    has_roots = bool(run.roots)
    length = len(run)
    for number in range(length):
        needed = {each for each in run.infos.dependencies_of(number) if each < length}
        if has_roots:
            needed = {value_of(run, each) for each in needed}
        if number in sources:
            needed.add(sources[number])
        needed.discard(number)
        yield number, needed


def _sources_of(run: RecordedRun) -> dict[int, int]:
    """For each node that came later, the node that has returned it."""
    length = len(run)
    return {
        number: growth.source
        for growth in run.growth
        if growth.source is not None and growth.source < length
        for number in range(growth.first, min(growth.first + growth.nodes, length))
    }


def _rows(run: RecordedRun) -> Iterator[tuple[tuple[str, str], _Row]]:
    """Each call, and the executor and worker that it was made on."""
    kinds, kind_of = run.infos.kinds, run.infos.kind_of
    for number, (began, ended) in enumerate(zip(run.starts, run.ends, strict=True)):
        if isnan(began) or isnan(ended):  # it was not called
            continue
        kind = kind_of[number]
        is_async = kind >= 0 and kinds[kind][3]
        worker = run.workers[number]
        name = "loop" if worker < 0 else run.worker_names[worker]
        row = (began, max(began, ended), number, run.attempts[number], _outcome_of(run, number), -1)
        yield _group_of(name, is_async=is_async), row
    for index, call in enumerate(run.calls):
        kind = kind_of[call.number] if call.number < len(kind_of) else -1
        is_async = kind >= 0 and kinds[kind][3]
        outcome = "retried" if call.error else "expanded"
        row = (call.began, max(call.began, call.ended), call.number, call.attempt, outcome, index)
        yield _group_of(call.worker, is_async=is_async), row


def _outcome_of(run: RecordedRun, number: int) -> str:
    if number in run.roots:
        return "expanded"
    state = run.states[number]
    return STATES[state] if state in {FAILED, CANCELLED} else "finished"


def _group_of(worker: str, *, is_async: bool) -> tuple[str, str]:
    executor = worker.partition(" ")[0] or "loop"
    return ("coroutine" if executor == "loop" and is_async else executor), worker


_EXECUTORS = {"loop": 0, "coroutine": 1, "thread": 2, "process": 3}


def _place_of(group: tuple[str, str]) -> tuple[int, int, str]:
    """Where the tracks of a worker stand: by executor, then by the number in its name."""
    executor, worker = group
    number = re.search(r"\d+", worker)
    return _EXECUTORS.get(executor, 4), int(number[0]) if number else 0, worker


def _lane_name(group: tuple[str, str], lane: int) -> str:
    executor, worker = group
    if executor == "coroutine":
        return f"loop {lane + 1}"
    return worker if lane == 0 else f"{worker} ({lane + 1})"


def _lanes_of(rows: Iterable[_Row]) -> list[int]:
    """A lane for each of these rows, which are in order, so that no two of one overlap: as few as can be."""
    busy: list[tuple[float, int]] = []
    free: list[int] = []
    lanes = []
    for began, ended, *_ in rows:
        while busy and busy[0][0] <= began:
            heappush(free, heappop(busy)[1])
        lane = heappop(free) if free else len(busy)
        heappush(busy, (ended, lane))
        lanes.append(lane)
    return lanes
