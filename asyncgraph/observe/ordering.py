"""Sorting that lets other threads go on: one long sort would hold the GIL, and so stop the event loop."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from heapq import merge
from typing import Any, TypeVar

__all__ = ["in_order"]

T = TypeVar("T")

# So many take a few milliseconds to sort.
_PIECE = 5_000


def in_order(items: Iterable[T], key: Callable[[T], Any] = lambda item: item) -> list[T]:
    """What `sorted` gives, sorted in pieces that are merged in Python."""
    values = list(items)
    pieces = [sorted(values[first : first + _PIECE], key=key) for first in range(0, len(values), _PIECE)]
    if len(pieces) <= 1:
        return pieces[0] if pieces else []
    return list(merge(*pieces, key=key))
