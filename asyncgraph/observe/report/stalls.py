"""When the event loop did not answer: a heartbeat while runs go on, and which nodes were at work meanwhile.

The heart beats every ten milliseconds. A beat that comes late says for how long nobody was served. Who held
up the loop is found afterwards: an inline call that fills the time, or else the coroutines that began, ended
or went on in it.
"""

from __future__ import annotations

import asyncio
import time
from bisect import bisect_left
from collections.abc import Callable, Sequence
from contextvars import Context
from typing import NamedTuple

from asyncgraph.observe.ordering import in_order
from asyncgraph.observe.schedule import Call, Schedule

__all__ = ["Heartbeat", "Stall", "Suspect", "suspects_of"]

BEAT = 0.01
"""Seconds between two beats."""

LATE = 0.03
"""Seconds by which a beat is late when the loop counts as stalled: a screen shows two pictures meanwhile."""

_MOST = 1_000

_SURE = 0.5
"""An inline call that fills so much of a stall is the one that has caused it."""


class Stall(NamedTuple):
    """A time in which the loop served nobody.

    Attributes:
        began: When it began, in seconds on the clock of events.
        seconds: How long it was.
    """

    began: float
    seconds: float


class Suspect(NamedTuple):
    """A node that may have held up the loop.

    Attributes:
        key: Its key.
        name: The name of its function.
        is_sure: Whether it has: an inline call that fills the time, or the only coroutine that was at work.
    """

    key: str
    name: str
    is_sure: bool


class Heartbeat:
    """Beats on the running loop while at least one run goes on.

    Args:
        clock: Says the time.

    Attributes:
        stalls: The times in which the loop did not answer, in order; of very many, the last thousand.
    """

    def __init__(self, clock: Callable[[], float] = time.perf_counter) -> None:
        self.stalls: list[Stall] = []
        self._clock = clock
        self._runs: set[int] = set()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._due = 0.0

    def begin(self, run: int) -> None:
        """A run has begun, on the running loop; without a loop there is nothing to listen to."""
        try:
            loop = asyncio.get_running_loop()
        except RuntimeError:
            return
        self._runs.add(run)
        if self._timer is None or self._loop is None or self._loop.is_closed():
            self._loop = loop
            self._arm(loop)

    def end(self, run: int) -> None:
        """A run is over. If the loop is late now, that counts, too."""
        if run not in self._runs:
            return
        self._look()
        self._runs.discard(run)
        if not self._runs and self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _arm(self, loop: asyncio.AbstractEventLoop) -> None:
        self._due = self._clock() + BEAT
        # An empty context: a timer would keep the context of whoever happened to begin the run.
        self._timer = loop.call_later(BEAT, self._beat, loop, context=Context())

    def _beat(self, loop: asyncio.AbstractEventLoop) -> None:
        self._look()
        self._arm(loop)

    def _look(self) -> None:
        late = self._clock() - self._due
        if late > LATE:
            self.stalls.append(Stall(self._due, late))
            self._due += late
            if len(self.stalls) > _MOST:
                del self.stalls[0]


def suspects_of(schedule: Schedule, stalls: Sequence[Stall], most: int = 3) -> list[list[Suspect]]:
    """For each stall, the nodes that may have caused it, the likeliest first; none if none was at work."""
    by_executor = schedule.by_executor
    both = [*by_executor.get("loop", ()), *by_executor.get("coroutine", ())]
    calls = in_order(both, lambda call: call.began)
    longest = max((call.ended - call.began for call in calls), default=0.0)
    return [_suspects(schedule, calls, longest, stall, most) for stall in stalls]


def _suspects(
    schedule: Schedule, calls: Sequence[Call], longest: float, stall: Stall, most: int
) -> list[Suspect]:
    begin, end = stall.began - BEAT, stall.began + stall.seconds
    first = bisect_left(calls, begin - longest, key=lambda call: call.began)
    last = bisect_left(calls, end, key=lambda call: call.began)
    during = [call for call in calls[first:last] if call.ended > begin]
    inline = [call for call in during if schedule.executor_of(call) == "loop"]
    if inline:
        worst = max(inline, key=lambda call: _overlap(call, begin, end))
        if _overlap(worst, begin, end) > _SURE * stall.seconds:
            return [_suspect(schedule, worst, is_sure=True)]
    at_work = [call for call in during if schedule.executor_of(call) == "coroutine"]
    # One that began or ended in that time was certainly running then for a moment.
    at_work.sort(key=lambda call: (not (call.began >= begin or call.ended <= end + BEAT), call.began))
    return [_suspect(schedule, call, is_sure=len(at_work) == 1) for call in at_work[:most]]


def _overlap(call: Call, begin: float, end: float) -> float:
    return min(call.ended, end) - max(call.began, begin)


def _suspect(schedule: Schedule, call: Call, *, is_sure: bool) -> Suspect:
    return Suspect(schedule.key_of(call), schedule.name_of(call), is_sure)
