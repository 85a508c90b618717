"""The end of a runtime, while something is still going on in it."""

from __future__ import annotations

import asyncio
import contextlib
import threading

import anyio
import pytest

from asyncgraph import Runtime, compute, delayed, run, start
from asyncgraph.errors import RuntimeClosedError
from asyncgraph.executors.process import ProcessExecutor


class Held:
    """A call in a thread that is held until it is let go."""

    def __init__(self):
        self.entered, self.ended = asyncio.Event(), False
        self._loop, self._go = asyncio.get_running_loop(), threading.Event()

    def __call__(self):
        """Wait."""
        self._loop.call_soon_threadsafe(self.entered.set)
        assert self._go.wait(30)
        self.ended = True

    def let_go(self):
        """Let the call end."""
        self._go.set()

    def node(self):
        """Return a node of it."""
        return delayed(self, executor="thread", name="held")()


async def test_what_is_going_on_may_compute_more_while_the_block_is_left():
    """A node that runs when the exit begins can still compute others; new runs are refused."""
    leaving = asyncio.Event()
    inner = delayed(abs, executor="thread")(-3)

    async def outer():
        await leaving.wait()
        return await inner + await compute(inner, runtime=runtime)

    async def try_from_outside():
        with pytest.raises(RuntimeClosedError):
            await compute(inner, runtime=runtime)
        leaving.set()

    async with Runtime(threads=1, concurrency=1) as runtime:
        going_on = start(delayed(outer)())
        await asyncio.sleep(0)
        outside = asyncio.ensure_future(try_from_outside())
        # Its first step comes after the exit has begun.
    assert await going_on == 6
    await outside
    with pytest.raises(RuntimeClosedError):
        runtime.start(inner)


async def test_a_node_that_cleans_up_may_compute_too():
    """So can an async `finally` in a run that is cancelled because an exception leaves the block."""
    cleaned = []

    async def outer():
        try:
            await asyncio.Event().wait()
        finally:
            cleaned.append(await delayed(abs, executor="thread")(-3))

    async def block():
        async with Runtime():
            start(delayed(outer)())
            await asyncio.sleep(0)
            await asyncio.sleep(0)
            raise LookupError

    with pytest.raises(LookupError):
        await block()
    assert cleaned == [3]


async def test_a_task_left_behind_by_a_node_is_outside():
    """When its run is over, the context that it has inherited opens no closed runtime."""
    go, tasks = asyncio.Event(), []

    async def later():
        await go.wait()
        await delayed(1)

    async def leaves_a_task():
        tasks.append(asyncio.create_task(later()))

    async with Runtime():
        await delayed(leaves_a_task)()
    go.set()
    with pytest.raises(RuntimeClosedError):
        await tasks.pop()


async def test_an_anyio_scope_around_an_exit_that_waits_does_not_spin():
    """Cancelled while it waits for a thread, the exit waits on quietly, as compute does."""
    held = Held()
    loop = asyncio.get_running_loop()
    with anyio.CancelScope() as scope:
        async with Runtime():
            going_on = start(held.node())
            await held.entered.wait()
            loop.call_soon(scope.cancel)
            calls = _count_calls(loop)
            loop.call_later(0.05, held.let_go)
    assert scope.cancelled_caught
    assert held.ended
    # Some thirty on the way out. A spin would be tens of thousands in this time.
    assert calls.stop() < 500
    with pytest.raises(asyncio.CancelledError):
        await going_on


def _count_calls(loop):
    """Count what is scheduled on the loop from now on."""

    class Calls:
        count = 0

        def stop(self):
            loop.call_soon = original
            return self.count

    calls, original = Calls(), loop.call_soon

    def call_soon(*args, **kwargs):
        calls.count += 1
        return original(*args, **kwargs)

    loop.call_soon = call_soon
    return calls


