"""Frames on pipes: how the bytes between the parent and one worker are cut up and moved.

A frame is an 8-byte length, a kind and a payload. The worker reads and writes blocking; the parent
never does: its `Channel` is driven by the event loop, a piece at a time. What a payload means, and
what follows from a lost channel, is decided by the pool; nothing here unpickles anything.

The worker imports this module at its start, so it imports next to nothing.
"""

from __future__ import annotations

import os
import struct
from contextvars import Context
from typing import IO, TYPE_CHECKING

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable

    Payload = bytes | memoryview

__all__ = [
    "BEGUN",
    "CALL",
    "ERROR",
    "HEADER",
    "HELLO",
    "SETUP",
    "VALUE",
    "Channel",
    "close_fd",
    "own_fd",
    "read_frame",
    "write_frame",
]

HEADER = struct.Struct(">QB")

# The kinds. Parent to worker: SETUP once, then CALL after CALL. Worker to parent: HELLO once, then
# for each CALL a BEGUN, as soon as it is read and before anything in it runs, and VALUE or ERROR.
SETUP, CALL, HELLO, BEGUN, VALUE, ERROR = range(1, 7)

# Most that one callback of the parent reads or writes, so that a large payload does not hold the loop.
_CHUNK = 1 << 20

# No payload is this long: whoever says so has written to a descriptor that is not theirs.
_LONGEST = 1 << 48

# Small payloads are joined to their header: one system call instead of two, for a cheap copy.
_JOINED = 1 << 16

_owned: set[int] = set()


def own_fd(fd: int) -> int:
    """Count `fd` among the descriptors that a fork of this process must not keep open."""
    _owned.add(fd)
    return fd


def close_fd(fd: int) -> None:
    """Close a descriptor of `own_fd`, once."""
    if fd in _owned:
        _owned.discard(fd)
        os.close(fd)


def _close_in_fork() -> None:
    # A forked child that kept them would hide the death of one side from the other: the pipe's last
    # writer would live on in it.
    while _owned:
        try:
            os.close(_owned.pop())
        except OSError:
            pass  # closed behind our back; there is nothing left to do


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_close_in_fork)


def read_frame(stream: IO[bytes]) -> bytes | None:
    """Read one frame, blocking, and return its payload; None at the end of the stream."""
    header = stream.read(HEADER.size)
    if len(header) < HEADER.size:
        return None
    length, _ = HEADER.unpack(header)
    payload = stream.read(length)
    return payload if len(payload) == length else None


def write_frame(fd: int, kind: int, payload: Payload = b"") -> None:
    """Write one frame, blocking, straight into the kernel: what is written survives the writer."""
    for part in _parts(kind, payload):
        while part:
            part = part[os.write(fd, part) :]


def _parts(kind: int, payload: Payload) -> list[memoryview]:
    header = HEADER.pack(len(payload), kind)
    if len(payload) <= _JOINED:
        return [memoryview(header + payload)]
    return [memoryview(header), memoryview(payload)]


# --- the parent's side ---------------------------------------------------------------------------


class Channel:
    """The parent's two ends of one worker's pipes, on the event loop.

    When the worker is gone, whatever it had written is still read to the end: `on_lost` comes after
    the last complete frame, and is the last thing that is called.
    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        results: int,
        requests: int,
        on_frame: Callable[[int, memoryview], None],
        on_lost: Callable[[], None],
    ) -> None:
        """Take over the two descriptors, which must be non-blocking.

        Args:
            loop: The loop that drives the channel.
            results: Where the worker's frames are read from.
            requests: Where frames for the worker are written to.
            on_frame: Called with the kind and the payload of each frame.
            on_lost: Called when the worker has closed its end, or has written what is no frame.
        """
        self._loop = loop
        self._results = results
        self._requests = requests
        self._on_frame = on_frame
        self._on_lost = on_lost
        self._received = bytearray()
        self._outgoing: list[memoryview] = []
        self._closed = False
        # In an empty context: the loop would otherwise keep that of whoever made the first call, for
        # as long as the worker lives, and run everybody's callbacks in it.
        Context().run(loop.add_reader, results, self._read)

    def send(self, kind: int, payload: Payload = b"") -> None:
        """Send one frame; what the pipe does not take at once follows when it can."""
        idle = not self._outgoing
        self._outgoing += _parts(kind, payload)
        if idle:
            self._write()
            if self._outgoing:
                Context().run(self._loop.add_writer, self._requests, self._write)

    def close(self) -> None:
        """Close both ends. The loop is not touched if it is closed itself."""
        if self._closed:
            return
        self._closed = True
        if not self._loop.is_closed():
            self._loop.remove_reader(self._results)
            self._loop.remove_writer(self._requests)
        self._outgoing.clear()
        close_fd(self._results)
        close_fd(self._requests)

    def _write(self) -> None:
        try:
            self._write_some()
        except BlockingIOError:
            return
        except OSError:
            # The worker is gone, or has closed its end. Not a word here: its last frames may still be
            # unread, and after them the reader meets the end.
            self._outgoing.clear()
        if not self._outgoing:
            self._loop.remove_writer(self._requests)

    def _write_some(self) -> None:
        budget = _CHUNK
        while self._outgoing and budget > 0:
            part = self._outgoing[0]
            written = os.write(self._requests, part[:budget])
            budget -= written
            self._outgoing[0] = part[written:]
            if written == len(part):
                del self._outgoing[0]

    def _read(self) -> None:
        try:
            chunk = os.read(self._results, _CHUNK)
        except BlockingIOError:
            return
        except OSError:
            chunk = b""
        self._received += chunk
        if not chunk or not self._take_frames():
            self._loop.remove_reader(self._results)
            self._on_lost()

    def _take_frames(self) -> bool:
        """Hand over every complete frame; False if the bytes are no frames at all."""
        while len(self._received) >= HEADER.size and not self._closed:
            length, kind = HEADER.unpack_from(self._received)
            if length > _LONGEST or not HELLO <= kind <= ERROR:
                return False
            end = HEADER.size + length
            if len(self._received) < end:
                break
            frame, self._received = self._received, self._received[end:]
            self._on_frame(kind, memoryview(frame)[HEADER.size : end])
        return True
