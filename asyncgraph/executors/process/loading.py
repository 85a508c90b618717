"""Results with large bytes are unpickled in threads of the parent: to copy them would hold the loop."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Callable
from contextvars import Context
from functools import partial
from typing import Any

from asyncgraph.executors.process.job import Job
from asyncgraph.executors.process.outcomes import loaded
from asyncgraph.executors.process.payload import Payload

__all__ = ["Loading", "is_to_be_loaded_apart"]

# Bytes: pickles of this size, in shared memory, are unpickled in a thread.
_APART = 1 << 22

# Seconds that `join` waits for each thread.
_GIVE_UP_TIME = 5.0


def is_to_be_loaded_apart(payload: Payload) -> bool:
    """Whether to unpickle this on the loop would hold it for long."""
    return payload.fd >= 0 and payload.sizes[0] >= _APART


class Loading:
    """The threads that unpickle, one for each result.

    Args:
        loop: The loop, on which results are delivered.
        on_over: Called on the loop when there is no such thread any more.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop, on_over: Callable[[], None]) -> None:
        self._loop = loop
        self._on_over = on_over
        self._threads: dict[threading.Thread, Job] = {}

    def __len__(self) -> int:
        return len(self._threads)

    def load(self, payload: Payload, job: Job, index: int, step: int) -> None:
        """Unpickle the result of this call, and deliver it."""

        def load() -> None:
            outcome = [loaded(payload, partial(job.key, index, step), apart=True)]
            with contextlib.suppress(RuntimeError):  # the loop has been closed: nobody waits any more
                self._loop.call_soon_threadsafe(deliver, outcome, context=Context())

        def deliver(outcome: list[tuple[Any, BaseException | None]]) -> None:
            self._threads.pop(thread, None)
            if not self._threads:
                self._on_over()
            thread.join()  # it has nothing left to do
            job.ended(index, step, *outcome.pop())

        thread = threading.Thread(target=load, name="asyncgraph-unpickle", daemon=True)
        try:
            thread.start()
        except RuntimeError:  # the system gives no more threads
            job.ended(index, step, *loaded(payload, partial(job.key, index, step)))
        else:
            self._threads[thread] = job

    def jobs(self) -> list[Job]:
        """Those whose results are being unpickled."""
        return list(self._threads.values())

    def join(self) -> None:
        """Wait for the threads, blocking; what they have is not delivered."""
        for thread in list(self._threads):
            thread.join(_GIVE_UP_TIME)
