"""Runs as plain lines, few of them: for logs and pipes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TextIO

from asyncgraph.observe.progress.table import shortened, state_of
from asyncgraph.observe.progress.view import Row, View
from asyncgraph.observe.progress.words import clean, clock, duration, rate

__all__ = ["Lines"]

_SHORTEST, _LONGEST = 1.0, 300.0
"""Seconds between two lines about a run, and before the first: there are services that end what has written
nothing for ten minutes."""

_FUNCTIONS = 4
"""How many functions a line names."""


class Lines:
    """The display of a file: each line stays, so there are ever fewer of them."""

    period = 1.0

    def __init__(self, file: TextIO) -> None:
        self._file = file
        self._encoding = getattr(file, "encoding", None) or "utf-8"
        self._next: dict[int, float] = {}

    def draw(self, live: Sequence[View], over: Sequence[View]) -> None:
        """Write a line about those that it is time for, and about those that are over."""
        lines = [_last_line(view) for view in over]
        for view in live:
            if view.depth == 0 and view.seconds >= self._next.get(view.id, _SHORTEST):
                self._next[view.id] = view.seconds + min(max(view.seconds, _SHORTEST), _LONGEST)
                lines.append(_line(view))
        ended = {view.id for view in over}
        self._next = {id: due for id, due in self._next.items() if id not in ended}
        if lines:
            self._file.write("".join(f"{clean(line, self._encoding)}\n" for line in lines))
            self._file.flush()


def _line(view: View) -> str:
    total = view.total
    left = "" if total.left is None else f"about {clock(total.left)} left"
    parts = [
        f"{_counts(total)} nodes",
        f"{total.running:,} running",
        *total.troubles,
        rate(total.rate),
        left,
    ]
    return f"asyncgraph: {total.name}: after {duration(view.seconds)} {_joined(parts)}{_functions(view)}"


def _last_line(view: View) -> str:
    total = view.total
    parts = [f"{total.nodes if total.finished == total.nodes else _counts(total)} nodes", *total.troubles]
    functions = "" if total.finished == total.nodes else _functions(view)
    return f"asyncgraph: {total.name}: {state_of(view)}: {_joined(parts)}{functions}"


def _functions(view: View) -> str:
    kept, others = shortened(view.rows, _FUNCTIONS)
    rows = [*kept, *([others] if others else ())]
    return f" ({', '.join(f'{row.name} {_counts(row)}' for row in rows)})" if len(view.rows) > 1 else ""


def _counts(row: Row) -> str:
    return f"{row.finished:,}/{row.nodes:,}"


def _joined(parts: Sequence[str]) -> str:
    return ", ".join(filter(None, parts))
