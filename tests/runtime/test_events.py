"""Events: what runs tell their observers of themselves and their nodes."""

# ruff: noqa: ASYNC110 - turns of the loop are waited for; helpers whose names say it

from __future__ import annotations

import asyncio
import operator
import os
import threading
from collections import Counter
from typing import Any

import pytest

from asyncgraph import (
    Runtime,
    compute,
    delayed,
    resource,
    start,
    when,
)
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
    RunFinished,
    WorkerLost,
    WorkerStarted,
    observing,
)
from tests.runtime.stories import check
from tests.runtime.telling import fetch, parse, save, told


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
        run._execution.parts.coroutines.silence()

    loop.run_until_complete(begin_it())
    loop.close()
    asyncio.run(compute(fetch(1)))  # closes what the loop has left
    assert isinstance(events[-1], RunFinished)
    assert events[-1].state == "cancelled"
