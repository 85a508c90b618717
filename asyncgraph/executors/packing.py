"""Calls as they travel to where executors of the user's make them: pickled, with places for what is there.

Large buffers, as those of arrays, travel apart from the pickle, so that a cluster need not copy them.
Importing this imports cloudpickle: import it on first use.
"""

from __future__ import annotations

import io
import pickle
from collections.abc import Mapping, Sequence
from contextvars import ContextVar
from typing import Any, SupportsIndex

from asyncgraph.executors.base import Call
from asyncgraph.executors.dask_frames import Frames, moved_in_frames
from asyncgraph.executors.process.payload import Part
from asyncgraph.executors.process.pickling import PROTOCOL, Pieces, apart_into
from asyncgraph.executors.process.refusal import Refusal
from asyncgraph.executors.process.serialization import Pickler, find_culprit
from asyncgraph.executors.remote import Remote

__all__ = ["Packed", "pack", "packed_arguments", "packed_function", "packed_input", "packed_value", "unpack"]

Variables = Sequence[tuple[ContextVar[Any], Any]]


@moved_in_frames
class Packed:
    """A pickle and its large buffers, which travel apart from it.

    Attributes:
        data: The pickle.
        buffers: The buffers.
    """

    __slots__ = ("buffers", "data")

    def __init__(self, data: Part, buffers: Sequence[Any] = ()) -> None:
        self.data = data
        self.buffers = buffers

    @property
    def size(self) -> int:
        """Bytes, all together."""
        return len(self.data) + sum(memoryview(each).nbytes for each in self.buffers)

    def load(self) -> Any:
        """The value. Raises whatever its unpickling raises."""
        return pickle.loads(self.data, buffers=self.buffers)

    def frames(self) -> Frames:
        """The pickle and the buffers."""
        return {}, [self.data, *self.buffers]

    @classmethod
    def of_frames(cls, header: Mapping[str, Any], frames: Sequence[Any]) -> Packed:
        """What has come so."""
        return cls(frames[0], frames[1:])

    def __reduce_ex__(self, protocol: SupportsIndex) -> tuple[Any, ...]:
        # Clusters whose parts are of several versions may agree on an older protocol, without buffers.
        apart = pickle.PickleBuffer if int(protocol) >= PROTOCOL else bytearray
        return Packed, (self.data, [apart(each) for each in self.buffers])

    def __sizeof__(self) -> int:
        return object.__sizeof__(self) + self.size


def pack(call: Call) -> tuple[Packed, list[Any]]:
    """A call as it travels, and the handles of what a cluster has of it.

    Raises:
        SerializationError: Something of it does not pickle.
    """
    roots = [("args", call.args), ("kwargs", call.kwargs), ("function", call.function)]
    what = call.function, call.args, dict(call.kwargs), call.variables
    return _pack(what, [*roots, *_named(call.variables)], call.key)


def packed_arguments(args: tuple[Any, ...], kwargs: Mapping[str, Any], key: str) -> tuple[Packed, list[Any]]:
    """Arguments as they travel without their function, and the handles of what the cluster has of them.

    Raises:
        SerializationError: Something of them does not pickle.
    """
    return _pack((args, dict(kwargs)), [("args", args), ("kwargs", kwargs)], key)


def packed_input(value: Any, key: str) -> Packed:
    """The value of a node as it travels to calls that take it.

    Raises:
        SerializationError: It does not pickle.
    """
    packed, _ = _pack(value, [(f"the value of {key}", value)], key)
    return packed


def packed_function(function: Any, variables: Variables, key: str) -> Packed:
    """A function, and the context variables that it is to see, as they travel for many calls.

    Raises:
        SerializationError: Something of them does not pickle.
    """
    packed, _ = _pack((function, variables), [("function", function), *_named(variables)], key)
    return packed


def _named(variables: Variables) -> list[tuple[str, Any]]:
    return [(f"the value of the context variable {each.name!r}", value) for each, value in variables]


def _pack(what: Any, roots: list[tuple[str, Any]], key: str) -> tuple[Packed, list[Any]]:
    remotes: list[Remote] = []
    try:
        packed = _packed(what, remotes)
        return packed, [each.handle for each in remotes]
    except BaseException as error:  # the user's code runs here
        cause = error
    raise Refusal("arg-pickle", *find_culprit(roots), cause).as_error(key)


def packed_value(value: Any) -> Packed:
    """A value as it travels; raises whatever its pickling raises."""
    return _packed(value, [])


def _packed(value: Any, remotes: list[Remote]) -> Packed:
    pieces, buffers = Pieces(), list[pickle.PickleBuffer]()
    _AwayPickler(pieces, remotes, apart_into(buffers)).dump(value)
    return Packed(b"".join(pieces), [each.raw() for each in buffers])


class _AwayPickler(Pickler):
    """Sends the place of a value among those that the cluster has, instead of the value."""

    def __init__(self, pieces: Pieces, remotes: list[Remote], buffer_callback: Any) -> None:
        super().__init__(pieces, PROTOCOL, buffer_callback=buffer_callback)
        self._remotes = remotes

    def reducer_override(self, obj: Any) -> Any:
        """Reduce what stands for a value to its place."""
        if type(obj) is Remote:
            self._remotes.append(obj)
            return value_at, (len(self._remotes) - 1,)
        return super().reducer_override(obj)


class _Unpickler(pickle.Unpickler):
    """Puts the values that were there already in their places."""

    def __init__(self, packed: Packed, values: Sequence[Any]) -> None:
        super().__init__(io.BytesIO(packed.data), buffers=packed.buffers)
        self._values = values

    def find_class(self, module: str, name: str) -> Any:
        """As `pickle` does; but `value_at` is that of this pickle."""
        if name == "value_at" and module == __name__:
            return self._values.__getitem__
        return super().find_class(module, name)


def value_at(index: int) -> Any:
    """Stands in the pickle of a call for the value of another one; see `_Unpickler`."""
    raise AssertionError("a call of a cluster is unpickled by `unpack`")


def unpack(packed: Packed, values: Sequence[Any]) -> Any:
    """What was packed: of `pack` function, positional and named arguments and context variables.

    Args:
        packed: The call.
        values: The values that were there already.

    Raises:
        BaseException: Whatever its unpickling raises.
    """
    return _Unpickler(packed, values).load()
