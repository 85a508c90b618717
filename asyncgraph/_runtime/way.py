"""Who goes the straight way of an execution, on the loop or in a thread, and when the scheduler takes over.

What is done at each step is in `straight`. Here it is decided who takes the next one: runners on the loop, of
which there are more when coroutines are suspended; or a thread, for as long as its calls are too short to be
handed over one by one.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from functools import partial
from typing import Any, Protocol

from asyncgraph._graph.function import Function
from asyncgraph._graph.node import Node
from asyncgraph._graph.plan import Plan
from asyncgraph._runtime.coroutines import Coroutines
from asyncgraph._runtime.lanes import COROUTINE, INLINE, THREAD
from asyncgraph._runtime.owner import Owner
from asyncgraph._runtime.runner import Runner
from asyncgraph._runtime.sightings import DONE, Sighting, handed_over, in_thread
from asyncgraph._runtime.straight import Straight, Stretch, are_tiny
from asyncgraph._runtime.threads import PATIENCE, Threads
from asyncgraph._runtime.urgency import may_be_urgent

__all__ = ["Way", "is_straight"]

# Stretches of fewer nodes cost more to hand over than the scheduler would take; after so many of them, it is
# asked.
_FEW_NODES = 20
_FEW_STRETCHES = 3

_Outcome = tuple[Any, BaseException | None]


class WayOwner(Owner, Protocol):
    """An execution that goes the straight way."""

    def take_over(self, begun: int, running: list[int], values: Mapping[Node[Any], Any]) -> None:
        """Make a scheduler, and go on with that.

        Args:
            begun: So many nodes, the first ones, have been begun.
            running: The numbers of those among them that are running.
            values: The values of the others, as far as they are needed.
        """


def is_straight(lane_of: Mapping[Function, int]) -> bool:
    """Whether the straight way leads anywhere: on the loop, or with threads for tiny calls only.

    Args:
        lane_of: The lane of each function.
    """
    lanes = set(lane_of.values())
    if any(function.is_special for function in lane_of):
        return False
    if lanes <= {INLINE, COROUTINE}:
        return True
    in_threads = [function for function, lane in lane_of.items() if lane == THREAD]
    is_dynamic = any(function.is_dynamic for function in in_threads)
    return lanes <= {INLINE, THREAD} and not is_dynamic and are_tiny(in_threads)


class Way:
    """The straight way of an execution, until it ends or is left.

    Args:
        owner: The execution.
        plan: What to compute.
        given: The values of the first nodes, which are not called.
        lane_of: The lane of each function.
        coroutines: Has the runners.
        threads: Hands work to threads.

    Attributes:
        is_left: Whether the scheduler has taken over, or the execution was stopped.
        done: How many nodes had finished, and how many were running, when it was left.
    """

    def __init__(
        self,
        owner: WayOwner,
        plan: Plan,
        given: Mapping[Node[Any], Any],
        lane_of: Mapping[Function, int],
        coroutines: Coroutines,
        threads: Threads,
    ) -> None:
        self.done = 0, 0
        self.is_left = False
        self._owner = owner
        self._plan = plan
        self._lane_of = lane_of
        self._coroutines = coroutines
        self._threads = threads
        self._in_threads = [function for function, lane in lane_of.items() if lane == THREAD]
        self._straight = Straight(plan, owner.context, given, has_threads=bool(self._in_threads))
        # What a thread has; when it is looked at; and how many were hardly worth it.
        self._stretch: Stretch | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._short_ones = 0
        # From which node on it is asked again whether it may matter who goes first.
        self._asks_at = 0

    @property
    def left(self) -> int:
        """How many nodes have not been begun."""
        return self._straight.left

    def can_begin(self) -> bool:
        """Whether there is a node that can be begun."""
        return self._straight.left > 0 and self._straight.is_next_ready()

    def value_of(self, node: Node[Any]) -> Any:
        """The value of an output, at the end."""
        return self._straight.values[node]

    def counts(self) -> tuple[int, int, int]:
        """How many nodes have finished, how many are running, and how many wait."""
        position, left = self._straight.position, self._straight.left
        if self._stretch is not None:
            running = min(left, 1)
            return position, running, left - running
        running = len(self._running())
        return position - running, running, left

    def begun(self) -> tuple[int, list[int]]:
        """How many nodes have been begun, and which of them are running."""
        if self._stretch is not None:
            at = self._stretch.at
            return (self._stretch.first, []) if at is None else (at + 1, [at])
        return self._straight.position, self._running()

    def sightings(self) -> list[Sighting]:
        """Where the node is that a thread is at, if one is; of others the runners know."""
        stretch, nodes = self._stretch, self._straight.nodes
        task = None if stretch is None else stretch.at
        if stretch is None or task is None:
            return []
        if stretch.last >= 0:
            return [handed_over(stretch.last, nodes[stretch.last], DONE)]
        return [in_thread(task, nodes[task], stretch.thread, stretch.seconds())]

    def following(self, most: int) -> list[tuple[Node[Any], list[Node[Any]]]]:
        """The next nodes, and which of those that each needs have no value yet; so many at most."""
        straight = self._straight
        nodes, first = straight.nodes, straight.position + (self._stretch is not None)
        following = nodes[first : first + most]
        # Whatever a node needs comes before it.
        missing = {*following, *(nodes[seen.task] for seen in self.sightings())}
        missing.update(nodes[task] for task in self._running())
        return [
            (node, [each for each in dict.fromkeys(node._dependencies) if each in missing])
            for node in following
        ]

    # -- on the loop

    def begin(self) -> None:
        """Go on with the next node, where that belongs."""
        if self._straight.is_next_for_thread():
            self._go_on_in_thread()
        else:
            self._coroutines.add_runner(self.walk())

    async def walk(self) -> None:
        """What a runner does: walk, and then go on as all others do."""
        owner, coroutines, straight = self._owner, self._coroutines, self._straight
        runner = coroutines.begun()
        try:
            if not straight.is_left:  # before this began
                # The outcome in no variable: see `Straight.walk`.
                self._walked(runner, await straight.walk(runner, coroutines, owner.slice))
        except GeneratorExit:
            owner.abandon()  # the runner is being thrown away: its loop is gone
            raise
        except BaseException as error:
            owner.runner_failed(error)
        try:
            if owner.is_scheduled and runner.is_clean():
                await coroutines.serve(runner)
            else:
                coroutines.end(runner)
        finally:
            del self, owner, coroutines, straight, runner  # see `Straight.walk`

    def _walked(self, runner: Runner, outcome: _Outcome | None) -> None:
        """A runner has come to where it cannot go on, or to an outcome that is for the scheduler."""
        if outcome is not None:
            self._leave()
            task, runner.task = runner.task, None
            assert task is not None
            value, error = outcome
            error = self._coroutines.error_of(runner, error)
            self._owner.settle(task, self._lane_of[self._straight.nodes[task]._function], value, error)
        elif not self.is_left and self.left:
            if self._straight.is_next_for_thread():
                self._go_on_in_thread()
            else:
                self._leave_if_stalled()

    def see_to_it(self) -> None:
        """Let somebody walk on, if all who do are suspended; or leave, if the scheduler would do better."""
        straight, coroutines = self._straight, self._coroutines
        if self._stretch is not None or coroutines.waiting or not straight.left:
            return
        self._leave_if_stalled()
        if self.is_left or not straight.is_next_ready():
            return
        if self._may_be_urgent():
            self._leave()
            return
        if not coroutines.begin() and not straight.is_next_async:
            self._leave()  # a plain function needs no slot, and there is none

    def _may_be_urgent(self) -> bool:
        """Whether it may matter who goes first, as far as is known by now."""
        # All functions are looked at: no more often than as many nodes have begun.
        if self._straight.position < self._asks_at:
            return False
        self._asks_at = self._straight.position + len(self._lane_of)
        return may_be_urgent(self._plan, self._owner.lanes, self._lane_of)

    def _leave_if_stalled(self) -> None:
        """Let the scheduler see what else can begin, if the next node cannot."""
        # Behind the last node there is nothing else.
        if self.left > 1 and not self._straight.is_next_ready():
            self._leave()

    # -- in a thread

    def _go_on_in_thread(self) -> None:
        straight, owner = self._straight, self._owner
        stretch = Stretch(straight, self._in_threads)
        self._short_ones += stretch.count < min(_FEW_NODES, straight.left)
        if self._short_ones > _FEW_STRETCHES or not owner.claim(THREAD):
            self._leave()
            return
        self._stretch = stretch
        try:
            self._threads.hand(stretch, partial(self._delivered, stretch))
        except Exception as error:
            self._stretch = None
            owner.break_off(error)
            return
        self._look_later(stretch)

    def _look_later(self, stretch: Stretch) -> None:
        # Twice in that time, since a call is slow when it is there for the second time: a thread may wait for
        # longer than that for the interpreter's lock.
        self._timer = self._owner.loop.call_later(PATIENCE / 2, self._look_at, stretch, stretch.at)

    def _look_at(self, stretch: Stretch, was_at: int | None) -> None:
        """A stretch that stays at a node has come to something that is not tiny."""
        if self._stretch is not stretch or self.is_left or self._owner.is_over:
            return
        if was_at is not None and stretch.at == was_at:
            self._leave()
        else:
            self._look_later(stretch)

    def _delivered(self, stretch: Stretch, error: BaseException | None) -> None:
        """A thread is through with a stretch, or could not be had."""
        if self._timer is not None:
            self._timer.cancel()
        if not self.is_left:
            if error is None and stretch.is_usual and not self._owner.is_stopping:
                self._straight.position = stretch.last + 1
                self._stretch = None
                if self._straight.left:
                    self.begin()
                return
            self._leave()
        self._stretch = None
        self._forget_values()
        if error is not None:
            # The executor could not begin; the scheduler's next call will meet that error, too.
            assert stretch.last < 0, "an executor has failed after a call"
        elif stretch.last >= 0:
            node = self._straight.nodes[stretch.last]
            self._owner.settle(stretch.last, self._lane_of[node._function], *stretch.outcome)

    # -- the end of it

    def halt(self) -> None:
        """Begin nothing more, from wherever this is called; `stop` is to follow."""
        self._straight.is_left = True
        if self._stretch is not None:
            self._stretch.take_back()

    def stop(self) -> None:
        """Begin nothing more, in an execution that is being stopped and needs no scheduler."""
        if not self.is_left:
            self._end()
            # Not now: a finalizer may stop it while the arguments of a node are being put together.
            self._owner.loop.call_soon(self._forget_values)

    def _leave(self) -> None:
        """Let the scheduler take over."""
        if self.is_left:
            return
        if self._owner.is_stopping:
            self.stop()
            return
        begun, running = self._end()
        values = self._straight.values.copy()
        for task in running:
            values.pop(self._straight.nodes[task], None)
        self._forget_values()
        self._owner.take_over(begun, running, values)

    def _end(self) -> tuple[int, list[int]]:
        """How many nodes have been begun, and which of them are running; no further one will be."""
        self.is_left = self._straight.is_left = True
        begun, running = self._straight.position, self._running()
        if self._stretch is not None:
            at = self._stretch.take_back()
            begun, running = (self._stretch.first, []) if at is None else (at + 1, [at])
        self.done = begun - len(running), len(running)
        return begun, running

    def _running(self) -> list[int]:
        runners = self._coroutines.runners.copy()
        return [task for runner in runners if (task := runner.task) is not None]

    def _forget_values(self) -> None:
        if self._stretch is None:  # a thread that is at it needs them
            self._straight.values.clear()  # its frames may outlive the run
