"""The workers that there are: how many, how they come, and how they go.

A worker is starting, idle, busy, or dying; the dying are in `dying`, all others in `workers`. They are
started when calls wait, one in each turn of the loop, and leave when they have had nothing to do for long,
have done their share, or take too much memory. What becomes of the calls of one that is gone, is not known
here.
"""

from __future__ import annotations

import asyncio
import logging
import os
import time
from collections.abc import Callable
from contextvars import Context
from functools import partial

from asyncgraph.executors.process import verdicts
from asyncgraph.executors.process.connections import Connector
from asyncgraph.executors.process.handle import Worker
from asyncgraph.executors.process.memory import resident_bytes
from asyncgraph.executors.process.waiting import Waiting
from asyncgraph.executors.safe_text import describe_error

__all__ = ["Crew", "OnWorker"]

logger = logging.getLogger("asyncgraph")

# Starts that may fail in a row before those who wait are told: once is bad luck, thrice is no accident.
_START_ATTEMPTS = 3

# Starts that may be killed from outside in a row, which says less of the starting than if they fail.
_KILLED_STARTS = 10

# Seconds until another worker is started after that, if there are some that work.
_START_PAUSE = 1.0

# Seconds: how long a worker may take to leave when it is asked to; how long one whose channel is lost
# may take to end (it usually has) before it is killed; how long `reap` sleeps between two looks, and
# waits for one that has been killed (the kernel may hold it, as on a file system that is gone).
_LEAVE_TIME = 1.0
_END_TIME = 0.25
_POLL_TIME = 0.005
_GIVE_UP_TIME = 5.0

# Seconds after which a worker leaves that has nothing to do; and how often the memory of one is looked at.
_IDLE_TIME = 60.0
_MEMORY_TIME = 0.1

OnWorker = Callable[[int, str | None], object]
"""Called with the process id of a worker: and None when it has started; or how it has ended."""


