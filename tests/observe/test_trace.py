"""The trace: the rules of its format, what it shows, and that it harms no run."""

from __future__ import annotations

import asyncio
import json
import logging
import os
import random
import threading

import pytest
from hypothesis import given
from hypothesis import strategies as st

from asyncgraph import delayed, start
from asyncgraph.observe import Recording, Trace, trace_events
from asyncgraph.observe.recorded import RecordedRun
from asyncgraph.observe.result_file import _FEW
from asyncgraph.observe.trace_events import lines_of
from tests.observe import trace_rules
from tests.observe.telling import Telling


@pytest.fixture
def path(tmp_path):
    """Return where the file goes."""
    return tmp_path / "run.json"


def told_pipeline(*observers, **options):
    """Tell of two downloads, at the same time, that a process joins."""
    told = Telling(*observers, began=100.0, **options).begin()
    told.add("fetch-1 async", "fetch-2 async", "parse-1 process < fetch-1 fetch-2")
    told.ready("fetch-1", 100.1)
    told.ready("fetch-2", 100.1)
    told.started("fetch-1", 100.1, "loop")
    told.started("fetch-2", 100.2, "loop")
    told.finished("fetch-1", 100.1, 101.1, "loop", 500)
    told.finished("fetch-2", 100.2, 101.2, "loop", 700)
    told.call("parse-1", 101.3, 101.5, 102.0, "process 77", 9)
    told.released("fetch-1", 102.0)
    told.released("fetch-2", 102.0)
    return told


def events_of(path, **wanted):
    """Return the events with these fields."""
    document = trace_rules.check(path.read_text("utf-8"))
    return [
        event
        for event in document["traceEvents"]
        if all(event.get(name) == value for name, value in wanted.items())
    ]


def test_a_call_is_a_slice_with_what_is_known_of_it(path):
    """Its name is the function's; key, attempt, wait, size and place are arguments; in microseconds."""
    told_pipeline(Trace(path)).end(103.0)
    (event,) = events_of(path, ph="X", cat="process")
    assert (event["name"], event["ts"], event["dur"]) == ("parse", 1_500_000.0, 500_000.0)
    assert event["args"] == {
        "key": "parse-1",
        "attempt": 1,
        "waited seconds": 0.2,
        "bytes": 9,
        "built at": "pipeline.py:7",
    }


def test_coroutines_that_overlap_have_lanes(path):
    """Each has a track of its own while others go on; the worker process has one under its name."""
    told_pipeline(Trace(path)).end(103.0)
    names = [event["args"]["name"] for event in events_of(path, name="thread_name")]
    assert names == ["run", "loop 1", "loop 2", "process 77"]


def test_dependencies_are_arrows(path):
    """One leads from each download to what takes it."""
    told_pipeline(Trace(path)).end(103.0)
    begins, ends = events_of(path, ph="s"), events_of(path, ph="f")
    assert [event["tid"] for event in begins] == [1, 2]
    assert [event["tid"] for event in ends] == [3, 3]


def test_counters(path):
    """How many run, how many wait for a slot, and how many bytes are alive."""
    told_pipeline(Trace(path)).end(103.0)
    steps = {}
    for event in events_of(path, ph="C"):
        steps.setdefault(event["name"], []).append((event["ts"] / 1e6, *event["args"].values()))
    assert steps["running"] == [(0.1, 1), (0.2, 2), (1.1, 1), (1.2, 0), (1.5, 1), (2.0, 0)]
    assert steps["ready"] == [(0.1, 1), (0.2, 0), (1.3, 1), (1.5, 0)]
    assert steps["live results"] == [(1.1, 500), (1.2, 1200), (2.0, 9)]


def test_failures_and_retries_are_instants(path):
    """They stand on the track of the call, and say what was raised."""
    told = Telling(Trace(path)).begin().add("a-1", "b-1")
    told.started("a-1", 1.0, "thread 1")
    told.retrying("a-1", 1.0, 2.0, "thread 1", 1, "OSError: gone", 0.5)
    told.started("a-1", 2.5, "thread 1", attempt=2)
    told.failed("a-1", 2.5, 3.0, "thread 1", ValueError("secret"))
    told.not_run("b-1", 3.0, ValueError("secret"), "a-1")
    told.end(3.0, "failed", ValueError("secret"))
    shown = [(event["name"], event["ts"], event["tid"], event["args"]) for event in events_of(path, ph="i")]
    assert shown == [
        ("a-1 failed", 3e6, 1, {"error": "ValueError"}),
        ("a-1 retrying", 2e6, 1, {"error": "OSError: gone"}),
    ]
    slices = [(event["args"]["attempt"], event["args"]["outcome"]) for event in events_of(path, cat="thread")]
    assert slices == [(1, "retried"), (2, "failed")]
    assert "secret" not in path.read_text()


