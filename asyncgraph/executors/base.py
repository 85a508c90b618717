"""What executors have in common: how a call away from the loop ends, and how an executor does.

An executor brings each outcome back exactly once, on the thread of the event loop. Executors know nothing of
graphs: which call comes next, and what becomes of an outcome, is decided above.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from contextvars import Context, ContextVar
from types import TracebackType
from typing import Any, Protocol

from asyncgraph.errors import NodeExitedError, NodeTimeoutError
from asyncgraph.executors.safe_text import safe_repr

__all__ = [
    "PACKAGE",
    "Call",
    "Deliver",
    "Executor",
    "failure_of",
    "perform",
    "timed_out",
    "usable_cores",
    "without_own_frames",
]

Deliver = Callable[[Any, BaseException | None], None]

# Without pathlib, which takes 2 ms to import.
PACKAGE = os.path.dirname(os.path.dirname(__file__)) + os.sep
"""What the paths of asyncgraph's own modules begin with."""


class Call:
    """One call on its way to an outcome.

    Attributes:
        function: What to call.
        args: Its positional arguments, resolved.
        kwargs: Its keyword arguments, resolved.
        context: The contextvars context to call it in; this call's own copy.
        key: The node's key, for messages and names of tasks.
        variables: The context variables that it is to see in another process, with their values.
        deliver: Called once with `(value, None)` or `(None, error)`.
    """

    __slots__ = ("args", "context", "deliver", "function", "key", "kwargs", "variables")

    def __init__(
        self,
        function: Callable[..., Any],
        args: tuple[Any, ...],
        kwargs: Mapping[str, Any],
        context: Context,
        key: str,
        deliver: Deliver,
    ) -> None:
        self.function = function
        self.args = args
        self.kwargs = kwargs
        self.context = context
        self.key = key
        self.deliver = deliver
        self.variables: Sequence[tuple[ContextVar[Any], Any]] = ()


class Executor(Protocol):
    """Where calls run, as far as whoever owns it is concerned. How it gets calls is its own business.

    Attributes:
        slots: How many calls it runs at once; it is never handed more than that, with the exception
            of nested runs, which get one call beyond it so that they cannot deadlock.
    """

    slots: int

    async def aclose(self) -> None:
        """End all workers, waiting for them. No call is running any more when this is called."""

    def close(self) -> None:
        """End all workers without an event loop: at interpreter exit, or when the loop is gone."""


def usable_cores() -> int:
    """How many cores this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def perform(
    function: Callable[..., Any], args: tuple[Any, ...], kwargs: Mapping[str, Any], key: str
) -> tuple[Any, BaseException | None]:
    """Call `function` away from the loop; return `(value, None)` or `(None, error)`, raise nothing."""
    try:
        return function(*args, **kwargs), None
    except BaseException as error:
        return None, failure_of(error, key)


def failure_of(
    error: BaseException, key: str, *, foreign: tuple[type[BaseException], ...] = (BaseException,)
) -> BaseException:
    """What `error`, which a call has raised, is to those who wait for the call: itself, nearly always.

    Exceptions that mean something to an event loop, a generator or the interpreter must not be set
    on a future or raised in a coroutine as they are: they become errors that mean only "it failed".

    Args:
        error: What the call has raised; asyncgraph's own frames are dropped from it.
        key: The node's key.
        foreign: Classes that, where they are no `Exception`, mean something else here than a failure.
    """
    without_own_frames(error)
    if isinstance(error, StopIteration | StopAsyncIteration):
        # As PEP 479 does for generators: raised through a coroutine, it would look like its return.
        replacement: BaseException = RuntimeError(f"{key} raised {type(error).__name__}")
    elif isinstance(error, Exception) or not isinstance(error, foreign):
        return error
    else:
        replacement = NodeExitedError(
            f"{key} raised {safe_repr(error)}, {_meaning(error)}",
            original=error,
            code=error.code if isinstance(error, SystemExit) else None,
        )
    replacement.__cause__ = error
    return replacement


def _meaning(error: BaseException) -> str:
    if isinstance(error, SystemExit | KeyboardInterrupt):
        return "which would have ended the program"
    from asyncio import CancelledError  # which worker processes do not import

    if isinstance(error, GeneratorExit | CancelledError):
        return "and nobody has asked it to stop"
    return f"of the class {type(error).__module__}.{type(error).__qualname__}, which is no Exception"


def timed_out(key: str, seconds: float, then: str = "") -> NodeTimeoutError:
    """The error of a node that has run for too long; `then` says what has become of its call."""
    return NodeTimeoutError(f"{key} ran for longer than its timeout of {seconds:g} s{then}")


def without_own_frames(error: BaseException) -> BaseException:
    """Drop asyncgraph's own frames from the top of the traceback, so that the user's come first."""
    traceback: TracebackType | None = error.__traceback__
    while traceback is not None and traceback.tb_frame.f_code.co_filename.startswith(PACKAGE):
        traceback = traceback.tb_next
    # Not `error.__traceback__ = traceback`, which a frozen dataclass that is an exception refuses.
    return BaseException.with_traceback(error, traceback)
