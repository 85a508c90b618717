"""A drawing as a page of its own: it can be moved, zoomed and searched, and loads nothing from anywhere."""

from __future__ import annotations

from functools import cache
from html import escape
from importlib.resources import files
from string import Template

__all__ = ["page_text"]


def page_text(svg: str, *, title: str, size: str) -> str:
    """The text of the page around a picture; `size` says in words how large the graph is."""
    return Template(_part("page.html")).substitute(
        title=escape(title), size=escape(size), svg=svg, style=_part("page.css"), script=_part("page.js")
    )


@cache
def _part(name: str) -> str:
    return files("asyncgraph.observe.drawing").joinpath(name).read_text("utf-8")
