"""The screen of a terminal, as much of one as progress bars use: what its user sees of what was written.

A line that is full is left only when the next character comes, as in the terminals that there are. A text in
the stream of the form `ESC ] name BEL` takes a snapshot.
"""

from __future__ import annotations

import re
import unicodedata

_TOKEN = re.compile(
    r"\x1b\](?P<name>[^\x07]*)\x07|\x1b\[(?P<number>\d*)(?P<code>[A-Za-z])|(?P<text>.)", re.DOTALL
)


def snapshot(name: str) -> str:
    """What is to be written for the screen to take one."""
    return f"\x1b]{name}\x07"


class Screen:
    """A screen of so many columns and lines.

    Attributes:
        snapshots: By name, what was there: all lines, those that have left the screen at the top included,
            and where the cursor was.
        colors: The codes of all colors that were used.
    """

    def __init__(self, columns: int = 80, lines: int = 24) -> None:
        self._columns = columns
        self._height = lines
        self._gone: list[str] = []
        self._cells = [[" "] * columns for _ in range(lines)]
        self._line = self._column = 0
        self.snapshots: dict[str, str] = {}
        self.colors: set[str] = set()

    def feed(self, text: str) -> None:
        """Take what a program has written."""
        for token in _TOKEN.finditer(text):
            if (name := token["name"]) is not None:
                self.snapshots[name] = str(self)
            elif token["code"]:
                self._control(token["code"], token["number"])
            else:
                self._put(token["text"])

    def __str__(self) -> str:
        shown = [*self._gone, *("".join(cells).rstrip() for cells in self._cells)]
        at = len(self._gone) + self._line
        while len(shown) > at + 1 and not shown[-1]:
            shown.pop()
        shown[at] += f"<cursor {self._column}>" if self._column else "<cursor>"
        return "\n".join(shown) + "\n"

    def _control(self, code: str, number: str) -> None:
        if code == "m":
            self.colors.add(number)
        elif code == "A":
            self._line = max(0, self._line - int(number or 1))
        elif code == "K":
            self._clear(self._line)
        elif code == "J":
            self._clear(self._line)
            self._cells[self._line + 1 :] = [
                [" "] * self._columns for _ in range(self._height - self._line - 1)
            ]
        else:
            raise AssertionError(f"the screen does not know code {code!r}")

    def _clear(self, line: int) -> None:
        column = min(self._column, self._columns)
        self._cells[line][column:] = [" "] * (self._columns - column)

    def _put(self, character: str) -> None:
        if character == "\r":
            self._column = 0
        elif character == "\n":
            self._next_line()
        elif not character.isprintable():
            raise AssertionError(f"the screen does not know {character!r}")
        elif unicodedata.category(character) == "Mn":
            self._cells[self._line][self._column - 1] += character
        else:
            self._write(character, 2 if unicodedata.east_asian_width(character) in "WF" else 1)

    def _write(self, character: str, width: int) -> None:
        if self._column + width > self._columns:
            self._column = 0
            self._next_line()
        self._cells[self._line][self._column : self._column + width] = [character, *[""] * (width - 1)]
        self._column += width

    def _next_line(self) -> None:
        if self._line < self._height - 1:
            self._line += 1
            return
        self._gone.append("".join(self._cells.pop(0)).rstrip())
        self._cells.append([" "] * self._columns)
