"""Frames and records as bytes: whatever pieces they come in, they are what they were."""

# ruff: noqa: D103 - helpers whose names say it

from __future__ import annotations

import io
import marshal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from asyncgraph.executors.process.frames import (
    ATOM,
    ERROR,
    GARBAGE,
    HELLO,
    LONGEST,
    PAYLOAD,
    PICKLE,
    RECORD,
    TIMES,
    Records,
    frame_of,
    payload_body,
    read_frame,
    record,
    split_payload,
)

atoms = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text() | st.binary()
others = st.tuples(
    st.sampled_from([kind for kind in range(HELLO, TIMES + 1) if kind != ATOM]), st.binary(max_size=40)
)
written = st.lists(st.tuples(st.just(ATOM), atoms) | others, max_size=20)


def as_bytes(records):
    return b"".join(record(kind, marshal.dumps(body) if kind == ATOM else body) for kind, body in records)


def cut(data, places=()):
    """What comes out if the data come in pieces; ATOMs one by one, and what stays behind."""
    records, found = Records(), []
    ends = sorted(min(place, len(data)) for place in places)
    for start, end in zip([0, *ends], [*ends, len(data)], strict=True):
        for kind, body in records.cut(data[start:end]):
            found += [(ATOM, each) for each in body] if kind == ATOM else [(kind, bytes(body))]
    return found, records


@given(written, st.lists(st.integers(0, 400), max_size=10))
def test_records_are_the_same_however_they_are_cut(records, places):
    """Any cut, also within the beginning of a record, changes nothing."""
    found, state = cut(as_bytes(records), places)
    assert found == records
    assert not state.is_amid


@given(written, st.integers(1, 20))
def test_an_unfinished_record_stays_behind(records, missing):
    """What has no end yet is no record, and is known to be under way."""
    data = as_bytes([*records, (PICKLE, b"x" * 20)])
    found, state = cut(data[:-missing])
    assert found == records
    assert state.is_amid
    assert [(kind, bytes(body)) for kind, body in state.cut(data[-missing:])] == [(PICKLE, b"x" * 20)]


@given(written, st.lists(st.integers(0, 400), max_size=5), st.sampled_from(["length", "kind", "body"]))
def test_what_comes_before_garbage_counts(records, places, fault):
    """Records are cut off before it; it is told once, and nothing is believed after it."""
    garbage = {
        "length": RECORD.pack(LONGEST + 1, ATOM),
        "kind": RECORD.pack(0, TIMES + 1),
        "body": record(ATOM, b"?"),
    }[fault]
    found, state = cut(as_bytes(records) + garbage + as_bytes([(ATOM, 1)]), places)
    assert found == [*records, (GARBAGE, b"")]
    assert state.cut(as_bytes([(ATOM, 1)])) == []
    assert not state.is_amid


def test_atoms_in_a_row_come_as_one():
    """The values of ATOMs that follow each other come together, up to whatever is between."""
    data = as_bytes([(ATOM, 1), (ATOM, 2), (ERROR, b"e"), (ATOM, 3)])
    assert [(kind, body if kind == ATOM else bytes(body)) for kind, body in Records().cut(data)] == [
        (ATOM, [1, 2]),
        (ERROR, b"e"),
        (ATOM, [3]),
    ]


def test_bodies_outlive_what_comes_next():
    """A body that is still in use does not change, nor stand in the way, when more comes."""
    records = Records()
    data = as_bytes([(PICKLE, b"first"), (PICKLE, b"second")])
    records.cut(data[:4])
    ((_, first),) = records.cut(data[4:-2])
    ((_, second),) = records.cut(data[-2:])
    assert (bytes(first), bytes(second)) == (b"first", b"second")


@given(st.lists(st.binary(max_size=100), max_size=5))
def test_a_frame_is_read_as_it_was_made(parts):
    """Head and parts come back, empty parts too, and the next frame begins where it should."""
    head = 1, 2, [], [], [("a", 1)], [], [], [len(part) for part in parts]
    stream = io.BytesIO(b"".join(frame_of(head, parts)) * 2)
    for _ in range(2):
        assert read_frame(stream) == (head, parts)
    assert read_frame(stream) is None


@pytest.mark.parametrize("length", [0, 5, 12, 30, -1])
def test_a_frame_that_breaks_off_is_the_end(length):
    """A stream that ends within a frame has ended."""
    data = b"".join(frame_of((1, 2, [], [], [()], [], 0, False, [], [3]), [b"abc"]))
    assert read_frame(io.BytesIO(data[:length])) is None


@given(st.lists(st.integers(0, 1 << 50), min_size=1), st.booleans(), st.binary())
def test_the_body_of_a_payload(sizes, is_shared, rest):
    """Sizes and place come back, and what follows."""
    ((kind, body),) = Records().cut(record(PAYLOAD, payload_body(sizes, is_shared=is_shared) + rest))
    assert kind == PAYLOAD
    assert split_payload(memoryview(body)) == (tuple(sizes), is_shared, rest)
