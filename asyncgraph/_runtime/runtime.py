"""`Runtime`: what owns threads, worker processes and limits, for one event loop.

There is one explicit runtime per `async with` block, and one default runtime per loop, which is made on
first use and closed with the loop.
"""

from __future__ import annotations

import asyncio
import atexit
import contextlib
import contextvars
import inspect
import os
import time
import weakref
from collections.abc import AsyncGenerator, Coroutine, Iterable, Mapping, Sequence
from functools import partial
from types import TracebackType
from typing import TYPE_CHECKING, Any, NamedTuple, Self

from asyncgraph._graph.arguments import search
from asyncgraph._graph.node import Node
from asyncgraph._graph.plan import Plan
from asyncgraph._runtime.execution import OnOutput, current_execution, is_inside
from asyncgraph._runtime.lanes import Lanes
from asyncgraph._runtime.options import (
    check_seconds,
    checked_observers,
    context_variables,
    named_executors,
    whole_number,
)
from asyncgraph._runtime.planning import planned, planning
from asyncgraph._runtime.remains import Remains
from asyncgraph._runtime.run import Run, compute
from asyncgraph.errors import RuntimeClosedError
from asyncgraph.executors.base import Executor, usable_cores
from asyncgraph.observe.entered import AnyObserver, entered

if TYPE_CHECKING:
    from concurrent.futures import Executor as ConcurrentExecutor

    from asyncgraph.executors.remote import RunsCalls
    from asyncgraph.observe.events import ObservedRun

__all__ = [
    "Runtime",
    "Usage",
    "check_options",
    "check_request",
    "current_runtime",
    "going_on",
    "running_loop",
]

# Coroutines at once: a quarter of the 1 024 open files that systems usually allow, so that each may have a
# connection and more; and few enough that a graph of 100 000 downloads does not hold all their results.
_CONCURRENCY = 256

_ENDING = "this event loop is being closed: compute nodes before `asyncio.run`, or what else runs it, ends"

_entered: contextvars.ContextVar[Runtime | None] = contextvars.ContextVar("asyncgraph_runtime", default=None)


class Usage(NamedTuple):
    """How busy an executor is.

    Attributes:
        executor: "loop" for coroutines, "thread", "process", or the name of one of `executors`.
        used: How many slots are in use. It can exceed the capacity by nodes that compute others.
        capacity: How many there are.
        waiting: How many runs wait for one.
        held_back: How many nodes that could have one are held back, because what they feed waits for slots.
    """

    executor: str
    used: int
    capacity: int
    waiting: int
    held_back: int


