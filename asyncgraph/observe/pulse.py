"""The pulse of one event loop: whether it gives signs of life, and what it is stuck in if it gives none."""

from __future__ import annotations

import asyncio
import contextlib
import os
import sys
import threading
import time
from collections.abc import Callable, Hashable, Iterable
from contextvars import Context
from itertools import takewhile
from typing import Any

from asyncgraph.observe.events import NodeInfo, ObservedRun
from asyncgraph.observe.spots import Spot, calls_around, outermost_own

__all__ = ["COMPUTES", "Finding", "Pulse", "cpu_seconds", "first_that_knows"]

# A loop that is blocked computes if its thread has been on a core for this share of the time, and waits if
# not: what waits takes hardly any, but on a machine with much to do nobody gets the whole of a core.
COMPUTES = 0.1

# The functions by which event loops call others, in files of asyncio.
_ASYNCIO = os.path.dirname(asyncio.__file__) + os.sep
_LOOP = frozenset({"run", "_run", "_run_once", "run_forever", "run_until_complete"})

_OF_LOOP = ("asyncio", "selectors")

# Where debuggers stop.
_DEBUGGERS = frozenset({"bdb.py", "pdb.py", "pydevd.py"})


class Finding:
    """A stall, as it was found.

    Attributes:
        run: The run in whose node it is; None for what is no node.
        node: The node; likewise.
        thread: The name of the thread that holds the interpreter; "" for a stall of a loop.
        began: Since when, on the clock of events.
        seconds: How long it has taken by now, or has taken.
        spots: The calls, outermost first, without those of the event loop.
        is_computing: Whether it computes, and does not wait; None if that cannot be told here.
        stall: What has been made of it, for whoever is told.
    """

    def __init__(
        self,
        run: ObservedRun | None,
        node: NodeInfo | None,
        spots: list[Spot],
        *,
        began: float,
        seconds: float,
        is_computing: bool | None,
        thread: str = "",
    ) -> None:
        self.run = run
        self.node = node
        self.spots = spots
        self.began = began
        self.seconds = seconds
        self.is_computing = is_computing
        self.thread = thread
        self.stall: Any = None


class Pulse:
    """What is known of one loop.

    Args:
        loop: The loop, in whose thread this is made.

    Attributes:
        loop: The loop.
        thread: The identifier of its thread.
        runs: The runs that go on there, by id.
        depth: How many calls the loop itself is in when it calls somebody; None if that is not known yet.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.loop = loop
        self.thread = threading.get_ident()
        self.runs: dict[int, ObservedRun] = {}
        self.depth: int | None = None
        self._first_seen = [spot.frame for spot in calls_around(sys._getframe())]
        self._native = threading.get_native_id()
        # Since when a sign of life is being waited for.
        self._asked: float | None = None
        # When it was looked at last, and the CPU time of its thread then.
        self._looked = 0.0
        self._computed: float | None = None
        # What it is stuck in, since when, and with how much CPU time; and whether that has been found.
        self._subject: Hashable = None
        self._since = 0.0
        self._computed_then: float | None = None
        self._finding: Finding | None = None

    def answer(self, now: float) -> Finding | None:
        """It has given a sign of life; what it was stuck in, if that has been found."""
        self._asked = self._subject = None
        finding, self._finding = self._finding, None
        if finding is not None:
            finding.seconds = now - finding.began
        return finding

    def forgive(self, now: float) -> None:
        """Whatever it did not do until now, it could not."""
        if self._asked is not None:
            self._asked, self._subject = now, None
            self._note(now)

    def look(
        self, now: float, threshold: float, interval: float, beat: Callable[[Pulse], None]
    ) -> Finding | None:
        """Ask for a sign of life; if there was none, see what it is stuck in, and return what is new."""
        if not self.loop.is_running():
            self.answer(now)
        elif self._asked is None:
            self._asked = now
            self._note(now)
            with contextlib.suppress(RuntimeError):  # it is being closed
                self.loop.call_soon_threadsafe(beat, self, context=Context())
        elif self._finding is None and now - self._asked > interval / 2:
            return self._see(now, threshold)
        return None

    def inside(self, spots: list[Spot]) -> list[Spot]:
        """What the loop has called; nothing if it is in nobody's code."""
        for index in range(len(spots) - 1, -1, -1):
            code = spots[index].code
            if code.co_name in _LOOP and code.co_filename.startswith(_ASYNCIO):
                inside = spots[index + 1 :]
                break
        else:  # uvloop, whose frames are not seen
            inside = spots[self._common(spots) if self.depth is None else self.depth :]
        return inside if any(spot.library not in _OF_LOOP for spot in inside) else []

    def _common(self, spots: list[Spot]) -> int:
        """How many calls the loop was in before, too: at least its own."""
        pairs = zip(spots, self._first_seen, strict=False)
        return sum(1 for _ in takewhile(lambda pair: pair[0].frame == pair[1], pairs))

    def held(self, spots: list[Spot], now: float, late: float) -> Finding | None:
        """Its thread has held the interpreter's lock for so long."""
        if self._finding is not None:
            return None
        inside = self.inside(spots)
        if not inside or _is_in_debugger(inside):
            self.forgive(now)
            return None
        run, node = first_that_knows(self.runs.values(), "on_loop")
        began = now - late if self._subject is None else self._since
        self._finding = Finding(run, node, inside, began=began, seconds=now - began, is_computing=True)
        return self._finding

    def _see(self, now: float, threshold: float) -> Finding | None:
        frame = sys._current_frames().get(self.thread)
        spots = self.inside(calls_around(frame))
        del frame
        if not spots or _is_in_debugger(spots):  # it waits, or has yet to be woken; or is looked at
            self.forgive(now)
            return None
        run, node = first_that_knows(self.runs.values(), "on_loop")
        subject = _subject_of(run, node, spots)
        if subject != self._subject:
            self._subject, self._since, self._computed_then = subject, self._looked, self._computed
        self._note(now)
        seconds = now - self._since
        if seconds < threshold:
            return None
        computes = self._is_computing(seconds)
        self._finding = Finding(run, node, spots, began=self._since, seconds=seconds, is_computing=computes)
        return self._finding

    def _note(self, now: float) -> None:
        self._looked, self._computed = now, cpu_seconds(self._native)

    def _is_computing(self, seconds: float) -> bool | None:
        if self._computed is None or self._computed_then is None:
            return None
        return self._computed - self._computed_then > COMPUTES * seconds


def first_that_knows(
    runs: Iterable[ObservedRun], method: str, *args: Any
) -> tuple[ObservedRun | None, NodeInfo | None]:
    """The first of these runs that knows of a node there, and that node."""
    for run in list(runs):
        look = getattr(run, method, None)
        node = None if look is None else look(*args)
        if node is not None:
            return run, node
    return None, None


def _subject_of(run: ObservedRun | None, node: NodeInfo | None, spots: list[Spot]) -> Hashable:
    """What tells one stall from another."""
    if run is not None and node is not None:
        return run.id, node.key
    own = outermost_own(spots)
    return "asyncgraph" if own is None else (own.frame, own.code)


def _is_in_debugger(spots: list[Spot]) -> bool:
    return any(os.path.basename(spot.code.co_filename) in _DEBUGGERS for spot in spots)


def cpu_seconds(native: int | None) -> float | None:
    """How long a thread has been on a core, by the number that the system gives it; None if unknown."""
    if native is None or sys.platform != "linux":
        return None
    try:
        # As glibc's `pthread_getcpuclockid` makes it, which must not be asked about a thread that has ended.
        return time.clock_gettime(~native << 3 | 6)
    except OSError:
        return None
