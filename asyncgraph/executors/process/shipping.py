"""Functions on their way to workers: each goes to a worker once, however many calls of it follow.

A function that can be imported is sent as its name; one that cannot (of `__main__`, a lambda, a closure) as
what it consists of, which is taken down anew for each run: a notebook's cell may have changed it, or a global
that it uses. A callable with a state of its own goes with each call.
"""

from __future__ import annotations

import itertools
import pickle
import types
import warnings
from collections.abc import Callable, Iterable
from contextvars import ContextVar
from typing import Any, Protocol

from asyncgraph.executors.process.pickling import pack_by_reference
from asyncgraph.executors.process.variables import Reference, context_with, reference_to, variable_at
from asyncgraph.executors.safe_text import safe_repr

__all__ = ["Durations", "Shipped", "Shipping"]

# So many functions are remembered; those that have not been used for long are forgotten, and sent again.
_REMEMBERED = 1000

# Bytes from which on a function is worth a warning: it has a large object in it, which goes to every worker.
_LARGE = 1 << 20

_numbers = itertools.count(1)


class Durations(Protocol):
    """Where it is noted how long calls take."""

    def add(self, seconds: float, calls: int = 1) -> None:
        """So many calls have taken so many seconds together."""


class _Nobody:
    """Does not ask how long anything takes."""

    def add(self, seconds: float, calls: int = 1) -> None:
        """See `Durations`."""


_NOBODY = _Nobody()


class Shipped:
    """A function as workers get it; or a context, which goes the same way and has a number, too.

    Attributes:
        number: What it is called by.
        data: What it is pickled to; None if it goes with each call.
        durations: Where it is noted how long calls take.
        call: The function.
    """

    __slots__ = ("call", "data", "durations", "number")

    def __init__(self, call: Callable[..., Any], data: bytes | None, durations: Durations) -> None:
        self.number = next(_numbers)
        self.call = call
        self.data = data
        self.durations = durations


class Shipping:
    """The functions that a pool knows.

    Attributes:
        by_value: Modules that workers cannot import.
    """

    def __init__(self) -> None:
        self.by_value: set[str] = set()
        # By what they are pickled to, or by identity if they go with each call; those used last at the end.
        self._known: dict[bytes | int, Shipped] = {}
        # Those that are sent as their names, by identity.
        self._named: dict[int, Shipped] = {}

    def ship(self, call: Callable[..., Any], durations: Durations) -> Shipped:
        """Take down a function.

        Raises:
            Refusal: It does not pickle.
        """
        shipped = self._named.get(id(call))
        if shipped is not None and shipped.call is call:
            shipped.durations = durations
            return shipped
        if _has_state(call):
            shipped = self._known.get(id(call))
            if shipped is None or shipped.call is not call:
                shipped = Shipped(call, None, durations)
            return self._remember(id(call), shipped, durations)
        data = self._pickled(call)
        if len(data) > _LARGE and data not in self._known:
            warnings.warn(
                f"{safe_repr(call)} takes {len(data) / 1e6:.1f} MB to send to each worker process, because "
                "of the globals or variables that it uses; pass large objects as arguments instead",
                RuntimeWarning,
                stacklevel=2,
            )
        shipped = self._remember(data, self._known.get(data) or Shipped(call, data, durations), durations)
        if b"cloudpickle" not in data:  # it is its name
            self._named[id(call)] = shipped
            if len(self._named) > _REMEMBERED:
                del self._named[next(iter(self._named))]
        return shipped

    def ship_context(self, values: Iterable[tuple[ContextVar[Any], Any]]) -> Shipped:
        """Take down context variables and their values, for calls to see.

        Raises:
            Refusal: A value does not pickle.
        """
        context = [(reference_to(variable, self.by_value), value) for variable, value in values]
        return Shipped(context_with, self._pickled_context(context), _NOBODY)

    def ship_context_anew(self, shipped: Shipped) -> Shipped:
        """Take down a context that `ship_context` has, now that more is known of what workers lack."""
        context: list[tuple[Reference, Any]] = pickle.loads(shipped.data or b"")
        return self.ship_context([(variable_at(*reference), value) for reference, value in context])

    def _pickled_context(self, context: list[tuple[Reference, Any]]) -> bytes:
        named = None if self.by_value else pack_by_reference(context)
        if named is not None and len(named.sizes) == 1:
            return b"".join(named.stream)
        from asyncgraph.executors.process.serialization import pack_context

        return pack_context(context, self.by_value)

    def _pickled(self, call: Callable[..., Any]) -> bytes:
        named = None if self.by_value else pack_by_reference(call)
        if named is not None:
            return b"".join(named.stream)
        # cloudpickle takes tens of milliseconds to import; those who do without never pay.
        from asyncgraph.executors.process.serialization import pack_function

        return pack_function(call, self.by_value)

    def ship_by_value(self, module: str) -> None:
        """A worker cannot import `module`, or lacks a name in it: from now on send what it defines."""
        self.by_value.add(module)
        self._named.clear()

    def _remember(self, what: bytes | int, shipped: Shipped, durations: Durations) -> Shipped:
        self._known.pop(what, None)
        self._known[what] = shipped
        shipped.durations = durations
        if len(self._known) > _REMEMBERED:
            del self._known[next(iter(self._known))]
        return shipped


def _has_state(call: Callable[..., Any]) -> bool:
    """Whether what it does may depend on an object that it belongs to, or is."""
    if isinstance(call, types.FunctionType | type):
        return False
    if isinstance(call, types.BuiltinFunctionType | types.MethodType):
        return call.__self__ is not None and not isinstance(call.__self__, types.ModuleType | type)
    return True
