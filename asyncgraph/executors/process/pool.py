"""The worker pool: which calls go to which worker, and what becomes of them when a worker is lost.

Its laws:

- Every call is delivered exactly once, on the loop, and never from within `start` or `cancel`.
- A worker does its calls one after another, in the order in which it got them. When it dies, the one that
  had begun is to blame; what it had finished counts, and what it had not begun goes to others.
- A call that has begun is never begun again, unless its job says so.
- No call waits behind a longer one while a worker is idle. Workers are given more than one call only where
  calls are known to be short; what turns out to wait is taken back.
- A lost worker is reaped before its call is delivered: by then nothing of it runs any more.
- Nothing here blocks the loop. The one exception is `close`, which is for when there is no loop.

A worker is starting, idle, busy, or dying; the dying are in `_dying`, all others in `_workers`. What
happens inside a worker, and how bytes get there and back, is not known here.
"""

from __future__ import annotations

import asyncio
import functools
import logging
import os
import time
from collections import deque
from collections.abc import Callable, Collection, Iterable
from contextvars import Context
from typing import Any

from asyncgraph.executors.base import failure_of
from asyncgraph.executors.process import verdicts
from asyncgraph.executors.process.connections import Connector, connector_for
from asyncgraph.executors.process.frames import (
    ATOM,
    ERROR,
    HELLO,
    METER,
    PASSED,
    PAYLOAD,
    PICKLE,
    REFUSED,
    TIMES,
)
from asyncgraph.executors.process.handle import Seat, Segment, Worker
from asyncgraph.executors.process.job import Job
from asyncgraph.executors.process.loading import Loading, is_to_be_loaded_apart
from asyncgraph.executors.process.memory import resident_bytes
from asyncgraph.executors.process.outcomes import (
    decoded_error,
    loaded,
    marshalled,
    payload_of,
    take_meter,
    take_times,
)
from asyncgraph.executors.process.placing import is_long, place_for, uneven
from asyncgraph.executors.process.refusal import Refusal
from asyncgraph.executors.process.resending import pack_anew
from asyncgraph.executors.process.sharing import Sharing, is_to_be_shared
from asyncgraph.executors.process.shipping import Shipping
from asyncgraph.executors.safe_text import describe_error

__all__ = ["ProcessExecutor"]

logger = logging.getLogger("asyncgraph")

# Seconds that a short call may take until those that wait behind it are taken back; and how often that is
# looked at meanwhile.
_PATIENCE = 0.005
_LOOKS = 2

# Starts that may fail in a row before those who wait are told: once is bad luck, thrice is no accident.
_START_ATTEMPTS = 3

# Seconds until another worker is started after that, if there are some that work.
_START_PAUSE = 1.0

# How often workers may die just before they begin a call; then the call itself is suspected.
_STRAYS = 3

# How often a call is pickled anew for a worker that lacks modules.
_RESENT = 3

# Results stay in shared memory as long as descriptors are lower than this: others need some, too.
_MOST_DESCRIPTORS = 500

# Starts that may be killed from outside in a row, which says less of the starting than if they fail.
_KILLED_STARTS = 10

# Seconds: how long a worker may take to leave when it is asked to; how long one whose channel is lost
# may take to end (it usually has) before it is killed; how long `close` sleeps between two looks, and
# waits for one that has been killed (the kernel may hold it, as on a file system that is gone).
_LEAVE_TIME = 1.0
_END_TIME = 0.25
_POLL_TIME = 0.005
_GIVE_UP_TIME = 5.0

# Seconds that a worker may take to begin a call that has a timeout, if that is shorter.
_BEGIN_TIME = 5.0

# Seconds after which a worker leaves that has nothing to do; and how often the memory of one is looked at.
_IDLE_TIME = 60.0
_MEMORY_TIME = 0.1


# Records that say something of calls, beside what has come of them.
_ABOUT_CALLS = {METER: take_meter, TIMES: take_times}

OnWorker = Callable[[int, str | None], object]
"""Called with the process id of a worker: and None when it has started; or how it has ended."""


