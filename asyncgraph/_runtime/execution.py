"""The execution of a plan: what the scheduler says comes next, executors are made to do.

Everything here happens on the thread of the event loop, in short slices, so that the loop serves others
in between. An execution is over when nothing that it started is running any more, however it ends. Who
waits for that, and what they are told, is the business of `run`.
"""

from __future__ import annotations

import asyncio
import contextvars
import time
from collections import deque
from collections.abc import Callable, Coroutine, Mapping, Sized
from functools import partial
from operator import attrgetter
from types import CoroutineType
from typing import Any, NoReturn

from asyncgraph._graph.arguments import ATOMS
from asyncgraph._graph.function import Function, is_async
from asyncgraph._graph.node import NO_KWARGS, Node, in_dependency_order, key_of
from asyncgraph._graph.plan import Plan
from asyncgraph._graph.scheduler import (
    CANCELLED,
    FAILED,
    FINISHED,
    RELEASED,
    RUNNING,
    STATES,
    WAITING,
    Scheduler,
)
from asyncgraph._runtime.arguments import resolve
from asyncgraph._runtime.bundle import Bundle, Prepared, is_short, share
from asyncgraph._runtime.lanes import COROUTINE, EXECUTORS, INLINE, PROCESS, THREAD, Lanes
from asyncgraph._runtime.notes import add_note, describe, not_run, path_to
from asyncgraph._runtime.runner import Runner, failure_in, turn
from asyncgraph._runtime.straight import UNUSUAL, Straight
from asyncgraph.errors import CycleError, InternalError
from asyncgraph.executors.base import Call
from asyncgraph.executors.loop import failure_on_loop
from asyncgraph.executors.safe_text import safe_repr

__all__ = ["Execution", "OnOutput", "current_execution", "is_inside"]

# Called with each requested node when it is over: its value, or its error.
OnOutput = Callable[[Node[Any], Any, BaseException | None], None]

# A call that gives something to await: its task, and what to call.
_Coroutine = tuple[int, Callable[..., Any], tuple[Any, ...], Mapping[str, Any]]

# How long an execution works before it lets the loop serve others, in seconds: short beside the 10 ms
# that a service may stall, long beside the 20 µs that coming back costs.
_SLICE = 0.002

# Seconds after which a bundle that was meant to take one millisecond is looked at.
_PATIENCE = 0.005

# The execution whose node is running, for code inside it.
_current: contextvars.ContextVar[Execution | None] = contextvars.ContextVar(
    "asyncgraph_execution", default=None
)


def current_execution() -> Execution | None:
    """The execution whose node this is called from, or None; a task that has outlived it is not in it."""
    current = _current.get()
    return None if current is None or current.is_over else current


def is_inside(lanes: Lanes) -> bool:
    """Whether this is called from a node that runs in `lanes`."""
    current = current_execution()
    return current is not None and current._lanes is lanes


