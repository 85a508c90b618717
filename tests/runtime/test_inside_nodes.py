"""What code inside a node may rely on: contextvars, the current task, timeouts, groups and cancel scopes."""

# ruff: noqa: D103 - helpers whose names say it

from __future__ import annotations

import asyncio
import contextvars
from typing import Any

import anyio
import pytest

from asyncgraph import as_completed, compute, delayed, start
from tests.errors.reading import failure_of

variable: contextvars.ContextVar[str] = contextvars.ContextVar("variable", default="default")


def look_and_set(name: str) -> str:
    seen = variable.get()
    variable.set(name)
    return seen


async def look_and_set_later(name: str) -> str:
    await asyncio.sleep(0)
    seen = variable.get()
    variable.set(name)
    await asyncio.sleep(0)
    assert variable.get() == name
    return seen


def returns_a_coroutine(name: str) -> Any:
    return look_and_set_later(name)


FUNCTIONS = [
    pytest.param(delayed(look_and_set_later), id="coroutine"),
    pytest.param(delayed(look_and_set, executor="loop"), id="inline"),
    pytest.param(delayed(look_and_set, executor="thread"), id="thread"),
    pytest.param(delayed(returns_a_coroutine, executor="thread"), id="thread-coroutine"),
]


@pytest.mark.parametrize("function", FUNCTIONS)
async def test_the_callers_context_is_seen(function):
    """A node sees the contextvars as they are when `compute()` is called."""
    node = function("node")
    variable.set("caller")
    assert await node.compute() == "caller"
    assert await node == "caller"
    variable.set("caller, later")
    assert await node == "caller, later"


@pytest.mark.parametrize("function", FUNCTIONS)
async def test_what_a_node_sets_is_its_own(function):
    """What one node sets is seen by no sibling, no dependent and not by the caller."""
    variable.set("caller")
    first = function("first")
    second = function("second")
    third = delayed(lambda *seen: (*seen, variable.get()), executor="thread")(first, second)
    assert await compute(first, second, function("fourth"), third) == (
        "caller",
        "caller",
        "caller",
        ("caller", "caller", "caller"),
    )
    assert variable.get() == "caller"


@pytest.mark.parametrize("function", FUNCTIONS)
async def test_runs_at_once_have_a_context_each(function):
    """Two runs of one graph, begun in different contexts, see each its own."""
    node = function("node")

    async def request(name: str) -> str:
        variable.set(name)
        return await node

    assert await asyncio.gather(*[request(f"request-{number}") for number in range(5)]) == [
        f"request-{number}" for number in range(5)
    ]


@pytest.mark.parametrize("function", FUNCTIONS)
async def test_a_run_in_the_background_has_the_context_of_its_start(function):
    """A run sees the contextvars as they were when it was started, not as they are when it is awaited."""
    variable.set("at the start")
    run = start(function("node"))
    variable.set("afterwards")
    assert await run == "at the start"


@pytest.mark.parametrize("function", FUNCTIONS)
async def test_as_completed_has_the_context_of_its_iteration(function):
    """Nodes of `as_completed` see the context of the iteration."""
    variable.set("iterating")
    assert [value async for _, value in as_completed([function("a"), function("b")])] == ["iterating"] * 2


async def test_a_node_that_returns_nodes():
    """Nodes that a node returns see the caller's context, not what that node has set."""

    @delayed
    async def choose() -> Any:
        variable.set("choose")
        return delayed(look_and_set)("chosen")

    variable.set("caller")
    assert await choose() == "caller"


async def test_a_run_inside_a_node():
    """A graph computed inside a node sees what that node has set."""

    @delayed
    async def outer() -> str:
        variable.set("outer")
        return await delayed(look_and_set, executor="thread")("inner")

    variable.set("caller")
    assert await outer() == "outer"
    assert variable.get() == "caller"


async def test_a_task_of_its_own():
    """Each coroutine is in a task, which is not the caller's nor that of another node at the same time."""
    together = asyncio.Barrier(2)

    @delayed
    async def current() -> Any:
        await together.wait()
        return asyncio.current_task()

    first, second = await compute(current(), current())
    assert len({first, second, asyncio.current_task()}) == 3


