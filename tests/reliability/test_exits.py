"""Rows 15 to 19: functions that raise what means something to a loop, a generator or the interpreter."""

# ruff: noqa: D103 - helpers whose names say it

from __future__ import annotations

import asyncio
import sys

import pytest

from asyncgraph import Runtime, compute, delayed, start
from asyncgraph.errors import NodeExitedError
from tests.errors.reading import failure_of, frames
from tests.reliability import harness
from tests.reliability.harness import Stage, notes_of, on

ELSEWHERE = ["thread", "process"]


def leave(code: int) -> None:
    sys.exit(code)


def raise_(kind: type[BaseException], *args: object) -> None:
    raise kind(*args)


@pytest.mark.parametrize("executor", ELSEWHERE)
async def test_row_15_system_exit(executor, complaints):
    """`sys.exit` in a thread or a worker is a failure of its node, with the exit code; others go on."""
    async with Runtime(processes=1, threads=1):
        error, beside = await compute(
            on(executor, leave)(3), on(executor, harness.pid)(), return_exceptions=True
        )
        assert type(error) is NodeExitedError
        assert (error.code, type(error.original), error.__cause__) == (3, SystemExit, error.original)
        assert (error.node, error.path) == ("leave", (error.key,))
        assert type(beside) is int
        with pytest.raises(NodeExitedError):
            await on(executor, leave)(3)
    assert complaints == []


@pytest.mark.parametrize("executor", ELSEWHERE)
async def test_row_16_keyboard_interrupt(executor, complaints):
    """A KeyboardInterrupt that a function raises in a thread or a worker is a failure of its node."""
    async with Runtime(processes=1, threads=1):
        before = await on(executor, harness.pid)()
        error = await failure_of(on(executor, raise_)(KeyboardInterrupt))
        assert type(error) is NodeExitedError
        assert (type(error.original), error.code) == (KeyboardInterrupt, None)
        assert await on(executor, harness.pid)() == before
    assert complaints == []


@pytest.mark.parametrize("kind", [GeneratorExit, asyncio.CancelledError])
async def test_row_17_cancelled_error_of_ones_own(executor, kind, complaints):
    """GeneratorExit or a CancelledError that nobody asked for is a failure, and cancels nothing."""
    async with Runtime(processes=1, threads=1):
        error, beside = await compute(
            on(executor, raise_)(kind), on(executor, harness.pid)(), return_exceptions=True
        )
        assert type(error) is NodeExitedError
        assert type(error.original) is kind
        assert type(beside) is int
        task = asyncio.ensure_future(compute(on(executor, raise_)(kind)))
        assert type(await failure_of(task)) is NodeExitedError
        assert not task.cancelled()
    assert complaints == []


@pytest.mark.parametrize("kind", [StopIteration, StopAsyncIteration])
async def test_row_18_stop_iteration(executor, kind, complaints):
    """StopIteration becomes a RuntimeError with it as the cause, as in a generator; nobody waits for ever."""
    error = await failure_of(on(executor, raise_)(kind, 5))
    assert type(error) is RuntimeError
    assert str(error).endswith(f"raised {kind.__name__}")
    assert (type(error.__cause__), error.__cause__.args) == (kind, (5,))
    assert notes_of(error)[0].startswith("asyncgraph: node raise_-")
    assert [name for _, name in frames(error.__cause__)][-1] == "raise_"
    assert complaints == []


@pytest.mark.parametrize("kind", [SystemExit, KeyboardInterrupt])
@pytest.mark.parametrize("executor", ["coroutine", "inline"])
@pytest.mark.parametrize("how", ["compute", "run"])
async def test_row_19_exit_on_the_loop(executor, kind, how, complaints):
    """On the loop the whole run is stopped and cleaned up; then the exception leaves `compute()` as it is."""
    stage = Stage()

    async def when_all_have_begun() -> type[BaseException]:
        await stage.have_begun("coroutine", "thread")
        return kind

    nodes = [stage.coroutine(), stage.thread(), on(executor, raise_)(delayed(when_all_have_begun)(), 3)]
    with pytest.raises(kind) as caught:
        await (compute(nodes) if how == "compute" else start(nodes))
    assert type(caught.value) is kind
    assert caught.value.args == (3,)
    assert stage.running == []
    assert sorted(stage.ended) == ["coroutine", "thread"]
    assert await delayed(len)("abc") == 3, "the runtime goes on"
    assert complaints == []
