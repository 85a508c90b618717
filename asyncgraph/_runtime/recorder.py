"""The record of an execution that is observed: what has happened, in a few words, until it is told.

Whoever does something notes it here: the list of the scheduler's states each change, threads when a call has
begun and ended, the execution what has come of it. To note takes a fraction of a microsecond and calls
nobody. What was noted becomes events a little later, on the loop, in portions (see `teller`). An execution
that nobody observes has no recorder.
"""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextvars import Context
from typing import TYPE_CHECKING, Any, SupportsIndex

from asyncgraph._graph.node import Node
from asyncgraph._graph.scheduler import CANCELLED, FINISHED, RELEASED, WAITING, Scheduler
from asyncgraph._runtime.audience import Audience
from asyncgraph._runtime.observed import View
from asyncgraph._runtime.sizes import size_of
from asyncgraph._runtime.teller import (
    ADDED,
    BEGAN,
    CACHED,
    ENDED,
    EXPANDED,
    OUTCOME,
    RETRYING,
    STATE,
    Entry,
    Teller,
)
from asyncgraph.observe.around import made_within

if TYPE_CHECKING:
    from asyncgraph._runtime.execution import Execution

__all__ = ["Recorder", "Timing"]

logger = logging.getLogger("asyncgraph")

# Seconds between two tellings, while there is little to tell; how many entries are told at once, which takes
# a millisecond or two; and from how many on that is done at once.
_PAUSE = 0.02
_PORTION = 500
_MANY = 1000

# Kinds of nodes that nothing is put around: nothing of the user's is called.
_NOT_CALLED = ("data", "choice")


