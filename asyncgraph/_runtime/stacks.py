"""Where the program is: the lines that threads, and coroutines that are suspended, are at.

Only words and numbers are kept of a stack. A frame that is held keeps its variables alive when its call has
ended, and whoever looks is to change nothing.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterable
from itertools import dropwhile
from types import CodeType, CoroutineType, FrameType, GeneratorType
from typing import Any, NamedTuple

from asyncgraph._graph.node import Site
from asyncgraph.executors.base import PACKAGE

__all__ = ["Spot", "Stacks", "place_of", "place_of_coroutine", "suspended_in"]

# Libraries, as far as paths tell: those of Python, and those that were installed.
_STANDARD = os.path.dirname(os.__file__) + os.sep, "<frozen "
_INSTALLED = f"{os.sep}site-packages{os.sep}", f"{os.sep}dist-packages{os.sep}"

# So many coroutines, each awaiting the next, are followed.
_DEEPEST = 1000


class Spot(NamedTuple):
    """A call that has not ended, and the line that it is at.

    Attributes:
        frame: What tells it from others, as long as it goes on: the id of its frame.
        code: What is called.
        line: The line.
    """

    frame: int
    code: CodeType
    line: int

    @property
    def is_ours(self) -> bool:
        """Whether it is one of asyncgraph itself."""
        return self.code.co_filename.startswith(PACKAGE)

    @property
    def is_in_library(self) -> bool:
        """Whether it is one of a library, as far as its path tells."""
        file = self.code.co_filename
        return file.startswith(_STANDARD) or any(folder in file for folder in _INSTALLED)


class Stacks:
    """The calls that each thread was in when this was made, outermost first."""

    def __init__(self) -> None:
        self._of_thread = {ident: _calls_around(frame) for ident, frame in sys._current_frames().items()}

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
    foreign = [spot for spot in spots if not spot.is_ours]
    own = [spot for spot in foreign if not spot.is_in_library]
    if not foreign:
        return None
    spot = own[-1] if own else foreign[0]
    return Site(spot.code.co_filename, spot.line, spot.code.co_qualname)


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
        spots.append(_spot(frame))
    return spots


def _calls_around(frame: FrameType | None) -> list[Spot]:
    spots = []
    while frame is not None:
        spots.append(_spot(frame))
        frame = frame.f_back
    spots.reverse()
    return spots


def _spot(frame: FrameType) -> Spot:
    code = frame.f_code
    return Spot(id(frame), code, frame.f_lineno or code.co_firstlineno)
