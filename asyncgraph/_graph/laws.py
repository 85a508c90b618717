"""The laws of the scheduler, as a check: they are written down at the head of `scheduler`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from asyncgraph._graph.states import (
    CANCELLED,
    FAILED,
    FINISHED,
    READY,
    RELEASED,
    RUNNING,
    STATES,
    WAITING,
)

if TYPE_CHECKING:
    from asyncgraph._graph.scheduler import Scheduler

__all__ = ["validate"]

_ALIVE = (WAITING, READY, RUNNING)


def validate(scheduler: Scheduler) -> None:
    """See `Scheduler.validate`."""
    for task, state in enumerate(scheduler.state):
        _validate_task(scheduler, task, STATES[state])
    _validate_queues(scheduler)
    alive = [
        task
        for task, state in enumerate(scheduler.state)
        if state in _ALIVE and task not in scheduler._asleep
    ]
    assert scheduler.remaining == len(alive), f"{scheduler.remaining} remain, but {len(alive)} are alive"
    for task in scheduler._ahead:
        _validate_ahead(scheduler, task)


def _validate_queues(scheduler: Scheduler) -> None:
    queued = [*scheduler.ready.values(), *scheduler.producers.values()]
    ranks = sorted(rank for queue in queued for rank in queue)
    ready = [task for task, state in enumerate(scheduler.state) if state == READY]
    assert sorted(map(scheduler.rank, ready)) == ranks, "ready tasks and heaps differ"


def _validate_ahead(scheduler: Scheduler, task: int) -> None:
    about = f"task {task}, which was taken ahead,"
    assert scheduler.state[task] == WAITING, f"{about} is {STATES[scheduler.state[task]]}"
    for each in scheduler.dependencies[task]:
        is_in_hand = scheduler.state[each] in (RUNNING, FINISHED, RELEASED) or each in scheduler._ahead
        assert is_in_hand, f"{about} waits for {each}, which was not taken"


def _validate_task(scheduler: Scheduler, task: int, state: str) -> None:
    missing = _missing(scheduler, task)
    about = f"task {task} is {state}"
    if task in scheduler._asleep:
        missing.append(task)
        assert state in ("waiting", "cancelled"), f"{about}, but sleeps"
    elif missing and state == "waiting" and scheduler._lazy.issuperset(missing):
        assert not scheduler._asleep.intersection(missing), f"{about} and waits for nothing but lazy ones"
    if state == "waiting" and task not in scheduler._postponed:
        counted = scheduler.missing(task)
        assert missing, f"{about}, but nothing it needs is missing"
        assert len(missing) == counted, f"{about}: {counted} counted as missing"
    if state in ("finished", "released"):
        missing = [each for each in missing if each not in scheduler._withdrawn]
    if state in ("ready", "running", "finished", "released"):
        assert not missing, f"{about}, but {missing} are not finished"
    if state in ("failed", "not run"):
        origin = scheduler.behind[task]
        assert (state == "failed") == (scheduler.final(task) == origin), f"{about}, behind {origin}"
        assert scheduler.state[origin] == FAILED, f"{about} behind one that has not failed"
    if state == "finished":
        assert scheduler._uses[task], f"{about}, but nobody needs its result"
    else:
        assert scheduler.results[task] is None, f"{about}, but has a result"


def _missing(scheduler: Scheduler, task: int) -> list[int]:
    """The dependencies of a task that are to come, or to come once more."""
    state, withdrawn = scheduler.state, scheduler._withdrawn
    return [
        each
        for each in scheduler.dependencies[task]
        if state[each] in _ALIVE or (state[each] == CANCELLED and each in withdrawn)
    ]
