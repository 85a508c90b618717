"""When runs are asked how far they are, and drawn: on one thread for each place where runs are shown.

Laws:

- The thread is there while there is a run, and draws nothing after that: what is written when a run is over
  is written before that run's observers are through, so before anybody who awaits it goes on.
- It takes at most a hundredth of the time, however large the runs are: the pause follows from what the last
  round has cost. The first look at the functions of a run takes longer, and another hundredth at most (see
  `Watch.ask`). Until a run has gone on for long enough to be shown, nothing is asked of it.
- Two bars at one place share it: there is one painter for each terminal.
- No lock is held while a run is asked. Locks are taken in this order: that of all painters, one painter's.
"""

from __future__ import annotations

import atexit
import contextlib
import logging
import os
import threading
import time
from collections.abc import Callable, Hashable, Sequence
from typing import Protocol

from asyncgraph.observe.progress.view import Display, View
from asyncgraph.observe.progress.watch import Watch

__all__ = ["SYSTEM", "Clock", "Painter", "begin"]

_logger = logging.getLogger("asyncgraph")

_PAUSES = 199
"""How many times as long as a poll the pause after it is, and likewise for drawing: 1 % of the time for
both."""

_PATIENCE = 1.0
"""Seconds that a program which ends waits for a drawing to be done: its terminal may have been stopped."""

_LEFT_BEHIND = "left behind"


class Clock(Protocol):
    """Where the time comes from."""

    def now(self) -> float:
        """Seconds, on the clock of events."""
        ...

    def spent(self) -> float:
        """Seconds of computing that this thread has taken."""
        ...

    def wait(self, changed: threading.Condition, seconds: float) -> bool:
        """Wait so long, or until it is notified; whether the time is up."""
        ...


class _System:
    now = staticmethod(time.perf_counter)
    # Not `now`, which counts the time that a thread waits for others to let it run.
    spent = staticmethod(time.thread_time)

    def wait(self, changed: threading.Condition, seconds: float) -> bool:
        return seconds <= 0 or not changed.wait(seconds)


SYSTEM: Clock = _System()


