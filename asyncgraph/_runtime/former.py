"""Nodes whose place in a run another node has taken: they are known as long as anybody else has them."""

from __future__ import annotations

import weakref
from typing import Any

from asyncgraph._graph.node import Node

__all__ = ["FormerNodes"]


class FormerNodes:
    """Former nodes of tasks, which this does not keep alive."""

    __slots__ = ("_tasks",)

    def __init__(self) -> None:
        # By id and not in a WeakKeyDictionary, which would compare nodes, whose comparisons are nodes.
        self._tasks: dict[int, tuple[weakref.ref[Node[Any]], int]] = {}

    def __len__(self) -> int:
        return len(self._tasks)

    def add(self, node: Node[Any], task: int) -> None:
        """`node` was the one of this task."""
        tasks, key = self._tasks, id(node)
        tasks[key] = weakref.ref(node, lambda _: tasks.pop(key, None)), task

    def get(self, node: Node[Any]) -> int | None:
        """The task that the node was the one of, or None."""
        known = self._tasks.get(id(node))
        return None if known is None or known[0]() is not node else known[1]
