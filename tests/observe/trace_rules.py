"""The rules of the Chrome trace event format, as far as viewers rely on them."""

from __future__ import annotations

import itertools
import json
from collections import Counter, defaultdict

_FIELDS = {
    "X": {"name", "cat", "pid", "tid", "ts", "dur", "args"},
    "M": {"name", "pid", "tid", "ts", "args"},
    "C": {"name", "pid", "tid", "ts", "args"},
    "i": {"name", "cat", "pid", "tid", "ts", "s", "args"},
    "s": {"name", "cat", "id", "pid", "tid", "ts"},
    "f": {"name", "cat", "id", "pid", "tid", "ts", "bp"},
}


def check(text):
    """Return the document, if it keeps all rules; fail at the first that it breaks."""
    document = json.loads(text, parse_constant=_refuse)
    assert set(document) == {"displayTimeUnit", "traceEvents", "otherData"}
    events = document["traceEvents"]
    for event in events:
        assert set(event) == _FIELDS[event["ph"]] | {"ph"}, event
        assert event["ts"] >= 0
        # Nanoseconds, as Perfetto keeps them: no finer.
        assert abs(event["ts"] * 1000 - round(event["ts"] * 1000)) < 1e-3
    tracks = _slices(events)
    _check_no_overlap(tracks)
    _check_names(events)
    _check_flows(events, tracks)
    _check_counters(events)
    return document


def _refuse(name):
    raise AssertionError(f"{name} is no JSON")


def nanoseconds(time):
    """Return a time of the file as a whole number."""
    return round(time * 1000)


def _slices(events):
    tracks = defaultdict(list)
    for event in events:
        if event["ph"] == "X":
            assert event["dur"] >= 0
            began = nanoseconds(event["ts"])
            tracks[event["pid"], event["tid"]].append((began, began + nanoseconds(event["dur"])))
    return tracks


def _check_no_overlap(tracks):
    """On a track, the next slice begins when the one before is over: nothing is nested here."""
    for track, slices in tracks.items():
        slices.sort()
        for (_, ended), (began, _) in itertools.pairwise(slices):
            assert ended <= began, f"two slices of track {track} overlap"


def _check_names(events):
    """Each process and track has one name and one place."""
    used = {(event["pid"], event["tid"]) for event in events}
    for kind, owners in (
        ("thread_name", used),
        ("thread_sort_index", used),
        ("process_name", {(pid, 0) for pid, _ in used}),
        ("process_sort_index", {(pid, 0) for pid, _ in used}),
    ):
        named = Counter((event["pid"], event["tid"]) for event in events if event["name"] == kind)
        assert set(named) == owners
        assert set(named.values()) <= {1}
    labels = [(event["pid"], event["args"]["name"]) for event in events if event["name"] == "thread_name"]
    assert len(labels) == len(set(labels))


def _check_flows(events, tracks):
    """Each arrow has two ends, each in a slice, and leads forward in time."""
    begins = {event["id"]: event for event in events if event["ph"] == "s"}
    ends = {event["id"]: event for event in events if event["ph"] == "f"}
    assert begins.keys() == ends.keys()
    assert 2 * len(begins) == sum(event["ph"] in "sf" for event in events)
    for id, begin in begins.items():
        end = ends[id]
        assert end["bp"] == "e"
        assert (begin["cat"], begin["name"]) == (end["cat"], end["name"])
        assert nanoseconds(begin["ts"]) <= nanoseconds(end["ts"])
        for event in (begin, end):
            time = nanoseconds(event["ts"])
            slices = tracks[event["pid"], event["tid"]]
            assert any(began <= time <= ended for began, ended in slices), "an end of an arrow is in no slice"


def _check_counters(events):
    """Of each counter, times rise, values are numbers, not negative, and the last is that nothing is left."""
    series = defaultdict(list)
    for event in events:
        if event["ph"] == "C":
            series[event["pid"], event["name"]].append((nanoseconds(event["ts"]), event["args"]))
    for steps in series.values():
        times = [time for time, _ in steps]
        assert times == sorted(set(times))
        for _, args in steps:
            (value,) = args.values()
            assert isinstance(value, int)
            assert value >= 0