class Painter:
    """Draws runs at one place for as long as there are any.

    Args:
        display: The place.
        clock: The time.
    """

    def __init__(self, display: Display, clock: Clock) -> None:
        self._display = display
        self._clock = clock
        # Of a condition's `with`, which is Python code, Ctrl-C may strike in the end, and leave it locked.
        self._lock = threading.Lock()
        self._changed = threading.Condition(self._lock)
        self._watches: dict[int, Watch] = {}
        self._thread: threading.Thread | None = None
        self._is_broken = False
        self._drawn_at = float("-inf")
        self._pause = display.period
        self._polled_at = float("-inf")
        self._poll_pause = 0.0

    @property
    def is_idle(self) -> bool:
        """Whether it has no run."""
        return not self._watches

    def add(self, watch: Watch) -> None:
        """Draw a run from now on; one that it has already makes no difference."""
        with self._lock:
            self._watches.setdefault(watch.run.id, watch)
            self._changed.notify()
            if self._thread is None:
                # A daemon: a program may end amid a run, whose loop it has left behind. See `_leave_all`.
                thread = threading.Thread(target=self._work, name="asyncgraph progress", daemon=True)
                thread.start()
                self._thread = thread

    def conclude(self, id: int, state: str, seconds: float) -> None:
        """A run is over: show how it has ended, if it was shown at all, and then draw it no more."""
        watch = self._watches.get(id)
        if watch is None:
            return
        # It may have taken long enough, and not have been drawn yet.
        watch.is_shown = watch.is_shown or watch.run.began + seconds >= watch.shown_from
        take = _ask(watch, seconds) if watch.is_shown else None
        with self._lock:
            if self._watches.get(id) is not watch:
                return
            now = self._clock.now()
            if take is not None:
                take(now)
            watch.conclude(state, seconds)
            self._remove([watch], now)

    def round(self) -> None:
        """Ask the runs, if it is time to, and draw them; this is what the thread does again and again."""
        began = self._clock.spent()
        self._drawn_at = now = self._clock.now()
        with self._lock:
            watches = [each for each in self._watches.values() if each.shown_from <= now]
        if not watches:
            return
        if now - self._polled_at >= self._poll_pause:
            # The first look at a run takes longer by far, and says nothing about how long the next one takes.
            before = sum(each.is_looked_at for each in watches)
            self._poll(watches, now)
            is_usual = sum(each.is_looked_at for each in watches) == before
            self._polled_at = now
            self._poll_pause = (self._clock.spent() - began) * _PAUSES if is_usual else 0.0
        began = self._clock.spent()
        with self._lock:
            lost = [each for each in self._watches.values() if each.is_left_behind()]
            for watch in lost:
                watch.conclude(_LEFT_BEHIND, now - watch.run.began)
            if lost:
                self._remove(lost, now)
            else:
                self._draw(now)
        self._pause = max(self._display.period, (self._clock.spent() - began) * _PAUSES)

    def leave(self) -> None:
        """The program ends: nothing more is drawn, and the terminal is left as it should be."""
        # Without the lock, if whoever holds it does not get on: then the terminal takes nothing anyway.
        if self._lock.acquire(timeout=_PATIENCE):
            try:
                now = self._clock.now()
                for watch in self._watches.values():
                    watch.conclude(_LEFT_BEHIND, now - watch.run.began)
                self._remove(list(self._watches.values()), now)
            finally:
                self._lock.release()

    # -- the thread

    def _work(self) -> None:
        while True:
            with self._lock:
                while self._watches and not self._clock.wait(self._changed, self._until_next()):
                    pass
                if not self._watches:
                    self._thread = None
                    break
            try:
                self.round()
            except Exception as error:
                self._give_up(error)
        _drop(self)

    def _until_next(self) -> float:
        if self._is_broken:
            return threading.TIMEOUT_MAX
        shown_from = min(each.shown_from for each in self._watches.values())
        return max(shown_from, self._drawn_at + self._pause) - self._clock.now()

    def _poll(self, watches: Sequence[Watch], now: float) -> None:
        for watch in watches:
            try:
                take = watch.ask(now - watch.run.began)
            except Exception:  # it changes while it is looked at; what it said before will do
                _logger.debug("a run does not say how far it is", exc_info=True)
                continue
            with self._lock:
                if watch.run.id in self._watches:
                    take(now)
                    watch.is_shown = True

    # -- under the lock

    def _remove(self, watches: Sequence[Watch], now: float) -> None:
        """Draw these for the last time, those that are nested in another run not even that."""
        outers = {id(watch): watch.outer in self._watches for watch in watches}
        over = [watch.view(now, 0) for watch in watches if watch.is_shown and not outers[id(watch)]]
        was_shown = any(watch.is_shown for watch in watches)
        for watch in watches:
            self._watches.pop(watch.run.id, None)
        if not self._watches:
            self._changed.notify()
        if was_shown:
            try:
                self._draw(now, over)
            except Exception as error:
                self._give_up(error)

    def _draw(self, now: float, over: Sequence[View] = ()) -> None:
        if not self._is_broken:
            self._display.draw(list(self._views(now)), over)

    def _views(self, now: float) -> list[View]:
        """What is to be drawn of all runs, those that are nested in another right behind it."""
        inner: dict[int | None, list[Watch]] = {}
        for watch in self._watches.values():
            if watch.is_shown:
                inner.setdefault(watch.outer if watch.outer in self._watches else None, []).append(watch)
        views, left = [], [(each, 0) for each in reversed(inner.get(None, []))]
        while left:
            watch, depth = left.pop()
            views.append(watch.view(now, depth))
            left += [(each, depth + 1) for each in reversed(inner.get(watch.run.id, []))]
        return views

    def _give_up(self, error: Exception) -> None:
        # The file is closed, for instance. The runs have nothing to do with it.
        self._is_broken = True
        _logger.warning("the progress of runs cannot be shown any more", exc_info=error)


def _ask(watch: Watch, seconds: float) -> Callable[[float], None] | None:
    try:
        return watch.ask(seconds)
    except Exception:  # it has changed while it was looked at, perhaps: what it has said before will do
        _logger.debug("the run %s does not say how far it is", watch.run.id, exc_info=True)
        return None


_lock = threading.Lock()
_painters: dict[Hashable, Painter] = {}
_is_registered = False


def begin(
    place: Hashable, make: Callable[[], Display], watch: Watch, clock: Clock
) -> Callable[[str, float], None]:
    """Show a run at a place.

    Args:
        place: The place: what is equal is the same one.
        make: Makes the display, if nothing is shown at that place now.
        watch: The run.
        clock: The time.

    Returns:
        What is to be called when the run is over, with its state and how long it has taken.
    """
    _register()
    with _lock:
        painter = _painters.get(place)
        if painter is None:
            painter = _painters[place] = Painter(make(), clock)
        painter.add(watch)

    def end(state: str, seconds: float) -> None:
        painter.conclude(watch.run.id, state, seconds)
        _drop(painter)

    return end


def _drop(painter: Painter) -> None:
    """Forget a painter, unless it has got another run meanwhile."""
    with _lock:
        for place, each in list(_painters.items()):
            if each is painter and each.is_idle:
                del _painters[place]


def _register() -> None:
    global _is_registered
    if not _is_registered:
        _is_registered = True
        atexit.register(_leave_all)
        if hasattr(os, "register_at_fork"):
            os.register_at_fork(after_in_child=_forget_all)


def _leave_all() -> None:
    for painter in list(_painters.values()):
        with contextlib.suppress(Exception):
            painter.leave()


def _forget_all() -> None:
    """In a process that was forked there are neither these runs nor the threads, and the lock may be held."""
    global _lock
    _lock = threading.Lock()
    _painters.clear()