class Runtime:
    """Owns the threads, the worker processes and the limits of a service; one per service.

    Inside its `async with` block, `node.compute()` and the like use it. Leaving the block waits for
    runs that are still going on, or cancels them if an exception leaves it, and ends all workers. Code
    whose context began outside the block (a request handler, beside the lifespan function that opened
    it) uses its methods or passes `runtime=`.

    Args:
        processes: How many worker processes at most; by default the cores that this process may use.
        threads: How many calls run at once in threads; by default the cores + 4, at most 32.
        concurrency: How many coroutines run at once; by default 256.
        max_tasks_per_worker: After so many calls a worker process is replaced; by default never.
        max_worker_memory: A worker process that has more bytes than this in memory is replaced when it has
            done the call that it is at; by default never. Linux only.
        context: Context variables whose values calls in worker processes are to see, as they were at
            `compute()`; each is at the top level of a module. Calls elsewhere see all variables anyway. A
            value that does not pickle makes these calls fail with SerializationError.
        executors: Executors of `concurrent.futures`, or whatever has their `submit`, by name, and those of
            asyncgraph: `DaskExecutor`, `RayExecutor`. Functions with `executor=` that name run there. As many
            calls are handed over at once as a pool has workers, as far as it tells (else one). Calls that
            have begun there cannot be stopped: a run that is cancelled waits for them, and `timeout=`, which
            counts from when a call is handed over, does so, too; clusters do not make it wait. They are the
            caller's: nobody else shuts them down. "process" replaces the worker processes.
        observers: Who is told of all runs on this runtime, beside those of the runs themselves; see
            `asyncgraph.observe`.

    Raises:
        TypeError: An argument is not a number, `context` no list of context variables, `observers` no list
            of what can be called, or `executors` no mapping of names to executors.
        ValueError: An argument is less than 1, no module has a name for a variable in `context`, or a name
            in `executors` is taken.

    Example:
        >>> from asyncgraph import Runtime, delayed
        >>> async with Runtime(threads=4) as runtime:
        ...     print(await delayed(sum)([1, 2, 3]))
        6
    """

    _HOW_ELSEWHERE = "use it where its `async with` block is, or leave out runtime= to use this loop's own"

    def __init__(
        self,
        *,
        processes: int | None = None,
        threads: int | None = None,
        concurrency: int = _CONCURRENCY,
        max_tasks_per_worker: int | None = None,
        max_worker_memory: int | None = None,
        context: Sequence[contextvars.ContextVar[Any]] = (),
        executors: Mapping[str, ConcurrentExecutor | RunsCalls] | None = None,
        observers: Iterable[AnyObserver] = (),
    ) -> None:
        cores = usable_cores()
        self._processes = whole_number("processes", cores if processes is None else processes)
        self._threads = whole_number("threads", min(32, cores + 4) if threads is None else threads)
        self._concurrency = whole_number("concurrency", concurrency)
        self._pool_options = {"max_tasks": max_tasks_per_worker, "max_memory": max_worker_memory}
        if max_tasks_per_worker is not None:
            whole_number("max_tasks_per_worker", max_tasks_per_worker)
        if max_worker_memory is not None:
            whole_number("max_worker_memory", max_worker_memory, of="number of bytes")
        self._context = context_variables(context)
        self._named = named_executors(executors)
        self._observers = checked_observers(observers)
        self._loop: asyncio.AbstractEventLoop | None = None
        self._lanes: Lanes | None = None
        self._runs: set[Run[Any]] = set()
        # If this is the default of a loop: those that are closed with it, since they have no block.
        self._others: weakref.WeakSet[Runtime] = weakref.WeakSet()
        self._is_closed = False
        self._pid = os.getpid()
        self._token: contextvars.Token[Runtime | None] | None = None

    # -- the block

    async def __aenter__(self) -> Self:
        """Open the runtime on the running loop.

        Raises:
            RuntimeError: It is open already.
            RuntimeClosedError: It has been closed: a runtime is opened once.
        """
        if self._loop is not None:
            if self._is_closed:
                raise RuntimeClosedError("this runtime is closed, and opens once; make a new Runtime")
            raise RuntimeError("this runtime is open already; open one Runtime in one `async with` block")
        self.open_on(running_loop())
        self._token = _entered.set(self)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Wait for the runs (cancel them, after an error), then end all workers."""
        token, self._token = self._token, None
        if token is not None:
            # ValueError: left in another context than entered in, where the variable is not ours.
            with contextlib.suppress(ValueError):
                _entered.reset(token)
        await self.aclose(cancel=error is not None)

    # -- running

    def compute(
        self,
        *nodes: Any,
        timeout: float | None = None,
        return_exceptions: bool = False,
        observers: Iterable[AnyObserver] = (),
    ) -> Coroutine[Any, Any, Any]:
        """The same as `asyncgraph.compute(...)`, on this runtime whatever the context."""
        check_request(nodes, timeout)
        options: dict[str, Any] = {"return_exceptions": return_exceptions}
        options["observers"] = checked_observers(observers)
        return compute(partial(self.begin, nodes, timeout=timeout, **options))

    def start(
        self,
        node: Any,
        *,
        timeout: float | None = None,
        return_exceptions: bool = False,
        observers: Iterable[AnyObserver] = (),
    ) -> Run[Any]:
        """The same as `asyncgraph.start(...)`, on this runtime whatever the context."""
        check_request((node,), timeout)
        options: dict[str, Any] = {"return_exceptions": return_exceptions}
        options["observers"] = checked_observers(observers)
        return self.begin((node,), timeout=timeout, is_resumable=True, **options)

    # -- observing

    def add_observer(self, observer: AnyObserver) -> None:
        """Let an observer be told of the runs that are begun from now on, and of workers.

        Raises:
            TypeError: It cannot be called.
        """
        self._observers = (*self._observers, *checked_observers((observer,)))

    def remove_observer(self, observer: AnyObserver) -> None:
        """Tell an observer of no further run; of those that are going on it is still told."""
        self._observers = tuple(each for each in self._observers if each is not observer)

    def tell_of_ends(self, observer: AnyObserver) -> list[ObservedRun]:
        """Let an observer be told when the runs that are going on now are over, but of no nodes of these.

        To be called on the loop of the runtime.

        Returns:
            These runs.
        """
        going_on = [run for run in self._runs if not run.done()]
        return [run.tell_of_end(observer, self, self.remove_observer) for run in going_on]

    def usage(self) -> list[Usage]:
        """How many slots there are for calls, and how many are in use; nothing before it is open."""
        lanes = self._lanes
        if lanes is None:
            return []
        return [
            Usage(
                lanes.name_of(number),
                (slots := lanes[number].slots).used,
                slots.capacity,
                len(slots.waiting),
                sum(run.held_back(number) for run in self._runs),
            )
            for number in reversed(lanes.with_slots)
        ]

    def begin(
        self,
        nodes: tuple[Any, ...],
        *,
        timeout: float | None = None,
        return_exceptions: bool = False,
        on_output: OnOutput | None = None,
        is_resumable: bool = False,
        observers: Sequence[AnyObserver] = (),
    ) -> Run[Any]:
        """Start a run for `nodes`, which `check_request` has seen; for the layer above.

        Raises:
            RuntimeError: No event loop is running, or not the one that this runtime belongs to.
            RuntimeClosedError: The runtime is closed, or was not opened.
            GraphError: The graph has inputs, which have no value here.
        """
        outputs: list[Node[Any]] = []
        request = nodes[0] if len(nodes) == 1 else nodes
        if isinstance(request, Node):
            outputs.append(request)
            shape = request
        else:
            shape = search(request, Node, outputs)
        lanes = self._usable_lanes()
        options: dict[str, Any] = {"timeout": timeout, "return_exceptions": return_exceptions}
        options["begin_again"] = _begin_again if is_resumable else None
        options["observers"] = observers
        return self._begin(lanes, shape, outputs, planning(outputs), {}, on_output=on_output, **options)

    def go_on(
        self, shape: Any, requested: Sequence[Node[Any]], remains: Remains | None, **options: Any
    ) -> Run[Any]:
        """Start a run that goes on with what another has left, or anew if there is nothing."""
        lanes = self._usable_lanes()
        options |= {"remains": remains, "begin_again": _begin_again}
        return self._begin(lanes, shape, requested, planning(requested), {}, **options)

    def begin_plan(self, shape: Any, plan: Plan, given: Mapping[Node[Any], Any], **options: Any) -> Run[Any]:
        """Start a run of a plan with the values of its inputs, for the layer above. Raises as `begin`."""
        lanes = self._usable_lanes()
        return self._begin(lanes, shape, plan.requested, planned(plan), given, **options)

    def _begin(self, *args: Any, observers: Sequence[AnyObserver] = (), **options: Any) -> Run[Any]:
        outer = current_execution()
        around = () if outer is None else outer.observers()
        if observers or self._observers or around or entered.get():
            from asyncgraph._runtime.audience import Audience

            everybody = *entered.get(), *self._observers, *around, *observers
            options |= {"audience": Audience(everybody, self.remove_observer), "runtime": self}
        run: Run[Any] = Run(*args, **options)
        self._runs.add(run)
        # By a method, so that a runtime which was made for this run alone is there for as long.
        run.add_done_callback(self._forget)
        return run

    def _forget(self, run: Run[Any]) -> None:
        self._runs.discard(run)

    # -- life

    def open_on(self, loop: asyncio.AbstractEventLoop) -> None:
        """Bind the runtime to its loop; nothing is started yet."""
        self._loop = loop
        self._lanes = self._made_lanes(loop)
        _watch(self)

    def _made_lanes(self, loop: asyncio.AbstractEventLoop) -> Lanes:
        return Lanes(
            self._concurrency,
            self._threads,
            self._processes,
            loop,
            self._context,
            self._named,
            on_worker=partial(_tell_of_worker, weakref.ref(self)),  # not `self`: each would keep the other
            **self._pool_options,
        )

    async def aclose(self, *, cancel: bool) -> None:
        """Wait for the runs, or cancel them first; then end all workers. Never leaves anything behind.

        Being cancelled while it waits makes it cancel the runs, and changes nothing else.
        """
        self._is_closed = True
        if self._is_of_parent():
            return
        if cancel:
            self._cancel_runs()
        first: asyncio.CancelledError | None = None
        while going_on := [run for run in self._runs if not run.done()]:
            cancelled = await going_on[0].until_over(on_cancel=self._cancel_runs)
            first = first or cancelled
        async with contextlib.AsyncExitStack() as stack:
            for executor in self._executors():
                stack.push_async_callback(executor.aclose)
        if first is not None:
            raise first

    def tell_of_worker(self, pid: int, end: str | None) -> None:
        """A worker process has started, or has ended like this; for the layer below."""
        audiences = [audience for run in self._runs if (audience := run.audience) is not None]
        if not (audiences or self._observers):
            return
        from asyncgraph._runtime.audience import Audience
        from asyncgraph.observe.events import WorkerLost, WorkerStarted

        observers = [*self._observers, *(each for audience in audiences for each in audience.observers)]
        about = time.perf_counter(), f"process {pid}", pid, self
        event = WorkerStarted(*about) if end is None else WorkerLost(*about, end)

        def drop(observer: AnyObserver) -> None:
            self.remove_observer(observer)
            for audience in audiences:
                audience.drop(observer)

        Audience(observers, drop).tell(event)

    def _cancel_runs(self) -> None:
        for run in list(self._runs):
            run.cancel()

    def close(self) -> None:
        """End all workers without the loop: it is closed, or the interpreter is about to end."""
        self._is_closed = True
        if self._is_of_parent():
            return
        for run in self._runs:
            run.abandon()
        self._runs.clear()  # which have this, and are not over
        for executor in self._executors():
            executor.close()

    def _is_of_parent(self) -> bool:
        """Whether this is a forked process, which must not touch its parent's runs and workers."""
        return self._pid != os.getpid()

    def _executors(self) -> list[Executor]:
        return [] if self._lanes is None else self._lanes.executors()

    @property
    def is_closed(self) -> bool:
        """Whether the runtime takes no more runs, but for those of nodes that are still running."""
        return self._is_closed

    def is_in_use_here(self) -> bool:
        """Whether this is called from a node that it runs."""
        return self._lanes is not None and is_inside(self._lanes)

    @property
    def loop(self) -> asyncio.AbstractEventLoop | None:
        """The loop that the runtime is open on, or None before that."""
        return self._loop

    def _usable_lanes(self) -> Lanes:
        if self._is_of_parent():  # before asking for the loop, which a forked process does not have
            raise RuntimeClosedError("this process was forked, and the runtime belongs to the one before")
        loop = running_loop()
        if self._lanes is None:
            raise RuntimeClosedError("this runtime is not open yet: `async with Runtime() as runtime: ...`")
        # What is going on still ends when the block is left, computing further nodes if it needs to.
        if self._is_closed and not is_inside(self._lanes):
            raise RuntimeClosedError("this runtime is closed; use nodes inside its `async with` block")
        if loop is not self._loop:
            raise RuntimeError(f"this runtime belongs to another event loop: {self._HOW_ELSEWHERE}")
        return self._lanes


