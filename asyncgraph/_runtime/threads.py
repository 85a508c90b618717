"""The thread calls of an execution: what enters the window, what goes to a thread alone, and what came of it.

All this happens on the loop; what threads do by themselves is in `window`.
"""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
from collections import deque
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any

from asyncgraph._graph.function import is_async
from asyncgraph._graph.lookahead import Lookahead
from asyncgraph._graph.node import NO_KWARGS, Node
from asyncgraph._graph.scheduler import RUNNING
from asyncgraph._runtime.coroutines import Coroutines
from asyncgraph._runtime.lanes import THREAD
from asyncgraph._runtime.owner import Guard, Owner
from asyncgraph._runtime.sightings import DONE, Sighting, handed_over, in_thread
from asyncgraph._runtime.slices import Slice
from asyncgraph._runtime.watched import Watched, is_watched
from asyncgraph._runtime.window import (
    NEVER,
    Alone,
    Cell,
    Job,
    NotedJob,
    NotedWindow,
    Shift,
    Window,
    hands_for,
    room_for,
    seconds_in_window,
)
from asyncgraph.executors.base import Call

if TYPE_CHECKING:
    from asyncgraph._runtime.recorder import Timing

__all__ = ["PATIENCE", "Threads"]

# Seconds after which what was meant to take a thread one millisecond is looked at.
PATIENCE = 0.005

# At most so many jobs are in the window: as many as a slice of the loop can serve.
_MOST = 256


