"""The time that calls take: what is stopped when its own is up, and what need not wait behind a slow one.

Workers are given more than one call only where calls are known to be short. Where one turns out not to be,
what waits behind it goes elsewhere.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextvars import Context
from functools import partial

from asyncgraph.executors.process import verdicts
from asyncgraph.executors.process.crew import Crew
from asyncgraph.executors.process.handle import Segment, Worker
from asyncgraph.executors.process.waiting import Waiting

__all__ = ["Patience"]

# Seconds that a short call may take until those that wait behind it are taken back; and how often that is
# looked at meanwhile.
_PATIENCE = 0.005
_LOOKS = 2

# Seconds that a worker may take to begin a call that has a timeout, if that is shorter.
_BEGIN_TIME = 5.0


class Patience:
    """Watches how long calls take.

    Args:
        loop: The loop.
        crew: The workers that have them.
        waiting: Where calls go that are taken back.
        collect: Hears what a worker has done.
        dispatch: Gives calls to workers.
    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        crew: Crew,
        waiting: Waiting,
        collect: Callable[[Worker], object],
        dispatch: Callable[[], None],
    ) -> None:
        self._loop = loop
        self._crew = crew
        self._waiting = waiting
        self._collect = collect
        self._dispatch = dispatch
        self._timer: asyncio.TimerHandle | None = None

    def watch(self, worker: Worker) -> None:
        """The first of the worker's calls begins, more or less now."""
        segment = worker.segments[0]
        if worker.watched == (segment, segment.step):
            return
        timeout = segment.job.step_timeout(segment.step)
        if timeout is None:
            worker.stop_timer()
            worker.watched = segment, segment.step
        else:
            until = self._loop.time() + max(timeout, _BEGIN_TIME)
            self._set_timeout(worker, segment, timeout, until)

    def _set_timeout(self, worker: Worker, segment: Segment, timeout: float, until: float) -> None:
        action = partial(self._time_out, worker, segment, segment.step, timeout, until)
        worker.set_timer(timeout, action)
        worker.watched = segment, segment.step

    def _time_out(self, worker: Worker, segment: Segment, step: int, timeout: float, until: float) -> None:
        # What waits behind it is not to begin now, and to be killed in its place.
        self._waiting.put_back(worker.take_back_others())
        self._collect(worker)  # what is complete by now wins
        if (
            worker in self._crew.workers
            and worker.segments
            and worker.segments[0] is segment
            and segment.step == step
        ):
            if self._loop.time() < until and not worker.has_begun():
                self._set_timeout(worker, segment, timeout, until)
            else:
                segment.job.verdict = partial(verdicts.timed_out, timeout)
                self._crew.put_down(worker)
        self._dispatch()

    def look_later(self) -> None:
        """Calls wait behind another in a worker."""
        if self._timer is None:
            self._timer = self._loop.call_later(_PATIENCE / _LOOKS, self._look, context=Context())

    def _look(self) -> None:
        """Hear of outcomes that nobody has told of; and see whether short calls wait behind a long one."""
        self._timer = None
        for worker in list(self._crew.workers):
            if worker.count > 1:
                self._collect(worker)
            if worker.count > 1 and worker in self._crew.workers:
                worker.looks += 1
                if worker.looks > _LOOKS:
                    self._waiting.put_back(worker.take_back_others())
                    worker.is_stuck = True
                else:
                    self.look_later()
        self._dispatch()

    def stop(self) -> None:
        """Look no more."""
        if self._timer is not None:
            self._timer.cancel()
