"""What the page draws its timeline from: plain numbers, so that 100 000 calls are a few megabytes.

Times are whole numbers of a unit that suits the run, counted from its beginning; along a track, a call begins
so much after the one before it has ended. Names are given once, keys as a name and a number.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from asyncgraph.observe.counters import Series
from asyncgraph.observe.ordering import in_order
from asyncgraph.observe.report.study import Study
from asyncgraph.observe.report.words import count_of
from asyncgraph.observe.schedule import Call

__all__ = ["MOST_CALLS", "payload_of"]

MOST_CALLS = 200_000
"""So many calls are drawn; of more, the longest."""

_OUTCOMES = ("finished", "failed", "cancelled", "retried", "expanded")

# The units: of a run of an hour, microseconds.
_UNITS = 3_600_000_000

# So many numbers are written at once.
_PIECE = 5_000

_compact = json.JSONEncoder(separators=(",", ":"), allow_nan=False).encode

# A series has so many steps: a wide screen has about as many columns.
_MOST_STEPS = 3_000


def payload_of(study: Study) -> Iterator[str]:
    """The JSON text of a run, in pieces, which may stand in a script element."""
    for piece in _json(_payload(study)):
        # What would end the element, or begin another one, in names.
        yield piece.replace("<", "\\u003c").replace("\u2028", "\\u2028").replace("\u2029", "\\u2029")


def _json(value: Any) -> Iterator[str]:
    """JSON of dictionaries and lists, in pieces: all at once would hold the GIL for long."""
    if isinstance(value, dict):
        for place, (key, each) in enumerate(value.items()):
            yield f"{',' if place else '{'}{_compact(key)}:"
            yield from _json(each)
        yield "}"
    elif isinstance(value, list) and value and isinstance(value[0], (dict, list)):
        for place, each in enumerate(value):
            yield "," if place else "["
            yield from _json(each)
        yield "]"
    elif isinstance(value, list) and len(value) > _PIECE:
        for first in range(0, len(value), _PIECE):
            yield "," if first else "["
            yield _compact(value[first : first + _PIECE])[1:-1]
        yield "]"
    else:
        yield _compact(value)


def _payload(study: Study) -> dict[str, Any]:
    schedule, run = study.schedule, study.run
    unit = max(1e-7, study.seconds / _UNITS)
    calls, note = _drawn(schedule.calls)
    names: dict[str, int] = {}
    tracks: list[dict[str, Any]] = [
        {"name": track.name, "executor": track.executor, **{column: [] for column in _COLUMNS}}
        for track in schedule.tracks
    ]
    ends = [0] * len(tracks)
    on_path = {(step.number, step.ended) for step in study.path.steps if step.kind == "call"}
    for call in calls:
        track = tracks[call.track]
        began, ended = (round((time - run.began) / unit) for time in (call.began, call.ended))
        name, key = schedule.name_of(call), schedule.key_of(call)
        waited = call.began - run.ready[call.number] if call.earlier < 0 else -1.0
        track["gap"].append(began - ends[call.track])
        track["long"].append(ended - began)
        track["name_of"].append(names.setdefault(name, len(names)))
        track["key"].append(_short_key(key, name))
        track["outcome"].append(_OUTCOMES.index(call.outcome))
        track["attempt"].append(call.attempt)
        track["waited"].append(round(waited / unit) if waited >= 0 else -1)
        track["size"].append(run.sizes[call.number] if call.outcome == "finished" else -1)
        track["path"].append(int((call.number, call.ended) in on_path))
        ends[call.track] = ended
    for track in tracks:
        for column, usual in _COLUMNS.items():
            if usual is not None and all(value == usual for value in track[column]):
                track[column] = usual
    return {
        "seconds": study.seconds,
        "unit": unit,
        "note": note,
        "names": list(names),
        "outcomes": _OUTCOMES,
        "tracks": tracks,
        "running": _steps(study.running, run.began, unit),
        "ready": _steps(study.ready, run.began, unit),
        "alive": _steps(study.alive, run.began, unit),
        "stalls": [
            [round((stall.began - run.began) / unit), round(stall.seconds / unit)] for stall in study.stalls
        ],
    }


# The columns of a track, and the value that most have: where all are equal to it, it is given once.
_COLUMNS: dict[str, int | None] = {
    "gap": None,
    "long": None,
    "name_of": None,
    "key": None,
    "outcome": 0,
    "attempt": 1,
    "waited": -1,
    "size": -1,
    "path": 0,
}


def _drawn(calls: list[Call]) -> tuple[list[Call], str]:
    """The calls that are drawn, and what is to be said if these are not all."""
    if len(calls) <= MOST_CALLS:
        return calls, ""
    by_length = in_order(calls, lambda call: call.began - call.ended)
    kept = in_order(by_length[:MOST_CALLS], lambda call: (call.began, call.ended))
    left = count_of(len(calls) - MOST_CALLS, "call")
    return kept, f"The shortest {left} are not drawn."


def _short_key(key: str, name: str) -> int | str:
    """The number at the end of a usual key; any other as it is."""
    suffix = key[len(name) + 1 :]
    usual = suffix.isdecimal() and suffix.isascii() and len(suffix) < 15
    return int(suffix) if usual and key == f"{name}-{int(suffix)}" else key


def _steps(series: Series, began: float, unit: float) -> list[list[int]]:
    thin = series.thinned(_MOST_STEPS)
    return [[round((time - began) / unit) for time in thin.times], thin.values]
