"""What the events of a run have to be like, whatever the run: checked on any list of them."""

from __future__ import annotations

from collections import defaultdict
from itertools import pairwise
from typing import Any

from asyncgraph.observe import (
    NodeCached,
    NodeCancelled,
    NodeExpanded,
    NodeFailed,
    NodeFinished,
    NodeNotRun,
    NodeReady,
    NodeReleased,
    NodeRetrying,
    NodesAdded,
    NodeStarted,
    RunFinished,
    RunStarted,
    WorkerLost,
    WorkerStarted,
)

# What may follow on what has been told of a node. A node that is told nothing more has ended.
FOLLOWS: dict[Any, set[Any]] = {
    # NodeFinished: what had returned a node, in an earlier run that is resumed.
    "added": {NodeReady, NodeCached, NodeFinished, NodeFailed, NodeNotRun, NodeCancelled},
    NodeReady: {NodeStarted, NodeFailed, NodeCancelled},
    NodeStarted: {NodeFinished, NodeFailed, NodeCancelled, NodeRetrying, NodeExpanded},
    NodeRetrying: {NodeReady, NodeCancelled},
    NodeExpanded: {NodeFinished, NodeFailed, NodeNotRun, NodeCancelled},
    NodeFinished: {NodeReleased},
    NodeCached: {NodeReleased},
    NodeFailed: set(),
    NodeNotRun: set(),
    NodeCancelled: set(),
    NodeReleased: set(),
}

ENDS = (NodeFinished, NodeCached, NodeFailed, NodeNotRun, NodeCancelled, NodeReleased)
CALLS = (NodeFinished, NodeFailed, NodeCancelled, NodeRetrying, NodeExpanded)


def by_run(events: list[Any]) -> dict[int, list[Any]]:
    """The events of each run, by its number; those of workers are left out."""
    runs: dict[int, list[Any]] = defaultdict(list)
    for event in events:
        if not isinstance(event, (WorkerStarted, WorkerLost)):
            runs[event.run.id].append(event)
    return runs


def check(events: list[Any]) -> None:
    """Raise AssertionError unless these are the events of whole runs."""
    for story in by_run(events).values():
        check_run(story)
    check_workers(events)


def check_run(story: list[Any]) -> None:
    """The events of one run begin and end, and what they say of each node makes sense."""
    assert isinstance(story[0], RunStarted)
    assert isinstance(story[-1], RunFinished)
    assert not any(isinstance(event, (RunStarted, RunFinished)) for event in story[1:-1])
    last: dict[int, Any] = {}
    ended: dict[int, float] = {}
    outputs: set[int] = set()
    infos: dict[int, Any] = {}
    for event in story[1:-1]:
        if isinstance(event, NodesAdded):
            outputs.update(event.outputs)
            for info in event.nodes:
                infos[info.number] = info
                # One that has taken the place of another is that from now on.
                if info.number not in last:
                    last[info.number] = "added"
            continue
        number, before = event.node.number, last[event.node.number]
        kind = type(event)
        assert kind in FOLLOWS[before], f"{event.node.key}: {kind.__name__} after {before}"
        assert story[0].time <= event.time <= story[-1].time
        if kind is NodeReady:
            check_ready(event, last, ended)
        if isinstance(event, CALLS) and event.began is not None:
            assert event.began <= event.time
            assert before is not NodeReady, "what has begun was told to have begun"
        if kind in (NodeFinished, NodeCached):
            ended[number] = event.time
        last[number] = kind
        if kind is NodeExpanded and event.root.number == number:
            last[number] = "added"
    left = {infos[number].key: kind for number, kind in last.items() if kind not in ENDS}
    assert not left, "these were told of no more"
    check_released(story[-1].state, last, outputs)


def check_ready(event: Any, last: dict[int, Any], ended: dict[int, float]) -> None:
    """What a node needs has been told to have finished, before it, and did so before it."""
    for number in event.node.dependencies:
        assert last[number] in (NodeFinished, NodeCached), f"{event.node.key} needs {number}"
        assert ended[number] <= event.time


def check_released(state: str, last: dict[int, Any], outputs: set[int]) -> None:
    """In a run that has finished whole, what was not asked for is gone; of others something may be kept."""
    if state == "finished" and not {NodeFailed, NodeNotRun, NodeCancelled}.intersection(last.values()):
        kept = {number for number, kind in last.items() if kind is NodeFinished} - outputs
        assert not kept, "values that nobody needs were not released"


def check_workers(events: list[Any]) -> None:
    """A thread or a worker process does one thing at a time."""
    spans: dict[str, list[tuple[float, float]]] = defaultdict(list)
    for event in events:
        if isinstance(event, CALLS) and event.began is not None and event.worker not in ("loop", ""):
            spans[event.worker].append((event.began, event.time))
    for worker, calls in spans.items():
        calls.sort()
        for (_, end), (begin, _) in pairwise(calls):
            assert end <= begin, f"{worker} was at two calls at once"
