"""The arguments of a call, with the values of nodes in their places."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from asyncgraph._graph.arguments import Template
from asyncgraph._graph.node import NO_KWARGS, Node

__all__ = ["filled", "resolve", "resolve_in_order"]

_Arguments = tuple[tuple[Any, ...], Mapping[str, Any]]


def resolve(node: Node[Any], value_of: Callable[[Node[Any]], Any]) -> _Arguments:
    """The arguments to call the node's function with.

    Args:
        node: The node.
        value_of: Gives the value of each of its dependencies; called once for each time that it appears.

    Raises:
        BaseException: What building a container around the values raises: for instance a list as the
            value of a node in a set.
    """
    args = node._args
    dependencies = node._dependencies
    if dependencies is args:  # all are nodes, and there are no named ones
        return tuple(map(value_of, args)), NO_KWARGS
    if not dependencies:
        return args, node._kwargs
    kwargs = {name: filled(value, value_of) for name, value in node._kwargs.items()} or NO_KWARGS
    return tuple([filled(value, value_of) for value in args]), kwargs


def resolve_in_order(node: Node[Any], values: list[Any]) -> _Arguments:
    """As `resolve`, given the values of the dependencies, in their order."""
    args = node._args
    if node._dependencies is args:
        return tuple(values), NO_KWARGS
    if len(args) == 1 and type(args[0]) is Template and args[0].is_flat and not node._kwargs:
        return (args[0].build(values),), NO_KWARGS  # of a long list, a tenth of what else is to do
    return resolve(node, dict(zip(node._dependencies, values, strict=True)).__getitem__)


def filled(argument: Any, value_of: Callable[[Node[Any]], Any]) -> Any:
    """One argument with the values of the nodes in it."""
    if issubclass(type(argument), Node):
        return value_of(argument)
    if type(argument) is Template:
        return argument.fill(value_of, Node)
    return argument
