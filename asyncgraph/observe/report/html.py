"""Pieces of HTML: text is escaped here, and nowhere else is there a need to think of it."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from html import escape
from importlib.resources import files
from typing import NamedTuple

__all__ = ["Cell", "code", "number", "prose", "section", "shipped", "table", "text"]


_UNIT = re.compile(r"(?<=\d) (?=(?:[µmkMGT]?[sB]|min|h|%)(?!\w))")


class Cell(NamedTuple):
    """A cell of a table.

    Attributes:
        html: What is in it.
        value: What it is sorted by, if that is a number; None for its text.
    """

    html: str
    value: float | None = None


def text(value: object) -> str:
    """Text, as HTML."""
    # A lone surrogate, as in the names of files, cannot be written.
    return escape(str(value)).encode("utf-8", "replace").decode("utf-8")


def prose(value: object) -> str:
    """A sentence of ours, in which no line is broken between a number and its unit."""
    return _UNIT.sub("\u00a0", text(value))


def code(value: object) -> str:
    """A key or a line of source."""
    return f'<span class="key">{text(value)}</span>'


def number(words: str, value: float) -> Cell:
    """A number: in words, and as it is sorted by."""
    return Cell(text(words), value)


def section(title: str, explanation: str, *parts: str, name: str = "") -> str:
    """A part of the page: its title, what it shows, in a sentence or two, and its content."""
    opened = f'<section class="{name}">' if name else "<section>"
    return f'{opened}<h2>{text(title)}</h2><p class="soft">{explanation}</p>{"".join(parts)}</section>\n'


def table(heads: Sequence[tuple[str, str]], rows: Iterable[Sequence[Cell]], *, sorted_by: int = -1) -> str:
    """A table; each head has an explanation. `sorted_by` is the column by which it is; -1: it stays so."""
    rows = list(rows)
    body = "".join(f"<tr>{''.join(map(_cell, row))}</tr>" for row in rows)
    numbers = [cell.value is not None for cell in rows[0]] if rows else [False] * len(heads)
    head = "".join(
        _head(title, explanation, "number" if is_number else "", sorted_by >= 0, place == sorted_by)
        for place, ((title, explanation), is_number) in enumerate(zip(heads, numbers, strict=True))
    )
    kind = ' class="sortable"' if sorted_by >= 0 else ""
    return (
        f'<div class="scroll"><table{kind}><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>'
    )


def _head(title: str, explanation: str, kind: str, is_sortable: bool, is_first: bool) -> str:  # noqa: FBT001
    shown = f"<button>{text(title)}</button>" if is_sortable else text(title)
    order = ' aria-sort="descending"' if is_first else ""
    return f'<th class="{kind}" title="{text(explanation)}"{order}>{shown}</th>'


def _cell(cell: Cell) -> str:
    if cell.value is None:
        return f"<td>{cell.html}</td>"
    return f'<td class="number" data-value="{cell.value!r}">{cell.html}</td>'


def shipped(name: str) -> str:
    """The text of a file of this folder."""
    return files("asyncgraph.observe.report").joinpath(name).read_text("utf-8")