class Crew:
    """The workers of one pool.

    Args:
        slots: How many there are to be at most; a nested call may start one more.
        loop: The loop.
        connect: Starts one.
        waiting: The calls that wait for one.
        max_memory: One that has more bytes than this in memory is replaced; None for never.
        on_told: Called when a worker has written something.
        on_more: Called when there is one more.
        on_reaped: Called with one of the dying that is reaped; again, if Ctrl-C has struck amid it.
        on_worker: Told of workers that are there, and of those that are gone.

    Attributes:
        slots: The same.
        workers: Those that are alive.
        dying: Those that are to be reaped.
    """

    def __init__(
        self,
        slots: int,
        loop: asyncio.AbstractEventLoop,
        connect: Connector,
        waiting: Waiting,
        *,
        max_memory: int | None,
        on_told: Callable[[Worker], None],
        on_more: Callable[[], None],
        on_reaped: Callable[[Worker], None],
        on_worker: OnWorker | None,
    ) -> None:
        self.slots = slots
        self.workers: set[Worker] = set()
        self.dying: set[Worker] = set()
        self._loop = loop
        self._connect = connect
        self._waiting = waiting
        self._max_memory = max_memory
        self._on_told, self._on_more = on_told, on_more
        self._on_reaped, self._on_worker = on_reaped, on_worker
        self._pid = os.getpid()
        self._is_spawning = False
        self._failed_starts = 0
        self._no_start_before = 0.0
        # Whether it has been said that workers are missing.
        self._has_warned = False
        self._idle_timer: asyncio.TimerHandle | None = None
        self._memory_seen = 0.0

    def is_forked(self) -> bool:
        """Whether this is a child of the process that has the workers."""
        return os.getpid() != self._pid

    # -- how they come

    def grow(self) -> None:
        """Calls wait: start a worker if one is missing."""
        if not self._is_spawning and not self._waiting.is_on_hold(self.workers) and self._is_short():
            # One an iteration of the loop: a start takes milliseconds, and many would hold it.
            self._is_spawning = True
            self._loop.call_soon(self._spawn, context=Context())

    def _is_short(self) -> bool:
        """Whether a worker is missing; there must be calls that wait."""
        if self._loop.time() < self._no_start_before and any(worker.is_ready for worker in self.workers):
            return False  # with the workers there are, the calls still get done
        usable = [worker for worker in self.workers if not worker.is_retiring]
        starting = sum(not worker.is_ready for worker in usable)
        if len(usable) < self.slots:
            return len(self._waiting) > starting
        if self._waiting.first.job.is_isolated and not starting and self._retire_one_for_isolation():
            return True
        # A call beyond those that may run at once is a nested one, on which another may depend: it gets a
        # worker of its own.
        are_all_long = all(worker.has_long for worker in usable)
        return len(usable) == self.slots and are_all_long and not self.dying

    def _retire_one_for_isolation(self) -> bool:
        for worker in list(self.workers):
            if worker.is_ready and not worker.count and not worker.is_retiring:
                self.retire(worker)
                return True
        return False

    def _spawn(self) -> None:
        self._is_spawning = False
        waiting = self._waiting
        if waiting.is_closed or self.is_forked() or not waiting or not self._is_short():
            return
        try:
            self.workers.add(Worker(self._loop, self._connect, self.slots, self._on_told, self._on_lost))
        except Exception as error:  # mostly OSError; whatever it is, those who wait must hear of it
            if self.workers:
                self._warn_of_few(describe_error(error))
            else:
                waiting.end_all(partial(verdicts.not_started, error))
            return
        self._on_more()

    def greet(self, worker: Worker) -> None:
        """It has said hello."""
        if not worker.is_ready:
            worker.greet()
            self._failed_starts = 0
            self._tell(worker, None)

    def count_failed_start(self, worker: Worker) -> None:
        """It has ended before it was ready."""
        self._failed_starts += 1
        may_fail = _KILLED_STARTS if worker.is_memory_suspected else _START_ATTEMPTS
        if self._failed_starts < may_fail:
            return
        if any(each.is_ready for each in self.workers):
            self._no_start_before = self._loop.time() + _START_PAUSE
            self._warn_of_few(f"the last {self._failed_starts} ended before they were ready")
        else:
            attempts, self._failed_starts = self._failed_starts, 0
            self._waiting.end_all(partial(worker.failed_start, attempts))

    def _warn_of_few(self, reason: str) -> None:
        """With the workers there are, the calls still get done, only later: that is worth a word, once."""
        if not self._has_warned:
            self._has_warned = True
            few = f"{len(self.workers)} of {self.slots}"
            logger.warning("no further worker process starts, going on with %s: %s", few, reason)

    def _tell(self, worker: Worker, end: str | None) -> None:
        if self._on_worker is not None:
            self._on_worker(worker.process.pid, end)

    # -- whether they stay

    def rest(self, worker: Worker) -> None:
        """It has nothing to do."""
        worker.idle_since = self._loop.time()
        alive = sum(not each.is_retiring for each in self.workers)
        if worker.is_retiring or (alive > self.slots and not self._waiting):
            self.retire(worker)
        else:
            worker.stop_timer()
            self._watch_idle()

    def see_to_memory(self, worker: Worker) -> None:
        """Let it do nothing more if it has taken too much."""
        if self._max_memory is None or worker.is_retiring or not worker.given:
            return  # one that has run nothing would only be replaced by its like
        now = self._loop.time()
        if worker.count and now - self._memory_seen < _MEMORY_TIME:
            return
        self._memory_seen = now
        if resident_bytes(worker.process.pid) > self._max_memory:
            worker.is_retiring = True
            self._waiting.put_back(worker.take_back())

    def _watch_idle(self) -> None:
        if self._idle_timer is None:
            self._idle_timer = self._loop.call_later(_IDLE_TIME, self._shrink, context=Context())

    def _shrink(self) -> None:
        """Let those leave that have had nothing to do for long."""
        self._idle_timer = None
        since = self._loop.time() - _IDLE_TIME
        for worker in list(self.workers):
            if worker.is_ready and not worker.count:
                if worker.idle_since <= since:
                    self.retire(worker)
                else:
                    self._watch_idle()

    # -- how they go

    def retire(self, worker: Worker) -> None:
        """Let it leave: it has no call."""
        worker.is_leaving = True
        self._bury(worker, _LEAVE_TIME)

    def put_down(self, worker: Worker) -> None:
        """Kill it for the sake of what it is at."""
        worker.is_leaving = True
        worker.kill()
        self._bury(worker, 0)

    def expel(self, worker: Worker) -> None:
        """Kill it: somebody else writes in its name."""
        if worker in self.workers:
            worker.expel()
            self._bury(worker, 0)

    def _on_lost(self, worker: Worker) -> None:
        self._bury(worker, _END_TIME)

    def _bury(self, worker: Worker, patience: float) -> None:
        if worker in self.workers:  # else it is dying already
            self.dying.add(worker)  # first: it is to be in one of the two even if Ctrl-C strikes in between
            self.workers.remove(worker)
            worker.bury(patience, self._on_reaped)

    def see_to_the_dying(self) -> None:
        """Ctrl-C may have struck when a worker was to be buried, or looked at: do so anew."""
        for worker in list(self.dying):
            self.workers.discard(worker)
            worker.bury(_LEAVE_TIME, self._on_reaped)

    def tell_of_end(self, worker: Worker) -> None:
        """It is reaped, and closed; who wants to know hears how it has ended."""
        if worker.is_ready:
            self._tell(worker, worker.end())

    def dismiss(self) -> None:
        """Let all leave, and kill those that have a call."""
        if self._idle_timer is not None:
            self._idle_timer.cancel()
        for worker in list(self.workers):
            if worker.count:
                for segment in worker.segments:
                    segment.job.verdict = segment.job.verdict or verdicts.closed
                self.put_down(worker)
            else:
                self.retire(worker)

    def reap(self, *, may_leave: bool) -> None:
        """Reap all that are dying, blocking; kill those that do not end by themselves.

        Args:
            may_leave: Whether they have time for that.
        """
        deadline = time.monotonic() + (_LEAVE_TIME if may_leave else 0)
        while self.dying and time.monotonic() < deadline + _GIVE_UP_TIME:
            expired = time.monotonic() >= deadline
            for worker in list(self.dying):
                if expired:
                    worker.expel()
                if worker.process.reap():
                    self._on_reaped(worker)
            if self.dying:
                time.sleep(_POLL_TIME)