class Execution:
    """One execution of a plan.

    A plan whose nodes all run on the loop goes the straight way as far as that leads; everything else,
    and what is left of it, is for the scheduler.

    Args:
        lanes: Where calls run.
        plan: What to run.
        given: The values of the first nodes of the plan, which are not called.
        keep_going: After a failure, run on all that does not depend on it.
        on_output: Told about each output, in order of arrival, with its value or error; values are not
            kept then. None keeps them for `outcome_of`.
        on_over: Called, once, when the execution is over.

    Attributes:
        nodes: The nodes, by the scheduler's numbers.
        scheduler: The state, where there is one; gone, as the nodes, when the execution is over.
        running: The calls that executors have, by number, with the lane in which each runs.
        failure: The error that the execution stopped for, or None.
        is_stopping: Whether nothing more is begun.
        is_over: Whether nothing of it is running any more, nor will be.
    """

    def __init__(
        self,
        lanes: Lanes,
        plan: Plan,
        *,
        given: Mapping[Node[Any], Any],
        keep_going: bool,
        on_output: OnOutput | None,
        on_over: Callable[[], None],
    ) -> None:
        self.nodes = plan.nodes
        self.running: dict[int, tuple[int, Call]] = {}
        self.failure: BaseException | None = None
        self.is_stopping = False
        self.is_over = False
        self._plan = plan
        self._lanes = lanes
        self._keep_going = keep_going
        self._on_output = on_output
        self._on_over = on_over
        self._errors: dict[int, BaseException] = {}
        self._runners: set[Runner] = set()
        # How many runners are waiting for their next turn, and how many may be added in the next.
        self._waiting_turn = 0
        self._new_runners = 1
        # What threads have; and calls that were taken for a thread and are not in a bundle yet, or no more.
        self._bundles: dict[Bundle, Call] = {}
        self._calls: deque[Prepared] = deque()
        self._watch: asyncio.TimerHandle | None = None
        # Calls of functions that turned out to be coroutines, each waiting for a slot of their lane.
        self._coroutines: deque[_Coroutine] = deque()
        self._coroutine_slots = lanes[COROUTINE].slots
        # By lane, the slots that it has.
        self._held = dict.fromkeys(lanes.with_slots, 0)
        self._is_broken = False
        self._is_awake = False
        # When the present slice ends; None between slices.
        self._until: float | None = None
        self._loop = asyncio.get_running_loop()
        self._is_nested = current_execution() is not None
        self._context = contextvars.copy_context()
        self._context.run(_current.set, self)
        self._lane_of = {function: lanes.number_of(function) for function in plan.functions}
        # The state of each task, which stays.
        self._states: list[int] | None = None
        self._number: dict[Node[Any], int] = {}
        # The queues of all lanes but that of the runners; and those of tasks that hold results until they
        # are begun, each with the number of slots that it has.
        self._off_runners: list[Sized] = []
        self._backlogs: list[tuple[Sized, int]] = []
        # The way things are done: straight on, or, once that has come to its end, as the scheduler says.
        self.scheduler: Scheduler
        self._is_scheduled = False
        self._straight: Straight | None = None
        if on_output is None and not set(self._lane_of.values()) - {INLINE, COROUTINE}:
            self._straight = Straight(plan, self._context, given, _SLICE)
            self._add_runner()
        else:
            self._schedule(len(given), given)
            self.wake()

    def wake(self) -> None:
        """See soon what there is to do."""
        if not self._is_awake:
            self._is_awake = True
            self._loop.call_soon(self._work)

    def nest(self) -> None:
        """A node of another execution waits for this one, which must not wait for the slot of that node."""
        if not self._is_nested:
            self._is_nested = True
            self.wake()

    def is_running(self, aio_task: asyncio.Task[Any] | None) -> bool:
        """Whether `aio_task` is that of a node of this execution."""
        return aio_task in self._runners

    def running_keys(self) -> list[str]:
        """The keys of the nodes that are being computed."""
        inside = [runner.get_name() for runner in self._runners if runner.task is not None]
        inside += [key_of(bundle.current) for bundle in self._bundles]
        return sorted([*inside, *(call.key for _, call in self.running.values())])

    def counts(self) -> list[int]:
        """How many nodes are in each of the scheduler's states."""
        counts = [0] * len(STATES)
        if self._states is not None:
            for state in self._states:
                counts[state] += 1
        elif self._straight is not None:
            position = self._straight.position
            counts[FINISHED] = position
            counts[RUNNING] = int(self._straight.is_inside)
            counts[WAITING] = len(self._plan.nodes) - position - counts[RUNNING]
        return counts

    def stop(self) -> None:
        """Begin nothing more, and stop what is running; it is over when that has ended."""
        if self.is_stopping:
            return
        self.is_stopping = True
        self._lanes.forget(self)
        steps: list[Callable[[], object]] = [self._leave_straight, self._cancel_tasks, self._drop_coroutines]
        steps += [partial(self._lanes[lane].executor.cancel, call) for lane, call in self.running.values()]
        steps += [self._cancel_runners, self._take_bundles_back, self._drop_calls]
        for step in steps:
            try:
                step()
            except Exception as error:
                self._break_off(error)
        self.wake()

    def abandon(self) -> None:
        """The loop is gone: nothing can be done any more, nor need asyncio complain of each task."""
        self.is_over = True
        for runner in self._runners:
            runner.silence()

    def outcome_of(self, node: Node[Any]) -> tuple[Any, BaseException | None]:
        """`(value, None)` or `(None, error)` for an output, when the execution is over."""
        if self._straight is not None:
            return self._straight.values[node], None
        return self._outcome(self._number[node])

    # -- the straight way, and the end of it

    async def _go_straight(self, runner: Runner, straight: Straight) -> None:
        outcome = await straight.walk(runner, self._cover)
        if self._straight is not None and not straight.is_done:
            self._leave_straight()
        if outcome is not None:
            value, error = outcome
            task, runner.task = runner.task, None
            assert task is not None
            self._settle(task, self.scheduler.lanes[task], value, self._error_of(runner, error))

    def _cover(self, runner: Runner) -> bool:
        """Before coroutines in a slice: get a slot, and see to it that one that suspends is noticed."""
        self.wake()
        return runner.has_slot or self._claim_for(runner)

    def _leave_straight(self) -> None:
        """Make a scheduler of what has been done so far; the node that is being computed is running."""
        straight, self._straight = self._straight, None
        if straight is None:
            return
        straight.is_left = True
        self._schedule(straight.position, straight.values)
        if straight.is_inside:
            (runner,) = self._runners
            lane = self._lane_of[self.nodes[straight.position]._function]
            runner.task = self.scheduler.take(lane)
            assert runner.task == straight.position
            self.scheduler.consume(runner.task)

    def _schedule(self, finished: int, results: Mapping[Node[Any], Any]) -> None:
        plan = self._plan
        self._number = number = plan.number
        self.scheduler = Scheduler(
            plan.dependencies,
            plan.dependents,
            list(map(self._lane_of.__getitem__, map(attrgetter("_function"), plan.nodes))),
            plan.outputs,
            finished,
            {number[node]: value for node, value in results.items()},
        )
        self._is_scheduled = True
        self._states = self.scheduler.state
        self._note_queues()

    def _note_queues(self) -> None:
        scheduler = self.scheduler
        self._off_runners = [
            queue
            for lane in scheduler.ready
            if lane != COROUTINE
            for queue in (scheduler.ready[lane], scheduler.producers[lane])
        ]
        self._off_runners.append(self._calls)
        self._backlogs = [
            (scheduler.ready[lane], self._lanes[lane].slots.capacity)
            for lane in self._lanes.with_slots
            if lane in scheduler.ready
        ]
        self._backlogs.append((self._coroutines, self._coroutine_slots.capacity))

    # -- what is ready

    def _work(self) -> None:
        self._is_awake = False
        self._until = None
        if self.is_over:
            return
        try:
            if self._straight is not None and self._straight.is_inside:
                self._leave_straight()  # its node is suspended
            if self._is_scheduled and not self.is_stopping:
                self._begin_what_is_ready()
                self._add_runners()
                if not self._is_awake:
                    self._lanes.renounce(self)
                self._check_progress()
        except BaseException as error:
            self._break_off(error)
            if not isinstance(error, Exception):
                raise  # Ctrl-C, in the midst of our own work: it is the loop's to pass on
        self._check_over()

    def _begin_what_is_ready(self) -> None:
        """Begin all that is not for runners, until the slice is over."""
        until = self._until or time.monotonic() + _SLICE
        while any(self._off_runners) and not self.is_stopping:
            has_begun = self._fill_slots(until)
            task = self._take(INLINE)
            if task is not None:
                self._call_inline(task)
            elif not has_begun:
                break  # what is ready has no slot: it is woken for one
            self._open_slice()
            if time.monotonic() > until:
                break

    def _open_slice(self) -> None:
        """Something has been done: the time for more in this turn of the loop is limited from now on."""
        if self._until is None:
            self._until = time.monotonic() + _SLICE
            self.wake()  # `_work` ends the slice, in the next turn

    def _fill_slots(self, until: float) -> bool:
        """Begin what finds a slot of an executor; whether that was anything."""
        has_begun = False
        for lane in (PROCESS, THREAD):
            while self._has_call(lane) and self._claim(lane):
                self._start(lane)
                has_begun = True
                # After the first, so that there is progress on a machine that hardly lets us run, too.
                if time.monotonic() > until:
                    return True
        return has_begun

    def _has_call(self, lane: int) -> bool:
        """Whether there is anything to begin in `lane`."""
        scheduler = self.scheduler
        if scheduler.is_ready(lane) and (scheduler.backlog(lane) or not self._is_congested()):
            return True
        return bool(self._coroutines if lane == COROUTINE else self._calls if lane == THREAD else ())

    def _take(self, lane: int) -> int | None:
        """The first task of `lane` that need not wait."""
        scheduler = self.scheduler
        hold = bool(scheduler.producers.get(lane)) and self._is_congested()
        return scheduler.take(lane, hold_producers=hold)

    def _is_congested(self) -> bool:
        """Whether producers are to wait, because what they feed waits for slots already.

        Their products would only pile up in memory.
        """
        for queue, capacity in self._backlogs:  # noqa: SIM110 - half of what `any` with a generator costs
            if len(queue) >= capacity:
                return True
        return False

    def _claim(self, lane: int) -> bool:
        # In a run inside a node, the slot that its first call would wait for may be the one that this
        # node has: it takes one even if none is free.
        must_have = self._is_nested and not self._held[lane]
        has_slot = self._lanes[lane].slots.claim(self, must_have=must_have)
        self._held[lane] += has_slot
        return has_slot

    def _give_back(self, lane: int) -> None:
        self._held[lane] -= 1
        self._lanes[lane].slots.give_back()

    def _check_progress(self) -> None:
        """An execution that waits for nothing would wait for ever: rather than hang, say so."""
        if self.running or self._bundles or self._runners or self._is_awake or self._lanes.will_wake(self):
            return
        if self.scheduler.remaining:
            raise AssertionError(f"{self.scheduler.remaining} tasks remain, and it waits for nothing")

    # -- coroutines

    def _add_runners(self) -> None:
        """Let runners take coroutines that are ready, if all those there are have suspended in one.

        Twice as many as last time: if they suspend, a thousand are at work after ten turns of the loop;
        if they do not, one takes them all, and none was made in vain.
        """
        if self._waiting_turn:
            return
        for _ in range(self._new_runners):
            if not (self._has_call(COROUTINE) and self._claim(COROUTINE)):
                return
            self._add_runner(has_slot=True)
            self._waiting_turn += 1
        self._new_runners *= 2

    def _add_runner(self, *, has_slot: bool = False) -> None:
        runner = Runner(self._run_coroutines(), self._context, self._loop, self._name_of)
        runner.has_slot = has_slot
        self._runners.add(runner)

    async def _run_coroutines(self) -> None:
        """What a runner does."""
        runner = asyncio.current_task()
        assert isinstance(runner, Runner)
        runner.has_begun = True
        self._waiting_turn -= runner.has_slot
        try:
            if runner.was_cancelled:
                raise asyncio.CancelledError
            if self._straight is not None:
                await self._go_straight(runner, self._straight)
            if self._is_scheduled:
                await self._serve(runner)
        except asyncio.CancelledError as error:
            self._give_up(error)  # not by us: the loop is being shut down, and cancels all of its tasks
        except GeneratorExit:
            self.abandon()  # the runner is being thrown away: its loop is gone
            raise
        except BaseException as error:
            self._break_off(error)
            if not isinstance(error, Exception):
                self._loop.call_soon(_raise, error)
        finally:
            if not self.is_over:
                self._end(runner)

    async def _serve(self, runner: Runner) -> None:
        """Take coroutines that are ready, one after another, until none is."""
        slots = self._coroutine_slots
        while runner.has_slot or (self._has_call(COROUTINE) and self._claim_for(runner)):
            coroutine = self._next_coroutine()
            if coroutine is None:
                return
            runner.task, function, args, kwargs = coroutine
            del coroutine
            if self._until is None:
                self._open_slice()
            try:
                value, error = await function(*args, **kwargs), None
            except BaseException as raised:
                value, error = None, failure_in(runner, raised, self.nodes[runner.task])
            del args, kwargs
            is_clean = runner.is_clean()
            if not is_clean:
                error = self._error_of(runner, error)
            task, runner.task = runner.task, None
            self._settle(task, COROUTINE, value, error)
            del value, error
            if not is_clean:
                return
            if slots.waiting and slots.is_wanted_besides(self):
                # After one node it is the turn of another run.
                runner.has_slot = False
                self._give_back(COROUTINE)
            if self._off_runners and any(self._off_runners):
                self._begin_what_is_ready()
            if self._until is not None and time.monotonic() > self._until:
                await self._next_turn()

    async def _next_turn(self) -> None:
        self._waiting_turn += 1
        try:
            await turn()
        finally:
            self._waiting_turn -= 1

    def _next_coroutine(self) -> _Coroutine | None:
        """The first coroutine that is ready."""
        while not self.is_stopping:
            if self._coroutines:
                return self._coroutines.popleft()
            task = self.scheduler.take(COROUTINE, hold_producers=self._is_congested())
            if task is None:
                break
            node = self.nodes[task]
            if not node._dependencies:
                return task, node._function.call, node._args, node._kwargs
            prepared = self._prepare(task)
            if prepared is not None:
                function, args, kwargs = prepared
                return task, function.call, args, kwargs
        return None

    def _claim_for(self, runner: Runner) -> bool:
        runner.has_slot = self._claim(COROUTINE)
        return runner.has_slot

    def _error_of(self, runner: Runner, error: BaseException | None) -> BaseException | None:
        """The error of a node that has ended with this one, or none, and left the runner not clean."""
        if error is None and not self.is_stopping and runner.is_to_be_cancelled():
            return asyncio.CancelledError()
        return error

    def _name_of(self, runner: Runner) -> str:
        if self._straight is not None and not self._straight.is_done:
            return key_of(self.nodes[self._straight.position])
        return "asyncgraph" if runner.task is None else key_of(self.nodes[runner.task])

    def _cancel_runners(self) -> None:
        for runner in list(self._runners):
            if runner.task is not None:
                runner.cancel()

    def _end(self, runner: Runner) -> None:
        self._runners.discard(runner)
        if runner.has_slot:
            self._give_back(COROUTINE)
        self.wake()
        self._check_over()

    # -- calls

    def _start(self, lane: int) -> None:
        """Begin a task, with the slot of `lane` that has been claimed."""
        if lane == THREAD:
            self._start_bundle()
            return
        task = self._take(lane)
        assert task is not None
        prepared = self._prepare(task)
        if prepared is None:
            self._give_back(lane)
            return
        function, args, kwargs = prepared
        self._call(task, function.call, args, kwargs, lane)

    def _call(
        self,
        task: int,
        function: Callable[..., Any],
        args: tuple[Any, ...],
        kwargs: Mapping[str, Any],
        lane: int,
    ) -> None:
        """Hand a call to the executor of `lane`, of which it has a slot."""
        key, deliver = key_of(self.nodes[task]), partial(self._delivered, task, lane)
        call = Call(function, args, kwargs, self._context.copy(), key, deliver)
        try:
            executor = self._lanes[lane].executor
        except Exception as error:  # it could not be made, for instance on Windows
            self._give_back(lane)
            self._fail(task, lane, error)
            return
        self.running[task] = lane, call
        try:
            executor.start(call)
        except BaseException:
            # It must not raise, and will not deliver now.
            if self.running.pop(task, None) is not None:
                self._give_back(lane)
            raise

    def _call_inline(self, task: int) -> None:
        prepared = self._prepare(task)
        if prepared is not None:
            # The outcome in no variable: this frame is behind those in the traceback of an error.
            self._settle(task, INLINE, *self._outcome_inline(task, *prepared))

    def _outcome_inline(
        self, task: int, function: Function, args: tuple[Any, ...], kwargs: Mapping[str, Any]
    ) -> tuple[Any, BaseException | None]:
        try:
            return self._context.copy().run(function.call, *args, **kwargs), None
        except BaseException as error:
            return None, failure_on_loop(error, key_of(self.nodes[task]))

    def _prepare(self, task: int) -> tuple[Function, tuple[Any, ...], Mapping[str, Any]] | None:
        """The call with its arguments resolved; None if that failed, and with it the task."""
        node, scheduler = self.nodes[task], self.scheduler
        args, kwargs = node._args, node._kwargs
        if not node._dependencies:
            return node._function, args, kwargs
        try:
            if node._dependencies is args:  # the usual case, without a detour by the nodes' numbers
                results = scheduler.results
                args = tuple([results[each] for each in scheduler.dependencies[task]])
            else:
                args, kwargs = resolve(node, self._value_of)
        except BaseException as error:  # for instance for a list as the value of a node in a set
            scheduler.consume(task)
            self._fail(task, scheduler.lanes[task], failure_on_loop(error, key_of(node)))
            return None
        scheduler.consume(task)
        return node._function, args, kwargs

    def _value_of(self, node: Node[Any]) -> Any:
        return self.scheduler.results[self._number[node]]

    def _delivered(self, task: int, lane: int, value: Any, error: BaseException | None) -> None:
        """What an executor calls with an outcome."""
        try:
            del self.running[task]
            self._give_back(lane)
            self._settle(task, lane, value, error)
        except BaseException as internal:
            self._break_off(internal)
            if not isinstance(internal, Exception):
                raise
        self.wake()

    # -- bundles of calls for threads

    def _start_bundle(self) -> None:
        """Hand calls to a thread, with the slot that has been claimed."""
        calls = self._next_calls()
        if not calls:
            self._give_back(THREAD)
            return
        bundle = Bundle(calls, self._context)
        # The bundle enters contexts itself, one for each call.
        call = Call(bundle, (), NO_KWARGS, contextvars.Context(), "", partial(self._bundle_delivered, bundle))
        try:
            executor = self._lanes[THREAD].executor
        except Exception as error:
            self._give_back(THREAD)
            for task, *_ in calls:
                self._settle(task, THREAD, None, error)
            return
        self._bundles[bundle] = call
        try:
            executor.start(call)
        except BaseException:
            if self._bundles.pop(bundle, None) is not None:
                self._give_back(THREAD)
            raise
        if len(calls) > 1 and self._watch is None:
            self._watch = self._loop.call_later(_PATIENCE, self._look_at_bundles)

    def _next_calls(self) -> list[Prepared]:
        """The first call that is ready, or so many that are short that they are worth a hand-over."""
        calls: list[Prepared] = []
        seconds = 0.0
        while not self.is_stopping and (prepared := self._next_call()) is not None:
            function = prepared[2]
            if not is_short(function):
                if calls:
                    self._calls.appendleft(prepared)
                else:
                    calls.append(prepared)
                break
            mean = function.durations.mean or 0.0
            if not calls:
                slots = self._lanes[THREAD].slots
                seconds = share(mean, len(self._calls) + self.scheduler.ready_count(THREAD), slots.free + 1)
            calls.append(prepared)
            seconds -= mean
            if seconds <= 0:
                break
        return calls

    def _next_call(self) -> Prepared | None:
        """The first call that is ready for a thread."""
        if self._calls:
            return self._calls.popleft()
        while not self.is_stopping and (task := self._take(THREAD)) is not None:
            prepared = self._prepare(task)
            if prepared is None:
                continue
            function, args, kwargs = prepared
            if function.is_dynamic and is_async(args[0]):
                self._coroutines.append((task, args[0], args[1:], kwargs))
                self.wake()
                continue
            return task, self.nodes[task], function, args, kwargs
        return None

    def _bundle_delivered(self, bundle: Bundle, _: Any, error: BaseException | None) -> None:
        """What the executor calls when a thread is through with a bundle."""
        try:
            del self._bundles[bundle]
            self._give_back(THREAD)
            # What is left: behind a call that failed, or everything, if the executor could not begin.
            left = bundle.take_back()
            assert bundle.done or not left or error is not None, (
                "an executor has not called what it was given"
            )
            self._collect(bundle)
            if error is None:
                self._calls += left
            else:
                for task, *_ in left:
                    self._settle(task, THREAD, None, error)
            if self.is_stopping:
                self._drop_calls()
        except BaseException as internal:
            self._break_off(internal)
            if not isinstance(internal, Exception):
                raise
        self.wake()

    def _collect(self, bundle: Bundle) -> None:
        """Take the outcomes that are there."""
        done = bundle.done
        while done:
            # In no variable: see above.
            self._settle_done(*done.popleft())

    def _settle_done(self, task: int, value: Any, error: BaseException | None) -> None:
        self._settle(task, THREAD, value, error)

    def _look_at_bundles(self) -> None:
        """One that takes longer than was expected: what waits in it goes elsewhere, what is done counts."""
        self._watch = None
        try:
            for bundle in list(self._bundles):
                if time.monotonic() - bundle.began >= _PATIENCE:
                    self._calls += bundle.take_back()
                self._collect(bundle)
            if any(bundle.pending for bundle in self._bundles):
                self._watch = self._loop.call_later(_PATIENCE, self._look_at_bundles)
        except Exception as error:
            self._break_off(error)
        self.wake()

    def _take_bundles_back(self) -> None:
        for bundle in self._bundles:
            self._calls += bundle.take_back()

    def _drop_calls(self) -> None:
        while self._calls:
            self.scheduler.stop(self._calls.popleft()[0])

    # -- outcomes

    def _settle(self, task: int, lane: int, value: Any, error: BaseException | None) -> None:
        if (
            error is None
            and not self.is_stopping
            and (type(value) in ATOMS or not isinstance(value, UNUSUAL))
        ):
            finished = self.scheduler.finish(task, value)
            if self._on_output is not None:
                self._announce(finished)
        elif self.is_stopping:
            self._settle_stopped(task, value, error)
        elif isinstance(error, asyncio.CancelledError):
            # Not by us: the loop is being shut down, and cancels all of its tasks.
            self.scheduler.stop(task)
            self._give_up(error)
        elif error is not None:
            self._fail(task, lane, error)
        elif isinstance(value, Node):
            self._expand(task, lane, value)
        else:
            # A coroutine, from a plain function that returned one, as `lambda: fetch(url)` does.
            self._coroutines.append((task, _awaiting, (value,), NO_KWARGS))
            self.wake()

    def _settle_stopped(self, task: int, value: Any, error: BaseException | None) -> None:
        self.scheduler.stop(task)
        if type(value) is CoroutineType:
            value.close()
        if error is None or isinstance(error, asyncio.CancelledError) or error is self.failure:
            return
        key = key_of(self.nodes[task])
        if self.failure is not None and not isinstance(self.failure, asyncio.CancelledError):
            about = f"asyncgraph: while the rest was being stopped, node {key} failed too: {safe_repr(error)}"
            add_note(self.failure, about)
        else:
            message = f"asyncgraph: node {key} failed while its run was being cancelled"
            self._loop.call_exception_handler({"message": message, "exception": error})

    def _drop_coroutines(self) -> None:
        while self._coroutines:
            task, function, args, _ = self._coroutines.popleft()
            self.scheduler.stop(task)
            if function is _awaiting:
                args[0].close()

    def _fail(self, task: int, lane: int, error: BaseException) -> None:
        path = path_to(task, self.nodes, self.scheduler)
        describe(error, self.nodes[task], path, EXECUTORS[lane])
        self._errors[task] = error
        failed = [task, *self.scheduler.fail(task)]
        if self._keep_going and isinstance(error, Exception):
            self._announce(failed)
        else:
            self._give_up(error)

    def _give_up(self, failure: BaseException) -> None:
        if self.failure is None:
            self.failure = failure
        self.stop()

    def _expand(self, task: int, lane: int, root: Node[Any]) -> None:
        """The task's function has returned a node: compute that in its place."""
        if self.nodes is self._plan.nodes:  # which other runs may share
            self.nodes, self._number = self.nodes.copy(), self._number.copy()
        scheduler, number, first = self.scheduler, self._number, len(self.nodes)

        def is_at_hand(node: Node[Any]) -> bool:
            known = number.get(node)
            return known is not None and scheduler.state[known] not in (RELEASED, CANCELLED)

        new = in_dependency_order([root], is_at_hand)
        added = {node: first + offset for offset, node in enumerate(new)}
        edges = [
            tuple([added[each] if each in added else number[each] for each in node._dependencies])
            for node in new
        ]
        lanes = [self._lanes.number_of(node._function) for node in new]
        try:
            ended = scheduler.expand(task, edges, lanes, added[root] if new else number[root])
        except CycleError as error:
            self._fail(task, lane, error)
            return
        self.nodes.extend(new)
        number.update(added)
        self._note_queues()
        self._announce(ended)

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
        if scheduler.state[task] != FAILED:
            return scheduler.results[task], None
        origin = scheduler.behind[task]
        if scheduler.final(task) == origin:
            return None, self._errors[origin]
        path = path_to(task, self.nodes, scheduler)
        return None, not_run(self.nodes[task], path, self.nodes[origin], self._errors[origin])

    # -- the end

    def _cancel_tasks(self) -> None:
        self.scheduler.cancel()

    def _check_over(self) -> None:
        """Conclude, if nothing is running and nothing will."""
        if self.is_over or self.running or self._bundles or self._runners:
            return
        if self._straight is not None:
            is_finished = self._straight.is_done
        else:
            is_finished = self._is_scheduled and not self.scheduler.remaining
        if is_finished or self._is_broken:
            self.is_over = True
            self._lanes.forget(self)
            self._on_over()
            self._let_go()

    def _break_off(self, error: BaseException) -> None:
        """Asyncgraph itself has failed, or was interrupted: end with that, rather than hang."""
        if self.is_over:
            message = "asyncgraph failed after the end of a run; please report this"
            self._loop.call_exception_handler({"message": message, "exception": error})
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
        if self._straight is not None:
            self._states = [FINISHED] * len(self.nodes)
            self._straight = None
        self._context = contextvars.Context()
        self._errors.clear()
        self.failure = None
        self._off_runners, self._backlogs = [], []
        if self._watch is not None:
            self._watch.cancel()
        if self._is_scheduled:
            self._is_scheduled = False
            del self.scheduler
        del self.nodes, self._plan, self._number, self._lane_of, self._on_output, self._on_over


async def _awaiting(coroutine: Coroutine[Any, Any, Any]) -> Any:
    """Await a coroutine that was made elsewhere."""
    return await coroutine


def _raise(error: BaseException) -> NoReturn:
    raise error
