"""The order in which one worker should run the tasks of a graph, so that few results are alive at once.

A result is alive from when its task ran until its last dependent has; that of an output to the end. The
best order is hard to find (it is the problem of allocating registers), but of two orders it is easy to say
which is better. So several are drafted, each by a rule that suits some graphs, and the one with the lowest
peak is taken. The rules:

- `_depth_first`: what a task needs is computed just before it, what takes the most room first. For trees
  no order is better (Sethi and Ullman, "The generation of optimal code for arithmetic expressions", 1970).
- `_fewest_missing`: next comes whatever lacks the fewest results, the newest first. That suits graphs
  whose outputs share much: those who use a result are served while it is there.

A draft is improved in two steps: what frees nothing moves back to where it is first needed (`_late`), and
what is the last to use a result moves forward to where all that it needs is there (`_eager`).

All of this is done in pieces (see `pieces`). Tasks are numbers, given in an order in which dependencies come
first. Each step takes a time that is linear in the number of edges, but for a heap in `_fewest_missing`, for
small graphs only.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from functools import lru_cache
from heapq import heappop, heappush
from itertools import accumulate, count, islice
from math import log
from operator import sub

from asyncgraph._graph.pieces import PIECE, Pieces, cut

__all__ = ["is_small", "may_gain", "order", "order_of_shape", "order_of_tree", "peak_of"]

Edges = Sequence[Sequence[int]]

_MANY = 5_000
"""Graphs of more tasks get one draft, the order given: 1 µs a task, where all drafts take 12. A larger tree
is put in order only if it is far from balanced."""

_SHORT_PIECE = PIECE // 4
"""Steps in a piece where each takes a few microseconds."""

_ENOUGH = 50
"""How many tasks behind a missing result are counted, at most."""


def order(dependencies: Edges, dependents: Edges, outputs: Iterable[int]) -> Pieces[list[int] | None]:
    """The tasks in the order in which one worker should run them, or None if the given one is as good.

    Args:
        dependencies: For each task, the tasks whose results it takes: all of them lower numbers.
        dependents: The same edges the other way round.
        outputs: The tasks whose results are kept to the end.
    """
    graph = _Graph(dependencies, dependents, outputs)
    given = range(len(dependencies))
    peak, least = (yield from graph.peak(given)), graph.least_peak()
    if peak <= least:
        return None
    if len(given) > _MANY:
        found = yield from graph.eager(given, peak)
        return None if found is None else found[0]
    best = None
    for by_room in (True, False):
        base = yield from graph.depth_first((yield from graph.rooms()) if by_room else None)
        renumbered = yield from graph.renumbered(base)
        sizes = renumbered.sizes()
        for rule in _RULES:
            draft = yield from rule(renumbered, sizes)
            found = yield from renumbered.eager((yield from renumbered.late(draft)), peak)
            if found is not None:
                tasks, peak = found
                best = [base[task] for task in tasks]
                if peak <= least:
                    return best
    return best


class _Found:
    """What is known of a shape: whether its order has been looked for, and what was found."""

    __slots__ = ("is_known", "tasks")

    def __init__(self) -> None:
        self.is_known = False
        self.tasks: list[int] | None = None


@lru_cache(maxsize=16)
def _known(dependencies: tuple[tuple[int, ...], ...], outputs: tuple[int, ...], *, is_tree: bool) -> _Found:
    return _Found()


def order_of_shape(
    dependencies: tuple[tuple[int, ...], ...], outputs: tuple[int, ...], *, is_tree: bool
) -> Pieces[list[int] | None]:
    """As `order`; remembers the last shapes, for programs that build the same graph again and again."""
    found = _known(dependencies, outputs, is_tree=is_tree)
    if not found.is_known:
        if is_tree:
            found.tasks = yield from order_of_tree(dependencies, outputs)
        else:
            dependents: list[list[int]] = [[] for _ in dependencies]
            for task, each in enumerate(dependencies):
                for dependency in each:
                    dependents[dependency].append(task)
            found.tasks = yield from order(dependencies, dependents, outputs)
        found.is_known = True
    return found.tasks


def order_of_tree(dependencies: Edges, outputs: Iterable[int]) -> Pieces[list[int]]:
    """As `order` for graphs in which each task is needed once."""
    graph = _Graph(dependencies, (), outputs)
    return (yield from graph.depth_first((yield from graph.rooms())))


def may_gain(needed: Sequence[int]) -> Pieces[bool]:
    """Whether another order of a tree may be better.

    Args:
        needed: For each task, depth first, how many others it needs.
    """
    widest = max(needed, default=0)
    # Alive after a task are as many as there have been, less what was taken so far.
    peak = total = done = 0
    for some in cut(needed, 4 * PIECE):
        taken = list(accumulate(some, initial=total))
        alive = map(sub, range(done, done + len(taken)), taken)
        peak = max(peak, *alive)
        total, done = taken[-1], done + len(some)
        yield
    balanced = 2 * widest
    if len(needed) > _MANY and widest > 1:
        # A balanced tree has on every level as many open tasks as its fan-in, less one.
        balanced += int((widest - 1) * log(len(needed), widest))
    return peak + widest > max(balanced, len(needed) - total + widest)


def peak_of(
    dependencies: Edges, dependents: Edges, outputs: Iterable[int], tasks: Sequence[int]
) -> Pieces[int]:
    """The most results that are alive at once while one worker runs the tasks in this order."""
    return _Graph(dependencies, dependents, outputs).peak(tasks)


def is_small(tasks: int) -> bool:
    """Whether a graph of so many tasks gets all drafts."""
    return tasks <= _MANY


class _Graph:
    """The edges both ways, and how often each result is used, once more if it is kept."""

    def __init__(self, dependencies: Edges, dependents: Edges, outputs: Iterable[int]) -> None:
        self._dependencies = dependencies
        self._dependents = dependents
        self._outputs = list(dict.fromkeys(outputs))
        self._uses = list(map(len, dependents))
        if dependents:
            for output in self._outputs:
                self._uses[output] += 1

    def renumbered(self, tasks: list[int]) -> Pieces[_Graph]:
        """The same with the tasks' places as numbers."""
        place = [0] * len(tasks)
        for number, task in enumerate(tasks):
            place[task] = number
        at = place.__getitem__
        dependencies: list[list[int]] = []
        dependents: list[list[int]] = []
        for some in cut(tasks):
            dependencies += [sorted(map(at, self._dependencies[task])) for task in some]
            dependents += [sorted(map(at, self._dependents[task])) for task in some]
            yield
        return _Graph(dependencies, dependents, map(at, self._outputs))

    # -- how good an order is

    def peak(self, tasks: Sequence[int]) -> Pieces[int]:
        """The most results that are alive at once in this order."""
        uses, dependencies = self._uses.copy(), self._dependencies
        alive = most = 0
        for some in cut(tasks):
            for task in some:
                alive += 1
                most = max(most, alive)
                for dependency in dependencies[task]:
                    left = uses[dependency] = uses[dependency] - 1
                    if not left:
                        alive -= 1
            yield
        return most

    def least_peak(self) -> int:
        """No order has a lower one: a task and all it needs are there at once, and in the end all outputs."""
        return max(max(map(len, map(set, self._dependencies)), default=0) + 1, len(self._outputs))

    # -- drafts

    def depth_first(self, rooms: list[int] | None = None) -> Pieces[list[int]]:
        """Dependencies just before what needs them, those with the most room first, or else the last."""
        dependencies = self._dependencies
        state = bytearray(len(dependencies))  # 1: entered, 2: there
        tasks = []
        stack = self._outputs.copy()
        if rooms is not None:
            stack.reverse()
            stack.sort(key=rooms.__getitem__)
        while stack:
            for _ in range(PIECE):
                if not stack:
                    break
                task = stack[-1]
                if state[task]:
                    stack.pop()
                    if state[task] == 1:
                        state[task] = 2
                        tasks.append(task)
                    continue
                state[task] = 1
                missing = [each for each in dependencies[task] if not state[each]]
                if rooms is not None and len(missing) > 1:
                    missing.sort(key=rooms.__getitem__)
                stack += missing
            yield
        return tasks

    def rooms(self) -> Pieces[list[int]]:
        """For each task, the results alive at once while it and all behind it are computed, as in a tree."""
        rooms: list[int] = []
        for some in cut(self._dependencies):
            for dependencies in some:
                room = 1
                if dependencies:
                    each = sorted([rooms[dependency] for dependency in dependencies], reverse=True)
                    kept = len(each)
                    room = kept + 1
                    for before in range(kept):
                        room = max(room, each[before] + before)
                rooms.append(room)
            yield
        return rooms

    def sizes(self) -> list[int]:
        """For each task, how many are behind it, as in a tree, itself counted."""
        sizes: list[int] = []
        for dependencies in self._dependencies:
            size = 1
            for each in dependencies:
                size += sizes[each]
            sizes.append(min(_ENOUGH, size))
        return sizes

    def fewest_missing(self, costs: list[int], *, is_patient: bool) -> Pieces[list[int]]:
        """Next comes the task, of those that use a result, whose missing dependencies cost the least.

        Args:
            costs: What computing each task costs.
            is_patient: Whether a task is pursued until it has run. Otherwise only one step is made
                towards it before all are compared again.
        """
        draft = _FewestMissing(self._dependencies, self._dependents, self._uses, costs)
        for task in range(len(costs)):
            goal: int | None = task
            while goal is not None:
                yield from draft.approach(goal, is_patient=is_patient)
                goal = draft.cheapest()
        return draft.tasks

    # -- improvements

    def late(self, draft: Sequence[int]) -> Pieces[list[int]]:
        """What frees no result is computed when it is first needed, or at the end."""
        dependencies = self._dependencies
        place = [0] * len(dependencies)
        last = [-1] * len(dependencies)
        for number, task in enumerate(draft):
            place[task] = number
            for each in dependencies[task]:
                last[each] = task
        for output in self._outputs:
            last[output] = -1
        is_last = bytearray(len(dependencies) + 1)
        for task in last:
            is_last[task] = 1
        is_done = bytearray(len(dependencies))
        tasks: list[int] = []
        left = _SHORT_PIECE
        yield
        for goals in ([task for task in draft if is_last[task]], draft):
            for goal in goals:
                stack = [goal]
                while stack:
                    left -= 1
                    if not left:
                        left = _SHORT_PIECE
                        yield
                    task = stack[-1]
                    missing = [each for each in dependencies[task] if not is_done[each]]
                    if missing and not is_done[task]:
                        if len(missing) > 1:
                            missing.sort(key=place.__getitem__, reverse=True)
                        stack += missing
                        continue
                    stack.pop()
                    if not is_done[task]:
                        is_done[task] = 1
                        tasks.append(task)
        return tasks

    # In one: of a million tasks each call would add a tenth to the time.
    def eager(  # noqa: PLR0912
        self, draft: Iterable[int], most: int
    ) -> Pieces[tuple[list[int], int] | None]:
        """What is the last to use a result runs as soon as it can.

        Returns:
            The tasks and their peak; None if that is not below `most`, which ends it early.
        """
        dependencies, dependents, uses = self._dependencies, self._dependents, self._uses.copy()
        missing = list(map(len, dependencies))
        is_done = bytearray(len(dependencies))
        tasks: list[int] = []
        alive = peak = 0
        look_at = PIECE
        for start in draft:
            if is_done[start]:
                continue
            stack = [start]
            while stack:
                task = stack.pop()
                if is_done[task]:
                    continue
                if len(tasks) > look_at:
                    look_at += PIECE
                    yield
                is_done[task] = 1
                tasks.append(task)
                alive += 1
                if alive > peak:
                    peak = alive
                    if peak >= most:
                        return None
                for each in dependencies[task]:
                    left = uses[each] = uses[each] - 1
                    if not left:
                        alive -= 1
                    elif left == 1:
                        for last in dependents[each]:
                            if not is_done[last]:
                                if not missing[last]:
                                    stack.append(last)
                                break
                for dependent in dependents[task]:
                    missing[dependent] -= 1
                    if not missing[dependent]:
                        for each in dependencies[dependent]:
                            if uses[each] == 1:
                                stack.append(dependent)
                                break
        return tasks, peak


