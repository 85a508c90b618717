"""A drawing as SVG: presentation attributes and tooltips only, so that it is safe to put into any page.

Its ids begin with a hash of all that it shows, so that those of two pictures in a page differ. It is
transparent, and legible on light and on dark.
"""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Iterator, Sequence
from xml.sax.saxutils import escape, quoteattr

from asyncgraph.observe.drawing.layout import HEAD, Layout, Place, Route, Size
from asyncgraph.observe.drawing.measure import SIZE, SMALL, is_known, width_of
from asyncgraph.observe.drawing.paint import INK, LINE, Fill, Legend, Painted
from asyncgraph.observe.drawing.shapes import Edge, Figure, Shape

__all__ = ["size_of", "svg_text"]

_MARGIN = 12.0
_FONT = "Helvetica, Arial, sans-serif"
_STACK = 4.0
"""How far behind a shape of several boxes another one shows, in pixels."""

_BORDER = 'stroke-width="1.5"'
_ROW = 22.0
_SWATCH = 14.0


def svg_text(
    figure: Figure, layout: Layout, label_places: Sequence[Place | None], paint: Painted, *, title: str
) -> str:
    """The text of the `<svg>` element."""
    rows, legend_width = _legend_rows(paint.legend, max(layout.width, 260.0))
    width = max(layout.width, legend_width) + 2 * _MARGIN
    height = layout.height + 2 * _MARGIN + (len(rows) * _ROW + 8 if rows else 0)
    shift = (width - layout.width) / 2
    body = [
        f'<g transform="translate({_n(shift)} {_n(_MARGIN)})">',
        f'<g fill="none" stroke="{LINE}" stroke-width="1.2">',
        *_edges(figure, layout),
        "</g>",
        f'<g font-size="{_n(SMALL)}" fill="{LINE}" text-anchor="middle">',
        *_edge_labels(figure.edges, label_places),
        "</g>",
        f'<g font-size="{_n(SIZE)}" text-anchor="middle">',
        *_shapes(figure, layout, paint),
        "</g>",
        "</g>",
        *_legend(rows, layout.height + _MARGIN + 8 + _ROW),
    ]
    content = "\n".join(body)
    prefix = "ag" + hashlib.sha256(f"{title}{content}".encode()).hexdigest()[:10]
    head = (
        f'<svg xmlns="http://www.w3.org/2000/svg" id="{prefix}" viewBox="0 0 {_n(width)} {_n(height)}" '
        f'width="{_n(width)}" height="{_n(height)}" font-family="{_FONT}" role="img" '
        f'aria-labelledby="{prefix}-title">'
    )
    return "\n".join(
        [head, f'<title id="{prefix}-title">{escape(title)}</title>', content.replace(_ID, prefix), "</svg>"]
    )


_ID = "\0"
"""Stands for what ids begin with, until all is written; no text that is shown has it."""


def _n(number: float) -> str:
    """A number as short as it can be written: a tenth of a pixel is precise enough."""
    text = f"{number:.1f}".removesuffix(".0")
    return "0" if text == "-0" else text


# --- edges ---


def _edges(figure: Figure, layout: Layout) -> Iterator[str]:
    for number, (edge, route) in enumerate(zip(figure.edges, layout.routes, strict=True)):
        way, head = _loop(route) if route.is_loop else _curve(route)
        dashes = ' stroke-dasharray="4 3"' if edge.is_side else ""
        yield (
            f'<g id="{_ID}-e{number}" data-from="{edge.start}" data-to="{edge.end}">'
            f'<path d="{way}"{dashes}/><path d="{head}" fill="{LINE}" stroke="none"/></g>'
        )


def _curve(route: Route) -> tuple[str, str]:
    """The line of an edge, and the head of its arrow."""
    points = list(route.points)
    if route.goes_down:
        x, y = points[0]
        points[0] = (x, y - HEAD)
        head = f"M{_n(x)} {_n(y)}l-3.5 -{_n(HEAD)}h7z"
    else:
        x, y = points[-1]
        points[-1] = (x, y + HEAD)
        head = f"M{_n(x)} {_n(y)}l-3.5 {_n(HEAD)}h7z"
    parts = [f"M{_n(points[0][0])} {_n(points[0][1])}"]
    for (x0, y0), (x1, y1) in itertools.pairwise(points):
        if abs(x0 - x1) < 0.05:
            parts.append(f"V{_n(y1)}")
        else:
            middle = _n((y0 + y1) / 2)
            parts.append(f"C{_n(x0)} {middle} {_n(x1)} {middle} {_n(x1)} {_n(y1)}")
    return "".join(parts), head


def _loop(route: Route) -> tuple[str, str]:
    x, y = route.points[0]
    x -= 3
    way = f"M{_n(x)} {_n(y - 5)}C{_n(x + 24)} {_n(y - 20)} {_n(x + 24)} {_n(y + 20)} {_n(x + 6)} {_n(y + 8)}"
    return way, f"M{_n(x)} {_n(y + 5)}l8 -0.5l-3.5 6z"


