"""Which boxes are drawn as one shape: those that do the same and stand in the same place.

Up to `MOST_SHAPES` boxes are drawn one by one. Beyond, boxes are grouped at first by what they are (function,
kind, executor) and by how many steps they are away from where the graph begins. Then groups are split, round
after round, whose members have dependencies, or dependents, in different groups: so that in the end those are
alike that everything around them is alike for. A round that would make more than a handful of groups is not
made. Where the steps alone are too many, as in long chains, a run of calls of one function, each of which
takes only what the one before it gives, is one step. And where even that is too much, steps do not count, so
that groups may depend on each other in circles. In neither case are groups split any further: their members
would differ by how far they are from the ends.

All of this goes by integers in arrays, so that a million boxes take seconds, and depends on nothing but the
boxes and their order.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Sequence

from asyncgraph.observe.drawing.model import Box

__all__ = ["MOST_SHAPES", "Outline", "groups_of"]

MOST_SHAPES = 150
"""So many shapes a picture may have and be read."""

_MOST_SPLIT = 60
"""Groups are split as long as there are not more than so many: beyond, differences are of little interest."""

_WORK = 3_000_000
"""So many boxes are looked at to split groups, all rounds together: a limit for graphs of millions."""

_Groups = Sequence[int]
_After = tuple[Sequence[int], Sequence[int]]
"""What `Outline.dependents` gives."""


class Outline:
    """Boxes without what is written about them: what they are, and what depends on what, by position.

    Attributes:
        number: How many there are.
        numbers: Their numbers.
        is_lumped: Whether there are too many functions to tell them apart by their names.
        what: What each is, as an integer that it has in common with those that do the same.
        starts: Where in `dependencies` those of each begin, and at the end where the last ones end.
        dependencies: The positions of the dependencies of all boxes, one box after the other.
        order: The positions, dependencies before dependents, as far as there are no circles.
    """

    def __init__(self, boxes: Sequence[Box]) -> None:
        whats: dict[tuple[str, str, str], int] = {}
        self.what = array("i")
        numbers = self.numbers = array("q")
        self.starts = array("i", [0])
        found = array("q")
        for box in boxes:
            numbers.append(box.number)
            self.what.append(whats.setdefault((box.name, box.kind, box.executor), len(whats)))
            found.extend(box.dependencies)
            self.starts.append(len(found))
        self.number = len(numbers)
        self.is_lumped = len(whats) > MOST_SHAPES
        if self.is_lumped:
            self._lump(whats)
        if all(number == position for position, number in enumerate(numbers)):
            missing = any(each >= self.number or each < 0 for each in found)
        else:
            missing = True
        self.dependencies = self._positions(numbers, found) if missing else array("i", found)
        self.order = self._in_order()

    def _lump(self, whats: Iterable[tuple[str, str, str]]) -> None:
        """Where there are too many functions, their names do not count."""
        lumps: dict[tuple[str, str], int] = {}
        lump_of = [lumps.setdefault((kind, executor), len(lumps)) for _, kind, executor in whats]
        self.what = array("i", [lump_of[what] for what in self.what])

    def _positions(self, numbers: Sequence[int], found: Sequence[int]) -> array[int]:
        """The dependencies by position, without those that are not there."""
        positions = {number: position for position, number in enumerate(numbers)}
        dependencies = array("i")
        starts = array("i", [0])
        for position in range(self.number):
            for each in found[self.starts[position] : self.starts[position + 1]]:
                if each in positions:
                    dependencies.append(positions[each])
            starts.append(len(dependencies))
        self.starts = starts
        return dependencies

    def _in_order(self) -> Sequence[int]:
        if all(
            each < position
            for position in range(self.number)
            for each in self.dependencies[self.starts[position] : self.starts[position + 1]]
        ):
            return range(self.number)
        order: list[int] = []
        entered = bytearray(self.number)
        for first in range(self.number):
            stack = [first]
            while stack:
                position = stack[-1]
                if entered[position] == 0:
                    entered[position] = 1
                    stack += [each for each in reversed(self.of(position)) if not entered[each]]
                else:
                    stack.pop()
                    if entered[position] == 1:
                        entered[position] = 2
                        order.append(position)
        return order

    def of(self, position: int) -> Sequence[int]:
        """The positions of a box's dependencies."""
        return self.dependencies[self.starts[position] : self.starts[position + 1]]

    def dependents(self) -> _After:
        """The same the other way round: where the dependents of each begin, and all dependents."""
        starts = array("i", bytes(4 * (self.number + 1)))
        for each in self.dependencies:
            starts[each + 1] += 1
        for position in range(self.number):
            starts[position + 1] += starts[position]
        places = starts[:]
        dependents = array("i", bytes(4 * len(self.dependencies)))
        for position in range(self.number):
            for each in self.of(position):
                dependents[places[each]] = position
                places[each] += 1
        return starts, dependents


def groups_of(outline: Outline) -> _Groups:
    """The group of each box, from 0 on, in the order of their first members."""
    if outline.number <= MOST_SHAPES:
        return range(outline.number)
    after = outline.dependents()
    groups, number = _by_step(outline)
    if number <= MOST_SHAPES:
        return _refined(outline, after, groups, number)
    groups, number = _by_step_of_runs(outline, after)
    return groups if number <= MOST_SHAPES else outline.what


def _numbered(signatures: Iterable[object], most: int | None = None) -> tuple[_Groups, int]:
    """A number for each signature, the same for equal ones; given up where there are more than `most`."""
    numbers: dict[object, int] = {}
    groups = array("i")
    for signature in signatures:
        groups.append(numbers.setdefault(signature, len(numbers)))
        if most is not None and len(numbers) > most:
            break
    return groups, len(numbers)


def _by_step(outline: Outline) -> tuple[_Groups, int]:
    steps = array("i", bytes(4 * outline.number))
    for position in outline.order:
        steps[position] = max([steps[each] for each in outline.of(position)], default=-1) + 1
    return _numbered(zip(outline.what, steps, strict=True), MOST_SHAPES)


def _by_step_of_runs(outline: Outline, after: _After) -> tuple[_Groups, int]:
    starts, _ = after
    what = outline.what
    steps = array("i", bytes(4 * outline.number))
    for position in outline.order:
        before = outline.of(position)
        if len(before) == 1:
            (one,) = before
            goes_on = what[one] == what[position] and starts[one + 1] - starts[one] == 1
            steps[position] = steps[one] + (not goes_on)
        else:
            steps[position] = max([steps[each] for each in before], default=-1) + 1
    return _numbered(zip(what, steps, strict=True), MOST_SHAPES)


def _refined(outline: Outline, after: _After, groups: _Groups, number: int) -> _Groups:
    """The groups split by what is around their members, as long as that gives few."""
    rounds = 1 + _WORK // (outline.number + len(outline.dependencies))
    for _ in range(rounds):
        finer, finer_number = _numbered(_surroundings(outline, after, groups), _MOST_SPLIT)
        if finer_number > _MOST_SPLIT or finer_number == number:
            break
        groups, number = finer, finer_number
    return groups


def _surroundings(
    outline: Outline, after: _After, groups: _Groups
) -> Iterable[tuple[int, frozenset[int], frozenset[int]]]:
    group = groups.__getitem__
    starts, dependents = after
    for position in range(outline.number):
        yield (
            groups[position],
            frozenset(map(group, outline.of(position))),
            frozenset(map(group, dependents[starts[position] : starts[position + 1]])),
        )
