"""The worker pool: which call goes to which worker, and what becomes of a call when a worker is lost.

Its laws:

- A worker has at most one call, and a channel of its own: what happens to it concerns that call only.
- Every call is delivered exactly once, on the loop, and never from within `start`.
- A call that a worker had not begun when it died is given to another; one that had begun never is.
- A lost worker is reaped before its call is delivered: by then nothing of it runs any more.
- Nothing here blocks the loop. The one exception is `close`, which is for when there is no loop.

A worker is starting, idle, busy, or dying; the dying are in `_dying`, all others in `_workers`. What
happens inside a worker, and how values become bytes, is not known here.
"""

from __future__ import annotations

import asyncio
import functools
import os
import pickle
import sys
import time
from collections import deque
from collections.abc import Callable
from contextvars import Context
from typing import Any

from asyncgraph.errors import RuntimeClosedError, SerializationError, WorkerStartError
from asyncgraph.executors.base import Call, without_own_frames
from asyncgraph.executors.process.channel import BEGUN, HELLO, VALUE
from asyncgraph.executors.process.handle import Job, Worker
from asyncgraph.executors.safe_text import describe_error

__all__ = ["ProcessExecutor"]

# Starts that may fail in a row before those who wait are told: once is bad luck, thrice is no accident.
_START_ATTEMPTS = 3

# How often a call may meet a worker that dies before it begins; then the call itself is suspected.
_ASSIGNMENTS = 3

# Seconds: how long a worker may take to leave when it is asked to; how long one whose channel is lost
# may take to end (it usually has) before it is killed; how long `close` sleeps between two looks, and
# waits for one that has been killed (the kernel may hold it, as on a file system that is gone).
_LEAVE_TIME = 1.0
_END_TIME = 0.25
_POLL_TIME = 0.005
_GIVE_UP_TIME = 5.0


