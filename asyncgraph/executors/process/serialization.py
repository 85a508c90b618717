"""What calls and results look like as bytes, and which part of one is at fault if it has no such look.

Decides what goes by reference and what by value: importable functions and classes by reference, those
of `__main__`, lambdas and closures by value, as cloudpickle does. Knows nothing of processes or pipes.

Importing this module imports cloudpickle, which takes tens of milliseconds: import it on first use.
"""

from __future__ import annotations

import contextlib
import importlib
import io
import itertools
import pickle
import sys
import time
import types
from collections import ChainMap
from collections.abc import Callable, Collection, Iterator
from contextvars import ContextVar
from typing import Any, ClassVar

import cloudpickle

from asyncgraph.executors.process.payload import Payload
from asyncgraph.executors.process.pickling import PROTOCOL, Pieces, apart_into, attached_value
from asyncgraph.executors.process.refusal import Refusal
from asyncgraph.executors.process.variables import Reference, reference_to, variable_at
from asyncgraph.executors.safe_text import safe_repr

__all__ = [
    "Pickler",
    "PlacingPickler",
    "dumps",
    "find_culprit",
    "pack_arguments",
    "pack_context",
    "pack_function",
    "pack_result",
    "pickled_by_value",
]

# How long the search for a culprit may take, in seconds: in the parent it holds the loop. And how deep
# and how wide it goes.
_SEARCH_TIME = 0.1
_SEARCH_DEPTH = 50
_SEARCH_WIDTH = 10_000

# A function is looked for behind this many decorators.
_DECORATORS = 20


def _reduced_variable(variable: ContextVar[Any]) -> tuple[Any, ...]:
    return variable_at, reference_to(variable, cloudpickle.list_registry_pickle_by_value())


class Pickler(cloudpickle.Pickler):  # type: ignore[misc, unused-ignore]
    """cloudpickle's pickler, with functions that hide behind their decorated names by reference.

    `@decorator` leaves under the function's name something else, whose `__wrapped__` is the function.
    By name the function cannot be found then, and would be sent by value: slowly, and to use copies
    of its module's globals.

    Code that goes by value keeps the name of its file, without which no traceback could show its lines;
    cloudpickle leaves it out from version 3.1.3 on.

    Context variables, which do not pickle, go as references (see `variables`).
    """

    dispatch_table: ClassVar[ChainMap[type, Any]] = ChainMap(
        {ContextVar: _reduced_variable},
        cloudpickle.Pickler.dispatch_table,  # pyright: ignore[reportArgumentType]
    )

    def reducer_override(self, obj: Any) -> Any:
        """Reduce a hidden function to the way to it, and code with its file; all else is cloudpickle's."""
        if type(obj) is types.CodeType:
            reduced: Any = self.dispatch_table[types.CodeType](obj)
            make, parts = reduced
            return _make_code, (make, parts, obj.co_filename)
        if type(obj) is types.FunctionType:
            way = _way_behind_decorators(obj)
            if way is not None:
                return _find_behind_decorators, way
        return super().reducer_override(obj)


def _make_code(make: Callable[..., types.CodeType], parts: tuple[Any, ...], filename: str) -> types.CodeType:
    """The other end of what `Pickler` makes of code."""
    return make(*parts).replace(co_filename=filename)


def dumps(value: Any) -> bytes:
    """Pickle `value`; raises whatever its pickling raises."""
    buffer = io.BytesIO()
    Pickler(buffer, PROTOCOL).dump(value)
    return buffer.getvalue()


def pack_arguments(arguments: Any, attached: list[Payload]) -> Payload:
    """Pickle the arguments of a call.

    Args:
        arguments: The positional and the named ones, perhaps with the function in front.
        attached: Payloads among them are appended to this, and not pickled once more.

    Raises:
        Refusal: They do not pickle.
    """
    try:
        pieces, buffers = Pieces(), list[pickle.PickleBuffer]()
        PlacingPickler(pieces, attached, Payload, attached_value, apart_into(buffers)).dump(arguments)
        return Payload.of(pieces, buffers)
    except BaseException as error:  # the user's code runs here
        *function, args, kwargs = arguments
        roots = [("args", args), ("kwargs", kwargs), *(("function", each) for each in function)]
        cause = error
    raise Refusal("arg-pickle", *find_culprit(roots), cause)


