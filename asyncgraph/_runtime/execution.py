"""The execution of a plan: what the scheduler says comes next, executors are made to do.

Everything here happens on the thread of the event loop, in short slices, so that the loop serves others
in between. An execution is over when nothing that it started is running any more, however it ends. Who
waits for that, and what they are told, is the business of `run`.

Here is how an execution lives: it is woken, has its turn, is told to stop, and ends. What it does meanwhile
is in other modules, from the first to the last: `preparation` makes the plan and chooses the way, `dispatch`
begins what is ready, `parts` has those who do the work, `outcomes` settles what comes of it, `growth` adds
what functions have returned. And `overview` is for those who look.
"""

from __future__ import annotations

import asyncio
import contextvars
from collections.abc import Callable, Coroutine, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NoReturn

from asyncgraph._graph.node import Node
from asyncgraph._graph.pieces import Pieces
from asyncgraph._graph.plan import Plan
from asyncgraph._graph.scheduler import CANCELLED, RELEASED, Scheduler
from asyncgraph._runtime.dispatch import Dispatch
from asyncgraph._runtime.lanes import Lanes
from asyncgraph._runtime.outcomes import OnOutput, Outcomes
from asyncgraph._runtime.overview import Overview
from asyncgraph._runtime.parts import Parts
from asyncgraph._runtime.places import Places
from asyncgraph._runtime.preparation import Preparation
from asyncgraph._runtime.remains import Remains
from asyncgraph._runtime.slices import Slice
from asyncgraph._runtime.slots import Slots
from asyncgraph._runtime.stopping import Scope, current, enter, leave, stop_within
from asyncgraph.errors import GraphError, InternalError
from asyncgraph.executors.safe_text import safe_repr
from asyncgraph.observe.entered import AnyObserver

if TYPE_CHECKING:
    from asyncgraph._runtime.observed import View
    from asyncgraph._runtime.recorder import Recorder

__all__ = ["Execution", "OnOutput", "current_execution", "is_inside"]


def current_execution() -> Execution | None:
    """The execution whose node this is called from, or None; a task that has outlived it is not in it."""
    scope = current.get()
    while scope is not None and not isinstance(scope, Execution):
        scope = scope.outer
    return None if scope is None or scope.is_over else scope


def is_inside(lanes: Lanes) -> bool:
    """Whether this is called from a node that runs in `lanes`."""
    execution = current_execution()
    return execution is not None and execution.lanes is lanes


