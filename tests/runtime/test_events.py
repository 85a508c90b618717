"""Events: what runs tell their observers, to whom, and that it makes sense whatever happens."""

# ruff: noqa: ASYNC110, D102, D103 - turns of the loop are waited for; helpers whose names say it

from __future__ import annotations

import asyncio
import gc
import logging
import operator
import os
import random
import threading
import time
import weakref
from collections import Counter
from types import SimpleNamespace
from typing import Any

import pytest

from asyncgraph import (
    Input,
    Runtime,
    as_completed,
    compile,
    compute,
    delayed,
    resource,
    start,
    when,
)
from asyncgraph._runtime import recorder
from asyncgraph._runtime.slices import SLICE
from asyncgraph.errors import DependencyError, WorkerCrashedError
from asyncgraph.observe import (
    NodeCached,
    NodeCancelled,
    NodeExpanded,
    NodeFailed,
    NodeFinished,
    NodeNotRun,
    NodeRetrying,
    NodesAdded,
    NodeStarted,
    Observer,
    RunFinished,
    RunStarted,
    WorkerLost,
    WorkerStarted,
    observing,
)
from tests.runtime.stories import by_run, check


@delayed
async def fetch(value: Any) -> Any:
    await asyncio.sleep(0)
    return value


@delayed
def save(value: Any) -> Any:
    return value


@delayed(executor="process")
def parse(value: Any) -> Any:
    return value


@delayed(executor="loop")
def add(*values: Any) -> Any:
    return sum(values)


def told(events: list[Any], *kinds: type) -> list[tuple[str, str]]:
    """The names of events and nodes; of these kinds only, if any are given."""
    return [
        (type(event).__name__, event.node.key)
        for event in events
        if hasattr(event, "node") and (not kinds or isinstance(event, kinds))
    ]


class OnlyRuns(Observer):
    """Hears of runs, and not of their nodes."""

    kinds = frozenset({RunStarted, RunFinished})

    def __init__(self) -> None:
        self.events: list[Any] = []

    def __call__(self, event: Any) -> None:
        self.events.append(event)


# -- what is told


async def test_the_story_of_a_small_graph() -> None:
    """Each node is ready, starts, finishes and is released, in the order of the graph."""
    events: list[Any] = []
    one = delayed(abs, executor="loop", name="one")(-1)
    two = delayed(abs, executor="loop", name="two")(one)
    assert await two.compute(observers=[events.append]) == 1
    check(events)
    (a, b) = (one.key, two.key)
    assert told(events) == [
        ("NodeReady", a),
        ("NodeStarted", a),
        ("NodeFinished", a),
        ("NodeReady", b),
        ("NodeStarted", b),
        ("NodeReleased", a),
        ("NodeFinished", b),
    ]
    added = events[1]
    assert isinstance(added, NodesAdded)
    assert [(info.key, info.dependencies, info.kind) for info in added.nodes] == [
        (a, (), "function"),
        (b, (0,), "function"),
    ]
    assert added.outputs == (1,)
    assert added.nodes[0].site is not None
    assert added.nodes[0].site.file == __file__
    assert [info.key for info in added.nodes[-1:]] == [b]


async def test_where_each_node_ran() -> None:
    """Coroutines and operators on the loop, the others in the thread or the process that events name."""
    events: list[Any] = []
    pid = parse(delayed(os.getpid, executor="process")())
    thread = delayed(threading.get_ident)()
    async with Runtime(processes=1, threads=1, observers=[events.append]) as runtime:
        values = await runtime.compute(fetch(1) + 1, pid, thread)
    check(events)
    workers = {event.node.name: event.worker for event in events if isinstance(event, NodeFinished)}
    assert workers["fetch"] == workers["add"] == "loop"
    assert workers["parse"] == workers["getpid"] == f"process {values[1]}"
    assert workers["get_ident"].startswith("thread ")
    (began,) = [event for event in events if isinstance(event, WorkerStarted)]
    (ended,) = [event for event in events if isinstance(event, WorkerLost)]
    assert (began.worker, began.pid, began.runtime) == (f"process {values[1]}", values[1], runtime)
    assert (ended.pid, ended.reason) == (values[1], "left")


