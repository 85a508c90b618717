"""Copying into shared memory, a while in each turn of the loop."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterable, Iterator
from contextvars import Context

from asyncgraph.executors.process.job import Job
from asyncgraph.executors.process.payload import LARGE, Payload

__all__ = ["Sharing", "is_to_be_shared"]

# Seconds in one turn of the loop.
_SLICE = 0.002


class Sharing:
    """Moves large arguments of jobs into shared memory.

    Args:
        loop: The loop.
        on_shared: Called with the jobs whose arguments have been moved.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop, on_shared: Callable[[list[Job]], None]) -> None:
        self._loop = loop
        self._on_shared = on_shared
        self._steps: dict[Job, Iterator[None]] = {}

    def add(self, job: Job) -> None:
        """Move the arguments of this job."""
        if not self._steps:
            self._loop.call_soon(self._copy, context=Context())
        self._steps[job] = _shared(job.payloads)

    def remove(self, job: Job) -> bool:
        """Forget the job; whether it was still here."""
        return self._steps.pop(job, None) is not None

    def jobs(self) -> list[Job]:
        """Those whose arguments are being moved."""
        return list(self._steps)

    def clear(self) -> list[Job]:
        """Forget all jobs, and return them."""
        jobs = list(self._steps)
        self._steps.clear()
        return jobs

    def _copy(self) -> None:
        until = time.perf_counter() + _SLICE
        shared = []
        while self._steps and time.perf_counter() < until:
            job, steps = next(iter(self._steps.items()))
            if next(steps, steps) is steps:
                del self._steps[job]
                shared.append(job)
        if self._steps:
            self._loop.call_soon(self._copy, context=Context())
        if shared:
            self._on_shared(shared)


def is_to_be_shared(job: Job) -> bool:
    """Whether the job has arguments that are better off in shared memory."""
    return any(map(_is_large, job.payloads))


def _shared(payloads: Iterable[Payload]) -> Iterator[None]:
    for payload in payloads:
        if _is_large(payload):
            yield from payload.share()


def _is_large(payload: Payload) -> bool:
    return payload.fd < 0 and payload.size >= LARGE
