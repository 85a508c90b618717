"""Lanes: the ways in which a node can run, each with its slots and its executor.

The scheduler knows a lane by its number. Executors are made when they are first used, so that a
service without CPU-bound nodes never starts a process.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Mapping, Sequence
from contextvars import ContextVar
from functools import partial
from types import MappingProxyType
from typing import Any, Generic, TypeVar

from asyncgraph._graph.function import Function
from asyncgraph._runtime.slots import Claimant, Slots
from asyncgraph.errors import GraphError
from asyncgraph.executors import process
from asyncgraph.executors.base import Executor
from asyncgraph.executors.remote import Remote, RemoteExecutor
from asyncgraph.executors.thread import ThreadExecutor

__all__ = ["COROUTINE", "INLINE", "PROCESS", "RESOURCE", "THREAD", "Lane", "Lanes"]

INLINE, COROUTINE, THREAD, PROCESS, RESOURCE = range(5)

_EXECUTORS = ("loop", "loop", "thread", "process", "loop")

E = TypeVar("E", bound=Executor)


class Lane(Generic[E]):
    """Slots, and the executor to which a call goes that has one of them."""

    def __init__(
        self,
        make: Callable[[int, asyncio.AbstractEventLoop], E],
        capacity: int,
        loop: asyncio.AbstractEventLoop,
    ) -> None:
        self.slots = Slots(capacity)
        self._make = make
        self._loop = loop
        self.made: E | None = None

    @property
    def executor(self) -> E:
        """The executor, made on first use."""
        if self.made is None:
            self.made = self._make(self.slots.capacity, self._loop)
        return self.made


class Lanes:
    """The lanes of one runtime.

    Args:
        concurrency: Coroutines that run at once.
        threads: Calls that run at once in threads.
        processes: Calls that run at once in worker processes.
        loop: The loop they all belong to.
        context: The context variables that calls in worker processes are to see.
        named: Executors of the user's, by name.
        pool_options: What else the executor of worker processes is made with.

    Attributes:
        context: The same.
        thread: The thread that the loop ran in when these were made.
        named: The lanes of executors of the user's.
        with_slots: Those lanes that have slots.
        everywhere: The name of the executor that makes all calls, whatever their functions ask for; None
            where there is no such.
    """

    everywhere: str | None = None

    def __init__(
        self,
        concurrency: int,
        threads: int,
        processes: int,
        loop: asyncio.AbstractEventLoop,
        context: Sequence[ContextVar[Any]] = (),
        named: Mapping[str, Any] = MappingProxyType({}),
        **pool_options: Any,
    ) -> None:
        self.context = context
        self.thread = threading.get_ident()
        self._lanes: dict[int, Lane[Any]] = {
            COROUTINE: Lane(_no_executor, concurrency, loop),
            THREAD: Lane(ThreadExecutor, threads, loop),
            PROCESS: Lane(partial(_make_process_executor, **pool_options), processes, loop),
        }
        # In a graph that is computed inside a worker process: workers of workers would multiply.
        self._numbers = {"thread": THREAD, "process": THREAD if process.is_worker else PROCESS}
        self._names = [*_EXECUTORS, *named]
        for number, (name, executor) in enumerate(named.items(), len(_EXECUTORS)):
            self._numbers[name] = number
            self._lanes[number] = _lane_of(executor, loop)
        self.named = tuple(range(len(_EXECUTORS), len(self._names)))
        self._know_resources = {
            name for name, executor in named.items() if getattr(executor, "knows_resources", False)
        }
        # Work that leaves the loop is begun first, so that it goes on while the loop does its own.
        self.with_slots = (*self.named, PROCESS, THREAD, COROUTINE)
        self._slots = tuple([lane.slots for lane in self._lanes.values()])

    def __getitem__(self, number: int) -> Lane[Any]:
        return self._lanes[number]

    def number_of(self, function: Function) -> int:
        """The lane in which calls of `function` run.

        Raises:
            GraphError: There is no executor of the name that it asks for; or that knows no resources, and
                it asks for some.
        """
        if function.resources and function.executor not in self._know_resources:
            raise GraphError(
                f"{function.name} takes {_listed(function.resources)}, and executor {function.executor!r} of "
                "this runtime knows no resources; DaskExecutor and RayExecutor do, as in "
                "Runtime(executors={'process': DaskExecutor(client)})"
            )
        if function.executor == "loop":
            return COROUTINE if function.is_async else RESOURCE if function.is_resource else INLINE
        try:
            return self._numbers[function.executor]
        except KeyError:
            name = function.executor
        known = ", ".join(map(repr, ["loop", *self._numbers]))
        raise GraphError(
            f"{function.name} is to run in executor {name!r}, and this runtime has {known}; others are "
            f"given to it, as in Runtime(executors={{{name!r}: ...}})"
        )

    def can_use(self, remote: Remote, number: int) -> bool:
        """Whether calls of a lane can use a value that has stayed on a cluster, perhaps in an earlier run."""
        executor = self[number].executor if number in self.named else None
        return isinstance(executor, RemoteExecutor) and executor.has(remote)

    def name_of(self, number: int) -> str:
        """What users call the executor of a lane."""
        return self._names[number]

    def renounce(self, claimant: Claimant) -> None:
        """The claimant does not want what slots are promised to it now."""
        for slots in self._slots:
            if slots.promised:  # without the call, nearly always
                slots.renounce(claimant)

    def forget(self, claimant: Claimant) -> None:
        """The claimant begins nothing more and waits for no slot."""
        for slots in self._slots:
            if slots.waiting or slots.promised:
                slots.forget(claimant)

    def will_wake(self, claimant: Claimant) -> bool:
        """Whether the claimant is going to be woken, or has been, for a slot."""
        return any(lane.slots.will_wake(claimant) for lane in self._lanes.values())

    def executors(self) -> list[Executor]:
        """Those that have been made."""
        return [lane.made for lane in self._lanes.values() if lane.made is not None]


def _listed(resources: Mapping[str, float]) -> str:
    return "resources=" + str(dict(resources))


def _lane_of(executor: Any, loop: asyncio.AbstractEventLoop) -> Lane[Any]:
    if hasattr(executor, "bind"):  # one of asyncgraph's own
        return Lane(lambda _, loop: executor.bind(loop), executor.slots, loop)
    from asyncgraph.executors.futures import FuturesExecutor, slots_of

    return Lane(lambda _, loop: FuturesExecutor(executor, loop), slots_of(executor), loop)


def _no_executor(slots: int, loop: asyncio.AbstractEventLoop) -> Executor:
    raise AssertionError("coroutines are run by runners")


def _make_process_executor(slots: int, loop: asyncio.AbstractEventLoop, **options: Any) -> Executor:
    # Imported when needed: subprocess and pickle are no business of a service that has no such nodes.
    from asyncgraph.executors.process import ProcessExecutor

    return ProcessExecutor(slots, loop, **options)