async def test_a_worker_that_dies_is_told_of() -> None:
    """The loss, with what is known of it, and the failure of the node that it was at."""
    events: list[Any] = []
    with pytest.raises(WorkerCrashedError):
        await delayed(os._exit, executor="process")(7).compute(observers=[events.append])
    check(events)
    (ended,) = [event for event in events if isinstance(event, WorkerLost)]
    assert ended.reason == "ended with exit code 7"
    (failed,) = [event for event in events if isinstance(event, NodeFailed)]
    assert type(failed.error) is WorkerCrashedError
    assert failed.root is None


async def test_a_value_that_stays_in_a_worker_has_no_size_here() -> None:
    """What goes from one call to the next there takes no memory here; what comes from there does."""
    events: list[Any] = []
    made = delayed(bytes, executor="process")(100_000)
    async with Runtime(processes=1):
        assert await delayed(bytes, executor="process")(made).compute(observers=[events.append]) == bytes(
            100_000
        )
    check(events)
    sizes = [event.size for event in events if isinstance(event, NodeFinished)]
    assert sizes[0] == 0
    assert sizes[1] >= 100_000


async def test_times_are_those_of_the_calls() -> None:
    """A call that has waited for its turn began when it began, and not when it was handed over."""
    events: list[Any] = []
    calls = [delayed(sum, executor=kind)(range(200_000)) for kind in ("thread", "process") for _ in range(6)]
    async with Runtime(processes=1, threads=1):
        await compute(calls, observers=[events.append])
    check(events)
    seconds = [event.seconds for event in events if isinstance(event, NodeFinished)]
    assert len(seconds) == 12
    assert all(each > 0 for each in seconds)


async def test_short_calls_in_threads_are_told_one_by_one() -> None:
    """Calls that a thread makes without asking the loop in between have times of their own, too."""
    function = delayed(operator.add)
    function.function.durations.add(0.001, 1000)
    total = function(1, 1)
    for _ in range(50):
        total = function(total, function(1, 1))
    events: list[Any] = []
    assert await total.compute(observers=[events.append]) == 102
    check(events)
    workers = {event.worker for event in events if isinstance(event, NodeFinished)}
    assert all(worker.startswith("thread ") for worker in workers)


async def test_attempts_are_counted() -> None:
    """A node that is tried again is told so, with what went wrong, and starts once more."""
    calls: list[int] = []

    @delayed(retries=3)
    async def flaky() -> int:
        calls.append(1)
        if len(calls) < 3:
            raise ValueError("not yet")
        return 5

    events: list[Any] = []
    assert await flaky().compute(observers=[events.append]) == 5
    check(events)
    retrying = [event for event in events if isinstance(event, NodeRetrying)]
    assert [(event.attempt, event.error) for event in retrying] == [
        (1, "ValueError: not yet"),
        (2, "ValueError: not yet"),
    ]
    assert [event.attempt for event in events if isinstance(event, NodeStarted)] == [1, 2, 3]


async def test_graphs_that_grow() -> None:
    """What a node returns is added, and the node has its value when that has; recursion, too."""

    @delayed
    async def countdown(number: int) -> Any:
        return fetch("end") if number == 0 else countdown(number - 1)

    events: list[Any] = []
    node = countdown(2)
    assert await (node + "!").compute(observers=[events.append]) == "end!"
    check(events)
    expanded = [event for event in events if isinstance(event, NodeExpanded)]
    assert [event.node.name for event in expanded] == ["countdown"] * 3
    assert len({event.node.key for event in expanded}) == 3
    assert expanded[-1].root.name == "fetch"
    added = [event for event in events if isinstance(event, NodesAdded)]
    assert [len(event.nodes) for event in added] == [2, 1, 1, 1]
    assert [event.source and event.source.name for event in added] == [None] + ["countdown"] * 3


