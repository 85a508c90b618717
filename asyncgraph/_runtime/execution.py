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
from collections.abc import Callable, Mapping
from functools import partial
from types import CoroutineType
from typing import Any

from asyncgraph._graph.arguments import Template
from asyncgraph._graph.function import Function, is_async
from asyncgraph._graph.node import NO_KWARGS, Node, in_dependency_order, key_of
from asyncgraph._graph.plan import Plan
from asyncgraph._graph.scheduler import CANCELLED, FAILED, RELEASED, Scheduler
from asyncgraph._runtime.lanes import COROUTINE, EXECUTORS, INLINE, Lanes
from asyncgraph._runtime.notes import add_note, describe, not_run, path_to
from asyncgraph.errors import CycleError, InternalError
from asyncgraph.executors.base import Call
from asyncgraph.executors.loop import awaiting, call_inline, failure_on_loop
from asyncgraph.executors.safe_text import safe_repr

__all__ = ["Execution", "OnOutput", "current_execution", "is_inside"]

# Called with each requested node when it is over: its value, or its error.
OnOutput = Callable[[Node[Any], Any, BaseException | None], None]

# A call that turned out to be a coroutine: its task, and what to call.
_Coroutine = tuple[int, Callable[..., Any], tuple[Any, ...], Mapping[str, Any]]

