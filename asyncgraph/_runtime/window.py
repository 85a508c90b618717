"""The window: short calls, and those that wait for them, which threads do without asking the loop in between.

To give one call to a thread and to hear of its outcome costs tens of microseconds, most of them for waking
the thread and the loop. So calls of functions that are known to be short go into a window, about a
millisecond's work for each thread at a time: long beside what a hand-over costs, short beside what anybody
would notice. Threads take from it what is ready, the lowest rank first, and let go of what waited for that.

What enters the window, and what becomes of an outcome, is decided on the loop (see `threads`), which alone
knows the scheduler. The two share what is here, under a lock that is held for a microsecond. Nothing of the
user's happens under it: neither a call nor the end of a value.
"""

from __future__ import annotations

import threading
import time
import weakref
from collections.abc import Callable, Mapping, Sequence
from contextvars import Context
from heapq import heappop, heappush
from typing import TYPE_CHECKING, Any

from asyncgraph._graph.arguments import ATOMS
from asyncgraph._graph.function import Function
from asyncgraph._graph.node import NO_KWARGS, Node, key_of
from asyncgraph._runtime.arguments import resolve
from asyncgraph._runtime.owner import Resolved
from asyncgraph._runtime.sizes import size_of
from asyncgraph._runtime.stopping import failure_in_thread
from asyncgraph._runtime.straight import UNUSUAL

if TYPE_CHECKING:
    from asyncgraph._runtime.recorder import Timing

__all__ = [
    "NEVER",
    "Alone",
    "Cell",
    "Job",
    "Meter",
    "NotedJob",
    "NotedWindow",
    "Shift",
    "Window",
    "hands_for",
    "room_for",
    "seconds_in_window",
]

# Calls that take longer than this, in seconds, go alone.
_SHORT = 0.0002

# Seconds of work in the window for each thread: at most so much, and at least so much to be worth a thread.
_LONGEST = 0.002
_SHORTEST = 0.00005

# Calls that take less, in seconds, gain nothing from a second thread: what the window costs for each is done
# in Python, in one thread at a time.
_GAIN = 0.000005

# Seconds that a thread waits in the window for more: longer than the loop takes to fill it up.
_STAY = 0.0003

# Seconds of calls after which what they took is noted.
_NOTE_AFTER = 0.001

# More than there will ever be: a job that will not be done in the window waits for so many others.
NEVER = 1 << 60

# Values that may stay until the loop hears of them, because they take no memory to speak of.
_SMALL = frozenset({type(None), bool, int, float})


def seconds_in_window(function: Function) -> float | None:
    """How long a call takes, if it is known to be too short to go to a thread alone; else None."""
    mean = function.durations.mean
    goes_alone = function.is_dynamic or function.is_special
    return None if mean is None or mean >= _SHORT or goes_alone else mean


def room_for(threads: int) -> float:
    """The seconds of work that a window for so many threads should have."""
    return _LONGEST * max(threads, 1)


def hands_for(seconds: float, jobs: int, ready: int) -> int:
    """How many threads to have for so many jobs, which take so many seconds, if so many are ready."""
    if seconds < _GAIN * jobs:
        return min(ready, 1)
    return min(ready, max(int(seconds / _SHORTEST), 1))


class Cell:
    """A place for a value; it is gone when nobody needs the value any more."""

    __slots__ = ("__weakref__", "value")

    def __init__(self, value: Any = None) -> None:
        self.value = value


