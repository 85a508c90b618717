"""Nodes as Dask collections: the graph of a node in Dask's terms, made when Dask looks into it.

Keys are the name of the node's function and a token that no other node has, in whatever process: two equal
calls are two tasks, as they are for asyncgraph. What a task does is in `calls`.
"""

from __future__ import annotations

import uuid
import weakref
from collections.abc import Callable, Iterator, Mapping
from functools import cached_property
from typing import Any

from dask._task_spec import DataNode, GraphNode, Task, TaskRef
from dask.base import named_schedulers, replace_name_in_key
from dask.delayed import Delayed as DaskDelayed
from dask.delayed import single_key
from dask.highlevelgraph import HighLevelGraph, Layer, MaterializedLayer
from dask.utils import ensure_dict

from asyncgraph._graph.arguments import Template
from asyncgraph._graph.node import Node, in_dependency_order, key_of
from asyncgraph.dask.calls import Recorded, Ref, call_recorded
from asyncgraph.errors import GraphError

__all__ = ["dask_key", "graph_of", "optimizer", "postcompute", "postpersist", "scheduler"]

# By id of a node: the node, and its token.
_tokens: dict[int, tuple[weakref.ref[Node[Any]], str]] = {}


def dask_key(node: Node[Any]) -> str:
    """The node's key in Dask graphs: always the same in this process, and another in any other."""
    number = id(node)
    known = _tokens.get(number)
    if known is None:
        # Of two threads that ask at once one has named the node, atomically.
        new = weakref.ref(node, _forget(number)), uuid.uuid4().hex
        known = _tokens.setdefault(number, new)
    return f"{node._function.name}-{known[1]}"


def _forget(number: int) -> Callable[[object], object]:
    return lambda _: _tokens.pop(number, None)


def graph_of(node: Node[Any]) -> HighLevelGraph:
    """The graph behind a node, as one layer that makes its tasks when it is looked into."""
    key = dask_key(node)
    return HighLevelGraph({key: NodeLayer(node)}, {key: set()})


def scheduler() -> Callable[..., Any]:
    """Where a node runs that is computed by Dask, if nobody has said: where Dask's delayed values do."""
    chosen: Callable[..., Any] = named_schedulers.get("threads", named_schedulers["sync"])
    return chosen


def optimizer() -> Callable[..., Any]:
    """How the graph of a node is optimized: as that of Dask's delayed values.

    Of collections with different optimizers, `dask.compute` gives the results in another order.
    """
    chosen: Callable[..., Any] = DaskDelayed.__dask_optimize__
    return chosen


def postcompute() -> tuple[Callable[..., Any], tuple[Any, ...]]:
    """What makes a node's value of the values of its keys."""
    return single_key, ()


def postpersist(node: Node[Any]) -> tuple[Callable[..., Any], tuple[Any, ...]]:
    """What makes a collection of a graph in which the value of the node is there, or on its way."""
    return _persisted, (dask_key(node),)


def _persisted(graph: Mapping[Any, Any], key: Any, *, rename: Mapping[str, str] | None = None) -> DaskDelayed:
    return DaskDelayed(replace_name_in_key(key, rename) if rename else key, ensure_dict(graph))


class NodeLayer(Layer):  # type: ignore[misc]
    """The tasks behind a node; it pickles as what it holds."""

    def __init__(self, node: Node[Any]) -> None:
        super().__init__()
        self._node = node

    @cached_property
    def _tasks(self) -> dict[str, GraphNode]:
        return tasks_of(self._node)

    def is_materialized(self) -> bool:
        """Whether the tasks have been made."""
        return "_tasks" in self.__dict__

    def get_output_keys(self) -> set[str]:
        """The keys that others may refer to."""
        return {dask_key(self._node)}

    def __getitem__(self, key: Any) -> GraphNode:
        return self._tasks[key]

    def __iter__(self) -> Iterator[Any]:
        return iter(self._tasks)

    def __len__(self) -> int:
        return len(self._tasks)

    def __reduce__(self) -> tuple[Any, ...]:
        return MaterializedLayer, (self._tasks, self.annotations)


def tasks_of(output: Node[Any]) -> dict[str, GraphNode]:
    """The tasks of a node and all that it needs.

    Raises:
        GraphError: There is an input or a resource among them.
    """
    return {dask_key(node): _task_of(node) for node in in_dependency_order([output])}


def _task_of(node: Node[Any]) -> GraphNode:
    function, key = node._function, dask_key(node)
    if function.is_input:
        raise GraphError(
            f"Input({function.name!r}) has no value in a Dask graph: "
            "build the node with the value in its place"
        )
    if function.is_resource:
        raise GraphError(
            f"{key_of(node)} is a resource, which Dask would neither share between processes nor close: "
            "open it inside the functions that use it"
        )
    if function.is_value and not node._dependencies:
        return DataNode(key, node._args[0])
    needed = {id(each): each for each in node._dependencies}
    keys = tuple([dask_key(each) for each in needed.values()])
    args = tuple([_with_refs(value) for value in node._args])
    kwargs = {name: _with_refs(value) for name, value in node._kwargs.items()}
    recorded = Recorded(function, args, kwargs, keys, key_of(node))
    return Task(key, call_recorded, recorded, *[TaskRef(each) for each in keys])


def _with_refs(value: Any) -> Any:
    return value.replace(_as_ref) if isinstance(value, Template) else _as_ref(value)


def _as_ref(item: Any) -> Any:
    return Ref(dask_key(item)) if isinstance(item, Node) else item
