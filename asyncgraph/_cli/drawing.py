"""Pictures of graphs, as commands make them."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

from asyncgraph._cli.exits import FAILED, MISUSED, CommandError
from asyncgraph._graph.graph import Graph

__all__ = ["check_program", "draw", "format_of"]

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


def check_program(format: str) -> None:
    """See that there is what draws this format, before much is done for it.

    Raises:
        CommandError: There is not.
    """
    if format in {"png", "pdf"} and shutil.which("dot") is None:
        raise CommandError(
            MISUSED,
            f"{format} is drawn by Graphviz, whose program dot is not on the path; svg and html need nothing",
        )


def draw(graph: Graph, format: str, path: Path | None, **options: Any) -> str | None:
    """Draw a graph; into a file, or as a text that is returned.

    Args:
        graph: The graph.
        format: The format.
        path: The file, or None.
        options: As of `visualize`.

    Raises:
        CommandError: The file cannot be written, or what draws this format is not there, or fails.
    """
    from asyncgraph.observe.drawing.picture import picture_of

    check_program(format)
    chosen: dict[str, Any] = {"format": format, "color": "executor", "collapse": True, "run": None, **options}
    try:
        picture = picture_of(graph, path, **chosen)
    except OSError as error:
        raise CommandError(MISUSED, f"{path} cannot be written: {error.strerror or error}") from None
    except RuntimeError as error:  # of Graphviz
        raise CommandError(FAILED, str(error)) from None
    return picture if isinstance(picture, str) else None
