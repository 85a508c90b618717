"""The sides from which a run may be ended, each with what comes of it for those who wait.

Each runs a scene and arms a strike, which ends that; it returns the values, or `STOPPED`. Whoever ends it,
the task that a side is called in has no cancel left over then.
"""

from __future__ import annotations

import asyncio
import contextlib
import sys
from collections.abc import Awaitable, Callable, Coroutine
from functools import partial
from typing import Any

import anyio

from asyncgraph import Runtime, as_completed, delayed, start
from tests.errors.reading import failure_of
from tests.runtime.scenes import Mine, Scene
from tests.runtime.stepping import SteppingLoop, Strike

# Seconds of the loop's clock: timeouts that a leap of `SPAN` passes.
TIMEOUT = 10.0
SPAN = 20.0

STOPPED = "stopped"
"""What comes of a run that the strike has ended."""

Side = Callable[[Strike, Scene], Awaitable[Any]]


async def by_task(strike: Strike, scene: Scene) -> Any:
    """The task that computes is cancelled."""
    return await _cancelled_at(strike, scene.compute())


async def by_run(strike: Strike, scene: Scene) -> Any:
    """The run is cancelled, and not who waits for it."""
    background = start(scene.request, **scene.options)
    answers: list[bool] = []
    strike.arm(lambda: answers.append(background.cancel()))
    try:
        value = await background
    except asyncio.CancelledError:
        task = asyncio.current_task()
        assert task is not None
        if task.cancelling():
            raise
        assert answers == [True]
        value = STOPPED
    else:
        assert answers in ([], [False])
    assert background.done()
    return value


async def by_own_timeout(strike: Strike, scene: Scene) -> Any:
    """The time of the `compute` is up."""
    strike.arm(leap)
    try:
        return await scene.compute(timeout=TIMEOUT)
    except TimeoutError:
        return STOPPED


async def by_timeout(strike: Strike, scene: Scene) -> Any:
    """`asyncio.timeout` is around it."""
    try:
        async with asyncio.timeout(TIMEOUT):
            strike.arm(leap)
            return await scene.compute()
    except TimeoutError:
        return STOPPED


async def by_wait_for(strike: Strike, scene: Scene) -> Any:
    """`asyncio.wait_for` is around it."""
    strike.arm(leap)
    try:
        return await asyncio.wait_for(scene.compute(), TIMEOUT)
    except TimeoutError:
        return STOPPED


async def by_sibling(strike: Strike, scene: Scene) -> Any:
    """Another task of the group that it is in fails."""
    value = STOPPED
    try:
        async with asyncio.TaskGroup() as group:
            failing = _fail_at(strike, group)
            value = await scene.compute()
            failing.cancel()
    except* Mine:
        value = STOPPED
        _take_back_what_the_group_forgets()
    return value


async def by_sibling_of_its_task(strike: Strike, scene: Scene) -> Any:
    """The same, where it has a task of its own in the group."""
    values = []
    try:
        async with asyncio.TaskGroup() as group:
            computing = group.create_task(scene.compute())
            failing = _fail_at(strike, group)
            computing.add_done_callback(lambda _: failing.cancel())
        values.append(computing.result())
    except* Mine:
        assert computing.cancelled() or computing.result()
        _take_back_what_the_group_forgets()
    return values[0] if values else STOPPED


async def by_scope(strike: Strike, scene: Scene) -> Any:
    """A cancel scope of anyio is around it."""
    value = STOPPED
    with anyio.CancelScope() as scope:
        strike.arm(scope.cancel)
        value = await scene.compute()
    assert scope.cancelled_caught is (value is STOPPED)
    return value


async def by_move_on_after(strike: Strike, scene: Scene) -> Any:
    """A cancel scope of anyio that has a timeout is around it."""
    value = STOPPED
    with anyio.move_on_after(TIMEOUT) as scope:
        strike.arm(leap)
        value = await scene.compute()
    assert scope.cancelled_caught is (value is STOPPED)
    return value


async def by_anyio_group(strike: Strike, scene: Scene) -> Any:
    """It has a task of its own in a group of anyio, which is cancelled."""
    values: list[Any] = []

    async def take() -> None:
        values.append(await scene.compute())

    async with anyio.create_task_group() as group:
        group.start_soon(take)
        strike.arm(group.cancel_scope.cancel)
    return values[0] if values else STOPPED


