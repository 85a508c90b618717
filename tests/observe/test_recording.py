"""What a recording keeps of runs, and what it does not."""

from __future__ import annotations

import gc
import weakref

import pytest

from asyncgraph.observe import Mark, NodeInfo, NodesAdded, Recording
from tests.observe.telling import Telling


def test_a_node_is_kept_with_all_that_is_known_of_it():
    """Which node it is, its times, worker, attempt, size and order are there once the run is over."""
    recording = Recording()
    told = Telling(recording, began=10.0, name="parse-2").begin().add("fetch-1 async", "parse-2 < fetch-1")
    told.call("fetch-1", 10.1, 10.2, 11.0, "loop", 500)
    told.call("parse-2", 11.1, 11.5, 12.0, "thread 3", 60)
    told.released("fetch-1", 12.5)
    told.end(13.0)
    (run,) = recording.runs
    assert (run.name, run.began, run.ended, run.state, run.seconds) == (
        "parse-2",
        10.0,
        13.0,
        "finished",
        3.0,
    )
    assert run[0][1:] == ("finished", 10.1, 10.2, 11.0, "loop", 1, 500, 0, 12.5)
    assert run[1][1:] == ("finished", 11.1, 11.5, 12.0, "thread 3", 1, 60, 1, None)
    assert [node.info for node in run] == list(told.nodes.values())
    assert run.run is None


def test_nodes_are_as_far_as_they_have_come():
    """While a run goes on, each node is in the state of its last event, and what did not happen is None."""
    recording = Recording()
    told = Telling(recording).begin().add("a-1", "b-1", "c-1", "d-1", "e-1")
    told.ready("b-1", 1.0)
    told.started("c-1", 2.0, "thread 1")
    told.finished("d-1", 1.0, 2.0, "thread 2")
    told.cancelled("e-1", None, 3.0, "")
    (run,) = recording.runs
    assert [node.state for node in run] == ["waiting", "ready", "running", "finished", "cancelled"]
    assert run[0][2:] == (None, None, None, "", 0, 0, None, None)
    assert run.counts()["ready"] == 1
    assert (run.state, run.seconds) == ("running", None)
    assert run.run is told.run


def test_a_call_that_failed_before_is_kept_apart():
    """The last attempt is the node's; the ones before are in `calls`."""
    recording = Recording()
    told = Telling(recording).begin().add("fetch-1")
    told.started("fetch-1", 1.0, "thread 1")
    told.retrying("fetch-1", 1.0, 2.0, "thread 1", 1, "TimeoutError: slow", 0.5)
    assert recording.runs[0][0].state == "waiting"
    told.started("fetch-1", 2.5, "thread 2", attempt=2)
    told.finished("fetch-1", 2.5, 3.0, "thread 2")
    (run,) = recording.runs
    assert (run[0].began, run[0].attempt) == (2.5, 2)
    assert run.calls == [(0, "fetch-1", "fetch", 1.0, 2.0, "thread 1", 1, "TimeoutError: slow", 0.5)]


def test_a_node_that_returns_another_keeps_its_own_call():
    """Its value comes later: its call is not overwritten, and the node that it has returned is known."""
    recording = Recording()
    told = Telling(recording).begin().add("grow-1")
    told.started("grow-1", 1.0, "thread 1")
    told.add("leaf-1", time=2.0, source="grow-1")
    told.expanded("grow-1", 1.0, 2.0, "thread 1", "leaf-1")
    assert recording.runs[0][0].state == "waiting"
    told.call("leaf-1", 2.0, 2.1, 3.0, "thread 2")
    told.finished("grow-1", 3.0, 3.0, "", 7)
    (run,) = recording.runs
    assert (run[0].began, run[0].ended, run[0].worker, run[0].size) == (1.0, 2.0, "thread 1", 7)
    assert (run.roots, run.came) == ({0: 1}, {0: 3.0})
    assert run.growth == [(0.0, None, 0, 1), (2.0, 0, 1, 1)]
    assert [node.order for node in run] == [1, 0]


def test_a_node_that_is_replaced_by_what_it_returns():
    """It goes the whole way again under its number; the former call is kept with its former key."""
    recording = Recording()
    told = Telling(recording).begin().add("step-1")
    told.started("step-1", 1.0, "thread 1")
    former = told.nodes["step-1"]
    new = former._replace(key="last-9", name="last")
    told.nodes["last-9"] = new
    told.tell(NodesAdded(told.run, 2.0, [new], former, ()))
    told.expanded("step-1", 1.0, 2.0, "thread 1", "last-9")
    assert recording.runs[0][0].began is None
    told.call("last-9", 2.0, 2.5, 3.0, "thread 1")
    (run,) = recording.runs
    assert len(run) == 1
    assert run[0].info == new
    assert run.calls == [(0, "step-1", "step", 1.0, 2.0, "thread 1", 1, "", 0.0)]
    assert run.roots == {}


