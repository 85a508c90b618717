"""The execution of a plan: what the scheduler says comes next, executors are made to do.

Everything here happens on the thread of the event loop, in short slices, so that the loop serves others
in between. An execution is over when nothing that it started is running any more, however it ends. Who
waits for that, and what they are told, is the business of `run`.
"""

from __future__ import annotations

import asyncio
import contextvars
import time
from collections.abc import Callable, Mapping
from functools import partial
from types import CoroutineType
from typing import Any

from asyncgraph._graph.arguments import Template
from asyncgraph._graph.function import Function, is_async
from asyncgraph._graph.node import Node, in_dependency_order, key_of
from asyncgraph._graph.plan import Plan
from asyncgraph._graph.scheduler import CANCELLED, FAILED, RELEASED, Scheduler
from asyncgraph._runtime.lanes import COROUTINE, INLINE, Lanes
from asyncgraph._runtime.notes import describe, not_run, path_to
from asyncgraph.errors import CycleError, InternalError
from asyncgraph.executors.base import Call
from asyncgraph.executors.loop import awaiting, call_inline

__all__ = ["Execution", "OnOutput"]

# Called with each requested node when it is over: its value, or its error.
OnOutput = Callable[[Node[Any], Any, BaseException | None], None]

# How long an execution works before it lets the loop serve others, in seconds: short beside the 10 ms
# that a service may stall, long beside the 20 µs that coming back costs.
_SLICE = 0.002

