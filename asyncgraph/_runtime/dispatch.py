"""What begins next in an execution: of what the scheduler says is ready, that for which there is room.

Runners take coroutines by themselves, one after another. All else is begun here: calls in executors first, so
that they go on while the loop does its own, and then calls on the loop, one between two looks at the rest.
"""

from __future__ import annotations

from collections.abc import Mapping, Sized
from typing import Any

from asyncgraph._graph.function import Function
from asyncgraph._graph.node import key_of
from asyncgraph._runtime.arguments import resolve_in_order
from asyncgraph._runtime.lanes import COROUTINE, INLINE, THREAD
from asyncgraph._runtime.outcomes import Outcomes
from asyncgraph._runtime.owner import Resolved
from asyncgraph._runtime.parts import Parts, Whole
from asyncgraph._runtime.stopping import has_stopped
from asyncgraph.executors.base import without_own_frames
from asyncgraph.executors.loop import failure_on_loop

__all__ = ["Dispatch"]


class Dispatch:
    """Begins what is ready in one execution.

    Args:
        owner: The execution.
        parts: Who does the work.
        outcomes: Where that of a call on the loop goes.
    """

    def __init__(self, owner: Whole, parts: Parts, outcomes: Outcomes) -> None:
        self._owner = owner
        self._parts = parts
        self._outcomes = outcomes
        # The queues of all lanes but that of the runners; and those of tasks that hold results until they
        # are begun, each with the number of slots that it has.
        self._others: list[Sized] = []
        self._backlogs: list[tuple[Sized, int]] = []

    def note_queues(self) -> None:
        """The scheduler is there, or has got new tasks: there may be new queues."""
        parts, lanes, scheduler = self._parts, self._owner.lanes, self._owner.scheduler
        parts.add_for_lanes()
        self._others = [parts.threads] if THREAD in scheduler.ready else []
        for lane in scheduler.ready:
            if lane != COROUTINE:
                self._others += [scheduler.ready[lane], scheduler.producers[lane]]
        self._backlogs = [(parts.coroutines.made, lanes[COROUTINE].slots.capacity)]
        for lane in lanes.with_slots:
            if lane in scheduler.ready:
                self._backlogs.append((scheduler.ready[lane], lanes[lane].slots.capacity))

    # -- what is ready

    def has_call(self, lane: int) -> bool:
        """Whether there is anything to begin in the lane."""
        owner = self._owner
        if not owner.is_scheduled:
            return self._parts.way is not None and self._parts.way.can_begin()
        if owner.recorder is not None and owner.recorder.is_behind:
            return False  # it wakes us
        scheduler = owner.scheduler
        if scheduler.is_ready(lane) and (scheduler.backlog(lane) or not self._is_congested()):
            return True
        return lane == COROUTINE and bool(self._parts.coroutines.made)

    def count_ready(self, lane: int) -> int:
        """How many calls there are to begin in the lane, at most."""
        if not self._owner.is_scheduled:
            return 0 if self._parts.way is None else self._parts.way.left
        return self._owner.scheduler.ready_count(lane) + len(self._parts.coroutines.made)

    def take(self, lane: int) -> int | None:
        """Begin the first task of the lane that need not wait."""
        return self._owner.scheduler.take(lane, hold_producers=self.holds_producers(lane))

    def holds_producers(self, lane: int) -> bool:
        """Whether tasks of the lane that only produce are to wait."""
        return bool(self._owner.scheduler.producers.get(lane)) and self._is_congested()

    def held_back(self, lane: int) -> int:
        """How many tasks of the lane wait for that, and not for a slot."""
        return len(self._owner.scheduler.producers[lane]) if self.holds_producers(lane) else 0

    def _is_congested(self) -> bool:
        """Whether producers are to wait, because what they feed waits for slots already.

        Their products would only pile up in memory.
        """
        for queue, capacity in self._backlogs:  # noqa: SIM110 - half of what `any` with a generator costs
            if len(queue) >= capacity:
                return True
        return False

    # -- what begins

    def begin_others(self) -> None:
        """Begin all that is not for runners, until the slice is over."""
        owner, others = self._owner, self._others
        if not any(others) or (owner.recorder is not None and owner.recorder.is_behind):
            return
        while any(self._others) and not owner.is_stopping:
            has_begun = self._fill_slots()
            task = self.take(INLINE)
            if task is not None:
                self._call_inline(task)
            elif not has_begun:
                break  # what is ready has no slot: it is woken for one
            if owner.slice.is_over() or (owner.recorder is not None and owner.recorder.is_behind):
                break

    def _fill_slots(self) -> bool:
        """Begin what finds a slot of an executor, or needs none; whether that was anything."""
        parts, slice_ = self._parts, self._owner.slice
        if parts.resources is not None and parts.resources.open():
            return True
        has_begun = parts.processes is not None and parts.processes.fill(slice_)
        if parts.named is not None and parts.named.fill(slice_):
            has_begun = True
        if has_begun and slice_.is_over():
            return True
        return (THREAD in self._owner.scheduler.ready and parts.threads.fill(slice_)) or has_begun

    def _call_inline(self, task: int) -> None:
        prepared = self.prepare(task)
        if prepared is not None:
            # The outcome in no variable: this frame is behind those in the traceback of an error.
            self._outcomes.settle(task, INLINE, *self._outcome_inline(task, *prepared))

    def _outcome_inline(
        self, task: int, function: Function, args: tuple[Any, ...], kwargs: Mapping[str, Any]
    ) -> tuple[Any, BaseException | None]:
        owner = self._owner
        try:
            call = function.call if owner.recorder is None else owner.recorder.around(task, function.call)
            return owner.context.copy().run(call, *args, **kwargs), None
        except BaseException as error:
            if has_stopped(error, owner):
                return None, without_own_frames(error)
            return None, failure_on_loop(error, key_of(owner.nodes[task]))

    def prepare(self, task: int, copies: Mapping[int, Any] | None = None) -> Resolved | None:
        """Resolve the arguments of a task; None if that failed, and with it the task.

        Args:
            task: The task.
            copies: What stands for the results of some tasks, where they are needed on a cluster.
        """
        node, scheduler = self._owner.nodes[task], self._owner.scheduler
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
            self._outcomes.fail(task, scheduler.lanes[task], failure_on_loop(error, key_of(node)))
            return None
        scheduler.consume(task)
        return node._function, args, kwargs
