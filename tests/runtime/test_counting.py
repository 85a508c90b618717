"""How far the functions of a run are, as observers are told: the same as counting node by node gives."""

from __future__ import annotations

import asyncio
import threading
from array import array
from collections import Counter
from random import Random
from types import SimpleNamespace

import pytest

from asyncgraph import compute, delayed
from asyncgraph._graph.scheduler import CANCELLED, FAILED, FINISHED, NOT_RUN, RELEASED, RUNNING, STATES
from asyncgraph._runtime import counting
from asyncgraph._runtime.counting import Counting
from asyncgraph.observe import RunFinished, RunStarted


class Function:
    """As much of one as is looked at."""

    def __init__(self, name, is_value=False):
        self.name = name
        self.is_value = is_value


def functions(count):
    """Return so many functions, two of them of one name, the last one of data."""
    return [*(Function(f"f{number}") for number in range(count)), Function("f0"), Function("data", True)]


class Execution:
    """As much of one as is looked at."""

    is_planned = is_scheduled = True
    is_stopping = is_over = False

    def __init__(self, called, states):
        self.nodes = [SimpleNamespace(_function=each) for each in called]
        self.scheduler = SimpleNamespace(state=list(states))
        self.overview = self

    def begun_straight(self):
        """Return how far it is."""
        return self.begun, self.running


def expected(nodes, states):
    """Count node by node."""
    names = dict.fromkeys(node._function.name for node in nodes if not node._function.is_value)
    pairs = Counter((node._function.name, state) for node, state in zip(nodes, states, strict=True))
    return [
        (
            name,
            sum(pairs[name, state] for state in range(len(STATES))),
            pairs[name, RUNNING],
            pairs[name, FINISHED] + pairs[name, RELEASED],
            pairs[name, FAILED],
            pairs[name, NOT_RUN],
            pairs[name, CANCELLED],
        )
        for name in names
    ]


@pytest.mark.parametrize("count", [1, 3, 30, 31, 32, 40, 300])
@pytest.mark.parametrize("seed", range(5))
def test_counts_of_states(seed, count):
    """However many functions there are, and while nodes come and states change."""
    random, callables = Random(seed), functions(count)
    progress, execution = Counting(), Execution([], [])
    nodes, states = execution.nodes, execution.scheduler.state
    for size in (1, 20, 3_000):
        nodes += [SimpleNamespace(_function=each) for each in random.choices(callables, k=size)]
        states[:] = random.choices(range(len(STATES)), k=len(nodes))
        progress.look(execution)
        assert progress.rows == expected(nodes, states)


@pytest.mark.parametrize("count", [2, 100])
def test_slices(count, monkeypatch):
    """What is counted does not depend on how much of it is done in one go."""
    monkeypatch.setattr(counting, "_LOOKED_AT", 7)
    monkeypatch.setattr(counting, "_COUNTED", 11)
    callables = functions(count)
    called = [callables[number % len(callables)] for number in range(500)]
    states = [number % len(STATES) for number in range(500)]
    progress, execution = Counting(), Execution(called, states)
    progress.look(execution)
    assert progress.rows == expected(execution.nodes, states)
    assert isinstance(progress._codes, array) == (count == 100)


@pytest.mark.parametrize("count", [2, 100])
@pytest.mark.parametrize("is_stopping", [False, True])
def test_counts_of_the_straight_way(count, is_stopping):
    """The first nodes have been begun, some of them run, and the others wait, or will not begin."""
    callables = functions(count)
    called = [callables[number % len(callables)] for number in range(300)]
    execution = Execution(called, [])
    execution.is_scheduled = False
    execution.is_stopping = is_stopping
    progress = Counting()
    for begun in (0, 1, 150, 300):
        execution.begun, execution.running = begun, [begun - 1] if begun else []
        progress.look(execution)
        rest = CANCELLED if is_stopping else 0
        states = [FINISHED] * begun + [rest] * (300 - begun)
        if begun:
            states[begun - 1] = RUNNING
        assert progress.rows == expected(execution.nodes, states)


def test_before_there_is_a_plan():
    """What was asked for is looked at again when the plan has put it in another order."""
    first, second, *_ = functions(2)
    execution = Execution([second], [0])
    execution.is_planned = execution.is_scheduled = False
    execution.begun, execution.running = 0, []
    progress = Counting()
    progress.look(execution)
    assert [row.name for row in progress.rows] == ["f1"]
    planned = Execution([first, second], [FINISHED, RUNNING])
    progress.look(planned)
    assert progress.rows == [("f0", 1, 0, 1, 0, 0, 0), ("f1", 1, 1, 0, 0, 0, 0)]


def test_an_execution_that_is_over_is_counted_once():
    """It does not change any more."""
    progress, execution = Counting(), Execution(functions(2), [FINISHED] * 4)
    execution.is_over = True
    progress.look(execution)
    before = progress.rows
    progress.look(execution)
    assert progress.rows is before


def test_an_execution_that_ends_meanwhile():
    """What was counted before stays."""
    progress, execution = Counting(), Execution(functions(2), [FINISHED] * 4)
    progress.look(execution)
    before = progress.rows
    del execution.nodes
    progress.look(execution)
    assert progress.rows is before


class Asking:
    """An observer that has a run asked from several threads, and is told its functions in the end."""

    kinds = frozenset({RunStarted, RunFinished})

    def __init__(self):
        self.is_over = threading.Event()
        self.rows = None

    def __call__(self, event):
        """Begin to ask, and end."""
        if isinstance(event, RunStarted):
            self.run = event.run
            self.threads = [threading.Thread(target=self.ask) for _ in range(3)]
            for thread in self.threads:
                thread.start()
        else:
            self.rows = event.run.progress()
            self.is_over.set()
            for thread in self.threads:
                thread.join()

    def ask(self):
        """Ask until the run is over."""
        while not self.is_over.is_set():
            for row in self.run.progress():
                assert min(row[1:]) >= 0
            self.is_over.wait(0.0001)


@delayed
async def step(*values):
    """Let the loop go round."""
    await asyncio.sleep(0)
    return 1


async def test_several_threads_may_ask():
    """The totals are what they are, however they come between each other."""
    asking = Asking()
    first, second = delayed(abs, executor="loop", name="first"), delayed(abs, name="second")
    nodes = [second(first(step(number))) for number in range(700)]
    await delayed(sum, executor="loop", name="sum")(nodes).compute(observers=[asking])
    assert sorted(asking.rows) == [
        ("first", 700, 0, 700, 0, 0, 0),
        ("second", 700, 0, 700, 0, 0, 0),
        ("step", 700, 0, 700, 0, 0, 0),
        ("sum", 1, 0, 1, 0, 0, 0),
    ]


@pytest.mark.parametrize(("asks", "count"), [(True, 2), (False, 2), (True, 2_000), (False, 2_000)])
async def test_a_run_that_is_over(asks, count):
    """It says what it said; a large one says nothing if nobody has asked before it was told to be over."""
    runs = []

    def observer(event):
        runs.append(event.run)
        if asks:
            event.run.progress()

    observer.kinds = frozenset({RunFinished})
    number_of = delayed(abs, executor="loop", name="abs")
    await compute(*(number_of(-number) for number in range(count)), observers=[observer])
    found = [("abs", count, 0, count, 0, 0, 0)]
    assert runs[0].progress() == (found if asks or count < 1_000 else [])
