"""What a run has made of the boxes of each shape, added up from their marks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from asyncgraph.observe.drawing.model import STATES, Mark, Marks

__all__ = ["Tally", "seconds_in_words", "tallies_of"]


class Tally:
    """The marks of the boxes of one shape.

    Attributes:
        marked: How many have a mark.
        states: How many are in each state.
        timed: How many have taken a time that is known.
        seconds: How long they have taken together.
        longest: How long the longest has taken.
        ordered: Of how many it is known when they began.
        orders: The sum of the places in which they began.
    """

    __slots__ = ("longest", "marked", "ordered", "orders", "seconds", "states", "timed")

    def __init__(self) -> None:
        self.marked = self.timed = self.ordered = self.orders = 0
        self.seconds = self.longest = 0.0
        self.states: dict[str, int] = {}

    def add(self, mark: Mark) -> None:
        """Add a mark."""
        state, seconds, order = mark
        self.marked += 1
        self.states[state] = self.states.get(state, 0) + 1
        if seconds is not None:
            self.timed += 1
            self.seconds += seconds
            self.longest = max(self.longest, seconds)
        if order is not None:
            self.ordered += 1
            self.orders += order

    def lines(self, members: int) -> tuple[str, ...]:
        """The same in words, for a tooltip of a shape with so many boxes."""
        states = dict(self.states)
        if self.marked < members and self.marked:
            states["waiting"] = states.get("waiting", 0) + members - self.marked
        shown = [
            state if members == 1 else f"{states[state]:,} {state}" for state in STATES if state in states
        ]
        lines = [", ".join(shown)] if shown else []
        if self.timed == 1:
            lines.append(f"took {seconds_in_words(self.seconds)}")
        elif self.timed:
            together, longest = seconds_in_words(self.seconds), seconds_in_words(self.longest)
            lines.append(f"took {together} together, the longest {longest}")
        if self.ordered == members == 1:
            lines.append(f"number {self.orders + 1:,} to begin")
        return tuple(lines)


def tallies_of(marks: Marks, shape_of: Mapping[object, int], number: int) -> list[Tally]:
    """The tally of each of so many shapes; marks of what is not drawn are passed over.

    Raises:
        ValueError: A mark has a state that is not known.
    """
    tallies = [Tally() for _ in range(number)]
    for key, mark in marks.items():
        shape = shape_of.get(key)
        if shape is not None:
            tallies[shape].add(mark)
    _check(tallies)
    return tallies


def _check(tallies: Sequence[Tally]) -> None:
    for tally in tallies:
        for state in tally.states:
            if state not in STATES:
                raise ValueError(
                    f"there is no state {state!r}: a Mark's is one of {', '.join(map(repr, STATES))}"
                )


def seconds_in_words(seconds: float) -> str:
    """A duration, as short as it can be said.

    Example:
        >>> [seconds_in_words(each) for each in (0.0000123, 0.0456, 1.5, 754.0)]
        ['12 µs', '46 ms', '1.50 s', '12 min 34 s']
    """
    if seconds < 0.9995e-3:
        return f"{seconds * 1e6:.0f} µs"
    if seconds < 0.9995:
        return f"{seconds * 1e3:.0f} ms"
    if seconds < 100:
        return f"{seconds:.2f} s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest} s"
