"""What the ways of running calls (coroutines, threads) may ask of the execution that they work for."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Mapping, Sequence
from contextvars import Context
from typing import TYPE_CHECKING, Any, Protocol

from asyncgraph._graph.function import Function
from asyncgraph._graph.node import Node
from asyncgraph._graph.scheduler import Scheduler
from asyncgraph._runtime.lanes import Lanes
from asyncgraph._runtime.slices import Slice
from asyncgraph._runtime.slots import Slots
from asyncgraph._runtime.stopping import Scope

if TYPE_CHECKING:
    from asyncgraph._runtime.recorder import Recorder

__all__ = ["Guard", "Owner", "Resolved"]

# A function and its arguments, with the values of nodes in their places.
Resolved = tuple[Function, tuple[Any, ...], Mapping[str, Any]]


class Owner(Protocol):
    """An execution, as its parts see it.

    Attributes:
        nodes: The nodes, by the scheduler's numbers.
        scheduler: The state.
        lanes: The slots and executors of the runtime.
        context: The context that each call gets a copy of.
        loop: The loop on which everything happens.
        is_stopping: Whether nothing more is to begin.
        is_scheduled: Whether there is a scheduler.
        is_over: Whether nothing of it is running any more, nor will be.
        has_ended: Whether it is over, and that because nothing was left to do.
        outer: The call in a thread, of another execution, that this one was begun in, or None.
        slice: How long all this goes on in the present turn of the loop.
        recorder: Where it is noted what happens to single nodes; None if nobody wants to know.
    """

    nodes: Sequence[Node[Any]]
    scheduler: Scheduler
    lanes: Lanes
    context: Context
    loop: asyncio.AbstractEventLoop
    is_stopping: bool
    is_scheduled: bool
    is_over: bool
    has_ended: bool
    outer: Scope | None
    slice: Slice
    recorder: Recorder | None

    def wake(self) -> None:
        """See soon what there is to do."""

    def work_as_runner(self) -> Coroutine[Any, Any, None]:
        """What a further runner for coroutines is to do."""
        ...

    def claim(self, lane: int) -> bool:
        """Get a slot of the lane, or be woken for one later."""
        ...

    def claim_free(self, lane: int, most: int) -> int:
        """Get as many free slots of the lane; returns how many."""
        ...

    def give_back(self, lane: int) -> None:
        """Return a slot."""

    def lend(self, lane: int) -> Slots:
        """Leave a slot to a call that may outlast the execution; whoever has it gives it back to these."""
        ...

    def has_call(self, lane: int) -> bool:
        """Whether there is anything to begin in the lane."""
        ...

    def count_ready(self, lane: int) -> int:
        """How many calls there are to begin in the lane, at most."""
        ...

    def take(self, lane: int) -> int | None:
        """Begin the first task of the lane that need not wait."""

    def holds_producers(self, lane: int) -> bool:
        """Whether tasks of the lane that only produce are to wait."""
        ...

    def prepare(self, task: int, copies: Mapping[int, Any] | None = None) -> Resolved | None:
        """Resolve the arguments of a task; None if that failed, and with it the task."""

    def task_of(self, node: Node[Any]) -> int | None:
        """The task whose result is that of the node, if it is there or will be."""

    def settle(self, task: int, lane: int, value: Any, error: BaseException | None) -> None:
        """A task has this outcome."""

    def settle_many(self, tasks: Sequence[int], lane: int, values: list[Any]) -> None:
        """Running tasks have these values."""

    def begin_others(self) -> None:
        """Begin all that is not for runners, until the slice is over."""

    def break_off(self, error: BaseException) -> None:
        """Asyncgraph itself has failed: end with that, rather than hang."""

    def runner_failed(self, error: BaseException) -> None:
        """A runner has met this error outside of any node."""

    def abandon(self) -> None:
        """The loop is gone: nothing can be done any more."""

    def check_over(self) -> None:
        """Conclude, if nothing is running and nothing will."""


class Guard:
    """Around what an executor calls: a fault of ours in it ends the execution, which would hang."""

    __slots__ = ("_owner",)

    def __init__(self, owner: Owner) -> None:
        self._owner = owner

    def __enter__(self) -> None:
        """Nothing is needed."""

    def __exit__(self, kind: object, error: BaseException | None, traceback: object) -> bool:
        """End with the error; whoever has called hears only of Ctrl-C and the like."""
        if error is None:
            return False
        self._owner.break_off(error)
        return isinstance(error, Exception)
