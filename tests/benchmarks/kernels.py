"""Calls that take a given time, for METG, and how long they really take."""

from __future__ import annotations

import functools
import hashlib
import itertools
import time
from collections.abc import Callable
from dataclasses import dataclass

_RELEASING = 2048
"""From this number of bytes on, hashlib releases the interpreter's lock."""

_MOST_BYTES = 1 << 26

_REPEATS = 5


def spin(size: int, *needs: int) -> int:
    """A loop in Python that holds the interpreter's lock."""
    for _ in itertools.repeat(None, size):
        pass
    return size


def digest(size: int, *needs: int) -> int:
    """A hash of so many bytes and 2 048, which leaves the interpreter to other threads."""
    hashlib.sha256(_data()[: _RELEASING + size])
    return size


@functools.cache
def _data() -> memoryview:
    return memoryview(bytes(_MOST_BYTES))


@dataclass(frozen=True)
class Kernel:
    """A call, and its duration: `base` and so much `each`, in seconds, a unit of its size."""

    call: Callable[..., int]
    base: float
    each: float
    most_size: int

    def size_for(self, seconds: float) -> int:
        """The size at which it takes so long, or as nearly so as it can."""
        return min(self.most_size, max(0, round((seconds - self.base) / self.each)))

    def seconds(self, size: int) -> float:
        """How long it takes at that size."""
        return self.base + self.each * size


def calibrated(call: Callable[..., int]) -> Kernel:
    """Measure how long the call takes, alone on the machine: the best of some tries."""
    large = 20_000 if call is spin else 200_000

    def once(size: int, times: int) -> float:
        start = time.perf_counter()
        for _ in range(times):
            call(size)
        return (time.perf_counter() - start) / times

    call(0)
    base = min(once(0, 1_000) for _ in range(_REPEATS))
    most = 10**8 if call is spin else _MOST_BYTES - _RELEASING
    each = (min(once(large, 10) for _ in range(_REPEATS)) - base) / large
    return Kernel(call, base, each, most)
