"""Faults of asyncgraph itself, put in by hand: a run ends with an error, never hangs, and leaves nothing."""

# ruff: noqa: D103 - helpers whose names say it

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from typing import Any

import pytest

from asyncgraph import Runtime, as_completed, compute, delayed, start
from asyncgraph._graph.scheduler import Scheduler
from asyncgraph._runtime import lanes
from asyncgraph.errors import InternalError
from asyncgraph.executors.base import Call
from asyncgraph.executors.process import ProcessExecutor
from asyncgraph.executors.thread import ThreadExecutor
from tests.executors.process.harness import Fifo
from tests.executors.process.remote import say, wait_for
from tests.runtime.durations import short, tiny

SECONDS = 20


class Fault(Exception):
    """What a faulty part raises."""


@delayed
async def double(x: int) -> int:
    await asyncio.sleep(0)
    return 2 * x


@delayed(executor="thread")
def read(x: int) -> int:
    return x


@delayed(executor="loop")
def small(x: int) -> int:
    return x


def graph() -> Any:
    return double(double(double(read(read(read(small(1) + 1))) + double(3))))


def fault(*args: Any, **kwargs: Any) -> Any:
    raise Fault("put in by hand")


def is_internal(error: BaseException) -> bool:
    """Whether it is an InternalError that says what it is about and asks to be reported."""
    assert type(error) is InternalError
    assert isinstance(error.__cause__, Fault)
    assert "Fault('put in by hand')" in str(error)
    assert "report" in str(error)
    return True


@pytest.mark.parametrize("method", ["take", "finish", "consume", "is_ready", "first"])
@pytest.mark.parametrize("nth", [1, 2, 4])
async def test_a_scheduler_that_raises(monkeypatch, method, nth):
    """Whatever the scheduler's method, and whenever it raises, the run ends with an InternalError."""
    original = getattr(Scheduler, method)
    calls = 0

    def nth_raises(self: Scheduler, *args: Any, **kwargs: Any) -> Any:
        nonlocal calls
        calls += 1
        return fault() if calls == nth else original(self, *args, **kwargs)

    async with Runtime():
        with monkeypatch.context() as patch:
            patch.setattr(Scheduler, method, nth_raises)
            with pytest.raises(InternalError) as caught:
                await graph()
            assert is_internal(caught.value)
        # The runtime is none the worse.
        assert await graph() == 64


@pytest.mark.parametrize("method", ["fail", "cancel", "stop"])
async def test_a_scheduler_that_raises_over_a_failure(monkeypatch, method):
    """A fault while a failure is being dealt with ends the run too."""

    @delayed
    async def fail() -> None:
        raise ValueError("mine")

    monkeypatch.setattr(Scheduler, method, fault)
    async with Runtime():
        with pytest.raises(InternalError) as caught:
            await compute(waiting(), fail())
        assert is_internal(caught.value)


@delayed
async def waiting() -> None:
    await asyncio.Event().wait()


async def test_a_scheduler_that_forgets(monkeypatch):
    """A scheduler with nothing to do although tasks remain ends the run with an InternalError."""
    monkeypatch.setattr(Scheduler, "take", lambda self, lane, **options: None)
    monkeypatch.setattr(Scheduler, "is_ready", lambda self, lane: False)
    monkeypatch.setattr(Scheduler, "backlog", lambda self, lane: 0)
    with pytest.raises(InternalError):
        await graph()


async def test_an_executor_that_raises_in_start(monkeypatch):
    """An executor whose `start` raises ends the run with an InternalError; its slot is free again."""
    async with Runtime(concurrency=1, threads=1):
        with monkeypatch.context() as patch:
            patch.setattr(ThreadExecutor, "start", fault)
            for _ in range(3):
                with pytest.raises(InternalError) as caught:
                    await graph()
                assert is_internal(caught.value)
        assert await graph() == 64


async def test_an_executor_that_raises_in_start_on_the_straight_way(monkeypatch):
    """The same where the whole graph would have gone to one thread."""
    node = tiny(delayed(abs, executor="thread"))(-1)
    async with Runtime(threads=1):
        with monkeypatch.context() as patch:
            patch.setattr(ThreadExecutor, "start", fault)
            for _ in range(3):
                with pytest.raises(InternalError) as caught:
                    await node
                assert is_internal(caught.value)
        assert await node == 1


@pytest.mark.parametrize("method", ["take_ahead", "untake", "untake_behind", "consume", "finish", "expand"])
@pytest.mark.parametrize("nth", [1, 2, 4])
async def test_a_scheduler_that_raises_about_the_window(monkeypatch, method, nth):
    """The same where threads do what waits for others by themselves, and some of that fails."""
    original = getattr(Scheduler, method)
    calls = 0

    def nth_raises(self: Scheduler, *args: Any, **kwargs: Any) -> Any:
        nonlocal calls
        calls += 1
        return fault() if calls == nth else original(self, *args, **kwargs)

    def divide(x: int) -> Any:
        return small(x) if x % 3 else 1 // x

    call = short(delayed(divide, executor="thread"))
    step = short(delayed(lambda x: x, executor="thread"))
    nodes = [step(step(call(step(number)))) for number in range(12)]
    async with Runtime(threads=2):
        with monkeypatch.context() as patch:
            patch.setattr(Scheduler, method, nth_raises)
            computing = compute(nodes, small(1), return_exceptions=True)
            (outcome,) = await asyncio.gather(computing, return_exceptions=True)
            assert is_internal(outcome) if calls >= nth else type(outcome) is tuple
        results, _ = await compute(nodes, small(1), return_exceptions=True)
        assert [each for each in results if type(each) is int] == [1, 2, 0, 4, 5, 0, 7, 8, 0, 10, 11]


