"""`when`: a choice between two graphs, of which one is run."""

from __future__ import annotations

import inspect
import sys
from types import FrameType
from typing import Any, TypeVar, overload

from asyncgraph._graph.function import Function
from asyncgraph._graph.node import NO_KWARGS, Branch, Node
from asyncgraph._lazy.delayed import DelayedFunction, DelayedMethod, value_node
from asyncgraph._lazy.node import Delayed, build_node

__all__ = ["when"]

T1 = TypeVar("T1")
T2 = TypeVar("T2")


@overload
def when(condition: Any, then: Delayed[T1], otherwise: Delayed[T2], /) -> Delayed[T1 | T2]: ...
@overload
def when(condition: Any, then: Delayed[T1], otherwise: T2, /) -> Delayed[T1 | T2]: ...
@overload
def when(condition: Any, then: T1, otherwise: Delayed[T2], /) -> Delayed[T1 | T2]: ...
@overload
def when(condition: Any, then: T1, otherwise: T2, /) -> Delayed[T1 | T2]: ...
def when(condition: Any, then: Any, otherwise: Any, /) -> Delayed[Any]:
    """A node with the value of `then` if the value of `condition` is true, else with that of `otherwise`.

    Only one of the two is run, with what it needs, and not before it is known which. What the rest of the
    graph needs, too, runs once, as always.

    Args:
        condition: A node, or a container with nodes in it; its truth is asked for on the event loop.
        then: A node, a container with nodes in it, or data.
        otherwise: Likewise.

    Raises:
        TypeError: One of the two is a function, or a coroutine, in place of a node.

    When it runs, it fails with what the condition, or the one of the two that is chosen, has failed with.

    Example:
        >>> from asyncgraph import delayed, when
        >>> @delayed
        ... def halve(x):
        ...     return x // 2
        >>> @delayed
        ... def refuse(x):
        ...     raise ValueError(f"{x} is odd")
        >>> number = delayed(10)
        >>> await when(number % 2 == 0, halve(number), refuse(number))
        5
    """
    frame = sys._getframe(1)
    branches = [Branch(_as_node(value, frame)) for value in (then, otherwise)]
    return build_node(_WHEN, (condition, *branches), NO_KWARGS, frame)


def _chosen(condition: Any, then: Branch, otherwise: Branch) -> Node[Any]:
    return then.node if condition else otherwise.node


_WHEN = Function(_chosen, "when", "loop", is_choice=True)


def _as_node(value: Any, frame: FrameType) -> Node[Any]:
    if isinstance(value, Node):
        return value
    if isinstance(value, DelayedFunction | DelayedMethod):
        raise TypeError(f"when takes nodes, and {value!r} is a function: call it, as in when(ok, f(x), g(x))")
    if inspect.isawaitable(value) and not hasattr(type(value), "__dask_graph__"):  # as Dask's collections are
        error = TypeError(
            f"when takes nodes, and {value!r} is not one: make its function delayed, and call that"
        )
        if inspect.iscoroutine(value):
            value.close()  # it will not be awaited
        raise error
    return value_node(value, None, None, frame)
