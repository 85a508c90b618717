"""Looking ahead: what is given waits for nothing but what is in the place."""

from __future__ import annotations

import random

import pytest

from asyncgraph._graph.lookahead import Lookahead
from asyncgraph._graph.plan import dependents_of
from asyncgraph._graph.scheduler import Scheduler
from tests.graph.model import LANES, Pair
from tests.graph.test_scheduler_fuzz import happen, some


def scheduler_of(*dependencies, lanes=None):
    """Return a scheduler with the last task as the output, all in lane 0 by default."""
    count = len(dependencies)
    return Scheduler(dependencies, dependents_of(list(dependencies)), lanes or [0] * count, [count - 1])


def enter(scheduler, lookahead):
    """Let the first task enter, ready or ahead; return it."""
    task = lookahead.first()
    if task is None:
        task = scheduler.take(0)
    else:
        lookahead.skip()
        scheduler.take_ahead(task)
    lookahead.enter(task)
    scheduler.validate()
    return task


def test_a_chain_enters_whole():
    """Each task can follow the one before it, to the end, before anything has been done."""
    scheduler = scheduler_of((), (0,), (1,), (2,))
    lookahead = Lookahead(scheduler, 0)
    assert [enter(scheduler, lookahead) for _ in range(4)] == [0, 1, 2, 3]
    assert (lookahead.first(), len(lookahead)) == (None, 0)
    for task in range(4):
        scheduler.consume(task)
        scheduler.finish(task, "value")
    assert scheduler.remaining == 0


def test_what_waits_for_something_else_does_not_follow():
    """A task follows when the last of its dependencies has entered, however often one is listed."""
    scheduler = scheduler_of((), (), (0, 1, 0))
    lookahead = Lookahead(scheduler, 0)
    lookahead.enter(scheduler.take(0))
    assert lookahead.first() is None
    lookahead.enter(scheduler.take(0))
    assert lookahead.first() == 2


def test_what_has_finished_is_not_waited_for():
    """A dependency that was done elsewhere, before, is no hindrance."""
    scheduler = scheduler_of((), (), (0, 1))
    scheduler.consume(scheduler.take(0))
    scheduler.finish(0, "value")
    lookahead = Lookahead(scheduler, 0)
    lookahead.enter(scheduler.take(0))
    assert lookahead.first() == 2


def test_other_lanes_do_not_follow():
    """Only tasks of the one lane are given."""
    scheduler = scheduler_of((), (0,), (0,), (1, 2), lanes=[0, 1, 0, 0])
    lookahead = Lookahead(scheduler, 0)
    lookahead.enter(scheduler.take(0))
    assert enter(scheduler, lookahead) == 2
    assert lookahead.first() is None


def test_the_lowest_rank_goes_first():
    """Of several that can follow, the one that comes first in the order of the plan, or of urgency."""
    needs = [(), (0,), (0,), (0,), (1, 2, 3)]
    scheduler = Scheduler(needs, dependents_of(needs), [0] * 5, [4], urgency=[0, 3, 1, 2, 4])
    lookahead = Lookahead(scheduler, 0)
    assert [enter(scheduler, lookahead) for _ in range(5)] == [0, 3, 1, 2, 4]


def test_nothing_follows_what_has_left():
    """What was to follow it becomes ready in its time, also if it enters once more."""
    scheduler = scheduler_of((), (), (0, 1))
    lookahead = Lookahead(scheduler, 0)
    lookahead.enter(scheduler.take(0))
    lookahead.enter(scheduler.take(0))
    scheduler.untake(1)
    lookahead.leave(1)
    assert lookahead.first() is None
    lookahead.enter(scheduler.take(0))
    for task in (0, 1):
        scheduler.consume(task)
        scheduler.finish(task, "value")
    assert (lookahead.first(), scheduler.take(0)) == (None, 2)


def test_a_task_that_has_failed_does_not_follow():
    """What failed for another reason meanwhile is passed over."""
    scheduler = scheduler_of((), (), (0,), (1, 2), lanes=[0, 1, 0, 0])
    lookahead = Lookahead(scheduler, 0)
    lookahead.enter(scheduler.take(0))
    assert enter(scheduler, lookahead) == 2
    scheduler.consume(scheduler.take(1))
    scheduler.fail(1)
    assert lookahead.first() is None


class Looking(Pair):
    """A pair with a place that every task of lane 0 enters when it is taken."""

    def __init__(self, *graph):
        super().__init__(*graph)
        self.lookahead, self.inside = Lookahead(self.scheduler, 0), set()

    def take(self, lane, hold_producers=False):
        """Let what is taken enter."""
        task = super().take(lane, hold_producers)
        if lane == 0 and task is not None:
            self.inside.add(task)
            self.lookahead.enter(task)
        return task

    def can_go_ahead(self):
        """Offer what the place offers; that must wait for nothing outside of it."""
        task = self.lookahead.first()
        assert task is None or {*self.dependencies[task]} <= self.finished | self.inside
        assert task is None or self.lanes[task] == 0
        return set() if task is None else {task}

    def take_ahead(self, task):
        """Let what goes ahead enter."""
        super().take_ahead(task)
        self.lookahead.skip()
        self.inside.add(task)
        self.lookahead.enter(task)

    def agree(self, *event):
        """Let leave what is given back, fails or is expanded."""
        super().agree(*event)
        if event:
            for task in self.inside - self.finished - self.running - self.ahead:
                self.inside.remove(task)
                self.lookahead.leave(task)


@pytest.mark.parametrize("seed", range(120))
def test_whatever_happens_what_is_given_can_follow(seed):
    """In graphs that grow, fail and are given back, what follows waits for nothing outside of the place."""
    dice = random.Random(seed)
    count = dice.randint(1, 40)
    graph = [some(dice, range(task)) for task in range(count)]
    lanes = [dice.choice((0, 0, *LANES)) for _ in range(count)]
    pair = Looking(graph, lanes, dice.sample(range(count), dice.randint(1, count)))
    weights = {"take": 6, "take_ahead": 8, "consume": 6, "finish": 5, "fail": 0.3, "cancel": 0.1}
    for _ in range(200):
        events = pair.possible()
        (event,) = dice.choices(events, [weights.get(event, 1) for event in events])
        happen(dice, pair, event)
    pair.drain()


@pytest.mark.parametrize("seed", range(40))
def test_all_of_a_graph_can_enter_at_once(seed):
    """Where everything is in the one lane, all tasks enter in the order of the plan before any is done."""
    dice = random.Random(seed)
    graph = [some(dice, range(task)) for task in range(dice.randint(1, 40))]
    pair = Looking(graph, [0] * len(graph), [len(graph) - 1])
    while pair.take(0) is not None or pair.can_go_ahead():
        for task in pair.can_go_ahead():
            pair.take_ahead(task)
    assert pair.inside == set(range(len(graph)))
    pair.drain()
