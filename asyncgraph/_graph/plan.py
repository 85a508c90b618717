"""A plan: a graph prepared for running, its nodes in order and its edges turned into lists of numbers.

The number of a node is its place in an order that keeps few results alive (see `order`), dependencies
before dependents. It is also the node's priority: of all that is ready, the lowest number goes first.

A plan does not change, so that many runs can share it. What a run may not need, it works out when it is
first asked for.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import cached_property
from itertools import islice, repeat
from operator import attrgetter
from typing import Any

from asyncgraph._graph.function import Function
from asyncgraph._graph.node import Node, dependency_order, in_dependency_order, tree_order
from asyncgraph._graph.order import is_small, may_gain, order, order_of_shape, order_of_tree
from asyncgraph._graph.pieces import PIECE, Pieces, cut, whole

__all__ = ["Plan", "dependents_of"]

_EASY = 4 * PIECE
"""Nodes in a piece where each takes next to no time."""

_function_of = attrgetter("_function")
_dependencies_of = attrgetter("_dependencies")


class Plan:
    """The nodes that some outputs need, numbered.

    Attributes:
        nodes: The nodes, by number.
        requested: The nodes asked for; one may be there twice.
        inputs: The nodes whose values are given to each run, those that only a branch of a choice needs, too;
            they are the first, in order of appearance.
        is_tree: Whether every node is needed once: by one other, or as one output.
        functions: The functions that the nodes call.
    """

    def __init__(self, outputs: Iterable[Node[Any]]) -> None:
        whole(self._make(outputs))

    @classmethod
    def in_pieces(cls, outputs: Iterable[Node[Any]]) -> Pieces[Plan]:
        """Make a plan in pieces."""
        plan = cls.__new__(cls)
        yield from plan._make(outputs)
        return plan

    def _make(self, outputs: Iterable[Node[Any]]) -> Pieces[None]:
        self.requested = list(outputs)
        nodes = yield from tree_order(self.requested)
        self.is_tree = nodes is not None
        self.nodes = (yield from dependency_order(self.requested)) if nodes is None else nodes
        functions: set[Function] = set()
        for some in cut(self.nodes, _EASY):
            functions.update(map(_function_of, some))
            yield
        self.inputs = self._find_inputs(functions)
        self.functions = frozenset(functions.union(map(_function_of, self.inputs)))
        yield from self._put_in_order()
        if self.inputs:
            self.nodes = self.inputs + [node for node in self.nodes if not node._function.is_input]
            self._forget_numbers()

    def _find_inputs(self, functions: set[Function]) -> list[Node[Any]]:
        nodes: Iterable[Node[Any]] = ()
        if any(function.is_choice for function in functions):
            nodes = in_dependency_order(self.requested, with_branches=True)
        elif any(function.is_input for function in functions):
            nodes = self.nodes
        return [node for node in nodes if node._function.is_input]

    def prepare(self) -> None:
        """Work out now what runs may need, and not in the first of them."""
        _ = self.outputs, self.dependents, self.last_uses

    def _put_in_order(self) -> Pieces[None]:
        """Renumber the nodes, from depth first to an order with a lower peak, if there is one."""
        if self.is_tree:
            needed: list[int] = []
            for some in cut(self.nodes, _EASY):
                needed += map(len, map(_dependencies_of, some))
                yield
            if not (yield from may_gain(needed)):
                return
        yield from self.number_in_pieces()
        if is_small(len(self.nodes)):
            shape = tuple(self.dependencies), tuple(self.outputs)
            tasks = yield from order_of_shape(*shape, is_tree=self.is_tree)
        elif self.is_tree:
            tasks = yield from order_of_tree(self.dependencies, self.outputs)
        else:
            tasks = yield from order(self.dependencies, self.dependents, self.outputs)
        if tasks is not None:
            self.nodes = [self.nodes[task] for task in tasks]
            self._forget_numbers()

    def _forget_numbers(self) -> None:
        for known in ("number", "outputs", "dependencies", "dependents"):
            self.__dict__.pop(known, None)

    # What follows is worked out when it is first asked for, or before that in pieces. It is made by passes of
    # `map` and the like, which take a third of the time of a loop.

    def number_in_pieces(self) -> Pieces[None]:
        """Work out `number`, `outputs`, `dependencies` and `dependents`."""
        if "dependents" in self.__dict__:
            return
        numbers: dict[Node[Any], int] = {}
        for some in cut(self.nodes, _EASY):
            numbers.update(zip(some, range(len(numbers), len(numbers) + len(some)), strict=True))
            yield
        self.__dict__["number"] = numbers
        dependencies: list[tuple[int, ...]] = []
        for some in cut(self.nodes, _EASY):
            dependencies += self._dependencies_of(some)
            yield
        self.__dict__["dependencies"] = dependencies
        self.__dict__["dependents"] = yield from self._dependents_in_pieces()

    def last_uses_in_pieces(self) -> Pieces[None]:
        """Work out `last_uses`."""
        if "last_uses" not in self.__dict__:
            self.__dict__["last_uses"] = yield from self._last_uses_in_pieces()

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
        return self._dependencies_of(self.nodes)

    @cached_property
    def dependents(self) -> Sequence[Sequence[int]]:
        """By number, the numbers of a node's dependents."""
        return whole(self._dependents_in_pieces())

    @cached_property
    def last_uses(self) -> Sequence[Sequence[Node[Any]]]:
        """By number, the nodes whose values are needed no more once the arguments of that node are there.

        Values of outputs are always needed.
        """
        return whole(self._last_uses_in_pieces())

    def _dependencies_of(self, nodes: Sequence[Node[Any]]) -> list[tuple[int, ...]]:
        number_of = self.number.__getitem__
        return [tuple(map(number_of, each)) if each else () for each in map(_dependencies_of, nodes)]

    def _dependents_in_pieces(self) -> Pieces[Sequence[Sequence[int]]]:
        return (yield from (_in_tree if self.is_tree else _in_any)(self.dependencies))

    def _last_uses_in_pieces(self) -> Pieces[Sequence[Sequence[Node[Any]]]]:
        last: dict[Node[Any], int] = {}
        number = 0
        for some in cut(self.nodes):
            for each in map(_dependencies_of, some):
                if len(each) > _EASY:
                    last.update(zip(each, repeat(number)))
                    yield
                else:
                    for node in each:
                        last[node] = number
                number += 1
            yield
        for node in self.requested:
            last.pop(node, None)
        last_uses: list[list[Node[Any]] | tuple[()]] = [()] * len(self.nodes)
        uses = iter(last.items())
        while pairs := list(islice(uses, PIECE)):
            for node, number in pairs:
                there = last_uses[number]
                if there:
                    there.append(node)
                else:
                    last_uses[number] = [node]
            yield
        return last_uses


def dependents_of(dependencies: Sequence[tuple[int, ...]]) -> list[list[int]]:
    """The edges the other way round."""
    return whole(_in_any(dependencies))


def _in_any(dependencies: Sequence[tuple[int, ...]]) -> Pieces[list[list[int]]]:
    dependents: list[list[int]] = []
    for some in cut(dependencies, _EASY):
        dependents += [[] for _ in some]
    number = 0
    for some in cut(dependencies):
        for each in some:
            for dependency in each:
                dependents[dependency].append(number)
            number += 1
        yield
    return dependents


def _in_tree(dependencies: Sequence[tuple[int, ...]]) -> Pieces[list[tuple[int, ...]]]:
    """As `_in_any` where each has one at most: in a third of the time, without a list for each."""
    dependents: list[tuple[int, ...]] = [()] * len(dependencies)
    number = 0
    for some in cut(dependencies):
        for each in some:
            if each:
                dependent = (number,)
                for dependency in each:
                    dependents[dependency] = dependent
            number += 1
        yield
    return dependents
