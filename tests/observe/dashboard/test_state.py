"""What the dashboard knows, and that it forgets: it must not grow in a service that runs for weeks."""

from __future__ import annotations

import pytest

from asyncgraph import Runtime, delayed
from asyncgraph._graph.node import Site
from asyncgraph._runtime.runtime import Usage
from asyncgraph.observe import NODE_EVENTS, FunctionProgress, Statistics
from asyncgraph.observe._dashboard import state as states
from asyncgraph.observe._dashboard.state import MOST_GOING_ON, State
from asyncgraph.observe._dashboard.timeline import MOST_BARS, MOST_OPEN, Timeline
from tests.observe.telling import Telling


class ToldRuntime:
    """A runtime, as far as the dashboard needs one."""

    is_closed = False

    def usage(self):
        """Return the slots of one executor."""
        return [Usage("loop", 1, 256, 0, 0)]


def told(state, **options):
    """Return what tells a state of a run."""
    telling = Telling(state, runtime=ToldRuntime(), **options)
    telling.run.statistics = lambda: Statistics(3, 0, 0, 0, 2, 1, 0, 0, 1.5)
    telling.run.progress = lambda: [FunctionProgress("fetch", 3, 0, 2, 1, 0, 0)]
    return telling


@pytest.fixture
def state():
    """Return a state that wants everything."""
    return State(keep=3, details="always")


def test_events_of_nodes_are_wanted_while_somebody_looks():
    """Otherwise only those of runs and workers, which cost nothing; unless all are to be kept."""
    watched, always = State(keep=3, details="watched"), State(keep=3, details="always")
    assert watched.kinds.isdisjoint(NODE_EVENTS)
    assert always.kinds.issuperset(NODE_EVENTS)
    watched.is_watched = True
    assert watched.kinds.issuperset(NODE_EVENTS)


async def test_runs_that_nobody_looks_at_have_no_record():
    """The runtime keeps no record of their steps; they are shown with how far they are."""
    state = State(keep=3, details="watched")
    async with Runtime(observers=[state]) as runtime:
        await runtime.compute(delayed(abs)(-1))
        state.is_watched = True
        await runtime.compute(delayed(abs)(-1))
    watched, unwatched = state.runs()
    assert len(watched.recorded) == 1
    assert unwatched.recorded is unwatched.timeline is None
    rows = [run.row(show_values=False) for run in (watched, unwatched)]
    assert [row["functions"] for row in rows] == [[["abs", 1, 0, 1, 0, 0, 0]]] * 2
    assert [row["has_details"] for row in rows] == [True, False]


def test_runs_that_are_over_are_forgotten(state):
    """The last few are kept, the newest first; how many there were is still known."""
    for number in range(5):
        told(state, name=f"run-{number}").begin().end(1.0, ["finished", "failed"][number % 2])
    going_on = told(state, name="going on").begin()
    assert [run.run.name for run in state.runs()] == ["going on", "run-4", "run-3", "run-2"]
    assert state.overview()["counts"] == {"running": 1, "finished": 3, "failed": 2, "cancelled": 0}
    assert state.run_of(going_on.run.id) is state.runs()[0]
    assert state.run_of(-1) is None


@pytest.mark.parametrize(("nodes", "counts"), [(20_000, 1), (20_001, 0)])
def test_functions_of_large_runs_that_nobody_looked_at_are_not_counted(nodes, counts):
    """Those of small ones are counted when the run ends, which is the last time that one can."""
    state = State(keep=3, details="watched")
    telling = told(state).begin()
    asked = []
    telling.run.statistics = lambda: Statistics(nodes, 0, 0, 0, nodes, 0, 0, 0, 1.0)
    telling.run.progress = lambda: asked.append(1) or []
    telling.end(1.0)
    assert len(asked) == counts


def test_nodes_of_runs_that_are_over_are_forgotten(state, monkeypatch):
    """When there are many in all, those of the oldest runs first; what is known of the run stays."""
    monkeypatch.setattr(states, "_NODES_AFTERWARDS", 5)
    for _ in range(3):
        told(state).begin().add("fetch-1", "fetch-2").end(1.0)
    newest, second, oldest = state.runs()
    assert newest.node_count() == second.node_count() == 2
    assert oldest.recorded is None
    assert oldest.row(show_values=False)["functions"] == [["fetch", 3, 0, 2, 1, 0, 0]]


def test_many_runs_that_go_on_are_counted(state):
    """The newest of them are shown."""
    for _ in range(MOST_GOING_ON + 10):
        told(state).begin()
    assert len(state.runs()) == MOST_GOING_ON
    assert state.overview()["counts"]["running"] == MOST_GOING_ON + 10


def test_events_of_unknown_runs_do_no_harm(state):
    """As of one that was begun before, or that has been told to be over."""
    telling = told(state)
    telling.add("fetch-1")
    telling.started("fetch-1", 0.1, "loop")
    telling.end(1.0)
    telling.finished("fetch-1", 0.1, 0.2, "loop")
    assert state.runs() == []