def test_the_arrow_to_a_dependent_comes_from_what_made_the_value(path):
    """What a node returned has made its value: its dependents hang on that, and it on the node."""
    told = Telling(Trace(path)).begin().add("grow-1", "last-1 < grow-1")
    told.call("grow-1", 0.0, 1.0, 2.0, "thread 1")
    told.add("leaf-1", source="grow-1", time=2.0)
    told.expanded("grow-1", 1.0, 2.0, "thread 1", "leaf-1")
    told.call("leaf-1", 2.0, 3.0, 4.0, "thread 2")
    told.finished("grow-1", 4.0, 4.0, "")
    told.call("last-1", 4.0, 5.0, 6.0, "thread 3")
    told.end(7.0)
    ways = {}
    for event in events_of(path):
        if event["ph"] in "sf":
            ways.setdefault(event["id"], []).append(event["tid"])
    assert sorted(ways.values()) == [[1, 2], [2, 3]]


def test_a_run_in_a_run_is_a_process_of_its_own(path):
    """Its name says which node it was begun in."""
    trace = Trace(path)
    outer = told_pipeline(trace)
    told_pipeline(trace, outer=(outer.run, "parse-1"), name="inner-1").end(101.9)
    outer.end(103.0)
    names = [event["args"]["name"] for event in events_of(path, name="process_name")]
    assert len(names) == 2
    assert names[1].endswith(f": inner-1 (in parse-1 of run {outer.run.id})")
    assert len({event["pid"] for event in events_of(path)}) == 2


def test_all_runs_that_are_over_are_in_the_file(path):
    """It is written anew whenever one is over; those that go on are left out."""
    trace = Trace(path)
    going_on = told_pipeline(trace, name="on")
    assert not path.exists()
    told_pipeline(trace, name="one").end(103.0)
    told_pipeline(trace, name="two").end(104.0)
    assert [event["name"] for event in events_of(path, cat="run")] == ["one", "two"]
    going_on.end(110.0)
    assert [event["name"] for event in events_of(path, cat="run")] == ["on", "one", "two"]


def test_awkward_names_are_json(path):
    """Quotes, lone surrogates and control characters do not break the file."""
    told = Telling(Trace(path), name='a"\\\n\ud800').begin().add('x"y\\\x07\ud800-1')
    told.call('x"y\\\x07\ud800-1', 0.0, 1.0, 2.0, "thread 1")
    told.end(3.0)
    (event,) = events_of(path, ph="X", cat="thread")
    assert event["args"]["key"] == 'x"y\\\x07\ud800-1'


def test_too_many_arrows_are_left_out_with_a_note(path, monkeypatch):
    """The file says so."""
    monkeypatch.setattr(trace_events, "MOST_ARROWS", 1)
    told_pipeline(Trace(path)).end(103.0)
    document = json.loads(path.read_text())
    assert "more than 1 dependencies: these have arrows" in document["otherData"]["notes"]
    assert len(events_of(path, ph="s")) == 1


def test_nodes_that_are_not_kept_are_noted(path):
    """The file says how many there were."""
    told_pipeline(Trace(path, most=2)).end(103.0)
    document = trace_rules.check(path.read_text())
    assert "2 nodes of run" in document["otherData"]["notes"]


times = st.floats(0, 10, allow_nan=False)


@given(
    spans=st.lists(st.tuples(times, times, times, st.sampled_from(["async", "inline", "thread", "process"]))),
    seed=st.integers(0, 1000),
)
def test_the_rules_hold_for_any_schedule(spans, seed):
    """Whatever times events tell, even such as cannot be, the file keeps the rules of the format."""
    recording = Recording()
    told = Telling(recording).begin()
    rng = random.Random(seed)
    for number, (ready, began, seconds, executor) in enumerate(spans):
        needed = " ".join(f"f-{each}" for each in range(number) if rng.random() < 0.3)
        told.add(f"f-{number} {executor} < {needed}")
        worker = "loop" if executor in {"async", "inline"} else f"{executor} {rng.randrange(2)}"
        told.call(f"f-{number}", ready, began, began + seconds, worker, rng.randrange(100))
    told.end(20.0)
    trace_rules.check("".join(lines_of(recording.runs)))


def test_lanes_are_as_few_as_can_be(path):
    """There are as many as coroutines were being computed at once."""
    told = Telling(Trace(path)).begin().add(*[f"a-{number} async" for number in range(90)])
    for number in range(90):
        told.call(f"a-{number}", 0.0, float(number), number + 3.0, "loop")
    told.end(100.0)
    assert [event["args"]["name"] for event in events_of(path, name="thread_name")][1:] == [
        "loop 1",
        "loop 2",
        "loop 3",
    ]


