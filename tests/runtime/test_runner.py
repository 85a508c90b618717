"""Coroutine nodes as their runners run them: tasks, contexts, cancellations, names."""

# ruff: noqa: D103 - helpers whose names say it

from __future__ import annotations

import asyncio
import contextvars
import gc
import subprocess
import sys
import weakref
from typing import Any

import anyio
import pytest

from asyncgraph import Runtime, compute, delayed, start
from asyncgraph.errors import NodeExitedError
from tests.runtime.eager import eager_loop  # noqa: F401 - a fixture

variable: contextvars.ContextVar[Any] = contextvars.ContextVar("variable", default="unset")


@delayed
async def at_once(value: Any = None, *_: Any) -> Any:
    return value


@delayed
async def later(value: Any = None, *_: Any) -> Any:
    await asyncio.sleep(0)
    return value


@delayed
async def current(*_: Any) -> Any:
    return asyncio.current_task()


@delayed
async def see(*_: Any) -> Any:
    return variable.get()


# With a thread among them, nodes are done as the scheduler says; without, they go the straight way.
OTHERS = [
    pytest.param([], id="straight"),
    pytest.param([delayed(abs, executor="thread")(-1)], id="scheduled"),
]


# -- tasks


@pytest.mark.parametrize("others", OTHERS)
async def test_coroutines_that_do_not_suspend_share_a_task(others):
    """One after the other, none of which suspends, needs no task of its own."""
    _, tasks = await compute(others, [current() for _ in range(10)])
    assert len(set(tasks)) == 1
    assert tasks[0] is not asyncio.current_task()


@pytest.mark.parametrize("others", OTHERS)
async def test_coroutines_at_the_same_time_do_not(others):
    """While one is suspended, its task is its alone."""
    together = asyncio.Barrier(10)

    @delayed
    async def meet():
        before = asyncio.current_task()
        await together.wait()
        assert asyncio.current_task() is before
        return before

    _, tasks = await compute(others, [meet() for _ in range(10)])
    assert len(set(tasks)) == 10


@pytest.mark.parametrize("others", OTHERS)
@pytest.mark.parametrize("waits", [False, True])
async def test_the_task_has_the_name_of_the_node(others, waits):
    """In a traceback, a debugger or a log the task is called as the graph calls the node."""

    @delayed
    async def name():
        if waits:
            await asyncio.sleep(0)
        return asyncio.current_task().get_name()

    nodes = [name() for _ in range(5)]
    assert (await compute(others, nodes))[1] == [node.key for node in nodes]


async def test_a_waiting_node_survives_collections():
    """A node that waits for something nobody else holds is held by its run."""
    futures: asyncio.Queue[Any] = asyncio.Queue()

    @delayed
    async def wait():
        future = asyncio.get_running_loop().create_future()
        futures.put_nowait(weakref.ref(future))
        return await future

    run = start(wait())
    future = await futures.get()
    for _ in range(3):
        gc.collect()
    future().set_result("alive")
    assert await run == "alive"


async def test_anything_that_can_be_awaited_will_do():
    """A function gives a coroutine, a future, or an object with `__await__`."""

    class Five:
        def __await__(self):
            yield from asyncio.sleep(0).__await__()
            return 5

    class Call:
        async def __call__(self):
            return await Five()

    assert await delayed(Call())() == 5


@pytest.mark.usefixtures("eager_loop")
async def test_an_eager_task_factory_is_not_asked():
    """A loop that begins its tasks at once changes nothing for nodes."""
    nodes = [later(at_once(number)) for number in range(20)]
    assert await compute(nodes) == list(range(20))


async def test_a_task_factory_of_the_users_own_is_not_asked():
    """It is for the user's tasks: those that nodes make use it."""
    loop = asyncio.get_running_loop()
    made: list[str] = []

    def factory(loop: Any, coroutine: Any, **options: Any) -> Any:
        made.append(coroutine.__qualname__)
        return asyncio.Task(coroutine, loop=loop, **options)

    async def child():
        return 1

    @delayed
    async def parent():
        return await asyncio.get_running_loop().create_task(child())

    before = loop.get_task_factory()
    loop.set_task_factory(factory)
    try:
        assert await compute(parent(), later(2)) == (1, 2)
    finally:
        loop.set_task_factory(before)
    assert [name for name in made if "child" not in name] == []


# -- contexts

HOWS = ["coroutine", "suspended", "inline", "reset", "nested"]


