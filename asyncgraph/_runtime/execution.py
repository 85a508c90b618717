"""The execution of a plan: what the scheduler says comes next, executors are made to do.

Everything here happens on the thread of the event loop, in short slices, so that the loop serves others
in between. An execution is over when nothing that it started is running any more, however it ends. Who
waits for that, and what they are told, is the business of `run`.
"""

from __future__ import annotations

import asyncio
import contextvars
import threading
from collections import deque
from collections.abc import Callable, Coroutine, Iterable, Mapping, Sequence, Sized
from itertools import chain
from types import CoroutineType
from typing import TYPE_CHECKING, Any, NoReturn

from asyncgraph._graph import once
from asyncgraph._graph.arguments import ATOMS
from asyncgraph._graph.function import Function
from asyncgraph._graph.node import Node, in_dependency_order, key_of
from asyncgraph._graph.pieces import Pieces, cut
from asyncgraph._graph.plan import Plan
from asyncgraph._graph.scheduler import (
    CANCELLED,
    FAILED,
    FINISHED,
    NOT_RUN,
    RELEASED,
    RUNNING,
    STATES,
    WAITING,
    Scheduler,
)
from asyncgraph._runtime import slices
from asyncgraph._runtime.arguments import resolve_in_order
from asyncgraph._runtime.attempts import Attempts
from asyncgraph._runtime.choices import Choices
from asyncgraph._runtime.coroutines import Coroutines
from asyncgraph._runtime.lanes import COROUTINE, INLINE, PROCESS, RESOURCE, THREAD, Lanes
from asyncgraph._runtime.notes import add_note, describe, not_run, path_to
from asyncgraph._runtime.owner import Resolved
from asyncgraph._runtime.places import Places
from asyncgraph._runtime.planning import done_in, no_output
from asyncgraph._runtime.remains import Remains
from asyncgraph._runtime.resources import Holding, Resources
from asyncgraph._runtime.sightings import Sighting
from asyncgraph._runtime.slices import Slice
from asyncgraph._runtime.slots import Slots
from asyncgraph._runtime.stopping import Scope, current, enter, has_stopped, leave, stop_within
from asyncgraph._runtime.straight import UNUSUAL
from asyncgraph._runtime.threads import Threads
from asyncgraph._runtime.urgency import urgency
from asyncgraph._runtime.way import Way, is_straight
from asyncgraph.errors import GraphError, InternalError, SerializationError
from asyncgraph.executors.base import without_own_frames
from asyncgraph.executors.loop import failure_on_loop
from asyncgraph.executors.safe_text import safe_repr
from asyncgraph.observe.entered import AnyObserver

if TYPE_CHECKING:
    from asyncgraph._runtime.named import Named
    from asyncgraph._runtime.observed import View
    from asyncgraph._runtime.processes import Processes
    from asyncgraph._runtime.recorder import Recorder

__all__ = ["Execution", "OnOutput", "current_execution", "is_inside"]


# Called with each requested node when it is over: its value, or its error.
OnOutput = Callable[[Node[Any], Any, BaseException | None], None]

