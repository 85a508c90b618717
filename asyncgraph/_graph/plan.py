"""A plan: a graph prepared for running, its nodes in order and its edges turned into lists of numbers.

The number of a node is its place in an order that keeps few results alive (see `order`), dependencies
before dependents. It is also the node's priority: of all that is ready, the lowest number goes first.

A plan does not change, so that many runs can share it. What a run may not need, it works out when it is
first asked for.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import cached_property
from operator import attrgetter
from typing import Any

from asyncgraph._graph.function import Function
from asyncgraph._graph.node import Node, in_dependency_order, in_tree_order
from asyncgraph._graph.order import is_small, may_gain, order, order_of_shape, order_of_tree

__all__ = ["Plan", "dependents_of"]

_function_of = attrgetter("_function")
_dependencies_of = attrgetter("_dependencies")


class Plan:
    """The nodes that some outputs need, numbered.

    Attributes:
        nodes: The nodes, by number.
        requested: The nodes asked for; one may be there twice.
        inputs: The nodes whose values are given to each run; they are the first, in order of appearance.
        is_tree: Whether every node is needed once: by one other, or as one output.
    """

    def __init__(self, outputs: Iterable[Node[Any]]) -> None:
        self.requested = list(outputs)
        nodes = in_tree_order(self.requested)
        self.is_tree = nodes is not None
        self.nodes = in_dependency_order(self.requested) if nodes is None else nodes
        self.inputs = [node for node in self.nodes if node._function.is_input] if self._has_inputs() else []
        self._put_in_order()
        if self.inputs:
            self.nodes = self.inputs + [node for node in self.nodes if not node._function.is_input]
            self._forget_numbers()

    def _has_inputs(self) -> bool:
        return any(function.is_input for function in self.functions)

    def prepare(self) -> None:
        """Work out now what runs may need, and not in the first of them."""
        _ = self.outputs, self.dependents, self.last_uses

    def _put_in_order(self) -> None:
        """Renumber the nodes, from depth first to an order with a lower peak, if there is one."""
        if self.is_tree and not may_gain([len(node._dependencies) for node in self.nodes]):
            return
        if is_small(len(self.nodes)):
            shape = tuple(self.dependencies), tuple(self.outputs)
            tasks = order_of_shape(*shape, is_tree=self.is_tree)
        elif self.is_tree:
            tasks = order_of_tree(self.dependencies, self.outputs)
        else:
            tasks = order(self.dependencies, self.dependents, self.outputs)
        if tasks is not None:
            self.nodes = [self.nodes[task] for task in tasks]
            self._forget_numbers()

    def _forget_numbers(self) -> None:
        for known in ("number", "outputs", "dependencies", "dependents"):
            self.__dict__.pop(known, None)

    # What follows is made by passes of `map` and the like, which take a third of the time of a loop.

    @cached_property
    def functions(self) -> frozenset[Function]:
        """The functions that the nodes call."""
        return frozenset(map(_function_of, self.nodes))

    @cached_property
    def number(self) -> dict[Node[Any], int]:
        """The number of each node."""
        return dict(zip(self.nodes, range(len(self.nodes)), strict=True))

    @cached_property
    def outputs(self) -> list[int]:
        """The numbers of the nodes asked for."""
        return [self.number[node] for node in self.requested]

    @cached_property
    def dependencies(self) -> list[tuple[int, ...]]:
        """By number, the numbers of a node's dependencies, in order of appearance.

        One that appears twice is listed twice, here and in `dependents`.
        """
        number_of = self.number.__getitem__
        return [tuple(map(number_of, each)) if each else () for each in map(_dependencies_of, self.nodes)]

    @cached_property
    def dependents(self) -> Sequence[Sequence[int]]:
        """By number, the numbers of a node's dependents."""
        return _in_tree(self.dependencies) if self.is_tree else dependents_of(self.dependencies)

    @cached_property
    def last_uses(self) -> Sequence[Sequence[Node[Any]]]:
        """By number, the nodes whose values are needed no more once the arguments of that node are there.

        Values of outputs are always needed.
        """
        last: dict[Node[Any], int] = {}
        for number, each in enumerate(map(_dependencies_of, self.nodes)):
            for node in each:
                last[node] = number
        for node in self.requested:
            last.pop(node, None)
        last_uses: list[list[Node[Any]] | tuple[()]] = [()] * len(self.nodes)
        for node, number in last.items():
            there = last_uses[number]
            if there:
                there.append(node)
            else:
                last_uses[number] = [node]
        return last_uses


def dependents_of(dependencies: list[tuple[int, ...]]) -> list[list[int]]:
    """The edges the other way round."""
    dependents: list[list[int]] = [[] for _ in dependencies]
    for number, each in enumerate(dependencies):
        for dependency in each:
            dependents[dependency].append(number)
    return dependents


def _in_tree(dependencies: list[tuple[int, ...]]) -> list[tuple[int, ...]]:
    """As `dependents_of` where each has one at most: in a third of the time, without a list for each."""
    dependents: list[tuple[int, ...]] = [()] * len(dependencies)
    for number, each in enumerate(dependencies):
        if each:
            dependent = (number,)
            for dependency in each:
                dependents[dependency] = dependent
    return dependents
