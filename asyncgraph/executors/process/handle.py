"""One worker as the pool holds it: what it has been given, in the order in which it does it.

Decides how a worker is put to an end. When, and what becomes of its calls, is the pool's business.
"""

from __future__ import annotations

import asyncio
import math
import signal
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextvars import Context
from functools import partial
from itertools import islice
from typing import Any, NamedTuple

from asyncgraph.errors import WorkerCrashedError, WorkerStartError
from asyncgraph.executors.process.connections import Connector
from asyncgraph.executors.process.frames import ATOM, ERROR, PAYLOAD, PICKLE, REFUSED, frame_of
from asyncgraph.executors.process.job import Job
from asyncgraph.executors.process.payload import Part, Payload
from asyncgraph.executors.process.shipping import Shipped
from asyncgraph.executors.process.spawn import WorkerProcess

__all__ = ["Seat", "Segment", "Worker"]

# Seconds: how long a worker may take to say hello, and the first and the longest pause between two
# looks at whether it has ended.
_HELLO_TIME = 60.0
_FIRST_PAUSE = 0.001
_LONGEST_PAUSE = 0.05

# Records that are the outcome of one call; ATOM is of as many as there are values.
_OUTCOMES = frozenset({PICKLE, PAYLOAD, ERROR, REFUSED})

# So many functions a worker keeps.
_FUNCTIONS = 500


class Segment:
    """Some calls of a job, next to each other: from `start` up to `stop`.

    Attributes:
        step: How many steps of the first of them have been passed.
    """

    __slots__ = ("job", "start", "step", "stop")

    def __init__(self, job: Job, start: int, stop: int) -> None:
        self.job = job
        self.start = start
        self.stop = stop
        self.step = 0

    def __len__(self) -> int:
        return self.stop - self.start

    def calls(self) -> list[Segment]:
        """Its calls, one by one."""
        calls = [Segment(self.job, index, index + 1) for index in range(self.start, self.stop)]
        calls[0].step = self.step
        return calls

    def split(self, count: int) -> Segment:
        """Cut off the first so many calls, and return them."""
        first = Segment(self.job, self.start, self.start + count)
        self.start += count
        return first


class Seat(NamedTuple):
    """Where a call is, as far as this process has heard.

    Attributes:
        job: Its job.
        call: Which call of the job it is.
        step: How many steps of it have been passed.
        pid: The process id of its worker.
        is_ready: Whether the worker has started up.
        since: When the worker came to it, by `time.monotonic()`; None if it has not yet.
    """

    job: Job
    call: int
    step: int
    pid: int
    is_ready: bool
    since: float | None