class Threads:
    """Runs the thread calls of one execution."""

    def __init__(self, owner: Owner, coroutines: Coroutines, *, stops_at_failure: bool) -> None:
        """Nothing runs yet.

        Args:
            owner: The execution.
            coroutines: Takes calls that turn out to be coroutines.
            stops_at_failure: Whether nothing more is to begin after a failure.
        """
        self._owner = owner
        self._guard = Guard(owner)
        self._coroutines = coroutines
        self._stops_at_failure = stops_at_failure
        # Made when it is first needed: most graphs have no thread calls.
        self._window: Window | None = None
        self._lookahead: Lookahead | None = None
        # What is in the window, by task, and how many seconds it is expected to take.
        self._jobs: dict[int, Job] = {}
        self._seconds = 0.0
        # What has been done, in order, and has yet to be noted; and what of that is no ordinary value, which
        # is settled after the others.
        self._arrived: deque[Job] = deque()
        self._late: deque[Job] = deque()
        # The threads that work in the window, the calls that have one for themselves, and other work.
        self._shifts: set[Shift] = set()
        self._alone: dict[int, Alone | Watched] = {}
        self._others: set[Callable[[], None]] = set()
        # The tasks that threads were at when that was looked at last; those that they were at before, too;
        # and how many threads the system gives.
        self._seen: dict[Shift, int] = {}
        self._stuck: dict[Shift, int] = {}
        self._most_hands = NEVER
        self._has_spare_slot = False
        self._timer: asyncio.TimerHandle | None = None
        self._has_let_go = False

    def __len__(self) -> int:
        """How much there is, beside what is ready, that could go to a thread; some of it perhaps not."""
        in_window = 0 if self._window is None else len(self._window.ready)
        return in_window + (0 if self._lookahead is None else len(self._lookahead))

    def is_busy(self) -> bool:
        """Whether any thread works for the execution, or has, and its outcome has yet to be settled."""
        return not self._has_let_go and bool(self._shifts or self._alone or self._others or self._late)

    def running(self) -> list[Node[Any]]:
        """The nodes that are being computed."""
        jobs = [shift.job for shift in self._shifts]
        return [*(job.node for job in jobs if job is not None), *(each.node for each in self._alone.values())]

    def sightings(self) -> list[Sighting]:
        """Where the nodes are that threads have, or are to have."""
        seen = {
            job.task: in_thread(job.task, job.node, shift.thread, shift.seconds())
            for shift in self._shifts.copy()
            if (job := shift.job) is not None
        }
        for task, job in self._jobs.copy().items():
            if task not in seen or job.is_done:
                seen[task] = handed_over(task, job.node, DONE if job.is_done else "for a thread, in line")
        for task, call in self._alone.copy().items():
            told = ", told to stop" if isinstance(call, Watched) and call.is_stopping else ""
            if call.outcomes:
                seen[task] = handed_over(task, call.node, DONE)
            else:
                seen[task] = in_thread(task, call.node, call.thread, call.seconds(), told)
        return list(seen.values())

    def hand(self, work: Callable[[], None], deliver: Callable[[BaseException | None], None]) -> None:
        """Hand something else to a thread, with the slot that has been claimed.

        Args:
            work: What the thread is to call.
            deliver: Called when it has, with the error if that was not possible.
        """
        self._others.add(work)
        self._hand(work, partial(self._others.remove, work), deliver)

    def fill(self, slice_: Slice) -> bool:
        """Put into the window what may enter it, and send threads; whether that was anything.

        Args:
            slice_: How long.
        """
        if self._window is not None and self._window.is_closed:
            return False
        has_begun, expects_more = False, True
        try:
            has_begun, expects_more = self._feed(slice_)
            if self._window is not None:
                self._window.expects_more = expects_more
                self._window.calls_at = 1 if self._stuck else max(len(self._jobs) // 2, 1)
                self._send_hands(self._window)
        finally:
            if self._has_spare_slot:
                self._has_spare_slot = False
                self._owner.give_back(THREAD)
        return has_begun

    def take_back(self) -> None:
        """Take all back that has not begun, so that the scheduler knows of everything that has."""
        # It counts what tasks wait for, which may be about to change.
        self._lookahead = None
        if not self._jobs:
            return
        assert self._window is not None
        jobs = list(self._jobs.values())
        self._note(*self._window.take_back(self._shifts, jobs))
        # Those that wait for others first.
        for job in reversed(jobs):
            if job.missing == NEVER:
                self._owner.scheduler.untake(job.task)
                self._remove(job)
                job.cells = ()
        if self._late:
            self._owner.loop.call_soon(self._called)

    def begin_nothing(self) -> None:
        """Let nothing more begin, from wherever this is called; `halt` is to follow."""
        if self._window is not None:
            self._window.is_closed = True

    def halt(self) -> None:
        """Let nothing more begin; what has been done by now counts."""
        if self._window is not None:
            self._window.close()
        self.take_back()
        for task, call in list(self._alone.items()):
            if isinstance(call, Watched) and call.is_abandonable:
                self._abandon(task, call, asyncio.CancelledError())

    def let_go(self) -> None:
        """Wait for no thread any more, because the program is to end at once; what they bring is dropped."""
        if self.is_busy():
            self._has_let_go = True
            self._owner.lanes[THREAD].executor.let_go_of_all()

    def close(self) -> None:
        """The execution is over."""
        if self._timer is not None:
            self._timer.cancel()
        # The window refers to this, and the lookahead to the scheduler: they would keep all of it alive.
        self._window = self._lookahead = None

    # -- what enters the window

    def _open(self) -> Window:
        context, closes = self._owner.context, self._stops_at_failure
        kind = Window if self._owner.recorder is None else NotedWindow
        self._window = kind(context, self._call_loop, closes_on_failure=closes)
        return self._window

    def _timing(self, task: int, call: Callable[..., Any] | None = None) -> Timing | None:
        """What notes when the call of a task begins and ends, if anybody wants to know."""
        recorder = self._owner.recorder
        return None if recorder is None else recorder.timing(task, call)

    def _feed(self, slice_: Slice) -> tuple[bool, bool]:
        """Let tasks enter, or go to a thread alone, the lowest rank first, while there is room and time.

        Returns:
            Whether there was any, and whether there may be more.
        """
        # All in one loop, which takes as long as a small call for each task as it is.
        owner, scheduler, jobs = self._owner, self._owner.scheduler, self._jobs
        nodes, rank, first = owner.nodes, scheduler.rank, scheduler.first
        room = room_for(len(self._shifts) + owner.lanes[THREAD].slots.free)
        lookahead = self._look_ahead_anew() if jobs and self._lookahead is None else self._lookahead
        hold = owner.holds_producers(THREAD)
        # What observers put something around goes alone: they are asked on the loop, for each call.
        go_alone = owner.recorder is not None and owner.recorder.surrounds
        has_begun = False
        while self._seconds < room and len(jobs) < _MOST and not owner.is_stopping:
            task = first(THREAD, hold_producers=hold)
            if task is None and hold:
                hold = owner.holds_producers(THREAD)
                task = first(THREAD, hold_producers=hold)
            ahead = None if lookahead is None else lookahead.first()
            if lookahead is not None and ahead is not None and (task is None or rank(ahead) < rank(task)):
                lookahead.skip()
                seconds = None if go_alone else seconds_in_window(nodes[ahead]._function)
                if seconds is None:
                    continue
                scheduler.take_ahead(ahead)
                self._enter(ahead, seconds)
            elif task is None or not (self._has_spare_slot or self._shifts or self._has_claimed_spare()):
                return has_begun, False
            else:
                seconds = None if go_alone else seconds_in_window(nodes[task]._function)
                if seconds is not None:
                    scheduler.take(THREAD, hold_producers=hold)
                    self._enter(task, seconds)
                    lookahead = self._lookahead
                elif self._begin_alone():
                    hold = owner.holds_producers(THREAD)  # it may have turned out to be a coroutine
                else:
                    return has_begun, False
            has_begun = True
            # After the first, so that there is progress on a machine that hardly lets us run, too.
            if slice_.is_over():
                break
        return has_begun, True

    def _look_ahead_anew(self) -> Lookahead:
        self._lookahead = lookahead = Lookahead(self._owner.scheduler, THREAD)
        for task in self._jobs:
            lookahead.enter(task)
        return lookahead

    def _has_claimed_spare(self) -> bool:
        """Whether there is a slot for a thread to be sent when something has entered."""
        self._has_spare_slot = self._owner.claim(THREAD)
        return self._has_spare_slot

    def _enter(self, task: int, seconds: float) -> None:
        scheduler, jobs, node = self._owner.scheduler, self._jobs, self._owner.nodes[task]
        # Where inputs are held, the scheduler needs the value, too.
        outside = len(scheduler.dependents[task]) + (scheduler.is_kept(task) or scheduler.holds_inputs)
        timing = None if self._owner.recorder is None else self._timing(task)
        about = task, scheduler.rank(task), node, seconds, outside
        job = Job(*about) if timing is None else NotedJob(timing, *about)
        sources: list[Job] = []
        dependencies = scheduler.dependencies[task]
        if dependencies:
            cells: list[Cell] = []
            for dependency in dependencies:
                source = jobs.get(dependency)
                if source is None:
                    cells.append(Cell(scheduler.results[dependency]))
                else:
                    assert source.cell is not None, "a value is gone that is still needed"
                    cells.append(source.cell)
                    sources.append(source)
            job.cells = cells
        (self._look_ahead_anew() if self._lookahead is None else self._lookahead).enter(task)
        jobs[task] = job
        self._seconds += seconds
        (self._window or self._open()).add(job, sources)

    # -- threads

    def _send_hands(self, window: Window) -> None:
        """Send so many threads into the window as are worth it."""
        window.grows_at = NEVER
        at_work = len(self._shifts) - self._count_stuck()
        most = min(hands_for(self._seconds, len(self._jobs), len(window.ready)), self._most_hands)
        while window.ready and at_work < most:
            if not self._claim():
                return
            self._send(window)
            at_work += 1
        if at_work < min(hands_for(self._seconds, len(self._jobs), NEVER), self._most_hands):
            window.grows_at = 0

    def _count_stuck(self) -> int:
        """How many threads are still in the call that they were in when it was looked at last."""
        return sum(_task_of(shift) == task for shift, task in self._stuck.items()) if self._stuck else 0

    def _claim(self) -> bool:
        if self._has_spare_slot:
            self._has_spare_slot = False
            return True
        return self._owner.claim(THREAD)

    def _send(self, window: Window) -> None:
        window.ends_shifts = False
        shift = Shift(window)
        self._shifts.add(shift)
        self._hand(shift, partial(self._shifts.remove, shift), partial(self._back, window, shift))
        self._watch()

    def _begin_alone(self) -> bool:
        """Give the first ready task a thread for itself; False if there is no slot for it."""
        if self._window is not None:
            # Else these calls would take slot after slot, and their results pile up: the short calls that use
            # them are in the window.
            self._send_hands(self._window)
        if not self._claim():
            return False
        owner = self._owner
        task = owner.take(THREAD)
        assert task is not None
        call: Alone | Watched | None = None
        try:
            prepared = owner.prepare(task)
            if prepared is not None:
                function, args, kwargs = prepared
                if function.is_dynamic and is_async(args[0]):
                    self._coroutines.add(task, args[0], args[1:], kwargs)
                elif is_watched(function):
                    call = Watched(owner.nodes[task], prepared, owner, self._timing(task, function.call))
                else:
                    timing = self._timing(task, function.call)
                    call = Alone(owner.nodes[task], prepared, owner.context.copy(), timing)
        finally:
            if call is None:
                owner.give_back(THREAD)
        if call is not None:
            self._alone[task] = call
            self._hand(call, partial(self._alone.pop, task), partial(self._done_alone, task, call))
            if isinstance(call, Watched):
                call.watch(partial(self._strike, task, call))
        return True

    def _hand(
        self,
        work: Callable[[], None],
        remove: Callable[[], object],
        deliver: Callable[[BaseException | None], None],
    ) -> None:
        """Hand `work` to a thread with a claimed slot; on delivery `remove` is called, then `deliver`."""
        is_out = True

        def returned(_: Any, error: BaseException | None) -> None:
            nonlocal is_out
            owner = self._owner
            if self._has_let_go:
                return
            with self._guard:
                is_out = False
                remove()
                owner.give_back(THREAD)
                deliver(error)
            owner.wake()

        # The work enters contexts itself, one for each call.
        call = Call(work, (), NO_KWARGS, contextvars.Context(), "", returned)
        if isinstance(work, Watched):
            call.deliver = work.delivering(returned)
        try:
            executor = self._owner.lanes[THREAD].executor
        except Exception as error:  # it could not be made
            self._owner.loop.call_soon(call.deliver, None, error)
            return
        try:
            executor.start(call)
        except BaseException:  # an executor must not raise, and will not deliver now
            if is_out:
                remove()
                self._owner.give_back(THREAD)
            raise

    # -- outcomes

    def _call_loop(self) -> None:
        """In a thread: have the loop look at what has been done."""
        with contextlib.suppress(RuntimeError):  # the loop has been closed: nobody waits any more
            self._owner.loop.call_soon_threadsafe(self._called, context=contextvars.Context())

    def _called(self) -> None:
        owner, window = self._owner, self._window
        if window is None or not self.is_busy():  # another way was quicker
            return
        with self._guard:
            self._collect(window)
            owner.begin_others()
        owner.wake()

    def _collect(self, window: Window) -> None:
        """Hear of what has been done."""
        try:
            done, doing = window.collect(self._shifts)
            if done and self._shifts:
                self._watch()
            self._note(done, doing)
            self._settle_late(window)
        finally:
            if self._late:  # after a fault
                self._owner.loop.call_soon(self._called)
        owner = self._owner
        if not self._jobs:
            window.dismiss()
        window.ends_shifts = owner.lanes[THREAD].slots.is_wanted_besides(owner)

    def _note(self, done: list[Job], doing: list[Job]) -> None:
        """Tell the scheduler of values, and of what has begun; keep what is no ordinary value for later."""
        consume, arrived = self._owner.scheduler.consume, self._arrived
        arrived += done
        # Not in a list of its own: if a value's finalizer stops the run, that goes on with what is left.
        while arrived:
            job = arrived.popleft()
            self._remove(job)
            if not job.is_consumed:
                consume(job.task)
            if not job.is_usual:
                self._late.append(job)
            else:
                self._settle(job)
        for job in doing:
            self._consume(job)

    def _consume(self, job: Job) -> None:
        if not job.is_consumed:
            job.is_consumed = True
            self._owner.scheduler.consume(job.task)

    def _remove(self, job: Job) -> None:
        del self._jobs[job.task]
        self._seconds -= job.seconds

    def _settle(self, job: Job) -> None:
        # The outcome in no variable of a frame that goes on: that would be behind those in a traceback.
        self._owner.settle(job.task, THREAD, job.value(), job.error)

    def _settle_late(self, window: Window) -> None:
        """Settle what is no ordinary value, and let nothing wait in the window for that."""
        while self._late:
            job = self._late.popleft()
            for task in self._owner.scheduler.untake_behind(job.task):
                self._withdraw(window, self._jobs[task])
            if self._lookahead is not None:
                self._lookahead.leave(job.task)
            self._settle(job)
            del job

    def _withdraw(self, window: Window, job: Job) -> None:
        """Take a job back that waits for one that has no ordinary value."""
        jobs, dependencies = self._jobs, self._owner.scheduler.dependencies[job.task]
        cells = zip(dependencies, job.cells, strict=True)
        window.withdraw(job, [(jobs[each], cell) for each, cell in cells if each in jobs])
        self._remove(job)
        if self._lookahead is not None:
            self._lookahead.leave(job.task)

    def _back(self, window: Window, shift: Shift, error: BaseException | None) -> None:
        """A thread has left the window, or could not be sent."""
        self._stuck.pop(shift, None)
        assert shift.has_begun or error is not None, "an executor has not called what it was given"
        if error is not None:
            self._has_failed(window, shift, error)
        self._collect(window)

    def _has_failed(self, window: Window, shift: Shift, error: BaseException) -> None:
        """The executor could not send a thread, or asyncgraph has failed in it."""
        self._most_hands = max(len(self._shifts), 1)
        self._note(*window.collect(self._shifts))
        lost = [shift.job]
        if not self._shifts:  # there is nobody to do the rest
            window.take_back(self._shifts, list(self._jobs.values()))
            is_running = self._owner.scheduler.state.__getitem__
            lost += [job for task, job in self._jobs.items() if is_running(task) == RUNNING]
        for job in dict.fromkeys(lost):
            if job is not None and job.task in self._jobs:
                self._remove(job)
                self._consume(job)
                job.error = error
                self._late.append(job)

    def _done_alone(self, task: int, call: Alone | Watched, error: BaseException | None) -> None:
        """A thread has made a call that it had for itself, or could not."""
        if error is not None:
            self._owner.settle(task, THREAD, None, error)
        elif isinstance(call, Watched) and call.is_stopping:
            # In a run that is being stopped it is one of those that have stopped, and no failure.
            is_failure = not self._owner.is_stopping
            error = call.timed_out() if is_failure else call.late_error() or asyncio.CancelledError()
            self._owner.settle(task, THREAD, None, error)
        else:
            assert call.outcomes, "an executor has not called what it was given"
            # The outcome in no variable of a frame that goes on: see `_settle`.
            self._owner.settle(task, THREAD, *call.outcomes.pop())

    # -- calls that are watched

    def _strike(self, task: int, call: Watched) -> None:
        """The time of a call is up, and it has not ended."""
        owner = self._owner
        if owner.is_stopping:
            return  # it has been told to stop
        with self._guard:
            call.stop()
            if call.is_abandonable:
                self._abandon(task, call, call.timed_out())
        owner.wake()

    def _abandon(self, task: int, call: Watched, error: BaseException) -> None:
        """Wait no longer for a call, whose node has this outcome."""
        del self._alone[task]
        call.abandon(self._owner.lanes[THREAD].executor, self._owner.lend(THREAD))
        self._owner.settle(task, THREAD, None, error)

    # -- slow calls

    def _watch(self) -> None:
        if self._timer is None:
            # Twice in that time, since a call is slow when it is there for the second time.
            self._timer = self._owner.loop.call_later(PATIENCE / 2, self._look)

    def _look(self) -> None:
        """Count what is done; and if a call takes long, send others for what is ready behind it."""
        self._timer = None
        seen = {shift: task for shift in self._shifts if (task := _task_of(shift)) is not None}
        self._stuck = {shift: task for shift, task in seen.items() if task == self._seen.get(shift)}
        self._seen = seen
        if self._stuck and self._window is not None:
            self._window.calls_at = 1  # what comes of them counts at once
        self._called()
        # Where all of them are, there is nothing to see before that.
        if len(self._stuck) < len(self._shifts) and not self._owner.is_over:
            self._watch()


def _task_of(shift: Shift) -> int | None:
    job = shift.job
    return None if job is None else job.task
