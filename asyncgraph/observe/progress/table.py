"""Runs as lines of text: which columns there is room for, and which functions.

It knows widths and heights, but no terminal: a line is a list of pieces, each with what it stands for.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from asyncgraph.observe.progress.view import Row, View, summed
from asyncgraph.observe.progress.words import clean, clock, cut, duration, padded, rate, width_of

__all__ = ["ASCII", "UNICODE", "Line", "Piece", "Symbols", "lines_of", "shortened", "state_of"]


class Symbols(NamedTuple):
    """What bars are made of, a column each, and what stands where a text was cut."""

    done: str
    half: str
    failed: str
    rest: str
    cut: str


UNICODE = Symbols("━", "╸", "╍", "─", "…")
ASCII = Symbols("#", "", "x", "-", "~")


class Piece(NamedTuple):
    """A part of a line, and what it stands for: "done", "failed", "rest", "name" or ""."""

    text: str
    kind: str = ""


Line = list[Piece]

_BAR = range(8, 41)
"""How many columns a bar has."""

_NAME = 3
"""Names take no more than one column in so many, beside a bar; without one they take what is left."""

_SHORTEST = 4
"""How many columns are left to names, at least."""

_SETS = (
    ("bar", "counts", "notes", "rate", "left"),
    ("bar", "counts", "notes", "left"),
    ("bar", "counts", "notes"),
    ("bar", "counts"),
    ("counts", "notes"),
    ("counts",),
    (),
)
"""Which columns there are besides the name: the first of these that there is room for."""

_SETS_AT_THE_END = (("bar", "counts", "notes", "left"), ("counts", "notes", "left"), *_SETS[2:])
"""The same where all is over: what has become of a run and how long it took says more than a bar."""

_GAP = "  "


class _Entry(NamedTuple):
    """What becomes one line."""

    row: Row
    indent: int
    is_over: bool
    left: str

    def texts(self, digits: int) -> dict[str, str]:
        """Those columns that are texts."""
        row = self.row
        total = f"{row.nodes:,}"
        is_done = self.is_over or row.done == row.nodes
        running = "" if is_done else f"{row.running:>{digits}} running"
        return {
            "counts": f"{row.called:>{len(total)},}/{total}",
            "notes": ", ".join(filter(None, (running, *row.troubles))),
            "rate": "" if is_done else rate(row.rate),
            "left": self.left,
        }


def lines_of(
    views: Sequence[View], width: int, height: int, symbols: Symbols, encoding: str | None
) -> list[Line]:
    """The lines that show some runs.

    Args:
        views: The runs.
        width: How many columns a line may take.
        height: How many lines there may be.
        symbols: What bars are made of.
        encoding: What the names are to be made of; None if anything can be shown.
    """
    entries = [
        each._replace(row=each.row._replace(name=clean(each.row.name, encoding)))
        for each in _entries(views, max(height, 1))
    ]
    if not entries:
        return []
    digits = max(2, *(len(f"{each.row.running}") for each in entries))
    texts = [each.texts(digits) for each in entries]
    widths = {name: max(width_of(text[name]) for text in texts) for name in texts[0]}
    columns, names, bar = _layout(entries, widths, width)
    return [
        _line(entry, text, [(name, widths.get(name, bar)) for name in columns], names, symbols)
        for entry, text in zip(entries, texts, strict=True)
    ]


def shortened(rows: Sequence[Row], most: int) -> tuple[list[Row], Row | None]:
    """So many of these, those first that something happens to, and all others as one."""
    if len(rows) <= most:
        return list(rows), None
    ranked = sorted(range(len(rows)), key=lambda at: (_rank(rows[at]), at))
    kept, others = sorted(ranked[: max(most - 1, 0)]), sorted(ranked[max(most - 1, 0) :])
    count = len(others)
    name = f"and {count} more function{'' if count == 1 else 's'}" if kept else f"{count} functions"
    return [rows[at] for at in kept], summed(name, [rows[at] for at in others])


def state_of(view: View) -> str:
    """What has become of a run and in what time."""
    return f"{view.state} after {duration(view.seconds)}"


# -- which lines there are


def _entries(views: Sequence[View], height: int) -> Iterable[_Entry]:
    if len(views) > height:
        shown, hidden = views[: height - 1], views[height - 1 :]
    else:
        shown, hidden = views, ()
    rooms = _rooms([len(each.rows) for each in shown], height - len(shown) - bool(hidden))
    for view, room in zip(shown, rooms, strict=True):
        yield _Entry(view.total, 2 * view.depth, view.is_over, _left_of_run(view))
        yield from _functions(view, room)
    if hidden:
        name = f"and {len(hidden)} more run{'' if len(hidden) == 1 else 's'}"
        yield _Entry(summed(name, [each.total for each in hidden]), 0, False, "")


def _functions(view: View, room: int) -> Iterable[_Entry]:
    if room == 0 or (room == 1 and len(view.rows) > 1):  # which would say what the line of the run says
        return
    kept, others = shortened(view.rows, room)
    for row in (*kept, *([others] if others else ())):
        left = "" if view.is_over or row.left is None else f"{clock(row.left)} left"
        yield _Entry(row, 2 * view.depth + 2, view.is_over, left)


def _left_of_run(view: View) -> str:
    if view.is_over:
        return state_of(view)
    so_far = clock(view.seconds)
    return so_far if view.total.left is None else f"{so_far}, {clock(view.total.left)} left"


def _rooms(wanted: Sequence[int], room: int) -> list[int]:
    """How many lines each gets of so many: all the same, but none more than it wants."""
    given = [0] * len(wanted)
    while room > 0 and (hungry := [at for at, want in enumerate(wanted) if given[at] < want]):
        for at in hungry[:room]:
            given[at] += 1
        room -= len(hungry)
    return given


def _rank(row: Row) -> int:
    if row.is_active:
        return 0
    if row.failed:
        return 1
    return 2 if row.done < row.nodes else 3


# -- what is on a line


def _layout(entries: Sequence[_Entry], widths: dict[str, int], width: int) -> tuple[list[str], int, int]:
    """Which columns there are, and how wide names and bars are."""
    longest = max(entry.indent + width_of(entry.row.name) for entry in entries)
    for columns in _SETS_AT_THE_END if all(entry.is_over for entry in entries) else _SETS:
        kept = [name for name in columns if name == "bar" or widths[name]]
        room = width - sum(len(_GAP) + widths.get(name, 0) for name in kept)
        if "bar" in kept:
            names = min(longest, max(width // _NAME, _BAR.start))
            if room - names >= _BAR.start:
                return kept, names, min(room - names, _BAR[-1])
        elif room >= _SHORTEST or not kept:
            return kept, min(longest, room), 0
    raise AssertionError("the last set is empty")


def _line(
    entry: _Entry, texts: dict[str, str], columns: Sequence[tuple[str, int]], names: int, symbols: Symbols
) -> Line:
    indent = " " * min(entry.indent, max(names - 1, 0))
    name = padded(cut(entry.row.name, names - len(indent), symbols.cut), names - len(indent))
    line = [Piece(indent), Piece(name, "name")]
    for column, width in columns:
        line.append(Piece(_GAP))
        if column == "bar":
            line += _bar(entry.row, width, symbols)
        elif column == "notes":
            line.append(Piece(padded(texts[column], width), "failed" if entry.row.failed else ""))
        else:
            line.append(Piece(texts[column].rjust(width)))
    return _trimmed(line)


def _trimmed(line: Line) -> Line:
    while line and not line[-1].text.strip():
        line.pop()
    return [*line[:-1], line[-1]._replace(text=line[-1].text.rstrip())] if line else line


def _bar(row: Row, width: int, symbols: Symbols) -> Iterable[Piece]:
    """What is finished, what has failed, and the rest; nothing that is missing looks done."""
    if not row.nodes:
        return [Piece(symbols.rest * width, "rest")]
    halves = width * 2 * row.finished // row.nodes
    failed = min(-(-width * row.failed // row.nodes), width - halves // 2)
    done = symbols.done * (halves // 2)
    half = symbols.half if halves % 2 and not failed else ""
    rest = symbols.rest * (width - len(done) - len(half) - failed)
    return [Piece(done + half, "done"), Piece(symbols.failed * failed, "failed"), Piece(rest, "rest")]