async def test_a_failure_and_what_is_behind_it() -> None:
    """The node that fails has the error itself; those behind it are told not to run, and name that node."""
    events: list[Any] = []
    bad = fetch(1) / 0
    outcomes = await compute(bad + 1, fetch(2), return_exceptions=True, observers=[events.append])
    check(events)
    assert isinstance(outcomes[0], DependencyError)
    (failed,) = [event for event in events if isinstance(event, NodeFailed)]
    (not_run,) = [event for event in events if isinstance(event, NodeNotRun)]
    assert (failed.node.key, failed.root) == (bad.key, None)
    assert failed.began is not None
    assert isinstance(failed.error, ZeroDivisionError)
    assert (not_run.behind.key, not_run.error) == (bad.key, failed.error)
    assert events[-1].state == "finished"


async def test_a_run_that_fails_and_one_that_is_cancelled() -> None:
    """The last event says how a run has ended, and all that did not run is told of before."""
    events: list[Any] = []
    with pytest.raises(ZeroDivisionError) as caught:
        await compute(fetch(1) / 0, *[fetch(number) + 1 for number in range(5)], observers=[events.append])
    check(events)
    assert (events[-1].state, events[-1].error) == ("failed", caught.value)
    events.clear()
    gate = asyncio.Event()
    run = start(delayed(gate.wait)() + 1, observers=[events.append])
    while not any(isinstance(event, NodeStarted) for event in events):
        await asyncio.sleep(0)
    run.cancel()
    with pytest.raises(asyncio.CancelledError):
        await run
    check(events)
    assert (events[-1].state, events[-1].error) == ("cancelled", None)
    begun = {event.node.name: event.began is not None for event in events if isinstance(event, NodeCancelled)}
    assert begun == {"wait": True, "add": False}


@pytest.mark.parametrize("turns", [1, 2, 3, 10])
async def test_a_run_that_is_cancelled_before_anything_begins(turns: int) -> None:
    """While a large graph is planned, and when a run is resumed: each node that was named is told of."""
    run = start(delayed(sum)([fetch(number) for number in range(20_000)]))
    for _ in range(turns):
        await asyncio.sleep(0)
    events: list[Any] = []
    run.cancel()
    with pytest.raises(asyncio.CancelledError):
        await run
    for _ in range(2):
        with observing(events.append):
            run = run.resume()
        for _ in range(turns):
            await asyncio.sleep(0)
        run.cancel()
        with pytest.raises(asyncio.CancelledError):
            await run
    check(events)


async def test_what_a_resumed_run_had_already() -> None:
    """Values of the run before are cached; what failed is ready, starts and finishes."""
    is_broken = True

    @delayed(executor="loop")
    def invert(value: int) -> float:
        if is_broken:
            raise OSError
        return 1 / value

    node = invert(fetch(4)) + 1
    run = start(node)
    with pytest.raises(OSError):
        await run
    is_broken = False
    events: list[Any] = []
    with observing(events.append):
        assert await run.resume() == 1.25
    check(events)
    assert [event.node.name for event in events if isinstance(event, NodeCached)] == ["fetch"]
    assert [event.node.name for event in events if isinstance(event, NodeFinished)] == ["invert", "add"]


async def test_sizes_of_values() -> None:
    """Of what finishes it is told about how large it is, and never what it is."""
    events: list[Any] = []
    await compute(fetch(b"x" * 50_000), fetch(["x" * 1000] * 100), observers=[events.append])
    sizes = [event.size for event in events if isinstance(event, NodeFinished)]
    assert 50_000 <= sizes[0] < 50_200
    assert 100_000 <= sizes[1] < 120_000
    assert not [event for event in events if "xxxx" in repr(event)]


async def test_choices_and_resources_are_told_of() -> None:
    """Their kinds are named; the side of a choice that is not taken is not told of."""

    class Thing:
        async def __aenter__(self) -> int:
            return 3

        async def __aexit__(self, *error: object) -> None:
            pass

    events: list[Any] = []
    chosen = when(fetch(True), fetch(1) + resource(Thing), save("never"))
    assert await chosen.compute(observers=[events.append]) == 4
    check(events)
    infos = [info for event in events if isinstance(event, NodesAdded) for info in event.nodes]
    assert Counter(info.kind for info in infos) == {"function": 3, "choice": 1, "resource": 1}
    assert "save" not in {info.name for info in infos}


