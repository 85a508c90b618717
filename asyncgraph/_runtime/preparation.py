"""What comes before anything of an execution can begin: to plan, and to choose the way that suits the plan.

A graph may be large, and the loop serves others meanwhile: all this is done in pieces, for a slice of time in
each turn. What becomes known in that time, when the straight way has been left, is settled after it.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping, Sequence
from typing import Any

from asyncgraph._graph import once
from asyncgraph._graph.function import Function
from asyncgraph._graph.node import Node
from asyncgraph._graph.pieces import Pieces, cut
from asyncgraph._graph.plan import Plan
from asyncgraph._graph.scheduler import CANCELLED, FAILED, NOT_RUN, Scheduler
from asyncgraph._runtime import slices
from asyncgraph._runtime.lanes import RESOURCE
from asyncgraph._runtime.parts import Parts, Whole
from asyncgraph._runtime.places import Places
from asyncgraph._runtime.planning import done_in
from asyncgraph._runtime.remains import Remains, fitted
from asyncgraph._runtime.urgency import urgency
from asyncgraph._runtime.way import Way, is_straight

__all__ = ["Preparation", "resources_among"]


class Preparation:
    """Makes the plan of one execution, and what that is done by: the straight way, or a scheduler.

    Args:
        owner: The execution.
        parts: Get the straight way, and are told of all tasks.
        may_go_straight: Whether the straight way is good enough.

    Attributes:
        left: What has yet to be done; None while the execution is at work.
        unrevived: What another execution has left, as long as nothing of it has changed; else None.
    """

    def __init__(self, owner: Whole, parts: Parts, *, may_go_straight: bool) -> None:
        self.left: Pieces[None] | None = None
        self.unrevived: Remains | None = None
        self._owner = owner
        self._parts = parts
        self._may_go_straight = may_go_straight
        self._plan: Plan
        self._lane_of: dict[Function, int] = {}
        self._early: deque[tuple[int, int, Any, BaseException | None]] = deque()

    def plan(self, planning: Pieces[Plan], given: Mapping[Node[Any], Any]) -> None:
        """There is to be a plan.

        Args:
            planning: Makes it.
            given: The values of its first nodes, which are not called.
        """
        self.left = self._choose_way(planning, given)

    def revive(self, remains: Remains) -> None:
        """What another execution has left is to be gone on with."""
        self.left = self._revived(remains)

    def take_over(self, begun: int, running: list[int], values: Mapping[Node[Any], Any]) -> None:
        """Go on with a scheduler, which has yet to be made, from where the straight way has led."""
        self.left = self._schedule(begun, running, values)
        self.go_on()

    def go_on(self, *, is_large: bool = False) -> None:
        """Prepare for a slice; small graphs take less."""
        assert self.left is not None
        if not done_in(slices.SLICE, self.left, is_large=is_large):
            self._owner.wake()
        elif not self._owner.is_stopping:  # a finalizer may have done that meanwhile
            self.end()

    def keep(self, task: int, lane: int, value: Any, error: BaseException | None) -> None:
        """A task has this outcome, which cannot be settled yet."""
        self._early.append((task, lane, value, error))

    def end(self) -> None:
        """All has been prepared, or need not be, because the execution is being stopped."""
        self.left = None
        while self._early:
            # In no variable of a frame that goes on: it would be behind those in an error's traceback.
            self._owner.settle(*self._early.popleft())
        way = self._parts.way
        if way is not None and not way.is_left:
            way.begin()
        else:
            self._owner.wake()

    # -- a plan

    def _choose_way(self, planning: Pieces[Plan], given: Mapping[Node[Any], Any]) -> Pieces[None]:
        """Plan, and choose the way that suits the plan."""
        owner, parts = self._owner, self._parts
        self._plan = plan = yield from planning
        if once.has_spent_any():
            for nodes in cut(plan.nodes):
                once.refuse_spent(nodes)
                yield
        owner.nodes = plan.nodes
        self._lane_of = {function: owner.lanes.number_of(function) for function in plan.functions}
        if not (self._may_go_straight and is_straight(self._lane_of)):
            yield from self._schedule(len(given), [], given)
            return
        if not plan.is_tree:
            yield from plan.last_uses_in_pieces()
        if not owner.is_stopping:
            parts.way = Way(owner, plan, given, self._lane_of, parts.coroutines, parts.threads)

    def _schedule(self, begun: int, running: list[int], results: Mapping[Node[Any], Any]) -> Pieces[None]:
        """Make the scheduler, which knows of what has been done so far."""
        owner, plan, recorder = self._owner, self._plan, self._owner.recorder
        yield from plan.number_in_pieces()
        owner.places = Places(plan.nodes, plan.number)
        lanes = yield from self._lanes_of_all()
        known = yield from _numbered(plan.number, results)
        if recorder is not None:
            recorder.planned(plan.nodes, plan.dependencies, plan.outputs, begun)
        first = yield from urgency(plan, owner.lanes, self._lane_of)
        owner.scheduler = yield from Scheduler.in_pieces(
            plan.dependencies,
            plan.dependents,
            lanes,
            plan.outputs,
            begun,
            known,
            running,
            first,
            holds_inputs=owner.is_resumable,
            lazy=resources_among(plan.nodes, 0) if RESOURCE in set(lanes) else (),
            states=None if recorder is None else recorder.states,
        )
        if any(function.is_special for function in self._lane_of):
            for tasks in cut(range(len(plan.nodes))):
                self._parts.note(tasks)
                yield
        self._scheduled()

    def _lanes_of_all(self) -> Pieces[list[int]]:
        lanes: list[int] = []
        for nodes in cut(self._plan.nodes):
            lanes += [self._lane_of[node._function] for node in nodes]
            yield
        return lanes

    def _scheduled(self) -> None:
        if not self._owner.is_stopping:
            self._owner.is_scheduled = True
            self._owner.note_queues()

    # -- what another execution has left

    def _revived(self, remains: Remains) -> Pieces[None]:
        """Go on with what another execution has left."""
        owner, scheduler, recorder = self._owner, remains.scheduler, self._owner.recorder
        self.unrevived = remains
        yield from fitted(remains, owner.lanes)
        _refuse_spent(remains)
        owner.places = Places(remains.nodes, remains.number)
        if recorder is not None:
            # Copies: these change while the graph grows, and what is noted is looked at later.
            nodes, dependencies = list(remains.nodes), list(scheduler.dependencies)
            recorder.planned(nodes, dependencies, sorted(scheduler.outputs))
            recorder.there_already(scheduler.state)
        self.unrevived = None
        scheduler.note_states(list if recorder is None else recorder.states)
        yield from scheduler.revive_in_pieces()
        if not owner.is_stopping:
            owner.nodes = remains.nodes
            owner.scheduler = scheduler
            self._parts.go_on_with(remains)
            self._scheduled()


def resources_among(nodes: Sequence[Node[Any]], first: int) -> list[int]:
    """The tasks of the resources among `nodes`, whose tasks are numbered from `first` on."""
    return [task for task, node in enumerate(nodes, first) if node._function.is_resource]


def _numbered(number: Mapping[Node[Any], int], results: Mapping[Node[Any], Any]) -> Pieces[dict[int, Any]]:
    """The results, by task."""
    known: dict[int, Any] = {}
    for items in cut(list(results.items())):
        known.update([(number[node], value) for node, value in items])
        yield
    return known


def _refuse_spent(remains: Remains) -> None:
    """Raise GraphError if what is to be begun again needs a generator that was used up."""
    if once.has_spent_any():
        scheduler = remains.scheduler
        ended = (FAILED, NOT_RUN, CANCELLED)
        missing = [task for task, state in enumerate(scheduler.state) if state in ended]
        once.refuse_spent(remains.nodes[task] for task in missing if not scheduler.is_alias(task))
