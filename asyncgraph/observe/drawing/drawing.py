"""A drawing: shapes in their places, which can be painted as often as wanted."""

from __future__ import annotations

from collections.abc import Sequence

from asyncgraph.observe.drawing.model import Box, Color, Marks

__all__ = ["Drawing", "html_of", "svg_of"]


class Drawing:
    """Boxes, laid out.

    Args:
        boxes: What to draw. Dependencies that are not among them are left out.
        collapse: Whether similar boxes are drawn as one shape where there are more than some 150.
    """

    def __init__(self, boxes: Sequence[Box], *, collapse: bool = True) -> None:
        raise NotImplementedError

    def svg(self, *, color: Color = "executor", paint: Marks | None = None) -> str:
        """The text of an `<svg>` element, without scripts or styles; unique ids."""
        raise NotImplementedError

    def html(
        self, *, color: Color = "executor", paint: Marks | None = None, title: str = "asyncgraph"
    ) -> str:
        """The text of a page that holds the picture: pan, zoom, search, details; it loads nothing."""
        raise NotImplementedError


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