def _edge_labels(edges: Sequence[Edge], places: Sequence[Place | None]) -> Iterator[str]:
    for number, (edge, place) in enumerate(zip(edges, places, strict=True)):
        if place:
            yield (
                f'<text data-edge="{number}" x="{_n(place.x)}" y="{_n(place.y + SMALL * 0.35)}">'
                f"{escape(edge.label)}</text>"
            )


# --- shapes ---


def size_of(shape: Shape) -> Size:
    """How large a shape is, which depends on what stands in it."""
    text = width_of(shape.label)
    stack = _STACK if len(shape.members) > 1 else 0.0
    if shape.kind == "data":
        width, height, flat = max(text + 18, 30), 26.0, max(text, 20)
    elif shape.kind == "choice":
        width, height, flat = text + 38, 30.0, text + 6
    elif shape.kind == "resource":
        width, height, flat = max(text + 22, 44), 38.0, 0.0
    else:
        width, height, flat = max(text + 26, 44), 30.0, max(text - 4, 10)
    return Size(width + stack, height + stack, flat)


def _shapes(figure: Figure, layout: Layout, paint: Painted) -> Iterator[str]:
    for number, (shape, place) in enumerate(zip(figure.shapes, layout.places, strict=True)):
        fill = paint.fills[number]
        tooltip = escape("\n".join([*shape.lines, *paint.lines[number]]))
        stack = _STACK if len(shape.members) > 1 else 0.0
        width, height = place.width - stack, place.height - stack
        left, top = place.x - place.width / 2, place.y - place.height / 2 + stack
        outlines = [_outline(shape.kind, left, top, width, height)]
        if stack:
            outlines.insert(0, _outline(shape.kind, left + stack, top - stack, width, height))
        yield (
            f'<g id="{_ID}-{number}" data-shape="{number}" fill={quoteattr(fill.inside)} '
            f"stroke={quoteattr(fill.around)}><title>{tooltip}</title>{''.join(outlines)}"
            f"{_label(shape, left + width / 2, top + height / 2)}</g>"
        )


def _outline(kind: str, left: float, top: float, width: float, height: float) -> str:
    if kind == "choice":
        corner = 14.0
        middle = f"{_n(width - 2 * corner)}"
        half = f"{_n(height / 2)}"
        return (
            f'<path d="M{_n(left + corner)} {_n(top)}h{middle}l{_n(corner)} {half}l-{_n(corner)} {half}'
            f'h-{middle}l-{_n(corner)} -{half}z" {_BORDER}/>'
        )
    if kind == "resource":
        bulge = 5.0
        right, upper, lower = _n(left + width), _n(top + bulge), _n(top + height - bulge)
        start, arc = f"M{_n(left)} {upper}", f"A{_n(width / 2)} {_n(bulge)} 0 0"
        return (
            f'<path d="{start}{arc} 1 {right} {upper}V{lower}{arc} 1 {_n(left)} {lower}z" {_BORDER}/>'
            f'<path d="{start}{arc} 0 {right} {upper}" {_BORDER} fill="none"/>'
        )
    corner = 2.0 if kind == "data" else height / 2
    return (
        f'<rect x="{_n(left)}" y="{_n(top)}" width="{_n(width)}" height="{_n(height)}" rx="{_n(corner)}" '
        f"{_BORDER}/>"
    )


def _label(shape: Shape, x: float, y: float) -> str:
    # Where a font may have wider characters than is known, they are squeezed.
    squeezed = ""
    if not is_known(shape.label):
        squeezed = f' textLength="{_n(width_of(shape.label))}" lengthAdjust="spacingAndGlyphs"'
    lower = 4.0 if shape.kind == "resource" else 0.0
    return (
        f'<text x="{_n(x)}" y="{_n(y + lower + SIZE * 0.35)}" fill="{INK}" stroke="none"{squeezed}>'
        f"{escape(shape.label)}</text>"
    )


# --- the legend ---


def _legend_rows(legend: Legend, width: float) -> tuple[list[list[tuple[float, Fill | None, str]]], float]:
    """The entries, with where they begin, in rows that are not wider than `width`, if one entry is not."""
    rows: list[list[tuple[float, Fill | None, str]]] = []
    at = widest = 0.0
    for fill, text in legend:
        words = width_of(text, SMALL)
        room = words + 6 if fill is None else _SWATCH + (6 + words + 14 if text else 2)
        if not rows or at + room > width:
            rows.append([])
            at = 0.0
        rows[-1].append((at, fill, text))
        at += room
        widest = max(widest, at)
    return rows, widest


def _legend(rows: Sequence[Sequence[tuple[float, Fill | None, str]]], y: float) -> Iterator[str]:
    if not rows:
        return
    yield f'<g font-size="{_n(SMALL)}" fill="{LINE}">'
    for number, row in enumerate(rows):
        base = y + number * _ROW
        for x, fill, text in row:
            left = x + _MARGIN
            if fill is not None:
                yield (
                    f'<rect x="{_n(left)}" y="{_n(base - _SWATCH)}" width="{_n(_SWATCH)}" '
                    f'height="{_n(_SWATCH)}" rx="3" fill="{fill.inside}" stroke="{fill.around}"/>'
                )
                left += _SWATCH + 6
            if text:
                yield f'<text x="{_n(left)}" y="{_n(base - 3.2)}">{escape(text)}</text>'
    yield "</g>"