def _as_given(graph: _Graph, sizes: list[int]) -> Pieces[Sequence[int]]:
    yield
    return range(len(sizes))


_Rule = Callable[[_Graph, list[int]], Pieces[Sequence[int]]]

_RULES: tuple[_Rule, ...] = (
    _as_given,
    lambda graph, sizes: graph.fewest_missing(sizes, is_patient=False),
    lambda graph, sizes: graph.fewest_missing([1] * len(sizes), is_patient=True),
)


class _FewestMissing:
    """The state of the draft of that name."""

    def __init__(self, dependencies: Edges, dependents: Edges, uses: list[int], costs: list[int]) -> None:
        self.tasks: list[int] = []
        self._dependencies = dependencies
        self._dependents = dependents
        self._uses = uses.copy()
        self._costs = costs
        self._is_done = bytearray(len(dependencies))
        self._missing = list(map(len, dependencies))
        self._cost_missing = [sum(map(costs.__getitem__, each)) for each in dependencies]
        self._newest = count(0, -1)
        self._heap: list[tuple[int, int, int]] = []  # what it costs, the newest first, the task
        self._left = _SHORT_PIECE  # steps of the piece

    def approach(self, goal: int, *, is_patient: bool) -> Pieces[None]:
        """Run what is to run first for the goal, or all of it."""
        stack = [goal]
        while stack:
            self._left -= 1
            if self._left <= 0:
                self._left = _SHORT_PIECE
                yield
            task = stack[-1]
            if self._is_done[task]:
                stack.pop()
            elif self._missing[task]:
                stack.append(next(each for each in self._dependencies[task] if not self._is_done[each]))
            else:
                yield from self._run(task)
                if not is_patient:
                    return

    def cheapest(self) -> int | None:
        """The next goal."""
        while self._heap:
            cost, _, task = heappop(self._heap)
            if not self._is_done[task] and cost == self._cost_missing[task]:
                return task
        return None

    def _run(self, first: int) -> Pieces[None]:
        """Run a task, and then all that frees something."""
        stack = [first]
        uses, missing = self._uses, self._missing
        while stack:
            task = stack.pop()
            if self._is_done[task]:
                continue
            self._left -= 1
            if self._left <= 0:
                self._left = _SHORT_PIECE
                yield
            self._is_done[task] = 1
            self.tasks.append(task)
            for each in self._dependencies[task]:
                uses[each] -= 1
                if uses[each] == 1:
                    ready = (t for t in self._dependents[each] if not (self._is_done[t] or missing[t]))
                    stack.extend(islice(ready, 1))
            for dependent in self._dependents[task]:
                missing[dependent] -= 1
                self._cost_missing[dependent] -= self._costs[task]
                if not missing[dependent] and any(uses[each] == 1 for each in self._dependencies[dependent]):
                    stack.append(dependent)
                else:
                    heappush(self._heap, (self._cost_missing[dependent], next(self._newest), dependent))
