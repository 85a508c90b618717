"""Graphs written by hand as dictionaries, and the check that they can be run."""

from __future__ import annotations

import difflib
import sys
from collections.abc import Callable, Iterable, Mapping
from types import FrameType
from typing import Any

from asyncgraph._graph.arguments import Template, search
from asyncgraph._graph.function import Function
from asyncgraph._graph.graph import Ref, Task
from asyncgraph._graph.node import NO_KWARGS, Branch, Node
from asyncgraph._lazy.delayed import DelayedFunction, DelayedMethod, delayed, value_node
from asyncgraph._lazy.node import Delayed, build_node
from asyncgraph.errors import CycleError, MissingKeyError

__all__ = ["from_graph"]


def from_graph(graph: Mapping[str, Any], key: str, /) -> Delayed[Any]:
    """Make a node from a graph that was written by hand.

    Args:
        graph: A mapping of keys to what they stand for: a tuple that begins with a callable is a call
            with the rest as arguments; a string that is a key of the graph is the value of that key;
            a list, a tuple and the values of a dict are searched for both; a node is itself; anything
            else is data. The tasks of a `node.graph` are taken, too: in them a string is a string.
        key: The key whose value is wanted. Only what it needs is looked at.

    Returns:
        The node for `key`. Nothing has run.

    Raises:
        MissingKeyError: `key`, or one that a task refers to, is not in the graph.
        CycleError: Keys wait for each other in a circle; the message shows it.
        TypeError: `graph` is no mapping, or a key is no string.
        ValueError: A list, tuple or dict of the graph contains itself.

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
    for name in (key, *graph):
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
        entry = self.graph[key]
        if isinstance(entry, Task):
            return list(reversed(entry.dependencies))
        keys: list[str] = []

        def note(item: Any) -> Any:
            if self._is_key(item):
                keys.append(item)
            return item

        _transformed(entry, note, call=tuple)
        keys.reverse()
        return keys

    def _node(self, key: str) -> Delayed[Any]:
        entry = self.graph[key]
        if isinstance(entry, Task):
            args = tuple(self._with_nodes(entry.args))
            if entry.is_choice:
                args = (args[0], *map(Branch, args[1:]))
            kwargs = dict(zip(entry.kwargs, self._with_nodes(entry.kwargs.values()), strict=True))
            node = build_node(entry._function, args, kwargs, self.frame)
            object.__setattr__(node, "_code", entry.site)
        else:
            node = _transformed(entry, self._value, self._call)
            if not (type(entry) is tuple and _is_call(entry)):
                node = value_node(node, None, None, self.frame)
        object.__setattr__(node, "_key", key)
        return node

    def _with_nodes(self, values: Iterable[Any]) -> list[Any]:
        """Arguments of a `Task`, with a node for each `Ref` in them."""
        found = [search(value, Ref, []) for value in values]
        return [
            each.fill(self._of_ref, Ref) if type(each) is Template else self._of_ref(each) for each in found
        ]

    def _of_ref(self, item: Any) -> Any:
        return self.nodes[item.key] if isinstance(item, Ref) else item

    def _is_key(self, item: Any) -> bool:
        return type(item) is str and item in self.graph

    def _value(self, item: Any) -> Any:
        return self.nodes[item] if self._is_key(item) else item

    def _call(self, items: list[Any]) -> Delayed[Any]:
        call: Any = items[0]
        args = items[1:]
        if isinstance(call, DelayedMethod):
            call, args = call.__func__, [call.__self__, *args]
        function: Function = (call if isinstance(call, DelayedFunction) else delayed(call)).function
        return build_node(function, tuple(args), NO_KWARGS, self.frame)


def _is_call(items: tuple[Any, ...] | list[Any]) -> bool:
    return bool(items) and callable(items[0]) and not isinstance(items[0], Node)


def _transformed(entry: Any, leaf: Callable[[Any], Any], call: Callable[[list[Any]], Any]) -> Any:
    """`entry` with `leaf(item)` for what is no container and `call(items)` for tuples that are calls.

    A container in which that changes nothing stays the same object.
    """
    if type(entry) not in (list, tuple, dict):
        return leaf(entry)
    stack: list[tuple[Any, list[Any], list[Any]]] = [(entry, _items(entry)[::-1], [])]
    # Of the containers on the stack, which hold each other: their ids are theirs.
    within = {id(entry)}
    while True:
        container, pending, done = stack[-1]
        if pending:
            item = pending.pop()
            if type(item) not in (list, tuple, dict):
                done.append(leaf(item))
            elif id(item) in within:
                raise ValueError(f"the graph holds a {type(item).__name__} that contains itself")
            else:
                stack.append((item, _items(item)[::-1], []))
                within.add(id(item))
            continue
        stack.pop()
        within.remove(id(container))
        made = _assembled(container, done, call)
        if not stack:
            return made
        stack[-1][2].append(made)


def _items(container: Any) -> list[Any]:
    return list(container.values() if type(container) is dict else container)


def _assembled(container: Any, items: list[Any], call: Callable[[list[Any]], Any]) -> Any:
    if type(container) is tuple and _is_call(items):
        return call(items)
    if all(new is old for new, old in zip(items, _items(container), strict=True)):
        return container
    if type(container) is dict:
        return dict(zip(container, items, strict=True))
    return tuple(items) if type(container) is tuple else items
