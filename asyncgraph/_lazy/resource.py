"""`resource`: a context manager as a node, open as long as other nodes use it."""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager, AbstractContextManager
from typing import Any, TypeVar, overload

from asyncgraph._graph.function import Function, name_of
from asyncgraph._graph.node import Node
from asyncgraph._lazy.delayed import DelayedFunction, DelayedMethod
from asyncgraph._lazy.node import Delayed, build_node

__all__ = ["resource"]

T = TypeVar("T")


@overload
def resource(
    factory: Callable[..., AbstractAsyncContextManager[T, Any]], /, *args: Any, **kwargs: Any
) -> Delayed[T]: ...
@overload
def resource(
    factory: Callable[..., AbstractContextManager[T, Any]], /, *args: Any, **kwargs: Any
) -> Delayed[T]: ...
@overload
def resource(factory: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Delayed[Any]: ...
def resource(factory: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Delayed[Any]:
    """A node whose value is there only as long as other nodes use it: a connection, a client, a directory.

    In each run, the context manager that `factory(*args, **kwargs)` makes is entered, on the event loop, when
    the first node needs nothing else to begin; what that gives is the value of the node, and all that depend
    on it share it. It is left when the last of them is over. Those are the nodes that have it as an argument,
    and those that have what was got out of it by an operator, an attribute, an item or a call, as `fetch` in
    `fetch(db.cursor())`. What a function has made of it does not count: a path in a temporary directory has
    to be made by an operator, or inside the function that uses it.

    Where a run fails or is cancelled, all that is open is left when nothing of it is running any more, what
    was opened last first; as in a `with` statement the context managers are told of the failure, and so can
    roll back. If one fails itself, that is a note to the first failure, or else the failure of the run.

    Args:
        factory: A function that makes an async context manager, or else a plain one, or something to await
            for one.
        args: Its arguments; as for any delayed function, there may be nodes among them.
        kwargs: Likewise.

    Raises:
        TypeError: `factory` cannot be called, as a context manager that is made already cannot.

    Computing the node itself is refused with GraphError: its value is of no use after the run.

    Example:
        >>> import tempfile, pathlib
        >>> from asyncgraph import delayed, resource
        >>> directory = resource(tempfile.TemporaryDirectory)
        >>> @delayed
        ... def write(directory, text):
        ...     return pathlib.Path(directory, "note.txt").write_text(text)
        >>> await write(directory, "hello")
        5
    """
    if isinstance(factory, DelayedFunction | DelayedMethod | Node):
        raise TypeError(f"resource takes a plain function that makes a context manager, not {factory!r}")
    if not callable(factory):
        raise TypeError(_complaint(factory))
    function = Function(factory, name_of(factory), "loop", is_resource=True)
    return build_node(function, args, kwargs, sys._getframe(1))


def _complaint(given: Any) -> str:
    if inspect.iscoroutine(given):
        given.close()
    kind = type(given)
    if hasattr(kind, "__aenter__") or hasattr(kind, "__enter__"):
        return (
            f"resource takes a function that makes a context manager, which each run calls anew, and not the "
            f"context manager itself: write resource({kind.__name__}, ...) or resource(lambda: ...)"
        )
    return f"resource takes a function that makes a context manager, not {given!r}"