class Execution:
    """One execution of a plan.

    A plan whose nodes run on the loop, or in threads and are tiny, goes the straight way as far as that
    leads (see `way`). Everything else, and what is left of it, is done as the scheduler says: coroutines by
    runners, short thread calls in a window, inline and process calls one by one.

    Args:
        lanes: Where calls run.
        requested: The nodes that are asked for.
        planning: Makes the plan for them.
        given: The values of the first nodes of the plan, which are not called.
        keep_going: After a failure, run on all that does not depend on it.
        on_output: Told about each output, in order of arrival, with its value or error; values are not
            kept then. None keeps them for `final_value_of`.
        on_over: Called, once, when the execution is over.
        is_resumable: Whether it is to leave something that another can go on with, if it does not finish.
        remains: What another execution has left: it goes on with that, and makes no plan.
        recorder: Where it is noted what happens to single nodes, if anybody wants to know.

    Attributes:
        nodes: The nodes, by the scheduler's numbers.
        scheduler: The state, once there is one; gone, as the nodes, when the execution is over.
        places: The nodes and their tasks, once there is a scheduler.
        lanes: Where calls run.
        loop: The loop on which all this happens.
        context: The context that each call gets a copy of.
        slice: How long it works in the present turn of the loop.
        failure: The error that the execution stopped for, or None.
        is_stopping: Whether nothing more is begun.
        is_resumable: As it was given.
        is_nested: Whether it is inside a node of another.
        is_scheduled: Whether there is a scheduler.
        has_cancelled: Whether the scheduler, if there is one, has been told that the execution is stopped.
        is_over: Whether nothing of it is running any more, nor will be.
        has_ended: Whether it is over, and that because nothing was left to do.
        outer: The call in a thread, of another execution, that this one was begun in, or None.
        recorder: As it was given; gone when the execution is over.
        view: The run that this is the execution of, as its observers see it; None without observers.
        parts: Those who do its work.
        outcomes: What its tasks have come to; gone when it is over, as all that follows.
        overview: For those who look.
    """

    def __init__(
        self,
        lanes: Lanes,
        requested: Sequence[Node[Any]],
        planning: Pieces[Plan],
        *,
        given: Mapping[Node[Any], Any],
        keep_going: bool,
        on_output: OnOutput | None,
        on_over: Callable[[], None],
        is_resumable: bool = False,
        remains: Remains | None = None,
        recorder: Recorder | None = None,
    ) -> None:
        self.nodes = requested
        self.scheduler: Scheduler
        self.places: Places
        self.lanes = lanes
        self.loop = asyncio.get_running_loop()
        self.context = contextvars.copy_context()
        self.context.run(current.set, self)
        self.slice = Slice(self.wake)
        self.failure: BaseException | None = None
        self.outer: Scope | None = None
        self.recorder = recorder
        self.view: View | None = None
        self.is_resumable = is_resumable
        self.is_nested = current_execution() is not None
        self.is_scheduled = self.is_stopping = self.has_cancelled = False
        self.is_over = self.has_ended = False
        # Whether it is to have a turn; whether all that stops it has been called; whether its state may be
        # wrong, by a fault of ours or Ctrl-C; and whether it goes on telling observers of its end.
        self._is_awake = self._has_stopped = self._is_broken = self._is_telling_the_end = False
        # The slots of each lane that it has.
        self._held = dict.fromkeys(lanes.with_slots, 0)
        self._on_over = on_over
        # How many nodes are in each state, when it is over.
        self._counts: list[int] | None = None
        self._divide_work(keep_going=keep_going, on_output=on_output)
        if remains is None:
            self._preparation.plan(planning, given)
        else:
            self._preparation.revive(remains)
        self._begin()

    def _divide_work(self, *, keep_going: bool, on_output: OnOutput | None) -> None:
        is_plain = on_output is None and not self.is_resumable and self.recorder is None
        self.parts = parts = Parts(self, stops_at_failure=not keep_going)
        self._preparation: Preparation = Preparation(self, parts, may_go_straight=is_plain)
        self.outcomes = Outcomes(self, parts, self._preparation, keep_going=keep_going, on_output=on_output)
        self._dispatch = dispatch = Dispatch(self, parts, self.outcomes)
        self.overview = Overview(self, parts)
        # What the parts ask for most, of whom it is for: a call between would be felt by a million nodes.
        self.settle, self.settle_many = self.outcomes.settle, self.outcomes.settle_many
        self.closing_failed = self.outcomes.closing_failed
        self.has_call, self.count_ready = dispatch.has_call, dispatch.count_ready
        self.take, self.holds_producers = dispatch.take, dispatch.holds_producers
        self.prepare, self.begin_others = dispatch.prepare, dispatch.begin_others
        self.note_queues, self.take_over = dispatch.note_queues, self._preparation.take_over

    def _begin(self) -> None:
        try:
            enter(self)
            self._preparation.go_on()
        except BaseException:  # Ctrl-C as well: nobody will ever have this execution
            self.is_over = True
            leave(self)
            raise

    # -- what others may ask

    @property
    def is_preparing(self) -> bool:
        """Whether nothing begins yet, because it is being planned."""
        return self._preparation.left is not None

    def is_running(self, aio_task: asyncio.Task[Any] | None) -> bool:
        """Whether `aio_task` is that of a node of this execution."""
        return aio_task in self.parts.coroutines.runners

    def observers(self) -> Sequence[AnyObserver]:
        """Who is told of the run, and so of those that are begun in its nodes."""
        return () if self.view is None else self.view.observers()

    def counts(self) -> list[int]:
        """How many nodes are in each of the scheduler's states."""
        return self.overview.counts() if self._counts is None else self._counts

    def remains(self) -> Remains | None:
        """What there is by now, if that is kept for others to go on with; not a copy."""
        if not (self.is_resumable and self.is_scheduled) or self._is_broken:
            return self._preparation.unrevived
        parts, errors = self.parts, self.outcomes.errors
        number, lanes = self.places.number, self.lanes
        return Remains(self.nodes, number, self.scheduler, lanes, errors, parts.choices, parts.resources)

    def final_value_of(self, node: Node[Any]) -> Any:
        """The value of an output, or its error, when the execution is over."""
        if not self.is_scheduled and self.parts.way is not None:
            return self.parts.way.value_of(node)
        task = self.places.number[node]
        # As `Outcomes.of` does, without the call, for each of a million.
        if task not in self.scheduler.behind:
            return self.scheduler.results[task]
        return self.outcomes.of(task)[1]

    def task_of(self, node: Node[Any]) -> int | None:
        """The task whose result is that of the node, if it is there or will be."""
        task, processes = self.places.find(node), self.parts.processes
        if task is None or (processes is not None and task in processes.passing):
            return None
        return None if self.scheduler.state[task] in (RELEASED, CANCELLED) else task

    def may_be_chosen(self, node: Node[Any]) -> bool:
        """Whether a choice that has not been made may need the node."""
        return self.parts.choices is not None and self.parts.choices.may_need(node)

    # -- slots

    def nest(self) -> None:
        """A node of another execution waits for this one, which must not wait for the slot of that node."""
        if not self.is_nested:
            self.is_nested = True
            self.wake()

    def held(self, lane: int) -> int:
        """How many slots of the lane it has."""
        return self._held[lane]

    def held_back(self, lane: int) -> int:
        """How many tasks of the lane are held back, and do not wait for a slot."""
        return 0 if self.is_over or not self.is_scheduled else self._dispatch.held_back(lane)

    def claim(self, lane: int) -> bool:
        """Get a slot of the lane, or be woken for one later."""
        # In a run inside a node, the slot that its first call would wait for may be the one that this
        # node has: it takes one even if none is free.
        must_have = self.is_nested and not self._held[lane]
        has_slot = self.lanes[lane].slots.claim(self, must_have=must_have)
        self._held[lane] += has_slot
        return has_slot

    def claim_free(self, lane: int, most: int) -> int:
        """Get as many free slots of the lane; returns how many."""
        count = self.lanes[lane].slots.claim_free(most)
        self._held[lane] += count
        return count

    def give_back(self, lane: int) -> None:
        """Return a slot."""
        if not self.is_over:
            self._held[lane] -= 1
            self.lanes[lane].slots.give_back()

    def lend(self, lane: int) -> Slots:
        """Leave a slot to a call that may outlast the execution; whoever has it gives it back to these."""
        self._held[lane] -= 1
        return self.lanes[lane].slots

    # -- its turns

    def wake(self) -> None:
        """See soon what there is to do."""
        if not self._is_awake and not self.is_over:
            self._is_awake = True
            self.loop.call_soon(self._work)

    def work_as_runner(self) -> Coroutine[Any, Any, None]:
        """What a further runner for coroutines is to do."""
        way = self.parts.way
        return self.parts.coroutines.serve() if self.is_scheduled or way is None else way.walk()

    def _work(self) -> None:
        self._is_awake = False
        if self.is_over:
            return
        self.slice.close()
        try:
            self._work_for_a_slice()
        except GraphError as error:
            self.give_up(error)  # found while it was being planned
        except BaseException as error:
            self.break_off(error)
            if not isinstance(error, Exception):
                raise  # Ctrl-C, in the midst of our own work: it is the loop's to pass on
        if self._is_awake and self.slice.until is not None and self.slice.is_over():
            return  # to conclude takes time, too: in the next turn
        self.check_over()

    def _work_for_a_slice(self) -> None:
        way = self.parts.way
        if self._preparation.left is not None:
            self._preparation.go_on(is_large=True)
        elif way is not None and not way.is_left and not self.is_stopping:
            way.see_to_it()
        if self.is_scheduled and not self.is_stopping:
            self.begin_others()
            self.parts.coroutines.begin()
        if not self._is_awake or self._preparation.left is not None:
            self.lanes.renounce(self)
        if self.is_scheduled and not self.is_stopping:
            self._check_progress()

    def _check_progress(self) -> None:
        """An execution that waits for nothing would wait for ever: rather than hang, say so."""
        parts = self.parts
        if parts.is_busy() or self._is_awake or self.lanes.will_wake(self) or parts.attempts.waiting():
            return
        if self.recorder is not None and self.recorder.is_behind:
            return  # it wakes us
        if self.scheduler.remaining:
            raise AssertionError(f"{self.scheduler.remaining} tasks remain, and it waits for nothing")

    # -- stopping

    def give_up(self, failure: BaseException) -> None:
        """Stop, because of this failure if there is none yet."""
        if self.failure is None:
            self.failure = failure
        self.stop()

    def stop(self) -> None:
        """Begin nothing more, and stop what is running; it is over when that has ended.

        Not for callers that may come between any two steps of ours: see `stop_soon`.
        """
        if not self.is_stopping:
            self.is_stopping = True
            self._stop()

    def stop_soon(self) -> None:
        """Begin nothing more, and stop what is running in the next turn of the loop.

        This may be called at any moment, as by a finalizer that the garbage collector calls while a task is
        being settled. So it changes nothing now but what says that nothing more is to begin.
        """
        if not self.is_stopping:
            self.is_stopping = True
            self.parts.begin_nothing()
            self.loop.call_soon(self._stop)

    def stop_with_outer(self) -> None:
        """The call that this was begun in is to stop, and so is this."""
        if not (self.is_over or self.is_stopping):
            self.give_up(asyncio.CancelledError())

    def stop_again_soon(self, *, lets_go: bool) -> None:
        """It is to stop, and Ctrl-C may have struck amid anything: do what that has cut short.

        Args:
            lets_go: Whether to wait for no thread any more.
        """
        self.loop.call_soon(self._stop_again, lets_go)

    def _stop_again(self, lets_go: bool) -> None:  # noqa: FBT001 - for `call_soon`
        if self.is_over:
            return
        if lets_go:
            self.parts.threads.let_go()
        if self._has_stopped:
            self.parts.stop_again()
        else:
            self._stop()
        self.parts.cut_short()
        # Nothing counts any more but what is running.
        self._is_broken, self._is_awake = True, False
        self.wake()

    def _stop(self) -> None:
        if self.is_over:
            return
        self.lanes.forget(self)
        stop_within(self)
        parts = self.parts
        before, after = [parts.stop_straight, self._preparation.end, *parts.halts()], parts.cancels()
        for step in (*before, self._cancel_tasks, *after):
            try:
                step()
            except Exception as error:
                self.break_off(error)
        self._has_stopped = True
        self.wake()

    def _cancel_tasks(self) -> None:
        self.has_cancelled = True
        if self.is_scheduled:
            self.scheduler.cancel()
        elif self.recorder is not None:
            self.recorder.cancelled_before()

    def abandon(self) -> None:
        """The loop is gone: nothing can be done any more, nor need asyncio complain of each task."""
        if not self.is_over:
            self.is_over = self.is_stopping = True
            self.parts.silence()
            leave(self)
            stop_within(self)  # what threads are still at need not go on
            if self.recorder is not None:
                self.recorder.close()

    def runner_failed(self, error: BaseException) -> None:
        """A runner has met this error outside of any node."""
        if isinstance(error, asyncio.CancelledError):
            self.give_up(error)  # not by us: the loop is being shut down, and cancels all of its tasks
            return
        self.break_off(error)
        if not isinstance(error, Exception):
            self.loop.call_soon(_raise, error)

    def break_off(self, error: BaseException) -> None:
        """Asyncgraph itself has failed, or was interrupted: end with that, rather than hang."""
        if self.is_over:
            message = "asyncgraph failed after the end of a run; please report this"
            self.loop.call_exception_handler({"message": message, "exception": error})
            return
        self._is_broken = True
        if isinstance(error, Exception):
            self.failure = InternalError(
                f"asyncgraph failed while running a graph: {safe_repr(error)}. "
                "Please report this, with the traceback"
            )
            self.failure.__cause__ = error
        else:
            self.failure = asyncio.CancelledError()
        self.stop()
        self.wake()

    # -- the end

    def check_over(self) -> None:
        """Conclude, if nothing is running and nothing will."""
        if self.is_over or self.parts.is_busy() or self._preparation.left is not None:
            return
        if (self._has_finished() or self._is_broken) and self._has_told_all() and self._has_closed_all():
            self.is_over = True
            self.lanes.forget(self)
            self._on_over()
            self._let_go()

    def _has_finished(self) -> bool:
        """Whether there is nothing left to begin."""
        way = self.parts.way
        if way is not None and not way.is_left:
            return not way.left
        return not (self.is_scheduled and self.scheduler.remaining)

    def _has_told_all(self) -> bool:
        """Whether observers know all; there may be much to tell: it goes on with that in the next turn."""
        if self.recorder is None or self._is_broken or self.recorder.has_told_all():
            return True
        if not self._is_telling_the_end:
            self._is_telling_the_end = True
            self.loop.call_soon(self._go_on_telling)
        return False

    def _go_on_telling(self) -> None:
        self._is_telling_the_end = False
        self.check_over()

    def _has_closed_all(self) -> bool:
        """Whether no resource is open; else they are being closed now."""
        resources = self.parts.resources
        if resources is None:
            return True
        if resources.close_all():
            return False
        if self.is_resumable and self.is_scheduled:
            resources.withdraw()
        return True

    def _let_go(self) -> None:
        """Keep nothing of the graph or its values: whoever still has the run has their own reasons."""
        if self.is_stopping:
            self.parts.stop_straight()  # if that was to be soon, and it was over before
        self._counts = self.counts()
        self.has_ended = True
        leave(self)
        # What has broken off may not have come to this.
        for lane, count in self._held.items():
            for _ in range(count):
                self.lanes[lane].slots.give_back()
        self.parts.close()
        self.context = contextvars.Context()
        self.failure = None
        self.is_scheduled = False
        if self.recorder is not None:
            self.recorder.close()
            self.recorder = None
        if hasattr(self, "scheduler"):
            del self.scheduler, self.places
        # These refer to this, and frames behind an error's traceback to them.
        for each in (self.parts, self._preparation, self.outcomes, self._dispatch, self.overview):
            vars(each).clear()
        del self.slice, self.nodes, self._on_over


def _raise(error: BaseException) -> NoReturn:
    raise error
