"""A function as data: what is called, and how it wants to be run."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Mapping
from typing import Any

from asyncgraph._graph.retry import Retry

__all__ = ["Durations", "Function", "is_async", "name_of", "target_of"]


# Not a MappingProxyType, which cannot be copied.
NO_RESOURCES: Mapping[str, float] = {}

# Of so many calls the mean is made; then older ones count for half.
_MEMORY = 1000


class Durations:
    """How long the calls of a function have taken.

    Attributes:
        mean: The mean, in seconds; None as long as nothing is known.
    """

    __slots__ = ("_calls", "_seconds", "mean")

    def __init__(self) -> None:
        self.mean: float | None = None
        self._calls = 0
        self._seconds = 0.0

    def add(self, seconds: float, calls: int = 1) -> None:
        """So many more calls have taken so many seconds together.

        Several threads may do this at once: a call that is lost then spoils no mean.
        """
        if self._calls > _MEMORY:
            self._calls //= 2
            self._seconds /= 2
        self._calls += calls
        self._seconds += seconds
        self.mean = self._seconds / self._calls


class Function:
    """A function and how it wants to be run; shared by all nodes that call it.

    Attributes:
        call: The callable itself.
        name: What its nodes are called; the first part of their keys.
        executor: "loop", "thread", "process", or a name that a runtime may know.
        is_async: Whether calling it gives something to await.
        is_value: Whether its nodes are data: the one argument is the value, and nothing is called.
        is_part: Whether what it gives may be a part of its arguments, or need them.
        is_resource: Whether it makes a context manager, and what that gives is the value of a node.
        is_input: Whether its nodes stand for values that are given to each run.
        is_choice: Whether its nodes choose between others, which are `Branch`es among their arguments.
        is_dynamic: Whether it calls its first argument, so that where it runs shows only then.
        nout: How many items its nodes unpack into, or None.
        priority: Where calls wait for workers of a cluster: those with a higher one go first.
        resources: How much a call takes of what workers of a cluster have, by name.
        timeout: How many seconds a call may take, or None.
        crash_retries: How often a call is begun again after its worker process has died of it.
        is_isolated: Whether each call has a worker process of its own.
        retry: When a call that has failed is made again, or None for never.
        is_abandonable: Whether a run that is cancelled does not wait for the thread of a call.
        is_special: Whether it is a choice or a resource, or any of the last five says something: such calls
            go one by one.
        durations: How long its calls take, as far as is known; the same with other options shares this.
    """

    __slots__ = (
        "call",
        "crash_retries",
        "durations",
        "executor",
        "is_abandonable",
        "is_async",
        "is_choice",
        "is_dynamic",
        "is_input",
        "is_isolated",
        "is_part",
        "is_resource",
        "is_special",
        "is_value",
        "name",
        "nout",
        "priority",
        "resources",
        "retry",
        "timeout",
    )

    def __init__(
        self,
        call: Callable[..., Any],
        name: str,
        executor: str,
        *,
        is_async: bool = False,
        is_value: bool = False,
        is_choice: bool = False,
        is_dynamic: bool = False,
        is_part: bool = False,
        is_resource: bool = False,
        is_input: bool = False,
        nout: int | None = None,
        timeout: float | None = None,
        crash_retries: int = 0,
        is_isolated: bool = False,
        retry: Retry | None = None,
        is_abandonable: bool = False,
        priority: float = 0,
        resources: Mapping[str, float] = NO_RESOURCES,
        durations: Durations | None = None,
    ) -> None:
        self.call = call
        self.durations = durations or Durations()
        self.name = name
        self.executor = executor
        self.is_async = is_async
        self.is_value = is_value
        self.is_choice = is_choice
        self.is_dynamic = is_dynamic
        self.is_part = is_part
        self.is_resource = is_resource
        self.is_input = is_input
        self.nout = nout
        self.timeout = timeout
        self.crash_retries = crash_retries
        self.is_isolated = is_isolated
        self.retry = retry
        self.is_abandonable = is_abandonable
        self.priority = priority
        self.resources = resources
        self.is_special = bool(
            is_choice or is_resource or timeout or crash_retries or is_isolated or retry or is_abandonable
        )

    def __repr__(self) -> str:
        return f"<{self.name}, executor {self.executor!r}>"


def is_async(call: Callable[..., Any]) -> bool:
    """Whether calling it gives something to await, as far as can be told without calling it."""
    return inspect.iscoroutinefunction(target_of(call))


def target_of(call: Callable[..., Any]) -> Any:
    """The function whose kind decides: the one behind partials, or the `__call__` of an instance."""
    while isinstance(call, functools.partial):
        call = call.func
    if inspect.isroutine(call) or inspect.isclass(call):
        return call
    return getattr(type(call), "__call__", call)  # noqa: B004 - the method itself is wanted


def name_of(call: Callable[..., Any]) -> str:
    """What people call the function: without `<>` for a lambda, the inner name for a partial."""
    while isinstance(call, functools.partial):
        call = call.func
    name = getattr(call, "__name__", None) or type(call).__name__
    return str(name).strip("<>")
