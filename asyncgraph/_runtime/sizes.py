"""About how many bytes a value takes, as far as that can be told in a microsecond or two."""

from __future__ import annotations

import sys
from itertools import islice
from types import CoroutineType
from typing import Any

from asyncgraph._graph.arguments import ATOMS
from asyncgraph._graph.node import Node

__all__ = ["size_of"]

# So many items of a container are looked at, and so many levels.
_SAMPLE = 10
_DEPTH = 2


def size_of(value: Any, depth: int = _DEPTH) -> int:
    """An estimate: arrays and frames tell by themselves, and of a container some items stand for all."""
    kind = type(value)
    if kind in ATOMS:
        return sys.getsizeof(value)
    if issubclass(kind, Node | CoroutineType):  # whose value has yet to come, and is not to be asked
        return 0
    try:
        if kind in (list, tuple, set, frozenset):
            return _size_of_items(value, value, depth)
        if kind is dict:
            return _size_of_items(value, value.values(), depth)
        own = sys.getsizeof(value)
        size = _told_size(value)
    except Exception:  # of the user's classes
        return 0
    return max(own, size)


def _size_of_items(container: Any, items: Any, depth: int) -> int:
    own = sys.getsizeof(container)
    count = len(container)
    if not count or not depth:
        return own
    seen = [size_of(each, depth - 1) for each in islice(items, _SAMPLE)]
    return own + sum(seen) * count // len(seen)


def _told_size(value: Any) -> int:
    """What the value says of itself: `nbytes`, as arrays do, `sizes` of what is still pickled, or nothing."""
    size = getattr(value, "nbytes", None)
    if type(size) is int:
        return size
    kind = type(value)
    if kind.__module__.startswith("asyncgraph.") and kind.__name__ == "Payload":
        return sum(value.sizes)
    if kind.__module__.startswith("pandas.") and hasattr(value, "memory_usage"):
        usage = value.memory_usage(index=True)
        return int(usage if isinstance(usage, int) else usage.sum())
    return 0