@pytest.mark.parametrize("cancels", [1, 3])
async def test_an_exit_that_is_cancelled_cancels_the_runs_and_ends(cancels):
    """However often: the runs are cancelled, the thread is waited for, the first CancelledError leaves."""
    held, entered = Held(), asyncio.Event()
    runs = []

    async def block():
        async with Runtime(threads=1):
            runs.extend([start(held.node()), start(held.node()), start(delayed(asyncio.sleep)(3600))])
            await held.entered.wait()
            entered.set()

    task = asyncio.ensure_future(block())
    await entered.wait()
    for number in range(cancels):
        await asyncio.sleep(0)
        task.cancel(number)
    await asyncio.sleep(0)
    assert not task.done()
    held.let_go()
    with pytest.raises(asyncio.CancelledError) as caught:
        await task
    assert caught.value.args == (0,)
    assert held.ended
    assert all(each.done() for each in runs)


def test_a_block_in_a_task_that_the_end_of_the_loop_cancels():
    """asyncio.run cancels all tasks at once; one that is leaving a runtime still ends all workers first."""
    seen = []

    async def service(leaving):
        async with Runtime(threads=1):
            start(delayed(asyncio.sleep)(3600))
            await delayed(abs, executor="thread")(-1)
            seen.append(threading.active_count())
            leaving.set()

    async def main():
        leaving = asyncio.Event()
        task = asyncio.ensure_future(service(leaving))
        await leaving.wait()
        await asyncio.sleep(0)
        assert not task.done()

    before = threading.active_count()
    asyncio.run(main())
    assert seen == [before + 1]
    assert threading.active_count() == before


async def test_an_executor_that_cannot_be_closed_does_not_keep_the_others(monkeypatch):
    """Its error leaves the block, after all others have been closed."""
    close = ProcessExecutor.aclose

    async def close_and_fail(self):
        await close(self)
        raise OSError("stuck")

    monkeypatch.setattr(ProcessExecutor, "aclose", close_and_fail)
    before = threading.active_count()
    with pytest.raises(OSError, match="stuck"):
        async with Runtime(processes=1):
            await compute(delayed(abs, executor="process")(0), delayed(abs, executor="thread")(-1))
    assert threading.active_count() == before


async def test_leaving_twice_is_harmless():
    """`__aexit__` may come a second time, as an exit stack and a person may both call it."""
    runtime = Runtime()
    await runtime.__aenter__()
    await delayed(1)
    await runtime.__aexit__(None, None, None)
    await runtime.__aexit__(None, None, None)
    with pytest.raises(RuntimeClosedError):
        await runtime.__aenter__()
    assert await delayed(2) == 2


async def test_blocks_one_inside_the_other():
    """The inner one ends with what runs in it; the outer one is used again after it."""
    async with Runtime() as outer:
        async with Runtime() as inner:
            going_on = start(delayed(asyncio.sleep)(0, "inner"))
            assert going_on in inner._runs
        assert going_on.done()
        again = start(delayed(1))
        assert again in outer._runs
        await again


def test_the_end_of_a_default_runtime_lets_nodes_clean_up():
    """At the end of the loop a cancelled node may still compute something; nothing is warned of."""
    cleaned = []

    async def endless():
        try:
            await asyncio.Event().wait()
        finally:
            with contextlib.suppress(asyncio.CancelledError):
                cleaned.append(await delayed(abs, executor="loop")(-3))

    async def main():
        start(delayed(endless)())
        await asyncio.sleep(0)
        await asyncio.sleep(0)

    run(main())
    assert cleaned == [3]


async def test_a_run_from_elsewhere_is_awaited_by_a_node_at_the_lowest_limits():
    """A node that waits for a run which was started outside holds the slot that this run needs."""

    async def waits(other):
        return await other

    async with Runtime(threads=1, concurrency=1):
        box = []
        outer = start(delayed(lambda: waits(box[0]))())
        box.append(start(delayed(asyncio.sleep)(0, delayed(asyncio.sleep)(0, "through"))))
        assert await outer == "through"
