"""Runs as Chrome trace events: the JSON that Perfetto, speedscope and chrome://tracing open.

It is the JSON object format of "Trace Event Format". A run is a process there, each track of its schedule a
thread, a call a complete event, a dependency a flow arrow that begins within the slice of the one and ends
within that of the other. Times are in microseconds from the beginning of the first run, with three decimals:
they are rounded to nanoseconds before anything is compared, so that what touches does not overlap.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

from asyncgraph.observe.counters import Series, alive, ready, running
from asyncgraph.observe.recorded import RecordedRun
from asyncgraph.observe.schedule import Call, Schedule, needed_by, schedule_of

__all__ = ["MOST_ARROWS", "lines_of"]

MOST_ARROWS = 200_000
"""So many dependencies of a run have arrows: each takes 200 bytes, and viewers become slow."""

# A counter has so many steps; of a longer one, the highest value of each stretch is kept.
_MOST_STEPS = 5_000

# The track of what is about the run as a whole.
_RUN = 0

_compact = json.JSONEncoder(separators=(",", ":"), allow_nan=False).encode


def lines_of(runs: Sequence[RecordedRun]) -> Iterator[str]:
    """The text of the file for runs that are over, in pieces."""
    origin = min((run.began for run in runs), default=0.0)
    notes: list[str] = []
    yield '{"displayTimeUnit":"ms","traceEvents":['
    separator = "\n"
    for run in runs:
        for line in _Events(run, origin, notes.append).lines():
            yield separator + line
            separator = ",\n"
    began = min((run.wall_time for run in runs), default=0.0)
    other = {"made by": "asyncgraph", "began": _utc(began), "notes": " ".join(notes)}
    yield f'\n],"otherData":{_compact(other)}}}\n'


def _utc(wall_time: float) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(wall_time))


class _Events:
    """The events of one run, a line each.

    Args:
        run: The run.
        origin: The time that is 0.
        note: Is told what is left out.
    """

    def __init__(self, run: RecordedRun, origin: float, note: Callable[[str], None]) -> None:
        self._run = run
        self._origin = origin
        self._note = note
        self._schedule: Schedule = schedule_of(run)

    def lines(self) -> Iterator[str]:
        """All of them."""
        yield from map(_compact, self._names())
        yield from map(_compact, self._whole())
        yield from self._calls()
        yield from self._arrows()
        yield from map(_compact, self._instants())
        yield from self._counters()
        if self._run.omitted:
            self._note(f"{self._run.omitted} nodes of run {self._run.id} were not kept.")

    def _nanoseconds(self, moment: float) -> int:
        return max(round((moment - self._origin) * 1e9), 0)

    def _names(self) -> Iterator[dict[str, Any]]:
        run = self._run
        title = f"run {run.id}: {run.name}"
        if run.outer is not None:
            title += f" (in {run.outer[1]} of run {run.outer[0]})"
        yield self._metadata("process_name", _RUN, name=title)
        yield self._metadata("process_sort_index", _RUN, sort_index=run.id)
        yield self._metadata("process_labels", _RUN, labels=run.state)
        yield self._metadata("thread_name", _RUN, name="run")
        yield self._metadata("thread_sort_index", _RUN, sort_index=0)
        for number, track in enumerate(self._schedule.tracks, 1):
            yield self._metadata("thread_name", number, name=track.name)
            yield self._metadata("thread_sort_index", number, sort_index=number)

    def _metadata(self, kind: str, track: int, /, **args: Any) -> dict[str, Any]:
        return {"ph": "M", "name": kind, "pid": self._run.id, "tid": track, "ts": 0, "args": args}

    def _whole(self) -> Iterator[dict[str, Any]]:
        run = self._run
        began = self._nanoseconds(run.began)
        args = {"state": run.state, "nodes": len(run) + run.omitted}
        yield {
            "ph": "X",
            "name": run.name,
            "cat": "run",
            "pid": run.id,
            "tid": _RUN,
            "ts": began / 1e3,
            "dur": (max(self._nanoseconds(run.ended or run.began), began) - began) / 1e3,
            "args": args,
        }

    def _span(self, call: Call) -> tuple[int, int]:
        """When a call begins and ends, in nanoseconds."""
        return self._nanoseconds(call.began), self._nanoseconds(call.ended)

    def _calls(self) -> Iterator[str]:
        schedule, run = self._schedule, self._run
        infos, pid = run.infos, run.id
        names = [_compact(name) for name, *_ in infos.kinds]
        sites = [_compact("" if site is None else f"{site.file}:{site.line}") for *_, site in infos.kinds]
        executors = [_compact(track.executor) for track in schedule.tracks]
        for call in schedule.calls:
            began, ended = self._span(call)
            number, kind = call.number, infos.kind_of[call.number]
            if call.earlier < 0 and kind >= 0:
                name, site = names[kind], sites[kind]
            else:
                name, site = _compact(schedule.name_of(call)), '""'
            args = f'"key":{_compact(schedule.key_of(call))},"attempt":{call.attempt}'
            waited = call.began - run.ready[number]
            if call.earlier < 0 and waited >= 0:
                args += f',"waited seconds":{waited:.6f}'
            if call.outcome == "finished":
                args += f',"bytes":{run.sizes[number]}'
            else:
                args += f',"outcome":"{call.outcome}"'
            yield (
                f'{{"ph":"X","name":{name},"cat":{executors[call.track]},"pid":{pid},"tid":{call.track + 1}'
                f',"ts":{_microseconds(began)},"dur":{_microseconds(ended - began)}'
                f',"args":{{{args},"built at":{site}}}}}'
            )

    def _arrows(self) -> Iterator[str]:
        """An arrow for each dependency of which both ends were called, and the note if there are too many."""
        schedule, pid = self._schedule, self._run.id
        calls, last = schedule.calls, schedule.last
        count = 0
        for number, needed in needed_by(self._run):
            if last[number] < 0:
                continue
            call = calls[last[number]]
            arrives = self._nanoseconds(call.began)
            for each in needed:
                if last[each] < 0:
                    continue
                source = calls[last[each]]
                leaves = self._leaving(source, arrives)
                if leaves is None:
                    continue
                if count == MOST_ARROWS:
                    self._note(f"Run {pid} has more than {MOST_ARROWS} dependencies: these have arrows.")
                    return
                count += 1
                common = f'"name":"dependency","cat":"dependency","id":"{pid}.{count}","pid":{pid}'
                yield (
                    f'{{"ph":"s",{common},"tid":{source.track + 1},"ts":{_microseconds(leaves)}}},\n'
                    f'{{"ph":"f","bp":"e",{common},"tid":{call.track + 1},"ts":{_microseconds(arrives)}}}'
                )

    def _leaving(self, source: Call, arrives: int) -> int | None:
        """When an arrow leaves a call: within it, and not after it arrives; None if it cannot."""
        began, ended = self._span(source)
        # At its very end the slice would be over.
        leaves = min(max(ended - 1, began), arrives)
        return leaves if leaves >= began else None

    def _instants(self) -> Iterator[dict[str, Any]]:
        run, schedule = self._run, self._schedule
        for failure in run.failures:
            index = schedule.last[failure.number] if failure.number < len(run) else -1
            track = schedule.calls[index].track + 1 if index >= 0 else _RUN
            yield self._instant("failed", failure.time, track, run.infos.key_of(failure.number), failure.type)
        tracks = {call.earlier: call.track + 1 for call in schedule.calls if call.earlier >= 0}
        for index, earlier in enumerate(run.calls):
            if earlier.error:
                yield self._instant("retrying", earlier.ended, tracks[index], earlier.key, earlier.error)

    def _instant(self, what: str, moment: float, track: int, key: str, error: str) -> dict[str, Any]:
        return {
            "ph": "i",
            "s": "t",
            "name": f"{key} {what}",
            "cat": what,
            "pid": self._run.id,
            "tid": track,
            "ts": self._nanoseconds(moment) / 1e3,
            "args": {"error": error},
        }

    def _counters(self) -> Iterator[str]:
        run = self._run
        for name, unit, series in (
            ("running", "nodes", running(self._schedule.calls)),
            ("ready", "nodes", ready(run, self._schedule.calls)),
            ("live results", "bytes", alive(run)),
        ):
            for moment, value in _in_nanoseconds(series.thinned(_MOST_STEPS), self._nanoseconds):
                yield (
                    f'{{"ph":"C","name":"{name}","pid":{run.id},"tid":{_RUN},"ts":{_microseconds(moment)}'
                    f',"args":{{"{unit}":{value}}}}}'
                )


def _in_nanoseconds(series: Series, convert: Callable[[float], int]) -> Iterable[tuple[int, int]]:
    """The steps; of those that fall on one nanosecond, the last."""
    return {convert(moment): int(value) for moment, value in series}.items()


def _microseconds(nanoseconds: int) -> str:
    return f"{nanoseconds // 1000}.{nanoseconds % 1000:03d}"