# -- who is told


async def test_everybody_who_may_hear_does_once() -> None:
    """Observers of the run, of its runtime and of `with` blocks, each once however often it was given."""
    ofrun, ofruntime, ofblock, both = OnlyRuns(), OnlyRuns(), OnlyRuns(), OnlyRuns()
    async with Runtime(observers=[ofruntime, both]) as runtime:
        with ofblock:
            await fetch(1).compute(observers=[ofrun, both])
            await runtime.compute(fetch(1), observers=[ofrun])
            await runtime.start(fetch(1), observers=[ofrun])
            await start(fetch(1), observers=[ofrun])
            assert [value async for _, value in as_completed([fetch(1)], observers=[ofrun])] == [1]
            await compile(fetch(Input("x")), observers=[ofrun])(x=1)
        await fetch(1)
    assert len(ofrun.events) == len(ofblock.events) == 12
    assert len(both.events) == len(ofruntime.events) == 14


async def test_two_runs_do_not_see_each_other() -> None:
    """What is observed in one task is not told of in another that goes on meanwhile."""
    gate = asyncio.Event()

    async def observed() -> list[Any]:
        events: list[Any] = []
        with observing(events.append):
            await (fetch(1) + delayed(gate.wait)()).compute()
        return events

    async def other() -> list[Any]:
        events: list[Any] = []
        await fetch("other").compute(observers=[events.append])
        gate.set()
        return events

    first, second = await asyncio.gather(observed(), other())
    check(first)
    check(second)
    assert len(by_run(first)) == len(by_run(second)) == 1
    assert not by_run(first).keys() & by_run(second).keys()


async def test_runs_in_nodes_are_told_to_those_of_the_run_around() -> None:
    """A run that is begun in a coroutine or a thread of a node says which node that is."""
    inner_loops: list[Any] = []

    @delayed
    async def outside() -> int:
        return await fetch(1).compute() + 1

    @delayed
    def in_thread() -> int:
        return asyncio.run(compute(fetch(5)))

    events: list[Any] = []
    nodes = [outside(), in_thread()]
    assert await compute(nodes, observers=[events.append, inner_loops.append]) == [2, 5]
    check(events)
    runs = by_run(events)
    assert len(runs) == 3
    around = next(story[0].run for story in runs.values() if story[0].run.outer is None)
    outers = [story[0].run.outer for story in runs.values() if story[0].run.outer is not None]
    assert {run for run, _ in outers} == {around}
    assert {key for _, key in outers} == {node.key for node in nodes}


async def test_an_observer_that_raises_is_dropped(caplog: pytest.LogCaptureFixture) -> None:
    """One line in the log, for one event; others go on hearing, and so does the run."""
    calls: list[Any] = []

    def faulty(event: Any) -> None:
        calls.append(event)
        raise LookupError("no such thing")

    events: list[Any] = []
    async with Runtime(observers=[faulty, events.append]) as runtime:
        assert await runtime.compute(fetch(1) + 1) == 2
        assert await runtime.compute(fetch(2)) == 2
    check(events)
    assert len(calls) == 1
    (record,) = [each for each in caplog.records if each.levelno >= logging.WARNING]
    assert record.name == "asyncgraph.observe"
    assert record.getMessage().endswith(
        "faulty raised LookupError: no such thing at RunStarted, and is told no more"
    )


async def test_observers_of_a_runtime_come_and_go() -> None:
    """`add_observer` is for runs that begin later, and `remove_observer` likewise."""
    seen = OnlyRuns()
    async with Runtime() as runtime:
        await runtime.compute(fetch(1))
        runtime.add_observer(seen)
        await runtime.compute(fetch(1))
        runtime.remove_observer(seen)
        await runtime.compute(fetch(1))
        assert [usage.executor for usage in runtime.usage()] == ["loop", "thread", "process"]
        assert {usage.used for usage in runtime.usage()} == {0}
    assert len(seen.events) == 2


