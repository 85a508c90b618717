"""In which order the vertices of each layer stand, so that few edges cross.

Layers are swept up and down: each is sorted by where the neighbors of its vertices are in the layer before
(the median, and between equals the mean), and then neighbors within the layer change places where that helps.
The best of all orders that were seen is taken. Ties keep the order that there was, so that the result depends
on the graph alone.
"""

from __future__ import annotations

import itertools
from bisect import bisect_right, insort
from collections.abc import Sequence

__all__ = ["Neighbors", "crossings_of", "ordered"]

Neighbors = list[list[int]]
"""For each vertex, those in the layer above, or in the one below."""

_WORK = 60_000
"""So many vertices are sorted, all sweeps together: it bounds the time for large graphs."""

_SWEEPS = (4, 24)
"""At least and at most so many sweeps up and down."""

_EXCHANGES = 1500
"""Neighbors are exchanged in graphs with at most so many edges between layers: it takes its time."""


def ordered(layers: list[list[int]], above: Neighbors, below: Neighbors) -> list[list[int]]:
    """The vertices of each layer, the lowest first, in an order with few crossings."""
    edges = sum(map(len, above))
    order = _walked(layers, above, below)
    best, fewest = order, crossings_of(order, above)
    least, most = _SWEEPS
    waited = 0
    for sweep in range(max(least, min(most, _WORK // (len(above) + edges + 1)))):
        if fewest == 0 or waited == 4:
            break
        order = _swept(order, above, below, goes_up=sweep % 2 == 0)
        if edges <= _EXCHANGES:
            order = _exchanged(order, above, below)
        crossings = crossings_of(order, above)
        waited += 1
        if crossings < fewest:
            best, fewest, waited = order, crossings, 0
    return best


def crossings_of(order: list[list[int]], above: Neighbors) -> int:
    """How many edges cross."""
    total = 0
    for lower, upper in itertools.pairwise(order):
        places = {vertex: place for place, vertex in enumerate(upper)}
        seen: list[int] = []
        for vertex in lower:
            ends = [places[each] for each in above[vertex]]
            for place in ends:
                if seen and place < seen[-1]:
                    total += len(seen) - bisect_right(seen, place)
            for place in ends:
                insort(seen, place)
    return total


def _walked(layers: list[list[int]], above: Neighbors, below: Neighbors) -> list[list[int]]:
    """The order in which a walk from the top comes through: it draws trees without crossings."""
    layer_of = {vertex: number for number, layer in enumerate(layers) for vertex in layer}
    order: list[list[int]] = [[] for _ in layers]
    seen = bytearray(len(above))
    for layer in reversed(layers):
        for first in layer:
            stack = [first]
            while stack:
                vertex = stack.pop()
                if not seen[vertex]:
                    seen[vertex] = 1
                    order[layer_of[vertex]].append(vertex)
                    stack += reversed(below[vertex])
    return order


def _swept(order: list[list[int]], above: Neighbors, below: Neighbors, *, goes_up: bool) -> list[list[int]]:
    """Each layer sorted by the one before it."""
    swept = list(order)
    numbers = range(1, len(order)) if goes_up else range(len(order) - 2, -1, -1)
    neighbors = below if goes_up else above
    for number in numbers:
        before = swept[number - 1 if goes_up else number + 1]
        places = {vertex: place for place, vertex in enumerate(before)}
        swept[number] = _sorted_by(swept[number], neighbors, places)
    return swept


def _sorted_by(layer: list[int], neighbors: Neighbors, places: dict[int, int]) -> list[int]:
    """The layer, sorted; who has no neighbors there keeps its place."""
    keys: dict[int, tuple[float, float]] = {}
    for vertex in layer:
        found = [places[each] for each in neighbors[vertex]]
        if len(found) == 1:
            keys[vertex] = (found[0], found[0])
        elif found:
            found.sort()
            keys[vertex] = (_median(found), sum(found) / len(found))
    moving = iter(sorted(keys, key=keys.__getitem__))
    return [next(moving) if vertex in keys else vertex for vertex in layer]


def _median(found: Sequence[int]) -> float:
    """Of an even number, between the two in the middle, nearer to where the others are closer together."""
    middle = len(found) // 2
    if len(found) % 2:
        return found[middle]
    if len(found) == 2:
        return (found[0] + found[1]) / 2
    left = found[middle - 1] - found[0]
    right = found[-1] - found[middle]
    if left + right == 0:
        return (found[middle - 1] + found[middle]) / 2
    return (found[middle - 1] * right + found[middle] * left) / (left + right)


def _exchanged(order: list[list[int]], above: Neighbors, below: Neighbors) -> list[list[int]]:
    """Neighbors within layers exchanged, as long as edges cross less often."""
    order = [list(layer) for layer in order]
    for _ in range(4):
        has_changed = False
        for number, layer in enumerate(order):
            adjacent = []
            if number + 1 < len(order):
                adjacent.append((above, {each: place for place, each in enumerate(order[number + 1])}))
            if number > 0:
                adjacent.append((below, {each: place for place, each in enumerate(order[number - 1])}))
            ends = {
                vertex: [sorted([places[each] for each in side[vertex]]) for side, places in adjacent]
                for vertex in layer
            }
            for place in range(len(layer) - 1):
                one, other = ends[layer[place]], ends[layer[place + 1]]
                gain = sum(_crossings(a, b) - _crossings(b, a) for a, b in zip(one, other, strict=True))
                if gain > 0:
                    layer[place], layer[place + 1] = layer[place + 1], layer[place]
                    has_changed = True
        if not has_changed:
            break
    return order


def _crossings(left: list[int], right: list[int]) -> int:
    """How often the edges of two neighbors cross, whose ends, sorted, are these."""
    crossings = passed = 0
    for end in left:
        while passed < len(right) and right[passed] < end:
            passed += 1
        crossings += passed
    return crossings
