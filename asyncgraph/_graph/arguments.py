"""The search for nodes in arguments, and the templates that put their values in place.

Containers (list, tuple, namedtuple, set, frozenset, deque, dict with its keys, OrderedDict, defaultdict,
slice, dataclass instance) are searched to any depth without recursion. One without nodes is passed on
untouched, as in an ordinary call; one with nodes is copied into a `Template` at once, so that changing it
later does not change the graph. So are the views of a dict, of which lists are made.

What a node is, this module learns from the class handed to `search`; what else counts as one, such as a
collection of Dask's, from a function, which is asked of what is neither node nor container and has the method
by which Dask knows its collections.

Values are told apart by their types, never by `isinstance`: that asks a lazy object, as those of Django and
werkzeug are, for its class, and so makes it compute itself, here on the event loop.
"""

from __future__ import annotations

from collections import OrderedDict, defaultdict, deque
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from itertools import chain
from types import BuiltinFunctionType, FunctionType, NoneType
from typing import Any

# Types of values that hold no nodes. A container whose items are all of these costs one scan in C.
ATOMS = frozenset(
    {int, float, complex, bool, str, bytes, bytearray, NoneType, type(Ellipsis), type, range}
    | {FunctionType, BuiltinFunctionType, memoryview}
)

# Containers that are searched, beside namedtuples and dataclasses. Subclasses of these are not: how to
# rebuild them, they alone know.
_MAPPINGS = frozenset({dict, OrderedDict, defaultdict})
_EMPTY: tuple[dict[Any, Any], ...] = ({}, OrderedDict())
_VIEWS = frozenset(type(view) for each in _EMPTY for view in (each.keys(), each.values(), each.items()))
_COLLECTIONS = frozenset({list, tuple, set, frozenset, deque}) | _VIEWS
_CONTAINERS = _MAPPINGS | _COLLECTIONS | {slice}

# What data mostly consists of, and how deep it is looked through before it is searched.
_PLAIN = frozenset({dict, list, tuple, set, frozenset})
_LEVELS = 4

