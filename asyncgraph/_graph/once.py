"""Generators among arguments, which give their items once: to one call, in one run.

To a second call, and in a second run or attempt, they would look empty, and the result would be wrong without
a word. So it is remembered which generators calls were given, as long as these are there.
"""

from __future__ import annotations

import weakref
from collections.abc import Iterable
from types import GeneratorType
from typing import TYPE_CHECKING, Any

from asyncgraph._graph.node import Node, key_of
from asyncgraph.errors import GraphError

__all__ = ["give", "has_spent_any", "refuse_spent", "spent_among"]

if TYPE_CHECKING:
    _Generator = GeneratorType[Any, Any, Any]

# By id: the generator, and whether it had not begun when it was given.
_given: dict[int, tuple[weakref.ref[_Generator], bool]] = {}


def give(generator: _Generator) -> None:
    """A call is given this generator.

    Raises:
        TypeError: It has no items any more, or was given before.
    """
    key = id(generator)
    if key in _given or generator.gi_frame is None:
        why = "another call was given this one" if key in _given else "this one has given them all"
        raise TypeError(f"a generator gives its items once, and {why}: make a list of them, and give that")
    # In no function that has a name for the generator: the callback would keep it alive.
    _given[key] = weakref.ref(generator, _forget(key)), not _has_begun(generator)


def _forget(key: int) -> Any:
    return lambda _: _given.pop(key, None)


def _has_begun(generator: _Generator) -> bool:
    return generator.gi_running or generator.gi_suspended or generator.gi_frame is None


def has_spent_any() -> bool:
    """Whether any generator that was given to a call has given items since; quick where there is none."""
    return bool(_given) and any(is_spent(each) for each, _ in list(_given.values()))


def is_spent(generator: Any) -> bool:
    """Whether this is, or refers to, a generator that has given items since it was given to a call."""
    each = generator() if isinstance(generator, weakref.ref) else generator
    if type(each) is not GeneratorType:
        return False
    known = _given.get(id(each))
    return each.gi_frame is None or (known is not None and known[1] and _has_begun(each))


def spent_among(node: Node[Any]) -> bool:
    """Whether any argument of the node is such a generator."""
    return any(map(is_spent, node._args)) or any(map(is_spent, node._kwargs.values()))


def refuse_spent(nodes: Iterable[Node[Any]]) -> None:
    """Raise GraphError if one of these nodes, which are to run, has such an argument."""
    for node in nodes:
        if spent_among(node):
            raise GraphError(
                f"{key_of(node)} was given a generator, which gives its items once, and has begun to do so "
                "before: give it a list of them, or let its function make the generator"
            )
