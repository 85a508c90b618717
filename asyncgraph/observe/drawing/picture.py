"""Pictures: what `visualize` gives, in each format, as text, bytes or a file."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal, Self, get_args

from asyncgraph._graph.graph import Graph
from asyncgraph.observe.drawing.drawing import Drawing
from asyncgraph.observe.drawing.languages import dot_text, json_text, mermaid_text
from asyncgraph.observe.drawing.model import Color, HasMarks, Marks, boxes_of_graph, marks_of
from asyncgraph.observe.drawing.paint import check_color

__all__ = ["Format", "ImageFormat", "Picture", "TextFormat", "mimebundle_of", "picture_of"]

TextFormat = Literal["svg", "html", "dot", "mermaid", "json"]
ImageFormat = Literal["png", "pdf"]
Format = TextFormat | ImageFormat

_TEXTS: tuple[str, ...] = get_args(TextFormat)
_IMAGES: tuple[str, ...] = get_args(ImageFormat)

_SUFFIXES = {".htm": "html", ".gv": "dot", ".mmd": "mermaid"}
"""Those that are not the name of their format."""

_MIME_TYPES = {
    "svg": "image/svg+xml",
    "html": "text/html",
    "dot": "text/vnd.graphviz",
    "mermaid": "text/vnd.mermaid",
    "json": "application/json",
}


class Picture(str):
    """A picture of a graph, as the text that it is in its format; notebooks show it as a picture.

    Attributes:
        mime_type: What kind of text it is: "image/svg+xml", "text/html", "text/vnd.mermaid",
            "text/vnd.graphviz" or "application/json".

    Example:
        >>> from asyncgraph import delayed
        >>> picture = delayed(sum)([1, 2]).visualize(format="mermaid")
        >>> picture.mime_type
        'text/vnd.mermaid'
        >>> print(picture)
        flowchart BT
            n0("sum-1")
    """

    __slots__ = ("mime_type",)

    mime_type: str

    def __new__(cls, text: str, mime_type: str) -> Self:
        """Say of a text what kind it is."""
        picture = super().__new__(cls, text)
        picture.mime_type = mime_type
        return picture

    def __reduce__(self) -> tuple[Any, ...]:
        return Picture, (str(self), self.mime_type)

    def __repr__(self) -> str:
        return f"<Picture, {self.mime_type}, {len(self):,} characters>"

    def _repr_mimebundle_(self, include: Any = None, exclude: Any = None) -> dict[str, Any]:
        """What a notebook shows: the picture, and text where it cannot draw that."""
        if self.mime_type == "image/svg+xml":
            return {self.mime_type: str(self), "text/plain": repr(self)}
        if self.mime_type == "text/html":
            return {self.mime_type: _framed(self), "text/plain": repr(self)}
        if self.mime_type == "text/vnd.mermaid":
            return {self.mime_type: str(self), "text/plain": str(self)}
        return {"text/plain": str(self)}


def _framed(page: str) -> str:
    """A page within a page: its style and its script stay to themselves."""
    from html import escape

    style = "width: 100%; height: 600px; border: 0"
    return f'<iframe srcdoc="{escape(page)}" sandbox="allow-scripts" style="{style}"></iframe>'


def picture_of(
    graph: Graph,
    filename: str | os.PathLike[str] | None,
    *,
    format: Format | None,
    color: Color,
    collapse: bool,
    run: HasMarks | Marks | None,
) -> Picture | Path | bytes:
    """The picture of a graph as `visualize` gives it, which says what the options are.

    Raises:
        ValueError: There is no such format or color, or the color needs a run.
        TypeError: An option is of the wrong type.
        FileNotFoundError: The format needs Graphviz, and its `dot` is not on the path.
    """
    path = None if filename is None else _path(filename)
    chosen = _chosen(format, path)
    marks = None if run is None else marks_of(run)
    check_color(color, marks)
    _check_flag(collapse)
    title = _title(graph)
    drawing = Drawing(boxes_of_graph(graph), collapse=collapse)
    if chosen in _IMAGES:
        content = _drawn_by_graphviz(dot_text(drawing.figure, drawing.painted(color, marks)), chosen)
        if path is None:
            return content
        path.write_bytes(content)
        return path
    text = _text(drawing, chosen, color, marks, title)
    if path is None:
        return Picture(text, _MIME_TYPES[chosen])
    path.write_text(text, "utf-8")
    return path


def _path(filename: object) -> Path:
    if not isinstance(filename, str | os.PathLike):
        raise TypeError(f"visualize writes to a file of this name, and {filename!r} is no name of a file")
    return Path(filename)


def _text(drawing: Drawing, format: str, color: Color, marks: Marks | None, title: str) -> str:
    writers: dict[str, Callable[[], str]] = {
        "svg": lambda: drawing.svg(color=color, paint=marks, title=title),
        "html": lambda: drawing.html(color=color, paint=marks, title=title),
        "dot": lambda: dot_text(drawing.figure, drawing.painted(color, marks)),
        "mermaid": lambda: mermaid_text(drawing.figure),
        "json": lambda: json_text(drawing.figure, drawing.painted(color, marks)),
    }
    return writers[format]()


def _chosen(format: object, path: Path | None) -> Any:
    """The format that was asked for, or that the name of the file says."""
    formats = ", ".join(map(repr, (*_TEXTS, *_IMAGES)))
    if format is None:
        if path is None:
            return "svg"
        suffix = path.suffix.lower()
        named = _SUFFIXES.get(suffix, suffix.removeprefix("."))
        if named in _TEXTS or named in _IMAGES:
            return named
        raise ValueError(f"the name {path.name!r} says no format: add format=, which is one of {formats}")
    if format not in _TEXTS and format not in _IMAGES:
        raise ValueError(f"there is no format {format!r}: format= is one of {formats}")
    return format


def _check_flag(collapse: object) -> None:
    if not isinstance(collapse, bool):
        raise TypeError(f"collapse= is True or False, not {collapse!r}")


def _title(graph: Graph) -> str:
    shown = ", ".join(graph.outputs[:3])
    return shown if len(graph.outputs) <= 3 else f"{shown}, …"


_PATIENCE = 300.0
"""Seconds that Graphviz may take."""


def _drawn_by_graphviz(text: str, format: str) -> bytes:
    """What `dot` makes of a DOT digraph."""
    try:
        done = subprocess.run(
            ["dot", f"-T{format}"], input=text.encode(), capture_output=True, check=False, timeout=_PATIENCE
        )
    except FileNotFoundError:
        raise FileNotFoundError(
            f"format={format!r} is drawn by Graphviz, and its program dot is not on the path: install it "
            "(apt-get install graphviz, brew install graphviz), or take 'svg' or 'html', which need nothing"
        ) from None
    except subprocess.TimeoutExpired:
        raise TimeoutError(
            f"dot has not drawn the graph within {_PATIENCE:.0f} seconds: take 'svg' or 'html' instead"
        ) from None
    if done.returncode:
        raise RuntimeError(f"dot has failed: {done.stderr.decode(errors='replace').strip()}")
    return done.stdout


def mimebundle_of(graph: Graph, text: str) -> dict[str, Any]:
    """What a notebook shows of a graph: its picture, and `text` where it cannot show that."""
    svg = Drawing(boxes_of_graph(graph)).svg(title=_title(graph))
    return {"image/svg+xml": svg, "text/plain": text}
