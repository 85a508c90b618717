"""What connects the parent with one worker: pipes that the event loop drives, without any threads.

Calls are sent as frames, and offered by tokens, which can be taken back until the worker has taken them. Its
records stay in their pipe until somebody looks, or the worker says that there are some.
"""

from __future__ import annotations

import array
import contextlib
import os
from collections import deque
from collections.abc import Callable, Sequence
from contextvars import Context
from typing import TYPE_CHECKING, Any, Protocol

from asyncgraph.executors.process.descriptors import receive_descriptors, send_descriptor
from asyncgraph.executors.process.frames import Records
from asyncgraph.executors.process.payload import Part, Payload
from asyncgraph.executors.process.spawn import WorkerProcess

if TYPE_CHECKING:
    import asyncio

__all__ = ["Link", "PipeLink"]

# Most that is read or written in one go, so that something large does not hold the loop.
_CHUNK = 1 << 20


class Link(Protocol):
    """What the pool needs of a connection with a worker.

    Attributes:
        process: The worker's process.
        depth: How many calls may be offered at a time.
        can_share: Whether shared memory can be handed over.
    """

    process: WorkerProcess
    depth: int
    can_share: bool

    def send(self, frame: Sequence[Part], shared: Sequence[Payload], numbers: Sequence[int]) -> None:
        """Send a frame, with the shared memory that belongs to it, and offer these calls."""

    def take_back(self) -> list[int]:
        """Take back all that has been offered and has not begun; returns the numbers."""
        ...

    def offer_again(self, numbers: Sequence[int]) -> None:
        """Offer once more what was taken back, from the first on."""

    def collect(self) -> list[tuple[int, Any]]:
        """The records that are there, see `Records.cut`."""
        ...

    def take_descriptor(self) -> int:
        """The descriptor that belongs to a record with shared memory; -1 if this process had no room for it.

        Raises:
            LookupError: None has come.
        """
        ...

    def hang_up(self) -> None:
        """Let the worker see that nothing more will come. What it has written can still be collected."""

    def close(self) -> None:
        """The worker has ended, and everything has been collected."""


class Offer:
    """Calls that are to be offered."""

    __slots__ = ("numbers",)

    def __init__(self, numbers: Sequence[int]) -> None:
        self.numbers = numbers