# What the classes of Dask's collections have: only instances of those are asked about.
_COLLECTION = "__dask_graph__"

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

    Attributes:
        steps: The steps.
        is_flat: Whether it is known to be one container of nothing but nodes.
    """

    __slots__ = ("is_flat", "steps")

    def __init__(self, steps: Sequence[tuple[_Build, list[Any]]], *, is_flat: bool = False) -> None:
        self.steps = steps
        self.is_flat = is_flat

    def build(self, values: list[Any]) -> Any:
        """The container of these values, of a template that is flat."""
        return self.steps[0][0](values)

    def fill(self, value_of: Callable[[Any], Any], node_type: type) -> Any:
        """The container, with `value_of(node)` in place of every node, of type `node_type`."""
        made: list[Any] = []
        for build, items in self.steps:
            if _are_all_nodes(items, node_type):  # four times as fast
                values = list(map(value_of, items))
            else:
                values = [
                    made[item.index]
                    if type(item) is Made
                    else value_of(item)
                    if issubclass(type(item), node_type)
                    else item
                    for item in items
                ]
            made.append(build(values))
        return made[-1]

    def replace(self, replaced: Callable[[Any], Any]) -> Template:
        """The same template with `replaced(item)` for each item."""
        return Template([(build, [replaced(item) for item in items]) for build, items in self.steps])


def search(
    value: Any, node_type: type, found: list[Any], is_other: Callable[[Any], bool] | None = None
) -> Any:
    """Append the nodes inside `value` to `found`; return a `Template`, or `value` if it holds none.

    Args:
        value: What is searched.
        node_type: The class of nodes.
        found: What they are appended to.
        is_other: Whether something that is no node counts as one, if its class looks like a collection of
            Dask's; None where there are none.

    Raises:
        ValueError: `value` contains itself and a node, so that it cannot be rebuilt.
    """
    if type(value) in ATOMS:
        return value
    items = _items_of(value, node_type, is_other)
    if items is None:
        if is_other is not None and hasattr(type(value), _COLLECTION) and is_other(value):
            found.append(value)
        return value
    if type(value) in _COLLECTIONS and _are_all_nodes(items, node_type):  # ten times as fast
        found += items
        return Template([(_builder_of(value), items)], is_flat=True)
    if _is_plain(items, node_type, is_other):
        return value
    return _Search(node_type, found, is_other).run(value, items)


def _are_all_nodes(items: list[Any], node_type: type) -> bool:
    """Whether there is nothing but nodes, as in `total([read(name) for name in names])`."""
    kinds = set(map(type, items))
    return len(kinds) == 1 and issubclass(kinds.pop(), node_type)


class _Open:
    """A container whose items are being looked at."""

    __slots__ = ("container", "has_nodes", "is_cyclic", "items", "pending")

    def __init__(self, container: Any, items: list[Any]) -> None:
        self.container = container
        self.pending = items[::-1]
        self.items: list[Any] = []
        self.has_nodes = False
        self.is_cyclic = False

    def add(self, closed: Any) -> None:
        """Add what became of a container among the items."""
        self.items.append(closed)
        self.has_nodes |= type(closed) is Made


class _Search:
    """One search; its stack takes the place of recursion."""

    def __init__(self, node_type: type, found: list[Any], is_other: Callable[[Any], bool] | None) -> None:
        self.node_type = node_type
        self.is_other = is_other
        self.found = found
        self.steps: list[tuple[_Build, list[Any]]] = []
        self.stack: list[_Open] = []
        self.open: dict[int, _Open] = {}
        # Each container seen and what became of it, so that one that appears twice is rebuilt once.
        # It is kept alive (a property may have made it for us alone), so that its id stays its own.
        self.closed: dict[int, tuple[Any, Any]] = {}

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
                    self.stack[-1].add(result)
        return Template(self.steps) if type(result) is Made else value

    def _enter(self, container: Any, items: list[Any]) -> None:
        opened = _Open(container, items)
        self.open[id(container)] = opened
        self.stack.append(opened)

    def _look_at(self, current: _Open, item: Any) -> None:
        if type(item) in ATOMS:
            current.items.append(item)
        elif issubclass(type(item), self.node_type):
            self.found.append(item)
            current.items.append(item)
            current.has_nodes = True
        elif id(item) in self.closed:
            current.add(self.closed[id(item)][1])
        elif id(item) in self.open:
            self.open[id(item)].is_cyclic = True
            current.items.append(item)
        elif (items := _items_of(item, self.node_type, self.is_other)) is None:
            current.items.append(item)
            if self.is_other is not None and hasattr(type(item), _COLLECTION) and self.is_other(item):
                self.found.append(item)
                current.has_nodes = True
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
        self.closed[id(container)] = container, result
        return result


def _items_of(value: Any, node_type: type, is_other: Callable[[Any], bool] | None) -> list[Any] | None:
    """The items of a container that is searched; None for one where a scan of the types shows no nodes."""
    kind = type(value)
    if kind in _COLLECTIONS:
        return list(value) if _may_hold_nodes(value, node_type, is_other) else None
    if kind in _MAPPINGS:
        values = value.values()
        if _may_hold_nodes(value, node_type, is_other) or _may_hold_nodes(values, node_type, is_other):
            return [each for pair in value.items() for each in pair]
        return None
    if kind is slice:
        return [value.start, value.stop, value.step]
    if issubclass(kind, tuple) and hasattr(kind, "_fields"):
        return list(value)
    if hasattr(kind, "__dataclass_fields__"):
        return [getattr(value, name) for name in _field_names(value)]
    return None


def _may_hold_nodes(items: Iterable[Any], node_type: type, is_other: Callable[[Any], bool] | None) -> bool:
    """Whether one of the items is of a type that is a node or may count as one, or is searched for nodes."""
    if ATOMS.issuperset(map(type, items)):
        return False
    return any(_is_searched(kind, node_type, is_other) for kind in set(map(type, items)))


def _is_searched(kind: type, node_type: type, is_other: Callable[[Any], bool] | None) -> bool:
    """Whether what is of this type is a node or may count as one, or is searched for nodes."""
    if kind in _CONTAINERS or issubclass(kind, node_type) or hasattr(kind, "__dataclass_fields__"):
        return True
    if issubclass(kind, tuple) and hasattr(kind, "_fields"):
        return True
    return is_other is not None and hasattr(kind, _COLLECTION)


def _is_plain(items: list[Any], node_type: type, is_other: Callable[[Any], bool] | None) -> bool:
    """Whether a few scans in C show that there are no nodes, as in the rows of a table.

    For many small containers that takes a seventh to a half of the time of a search, and for fewer, longer
    ones not much less. What occurs many times is looked into once on each level, and there are few levels,
    whether or not something contains itself.
    """
    for _ in range(_LEVELS):
        kinds = set(map(type, items))
        if ATOMS.issuperset(kinds):
            return True
        if any(_is_searched(kind, node_type, is_other) for kind in kinds - _PLAIN):
            return False
        inside = {id(each): each for each in items if type(each) in _PLAIN}.values()
        mappings = [each for each in inside if type(each) is dict]
        items = [*chain.from_iterable(inside), *chain.from_iterable(map(dict.values, mappings))]
    return False


def _builder_of(container: Any) -> _Build:
    kind = type(container)
    if kind is dict:
        return _build_dict
    if kind is slice:
        return _build_slice
    if kind in _VIEWS:
        return list
    if kind is defaultdict:
        return partial(_build_defaultdict, container.default_factory)
    if kind is OrderedDict:
        return _build_ordered_dict
    if kind is deque:
        return partial(deque, maxlen=container.maxlen)
    if hasattr(kind, "__dataclass_fields__"):
        return partial(_build_dataclass, _blank(container))
    if hasattr(kind, "_fields"):
        return partial(_build_namedtuple, kind)
    build: _Build = kind
    return build


def _build_dict(items: list[Any]) -> dict[Any, Any]:
    return dict(zip(items[::2], items[1::2], strict=True))


def _build_ordered_dict(items: list[Any]) -> OrderedDict[Any, Any]:
    return OrderedDict(_build_dict(items))


def _build_defaultdict(factory: Callable[[], Any] | None, items: list[Any]) -> defaultdict[Any, Any]:
    return defaultdict(factory, _build_dict(items))


def _build_slice(items: list[Any]) -> slice:
    return slice(*items)


def _build_namedtuple(kind: Any, items: Iterable[Any]) -> Any:
    return kind._make(items)


def _build_dataclass(blank: Any, items: Iterable[Any]) -> Any:
    filled = _copy_of(blank)
    for name, item in zip(_field_names(blank), items, strict=True):
        object.__setattr__(filled, name, item)
    return filled


def _blank(instance: Any) -> Any:
    """A copy of a dataclass instance that holds none of its fields' values."""
    blank = _copy_of(instance)
    for name in _field_names(instance):
        object.__setattr__(blank, name, None)
    return blank


def _copy_of(instance: Any) -> Any:
    # Copied, not constructed: __init__ and __post_init__ have run, and fields may not be their arguments.
    # Not by copy.copy, which a frozen class with __slots__ of its own refuses.
    made = object.__new__(type(instance))
    state: Any = object.__getstate__(instance)
    for attributes in state if isinstance(state, tuple) else (state,):
        for name, value in (attributes or {}).items():
            object.__setattr__(made, name, value)
    return made


def _field_names(instance: Any) -> list[str]:
    import dataclasses  # there already, if there are instances of any

    # A field without a value (init=False, never set) is left alone.
    return [field.name for field in dataclasses.fields(instance) if hasattr(instance, field.name)]
