"""Observers: who is told of a run, and what one that does what it should not can harm."""

# ruff: noqa: D102 - helpers whose names say it

from __future__ import annotations

import asyncio
import logging
import os
import threading
from typing import Any

import pytest

from asyncgraph import (
    Input,
    Runtime,
    as_completed,
    compile,
    compute,
    delayed,
    start,
)
from asyncgraph.errors import WorkerCrashedError
from asyncgraph.observe import (
    NodeFinished,
    NodesAdded,
    Observer,
    RunFinished,
    RunStarted,
    WorkerLost,
    WorkerStarted,
    observing,
)
from tests.runtime.stories import by_run, check
from tests.runtime.telling import OnlyRuns, fetch, parse


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
    ours = [record.getMessage() for record in caplog.records if record.name == "asyncgraph"]
    assert ["please report this" in message for message in ours] == [True]


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
