"""Which worker gets which calls: long ones an idle worker, short ones a few milliseconds' work at a time."""

from __future__ import annotations

from collections.abc import Iterable

from asyncgraph.executors.process.handle import Segment, Worker
from asyncgraph.executors.process.job import Job

__all__ = ["SHORT", "WINDOW", "is_long", "place_for", "uneven"]

SHORT = 0.002
"""Seconds: calls that take longer are given to idle workers only, one at a time."""

WINDOW = 0.005
"""Seconds of short calls that a worker has at a time: long beside what it takes to hand some over."""

# Seconds of work that are worth another worker.
_WORTH = 0.0001


def is_long(job: Job) -> bool:
    """Whether others are not to wait behind it."""
    if job.seconds is None or job.seconds >= SHORT or job.is_isolated or job.timeout is not None:
        return True
    return any(step.timeout is not None for step in job.steps)


def place_for(
    segment: Segment, workers: Iterable[Worker], max_tasks: int | None
) -> tuple[Worker | None, int]:
    """A worker that can be given the first so many calls of the segment; None if there is none."""
    job = segment.job
    needs_idle = is_long(job)
    best: Worker | None = None
    usable = given = 0
    for worker in workers:
        if not worker.is_ready or worker.is_retiring or worker.is_stuck:
            continue
        if needs_idle:
            # The one that was idle last: its memory is still warm.
            is_better = best is None or worker.idle_since > best.idle_since
            if is_better and not worker.count and not (job.is_isolated and worker.given):
                best = worker
        elif not worker.has_long and worker.seconds < WINDOW and worker.count < worker.link.depth:
            usable += 1
            given += worker.count
            if best is None or worker.seconds < best.seconds:
                best = worker
    if best is None or needs_idle:
        return best, 1
    return best, _count_for(best, segment, -(-(given + len(segment)) // usable), max_tasks)


def _count_for(worker: Worker, segment: Segment, share: int, max_tasks: int | None) -> int:
    """How many short calls the worker gets: as many as there is room for, up to its share of all."""
    seconds = max(segment.job.seconds or 0.0, 1e-9)
    room = min(int((WINDOW - worker.seconds) / seconds), worker.link.depth - worker.count)
    if max_tasks is not None:
        room = min(room, max_tasks - worker.given)
    return max(min(len(segment), room, max(share - worker.count, int(_WORTH / seconds))), 1)


def uneven(workers: Iterable[Worker]) -> tuple[Worker, Worker] | None:
    """The worker that has most to do, and one that has nothing, if it is worth to even that out."""
    fullest: Worker | None = None
    idle: Worker | None = None
    for worker in workers:
        if worker.is_ready and not worker.is_retiring and not worker.count:
            idle = worker
        elif worker.count > 1 and (fullest is None or worker.seconds > fullest.seconds):
            fullest = worker
    if idle is None or fullest is None:
        return None
    not_begun = fullest.seconds * (fullest.count - 1) / fullest.count
    return (fullest, idle) if not_begun >= 2 * _WORTH else None
