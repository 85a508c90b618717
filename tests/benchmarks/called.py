"""What `pool` and `chaos` let worker processes call; a worker imports this, so it imports next to nothing."""

from __future__ import annotations

import os
import time
from typing import Any

Spell = tuple[int, float, float]
"""In which process a call was, and from when until when, on a clock that is the same in all processes."""

_PRIME = 2**61 - 1


def inc(number: int) -> int:
    """Next to nothing."""
    return number + 1


def busy(seconds: float) -> Spell:
    """Occupy the processor for so long, by the clock."""
    began = now = time.monotonic()
    while now < began + seconds:
        now = time.monotonic()
    return os.getpid(), began, now


def rest(seconds: float) -> Spell:
    """Take so long and no processor."""
    began = time.monotonic()
    time.sleep(seconds)
    return os.getpid(), began, time.monotonic()


def rest_long(seconds: float) -> Spell:
    """The same by another name: what is known of the duration of one function is not known of the other."""
    return rest(seconds)


def mixed(seconds: float, number: int, *needs: int) -> int:
    """A number that depends on every other, and on their order; it takes so long."""
    time.sleep(seconds)
    for each in needs:
        number = (number * 31 + each) % _PRIME
    return number


# -- payloads; numpy is there only where there are arrays


def size_of(payload: Any) -> int:
    """Bytes in it."""
    return memoryview(payload).nbytes


def some_bytes(size: int) -> bytes:
    """So many of them."""
    return bytes(size)


def some_array(size: int) -> Any:
    """An array of so many bytes, each written to."""
    import numpy as np

    return np.full(size // 8, 1.0)


def some_arrays(count: int, size: int) -> list[Any]:
    """So many arrays of so many bytes."""
    return [some_array(size) for _ in range(count)]


def changed(array: Any) -> Any:
    """Another array, each item one more."""
    return array + 1


def total(arrays: list[Any]) -> float:
    """The sum of all items of all arrays."""
    return float(sum(each.sum() for each in arrays))


def highest(arrays: list[Any]) -> float:
    """The largest of all items of all arrays."""
    return float(max(each.max() for each in arrays))