class Job:
    """A task in the window.

    Attributes:
        task: Its number.
        rank: Its place in the order in which tasks are begun.
        node: Its node.
        seconds: How long it is expected to take.
        cells: The values that it takes; none any more once it has begun.
        cell: Its own value; only as long as somebody outside of the window may need it, then `hint`.
        hint: A weak reference to the cell.
        error: Its error, or None.
        is_usual: Whether it has a value like any other.
        is_done: Whether it has an outcome.
        is_consumed: Whether the scheduler knows that it has taken its values; for the loop.
        missing: How many values it waits for.
        outside: How many may need its value that are not in the window.
        followers: The jobs that wait for it, one that takes its value twice is there twice.
    """

    __slots__ = (
        "cell",
        "cells",
        "error",
        "followers",
        "hint",
        "is_consumed",
        "is_done",
        "is_usual",
        "missing",
        "node",
        "outside",
        "rank",
        "seconds",
        "task",
    )

    def __init__(self, task: int, rank: int, node: Node[Any], seconds: float, outside: int) -> None:
        self.task = task
        self.rank = rank
        self.node = node
        self.seconds = seconds
        self.outside = outside
        self.cells: Sequence[Cell] = ()
        self.cell: Cell | None = Cell()
        self.is_done = self.is_consumed = False
        self.missing = 0
        self.followers: list[Job] | tuple[()] = ()
        # What else there is comes with the outcome: there is a job for each small call.
        self.error: BaseException | None
        self.hint: weakref.ref[Cell]
        self.is_usual: bool

    def arguments(self) -> tuple[tuple[Any, ...], Mapping[str, Any]]:
        """Take the values: the arguments of the call."""
        node, cells, self.cells = self.node, self.cells, ()
        args = node._args
        if not cells:
            return args, node._kwargs
        if node._dependencies is args:  # as `resolve` does, without the call
            return tuple([cell.value for cell in cells]), NO_KWARGS
        filled, taken = [], 0
        for each in args:
            if type(each) not in ATOMS and issubclass(type(each), Node):
                each, taken = cells[taken].value, taken + 1
            filled.append(each)
        if taken == len(cells):  # none is inside a container, or named: in half the time
            return tuple(filled), node._kwargs
        values = dict(zip(node._dependencies, [cell.value for cell in cells], strict=True))
        return resolve(node, values.__getitem__)

    def value(self) -> Any:
        """Its value; None if nobody needs that any more."""
        cell = self.hint() if self.cell is None else self.cell
        return None if cell is None else cell.value


class NotedJob(Job):
    """A job that notes when it begins and ends, in the thread that does it.

    Attributes:
        timing: Where it does that.
    """

    __slots__ = ("timing",)

    def __init__(self, timing: Timing, *args: Any) -> None:
        super().__init__(*args)
        self.timing = timing

    def arguments(self) -> tuple[tuple[Any, ...], Mapping[str, Any]]:
        """Take the values: the call begins."""
        self.timing.began()
        return super().arguments()


class Meter:
    """Notes how long calls take, those of the same function together."""

    __slots__ = ("_calls", "_function", "_seconds")

    def __init__(self, function: Function) -> None:
        self._function = function
        self._calls = 0
        self._seconds = 0.0

    def add(self, function: Function, seconds: float) -> None:
        """A call has taken so long."""
        if function is not self._function or self._seconds > _NOTE_AFTER:
            self.note()
            self._function = function
        self._calls += 1
        self._seconds += seconds

    def note(self) -> None:
        """Let it be known."""
        if self._calls:
            self._function.durations.add(self._seconds, self._calls)
            self._calls, self._seconds = 0, 0.0


class Shift:
    """The time that one thread spends on a window.

    Attributes:
        job: What it is doing.
        has_begun: Whether the thread has come.
        thread: The thread; for those who look.
        began: When what it is doing began, by `time.perf_counter()`; likewise.
    """

    __slots__ = ("_window", "began", "has_begun", "job", "thread")

    def __init__(self, window: Window) -> None:
        self._window = window
        self.job: Job | None = None
        self.has_begun = False
        self.thread: threading.Thread | None = None
        self.began: float | None = None

    def __call__(self) -> None:
        """Work, in the thread."""
        self.thread = threading.current_thread()
        self.has_begun = True
        self._window.work(self)

    def seconds(self) -> float | None:
        """For how long it has been doing what it is doing."""
        return None if self.began is None else time.perf_counter() - self.began


