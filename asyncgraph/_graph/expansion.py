"""How tasks come into a scheduler while it is at work: a task has returned a node.

New tasks are numbered from the present count on, and go before all others. What the plan shares with other
runs is copied before the first change. All that it takes is state of the scheduler, which is kept there.
"""

from __future__ import annotations

from collections.abc import Container, Iterable, Sequence
from typing import TYPE_CHECKING

from asyncgraph._graph.states import FAILED, FINISHED, NOT_RUN, READY, STATES, WAITING
from asyncgraph.errors import CycleError

if TYPE_CHECKING:
    from asyncgraph._graph.scheduler import Scheduler

__all__ = ["expand", "renew"]

_Edges = Sequence[tuple[int, ...]]


def expand(
    scheduler: Scheduler,
    task: int,
    dependencies: _Edges,
    lanes: Sequence[int],
    root: int,
    lazy: Iterable[int],
) -> list[int]:
    """See `Scheduler.expand`."""
    first = len(scheduler.dependencies)
    _refuse_circle(scheduler, task, {root, *(each for new in dependencies for each in new)})
    scheduler._own_the_graph()
    _append(scheduler, dependencies, lanes, lazy)
    scheduler._aliases[task] = root
    scheduler.state[task] = WAITING
    inputs = _inputs_held(scheduler, task)
    ended = _connect_all(scheduler, first, dependencies)
    ended += _connect(scheduler, task, (root,))
    scheduler._give_up(inputs)
    if scheduler._asleep:
        scheduler._end_unneeded()
    return ended


def renew(
    scheduler: Scheduler,
    task: int,
    dependencies: _Edges,
    lanes: Sequence[int],
    own: tuple[int, ...],
    lane: int,
) -> list[int]:
    """See `Scheduler.renew`."""
    first = len(scheduler.dependencies)
    _refuse_circle(scheduler, task, {*own, *(each for new in dependencies for each in new)})
    scheduler._own_the_graph()
    _append(scheduler, dependencies, lanes, ())
    scheduler._lanes[task] = lane
    scheduler._note_lane(lane)
    scheduler.state[task] = WAITING
    inputs = _inputs_held(scheduler, task)
    scheduler._renewed.add(task)
    scheduler.renewals += 1
    ended = _connect_all(scheduler, first, dependencies)
    scheduler._dependencies[task] = own
    if own:
        ended += _connect(scheduler, task, own)
    else:
        scheduler._give_back(task)
    scheduler._give_up(inputs)
    return ended


def _inputs_held(scheduler: Scheduler, task: int) -> tuple[int, ...]:
    """What a task still holds that has been called, and is not called again as what it was."""
    is_holder = scheduler.holds_inputs or task in scheduler._holders
    scheduler._holders.discard(task)
    return scheduler.dependencies[task] if is_holder else ()


# -- circles


def _refuse_circle(scheduler: Scheduler, task: int, named: set[int]) -> None:
    first = len(scheduler.dependencies)
    if _leads_to(scheduler, task, [each for each in named if each < first]):
        raise CycleError("the node that it returned depends on it, so that each waits for the other")


def _leads_to(scheduler: Scheduler, task: int, starts: list[int]) -> bool:
    """Whether one of `starts` waits for `task`, or needs it to be made again."""
    # What has failed may be revived, and waits then. What has finished does not wait; but once results have
    # been forgotten, it may have finished with an earlier result of a task that needs it now.
    waits: Container[int] = (WAITING, FAILED, NOT_RUN) if scheduler.holds_inputs else (WAITING,)
    if scheduler._withdrawn:
        waits = range(len(STATES))
    seen = set(starts)
    for current in starts:
        if current == task:
            return True
        if scheduler.state[current] in waits:
            new = [each for each in scheduler.dependencies[current] if each not in seen]
            seen.update(new)
            starts.extend(new)
    return False


# -- new tasks


def _append(scheduler: Scheduler, dependencies: _Edges, lanes: Sequence[int], lazy: Iterable[int]) -> None:
    """Add tasks, which are ready if they need nothing."""
    first, count = len(scheduler.dependencies), len(lanes)
    _place_before_all(scheduler, first, count)
    for lane in lanes:
        scheduler._note_lane(lane)
    scheduler._dependencies.extend(dependencies)
    scheduler._dependents.extend([] for _ in range(count))
    scheduler._lanes.extend(lanes)
    scheduler.state.extend([WAITING] * count)
    scheduler.results.extend([None] * count)
    scheduler._missing.extend([0] * count)
    scheduler._uses.extend([0] * count)
    scheduler.remaining += count
    for task in lazy:
        scheduler._lazy.add(task)
        scheduler._fall_asleep(task, ())
        scheduler.remaining -= 1
    # Before all that are there, the lowest in front, so that they stay sorted.
    for task in reversed(range(first, first + count)):
        if not (scheduler._dependencies[task] or scheduler._missing[task]):
            scheduler.state[task] = READY
            scheduler.producers[scheduler._lanes[task]].appendleft(scheduler._rank[task])


def _place_before_all(scheduler: Scheduler, first: int, count: int) -> None:
    """So many tasks, from `first` on, go before all others, in the order of their numbers."""
    lowest = -len(scheduler._rank) - count
    for offset in range(count):
        scheduler._rank[first + offset] = lowest + offset
        scheduler._task_at[lowest + offset] = first + offset


def _connect_all(scheduler: Scheduler, first: int, dependencies: _Edges) -> list[int]:
    """Connect new tasks, the first of which has this number, with what they need; returns what has ended."""
    ended = []
    for task, needed in enumerate(dependencies, first):
        if needed:
            ended += _connect(scheduler, task, needed)
    return ended


def _connect(scheduler: Scheduler, task: int, dependencies: tuple[int, ...]) -> list[int]:
    """Let a task that waits for nothing yet wait for `dependencies`; or end it, if it need not.

    Returns the tasks that ended.
    """
    failed = _add_edges(scheduler, task, dependencies)
    if failed is not None:
        scheduler.consume(task)
        return [task, *scheduler._fail(task, failed)]
    if scheduler._missing[task]:
        if scheduler._lazy:
            scheduler._wake_for(task)
    elif task in scheduler._aliases:
        result = scheduler.results[dependencies[0]]
        scheduler.consume(task)
        return scheduler.finish(task, result)
    else:
        scheduler._make_ready(task)
    return []


def _add_edges(scheduler: Scheduler, task: int, dependencies: tuple[int, ...]) -> int | None:
    """Let the task depend on these; the failure that it is behind with that, if it is."""
    state, failed = scheduler.state, None
    scheduler._dependencies[task] = dependencies
    is_renewed = task in scheduler._renewed
    for dependency in dependencies:
        # What has finished has nothing to say to one that may need it again and again.
        if not (is_renewed and state[dependency] == FINISHED):
            scheduler._dependents[dependency].append(task)
        scheduler._uses[dependency] += 1
        if state[dependency] in (FAILED, NOT_RUN):
            failed = scheduler.behind[dependency]
        if state[dependency] != FINISHED:
            scheduler._missing[task] += 1
            if dependency in scheduler._lazy:
                scheduler._count_lazy((task,))
    return failed
