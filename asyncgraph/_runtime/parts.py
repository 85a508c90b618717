"""The parts of an execution that do its work, each for one way in which nodes run.

Most graphs need few of them: those that only some graphs need are made when the first node of that kind is
known. What is asked of all of them, whoever is there, is asked here.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Protocol

from asyncgraph._graph.node import Node
from asyncgraph._runtime.attempts import Attempts
from asyncgraph._runtime.choices import Choices
from asyncgraph._runtime.coroutines import Coroutines
from asyncgraph._runtime.lanes import PROCESS
from asyncgraph._runtime.places import Places
from asyncgraph._runtime.remains import Remains
from asyncgraph._runtime.resources import Holder, Resources
from asyncgraph._runtime.sightings import Sighting
from asyncgraph._runtime.threads import Threads
from asyncgraph._runtime.way import Way, WayOwner

if TYPE_CHECKING:
    from asyncgraph._runtime.named import Named
    from asyncgraph._runtime.processes import Processes

__all__ = ["Parts", "Whole"]


class Whole(Holder, WayOwner, Protocol):
    """An execution, as it is seen by what plans it, says what begins, and settles what comes of that.

    Attributes:
        places: The nodes and their tasks, once there is a scheduler.
        is_resumable: Whether it is to leave something that another can go on with, if it does not finish.
        has_cancelled: Whether the scheduler has been told that it is being stopped.
    """

    places: Places
    is_resumable: bool
    has_cancelled: bool

    def note_queues(self) -> None:
        """The scheduler is there, or has got new tasks: there may be new queues."""

    def give_up(self, failure: BaseException) -> None:
        """Stop, because of this failure if there is none yet."""


class Parts:
    """Those who do the work of one execution.

    Args:
        owner: The execution.
        stops_at_failure: Whether nothing more is to begin after a failure.

    Attributes:
        attempts: The attempts of nodes.
        coroutines: Runs coroutines.
        threads: Runs thread calls.
        way: The straight way, also when it has been left; None if it does not go that way.
        processes: Runs process calls, if there are any.
        named: Runs calls in executors of the user's, if there are any.
        choices: The choices that are to be made, if there are any.
        resources: Opens and closes resources, if there are any.
    """

    def __init__(self, owner: Whole, *, stops_at_failure: bool) -> None:
        self._owner = owner
        self.attempts = Attempts(owner)
        self.coroutines = Coroutines(owner)
        self.threads = Threads(owner, self.coroutines, stops_at_failure=stops_at_failure)
        self.way: Way | None = None
        self.processes: Processes | None = None
        self.named: Named | None = None
        self.choices: Choices | None = None
        self.resources: Resources | None = None

    # -- who is needed

    def go_on_with(self, remains: Remains) -> None:
        """Take over what another execution has left."""
        self.choices = remains.choices and remains.choices.of(self._owner)
        self.resources = remains.resources and remains.resources.of(self._owner)

    def note(self, tasks: Sequence[int]) -> None:
        """Do for these tasks, which are new, what those need that are to be treated in some special way."""
        owner = self._owner
        named, lanes = owner.lanes.named, owner.scheduler.lanes
        for task in tasks:
            function = owner.nodes[task]._function
            if function.retry is not None or (function.crash_retries and lanes[task] in named):
                owner.scheduler.hold_inputs(task)
            if function.is_choice:
                self.choices = self.choices or Choices(owner)
                self.choices.add(task)
            if function.is_resource:
                self.resources = self.resources or Resources(owner)
        if self.resources is not None:
            self.resources.note(tasks)

    def add_for_lanes(self) -> None:
        """Make those who run the calls of lanes that have come up."""
        owner, ready = self._owner, self._owner.scheduler.ready
        if PROCESS in ready and self.processes is None:
            # Pickling and all that is no business of a service that has no such calls.
            from asyncgraph._runtime.processes import Processes

            self.processes = Processes(owner)
        lanes = owner.lanes.named
        if self.named is None and lanes and not ready.keys().isdisjoint(lanes):
            from asyncgraph._runtime.named import Named

            self.named = Named(owner, lanes)

    # -- what is going on

    def is_busy(self) -> bool:
        """Whether anything is running."""
        if self.coroutines.runners or self.threads.is_busy():
            return True
        if self.resources is not None and self.resources.is_busy():
            return True
        if self.named is not None and self.named.is_busy():
            return True
        return self.processes is not None and self.processes.is_busy()

    def running(self) -> list[Node[Any]]:
        """The nodes that executors have, of whatever kind."""
        in_processes = [] if self.processes is None else self.processes.running()
        in_named = [] if self.named is None else self.named.running()
        return [*in_processes, *self.threads.running(), *in_named]

    def sightings(self) -> list[Sighting]:
        """Where the nodes are that have been begun; not one that the loop is in itself."""
        parts = self.coroutines, self.threads, self.processes, self.named, self.resources, self.way
        return [each for part in parts if part is not None for each in part.sightings()]

    # -- stopping

    def stop_straight(self) -> None:
        """Go no further on the straight way."""
        if self.way is not None:
            self.way.stop()

    def begin_nothing(self) -> None:
        """Let nothing more begin, from wherever this is called; all that stops the work is to follow."""
        if self.way is not None:
            self.way.halt()
        self.threads.begin_nothing()

    def halts(self) -> list[Callable[[], object]]:
        """What lets nothing more begin; to be called before the scheduler is told to cancel."""
        return [self.attempts.cancel, self.threads.halt]

    def cancels(self) -> list[Callable[[], object]]:
        """What stops the work that goes on, and forgets what has not begun; to be called after that."""
        in_executors = [part.cancel for part in (self.processes, self.named) if part is not None]
        resources = [] if self.resources is None else [self.resources.cancel]
        return [*in_executors, self.coroutines.drop, self.coroutines.cancel, *resources]

    def stop_again(self) -> None:
        """All this has been called, and Ctrl-C may have struck amid anything since."""
        if self.processes is not None:
            self.processes.cancel()

    def cut_short(self) -> None:
        """Wait for nothing that cleans up, nor for runners that Ctrl-C has kept from saying that they end."""
        if self.resources is not None:
            self.resources.cut_short()
        self.coroutines.forget_ended()

    def close(self) -> None:
        """The execution is over."""
        self.threads.close()
        if self.named is not None:
            self.named.close()

    def silence(self) -> None:
        """The loop is gone: nobody need complain of what has not ended."""
        self.coroutines.silence()
        if self.resources is not None:
            self.resources.silence()
