"""Where the vertices of each layer stand: near their neighbors, with long edges straight.

The method is that of Brandes and Köpf ("Fast and Simple Horizontal Coordinate Assignment", 2001). Vertices
are aligned with the median of their neighbors, so that they form columns; columns are pushed together as far
as the vertices in them allow. That is done four times, leaning to each corner in turn. Of the four places of
a vertex, the mean of the two in the middle is taken.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence

from asyncgraph.observe.drawing.crossings import Neighbors

__all__ = ["aligned"]

_Order = Sequence[Sequence[int]]


def aligned(
    order: _Order,
    above: Neighbors,
    below: Neighbors,
    widths: Sequence[float],
    gaps: Sequence[float],
    first: int,
) -> list[float]:
    """The middle of each vertex, in pixels.

    Args:
        order: The vertices of each layer, the lowest first, from left to right.
        above: The neighbors of each vertex in the layer above it.
        below: Likewise below.
        widths: How wide each vertex is.
        gaps: How much room each wants to its left and to its right.
        first: From this number on vertices are bends of edges, which are kept straight first of all.
    """
    crossed = _crossed(order, below, first)
    halves = [width / 2 + gap / 2 for width, gap in zip(widths, gaps, strict=True)]
    results: list[list[float]] = []
    for goes_up in (True, False):
        rows = order if goes_up else order[::-1]
        neighbors = below if goes_up else above
        for goes_right in (True, False):
            turned = rows if goes_right else [row[::-1] for row in rows]
            columns = _columns(turned, neighbors, crossed, goes_up=goes_up)
            places = _pushed_together(turned, columns, halves)
            results.append(places if goes_right else [-place for place in places])
    return _balanced(results, widths)


def _crossed(order: _Order, below: Neighbors, first: int) -> set[tuple[int, int]]:
    """The edges that cross a straight piece of a long edge, which goes before them."""
    crossed: set[tuple[int, int]] = set()
    for lower, upper in itertools.pairwise(order):
        places = {vertex: place for place, vertex in enumerate(lower)}
        inner = [
            (place, places[below[vertex][0]])
            for place, vertex in enumerate(upper)
            if vertex >= first and below[vertex] and below[vertex][0] >= first
        ]
        # Between two straight pieces that do not cross each other, edges have to stay.
        left, scanned = -1, 0
        for place, end in [*inner, (len(upper), len(lower))]:
            if end < left:
                continue
            for vertex in upper[scanned:place]:
                for each in below[vertex]:
                    if not left <= places[each] <= end and not (vertex >= first and each >= first):
                        crossed.add((each, vertex))
            left, scanned = end, place
    return crossed


def _columns(
    rows: _Order, neighbors: Neighbors, crossed: set[tuple[int, int]], *, goes_up: bool
) -> list[int]:
    """For each vertex the first one of its column."""
    number = len(neighbors)
    roots = list(range(number))
    is_taken = bytearray(number)
    for before, row in itertools.pairwise(rows):
        places = {vertex: place for place, vertex in enumerate(before)}
        last = -1
        for vertex in row:
            near = neighbors[vertex]
            if len(near) > 1:
                near = sorted(near, key=places.__getitem__)[(len(near) - 1) // 2 : len(near) // 2 + 1]
            for each in near:
                place = places[each]
                if place <= last or is_taken[each]:
                    continue
                if not crossed or ((each, vertex) if goes_up else (vertex, each)) not in crossed:
                    roots[vertex] = roots[each]
                    is_taken[each] = 1
                    last = place
                    break
    return roots


def _pushed_together(rows: _Order, roots: list[int], halves: list[float]) -> list[float]:
    """The place of each vertex: that of its column, as far left as can be, or near what is on its right."""
    after: dict[int, dict[int, float]] = {root: {} for root in roots}
    missing = dict.fromkeys(after, 0)
    for row in rows:
        for left, right in itertools.pairwise(row):
            distance = halves[left] + halves[right]
            known = after[roots[left]]
            if roots[right] not in known:
                missing[roots[right]] += 1
                known[roots[right]] = distance
            elif known[roots[right]] < distance:
                known[roots[right]] = distance
    order = [root for root, count in missing.items() if count == 0]
    places = dict.fromkeys(order, 0.0)
    for root in order:
        place = places[root]
        for each, distance in after[root].items():
            places[each] = max(places.get(each, 0.0), place + distance)
            missing[each] -= 1
            if missing[each] == 0:
                order.append(each)
    for root in reversed(order):
        if after[root]:
            room = min([places[each] - distance for each, distance in after[root].items()])
            places[root] = max(places[root], room)
    return [places[root] for root in roots]


def _balanced(results: list[list[float]], widths: Sequence[float]) -> list[float]:
    """The mean of the two middle places of each vertex, where the four are moved over the narrowest."""
    halves = [width / 2 for width in widths]
    spans = [
        (min(map(float.__sub__, places, halves)), max(map(float.__add__, places, halves)))
        for places in results
    ]
    left, right = min(spans, key=lambda span: span[1] - span[0])
    moved = []
    for number, (places, span) in enumerate(zip(results, spans, strict=True)):
        shift = left - span[0] if number % 2 == 0 else right - span[1]
        moved.append([place + shift for place in places])
    return [(one + other) / 2 for _, one, other, _ in map(sorted, zip(*moved, strict=True))]
