"""The choices of an execution that have not been made: what they may need is kept for them.

What a choice is between is in no plan, and comes into the graph when it is chosen. Nodes that it shares with
the rest of the graph, or with another choice, run once all the same: their results are kept until none of the
choices that may need them is to be made any more.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Protocol, Self

from asyncgraph._graph.node import Node, branches_of, in_dependency_order
from asyncgraph._graph.scheduler import Scheduler

__all__ = ["Choices"]


class Chooser(Protocol):
    """An execution, as its choices see it."""

    nodes: Any
    scheduler: Scheduler

    def task_of(self, node: Node[Any]) -> int | None:
        """The task whose result is that of the node, if it is there or will be."""


class Choices:
    """What the choices of one execution may need."""

    def __init__(self, owner: Chooser) -> None:
        """No choice is known yet."""
        self._owner = owner
        # What a choice may need, by its task; and the choices that may need a node.
        self._needs: dict[int, list[Node[Any]]] = {}
        self._wanted: dict[Node[Any], set[int]] = {}
        self._kept: dict[Node[Any], int] = {}

    def of(self, owner: Chooser) -> Self:
        """The same in another execution, which goes on with this one."""
        self._owner = owner
        return self

    def add(self, task: int) -> None:
        """There is a choice to be made; what it may need is kept from now on."""
        needs = in_dependency_order(branches_of(self._owner.nodes[task]), with_branches=True)
        self._needs[task] = needs
        for node in needs:
            if node in self._wanted:
                self._wanted[node].add(task)
            else:
                self._wanted[node] = {task}
                self._keep(node)

    def may_need(self, node: Node[Any]) -> bool:
        """Whether a choice that has not been made may need the node."""
        return node in self._wanted

    def keep(self, nodes: Iterable[Node[Any]]) -> None:
        """These nodes have come into the graph: keep what choices may need of them."""
        for node in nodes:
            if node in self._wanted:
                self._keep(node)

    def forget(self, tasks: Iterable[int]) -> None:
        """Those of these tasks that are choices have been made, or will never be."""
        for task in tasks:
            for node in self._needs.pop(task, ()):
                wanted = self._wanted[node]
                wanted.discard(task)
                if not wanted:
                    del self._wanted[node]
                    if node in self._kept:
                        self._owner.scheduler.let_go(self._kept.pop(node))

    def _keep(self, node: Node[Any]) -> None:
        task = self._owner.task_of(node)
        if task is not None:
            self._owner.scheduler.keep(task)
            self._kept[node] = task
