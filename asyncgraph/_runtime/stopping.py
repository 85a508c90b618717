"""Being told to stop: what a function can ask, and which runs on other loops stop with the one around them.

Nothing here stops anything by itself. A scope says that it is stopping; functions in it ask, and runs in it
that have a loop of their own are called. Both is safe in any thread.
"""

from __future__ import annotations

import asyncio
import contextlib
from contextvars import Context, ContextVar
from typing import Protocol

from asyncgraph.executors.base import failure_of, without_own_frames

__all__ = [
    "Nested",
    "Scope",
    "cancelled",
    "check_cancelled",
    "current",
    "enter",
    "failure_in_thread",
    "has_stopped",
    "is_stopped",
    "leave",
    "stop_within",
]


class Scope(Protocol):
    """What is stopped as a whole: an execution, or one call in a thread that is watched.

    Attributes:
        is_stopping: Whether it is to stop.
        has_ended: Whether it is over: what has outlived it is not told any more.
        outer: What it is in, and stops with; None if that is nothing, or on the same loop, where asyncio
            cancels the one with the other.
        loop: The loop that it belongs to.
    """

    is_stopping: bool
    has_ended: bool
    outer: Scope | None
    loop: asyncio.AbstractEventLoop


class Nested(Scope, Protocol):
    """A run that may be inside a call of another."""

    def stop_with_outer(self) -> None:
        """What it is in is being stopped; called on its own loop."""


# The innermost scope that the running code is in.
current: ContextVar[Scope | None] = ContextVar("asyncgraph_scope", default=None)

# The runs that are going on inside calls of others, on loops of their own. Touched by several threads, each
# time by one operation that the interpreter does not divide.
_nested: set[Nested] = set()


def cancelled() -> bool:
    """Whether what this is called from is to stop.

    For functions that run in threads, which nobody can stop from outside, and for all that they call. It is
    True once their run is being stopped, for whatever reason, or the call has taken longer than its own
    `timeout=`; in a coroutine, once its run is being stopped. A run inside a call in a thread stops with the
    outer one, and so do its nodes. Outside of any node it is False, and so it is in worker processes, which
    are killed instead. It takes a fraction of a microsecond, and may be called from any thread that has the
    node's context.

    Example:
        >>> from asyncgraph import cancelled, delayed
        >>> @delayed
        ... def count(limit):
        ...     number = 0
        ...     while number < limit and not cancelled():
        ...         number += 1
        ...     return number
        >>> await count(1000)
        1000
    """
    return is_stopped(current.get())


def check_cancelled() -> None:
    """Raise `CancelledError` if what this is called from is to stop; else do nothing.

    `cancelled` says when that is. A call that ends with this exception has stopped, as was wanted, and not
    failed: clean up in `finally`, and let it pass.

    Raises:
        asyncio.CancelledError: The run is being stopped, or the call has taken longer than its `timeout=`.

    Example:
        >>> from asyncgraph import check_cancelled, delayed
        >>> @delayed
        ... def total(numbers):
        ...     result = 0
        ...     for number in numbers:
        ...         check_cancelled()
        ...         result += number
        ...     return result
        >>> await total([1, 2, 3])
        6
    """
    if is_stopped(current.get()):
        raise asyncio.CancelledError("the node that this is called from is to stop")


def is_stopped(scope: Scope | None) -> bool:
    """Whether `scope`, or anything that it is in, is to stop."""
    while scope is not None:
        if scope.is_stopping and not scope.has_ended:
            return True
        scope = scope.outer
    return False


# -- the outcome of what has stopped


def has_stopped(error: BaseException, scope: Scope | None) -> bool:
    """Whether what has raised `error` in `scope` has done as it was told, and not failed."""
    return isinstance(error, asyncio.CancelledError) and is_stopped(scope)


def failure_in_thread(error: BaseException, key: str, context: Context) -> BaseException:
    """As `failure_of`, for a call that was made in a copy of `context`, and may have been told to stop."""
    if has_stopped(error, context.get(current)):
        return without_own_frames(error)
    return failure_of(error, key)


# -- runs inside calls


def enter(run: Nested) -> None:
    """A run begins; if that is in a thread of another, it stops with the call that it is in.

    Raises:
        asyncio.CancelledError: That call is to stop already.
    """
    outer = current.get()
    if outer is None or outer.has_ended or outer.loop is run.loop:
        return
    run.outer = outer
    # Before it asks: who stops the outer one says so before looking here, and so one of the two sees it.
    _nested.add(run)
    if is_stopped(outer):
        leave(run)
        raise asyncio.CancelledError("the node that this is computed in is to stop")


def leave(run: Nested) -> None:
    """A run that has entered is over."""
    if run.outer is not None:
        _nested.discard(run)
        run.outer = None


def stop_within(scope: Scope) -> None:
    """Have everything stop that is inside of `scope`, which says already that it is stopping."""
    if not _nested:
        return
    for run in _nested.copy():
        if _is_within(run, scope):
            with contextlib.suppress(RuntimeError):  # its loop has been closed
                run.loop.call_soon_threadsafe(run.stop_with_outer, context=Context())


def _is_within(run: Nested, scope: Scope) -> bool:
    outer = run.outer
    while outer is not None:
        if outer is scope:
            return True
        outer = outer.outer
    return False
