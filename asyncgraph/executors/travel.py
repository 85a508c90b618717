"""What comes back from the workers of a cluster, or of a pool: results, errors; and how calls are made.

The cluster moves these, by whatever way it has; it need not know what is in them. A result stays with the
worker as it is, and is pickled only when it is sent on; if it does not pickle, a word about that goes in its
place, so that no cluster ever meets an object that it cannot handle. An error is raised there as a `Reply`,
which carries the user's own exception with its frames.

Used on both sides.
"""

from __future__ import annotations

import pickle
import sys
from collections.abc import Callable, Mapping, Sequence
from contextvars import Context, ContextVar, copy_context
from types import CoroutineType
from typing import Any

from asyncgraph.errors import SerializationError
from asyncgraph.executors.base import failure_of, without_own_frames
from asyncgraph.executors.dask_frames import Frames, moved_in_frames
from asyncgraph.executors.packing import Packed, packed_value, unpack
from asyncgraph.executors.process.exceptions import decode, encode
from asyncgraph.executors.process.refusal import Refusal
from asyncgraph.executors.process.serialization import dumps, find_culprit
from asyncgraph.executors.safe_text import describe_error

__all__ = ["Held", "Loaded", "Reply", "arrived", "perform_away", "perform_back", "perform_loaded"]

Loaded = tuple[Any, tuple[Any, ...], Mapping[str, Any], Sequence[tuple[ContextVar[Any], Any]]]
"""A function, its positional and named arguments, and context variables with their values."""

_ERROR, _NODE = "error", "node"

# Characters: engines cut long texts of errors off, and rebuild the error with what is left.
_LONG = 1000

_LACKED = (
    "asyncgraph: a module that workers lack can be given to them (with Dask by client.upload_file, with Ray "
    "by runtime_env), or what it defines goes by value: cloudpickle.register_pickle_by_value(module)"
)


@moved_in_frames
class Held:
    """The result of a call, which stays where it is until it is sent on.

    Args:
        value: The value.
        key: The key of the node.
    """

    __slots__ = ("__weakref__", "_key", "_packed", "_refusal", "_value")

    def __init__(self, value: Any, key: str) -> None:
        self._key = key
        self._value: Any = value
        self._packed: Packed | None = None
        self._refusal: SerializationError | None = None

    def value(self) -> Any:
        """The value.

        Raises:
            SerializationError: It did not pickle when it was sent on, or does not unpickle here.
        """
        packed = self._packed
        if self._refusal is not None:
            raise self._refusal
        if packed is not None:
            try:
                self._value = packed.load()
            except BaseException as error:  # the user's code
                raise Refusal("result-unpickle", "", "", error).as_error(self._key) from error
            self._packed = None
        return self._value

    def outcome(self, _: str) -> tuple[Any, BaseException | None]:
        """The value and None, or None and why there is none here; as that of a `Reply`."""
        try:
            return self.value(), None
        except SerializationError as refusal:
            return None, refusal.with_traceback(None)  # which would hold this, and this holds that

    def _sent(self) -> tuple[str, Packed | bytes]:
        """Its key, and the value as it is sent on; or why it is not, as bytes."""
        packed, refusal = self._packed, self._refusal
        if packed is not None:
            return self._key, packed
        if refusal is None:
            try:
                return self._key, packed_value(self._value)
            except BaseException as error:  # the user's code
                refusal = _result_refused(self._value, self._key, error)
        return self._key, encode(refusal)

    def __reduce__(self) -> tuple[Any, ...]:
        return arrived, self._sent()

    def frames(self) -> Frames:
        """Take it apart, as it is sent on."""
        key, sent = self._sent()
        if isinstance(sent, Packed):
            return {"key": key}, sent.frames()[1]
        return {"key": key, "is_refused": True}, [sent]

    @classmethod
    def of_frames(cls, header: Mapping[str, Any], frames: Sequence[Any]) -> Held:
        """What has come so."""
        is_refused = "is_refused" in header
        return arrived(header["key"], bytes(frames[0]) if is_refused else Packed.of_frames({}, frames))

    def __sizeof__(self) -> int:
        """Bytes, as far as the cluster's own way of telling knows."""
        own = object.__sizeof__(self)
        packed = self._packed
        if packed is not None:
            return own + sys.getsizeof(packed)
        module = sys.modules.get("dask.sizeof")
        return own + int(sys.getsizeof(self._value) if module is None else module.sizeof(self._value))


