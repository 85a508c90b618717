"""Nodes and Dask's collections: a node is one, and one among the arguments of a node is a dependency.

What there is to do is in `asyncgraph.dask`, which is imported when Dask calls, or when an argument is one of
its collections.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import FrameType
from typing import Any

from asyncgraph._graph.arguments import Template
from asyncgraph._graph.node import Node

__all__ = ["DaskCollection", "is_dask_collection", "with_nodes"]


class DaskCollection:
    """Base of a node: the methods by which Dask knows its collections, which only Dask calls."""

    __slots__ = ()

    def __dask_graph__(self) -> Any:
        from asyncgraph.dask import protocol

        return protocol.graph_of(_node(self))

    def __dask_keys__(self) -> list[str]:
        from asyncgraph.dask import protocol

        return [protocol.dask_key(_node(self))]

    def __dask_layers__(self) -> tuple[str, ...]:
        from asyncgraph.dask import protocol

        return (protocol.dask_key(_node(self)),)

    def __dask_tokenize__(self) -> str:
        from asyncgraph.dask import protocol

        return protocol.dask_key(_node(self))

    def __dask_postcompute__(self) -> tuple[Callable[..., Any], tuple[Any, ...]]:
        from asyncgraph.dask import protocol

        return protocol.postcompute()

    def __dask_postpersist__(self) -> tuple[Callable[..., Any], tuple[Any, ...]]:
        from asyncgraph.dask import protocol

        return protocol.postpersist(_node(self))

    @property
    def __dask_optimize__(self) -> Callable[..., Any]:
        from asyncgraph.dask import protocol

        return protocol.optimizer()

    @property
    def __dask_scheduler__(self) -> Callable[..., Any]:
        from asyncgraph.dask import protocol

        return protocol.scheduler()


def _node(node: DaskCollection) -> Node[Any]:
    assert isinstance(node, Node)
    return node


def is_dask_collection(value: Any) -> bool:
    """Whether a value whose class has `__dask_graph__` is a Dask collection now; some are only at times."""
    from dask.base import is_dask_collection

    return bool(is_dask_collection(value))


def with_nodes(
    args: tuple[Any, ...], kwargs: Mapping[str, Any], found: list[Any], frame: FrameType
) -> tuple[tuple[Any, ...], Mapping[str, Any], tuple[Any, ...]]:
    """Both kinds of arguments, and what was found in them, with a node for each Dask collection.

    Those of one call share tasks.
    """
    from asyncgraph.dask.collections import nodes_of

    others = {id(each): each for each in found if not isinstance(each, Node)}
    nodes = dict(zip(others, nodes_of([*others.values()], "thread", frame), strict=True))

    def replaced(item: Any) -> Any:
        return nodes.get(id(item), item)

    def with_them(value: Any) -> Any:
        return value.replace(replaced) if type(value) is Template else replaced(value)

    searched = tuple([with_them(value) for value in args])
    named = {name: with_them(value) for name, value in kwargs.items()}
    return searched, named, tuple([replaced(each) for each in found])