def _begin_again(
    shape: Any, requested: Any, remains: Any, runtime: Runtime | None, **options: Any
) -> Run[Any]:
    check_options(options["timeout"], runtime)
    return current_runtime(runtime).go_on(shape, requested, remains, **options)


def _tell_of_worker(runtime: weakref.ref[Runtime], pid: int, end: str | None) -> None:
    if (known := runtime()) is not None:
        known.tell_of_worker(pid, end)


def check_options(timeout: object, runtime: object = None) -> None:
    """Raise for options that cannot be right, before anything starts."""
    check_seconds("timeout", timeout)
    if runtime is not None and not isinstance(runtime, Runtime):
        raise TypeError(f"runtime= takes a Runtime, not {runtime!r}")


def check_request(nodes: tuple[Any, ...], timeout: object, runtime: object = None) -> None:
    """Raise for what cannot be computed, before anything starts."""
    if not nodes:
        raise TypeError("there is nothing to compute: give at least one node")
    for node in nodes:
        if isinstance(node, Node):
            continue
        if callable(node):
            raise TypeError(f"{node!r} is a function and not a node: call it, as in `await function(...)`")
        if inspect.isgenerator(node) or inspect.isasyncgen(node):
            raise TypeError(f"{node!r} is not a node: give a list of nodes, as in `compute([...])`")
        if hasattr(type(node), "__dask_graph__"):
            raise TypeError(f"{node!r} is no node but one of Dask's: write `asyncgraph.dask.from_dask(...)`")
        if inspect.isawaitable(node):
            raise TypeError(f"{node!r} is not a node: make its function `delayed` and call that")
    check_options(timeout, runtime)