async def test_asyncio_timeout():
    """A timeout inside a coroutine ends what it is around and nothing else."""

    @delayed
    async def patient() -> str:
        try:
            async with asyncio.timeout(0):
                await asyncio.Event().wait()
        except TimeoutError:
            return "timed out"
        return "never"

    assert await compute(patient(), patient()) == ("timed out", "timed out")


async def test_a_timeout_that_is_not_caught_is_the_nodes_failure():
    """A TimeoutError of the node's own is a failure as any other."""

    @delayed
    async def impatient() -> None:
        async with asyncio.timeout(0):
            await asyncio.Event().wait()

    error = await failure_of(impatient())
    assert type(error) is TimeoutError
    assert error.__notes__[0].startswith("asyncgraph: node impatient-")


async def test_wait_for_gather_and_to_thread():
    """The other helpers of asyncio work inside a coroutine as they do anywhere."""

    @delayed
    async def busy() -> list[int]:
        async def number(x: int) -> int:
            await asyncio.sleep(0)
            return x

        return [*await asyncio.gather(number(1), number(2)), await asyncio.to_thread(abs, -3)]

    assert await busy() == [1, 2, 3]


async def test_task_group():
    """A TaskGroup inside a coroutine runs its tasks, and cancels them when one fails."""
    steps: list[str] = []

    @delayed
    async def grouped() -> int:
        async def wait() -> None:
            try:
                await asyncio.Event().wait()
            finally:
                steps.append("cancelled")

        async def fail() -> None:
            await asyncio.sleep(0)
            raise ValueError("mine")

        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(wait())
                group.create_task(fail())
        except* ValueError:
            steps.append("caught")
        return 1

    assert await grouped() == 1
    assert steps == ["cancelled", "caught"]


async def test_cancelling_the_run_reaches_a_task_group():
    """Cancelling a run cancels the tasks of a group inside one of its nodes, and waits for them."""
    steps: list[str] = []
    begun = asyncio.Event()

    @delayed
    async def grouped() -> None:
        async def wait() -> None:
            begun.set()
            try:
                await asyncio.Event().wait()
            finally:
                await asyncio.sleep(0)
                steps.append("cleaned up")

        async with asyncio.TaskGroup() as group:
            group.create_task(wait())

    run = start(grouped())
    await begun.wait()
    run.cancel()
    with pytest.raises(asyncio.CancelledError):
        await run
    assert steps == ["cleaned up"]


async def test_anyio_scope():
    """An anyio cancel scope inside a coroutine ends what it is around and nothing else."""

    @delayed
    async def scoped() -> bool:
        with anyio.move_on_after(0) as scope:
            await anyio.sleep_forever()
        await anyio.lowlevel.checkpoint()
        return scope.cancelled_caught

    assert await compute(scoped(), scoped()) == (True, True)


async def test_anyio_fail_after():
    """The TimeoutError of an anyio scope is the node's failure."""

    @delayed
    async def impatient() -> None:
        with anyio.fail_after(0):
            await anyio.sleep_forever()

    assert type(await failure_of(impatient())) is TimeoutError


async def test_anyio_task_group():
    """An anyio task group inside a coroutine runs, cancels its own scope, and shields."""
    steps: list[str] = []

    @delayed
    async def grouped() -> str:
        async def wait() -> None:
            try:
                await anyio.sleep_forever()
            finally:
                with anyio.CancelScope(shield=True):
                    await anyio.lowlevel.checkpoint()
                steps.append("cleaned up")

        async with anyio.create_task_group() as group:
            group.start_soon(wait)
            await anyio.lowlevel.checkpoint()
            group.cancel_scope.cancel()
        return "over"

    assert await grouped() == "over"
    assert steps == ["cleaned up"]


async def test_a_scope_around_compute():
    """An anyio scope around `compute()` ends it, and the scope alone sees the cancellation."""
    begun = asyncio.Event()

    @delayed
    async def wait() -> None:
        begun.set()
        await asyncio.Event().wait()

    with anyio.CancelScope() as scope:
        async with asyncio.TaskGroup() as group:

            async def cancel() -> None:
                await begun.wait()
                scope.cancel()

            group.create_task(cancel())
            await wait()
    assert scope.cancelled_caught
    current = asyncio.current_task()
    assert current is not None
    assert current.cancelling() == 0
