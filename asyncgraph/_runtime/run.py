"""A run, as its owner sees it: something to await, to cancel, and to ask how far it is."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Generator, Mapping, Sequence
from contextvars import Context
from types import TracebackType
from typing import TYPE_CHECKING, Any, Generic, TextIO, TypeVar

from asyncgraph._graph.arguments import Template
from asyncgraph._graph.node import Node
from asyncgraph._graph.pieces import Pieces
from asyncgraph._graph.plan import Plan
from asyncgraph._runtime.execution import Execution, OnOutput, current_execution
from asyncgraph._runtime.interrupts import is_interrupted
from asyncgraph._runtime.lanes import Lanes
from asyncgraph._runtime.remains import Failure, Remains, Results
from asyncgraph._runtime.waiting import until_done
from asyncgraph.executors.loop import failure_on_loop
from asyncgraph.observe.statistics import Statistics

if TYPE_CHECKING:
    from asyncgraph._runtime.audience import Audience
    from asyncgraph._runtime.observed import View
    from asyncgraph._runtime.recorder import Recorder
    from asyncgraph.observe.entered import AnyObserver

__all__ = ["BeginAgain", "Run", "Statistics", "compute"]

T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)

BeginAgain = Callable[..., "Run[Any]"]
"""Called with the shape, the nodes that were asked for, what is left, and a runtime or None."""


class Run(Generic[T_co]):
    """One execution of a graph in the background; `await run` for its value.

    It behaves as an `asyncio.Task` does: awaiting it raises what failed, cancelling whoever awaits it
    cancels it, and a failure that nobody ever collects is reported by the loop's exception handler.
    `start(node)` makes one.
    """

    def __init__(
        self,
        lanes: Lanes,
        shape: Any,
        requested: Sequence[Node[Any]],
        planning: Pieces[Plan],
        given: Mapping[Node[Any], Any],
        *,
        timeout: float | None,
        return_exceptions: bool,
        on_output: OnOutput | None = None,
        begin_again: BeginAgain | None = None,
        remains: Remains | None = None,
        audience: Audience | None = None,
        runtime: Any = None,
    ) -> None:
        self._loop = asyncio.get_running_loop()
        self._shape = shape
        self._requested = requested
        self._return_exceptions = return_exceptions
        # What starts a run that goes on with this one, and with what; None where nothing is kept for that.
        self._begin_again = begin_again
        self._remains: Remains | None = None
        self._was_resumed = False
        self._began = time.monotonic()
        # The same on the clock of events.
        self._began_at = time.perf_counter()
        self._ended: float | None = None
        # Why it ends early, if not for the failure of a node: cancelled, or out of time.
        self._interruption: BaseException | None = None
        self._was_cancelled = False
        self._traceback: TracebackType | None = None
        self._over: asyncio.Future[T_co] = self._loop.create_future()
        self._waiters: set[asyncio.Future[None]] = set()
        self._callbacks: list[Callable[[Run[T_co]], object]] = []
        # Who is told of it, if anybody is, and what they see of it.
        self._audience = audience
        self._view: View | None = None
        self._timer = None if timeout is None else self._loop.call_later(timeout, self._expire, timeout)
        recorder = _recorder_for(audience, self._loop)
        # Last: if Ctrl-C strikes before it is there, nothing has begun.
        try:
            self._execution = Execution(
                lanes,
                requested,
                planning,
                given=given,
                keep_going=return_exceptions,
                on_output=on_output,
                on_over=self._conclude,
                is_resumable=begin_again is not None,
                remains=remains,
                recorder=recorder,
            )
        except BaseException:
            if self._timer is not None:
                self._timer.cancel()
            raise
        if audience is not None:
            self._tell_of_start(audience, runtime, recorder)

    def __await__(self) -> Generator[Any, None, T_co]:
        """The value of the node; raises its failure, or CancelledError if the run was cancelled."""
        value, error = yield from self.outcome().__await__()
        if error is not None:
            try:
                raise error
            finally:
                del error, self  # its traceback holds this frame: they would keep each other alive
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
        execution = self._execution
        if execution.is_over:  # Ctrl-C has struck when that was to be said
            self._loop.call_soon(self._conclude)
            return True
        if not execution.is_stopping:
            self._interruption = asyncio.CancelledError()
        execution.stop_soon()
        if is_interrupted() and not self._loop.is_closed():
            # The program is to end. It does at once if it was to before, when Ctrl-C came for the first time.
            execution.stop_again_soon(lets_go=self._was_cancelled)
        self._was_cancelled = True
        return True

    def done(self) -> bool:
        """Whether the run is over: finished, failed or cancelled, with nothing of it still running."""
        return self._over.done()

    def statistics(self) -> Statistics:
        """How far the run is."""
        counts = self._execution.counts()
        waiting, ready, running, finished, failed, not_run, cancelled, released = counts
        return Statistics(
            nodes=sum(counts),
            waiting=waiting,
            ready=ready,
            running=running,
            finished=finished + released,
            failed=failed,
            not_run=not_run,
            cancelled=cancelled,
            seconds=(self._ended or time.monotonic()) - self._began,
        )

    def dump(self, *, file: TextIO | None = None) -> None:
        """Write what the run is at: what runs where and since when, and what each waiting node waits for.

        First comes a line with its state, its age in seconds, and how many nodes are in each state. Then come
        the nodes that are running, with the lines that they are at and that they were built at; those that
        have been handed to a thread or worker process and have not begun; those between two attempts; those
        that wait for a slot; and those that wait for others. Of long lists the beginning is shown.

        It may be called at any time and from any thread, and changes nothing. It takes about a millisecond;
        of a million nodes, up to a second. What is said of worker processes is what this process has last
        heard of them. Of a plain function that is blocking the loop it may not be known since when.

        Args:
            file: Where to; by default `sys.stderr`.

        Raises:
            Exception: What `file` raises. Writing to `sys.stderr` raises nothing.

        Example:
            >>> import asyncio, sys
            >>> from asyncgraph import delayed, start
            >>> @delayed
            ... async def page_at(url):
            ...     await asyncio.sleep(3600)
            >>> run = start(delayed(len, executor="loop")(page_at("/home")))
            >>> await asyncio.sleep(0.1)
            >>> run.dump(file=sys.stdout)
            Run of len-1: running for ... s; 2 nodes: 1 running, 1 waiting
              running:
                page_at-1: on the loop, suspended for ... s
                  at ...
                  built at ...
              waiting:
                len-1: for page_at-1 (running)
            >>> run.cancel()
            True
        """
        from asyncgraph._runtime.writing import write

        write(self.description(), file)

    @property
    def results(self) -> Mapping[Node[Any], Any]:
        """The values that there are by now, by node.

        They are those of the nodes that were asked for, and of those that something still needs: a value is
        dropped when all that need it have finished. So a run that has failed or was cancelled has all that it
        takes to go on. Once it has finished whole, it keeps nothing but what `await run` gives.

        Values that only a cluster needs stay there, and to look one up raises RuntimeError: see `fetch`.

        Raises:
            RuntimeError: The run was resumed: its values are those of the new run now.
        """
        remains = self._kept()
        return {} if remains is None else Results(remains)

    async def fetch(self, node: Node[T]) -> T:
        """The value of a node that `results` has: brought here, if it has stayed on a cluster.

        What is brought here stays there as well, for whatever needs it, and is not kept here: to fetch it
        again brings it again. Cancelling this harms nothing.

        Args:
            node: A node of this run that has finished, and whose value is still needed.

        Raises:
            KeyError: The node has no value: it has not finished, or its value was dropped when nothing needed
                it any more; or it is none of this run; or the run has finished whole.
            RuntimeError: The run was resumed, or belongs to another event loop.
            WorkerCrashedError: The cluster has lost the value, or is gone.
            RuntimeClosedError: The client of the cluster is closed.
            SerializationError: The value does not pickle there, or does not unpickle here.

        Example:
            >>> from asyncgraph import delayed, start
            >>> @delayed
            ... def load(name):
            ...     return [name] * 3
            >>> data = load("a")
            >>> run = start(delayed(sum)(data))
            >>> try:
            ...     await run
            ... except TypeError:
            ...     print(await run.fetch(data))
            ['a', 'a', 'a']
        """
        self._refuse_other_loop()
        remains = self._kept()
        if remains is None:
            raise KeyError(f"{node!r} has no value: a run that has finished keeps what `await run` gives")
        value, error = await remains.fetch(remains.finished(node))
        if error is not None:
            try:
                raise error
            finally:
                del error, remains, self  # its traceback holds this frame, which would hold the run
        result: T = value
        return result

    @property
    def failures(self) -> list[Failure]:
        """What did not finish, and why; empty as long as the run goes on, and if it has finished whole.

        First the nodes that have failed themselves, in the order of the graph; then those that were not run
        because of that; then those that were cancelled.

        Raises:
            RuntimeError: The run was resumed.
        """
        remains = self._kept() if self._over.done() else None
        return [] if remains is None else remains.failures()

    def resume(
        self,
        *,
        timeout: float | None = None,
        return_exceptions: bool | None = None,
        runtime: Any = None,
    ) -> Run[T_co]:
        """Go on with a run that has failed or was cancelled, in a new one: only what is missing is run.

        What has failed is run again, with the same arguments; whatever was wrong may have been put right
        meanwhile. Values that have stayed on a cluster are used there, by this runtime or another that has an
        executor of the same name for the same cluster. If that cannot be, they count as missing.

        Args:
            timeout: As in `start`, for the new run.
            return_exceptions: Likewise; by default as in this run.
            runtime: Likewise.

        Raises:
            RuntimeError: The run is still going on, or has finished, or was resumed before.
            GraphError: The runtime has no executor for something that is missing.

        Example:
            >>> from asyncgraph import delayed, start
            >>> doors = {"open": False}
            >>> @delayed
            ... def enter(name):
            ...     if not doors["open"]:
            ...         raise PermissionError(name)
            ...     return name
            >>> run = start(enter(delayed("Ada")))
            >>> try:
            ...     await run
            ... except PermissionError:
            ...     doors["open"] = True
            ...     print(run.failures)
            ...     await run.resume()
            [<Failure enter-1 failed: PermissionError>]
            'Ada'
        """
        if self._begin_again is None:
            raise RuntimeError("only a run that `start` has made can be resumed")
        if not self._over.done():
            raise RuntimeError("this run is still going on: await it, or cancel it and await that, first")
        remains = self._kept()
        if not self._requested:
            raise RuntimeError("this run has finished: nothing of it is missing")
        keep_going = self._return_exceptions if return_exceptions is None else return_exceptions
        shape, requested = self._shape, self._requested
        run = self._begin_again(
            shape, requested, remains, runtime, timeout=timeout, return_exceptions=keep_going
        )
        self._was_resumed, self._remains = True, None
        return run

    def _kept(self) -> Remains | None:
        if self._was_resumed:
            raise RuntimeError("this run was resumed: ask the run that `resume` has returned")
        return self._remains if self._over.done() else self._execution.remains()

    def __repr__(self) -> str:
        state = "over" if self._over.done() else "stopping" if self._execution.is_stopping else "running"
        statistics = self.statistics()
        return f"<Run {state}, {statistics.finished} of {statistics.nodes} nodes finished>"

    # -- for the layers above

    @property
    def audience(self) -> Audience | None:
        """Who is told of it, until it is over; None if nobody is."""
        return self._audience

    def description(self) -> str:
        """What `dump` writes."""
        from asyncgraph._runtime.description import description_of

        return description_of(self._requested, self._state(), self.statistics, self._execution)

    def held_back(self, lane: int) -> int:
        """How many nodes of a lane are held back, because what they feed waits for slots."""
        return self._execution.held_back(lane)

    def still_stopping(self) -> list[str]:
        """The keys of the nodes that have not ended, if the run is being stopped; else none."""
        execution = self._execution
        return execution.overview.running_keys() if execution.is_stopping and not execution.is_over else []

    @property
    def age(self) -> float:
        """How long ago it was begun, in seconds."""
        return time.monotonic() - self._began

    def _state(self) -> str:
        """Whether it goes on, for a text in which its age follows."""
        execution = self._execution
        if self._over.done():
            return "over after"
        if execution.is_over or self._loop.is_closed():
            return "left behind by its loop, which is closed, since"
        if execution.is_stopping:
            reason = execution.failure or self._interruption
            why = "" if reason is None else f" because of {type(reason).__qualname__}"
            return f"stopping{why} after"
        return "running for"

    async def outcome(self) -> tuple[Any, BaseException | None]:
        """Wait until the run is over; `(value, None)` or `(None, error)`.

        The caller raises the error, so that its traceback shows one frame of asyncgraph and not all.

        Raises:
            asyncio.CancelledError: The caller was cancelled. The run has been, too, and is over.
        """
        self._refuse_other_loop()
        if current_execution() is self._execution and self._execution.is_running(asyncio.current_task()):
            raise RuntimeError("a node awaits the run that it is part of: each would wait for the other")
        if current_execution() is not None:
            self._execution.nest()
        cancelled = await self.until_over(on_cancel=self.cancel)
        error = self._interruption if self._over.cancelled() else self._over.exception()
        if cancelled is not None:
            try:
                raise cancelled
            finally:
                del cancelled, error
        if error is not None:
            # Every await raises with the frames of the failure, not with those of earlier awaits too.
            return None, BaseException.with_traceback(error, self._traceback)
        return self._over.result(), None

    def _refuse_other_loop(self) -> None:
        if asyncio.get_running_loop() is not self._loop:
            raise RuntimeError("this run belongs to another event loop: await it where it was started")

    async def until_over(self, *, on_cancel: Callable[[], object]) -> asyncio.CancelledError | None:
        """Wait until the run is over, however often the caller is cancelled meanwhile.

        Its outcome counts as not collected.

        Args:
            on_cancel: Called each time that the caller is cancelled.

        Returns:
            The first of these cancellations, for the caller to raise, or None.
        """
        if not self._over.done():
            # `until_done` with a future takes ten times as long as this, and another turn of the loop.
            waiter = self._loop.create_future()
            self._waiters.add(waiter)
            try:
                await waiter
            except asyncio.CancelledError as error:
                on_cancel()
                await until_done(self._over, on_cancel=on_cancel)
                return error
            finally:
                self._waiters.discard(waiter)
        return None

    async def aclose(self) -> None:
        """Cancel the run and wait until it is over; nobody asks for its outcome any more."""
        self.cancel()
        cancelled = await self.until_over(on_cancel=self.cancel)
        if not self._over.cancelled():
            self._over.exception()  # it counts as collected
        if cancelled is not None:
            raise cancelled

    def abandon(self) -> None:
        """The loop is gone, and nothing can be done any more."""
        self._execution.abandon()
        if not self._over.done():
            self._tell_of_end(asyncio.CancelledError())

    def add_done_callback(self, callback: Callable[[Run[T_co]], object]) -> None:
        """Call `callback(run)`, which must not raise, when the run is over; now, if it is."""
        # Not by the future, which would take a turn of the loop for it.
        if self._over.done():
            callback(self)
        else:
            self._callbacks.append(callback)

    # -- for those who observe it

    def _tell_of_start(self, audience: Audience, runtime: Any, recorder: Recorder | None) -> None:
        try:
            self._begin_to_tell(audience, runtime, recorder)
        except BaseException:  # Ctrl-C: nobody will ever have this run
            if recorder is not None:
                recorder.close()
            self._execution.stop()
            raise

    def _begin_to_tell(self, audience: Audience, runtime: Any, recorder: Recorder | None) -> None:
        from asyncgraph.observe.events import RunStarted

        outer = current_execution()
        inside = None if outer is None or outer.view is None else (outer.view, outer.overview.key_here())
        view = self._make_view(runtime, inside)
        audience.tell(RunStarted(view, view.began))
        if recorder is not None:
            recorder.begin(view, self._execution)

    def _make_view(self, runtime: Any, inside: tuple[View, str] | None) -> View:
        from asyncgraph._runtime.observed import View

        execution = self._execution
        self._view = execution.view = View(self, execution, self._requested, runtime, inside, self._began_at)
        return self._view

    def tell_of_end(self, observer: AnyObserver, runtime: Any, on_dropped: Callable[..., object]) -> View:
        """Tell an observer of the end of the run, which is going on; what it sees of it."""
        from asyncgraph._runtime.audience import Audience

        if self._audience is None:
            self._audience = Audience((), on_dropped)
        self._audience.add(observer)
        return self._view or self._make_view(runtime, None)

    def _tell_of_end(self, error: BaseException | None) -> None:
        if self._audience is None or self._view is None:
            return
        from asyncgraph.observe.events import RunFinished

        is_cancelled = isinstance(error, asyncio.CancelledError)
        state = "finished" if error is None else "cancelled" if is_cancelled else "failed"
        told = None if is_cancelled else error
        event = RunFinished(self._view, time.perf_counter(), state, told)
        try:
            # In a context of its own: this may be in the midst of a node.
            Context().run(self._audience.tell, event)
        finally:
            self._view.end()
            self._audience = None

    # -- the end

    def _expire(self, timeout: float) -> None:
        if not self._execution.is_stopping:
            running = self._execution.overview.running_keys()
            still = ", ".join(running[:5]) + (", ..." if len(running) > 5 else "")
            self._interruption = TimeoutError(
                f"not finished within {timeout:g} s; still running: {still or 'nothing'}"
            )
            self._execution.stop()

    def _conclude(self) -> None:
        if not self._over.done():
            self._ended = time.monotonic()
            if self._timer is not None:
                self._timer.cancel()
            error = self._settle()
            try:
                self._tell_of_end(error)
            finally:
                del error
                self._wake_waiters()
        self._wake_waiters()

    def _wake_waiters(self) -> None:
        for waiter in self._waiters:
            if not waiter.done():
                waiter.set_result(None)
        self._waiters.clear()
        while self._callbacks:
            self._callbacks.pop()(self)

    def _settle(self) -> BaseException | None:
        """Give the run its outcome; returns its error, CancelledError if it was cancelled."""
        # What stopped the execution first is its outcome; a fault of ours comes before all.
        error = self._execution.failure or self._interruption
        if error is None:
            try:
                self._over.set_result(self._final_value(self._shape))
            except BaseException as failure:  # for instance for a list as the value of a node in a set
                error = failure
        if isinstance(error, asyncio.CancelledError):
            self._interruption = error
            self._over.cancel()
        elif error is not None:
            error = failure_on_loop(error, "the requested value")
            self._traceback = error.__traceback__
            self._over.set_exception(error)
        self._keep_what_is_left()
        return error

    def _keep_what_is_left(self) -> None:
        """Keep what is of use to those who ask afterwards."""
        remains = self._execution.remains()
        if remains is not None and remains.is_missing_any():
            self._remains = remains
        elif self._begin_again is None or not (self._over.cancelled() or self._over.exception()):
            self._shape, self._requested = None, ()

    def _final_value(self, item: Any) -> Any:
        value_of = self._execution.final_value_of
        if isinstance(item, Node):
            return value_of(item)
        return item.fill(value_of, Node) if type(item) is Template else item


def _recorder_for(audience: Audience | None, loop: asyncio.AbstractEventLoop) -> Recorder | None:
    """What notes what happens to single nodes, if anybody wants to know."""
    if audience is None or not audience.wants_nodes:
        return None
    from asyncgraph._runtime.recorder import Recorder

    return Recorder(audience, loop)


async def compute(begin: Callable[[], Run[T_co]]) -> T_co:
    """Begin a run and wait for its value: the one frame of asyncgraph in the traceback of a failure."""
    run = begin()
    value, error = await run.outcome()
    if error is not None:
        try:
            raise error
        finally:
            del error, run  # the error's traceback holds this frame: they would keep each other alive
    result: T_co = value
    return result
