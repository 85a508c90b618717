"""What the dashboard knows: the runs that go on, the last ones that are over, and worker processes.

All of it comes from events, and all of it is bounded, for services that run for weeks: of runs that are over
the last few are kept, and of those the nodes only as long as they are few. What happens to single nodes is
asked for while somebody looks; of runs that begin while nobody does, there is how far their functions are.
"""

from __future__ import annotations

import time
import weakref
from collections import deque
from collections.abc import Callable
from typing import Any, Literal

from asyncgraph._graph.node import Site
from asyncgraph.observe._dashboard.timeline import Timeline
from asyncgraph.observe.events import (
    NodeCancelled,
    NodeExpanded,
    NodeFailed,
    NodeFinished,
    NodeRetrying,
    NodeStarted,
    ObservedRun,
    RunFinished,
    RunStarted,
    WorkerLost,
    WorkerStarted,
)
from asyncgraph.observe.failures import failure_of
from asyncgraph.observe.observer import ALL_EVENTS
from asyncgraph.observe.recorded import RecordedRun
from asyncgraph.observe.recording import Recording

__all__ = ["Details", "KnownRun", "State"]

Details = Literal["watched", "always"]
"""Of which runs there is what happens to single nodes: those begun while somebody looks, or all."""

_RUN_EVENTS: frozenset[Any] = frozenset({RunStarted, RunFinished, WorkerStarted, WorkerLost})

# Nodes that are kept: of one run, and of all runs together that are over. A node takes some 100 bytes.
_NODES_OF_RUN = 50_000
_NODES_AFTERWARDS = 20_000

# Of a run with more nodes its functions are not counted at its end, if nobody has looked at it.
_COUNTED_UNSEEN = 20_000

# So many worker processes that are gone are remembered; and so many failures of a run are shown.
_LOST_WORKERS = 8
_FAILURES = 20

# Of so many runs that are going on it is shown how far they are; the others are counted.
MOST_GOING_ON = 50

_OUTCOMES: dict[type[Any], str] = {
    NodeFinished: "finished",
    NodeFailed: "failed",
    NodeCancelled: "cancelled",
    NodeRetrying: "retrying",
    NodeExpanded: "expanded",
}

_LONGEST_MESSAGE = 500


class KnownRun:
    """What is known of a run.

    Args:
        run: The run.
        has_details: Whether there will be events of its nodes.

    Attributes:
        id: Its number.
        run: The run, also once it is over: then it keeps nothing but numbers.
        state: "running", "finished", "failed" or "cancelled".
        timeline: Its recent calls; None if there are no events of its nodes.
    """

    def __init__(self, run: ObservedRun, *, has_details: bool) -> None:
        self.id = run.id
        self.run = run
        self.state = "running"
        self.timeline = Timeline(run.began) if has_details else None
        self._recording = Recording(most=_NODES_OF_RUN) if has_details else None
        self._seconds: float | None = None
        self._error: tuple[str, str] | None = None
        self._retries = 0
        self._last_row: dict[str, Any] | None = None

    @property
    def is_over(self) -> bool:
        """Whether the run is over."""
        return self.state != "running"

    @property
    def recorded(self) -> RecordedRun | None:
        """What is kept of its nodes; None if that is nothing."""
        return None if self._recording is None else self._recording.run_of(self.id)

    def hear(self, event: Any) -> None:
        """Something has happened in the run."""
        recording, timeline = self._recording, self.timeline
        if recording is None or timeline is None:
            return
        recording(event)
        kind = type(event)
        if kind is NodeStarted:
            timeline.began(event)
        elif (outcome := _OUTCOMES.get(kind)) is not None:
            timeline.ended(event, outcome)
            self._retries += kind is NodeRetrying

    def look(self, most: int) -> None:
        """Look at so many more of its nodes: of a large graph some may not be known yet."""
        if self._recording is not None:
            self._recording.look(most)

    def end(self, event: RunFinished) -> None:
        """The run is over."""
        self.hear(event)
        # After this the run counts no more: it tells what it has counted last. If nobody has asked before,
        # that is nothing, and to look at all nodes of a large run for the first time would hold up the loop.
        if self.run.statistics().nodes <= _COUNTED_UNSEEN:
            self.run.progress()
        self.state, self._seconds = event.state, event.seconds
        if event.error is not None:
            failure = failure_of(-1, event.time, event.error, with_traceback=False)
            self._error = failure.type, failure.message

    def forget_nodes(self) -> None:
        """Keep of the run only what does not grow with its nodes."""
        self._recording = self.timeline = None

    def node_count(self) -> int:
        """How many nodes are kept."""
        return 0 if (recorded := self.recorded) is None else len(recorded)

    def row(self, *, show_values: bool) -> dict[str, Any]:
        """What is shown of it, ready for JSON; the same until something has changed."""
        if self._last_row is not None:
            return self._last_row
        run, statistics = self.run, self.run.statistics()
        row: dict[str, Any] = {
            "id": self.id,
            "name": run.name,
            "state": self.state,
            "began": run.wall_time,
            "seconds": self._seconds,
            "outer": run.outer and [run.outer[0].id, run.outer[1]],
            "statistics": {
                name.replace("_", " "): count
                for name, count in statistics._asdict().items()
                if name != "seconds"
            },
            "functions": [list(each) for each in run.progress()],
            "retries": self._retries,
            "has_details": self._recording is not None,
            "failures": self._failures(show_values=show_values),
        }
        if self.is_over:
            self._last_row = row
        return row

    def _failures(self, *, show_values: bool) -> list[dict[str, Any]]:
        """The first nodes that have failed by themselves; without nodes, what the run has failed with."""
        recorded = self.recorded
        if recorded is None:
            return [_failure("", None, *self._error, show_values=show_values)] if self._error else []
        shown = []
        for each in recorded.failures[:_FAILURES]:
            info = recorded.infos[each.number]
            shown.append(_failure(info.key, info.site, each.type, each.message, show_values=show_values))
        return shown