class Window:
    """What loop and threads share.

    Attributes:
        ready: What can be begun, as a heap of ranks and jobs.
        is_closed: Whether nothing more is begun.
        ends_shifts: Whether threads are to leave after the call they are in, because others wait for them.
        expects_more: Whether the loop will add more when it hears of outcomes.
        calls_at: The loop is called when so many jobs are done.
        grows_at: The loop is called when more than so many jobs are ready, for another thread to be sent.
    """

    def __init__(self, context: Context, call_loop: Callable[[], None], *, closes_on_failure: bool) -> None:
        """Nothing is in it yet.

        Args:
            context: The context that each call gets a copy of.
            call_loop: Called in a thread when the loop should look at the outcomes.
            closes_on_failure: Whether nothing more is begun after a failure.
        """
        self.ready: list[tuple[int, Job]] = []
        self.is_closed = False
        self.ends_shifts = False
        self.expects_more = False
        self.calls_at = 1
        self.grows_at = NEVER
        self._closes_on_failure = closes_on_failure
        self._context = context
        self._call_loop = call_loop
        # Reentrant, for finalizers of the user's: one that cancels the run may come in between anywhere.
        self._lock = threading.RLock()
        self._more = threading.Condition(self._lock)
        self._done: list[Job] = []
        # Whether the loop has been called and has not come yet; how many threads wait, and how many do a job;
        # how many jobs are not done.
        self._has_called = False
        self._idle = 0
        self._busy = 0
        self._left = 0

    # -- for the loop

    def add(self, job: Job, sources: list[Job]) -> None:
        """Let threads do `job` when they have done all of `sources` that are not done; its cells are set."""
        with self._lock:
            self._left += 1
            for source in sources:
                source.outside -= 1
                if not source.is_done:
                    if source.followers:
                        source.followers.append(job)
                    else:
                        source.followers = [job]
                    job.missing += 1
                elif not source.is_usual:
                    job.missing += 1  # the loop, which is to settle that first, will withdraw this job
                elif not source.outside:
                    _loosen(source)
            if not job.missing:
                heappush(self.ready, (job.rank, job))
                if self._idle:
                    self._more.notify()

    def collect(self, shifts: set[Shift]) -> tuple[list[Job], list[Job]]:
        """What has been done since the last time, in order, and what is being done now."""
        with self._lock:
            return self._collected(shifts)

    def take_back(self, shifts: set[Shift], jobs: Sequence[Job]) -> tuple[list[Job], list[Job]]:
        """As `collect`; and of `jobs`, which are all, nothing is begun any more."""
        with self._lock:
            self.ready.clear()
            done, doing = self._collected(shifts)
            begun = set(doing)
            for job in jobs:
                if not job.is_done and job not in begun:
                    job.missing = NEVER
                    self._left -= 1
            for job in doing:
                job.followers, job.outside = (), NEVER
            return done, doing

    def withdraw(self, job: Job, sources: list[tuple[Job, Cell]]) -> None:
        """Do not let threads do `job`, which waits; its sources' cells may be needed elsewhere."""
        with self._lock:
            job.missing = NEVER
            self._left -= 1
            for source, cell in sources:
                source.outside += 1
                source.cell = cell
        job.cells = ()

    def close(self) -> None:
        """Let nothing more begin, and threads leave."""
        with self._lock:
            self.is_closed = True
            self._more.notify_all()

    def dismiss(self) -> None:
        """Nothing is left to be done for now: let threads that wait leave."""
        with self._lock:
            self.expects_more = False
            if self._idle:
                self._more.notify_all()

    def _collected(self, shifts: set[Shift]) -> tuple[list[Job], list[Job]]:
        done, self._done = self._done, []
        self._has_called = False
        return done, [shift.job for shift in shifts if shift.job is not None]

    # -- for the threads

    def work(self, shift: Shift) -> None:
        """Do what is ready until nothing is, or the shift is to end."""
        lock, copy, clock = self._lock, self._context.copy, time.perf_counter
        with lock:
            job = self._next_or_wait(shift)
        if job is None:
            return
        function = job.node._function
        meter = Meter(function)
        error: BaseException | None
        while job is not None:
            function = job.node._function
            value, error = None, None
            try:
                args, kwargs = job.arguments()
                shift.began = began = clock()
                value = copy().run(function.call, *args, **kwargs)
                meter.add(function, clock() - began)
                is_usual = type(value) in ATOMS or not issubclass(type(value), UNUSUAL)
            except BaseException as raised:
                error, is_usual = failure_in_thread(raised, key_of(job.node), self._context), False
            is_small = type(value) in _SMALL
            assert job.cell is not None
            job.cell.value, job.error = value, error
            # Before anybody hears of the outcome: nothing here holds any of it then.
            args = kwargs = value = error = None  # type: ignore[assignment]
            with lock:
                self._finish(job, is_usual, is_small)
                job = self._next(shift)
                is_due = self._is_due(at_once=not is_usual or (job is None and self._has_run_dry()))
            if is_due:
                meter.note()
                self._call_loop()
            if job is None:
                meter.note()
                with lock:
                    job = self._next_or_wait(shift)
        # From Python 3.12 on, the traceback of an error leads to this frame, which is to keep nothing alive.
        del self, shift, lock, copy, meter, function

    def _finish(self, job: Job, is_usual: bool, is_small: bool) -> None:  # noqa: FBT001 - in a hot path
        """A job has an outcome: let go of what waits for it, if that is a value."""
        job.is_usual, job.is_done = is_usual, True
        self._done.append(job)
        self._busy -= 1
        self._left -= 1
        if is_usual:
            for follower in job.followers:
                follower.missing -= 1
                if not follower.missing:
                    heappush(self.ready, (follower.rank, follower))
            if self._idle and len(self.ready) > 1:  # one of which is for this thread
                self._more.notify()
            if not job.outside and not is_small:
                _loosen(job)
        elif self._closes_on_failure and job.error is not None:
            self.is_closed = True
            self._more.notify_all()
        job.followers = ()

    def _is_due(self, *, at_once: bool) -> bool:
        """Whether the loop is to be called, which has not been yet."""
        is_due = at_once or len(self._done) >= self.calls_at or len(self.ready) - self._idle > self.grows_at
        if not is_due or self._has_called:
            return False
        self._has_called = True
        return True

    def _next(self, shift: Shift) -> Job | None:
        """Begin what is ready and comes first, unless the shift is to end."""
        if not self.ready or self.is_closed or self.ends_shifts:
            shift.job = None
            return None
        shift.job = job = heappop(self.ready)[1]
        self._busy += 1
        return job

    def _next_or_wait(self, shift: Shift) -> Job | None:
        """Begin what is ready, or will be in a little while, if that can be; None if the shift ends."""
        job = self._next(shift)
        if job is None and self._may_stay():
            self._idle += 1
            self._more.wait(_STAY)
            self._idle -= 1
            job = self._next(shift)
        return job

    def _may_stay(self) -> bool:
        """Whether something may become ready soon, and nobody else waits for the thread."""
        is_to_leave = self.is_closed or self.ends_shifts
        return not is_to_leave and bool(self._busy or self.expects_more)

    def _has_run_dry(self) -> bool:
        """Whether threads wait for the loop alone; that hears of one that does not stay, anyway."""
        return self._left <= self._busy and self._may_stay()


