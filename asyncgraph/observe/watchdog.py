"""The watchdog: a thread that asks event loops whether they are alive, and looks at what they are stuck in.

It has a thread only while runs go on, and a little longer, so that runs that follow each other do not each
start one. A few times in each threshold it asks each loop for a sign of life. A loop that gives none is
looked at until it does: a stall is what is found there each time for a threshold. If the watchdog itself
has waited for the interpreter's lock for so long, something has held that: the thread whose CPU clock has
gone on meanwhile. If it could not run for other reasons, the whole program stood still, as in a debugger, or
the machine had too much to do, and that is no stall.

It finds; what is made of that is decided in `loop_guard`.
"""

from __future__ import annotations

import asyncio
import logging
import sys
import threading
import time
from collections.abc import Callable
from types import FrameType
from typing import Any

from asyncgraph.observe.events import ObservedRun
from asyncgraph.observe.pulse import COMPUTES, Finding, Pulse, cpu_seconds, first_that_knows
from asyncgraph.observe.spots import Spot, calls_around

__all__ = ["Watchdog"]

logger = logging.getLogger("asyncgraph.observe")

# It looks so many times in each threshold, or more.
_LOOKS = 2

# Its thread waits at most so many seconds, for another run before it ends, or for anything else.
_LINGER = 0.1

# A thread that waits for the interpreter's lock wakes each time that `sys.getswitchinterval` is over, to ask
# for it: at least so often, and for this share of the time, on a machine with much to do.
_LEAST_WAITS = 4
_WAITS = 0.1

# A thread has held the interpreter's lock if it has had this share of what all threads have computed.
_MOST = 0.75


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
        self._pulses: dict[asyncio.AbstractEventLoop, Pulse] = {}
        self._of_run: dict[int, Pulse] = {}
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
                pulse = self._pulses[loop] = Pulse(loop)
            pulse.runs[run.id] = run
            self._of_run[run.id] = pulse
            if self._thread is None or not self._thread.is_alive():  # after a fork it is not
                self._thread = threading.Thread(target=self._work, name="asyncgraph-watchdog", daemon=True)
                self._thread.start()
            else:
                self._more.notify()
        self._beat(pulse)

    def leave(self, run: ObservedRun) -> None:
        """The run is over; called on its loop."""
        with self._more:
            pulse = self._of_run.pop(run.id, None)
            if pulse is None:
                return
            del pulse.runs[run.id]
        self._beat(pulse)

    # -- on the loop

    def _called(self, pulse: Pulse) -> None:
        """The loop has called this, as it was asked to."""
        pulse.depth = _depth_of(sys._getframe(1))
        self._beat(pulse)

    def _beat(self, pulse: Pulse) -> None:
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
                self._end()

    def _look_again_and_again(self) -> None:
        while True:
            with self._more:
                if not self._of_run:
                    self._is_idle = True
                    self._more.wait(min(_LINGER, self._threshold))
                if not self._of_run:
                    self._end()
                    return
                due = self._looked + self._interval
            waits = _waits()
            time.sleep(max(due - time.perf_counter(), 0))
            now = time.perf_counter()
            for told, finding in self._look(now, now - due, _waits() - waits):
                told(finding)
            self._looked = time.perf_counter()

    def _end(self) -> None:
        self._pulses.clear()
        self._of_run.clear()
        self._thread, self._is_idle = None, True

    def _look(self, now: float, late: float, waits: int) -> list[tuple[Callable[[Finding], None], Finding]]:
        """Look at all loops; what was found, each with whom to tell.

        Args:
            now: The time.
            late: For how long the watchdog could not run.
            waits: How often it has had to wait for something meanwhile.
        """
        # First of all: what has held it up may go on at once.
        frames = sys._current_frames() if late > self._threshold else {}
        around = {ident: calls_around(frame) for ident, frame in frames.items()}
        del frames
        told: list[tuple[Callable[[Finding], None], Finding]] = []
        with self._more:
            gains = self._gains()
            holder = self._holder(gains, late, waits)
            if late > self._threshold:
                told += self._held_up(holder, around, now, late)
            for pulse in list(self._pulses.values()):
                if pulse.loop.is_closed():  # its runs will not say that they are over
                    finding = self._drop(pulse, now)
                    told += [] if finding is None else [(self._on_over, finding)]
                    continue
                if not pulse.runs:
                    continue
                new = pulse.look(now, self._threshold, self._interval, self._called)
                told += [] if new is None else [(self._on_found, new)]
        return told

    def _drop(self, pulse: Pulse, now: float) -> Finding | None:
        """Forget a loop."""
        del self._pulses[pulse.loop]
        for run in pulse.runs:
            del self._of_run[run]
        return pulse.answer(now)

    def _holder(
        self, gains: dict[threading.Thread, float], late: float, waits: int
    ) -> threading.Thread | None:
        """The thread that has kept the interpreter to itself since the last look, if one has."""
        has_waited = waits >= _LEAST_WAITS and waits * sys.getswitchinterval() > _WAITS * late
        if late <= self._threshold or not gains or not has_waited:
            return None
        first = max(gains, key=gains.__getitem__)
        is_it = gains[first] > max(_MOST * sum(gains.values()), COMPUTES * late)
        return first if is_it else None

    def _gains(self) -> dict[threading.Thread, float]:
        """How much CPU time each thread has had since this was asked last."""
        threads = [each for each in threading.enumerate() if each is not threading.current_thread()]
        before, self._computed = self._computed, {}
        gains: dict[threading.Thread, float] = {}
        for thread in threads:
            seconds = cpu_seconds(thread.native_id)
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
            if holder is not None and pulse.thread == holder.ident and pulse.loop.is_running():
                of_loop = pulse
            else:
                pulse.forgive(now)
        if holder is None or holder.ident is None or not self._of_run:
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
        run, node = first_that_knows(runs, "in_thread", holder.ident)
        about: dict[str, Any] = {"began": now - late, "seconds": late, "is_computing": True}
        return Finding(run, node, spots, thread=holder.name, **about)


def _waits() -> int:
    """How often this thread has had to wait for something; 0 where that is not known."""
    if sys.platform != "linux":
        return 0
    import resource

    return resource.getrusage(resource.RUSAGE_THREAD).ru_nvcsw


def _depth_of(frame: FrameType | None) -> int:
    """How many calls a frame is in, itself included."""
    depth = 0
    while frame is not None:
        depth, frame = depth + 1, frame.f_back
    return depth
