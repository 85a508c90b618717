"""`timeout=` of coroutine nodes: how long an attempt may take, and that it has exactly one outcome."""

# ruff: noqa: D103 - helpers whose names say it

from __future__ import annotations

import asyncio

import pytest

from asyncgraph import Runtime, compute, delayed, start
from asyncgraph.errors import NodeTimeoutError
from tests.runtime.stepping import SteppingLoop

SECONDS = 30


def forever():
    return asyncio.get_running_loop().create_future()


@delayed(timeout=0.02)
async def hang():
    await forever()


async def test_a_node_that_takes_too_long_fails_alone():
    """With NodeTimeoutError, whose cause shows where it was; others are not touched."""
    late, fine = await compute(hang(), delayed(abs)(-1), return_exceptions=True)
    assert isinstance(late, NodeTimeoutError)
    assert str(late).endswith("ran for longer than its timeout of 0.02 s")
    assert late.node == "hang"
    assert "loop executor" in late.__notes__[0]
    cause = late.__cause__
    assert isinstance(cause, asyncio.CancelledError)
    assert cause.__traceback__ is not None
    assert cause.__traceback__.tb_frame.f_code.co_name == "hang"
    assert fine == 1


async def test_what_it_cleans_up_is_done_before_the_run_is_over():
    """An async `finally` runs to its end, however long it takes."""
    steps = []

    @delayed(timeout=0.01)
    async def clean():
        try:
            await forever()
        finally:
            for number in range(10):
                await asyncio.sleep(0)
                steps.append(number)

    with pytest.raises(NodeTimeoutError):
        await clean()
    assert steps == [*range(10)]


@pytest.mark.parametrize("after", ["value", "error"])
async def test_what_comes_after_the_deadline_is_no_outcome(after):
    """A value that a coroutine returns after it was cancelled, or another error of its cleaning up."""

    @delayed(timeout=0.01)
    async def late():
        try:
            await forever()
        except asyncio.CancelledError:
            if after == "error":
                raise OSError("cannot clean up") from None
        return 1

    with pytest.raises(NodeTimeoutError) as caught:
        await late()
    assert isinstance(caught.value.__cause__, OSError) is (after == "error")


async def test_a_timeout_error_of_its_own_stays_itself():
    """One that the coroutine raises before the deadline is like any other error."""

    @delayed(timeout=SECONDS)
    async def give_up():
        async with asyncio.timeout(0.001):
            await forever()

    with pytest.raises(TimeoutError) as caught:
        await give_up()
    assert type(caught.value) is TimeoutError


async def test_the_time_counts_from_the_beginning():
    """Not while the node waits for a slot."""

    @delayed(timeout=0.05)
    async def quick():
        return 1

    @delayed
    async def slow():
        await asyncio.sleep(0.1)
        return 2

    async with Runtime(concurrency=1):
        assert await compute(slow(), [quick() for _ in range(10)]) == (2, [1] * 10)


@pytest.mark.parametrize("anyio_backend", [("asyncio", {"loop_factory": SteppingLoop})], ids=["stepping"])
async def test_a_node_that_makes_it_goes_on_undisturbed():
    """Neither it nor those that run after it in the same aio_task hear of a deadline that did not come."""
    seen = []

    @delayed(timeout=SECONDS)
    async def quick(number):
        await asyncio.sleep(0)
        aio_task = asyncio.current_task()
        assert aio_task is not None
        seen.append(aio_task.cancelling())
        return number

    @delayed
    async def slow(number):
        asyncio.get_running_loop().leap(2 * SECONDS)
        for _ in range(5):
            await asyncio.sleep(0)
        return number

    async with Runtime(concurrency=1):
        assert await delayed(sum)([slow(quick(number)) for number in range(3)]) == 3
    assert seen == [0, 0, 0]


async def test_those_that_come_after_one_that_was_too_slow_are_not_cancelled():
    """The same aio_task runs on with other nodes."""

    @delayed
    async def step(number):
        await asyncio.sleep(0)
        return number

    async with Runtime(concurrency=1):
        late, *others = await compute(hang(), *map(step, range(5)), return_exceptions=True)
    assert isinstance(late, NodeTimeoutError)
    assert others == [*range(5)]


async def test_a_run_that_is_cancelled_meanwhile_is_cancelled():
    """The deadline strikes while the node cleans up after the cancel, and the other way round."""

    @delayed(timeout=0.01)
    async def clean():
        try:
            await forever()
        finally:
            await asyncio.sleep(0.03)

    for pause in (0.0, 0.02):
        run = start(clean())
        await asyncio.sleep(pause)
        run.cancel()
        with pytest.raises(asyncio.CancelledError):
            async with asyncio.timeout(SECONDS):
                await run


async def test_the_timeout_of_the_run_counts_if_it_comes_first():
    """A plain TimeoutError: it is not the node that was too slow."""
    with pytest.raises(TimeoutError) as caught:
        await compute(hang.options(timeout=SECONDS)(), timeout=0.01)
    assert type(caught.value) is TimeoutError


async def test_a_coroutine_that_a_plain_function_returns_has_the_time_too():
    """`lambda: fetch()` is as good as `fetch`."""

    async def fetch():
        await forever()

    with pytest.raises(NodeTimeoutError):
        await delayed(lambda _: fetch(), timeout=0.02)(1)


def test_a_plain_function_on_the_loop_cannot_have_one():
    """Nothing can stop it; what can have one is said."""
    with pytest.raises(ValueError, match='timeout= needs `async def`, or executor="thread" or "process"'):
        delayed(abs, executor="loop", timeout=1)


@pytest.mark.parametrize("timeout", [0, -1, float("inf"), float("nan")])
def test_it_is_a_number_of_seconds_above_0(timeout):
    """Anything else is refused at once, for all executors."""
    for executor in (None, "thread", "process"):
        with pytest.raises(ValueError, match="timeout= takes a number of seconds above 0"):
            delayed(abs, executor=executor, timeout=timeout)
