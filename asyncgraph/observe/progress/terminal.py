"""Runs as lines of a terminal, redrawn in place.

The cursor rests on an empty line above them, at its beginning, and nothing is said of where on the screen
that is. So what the program prints meanwhile, and its worker processes and other libraries, begins there,
and the next drawing takes the rest of the screen from where the cursor is then. A line that is printed
between two drawings takes the empty line. Further ones overwrite what is drawn there: they are whole, but
may have the end of an old line behind them. A line that is not complete is left alone, and what is drawn
comes to stand below it.

Nothing has to be undone if the program ends amid this: no cursor is hidden and no mode is set. What was there
above is never touched.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import TextIO

from asyncgraph.observe.progress.table import ASCII, UNICODE, Line, Symbols, lines_of
from asyncgraph.observe.progress.view import View

__all__ = ["Terminal"]

_USUAL = (80, 24)
"""The size of a terminal that does not tell."""

_COLORS = {"done": "32", "failed": "31", "rest": "2"}

_END = "\x1b[K\r\n"
"""The rest of the line is cleared, and the next one begins."""

_CLEAR = "\x1b[J"


class Terminal:
    """The display of a terminal; see this module."""

    period = 0.1

    def __init__(self, file: TextIO) -> None:
        self._file = file
        self._encoding = getattr(file, "encoding", None) or "utf-8"
        self._symbols = _symbols(self._encoding)
        self._has_colors = not os.environ.get("NO_COLOR")

    def draw(self, live: Sequence[View], over: Sequence[View]) -> None:
        """Show those that are going on, and leave those that are over above them."""
        columns, rows = _size(self._file)
        # One line is kept for what is printed, and one column, since terminals differ in what they do after
        # it.
        left = [line for view in over for line in self._lines([view], columns - 1, rows - 2)]
        shown = self._lines(live, columns - 1, rows - 2) if live else []
        self._file.write(_frame(left, shown, columns))
        self._file.flush()

    def _lines(self, views: Sequence[View], width: int, height: int) -> list[str]:
        lines = lines_of(views, width, height, self._symbols, self._encoding)
        return [_colored(line) if self._has_colors else "".join(each.text for each in line) for line in lines]


def _frame(over: Sequence[str], live: Sequence[str], columns: int) -> str:
    # In the first column these spaces fill the line, and the cursor is still on it; in any other, because
    # what was printed has not ended its line, they lead to the next one.
    text = " " * columns + "\r" + "".join(line + _END for line in over)
    if not live:
        return text + _CLEAR
    shown = "".join(_END + line for line in live)
    return f"{text}{shown}\x1b[K{_CLEAR}\r\x1b[{len(live)}A"


def _colored(line: Line) -> str:
    return "".join(
        f"\x1b[{_COLORS[each.kind]}m{each.text}\x1b[0m" if each.kind in _COLORS and each.text else each.text
        for each in line
    )


def _symbols(encoding: str) -> Symbols:
    try:
        "".join(UNICODE).encode(encoding)
    except (LookupError, UnicodeError):
        return ASCII
    return UNICODE


def _size(file: TextIO) -> tuple[int, int]:
    """How many columns and rows it has; 0 is what a terminal says that does not know."""
    try:
        size = os.get_terminal_size(file.fileno())
    except (AttributeError, OSError, ValueError):
        return _USUAL
    return size.columns or _USUAL[0], size.lines or _USUAL[1]
