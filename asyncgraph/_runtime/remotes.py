"""The results of an execution that are on clusters: which of them stay there, and which come home.

The result of a call on a cluster that only other calls there need stays there, and a `Remote` has its place
among the results. One that is needed on the loop as well is brought home, and calls there use what the
cluster has. What comes to be needed on the loop later, by a node that a function has returned, is brought
home before that node comes into the graph.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from typing import Any

from asyncgraph._graph.node import Node, in_dependency_order, key_of
from asyncgraph._graph.scheduler import FINISHED, READY, RUNNING, WAITING
from asyncgraph._runtime.owner import Guard, Owner
from asyncgraph.errors import GraphError
from asyncgraph.executors.remote import BOTH, HERE, THERE, Remote

__all__ = ["Remotes"]


class Remotes:
    """The results of one execution that are on clusters.

    Args:
        owner: The execution.
    """

    def __init__(self, owner: Owner) -> None:
        self._owner = owner
        self._guard = Guard(owner)
        # What is on a cluster, beside the value here: with how many of its dependents, the first ones, will
        # make no use of it any more.
        self._copies: dict[int, tuple[Remote, int]] = {}
        # Whether there may be anything that is only there: a run that goes on with another has that from it.
        self._has_any = owner.scheduler.holds_inputs
        self._returned: dict[int, _Returned] = {}

    def is_busy(self) -> bool:
        """Whether anything is on its way home."""
        return bool(self._returned)

    def running(self) -> list[Node[Any]]:
        """The nodes that have returned others, for which something is on its way home."""
        return [self._owner.nodes[task] for task in self._returned]

    def cancel(self) -> None:
        """Nothing need come home any more."""
        for returned in list(self._returned.values()):
            for give_up in returned.ways:
                give_up()

    # -- where results are

    def needed(self, task: int, lane: int) -> str:
        """Where the result of a task of this lane is needed."""
        if not self._is_needed_here(task, lane):
            self._has_any = True
            return THERE
        scheduler = self._owner.scheduler
        users = [each for each in scheduler.dependents[task] if not scheduler.is_alias(each)]
        return BOTH if any(scheduler.lanes[each] == lane for each in users) else HERE

    def _is_needed_here(self, task: int, lane: int) -> bool:
        """Whether the result of a task, which is made in this lane, was asked for or is needed in another."""
        scheduler, reached = self._owner.scheduler, [task]
        for each in reached:
            if each in scheduler.outputs:
                return True
            for dependent in scheduler.dependents[each]:
                if scheduler.is_alias(dependent):  # it takes the result over, and passes it on
                    reached.append(dependent)
                elif scheduler.lanes[dependent] != lane:
                    return True
        return False

    def _lane_of(self, task: int) -> int:
        """The lane in which the result of a task is made, also where it has returned a node."""
        scheduler = self._owner.scheduler
        return scheduler.lanes[scheduler.final(task)]

    def note(self, task: int, remote: Remote) -> None:
        """The result of a task is here, and on the cluster as well."""
        self._keep(task, remote, 0)

    def copies(self, task: int, lane: int) -> Mapping[int, Remote] | None:
        """For a task of this lane: what the cluster has of what it needs, beside what is only there."""
        if not self._copies:
            return None
        scheduler = self._owner.scheduler
        return {
            each: self._copies[each][0]
            for each in scheduler.dependencies[task]
            if each in self._copies and scheduler.lanes[each] == lane
        }

    def copy_of(self, task: int) -> Remote | None:
        """What a cluster has of the result of a task that has finished, if it has anything."""
        result = self._owner.scheduler.results[task]
        if type(result) is Remote:
            return result
        known = self._copies.get(task)
        return None if known is None else known[0]

    def used(self, tasks: Iterable[int]) -> None:
        """A call is over that has taken the results of these: let go of what no call is to use any more."""
        for task in tasks:
            if task in self._copies:
                self._keep(task, *self._copies[task])

    def failed(self, tasks: Iterable[int]) -> None:
        """These have failed, or will not run: they use nothing."""
        if self._copies:
            for task in tasks:
                self.used(self._owner.scheduler.dependencies[task])

    def _keep(self, task: int, remote: Remote, passed: int) -> None:
        """Keep what is on the cluster of a result for those of its dependents that are not over.

        Each is passed once, however often this is asked; functions may have returned further ones meanwhile.
        """
        dependents = self._owner.scheduler.dependents[task]
        while passed < len(dependents) and not self._is_to_use(dependents[passed], task):
            passed += 1
        if passed < len(dependents):
            self._copies[task] = remote, passed
        else:
            self._copies.pop(task, None)

    def _is_to_use(self, dependent: int, task: int) -> bool:
        """Whether a dependent of a task takes its result on the cluster, or will."""
        scheduler = self._owner.scheduler
        if scheduler.lanes[dependent] != scheduler.lanes[task] or scheduler.is_alias(dependent):
            return False
        if scheduler.state[dependent] not in (WAITING, READY, RUNNING):
            return False
        # What was added may have become the call of another node since.
        return not scheduler.is_added(dependent) or task in scheduler.dependencies[dependent]

    # -- what comes home later

    def bring_for(self, task: int, lane: int, root: Node[Any]) -> bool:
        """Bring home what a returned node needs here, if that is anything; then the task is settled again.

        Args:
            task: The task whose function has returned it.
            lane: The lane of the task.
            root: The node.
        """
        if not self._has_any or self._owner.is_stopping:
            return False
        wanted = self._wanted(task, root)
        if not wanted:
            return False
        scheduler, nodes = self._owner.scheduler, self._owner.nodes
        returned = self._returned[task] = _Returned(lane, root, wanted)
        for each in wanted:
            scheduler.keep(each)
            executor = self._owner.lanes[self._lane_of(each)].executor
            come = partial(self._come, task, each)
            returned.ways.append(executor.fetch(scheduler.results[each], key_of(nodes[each]), come))
        return True

    def _wanted(self, task: int, root: Node[Any]) -> list[int]:
        """The tasks whose results are on a cluster, and needed here when `task` has returned this node."""
        owner = self._owner
        new = in_dependency_order([root], lambda node: owner.task_of(node) is not None)
        needed: set[int | None] = set()
        known = None if new else owner.task_of(root)
        if known is not None and self._is_needed_here(task, self._lane_of(known)):
            needed.add(known)
        for node in new:
            try:
                lane = owner.lanes.number_of(node._function)
            except GraphError:  # there is no executor of that name, which is told elsewhere
                continue
            tasks = {owner.task_of(each) for each in node._dependencies} - {None}
            needed |= {each for each in tasks if each is None or self._lane_of(each) != lane}
        scheduler = owner.scheduler
        return [
            each
            for each in needed
            if each is not None
            and scheduler.state[each] == FINISHED
            and type(scheduler.results[each]) is Remote
        ]

    def _come(self, task: int, source: int, value: Any, error: BaseException | None) -> None:
        """The result of the task `source` is here."""
        owner, returned = self._owner, self._returned[task]
        with self._guard:
            returned.left -= 1
            if error is not None:
                returned.error = returned.error or error
            elif type(owner.scheduler.results[source]) is Remote:
                owner.scheduler.results[source] = value
            if returned.left:
                return
            del self._returned[task]
            failure = returned.error
            if owner.is_stopping and failure is None:
                failure = asyncio.CancelledError()
            outcome = [(None if failure is not None else returned.root, failure)]
            returned.error = failure = error = None
            # In no variable of a frame that goes on: it would be behind those in a traceback.
            taken = owner.scheduler.dependencies[task]
            owner.settle(task, returned.lane, *outcome.pop())
            self.used(taken)
            for each in returned.sources:
                owner.scheduler.let_go(each)
            owner.begin_others()
        owner.wake()


class _Returned:
    """A node that a function has returned, and for which something is on its way home.

    Attributes:
        lane: The lane of the task.
        root: The node.
        sources: The tasks whose results are on their way.
        left: How many of them are not here yet.
        ways: What gives each of them up.
        error: Why one of them does not come.
    """

    __slots__ = ("error", "lane", "left", "root", "sources", "ways")

    def __init__(self, lane: int, root: Node[Any], sources: list[int]) -> None:
        self.lane = lane
        self.root = root
        self.sources = sources
        self.left = len(sources)
        self.ways: list[Callable[[], object]] = []
        self.error: BaseException | None = None
