"""Where the labels of edges go: beside their edges, over nothing else. One without room is left out."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence

from asyncgraph.observe.drawing.layout import HEAD, Layout, Place, Point, Route
from asyncgraph.observe.drawing.measure import SMALL, width_of

__all__ = ["label_places"]

_MOST_EDGES = 1000
"""Beyond so many edges there is no room for labels, and nobody looks for them."""

_HEIGHT = SMALL + 3.0
_AWAY = 4.0
_STEP = 6.0
_CELL = 48.0


def label_places(layout: Layout, labels: Sequence[str]) -> list[Place | None]:
    """For each edge the place of its label, or None where it has none or there is no room."""
    if len(labels) > _MOST_EDGES or not any(labels):
        return [None] * len(labels)
    taken, lines = _Grid(), _Grid()
    for place in layout.places:
        taken.add(place)
    for route in layout.routes:
        for x, y in _points(route):
            lines.add(Place(x, y, 2.0, 2.0))
    found: list[Place | None] = []
    for label, route in zip(labels, layout.routes, strict=True):
        found.append(_free(label, route, layout, taken, lines) if label else None)
        if free := found[-1]:
            taken.add(free)
    return found


class _Grid:
    """Rectangles, by the cells of a grid that they touch."""

    def __init__(self) -> None:
        self._cells: dict[tuple[int, int], list[Place]] = {}

    def add(self, place: Place) -> None:
        for cell in _cells(place):
            self._cells.setdefault(cell, []).append(place)

    def touches(self, place: Place) -> bool:
        return any(_overlap(place, each) for cell in _cells(place) for each in self._cells.get(cell, ()))


def _cells(place: Place) -> Iterator[tuple[int, int]]:
    left, right = (math.floor((place.x + side * place.width / 2) / _CELL) for side in (-1, 1))
    upper, lower = (math.floor((place.y + side * place.height / 2) / _CELL) for side in (-1, 1))
    for column in range(left, right + 1):
        for row in range(upper, lower + 1):
            yield column, row


def _overlap(one: Place, other: Place) -> bool:
    return (
        abs(one.x - other.x) * 2 < one.width + other.width
        and abs(one.y - other.y) * 2 < one.height + other.height
    )


def _free(label: str, route: Route, layout: Layout, taken: _Grid, lines: _Grid) -> Place | None:
    """The first place that nothing is at; or else one that only lines go through, where there are few."""
    crossed: Place | None = None
    for place in _candidates(label, route):
        if not _is_within(place, layout) or taken.touches(place):
            continue
        if not lines.touches(place):
            return place
        crossed = crossed or place
    return crossed if len(layout.routes) <= 60 else None


def _is_within(place: Place, layout: Layout) -> bool:
    return (
        place.width / 2 <= place.x <= layout.width - place.width / 2
        and place.height / 2 <= place.y <= layout.height - place.height / 2
    )


def _candidates(label: str, route: Route) -> Iterator[Place]:
    width = width_of(label, SMALL)
    # The last piece, near what takes the value, then the first.
    pieces = [route.points[-2:], route.points[:2]] if len(route.points) > 2 else [route.points]
    for piece in pieces:
        for share in (0.5, 0.6, 0.4, 0.7, 0.3, 0.8, 0.2):
            x, y = _on(piece, share)
            outer = -1 if piece[-1][0] >= piece[0][0] else 1
            for side in (outer, -outer):
                yield Place(x + side * (width / 2 + _AWAY), y, width, _HEIGHT)
            # Where the line is flat, above or below it.
            rise = abs(_on(piece, share + 0.05)[1] - _on(piece, share - 0.05)[1])
            run = abs(_on(piece, share + 0.05)[0] - _on(piece, share - 0.05)[0])
            if rise < run:
                away = _HEIGHT / 2 + rise / run * width / 2 + 1
                yield Place(x, y - away, width, _HEIGHT)
                yield Place(x, y + away, width, _HEIGHT)


def _on(piece: Sequence[Point], share: float) -> Point:
    """A point of the curve that leaves and arrives vertically."""
    (x0, y0), (x1, y1) = piece[0], piece[-1]
    rest = 1 - share
    x = x0 * rest * rest * (1 + 2 * share) + x1 * share * share * (3 - 2 * share)
    y = y0 * rest**3 + 3 * share * rest * (y0 + y1) / 2 + y1 * share**3
    return x, y


def _points(route: Route) -> Iterable[Point]:
    for piece in zip(route.points, route.points[1:], strict=False):
        steps = int(math.dist(*piece) / _STEP) + 1
        for step in range(steps + 1):
            yield _on(piece, step / steps)
    yield (route.points[-1][0], route.points[-1][1] + HEAD)
