"""Nodes whose values are blocks of bytes: for tests of where values are."""

from __future__ import annotations

from asyncgraph import delayed


@delayed(executor="process")
def block(size: int) -> bytearray:
    """Make so many bytes."""
    return bytearray(size)


@delayed(executor="process")
def grow(data: bytearray) -> bytearray:
    """Make twice as many."""
    return data + data


@delayed(executor="process")
def size_of(*data: bytearray) -> int:
    """Return how many there are in all."""
    return sum(map(len, data))