# The execution whose node is running, for code inside it.
_current: contextvars.ContextVar[Execution | None] = contextvars.ContextVar(
    "asyncgraph_execution", default=None
)


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
        scheduler: The state.
        running: The calls that executors have, by number, with the lane in which each runs.
        failure: The error that the execution stopped for, or None.
        is_stopping: Whether nothing more is begun.
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
        self.running: dict[int, tuple[int, Call]] = {}
        self.failure: BaseException | None = None
        self.is_stopping = False
        self._number = plan.number
        self._lanes = lanes
        self._keep_going = keep_going
        self._on_output = on_output
        self._on_over = on_over
        self._errors: dict[int, BaseException] = {}
        self._is_broken = False
        self._is_over = False
        self._is_awake = False
        self._loop = asyncio.get_running_loop()
        self._is_nested = _current.get() is not None
        self._context = contextvars.copy_context()
        self._context.run(_current.set, self)
        self.wake()

    def wake(self) -> None:
        """See soon what there is to do."""
        if not self._is_awake:
            self._is_awake = True
            self._loop.call_soon(self._work)

    def stop(self) -> None:
        """Begin nothing more, and stop what is running; it is over when that has ended."""
        if self.is_stopping:
            return
        self.is_stopping = True
        self.scheduler.cancel()
        for lane, call in list(self.running.values()):
            self._lanes[lane].executor.cancel(call)
        self.wake()

    def outcome_of(self, node: Node[Any]) -> tuple[Any, BaseException | None]:
        """`(value, None)` or `(None, error)` for an output, when the execution is over."""
        return self._outcome(self._number[id(node)])

    # -- what is ready

    def _work(self) -> None:
        self._is_awake = False
        if self._is_over:
            return
        try:
            if not self.is_stopping:
                self._begin_what_is_ready()
                self._check_progress()
        except Exception as error:
            self._break_off(error)
        if not self.running and (self._is_broken or not self.scheduler.remaining):
            self._is_over = True
            self._lanes.forget(self)
            self._context = contextvars.Context()
            self._on_over()

    def _begin_what_is_ready(self) -> None:
        until = time.monotonic() + _SLICE
        while not self.is_stopping:
            self._fill_slots(until)
            task = self.scheduler.take(INLINE)
            if task is None:
                break
            self._call_inline(task)
            if time.monotonic() > until:
                self.wake()
                break
        self._lanes.pass_on()

    def _fill_slots(self, until: float) -> None:
        scheduler, lanes = self.scheduler, self._lanes
        # Producers wait while what they would feed is waiting for slots already: their products would
        # only pile up in memory.
        hold = any(scheduler.backlog(lane) >= lanes[lane].slots.capacity for lane in lanes.with_slots)
        for lane in lanes.with_slots:
            while scheduler.backlog(lane) or (not hold and scheduler.is_ready(lane)):
                if self.is_stopping or time.monotonic() > until:
                    self.wake()
                    return
                if not lanes[lane].slots.claim(self, must_have=self._must_have(lane)):
                    break
                task = scheduler.take(lane, hold_producers=hold)
                assert task is not None
                self._start(task, lane)

    def _must_have(self, lane: int) -> bool:
        """Whether to take a slot even if none is free: for the first call of a run inside a node.

        The slot that it would wait for may be the one that this node has.
        """
        return self._is_nested and all(each != lane for each, _ in self.running.values())

    def _check_progress(self) -> None:
        """An execution that waits for nothing would wait for ever: rather than hang, say so."""
        waits = self.running or self._is_awake or not self.scheduler.remaining
        if not waits and not any(self.scheduler.is_ready(lane) for lane in self._lanes.with_slots):
            raise AssertionError(f"nothing is running or ready, {self.scheduler.remaining} tasks remain")

    # -- calls

    def _start(self, task: int, lane: int) -> None:
        """Begin a task that has a slot of `lane`."""
        prepared = self._prepare(task)
        if prepared is None:
            self._lanes[lane].slots.give_back()
            return
        function, args, kwargs = prepared
        if function.is_dynamic and is_async(args[0]):
            self._call(task, lane, COROUTINE, args[0], args[1:], kwargs)
        else:
            self._call(task, lane, lane, function.call, args, kwargs)

    def _call(
        self,
        task: int,
        slot: int,
        lane: int,
        function: Callable[..., Any],
        args: tuple[Any, ...],
        kwargs: Mapping[str, Any],
    ) -> None:
        """Hand a call to the executor of `lane`; it holds a slot of lane `slot`."""
        deliver = partial(self._delivered, task, slot)
        call = Call(function, args, kwargs, self._context.copy(), key_of(self.nodes[task]), deliver)
        try:
            executor = self._lanes[lane].executor
        except Exception as error:  # it could not be made, for instance on Windows
            self._lanes[slot].slots.give_back()
            self._fail(task, error)
            return
        self.running[task] = lane, call
        executor.start(call)

    def _call_inline(self, task: int) -> None:
        prepared = self._prepare(task)
        if prepared is not None:
            function, args, kwargs = prepared
            key = key_of(self.nodes[task])
            self._settle(task, *call_inline(function.call, args, kwargs, self._context.copy(), key))

    def _prepare(self, task: int) -> tuple[Function, tuple[Any, ...], Mapping[str, Any]] | None:
        """The call with its arguments resolved; None if that failed, and with it the task."""
        node = self.nodes[task]
        try:
            args = tuple([self._resolved(value) for value in node._args])
            kwargs = {name: self._resolved(value) for name, value in node._kwargs.items()}
        except Exception as error:  # for instance a list as the value of a node in a set
            self.scheduler.consume(task)
            self._fail(task, error)
            return None
        self.scheduler.consume(task)
        return node._function, args, kwargs

    def _resolved(self, value: Any) -> Any:
        if isinstance(value, Node):
            return self.scheduler.results[self._number[id(value)]]
        return value.fill(self._resolved) if type(value) is Template else value

    def _delivered(self, task: int, slot: int, value: Any, error: BaseException | None) -> None:
        """What an executor calls with an outcome."""
        try:
            del self.running[task]
            self._lanes[slot].slots.give_back()
            if self.is_stopping:
                self._settle_stopped(task, error)
            elif isinstance(error, asyncio.CancelledError):
                # Not by us: the loop is being shut down, and cancels all of its tasks.
                self.scheduler.stop(task)
                self._give_up(error)
            else:
                self._settle(task, value, error)
        except Exception as internal:
            self._break_off(internal)
        self.wake()

    # -- outcomes

    def _settle(self, task: int, value: Any, error: BaseException | None) -> None:
        if error is not None:
            self._fail(task, error)
        elif isinstance(value, Node):
            self._expand(task, value)
        elif type(value) is CoroutineType:
            # From a plain function that returned one, as `lambda: fetch(url)` does.
            self._lanes[COROUTINE].slots.claim(self, must_have=True)
            self._call(task, COROUTINE, COROUTINE, awaiting(value), (), {})
        else:
            self._announce(self.scheduler.finish(task, value))

    def _settle_stopped(self, task: int, error: BaseException | None) -> None:
        self.scheduler.stop(task)
        if error is None or isinstance(error, asyncio.CancelledError):
            return
        key = key_of(self.nodes[task])
        if self._errors and self.failure is not None:
            self.failure.add_note(
                f"asyncgraph: while the rest was being stopped, node {key} failed too: {error!r}"
            )
        else:
            message = f"asyncgraph: node {key} failed while its run was being cancelled"
            self._loop.call_exception_handler({"message": message, "exception": error})

    def _fail(self, task: int, error: BaseException) -> None:
        describe(error, self.nodes[task], path_to(task, self.nodes, self.scheduler))
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

    def _expand(self, task: int, root: Node[Any]) -> None:
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
            self._fail(task, error)
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

    def _break_off(self, error: Exception) -> None:
        """Asyncgraph itself has failed: end with that, rather than hang."""
        internal = InternalError(
            f"asyncgraph failed while running a graph: {error!r}. Please report this, with the traceback"
        )
        internal.__cause__ = error
        self._is_broken = True
        self.failure = internal
        self.stop()
        self.wake()