def test_a_failure_is_text():
    """The exception's class, what it says and its traceback are kept; it and its frames are not."""

    class Broken(Exception):
        pass

    recording = Recording()
    told = Telling(recording).begin().add("a-1", "b-1 < a-1")
    try:
        raise Broken("no such row")
    except Broken as error:
        told.failed("a-1", 1.0, 2.0, "thread 1", error)
        told.not_run("b-1", 2.0, error, "a-1")
        told.end(3.0, "failed", error)
        gone = weakref.ref(error)
    gc.collect()
    assert gone() is None
    (run,) = recording.runs
    (failure,) = run.failures
    assert (failure.number, failure.time, failure.message) == (0, 2.0, "no such row")
    assert failure.type.endswith("test_a_failure_is_text.<locals>.Broken")
    assert 'raise Broken("no such row")' in failure.traceback
    assert run.behind == {1: 0}
    assert (run[1].state, run[1].began, run[1].ended) == ("not run", None, 2.0)
    assert run.error.message == "no such row"


def test_an_exception_that_fails_when_it_is_shown():
    """It is recorded all the same."""

    class Silent(Exception):
        def __str__(self):
            raise ValueError("not now")

    recording = Recording()
    told = Telling(recording).begin().add("a-1")
    told.failed("a-1", 1.0, 2.0, "thread 1", Silent())
    (failure,) = recording.runs[0].failures
    assert failure.message == "<str(error) failed>"


def test_long_texts_are_cut_and_of_many_failures_the_first_have_tracebacks():
    """What is kept of failures stays small."""
    recording = Recording()
    told = Telling(recording).begin().add(*[f"a-{number}" for number in range(60)])
    for number in range(60):
        told.failed(f"a-{number}", 1.0, 2.0, "thread 1", ValueError("x" * 100_000))
    failures = recording.runs[0].failures
    assert len(failures) == 60
    assert max(len(failure.message) for failure in failures) < 2_100
    assert [bool(failure.traceback) for failure in failures] == [True] * 50 + [False] * 10


class Lazy(list):
    """Nodes that are made when they are looked at."""

    def __init__(self, count):
        super().__init__(range(count))
        self.looked_at = 0

    def _make(self, number):
        self.looked_at += 1
        return NodeInfo(number, f"inc-{number}", "inc", "function", "thread", False, (), None)

    def __getitem__(self, index):
        return self._make(range(len(self))[index])

    def __iter__(self):
        return (self._make(number) for number in range(len(self)))


def added(told, nodes):
    """Tell that these nodes are there."""
    told.nodes = {f"inc-{number}": nodes[number] for number in range(2)}
    nodes.looked_at = 0
    told.tell(NodesAdded(told.run, 0.0, nodes, None, (len(nodes) - 1,)))


def test_many_nodes_are_looked_at_a_few_at_a_time():
    """That 100 000 nodes have come holds up nobody: they are looked at as events come, and all at the end."""
    recording = Recording()
    told = Telling(recording).begin()
    nodes = Lazy(100_000)
    added(told, nodes)
    told.ready("inc-0", 1.0)
    assert nodes.looked_at < 100
    (run,) = recording.runs
    assert len(run) == 100_000
    told.end(2.0)
    assert nodes.looked_at == 100_000
    assert run[99_999].info.key == "inc-99999"


def test_it_takes_few_bytes_a_node():
    """A node's columns are below 100 bytes."""
    recording = Recording()
    told = Telling(recording).begin()
    added(told, Lazy(1000))
    told.end(1.0)
    (run,) = recording.runs
    columns = (
        run.ready,
        run.starts,
        run.ends,
        run.released,
        run.sizes,
        run.workers,
        run.attempts,
        run.orders,
    )
    size = len(run.states) + sum(len(column) * column.itemsize for column in columns)
    assert (size + run.infos.size_in_bytes()) / len(run) < 100


def test_keys_of_any_form_are_kept():
    """Whatever a key looks like, it comes back as it was."""
    keys = ["fetch-7", "fetch-007", "a-b-3", "x", "total~2", "größe-1", "-1", "f-", "f-²", "f-" + "9" * 30]
    recording = Recording()
    told = Telling(recording).begin().add(*keys)
    told.end(1.0)
    assert [node.info.key for node in recording.runs[0]] == keys
    assert list(recording.runs[0].infos) == list(told.nodes.values())


