"""What a thread is in: the calls on its stack, each with the line that it is at.

Only words and numbers are kept of a stack. A frame that is held keeps its variables alive when its call has
ended, and whoever looks is to change nothing.
"""

from __future__ import annotations

import os
from types import CodeType, FrameType
from typing import NamedTuple

from asyncgraph._graph.node import Site

__all__ = ["Spot", "calls_around", "innermost_own", "outermost_own", "spot_of"]

# Without pathlib, which takes 2 ms to import.
_OURS = os.path.dirname(os.path.dirname(__file__)) + os.sep

# Libraries, as far as paths tell: those of Python, and those that were installed.
_STANDARD = os.path.dirname(os.__file__) + os.sep
_FROZEN = "<frozen "
_INSTALLED = f"{os.sep}site-packages{os.sep}", f"{os.sep}dist-packages{os.sep}"


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
        return self.code.co_filename.startswith(_OURS)

    @property
    def is_in_library(self) -> bool:
        """Whether it is one of a library, as far as its path tells."""
        file = self.code.co_filename
        return file.startswith((_STANDARD, _FROZEN)) or any(folder in file for folder in _INSTALLED)

    @property
    def library(self) -> str:
        """The top name of the library that it is in; "" if it is in none."""
        file = self.code.co_filename
        for folder in (*_INSTALLED, _STANDARD):
            if folder in file:
                return file.partition(folder)[2].partition(os.sep)[0].removesuffix(".py")
        return ""

    @property
    def site(self) -> Site:
        """The place in the source."""
        return Site(self.code.co_filename, self.line, self.code.co_qualname)


def spot_of(frame: FrameType) -> Spot:
    """Where a frame is."""
    code = frame.f_code
    return Spot(id(frame), code, frame.f_lineno or code.co_firstlineno)


def calls_around(frame: FrameType | None) -> list[Spot]:
    """The calls that a frame is in, outermost first, and itself."""
    spots = []
    while frame is not None:
        spots.append(spot_of(frame))
        frame = frame.f_back
    spots.reverse()
    return spots


def innermost_own(spots: list[Spot]) -> Spot | None:
    """The spot that tells a user most: the innermost of their own code.

    Where there is none of that, as in a call of a library's function, the outermost that is not ours.
    """
    own = [spot for spot in spots if not (spot.is_ours or spot.is_in_library)]
    return own[-1] if own else outermost_own(spots)


def outermost_own(spots: list[Spot]) -> Spot | None:
    """The outermost of the user's own code; else the outermost that is not ours."""
    foreign = [spot for spot in spots if not spot.is_ours]
    own = (spot for spot in foreign if not spot.is_in_library)
    return next(own, foreign[0] if foreign else None)
