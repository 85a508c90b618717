"""A plan: a graph prepared for running, its nodes numbered and its edges turned into lists of numbers.

The number of a node is its place in a depth-first order, dependencies before dependents. It is also
the node's priority: of all that is ready, the lowest number goes first, which finishes what was begun
before it begins anything new, and so keeps few results alive.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from asyncgraph._graph.node import Node, in_dependency_order

__all__ = ["Plan"]


class Plan:
    """The nodes that some outputs need, numbered.

    Attributes:
        nodes: The nodes, by number.
        number: The number of each node, by its `id`.
        dependencies: By number, the numbers of a node's dependencies, in order of appearance; one
            that appears twice is listed twice, here and in `dependents`.
        dependents: By number, the numbers of a node's dependents.
        outputs: The numbers of the nodes asked for.
    """

    __slots__ = ("dependencies", "dependents", "nodes", "number", "outputs")

    def __init__(self, outputs: Iterable[Node[Any]]) -> None:
        requested = list(outputs)
        self.nodes = in_dependency_order(requested)
        self.number = {id(node): number for number, node in enumerate(self.nodes)}
        number = self.number
        self.dependencies: list[tuple[int, ...]] = [
            tuple([number[id(each)] for each in node._dependencies]) for node in self.nodes
        ]
        self.dependents = dependents_of(self.dependencies)
        self.outputs = [number[id(node)] for node in requested]


def dependents_of(dependencies: list[tuple[int, ...]]) -> list[list[int]]:
    """The edges the other way round."""
    dependents: list[list[int]] = [[] for _ in dependencies]
    for number, each in enumerate(dependencies):
        for dependency in each:
            dependents[dependency].append(number)
    return dependents
