"""Nodes built by hand, as the layer above builds them, for tests that know only the pure core."""

from __future__ import annotations

import sys

from asyncgraph._graph.arguments import search
from asyncgraph._graph.function import Function
from asyncgraph._graph.node import Branch, Node


def node(name, *args, **kwargs):
    """Record a call; its site is the line that calls this."""
    return called(Function(max, name, "thread"), args, kwargs, sys._getframe(1))


def data(value):
    """Wrap a value."""
    return called(Function(max, type(value).__name__, "loop", is_value=True), (value,), {}, sys._getframe(1))


def input_node(name):
    """Stand for a value that is given later."""
    return called(Function(max, name, "loop", is_input=True), (), {}, sys._getframe(1))


def choice(condition, *branches):
    """Choose between nodes, which are no dependencies."""
    function = Function(max, "when", "loop", is_choice=True)
    return called(function, (condition, *map(Branch, branches)), {}, sys._getframe(1))


def called(function, args, kwargs, frame):
    """Record a call of a function at a frame."""
    found = []

    def recorded(value):
        if isinstance(value, Node):
            found.append(value)
            return value
        return search(value, Node, found)

    args = tuple(map(recorded, args))
    kwargs = {key: recorded(value) for key, value in kwargs.items()}
    return Node(function, args, kwargs, tuple(found), frame.f_code, frame.f_lasti)


def chain(length):
    """Return the last node of a chain."""
    last = node("first")
    for _ in range(length - 1):
        last = node("next", last)
    return last


def tree(leaves, name="merge"):
    """Return the root of a pairwise tree, and its nodes in the order in which they were built."""
    level = built = [node("leaf", number) for number in range(leaves)]
    while len(level) > 1:
        level = [node(name, *level[place : place + 2]) for place in range(0, len(level), 2)]
        built = built + level
    return level[0], built
