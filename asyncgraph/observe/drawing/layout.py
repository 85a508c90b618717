"""Where shapes and edges go: in layers, dependencies at the bottom, dependents above them.

An edge that passes layers has a bend in each of them, which takes part as a vertex of its own, so that it
passes between the shapes. All of it is deterministic.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import NamedTuple

from asyncgraph.observe.drawing.alignment import aligned
from asyncgraph.observe.drawing.crossings import Neighbors, ordered
from asyncgraph.observe.drawing.layers import Pair, acyclic, layers_of

__all__ = ["HEAD", "Layout", "Place", "Point", "Route", "Size", "layout_of"]

Point = tuple[float, float]

HEAD = 7.0
"""How long the head of an arrow is, in pixels."""

_GAP = 22.0
_BEND_GAP = 12.0
_LAYER_GAP = 44.0
_WIDEST_LAYER_GAP = 170.0
_LOOP = 24.0
_PORT = 9.0

_MOST_BENDS = 2
"""So many bends for each vertex and edge; beyond, the longest edges go straight, behind what is there."""


class Size(NamedTuple):
    """How large a shape is, and how much of its width is flat at top and bottom, where edges can end."""

    width: float
    height: float
    flat: float


class Place(NamedTuple):
    """Where a shape is: its middle, and how large it is."""

    x: float
    y: float
    width: float
    height: float


class Route(NamedTuple):
    """The way of an edge.

    Attributes:
        points: From the lower end to the upper one; at each of them it goes straight up.
        goes_down: Whether the upper end is its beginning: it closes a circle.
        is_loop: Whether it begins and ends at the right of one shape; then the point is where.
    """

    points: list[Point]
    goes_down: bool
    is_loop: bool


class Layout(NamedTuple):
    """Where everything is; all of it between (0, 0) and (width, height).

    Attributes:
        places: The places of the shapes.
        routes: The ways of the edges.
        width: In pixels.
        height: In pixels.
    """

    places: list[Place]
    routes: list[Route]
    width: float
    height: float


def layout_of(sizes: Sequence[Size], edges: Sequence[Pair], *, is_labelled: bool = False) -> Layout:
    """Find places for shapes of these sizes, and ways for the edges between them.

    Args:
        sizes: How large each shape is.
        edges: For each edge its beginning and its end; no edge twice.
        is_labelled: Whether there is to be room for text beside edges.
    """
    if not sizes:
        return Layout([], [], 0.0, 0.0)
    loops = {start for start, end in edges if start == end}
    pairs = acyclic(len(sizes), [pair for pair in edges if pair[0] != pair[1]])
    vertices = _Vertices(sizes, loops, pairs)
    order = ordered(vertices.layers, vertices.above, vertices.below)
    xs = aligned(order, vertices.above, vertices.below, vertices.widths, vertices.gaps, len(sizes))
    least = min([xs[each] - vertices.widths[each] / 2 for each in range(len(xs))])
    xs = [x - least for x in xs]
    width = max([xs[each] + vertices.widths[each] / 2 for each in range(len(xs))])
    bands, height = _bands(vertices, order, xs, sizes, is_labelled=is_labelled)
    places = [
        Place(x, (bands[layer][0] + bands[layer][1]) / 2, size.width, size.height)
        for x, layer, size in zip(xs, vertices.layer_of, sizes, strict=False)
    ]
    ports = _ports(vertices, xs, sizes)
    routes = [_route(pair, vertices, xs, places, bands, ports) for pair in edges]
    return Layout(places, routes, width, height)


class _Vertices:
    """Shapes, by their numbers, and behind them the bends of long edges.

    Attributes:
        layer_of: The layer of each vertex.
        layers: The vertices of each layer.
        above: The neighbors of each vertex in the layer above it, through edges and their pieces.
        below: Likewise below.
        widths: How wide each vertex is, with room for a loop.
        gaps: How much room it wants at its sides.
        bends: For each edge its bends, from the bottom to the top.
    """

    def __init__(self, sizes: Sequence[Size], loops: set[int], pairs: Sequence[Pair]) -> None:
        self.layer_of = layers_of(len(sizes), pairs)
        self.widths = [
            size.width + (2 * _LOOP if number in loops else 0.0) for number, size in enumerate(sizes)
        ]
        self.gaps = [_GAP] * len(sizes)
        self.above: Neighbors = [[] for _ in sizes]
        self.below: Neighbors = [[] for _ in sizes]
        self.bends: dict[Pair, list[int]] = {}
        left = _MOST_BENDS * (len(sizes) + len(pairs))
        for pair in sorted(pairs, key=self._span):  # a stable sort
            left -= self._span(pair) - 1
            self._connect(pair, has_bends=left >= 0)
        self.layers: list[list[int]] = [[] for _ in range(max(self.layer_of) + 1)]
        for vertex, layer in enumerate(self.layer_of):
            self.layers[layer].append(vertex)

    def _span(self, pair: Pair) -> int:
        return self.layer_of[pair[1]] - self.layer_of[pair[0]]

    def _connect(self, pair: Pair, *, has_bends: bool) -> None:
        start, end = pair
        bends = self.bends[pair] = []
        if self._span(pair) > 1:
            if not has_bends:
                return
            for layer in range(self.layer_of[start] + 1, self.layer_of[end]):
                bends.append(len(self.layer_of))
                self.layer_of.append(layer)
                self.widths.append(0.0)
                self.gaps.append(_BEND_GAP)
                self.above.append([])
                self.below.append([])
        path = [start, *bends, end]
        for lower, upper in itertools.pairwise(path):
            self.above[lower].append(upper)
            self.below[upper].append(lower)


def _bands(
    vertices: _Vertices,
    order: Sequence[Sequence[int]],
    xs: Sequence[float],
    sizes: Sequence[Size],
    *,
    is_labelled: bool,
) -> tuple[list[tuple[float, float]], float]:
    """The upper and the lower side of each layer, and the height of all: wide edges need some."""
    heights = [max([sizes[each].height for each in row if each < len(sizes)], default=0.0) for row in order]
    upper = 0.0
    bands: list[tuple[float, float]] = []
    for number in range(len(order) - 1, -1, -1):
        bands.append((upper, upper + heights[number]))
        upper += heights[number]
        if number:
            spread = [abs(xs[each] - xs[one]) for one in order[number] for each in vertices.below[one]]
            gap = _LAYER_GAP + (14.0 if is_labelled else 0.0) + max(spread, default=0.0) * 0.07
            upper += min(gap, _WIDEST_LAYER_GAP)
    bands.reverse()
    return bands, upper


def _ports(
    vertices: _Vertices, xs: Sequence[float], sizes: Sequence[Size]
) -> tuple[dict[Pair, float], dict[Pair, float]]:
    """Where edges leave the tops of shapes and reach their bottoms, as distances from the middle."""
    leaving: list[list[tuple[float, Pair]]] = [[] for _ in sizes]
    reaching: list[list[tuple[float, Pair]]] = [[] for _ in sizes]
    for pair, bends in vertices.bends.items():
        start, end = pair
        leaving[start].append((xs[bends[0] if bends else end], pair))
        reaching[end].append((xs[bends[-1] if bends else start], pair))
    return _spread(leaving, sizes), _spread(reaching, sizes)


def _spread(ends: Sequence[list[tuple[float, Pair]]], sizes: Sequence[Size]) -> dict[Pair, float]:
    ports: dict[Pair, float] = {}
    for size, at in zip(sizes, ends, strict=True):
        at.sort()
        step = min(_PORT, size.flat / max(1, len(at) - 1))
        for number, (_, pair) in enumerate(at):
            ports[pair] = (number - (len(at) - 1) / 2) * step
    return ports


def _route(
    edge: Pair,
    vertices: _Vertices,
    xs: Sequence[float],
    places: Sequence[Place],
    bands: Sequence[tuple[float, float]],
    ports: tuple[dict[Pair, float], dict[Pair, float]],
) -> Route:
    if edge[0] == edge[1]:
        place = places[edge[0]]
        return Route([(place.x + place.width / 2, place.y)], goes_down=False, is_loop=True)
    goes_down = edge not in vertices.bends
    pair = (edge[1], edge[0]) if goes_down else edge
    start, end = places[pair[0]], places[pair[1]]
    points: list[Point] = [(start.x + ports[0][pair], start.y - start.height / 2)]
    for bend in vertices.bends[pair]:
        upper, lower = bands[vertices.layer_of[bend]]
        points += [(xs[bend], lower), (xs[bend], upper)]
    points.append((end.x + ports[1][pair], end.y + end.height / 2))
    return Route(points, goes_down, is_loop=False)