async def by_failure(strike: Strike, scene: Scene) -> Any:
    """Another node of the run fails."""
    must_fail = asyncio.get_running_loop().create_future()

    def decide(is_failure: bool) -> None:
        if not must_fail.done():
            must_fail.set_result(is_failure)

    async def fail() -> None:
        if await must_fail:
            raise Mine

    async def end(*_: Any) -> None:
        decide(False)

    scene.request.append(delayed([delayed(fail)(), delayed(end)(*scene.request)]))
    strike.arm(partial(decide, True))
    try:
        *values, ended = await scene.compute()
    except Mine as error:
        notes = "".join(error.__notes__)
        assert "failed too" not in notes, notes
        return STOPPED
    assert ended == [None, None]
    return values


async def while_they_complete(strike: Strike, scene: Scene) -> Any:
    """Results are taken as they come, and the task that does so is cancelled."""

    async def collect() -> list[Any]:
        async with contextlib.aclosing(as_completed(scene.request, **scene.options)) as completed:
            values = {node: value async for node, value in completed}
        return [values[node] for node in scene.request]

    return await _cancelled_at(strike, collect())


async def after_the_first(strike: Strike, scene: Scene) -> Any:
    """The first result is enough; the task may be cancelled before that, or while the rest is stopped."""

    async def collect() -> Any:
        async with contextlib.aclosing(as_completed(scene.request, **scene.options)) as completed:
            async for _ in completed:
                break
        return scene.expected

    return await _cancelled_at(strike, collect())


async def by_all_tasks(strike: Strike, scene: Scene) -> Any:
    """All tasks are cancelled, those that run nodes as well, as some programs do when they are to end."""
    before = asyncio.all_tasks()
    task = asyncio.ensure_future(scene.compute())
    answers: list[bool] = []

    def cancel_all() -> None:
        answers.append(not task.done())
        for each in asyncio.all_tasks() - before:
            each.cancel()

    strike.arm(cancel_all)
    await asyncio.wait([task])
    scene.cut_short.clear()  # each node was cancelled by its run as well, as in a task group
    if answers != [True]:
        return task.result()
    assert task.cancelled()
    return STOPPED


async def by_an_error_in_the_block(strike: Strike, scene: Scene) -> Any:
    """The block of the runtime that it runs in is left with an exception."""
    is_over = asyncio.get_running_loop().create_future()

    def end(is_failure: bool) -> None:
        if not is_over.done():
            is_over.set_result(is_failure)

    try:
        async with Runtime(threads=2, concurrency=3) as runtime:
            background = runtime.start(scene.request, **scene.options)
            background.add_done_callback(lambda _: end(False))
            strike.arm(partial(end, True))
            if await is_over:
                raise Mine
    except Mine:
        assert background.done()
        try:
            return await background
        except asyncio.CancelledError:
            return STOPPED
    return await background


async def while_leaving_the_block(strike: Strike, scene: Scene) -> Any:
    """The block of the runtime waits at its end, and the task is cancelled while it does."""

    async def main() -> Any:
        async with Runtime(threads=2, concurrency=3) as runtime:
            background = runtime.start(scene.request, **scene.options)
        assert background.done()
        return await background

    return await _cancelled_at(strike, main())


SIDES = [
    by_task,
    by_run,
    by_own_timeout,
    by_timeout,
    by_wait_for,
    by_sibling,
    by_sibling_of_its_task,
    by_scope,
    by_move_on_after,
    by_anyio_group,
    by_failure,
    by_all_tasks,
    by_an_error_in_the_block,
    while_leaving_the_block,
    while_they_complete,
    after_the_first,
]


async def _cancelled_at(strike: Strike, computing: Coroutine[Any, Any, Any]) -> Any:
    """What comes of it in a task that is cancelled; it must be cancelled if it says that it will be."""
    task = asyncio.ensure_future(computing)
    answers: list[bool] = []
    strike.arm(lambda: answers.append(task.cancel("the reason")))
    await asyncio.wait([task])
    if answers != [True]:
        return task.result()
    error = await failure_of(task)
    assert isinstance(error, asyncio.CancelledError)
    assert task.cancelled()
    assert error.args == ("the reason",)
    assert task.cancelling() == 1
    return STOPPED


def _take_back_what_the_group_forgets() -> None:
    """Before Python 3.13 a group at its end cancels its parent for a failure, and does not take that back."""
    task = asyncio.current_task()
    assert task is not None
    if sys.version_info < (3, 13) and task.cancelling():
        task.uncancel()


def leap() -> None:
    """Put the clock forward."""
    loop = asyncio.get_running_loop()
    assert isinstance(loop, SteppingLoop)
    loop.leap(SPAN)


def _fail_at(strike: Strike, group: asyncio.TaskGroup) -> asyncio.Task[Any]:
    """A task of the group that fails when the strike falls, unless it is cancelled before."""
    gate = asyncio.Event()

    async def fail() -> None:
        await gate.wait()
        raise Mine

    strike.arm(gate.set)
    return group.create_task(fail())