def _setter(how: str, value: Any) -> Any:
    @delayed
    async def set_at_once():
        variable.set(value)

    @delayed
    async def set_later():
        await asyncio.sleep(0)
        variable.set(value)
        await asyncio.sleep(0)

    @delayed
    async def set_and_reset():
        token = variable.set(value)
        variable.reset(token)

    @delayed
    async def set_in_a_coroutine_of_its_own():
        async def inner():
            variable.set(value)

        await inner()

    return {
        "coroutine": set_at_once,
        "suspended": set_later,
        "inline": delayed(lambda: variable.set(value) and None, executor="loop"),
        "reset": set_and_reset,
        "nested": set_in_a_coroutine_of_its_own,
    }[how]()


@pytest.mark.parametrize("others", OTHERS)
@pytest.mark.parametrize("how", HOWS)
@pytest.mark.parametrize("is_set", [False, True])
async def test_what_one_node_sets_no_other_sees(others, how, is_set):
    """Every node finds the variables of the `compute()` call, whatever ran before it."""
    if is_set:
        variable.set("of the caller")
    expected = variable.get()
    nodes = []
    for _ in range(5):
        nodes += [see(_setter(how, "of a node")), see()]
    assert set((await compute(others, nodes))[1]) == {expected}
    assert variable.get() == expected


class Unequal:
    """Equal to nothing, and not to be asked."""

    def __eq__(self, other: object) -> bool:
        raise ValueError("the truth of this is ambiguous")

    __hash__ = None  # type: ignore[assignment]


@pytest.mark.parametrize("others", OTHERS)
@pytest.mark.parametrize(
    ("before", "after"),
    [([], []), (1, True), ({}, {}), (Unequal(), Unequal())],
    ids=["list", "number", "dict", "ambiguous"],
)
async def test_equal_is_not_the_same(others, before, after):
    """The next node finds the caller's own object, not an equal one that a node has set."""
    variable.set(before)
    more = [contextvars.ContextVar(f"variable {number}") for number in range(50)]
    for number, each in enumerate(more):
        each.set(number)

    @delayed
    async def swap():
        variable.set(after)

    nodes = [see(swap()), swap(), see()]
    _, (first, _, second) = await compute(others, nodes)
    assert first is before
    assert second is before


async def test_a_variable_that_takes_the_place_of_another():
    """The values alone are not the context."""
    other: contextvars.ContextVar[Any] = contextvars.ContextVar("other", default=None)
    value = object()
    token = variable.set(value)

    @delayed
    async def move():
        variable.reset(token) if False else variable.set(other)
        other.set(value)

    @delayed
    async def both(*_: Any):
        return variable.get(), other.get()

    assert await both(move()) == (value, None)


# -- cancellations


def cancels(*, then: str) -> Any:
    @delayed
    async def node():
        task = asyncio.current_task()
        task.cancel()
        if then == "uncancel":
            task.uncancel()
        elif then == "swallow":
            try:
                await asyncio.sleep(0)
            except asyncio.CancelledError:
                pass
        return then

    return node()


@pytest.mark.parametrize("others", OTHERS)
async def test_a_node_that_cancels_its_task_and_returns(others):
    """As an asyncio task would: its run counts as cancelled."""
    with pytest.raises(asyncio.CancelledError):
        await compute(others, cancels(then="return"))
    assert asyncio.current_task().cancelling() == 0


@pytest.mark.parametrize("others", OTHERS)
async def test_a_node_that_swallows_a_cancel_disturbs_no_other(others):
    """What it leaves behind in its task, no other node finds."""

    @delayed
    async def cancelling(*_: Any):
        await asyncio.sleep(0)
        return asyncio.current_task().cancelling()

    nodes = [cancelling(cancels(then="swallow")) for _ in range(5)]
    _, counts, last = await compute(others, nodes, cancelling())
    assert (counts, last) == ([0] * 5, 0)


async def test_a_plain_function_that_cancels_the_task_it_finds_itself_in():
    """A coroutine after it is not cancelled in its place; the run is, or nobody is."""

    def cancel(*_):
        task = asyncio.current_task()
        if task is not None:
            task.cancel()
        return 1

    cancel_inline = delayed(cancel, executor="loop")
    with pytest.raises(asyncio.CancelledError):
        await compute([later(cancel_inline())])
    nodes = [later(cancel_inline(later(number))) for number in range(20)]
    assert await compute(nodes, delayed(abs, executor="thread")(-1)) == ([1] * 20, 1)


