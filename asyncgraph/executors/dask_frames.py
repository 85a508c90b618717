"""How Dask moves what travels: with large buffers in frames of their own, as it moves arrays.

By itself it pickles what it does not know. Between workers that leaves buffers where they are; but to and
from its scheduler it is by an older protocol, which copies them into the pickle, and out of it again. So Dask
is told of our types, in each process that has both: before it unpacks one, it imports the module of its type.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from typing import Any, Protocol, Self, TypeVar

__all__ = ["Framed", "Frames", "moved_in_frames"]

Frames = tuple[Mapping[str, Any], Sequence[Any]]
"""A header, which msgpack can write, and buffers."""


class Framed(Protocol):
    """What can be taken apart into frames, and made of them."""

    def frames(self) -> Frames:
        """Take it apart."""
        ...

    @classmethod
    def of_frames(cls, header: Mapping[str, Any], frames: Sequence[Any]) -> Self:
        """Make it of frames."""
        ...


_Kind = TypeVar("_Kind", bound=type[Framed])


def moved_in_frames(kind: _Kind) -> _Kind:
    """Tell Dask, if this process has it, how to move what is of a type; a decorator for such types."""
    if "distributed" in sys.modules:
        from distributed.protocol.serialize import dask_deserialize, dask_serialize

        dask_serialize.register(kind, kind.frames)
        dask_deserialize.register(kind, kind.of_frames)
    return kind