async def test_an_executor_that_raises_in_start_beside_others(monkeypatch):
    """What was running already is stopped and waited for before the run ends."""
    steps: list[str] = []
    begun = asyncio.Event()

    @delayed
    async def other() -> None:
        begun.set()
        try:
            await asyncio.Event().wait()
        finally:
            await asyncio.sleep(0)
            steps.append("cleaned up")

    @delayed
    async def after() -> int:
        await begun.wait()
        return 1

    monkeypatch.setattr(ThreadExecutor, "start", fault)
    with pytest.raises(InternalError) as caught:
        await compute(other(), read(after()))
    assert is_internal(caught.value)
    assert steps == ["cleaned up"]


@pytest.mark.parametrize("lane", ["THREAD", "PROCESS"])
async def test_an_executor_that_cannot_be_made(monkeypatch, lane):
    """An executor that cannot be made is the failure of the nodes that need it; others come back."""
    functions = {
        "THREAD": read,
        "PROCESS": delayed(abs, executor="process"),
    }
    async with Runtime():
        monkeypatch.setattr(lanes.Lane, "executor", property(lambda self: fault()))
        error, value = await compute(functions[lane](1), small(2) + 1, return_exceptions=True)
        assert type(error) is Fault
        assert error.__notes__[0].startswith("asyncgraph: node ")
        assert value == 3


def delivering(outcomes: Callable[[Call], None]) -> Callable[[ThreadExecutor, Call], None]:
    def start_(self: ThreadExecutor, call: Call) -> None:
        asyncio.get_running_loop().call_soon(outcomes, call)

    return start_


async def test_an_executor_that_delivers_twice(monkeypatch):
    """A second outcome of one call ends its run with an InternalError."""

    def twice(call: Call) -> None:
        call.deliver(call.function(), None)
        call.deliver(None, None)

    monkeypatch.setattr(ThreadExecutor, "start", delivering(twice))
    async with Runtime(threads=1):
        for _ in range(3):
            with pytest.raises(InternalError):
                await (read(1) + double(1))


async def test_an_executor_that_delivers_after_the_end(monkeypatch):
    """An outcome that comes when its run is over goes to the loop's exception handler."""
    loop = asyncio.get_running_loop()
    complaints: list[dict[str, Any]] = []
    loop.set_exception_handler(lambda _, context: complaints.append(context))
    calls: list[Call] = []

    def once(call: Call) -> None:
        calls.append(call)
        call.deliver(call.function(), None)

    monkeypatch.setattr(ThreadExecutor, "start", delivering(once))
    async with Runtime():
        assert await read(1) == 1
        calls.pop().deliver(None, None)
        (complaint,) = complaints
        assert "report" in complaint["message"]
        assert await read(1) == 1


async def test_an_executor_that_delivers_within_start(monkeypatch):
    """An outcome that comes from within `start`, which is forbidden, does not hang the run."""
    monkeypatch.setattr(ThreadExecutor, "start", lambda self, call: call.deliver(call.function(), None))
    async with Runtime():
        assert await double(read(5)) == 10


async def test_an_executor_that_does_not_call(monkeypatch):
    """An executor that delivers what it has not called ends the run with an InternalError."""
    monkeypatch.setattr(ThreadExecutor, "start", lambda self, call: call.deliver(None, None))
    async with Runtime():
        with pytest.raises(InternalError):
            await double(read(5))


async def test_an_executor_whose_cancel_raises(monkeypatch, tmp_path):
    """If a call cannot be cancelled because of a fault, the run still ends when that call has."""
    fifo = Fifo(tmp_path / "fifo")
    gate = tmp_path / "gate"
    os.mkfifo(gate)
    monkeypatch.setattr(ProcessExecutor, "cancel", fault)
    async with Runtime():
        run = start(delayed(say_and_wait, executor="process")(fifo.path, str(gate)))
        await fifo.line()
        run.cancel()
        assert not run.done()
        gate.write_text("go")
        with pytest.raises((InternalError, asyncio.CancelledError)):
            await run
    fifo.close()


def say_and_wait(fifo: str, gate: str) -> str:
    say(fifo)
    return wait_for(gate)


@pytest.mark.parametrize("return_exceptions", [False, True])
async def test_a_fault_with_as_completed(monkeypatch, return_exceptions):
    """A fault ends an iteration over what is completed, too."""
    monkeypatch.setattr(Scheduler, "finish", fault)
    with pytest.raises(InternalError):
        async for _ in as_completed([double(1), double(2)], return_exceptions=return_exceptions):
            pass


async def test_a_fault_is_not_a_result(monkeypatch):
    """With `return_exceptions` a fault of ours is raised: it says nothing about any node."""
    monkeypatch.setattr(Scheduler, "finish", fault)
    with pytest.raises(InternalError) as caught:
        await compute(graph(), return_exceptions=True)
    assert is_internal(caught.value)


async def test_a_fault_waits_for_what_is_running(monkeypatch):
    """When a fault ends a run, what is running is cancelled and waited for first."""
    steps: list[str] = []
    begun = asyncio.Event()

    @delayed
    async def other() -> None:
        begun.set()
        try:
            await asyncio.Event().wait()
        finally:
            await asyncio.sleep(0)
            steps.append("cleaned up")

    @delayed
    async def after() -> None:
        await begun.wait()

    monkeypatch.setattr(Scheduler, "finish", fault)
    with pytest.raises(InternalError):
        await compute(other(), delayed(str)(after()))
    assert steps == ["cleaned up"]
