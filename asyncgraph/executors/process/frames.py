"""What goes over the pipes between the parent and a worker, and what it looks like as bytes.

Parent to worker: what it has to know of its parent, then frames of calls; and, on a pipe of their own,
tokens: the numbers of calls, 8 bytes each, which a pipe never splits. A call may begin when its token has
been taken out of that pipe: the worker does that just before, and the parent takes tokens back for what is
not to begin there after all. The kernel gives each token to one of the two, whatever happens to either.
Worker to parent: records, each of which is written when what it tells has happened.

The worker imports this at its start, so it imports next to nothing. Nothing here unpickles anything.
"""

from __future__ import annotations

import marshal
import struct
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from asyncgraph.executors.process.payload import Part

__all__ = [
    "ATOM",
    "BEGUN",
    "ERROR",
    "GARBAGE",
    "HELLO",
    "LONGEST",
    "METER",
    "PASSED",
    "PAYLOAD",
    "PICKLE",
    "RECORD",
    "REFUSED",
    "TIMES",
    "Records",
    "frame_of",
    "payload_body",
    "read_frame",
    "record",
    "setup_frame",
    "split_payload",
]

RECORD = struct.Struct("=QB")
"""The beginning of a record: the length of its body, and its kind."""

# The kinds of records. HELLO comes once; then for each call ATOM (a plain value, marshalled), PICKLE,
# PAYLOAD (a pickle with buffers, or in shared memory), ERROR (an exception), or REFUSED (something did not
# pickle). PASSED: a step of a chain is done, and its value goes to the next. METER: how long calls have
# taken. BEGUN: a call that needs no token has begun. TIMES: when a call began and ended, before what has come
# of it, if that was asked for.
HELLO, BEGUN, METER, PASSED, ATOM, PICKLE, PAYLOAD, ERROR, REFUSED, TIMES = range(1, 11)

GARBAGE = 0
"""What `Records` makes of anything else."""

LONGEST = 1 << 48
"""No body is this long: whoever says so has written to a descriptor that is not theirs."""

# The beginning of a frame: the length of all that follows, and of the marshalled part of that.
_FRAME = struct.Struct("=QI")

_HEAD = struct.Struct("=I")


def setup_frame(setup: dict[str, Any]) -> bytes:
    """The first frame, which is read before anything of asyncgraph is there."""
    body = marshal.dumps(setup)
    return len(body).to_bytes(8, "little") + body


def frame_of(head: tuple[Any, ...], parts: Iterable[Part] = ()) -> list[Part]:
    """A frame: a tuple of plain values, and what follows in band."""
    body = marshal.dumps(head)
    following = list(parts)
    length = len(body) + sum(memoryview(part).nbytes for part in following)
    return [_FRAME.pack(length, len(body)) + body, *following]


def read_frame(stream: Any) -> tuple[Any, list[bytearray]] | None:
    """Read a frame, blocking; None at the end of the stream.

    Returns:
        Its head, and what follows, cut into the lengths that the last item of the head gives.
    """
    begin = stream.read(_FRAME.size)
    if len(begin) < _FRAME.size:
        return None
    body = stream.read(_FRAME.unpack(begin)[1])
    if len(body) < _FRAME.unpack(begin)[1]:
        return None
    head = marshal.loads(body)
    parts = []
    for length in head[-1]:
        part = bytearray(length)  # a buffer of a call's arguments, which the call may write to
        if stream.readinto(part) < length:
            return None
        parts.append(part)
    return head, parts


def record(kind: int, body: bytes = b"") -> bytes:
    """A record."""
    return RECORD.pack(len(body), kind) + body


def payload_body(sizes: tuple[int, ...], *, is_shared: bool) -> bytes:
    """The beginning of the body of a PAYLOAD; what is not shared follows."""
    head = marshal.dumps((sizes, is_shared))
    return _HEAD.pack(len(head)) + head


class Records:
    """Cuts what comes over a pipe into records."""

    def __init__(self) -> None:
        self._received = bytearray()
        self._is_broken = False

    @property
    def is_amid(self) -> bool:
        """Whether the beginning of a record has come, and not yet its end."""
        return bool(self._received)

    def cut(self, chunk: bytes) -> list[tuple[int, Any]]:
        """The records that are complete with this: kinds and bodies; of ATOMs in a row, kind and values.

        If these are no records, those before are followed by one of kind GARBAGE, and by nothing ever after.
        """
        if self._is_broken:
            return []
        if self._received:
            self._received += chunk
            data: bytes | bytearray = self._received
            if len(data) >= RECORD.size and len(data) < RECORD.size + RECORD.unpack_from(data)[0] <= LONGEST:
                return []  # a large one, of which a piece has come
        else:
            data = chunk
        records: list[tuple[int, Any]] = []
        values: list[Any] = []
        unpack, loads, view = RECORD.unpack_from, marshal.loads, memoryview(data)
        start, size, end = 0, RECORD.size, len(data)
        while start + size <= end:
            length, kind = unpack(data, start)
            if length > LONGEST or not HELLO <= kind <= TIMES:
                self._is_broken = True
                break
            body = start + size
            start = body + length
            if start > end:
                start = body - size
                break
            if kind == ATOM:
                try:
                    values.append(loads(view[body:start]))
                except (EOFError, TypeError, ValueError):
                    self._is_broken = True
                    break
                continue
            if values:
                records.append((ATOM, values))
                values = []
            records.append((kind, view[body:start]))
        if values:
            records.append((ATOM, values))
        if self._is_broken:
            records.append((GARBAGE, b""))
            start = end
        self._received = bytearray(view[start:])
        return records


def split_payload(body: memoryview) -> tuple[tuple[int, ...], bool, memoryview]:
    """The sizes in the body of a PAYLOAD, whether they are those of shared memory, and what follows."""
    end = _HEAD.size + _HEAD.unpack_from(body)[0]
    sizes, is_shared = marshal.loads(body[_HEAD.size : end])
    return tuple(sizes), is_shared, body[end:]
