"""A drawing: shapes in their places, which can be painted as often as wanted."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property

from asyncgraph.observe.drawing.labels import label_places
from asyncgraph.observe.drawing.layout import Layout, Place, layout_of
from asyncgraph.observe.drawing.measure import readable
from asyncgraph.observe.drawing.model import Box, Color, Marks
from asyncgraph.observe.drawing.page import page_text
from asyncgraph.observe.drawing.paint import Painted, check_color, painted
from asyncgraph.observe.drawing.shapes import Edge, Figure, Shape, figure_of
from asyncgraph.observe.drawing.svg import size_of, svg_text
from asyncgraph.observe.drawing.tally import tallies_of

__all__ = ["Drawing", "html_of", "svg_of"]


class Drawing:
    """Boxes, laid out.

    Args:
        boxes: What to draw. Dependencies that are not among them are left out.
        collapse: Whether similar boxes are drawn as one shape where there are more than some 150.
    """

    def __init__(self, boxes: Sequence[Box], *, collapse: bool = True) -> None:
        self._boxes = boxes
        self.figure: Figure = figure_of(boxes, collapse=collapse)

    @property
    def shapes(self) -> list[Shape]:
        """The shapes; in the SVG, the element of each has its index as `data-shape`."""
        return self.figure.shapes

    @property
    def edges(self) -> list[Edge]:
        """The edges between them, by index."""
        return self.figure.edges

    def svg(self, *, color: Color = "executor", paint: Marks | None = None, title: str = "graph") -> str:
        """The text of an `<svg>` element, without scripts or styles.

        Raises:
            ValueError: There is no such color, or it needs `paint`, or a mark has an unknown state.
        """
        figure, layout = self.figure, self._layout
        colors = self.painted(color, paint)
        return svg_text(figure, layout, self._label_places, colors, title=readable(title))

    def html(self, *, color: Color = "executor", paint: Marks | None = None, title: str = "graph") -> str:
        """The text of a page that holds the picture: pan, zoom, search, details; it loads nothing.

        Raises:
            ValueError: As for `svg`.
        """
        return page_text(
            self.svg(color=color, paint=paint, title=title), title=readable(title), size=self._size()
        )

    def _size(self) -> str:
        boxes = f"{self.figure.boxes:,} node{'s' * (self.figure.boxes != 1)}"
        return boxes if len(self.shapes) == self.figure.boxes else f"{boxes}, drawn as {len(self.shapes)}"

    def painted(self, color: Color, paint: Marks | None) -> Painted:
        """The colors of the shapes, by index, what their tooltips say of the run, and the legend.

        Raises:
            ValueError: As for `svg`.
        """
        check_color(color, paint)
        if paint is None:
            return painted(self.shapes, None, color)
        shape_of = self._shape_of_key if isinstance(next(iter(paint), None), str) else self._shape_of_number
        return painted(self.shapes, tallies_of(paint, shape_of, len(self.shapes)), color)

    @cached_property
    def _layout(self) -> Layout:
        sizes = [size_of(shape) for shape in self.shapes]
        pairs = [(edge.start, edge.end) for edge in self.edges]
        return layout_of(sizes, pairs, is_labelled=any(edge.label for edge in self.edges))

    @cached_property
    def _label_places(self) -> Sequence[Place | None]:
        return label_places(self._layout, [edge.label for edge in self.edges])

    @cached_property
    def _shape_of_number(self) -> dict[object, int]:
        return {each: index for index, shape in enumerate(self.shapes) for each in shape.members}

    @cached_property
    def _shape_of_key(self) -> dict[object, int]:
        shape_of = self._shape_of_number
        return {box.key: shape_of[box.number] for box in self._boxes}


def svg_of(
    boxes: Sequence[Box], *, color: Color = "executor", paint: Marks | None = None, collapse: bool = True
) -> str:
    """A picture of the boxes, as the text of an `<svg>` element."""
    return Drawing(boxes, collapse=collapse).svg(color=color, paint=paint)


def html_of(
    boxes: Sequence[Box],
    *,
    color: Color = "executor",
    paint: Marks | None = None,
    collapse: bool = True,
    title: str = "asyncgraph",
) -> str:
    """A picture of the boxes, as the text of a page."""
    return Drawing(boxes, collapse=collapse).html(color=color, paint=paint, title=title)
