"""How nodes and functions pickle: flat, whatever the depth of the graph, and by reference where possible.

A node pickles as the list of all nodes that it needs, dependencies first, so that pickle never
descends from node to node. Functions that can be imported travel by their names, also when the name
now belongs to the delayed function; the others as pickle (or cloudpickle) takes them.
"""

from __future__ import annotations

import copyreg
import importlib
import operator
import threading
import weakref
from typing import Any

from asyncgraph._graph.arguments import Template
from asyncgraph._graph.function import Function
from asyncgraph._graph.node import NO_KWARGS, Branch, Node, Site, in_dependency_order, site_of

__all__ = ["find", "load", "reduce_node", "reference_to"]


class _Record:
    """What a node pickles as: its fields, with the records of its dependencies in place of nodes.

    Pickle remembers objects, so two nodes of one pickle must meet at the same record of the node that
    they share: a record is kept for as long as somebody (pickle's memory) holds it.
    """

    __slots__ = ("__weakref__", "node")

    def __init__(self, node: Node[Any]) -> None:
        self.node = node

    def __reduce__(self) -> tuple[Any, ...]:
        node = self.node
        args = tuple(_with_records(value) for value in node._args)
        kwargs = {name: _with_records(value) for name, value in node._kwargs.items()}
        dependencies = tuple(_record_of(each) for each in node._dependencies)
        return _build, (type(node), node._function, args, kwargs, dependencies, site_of(node), node._key)


_records: weakref.WeakValueDictionary[int, _Record] = weakref.WeakValueDictionary()
# Two threads that pickle one node at once must not make two records of it. Reentrant, because a
# collection may run somebody's finalizer in between.
_records_lock = threading.RLock()


def reduce_node(node: Node[Any]) -> tuple[Any, ...]:
    """What `__reduce__` of a node returns."""
    return _last, tuple(map(_record_of, in_dependency_order([node], with_branches=True)))


def _record_of(node: Node[Any]) -> _Record:
    # A record that is found holds its node, so that its id cannot belong to another by now.
    with _records_lock:
        record = _records.get(id(node))
        if record is None:
            record = _records[id(node)] = _Record(node)
        return record


def _with_records(value: Any) -> Any:
    return value.replace(_as_record) if type(value) is Template else _as_record(value)


def _as_record(value: Any) -> Any:
    if type(value) is Branch:
        return Branch(_as_record(value.node))
    return _record_of(value) if issubclass(type(value), Node) else value


def _build(
    cls: type[Node[Any]],
    function: Function,
    args: tuple[Any, ...],
    kwargs: dict[str, Any],
    dependencies: tuple[Node[Any], ...],
    site: Site | None,
    key: str | None,
) -> Node[Any]:
    node = Node[Any].__new__(Node)
    Node.__init__(node, function, args, kwargs or NO_KWARGS, dependencies, site, -1)
    node._key = key
    node.__class__ = cls
    return node


def _last(*nodes: Node[Any]) -> Node[Any]:
    return nodes[-1]


def _reduce_function(function: Function) -> tuple[Any, ...]:
    """By the name of its delayed function, or by its fields with the callable by name or by value."""
    names = _names(function.call)
    holder = None if names is None else find(*names)
    if holder is not None and getattr(holder, "function", None) is function:
        return _function_at, names or ()
    call: Any = function.call
    if holder is not None and holder is not call and getattr(holder, "__wrapped__", None) is call:
        call = _Wrapped(*(names or ()))
    flags = {name: getattr(function, name) for name in _FLAGS}
    flags["resources"] = dict(function.resources)
    return _function_from, (call, function.name, function.executor, flags)


# What else there is to a function, by the names of its constructor.
_FLAGS = (
    "crash_retries",
    "is_abandonable",
    "is_async",
    "is_choice",
    "is_dynamic",
    "is_input",
    "is_isolated",
    "is_part",
    "is_resource",
    "is_value",
    "nout",
    "priority",
    "resources",
    "retry",
    "timeout",
)


class _Wrapped:
    """The function behind the object that now has its name."""

    def __init__(self, module: str, qualified_name: str) -> None:
        self.names = (module, qualified_name)


def _function_at(module: str, qualified_name: str) -> Function:
    function = load(module, qualified_name).function
    assert isinstance(function, Function)
    return function


def _function_from(call: Any, name: str, executor: str, flags: dict[str, Any]) -> Function:
    if isinstance(call, _Wrapped):
        call = load(*call.names).__wrapped__
    return Function(call, name, executor, **flags)


copyreg.pickle(Function, _reduce_function)


def reference_to(value: Any) -> tuple[str, str] | None:
    """Module and qualified name that lead to `value`, in another process too; None if none do."""
    names = _names(value)
    return names if names is not None and find(*names) is value else None


def _names(value: Any) -> tuple[str, str] | None:
    module, qualified_name = getattr(value, "__module__", None), getattr(value, "__qualname__", None)
    # What is in `__main__` another process does not have: that goes by value.
    if not isinstance(module, str) or not isinstance(qualified_name, str) or module == "__main__":
        return None
    return module, qualified_name


def load(module: str, qualified_name: str) -> Any:
    """The object with this name; raises ImportError or AttributeError where there is none."""
    return operator.attrgetter(qualified_name)(importlib.import_module(module))


def find(module: str, qualified_name: str) -> Any:
    """The object with this name, or None where there is none."""
    try:
        return load(module, qualified_name)
    except (ImportError, AttributeError, ValueError):  # ValueError: the empty name
        return None
