"""Pictures of graphs, as commands make them."""

from __future__ import annotations

from pathlib import Path

from asyncgraph._cli.exits import MISUSED, CommandError
from asyncgraph._graph.graph import Graph

__all__ = ["draw", "format_of"]

_FORMATS = {
    ".svg": "svg",
    ".html": "html",
    ".dot": "dot",
    ".gv": "dot",
    ".mmd": "mermaid",
    ".json": "json",
    ".png": "png",
    ".pdf": "pdf",
    ".txt": "text",
}


def format_of(path: Path) -> str:
    """The format that the suffix of a file stands for.

    Raises:
        CommandError: It stands for none.
    """
    format = _FORMATS.get(path.suffix.lower())
    if format is None:
        raise CommandError(MISUSED, f"{path} has none of the suffixes {', '.join(_FORMATS)}: give --format")
    return format


def draw(graph: Graph, format: str, path: Path | None, *, collapse: bool = True) -> str | None:
    """Draw a graph; into a file, or as a text that is returned.

    Raises:
        CommandError: The file cannot be written, or what draws this format is not there.
    """
    from asyncgraph.observe.drawing import draw as drawn

    text = drawn(graph, format)
    if path is None:
        return text
    path.write_text(text)
    return None
