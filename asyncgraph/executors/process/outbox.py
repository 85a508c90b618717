"""The worker's way to its parent: records, and a word now and then that there are some.

A record is in the kernel when `write` returns, and so survives the worker. The parent does not look for
each of them, which would wake it for every call of a microsecond: it is told.
"""

from __future__ import annotations

import os
import select
from collections.abc import Sequence

from asyncgraph.executors.process.descriptors import send_descriptor
from asyncgraph.executors.process.frames import PAYLOAD, RECORD, payload_body
from asyncgraph.executors.process.payload import Part, Payload

__all__ = ["Outbox"]


class Outbox:
    """Writes records.

    Args:
        results: The pipe for records.
        line: The socket over which the parent is told, and gets descriptors; None if it listens to the
            pipe itself. Then the pipe is written to blocking.
    """

    def __init__(self, results: int, line: int | None) -> None:
        self._results = results
        self._line = line
        self._is_untold = False
        if line is not None:
            os.set_blocking(results, False)
            os.set_blocking(line, False)

    def write(self, kind: int, body: bytes = b"") -> None:
        """Write a record."""
        data = RECORD.pack(len(body), kind) + body
        self._is_untold = True
        try:
            written = os.write(self._results, data)
        except BlockingIOError:
            written = 0
        if written < len(data):
            self._write_on([memoryview(data)[written:]])

    def write_payload(self, payload: Payload) -> None:
        """Write a value that is a payload, through shared memory if the parent can take it from there."""
        is_shared = payload.fd >= 0
        if is_shared:
            self._send_descriptor(payload.fd)
        begin = payload_body(payload.sizes, is_shared=is_shared)
        length = len(begin) + (0 if is_shared else payload.size)
        self._is_untold = True
        self._write_on([RECORD.pack(length, PAYLOAD) + begin, *payload.stream, *payload.buffers])

    @property
    def can_share(self) -> bool:
        """Whether the parent takes descriptors."""
        return self._line is not None

    def tell(self) -> None:
        """Let the parent know of the records, if there are any that it has not been told of."""
        if self._is_untold and self._line is not None:
            try:
                os.write(self._line, b"\0")
            except BlockingIOError:
                pass  # it has been told so often that it will look
        self._is_untold = False

    def _write_on(self, parts: Sequence[Part]) -> None:
        for part in parts:
            rest = memoryview(part).cast("B")
            while rest:
                try:
                    rest = rest[os.write(self._results, rest[: 1 << 20]) :]
                except BlockingIOError:
                    # The pipe is full: it stays so until the parent knows.
                    self._is_untold = True
                    self.tell()
                    _wait_for_room(self._results)

    def _send_descriptor(self, fd: int) -> None:
        assert self._line is not None
        while True:
            try:
                send_descriptor(self._line, fd)
            except BlockingIOError:
                _wait_for_room(self._line)
            else:
                return


def _wait_for_room(fd: int) -> None:
    poll = select.poll()
    poll.register(fd, select.POLLOUT)
    poll.poll()