def _result_refused(value: Any, key: str, error: BaseException) -> SerializationError:
    return Refusal("result-pickle", *find_culprit([("result", value)]), error).as_error(key)


def arrived(key: str, sent: Packed | bytes) -> Held:
    """What has been sent, where it has come."""
    held = Held(None, key)
    if isinstance(sent, Packed):
        held._packed = sent
    else:
        error = decode(sent)
        assert isinstance(error, SerializationError)
        held._refusal = error
    return held


class Reply(Exception):  # noqa: N818 - not an error that a user ever meets
    """Raised by a call on a worker that has no value to keep: it carries what there is instead.

    Attributes:
        kind: _ERROR for the exception of a call; _NODE for a node that it has returned.
        data: That, as bytes.
    """

    def __init__(self, kind: str, text: str, data: bytes) -> None:
        super().__init__(kind, text[:_LONG], data)
        self.kind = kind
        self.data = data

    def __str__(self) -> str:
        return str(self.args[1])

    __repr__ = __str__

    def outcome(self, key: str) -> tuple[Any, BaseException | None]:
        """The value of the call and None, or None and its error; raises nothing."""
        try:
            if self.kind == _NODE:
                return pickle.loads(self.data), None
            return None, failure_of(decode(self.data), key)
        except BaseException as error:  # the user's code
            return None, Refusal("result-unpickle", "", "", error).as_error(key)


def perform_away(key: str, packed: Packed, held: Sequence[Held] = (), unkept: tuple[type, ...] = ()) -> Held:
    """Make a call, on a worker.

    Args:
        key: The key of the node.
        packed: The call.
        held: What it needs of results that are there.
        unkept: Types whose values do not stay here as a result, because the loop has to hear of them.

    Returns:
        The result, which stays here.

    Raises:
        Reply: It has failed, or has returned something of these types.
    """
    return perform_loaded(key, lambda values: unpack(packed, values), held, unkept)


def perform_loaded(
    key: str,
    load: Callable[[Sequence[Any]], Loaded],
    held: Sequence[Held],
    unkept: tuple[type, ...],
    finish: Callable[[Context, Any], Any] | None = None,
) -> Held:
    """As `perform_away`, for a call that comes in another way.

    Args:
        key: See there.
        load: Makes, of the values on the cluster that the call needs, the function, its positional and named
            arguments, and context variables.
        held: See there.
        unkept: See there.
        finish: Makes, of the context of the call and what it has returned, the result.
    """
    try:
        values = [each.value() for each in held]
        try:
            function, args, kwargs, variables = load(values)
        except BaseException as error:  # the user's code
            raise _refused_here(key, error) from error
        context = copy_context()
        for variable, value in variables:
            context.run(variable.set, value)
        value = context.run(function, *args, **kwargs)
        if finish is not None:
            value = finish(context, value)
        if not isinstance(value, unkept):
            return Held(value, key)
        reply = Reply(_NODE, f"{key} has returned a {type(value).__name__}", _dumped(value, key))
    except BaseException as error:
        reply = Reply(_ERROR, describe_error(error), encode(without_own_frames(error)))
    raise reply


def perform_back(key: str, packed: Packed) -> Held | Reply:
    """The same, for an executor that need not know what has failed."""
    try:
        return perform_away(key, packed)
    except Reply as reply:
        return reply.with_traceback(None)


def _refused_here(key: str, cause: BaseException) -> SerializationError:
    """The arguments of a call do not unpickle."""
    error = Refusal("arg-unpickle", "", "", cause).as_error(key)
    if isinstance(cause, ImportError):
        error.add_note(_LACKED)
    return error


def _dumped(value: Any, key: str) -> bytes:
    try:
        return dumps(value)
    except BaseException as error:  # the user's code
        if isinstance(value, CoroutineType):
            value.close()
        raise _result_refused(value, key, error) from error