class Worker:
    """A worker process and the calls that it has.

    The first of them may have begun. Those that have not are the last ones, and can be taken back.

    Attributes:
        segments: The calls, the next outcome is that of the first.
        count: How many there are.
        given: How many it has ever been given.
        seconds: How long they are expected to take.
        is_ready: Whether it has said hello.
        is_leaving: Whether its end is the pool's own wish, and no failure.
        is_retiring: Whether it is given nothing more.
        has_long: Whether it has a call that others are not to wait behind.
        is_stuck: Whether its first call takes much longer than expected.
        looks: How often it has been looked at since anything has come of its calls.
        records: What it has written and nobody has read yet.
        idle_since: When it had nothing more to do, on the loop's clock.
        since: When it came to its first call, as far as has been heard, by `time.monotonic()`.
        timer: Strikes when it has not said hello, and then when its first call has run for too long.
        watched: The call, and the step of it, whose time is being watched.
        was_killed: Whether the pool has killed it.
        is_closed: Whether it is gone, and nothing can be read of it any more.
    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        connect: Connector,
        slots: int,
        on_told: Callable[[Worker], None],
        on_lost: Callable[[Worker], None],
    ) -> None:
        """Start one of `slots` workers.

        Raises:
            OSError: The system does not let it start.
        """
        self.segments: deque[Segment] = deque()
        self.count = 0
        self.given = 0
        self.seconds = 0.0
        self.is_ready = False
        self.is_leaving = False
        self.is_retiring = False
        self.has_long = False
        self.is_stuck = False
        self.looks = 0
        self.records: deque[tuple[int, Any]] = deque()
        self.idle_since = 0.0
        self.since = 0.0
        self.watched: tuple[Segment, int] | None = None
        self.was_killed = self.is_closed = False
        self._loop = loop
        self._functions: dict[int, Shipped] = {}
        self._expelled = False
        self._deadline = math.inf
        # An empty context: a timer would keep the context of whoever happened to need the worker.
        self.timer: asyncio.Handle | None = None
        self.set_timer(_HELLO_TIME, self.kill)
        # Last, and in the hands of the caller at once: Ctrl-C must not strike when nobody has it yet.
        try:
            self.link = connect(slots, lambda: on_told(self), lambda: on_lost(self))
        except BaseException:
            self.stop_timer()
            raise

    @property
    def process(self) -> WorkerProcess:
        """The process itself."""
        return self.link.process

    # -- its calls

    def give(self, segment: Segment) -> None:
        """Hand it calls."""
        job, first, count = segment.job, self.given, len(segment)
        may_forget = not self.segments
        if not self.segments:
            self.since = time.monotonic()
        self.segments.append(segment)
        self.count += count
        self.given += count
        self.seconds += (job.seconds or 0.0) * count
        new: list[tuple[int, bytes | None]] = []
        forgotten: list[int] = []
        self._introduce(job.shipped, new, forgotten, may_forget=may_forget)
        context = 0
        if job.context is not None:
            context = job.context.number
            self._introduce(job.context, new, forgotten, may_forget=False)
        steps = []
        is_after_timed = job.timeout is not None
        for step in job.steps:
            self._introduce(step.shipped, new, forgotten, may_forget=False)
            is_timed = step.timeout is not None
            steps.append((step.shipped.number, step.arguments, is_timed, is_after_timed))
            is_after_timed = is_timed
        calls = job.calls
        if count < len(calls):
            calls = calls[segment.start : segment.stop]
        layout: list[tuple[tuple[int, ...], bool]] = []
        lengths: list[int] = []
        in_band: list[Part] = []
        shared: list[Payload] = []
        for payload in job.payloads:
            is_shared = payload.fd >= 0
            layout.append((payload.sizes, is_shared))
            if is_shared:
                shared.append(payload)
            else:
                lengths += payload.sizes
                in_band += [*payload.stream, *payload.buffers]
        head = first, job.shipped.number, new, forgotten, calls, steps, context, job.is_noted, layout, lengths
        self.link.send(frame_of(head, in_band), shared, range(first, first + count))

    def function(self, number: int) -> Shipped | None:
        """The function with this number, if it has it."""
        return self._functions.get(number)

    def take_back(self, keep: int = 0) -> list[Segment]:
        """Take back the calls that have not begun, but for so many of them; in their order."""
        numbers = self.link.take_back()
        if keep:
            self.link.offer_again(numbers[:keep])
        return self._cut_off(len(numbers) - min(keep, len(numbers)))

    def take_back_others(self) -> list[Segment]:
        """Take back what has not begun, except its first call, even if it is slow to begin that."""
        numbers = self.link.take_back()
        kept = len(numbers) == self.count and self.count > 0
        self.link.offer_again(numbers[:kept])
        return self._cut_off(len(numbers) - kept)

    def has_begun(self) -> bool:
        """Whether its first call has begun."""
        numbers = self.link.take_back()
        self.link.offer_again(numbers)
        return len(numbers) < self.count

    def read(self) -> None:
        """Read what it has written."""
        self.records += self.link.collect()

    def running(self) -> Segment | None:
        """What the call that it is at is in; None if it has finished all, as far as can be read."""
        self.read()
        finished = sum(len(body) if kind == ATOM else kind in _OUTCOMES for kind, body in self.records)
        for segment in self.segments:
            finished -= len(segment)
            if finished < 0:
                return segment
        return None

    def seats(self) -> Iterator[Seat]:
        """Where its calls are; for any thread, and nothing is read for it."""
        since = self.since if self.is_ready else None
        for segment in self.segments.copy():
            step = segment.step
            for index in range(segment.start, segment.stop):
                yield Seat(segment.job, index, step, self.process.pid, self.is_ready, since)
                step, since = 0, None

    def _cut_off(self, count: int) -> list[Segment]:
        """Its last so many calls, which it has no more."""
        taken: deque[Segment] = deque()
        while count > 0 and self.segments:
            last = self.segments.pop()
            if len(last) > count:
                self.segments.append(last.split(len(last) - count))
            taken.appendleft(last)
            count -= len(last)
            self.count -= len(last)
            self.seconds -= (last.job.seconds or 0.0) * len(last)
        self._see_whether_empty()
        return list(taken)

    def take_all(self) -> list[Segment]:
        """Take all that it has, begun or not: it is gone."""
        taken, self.segments = list(self.segments), deque()
        self.count = 0
        self._see_whether_empty()
        return taken

    def pass_step(self) -> None:
        """A step of its first call is over."""
        self.segments[0].step += 1
        self.since = time.monotonic()
        self.looks = 0

    def pass_by(self, count: int) -> None:
        """So many calls of the first segment are over."""
        first = self.segments[0]
        first.start += count
        first.step = 0
        self.since = time.monotonic()
        self.count -= count
        self.seconds -= (first.job.seconds or 0.0) * count
        if first.start == first.stop:
            self.segments.popleft()
        self.looks = 0
        self.is_stuck = False
        self._see_whether_empty()

    def _see_whether_empty(self) -> None:
        if not self.segments:
            self.is_stuck = self.has_long = False
            self.seconds = 0.0

    def _introduce(
        self,
        shipped: Shipped,
        new: list[tuple[int, bytes | None]],
        forgotten: list[int],
        *,
        may_forget: bool,
    ) -> None:
        """Let it have the function; long-known ones that are not in use make room."""
        if self._functions.pop(shipped.number, None) is None:
            new.append((shipped.number, shipped.data))
        self._functions[shipped.number] = shipped
        if may_forget and len(self._functions) > _FUNCTIONS:
            for number in list(islice(self._functions, len(self._functions) - _FUNCTIONS)):
                del self._functions[number]
                forgotten.append(number)

    # -- its life

    def set_timer(self, seconds: float, action: Callable[[], None]) -> None:
        """Let `action` be called in so many seconds, and nothing else."""
        self.stop_timer()
        self.timer = self._loop.call_later(seconds, action, context=Context())

    def stop_timer(self) -> None:
        """Forget what was to be called."""
        if self.timer is not None:
            self.timer.cancel()
            self.timer = None
        self.watched = None

    def greet(self) -> None:
        """Its hello has come: from now on it takes calls."""
        self.is_ready = True
        self.since = time.monotonic()
        self.stop_timer()

    def kill(self) -> None:
        """Kill it with all that it has started."""
        self.was_killed = True
        self.process.kill()

    def bury(self, patience: float, then: Callable[[Worker], None]) -> None:
        """Hang up, on which it leaves by itself, and reap it; never blocks. To do so once more does no harm.

        Args:
            patience: Seconds until it is killed if it has not left; once more, it is not given longer.
            then: Called with the worker once it is reaped; later, never at once. It is called again if
                Ctrl-C has struck amid it.
        """
        self.stop_timer()
        if not self._loop.is_closed():  # first, for the case that Ctrl-C strikes amid the rest
            self._deadline = min(self._deadline, self._loop.time() + patience)
            self.timer = self._loop.call_soon(self._look, _FIRST_PAUSE, then, context=Context())
        if not self.is_closed:
            self.link.hang_up()

    def _look(self, pause: float, then: Callable[[Worker], None]) -> None:
        # The next look is arranged for before anything else and called off at the end: if Ctrl-C strikes amid
        # what there is to do, that is done then.
        again = partial(self._look, min(2 * pause, _LONGEST_PAUSE), then)
        self.set_timer(pause, again)
        try:
            if self.process.reap():
                then(self)
                self.stop_timer()
            elif self._loop.time() >= self._deadline:
                self.expel()
        except Exception:
            self.stop_timer()  # a fault of ours would come again and again
            raise

    def close(self) -> None:
        """It is reaped, and all that it has written is read."""
        self.is_closed = True
        self.link.close()

    def expel(self) -> None:
        """Kill it because it has not gone by itself."""
        self._expelled = self._expelled or not self.was_killed
        self.kill()

    # -- why it has ended

    @property
    def is_memory_suspected(self) -> bool:
        """Whether somebody else has killed it: the system does that when memory is short."""
        return self.process.was_shot and not self.was_killed

    def crash(self, key: str, attempts: int) -> WorkerCrashedError:
        """The error for the call it has died on."""
        again = f", at attempt {attempts}" if attempts > 1 else ""
        report = self.process.report()
        return WorkerCrashedError(
            f"{key}: its worker process (pid {self.process.pid}) {self._end()} "
            f"while it was running the call{again}" + (f". It reported:\n{report}" if report else ""),
            exitcode=self.process.exitcode,
            signal=self.process.signal,
            attempts=attempts,
            stderr_tail=report,
            oom_suspected=self.is_memory_suspected,
        )

    def failed_start(self, attempts: int, key: str) -> WorkerStartError:
        """The error for a call that has waited in vain for a worker such as this."""
        report = self.process.report()
        return WorkerStartError(
            f"{key}: no worker process could be started: {attempts} in a row ended before they were ready; "
            f"the last one {self._end()}. "
            + (f"It reported:\n{report}" if report else "What they wrote to standard error may say why."),
            exitcode=self.process.exitcode,
            signal=self.process.signal,
            stderr_tail=report,
        )

    def end(self) -> str:
        """How it has ended, for those who are told of workers."""
        if not self.is_leaving:
            return self._end()
        return "was killed, to stop its call" if self.was_killed else "left"

    def _end(self) -> str:
        number = self.process.signal
        if self._expelled:
            return "closed its connection, or wrote into it, and was killed"
        if number is None:
            return f"ended with exit code {self.process.exitcode}"
        hint = " (by the system, out of memory?)" if self.process.was_shot else ""
        return f"was killed by {_signal_name(number)}{hint}"


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"  # a real-time signal
