"""How far an execution is, and what it is at: for those who look, from any thread and amid anything.

Nothing is changed here, and nothing is kept. What is read may change meanwhile; so each thing is read once.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable
from typing import Any

from asyncgraph._graph.node import Node, key_of
from asyncgraph._graph.scheduler import CANCELLED, FINISHED, RELEASED, RUNNING, STATES, WAITING
from asyncgraph._runtime.lanes import INLINE
from asyncgraph._runtime.parts import Parts, Whole
from asyncgraph._runtime.resources import Holding
from asyncgraph._runtime.sightings import Sighting

__all__ = ["Overview"]


class Overview:
    """A look at one execution.

    Args:
        owner: The execution.
        parts: Who does its work.
    """

    def __init__(self, owner: Whole, parts: Parts) -> None:
        self._owner = owner
        self._parts = parts

    # -- how many nodes

    @property
    def is_planned(self) -> bool:
        """Whether its nodes are those of the plan, in their order, and not yet those that were asked for."""
        return self._owner.is_scheduled or self._parts.way is not None

    def counts(self) -> list[int]:
        """How many nodes are in each of the scheduler's states."""
        owner, way = self._owner, self._parts.way
        if owner.is_scheduled:
            states = bytes(owner.scheduler.state)  # which are counted in a sixth of the time
            counts = [states.count(state) for state in range(len(STATES))]
            counts[RELEASED] += owner.scheduler.renewals
            return counts
        counts = [0] * len(STATES)
        if way is not None and not way.is_left:
            counts[FINISHED], counts[RUNNING], counts[WAITING] = way.counts()
        else:
            counts[FINISHED], counts[RUNNING] = done = self._done
            counts[CANCELLED if owner.is_stopping else WAITING] = len(owner.nodes) - sum(done)
        return counts

    def begun_straight(self) -> tuple[int, list[int]]:
        """How many nodes, the first ones, have been begun on the straight way, and which of them run."""
        way = self._parts.way
        if way is not None and not way.is_left:
            return way.begun()
        finished, running = self._done
        return finished + running, []

    @property
    def _done(self) -> tuple[int, int]:
        """How many nodes the straight way had finished when it was left, and how many it was at."""
        return (0, 0) if self._parts.way is None else self._parts.way.done

    # -- which nodes

    def running_keys(self) -> list[str]:
        """The keys of the nodes that are being computed."""
        nodes, parts = self._owner.nodes, self._parts
        resources = [] if parts.resources is None else parts.resources.running_keys()
        paused = [f"{key_of(nodes[task])} (between attempts)" for task in parts.attempts.waiting()]
        in_executors = map(key_of, parts.running())
        return sorted([*parts.coroutines.running_keys(), *in_executors, *resources, *paused])

    def sightings(self) -> list[Sighting]:
        """Where the nodes are that have been begun; not one that the loop is in itself."""
        return self._parts.sightings()

    def task_on_loop(self) -> int | None:
        """The task that the loop is in itself at this moment, if it is in one."""
        for part in (self._parts.coroutines, self._parts.resources):
            task = None if part is None else part.task_on_loop()
            if task is not None:
                return task
        return self._inline_task() if self._owner.is_scheduled else None

    def _inline_task(self) -> int | None:
        """The task of an inline call that is going on: of those that run, nobody else has it."""
        scheduler, task = self._owner.scheduler, -1
        while True:
            try:
                task = scheduler.state.index(RUNNING, task + 1)
            except ValueError:
                return None
            if scheduler.lanes[task] == INLINE and not self._parts.coroutines.has(task):
                return task

    def task_in(self, thread: int) -> int | None:
        """The task that a thread, which is named by its identifier, is in."""
        seen = (each.task for each in self.sightings() if each.thread == thread)
        return next(seen, None)

    def key_here(self) -> str:
        """The key of the node that this is called from, if that can be told; else nothing."""
        runner = self._parts.coroutines.runner_here()
        if runner is not None:
            return runner.get_name()
        task = self.task_in(threading.get_ident())
        return "" if task is None else key_of(self._owner.nodes[task])

    def following(self, most: int) -> list[tuple[Node[Any], list[Node[Any]]]]:
        """So many at most of the nodes that come next on the straight way, and what each waits for."""
        way = self._parts.way
        return [] if way is None or way.is_left else way.following(most)

    # -- what else

    def paused(self) -> dict[int, float]:
        """The tasks that wait for their next attempt, and for how many more seconds."""
        return self._parts.attempts.waiting()

    def failed_attempts(self, task: int) -> list[str]:
        """What earlier attempts of the task have failed with."""
        return self._parts.attempts.failed(task)

    def holdings(self) -> list[Holding]:
        """The resources that are open."""
        return [] if self._parts.resources is None else self._parts.resources.holdings()

    def begun_elsewhere(self) -> Iterable[tuple[int, float, str]]:
        """The process calls that have begun, as far as has been heard: each with since when, and where."""
        return () if self._parts.processes is None else self._parts.processes.begun()
