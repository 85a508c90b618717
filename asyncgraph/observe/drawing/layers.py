"""Which layer each shape is in: dependencies below dependents, and no further from them than need be."""

from __future__ import annotations

from collections.abc import Sequence

__all__ = ["Pair", "acyclic", "layers_of"]

Pair = tuple[int, int]
"""Two vertices, the lower one first."""


def acyclic(number: int, pairs: Sequence[Pair]) -> list[Pair]:
    """The pairs, turned round where they would close a circle; one that goes both ways is one in the end.

    Pairs of a vertex and itself must not be among them.
    """
    following: list[list[int]] = [[] for _ in range(number)]
    for start, end in pairs:
        following[start].append(end)
    closing = _closing(number, following)
    turned = dict.fromkeys((end, start) if (start, end) in closing else (start, end) for start, end in pairs)
    return list(turned)


def _closing(number: int, following: list[list[int]]) -> set[Pair]:
    """The pairs that lead back to where a walk has come through; vertices without a beginning go last."""
    has_before = bytearray(number)
    for ends in following:
        for end in ends:
            has_before[end] = 1
    closing: set[Pair] = set()
    state = bytearray(number)
    for first in sorted(range(number), key=has_before.__getitem__):
        stack = [first]
        while stack:
            vertex = stack[-1]
            if state[vertex] == 0:
                state[vertex] = 1
                for end in reversed(following[vertex]):
                    if state[end] == 0:
                        stack.append(end)
                    elif state[end] == 1:
                        closing.add((vertex, end))
            else:
                stack.pop()
                state[vertex] = 2
    return closing


def layers_of(number: int, pairs: Sequence[Pair]) -> list[int]:
    """The layer of each vertex, 0 at the bottom; the second of a pair is always above the first."""
    below: list[list[int]] = [[] for _ in range(number)]
    above: list[list[int]] = [[] for _ in range(number)]
    for start, end in pairs:
        above[start].append(end)
        below[end].append(start)
    order = _order(below, above)
    layers = [0] * number
    for vertex in order:
        layers[vertex] = max([layers[each] for each in below[vertex]], default=-1) + 1
    _pull_up(order, below, above, layers)
    return layers


def _order(below: list[list[int]], above: list[list[int]]) -> list[int]:
    missing = list(map(len, below))
    order = [vertex for vertex, count in enumerate(missing) if count == 0]
    for vertex in order:
        for each in above[vertex]:
            missing[each] -= 1
            if missing[each] == 0:
                order.append(each)
    return order


def _pull_up(order: list[int], below: list[list[int]], above: list[list[int]], layers: list[int]) -> None:
    """Move up to its dependents what that makes edges shorter for, or at least none longer."""
    # Whether all that is below a vertex is there for it alone, so that it can be moved as a whole.
    is_alone = bytearray(len(order))
    for vertex in order:
        is_alone[vertex] = all(len(above[each]) == 1 and is_alone[each] for each in below[vertex])
    for vertex in reversed(order):
        if above[vertex] and (is_alone[vertex] or len(below[vertex]) < len(above[vertex])):
            layers[vertex] = min([layers[each] for each in above[vertex]]) - 1
