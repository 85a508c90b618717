"""One run that is watched: what it says of itself, and what is made of that."""

from __future__ import annotations

import asyncio
import functools
import weakref
from collections import Counter
from collections.abc import Callable, Sequence

from asyncgraph.observe.events import FunctionProgress, ObservedRun
from asyncgraph.observe.progress.pace import Pace
from asyncgraph.observe.progress.view import RUNNING, Row, View, summed
from asyncgraph.observe.statistics import Statistics

__all__ = ["Watch"]

_LOOK = 150e-9
"""Seconds, about, that it takes to ask a run for its functions for the first time, for each of its nodes."""

_FREE = 1_000
"""So few nodes are looked at at once: it takes no time."""

_PART = 100
"""That is done when the run has taken so many times as long: it costs a hundredth of the time at most."""


class Watch:
    """A run, and how fast its functions are.

    Attributes:
        run: The run.
        shown_from: When it is shown, if it is still going on then.
        is_shown: Whether it has been shown.
        is_looked_at: Whether it has been asked for its functions.
    """

    def __init__(self, run: ObservedRun, minimum: float, loop: asyncio.AbstractEventLoop | None) -> None:
        self.run = run
        self.shown_from = run.began + minimum
        self.is_shown = False
        # Weakly: a loop that was left behind may go.
        self._loop = None if loop is None else weakref.ref(loop)
        self._rows: list[Row] = []
        self._name = run.name if run.outer is None else f"{run.name} in {run.outer[1]}"
        self._total = summed(self._name, ())
        self.is_looked_at = False
        self._paces: dict[tuple[str, int], Pace] = {}
        self._pace = Pace()
        self._state = RUNNING
        self._seconds = 0.0

    @property
    def outer(self) -> int | None:
        """The id of the run that it is nested in."""
        outer = self.run.outer
        return None if outer is None else outer[0].id

    def is_left_behind(self) -> bool:
        """Whether its loop is closed, so that it will not be told of any more."""
        loop = None if self._loop is None else self._loop()
        return self._loop is not None and (loop is None or loop.is_closed())

    def ask(self, seconds: float) -> Callable[[float], None]:
        """Ask the run how far it is, and return what takes that down; any thread may ask.

        Args:
            seconds: For how long the run has been going on.
        """
        if not self.is_looked_at:
            counts = self.run.statistics()
            if counts.nodes > _FREE and counts.nodes * _LOOK * _PART > seconds:
                return functools.partial(self._take_counts, counts)
        return functools.partial(self._take, self.run.progress())

    def _take_counts(self, counts: Statistics, now: float) -> None:
        columns = (
            counts.nodes,
            counts.running,
            counts.finished,
            counts.failed,
            counts.not_run,
            counts.cancelled,
        )
        total = Row(self._name, *columns)
        self._total = _paced(total, self._pace, now)

    def _take(self, found: Sequence[FunctionProgress], now: float) -> None:
        self.is_looked_at = True
        seen: Counter[str] = Counter()
        self._rows = []
        for each in found:
            # There may be several functions of one name.
            pace = self._paces.setdefault((each.name, seen[each.name]), Pace())
            seen[each.name] += 1
            self._rows.append(_paced(Row(*each), pace, now))
        self._total = self._with_longest(_paced(summed(self._name, self._rows), self._pace, now))

    def conclude(self, state: str, seconds: float) -> None:
        """It is over."""
        self._state, self._seconds = state, seconds

    def view(self, now: float, depth: int) -> View:
        """What is to be shown."""
        seconds = now - self.run.began if self._state == RUNNING else self._seconds
        return View(self.run.id, self._state, seconds, self._total, self._rows, depth)

    def _with_longest(self, total: Row) -> Row:
        # The function that takes longest decides, if all are under way; it may have begun late, and be slow.
        lefts = [row.left for row in (total, *self._rows) if row.left is not None]
        return total._replace(left=max(lefts, default=None))


def _paced(row: Row, pace: Pace, now: float) -> Row:
    pace.add(now, row.done, has_begun=row.running > 0 or row.done > 0)
    remaining = row.nodes - row.done
    return row._replace(rate=pace.rate(), left=pace.left(remaining) if remaining else None)
