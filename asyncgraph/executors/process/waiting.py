"""The calls that wait for a worker, and the end of those that will never have one.

Which of them may begin at all is known here; which worker gets which, is not.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence

from asyncgraph.executors.process import verdicts
from asyncgraph.executors.process.handle import Segment, Worker
from asyncgraph.executors.process.job import Job

__all__ = ["Waiting", "end_soon"]


class Waiting:
    """The calls that wait, in the order in which they are to begin.

    Args:
        loop: The loop on which outcomes are delivered.

    Attributes:
        is_closed: Whether nothing begins any more.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.is_closed = False
        self._loop = loop
        self._segments: deque[Segment] = deque()
        # Whether there may be a call that is to run alone.
        self._may_be_alone = False

    def __len__(self) -> int:
        return len(self._segments)

    def __iter__(self) -> Iterator[Segment]:
        return iter(self._segments)

    @property
    def first(self) -> Segment:
        """What is to begin next; there must be something."""
        return self._segments[0]

    def add(self, jobs: Iterable[Job]) -> None:
        """These jobs wait, behind all others."""
        self._segments += [Segment(job, 0, len(job.calls)) for job in jobs]

    def put_back(self, segments: Sequence[Segment]) -> None:
        """These calls wait before all others: they have had a worker, and have not begun there."""
        self._segments.extendleft(reversed(segments))

    def take(self, count: int) -> Segment:
        """Take the first so many calls of what is to begin next, or all of it if it has no more."""
        first = self._segments[0]
        return first.split(count) if count < len(first) else self._segments.popleft()

    # -- a call that is to run alone

    def begin_again(self, segment: Segment, *, is_alone: bool) -> None:
        """A call that has begun before is to begin once more; alone, if it needs much memory."""
        segment.job.is_alone = is_alone
        self._may_be_alone = self._may_be_alone or is_alone
        self.put_back([segment])

    def is_on_hold(self, workers: Iterable[Worker]) -> bool:
        """Whether nothing may begin now, because of such a call, in one of these workers or to begin next."""
        if not self._may_be_alone:
            return False
        running = [worker.segments[0].job for worker in workers if worker.segments]
        waiting = [segment.job for segment in self._segments]
        self._may_be_alone = any(job.is_alone for job in (*running, *waiting))
        return any(job.is_alone for job in (*running, *waiting[:1])) if running else False

    # -- the end of them

    def end(self, segment: Segment, error: Callable[[str], BaseException]) -> None:
        """Let each of these calls have an error; later, never at once."""
        end_soon(self._loop, segment, error)

    def end_all(self, error: Callable[[str], BaseException]) -> None:
        """Let all calls have an error that wait."""
        waiting, self._segments = self._segments, deque()
        for segment in waiting:
            self.end(segment, error)

    def cancel(self, jobs: set[Job]) -> None:
        """Cancel those of these jobs."""
        waiting, self._segments = self._segments, deque()
        self.put_back_but(jobs, waiting)

    def put_back_but(self, jobs: set[Job], segments: Iterable[Segment]) -> None:
        """As `put_back`, but cancel those of these jobs."""
        kept = []
        for segment in segments:
            if segment.job in jobs:
                self.end(segment, verdicts.cancelled)
            else:
                kept.append(segment)
        self.put_back(kept)


def end_soon(
    loop: asyncio.AbstractEventLoop, segment: Segment, error: Callable[[str], BaseException]
) -> None:
    """Let each of these calls have an error, of its own: raising an exception changes it."""
    if loop.is_closed():
        return  # nobody is left to be told
    job = segment.job
    for index in range(segment.start, segment.stop):
        loop.call_soon(job.ended, index, 0, None, error(job.key(index, 0)))
