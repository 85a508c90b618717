"""Runs drawn by rich: the same as in a plain terminal, with spinners and colors."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from rich.console import Group, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar as Bar
from rich.spinner import Spinner
from rich.table import Column, Table
from rich.text import Text

from asyncgraph.observe.progress.table import shortened, state_of
from asyncgraph.observe.progress.view import RUNNING, Row, View
from asyncgraph.observe.progress.words import clean, clock, rate

if TYPE_CHECKING:
    from rich.console import Console

__all__ = ["Rich"]

_WIDEST = 110
"""Columns of a table, where there is room for them; a bar takes what the texts leave."""

_NAME = 3
"""Names take no more than one column in so many."""

_MARKS = {"finished": ("✓", "green"), "failed": ("✗", "red")}
_OTHER = ("■", "yellow")


class Rich:
    """The display of a console of rich."""

    period = 0.1

    def __init__(self, console: Console) -> None:
        self._console = console
        self._live: Live | None = None
        self._spinner = Spinner("dots", style="cyan")

    def draw(self, live: Sequence[View], over: Sequence[View]) -> None:
        """Show those that are going on, and leave those that are over above them."""
        if live:
            self._live_display().update(self._renderable(live))
        elif self._live is not None:
            shown, self._live = self._live, None
            shown.stop()  # it leaves nothing: it is transient
        for view in over:
            self._console.print(self._table(view, len(view.rows) + 1))
        if self._live is not None:
            self._live.refresh()

    def _live_display(self) -> Live:
        if self._live is None:
            self._live = Live(console=self._console, auto_refresh=False, transient=True)
            self._live.start()
        return self._live

    def _renderable(self, views: Sequence[View]) -> RenderableType:
        room = max(self._console.height - 2, 2)
        each = max(room // len(views), 1)
        return Group(*(self._table(view, each) for view in views[:room]))

    def _table(self, view: View, height: int) -> Table:
        """As many lines as that, at most: one for the run, the others for its functions."""
        width = min(self._console.width, _WIDEST)
        name = Column(no_wrap=True, overflow="ellipsis", max_width=width // _NAME)
        texts = (Column(no_wrap=True) for _ in range(4))
        table = Table.grid(name, Column(ratio=1), *texts, padding=(0, 1))
        table.width = width
        left = state_of(view) if view.is_over else f"{clock(view.seconds)}{_left(view.total, ', ')}"
        self._add(table, view, view.total, 2 * view.depth, left)
        if height > 1:
            kept, others = shortened(view.rows, height - 1)
            for row in (*kept, *([others] if others else ())):
                self._add(table, view, row, 2 * view.depth + 2, "" if view.is_over else _left(row))
        return table

    def _add(self, table: Table, view: View, row: Row, indent: int, left: str) -> None:
        done_style, all_style = ("red", "red") if row.failed else ("bar.complete", "bar.finished")
        table.add_row(
            self._name(view, row, indent),
            Bar(
                total=max(row.nodes, 1),
                completed=row.called,
                complete_style=done_style,
                finished_style=all_style,
            ),
            Text(f"{row.called:,}/{row.nodes:,}", justify="right"),
            _notes(row, is_over=view.is_over),
            Text("" if view.is_over or row.done == row.nodes else rate(row.rate), style="cyan"),
            Text(left, style="dim"),
        )

    def _name(self, view: View, row: Row, indent: int) -> RenderableType:
        name = Table.grid(padding=(0, 1))
        mark, color = _mark(view, row)
        name.add_row(
            " " * indent, self._spinner if mark is None else Text(mark, style=color), clean(row.name)
        )
        return name


def _mark(view: View, row: Row) -> tuple[str | None, str]:
    """What stands before a name; None for the spinner."""
    if row is view.total:
        return (None, "") if view.state == RUNNING else _MARKS.get(view.state, _OTHER)
    if row.failed:
        return _MARKS["failed"]
    if row.finished == row.nodes:
        return _MARKS["finished"]
    return (None, "") if row.is_active and not view.is_over else (" ", "")


def _notes(row: Row, *, is_over: bool) -> Text:
    is_done = is_over or row.done == row.nodes
    parts = [] if is_done else [(f"{row.running:,} running", "")]
    parts += [(f"{row.failed:,} failed", "red")] if row.failed else []
    parts += [(f"{row.not_run:,} not run", "yellow")] if row.not_run else []
    parts += [(f"{row.cancelled:,} cancelled", "yellow")] if row.cancelled else []
    return Text(", ").join(Text(text, style=style) for text, style in parts)


def _left(row: Row, before: str = "") -> str:
    return "" if row.left is None else f"{before}{clock(row.left)} left"
