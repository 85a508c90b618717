"""A run: one execution of a plan, from its first call to the outcome of its outputs.

A run asks the scheduler what comes next, hands it to an executor when a slot is free, and tells the
scheduler what became of it. Everything here happens on the thread of the event loop, in short slices,
so that the loop serves others in between. A run ends when nothing that it started is running any more,
however it ends.
"""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import sys
import time
from collections.abc import Callable, Generator, Mapping
from dataclasses import dataclass
from functools import partial
from types import CoroutineType, TracebackType
from typing import Any, Generic, TypeVar

from asyncgraph._graph.arguments import Template
from asyncgraph._graph.function import Function, is_async
from asyncgraph._graph.node import Node, in_dependency_order, key_of
from asyncgraph._graph.plan import Plan
from asyncgraph._graph.scheduler import CANCELLED, FAILED, RELEASED, STATES, Scheduler
from asyncgraph._runtime.lanes import COROUTINE, INLINE, Lanes
from asyncgraph._runtime.notes import describe, path_to
from asyncgraph.errors import CycleError, DependencyError, InternalError
from asyncgraph.executors.base import Call
from asyncgraph.executors.loop import awaiting, call_inline

__all__ = ["OnOutput", "Run", "Statistics", "compute", "current_run"]

T_co = TypeVar("T_co", covariant=True)

# Called with each requested node when it is over: its value, or its error.
OnOutput = Callable[[Node[Any], Any, BaseException | None], None]

# How long a run works before it lets the loop serve others, in seconds: short beside the 10 ms that a
# service may stall, long beside the 20 µs that coming back costs.
_SLICE = 0.002

# The run whose node is being executed, for code inside it.
current_run: contextvars.ContextVar[Run[Any] | None] = contextvars.ContextVar("current_run", default=None)


@dataclass(frozen=True, slots=True)
class Statistics:
    """How far a run is: how many nodes are in each state, and the seconds since it began."""

    nodes: int
    waiting: int
    ready: int
    running: int
    finished: int
    failed: int
    cancelled: int
    seconds: float


