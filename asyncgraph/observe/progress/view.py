"""What is shown of a run at one moment, whoever shows it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, Protocol

__all__ = ["RUNNING", "Display", "Row", "View", "summed"]

RUNNING = "running"
"""The state of a run that is not over; the others are those of `RunFinished`, and "left behind"."""


class Row(NamedTuple):
    """How far the nodes of one function are, or those of several.

    Attributes:
        rate: How many are done a second; 0 if that is not known.
        left: How many seconds the rest will take; None if that is not known.
    """

    name: str
    nodes: int
    running: int
    finished: int
    failed: int
    not_run: int
    cancelled: int
    rate: float = 0.0
    left: float | None = None

    @property
    def called(self) -> int:
        """How many have been called, and are over."""
        return self.finished + self.failed

    @property
    def troubles(self) -> list[str]:
        """How many have no value, and never will, in words."""
        counts = ((self.failed, "failed"), (self.not_run, "not run"), (self.cancelled, "cancelled"))
        return [f"{count:,} {word}" for count, word in counts if count]

    @property
    def done(self) -> int:
        """How many nothing more will come of."""
        return self.called + self.not_run + self.cancelled

    @property
    def is_active(self) -> bool:
        """Whether some have begun, and not all are done."""
        return self.done < self.nodes and (self.running > 0 or self.done > 0)


class View(NamedTuple):
    """A run at one moment.

    Attributes:
        id: That of the run.
        state: `RUNNING`, or what has become of it.
        seconds: How long it has taken so far.
        total: All of its functions together, under the name of the run.
        rows: Its functions.
        depth: How many runs it is nested in, of those that are shown at the same place. Those that are nested
            in a run come right behind it.
    """

    id: int
    state: str
    seconds: float
    total: Row
    rows: Sequence[Row]
    depth: int

    @property
    def is_over(self) -> bool:
        """Whether it will not change any more."""
        return self.state != RUNNING


class Display(Protocol):
    """A place where runs are shown."""

    @property
    def period(self) -> float:
        """Seconds between two drawings, at least."""
        ...

    def draw(self, live: Sequence[View], over: Sequence[View]) -> None:
        """Show those that are going on, in place of what was shown before, and leave those that are over.

        Raises:
            Exception: It cannot be written.
        """
        ...


def summed(name: str, rows: Sequence[Row]) -> Row:
    """Several functions as one row; how long they will take together is not known."""
    counts = [sum(each) for each in zip(*(row[1:7] for row in rows), strict=True)] or [0] * 6
    return Row(name, *counts)