def _loosen(job: Job) -> None:
    """Keep its value only as long as others in the window need it."""
    if job.cell is not None:
        job.hint, job.cell = weakref.ref(job.cell), None


class NotedWindow(Window):
    """A window whose jobs note when they begin and end."""

    def _finish(self, job: Job, is_usual: bool, is_small: bool) -> None:  # noqa: FBT001 - as the one below
        assert isinstance(job, NotedJob)
        assert job.cell is not None
        # Now: of a value that is needed no more than here the loop will hear nothing but that it was there.
        job.timing.ended(size_of(job.cell.value))
        super()._finish(job, is_usual, is_small)


class Alone:
    """A call that has a thread for itself.

    Attributes:
        node: The node.
        outcomes: Its value and error, once there are any.
        thread: The thread, once it has begun; for those who look.
    """

    __slots__ = ("_began", "_context", "_prepared", "_timing", "node", "outcomes", "thread")

    def __init__(
        self, node: Node[Any], prepared: Resolved, context: Context, timing: Timing | None = None
    ) -> None:
        self.node = node
        self._timing = timing
        self.outcomes: list[tuple[Any, BaseException | None]] = []
        self.thread: threading.Thread | None = None
        self._prepared: Resolved | None = prepared
        self._context = context
        self._began: float | None = None

    def __call__(self) -> None:
        """Make the call, in the thread."""
        self.thread = threading.current_thread()
        assert self._prepared is not None
        function, args, kwargs = self._prepared
        self._prepared = None
        call = function.call
        if self._timing is not None:
            call = self._timing.call or call
            self._timing.began()
        self._began = began = time.perf_counter()
        try:
            self.outcomes.append((self._context.run(call, *args, **kwargs), None))
        except BaseException as error:
            self.outcomes.append((None, failure_in_thread(error, key_of(self.node), self._context)))
        function.durations.add(time.perf_counter() - began)
        if self._timing is not None:
            self._timing.ended()
        del self, call, args, kwargs  # see `Window.work`

    def seconds(self) -> float | None:
        """For how long the call has been going on; None before it has begun."""
        return None if self._began is None else time.perf_counter() - self._began