def _tell_nobody(pid: int, end: str | None) -> None:
    """Nobody wants to know."""


class ProcessExecutor:
    """Runs calls in worker processes of its own.

    Workers are started when they are needed, and kept for later calls. They never import the user's
    `__main__`.

    Attributes:
        slots: How many workers there are at most. A nested call may start one more, which leaves
            when it is done.
        shipping: The functions that it knows.
    """

    def __init__(
        self,
        slots: int,
        loop: asyncio.AbstractEventLoop,
        *,
        max_tasks: int | None = None,
        max_memory: int | None = None,
        connect: Connector | None = None,
        on_worker: OnWorker | None = None,
    ) -> None:
        """Start nothing yet.

        Args:
            slots: How many workers there are to be, at least 1.
            loop: The loop that everything happens on.
            max_tasks: After so many calls a worker is replaced; None for never.
            max_memory: A worker that has more bytes than this in memory is replaced; None for never.
            connect: Starts workers; by default, whatever suits the loop.
            on_worker: Told of workers that are there, and of those that are gone.

        Raises:
            ValueError: `slots` is less than 1.
        """
        if slots < 1:
            raise ValueError(f"slots must be at least 1, not {slots!r}")
        self.slots = slots
        self.shipping = Shipping()
        self._loop = loop
        self._max_tasks = max_tasks
        self._max_memory = max_memory
        self._connect = connect or connector_for(loop)
        self._on_worker = on_worker or _tell_nobody
        self._pid = os.getpid()
        self._is_closed = False
        self._waiting: deque[Segment] = deque()
        self._sharing = Sharing(loop, self._on_shared)
        self._workers: set[Worker] = set()
        self._dying: set[Worker] = set()
        self._loading = Loading(loop, self._see_whether_quiet)
        self._failed_starts = 0
        self._no_start_before = 0.0
        self._is_spawning = False
        # Whether there is a call that is to run alone; and whether it has been said that workers are missing.
        self._may_be_alone = False
        self._has_warned = False
        # How deep in the delivery of outcomes this is, and what is to be called at its end.
        self._delivering = 0
        self._afterwards: dict[Callable[[], None], None] = {}
        self._none_dying = asyncio.Event()
        self._look_timer: asyncio.TimerHandle | None = None
        self._idle_timer: asyncio.TimerHandle | None = None
        self._memory_seen = 0.0

    # -- what is asked of it

    def start(self, jobs: Iterable[Job]) -> None:
        """Give calls to workers, or let them wait for one. Never raises."""
        if self._is_closed or self._is_forked():
            error = verdicts.forked if self._is_forked() else verdicts.closed
            for job in jobs:
                self._deliver_soon(Segment(job, 0, len(job.calls)), error)
            return
        for job in jobs:
            if job.payloads and self._connect.can_share and is_to_be_shared(job):
                self._sharing.add(job)
            else:
                self._waiting.append(Segment(job, 0, len(job.calls)))
        self._dispatch()

    def cancel(self, jobs: Collection[Job]) -> None:
        """Let nothing of these jobs begin any more, and kill the workers that have begun something of them.

        Calls that have no outcome yet end with CancelledError.
        """
        if self._is_forked():
            return
        self._see_to_the_dying()
        wanted = set(jobs)
        for job in wanted:
            # Also for calls of dying workers, which would otherwise begin elsewhere when those are reaped.
            job.verdict = job.verdict or verdicts.cancelled
            if self._sharing.remove(job):
                self._deliver_soon(Segment(job, 0, 1), verdicts.cancelled)
        waiting, self._waiting = self._waiting, deque()
        self._take_out(wanted, waiting)
        for worker in list(self._workers):
            if any(segment.job in wanted for segment in worker.segments):
                self._take_out(wanted, worker.take_back())
                # From here on nothing begins there: what runs now is what would be killed.
                running = worker.running()
                if running is not None and running.job in wanted:
                    self._put_down(worker)
                elif worker.count:
                    self._loop.call_soon(self._on_told, worker, context=Context())
                else:
                    self._rest(worker)
        self._dispatch()

    def held(self) -> set[Job]:
        """The jobs of which anything is here; others are delivered, or soon will be, or lost to Ctrl-C."""
        segments = [*self._waiting]
        for worker in (*self._workers, *self._dying):
            segments += worker.segments
        return {*(segment.job for segment in segments), *self._sharing.jobs(), *self._loading.jobs()}

    def seats(self) -> list[Seat]:
        """Where the calls are that workers have, as far as has been heard; for any thread."""
        workers = *self._workers.copy(), *self._dying.copy()
        return [seat for worker in workers for seat in worker.seats()]

    def _take_out(self, jobs: set[Job], segments: Iterable[Segment]) -> None:
        """Of these segments, cancel those of these jobs; the others wait for a worker."""
        kept = []
        for segment in segments:
            if segment.job in jobs:
                self._deliver_soon(segment, verdicts.cancelled)
            else:
                kept.append(segment)
        self._waiting.extendleft(reversed(kept))

    def afterwards(self, action: Callable[[], None]) -> None:
        """Call `action` when all outcomes that have come together are delivered, once; now, if none are.

        To look for what comes next after each of them would take longer than some calls.
        """
        if self._delivering:
            self._afterwards[action] = None
        else:
            action()

    async def aclose(self) -> None:
        """End all workers: those without a call may leave by themselves, for a second, then are killed."""
        if self._is_forked():
            return
        self._dismiss()
        try:
            while self._dying or self._loading:
                self._none_dying.clear()
                await self._none_dying.wait()
            await asyncio.sleep(0)  # what was still to be delivered is delivered before this returns
        finally:
            self._reap_now(0)  # nothing is left to do, unless the waiting was cut short

    def close(self) -> None:
        """As `aclose`, blocking, and without the help of a loop."""
        if not self._is_forked():
            self._dismiss()
            self._reap_now(_LEAVE_TIME)

    # -- calls to workers

    def _on_shared(self, jobs: list[Job]) -> None:
        self._waiting += [Segment(job, 0, 1) for job in jobs]
        self._dispatch()

    def _dispatch(self) -> None:
        """Give waiting calls to workers, and start as many workers as are still missing."""
        waiting = self._waiting
        isolated: list[Segment] = []
        while waiting and not self._is_on_hold():
            worker, count = place_for(waiting[0], self._workers, self._max_tasks)
            if worker is not None:
                piece = waiting[0].split(count) if count < len(waiting[0]) else waiting.popleft()
                self._give(worker, piece)
            elif waiting[0].job.is_isolated and not waiting[0].job.is_alone:
                isolated.append(waiting.popleft())  # it waits for a new worker, which others need not
            else:
                break
        waiting.extendleft(reversed(isolated))
        if not waiting:
            self._even_out()
        elif not self._is_spawning and not self._is_on_hold() and self._lacks_workers():
            # One an iteration of the loop: a start takes milliseconds, and many would hold it.
            self._is_spawning = True
            self._loop.call_soon(self._spawn, context=Context())

    def _is_on_hold(self) -> bool:
        """Whether nothing may begin now, because a call that needs much memory is to run alone."""
        if not self._may_be_alone:
            return False
        running = [worker.segments[0].job for worker in self._workers if worker.segments]
        waiting = [segment.job for segment in self._waiting]
        self._may_be_alone = any(job.is_alone for job in (*running, *waiting))
        return any(job.is_alone for job in (*running, *waiting[:1])) if running else False

    def _give(self, worker: Worker, segment: Segment) -> None:
        job = segment.job
        is_first = not worker.count
        worker.has_long = is_long(job)
        worker.give(segment)
        if is_first:
            self._watch_time(worker)
        if worker.count > 1:
            self._look_later()
        if job.is_isolated or (self._max_tasks is not None and worker.given >= self._max_tasks):
            worker.is_retiring = True

    def _lacks_workers(self) -> bool:
        if self._loop.time() < self._no_start_before and any(worker.is_ready for worker in self._workers):
            return False  # with the workers there are, the calls still get done
        starting = alive = 0
        all_long = True
        for worker in self._workers:
            if not worker.is_retiring:
                alive += 1
                starting += not worker.is_ready
                all_long = all_long and worker.has_long
        if alive >= self.slots:
            if self._waiting[0].job.is_isolated and not starting and self._retire_one_for_isolation():
                return True
            # A call beyond those that may run at once is a nested one, on which another may depend: it gets a
            # worker of its own.
            return alive == self.slots and all_long and not self._dying
        return len(self._waiting) > starting

    def _retire_one_for_isolation(self) -> bool:
        for worker in list(self._workers):
            if worker.is_ready and not worker.count and not worker.is_retiring:
                self._retire(worker)
                return True
        return False

    def _spawn(self) -> None:
        self._is_spawning = False
        if self._is_closed or self._is_forked() or not self._waiting or not self._lacks_workers():
            return
        try:
            self._workers.add(Worker(self._loop, self._connect, self.slots, self._on_told, self._on_lost))
        except Exception as error:  # mostly OSError; whatever it is, those who wait must hear of it
            if self._workers:
                self._warn_of_few(describe_error(error))
            else:
                self._fail_waiting(functools.partial(verdicts.not_started, error))
            return
        self._dispatch()

    def _warn_of_few(self, reason: str) -> None:
        """With the workers there are, the calls still get done, only later: that is worth a word, once."""
        if not self._has_warned:
            self._has_warned = True
            few = f"{len(self._workers)} of {self.slots}"
            logger.warning("no further worker process starts, going on with %s: %s", few, reason)

    def _even_out(self) -> None:
        """Nothing waits: give an idle worker half of what another has not begun, if that is worth it."""
        pair = uneven(self._workers)
        if pair is not None:
            fullest, idle = pair
            most = fullest.count if self._max_tasks is None else self._max_tasks - idle.given
            for segment in fullest.take_back(keep=max(fullest.count // 2, fullest.count - most)):
                self._give(idle, segment)

    # -- what workers tell

    def _on_told(self, worker: Worker) -> None:
        if worker in self._workers and self._collect(worker):
            self._dispatch()

    def _collect(self, worker: Worker) -> bool:
        """Deliver what the worker has written; whether there was anything."""
        worker.read()
        has_any = bool(worker.records)
        before = self._delivering
        try:
            self._delivering = before + 1
            self._deliver(worker)
        except Exception:
            raise
        except BaseException:
            # Ctrl-C: nobody knows which of its calls have been taken from it by now.
            self._keep_from_beginning(worker)
            self._put_down(worker)
            raise
        finally:
            self._delivering = before
        if has_any and worker in self._workers:
            self._after_outcomes(worker)
        while self._afterwards and not self._delivering:
            self._afterwards.popitem()[0]()
        return has_any

    def _deliver(self, worker: Worker) -> None:
        # Those whom an outcome is delivered to may come back here, and must find things in order.
        while worker.records:
            kind, body = worker.records.popleft()
            if not self._take(worker, kind, body):  # it makes no sense: somebody else has written it
                self._keep_from_beginning(worker)
                if worker in self._workers:
                    worker.expel()
                    self._bury(worker, 0)
                return

    def _keep_from_beginning(self, worker: Worker) -> None:
        """Let nothing more begin there: nobody would know what has come of it."""
        worker.records.clear()
        if worker in self._workers:
            self._waiting.extendleft(reversed(worker.take_back()))

    def _after_outcomes(self, worker: Worker) -> None:
        if worker.count:
            self._watch_time(worker)
        self._see_to_memory(worker)
        if not worker.count and worker.is_ready:
            self._rest(worker)

    def _rest(self, worker: Worker) -> None:
        """It has nothing to do."""
        worker.idle_since = self._loop.time()
        alive = sum(not each.is_retiring for each in self._workers)
        if worker.is_retiring or (alive > self.slots and not self._waiting):
            self._retire(worker)
        else:
            worker.stop_timer()
            self._watch_idle()

    def _take(self, worker: Worker, kind: int, body: Any) -> bool:
        """Deliver what a record says; False if it makes no sense."""
        if kind == ATOM:
            return self._take_values(worker, body)
        if kind in _ABOUT_CALLS:
            return _ABOUT_CALLS[kind](worker, body)
        if kind == HELLO:
            if not worker.is_ready:
                worker.greet()
                self._failed_starts = 0
                self._on_worker(worker.process.pid, None)
            return True
        if not worker.segments:
            return False
        segment = worker.segments[0]
        job, index, step = segment.job, segment.start, segment.step
        if kind == PASSED:
            if step >= len(job.steps):
                return False
            worker.pass_step()
            job.passed(step)
            return True
        if kind == REFUSED:
            return self._take_refusal(worker, job, index, step, body)
        if kind == ERROR:
            worker.pass_by(1)
            key = job.key(index, step)
            job.ended(index, step, None, failure_of(decoded_error(body, key), key))
            return True
        payload = payload_of(worker, kind, body) if kind in (PICKLE, PAYLOAD) else None
        if payload is None:
            return False
        worker.pass_by(1)
        if 0 <= payload.fd < _MOST_DESCRIPTORS and job.keeps_payload(index, step):
            job.ended(index, step, payload, None)
        elif is_to_be_loaded_apart(payload):
            self._loading.load(payload, job, index, step)
        else:
            job.ended(index, step, *loaded(payload, functools.partial(job.key, index, step)))
        return True

    def _take_values(self, worker: Worker, values: list[Any]) -> bool:
        if not worker.segments:
            return False
        segment = worker.segments[0]
        job, index = segment.job, segment.start
        count = min(len(segment), len(values))
        if count < len(values):
            worker.records.appendleft((ATOM, values[count:]))
            del values[count:]
        if job.steps:
            step = segment.step
            worker.pass_by(1)
            job.ended(index, step, values[0], None)
        else:
            worker.pass_by(count)
            job.done(index, values)
        return True

    def _take_refusal(self, worker: Worker, job: Job, index: int, step: int, body: Any) -> bool:
        refusal = marshalled(body)
        if refusal is None:
            return False
        stage, place, kind, missing, cause = refusal
        worker.pass_by(1)
        is_lacking = bool(missing) and not step and stage == "arg-unpickle"
        if is_lacking and self._may_resend(job) and pack_anew(self.shipping, job, index, missing):
            job.resent += 1
            self._waiting.appendleft(Segment(job, index, index + 1))
            return True
        key = job.key(index, step)
        job.ended(index, step, None, Refusal(stage, place, kind, decoded_error(cause, key)).as_error(key))
        return True

    def _may_resend(self, job: Job) -> bool:
        return not self._is_closed and job.verdict is None and job.resent < _RESENT * len(job.calls)

    # -- the time that calls take

    def _watch_time(self, worker: Worker) -> None:
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
        action = functools.partial(self._time_out, worker, segment, segment.step, timeout, until)
        worker.set_timer(timeout, action)
        worker.watched = segment, segment.step

    def _time_out(self, worker: Worker, segment: Segment, step: int, timeout: float, until: float) -> None:
        # What waits behind it is not to begin now, and to be killed in its place.
        self._waiting.extendleft(reversed(worker.take_back_others()))
        self._collect(worker)  # what is complete by now wins
        if (
            worker in self._workers
            and worker.segments
            and worker.segments[0] is segment
            and segment.step == step
        ):
            if self._loop.time() < until and not worker.has_begun():
                self._set_timeout(worker, segment, timeout, until)
            else:
                segment.job.verdict = functools.partial(verdicts.timed_out, timeout)
                self._put_down(worker)
        self._dispatch()

    def _look_later(self) -> None:
        if self._look_timer is None:
            self._look_timer = self._loop.call_later(_PATIENCE / _LOOKS, self._look, context=Context())

    def _look(self) -> None:
        """Hear of outcomes that nobody has told of; and see whether short calls wait behind a long one."""
        self._look_timer = None
        for worker in list(self._workers):
            if worker.count > 1:
                self._collect(worker)
            if worker.count > 1 and worker in self._workers:
                worker.looks += 1
                if worker.looks > _LOOKS:
                    self._waiting.extendleft(reversed(worker.take_back_others()))
                    worker.is_stuck = True
                else:
                    self._look_later()
        self._dispatch()

    def _see_to_memory(self, worker: Worker) -> None:
        if self._max_memory is None or worker.is_retiring or not worker.given:
            return  # one that has run nothing would only be replaced by its like
        now = self._loop.time()
        if worker.count and now - self._memory_seen < _MEMORY_TIME:
            return
        self._memory_seen = now
        if resident_bytes(worker.process.pid) > self._max_memory:
            worker.is_retiring = True
            self._waiting.extendleft(reversed(worker.take_back()))

    def _watch_idle(self) -> None:
        if self._idle_timer is None:
            self._idle_timer = self._loop.call_later(_IDLE_TIME, self._shrink, context=Context())

    def _shrink(self) -> None:
        """Let those leave that have had nothing to do for long."""
        self._idle_timer = None
        since = self._loop.time() - _IDLE_TIME
        for worker in list(self._workers):
            if worker.is_ready and not worker.count:
                if worker.idle_since <= since:
                    self._retire(worker)
                else:
                    self._watch_idle()

    # -- the end of workers

    def _on_lost(self, worker: Worker) -> None:
        self._bury(worker, _END_TIME)

    def _retire(self, worker: Worker) -> None:
        worker.is_leaving = True
        self._bury(worker, _LEAVE_TIME)

    def _put_down(self, worker: Worker) -> None:
        """Kill it for the sake of what it is at."""
        worker.is_leaving = True
        worker.kill()
        self._bury(worker, 0)

    def _bury(self, worker: Worker, patience: float) -> None:
        if worker in self._workers:  # else it is dying already
            self._dying.add(worker)  # first: it is to be in one of the two even if Ctrl-C strikes in between
            self._workers.remove(worker)
            worker.bury(patience, self._settle)

    def _see_to_the_dying(self) -> None:
        """Ctrl-C may have struck when a worker was to be buried, or looked at: do so anew."""
        for worker in list(self._dying):
            self._workers.discard(worker)
            worker.bury(_LEAVE_TIME, self._settle)

    def _settle(self, worker: Worker) -> None:
        """Draw the conclusions from the end of `worker`, which is reaped.

        If Ctrl-C strikes amid this, it is called again: what has been taken from the worker by then is not
        taken twice.
        """
        if worker not in self._dying:
            return  # `close` was faster
        ended: list[tuple[Segment, BaseException]] = []
        if not worker.is_closed:
            self._collect(worker)
            if worker not in self._dying:
                return  # somebody to whom an outcome was delivered has called `close`
            ended = self._take_calls_of(worker)
        worker.close()
        self._dying.discard(worker)
        self._see_whether_quiet()
        self._dispatch()
        try:
            if worker.is_ready:
                self._on_worker(worker.process.pid, worker.end())
        finally:
            if not self._loop.is_closed():
                for segment, error in ended:
                    segment.job.ended(segment.start, segment.step, None, error)

    def _take_calls_of(self, worker: Worker) -> list[tuple[Segment, BaseException]]:
        """Let calls of a worker that is gone wait for another; those that end with it, and their errors."""
        not_begun = worker.take_back()
        if not worker.count and not worker.is_ready and not worker.is_leaving:
            self._count_failed_start(worker)
        elif not_begun and not worker.count and not worker.is_leaving:
            not_begun[0].job.strays += 1
        # One, unless records have been lost or tokens stolen: what may have begun does not begin again.
        culprits = [each for segment in worker.take_all() if len(segment) for each in segment.calls()]
        for segment in reversed(not_begun):
            self._begin_again(worker, segment)
        judged = [(segment, self._judge(worker, segment)) for segment in culprits]
        return [(segment, error) for segment, error in judged if error is not None]

    def _see_whether_quiet(self) -> None:
        if not self._dying and not self._loading:
            self._none_dying.set()

    def _begin_again(self, worker: Worker, segment: Segment) -> None:
        """Let calls wait that have not begun in a worker that is gone."""
        job = segment.job
        if self._is_closed or job.verdict is not None:
            self._deliver_soon(segment, job.verdict or verdicts.closed)
        elif job.strays >= _STRAYS:
            self._deliver_soon(segment, lambda key: worker.crash(key, 0))
        else:
            self._waiting.appendleft(segment)

    def _judge(self, worker: Worker, segment: Segment) -> BaseException | None:
        """The error for the call that a worker has died of; None if it begins once more."""
        job = segment.job
        if job.verdict is not None:
            return job.verdict(job.key(segment.start, segment.step))
        job.attempts += 1
        # A step has not said that it may begin again, nor that those before it may.
        if job.crash_retries >= job.attempts and not segment.step and not self._is_closed:
            job.seconds = None  # others are not to suffer again
            job.is_alone = worker.is_memory_suspected
            self._may_be_alone = self._may_be_alone or job.is_alone
            self._waiting.appendleft(segment)
            return None
        return worker.crash(job.key(segment.start, segment.step), job.attempts)

    def _count_failed_start(self, worker: Worker) -> None:
        self._failed_starts += 1
        is_killed = worker.is_memory_suspected
        may_fail = _KILLED_STARTS if is_killed else _START_ATTEMPTS
        if self._failed_starts < may_fail:
            return
        if any(each.is_ready for each in self._workers):
            self._no_start_before = self._loop.time() + _START_PAUSE
            self._warn_of_few(f"the last {self._failed_starts} ended before they were ready")
        else:
            attempts, self._failed_starts = self._failed_starts, 0
            self._fail_waiting(functools.partial(worker.failed_start, attempts))

    def _dismiss(self) -> None:
        self._is_closed = True
        self._see_to_the_dying()
        for timer in (self._look_timer, self._idle_timer):
            if timer is not None:
                timer.cancel()
        for job in self._sharing.clear():
            self._deliver_soon(Segment(job, 0, 1), verdicts.closed)
        self._fail_waiting(verdicts.closed)
        for worker in list(self._workers):
            if worker.count:
                for segment in worker.segments:
                    segment.job.verdict = segment.job.verdict or verdicts.closed
                self._put_down(worker)
            else:
                self._retire(worker)

    def _reap_now(self, patience: float) -> None:
        """Reap every dying worker, blocking; kill those that take longer than `patience` seconds."""
        deadline = time.monotonic() + patience
        while self._dying and time.monotonic() < deadline + _GIVE_UP_TIME:
            expired = time.monotonic() >= deadline
            for worker in list(self._dying):
                if expired:
                    worker.expel()
                if worker.process.reap():
                    self._settle(worker)
            if self._dying:
                time.sleep(_POLL_TIME)
        self._loading.join()

    # -- delivering

    def _fail_waiting(self, error: Callable[[str], BaseException]) -> None:
        waiting, self._waiting = self._waiting, deque()
        for segment in waiting:
            self._deliver_soon(segment, error)

    def _deliver_soon(self, segment: Segment, error: Callable[[str], BaseException]) -> None:
        """Let each of these calls have an error, of its own: raising an exception changes it."""
        loop = self._loop
        if self._is_forked():
            # The child may have a loop of its own; the parent's, which it has inherited, is idle there.
            try:
                loop = asyncio.get_running_loop()
            except RuntimeError:
                pass
        if loop.is_closed():
            return  # nobody is left to be told
        job = segment.job
        for index in range(segment.start, segment.stop):
            loop.call_soon(job.ended, index, 0, None, error(job.key(index, 0)))

    def _is_forked(self) -> bool:
        return os.getpid() != self._pid
