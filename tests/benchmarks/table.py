"""The one table that everything is printed in, as plain text or as Markdown."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Row:
    """One line of the table.

    Attributes:
        label: Whose figure it is, or of what.
        figures: One a round.
        unit: What they are in.
        ratio: The median over that of another row; which one, the benchmark's description says.
        at_most: The target: for the ratio where there is one, otherwise for the median.
        at_least: Likewise.
        remark: What takes the place of figures where nothing could be measured.
    """

    label: str
    figures: Sequence[float] = ()
    unit: str = ""
    ratio: float | None = None
    at_most: float | None = None
    at_least: float | None = None
    remark: str = ""

    @property
    def median(self) -> float:
        """The median of the figures."""
        return statistics.median(self.figures)

    def verdict(self) -> str:
        """The target, and whether it is reached; empty without one."""
        if not self.figures or (self.at_most is None and self.at_least is None):
            return ""
        unit = "x" if self.ratio is not None else self.unit
        value = self.median if self.ratio is None else self.ratio
        if self.at_most is not None:
            return f"<= {self.at_most:g} {unit} {'ok' if value <= self.at_most else 'missed'}"
        return f">= {self.at_least:g} {unit} {'ok' if value >= (self.at_least or 0) else 'missed'}"

    def cells(self) -> tuple[str, ...]:
        """Its texts from the second column on."""
        if not self.figures:
            return self.label, self.remark, "", "", "", ""
        lowest, highest = min(self.figures), max(self.figures)
        return (
            self.label,
            f"{digits(self.median)} {self.unit}",
            f"{digits(lowest)} to {digits(highest)}",
            str(len(self.figures)),
            "" if self.ratio is None else f"{digits(self.ratio)} x",
            self.verdict(),
        )


def digits(value: float) -> str:
    """Three digits that say something, and no more than two behind the point."""
    if value.is_integer():
        return f"{value:,.0f}"
    size = abs(value)
    return f"{value:,.2f}" if size < 10 else f"{value:,.1f}" if size < 100 else f"{value:,.0f}"


_COLUMNS = ("workload", "what", "median", "range", "rounds", "ratio", "target")
_WIDTHS = (10, 50, 13, 17, 6, 9, 20)
_IS_TEXT = (True, True, False, False, False, False, True)


class Table:
    """Prints rows as they come."""

    def __init__(self, *, markdown: bool) -> None:
        self._markdown = markdown
        self._group = ""
        self._write(_COLUMNS)
        if markdown:
            print(f"|{'|'.join('---' if is_text else '---:' for is_text in _IS_TEXT)}|")

    def add(self, group: str, row: Row) -> None:
        """Print a row; the name of its workload is shown once, and set apart."""
        is_first, self._group = group != self._group, group
        if is_first and not self._markdown:
            print()
        name = (f"**{group}**" if self._markdown else group) if is_first else ""
        self._write((name, *row.cells()))

    def _write(self, cells: Sequence[str]) -> None:
        if self._markdown:
            print(f"| {' | '.join(cells)} |", flush=True)
            return
        padded = [
            cell.ljust(width) if is_text else cell.rjust(width)
            for cell, width, is_text in zip(cells, _WIDTHS, _IS_TEXT, strict=True)
        ]
        print("  ".join(padded).rstrip(), flush=True)
