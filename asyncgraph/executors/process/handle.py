"""One worker as the pool holds it: process and channel together, from its start to its reaping.

Decides how a worker is put to an end. When, and what becomes of its call, is the pool's business.
"""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Callable
from contextvars import Context
from typing import Any

from asyncgraph.errors import WorkerCrashedError, WorkerStartError
from asyncgraph.executors.base import Call
from asyncgraph.executors.process.channel import CALL, SETUP, Channel
from asyncgraph.executors.process.spawn import WorkerProcess, describe_setup

__all__ = ["Job", "Worker"]

# Seconds: how long a worker may take to say hello, and the first and the longest pause between two
# looks at whether it has ended.
_HELLO_TIME = 60.0
_FIRST_PAUSE = 0.001
_LONGEST_PAUSE = 0.05


class Job:
    """A call on its way through the pool.

    Attributes:
        payload: The pickled call; None once a worker has begun it.
        assignments: How many workers it has been given to.
        worker: The worker that has it, or None while it waits.
        verdict: What it ends with when its worker is reaped, if that is decided already.
    """

    __slots__ = ("assignments", "call", "payload", "verdict", "worker")

    def __init__(self, call: Call, payload: bytes) -> None:
        self.call = call
        self.payload: bytes | None = payload
        self.assignments = 0
        self.worker: Worker | None = None
        self.verdict: BaseException | None = None

    def deliver(self, value: Any, error: BaseException | None) -> None:
        """Bring the outcome home; the call forgets the job."""
        self.call.handle = None
        self.call.deliver(value, error)


class Worker:
    """A worker process that has at most one call.

    Attributes:
        process: The process.
        job: The call that it has.
        ready: Whether it has said hello.
        leaving: Whether its end is the pool's own wish, and no failure.
    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        slots: int,
        on_frame: Callable[[Worker, int, memoryview], None],
        on_lost: Callable[[Worker], None],
    ) -> None:
        """Start one of `slots` workers.

        Raises:
            OSError: The system does not let it start.
        """
        setup = describe_setup()
        self.process = WorkerProcess(slots)
        self.job: Job | None = None
        self.ready = False
        self.leaving = False
        self._loop = loop
        self._expelled = False
        self._channel = Channel(
            loop,
            self.process.results,
            self.process.requests,
            lambda kind, payload: on_frame(self, kind, payload),
            lambda: on_lost(self),
        )
        self._channel.send(SETUP, setup)
        # An empty context: a timer would keep the context of whoever happened to need the worker.
        self._timer = loop.call_later(_HELLO_TIME, self.process.kill, context=Context())

    def greet(self) -> None:
        """Its hello has come: from now on it takes calls."""
        self.ready = True
        self._timer.cancel()

    def give(self, job: Job) -> None:
        """Hand it a call."""
        self.job = job
        self._channel.send(CALL, job.payload or b"")

    def bury(self, patience: float, then: Callable[[Worker], None]) -> None:
        """Close its channel, on which it leaves by itself, and reap it; never blocks.

        Args:
            patience: Seconds until it is killed if it has not left.
            then: Called with the worker once it is reaped; later, never at once.
        """
        self._timer.cancel()
        self._channel.close()
        if not self._loop.is_closed():
            deadline = self._loop.time() + patience
            self._loop.call_soon(self._look, _FIRST_PAUSE, deadline, then, context=Context())

    def _look(self, pause: float, deadline: float, then: Callable[[Worker], None]) -> None:
        if self.process.reap():
            then(self)
            return
        if self._loop.time() >= deadline:
            self.expel()
        arguments = (min(2 * pause, _LONGEST_PAUSE), deadline, then)
        self._loop.call_later(pause, self._look, *arguments, context=Context())

    def expel(self) -> None:
        """Kill it because it has not gone by itself."""
        self._expelled = True
        self.process.kill()

    def crash(self, key: str) -> WorkerCrashedError:
        """The error for the call it has died on."""
        return WorkerCrashedError(
            f"{key}: its worker process (pid {self.process.pid}) {self._end()} while it was running the call",
            exitcode=self.process.exitcode,
            signal=self.process.signal,
        )

    def failed_start(self, attempts: int, key: str) -> WorkerStartError:
        """The error for a call that has waited in vain for a worker such as this."""
        return WorkerStartError(
            f"{key}: no worker process could be started: {attempts} in a row ended before they were ready; "
            f"the last one {self._end()}. What they wrote to standard error may say why.",
            exitcode=self.process.exitcode,
            signal=self.process.signal,
        )

    def _end(self) -> str:
        number = self.process.signal
        if self._expelled:
            return "closed its connection, or wrote into it, and was killed"
        if number is None:
            return f"ended with exit code {self.process.exitcode}"
        hint = " (by the system, out of memory?)" if number == signal.SIGKILL else ""
        return f"was killed by {_signal_name(number)}{hint}"


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"  # a real-time signal