def test_a_row(state):
    """What is shown of a run: times, numbers, functions, retries, and failures with their places."""
    outer = told(state).begin()
    telling = told(state, outer=(outer.run, "page-1")).begin().add("fetch-1 async", "fetch-2 async")
    telling.started("fetch-1", 0.1, "loop")
    telling.retrying("fetch-1", 0.1, 0.2, "loop", 1, "OSError: a secret", 0.1)
    telling.started("fetch-1", 0.3, "loop", 2)
    telling.failed("fetch-1", 0.3, 0.4, "loop", OSError("a secret"))
    telling.not_run("fetch-2", 0.4, OSError("a secret"), "fetch-1")
    telling.end(1.5, "failed", OSError("a secret"))
    row = state.run_of(telling.run.id).row(show_values=False)
    assert row["outer"] == [outer.run.id, "page-1"]
    assert (row["state"], row["seconds"], row["retries"]) == ("failed", 1.5, 1)
    assert "seconds" not in row["statistics"]
    assert row["failures"] == [
        {"key": "fetch-1", "type": "OSError", "message": None, "site": "pipeline.py, line 7"}
    ]


def test_failures_are_bounded(state):
    """The first few are shown, and what they say is cut."""
    telling = told(state).begin().add(*[f"fetch-{number} async" for number in range(50)])
    for number in range(50):
        telling.failed(f"fetch-{number}", None, 0.1, "", ValueError("x" * 10_000))
    failures = state.runs()[0].row(show_values=True)["failures"]
    assert len(failures) == 20
    assert {len(failure["message"]) for failure in failures} == {500}


def test_workers(state):
    """Those that are there, with what they are at, and the last that were lost, with the reason."""
    telling = told(state).begin().add("parse-1 process")
    telling.worker_started("process 1", 0.1)
    telling.worker_started("process 2", 0.1)
    telling.started("parse-1", 0.2, "process 1")
    telling.worker_lost("process 2", 0.3, "killed by SIGKILL")
    one, two = state.overview()["workers"]
    assert (one["worker"], one["call"], one["lost"]) == ("process 1", "parse-1", None)
    assert (two["worker"], two["call"], two["reason"]) == ("process 2", "", "killed by SIGKILL")
    for number in range(100):
        telling.worker_lost(f"process {number + 10}", 0.3, "gone")
    telling.worker_started("process 3", 0.4)
    telling.worker_lost("process 3", 0.5, "left")
    workers = state.overview()["workers"]
    assert len(workers) == 9
    assert "process 3" not in {worker["worker"] for worker in workers}


def test_runtimes(state):
    """Each is shown once, until it is closed or gone; the dashboard does not keep it."""
    telling = told(state).begin()
    told(state, name="other").begin()
    again = Telling(state, runtime=telling.run.runtime)
    again.worker_started("process 1", 0.1)
    assert len(state.runtimes()) == 2
    telling.run.runtime.is_closed = True
    assert len(state.runtimes()) == 1
    assert state.overview()["usage"] == [[["loop", 1, 256, 0, 0]]]


# -- the timeline


def test_coroutines_that_overlap_have_lanes_of_their_own():
    """The lowest that is free; threads and processes have those that they are."""
    timeline = Timeline(10.0)
    telling = Telling(lambda event: None)
    telling.add("a-1 async", "b-1 async", "c-1 async", "d-1")
    hear = {"NodeStarted": timeline.began, "NodeFinished": lambda event: timeline.ended(event, "finished")}
    telling.observers = [lambda event: hear[type(event).__name__](event)]
    telling.started("a-1", 10.1, "loop")
    telling.started("b-1", 10.2, "loop")
    telling.finished("a-1", 10.1, 10.3, "loop")
    telling.started("c-1", 10.4, "loop")
    telling.started("d-1", 10.4, "thread 1")
    assert timeline.lanes == ["loop 1", "loop 2", "thread 1"]
    assert timeline.open_calls() == [(1, 0.2, "b-1", "b"), (0, 0.4, "c-1", "c"), (2, 0.4, "d-1", "d")]
    assert timeline.new_bars(0) == [(0, 0.1, 0.3, "a-1", "a", "finished")]
    assert timeline.new_bars(1) == []


def test_the_timeline_is_bounded():
    """The last calls that are over, and the longest that go on."""
    timeline = Timeline(0.0)
    telling = Telling(lambda event: None)
    telling.add(*[f"a-{number} async" for number in range(2000)])
    for number in range(2000):
        telling.observers = [timeline.began]
        telling.started(f"a-{number}", number, "loop")
        if number % 2:
            telling.observers = [lambda event: timeline.ended(event, "finished")]
            telling.finished(f"a-{number}", number, number + 0.5, "loop")
    assert len(timeline.bars) == len(timeline.new_bars(0)) == MOST_BARS
    assert timeline.count == 1000
    assert [bar.key for bar in timeline.new_bars(998)] == ["a-1997", "a-1999"]
    assert len(timeline.open_calls()) == MOST_OPEN
    assert len(timeline.lanes) == 1001


def test_a_node_without_a_call_leaves_no_bar():
    """As one that has failed because another has."""
    timeline = Timeline(0.0)
    telling = Telling(lambda event: timeline.ended(event, "failed"))
    telling.observers = []
    telling.add("a-1")
    telling.observers = [lambda event: timeline.ended(event, "failed")]
    telling.failed("a-1", None, 1.0, "", ValueError())
    assert timeline.count == 0


def test_sites_are_text():
    """A site is its file and line."""
    failure = states._failure("a-1", Site("a.py", 3, "f"), "ValueError", "no", show_values=True)
    assert failure == {"key": "a-1", "type": "ValueError", "message": "no", "site": "a.py, line 3"}
