"""Where the program is: the lines that threads, and coroutines that are suspended, are at.

Of a stack only spots are kept, which hold nothing alive.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable
from itertools import dropwhile
from types import CodeType, CoroutineType, FrameType, GeneratorType
from typing import Any

from asyncgraph._graph.node import Site
from asyncgraph.observe.spots import Spot, calls_around, innermost_own, spot_of

__all__ = ["Stacks", "place_of", "place_of_coroutine", "suspended_in"]

# So many coroutines, each awaiting the next, are followed.
_DEEPEST = 1000


class Stacks:
    """The calls that each thread was in when this was made, outermost first."""

    def __init__(self) -> None:
        self._of_thread = {ident: calls_around(frame) for ident, frame in sys._current_frames().items()}

    def inside_of_ours(self, thread: int | None) -> list[Spot]:
        """What a thread of asyncgraph's own is in on behalf of a user."""
        spots = self._of_thread.get(thread or 0, [])
        since_ours = dropwhile(lambda spot: not spot.is_ours, spots)
        return list(dropwhile(lambda spot: spot.is_ours, since_ours))

    def inside_of(self, thread: int, code: CodeType) -> list[Spot]:
        """What a thread is in behind the innermost call of `code`; nothing if there is none."""
        return self._behind(thread, lambda spot: spot.code is code)

    def inside_of_frame(self, frame: FrameType | None) -> list[Spot]:
        """What a call has called that some thread is in; nothing if none is."""
        for thread in self._of_thread:
            spots = self._behind(thread, lambda spot: spot.frame == id(frame))
            if spots:
                return spots
        return []

    def _behind(self, thread: int, is_wanted: Callable[[Spot], bool]) -> list[Spot]:
        spots = self._of_thread.get(thread, [])
        for index in range(len(spots) - 1, -1, -1):
            if is_wanted(spots[index]):
                return spots[index + 1 :]
        return []


def place_of(spots: Iterable[Spot]) -> Site | None:
    """The line that tells a user most: the innermost of their own code.

    Where there is none of that, as in a call of a library's function, the outermost that is not ours.
    """
    spot = innermost_own([*spots])
    return None if spot is None else spot.site


def place_of_coroutine(coroutine: Any, stacks: Stacks) -> Site | None:
    """The same for a coroutine, whether it is suspended or some thread is in it."""
    if coroutine.cr_running:
        return place_of(stacks.inside_of_frame(coroutine.cr_frame))
    return place_of(suspended_in(coroutine))


def suspended_in(awaited: Any) -> list[Spot]:
    """What a suspended coroutine is in, outermost first, as far as it is written in Python."""
    spots: list[Spot] = []
    frame: FrameType | None
    while len(spots) < _DEEPEST:
        # Only these kinds are asked: an object of the user's may answer to any name, and an asynchronous
        # generator does not say what it is in.
        if isinstance(awaited, CoroutineType):
            frame, awaited = awaited.cr_frame, awaited.cr_await
        elif isinstance(awaited, GeneratorType):
            frame, awaited = awaited.gi_frame, awaited.gi_yieldfrom
        else:
            break
        if frame is None:  # it has ended meanwhile
            break
        spots.append(spot_of(frame))
    return spots
