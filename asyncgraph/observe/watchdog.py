"""The watchdog: a thread that asks event loops whether they are alive, and looks at what they are stuck in.

It has a thread only while runs go on, and a little longer, so that runs that follow each other do not each
start one. A few times in each threshold it asks each loop for a sign of life. A loop that gives none is
looked at until it does: a stall is what is found there each time for a threshold. If the watchdog itself
could not run for so long, something has held the interpreter's lock: the thread whose CPU clock has gone on
meanwhile. If none has, the whole program stood still, as in a debugger, and that is no stall.

It finds; what is made of that is decided in `loop_guard`.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import sys
import threading
import time
from collections.abc import Callable, Hashable
from contextvars import Context
from itertools import takewhile
from types import FrameType
from typing import Any

from asyncgraph.observe.events import NodeInfo, ObservedRun
from asyncgraph.observe.spots import Spot, calls_around, outermost_own

__all__ = ["Finding", "Watchdog"]

logger = logging.getLogger("asyncgraph.observe")

# It looks so many times in each threshold, or more.
_LOOKS = 4

# Its thread waits at most so many seconds, for another run before it ends, or for anything else.
_LINGER = 0.1

# A loop that is blocked computes if its thread has been on a core for this share of the time, and waits if
# not: what waits takes hardly any, but on a machine with much to do nobody gets the whole of a core.
_COMPUTES = 0.1

# A thread has held the interpreter's lock if it has had this share of what all threads have computed.
_MOST = 0.75

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


class Watchdog:
    """Watches the loops of the runs that it is told of.

    Args:
        threshold: Seconds from which on something is a stall.
        on_found: Called with each stall while it goes on, in the watchdog's thread.
        on_over: Called with it when it is over, in the thread that finds that out.
    """

    def __init__(
        self, threshold: float, on_found: Callable[[Finding], None], on_over: Callable[[Finding], None]
    ) -> None:
        self._threshold = threshold
        self._interval = min(threshold / _LOOKS, _LINGER)
        self._on_found = on_found
        self._on_over = on_over
        # Reentrant: a finalizer that ends a run may come in between anywhere.
        self._more = threading.Condition(threading.RLock())
        self._pulses: dict[asyncio.AbstractEventLoop, _Pulse] = {}
        self._thread: threading.Thread | None = None
        # Whether it waits for a run, or there is none.
        self._is_idle = True
        # When it looked last, and how much CPU time each thread had had then.
        self._looked = 0.0
        self._computed: dict[int, float] = {}

    def watch(self, run: ObservedRun) -> None:
        """Watch the running loop, because of a run that has begun on it."""
        loop = asyncio.get_running_loop()
        with self._more:
            if self._is_idle:  # from here on: the loop may be stuck before the thread has had its turn
                self._is_idle = False
                self._looked = time.perf_counter()
                self._gains()
            pulse = self._pulses.get(loop)
            if pulse is None:
                pulse = self._pulses[loop] = _Pulse(loop)
            pulse.runs[run.id] = run
            if self._thread is None or not self._thread.is_alive():  # after a fork it is not
                self._thread = threading.Thread(target=self._work, name="asyncgraph-watchdog", daemon=True)
                self._thread.start()
            else:
                self._more.notify()
        self._beat(pulse)

    def leave(self, run: ObservedRun) -> None:
        """The run is over; called on its loop."""
        with self._more:
            pulse = next((each for each in self._pulses.values() if run.id in each.runs), None)
            if pulse is None:
                return
            del pulse.runs[run.id]
            if not pulse.runs:
                del self._pulses[pulse.loop]
        self._beat(pulse)

    # -- on the loop

    def _called(self, pulse: _Pulse) -> None:
        """The loop has called this, as it was asked to."""
        pulse.depth = _depth_of(sys._getframe(1))
        self._beat(pulse)

    def _beat(self, pulse: _Pulse) -> None:
        """The loop is alive."""
        with self._more:
            finding = pulse.answer(time.perf_counter())
        if finding is not None:
            self._on_over(finding)

    # -- in the thread

    def _work(self) -> None:
        try:
            self._look_again_and_again()
        except Exception:
            # A fault of ours must not harm the program.
            logger.exception("the watchdog of asyncgraph failed; please report this")
            with self._more:
                self._pulses.clear()
                self._thread, self._is_idle = None, True

    def _look_again_and_again(self) -> None:
        while True:
            with self._more:
                if not self._pulses:
                    self._is_idle = True
                    self._more.wait(min(_LINGER, self._threshold))
                if not self._pulses:
                    self._thread = None
                    return
                due = self._looked + self._interval
            time.sleep(max(due - time.perf_counter(), 0))
            now = time.perf_counter()
            for told, finding in self._look(now, now - due):
                told(finding)
            self._looked = time.perf_counter()

    def _look(self, now: float, late: float) -> list[tuple[Callable[[Finding], None], Finding]]:
        """Look at all loops; what was found, each with whom to tell.

        Args:
            now: The time.
            late: For how long the watchdog could not run.
        """
        # First of all: what has held it up may go on at once.
        frames = sys._current_frames() if late > self._threshold else {}
        around = {ident: calls_around(frame) for ident, frame in frames.items()}
        del frames
        told: list[tuple[Callable[[Finding], None], Finding]] = []
        with self._more:
            holder = self._holder(late)
            if late > self._threshold:
                told += self._held_up(holder, around, now, late)
            for pulse in list(self._pulses.values()):
                if pulse.loop.is_closed():  # its runs will not say that they are over
                    del self._pulses[pulse.loop]
                    finding = pulse.answer(now)
                    told += [] if finding is None else [(self._on_over, finding)]
                    continue
                new = pulse.look(now, self._threshold, self._interval, self._called)
                told += [] if new is None else [(self._on_found, new)]
        return told

    def _holder(self, late: float) -> threading.Thread | None:
        """The thread that has kept the interpreter to itself since the last look, if one has."""
        gains = self._gains()
        if late <= self._threshold or not gains:
            return None
        first = max(gains, key=gains.__getitem__)
        is_it = gains[first] > max(_MOST * sum(gains.values()), _COMPUTES * late)
        return first if is_it else None

    def _gains(self) -> dict[threading.Thread, float]:
        """How much CPU time each thread has had since this was asked last."""
        threads = [each for each in threading.enumerate() if each is not threading.current_thread()]
        before, self._computed = self._computed, {}
        gains: dict[threading.Thread, float] = {}
        for thread in threads:
            seconds = _cpu_seconds(thread.native_id)
            if seconds is not None and thread.ident is not None:
                self._computed[thread.ident] = seconds
                gains[thread] = seconds - before.get(thread.ident, 0.0)
        return gains

    def _held_up(
        self, holder: threading.Thread | None, around: dict[int, list[Spot]], now: float, late: float
    ) -> list[tuple[Callable[[Finding], None], Finding]]:
        """The watchdog itself could not run: nobody else could, but for the one that has held it up."""
        of_loop = None
        for pulse in self._pulses.values():
            if holder is not None and pulse.thread == holder.ident:
                of_loop = pulse
            else:
                pulse.forgive(now)
        if holder is None or holder.ident is None or not self._pulses:
            return []
        spots = around.get(holder.ident, [])
        if of_loop is not None:
            new = of_loop.held(spots, now, late)
            return [] if new is None else [(self._on_found, new)]
        finding = self._in_thread(holder, spots, now, late)
        return [(self._on_found, finding), (self._on_over, finding)]

    def _in_thread(self, holder: threading.Thread, spots: list[Spot], now: float, late: float) -> Finding:
        runs = [run for pulse in self._pulses.values() for run in pulse.runs.values()]
        assert holder.ident is not None
        run, node = _first(runs, "in_thread", holder.ident)
        about: dict[str, Any] = {"began": now - late, "seconds": late, "is_computing": True}
        return Finding(run, node, spots, thread=holder.name, **about)


class _Pulse:
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
        self, now: float, threshold: float, interval: float, beat: Callable[[_Pulse], None]
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
        run, node = _first(self.runs.values(), "on_loop")
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
        run, node = _first(self.runs.values(), "on_loop")
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
        self._looked, self._computed = now, _cpu_seconds(self._native)

    def _is_computing(self, seconds: float) -> bool | None:
        if self._computed is None or self._computed_then is None:
            return None
        return self._computed - self._computed_then > _COMPUTES * seconds


def _first(runs: Any, method: str, *args: Any) -> tuple[ObservedRun | None, NodeInfo | None]:
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


def _depth_of(frame: FrameType | None) -> int:
    """How many calls a frame is in, itself included."""
    depth = 0
    while frame is not None:
        depth, frame = depth + 1, frame.f_back
    return depth


def _is_in_debugger(spots: list[Spot]) -> bool:
    return any(os.path.basename(spot.code.co_filename) in _DEBUGGERS for spot in spots)


def _cpu_seconds(native: int | None) -> float | None:
    """How long a thread has been on a core, by the number that the system gives it; None if unknown."""
    if native is None or sys.platform != "linux":
        return None
    try:
        # As glibc's `pthread_getcpuclockid` makes it, which must not be asked about a thread that has ended.
        return time.clock_gettime(~native << 3 | 6)
    except OSError:
        return None