async def test_an_observer_may_cancel() -> None:
    """A run that is cancelled from within an event stops, and tells of that."""
    events: list[Any] = []

    def stop_at_once(event: Any) -> None:
        events.append(event)
        if isinstance(event, NodeFinished):
            event.run.cancel()

    run = start(delayed(sum)([fetch(number) for number in range(3000)]), observers=[stop_at_once])
    with pytest.raises(asyncio.CancelledError):
        await run
    check(events)
    assert events[-1].state == "cancelled"


def test_a_block_that_is_left_in_another_context() -> None:
    """To leave a block where it was not entered changes nothing, and raises nothing."""
    import contextvars

    block = OnlyRuns()
    contextvars.Context().run(block.__enter__)
    block.__exit__(None, None, None)


@pytest.mark.parametrize(
    ("observers", "message"),
    [
        (print, "observers= takes a list of observers, not <built-in function print>: observers=[print]"),
        (5, "observers= takes a list of observers, not 5"),
        ("no", "observers= takes a list of observers, not 'no'"),
        ([5], "an observer is called with each event, and 5 cannot be called"),
        ([OnlyRuns], "an observer is an object, not a class: OnlyRuns()"),
    ],
)
def test_what_is_no_observer_is_refused(observers: Any, message: str) -> None:
    """Wherever observers can be given, with what would be right."""
    for give in (
        lambda: Runtime(observers=observers),
        lambda: fetch(1).compute(observers=observers),
        lambda: compute(fetch(1), fetch(2), observers=observers),
        lambda: start(fetch(1), observers=observers),
        lambda: compile(fetch(1), observers=observers),
        lambda: as_completed([fetch(1)], observers=observers),
    ):
        with pytest.raises(TypeError) as caught:
            give()
        assert str(caught.value) == message


# -- what may be asked


async def test_without_node_events_nothing_is_noted() -> None:
    """A run that is observed as a whole goes the same way as one that is not."""
    seen = OnlyRuns()
    run = start(fetch(1), observers=[seen])
    assert run._execution.recorder is None
    await run
    run = start(fetch(1), observers=[print])
    assert run._execution.recorder is not None
    run.cancel()
    with pytest.raises(asyncio.CancelledError):
        await run


@pytest.mark.parametrize("executor", ["loop", "thread", "async"])
async def test_progress_by_function(executor: str) -> None:
    """How far each function is, on whichever way; in the end, all; data is left out."""
    seen = OnlyRuns()
    reached, gate = asyncio.Event(), asyncio.Event()

    async def wait(value: Any) -> Any:
        reached.set()
        await gate.wait()
        return value

    function = fetch if executor == "async" else delayed(abs, name="fetch", executor=executor)
    before = [function(number) for number in range(10)]
    middle = delayed(wait)(delayed(len)(before))
    aio_task = asyncio.ensure_future((middle + delayed(5)).compute(observers=[seen]))
    await reached.wait()
    rows = {row.name: row for row in seen.events[0].run.progress()}
    assert rows["fetch"] == ("fetch", 10, 0, 10, 0, 0, 0)
    assert rows["wait"] == ("wait", 1, 1, 0, 0, 0, 0)
    assert rows["add"] == ("add", 1, 0, 0, 0, 0, 0)
    assert rows.keys() == {"fetch", "len", "wait", "add"}
    gate.set()
    await aio_task
    run = seen.events[0].run
    assert {row.finished == row.nodes for row in run.progress()} == {True}
    assert run.statistics().finished == 14
    assert run.description().endswith("over\n")
    assert not run.cancel()


async def test_progress_of_what_fails_and_is_cancelled() -> None:
    """Failed and cancelled nodes are counted as such."""
    seen = OnlyRuns()
    with pytest.raises(ZeroDivisionError):
        await compute(fetch(1) / 0, delayed(asyncio.Event().wait)() - 1, observers=[seen])
    rows = {row.name: row for row in seen.events[0].run.progress()}
    assert rows["truediv"].failed + rows["truediv"].cancelled + rows["truediv"].finished == 1
    assert rows["sub"].cancelled == 1
    assert seen.events[-1].state == "failed"


