"""Recording, trace and report of real runs: what the runtime tells fits what they expect."""

from __future__ import annotations

import asyncio
import gc
import json
import math
import threading
import weakref

import pytest

from asyncgraph import Retry, Runtime, compute, delayed
from asyncgraph.observe import Recording, Report, Trace
from asyncgraph.observe.report.study import Study
from tests.observe import trace_rules


@delayed
async def fetch(number):
    """Return some bytes after a turn of the loop."""
    await asyncio.sleep(0)
    return bytes(number)


@delayed(executor="process")
def parse(data):
    """Return how many there are."""
    return len(data)


@delayed
def save(count):
    """Return it."""
    return count


def pipeline(count):
    """Return what adds up so many downloads."""
    return delayed(sum)([save(parse(fetch(number))) for number in range(count)])


async def test_a_run_of_all_executors(tmp_path):
    """Every node is kept with its times in order; trace and report are whole."""
    async with Runtime(processes=2) as runtime:
        recording = Recording()
        async with Trace(tmp_path / "run.json") as trace, Report(tmp_path / "run.html") as report:
            total = await pipeline(20).compute(runtime=runtime, observers=[recording])
    assert total == sum(range(20))
    (run,) = recording.runs
    assert (run.state, len(run), run.counts()["finished"]) == ("finished", 61, 61)
    assert run.slots["process"] == 2
    assert sorted(node.order for node in run) == list(range(61))
    for node in run:
        assert run.began <= node.ready <= node.began <= node.ended <= run.ended
        for needed in node.info.dependencies:
            assert run[needed].ended <= node.began
        assert node.worker.startswith(node.info.executor)
        assert (node.released is None) == (node.info.number in run.outputs)
    study = Study(run, recording.workers)
    assert study.path.seconds == pytest.approx(run.seconds)
    assert study.chain.seconds <= run.seconds
    document = trace_rules.check(trace.path.read_text())
    assert sum(event["ph"] == "s" for event in document["traceEvents"]) == 60
    assert "parse-" in report.path.read_text()


async def test_nothing_of_the_program_is_in_the_files(tmp_path):
    """No argument and no value is."""
    secret = "hunter2-" * 3
    with Trace(tmp_path / "run.json"), Report(tmp_path / "run.html"), Recording() as recording:
        await save(save(secret)).compute()
    for name in ("run.json", "run.html"):
        assert "hunter2" not in (tmp_path / name).read_text()
    assert "hunter2" not in repr(recording.runs) + repr(list(recording.runs[0]))


async def test_attempts_failures_and_what_is_behind_them(tmp_path):
    """Each attempt is a call of its own, and what is behind a failure was never called."""
    tries = []

    @delayed(retries=Retry(attempts=3, backoff=0))
    async def shaky():
        tries.append(1)
        raise OSError(f"try {len(tries)}")

    with Recording() as recording, Trace(tmp_path / "run.json"), Report(tmp_path / "run.html"):
        (error,) = (await compute(save(shaky()), 1, return_exceptions=True))[:1]
    assert error is not None
    (run,) = recording.runs
    assert [(call.attempt, call.error) for call in run.calls] == [
        (1, "OSError: try 1"),
        (2, "OSError: try 2"),
    ]
    (failure,) = run.failures
    assert (failure.message, run[failure.number].attempt) == ("try 3", 3)
    assert list(run.behind.values()) == [failure.number]
    trace_rules.check((tmp_path / "run.json").read_text())
    assert "OSError: try 2" in (tmp_path / "run.html").read_text()


async def test_a_graph_that_grows(tmp_path):
    """What a node returns is kept with where it came from, however deep it goes."""

    @delayed
    def count(left):
        return count(left - 1) if left else "done"

    with Recording() as recording, Trace(tmp_path / "run.json"), Report(tmp_path / "run.html"):
        assert await save(count(5)).compute() == "done"
    (run,) = recording.runs
    assert len(run.calls) + len(run.roots) == 5
    study = Study(run)
    assert [step.name for step in study.path.steps if step.kind == "call"] == ["count"] * 6 + ["save"]
    assert len(study.chain.calls) == 7
    trace_rules.check((tmp_path / "run.json").read_text())


