"""The attempts of nodes whose functions are called again: how many there have been, and when the next one is.

That is after an error, with `retries=`, and in executors of the user's after a worker has died, with
`retries_on_crash=`. (Worker processes of this machine have their own ways for that.)

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
        # How many of them, by task, because a worker has died.
        self._crashes: dict[int, int] = {}
        # By task, when the next attempt begins, and what begins it; uvloop's handles do not tell when.
        self._timers: dict[int, tuple[float, asyncio.Handle]] = {}

    def failed(self, task: int) -> list[str]:
        """What earlier attempts of the task have failed with."""
        return self._failed.get(task, [])

    def forget(self, task: int) -> None:
        """The task is another call now, which has attempts of its own."""
        self._failed.pop(task, None)
        self._crashes.pop(task, None)

    def waiting(self) -> dict[int, float]:
        """The tasks that wait for their next attempt, and for how many more seconds."""
        now = self._owner.loop.time()
        return {task: max(when - now, 0.0) for task, (when, _) in self._timers.items()}

    def try_again(self, task: int, error: BaseException, retry: Retry) -> bool:
        """Let a task that has failed be begun again, now or later; False if it is not to be."""
        number = len(self.failed(task)) - self._crashes.get(task, 0) + 1
        if number >= retry.attempts:
            return False
        try:
            if not retry.covers(error):
                return False
            if self._is_spent(task, error):
                return False
            pause = retry.pause(number, _random_share())
        except Exception as fault:  # of the functions that the user has given
            add_note(error, f"asyncgraph: not tried again, because its Retry raised {safe_repr(fault)}")
            return False
        self._postpone(task, error, retry.attempts, pause)
        return True

    def try_after_crash(self, task: int, error: BaseException, most: int) -> bool:
        """Let a task be begun again at once whose worker has died, so many times at most; whether it is."""
        crashes = self._crashes.get(task, 0)
        if crashes >= most or self._is_spent(task, error):
            return False
        self._crashes[task] = crashes + 1
        self._postpone(task, error, most + 1, 0)
        return True

    def _is_spent(self, task: int, error: BaseException) -> bool:
        """Whether a task cannot be called with the same arguments any more, which its error says then."""
        if not spent_among(self._owner.nodes[task]):
            return False
        add_note(error, "asyncgraph: not tried again: an argument is a generator, which has begun")
        return True

    def _postpone(self, task: int, error: BaseException, attempts: int, pause: float) -> None:
        owner, failed = self._owner, self._failed.setdefault(task, [])
        failed.append(describe_error(error))
        number = len(failed)
        about = key_of(owner.nodes[task]), number, attempts, failed[-1], pause
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