def running_loop() -> asyncio.AbstractEventLoop:
    """The running loop; raises RuntimeError with the way out where there is none."""
    try:
        return asyncio.get_running_loop()
    except RuntimeError:
        raise RuntimeError(
            "nodes are computed on a running asyncio event loop, and none is running here: use "
            "`await node.compute()` inside `async def`, or `asyncgraph.run(node)` in a plain script"
        ) from None


def current_runtime(given: Runtime | None) -> Runtime:
    """The runtime to use: the one given, or that of the enclosing block, or the loop's default.

    Raises:
        RuntimeError: No event loop is running.
    """
    loop = running_loop()
    if given is not None:
        return given
    entered = _entered.get()
    # A block entered on another loop is not meant: its context was inherited, by a thread with a loop
    # of its own.
    if entered is not None and entered.loop is loop:
        return entered
    return _default_of(loop)


def going_on() -> list[Run[Any]]:
    """The runs of this process that are not over, on all loops.

    Raises:
        RuntimeError: A runtime was made meanwhile in another thread.
    """
    return [run for runtime in list(_open) for run in runtime._runs.copy() if not run.done()]


# -- default runtimes, and the end of all

_defaults: dict[int, tuple[Runtime, AsyncGenerator[None, None]]] = {}
# Loops that are still there after the end of their default runtime: nobody would close another one.
_ended: weakref.WeakSet[asyncio.AbstractEventLoop] = weakref.WeakSet()
_open: weakref.WeakSet[Runtime] = weakref.WeakSet()
_is_watching = False


