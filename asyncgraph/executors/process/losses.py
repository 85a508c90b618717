"""What becomes of the calls of a worker that is gone: who is to blame, and what begins elsewhere.

A worker does its calls one after another. The one that had begun is to blame, and begins again only if its
job says so; what had not begun goes to others. A call just before which workers die again and again is to
blame, too.
"""

from __future__ import annotations

from asyncgraph.executors.process import verdicts
from asyncgraph.executors.process.crew import Crew
from asyncgraph.executors.process.handle import Segment, Worker
from asyncgraph.executors.process.waiting import Waiting

__all__ = ["Losses"]

# How often workers may die just before they begin a call; then the call itself is suspected.
_STRAYS = 3


class Losses:
    """Judges the calls of workers that are gone.

    Args:
        crew: The others, and how many starts have failed.
        waiting: Where calls go that begin elsewhere.
    """

    def __init__(self, crew: Crew, waiting: Waiting) -> None:
        self._crew = crew
        self._waiting = waiting

    def take_calls_of(self, worker: Worker) -> list[tuple[Segment, BaseException]]:
        """Let calls of a worker that is gone wait for another; those that end with it, and their errors."""
        not_begun = worker.take_back()
        if not worker.count and not worker.is_ready and not worker.is_leaving:
            self._crew.count_failed_start(worker)
        elif not_begun and not worker.count and not worker.is_leaving:
            not_begun[0].job.strays += 1
        # One, unless records have been lost or tokens stolen: what may have begun does not begin again.
        culprits = [each for segment in worker.take_all() if len(segment) for each in segment.calls()]
        for segment in reversed(not_begun):
            self._begin_elsewhere(worker, segment)
        judged = [(segment, self._judge(worker, segment)) for segment in culprits]
        return [(segment, error) for segment, error in judged if error is not None]

    def _begin_elsewhere(self, worker: Worker, segment: Segment) -> None:
        """Let calls wait that have not begun in a worker that is gone."""
        job = segment.job
        if self._waiting.is_closed or job.verdict is not None:
            self._waiting.end(segment, job.verdict or verdicts.closed)
        elif job.strays >= _STRAYS:
            self._waiting.end(segment, lambda key: worker.crash(key, 0))
        else:
            self._waiting.put_back([segment])

    def _judge(self, worker: Worker, segment: Segment) -> BaseException | None:
        """The error for the call that a worker has died of; None if it begins once more."""
        job = segment.job
        if job.verdict is not None:
            return job.verdict(job.key(segment.start, segment.step))
        job.attempts += 1
        # A step has not said that it may begin again, nor that those before it may.
        if job.crash_retries >= job.attempts and not segment.step and not self._waiting.is_closed:
            job.seconds = None  # others are not to suffer again
            self._waiting.begin_again(segment, is_alone=worker.is_memory_suspected)
            return None
        return worker.crash(job.key(segment.start, segment.step), job.attempts)