async def test_an_observer_keeps_no_values() -> None:
    """Whoever keeps events keeps nothing of what was computed, nor the run; `NodesAdded` keeps the graph."""

    class Value:
        pass

    made: list[weakref.ref[Value]] = []

    @delayed(executor="loop")
    def make() -> Value:
        value = Value()
        made.append(weakref.ref(value))
        return value

    events: list[Any] = []
    run = start(make(), observers=[events.append])
    value = await run
    gone = weakref.ref(run)
    del run, value
    gc.collect()
    assert gone() is None
    assert made[0]() is None
    events[:] = [event for event in events if not isinstance(event, NodesAdded)]
    with pytest.raises(RuntimeError, match="the graph is gone"):
        events[0].run.graph()


async def test_the_graph_of_a_run() -> None:
    """As long as somebody has the nodes, an observer can ask for their graph."""
    seen = OnlyRuns()
    node = fetch(1) + 1
    await node.compute(observers=[seen])
    assert dict(seen.events[0].run.graph()).keys() == dict(node.graph).keys()
    assert seen.events[0].run.name == node.key
    assert repr(seen.events[0].run).endswith(f"of {node.key}>")


# -- whatever happens


def some_graph(choose: random.Random, size: int) -> list[Any]:
    """A random graph of all kinds of nodes: some fail, some return others, some are tried again."""

    def work(kind: str, *values: Any) -> Any:
        if kind == "raise":
            raise LookupError(kind)
        if kind == "grow":
            return delayed(work)("plain", *values) + 0
        return 1 + sum(value for value in values if isinstance(value, int)) % 7

    async def later(kind: str, *values: Any) -> Any:
        for _ in range(choose.randrange(3)):
            await asyncio.sleep(0)
        return work(kind, *values)

    tried: Counter[int] = Counter()

    async def flaky(number: int, *values: Any) -> Any:
        tried[number] += 1
        if tried[number] < 2:
            raise OSError("busy")
        return len(values)

    short = delayed(work, name="short")
    short.function.durations.add(0.001, 1000)
    kinds = ["plain"] * 12 + ["grow", "grow", "raise"][: choose.randrange(4)]
    functions = [delayed(work), short, short, delayed(work, executor="loop"), delayed(later)]
    if choose.random() < 0.3:
        functions.append(delayed(work, executor="process"))
    nodes: list[Any] = []
    for number in range(size):
        inputs = [choose.choice(nodes) for _ in range(min(len(nodes), choose.randrange(4)))]
        if choose.random() < 0.1:
            nodes.append(delayed(flaky, retries=2)(number, *inputs))
        else:
            nodes.append(choose.choice(functions)(choose.choice(kinds), *inputs))
    return choose.sample(nodes, min(3, len(nodes)))


@pytest.mark.parametrize("seed", range(60))
async def test_random_graphs_tell_whole_stories(seed: int, caplog: pytest.LogCaptureFixture) -> None:
    """Whatever a run does and however it ends, what is told of it follows the rules and is complete."""
    choose = random.Random(seed)
    outputs = some_graph(choose, choose.randrange(1, 60))
    # What fails in a run that is being cancelled is told to the loop.
    asyncio.get_running_loop().set_exception_handler(lambda *_: None)
    events: list[Any] = []
    async with Runtime(processes=1, threads=2, concurrency=choose.choice([2, 20])):
        for _ in range(2):
            run = start(
                outputs,
                return_exceptions=choose.random() < 0.7,
                observers=[events.append, OnlyRuns()],
                timeout=30,
            )
            if choose.random() < 0.3:
                for _ in range(choose.randrange(20)):
                    await asyncio.sleep(0)
                run.cancel()
            try:
                await run
            except (LookupError, asyncio.CancelledError):
                if choose.random() < 0.5:
                    try:
                        await run.resume(return_exceptions=True)
                    except asyncio.CancelledError:
                        pytest.fail("a run that was resumed was cancelled")
    check(events)
    assert not [each for each in caplog.records if each.levelno >= logging.ERROR]
    for story in by_run(events).values():
        finished = sum(isinstance(event, (NodeFinished, NodeCached)) for event in story)
        failed = sum(isinstance(event, NodeFailed) for event in story)
        not_run = sum(isinstance(event, NodeNotRun) for event in story)
        cancelled = sum(isinstance(event, NodeCancelled) for event in story)
        statistics = story[0].run.statistics()
        assert (finished, failed, not_run, cancelled) == statistics[4:8]
        assert finished + failed + not_run + cancelled == statistics.nodes


