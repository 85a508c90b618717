"""Ctrl-C at any line: KeyboardInterrupt is raised at the n-th line of some of asyncgraph's modules.

A real signal strikes between any two instructions of the main thread, but a test cannot aim it.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from types import FrameType
from typing import Any, Self


class Interrupt:
    """Raises KeyboardInterrupt, once, in the block that it is around.

    Args:
        at: At which line it strikes, counted from 0.
        modules: The ends of the paths of the files whose lines count.

    Attributes:
        has_struck: Whether there were so many lines.
        where: The line at which it has struck.
    """

    def __init__(self, at: int, *modules: str) -> None:
        self.has_struck = False
        self.where = ""
        self._left = at
        self._modules = modules
        self._previous: Any = None

    def __enter__(self) -> Self:
        self._previous = sys.gettrace()
        sys.settrace(self._enter_frame)
        return self

    def __exit__(self, *_: object) -> None:
        sys.settrace(self._previous)

    def _enter_frame(self, frame: FrameType, event: str, argument: Any) -> Any:
        return self._count if frame.f_code.co_filename.endswith(self._modules) else None

    def _count(self, frame: FrameType, event: str, argument: Any) -> Any:
        if event != "line" or self.has_struck:
            return self._count
        if not self._left:
            self.has_struck = True
            self.where = f"{frame.f_code.co_filename}:{frame.f_lineno}, in {frame.f_code.co_name}"
            raise KeyboardInterrupt
        self._left -= 1
        return self._count


def everywhere(*modules: str, step: int = 1) -> Iterator[Callable[[], Interrupt]]:
    """Interrupts at one line after another, until one has not struck any more; each is to be used once."""
    at, made = 0, list[Interrupt]()

    def make() -> Interrupt:
        made.append(Interrupt(at, *modules))
        return made[-1]

    while True:
        yield make
        if not made.pop().has_struck:
            return
        at += step
