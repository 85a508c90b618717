"""Calls in threads, which cannot be stopped: they are told, and waited for or let go."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator
from typing import Any

import pytest

import asyncgraph
from asyncgraph import Runtime, cancelled, check_cancelled, compute, delayed, start
from asyncgraph.errors import NodeTimeoutError
from tests.errors.reading import failure_of
from tests.reliability.harness import PATIENCE, Stage, first_line, outcome_of, program, turns
from tests.runtime.endings import ENDINGS, end


@pytest.fixture
async def stage() -> AsyncIterator[Stage]:
    """Nodes that go on, released at the end of the test, come what may."""
    stage = Stage()
    yield stage
    stage.release.set()


class Told:
    """A call in a thread that goes on until it is told to stop.

    Attributes:
        begun: Set when it has begun.
        ended: What it has seen when it ended.
    """

    def __init__(self) -> None:
        self.begun = asyncio.Event()
        self.ended: list[bool] = []
        self._loop = asyncio.get_running_loop()

    def __call__(self) -> None:
        """Look now and then."""
        self._loop.call_soon_threadsafe(self.begun.set)
        never = threading.Event()
        try:
            for _ in range(int(PATIENCE * 1000)):
                check_cancelled()
                never.wait(0.001)
        finally:
            self.ended.append(cancelled())


@pytest.mark.parametrize("ending", ENDINGS)
async def test_c01_runs_inside_calls(ending, complaints):
    """A run that a call in a thread has begun on its own loop, with all in it, ends with the outer one."""
    told = Told()
    cleaned: list[str] = []

    async def endless() -> None:
        try:
            await asyncio.get_running_loop().create_future()
        finally:
            await turns(3)
            cleaned.append("cleaned up")

    inner = delayed([delayed(endless)(), delayed(told, executor="thread")()])
    await end(ending, told.begun, delayed(lambda: asyncgraph.run(inner), executor="thread")())
    assert told.ended == [True]
    assert cleaned in (["cleaned up"], [])  # it may not have begun
    assert complaints == []


@pytest.mark.parametrize("ending", ENDINGS)
async def test_c02_threads_are_told(ending, complaints):
    """Nothing more begins; calls in threads are told, and waited for, before anything is raised."""
    told = Told()
    begun: list[int] = []
    async with Runtime(threads=1):
        behind = [delayed(begun.append, executor="thread")(number) for number in range(3)]
        await end(ending, told.begun, delayed(told, executor="thread")(), *behind)
        assert told.ended == [True]
        assert begun == []
        assert await delayed(abs, executor="thread")(-1) == 1, "its slot is free again"
    assert complaints == []


async def test_c04_told_by_a_timeout(complaints):
    """The timeout of a `compute` tells calls in threads, so that one which asks does not make it late."""
    told = Told()
    error = await failure_of(delayed(told, executor="thread")().compute(timeout=0.5))
    assert type(error) is TimeoutError
    assert told.ended == [True]
    assert complaints == []


@pytest.mark.parametrize("ending", ENDINGS)
async def test_c04_abandoned(stage, ending, complaints):
    """A call that may be abandoned is not waited for; its slot is free when it has ended, and not before."""
    function = delayed(stage.thread()._function.call, executor="thread", abandon_on_cancel=True)
    begun = asyncio.Event()

    async def tell() -> None:
        await stage.have_begun("thread")
        begun.set()

    async with Runtime(threads=1):
        telling = asyncio.ensure_future(tell())
        await end(ending, begun, function())
        assert stage.running == ["thread"]
        waiting = start(delayed(abs, executor="thread")(-1))
        await turns(20)
        assert not waiting.done()
        stage.release.set()
        assert await waiting == 1
        assert stage.ended == ["thread"]
        await telling
    assert complaints == []


ABANDONED = """
import asyncio, sys, threading
from asyncgraph import Runtime, delayed

begun, never = threading.Event(), threading.Event()

@delayed(executor="thread", abandon_on_cancel=True)
def stuck():
    begun.set()
    never.wait()

async def main():
    async with Runtime() if "block" in sys.argv else asyncio.timeout(None):
        task = asyncio.ensure_future(stuck().compute())
        await asyncio.to_thread(begun.wait)
        task.cancel()
        await asyncio.wait([task])
        print(task.cancelled(), flush=True)

asyncio.run(main())
print("closed", flush=True)
"""


@pytest.mark.parametrize("where", ["block", "default"])
def test_c04_abandoned_for_ever(where):
    """A call that never ends keeps neither a runtime nor the program from ending, silently."""
    with program(ABANDONED, where) as process:
        assert first_line(process) == "True"
        assert outcome_of(process) == (0, "closed\n", "")


@pytest.mark.parametrize("is_abandonable", [False, True], ids=["waited-for", "abandoned"])
async def test_row_27_timeout_in_a_thread(stage, is_abandonable, complaints):
    """The call is told when its time is up; its node fails when it has ended, or at once if it is let go."""
    ended: list[bool] = []

    def slow() -> str:
        for _ in range(int(PATIENCE * 1000)):
            if stage.release.wait(0.001) or (cancelled() and not is_abandonable):
                break
        ended.append(cancelled())
        return "too late"

    node = delayed(slow, executor="thread", timeout=0.02, abandon_on_cancel=is_abandonable)()
    error, other = await compute(node, delayed(abs, executor="thread")(-1), return_exceptions=True)
    assert type(error) is NodeTimeoutError
    assert other == 1
    assert ended == ([] if is_abandonable else [True])
    assert complaints == []


async def test_row_28_timeout_and_value_cross_in_a_thread(complaints):
    """Of a value and a timeout that come at the same time one counts, whichever, and the run goes on."""

    def nearly(number: int) -> int:
        threading.Event().wait(0.0005 * (number % 9))
        return number

    function = delayed(nearly, executor="thread", timeout=0.002)
    outcomes: list[Any] = await compute([function(number) for number in range(200)], return_exceptions=True)
    assert len(outcomes) == 200
    for number, outcome in enumerate(outcomes):
        assert outcome == number or type(outcome) is NodeTimeoutError
    assert complaints == []