class PipeLink:
    """The connection by pipes and a socket, on a loop that has `add_reader`."""

    depth = 512
    can_share = True

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        slots: int,
        setup: bytes,
        on_told: Callable[[], None],
        on_lost: Callable[[], None],
    ) -> None:
        """Start a worker.

        Args:
            loop: The loop.
            slots: How many workers share the cores.
            setup: The first frame.
            on_told: Called when there may be something to collect.
            on_lost: Called, once, when the worker has closed its end.

        Raises:
            OSError: The system does not let it start.
        """
        self.process = process = WorkerProcess(slots, has_tokens=True)
        for fd in (process.requests, process.tokens, process.unclaimed, process.results, process.line):
            os.set_blocking(fd, False)
        self._loop = loop
        self._on_told = on_told
        self._on_lost = on_lost
        self._records = Records()
        self._descriptors: deque[int] = deque()
        # What has yet to be written: pieces of frames, payloads whose memory is to be handed over, and the
        # numbers of calls that are to be offered after that.
        self._outgoing: deque[Part | Payload | Offer] = deque()
        self._writer = -1
        self._is_reading = False
        self._is_over = False
        # In an empty context: the loop would otherwise keep that of whoever made the first call, for
        # as long as the worker lives, and run everybody's callbacks in it.
        self._context = Context()
        self._context.run(loop.add_reader, process.line, self._hear)
        self.send([setup], (), ())

    def send(self, frame: Sequence[Part], shared: Sequence[Payload], numbers: Sequence[int]) -> None:
        """See `Link`."""
        is_idle = not self._outgoing
        self._outgoing += shared
        self._outgoing += frame
        if numbers:
            self._outgoing.append(Offer(numbers))
        if is_idle:
            self._write()

    def take_back(self) -> list[int]:
        """See `Link`."""
        numbers: array.array[int] = array.array("Q")
        with contextlib.suppress(BlockingIOError):
            while tokens := os.read(self.process.unclaimed, 1 << 16):
                numbers.frombytes(tokens)
        taken = numbers.tolist()
        for item in self._outgoing:
            if isinstance(item, Offer):
                taken += item.numbers
                item.numbers = ()
        return taken

    def offer_again(self, numbers: Sequence[int]) -> None:
        """See `Link`."""
        self.send((), (), numbers)

    def collect(self) -> list[tuple[int, Any]]:
        """See `Link`."""
        records: list[tuple[int, Any]] = []
        budget = _CHUNK
        while budget > 0:
            try:
                chunk = os.read(self.process.results, 1 << 16)
            except BlockingIOError:
                break
            if not chunk:
                self._listen(False)
                return records
            budget -= len(chunk)
            records += self._records.cut(chunk)
        self._listen(self._records.is_amid or budget <= 0)
        return records

    def take_descriptor(self) -> int:
        """See `Link`."""
        if not self._descriptors:
            self._descriptors += receive_descriptors(self.process.line) or ()
        return self._descriptors.popleft()

    def hang_up(self) -> None:
        """See `Link`."""
        self._is_over = True
        self._keep_offers()
        if not self._loop.is_closed():
            self._stop_writing()
            self._listen(False)
            self._loop.remove_reader(self.process.line)
        self.process.hang_up()

    def close(self) -> None:
        """See `Link`."""
        for fd in self._descriptors:
            if fd >= 0:
                os.close(fd)
        self._descriptors.clear()
        self.process.close()

    # -- on the loop

    def _hear(self) -> None:
        received = receive_descriptors(self.process.line)
        if received is None:
            self._on_lost()
            return
        self._descriptors += received
        self._on_told()

    def _listen(self, wanted: bool) -> None:  # noqa: FBT001 - a switch
        """Read a large record as it comes, without being told."""
        wanted = wanted and not self._is_over
        if wanted != self._is_reading and not self._loop.is_closed():
            self._is_reading = wanted
            if wanted:
                self._context.run(self._loop.add_reader, self.process.results, self._on_told)
            else:
                self._loop.remove_reader(self.process.results)

    def _write(self) -> None:
        blocked = -1
        try:
            blocked = self._write_some()
        except OSError as error:
            # Nothing of it is begun. If the worker is gone, or has closed its end, not a word here: its
            # last records may still be unread, and after them the reader meets the end.
            self._keep_offers()
            if not isinstance(error, ConnectionError):  # too many descriptors are under way
                self._loop.call_soon(self._on_lost, context=self._context)
        if blocked != self._writer:
            self._stop_writing()
            if blocked >= 0:
                self._writer = blocked
                self._context.run(self._loop.add_writer, blocked, self._write)

    def _write_some(self) -> int:
        """Write what is to be written; returns the descriptor that has no room now, or -1."""
        outgoing, process = self._outgoing, self.process
        budget = _CHUNK
        while outgoing:
            item = outgoing[0]
            if isinstance(item, Payload):
                try:
                    send_descriptor(process.line, item.fd)
                except BlockingIOError:
                    return process.line
                outgoing.popleft()
            elif isinstance(item, (bytes, bytearray, memoryview)):
                try:
                    some = item if len(item) <= budget else memoryview(item)[:budget]
                    written = os.write(process.requests, some)
                except BlockingIOError:
                    return process.requests
                budget -= written
                if written == len(item):
                    outgoing.popleft()
                else:
                    outgoing[0] = memoryview(item)[written:]
                if budget <= 0:
                    return process.requests
            else:
                # They fit in: the pipe has room for thousands.
                os.write(process.tokens, array.array("Q", item.numbers))
                outgoing.popleft()
        return -1

    def _keep_offers(self) -> None:
        self._outgoing = deque(item for item in self._outgoing if isinstance(item, Offer))

    def _stop_writing(self) -> None:
        if self._writer >= 0:
            self._loop.remove_writer(self._writer)
            self._writer = -1
