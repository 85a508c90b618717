"""Runs as HTML in a notebook: a table with `<progress>` elements, updated where the cell's output is.

There are no widgets in it and no scripts, so that it needs no extension and stays as it is when the
notebook is saved. It is text as well, for consoles that show no HTML.
"""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from typing import Any

from asyncgraph.observe.progress.table import UNICODE, lines_of, shortened, state_of
from asyncgraph.observe.progress.view import Row, View
from asyncgraph.observe.progress.words import clock, rate

__all__ = ["Notebook"]

_WIDTH = 100
"""Columns of the text."""

_MOST = 40
"""Lines of the text, and functions of the table."""

_STYLE = "text-align: left; white-space: nowrap; padding: 0.1em 0.6em"


class Notebook:
    """The display of a notebook: one output for each run that is not nested in another one."""

    period = 0.25

    def __init__(self) -> None:
        self._handles: dict[int, Any] = {}

    def draw(self, live: Sequence[View], over: Sequence[View]) -> None:
        """Update the outputs of those that are going on, and for the last time those of what is over."""
        for view in over:
            self._show([view])
            del self._handles[view.id]
        for group in _groups(live):
            self._show(group)

    def _show(self, group: Sequence[View]) -> None:
        from IPython.display import display

        show: Any = display  # which has no types

        bundle = {"text/html": _html(group), "text/plain": _text(group)}
        handle = self._handles.get(group[0].id)
        if handle is None:
            self._handles[group[0].id] = show(bundle, raw=True, display_id=True)
        else:
            handle.update(bundle, raw=True)


def _groups(views: Sequence[View]) -> list[list[View]]:
    """Each run with those that are nested in it."""
    groups: list[list[View]] = []
    for view in views:
        if view.depth == 0 or not groups:
            groups.append([])
        groups[-1].append(view)
    return groups


def _text(group: Sequence[View]) -> str:
    lines = lines_of(group, _WIDTH, _MOST, UNICODE, None)
    return "\n".join("".join(piece.text for piece in line).rstrip() for line in lines)


def _html(group: Sequence[View]) -> str:
    rows = "".join(_run(view) for view in group)
    return f'<table class="asyncgraph-progress" style="font-variant-numeric: tabular-nums">{rows}</table>'


def _run(view: View) -> str:
    kept, others = shortened(view.rows, _MOST)
    left = state_of(view) if view.is_over else f"{clock(view.seconds)}{_left(view.total, ', ')}"
    functions = (
        _row(row, 2 * view.depth + 2, "" if view.is_over else _left(row), is_over=view.is_over)
        for row in (*kept, *([others] if others else ()))
    )
    return _row(view.total, 2 * view.depth, left, is_over=view.is_over, tag="th") + "".join(functions)


def _left(row: Row, before: str = "") -> str:
    return "" if row.left is None else f"{before}{clock(row.left)} left"


def _row(row: Row, indent: int, left: str, *, is_over: bool, tag: str = "td") -> str:
    is_done = is_over or row.done == row.nodes
    notes = [*([] if is_done else [f"{row.running:,} running"]), *row.troubles]
    speed = "" if is_done else rate(row.rate)
    bar = f'<progress max="{max(row.nodes, 1)}" value="{row.called}"></progress>'
    texts = (f"{row.called:,}/{row.nodes:,}", ", ".join(notes), speed, left)
    name = f'<{tag} style="{_STYLE}; padding-left: {indent / 2 + 0.5}em">{escape(row.name)}</{tag}>'
    cells = "".join(f'<td style="{_STYLE}">{each}</td>' for each in (bar, *texts))
    return f"<tr>{name}{cells}</tr>"