def tell_many(trace):
    """Tell of so many nodes that they are written beside the loop."""
    told = Telling(trace).begin().add(*[f"a-{number}" for number in range(_FEW + 1)])
    for number in range(_FEW + 1):
        told.call(f"a-{number}", 0.0, float(number), number + 1.0, "thread 1")
    return told.end(1000.0)


def test_leaving_the_block_waits_for_the_file(path):
    """What is written by a thread is there behind the `with` block, and the thread is gone."""
    with Trace(path) as trace:
        tell_many(trace)
    assert len(events_of(path, cat="thread")) == _FEW + 1


async def test_leaving_an_async_block_waits_for_the_file(path):
    """The same without holding up the loop."""
    async with Trace(path) as trace:
        tell_many(trace)
    assert len(events_of(path, cat="thread")) == _FEW + 1


async def test_leaving_an_async_block_waits_for_the_runs_that_go_on(path):
    """The file has them whole; an error that leaves the block waits for none."""
    gate = asyncio.Event()
    run = None

    async def fail():
        nonlocal run
        async with Trace(path):
            run = start(delayed(gate.wait, name="wait")())
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await fail()
    assert not run.done()
    async with Trace(path) as trace:
        other = start(delayed(gate.wait, name="wait")())
        asyncio.get_running_loop().call_soon(gate.set)
    assert other.done()
    assert [each.state for each in trace.recording.runs] == ["finished"]
    assert json.loads(path.read_text())["traceEvents"]
    await run


async def test_a_trace_that_is_told_no_more_waits_for_nothing(path, caplog, monkeypatch):
    """If it was dropped for a fault of ours, it will never hear that its runs are over."""
    trace = Trace(path)
    async with trace:
        run = start(delayed(asyncio.sleep)(0))
        monkeypatch.setattr(trace, "recording", Recording())
        monkeypatch.setattr(trace.recording, "_handlers", {})
        trace.recording.runs.append(RecordedRun(None, 1, "lost", 0.0, 0.0, None))
        await run
    assert "is told no more" in caplog.text


async def test_two_that_write_one_file_notice(path, caplog):
    """Each says in the log that it has replaced what something else has written meanwhile."""
    path.write_text("that of yesterday")
    first, second = Trace(path), Trace(path)
    await delayed(abs)(1).compute(observers=[first])
    await delayed(abs)(2).compute(observers=[first])
    assert not caplog.records
    await delayed(abs)(3).compute(observers=[second])
    (record,) = caplog.records
    said = f"the trace {path}, which something else has written meanwhile, was replaced"
    assert record.message.startswith(said)


def test_runs_that_end_while_a_thread_writes_are_in_the_file(path, monkeypatch):
    """The thread writes again."""
    trace, proceed = Trace(path), threading.Event()

    def slow(runs):
        proceed.wait()
        return lines_of(runs)

    monkeypatch.setattr(trace, "pieces", slow)
    for _ in range(5):
        tell_many(trace)
    proceed.set()
    trace.wait()
    assert len(events_of(path, cat="run")) == 5


def test_a_file_that_cannot_be_written_is_logged(path, caplog):
    """The run goes on; the message says which file and why."""
    trace = Trace(path)
    path.mkdir()
    with caplog.at_level(logging.ERROR, "asyncgraph"):
        told_pipeline(trace).end(103.0)
    (record,) = caplog.records
    assert record.message.startswith(f"asyncgraph could not write the trace {path}: ")
    assert isinstance(trace.error, OSError)
    assert os.listdir(path.parent) == [path.name]


def test_a_fault_of_ours_is_logged_and_leaves_the_former_file(path, caplog, monkeypatch):
    """Neither the run nor the file that is there suffers."""

    def fail(runs):
        yield "half"
        raise ZeroDivisionError

    trace = Trace(path)
    path.write_text("before")
    monkeypatch.setattr(trace, "pieces", fail)
    told_pipeline(trace).end(103.0)
    assert "please report this" in caplog.text
    assert path.read_text() == "before"
    assert os.listdir(path.parent) == [path.name]


def test_the_folder_is_looked_for_at_once(tmp_path):
    """Where no file can be written is known before anything runs."""
    with pytest.raises(FileNotFoundError, match=r"cannot be written: there is no folder .*gone"):
        Trace(tmp_path / "gone" / "run.json")
    with pytest.raises(IsADirectoryError, match="is a folder: give the path of a file in it"):
        Trace(tmp_path)


def test_the_file_stays_where_it_was_meant(tmp_path, monkeypatch):
    """A relative path is that of the folder in which it was given."""
    monkeypatch.chdir(tmp_path)
    trace = Trace("run.json")
    monkeypatch.chdir("/")
    told_pipeline(trace).end(103.0)
    assert (tmp_path / "run.json").exists()
