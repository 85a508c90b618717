"""The plain connection: two threads for each worker, which read and write pipes and may block.

For loops that cannot watch pipes, as on Windows. There are no tokens: a worker has one call at a time, which
has begun when it says so. Everything travels in band.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import threading
from collections.abc import Callable, Sequence
from contextvars import Context
from queue import SimpleQueue
from typing import Any

from asyncgraph.executors.process.frames import BEGUN, Records
from asyncgraph.executors.process.payload import Part, Payload
from asyncgraph.executors.process.spawn import WorkerProcess

__all__ = ["ThreadedLink"]


# Seconds; in vain only if a process that a call has started holds the pipe and has left the worker's group.
_JOIN_TIME = 1.0


class ThreadedLink:
    """A connection as `link.Link` describes it."""

    depth = 1
    can_share = False

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        slots: int,
        setup: bytes,
        on_told: Callable[[], None],
        on_lost: Callable[[], None],
    ) -> None:
        """Start a worker; see `PipeLink`."""
        self.process = WorkerProcess(slots, has_tokens=False)
        self._loop = loop
        self._on_told = on_told
        self._on_lost = on_lost
        self._records = Records()
        self._chunks: SimpleQueue[bytes] = SimpleQueue()
        self._frames: SimpleQueue[Sequence[Part] | None] = SimpleQueue()
        self._offered: Sequence[int] = ()
        self._is_over = False
        # They end with the worker: what they read from and write to is closed then.
        self._threads = [
            threading.Thread(target=work, name=f"asyncgraph-{name}", daemon=True)
            for name, work in (("reader", self._read), ("writer", self._write))
        ]
        for thread in self._threads:
            thread.start()
        self._frames.put([setup])

    def send(self, frame: Sequence[Part], shared: Sequence[Payload], numbers: Sequence[int]) -> None:
        """See `Link`."""
        self._offered = numbers
        self._frames.put(frame)

    def take_back(self) -> list[int]:
        """See `Link`: what has been sent cannot be taken back, but a worker that is gone has not begun it."""
        return list(self._offered) if self._is_over else []

    def offer_again(self, numbers: Sequence[int]) -> None:
        """See `Link`."""

    def collect(self) -> list[tuple[int, Any]]:
        """See `Link`."""
        if self._is_over and self.process.reap():
            self._threads[0].join(_JOIN_TIME)  # it reads what the worker has written last, and then the end
        records: list[tuple[int, Any]] = []
        while not self._chunks.empty():
            for kind, body in self._records.cut(self._chunks.get()):
                if kind == BEGUN:
                    self._offered = ()
                else:
                    records.append((kind, body))
        return records

    def take_descriptor(self) -> int:
        """See `Link`."""
        raise ValueError("nothing is shared over this connection")

    def hang_up(self) -> None:
        """See `Link`."""
        self._is_over = True
        self._frames.put(None)

    def close(self) -> None:
        """See `Link`."""
        # The worker and what it has started are gone, so that neither thread is blocked any more.
        for thread in self._threads:
            thread.join(_JOIN_TIME)
        self.process.close()

    # -- in the threads

    def _read(self) -> None:
        chunk = b"-"
        while chunk:
            try:
                chunk = os.read(self.process.results, 1 << 20)
            except OSError:
                chunk = b""
            if chunk:
                self._chunks.put(chunk)
            self._call(self._hear if chunk else self._lose)

    def _write(self) -> None:
        while (frame := self._frames.get()) is not None:
            try:
                for part in frame:
                    rest = memoryview(part).cast("B")
                    while rest:
                        rest = rest[os.write(self.process.requests, rest[: 1 << 20]) :]
            except OSError:
                pass  # the worker is gone, which the reader notices
        self.process.hang_up()

    def _call(self, callback: Callable[[], None]) -> None:
        with contextlib.suppress(RuntimeError):  # the loop has been closed: nobody waits any more
            self._loop.call_soon_threadsafe(callback, context=Context())

    # -- on the loop

    def _hear(self) -> None:
        if not self._is_over:
            self._on_told()

    def _lose(self) -> None:
        if not self._is_over:
            self._on_lost()