def _failure(key: str, site: Site | None, kind: str, message: str, *, show_values: bool) -> dict[str, Any]:
    # What an exception says often quotes an argument: it is shown where values are.
    shown = message[:_LONGEST_MESSAGE] if show_values else None
    return {"key": key, "type": kind, "message": shown, "site": site and f"{site.file}, line {site.line}"}


class State:
    """Hears of events, and keeps what is shown. It is an observer: give it to a run or to a runtime.

    Args:
        keep: How many runs that are over are kept.
        details: Of which runs there is what happens to single nodes.
        runtime: A runtime that is shown from the beginning, or None.

    Attributes:
        is_watched: Whether somebody looks now.
    """

    def __init__(self, *, keep: int, details: Details, runtime: Any = None) -> None:
        self.is_watched = False
        self._details = details
        self._keep = keep
        self._going_on: dict[int, KnownRun] = {}
        self._over: deque[KnownRun] = deque()
        self._ended: dict[str, int] = {"finished": 0, "failed": 0, "cancelled": 0}
        self._workers: dict[str, dict[str, Any]] = {}
        self._runtimes: list[weakref.ref[Any]] = []
        if runtime is not None:
            self._add_runtime(runtime)
        self._handlers: dict[type[Any], Callable[[Any], None]] = {
            RunStarted: self._run_started,
            RunFinished: self._run_finished,
            WorkerStarted: self._worker_started,
            WorkerLost: self._worker_lost,
        }

    @property
    def kinds(self) -> frozenset[Any]:
        """The events that it wants of a run that begins now: those of nodes cost a little."""
        return ALL_EVENTS if self.is_watched or self._details == "always" else _RUN_EVENTS

    def __call__(self, event: Any) -> None:
        """Hear of an event."""
        handler = self._handlers.get(type(event))
        if handler is not None:
            handler(event)
        elif (known := self._going_on.get(event.run.id)) is not None:
            known.hear(event)

    # -- what is asked

    def runs(self) -> list[KnownRun]:
        """The runs that are shown: those that go on, then those that are over, the last ones first."""
        going_on = [*reversed(self._going_on.values())][:MOST_GOING_ON]
        return [*going_on, *reversed(self._over)]

    def run_of(self, id: int) -> KnownRun | None:
        """The run with this number, if it is known."""
        return self._going_on.get(id) or next((run for run in self._over if run.id == id), None)

    def overview(self) -> dict[str, Any]:
        """What is shown beside the runs, ready for JSON."""
        return {
            "runs": [run.id for run in self.runs()],
            "counts": {"running": len(self._going_on), **self._ended},
            "usage": [[list(each) for each in runtime.usage()] for runtime in self.runtimes()],
            "workers": self._shown_workers(),
        }

    def runtimes(self) -> list[Any]:
        """The runtimes that are open."""
        found = [runtime for ref in self._runtimes if (runtime := ref()) is not None]
        return [runtime for runtime in found if not runtime.is_closed]

    def _shown_workers(self) -> list[dict[str, Any]]:
        calls: dict[str, str] = {}
        for run in self._going_on.values():
            if run.timeline is not None:
                calls.update(run.timeline.worker_calls())
        return [{**worker, "call": calls.get(name, "")} for name, worker in self._workers.items()]

    # -- runs

    def add(self, run: ObservedRun) -> None:
        """A run is going on, and there are no events of its nodes."""
        self._going_on[run.id] = KnownRun(run, has_details=False)
        self._add_runtime(run.runtime)

    def _run_started(self, event: RunStarted) -> None:
        has_details = self.kinds is ALL_EVENTS
        known = self._going_on[event.run.id] = KnownRun(event.run, has_details=has_details)
        known.hear(event)
        self._add_runtime(event.run.runtime)

    def _run_finished(self, event: RunFinished) -> None:
        known = self._going_on.pop(event.run.id, None)
        if known is None:
            return
        known.end(event)
        self._ended[event.state] += 1
        self._over.append(known)
        while len(self._over) > self._keep:
            self._over.popleft()
        room = _NODES_AFTERWARDS
        for each in reversed(self._over):
            room -= each.node_count()
            if room < 0:
                each.forget_nodes()

    # -- runtimes and workers

    def _add_runtime(self, runtime: Any) -> None:
        if not any(ref() is runtime for ref in self._runtimes):
            self._runtimes = [ref for ref in self._runtimes if ref() in self.runtimes()]
            self._runtimes.append(weakref.ref(runtime))

    def _worker_started(self, event: WorkerStarted) -> None:
        self._workers[event.worker] = {
            "worker": event.worker,
            "started": _wall_time(event.time),
            "lost": None,
            "reason": "",
        }
        self._add_runtime(event.runtime)

    def _worker_lost(self, event: WorkerLost) -> None:
        if event.reason == "left":
            self._workers.pop(event.worker, None)
            return
        worker = self._workers.setdefault(event.worker, {"worker": event.worker, "started": None})
        worker |= {"lost": _wall_time(event.time), "reason": event.reason}
        lost = [name for name, each in self._workers.items() if each["lost"] is not None]
        for name in lost[:-_LOST_WORKERS]:
            del self._workers[name]


def _wall_time(at: float) -> float:
    """Seconds since 1970 of a time on the clock of events."""
    return round(time.time() - (time.perf_counter() - at), 3)