async def test_many_nodes_do_not_hold_the_loop() -> None:
    """What there is to tell is told in portions: others have their turn in between."""
    turns = 0
    told_in_turn: Counter[int] = Counter()

    async def count() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    counting = asyncio.ensure_future(count())

    def note(event: Any) -> None:
        told_in_turn[turns] += 1

    total = delayed(sum, executor="loop")([delayed(abs, executor="loop")(each) for each in range(20_000)])
    assert await total.compute(observers=[note]) == sum(range(20_000))
    counting.cancel()
    assert max(told_in_turn.values()) < 20_000
    assert sum(told_in_turn.values()) > 80_000


async def test_slow_observers_hold_the_loop_no_longer_than_fast_ones(monkeypatch: pytest.MonkeyPatch) -> None:
    """A turn ends when its time is up, however little has been told in it."""
    clock = time.perf_counter()
    turns = 0
    told_in_turn: Counter[int] = Counter()

    async def count() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    class Slow(Observer):
        kinds = frozenset({NodeFinished})

        def __call__(self, event: Any) -> None:
            nonlocal clock
            clock += SLICE
            told_in_turn[turns] += 1

    monkeypatch.setattr(recorder, "time", SimpleNamespace(perf_counter=lambda: clock))
    counting = asyncio.ensure_future(count())
    total = delayed(sum, executor="loop")([delayed(abs, executor="loop")(each) for each in range(1_000)])
    assert await total.compute(observers=[Slow()]) == sum(range(1_000))
    counting.cancel()
    assert sum(told_in_turn.values()) == 1_001
    assert max(told_in_turn.values()) <= 2


# -- observers that do what they should not


@pytest.mark.parametrize("kind", [RunStarted, NodesAdded, NodeFinished, RunFinished])
@pytest.mark.parametrize("error", [asyncio.CancelledError, GeneratorExit, LookupError])
async def test_whatever_an_observer_raises_harms_no_run(kind: type, error: type[BaseException]) -> None:
    """Also what would stop a task: the run goes on, ends, and is told to the others."""

    def faulty(event: Any) -> None:
        if isinstance(event, kind):
            raise error("no")

    events: list[Any] = []
    assert await (fetch(1) + 1).compute(observers=[faulty, events.append]) == 2
    check(events)


async def test_an_observer_of_workers_that_raises(caplog: pytest.LogCaptureFixture) -> None:
    """It is told no more, of anything, and the call that the worker was at still fails as it should."""
    calls: list[Any] = []

    class Faulty(Observer):
        kinds = frozenset({WorkerStarted, WorkerLost})

        def __call__(self, event: Any) -> None:
            calls.append(event)
            raise asyncio.CancelledError

    with pytest.raises(WorkerCrashedError):
        await delayed(os._exit, executor="process")(3).compute(observers=[Faulty()])
    assert len(calls) == 1


