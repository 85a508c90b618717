"""Longest path first: what that is, when it is refused, and a scheduler that goes by it."""

from __future__ import annotations

import random

from hypothesis import given
from hypothesis import strategies as st

from asyncgraph._graph.makespan import longest_first
from asyncgraph._graph.pieces import whole
from asyncgraph._graph.plan import dependents_of
from asyncgraph._graph.scheduler import Scheduler
from tests.graph.test_order import graphs, peak, sinks


@given(graphs(), st.data(), st.integers(0, 3))
def test_the_longest_path_goes_first(dependencies, data, more):
    """In an order that can be run, and that holds no more than it may."""
    count = len(dependencies)
    seconds = data.draw(st.lists(st.integers(0, 3), min_size=count, max_size=count))
    outputs, dependents = sinks(dependencies), dependents_of(list(dependencies))
    ahead = [0] * count
    for task in reversed(range(count)):
        ahead[task] = seconds[task] + max((ahead[each] for each in dependents[task]), default=0)
    expected = sorted(range(count), key=lambda task: (-ahead[task], task))
    held = peak(dependencies, range(count), outputs)
    found = whole(longest_first(dependencies, dependents, outputs, seconds, more))
    assert found == (expected if peak(dependencies, expected, outputs) <= held + more else None)


@given(graphs(), st.integers(0, 1_000_000))
def test_a_scheduler_goes_by_urgency(dependencies, seed):
    """As another whose tasks are numbered in that order; lanes, takeovers and added tasks included."""
    dice = random.Random(seed)
    count = len(dependencies)
    dependents = dependents_of(list(dependencies))
    tasks = sorted(range(count), key=lambda task: (dice.random(), task))
    place = {task: rank for rank, task in enumerate(tasks)}
    lanes = [dice.randrange(2) for _ in range(count)]
    ours = Scheduler(dependencies, dependents, lanes, sinks(dependencies), urgency=tasks)
    other = [tuple(place[each] for each in dependencies[task]) for task in tasks]
    theirs = Scheduler(
        other,
        dependents_of(other),
        [lanes[task] for task in tasks],
        [place[each] for each in sinks(dependencies)],
    )
    while ours.remaining:
        lane, hold = dice.randrange(2), dice.random() < 0.3
        task, same = ours.take(lane, hold_producers=hold), theirs.take(lane, hold_producers=hold)
        assert same == (place.get(task, task) if task is not None else None)
        if task is None:
            continue
        ours.consume(task)
        theirs.consume(same)
        if task < count and dice.random() < 0.2:
            new = [(), (len(ours.state),)]
            for scheduler, each in ((ours, task), (theirs, same)):
                scheduler.expand(each, new, [0, 1], len(scheduler.state) + 1)
        else:
            ours.finish(task, task)
            theirs.finish(same, task)
        ours.validate()


def test_finished_tasks_stay_finished():
    """Whatever their urgency."""
    dependencies = [(), (), (0, 1), ()]
    scheduler = Scheduler(
        dependencies, dependents_of(dependencies), [0] * 4, [2, 3], 2, {0: "a", 1: "b"}, urgency=[3, 1, 0, 2]
    )
    assert [scheduler.take(0), scheduler.take(0), scheduler.take(0)] == [3, 2, None]
    scheduler.validate()