# How long an execution works before it lets the loop serve others, in seconds: short beside the 10 ms
# that a service may stall, long beside the 20 µs that coming back costs.
_SLICE = 0.002

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

    Args:
        lanes: Where calls run.
        outputs: The nodes that are asked for.
        keep_going: After a failure, run on all that does not depend on it.
        on_output: Told about each output, in order of arrival, with its value or error; values are not
            kept then. None keeps them for `outcome_of`.
        on_over: Called, once, when the execution is over.

    Attributes:
        nodes: The nodes, by the scheduler's numbers.
        scheduler: The state; gone, as the nodes, when it is over.
        states: The state of each task, which stays.
        running: The calls that executors have, by number, with the lane in which each runs.
        failure: The error that the execution stopped for, or None.
        is_stopping: Whether nothing more is begun.
        is_over: Whether nothing of it is running any more, nor will be.
    """

    def __init__(
        self,
        lanes: Lanes,
        outputs: list[Node[Any]],
        *,
        keep_going: bool,
        on_output: OnOutput | None,
        on_over: Callable[[], None],
    ) -> None:
        plan = Plan(outputs)
        self.nodes = plan.nodes
        self.scheduler = Scheduler(
            plan.dependencies,
            plan.dependents,
            [lanes.number_of(node._function) for node in plan.nodes],
            plan.outputs,
        )
        self.states = self.scheduler.state
        self.running: dict[int, tuple[int, Call]] = {}
        self.failure: BaseException | None = None
        self.is_stopping = False
        self.is_over = False
        self._number = plan.number
        self._lanes = lanes
        self._keep_going = keep_going
        self._on_output = on_output
        self._on_over = on_over
        self._errors: dict[int, BaseException] = {}
        # Calls of functions that turned out to be coroutines, each waiting for a slot of their lane.
        self._coroutines: deque[_Coroutine] = deque()
        self._capacities = [(lane, lanes[lane].slots.capacity) for lane in lanes.with_slots]
        # By lane, the slots that it has.
        self._held = dict.fromkeys(lanes.with_slots, 0)
        self._is_broken = False
        self._is_awake = False
        self._loop = asyncio.get_running_loop()
        self._is_nested = current_execution() is not None
        self._context = contextvars.copy_context()
        self._context.run(_current.set, self)
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
        return any(call.handle is aio_task for _, call in self.running.values() if call.handle is not None)

    def stop(self) -> None:
        """Begin nothing more, and stop what is running; it is over when that has ended."""
        if self.is_stopping:
            return
        self.is_stopping = True
        self._lanes.forget(self)
        calls = [partial(self._lanes[lane].executor.cancel, call) for lane, call in self.running.values()]
        steps: list[Callable[[], object]] = [self.scheduler.cancel, self._drop_coroutines, *calls]
        for step in steps:
            try:
                step()
            except Exception as error:
                self._break_off(error)
        self.wake()

    def outcome_of(self, node: Node[Any]) -> tuple[Any, BaseException | None]:
        """`(value, None)` or `(None, error)` for an output, when the execution is over."""
        return self._outcome(self._number[id(node)])

    # -- what is ready

    def _work(self) -> None:
        self._is_awake = False
        if self.is_over:
            return
        try:
            if not self.is_stopping:
                self._begin_what_is_ready()
                self._check_progress()
        except BaseException as error:
            self._break_off(error)
            if not isinstance(error, Exception):
                raise  # Ctrl-C, in the midst of our own work: it is the loop's to pass on
        if not self.running and (self._is_broken or not self.scheduler.remaining):
            self.is_over = True
            self._lanes.forget(self)
            self._on_over()
            self._let_go()

    def _begin_what_is_ready(self) -> None:
        until = time.monotonic() + _SLICE
        while not self.is_stopping:
            has_begun = self._fill_slots(until)
            task = self._take(INLINE)
            if task is not None:
                self._call_inline(task)
            if time.monotonic() > until:
                self.wake()
                break
            if task is None and not has_begun:
                break
        if not self._is_awake:
            self._lanes.renounce(self)

    def _fill_slots(self, until: float) -> bool:
        """Begin what finds a slot; whether that was anything."""
        has_begun = False
        for lane in self._lanes.with_slots:
            while self._has_call(lane) and self._claim(lane):
                self._start(lane)
                has_begun = True
                # After the first, so that there is progress on a machine that hardly lets us run, too.
                if time.monotonic() > until:
                    return True
        return has_begun

    def _has_call(self, lane: int) -> bool:
        """Whether there is anything to begin in `lane`."""
        if self.scheduler.is_ready(lane) and (self.scheduler.backlog(lane) or not self._is_congested()):
            return True
        return lane == COROUTINE and bool(self._coroutines)

    def _take(self, lane: int) -> int | None:
        """The first task of `lane` that need not wait."""
        hold = bool(self.scheduler.producers.get(lane)) and self._is_congested()
        return self.scheduler.take(lane, hold_producers=hold)

    def _is_congested(self) -> bool:
        """Whether producers are to wait, because what they feed waits for slots already.

        Their products would only pile up in memory.
        """
        for lane, capacity in self._capacities:
            if self.scheduler.backlog(lane) >= capacity:
                return True
        return len(self._coroutines) >= self._lanes[COROUTINE].slots.capacity

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
        if self.running or self._is_awake or not self.scheduler.remaining or self._lanes.will_wake(self):
            return
        raise AssertionError(f"{self.scheduler.remaining} tasks remain, and it waits for nothing")

    # -- calls

    def _start(self, lane: int) -> None:
        """Begin a task, with the slot of `lane` that has been claimed."""
        if lane == COROUTINE and self._coroutines:
            self._call(*self._coroutines.popleft(), lane)
            return
        task = self._take(lane)
        assert task is not None
        prepared = self._prepare(task)
        if prepared is None:
            self._give_back(lane)
            return
        function, args, kwargs = prepared
        if function.is_dynamic and is_async(args[0]):
            self._coroutines.append((task, args[0], args[1:], kwargs))
            self._give_back(lane)
        else:
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
            function, args, kwargs = prepared
            key = key_of(self.nodes[task])
            # The outcome in no variable: this frame is behind those in the traceback of an error.
            self._settle(task, INLINE, *call_inline(function.call, args, kwargs, self._context.copy(), key))

    def _prepare(self, task: int) -> tuple[Function, tuple[Any, ...], Mapping[str, Any]] | None:
        """The call with its arguments resolved; None if that failed, and with it the task."""
        node = self.nodes[task]
        try:
            args = tuple([self._resolved(value) for value in node._args])
            kwargs = {name: self._resolved(value) for name, value in node._kwargs.items()}
        except BaseException as error:  # for instance for a list as the value of a node in a set
            self.scheduler.consume(task)
            self._fail(task, self.scheduler.lanes[task], failure_on_loop(error, key_of(node)))
            return None
        self.scheduler.consume(task)
        return node._function, args, kwargs

    def _resolved(self, value: Any) -> Any:
        if isinstance(value, Node):
            return self.scheduler.results[self._number[id(value)]]
        return value.fill(self._resolved) if type(value) is Template else value

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

    # -- outcomes

    def _settle(self, task: int, lane: int, value: Any, error: BaseException | None) -> None:
        if self.is_stopping:
            self._settle_stopped(task, value, error)
        elif isinstance(error, asyncio.CancelledError):
            # Not by us: the loop is being shut down, and cancels all of its tasks.
            self.scheduler.stop(task)
            self._give_up(error)
        elif error is not None:
            self._fail(task, lane, error)
        elif isinstance(value, Node):
            self._expand(task, lane, value)
        elif type(value) is CoroutineType:
            # From a plain function that returned one, as `lambda: fetch(url)` does.
            self._coroutines.append((task, awaiting, (value,), NO_KWARGS))
        else:
            self._announce(self.scheduler.finish(task, value))

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
            if function is awaiting:
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
        scheduler, number, first = self.scheduler, self._number, len(self.nodes)

        def is_at_hand(node: Node[Any]) -> bool:
            known = number.get(id(node))
            return known is not None and scheduler.state[known] not in (RELEASED, CANCELLED)

        new = in_dependency_order([root], is_at_hand)
        added = {id(node): first + offset for offset, node in enumerate(new)}
        edges = [
            tuple([added[id(each)] if id(each) in added else number[id(each)] for each in node._dependencies])
            for node in new
        ]
        lanes = [self._lanes.number_of(node._function) for node in new]
        try:
            ended = scheduler.expand(task, edges, lanes, added[id(root)] if new else number[id(root)])
        except CycleError as error:
            self._fail(task, lane, error)
            return
        self.nodes.extend(new)
        number.update(added)
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
        self._context = contextvars.Context()
        self._errors.clear()
        self.failure = None
        del self.scheduler, self.nodes, self._number, self._on_output, self._on_over
