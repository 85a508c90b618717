"""Schedulers that begin when the first tasks have been done elsewhere, against the model."""

from __future__ import annotations

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from asyncgraph._graph.plan import dependents_of
from asyncgraph._graph.scheduler import FINISHED, READY, RUNNING, WAITING, Scheduler
from tests.graph.model import LANES, Pair
from tests.graph.test_scheduler_fuzz import happen, some

WEIGHTS = {"take": 6, "take_ahead": 4, "consume": 6, "finish": 5, "stop": 5}
WEIGHTS |= {"fail": 0.5, "expand": 1.5, "cancel": 0.2}


class TakenOver(Pair):
    """A pair whose first tasks, in their order, are finished before there is a scheduler."""

    def __init__(self, dependencies, lanes, outputs, finished):
        self.finished_before = finished
        super().__init__(dependencies, lanes, outputs)

    def agree(self, *event):
        """Put a scheduler that takes over in the place of the fresh one, before the first comparison."""
        if self.finished_before:
            before = set(range(self.finished_before))
            self.finished_before = 0
            self.finished, self.consumed = before, set(before)
            results = {task: self.value_of(task) for task in sorted(before) if self.is_kept(task)}
            self.scheduler = Scheduler(
                self.dependencies,
                dependents_of(self.dependencies),
                self.lanes,
                self.kept,
                len(before),
                results,
            )
        super().agree(*event)


def pair_from(dice, count):
    """Make a random graph of which a random number of tasks is done already."""
    dependencies = [some(dice, range(task)) for task in range(count)]
    outputs = dice.sample(range(count), dice.randint(1, count))
    lanes = [dice.choice(LANES) for _ in range(count)]
    return TakenOver(dependencies, lanes, outputs, dice.randint(0, count))


@pytest.mark.parametrize("seed", range(120))
def test_after_any_prefix_anything_may_happen(seed):
    """Tasks fail, expand, stop and finish behind those that were done elsewhere, as if none had been."""
    dice = random.Random(seed)
    pair = pair_from(dice, dice.randint(1, 30))
    for _ in range(120):
        events = pair.possible()
        (event,) = dice.choices(events, [WEIGHTS.get(event, 1) for event in events])
        happen(dice, pair, event)
    pair.drain()


@settings(max_examples=150)
@given(st.data())
def test_after_every_prefix_the_rest_runs(data):
    """After each prefix of a small graph, all that is left runs to its end, with the values of recursion."""
    count = data.draw(st.integers(1, 7))
    needs = [
        tuple(data.draw(st.lists(st.integers(0, task - 1), max_size=3))) if task else ()
        for task in range(count)
    ]
    outputs = data.draw(st.sets(st.integers(0, count - 1), min_size=1))
    for finished in range(count + 1):
        TakenOver(needs, [0] * count, outputs, finished).drain()


def test_a_result_may_be_none():
    """A value that is None is a value: its task is finished, not released."""
    scheduler = Scheduler([(), (), (0, 1)], [[2], [2], []], [0] * 3, [2], 2, {0: None, 1: None})
    scheduler.validate()
    assert scheduler.take(0) == 2
    scheduler.consume(2)
    assert scheduler.finish(2, None) == [2]
    scheduler.validate()
    assert scheduler.remaining == 0


def test_a_run_that_is_taken_over_at_its_end():
    """Nothing is left to do, and what was asked for is there."""
    scheduler = Scheduler([(), (0,)], [[1], []], [0, 0], [1], 2, {1: "value"})
    scheduler.validate()
    assert scheduler.take(0) is None
    assert (scheduler.remaining, scheduler.results) == (0, [None, "value"])


def test_lanes_of_what_is_done_are_known():
    """A lane in which nothing is left is empty, not unknown."""
    scheduler = Scheduler([(), ()], [[], []], [1, 0], [0, 1], 1, {0: "value"})
    assert (scheduler.is_ready(1), scheduler.take(1), scheduler.take(0)) == (False, None, 1)


def test_what_is_running_when_it_takes_over():
    """It has taken what it needs, and is taken no more; it finishes, fails or expands as any other."""
    edges = [(), (0,), (), (1, 2), (0,)]
    for end in ("finish", "fail", "expand"):
        scheduler = Scheduler(edges, dependents_of(edges), [0] * 5, [3, 4], 3, {0: "a"}, [1, 2])
        scheduler.validate()
        assert [scheduler.state[task] for task in range(5)] == [FINISHED, RUNNING, RUNNING, WAITING, READY]
        assert scheduler.finish(2, "c") == [2]
        assert scheduler.take(0) == 4
        scheduler.consume(4)
        assert scheduler.results[0] is None
        assert scheduler.finish(4, "e") == [4]
        if end == "finish":
            assert scheduler.finish(1, "b") == [1]
        elif end == "fail":
            assert scheduler.fail(1) == [3]
        else:
            assert scheduler.expand(1, [()], [0], 5) == []
            assert scheduler.take(0) == 5
            assert scheduler.finish(5, "b") == [5, 1]
        scheduler.validate()
        assert scheduler.take(0) == (None if end == "fail" else 3)
