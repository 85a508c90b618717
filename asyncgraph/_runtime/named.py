"""The calls of an execution in executors that the user has given names to.

Each is handed over by itself, with a slot, and comes back with its outcome. When the execution is stopped,
what has been handed over is taken back. What has begun in an executor of `concurrent.futures`, nobody can
stop: it is waited for. Clusters are told, and what they have of the execution is let go of.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterable
from contextvars import Context
from functools import partial
from typing import TYPE_CHECKING, Any

from asyncgraph._graph.node import Node, key_of
from asyncgraph._runtime.owner import Guard, Owner, Resolved
from asyncgraph._runtime.remotes import Remotes
from asyncgraph._runtime.sightings import Sighting
from asyncgraph._runtime.slices import Slice
from asyncgraph.errors import NodeExitedError
from asyncgraph.executors.base import Call, timed_out
from asyncgraph.executors.graphs import GraphExecutor, Note
from asyncgraph.executors.remote import AwayCall, RemoteExecutor

if TYPE_CHECKING:
    from asyncgraph._runtime.ahead import Ahead

__all__ = ["Named"]


class Named:
    """Runs the calls of one execution that are for named executors.

    Args:
        owner: The execution.
        lanes: The lanes of these executors.

    Attributes:
        remotes: What is on clusters of its results.
    """

    def __init__(self, owner: Owner, lanes: Iterable[int]) -> None:
        self.lanes = tuple(lanes)
        self.remotes = Remotes(owner)
        self._owner = owner
        self._guard = Guard(owner)
        self._calls: dict[int, _NamedCall] = {}
        # What executors for graphs have been given ahead, by lane.
        self._ahead: dict[int, Ahead] = {}
        for lane in self.lanes:
            executor = owner.lanes[lane].executor
            if isinstance(executor, GraphExecutor):
                from asyncgraph._runtime.ahead import Ahead

                self._ahead[lane] = Ahead(owner, lane, executor, self.remotes, self._heard)

    def is_busy(self) -> bool:
        """Whether any executor has a call of the execution."""
        is_sending = any(ahead.is_busy() for ahead in self._ahead.values())
        return bool(self._calls) or is_sending or self.remotes.is_busy()

    def running(self) -> list[Node[Any]]:
        """The nodes that are being computed, or will be soon."""
        return [*(call.node for call in self._calls.values()), *self.remotes.running()]

    def sightings(self) -> list[Sighting]:
        """Where the nodes are that executors have."""
        now = time.monotonic()
        return [
            Sighting(task, call.node, f"in executor {call.executor!r}", seconds=now - call.since)
            for task, call in self._calls.copy().items()
        ]

    def fill(self, slice_: Slice) -> bool:
        """Hand over what finds a slot; whether that was anything.

        Args:
            slice_: How long.
        """
        owner, has_begun = self._owner, False
        for lane in self.lanes:
            while owner.has_call(lane) and not owner.is_stopping:
                ahead = self._ahead.get(lane)
                if ahead is not None:
                    if ahead.fill(slice_):
                        return True
                    if not ahead.has_next():
                        break  # it is on its way
                if not owner.claim(lane):
                    break
                has_begun = True
                if ahead is None:
                    self._begin(lane)
                else:
                    self._follow(lane, ahead)
                if slice_.is_over():
                    return True
        return has_begun

    def cancel(self) -> None:
        """Take back what can be; the rest is waited for."""
        for ahead in self._ahead.values():
            ahead.cancel()
        for call in list(self._calls.values()):
            call.take_back()
        self.remotes.cancel()

    def close(self) -> None:
        """The execution is over."""
        while self._ahead:  # each refers to this: they would keep each other alive
            self._ahead.popitem()[1].close()

    # -- calls

    def _begin(self, lane: int) -> None:
        """Hand the first ready task of a lane over, with the slot that has been claimed."""
        owner, call = self._owner, None
        task = owner.take(lane)
        assert task is not None
        try:
            copies = self.remotes.copies(task, lane)
            prepared = owner.prepare(task, copies)
            if prepared is not None:
                call = _NamedCall(owner.nodes[task], owner.lanes.name_of(lane), copies or ())
        finally:
            if call is None:
                owner.give_back(lane)
        if prepared is not None and call is not None:
            self._calls[task] = call
            if owner.recorder is not None:
                owner.recorder.began(task, call.executor)
            self._hand_over(task, lane, call, prepared)

    def _hand_over(self, task: int, lane: int, call: _NamedCall, prepared: Resolved) -> None:
        owner, (function, args, kwargs) = self._owner, prepared
        executor: Any = owner.lanes[lane].executor
        context = owner.context.copy()
        begin, call.after_timeout = executor.start, executor.after_timeout
        kind = AwayCall if isinstance(executor, RemoteExecutor) else Call
        called = function.call if owner.recorder is None else owner.recorder.around(task, function.call)
        call.handed = handed = kind(
            called, args, kwargs, context, key_of(call.node), partial(self._over, task, lane)
        )
        handed.variables = [(each, context[each]) for each in owner.lanes.context if each in context]
        if isinstance(handed, AwayCall):
            handed.needed = partial(self.remotes.needed, task, lane)
            handed.priority, handed.resources = function.priority, function.resources
            handed.stayed = None
        call.take_back = begin(handed)
        if function.timeout is not None:
            call.timer = owner.loop.call_later(function.timeout, call.strike, context=Context())

    def _follow(self, lane: int, ahead: Ahead) -> None:
        """Begin the first ready task of a lane whose calls the cluster has already: wait for its outcome."""
        owner = self._owner
        task = owner.take(lane)
        assert task is not None
        node, executor = owner.nodes[task], owner.lanes[lane].executor
        copies = self.remotes.copies(task, lane) or ()
        owner.scheduler.consume(task)
        refusal = [ahead.refusal(task)]
        if refusal[0] is not None:
            owner.give_back(lane)
            owner.settle(task, lane, None, refusal.pop())
            return
        self._calls[task] = call = _NamedCall(node, owner.lanes.name_of(lane), copies)
        call.after_timeout = executor.after_timeout
        over = partial(self._over, task, lane)
        call.handed = handed = AwayCall(node._function.call, (), {}, owner.context, key_of(node), over)
        handed.needed, handed.stayed = partial(self.remotes.needed, task, lane), None
        call.take_back = executor.follow(handed, ahead.handle(task))
        note = ahead.begun(task)
        if note is not None:
            self._heard(task, note)

    def _heard(self, task: int, note: Note) -> None:
        """A worker says that a call has begun, or ended, which the cluster was given with a graph."""
        call, owner = self._calls.get(task), self._owner
        if call is None:  # what it has returned is on its way
            return
        timeout = call.node._function.timeout
        if note.ended is not None:
            call.node._function.durations.add(note.ended - note.began)
            if owner.recorder is not None:
                owner.recorder.took(task, note.began, note.ended, note.worker, note.size)
            return
        if owner.recorder is not None:
            owner.recorder.began_there(task, note.began, note.worker)
        if timeout is not None and not call.node._function.is_async:
            if call.timer is not None:
                call.timer.cancel()  # its worker has died, and another one has begun it once more
            left = max(timeout - (time.perf_counter() - note.began), 0.0)
            call.timer = owner.loop.call_later(left, call.strike, context=Context())

    def _over(self, task: int, lane: int, value: Any, error: BaseException | None) -> None:
        """A call has an outcome, or was taken back."""
        owner = self._owner
        with self._guard:
            call = self._calls.pop(task)
            owner.give_back(lane)
            if call.timer is not None:
                call.timer.cancel()
            if isinstance(call.handed, AwayCall) and call.handed.stayed is not None:
                self.remotes.note(task, call.handed.stayed)
            if owner.is_stopping and isinstance(error, NodeExitedError) and _is_cancel(error.original):
                error = error.original  # it has done as it was told
            if call.is_late and not owner.is_stopping:
                error = call.timed_out()
            elif lane not in self._ahead:
                call.node._function.durations.add(time.monotonic() - call.since)
            if lane in self._ahead:
                self._ahead[lane].over(task, has_value=error is None and not isinstance(value, Node))
            outcome = [(None if error is not None else value, error)]
            del value, error
            # In no variable of a frame that goes on: it would be behind those in a traceback.
            owner.settle(task, lane, *outcome.pop())
            self.remotes.used(call.copies)
            owner.begin_others()
        owner.wake()


def _is_cancel(error: BaseException | None) -> bool:
    return isinstance(error, asyncio.CancelledError)


class _NamedCall:
    """A call that an executor has.

    Attributes:
        node: The node.
        executor: The name of the executor.
        copies: The tasks of whose results it uses what the cluster has, beside what is only there.
        since: When it was handed over, by `time.monotonic()`.
        take_back: Takes it back, if it has not begun.
        handed: The call, as it was handed over.
        after_timeout: What becomes of it there when its time is up, for the message.
        is_late: Whether its time is up.
        timer: Strikes when that is.
    """

    __slots__ = (
        "after_timeout",
        "copies",
        "executor",
        "handed",
        "is_late",
        "node",
        "since",
        "take_back",
        "timer",
    )

    def __init__(self, node: Node[Any], executor: str, copies: Iterable[int]) -> None:
        self.node = node
        self.executor = executor
        self.copies = copies
        self.since = time.monotonic()
        self.is_late = False
        self.timer: asyncio.TimerHandle | None = None
        self.take_back: Callable[[], object] = bool
        self.handed: Call | None = None
        self.after_timeout = ""

    def strike(self) -> None:
        """Its time is up; if it cannot be taken back any more, it is waited for."""
        self.is_late = True
        self.take_back()

    def timed_out(self) -> BaseException:
        """The error of a call that has taken longer than it may."""
        seconds = self.node._function.timeout
        assert seconds is not None
        then = self.after_timeout.format(executor=repr(self.executor))
        return timed_out(key_of(self.node), seconds, f"; {then}")