def pack_function(function: Callable[..., Any], by_value: Collection[str] = ()) -> bytes:
    """Pickle a function, those of the modules named by value.

    Raises:
        Refusal: It does not pickle.
    """
    try:
        with pickled_by_value(by_value):
            return dumps(function)
    except BaseException as error:  # the user's code runs here
        cause = error
    raise Refusal("arg-pickle", *find_culprit([("function", function)]), cause)


def pack_context(context: list[tuple[Reference, Any]], by_value: Collection[str] = ()) -> bytes:
    """Pickle the values of context variables; what the modules named define goes by value.

    Raises:
        Refusal: A value does not pickle.
    """
    try:
        with pickled_by_value(by_value):
            return dumps(context)
    except BaseException as error:  # the user's code runs here
        cause = error
    values = [(f"the value of the context variable {reference[3]!r}", value) for reference, value in context]
    raise Refusal("arg-pickle", *find_culprit(values), cause)


def pack_result(value: Any) -> Payload:
    """Pickle the result of a call.

    Raises:
        Refusal: It does not pickle.
    """
    try:
        pieces, buffers = Pieces(), list[pickle.PickleBuffer]()
        Pickler(pieces, PROTOCOL, buffer_callback=apart_into(buffers)).dump(value)
        return Payload.of(pieces, buffers)
    except BaseException as error:  # the user's code runs here, and must not end the worker
        cause = error
    raise Refusal("result-pickle", *find_culprit([("result", value)]), cause)


class PlacingPickler(Pickler):
    """Does not pickle objects of one type, which travel in another way: a place stands for each.

    Args:
        pieces: Where the pickle goes.
        placed: Objects of the type that are met are appended to this.
        kind: The type.
        value_at: The function whose call with the place stands in the pickle for an object.
        buffer_callback: See `pickle.Pickler`.
    """

    def __init__(
        self,
        pieces: Pieces,
        placed: list[Any],
        kind: type,
        value_at: Callable[[int], Any],
        buffer_callback: Any,
    ) -> None:
        super().__init__(pieces, PROTOCOL, buffer_callback=buffer_callback)
        self._placed = placed
        self._kind = kind
        self._value_at = value_at

    def reducer_override(self, obj: Any) -> Any:
        """Reduce an object of the type to its place."""
        if type(obj) is self._kind:
            self._placed.append(obj)
            return self._value_at, (len(self._placed) - 1,)
        return super().reducer_override(obj)


@contextlib.contextmanager
def pickled_by_value(modules: Collection[str]) -> Iterator[None]:
    """Pickle what these modules define by value, as cloudpickle does with what is registered there."""
    registered = []
    try:
        for name in modules:
            if name in sys.modules and not _is_registered_by_value(name):
                cloudpickle.register_pickle_by_value(sys.modules[name])
                registered.append(sys.modules[name])
        yield
    finally:
        for module in registered:
            cloudpickle.unregister_pickle_by_value(module)


# --- functions behind decorators ------------------------------------------------------------------


def _way_behind_decorators(function: types.FunctionType) -> tuple[str, str, int] | None:
    """Module, name and number of `__wrapped__` steps that lead to `function`; None without any."""
    module, name = function.__module__, function.__qualname__
    if module in (None, "__main__") or "<" in name or module not in sys.modules:
        return None
    if _is_registered_by_value(module):
        return None
    try:
        found = _walk(sys.modules[module], name)
        for steps in range(_DECORATORS):
            if found is function:
                return (module, name, steps) if steps else None  # not hidden: cloudpickle's business
            found = found.__wrapped__
    except Exception:
        return None  # there is nothing behind, or looking runs a user's __getattr__ that fails
    return None


