"""The loop executor as a run drives it: delivery, refusals, names, references."""

# ruff: noqa: D103 - helpers whose names say it

from __future__ import annotations

import asyncio
import gc
import threading
import weakref
from typing import Any

import pytest

from asyncgraph import compute, delayed
from asyncgraph.executors.loop import LoopExecutor, awaiting
from tests.executors.process.harness import Started


class Thing:
    """Something to watch with a weak reference."""


@pytest.fixture
async def executor() -> LoopExecutor:
    return LoopExecutor(4, asyncio.get_running_loop())


async def double(x: int) -> int:
    await asyncio.sleep(0)
    return 2 * x


async def test_a_coroutine_that_never_waits(executor):
    """A coroutine that returns without waiting is delivered later than `start`, on the loop's thread."""

    async def at_once() -> threading.Thread:
        return threading.current_thread()

    call = Started(executor, at_once, (), {})
    assert call.deliveries == []
    assert await call.value() is threading.current_thread()


@pytest.mark.parametrize(("function", "kind"), [(lambda: 1 / 0, ZeroDivisionError), (lambda: 1, TypeError)])
async def test_a_function_that_gives_nothing_to_await(executor, function, kind):
    """A function that raises when it is called, or gives nothing to await, is that call's failure."""
    assert type(await Started(executor, function, (), {}).error()) is kind


async def test_cancelling_one_leaves_the_others(executor):
    """Cancelling a call cancels no other."""
    begun, go = asyncio.Event(), asyncio.Event()

    async def wait() -> str:
        begun.set()
        await go.wait()
        return "value"

    first, second = (Started(executor, wait, (), {}) for _ in range(2))
    await begun.wait()
    executor.cancel(first.call)
    assert type(await first.error()) is asyncio.CancelledError
    go.set()
    assert await second.value() == "value"


async def test_the_key_is_the_name_in_a_graph():
    """In a run the name of a coroutine's task is the key that the graph shows."""

    @delayed
    async def name() -> str:
        task = asyncio.current_task()
        assert task is not None
        return task.get_name()

    nodes = [name() for _ in range(3)]
    assert await compute(nodes) == [next(iter(node.graph)) for node in nodes]


@pytest.mark.parametrize("made_elsewhere", [False, True])
async def test_a_loop_that_makes_no_task(executor, made_elsewhere):
    """If the loop's task factory raises, that is the call's error, and no coroutine is left unawaited."""
    loop = asyncio.get_running_loop()

    def refuse(loop: Any, coroutine: Any, **options: Any) -> Any:
        raise RuntimeError("no more tasks")

    before = loop.get_task_factory()
    loop.set_task_factory(refuse)
    try:
        call = Started(executor, *((awaiting, (double(1),)) if made_elsewhere else (double, (1,))), {})
    finally:
        loop.set_task_factory(before)
    assert str(await call.error()) == "no more tasks"
    assert executor._tasks == set()


async def test_nothing_is_held_afterwards(executor):
    """When the outcome has been delivered, the executor holds no argument and no value."""
    seen: list[weakref.ref[Any]] = []

    async def use(thing: Thing) -> Thing:
        result = Thing()
        seen.extend((weakref.ref(thing), weakref.ref(result)))
        return result

    call = Started(executor, use, (Thing(),), {})
    await call.value()
    del call
    await asyncio.sleep(0)
    gc.collect()
    assert [each() for each in seen] == [None, None]


async def test_a_node_that_waits_is_held():
    """A whole run whose only node waits for something nobody else holds survives collections."""
    holder: list[weakref.ref[Any]] = []
    begun = asyncio.Event()

    @delayed
    async def wait() -> str:
        future = asyncio.get_running_loop().create_future()
        holder.append(weakref.ref(future))
        begun.set()
        return await future

    async def release() -> None:
        await begun.wait()
        for _ in range(3):
            gc.collect()
        future = holder[0]()
        assert future is not None
        future.set_result("value")

    value, _ = await asyncio.gather(wait().compute(), release())
    assert value == "value"