class Recorder:
    """Notes what an execution does, and tells its observers.

    Args:
        audience: Who they are.
        loop: The loop of the execution.

    Attributes:
        surrounds: Whether somebody puts something around calls, so that each has to be made by itself.
    """

    def __init__(self, audience: Audience, loop: asyncio.AbstractEventLoop) -> None:
        self._audience = audience
        self.surrounds = audience.surrounds
        self._loop = loop
        self._log: deque[Entry] = deque()
        self._timer: asyncio.Handle | None = None
        self._teller: Teller | None = None
        self._is_telling = False
        # The tasks that are to be run, as far as is known before anything begins.
        self._open: Iterable[int] = ()
        self._look: Callable[[], Iterable[tuple[int, float, str]]]
        self._view: View
        self._execution: Execution | None = None

    def begin(self, view: View, execution: Execution) -> None:
        """From now on there are a run, and an execution of it, to tell of."""
        self._view, self._execution = view, execution
        self._teller = Teller(self._audience.tell, self._audience.wanted, view, execution)
        self._look = execution.begun_elsewhere
        self._arm()

    # -- what is noted

    def states(self, states: list[int]) -> list[int]:
        """The same states, as a list that notes each change."""
        return _NotedStates(states, self._log)

    def planned(
        self, nodes: Sequence[Node[Any]], dependencies: Sequence[tuple[int, ...]], outputs: Any
    ) -> None:
        """These are all nodes that there are at first."""
        self._open = range(len(nodes))
        self._log.append((ADDED, time.perf_counter(), 0, (nodes, dependencies, None), tuple(outputs)))

    def cancelled_before(self) -> None:
        """The execution is stopped, and nothing of it has begun; its scheduler does not count."""
        now = time.perf_counter()
        self._log.extend([(STATE, now, task, WAITING, CANCELLED) for task in self._open])

    def there_already(self, scheduler: Scheduler) -> None:
        """What has finished in an earlier run has its value from the beginning."""
        now = time.perf_counter()
        done = [task for task, state in enumerate(scheduler.state) if state in (FINISHED, RELEASED)]
        for task in done:
            self._log.append((CACHED, now, task, size_of(scheduler.results[task]), None))
        self._open = set(self._open).difference(done)

    def mark(self) -> int:
        """The place at which `expanded` is to be noted: before what follows from it."""
        return len(self._log)

    def expanded(
        self,
        mark: int,
        task: int,
        root: int,
        nodes: Mapping[Node[Any], int],
        edges: Sequence[tuple[int, ...]],
    ) -> None:
        """A task has returned the node of the task `root`, and with it came these nodes, with these edges."""
        now = time.perf_counter()
        new = list(nodes.items())
        self._log.insert(mark, (EXPANDED, now, task, root, None))
        if new:
            self._log.insert(mark, (ADDED, now, task, (new, edges, task), ()))

    def outcome(self, task: int, value: Any, error: BaseException | None) -> None:
        """A running task has this outcome."""
        self._log.append(
            (OUTCOME, time.perf_counter(), task, 0 if error is not None else size_of(value), None)
        )
        if len(self._log) > _MANY:
            self._tell(_PORTION)

    def retrying(self, task: int, number: int, error: str, pause: float) -> None:
        """So many attempts of a task have failed, the last one like this; `pause` seconds are left."""
        self._log.append((RETRYING, time.perf_counter(), task, (number, error), pause))

    def began(self, task: int, worker: str) -> None:
        """The call of a task begins now, as far as is known."""
        self._log.append((BEGAN, time.perf_counter(), task, worker, None))

    def timing(self, task: int, call: Callable[..., Any] | None = None) -> Timing:
        """What notes, in a thread, when the call of a task begins and ends; and what is called there."""
        return Timing(self._log, task, None if call is None else self.around(task, call))

    def around(self, task: int, call: Callable[..., Any], *, is_awaited: bool = False) -> Callable[..., Any]:
        """What is to be called in place of `call`, which is for a task; to be asked on the loop.

        Args:
            task: The task.
            call: The call.
            is_awaited: Whether that gives something to await.
        """
        execution, teller = self._execution, self._teller
        if not self.surrounds or execution is None or teller is None:
            return call
        info = teller.describe(task, execution.nodes[task], execution.scheduler.dependencies[task])
        if info.kind in _NOT_CALLED:
            return call
        innermost = call
        for manager in self._audience.around(self._view, info, call):
            innermost = made_within(manager, info.key, innermost, is_awaited=is_awaited)
        return innermost

    def took(self, task: int, began: float, ended: float, worker: str) -> None:
        """The call of a task began and ended then, in a worker process."""
        self._log.append((BEGAN, began, task, worker, None))
        self._log.append((ENDED, ended, task, None, None))

    # -- what is told

    def has_told_all(self) -> bool:
        """Tell a portion, before the end; whether nothing is left."""
        self._tell(_PORTION)
        return not self._log

    def close(self) -> None:
        """The execution is over."""
        if self._timer is not None:
            self._timer.cancel()
        self._log.clear()
        self._teller = self._execution = None

    def _arm(self) -> None:
        # An empty context: a timer would keep the context of whoever happened to begin the run.
        self._timer = self._loop.call_later(_PAUSE, self._tick, context=Context())

    def _tick(self) -> None:
        if self._teller is None:
            return
        self._tell(_PORTION)
        self._tell_of_those_elsewhere()
        if len(self._log) > _PORTION:
            self._timer = self._loop.call_soon(self._tick, context=Context())
        else:
            self._arm()

    def _tell_of_those_elsewhere(self) -> None:
        """Tell of calls in worker processes that have begun, as far as has been heard, and go on."""
        if self._teller is not None and not self._log:
            for task, since, worker in self._look():
                self._teller.has_begun(task, since, worker)

    def _tell(self, most: int) -> None:
        log, teller = self._log, self._teller
        if teller is None or self._is_telling:  # an observer may do what is noted
            return
        self._is_telling = True
        try:
            for _ in range(min(most, len(log))):
                teller.tell(log.popleft())
        except Exception:
            # A fault of ours must not harm the run.
            logger.exception("asyncgraph failed to tell observers of %r; please report this", self._view)
            log.clear()
            self.close()
        finally:
            self._is_telling = False


class Timing:
    """Notes when the call of a task begins and ends, in the thread that makes it.

    Attributes:
        call: What is to be called, if that is not the function itself.
    """

    __slots__ = ("_log", "_task", "call")

    def __init__(self, log: deque[Entry], task: int, call: Callable[..., Any] | None) -> None:
        self._log = log
        self._task = task
        self.call = call

    def began(self) -> None:
        """It begins now, in this thread."""
        worker = f"thread {threading.current_thread().name.rpartition('-')[2]}"
        self._log.append((BEGAN, time.perf_counter(), self._task, worker, None))

    def ended(self) -> None:
        """It has ended now."""
        self._log.append((ENDED, time.perf_counter(), self._task, None, None))


class _NotedStates(list[int]):
    """The scheduler's states, which note each change: so the scheduler need not know that it is observed."""

    __slots__ = ("_log",)

    def __init__(self, states: list[int], log: deque[Entry]) -> None:
        super().__init__(states)
        self._log = log

    def __setitem__(self, index: SupportsIndex | slice, state: Any) -> None:
        if type(index) is int:
            self._log.append((STATE, time.perf_counter(), index, self[index], state))
            list.__setitem__(self, index, state)
            return
        before = [*self]
        list.__setitem__(self, index, state)
        now = time.perf_counter()
        for task, (old, new) in enumerate(zip(before, self, strict=True)):
            if old != new:
                self._log.append((STATE, now, task, old, new))
