"""Work in pieces: what takes long is a generator that yields now and then, and returns its result.

Whoever runs it decides how many pieces to do before others have their turn; nobody here knows of time. A
piece is a thousand steps or so, each of which takes a microsecond at most.
"""

from __future__ import annotations

from collections.abc import Generator, Iterator, Sequence
from typing import TypeVar

__all__ = ["PIECE", "Pieces", "cut", "whole"]

T = TypeVar("T")

Pieces = Generator[None, None, T]

PIECE = 1_000
"""Steps in a piece."""


def whole(pieces: Pieces[T]) -> T:
    """Do all of it now."""
    while True:
        try:
            next(pieces)
        except StopIteration as end:
            result: T = end.value
            return result


def cut(items: Sequence[T], size: int = PIECE) -> Iterator[Sequence[T]]:
    """The items, so many at a time."""
    if len(items) <= size:  # nearly always
        yield items
        return
    for start in range(0, len(items), size):
        yield items[start : start + size]
