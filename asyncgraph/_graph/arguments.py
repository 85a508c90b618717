"""The search for nodes in arguments, and the templates that put their values in place.

Containers (list, tuple, namedtuple, set, frozenset, dict with its keys, slice, dataclass instance)
are searched to any depth without recursion. One without nodes is passed on untouched, as in an
ordinary call; one with nodes is copied into a `Template` at once, so that changing it later does not
change the graph. What a node is, this module learns from the class handed to `search`.
"""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from types import BuiltinFunctionType, FunctionType, NoneType
from typing import Any

# Types of values that hold no nodes. A container whose items are all of these costs one scan in C.
ATOMS = frozenset(
    {int, float, complex, bool, str, bytes, bytearray, NoneType, type(Ellipsis), type, range}
    | {FunctionType, BuiltinFunctionType, memoryview}
)

_Build = Callable[[list[Any]], Any]


class Made:
    """Stands, in a template's step, for the container that step number `index` makes."""

    __slots__ = ("index",)

    def __init__(self, index: int) -> None:
        self.index = index


class Template:
    """A container with nodes somewhere inside, as the steps that rebuild it around their values.

    Each step is `(build, items)`: `build` makes one container from the list of its items, innermost
    containers first; the last step makes the whole. No step looks inside another, so any depth is
    filled without recursion.
    """

    __slots__ = ("steps",)

    def __init__(self, steps: Sequence[tuple[_Build, list[Any]]]) -> None:
        self.steps = steps

    def fill(self, value_of: Callable[[Any], Any]) -> Any:
        """The container, with `value_of(item)` in place of every item that is not itself a container.

        `value_of` gives the value of a node and anything else unchanged.
        """
        made: list[Any] = []
        for build, items in self.steps:
            made.append(
                build([made[item.index] if type(item) is Made else value_of(item) for item in items])
            )
        return made[-1]

    def replace(self, replaced: Callable[[Any], Any]) -> Template:
        """The same template with `replaced(item)` for each item."""
        return Template([(build, [replaced(item) for item in items]) for build, items in self.steps])


def search(value: Any, node_type: type, found: list[Any]) -> Any:
    """Append the nodes inside `value` to `found`; return a `Template`, or `value` if it holds none.

    Raises:
        ValueError: `value` contains itself and a node, so that it cannot be rebuilt.
    """
    items = None if type(value) in ATOMS else _items_of(value)
    return value if items is None else _Search(node_type, found).run(value, items)


class _Open:
    """A container whose items are being looked at."""

    __slots__ = ("container", "has_nodes", "is_cyclic", "items", "pending")

    def __init__(self, container: Any, items: list[Any]) -> None:
        self.container = container
        self.pending = items[::-1]
        self.items: list[Any] = []
        self.has_nodes = False
        self.is_cyclic = False


class _Search:
    """One search; its stack takes the place of recursion."""

    def __init__(self, node_type: type, found: list[Any]) -> None:
        self.node_type = node_type
        self.found = found
        self.steps: list[tuple[_Build, list[Any]]] = []
        self.stack: list[_Open] = []
        self.open: dict[int, _Open] = {}
        # What became of each container seen, so that one that appears twice is rebuilt once. The
        # containers are alive for the whole search: their ids stay theirs.
        self.closed: dict[int, Any] = {}

    def run(self, value: Any, items: list[Any]) -> Any:
        self._enter(value, items)
        result: Any = None
        while self.stack:
            current = self.stack[-1]
            if current.pending:
                self._look_at(current, current.pending.pop())
            else:
                result = self._close(current)
                if self.stack:
                    self.stack[-1].items.append(result)
                    self.stack[-1].has_nodes |= type(result) is Made
        return Template(self.steps) if type(result) is Made else value

    def _enter(self, container: Any, items: list[Any]) -> None:
        opened = _Open(container, items)
        self.open[id(container)] = opened
        self.stack.append(opened)

    def _look_at(self, current: _Open, item: Any) -> None:
        if type(item) in ATOMS:
            current.items.append(item)
        elif isinstance(item, self.node_type):
            self.found.append(item)
            current.items.append(item)
            current.has_nodes = True
        elif id(item) in self.closed:
            current.items.append(self.closed[id(item)])
            current.has_nodes |= type(self.closed[id(item)]) is Made
        elif id(item) in self.open:
            self.open[id(item)].is_cyclic = True
            current.items.append(item)
        elif (items := _items_of(item)) is None:
            current.items.append(item)
        else:
            self._enter(item, items)

    def _close(self, current: _Open) -> Any:
        self.stack.pop()
        container = current.container
        del self.open[id(container)]
        result = container
        if current.has_nodes:
            if current.is_cyclic:
                raise ValueError(
                    f"an argument holds nodes and contains itself (a {type(container).__name__}), so it "
                    "cannot be rebuilt with their values; pass the nodes as arguments of their own"
                )
            self.steps.append((_builder_of(container), current.items))
            result = Made(len(self.steps) - 1)
        self.closed[id(container)] = result
        return result


def _items_of(value: Any) -> list[Any] | None:
    """The items of a container that is searched; None for one where a look shows no nodes."""
    kind = type(value)
    if kind is list or kind is tuple or kind is set or kind is frozenset:
        return None if ATOMS.issuperset(map(type, value)) else list(value)
    if kind is dict:
        if ATOMS.issuperset(map(type, value)) and ATOMS.issuperset(map(type, value.values())):
            return None
        return [each for pair in value.items() for each in pair]
    if kind is slice:
        return [value.start, value.stop, value.step]
    if isinstance(value, tuple) and hasattr(kind, "_fields"):
        return list(value)
    if hasattr(kind, "__dataclass_fields__"):
        return [getattr(value, name) for name in _field_names(value)]
    return None


def _builder_of(container: Any) -> _Build:
    kind = type(container)
    if kind is dict:
        return _build_dict
    if kind is slice:
        return _build_slice
    if hasattr(kind, "__dataclass_fields__"):
        return partial(_build_dataclass, _blank(container))
    if hasattr(kind, "_fields"):
        return partial(_build_namedtuple, kind)
    build: _Build = kind
    return build


def _build_dict(items: list[Any]) -> dict[Any, Any]:
    return dict(zip(items[::2], items[1::2], strict=True))


def _build_slice(items: list[Any]) -> slice:
    return slice(*items)


def _build_namedtuple(kind: Any, items: Iterable[Any]) -> Any:
    return kind._make(items)


def _build_dataclass(blank: Any, items: Iterable[Any]) -> Any:
    # Copied, not constructed: __init__ and __post_init__ have run, and fields may not be their
    # arguments. object.__setattr__ also fills a frozen instance.
    filled = copy.copy(blank)
    for name, item in zip(_field_names(blank), items, strict=True):
        object.__setattr__(filled, name, item)
    return filled


def _blank(instance: Any) -> Any:
    """A copy of a dataclass instance that holds none of its fields' values."""
    blank = copy.copy(instance)
    for name in _field_names(instance):
        object.__setattr__(blank, name, None)
    return blank


def _field_names(instance: Any) -> list[str]:
    # A field without a value (init=False, never set) is left alone.
    return [field.name for field in dataclasses.fields(instance) if hasattr(instance, field.name)]
