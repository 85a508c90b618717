"""The shapes of a picture and the edges between them, before anything has a place."""

from __future__ import annotations

from array import array
from collections.abc import Sequence
from typing import NamedTuple

from asyncgraph.observe.drawing.collapse import Outline, groups_of
from asyncgraph.observe.drawing.measure import SMALL, readable, shortened
from asyncgraph.observe.drawing.model import Box, Details

__all__ = ["Edge", "Figure", "Shape", "figure_of"]


class Shape(NamedTuple):
    """What is drawn for a box, or for several that are alike.

    Attributes:
        name: The name that its boxes have in common.
        kind: "function", "data", "choice" or "resource".
        executor: Where its boxes run.
        members: The numbers of its boxes.
        keys: The keys of the first few of them.
        label: What stands in it.
        lines: What its tooltip says, line by line.
    """

    name: str
    kind: str
    executor: str
    members: Sequence[int]
    keys: tuple[str, ...]
    label: str
    lines: tuple[str, ...]


class Edge(NamedTuple):
    """From a dependency to what takes its value.

    Attributes:
        start: The index of the shape of the dependency.
        end: The index of the shape that takes it; the same, where members of a shape take each other's.
        label: As what it is taken, or "".
        pairs: For how many pairs of boxes it stands.
        is_side: Whether it is one of the sides of a choice, which may not be run.
    """

    start: int
    end: int
    label: str
    pairs: int
    is_side: bool


class Figure(NamedTuple):
    """What is drawn.

    Attributes:
        shapes: The shapes, in the order of their first boxes.
        edges: The edges, by the shapes that they lead to.
        boxes: How many boxes there are.
    """

    shapes: list[Shape]
    edges: list[Edge]
    boxes: int


_KEYS_SHOWN = 5
"""So many of the boxes of a shape are named in its tooltip."""

_LONGEST = 500
"""So many characters of a text are looked at."""

_WIDEST_LABEL = 190.0
"""In pixels, of what stands in a shape."""


def figure_of(boxes: Sequence[Box], *, collapse: bool = True) -> Figure:
    """The shapes for these boxes."""
    outline = Outline(boxes)
    groups = groups_of(outline) if collapse else range(outline.number)
    members = _members_of(groups)
    counts = _counts(outline, groups, len(members))
    shapes: list[Shape] = []
    edges: list[Edge] = []
    for end, positions in enumerate(members):
        first = boxes[positions[0]]
        details = first.details()
        if len(positions) == 1:
            shapes.append(_single(first, details))
        else:
            keys = tuple([readable(boxes[each].key) for each in positions[:_KEYS_SHOWN]])
            shapes.append(_several(first, keys, outline, positions))
        arguments = _arguments(first, details, outline, positions[0], groups)
        edges += [_edge(start, end, first.kind, arguments, count) for start, count in counts[end].items()]
    return Figure(shapes, edges, outline.number)


def _members_of(groups: Sequence[int]) -> list[Sequence[int]]:
    """The positions of the members of each group."""
    members: list[array[int]] = []
    for position, group in enumerate(groups):
        if group == len(members):
            members.append(array("q"))
        members[group].append(position)
    return [*members]


def _counts(outline: Outline, groups: Sequence[int], number: int) -> list[dict[int, int]]:
    """For each group: how often its members take a value of each group."""
    counts: list[dict[int, int]] = [{} for _ in range(number)]
    for position in range(outline.number):
        taken = counts[groups[position]]
        for each in outline.of(position):
            group = groups[each]
            taken[group] = taken.get(group, 0) + 1
    return counts


def _arguments(
    box: Box, details: Details, outline: Outline, position: int, groups: Sequence[int]
) -> dict[int, str]:
    """As what a box takes a value of each group."""
    named = dict(zip(box.dependencies, details.arguments, strict=True))
    arguments: dict[int, dict[str, None]] = {}
    for each in outline.of(position):
        arguments.setdefault(groups[each], {})[named[outline.numbers[each]]] = None
    return {group: ", ".join(names) for group, names in arguments.items()}


def _edge(start: int, end: int, kind: str, arguments: dict[int, str], count: int) -> Edge:
    label = shortened(readable(arguments.get(start, "")), _WIDEST_LABEL, SMALL)
    return Edge(start, end, label, count, kind == "choice" and bool(label) and label != "if")


def _single(box: Box, details: Details) -> Shape:
    written = readable(details.label[:_LONGEST]).strip() or readable(box.key[:_LONGEST])
    label = shortened(written, _WIDEST_LABEL)
    lines = tuple([readable(line[:_LONGEST]) for line in details.lines])
    key, name, executor = map(readable, (box.key, box.name, box.executor))
    return Shape(name, box.kind, executor, (box.number,), (key,), label, lines)


def _several(first: Box, keys: tuple[str, ...], outline: Outline, positions: Sequence[int]) -> Shape:
    name, executor = readable(first.name), readable(first.executor)
    if outline.is_lumped:
        name = "data" if first.kind == "data" else f"{first.kind}s"
    count = f"{len(positions):,}".replace(",", "\u00a0")
    label = f"{shortened(name[:_LONGEST], _WIDEST_LABEL)} \u00d7 {count}"
    shown = ", ".join(keys) + (", …" if len(positions) > len(keys) else "")
    lines = [label, shown]
    if first.kind != "data":
        lines.append(f"executor {executor}")
    numbers = array("q", [outline.numbers[position] for position in positions])
    return Shape(name, first.kind, executor, numbers, keys, label, tuple(lines))