async def test_a_fault_of_the_teller_ends_the_telling(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """The run goes on to its end, and the log says what to report."""

    def fail(*args: Any) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr("asyncgraph._runtime.teller.Teller.tell", fail)
    total = delayed(sum)([fetch(number) for number in range(3000)])
    assert await total.compute(observers=[lambda _: None]) == sum(range(3000))
    assert ["please report this" in record.getMessage() for record in caplog.records] == [True]


async def test_observers_are_told_outside_of_nodes() -> None:
    """An observer that computes something is in no node then, and so does not hear of that itself."""
    inner: list[Any] = []

    def react(event: Any) -> None:
        if isinstance(event, NodeFinished):
            inner.append(start(delayed(abs, executor="loop")(-1)))

    events: list[Any] = []
    await delayed(sum)([fetch(number) for number in range(20)]).compute(observers=[react, events.append])
    assert len(by_run(events)) == 1
    assert len([await run for run in inner]) == 21


async def test_runs_on_several_loops_tell_one_after_another() -> None:
    """Runs that are begun in threads of a run have loops of their own, and the same observers."""
    inside = threading.Lock()

    class Careful(Observer):
        def __init__(self) -> None:
            self.clashes = self.calls = 0

        def __call__(self, event: Any) -> None:
            self.calls += 1
            if not inside.acquire(blocking=False):
                self.clashes += 1
                return
            sum(range(200))
            inside.release()

    @delayed
    def nested(number: int) -> int:
        return asyncio.run(compute(delayed(sum)([fetch(each) for each in range(number)])))

    careful = Careful()
    async with Runtime(threads=4):
        await compute([nested(30) for _ in range(12)], observers=[careful])
    assert careful.clashes == 0
    assert careful.calls > 12 * 30


async def test_one_observer_in_the_blocks_of_several_tasks() -> None:
    """Each task leaves its own block, whichever is left first."""
    seen = OnlyRuns()
    both, left = asyncio.Barrier(2), asyncio.Event()

    async def first() -> None:
        with seen:
            await both.wait()
        await fetch(1)
        left.set()

    async def second() -> None:
        with seen:
            await both.wait()
            await left.wait()
            await fetch(2)
        await fetch(3)

    await asyncio.gather(first(), second())
    assert len(by_run(seen.events)) == 1


class Unpicklable(Observer):
    """Puts something around calls that cannot go to a worker process."""

    kinds = frozenset()

    def __init__(self, manager: Any) -> None:
        self.manager = manager

    def around(self, *_: Any) -> Any:
        return self.manager


@pytest.mark.parametrize("manager", [threading.Lock(), 5])
async def test_what_calls_cannot_be_made_in_is_dropped(
    manager: Any, caplog: pytest.LogCaptureFixture
) -> None:
    """One line says why, and the call is made without."""
    with Unpicklable(manager):
        assert await parse(1) + await parse(2) == 3
    lines = [record.getMessage() for record in caplog.records if record.levelno == logging.ERROR]
    assert len(lines) == 2  # a run each
    assert all(line.startswith("the observer Unpicklable raised TypeError: ") for line in lines)


class WithKinds(OnlyRuns):
    def __init__(self, kinds: Any) -> None:
        super().__init__()
        self.kinds = kinds  # type: ignore[misc]


async def coroutine_function(event: Any) -> None:
    """Nobody would await this."""


@pytest.mark.parametrize(
    ("observer", "message"),
    [
        (WithKinds("NodeFinished"), "is to be a set of classes of events"),
        (WithKinds({int}), "is to be a set of classes of events"),
        (coroutine_function, "is called and not awaited"),
    ],
)
def test_observers_that_would_hear_nothing_are_refused(observer: Any, message: str) -> None:
    """When they are given, and not by silence."""
    with pytest.raises(TypeError, match=message):
        fetch(1).compute(observers=[observer])


async def test_a_resumed_run_that_has_grown_before() -> None:
    """What was returned in the run before is known from the beginning; what comes now is added."""
    is_broken = True

    @delayed
    async def grow(number: int) -> Any:
        return step(number) + step(number + 1)

    @delayed
    async def step(number: int) -> int:
        if is_broken and number % 2:
            raise OSError
        return number

    node = grow(step(2)) + grow(step(4))
    run = start(node, return_exceptions=True)
    assert isinstance(await run, DependencyError)
    is_broken = False
    events: list[Any] = []
    with observing(events.append):
        assert await run.resume() == 14
    check(events)


def test_a_loop_that_is_closed_amid_a_run() -> None:
    """The run is over then: it is told to have been cancelled, and nothing of it is kept."""
    events: list[Any] = []
    loop = asyncio.new_event_loop()

    async def begin_it() -> None:
        run = start(delayed(asyncio.Event().wait)(), observers=[events.append])
        for _ in range(3):
            await asyncio.sleep(0)
        run._execution._coroutines.silence()

    loop.run_until_complete(begin_it())
    loop.close()
    asyncio.run(compute(fetch(1)))  # closes what the loop has left
    assert isinstance(events[-1], RunFinished)
    assert events[-1].state == "cancelled"