class ProcessExecutor:
    """Runs calls in worker processes of its own, one call at a time in each.

    Workers are started when they are needed and kept for later calls. They never import the user's
    `__main__`. Linux and macOS; the loop must have `add_reader` (asyncio's selector loop, uvloop).

    Attributes:
        slots: How many workers there are at most. A nested call may start one more, which leaves
            when it is done.
    """

    def __init__(self, slots: int, loop: asyncio.AbstractEventLoop) -> None:
        """Start nothing yet.

        Args:
            slots: How many calls may run at once, at least 1.
            loop: The loop that everything happens on.

        Raises:
            NotImplementedError: On Windows.
            ValueError: `slots` is less than 1.
        """
        if sys.platform == "win32":
            raise NotImplementedError(
                'Worker processes are not available on Windows yet; use executor="thread" instead.'
            )
        if slots < 1:
            raise ValueError(f"slots must be at least 1, not {slots!r}")
        self.slots = slots
        self._loop = loop
        self._pid = os.getpid()
        self._closed = False
        self._waiting: deque[Job] = deque()
        self._workers: set[Worker] = set()
        self._idle: list[Worker] = []
        self._dying: set[Worker] = set()
        self._failed_starts = 0
        self._spawning = False
        self._none_dying = asyncio.Event()

    def start(self, call: Call) -> None:
        """Pickle `call` and give it to a worker, or let it wait for one. Never raises."""
        if self._closed or self._is_forked():
            error = _forked_error(call.key) if self._is_forked() else _closed_error(call.key)
            self._deliver_soon(call, error)
            return
        try:
            # cloudpickle takes tens of milliseconds to import; programs without such calls never pay.
            from asyncgraph.executors.process.serialization import pickle_call

            job = Job(call, pickle_call(call.function, call.args, call.kwargs, call.key))
        except Exception as failure:
            self._deliver_soon(call, without_own_frames(failure))
            return
        call.handle = job
        self._waiting.append(job)
        self._dispatch()

    def cancel(self, call: Call) -> None:
        """Take `call` out of the queue, or kill its worker; it then ends with CancelledError."""
        job = call.handle
        if not isinstance(job, Job) or self._is_forked():
            return  # it is over, or never was with us
        if job.worker is not None:
            job.verdict = job.verdict or asyncio.CancelledError()
            job.worker.process.kill()
            self._bury(job.worker, 0)
        else:
            self._waiting.remove(job)
            call.handle = None
            self._deliver_soon(call, asyncio.CancelledError())

    async def aclose(self) -> None:
        """End all workers: those without a call may leave by themselves, for a second, then are killed."""
        if self._is_forked():
            return
        self._dismiss()
        try:
            while self._dying:
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

    # --- calls to workers -------------------------------------------------------------------------

    def _dispatch(self) -> None:
        """Give waiting calls to idle workers, and start as many workers as are still missing."""
        while self._waiting and self._idle:
            job = self._waiting.popleft()
            job.worker = self._idle.pop()  # the last to be idle: its memory is still warm
            job.assignments += 1
            job.worker.give(job)
        if self._lacks_workers() and not self._spawning:
            # One an iteration of the loop: a start takes milliseconds, and many would hold it.
            self._spawning = True
            self._loop.call_soon(self._spawn, context=Context())

    def _lacks_workers(self) -> bool:
        starting = sum(not worker.ready for worker in self._workers)
        # A call beyond the slots is a nested one, on which another may depend: it gets its own worker.
        return len(self._waiting) > starting and len(self._workers) <= self.slots

    def _spawn(self) -> None:
        self._spawning = False
        if self._closed or not self._lacks_workers() or self._is_forked():
            return
        try:
            self._workers.add(Worker(self._loop, self.slots, self._on_frame, self._on_lost))
        except Exception as error:  # mostly OSError; whatever it is, those who wait must hear of it
            # With the workers there are, the calls still get done, only later.
            if not self._workers:
                self._fail_waiting(functools.partial(_spawn_error, error))
            return
        self._dispatch()

    def _on_frame(self, worker: Worker, kind: int, payload: memoryview) -> None:
        job = worker.job
        if kind == HELLO and not worker.ready:
            worker.greet()
            self._failed_starts = 0
            self._free(worker)
        elif job is not None and kind == BEGUN and job.payload is not None:
            job.payload = None
        elif job is not None and kind > BEGUN and job.payload is None:
            worker.job = None
            self._free(worker)  # before the decoding, so that it can begin its next call meanwhile
            job.deliver(*_outcome(kind, payload, job.call.key))
        else:
            self._on_lost(worker)  # it writes what makes no sense here: so somebody else does

    def _free(self, worker: Worker) -> None:
        if len(self._workers) > self.slots and not self._waiting:
            self._retire(worker)
        else:
            self._idle.append(worker)
            self._dispatch()

    # --- the end of workers -----------------------------------------------------------------------

    def _on_lost(self, worker: Worker) -> None:
        self._bury(worker, _END_TIME)

    def _retire(self, worker: Worker) -> None:
        worker.leaving = True
        self._bury(worker, _LEAVE_TIME)

    def _bury(self, worker: Worker, patience: float) -> None:
        if worker not in self._workers:
            return  # dying already
        self._workers.remove(worker)
        if worker in self._idle:
            self._idle.remove(worker)
        self._dying.add(worker)
        worker.bury(patience, self._settle)

    def _settle(self, worker: Worker) -> None:
        """Draw the conclusions from the end of `worker`, which is reaped."""
        if worker not in self._dying:
            return  # `close` was faster
        self._dying.remove(worker)
        if not self._dying:
            self._none_dying.set()
        job, worker.job = worker.job, None
        if job is None:
            if not worker.ready and not worker.leaving:
                self._count_failed_start(worker)
        elif self._may_go_to_another(job):
            job.worker = None
            self._waiting.appendleft(job)
            job = None
        self._dispatch()
        if job is not None and not self._loop.is_closed():
            job.deliver(None, job.verdict or worker.crash(job.call.key))

    def _may_go_to_another(self, job: Job) -> bool:
        not_begun = job.payload is not None and job.verdict is None
        return not_begun and job.assignments < _ASSIGNMENTS and not self._closed

    def _count_failed_start(self, worker: Worker) -> None:
        self._failed_starts += 1
        if self._failed_starts >= _START_ATTEMPTS:
            attempts, self._failed_starts = self._failed_starts, 0
            self._fail_waiting(functools.partial(worker.failed_start, attempts))

    def _dismiss(self) -> None:
        self._closed = True
        self._fail_waiting(_closed_error)
        for worker in list(self._workers):
            if worker.job is None:
                self._retire(worker)
            else:
                worker.job.verdict = _closed_error(worker.job.call.key)
                worker.process.kill()
                self._bury(worker, 0)

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

    # --- delivering -------------------------------------------------------------------------------

    def _fail_waiting(self, error: Callable[[str], BaseException]) -> None:
        waiting, self._waiting = self._waiting, deque()
        for job in waiting:
            job.call.handle = None
            self._deliver_soon(job.call, error(job.call.key))  # one each: raising an exception changes it

    def _deliver_soon(self, call: Call, error: BaseException) -> None:
        loop = self._loop
        if self._is_forked():
            # The child may have a loop of its own; the parent's, which it has inherited, is idle there.
            try:
                loop = asyncio.get_running_loop()
            except RuntimeError:
                pass
        if not loop.is_closed():  # else nobody is left to be told
            loop.call_soon(call.deliver, None, error)

    def _is_forked(self) -> bool:
        return os.getpid() != self._pid


def _outcome(kind: int, payload: memoryview, key: str) -> tuple[Any, BaseException | None]:
    """What a VALUE or an ERROR frame says."""
    try:
        if kind == VALUE:
            return pickle.loads(payload), None
        from asyncgraph.executors.process.exceptions import decode

        return None, decode(payload)
    except BaseException as cause:  # the user's code runs here, and must not end the loop
        error = SerializationError(
            f"The result of {key} has come back from its worker process but could not be unpickled here: "
            f"{describe_error(cause)}. Its classes must be importable here, and able to rebuild what they "
            "pickle.",
            stage="result-unpickle",
        )
        error.__cause__ = without_own_frames(cause)
        return None, error


def _spawn_error(cause: Exception, key: str) -> WorkerStartError:
    error = WorkerStartError(f"{key}: no worker process could be started: {describe_error(cause)}")
    error.__cause__ = cause
    return error


def _closed_error(key: str) -> RuntimeClosedError:
    return RuntimeClosedError(f"{key} cannot run: the worker processes have been closed")


def _forked_error(key: str) -> RuntimeClosedError:
    return RuntimeClosedError(
        f"{key} cannot run: this process is a fork of the one that the worker processes belong to. "
        "Make a new runtime in it."
    )