async def test_a_cancelled_run(tmp_path):
    """What was stopped and what was not begun are told apart, and the files are written."""
    begun = asyncio.Event()

    @delayed
    async def wait():
        begun.set()
        await asyncio.Event().wait()

    with Recording() as recording, Trace(tmp_path / "run.json"), Report(tmp_path / "run.html"):
        aio_task = asyncio.ensure_future(save(wait()).compute())
        await begun.wait()
        aio_task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await aio_task
    (run,) = recording.runs
    assert run.state == "cancelled"
    assert [(node.state, node.worker) for node in run] == [("cancelled", "loop"), ("cancelled", "")]
    document = trace_rules.check((tmp_path / "run.json").read_text())
    (call,) = [event for event in document["traceEvents"] if event.get("cat") == "coroutine"]
    assert call["args"]["outcome"] == "cancelled"


async def test_a_run_in_a_run(tmp_path):
    """The inner one is kept for itself, and knows where it was begun."""

    @delayed
    async def outer():
        return await save(1).compute()

    with Recording() as recording, Trace(tmp_path / "run.json"):
        assert await outer().compute() == 1
    first, second = recording.runs
    assert second.outer == (first.id, first[0].info.key)
    document = trace_rules.check((tmp_path / "run.json").read_text())
    assert {event["pid"] for event in document["traceEvents"]} == {first.id, second.id}


async def test_two_runs_at_once(tmp_path):
    """Each is kept for itself."""
    with Recording() as recording, Trace(tmp_path / "run.json"):
        await asyncio.gather(pipeline(3).compute(), pipeline(4).compute())
    assert sorted(len(run) for run in recording.runs) == [10, 13]
    trace_rules.check((tmp_path / "run.json").read_text())


async def test_marks_paint_a_picture():
    """They are by the keys of the nodes."""
    node = pipeline(3)
    with Recording() as recording:
        await node.compute()
    marks = recording.marks()
    assert set(node.graph) == set(marks)
    assert all(mark.state == "finished" and mark.seconds >= 0 for mark in marks.values())


async def test_values_and_frames_are_not_kept_alive():
    """What a recording keeps of a run refers to nothing of the program."""

    class Value:
        pass

    value = Value()
    alive = weakref.ref(value)
    with Recording() as recording:
        await save(value).compute()
    del value
    gc.collect()
    assert alive() is None
    assert len(recording.runs[0]) >= 1


async def test_a_blocked_loop_is_in_the_report(tmp_path):
    """The stall is there with the node that has caused it."""
    entered, proceed = threading.Event(), threading.Event()

    @delayed(executor="loop")
    def block():
        entered.set()
        proceed.wait()

    async with Report(tmp_path / "run.html") as report:
        heart = report._heart

        def release():
            entered.wait()
            began = heart._due
            while heart._clock() < began + 0.2:
                pass
            proceed.set()

        helper = threading.Thread(target=release)
        helper.start()
        await block().compute()
        helper.join()
    ((_, seconds),) = heart.stalls
    assert seconds > 0.1
    page = (tmp_path / "run.html").read_text()
    assert "block-" in page.partition("<h2>Loop stalls</h2>")[2].partition("</section>")[0]
    assert "was running" in page


async def test_the_thread_that_writes_does_not_hold_up_the_loop(tmp_path):
    """A large report is made beside the loop: while that stands still amid its work, coroutines go on."""
    loop, amid, proceed = asyncio.get_running_loop(), asyncio.Event(), threading.Event()

    class Held(Report):
        def pieces(self, runs):
            first, *others = super().pieces(runs)
            yield first
            loop.call_soon_threadsafe(amid.set)
            proceed.wait()
            yield from others

    async def let_go():
        await amid.wait()
        proceed.set()

    async with Held(tmp_path / "run.html") as report:
        await delayed(sum)([save(number) for number in range(3000)]).compute()
        aio_task = asyncio.ensure_future(let_go())
    await aio_task
    assert report._writer is None
    page = report.path.read_text()
    data = json.loads(page.partition('type="application/json"')[2].partition(">")[2].partition("<")[0])
    assert sum(len(track["gap"]) for track in data["tracks"]) == 3001
    assert not math.isnan(data["seconds"])