# When an execution is stopped, what is running in these lanes hears of it.
_TOLD_TO_STOP = (COROUTINE, RESOURCE)


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
        lanes: Where calls run.
        loop: The loop on which all this happens.
        context: The context that each call gets a copy of.
        slice: How long it works in the present turn of the loop.
        failure: The error that the execution stopped for, or None.
        is_stopping: Whether nothing more is begun.
        is_scheduled: Whether there is a scheduler.
        is_over: Whether nothing of it is running any more, nor will be.
        has_ended: Whether it is over, and that because nothing was left to do.
        outer: The call in a thread, of another execution, that this one was begun in, or None.
        recorder: As it was given; gone when the execution is over.
        view: The run that this is the execution of, as its observers see it; None without observers.
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
        self.recorder = recorder
        self.view: View | None = None
        self.scheduler: Scheduler
        self.lanes = lanes
        self.loop = asyncio.get_running_loop()
        self.failure: BaseException | None = None
        self.is_stopping = False
        self.is_over = False
        self.has_ended = False
        self.outer: Scope | None = None
        self.slice = Slice(self.wake)
        self._plan: Plan
        self._places: Places
        self._lane_of: dict[Function, int] = {}
        self._is_resumable = is_resumable
        self._keep_going = keep_going
        self._on_output = on_output
        self._on_over = on_over
        self._errors: dict[int, BaseException] = {}
        # The task whose failure it was stopped for.
        self._failed: int | None = None
        # Process calls, if there are any; and the slots of each lane that it has.
        self._processes: Processes | None = None
        # Calls in executors of the user's, if there are any.
        self._named: Named | None = None
        # Choices that are to be made, if there are any.
        self._choices: Choices | None = None
        # Resources, if there are any.
        self._resources: Resources | None = None
        self._held = dict.fromkeys(lanes.with_slots, 0)
        self._is_nested = current_execution() is not None
        self.is_scheduled = False
        self._is_broken = self._is_telling_the_end = False
        # Whether the scheduler knows that the execution is being stopped; and whether all else does.
        self._has_cancelled = self._has_stopped = False
        self._is_awake = False
        # How many nodes are in each state, when it is over.
        self._counts: list[int] | None = None
        # The queues of all lanes but that of the runners; and those of tasks that hold results until they
        # are begun, each with the number of slots that it has.
        self._others: list[Sized] = []
        self._backlogs: list[tuple[Sized, int]] = []
        self.context = contextvars.copy_context()
        self.context.run(current.set, self)
        self._attempts = Attempts(self)
        self._coroutines = Coroutines(self)
        self._threads = Threads(self, self._coroutines, stops_at_failure=not keep_going)
        # The straight way, also when it has been left.
        self._way: Way | None = None
        # What has to be done first, in pieces: to plan, or to make a scheduler; and what becomes known
        # meanwhile.
        self._preparation: Pieces[None] | None = (
            self._prepare(planning, given) if remains is None else self._revive(remains)
        )
        self._early: deque[tuple[int, int, Any, BaseException | None]] = deque()
        try:
            enter(self)
            self._go_on_preparing()
        except BaseException:  # Ctrl-C as well: nobody will ever have this execution
            self.is_over = True
            leave(self)
            raise

    # -- before anything can begin

    def _go_on_preparing(self, *, is_large: bool = False) -> None:
        """Prepare for a slice; small graphs take less."""
        assert self._preparation is not None
        if not done_in(slices.SLICE, self._preparation, is_large=is_large):
            self.wake()
        elif not self.is_stopping:  # a finalizer may have done that meanwhile
            self._prepared()

    def _prepared(self) -> None:
        """All has been prepared, or need not be, because the execution is being stopped."""
        self._preparation = None
        while self._early:
            # In no variable of a frame that goes on: it would be behind those in an error's traceback.
            self.settle(*self._early.popleft())
        if self._way is not None and not self._way.is_left:
            self._way.begin()
        else:
            self.wake()

    def _prepare(self, planning: Pieces[Plan], given: Mapping[Node[Any], Any]) -> Pieces[None]:
        """Plan, and choose the way that suits the plan."""
        self._plan = plan = yield from planning
        if once.has_spent_any():
            for nodes in cut(plan.nodes):
                once.refuse_spent(nodes)
                yield
        self.nodes = plan.nodes
        self._lane_of = {function: self.lanes.number_of(function) for function in plan.functions}
        is_special = self._on_output is not None or self._is_resumable or self.recorder is not None
        if is_special or not is_straight(self._lane_of):
            yield from self._schedule(len(given), [], given)
            return
        if not plan.is_tree:
            yield from plan.last_uses_in_pieces()
        if not self.is_stopping:
            self._way = Way(self, plan, given, self._lane_of, self._coroutines, self._threads)

    def _revive(self, remains: Remains) -> Pieces[None]:
        """Go on with what another execution has left."""
        scheduler = remains.scheduler
        if once.has_spent_any():
            ended = (FAILED, NOT_RUN, CANCELLED)
            missing = [task for task, state in enumerate(scheduler.state) if state in ended]
            once.refuse_spent(remains.nodes[task] for task in missing if not scheduler.is_alias(task))
        self._places = Places(remains.nodes, remains.number)
        if self.recorder is not None:
            # Copies: these change while the graph grows, and what is noted is looked at later.
            nodes, dependencies = list(remains.nodes), list(scheduler.dependencies)
            self.recorder.planned(nodes, dependencies, sorted(scheduler.outputs))
            self.recorder.there_already(scheduler.state)
        scheduler.note_states(list if self.recorder is None else self.recorder.states)
        yield from scheduler.revive_in_pieces()
        if not self.is_stopping:
            self.nodes = remains.nodes
            self.scheduler = scheduler
            self._choices = remains.choices and remains.choices.of(self)
            self._resources = remains.resources and remains.resources.of(self)
            self.is_scheduled = True
            self._note_queues()

    def remains(self) -> Remains | None:
        """What there is by now, if that is kept for others to go on with; not a copy."""
        if not (self._is_resumable and self.is_scheduled) or self._is_broken:
            return None
        return Remains(
            self.nodes, self._places.number, self.scheduler, self._errors, self._choices, self._resources
        )

    def work_as_runner(self) -> Coroutine[Any, Any, None]:
        """What a further runner for coroutines is to do."""
        return self._coroutines.serve() if self.is_scheduled or self._way is None else self._way.walk()

    def wake(self) -> None:
        """See soon what there is to do."""
        if not self._is_awake and not self.is_over:
            self._is_awake = True
            self.loop.call_soon(self._work)

    def nest(self) -> None:
        """A node of another execution waits for this one, which must not wait for the slot of that node."""
        if not self._is_nested:
            self._is_nested = True
            self.wake()

    def is_running(self, aio_task: asyncio.Task[Any] | None) -> bool:
        """Whether `aio_task` is that of a node of this execution."""
        return aio_task in self._coroutines.runners

    def running_keys(self) -> list[str]:
        """The keys of the nodes that are being computed."""
        resources = [] if self._resources is None else self._resources.running_keys()
        in_processes = [] if self._processes is None else self._processes.running()
        in_named = [] if self._named is None else self._named.running()
        in_executors = [*in_processes, *self._threads.running(), *in_named]
        paused = [f"{key_of(self.nodes[task])} (between attempts)" for task in self._attempts.waiting()]
        return sorted([*self._coroutines.running_keys(), *map(key_of, in_executors), *resources, *paused])

    # -- for those who look, from any thread and amid anything

    def sightings(self) -> list[Sighting]:
        """Where the nodes are that have been begun; not one that the loop is in itself."""
        parts = self._coroutines, self._threads, self._processes, self._named, self._resources, self._way
        return [each for part in parts if part is not None for each in part.sightings()]

    def task_on_loop(self) -> int | None:
        """The task that the loop is in itself at this moment, if it is in one."""
        parts = self._coroutines, self._resources
        for part in parts:
            task = None if part is None else part.task_on_loop()
            if task is not None:
                return task
        return self._inline_task() if self.is_scheduled else None

    def _inline_task(self) -> int | None:
        """The task of an inline call that is going on: of those that run, nobody else has it."""
        scheduler, task = self.scheduler, -1
        while True:
            try:
                task = scheduler.state.index(RUNNING, task + 1)
            except ValueError:
                return None
            if scheduler.lanes[task] == INLINE and not self._coroutines.has(task):
                return task

    def task_in(self, thread: int) -> int | None:
        """The task that a thread, which is named by its identifier, is in."""
        seen = (each.task for each in self.sightings() if each.thread == thread)
        return next(seen, None)

    def holdings(self) -> list[Holding]:
        """The resources that are open."""
        return [] if self._resources is None else self._resources.holdings()

    def begun_elsewhere(self) -> Iterable[tuple[int, float, str]]:
        """The process calls that have begun, as far as has been heard: each with since when, and where."""
        return () if self._processes is None else self._processes.begun()

    @property
    def is_planned(self) -> bool:
        """Whether its nodes are those of the plan, in their order, and not yet those that were asked for."""
        return self.is_scheduled or self._way is not None

    def begun_straight(self) -> tuple[int, list[int]]:
        """How many nodes, the first ones, have been begun on the straight way, and which of them run."""
        if self._way is not None and not self._way.is_left:
            return self._way.begun()
        finished, running = self._done
        return finished + running, []

    def reason_of(self, task: int) -> tuple[int, BaseException]:
        """The task that a task without a value is behind, perhaps itself, and what that failed with."""
        origin = self.scheduler.behind[task]
        return origin, self._errors[origin]

    def observers(self) -> Sequence[AnyObserver]:
        """Who is told of the run, and so of those that are begun in its nodes."""
        return () if self.view is None else self.view.observers()

    def key_here(self) -> str:
        """The key of the node that this is called from, if that can be told; else nothing."""
        runner = self._coroutines.runner_here()
        if runner is not None:
            return runner.get_name()
        task = self.task_in(threading.get_ident())
        return "" if task is None else key_of(self.nodes[task])

    def following(self, most: int) -> list[tuple[Node[Any], list[Node[Any]]]]:
        """So many at most of the nodes that come next on the straight way, and what each waits for."""
        return [] if self._way is None or self._way.is_left else self._way.following(most)

    def held(self, lane: int) -> int:
        """How many slots of the lane it has."""
        return self._held[lane]

    @property
    def attempts(self) -> Attempts:
        """The attempts of its nodes."""
        return self._attempts

    @property
    def is_preparing(self) -> bool:
        """Whether nothing begins yet, because it is being planned."""
        return self._preparation is not None

    @property
    def is_nested(self) -> bool:
        """Whether it is inside a node of another."""
        return self._is_nested

    def counts(self) -> list[int]:
        """How many nodes are in each of the scheduler's states."""
        if self._counts is not None:
            return self._counts
        if self.is_scheduled:
            states = bytes(self.scheduler.state)  # which are counted in a sixth of the time
            counts = [states.count(state) for state in range(len(STATES))]
            counts[RELEASED] += self.scheduler.renewals
            return counts
        counts = [0] * len(STATES)
        if self._way is not None and not self._way.is_left:
            counts[FINISHED], counts[RUNNING], counts[WAITING] = self._way.counts()
        else:
            counts[FINISHED], counts[RUNNING] = done = self._done
            counts[CANCELLED if self.is_stopping else WAITING] = len(self.nodes) - sum(done)
        return counts

    @property
    def _done(self) -> tuple[int, int]:
        """How many nodes the straight way had finished when it was left, and how many it was at."""
        return (0, 0) if self._way is None else self._way.done

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
            if self._way is not None:
                self._way.halt()
            self._threads.begin_nothing()
            self.loop.call_soon(self._stop)

    def stop_with_outer(self) -> None:
        """The call that this was begun in is to stop, and so is this."""
        if not (self.is_over or self.is_stopping):
            self._give_up(asyncio.CancelledError())

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
            self._threads.let_go()
        if not self._has_stopped:
            self._stop()
        elif self._processes is not None:
            self._processes.cancel()
        if self._resources is not None:
            self._resources.cut_short()
        self._coroutines.forget_ended()
        # Nothing counts any more but what is running.
        self._is_broken, self._is_awake = True, False
        self.wake()

    def _stop(self) -> None:
        if self.is_over:
            return
        self.lanes.forget(self)
        stop_within(self)
        steps: list[Callable[[], object]] = [self._stop_straight, self._prepared]
        steps += [self._attempts.cancel, self._threads.halt, self._cancel_tasks]
        if self._processes is not None:
            steps.append(self._processes.cancel)
        if self._named is not None:
            steps.append(self._named.cancel)
        steps += [self._coroutines.drop, self._coroutines.cancel]
        if self._resources is not None:
            steps.append(self._resources.cancel)
        for step in steps:
            try:
                step()
            except Exception as error:
                self.break_off(error)
        self._has_stopped = True
        self.wake()

    def abandon(self) -> None:
        """The loop is gone: nothing can be done any more, nor need asyncio complain of each task."""
        if not self.is_over:
            self.is_over = self.is_stopping = True
            self._coroutines.silence()
            if self._resources is not None:
                self._resources.silence()
            leave(self)
            stop_within(self)  # what threads are still at need not go on
            if self.recorder is not None:
                self.recorder.close()

    def final_value_of(self, node: Node[Any]) -> Any:
        """The value of an output, or its error, when the execution is over."""
        if not self.is_scheduled and self._way is not None:
            return self._way.value_of(node)
        task = self._places.number[node]
        if task not in self.scheduler.behind:  # as `_outcome` does, without the call, for each of a million
            return self.scheduler.results[task]
        return self._outcome(task)[1]

    # -- the scheduler

    def take_over(self, begun: int, running: list[int], values: Mapping[Node[Any], Any]) -> None:
        """Go on with a scheduler, which has yet to be made, from where the straight way has led."""
        self._preparation = self._schedule(begun, running, values)
        self._go_on_preparing()

    def _schedule(self, begun: int, running: list[int], results: Mapping[Node[Any], Any]) -> Pieces[None]:
        """Make the scheduler, which knows of what has been done so far."""
        plan = self._plan
        yield from plan.number_in_pieces()
        self._places, number = Places(plan.nodes, plan.number), plan.number
        lanes: list[int] = []
        for nodes in cut(plan.nodes):
            lanes += [self._lane_of[node._function] for node in nodes]
            yield
        known: dict[int, Any] = {}
        for items in cut(list(results.items())):
            known.update([(number[node], value) for node, value in items])
            yield
        recorder = self.recorder
        if recorder is not None:
            recorder.planned(plan.nodes, plan.dependencies, plan.outputs, begun)
        first = yield from urgency(plan, self.lanes, self._lane_of)
        scheduler = yield from Scheduler.in_pieces(
            plan.dependencies,
            plan.dependents,
            lanes,
            plan.outputs,
            begun,
            known,
            running,
            first,
            holds_inputs=self._is_resumable,
            lazy=self._resources_among(plan.nodes, 0) if RESOURCE in set(lanes) else (),
            states=None if recorder is None else recorder.states,
        )
        self.scheduler = scheduler
        if any(function.is_special for function in self._lane_of):
            for tasks in cut(range(len(plan.nodes))):
                self._note_special(tasks)
                yield
        if not self.is_stopping:
            self.is_scheduled = True
            self._note_queues()

    def _note_special(self, tasks: Sequence[int]) -> None:
        """Do for these tasks, which are new, what those need that are to be treated in some special way."""
        for task in tasks:
            function = self.nodes[task]._function
            if function.retry is not None:
                self.scheduler.hold_inputs(task)
            if function.is_choice:
                self._choices = self._choices or Choices(self)
                self._choices.add(task)
            if function.is_resource:
                self._resources = self._resources or Resources(self)
        if self._resources is not None:
            self._resources.note(tasks)

    def _resources_among(self, nodes: Sequence[Node[Any]], first: int) -> list[int]:
        """The tasks of the resources among `nodes`, whose tasks are numbered from `first` on."""
        return [task for task, node in enumerate(nodes, first) if node._function.is_resource]

    def may_be_chosen(self, node: Node[Any]) -> bool:
        """Whether a choice that has not been made may need the node."""
        return self._choices is not None and self._choices.may_need(node)

    def task_of(self, node: Node[Any]) -> int | None:
        """The task whose result is that of the node, if it is there or will be."""
        task = self._places.find(node)
        if task is None or (self._processes is not None and task in self._processes.passing):
            return None
        return None if self.scheduler.state[task] in (RELEASED, CANCELLED) else task

    def _stop_straight(self) -> None:
        if self._way is not None:
            self._way.stop()

    def _note_queues(self) -> None:
        scheduler, lanes, coroutines = self.scheduler, self.lanes, self._coroutines
        if PROCESS in scheduler.ready and self._processes is None:
            # Pickling and all that is no business of a service that has no such calls.
            from asyncgraph._runtime.processes import Processes

            self._processes = Processes(self)
        if self._named is None and lanes.named and not scheduler.ready.keys().isdisjoint(lanes.named):
            from asyncgraph._runtime.named import Named

            self._named = Named(self, lanes.named)
        self._others = [self._threads] if THREAD in scheduler.ready else []
        for lane in scheduler.ready:
            if lane != COROUTINE:
                self._others += [scheduler.ready[lane], scheduler.producers[lane]]
        self._backlogs = [(coroutines.made, lanes[COROUTINE].slots.capacity)]
        for lane in lanes.with_slots:
            if lane in scheduler.ready:
                self._backlogs.append((scheduler.ready[lane], lanes[lane].slots.capacity))

    # -- what is ready

    def _work(self) -> None:
        self._is_awake = False
        if self.is_over:
            return
        self.slice.close()
        try:
            if self._preparation is not None:
                self._go_on_preparing(is_large=True)
            elif self._way is not None and not self._way.is_left and not self.is_stopping:
                self._way.see_to_it()
            if self.is_scheduled and not self.is_stopping:
                self.begin_others()
                self._coroutines.begin()
            if not self._is_awake or self._preparation is not None:
                self.lanes.renounce(self)
            if self.is_scheduled and not self.is_stopping:
                self._check_progress()
        except GraphError as error:
            self._give_up(error)  # found while it was being planned
        except BaseException as error:
            self.break_off(error)
            if not isinstance(error, Exception):
                raise  # Ctrl-C, in the midst of our own work: it is the loop's to pass on
        if self._is_awake and self.slice.until is not None and self.slice.is_over():
            return  # to conclude takes time, too: in the next turn
        self.check_over()

    def begin_others(self) -> None:
        """Begin all that is not for runners, until the slice is over."""
        if not any(self._others) or (self.recorder is not None and self.recorder.is_behind):
            return
        while any(self._others) and not self.is_stopping:
            has_begun = self._fill_slots()
            task = self.take(INLINE)
            if task is not None:
                self._call_inline(task)
            elif not has_begun:
                break  # what is ready has no slot: it is woken for one
            if self.slice.is_over() or (self.recorder is not None and self.recorder.is_behind):
                break

    def _fill_slots(self) -> bool:
        """Begin what finds a slot of an executor, or needs none; whether that was anything."""
        if self._resources is not None and self._resources.open():
            return True
        has_begun = self._processes is not None and self._processes.fill(self.slice)
        if self._named is not None and self._named.fill(self.slice):
            has_begun = True
        if has_begun and self.slice.is_over():
            return True
        return (THREAD in self.scheduler.ready and self._threads.fill(self.slice)) or has_begun

    def has_call(self, lane: int) -> bool:
        """Whether there is anything to begin in the lane."""
        if not self.is_scheduled:
            return self._way is not None and self._way.can_begin()
        if self.recorder is not None and self.recorder.is_behind:
            return False  # it wakes us
        scheduler = self.scheduler
        if scheduler.is_ready(lane) and (scheduler.backlog(lane) or not self._is_congested()):
            return True
        return lane == COROUTINE and bool(self._coroutines.made)

    def count_ready(self, lane: int) -> int:
        """How many calls there are to begin in the lane, at most."""
        if not self.is_scheduled:
            return 0 if self._way is None else self._way.left
        return self.scheduler.ready_count(lane) + len(self._coroutines.made)

    def take(self, lane: int) -> int | None:
        """Begin the first task of the lane that need not wait."""
        return self.scheduler.take(lane, hold_producers=self.holds_producers(lane))

    def holds_producers(self, lane: int) -> bool:
        """Whether tasks of the lane that only produce are to wait."""
        return bool(self.scheduler.producers.get(lane)) and self._is_congested()

    def held_back(self, lane: int) -> int:
        """How many tasks of the lane wait for that, and not for a slot."""
        if self.is_over or not self.is_scheduled or not self.holds_producers(lane):
            return 0
        return len(self.scheduler.producers[lane])

    def _is_congested(self) -> bool:
        """Whether producers are to wait, because what they feed waits for slots already.

        Their products would only pile up in memory.
        """
        for queue, capacity in self._backlogs:  # noqa: SIM110 - half of what `any` with a generator costs
            if len(queue) >= capacity:
                return True
        return False

    def claim(self, lane: int) -> bool:
        """Get a slot of the lane, or be woken for one later."""
        # In a run inside a node, the slot that its first call would wait for may be the one that this
        # node has: it takes one even if none is free.
        must_have = self._is_nested and not self._held[lane]
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

    def _is_busy(self) -> bool:
        """Whether anything of it is running."""
        if self._coroutines.runners or self._threads.is_busy():
            return True
        if self._resources is not None and self._resources.is_busy():
            return True
        if self._named is not None and self._named.is_busy():
            return True
        return self._processes is not None and self._processes.is_busy()

    def _check_progress(self) -> None:
        """An execution that waits for nothing would wait for ever: rather than hang, say so."""
        if self._is_busy() or self._is_awake or self.lanes.will_wake(self) or self._attempts.waiting():
            return
        if self.recorder is not None and self.recorder.is_behind:
            return  # it wakes us
        if self.scheduler.remaining:
            raise AssertionError(f"{self.scheduler.remaining} tasks remain, and it waits for nothing")

    # -- calls

    def runner_failed(self, error: BaseException) -> None:
        """A runner has met this error outside of any node."""
        if isinstance(error, asyncio.CancelledError):
            self._give_up(error)  # not by us: the loop is being shut down, and cancels all of its tasks
            return
        self.break_off(error)
        if not isinstance(error, Exception):
            self.loop.call_soon(_raise, error)

    def _call_inline(self, task: int) -> None:
        prepared = self.prepare(task)
        if prepared is not None:
            # The outcome in no variable: this frame is behind those in the traceback of an error.
            self.settle(task, INLINE, *self._outcome_inline(task, *prepared))

    def _outcome_inline(
        self, task: int, function: Function, args: tuple[Any, ...], kwargs: Mapping[str, Any]
    ) -> tuple[Any, BaseException | None]:
        try:
            call = function.call if self.recorder is None else self.recorder.around(task, function.call)
            return self.context.copy().run(call, *args, **kwargs), None
        except BaseException as error:
            if has_stopped(error, self):
                return None, without_own_frames(error)
            return None, failure_on_loop(error, key_of(self.nodes[task]))

    def prepare(self, task: int, copies: Mapping[int, Any] | None = None) -> Resolved | None:
        """Resolve the arguments of a task; None if that failed, and with it the task.

        Args:
            task: The task.
            copies: What stands for the results of some tasks, where they are needed on a cluster.
        """
        node, scheduler = self.nodes[task], self.scheduler
        args, kwargs = node._args, node._kwargs
        if not node._dependencies:
            return node._function, args, kwargs
        try:
            results = scheduler.results
            values = [results[each] for each in scheduler.dependencies[task]]
            if copies:
                inputs = zip(scheduler.dependencies[task], values, strict=True)
                values = [copies.get(each, value) for each, value in inputs]
            args, kwargs = resolve_in_order(node, values)
        except BaseException as error:  # for instance for a list as the value of a node in a set
            scheduler.consume(task)
            self._fail(task, scheduler.lanes[task], failure_on_loop(error, key_of(node)))
            return None
        scheduler.consume(task)
        return node._function, args, kwargs

    # -- outcomes

    def settle(self, task: int, lane: int, value: Any, error: BaseException | None) -> None:
        """A running task has this outcome."""
        if self._preparation is not None:
            self._early.append((task, lane, value, error))
            return
        if (
            self._named is not None
            and isinstance(value, Node)
            and self._named.remotes.bring_for(task, lane, value)
        ):
            return  # it comes back when what it needs is here
        if self.recorder is not None:
            self.recorder.outcome(task, value, error)
        if (
            error is None
            and not self.is_stopping
            and (type(value) in ATOMS or not issubclass(type(value), UNUSUAL))
        ):
            finished = self.scheduler.finish(task, value)
            if self._on_output is not None:
                self._announce(finished)
            if self._resources is not None:
                self._resources.over(finished)
        elif self.is_stopping:
            self._settle_stopped(task, lane, value, error)
        elif isinstance(error, asyncio.CancelledError):
            # Not by us: the loop is being shut down, and cancels all of its tasks.
            self.scheduler.stop(task)
            self._give_up(error)
        elif error is not None:
            self._fail_or_try_again(task, lane, error)
        elif isinstance(value, Node):
            self._expand(task, lane, value)
        else:
            self._coroutines.add_made(task, value)

    def settle_many(self, tasks: Sequence[int], lane: int, values: list[Any]) -> None:
        """Running tasks have these values."""
        if (
            self._preparation is None
            and self._on_output is None
            and self._resources is None
            and self.recorder is None
            and not self.is_stopping
            and ATOMS.issuperset(map(type, values))
        ):
            self.scheduler.finish_many(tasks, values)
            return
        for task, value in zip(tasks, values, strict=True):
            self.settle(task, lane, value, None)

    def _settle_stopped(self, task: int, lane: int, value: Any, error: BaseException | None) -> None:
        failure = None if isinstance(error, asyncio.CancelledError) else error
        if self.is_scheduled:
            is_value = error is None and not issubclass(type(value), UNUSUAL)
            # What threads have done behind it counts, too. What comes after that is kept only for a run that
            # goes on; and what a coroutine returns when it is cancelled is no value.
            is_late = self._has_cancelled and not (self._is_resumable and lane != COROUTINE)
            if is_value and not is_late:
                self.scheduler.finish(task, value)
            elif failure is not None and self._is_resumable:
                self._errors[task] = failure
                self.scheduler.fail(task)
            else:
                self.scheduler.stop(task)
        else:
            assert self._way is not None, "nothing else runs without a scheduler"
            finished, running = self._way.done
            self._way.done = finished, running - 1
        if type(value) is CoroutineType:
            value.close()
        self._note_late(task, lane, failure)

    def _note_late(self, task: int, lane: int, failure: BaseException | None) -> None:
        """A task, or what was left of it, has failed in an execution that is being stopped."""
        if failure is None or failure is self.failure:
            return
        if self.failure is not None and not isinstance(self.failure, asyncio.CancelledError):
            self._note_another(task, lane, failure)
        else:
            message = f"asyncgraph: node {key_of(self.nodes[task])} failed while its run was being cancelled"
            self.loop.call_exception_handler({"message": message, "exception": failure})

    def _note_another(self, task: int, lane: int, error: BaseException) -> None:
        """A node has failed in an execution that is being stopped for the failure of another."""
        first, other = self.failure, self._failed
        assert first is not None
        # Of those that have failed by themselves the first one in the graph counts, whichever was told of
        # first. Others have been told to stop before they failed.
        is_own = lane not in _TOLD_TO_STOP and isinstance(error, Exception)
        if other is not None and task < other and is_own:
            self._describe(error, task, lane)
            self.failure, self._failed = error, task
            self._note_failure_too(error, other, first)
        else:
            self._note_failure_too(first, task, error)

    def _note_failure_too(self, failure: BaseException, task: int, error: BaseException) -> None:
        key = key_of(self.nodes[task])
        about = f"asyncgraph: while the rest was being stopped, node {key} failed too: {safe_repr(error)}"
        add_note(failure, about)

    def _fail_or_try_again(self, task: int, lane: int, error: BaseException) -> None:
        retry = self.nodes[task]._function.retry
        if retry is None or not self._attempts.try_again(task, error, retry):
            self._fail(task, lane, error)

    def _fail(self, task: int, lane: int, error: BaseException) -> None:
        self._describe(error, task, lane)
        self._errors[task] = error
        failed = [task, *self.scheduler.fail(task)]
        if self._choices is not None and not self._is_resumable:
            self._choices.forget(failed)
        if self._keep_going and isinstance(error, Exception):
            self._announce(failed)
            if self._resources is not None:
                self._resources.over(failed)
        else:
            self._failed = task if self.failure is None else self._failed
            self._give_up(error)

    def _describe(self, error: BaseException, task: int, lane: int) -> None:
        path = path_to(task, self.nodes, self.scheduler)
        describe(error, self.nodes[task], path, self.lanes.name_of(lane), self._attempts.failed(task))

    def _give_up(self, failure: BaseException) -> None:
        if self.failure is None:
            self.failure = failure
        self.stop()

    def _expand(self, task: int, lane: int, root: Node[Any]) -> None:
        """The task's function has returned a node: compute that in its place."""
        self._threads.take_back()  # new edges may lead to what is in the window
        scheduler, places, first = self.scheduler, self._places, len(self.nodes)
        new = in_dependency_order([root], lambda node: self.task_of(node) is not None)
        added = {node: first + offset for offset, node in enumerate(new)}
        own: tuple[int, ...] = ()
        is_renewed = bool(new) and self._can_renew(task, new)
        if is_renewed:  # the root, which comes last, takes the place of a node that nobody has asked for
            added[new.pop()] = task
        edges = [places.of_all(node._dependencies, added) for node in new]
        try:
            lanes = [self.lanes.number_of(node._function) for node in new]
            own_lane = self.lanes.number_of(root._function)
        except GraphError as error:  # there is no executor of that name
            self._fail(task, lane, error)
            return
        lazy = self._resources_among(new, first)
        if is_renewed:
            own = places.of_all(root._dependencies, added)
        (number,) = places.of_all((root,), added)
        mark = 0 if self.recorder is None else self.recorder.mark()
        try:
            self._refuse_resource(task, root)
            if is_renewed:
                inputs = scheduler.dependencies[task]
                self._unpack_for([*edges, own], [*lanes, own_lane], first)
                ended = scheduler.renew(task, edges, lanes, own, own_lane)
                places.replace(task, root)
                places.forget_released(inputs, scheduler)
                self._attempts.forget(task)
            else:
                self._unpack_for([*edges, (number,)], [*lanes, INLINE], first)
                ended = scheduler.expand(task, edges, lanes, number, lazy)
        except (GraphError, SerializationError) as error:
            self._fail(task, lane, error)
            return
        if self.recorder is not None:
            self.recorder.expanded(mark, task, number, added, [*edges, own] if is_renewed else edges)
        places.add(new, added)
        self.nodes = places.nodes
        self._note_grown(task, number, added, ended)
        self._note_queues()
        self._announce(ended)

    def _can_renew(self, task: int, new: Sequence[Node[Any]]) -> bool:
        """Whether a task can become the call of the last of these nodes, which are what it has returned."""
        # What choices and resources have noted of a task has to stay true of it.
        is_plain = self._choices is None and self._resources is None
        return is_plain and self.scheduler.is_added(task) and not any(map(_is_choice_or_resource, new))

    def _note_grown(
        self, task: int, number: int, added: Mapping[Node[Any], int], ended: Sequence[int]
    ) -> None:
        """These nodes have been added, because `task` has returned the node of the task `number`."""
        if self._choices is not None:
            self._choices.keep(added)
        self._note_special([*added.values()])
        if self._choices is not None:
            self._choices.forget((task,) if self._is_resumable else (task, *ended))
        if self._resources is not None:
            self._resources.returned(task, number)
            self._resources.over(ended)
            self._resources.close_unused()

    def _unpack_for(self, edges: Sequence[tuple[int, ...]], lanes: Sequence[int], first: int) -> None:
        """Unpickle what new tasks need here, and not in a worker; those from `first` on have no value yet."""
        if self._processes is not None:
            needed_here = [each for each, lane in zip(edges, lanes, strict=True) if lane != PROCESS]
            self._processes.unpack(each for each in chain(*needed_here) if each < first)

    def _refuse_resource(self, task: int, root: Node[Any]) -> None:
        """Raise GraphError if what was asked for turns out to be a resource."""
        if not root._function.is_resource:
            return
        reached = [task]
        for each in reached:
            if each in self.scheduler.outputs:
                raise GraphError(f"{key_of(self.nodes[task])} has returned {no_output(root)}")
            reached += filter(self.scheduler.is_alias, self.scheduler.dependents[each])

    def closing_failed(self, task: int, error: BaseException) -> None:
        """A resource could not be closed as it should."""
        if isinstance(error, asyncio.CancelledError):
            self._give_up(error)  # not by us
        elif self.is_stopping:
            self._note_late(task, RESOURCE, error)
        else:
            self._describe(error, task, RESOURCE)
            self._failed = task
            self._give_up(error)

    def _announce(self, tasks: list[int]) -> None:
        """Tell who waits for single outputs about those among `tasks`, which are over."""
        if self._on_output is None:
            return
        for task in tasks:
            if task in self.scheduler.outputs:
                self._on_output(self.nodes[task], *self._outcome(task))
                self.scheduler.give_up(task)

    def _outcome(self, task: int) -> tuple[Any, BaseException | None]:
        scheduler = self.scheduler
        if task not in scheduler.behind:
            return scheduler.results[task], None
        origin = scheduler.behind[task]
        if scheduler.state[task] == FAILED:
            return None, self._errors[origin]
        path = path_to(task, self.nodes, scheduler)
        return None, not_run(self.nodes[task], path, self.nodes[origin], self._errors[origin])

    # -- the end

    def _cancel_tasks(self) -> None:
        self._has_cancelled = True
        if self.is_scheduled:
            self.scheduler.cancel()
        elif self.recorder is not None:
            self.recorder.cancelled_before()

    def check_over(self) -> None:
        """Conclude, if nothing is running and nothing will."""
        if self.is_over or self._is_busy() or self._preparation is not None:
            return
        if self._way is not None and not self._way.is_left:
            is_finished = not self._way.left
        else:
            is_finished = not (self.is_scheduled and self.scheduler.remaining)
        if is_finished or self._is_broken:
            if not (self.recorder is None or self._is_broken or self.recorder.has_told_all()):
                if not self._is_telling_the_end:
                    self._is_telling_the_end = True
                    self.loop.call_soon(self._go_on_telling)  # in the next turn: there may be much to tell
                return
            if self._resources is not None:
                if self._resources.close_all():
                    return
                if self._is_resumable and self.is_scheduled:
                    self._resources.withdraw()
            self.is_over = True
            self.lanes.forget(self)
            self._on_over()
            self._let_go()

    def _go_on_telling(self) -> None:
        self._is_telling_the_end = False
        self.check_over()

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

    def _let_go(self) -> None:
        """Keep nothing of the graph or its values: whoever still has the run has their own reasons."""
        if self.is_stopping:
            self._stop_straight()  # if that was to be soon, and it was over before
        self._counts = self.counts()
        self.has_ended = True
        leave(self)
        # What has broken off may not have come to this.
        for lane, count in self._held.items():
            for _ in range(count):
                self.lanes[lane].slots.give_back()
        self._threads.close()
        self._way = None
        self.context = contextvars.Context()
        self._errors = {}
        self.failure = None
        self._others, self._backlogs = [], []
        self._choices = None
        self.is_scheduled = False
        if self.recorder is not None:
            self.recorder.close()
            self.recorder = None
        if hasattr(self, "scheduler"):
            del self.scheduler, self._places
        # These refer to this: they would keep each other alive.
        del self._attempts, self._coroutines, self._threads, self._processes, self._named, self._resources
        del self.slice
        if hasattr(self, "_plan"):
            del self._plan
        del self.nodes, self._lane_of, self._on_output, self._on_over


def _is_choice_or_resource(node: Node[Any]) -> bool:
    return node._function.is_choice or node._function.is_resource


def _raise(error: BaseException) -> NoReturn:
    raise error
