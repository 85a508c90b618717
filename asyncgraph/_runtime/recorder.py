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
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextvars import Context
from typing import TYPE_CHECKING, Any, SupportsIndex

from asyncgraph._graph.node import Node
from asyncgraph._graph.scheduler import CANCELLED, FINISHED, RELEASED, WAITING
from asyncgraph._runtime.audience import Audience
from asyncgraph._runtime.observed import View
from asyncgraph._runtime.sizes import size_of
from asyncgraph._runtime.slices import SLICE
from asyncgraph._runtime.teller import (
    ADDED,
    BEGAN,
    CACHED,
    ENDED,
    EXPANDED,
    OUTCOME,
    RETRYING,
    STATE,
    STATES,
    THERE,
    Entry,
    Teller,
)
from asyncgraph.observe.around import made_within

if TYPE_CHECKING:
    from asyncgraph._runtime.execution import Execution

__all__ = ["Recorder", "Timing"]

logger = logging.getLogger("asyncgraph")

# Seconds between two tellings, while there is little to tell; and from how many notes on nothing more begins
# until they have been told. How many are told in a turn of the loop depends on how long observers take.
_PAUSE = 0.02
_MANY = 2000

# What becomes of first states when a run is cancelled before anything has begun: see `planned`.
_CANCEL = bytes([CANCELLED, *range(1, 256)])
assert WAITING == 0

# Kinds of nodes that nothing is put around: nothing of the user's is called.
_NOT_CALLED = ("data", "choice")


