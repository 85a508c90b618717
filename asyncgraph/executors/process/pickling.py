"""Pickling without cloudpickle, which takes tens of milliseconds to import: what nearly every value needs.

Used on both sides, and by workers before anything else.
"""

from __future__ import annotations

import pickle
import sys
from collections.abc import Callable
from typing import Any

from asyncgraph.executors.process.payload import BUFFER, LARGE, Part, Payload

__all__ = [
    "ATOMS",
    "PREVIOUS",
    "PROTOCOL",
    "Pieces",
    "apart_into",
    "attached_value",
    "pack_by_reference",
    "pack_plainly",
    "previous_value",
    "unpacked",
]

PROTOCOL = 5

ATOMS = frozenset({type(None), bool, int, float, complex, str, bytes})
"""Types whose values `marshal` copies, and that no code of a user's can be in."""


class Pieces(list[Part]):
    """Where a pickler writes. Large bytes are not copied: the pickler hands them over as they are."""

    write = list.append


def apart_into(buffers: list[pickle.PickleBuffer]) -> Callable[[pickle.PickleBuffer], bool]:
    """A `buffer_callback` that keeps large buffers out of the pickle."""

    def keep(buffer: pickle.PickleBuffer) -> bool:
        try:
            is_small = buffer.raw().nbytes < BUFFER
        except BufferError:  # its memory is not in one piece
            return True
        if not is_small:
            buffers.append(buffer)
        return is_small

    return keep


def pack_plainly(value: Any) -> Payload | None:
    """Pickle `value` as the standard library does; None if it does not pickle that way."""
    pieces, buffers = Pieces(), list[pickle.PickleBuffer]()
    try:
        pickle.Pickler(pieces, PROTOCOL, buffer_callback=apart_into(buffers)).dump(value)
    except BaseException:  # the user's code, which may raise anything
        return None
    return Payload.of(pieces, buffers)


def pack_by_reference(value: Any) -> Payload | None:
    """Pickle `value` for a worker, without cloudpickle; None if that would not do.

    It would not for what `__main__` defines, since a worker's is another, nor for what is in modules whose
    contents are to go by value.
    """
    cloudpickle = sys.modules.get("cloudpickle")
    if cloudpickle is not None and cloudpickle.list_registry_pickle_by_value():
        return None
    quick = pack_plainly(value)
    if quick is None or any(b"__main__" in piece for piece in quick.stream if len(piece) < LARGE):
        return None  # a larger piece is but the contents of bytes or of a string
    return quick


# --- values that are there already ----------------------------------------------------------------


class _Previous:
    """Stands in the arguments of a step of a chain for the value of the step before."""

    def __reduce__(self) -> tuple[Any, ...]:
        return previous_value, ()


PREVIOUS = _Previous()

# What the arguments that are being unpickled refer to.
_attached: list[Payload] = []
_previous: list[Any] = []


def attached_value(index: int) -> Any:
    """The other end of a payload that was attached to arguments."""
    return _attached[index].load()


def previous_value() -> Any:
    """The other end of PREVIOUS."""
    return _previous[0]


def unpacked(payload: Payload, attached: list[Payload], previous: list[Any]) -> Any:
    """Unpickle arguments; raises whatever that raises.

    Args:
        payload: The arguments.
        attached: The payloads that they refer to.
        previous: The value that stands for PREVIOUS; it is taken out.
    """
    global _attached, _previous
    _attached, _previous = attached, previous
    try:
        return payload.load()
    finally:
        _attached, _previous = [], []
        previous.clear()
