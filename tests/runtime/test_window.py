"""Bundles: short calls go to a thread together, and never wait behind one that is slow."""

from __future__ import annotations

import asyncio
import contextvars
import threading
from typing import Any

import pytest

from asyncgraph import Runtime, compute, delayed, start
from asyncgraph._graph.function import Durations, Function
from asyncgraph._graph.node import NO_KWARGS
from asyncgraph._runtime.window import hands_for, is_short, room_for
from asyncgraph.executors.thread import ThreadExecutor
from tests.runtime.durations import long, short

SECONDS = 20

# A node that is not in a thread, so that the graph is scheduled.
INLINE = delayed(1) + 1


@pytest.fixture
def handed(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """What threads are handed, in order."""
    calls: list[Any] = []
    original = ThreadExecutor.start

    def start_(self: ThreadExecutor, call: Any) -> None:
        calls.append(call.function)
        original(self, call)

    monkeypatch.setattr(ThreadExecutor, "start", start_)
    return calls


async def test_short_calls_go_together(handed):
    """A thousand calls of a twentieth of a millisecond are not handed over one by one."""
    function = short(delayed(lambda x: x + 1, executor="thread"))
    assert await compute([function(number) for number in range(1_000)], INLINE) == (list(range(1, 1_001)), 2)
    assert len(handed) < 500


async def test_long_calls_go_alone(handed):
    """So do those of which nothing is known."""
    known = long(delayed(lambda x: x, executor="thread"))
    await compute([known(number) for number in range(50)], INLINE)
    assert len(handed) == 50
    unknown = delayed(lambda x: x, executor="thread")
    await compute([unknown(1)], INLINE)
    assert len(handed) == 51


async def test_durations_are_remembered():
    """What one run has measured serves the next, and the same function with other options."""
    function = delayed(lambda x: x, executor="thread")
    assert function.function.durations.mean is None
    await function(1)
    assert 0 < function.function.durations.mean < 1
    assert function.options(name="other").function.durations is function.function.durations


@pytest.mark.parametrize("where", [0, 1, 50, 99])
async def test_nothing_waits_behind_a_call_that_is_slow(where):
    """What is behind it in its bundle is done by other threads; what was before it counts at once."""
    go = threading.Event()
    others = threading.Semaphore(0)

    def hold(number: int) -> int:
        if number == where:
            assert go.wait(SECONDS)
        return number

    def after(number: int) -> int:
        others.release()
        return number

    call = short(delayed(hold, executor="thread"))
    follow = short(delayed(after, executor="thread"))
    async with Runtime(threads=3):
        going = start([[follow(call(number)) for number in range(100)], INLINE])
        for _ in range(99):
            assert await asyncio.to_thread(others.acquire, timeout=SECONDS)
        assert not going.done()
        go.set()
        assert (await going)[0] == list(range(100))


async def test_two_slow_ones_do_not_share_a_thread():
    """While another is idle: both are running at once."""
    together = threading.Barrier(2)

    def meet(number: int) -> int:
        if number in (3, 4):
            together.wait(SECONDS)
        return number

    call = short(delayed(meet, executor="thread"))
    async with Runtime(threads=2):
        assert (await compute([call(number) for number in range(20)], INLINE))[0] == list(range(20))


@pytest.mark.parametrize("where", [0, 5, 19])
async def test_a_failure_in_a_bundle(where):
    """It is that node's alone; with `return_exceptions` what is behind it in the bundle still runs."""

    def check(number: int) -> int:
        if number == where:
            raise ValueError(f"{number} is wrong")
        return number

    call = short(delayed(check, executor="thread"))
    nodes = [call(number) for number in range(20)]
    results, _ = await compute(nodes, INLINE, return_exceptions=True)
    assert [repr(each) for each in results] == [
        repr(ValueError(f"{where} is wrong")) if number == where else str(number) for number in range(20)
    ]
    with pytest.raises(ValueError, match=f"{where} is wrong") as caught:
        await compute(nodes, INLINE)
    assert nodes[where].key in caught.value.__notes__[0]


@pytest.mark.parametrize("how", ["cancel", "timeout"])
async def test_stopping_a_run_with_bundles_under_way(how):
    """What has not begun never does; what is running is waited for."""
    go, begun = threading.Event(), asyncio.Event()
    loop = asyncio.get_running_loop()
    calls: list[int] = []

    def note(number: int) -> None:
        calls.append(number)
        if number == 1:
            loop.call_soon_threadsafe(begun.set)
            assert go.wait(SECONDS)

    function = short(delayed(note, executor="thread"))
    nodes = [function(number) for number in range(50)]
    async with Runtime(threads=1):
        going = start([nodes, INLINE], timeout=SECONDS)
        await begun.wait()
        if how == "cancel":
            going.cancel()
        else:
            going._expire(SECONDS)  # as its timer would
        assert not going.done()
        go.set()
        with pytest.raises(asyncio.CancelledError if how == "cancel" else TimeoutError):
            await going
    assert calls == [0, 1]


async def test_contexts_in_a_bundle():
    """Each call finds the variables of the caller, and none that another has set."""
    variable: contextvars.ContextVar[str] = contextvars.ContextVar("variable")
    variable.set("of the caller")

    def swap() -> str:
        before = variable.get()
        variable.set("of a call")
        return before

    function = short(delayed(swap, executor="thread"))
    seen, _ = await compute([function() for _ in range(50)], INLINE)
    assert seen == ["of the caller"] * 50


async def test_many_short_calls():
    """Twenty thousand, in two stages, all right."""
    function = short(delayed(lambda x: x + 1, executor="thread"))
    total, _ = await compute(delayed(sum)([function(function(n)) for n in range(20_000)]), INLINE)
    assert total == sum(range(20_000)) + 40_000


async def test_an_executor_that_cannot_begin(monkeypatch):
    """Its error is that of every call that it was to make."""

    def refuse(self: ThreadExecutor, call: Any) -> None:
        asyncio.get_running_loop().call_soon(call.deliver, None, RuntimeError("no more threads"))

    function = short(delayed(abs, executor="thread"))
    with monkeypatch.context() as patch:
        patch.setattr(ThreadExecutor, "start", refuse)
        results, _ = await compute([function(-number) for number in range(5)], INLINE, return_exceptions=True)
    assert [str(each) for each in results] == ["no more threads"] * 5


# -- the parts


def test_durations():
    """The mean of all calls, in which older ones count for less and less."""
    durations = Durations()
    durations.add(2.0, 4)
    assert durations.mean == 0.5
    durations.add(1.0)
    assert durations.mean == 0.6
    for _ in range(5_000):
        durations.add(0.1)
    assert durations.mean == pytest.approx(0.1, rel=0.01)


def test_is_short():
    """Only what is known to be."""
    function = Function(abs, "abs", "thread")
    assert not is_short(function)
    function.durations.add(0.0001)
    assert is_short(function)
    function.durations.add(1.0)
    assert not is_short(function)