class Recorder:
    """Notes what an execution does, and tells its observers.

    Args:
        audience: Who they are.
        loop: The loop of the execution.

    Attributes:
        surrounds: Whether somebody puts something around calls, so that each has to be made by itself.
        is_behind: Whether there is so much to tell that nothing is to begin; the execution is woken then.
    """

    def __init__(self, audience: Audience, loop: asyncio.AbstractEventLoop) -> None:
        self._audience = audience
        self.surrounds = audience.surrounds
        self._loop = loop
        self._log: deque[Entry] = deque()
        self._timer: asyncio.Handle | None = None
        self._teller: Teller | None = None
        self._is_telling = self._has_ended = self._was_cut_short = False
        self.is_behind = False
        # Observers are told in a context of their own, wherever that is: it may be in the midst of a node.
        self._context = Context()
        # A note of many changes that is being told.
        self._unfolding: Iterator[Entry] | None = None
        # The states of all tasks before anything has begun: released, if there is a value; else waiting.
        self._first = b""
        self._look: Callable[[], Iterable[tuple[int, float, str]]]
        self._view: View
        self._execution: Execution | None = None

    def begin(self, view: View, execution: Execution) -> None:
        """From now on there are a run, and an execution of it, to tell of."""
        self._view, self._execution = view, execution
        self._teller = Teller(self._audience.tell, self._audience.wanted, view, execution)
        self._look = execution.overview.begun_elsewhere
        self._arm()

    # -- what is noted

    def states(self, states: list[int]) -> list[int]:
        """The same states, as a list that notes each change."""
        return _NotedStates(states, self._log)

    def planned(
        self,
        nodes: Sequence[Node[Any]],
        dependencies: Sequence[tuple[int, ...]],
        outputs: Iterable[int],
        given: int = 0,
    ) -> None:
        """These are all nodes that there are at first; so many, the first ones, have been given values."""
        now = time.perf_counter()
        self._log.append((ADDED, now, 0, (nodes, dependencies, None), tuple(outputs)))
        self._first = bytes([RELEASED]) * given + bytes([WAITING]) * (len(nodes) - given)
        if given:
            self._log.append((THERE, now, 0, self._first, None))

    def there_already(self, states: Sequence[int]) -> None:
        """What has finished in an earlier run, after which these are the states, has its value already."""
        done = (FINISHED, RELEASED)
        self._first = bytes([RELEASED if state in done else WAITING for state in states])
        self._log.append((THERE, time.perf_counter(), 0, self._first, None))

    def cancelled_before(self) -> None:
        """The execution is stopped, and nothing of it has begun; its scheduler does not count."""
        self._log.append((STATES, time.perf_counter(), 0, self._first, self._first.translate(_CANCEL)))

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
        told = None if isinstance(error, asyncio.CancelledError) else error
        size = 0 if error is not None else size_of(value)
        self._log.append((OUTCOME, time.perf_counter(), task, size, told))
        if len(self._log) > _MANY and not self.is_behind:
            self._fall_behind()

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

    def began_there(self, task: int, began: float, worker: str) -> None:
        """The call of a task began then, on the worker of a cluster."""
        self._log.append((BEGAN, began, task, worker, None))

    def took(self, task: int, began: float, ended: float, worker: str, size: int | None) -> None:
        """The call of a task began and ended then, in a worker process; its value has this size, if known."""
        self._log.append((BEGAN, began, task, worker, None))
        self._log.append((ENDED, ended, task, size, None))

    # -- what is told

    def has_told_all(self) -> bool:
        """Tell a portion, before the end; whether nothing is left."""
        self._tell()
        return self._has_ended or not (self._log or self._unfolding)

    def close(self) -> None:
        """The execution is over, or nothing more can be told of it."""
        self._has_ended = True
        if self._timer is not None:
            self._timer.cancel()
        self._log.clear()
        self._unfolding = None
        execution, self._teller, self._execution = self._execution, None, None
        if self.is_behind and execution is not None:
            self.is_behind = False
            execution.wake()

    def _fall_behind(self) -> None:
        """Let nothing more begin until most has been told; what has begun goes on."""
        if self._has_ended:  # there is nobody to tell: what is noted is dropped now and then
            self._log.clear()
        elif self._teller is not None:
            self.is_behind = True
            if self._timer is not None:
                self._timer.cancel()
            self._timer = self._loop.call_soon(self._tick, context=Context())

    def _arm(self) -> None:
        # An empty context: a timer would keep the context of whoever happened to begin the run.
        self._timer = self._loop.call_later(_PAUSE, self._tick, context=Context())

    def _tick(self) -> None:
        try:
            self._tell()
        finally:  # Ctrl-C may strike in an observer
            if self._execution is not None:
                if self._was_cut_short:
                    self._timer = self._loop.call_soon(self._tick, context=Context())
                else:
                    self._arm()
                    if self.is_behind:
                        self.is_behind = False
                        self._execution.wake()

    def _tell(self) -> None:
        """Tell a portion of what there is to tell."""
        if self._teller is None or self._is_telling:  # an observer may do what is noted
            return
        self._is_telling = True
        try:
            self._context.run(self._tell_portion, self._teller)
        except Exception:
            # A fault of ours must not harm the run.
            logger.exception("asyncgraph failed to tell observers of %r; please report this", self._view)
            self.close()
        finally:
            self._is_telling = False

    def _tell_portion(self, teller: Teller) -> None:
        until = time.perf_counter() + SLICE
        self._was_cut_short = False
        while not self._was_cut_short and (entry := self._next()) is not None:
            teller.tell(entry)
            self._was_cut_short = time.perf_counter() >= until
        if not (self._log or self._unfolding):
            # Calls in worker processes that have begun, as far as has been heard, and go on.
            for task, since, worker in self._look():
                teller.has_begun(task, since, worker)

    def _next(self) -> Entry | None:
        """The first note that has not been told."""
        while True:
            if self._unfolding is not None:
                entry = next(self._unfolding, None)
                if entry is not None:
                    return entry
                self._unfolding = None
            if not self._log:
                return None
            entry = self._log.popleft()
            if entry[0] != STATES and entry[0] != THERE:
                return entry
            self._unfolding = self._unfolded(*entry)

    def _unfolded(
        self, what: int, when: float, _: int, before: bytes, after: bytes | None
    ) -> Iterator[Entry]:
        """One note for each task that a note of many is about."""
        if after is not None:
            for task, (old, new) in enumerate(zip(before, after, strict=True)):
                if old != new:
                    yield STATE, when, task, old, new
            return
        for task, state in enumerate(before):
            if state == RELEASED:
                execution = self._execution
                known = execution is not None and execution.is_scheduled
                value = execution.scheduler.results[task] if known and execution is not None else None
                yield CACHED, when, task, 0 if value is None else size_of(value), None


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

    def ended(self, size: int | None = None) -> None:
        """It has ended now, with a value of this size, if that is known already."""
        self._log.append((ENDED, time.perf_counter(), self._task, size, None))


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
        # Of many at once in one note, which is unfolded when it is told: there may be a million.
        before = bytes([*self])
        list.__setitem__(self, index, state)
        self._log.append((STATES, time.perf_counter(), 0, before, bytes([*self])))