def _default_of(loop: asyncio.AbstractEventLoop) -> Runtime:
    known = _defaults.get(id(loop))
    if known is not None and known[0].loop is loop:
        if _is_ending(loop) and not known[0].is_in_use_here():
            raise RuntimeClosedError(_ENDING)
        return known[0]
    if _is_ending(loop) or loop in _ended:
        raise RuntimeClosedError(_ENDING)
    _close_those_of_closed_loops()
    runtime = Runtime()
    runtime.open_on(loop)
    guard = _close_with_loop(runtime)
    _defaults[id(loop)] = runtime, guard
    # The first step, which makes the loop know the generator and close it in `shutdown_asyncgens`:
    # asyncio.run, anyio, pytest and notebooks all do that before they close a loop.
    with contextlib.suppress(StopIteration):
        guard.__anext__().send(None)
    return runtime


def close_with_loop(runtime: Runtime, loop: asyncio.AbstractEventLoop) -> None:
    """Let a runtime that has no block be closed with the default runtime of its loop.

    Raises:
        RuntimeClosedError: The loop is ending.
    """
    _default_of(loop)._others.add(runtime)


async def _close_with_loop(runtime: Runtime) -> AsyncGenerator[None, None]:
    loop = runtime.loop
    try:
        yield
    finally:
        try:
            async with contextlib.AsyncExitStack() as stack:
                for each in (runtime, *runtime._others):
                    if not each.is_closed:
                        stack.push_async_callback(each.aclose, cancel=True)
        finally:
            _defaults.pop(id(loop), None)
            if loop is not None:
                _ended.add(loop)


def _is_ending(loop: asyncio.AbstractEventLoop) -> bool:
    """Whether `shutdown_asyncgens` has been called, as far as the loop tells: uvloop's does not."""
    return getattr(loop, "_asyncgens_shutdown_called", False)


def _close_those_of_closed_loops() -> None:
    """For loops that were closed without `shutdown_asyncgens`."""
    for runtime, guard in list(_defaults.values()):
        if runtime.loop is not None and runtime.loop.is_closed():
            runtime.close()
            _end(guard)


def _end(guard: AsyncGenerator[None, None]) -> None:
    """End the generator of a runtime that is closed; left to the collector, it would call for its loop."""
    with contextlib.suppress(StopIteration):
        guard.aclose().send(None)


def _watch(runtime: Runtime) -> None:
    """Remember an open runtime for the end of the interpreter."""
    global _is_watching
    _open.add(runtime)
    if not _is_watching:
        _is_watching = True
        atexit.register(_close_all)
        if hasattr(os, "register_at_fork"):
            os.register_at_fork(after_in_child=_forget_all)


def _close_all() -> None:
    for runtime in list(_open):
        runtime.close()
    for _, guard in list(_defaults.values()):
        _end(guard)


def _forget_all() -> None:
    """In a forked child: the runtimes, with their workers, are the parent's."""
    _open.clear()
    _defaults.clear()
