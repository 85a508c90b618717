"""What becomes of the outcome of a call: a result, another attempt, a graph that grows, or a failure.

A failure stops the execution, unless it is to keep going. What fails while it is being stopped is told in a
note on the failure that it was stopped for, or to the loop; nothing is lost in silence.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Sequence
from types import CoroutineType
from typing import Any

from asyncgraph._graph.arguments import ATOMS
from asyncgraph._graph.node import Node, key_of
from asyncgraph._graph.scheduler import FAILED
from asyncgraph._runtime.growth import Growth
from asyncgraph._runtime.lanes import COROUTINE, RESOURCE
from asyncgraph._runtime.notes import add_note, describe, not_run, path_to
from asyncgraph._runtime.parts import Parts, Whole
from asyncgraph._runtime.preparation import Preparation
from asyncgraph._runtime.straight import UNUSUAL
from asyncgraph.errors import GraphError, SerializationError, WorkerCrashedError
from asyncgraph.executors.safe_text import safe_repr

__all__ = ["OnOutput", "Outcomes"]

OnOutput = Callable[[Node[Any], Any, BaseException | None], None]
"""Called with each requested node when it is over: its value, or its error."""

# When an execution is stopped, what is running in these lanes hears of it.
_TOLD_TO_STOP = (COROUTINE, RESOURCE)


class Outcomes:
    """The outcomes of one execution.

    Args:
        owner: The execution.
        parts: Who has to know of outcomes besides the scheduler.
        preparation: Keeps outcomes while there is nobody to tell.
        keep_going: After a failure, run on all that does not depend on it.
        on_output: Told about each output, in order of arrival.

    Attributes:
        errors: What tasks have failed with.
    """

    def __init__(
        self,
        owner: Whole,
        parts: Parts,
        preparation: Preparation,
        *,
        keep_going: bool,
        on_output: OnOutput | None,
    ) -> None:
        self.errors: dict[int, BaseException] = {}
        self._owner = owner
        self._parts = parts
        self._preparation = preparation
        self._growth = Growth(owner, parts)
        self._keep_going = keep_going
        self._on_output = on_output
        # The task whose failure the execution was stopped for.
        self._failed: int | None = None

    def settle(self, task: int, lane: int, value: Any, error: BaseException | None) -> None:
        """A running task has this outcome."""
        owner, parts = self._owner, self._parts
        if self._preparation.left is not None:
            self._preparation.keep(task, lane, value, error)
            return
        if (
            parts.named is not None
            and issubclass(type(value), Node)
            and parts.named.remotes.bring_for(task, lane, value)
        ):
            return  # it comes back when what it needs is here
        if owner.recorder is not None:
            owner.recorder.outcome(task, value, error)
        if (
            error is None
            and not owner.is_stopping
            and (type(value) in ATOMS or not issubclass(type(value), UNUSUAL))
        ):
            finished = owner.scheduler.finish(task, value)
            if self._on_output is not None:
                self._announce(finished)
            if parts.resources is not None:
                parts.resources.over(finished)
        elif owner.is_stopping:
            self._settle_stopped(task, lane, value, error)
        elif isinstance(error, asyncio.CancelledError):
            # Not by us: the loop is being shut down, and cancels all of its tasks.
            owner.scheduler.stop(task)
            owner.give_up(error)
        elif error is not None:
            self._fail_or_try_again(task, lane, error)
        elif isinstance(value, Node):
            self._expand(task, lane, value)
        else:
            parts.coroutines.add_made(task, value)

    def settle_many(self, tasks: Sequence[int], lane: int, values: list[Any]) -> None:
        """Running tasks have these values."""
        owner = self._owner
        if (
            self._preparation.left is None
            and self._on_output is None
            and self._parts.resources is None
            and owner.recorder is None
            and not owner.is_stopping
            and ATOMS.issuperset(map(type, values))
        ):
            owner.scheduler.finish_many(tasks, values)
            return
        for task, value in zip(tasks, values, strict=True):
            self.settle(task, lane, value, None)

    def fail(self, task: int, lane: int, error: BaseException) -> None:
        """A running task has failed, and is not tried again."""
        owner, parts = self._owner, self._parts
        self._describe(error, task, lane)
        self.errors[task] = error
        failed = [task, *owner.scheduler.fail(task)]
        if parts.named is not None:
            parts.named.remotes.failed(failed)
        if parts.choices is not None and not owner.is_resumable:
            parts.choices.forget(failed)
        if self._keep_going and isinstance(error, Exception):
            self._announce(failed)
            if parts.resources is not None:
                parts.resources.over(failed)
        else:
            self._failed = task if owner.failure is None else self._failed
            owner.give_up(error)

    def closing_failed(self, task: int, error: BaseException) -> None:
        """A resource could not be closed as it should."""
        if isinstance(error, asyncio.CancelledError):
            self._owner.give_up(error)  # not by us
        elif self._owner.is_stopping:
            self._note_late(task, RESOURCE, error)
        else:
            self._describe(error, task, RESOURCE)
            self._failed = task
            self._owner.give_up(error)

    # -- what they were

    def of(self, task: int) -> tuple[Any, BaseException | None]:
        """The outcome of a task that is over."""
        scheduler, nodes = self._owner.scheduler, self._owner.nodes
        if task not in scheduler.behind:
            return scheduler.results[task], None
        origin, error = self.reason_of(task)
        if scheduler.state[task] == FAILED:
            return None, error
        return None, not_run(nodes[task], path_to(task, nodes, scheduler), nodes[origin], error)

    def reason_of(self, task: int) -> tuple[int, BaseException]:
        """The task that a task without a value is behind, perhaps itself, and what that failed with."""
        origin = self._owner.scheduler.behind[task]
        return origin, self.errors[origin]

    def _announce(self, tasks: Iterable[int]) -> None:
        """Tell who waits for single outputs about those among `tasks`, which are over."""
        if self._on_output is None:
            return
        scheduler = self._owner.scheduler
        for task in tasks:
            if task in scheduler.outputs:
                self._on_output(self._owner.nodes[task], *self.of(task))
                scheduler.give_up(task)

    # -- what is no ordinary value

    def _expand(self, task: int, lane: int, root: Node[Any]) -> None:
        """The task's function has returned a node: compute that in its place."""
        try:
            ended = self._growth.grow(task, root)
        except (GraphError, SerializationError) as error:
            self.fail(task, lane, error)
            return
        self._announce(ended)

    def _fail_or_try_again(self, task: int, lane: int, error: BaseException) -> None:
        function, attempts = self._owner.nodes[task]._function, self._parts.attempts
        if isinstance(error, WorkerCrashedError):
            # Worker processes of the runtime's own have had their attempts.
            most = function.crash_retries if lane in self._owner.lanes.named else 0
            is_begun_again = attempts.try_after_crash(task, error, most)
        else:
            is_begun_again = function.retry is not None and attempts.try_again(task, error, function.retry)
        if not is_begun_again:
            self.fail(task, lane, error)

    def _describe(self, error: BaseException, task: int, lane: int) -> None:
        owner = self._owner
        path = path_to(task, owner.nodes, owner.scheduler)
        failed = self._parts.attempts.failed(task)
        describe(error, owner.nodes[task], path, owner.lanes.name_of(lane), failed)

    # -- while it is being stopped

    def _settle_stopped(self, task: int, lane: int, value: Any, error: BaseException | None) -> None:
        failure = None if isinstance(error, asyncio.CancelledError) else error
        if self._owner.is_scheduled:
            is_value = error is None and not issubclass(type(value), UNUSUAL)
            self._end_stopped(task, lane, value, failure, is_value=is_value)
        else:
            way = self._parts.way
            assert way is not None, "nothing else runs without a scheduler"
            finished, running = way.done
            way.done = finished, running - 1
        if type(value) is CoroutineType:
            value.close()
        self._note_late(task, lane, failure)

    def _end_stopped(
        self, task: int, lane: int, value: Any, failure: BaseException | None, *, is_value: bool
    ) -> None:
        owner, scheduler = self._owner, self._owner.scheduler
        # What threads have done behind it counts, too. What comes after that is kept only for a run that
        # goes on; and what a coroutine returns when it is cancelled is no value.
        is_late = owner.has_cancelled and not (owner.is_resumable and lane != COROUTINE)
        if is_value and not is_late:
            scheduler.finish(task, value)
        elif failure is not None and owner.is_resumable:
            self.errors[task] = failure
            scheduler.fail(task)
        else:
            scheduler.stop(task)

    def _note_late(self, task: int, lane: int, failure: BaseException | None) -> None:
        """A task, or what was left of it, has failed in an execution that is being stopped."""
        owner = self._owner
        if failure is None or failure is owner.failure:
            return
        if owner.failure is not None and not isinstance(owner.failure, asyncio.CancelledError):
            self._note_another(task, lane, failure)
        else:
            key = key_of(owner.nodes[task])
            message = f"asyncgraph: node {key} failed while its run was being cancelled"
            owner.loop.call_exception_handler({"message": message, "exception": failure})

    def _note_another(self, task: int, lane: int, error: BaseException) -> None:
        """A node has failed in an execution that is being stopped for the failure of another."""
        first, other = self._owner.failure, self._failed
        assert first is not None
        # Of those that have failed by themselves the first one in the graph counts, whichever was told of
        # first. Others have been told to stop before they failed.
        is_own = lane not in _TOLD_TO_STOP and isinstance(error, Exception)
        if other is not None and task < other and is_own:
            self._describe(error, task, lane)
            self._owner.failure, self._failed = error, task
            self._note_failure_too(error, other, first)
        else:
            self._note_failure_too(first, task, error)

    def _note_failure_too(self, failure: BaseException, task: int, error: BaseException) -> None:
        key = key_of(self._owner.nodes[task])
        about = f"asyncgraph: while the rest was being stopped, node {key} failed too: {safe_repr(error)}"
        add_note(failure, about)