class Run(Generic[T_co]):
    """One execution of a graph in the background; `await run` for its value.

    It behaves as an `asyncio.Task` does: awaiting it raises what failed, cancelling whoever awaits it
    cancels it, and a failure that nobody ever collects is reported by the loop's exception handler.
    Made by `start(node)`.
    """

    def __init__(
        self,
        lanes: Lanes,
        shape: Any,
        outputs: list[Node[Any]],
        *,
        return_exceptions: bool = False,
        timeout: float | None = None,
        on_output: OnOutput | None = None,
    ) -> None:
        plan = Plan(outputs)
        self._loop = asyncio.get_running_loop()
        self._lanes = lanes
        self._shape = shape
        self._nodes = plan.nodes
        self._number = plan.number
        self._scheduler = Scheduler(
            plan.dependencies,
            plan.dependents,
            [lanes.number_of(node._function) for node in plan.nodes],
            plan.outputs,
        )
        self._return_exceptions = return_exceptions
        self._on_output = on_output
        self._is_nested = current_run.get() is not None
        self._context = contextvars.copy_context()
        self._context.run(current_run.set, self)
        self._running: dict[int, tuple[int, Call]] = {}
        self._errors: dict[int, BaseException] = {}
        self._first_failure: int | None = None
        self._interruption: BaseException | None = None
        self._traceback: TracebackType | None = None
        self._is_stopping = False
        self._is_broken = False
        self._is_awake = False
        self._began = time.monotonic()
        self._ended: float | None = None
        self._over: asyncio.Future[Any] = self._loop.create_future()
        self._timer = None if timeout is None else self._loop.call_later(timeout, self._expire, timeout)
        self.wake()

    # -- for users

    def __await__(self) -> Generator[Any, None, T_co]:
        """The value of the node; raises its failure, or CancelledError if the run was cancelled."""
        value, error = yield from self.outcome().__await__()
        if error is not None:
            try:
                raise error
            finally:
                del error
        result: T_co = value
        return result

    def cancel(self) -> bool:
        """Stop everything that this run is doing; awaiting it then raises CancelledError.

        Coroutines are cancelled, worker processes killed, threads waited for.

        Returns:
            False if the run was over already, and nothing was cancelled.
        """
        if self._over.done():
            return False
        if self._interruption is None and self._first_failure is None:
            self._interruption = asyncio.CancelledError()
        self._stop()
        return True

    def done(self) -> bool:
        """Whether the run is over: finished, failed or cancelled, with nothing of it still running."""
        return self._over.done()

    def statistics(self) -> Statistics:
        """How far the run is."""
        counts = [0] * len(STATES)
        for state in self._scheduler.state:
            counts[state] += 1
        waiting, ready, running, finished, failed, cancelled, released = counts
        return Statistics(
            nodes=sum(counts),
            waiting=waiting,
            ready=ready,
            running=running,
            finished=finished + released,
            failed=failed,
            cancelled=cancelled,
            seconds=(self._ended or time.monotonic()) - self._began,
        )

    def __repr__(self) -> str:
        state = "over" if self._over.done() else "stopping" if self._is_stopping else "running"
        statistics = self.statistics()
        return f"<Run {state}, {statistics.finished} of {statistics.nodes} nodes finished>"

    # -- for the layer above

    async def outcome(self) -> tuple[Any, BaseException | None]:
        """Wait until the run is over; `(value, None)` or `(None, error)`.

        The caller raises the error, so that its traceback shows one frame of asyncgraph and not all.

        Raises:
            asyncio.CancelledError: The caller was cancelled. The run has been, too, and is over.
        """
        if asyncio.get_running_loop() is not self._loop:
            raise RuntimeError("this run belongs to another event loop: await it where it was started")
        cancelled: asyncio.CancelledError | None = None
        while not self._over.done():
            try:
                await (self.until_over() if cancelled is None else self._until_over_shielded())
            except asyncio.CancelledError as error:
                cancelled = cancelled or error
                self.cancel()
        error = None if self._over.cancelled() else self._over.exception()
        if cancelled is not None:
            raise cancelled
        if self._over.cancelled():
            return None, self._interruption
        if error is not None:
            # Every await raises with the frames of the failure, not with those of earlier awaits too.
            return None, error.with_traceback(self._traceback)
        return self._over.result(), None

    async def until_over(self) -> None:
        """Wait until the run is over, whatever its outcome; cancelling the caller changes nothing of it."""
        await asyncio.wait((self._over,))

    async def _until_over_shielded(self) -> None:
        # An anyio cancel scope cancels again and again, once a turn of the loop, until its task has left
        # or is shielded. Where anyio has not been imported there are no such scopes.
        anyio = sys.modules.get("anyio")
        with anyio.CancelScope(shield=True) if anyio is not None else contextlib.nullcontext():
            await self.until_over()

    def add_done_callback(self, callback: Callable[[Run[T_co]], object]) -> None:
        """Call `callback(run)` soon after the run is over."""
        self._over.add_done_callback(lambda _: callback(self))

    # -- driving

    def wake(self) -> None:
        """See soon what there is to do."""
        if not self._is_awake:
            self._is_awake = True
            self._loop.call_soon(self._work)

    def _work(self) -> None:
        self._is_awake = False
        if self._over.done():
            return
        try:
            if not self._is_stopping:
                self._begin_what_is_ready()
                self._check_progress()
        except Exception as error:
            self._break_off(error)
        if not self._running and (self._is_broken or not self._scheduler.remaining):
            self._conclude()

    def _begin_what_is_ready(self) -> None:
        until = time.monotonic() + _SLICE
        while not self._is_stopping:
            self._fill_slots(until)
            task = self._scheduler.take(INLINE)
            if task is None:
                break
            self._call_inline(task)
            if time.monotonic() > until:
                self.wake()
                break
        self._lanes.pass_on()

    def _fill_slots(self, until: float) -> None:
        scheduler, lanes = self._scheduler, self._lanes
        # Producers wait while what they would feed is waiting for slots already: their products would
        # only pile up in memory.
        hold = any(scheduler.backlog(lane) >= lanes[lane].slots.capacity for lane in lanes.with_slots)
        for lane in lanes.with_slots:
            while scheduler.backlog(lane) or (not hold and scheduler.is_ready(lane)):
                must_have = self._is_nested and not any(each == lane for each, _ in self._running.values())
                if not lanes[lane].slots.claim(self, must_have=must_have):
                    break
                task = scheduler.take(lane, hold_producers=hold)
                assert task is not None
                self._start(task, lane)
                if time.monotonic() > until:
                    self.wake()
                    return

    def _start(self, task: int, lane: int) -> None:
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
        key, deliver = key_of(self._nodes[task]), partial(self._delivered, task, slot)
        call = Call(function, args, kwargs, self._context.copy(), key, deliver)
        self._running[task] = lane, call
        self._lanes[lane].executor.start(call)

    def _call_inline(self, task: int) -> None:
        prepared = self._prepare(task)
        if prepared is not None:
            function, args, kwargs = prepared
            key = key_of(self._nodes[task])
            value, error = call_inline(function.call, args, kwargs, self._context.copy(), key)
            self._settle(task, value, error)

    def _prepare(self, task: int) -> tuple[Function, tuple[Any, ...], Mapping[str, Any]] | None:
        """The call with its arguments resolved; None if that failed, and with it the task."""
        node = self._nodes[task]
        try:
            args = tuple([self._resolved(value) for value in node._args])
            kwargs = {name: self._resolved(value) for name, value in node._kwargs.items()}
        except Exception as error:
            # For instance a list as the value of a node in a set.
            self._scheduler.consume(task)
            self._fail(task, error)
            return None
        self._scheduler.consume(task)
        return node._function, args, kwargs

    def _resolved(self, value: Any) -> Any:
        if isinstance(value, Node):
            return self._scheduler.results[self._number[id(value)]]
        if type(value) is Template:
            return value.fill(self._resolved)
        return value

    def _delivered(self, task: int, slot: int, value: Any, error: BaseException | None) -> None:
        """What an executor calls with an outcome."""
        try:
            del self._running[task]
            self._lanes[slot].slots.give_back()
            if self._is_stopping:
                self._settle_stopped(task, error)
            elif isinstance(error, asyncio.CancelledError):
                # Not by this run: the loop is being shut down and cancels all its tasks.
                self._scheduler.stop(task)
                self.cancel()
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
            # A plain function that returned a coroutine, as `lambda: fetch(url)` does.
            self._lanes[COROUTINE].slots.claim(self, must_have=True)
            self._call(task, COROUTINE, COROUTINE, awaiting(value), (), {})
        else:
            self._announce(self._scheduler.finish(task, value))

    def _settle_stopped(self, task: int, error: BaseException | None) -> None:
        self._scheduler.stop(task)
        if error is None or isinstance(error, asyncio.CancelledError):
            return
        key = key_of(self._nodes[task])
        if self._first_failure is not None:
            about = f"asyncgraph: while the rest was being stopped, node {key} failed too: {error!r}"
            self._errors[self._first_failure].add_note(about)
        else:
            message = f"asyncgraph: node {key} failed while its run was being cancelled"
            self._loop.call_exception_handler({"message": message, "exception": error})

    def _fail(self, task: int, error: BaseException) -> None:
        node, scheduler = self._nodes[task], self._scheduler
        path = path_to(task, self._nodes, scheduler)
        describe(error, node, path, node._function.executor)
        self._errors[task] = error
        failed = [task, *scheduler.fail(task)]
        if self._return_exceptions and isinstance(error, Exception):
            self._announce(failed)
        elif self._first_failure is None:
            self._first_failure = task
            self._stop()

    def _expand(self, task: int, root: Node[Any]) -> None:
        """The task's function has returned a node: compute that in its place."""
        scheduler, number, first = self._scheduler, self._number, len(self._nodes)

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
            ended = scheduler.expand(task, edges, lanes, added.get(id(root), number.get(id(root), -1)))
        except CycleError as error:
            self._fail(task, error)
            return
        self._nodes.extend(new)
        number.update(added)
        self._announce(ended)

    def _announce(self, tasks: list[int]) -> None:
        """Tell who waits for single outputs about those among `tasks`, which are over."""
        if self._on_output is None:
            return
        for task in tasks:
            if task in self._scheduler.outputs:
                self._on_output(self._nodes[task], *self._outcome_of(task))
                self._scheduler.give_up(task)

    def _outcome_of(self, task: int) -> tuple[Any, BaseException | None]:
        scheduler = self._scheduler
        if scheduler.state[task] != FAILED:
            return scheduler.results[task], None
        origin = scheduler.behind[task]
        error = self._errors[origin]
        if scheduler.final(task) == origin:
            return None, error
        node, failed = self._nodes[task], key_of(self._nodes[origin])
        missed = DependencyError(
            f"{key_of(node)} was not run: {failed}, which it needs, failed with {error!r}",
            node=node._function.name,
            key=key_of(node),
            path=path_to(task, self._nodes, scheduler),
        )
        missed.__cause__ = error
        return None, missed

    # -- the end

    def _stop(self) -> None:
        """Start nothing more, and stop what is running; the run is over when that has ended."""
        if self._is_stopping:
            return
        self._is_stopping = True
        self._scheduler.cancel()
        for lane, call in list(self._running.values()):
            self._lanes[lane].executor.cancel(call)
        self.wake()

    def _expire(self, timeout: float) -> None:
        if not self._is_stopping:
            running = sorted(call.key for _, call in self._running.values())
            what = f"still running: {', '.join(running[:5])}{', ...' if len(running) > 5 else ''}"
            self._interruption = TimeoutError(f"not finished within {timeout:g} s; {what}")
            self._stop()

    def _check_progress(self) -> None:
        """A run that waits for nothing would wait for ever: that must not happen, so it must be said."""
        waits = self._running or self._is_awake or not self._scheduler.remaining
        if not waits and not any(self._scheduler.is_ready(lane) for lane in range(len(self._lanes))):
            raise AssertionError(f"nothing is running or ready: {self.statistics()}")

    def _break_off(self, error: Exception) -> None:
        """asyncgraph itself has failed: end the run with that, rather than hang."""
        internal = InternalError(
            f"asyncgraph failed while running a graph: {error!r}. Please report this, with the traceback"
        )
        internal.__cause__ = error
        self._is_broken = True
        self._first_failure = None
        self._interruption = internal
        self._stop()
        self.wake()

    def _conclude(self) -> None:
        self._ended = time.monotonic()
        if self._timer is not None:
            self._timer.cancel()
        self._lanes.forget(self)
        error = self._interruption
        if self._first_failure is not None:
            error = self._errors[self._first_failure]
        if error is None:
            try:
                self._over.set_result(self._final_value(self._shape))
            except Exception as failure:  # for instance a list as the value of a node in a set
                error = failure
        if isinstance(error, asyncio.CancelledError):
            self._over.cancel()
        elif error is not None:
            self._traceback = error.__traceback__
            self._over.set_exception(error)
        # What user code may hold on to, by the run, is the outcome alone.
        self._running.clear()
        self._context = contextvars.Context()

    def _final_value(self, item: Any) -> Any:
        if isinstance(item, Node):
            value, error = self._outcome_of(self._number[id(item)])
            return value if error is None else error
        return item.fill(self._final_value) if type(item) is Template else item


async def compute(begin: Callable[[], Run[T_co]]) -> T_co:
    """Begin a run and wait for its value: the one frame of asyncgraph in the traceback of a failure."""
    run = begin()
    value, error = await run.outcome()
    if error is not None:
        try:
            raise error
        finally:
            # The error's traceback holds this frame: without this they would keep each other alive.
            del error, run
    result: T_co = value
    return result
