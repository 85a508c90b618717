"""Recording: an observer that keeps what has happened, for those who look at a run as a whole.

It decides what is kept and for how long; `recorded.py` is the form in which it is kept. Reports, traces and
pictures are made from it, when a run is over or while it is going on.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterator
from math import isnan
from typing import Any

from asyncgraph.observe.drawing.model import Mark
from asyncgraph.observe.events import (
    NodeCached,
    NodeCancelled,
    NodeExpanded,
    NodeFailed,
    NodeFinished,
    NodeInfo,
    NodeNotRun,
    NodeReady,
    NodeReleased,
    NodeRetrying,
    NodesAdded,
    NodeStarted,
    ObservedRun,
    RunFinished,
    RunStarted,
    WorkerLost,
    WorkerStarted,
)
from asyncgraph.observe.failures import LONGEST_MESSAGE, cut_text, failure_of
from asyncgraph.observe.observer import Observer
from asyncgraph.observe.ordering import in_order
from asyncgraph.observe.recorded import (
    CANCELLED,
    FAILED,
    FINISHED,
    NOT_RUN,
    READY,
    RUNNING,
    STATES,
    WAITING,
    RecordedCall,
    RecordedGrowth,
    RecordedRun,
    RecordedWorker,
)

__all__ = ["Recording", "marks_of_run"]

# Nodes of a large graph are looked at a few with each event: all at once would hold up the loop.
_AT_ONCE = 8

# To format a traceback takes some 100 us, and reads source files: only the first failures of a run have one.
_TRACEBACKS = 50

# So many worker processes are remembered.
_WORKERS = 1_000


class Recording(Observer):
    """Keeps what happens in each run that it is told of: times, workers, sizes and failures of all nodes.

    It keeps no argument, no value, no exception and no frame; failures are kept as text. A node takes about
    90 bytes and each of its edges 4, and it adds a few microseconds to each node of a run.

    Args:
        most: Keep so many nodes at most, of all runs together. To make room, runs that are over are
            forgotten, the oldest first; of a run that is too large by itself, the first nodes are kept, and
            the others are counted in its `omitted`. None keeps all.

    Raises:
        TypeError: `most` is no whole number.
        ValueError: `most` is below 1.

    Attributes:
        runs: The runs that are kept, in the order in which they began.
        workers: The worker processes that came while runs were going on, the last 1000.

    Example:
        >>> from asyncgraph import delayed
        >>> from asyncgraph.observe import Recording
        >>> with Recording() as recording:
        ...     await delayed(sum, name="total")([1, 2]).compute()
        3
        >>> run = recording.runs[-1]
        >>> run.state, len(run)
        ('finished', 1)
        >>> run[0].info.key, run[0].state
        ('total-1', 'finished')
    """

    def __init__(self, *, most: int | None = None) -> None:
        if most is not None:
            _check_most(most)
        self.runs: list[RecordedRun] = []
        self.workers: deque[RecordedWorker] = deque(maxlen=_WORKERS)
        self._most = most
        self._open: dict[int, RecordedRun] = {}
        # Nodes that have not been looked at, of runs that are going on.
        self._unseen: dict[int, Iterator[NodeInfo]] = {}
        self._finished: dict[int, int] = {}
        # Runs that had begun before this was told of them: their nodes are heard of one by one.
        self._late: set[int] = set()
        # How much is kept: nodes, calls, and one for each run.
        self._kept = 0
        self._handlers: dict[type[Any], Callable[[Any], None]] = {
            RunStarted: self._run_started,
            NodesAdded: self._nodes_added,
            NodeReady: self._ready,
            NodeStarted: self._started,
            NodeRetrying: self._retrying,
            NodeExpanded: self._expanded,
            NodeCached: self._cached,
            NodeFinished: self._has_finished,
            NodeFailed: self._failed,
            NodeNotRun: self._not_run,
            NodeCancelled: self._cancelled,
            NodeReleased: self._released,
            RunFinished: self._run_finished,
            WorkerStarted: self._worker_started,
            WorkerLost: self._worker_lost,
        }

    def __call__(self, event: Any) -> None:
        """Keep what an event says."""
        self._handlers[type(event)](event)
        if self._unseen:
            self._look(_AT_ONCE)

    def run_of(self, id: int) -> RecordedRun | None:
        """The run with this id (see `ObservedRun`), if it is kept."""
        return self._open.get(id) or next((run for run in self.runs if run.id == id), None)

    def marks(self) -> dict[str, Mark]:
        """What a picture shows of each node, by key; of nodes of several runs, that of the last.

        Of runs that are going on, it is how far they are.
        """
        marks: dict[str, Mark] = {}
        self.look()
        for run in self.runs:
            marks.update(marks_of_run(run))
        return marks

    def clear(self) -> None:
        """Forget the runs that are over, and the workers that are gone."""
        for run in [run for run in self.runs if run.ended is not None]:
            self._forget(run)
        self.workers = deque((each for each in self.workers if each.lost is None), maxlen=_WORKERS)

    def look(self, most: int | None = None) -> None:
        """Look at all nodes that have come: of a large graph that is going on, some are not known yet.

        Args:
            most: Look at so many more, and leave the others for later; it takes some microseconds a node.
        """
        if most is None:
            for id in [*self._unseen]:
                self._look_at(id)
        elif self._unseen:
            self._look(most)

    # -- runs

    def _run_started(self, event: RunStarted) -> None:
        self._of(event.run).slots = _slots_of(event.run.runtime)

    def _of(self, run: ObservedRun) -> RecordedRun:
        """The record of a run; a new one, if this is the first that is heard of it."""
        kept = self._open.get(run.id)
        if kept is None:
            outer = run.outer and (run.outer[0].id, run.outer[1])
            kept = RecordedRun(run, run.id, run.name, run.began, run.wall_time, outer)
            self._open[run.id] = kept
            self._finished[run.id] = 0
            self._room_for(1)
            self._kept += 1
            self.runs.append(kept)
        return kept

    def _run_finished(self, event: RunFinished) -> None:
        run = self._of(event.run)
        self._look_at(run.id)
        run.state, run.ended, run.run = event.state, event.time, None
        if event.error is not None:
            run.error = failure_of(-1, event.time, event.error, with_traceback=True)
        del self._open[run.id], self._finished[run.id]
        self._late.discard(run.id)

    # -- nodes that come

    def _nodes_added(self, event: NodesAdded) -> None:
        run, nodes = self._of(event.run), event.nodes
        self._look_at(run.id)
        if event.source is None:
            run.outputs = event.outputs
            source, new = None, len(nodes)
        else:
            # One of them may take the place of the node that has returned it.
            source, new = event.source.number, sum(node.number >= len(run) + run.omitted for node in nodes)
        run.growth.append(RecordedGrowth(event.time, source, len(run) + run.omitted, new))
        self._grow(run, new)
        self._unseen[run.id] = iter(nodes)

    def _grow(self, run: RecordedRun, new: int) -> None:
        kept = 0 if run.omitted else min(new, self._room_for(new))
        run.omitted += new - kept
        run.grow(kept)
        self._kept += kept

    def _room_for(self, count: int) -> int:
        """Forget runs that are over until there is room for so many nodes; how many there is room for."""
        if self._most is None:
            return count
        while self._most - self._kept < count:
            oldest = next((run for run in self.runs if run.ended is not None), None)
            if oldest is None:
                break
            self._forget(oldest)
        return max(self._most - self._kept, 0)

    def _forget(self, run: RecordedRun) -> None:
        self.runs.remove(run)
        self._kept -= 1 + len(run) + len(run.calls)

    def _look(self, most: int) -> None:
        id, nodes = next(iter(self._unseen.items()))
        run = self._open[id]
        put, length = run.infos.put, len(run)
        for _ in range(most):
            info = next(nodes, None)
            if info is None:
                del self._unseen[id]
                return
            if info.number < length:
                put(info)

    def _look_at(self, id: int) -> None:
        nodes = self._unseen.pop(id, ())
        run = self._open[id]
        for info in nodes:
            if info.number < len(run):
                run.infos.put(info)

    # -- nodes

    def _at(self, event: Any) -> tuple[RecordedRun | None, int]:
        """The run and the number that an event is about; no run, if that node is not kept."""
        run = self._open.get(event.run.id)
        if run is None:
            run = self._of(event.run)
            self._late.add(run.id)
        number: int = event.node.number
        if number >= len(run.states):
            if run.omitted or not self._has_come_late(run, event.node):
                return None, number
        elif self._late and run.id in self._late and run.infos.kind_of[number] < 0:
            run.infos.put(event.node)
        return run, number

    def _has_come_late(self, run: RecordedRun, node: NodeInfo) -> bool:
        """Keep a node of a run that had begun before this was told of it; whether there was room."""
        self._grow(run, node.number + 1 - len(run))
        if run.omitted:
            return False
        run.infos.put(node)
        return True

    def _ready(self, event: NodeReady) -> None:
        run, number = self._at(event)
        if run is not None:
            run.states[number] = READY
            run.ready[number] = event.time

    def _started(self, event: NodeStarted) -> None:
        run, number = self._at(event)
        if run is not None:
            run.states[number] = RUNNING
            run.starts[number] = event.time
            run.attempts[number] = event.attempt
            run.workers[number] = run.worker_index(event.worker)

    def _retrying(self, event: NodeRetrying) -> None:
        run, number = self._at(event)
        if run is not None:
            run.states[number] = WAITING
            self._keep_call(run, event, event.attempt, cut_text(event.error, LONGEST_MESSAGE), event.pause)

    def _expanded(self, event: NodeExpanded) -> None:
        run, number = self._at(event)
        if run is None:
            return
        run.states[number] = WAITING
        if event.root.number == number:
            self._keep_call(run, event, run.attempts[number], "", 0.0)
            run.ready[number] = run.starts[number] = run.ends[number] = float("nan")
        else:
            run.roots[number] = event.root.number
            self._was_called(run, number, event)

    def _keep_call(self, run: RecordedRun, event: Any, attempt: int, error: str, pause: float) -> None:
        node, began, ended, worker = event.node, event.began, event.time, event.worker
        if self._room_for(1):
            call = RecordedCall(node.number, node.key, node.name, began, ended, worker, attempt, error, pause)
            run.calls.append(call)
            self._kept += 1

    def _cached(self, event: NodeCached) -> None:
        run, number = self._at(event)
        if run is not None:
            run.ends[number], run.sizes[number] = event.time, event.size
            self._in_order(run, number)

    def _has_finished(self, event: NodeFinished) -> None:
        run, number = self._at(event)
        if run is None:
            return
        run.sizes[number] = event.size
        if number in run.roots:
            run.came[number] = event.time
        else:
            self._was_called(run, number, event)
        self._in_order(run, number)

    def _in_order(self, run: RecordedRun, number: int) -> None:
        run.states[number] = FINISHED
        run.orders[number] = order = self._finished[run.id]
        self._finished[run.id] = order + 1

    def _was_called(self, run: RecordedRun, number: int, event: Any) -> None:
        run.ends[number] = event.time
        if event.began is not None:
            run.starts[number] = event.began
            run.workers[number] = run.worker_index(event.worker)

    def _failed(self, event: NodeFailed) -> None:
        run, number = self._at(event)
        if run is None:
            return
        run.states[number] = FAILED
        if number in run.roots:
            run.came[number] = event.time
        else:
            self._was_called(run, number, event)
        if event.root is None:
            has_room = len(run.failures) < _TRACEBACKS
            run.failures.append(failure_of(number, event.time, event.error, with_traceback=has_room))

    def _not_run(self, event: NodeNotRun) -> None:
        run, number = self._at(event)
        if run is None:
            return
        run.states[number] = NOT_RUN
        run.behind[number] = event.behind.number
        if number in run.roots:
            run.came[number] = event.time
        else:
            run.ends[number] = event.time

    def _cancelled(self, event: NodeCancelled) -> None:
        run, number = self._at(event)
        if run is None:
            return
        run.states[number] = CANCELLED
        if number not in run.roots:
            self._was_called(run, number, event)

    def _released(self, event: NodeReleased) -> None:
        run, number = self._at(event)
        if run is not None:
            run.released[number] = event.time

    # -- workers

    def _worker_started(self, event: WorkerStarted) -> None:
        self.workers.append(RecordedWorker(event.worker, event.pid, event.time))

    def _worker_lost(self, event: WorkerLost) -> None:
        for each in reversed(self.workers):
            if each.worker == event.worker and each.lost is None:
                each.lost, each.reason = event.time, event.reason
                return
        self.workers.append(RecordedWorker(event.worker, event.pid, event.time, event.time, event.reason))


def _check_most(most: object) -> None:
    if not isinstance(most, int) or isinstance(most, bool):
        raise TypeError(f"most= is how many nodes to keep, a whole number or None, not {most!r}")
    if most < 1:
        raise ValueError(f"most= is how many nodes to keep, 1 or more, not {most}")


def _slots_of(runtime: Any) -> dict[str, int]:
    usage = getattr(runtime, "usage", None)
    return {} if usage is None else {each.executor: each.capacity for each in usage()}


def marks_of_run(run: RecordedRun) -> Iterator[tuple[str, Mark]]:
    """What a picture shows of each node of a run, with its key."""
    began = [number for number, since in enumerate(run.starts) if not isnan(since)]
    orders = {number: order for order, number in enumerate(in_order(began, run.starts.__getitem__))}
    now = time.perf_counter()
    for number, state in enumerate(run.states):
        seconds = (now if state == RUNNING else run.ends[number]) - run.starts[number]
        yield (
            run.infos.key_of(number),
            Mark(STATES[state], None if isnan(seconds) else seconds, orders.get(number)),
        )
