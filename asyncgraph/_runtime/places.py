"""Which task each node of an execution has, also as its graph grows.

A function that returns a call of itself, and so on, makes one node after another for the same task. To keep
all of them, with their arguments, would cost memory for nothing: nearly always nobody has such a node any
more. If somebody does, and uses it once more in the same execution, its value is that of the task.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from asyncgraph._graph.function import Function
from asyncgraph._graph.node import NO_KWARGS, Node
from asyncgraph._graph.scheduler import RELEASED, Scheduler
from asyncgraph._runtime.former import FormerNodes

__all__ = ["Places"]

# What stands in the place of nodes that are needed no more.
_GONE: Node[Any] = Node(Function(tuple, "gone", "loop"), (), NO_KWARGS, (), None, 0)


class Places:
    """The nodes of one execution, and their tasks.

    Args:
        nodes: The nodes, by number; shared with other executions as long as none is added.
        number: The number of each node; likewise.

    Attributes:
        nodes: The same.
        number: The same. A node whose place another has taken is not in it.
    """

    def __init__(self, nodes: Sequence[Node[Any]], number: dict[Node[Any], int]) -> None:
        self.nodes = nodes
        self.number = number
        # A copy of the nodes, once functions have returned others; and those that have lost their place.
        self._own: list[Node[Any]] | None = None
        self._former = FormerNodes()

    def find(self, node: Node[Any]) -> int | None:
        """The task that the node is, or was, the one of; None if there is none."""
        known = self.number.get(node)
        return self._former.get(node) if known is None else known

    def of_all(self, nodes: Iterable[Node[Any]], added: Mapping[Node[Any], int]) -> tuple[int, ...]:
        """The tasks of nodes that have one, or are being added with these."""
        tasks: list[int] = []
        for node in nodes:
            known = added[node] if node in added else self.find(node)
            assert known is not None, "a node is neither there nor added"
            tasks.append(known)
        return tuple(tasks)

    def add(self, nodes: Sequence[Node[Any]], number: Mapping[Node[Any], int]) -> None:
        """Add nodes behind all others; `number` also has those that have taken another's place."""
        own = self._made_own()
        own.extend(nodes)
        self.number.update(number)

    def replace(self, task: int, node: Node[Any]) -> None:
        """The task is the call of another node now, which `add` is to be told of."""
        own = self._made_own()
        former, own[task] = own[task], node
        if self.number.get(former) == task:
            del self.number[former]
            self._former.add(former, task)

    def forget_released(self, tasks: Iterable[int], scheduler: Scheduler) -> None:
        """Keep no node that was added for a call that is over: its arguments would pile up."""
        own, stack = self._made_own(), list(tasks)
        while stack:
            task = stack.pop()
            node = own[task]
            if node is _GONE or not scheduler.is_added(task) or scheduler.state[task] != RELEASED:
                continue
            own[task] = _GONE
            if self.number.get(node) == task:
                del self.number[node]
            stack += scheduler.dependencies[task]

    def _made_own(self) -> list[Node[Any]]:
        if self._own is None:
            self.nodes = self._own = list(self.nodes)
            self.number = self.number.copy()
        return self._own