def test_marks_are_by_key():
    """A picture asks by key: state, seconds and order, of the last run that a node was in."""
    recording = Recording()
    for shift in (0.0, 100.0):
        told = Telling(recording, began=shift).begin().add("a-1", "b-1", "c-1")
        told.call("a-1", shift, shift + 1.0, shift + 1.5 + shift, "thread 1")
        told.call("b-1", shift, shift + 0.5, shift + 0.75, "thread 2")
        told.end(shift + 200.0, "cancelled")
    assert recording.marks() == {
        "a-1": Mark("finished", 100.5, 1),
        "b-1": Mark("finished", 0.25, 0),
        "c-1": Mark("waiting", None, None),
    }


def test_of_two_runs_that_overlap_each_is_kept_for_itself():
    """Events of several runs may come mixed."""
    recording = Recording()
    first, second = (Telling(recording, name=name).begin().add("a-1") for name in ("first", "second"))
    first.call("a-1", 1.0, 2.0, 3.0, "thread 1")
    second.call("a-1", 1.0, 5.0, 6.0, "thread 2")
    second.end(7.0, "cancelled")
    first.end(8.0)
    assert [(run.name, run.state, run[0].began) for run in recording.runs] == [
        ("first", "finished", 2.0),
        ("second", "cancelled", 5.0),
    ]
    assert recording.run_of(second.run.id) is recording.runs[1]
    assert recording.run_of(5) is None


def test_a_run_of_which_the_beginning_was_not_heard():
    """Nodes are known from when something happens to them; the others are there without names."""
    unheard = Telling().begin().add("a-1", "b-1", "c-1")
    recording = Recording()
    unheard.observers = (recording,)
    unheard.call("b-1", 1.0, 2.0, 3.0, "thread 1")
    unheard.end(4.0)
    (run,) = recording.runs
    assert [(node.info.key, node.state) for node in run] == [("node-0", "waiting"), ("b-1", "finished")]


def test_a_run_knows_what_it_was_begun_in():
    """The id of the outer run and the key of the node are kept."""
    recording = Recording()
    outer = Telling(recording).begin().add("a-1")
    Telling(recording, outer=(outer.run, "a-1")).begin()
    assert [run.outer for run in recording.runs] == [None, (outer.run.id, "a-1")]


def test_most_forgets_the_oldest_runs_that_are_over():
    """To make room, runs that are over go; one that is going on stays."""
    recording = Recording(most=10)
    going_on = Telling(recording, name="going on").begin().add("a-1", "a-2")
    for number in range(5):
        Telling(recording, name=f"run {number}").begin().add("a-1", "a-2").end(1.0)
    assert [run.name for run in recording.runs] == ["going on", "run 3", "run 4"]
    going_on.end(2.0)
    Telling(recording, name="last").begin().add("a-1")
    assert [run.name for run in recording.runs] == ["run 3", "run 4", "last"]


def test_most_keeps_the_first_nodes_of_a_run_that_is_too_large():
    """The others are counted, and what happens to them is passed over."""
    recording = Recording(most=4)
    told = Telling(recording).begin().add(*[f"a-{number}" for number in range(10)])
    for number in range(10):
        told.call(f"a-{number}", 0.0, 1.0, 2.0, "thread 1")
    told.add("late-1", source="a-1")
    told.call("late-1", 0.0, 1.0, 2.0, "thread 1")
    told.retrying("a-0", 0.0, 1.0, "thread 1", 1, "no", 0.0)
    told.end(3.0)
    (run,) = recording.runs
    assert (len(run), run.omitted) == (3, 8)
    assert [node.state for node in run] == ["waiting", "finished", "finished"]
    assert run.calls == []


@pytest.mark.parametrize(
    ("most", "error"),
    [
        (0, ValueError("most= is how many nodes to keep, 1 or more, not 0")),
        ("many", TypeError("most= is how many nodes to keep, a whole number or None, not 'many'")),
        (True, TypeError("most= is how many nodes to keep, a whole number or None, not True")),
    ],
)
def test_most_is_checked(most, error):
    """What is no number of nodes is refused."""
    with pytest.raises(type(error)) as caught:
        Recording(most=most)
    assert str(caught.value) == str(error)


def test_workers_come_and_go():
    """Each worker process is kept once, with when and how it has gone."""
    recording = Recording()
    told = Telling(recording).begin()
    told.worker_started("process 1", 1.0)
    told.worker_lost("process 1", 2.0, "killed by signal 9")
    told.worker_lost("process 2", 3.0, "left")
    assert [(each.started, each.lost, each.reason) for each in recording.workers] == [
        (1.0, 2.0, "killed by signal 9"),
        (3.0, 3.0, "left"),
    ]


def test_clear_forgets_what_is_over():
    """Runs that are going on stay."""
    recording = Recording()
    Telling(recording).begin().end(1.0)
    Telling(recording, name="on").begin()
    recording.clear()
    assert [run.name for run in recording.runs] == ["on"]
