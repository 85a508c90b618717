"""Graphs written by hand as dictionaries, and the check that they can be run."""

from __future__ import annotations

import difflib
import sys
from collections.abc import Callable, Mapping
from types import FrameType
from typing import Any

from asyncgraph._graph.graph import Ref, Task
from asyncgraph._graph.node import NO_KWARGS, Node
from asyncgraph._lazy.delayed import DelayedFunction, delayed, value_node
from asyncgraph._lazy.node import Delayed, build_node
from asyncgraph.errors import CycleError, MissingKeyError

__all__ = ["from_graph"]


def from_graph(graph: Mapping[str, Any], key: str, /) -> Delayed[Any]:
    """Make a node from a graph that was written by hand.

    Args:
        graph: A mapping of keys to what they stand for: a tuple that begins with a callable is a call
            with the rest as arguments; a string that is a key of the graph is the value of that key;
            a list, tuple or dict is searched for both; a node is itself; anything else is data. The tasks
            of a `node.graph` are taken, too.
        key: The key whose value is wanted. Only what it needs is looked at.

    Returns:
        The node for `key`. Nothing has run.

    Raises:
        MissingKeyError: `key`, or one that a task refers to, is not in the graph.
        CycleError: Keys wait for each other in a circle; the message shows it.
        TypeError: `graph` is no mapping, or a key is no string.

    Example:
        >>> from asyncgraph import from_graph
        >>> from operator import add
        >>> node = from_graph({"x": 1, "y": (add, "x", 10)}, "y")
        >>> dict(node.graph)
        {'x': 1, 'y': add(x, 10)}
        >>> await node
        11
    """
    if not isinstance(graph, Mapping):
        raise TypeError(f"from_graph takes a mapping of keys to tasks, not {graph!r}")
    for name in graph:
        if not isinstance(name, str):
            raise TypeError(f"the keys of a graph are strings, not {name!r}")
    return _Builder(graph, sys._getframe(1)).build(key)


class _Builder:
    """Turns one graph into nodes, dependencies first."""

    def __init__(self, graph: Mapping[str, Any], frame: FrameType) -> None:
        self.graph = graph
        self.frame = frame
        self.nodes: dict[str, Delayed[Any]] = {}

    def build(self, key: str) -> Delayed[Any]:
        self._check_there(key, None)
        # The path from `key` to where we are, and what is still to be looked at from each place on it.
        path: dict[str, list[str]] = {key: self._keys_in(key)}
        while path:
            current = next(reversed(path))
            if path[current]:
                self._descend(path, current, path[current].pop())
            else:
                del path[current]
                self.nodes[current] = self._node(current)
        return self.nodes[key]

    def _descend(self, path: dict[str, list[str]], current: str, wanted: str) -> None:
        self._check_there(wanted, current)
        if wanted in path:
            keys = list(path)
            cycle = (*keys[keys.index(wanted) :], wanted)
            raise CycleError(f"the graph goes round in a circle: {' -> '.join(cycle)}", cycle=cycle)
        if wanted not in self.nodes:
            path[wanted] = self._keys_in(wanted)

    def _check_there(self, key: str, wanted_by: str | None) -> None:
        if key in self.graph:
            return
        close = difflib.get_close_matches(key, list(self.graph), n=1)
        raise MissingKeyError(
            f"there is no key {key!r} in the graph"
            + (f", which {wanted_by!r} refers to" if wanted_by else "")
            + (f"; did you mean {close[0]!r}?" if close else ""),
            missing=key,
        )

    def _keys_in(self, key: str) -> list[str]:
        """The keys that the entry for `key` refers to, the first one last."""
        keys: list[str] = []

        def note(item: Any) -> Any:
            if self._is_reference(item):
                keys.append(item.key if isinstance(item, Ref) else item)
            return item

        _transformed(_written(self.graph[key]), note, call=tuple)
        keys.reverse()
        return keys

    def _node(self, key: str) -> Delayed[Any]:
        entry = self.graph[key]
        if isinstance(entry, Task):
            args, kwargs = _transformed(_written(entry), self._value, self._call)
            node = build_node(entry._function, args, kwargs, self.frame)
        else:
            node = _transformed(entry, self._value, self._call)
            if not (type(entry) is tuple and _is_call(entry)):
                node = value_node(node, None, None, self.frame)
        object.__setattr__(node, "_key", key)
        return node

    def _is_reference(self, item: Any) -> bool:
        return isinstance(item, Ref) or (type(item) is str and item in self.graph)

    def _value(self, item: Any) -> Any:
        if self._is_reference(item):
            return self.nodes[item.key if isinstance(item, Ref) else item]
        return item

    def _call(self, items: list[Any]) -> Delayed[Any]:
        function = items[0] if isinstance(items[0], DelayedFunction) else delayed(items[0])
        return build_node(function.function, tuple(items[1:]), NO_KWARGS, self.frame)


def _written(entry: Any) -> Any:
    """What is to be searched for keys: of a `Task`, the arguments."""
    return (entry.args, dict(entry.kwargs)) if isinstance(entry, Task) else entry


def _is_call(items: tuple[Any, ...] | list[Any]) -> bool:
    return bool(items) and callable(items[0]) and not isinstance(items[0], Node)


def _transformed(entry: Any, leaf: Callable[[Any], Any], call: Callable[[list[Any]], Any]) -> Any:
    """`entry` with `leaf(item)` for what is no container and `call(items)` for tuples that are calls."""
    if type(entry) not in (list, tuple, dict):
        return leaf(entry)
    stack: list[tuple[Any, list[Any], list[Any]]] = [(entry, _reversed_items(entry), [])]
    while True:
        container, pending, done = stack[-1]
        if pending:
            item = pending.pop()
            if type(item) not in (list, tuple, dict):
                done.append(leaf(item))
            elif any(item is each for each, _, _ in stack):
                raise ValueError(f"the graph holds a {type(item).__name__} that contains itself")
            else:
                stack.append((item, _reversed_items(item), []))
            continue
        stack.pop()
        made = _assembled(container, done, call)
        if not stack:
            return made
        stack[-1][2].append(made)


def _reversed_items(container: Any) -> list[Any]:
    if type(container) is dict:
        container = [each for pair in container.items() for each in pair]
    return list(reversed(container))


def _assembled(container: Any, items: list[Any], call: Callable[[list[Any]], Any]) -> Any:
    if type(container) is dict:
        return dict(zip(items[::2], items[1::2], strict=True))
    if type(container) is tuple:
        return call(items) if _is_call(items) else tuple(items)
    return items
