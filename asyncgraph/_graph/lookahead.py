"""Looking ahead: which waiting tasks can follow those that have been taken, in the same place.

Where tasks are done together, in a thread or a worker, their dependents can be handed over with them, if
they wait for nothing that is done elsewhere. This keeps count of that. What the place is, and how many
tasks it should have, is known to the caller alone.
"""

from __future__ import annotations

from heapq import heappop, heappush

from asyncgraph._graph.scheduler import Scheduler

__all__ = ["Lookahead"]


class Lookahead:
    """What can be taken ahead into one place.

    The unfinished dependencies of a task that this gives are all in the place. That the last one elsewhere
    has finished since is not noticed: such a task becomes ready in its time. When a task is to wait for other
    tasks than it did, this is of no use any more.

    Args:
        scheduler: The state of the run; it is only read.
        lane: The lane whose tasks may go to the place.
    """

    __slots__ = ("_elsewhere", "_lane", "_ranks", "_scheduler")

    def __init__(self, scheduler: Scheduler, lane: int) -> None:
        self._scheduler = scheduler
        self._lane = lane
        # For tasks with a dependency in the place: how many others they wait for. Those without are below.
        self._elsewhere: dict[int, int] = {}
        # The ranks of tasks that wait for nothing else, as a heap; and of some that no longer count.
        self._ranks: list[int] = []

    def __len__(self) -> int:
        """How many tasks there may be at most that `first` would give, one after another."""
        return len(self._ranks)

    def enter(self, task: int) -> None:
        """A task that has been taken is in the place now."""
        scheduler, elsewhere, lane = self._scheduler, self._elsewhere, self._lane
        lanes = scheduler.lanes
        for dependent in scheduler.dependents[task]:
            if lanes[dependent] != lane:
                continue
            count = elsewhere.get(dependent) or scheduler.missing(dependent)
            if count > 1:
                elsewhere[dependent] = count - 1
            else:
                elsewhere.pop(dependent, None)
                heappush(self._ranks, scheduler.rank(dependent))

    def leave(self, task: int) -> None:
        """A task has left the place without having finished."""
        for dependent in self._scheduler.dependents[task]:
            # Where it is not counted, there may be more in the place: to think too few are does no harm.
            count = self._elsewhere.get(dependent, self._scheduler.missing(dependent) - 1)
            self._elsewhere[dependent] = count + 1

    def first(self) -> int | None:
        """The first task that can be taken ahead, or None."""
        scheduler, ranks = self._scheduler, self._ranks
        while ranks:
            task = scheduler.task_at(ranks[0])
            if task not in self._elsewhere and scheduler.can_go_ahead(task):
                return task
            heappop(ranks)
        return None

    def skip(self) -> None:
        """Give the first no more: it has been taken, or is not wanted here."""
        heappop(self._ranks)
