"""The attempts of nodes whose functions have `retries=`: how many there have been, and when the next one is.

A task that waits for its next attempt is one that waits in the scheduler, and a timer of the loop: it has no
slot, no thread and no aio_task.
"""

from __future__ import annotations

import asyncio
import logging
from contextvars import Context

from asyncgraph._graph.node import key_of
from asyncgraph._graph.once import spent_among
from asyncgraph._graph.retry import Retry
from asyncgraph._runtime.notes import add_note
from asyncgraph._runtime.owner import Owner
from asyncgraph.executors.safe_text import describe_error, safe_repr

__all__ = ["Attempts"]

logger = logging.getLogger("asyncgraph")


class Attempts:
    """The attempts of one execution.

    Args:
        owner: The execution.
    """

    def __init__(self, owner: Owner) -> None:
        self._owner = owner
        # What earlier attempts of a task have failed with; in words, since errors would keep frames alive.
        self._failed: dict[int, list[str]] = {}
        # By task, when the next attempt begins, and what begins it; uvloop's handles do not tell when.
        self._timers: dict[int, tuple[float, asyncio.Handle]] = {}

    def failed(self, task: int) -> list[str]:
        """What earlier attempts of the task have failed with."""
        return self._failed.get(task, [])

    def forget(self, task: int) -> None:
        """The task is another call now, which has attempts of its own."""
        self._failed.pop(task, None)

    def waiting(self) -> dict[int, float]:
        """The tasks that wait for their next attempt, and for how many more seconds."""
        now = self._owner.loop.time()
        return {task: max(when - now, 0.0) for task, (when, _) in self._timers.items()}

    def try_again(self, task: int, error: BaseException, retry: Retry) -> bool:
        """Let a task that has failed be begun again, now or later; False if it is not to be."""
        failed = self._failed.setdefault(task, [])
        number = len(failed) + 1
        if number >= retry.attempts:
            return False
        try:
            if not retry.covers(error):
                return False
            if spent_among(self._owner.nodes[task]):
                add_note(error, "asyncgraph: not tried again: an argument is a generator, which has begun")
                return False
            pause = retry.pause(number, _random_share())
        except Exception as fault:  # of the functions that the user has given
            add_note(error, f"asyncgraph: not tried again, because its Retry raised {safe_repr(fault)}")
            return False
        failed.append(describe_error(error))
        owner = self._owner
        about = key_of(owner.nodes[task]), number, retry.attempts, failed[-1], pause
        logger.debug("%s: attempt %d of %d failed with %s; the next one is in %.3g s", *about)
        if owner.recorder is not None:
            owner.recorder.retrying(task, number, failed[-1], pause)
        owner.scheduler.postpone(task)
        if pause:
            timer = owner.loop.call_later(pause, self._begin, task, context=Context())
            self._timers[task] = owner.loop.time() + pause, timer
        else:
            owner.scheduler.go_on(task)
            owner.wake()
        return True

    def cancel(self) -> None:
        """Nothing is begun again."""
        for _, timer in self._timers.values():
            timer.cancel()
        self._timers.clear()

    def _begin(self, task: int) -> None:
        del self._timers[task]
        self._owner.scheduler.go_on(task)
        self._owner.wake()


def _random_share() -> float:
    import random  # takes 2 ms, which is no business of those who never fail

    return random.random()