async def _timeout():
    try:
        async with asyncio.timeout(0):
            await asyncio.Event().wait()
    except TimeoutError:
        return "timed out"


async def _wait_for():
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(asyncio.Event().wait(), 0.001)
    return "timed out"


async def _task_group():
    async def group_that_fails():
        async with asyncio.TaskGroup() as group:
            group.create_task(_fail())
            await asyncio.Event().wait()

    with pytest.raises(ExceptionGroup):
        await group_that_fails()
    return "timed out"


async def _fail():
    raise ValueError("mine")


async def _scope():
    with anyio.move_on_after(0):
        await asyncio.Event().wait()
    return "timed out"


async def _scope_in_scope():
    with anyio.CancelScope() as outer:
        async with anyio.create_task_group() as group:
            group.start_soon(asyncio.sleep, 0)
        outer.cancel()
        await anyio.sleep(1000)
    return "timed out"


@pytest.mark.parametrize("others", OTHERS)
@pytest.mark.parametrize("function", [_timeout, _wait_for, _task_group, _scope, _scope_in_scope])
async def test_what_cancels_within_a_node_ends_there(others, function):
    """Timeouts, groups and scopes work as in any task, and the next node on the same one is not disturbed."""
    wait = delayed(function)
    nodes = [at_once(wait()) for _ in range(30)] + [later(number) for number in range(30)]
    _, values = await compute(others, nodes)
    assert values == ["timed out"] * 30 + list(range(30))


async def test_a_runner_that_is_cancelled_before_it_begins():
    """Whoever cancels all tasks of a loop, as its end does, ends the run too, at whatever moment."""
    loop = asyncio.get_running_loop()
    for turns in range(6):
        run = start([later(later(1)), at_once(2)])
        for _ in range(turns):
            await asyncio.sleep(0)
        for task in asyncio.all_tasks(loop):
            if type(task).__name__ == "Runner":
                task.cancel()
        try:
            assert await run == [1, 2]
        except asyncio.CancelledError:
            pass
        assert run.done()


@pytest.mark.parametrize("error", [asyncio.CancelledError("own"), GeneratorExit()])
@pytest.mark.parametrize("waits", [False, True])
async def test_an_exit_of_ones_own_is_a_failure(error, waits):
    """Nobody has cancelled the coroutine, or closed it: it must not look as if somebody had."""

    async def leave():
        if waits:
            await asyncio.sleep(0)
        raise error

    with pytest.raises(NodeExitedError, match="nobody has asked it to stop") as caught:
        await delayed(leave)()
    assert caught.value.original is caught.value.__cause__ is error


# -- limits, and the end


async def test_runs_take_turns_at_the_lowest_limit():
    """With one coroutine at a time, a run that begins later need not wait until an earlier one is over."""
    order: list[str] = []

    @delayed
    async def note(name: str):
        order.append(name)
        await asyncio.sleep(0)

    async with Runtime(concurrency=1):
        first = start([note("first") for _ in range(50)])
        second = start([note("second") for _ in range(5)])
        await second
        assert order.count("first") < 20
        await first


async def test_a_nested_compute_at_the_lowest_limit():
    """A node that computes others does not wait for its own slot."""

    @delayed
    async def outer(depth: int) -> int:
        return 0 if depth == 0 else 1 + await outer(depth - 1)

    async with Runtime(concurrency=1):
        assert await compute([outer(5), outer(6)]) == [5, 6]


def test_a_loop_that_is_thrown_away():
    """What is suspended on a loop that is closed without a word ends without one, too."""
    script = """
import asyncio, gc
from asyncgraph import delayed, start

@delayed
async def wait(kind):
    try:
        await asyncio.Event().wait()
    finally:
        print("closed", kind)

@delayed(executor="loop")
def small():
    return "inline"

async def main():
    for request in ([wait("one")], [wait("two"), wait(small())]):
        runs.append(start(request))
    while sum(run.statistics().running for run in runs) < 3:
        await asyncio.sleep(0)

runs = []
loop = asyncio.new_event_loop()
loop.run_until_complete(main())
loop.close()
for run in runs:
    run.abandon()
runs.clear()
gc.collect()
print("end")
"""
    done = subprocess.run(
        [sys.executable, "-X", "dev", "-c", script], capture_output=True, text=True, timeout=50, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert sorted(done.stdout.split("\n")) == ["", "closed inline", "closed one", "closed two", "end"]
