"""The growth of a graph while it runs: a task's function has returned a node, which is computed in its place.

What of that node's graph is there already is used; the rest is added. A task that has been added itself, by
another that returned a node, need not wait for what it has returned: it becomes the call of that. So a
function that returns a call of itself, and so on, takes no more memory the deeper it goes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import chain
from typing import Any, NamedTuple

from asyncgraph._graph.node import Node, in_dependency_order, key_of
from asyncgraph._runtime.lanes import INLINE, PROCESS
from asyncgraph._runtime.parts import Parts, Whole
from asyncgraph._runtime.planning import no_output
from asyncgraph._runtime.preparation import resources_among
from asyncgraph.errors import GraphError

__all__ = ["Growth"]


class _Grown(NamedTuple):
    """What has come into a graph.

    Attributes:
        root: The task whose outcome is that of the one which has returned a node.
        added: The nodes of the new tasks.
        number: These, and the one that has taken another's place, with their tasks.
        edges: What each of them needs.
        ended: The tasks that have ended at once.
    """

    root: int
    added: Sequence[Node[Any]]
    number: Mapping[Node[Any], int]
    edges: Sequence[tuple[int, ...]]
    ended: list[int]


class Growth:
    """Adds to the graph of one execution.

    Args:
        owner: The execution.
        parts: Are told of what is new.
    """

    def __init__(self, owner: Whole, parts: Parts) -> None:
        self._owner = owner
        self._parts = parts

    def grow(self, task: int, root: Node[Any]) -> list[int]:
        """A running task has returned a node: let that be computed, and the task have its outcome.

        Returns:
            The tasks that are finished or failed at once, because what they wait for is.

        Raises:
            GraphError: It depends on the task; it is a resource, which is asked for; or there is no executor
                of a name that it asks for.
            SerializationError: What it needs here, and a worker process has made, does not unpickle.
        """
        owner = self._owner
        self._parts.threads.take_back()  # new edges may lead to what is in the window
        new = in_dependency_order([root], lambda node: owner.task_of(node) is not None)
        mark = 0 if owner.recorder is None else owner.recorder.mark()
        grown = self._renew(task, new) if self._can_renew(task, new) else self._expand(task, root, new)
        if owner.recorder is not None:
            owner.recorder.expanded(mark, task, grown.root, grown.number, grown.edges)
        owner.places.add(grown.added, grown.number)
        owner.nodes = owner.places.nodes
        self._tell_parts(task, grown)
        owner.note_queues()
        return grown.ended

    def _expand(self, task: int, root: Node[Any], new: Sequence[Node[Any]]) -> _Grown:
        """The task waits for `root`, which may be among these new nodes, and takes its outcome."""
        owner, first = self._owner, len(self._owner.nodes)
        number = {node: first + offset for offset, node in enumerate(new)}
        edges, lanes = self._edges_and_lanes(new, number)
        (root_task,) = owner.places.of_all((root,), number)
        self._refuse_resource(task, root)
        self._unpack_for([*edges, (root_task,)], [*lanes, INLINE], first)
        ended = owner.scheduler.expand(task, edges, lanes, root_task, resources_among(new, first))
        return _Grown(root_task, new, number, edges, ended)

    def _can_renew(self, task: int, new: Sequence[Node[Any]]) -> bool:
        """Whether a task can become the call of the last of these nodes, which are what it has returned."""
        # What choices and resources have noted of a task has to stay true of it.
        is_plain = self._parts.choices is None and self._parts.resources is None
        is_renewable = bool(new) and is_plain and self._owner.scheduler.is_added(task)
        return is_renewable and not any(map(_is_choice_or_resource, new))

    def _renew(self, task: int, new: Sequence[Node[Any]]) -> _Grown:
        """The task is the call of the last of these nodes, all of them new, from now on."""
        owner, first = self._owner, len(self._owner.nodes)
        *needed, root = new  # it takes the place of a node that nobody has asked for
        number = {node: first + offset for offset, node in enumerate(needed)} | {root: task}
        edges, lanes = self._edges_and_lanes(new, number)
        inputs = owner.scheduler.dependencies[task]
        self._unpack_for(edges, lanes, first)
        ended = owner.scheduler.renew(task, edges[:-1], lanes[:-1], edges[-1], lanes[-1])
        owner.places.replace(task, root)
        if self._parts.named is None or not owner.is_resumable:  # else they may be called again
            owner.places.forget_released(inputs, owner.scheduler)
        self._parts.attempts.forget(task)
        return _Grown(task, needed, number, edges, ended)

    def _edges_and_lanes(
        self, new: Sequence[Node[Any]], number: Mapping[Node[Any], int]
    ) -> tuple[list[tuple[int, ...]], list[int]]:
        """What each of these nodes needs, and where it runs."""
        owner = self._owner
        edges = [owner.places.of_all(node._dependencies, number) for node in new]
        return edges, [owner.lanes.number_of(node._function) for node in new]

    def _unpack_for(self, edges: Sequence[tuple[int, ...]], lanes: Sequence[int], first: int) -> None:
        """Unpickle what new tasks need here, and not in a worker; those from `first` on have no value yet."""
        if self._parts.processes is not None:
            needed_here = [each for each, lane in zip(edges, lanes, strict=True) if lane != PROCESS]
            self._parts.processes.unpack(each for each in chain(*needed_here) if each < first)

    def _refuse_resource(self, task: int, root: Node[Any]) -> None:
        """Raise GraphError if what was asked for turns out to be a resource."""
        if not root._function.is_resource:
            return
        scheduler, reached = self._owner.scheduler, [task]
        for each in reached:
            if each in scheduler.outputs:
                raise GraphError(f"{key_of(self._owner.nodes[task])} has returned {no_output(root)}")
            reached += filter(scheduler.is_alias, scheduler.dependents[each])

    def _tell_parts(self, task: int, grown: _Grown) -> None:
        """Let the parts know of what is new, and of what is over."""
        parts, ended = self._parts, grown.ended
        if parts.choices is not None:
            parts.choices.keep(grown.number)
        parts.note([*grown.number.values()])
        if parts.choices is not None:
            parts.choices.forget((task,) if self._owner.is_resumable else (task, *ended))
        if parts.resources is not None:
            parts.resources.returned(task, grown.root)
            parts.resources.over(ended)
            parts.resources.close_unused()


def _is_choice_or_resource(node: Node[Any]) -> bool:
    return node._function.is_choice or node._function.is_resource