def _find_behind_decorators(module: str, name: str, steps: int) -> Any:
    """The other end of `_way_behind_decorators`."""
    found = _walk(importlib.import_module(module), name)
    for _ in range(steps):
        found = found.__wrapped__
    return found


def _walk(start: Any, name: str) -> Any:
    for part in name.split("."):
        start = getattr(start, part)
    return start


def _is_registered_by_value(module: str) -> bool:
    registered = cloudpickle.list_registry_pickle_by_value()
    parts = module.split(".")
    return any(".".join(parts[:length]) in registered for length in range(1, len(parts) + 1))


# --- the search for a culprit ---------------------------------------------------------------------


def find_culprit(roots: list[tuple[str, Any]]) -> tuple[str, Any]:
    """Descend to the smallest part that does not pickle; return where it is, and it.

    Bounded in time: what it has not found by then is somewhere inside what it returns.
    """
    deadline = time.perf_counter() + _SEARCH_TIME
    place, culprit = "", None
    parts: Iterator[tuple[str, Any]] = iter(roots)
    above: set[int] = set()
    for _ in range(_SEARCH_DEPTH):
        found = _first_failing(parts, deadline, above)
        if found is None:
            break
        place, culprit = found
        above.add(id(culprit))
        parts = itertools.islice(_parts(place, culprit), _SEARCH_WIDTH)
    return place, culprit


def _first_failing(
    parts: Iterator[tuple[str, Any]], deadline: float, above: set[int]
) -> tuple[str, Any] | None:
    try:
        for place, part in parts:
            if time.perf_counter() > deadline:
                break
            if id(part) not in above and not _pickles(part):
                return place, part
    except Exception:
        pass  # a user's __dict__, items() or __getattr__ fails: the search ends one level above
    return None


def _pickles(value: Any) -> bool:
    try:
        dumps(value)
    except BaseException:  # whatever the user's code raises, it means no
        return False
    return True


def _parts(place: str, value: Any) -> Iterator[tuple[str, Any]]:
    """The parts of `value` that are pickled with it, each with an expression that leads to it."""
    if isinstance(value, dict):
        for key, item in value.items():
            yield f"{place}[{safe_repr(key)}]", item
        for key in value:
            yield f"{place}.keys(): {safe_repr(key)}", key
    elif isinstance(value, (list, tuple)):
        for index, item in enumerate(value):
            yield f"{place}[{index}]", item
    elif isinstance(value, (set, frozenset)):
        for item in value:
            yield f"{place}: {safe_repr(item)}", item
    elif isinstance(value, types.FunctionType):
        yield from _parts_of_function(place, value)
    elif isinstance(value, types.MethodType):
        yield f"{place}.__self__", value.__self__
    yield from _attributes(place, value)


def _parts_of_function(place: str, function: types.FunctionType) -> Iterator[tuple[str, Any]]:
    for name, cell in zip(function.__code__.co_freevars, function.__closure__ or (), strict=True):
        try:
            yield f"{place}.__closure__[{name!r}]", cell.cell_contents
        except ValueError:
            continue  # the variable is not set yet
    for name in function.__code__.co_names:
        if name in function.__globals__:
            yield f"{place}.__globals__[{name!r}]", function.__globals__[name]
    yield f"{place}.__defaults__", function.__defaults__
    yield f"{place}.__kwdefaults__", function.__kwdefaults__


def _attributes(place: str, value: Any) -> Iterator[tuple[str, Any]]:
    if isinstance(value, (type, types.ModuleType)):
        return
    names = list(getattr(value, "__dict__", ()))
    names += [name for kind in type(value).__mro__ for name in _slots(kind)]
    # functools.partial keeps these where no __dict__ shows them.
    names += [name for name in ("func", "args", "keywords") if hasattr(type(value), name)]
    for name in names:
        try:
            yield f"{place}.{name}", getattr(value, name)
        except Exception:
            continue  # an empty slot, or a user's property


def _slots(kind: type) -> list[str]:
    return [name for name, member in vars(kind).items() if isinstance(member, types.MemberDescriptorType)]
