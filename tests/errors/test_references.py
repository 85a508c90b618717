"""What is kept alive, and what not, while a graph runs and after that: counted without the collector."""

from __future__ import annotations

import asyncio
import gc
import weakref

import pytest

from asyncgraph import Runtime, as_completed, compute, delayed, start

EXECUTORS = ["coroutine", "inline", "thread"]


class Thing:
    """Something that can be asked whether it is still there."""


class Failure(Exception):
    """The same, as an exception."""


@pytest.fixture(autouse=True)
def _no_collector():
    gc.collect()
    gc.disable()
    yield
    gc.enable()


def on(executor, function):
    """Return `function`, delayed, for one way of running it."""

    async def later(*args):
        await asyncio.sleep(0)
        return function(*args)

    if executor == "coroutine":
        return delayed(later)
    return delayed(function, executor={"inline": "loop"}.get(executor, executor))


async def settle():
    """Let callbacks that hold what has just ended go by."""
    for _ in range(3):
        await asyncio.sleep(0)


@pytest.mark.parametrize("executor", EXECUTORS)
async def test_a_result_is_gone_when_it_has_been_used(executor):
    """An intermediate result is dropped after its last use, while the run is still going on."""
    seen = []
    born = []

    def make():
        thing = Thing()
        born.append(weakref.ref(thing))
        return thing

    def use(thing):
        return type(thing)

    def look(_):
        seen.append(born[0]())
        return "looked"

    things = on(executor, use)(on(executor, make)())
    # One more turn between: a call that has just ended is still on its way home.
    assert await delayed(look, executor="loop")(delayed(asyncio.sleep)(0, things)) == "looked"
    assert seen == [None]


@pytest.mark.parametrize("executor", EXECUTORS)
async def test_nothing_of_a_value_is_kept_after_the_run(executor):
    """When the caller drops the value, and the graph its argument, they are gone."""
    argument = Thing()
    node = on(executor, lambda _: Thing())(argument)
    value = await node
    gone = weakref.ref(argument), weakref.ref(value)
    del argument, node, value
    await settle()
    assert [ref() for ref in gone] == [None, None]


@pytest.mark.parametrize("executor", EXECUTORS)
async def test_nothing_of_a_failure_is_kept_after_the_run(executor):
    """When the caller has handled the exception it is gone, and with it what its frames held."""
    gone = []

    def fail(argument):
        local = Thing()
        error = Failure()
        gone.extend(map(weakref.ref, (argument, local, error)))
        try:
            raise error
        finally:
            del error

    async with Runtime():
        try:
            await (on(executor, fail)(Thing()) + 1)
        except Failure:
            pass
        await settle()
        assert [ref() for ref in gone] == [None, None, None]


@pytest.mark.parametrize("executor", EXECUTORS)
async def test_nothing_of_returned_exceptions_is_kept(executor):
    """With `return_exceptions=True` the caller alone holds them."""
    gone = []

    def fail():
        error = Failure()
        gone.append(weakref.ref(error))
        try:
            raise error
        finally:
            del error

    results = await compute(on(executor, fail)(), on(executor, fail)() + 1, return_exceptions=True)
    assert {type(each).__name__ for each in results} == {"Failure", "DependencyError"}
    del results
    await settle()
    assert [ref() for ref in gone] == [None, None]


async def test_a_run_that_is_kept_keeps_its_value_alone():
    """Who holds on to a `Run` holds neither nodes, nor arguments, nor intermediate results."""
    gone = []

    def make(argument):
        thing = Thing()
        gone.extend((weakref.ref(argument), weakref.ref(thing)))
        return thing

    node = delayed(lambda thing: "value", executor="loop")(delayed(make, executor="loop")(Thing()))
    gone.append(weakref.ref(node))
    run = start([node])
    assert await run == ["value"]
    del node
    await settle()
    assert [ref() for ref in gone] == [None] * 3
    assert await run == ["value"]
    assert run.statistics().finished == 2


@pytest.mark.parametrize("ending", ["value", "failure", "cancelled"])
async def test_a_run_is_gone_with_its_last_reference(ending):
    """Whatever its end, no cycle and no forgotten callback keeps a run."""

    async def wait():
        await asyncio.sleep(0)
        if ending == "failure":
            raise Failure
        if ending == "cancelled":
            await asyncio.Event().wait()

    run = start(delayed(wait)(), timeout=3600)
    await settle()
    if ending == "cancelled":
        run.cancel()
    try:
        await run
    except (Failure, asyncio.CancelledError):
        pass
    gone = weakref.ref(run), weakref.ref(run._execution)
    del run
    await settle()
    assert [ref() for ref in gone] == [None, None]


async def test_a_cancelled_compute_leaves_no_cycle():
    """The CancelledError, and the frames that it went through, are gone once it was handled."""
    gone = []

    class Waiting:
        async def __call__(self):
            await asyncio.Event().wait()

    waiting = Waiting()
    task = asyncio.ensure_future(compute(delayed(waiting)()))
    await settle()
    gone.append(weakref.ref(waiting))
    del waiting
    task.cancel()
    try:
        await task
    except asyncio.CancelledError:
        pass
    del task
    await settle()
    assert gone[0]() is None


@pytest.mark.parametrize("entrance", ["compute", "run", "as_completed"])
async def test_a_failure_is_gone_when_it_has_been_handled(entrance):
    """None of the frames of asyncgraph that are in its traceback keeps it."""
    gone = []

    def fail():
        error = Failure()
        gone.append(weakref.ref(error))
        try:
            raise error
        finally:
            del error

    node = delayed(fail, executor="thread")()
    try:
        if entrance == "compute":
            await compute(node)
        elif entrance == "run":
            await start(node)
        else:
            async for _ in as_completed([node]):
                pass
    except Failure:
        pass
    await settle()
    assert gone[0]() is None


async def test_values_of_as_completed_are_not_kept():
    """A value that was given and dropped is gone while the rest is still under way."""
    gate = asyncio.Event()
    gone = []

    async def first():
        thing = Thing()
        gone.append(weakref.ref(thing))
        return thing

    nodes = [delayed(first)(), delayed(gate.wait)()]
    async for _, value in as_completed(nodes):
        if not gate.is_set():
            assert type(value) is Thing
            del value
            await settle()
            assert gone[0]() is None
            gate.set()


async def test_a_held_context_does_not_hold_the_results():
    """A task that a node leaves behind has the run's context; that keeps no graph alive."""
    stop = asyncio.Event()
    tasks = []

    async def leaves_a_task(thing):
        tasks.append(asyncio.create_task(stop.wait()))

    thing = Thing()
    gone = weakref.ref(thing)
    await delayed(leaves_a_task)(thing)
    del thing
    await settle()
    assert gone() is None
    stop.set()
    await tasks.pop()
