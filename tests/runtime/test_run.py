"""`Run`: what `start` returns, to await, to cancel and to ask."""

from __future__ import annotations

import asyncio
import gc
import re
import threading
import traceback
from concurrent.futures import Future
from typing import Any

import pytest

from asyncgraph import Runtime, compute, delayed, start
from tests.runtime.turns import turns

inc = delayed(lambda x: x + 1, executor="loop", name="inc")


def _fail() -> None:
    _deeper()


def _deeper() -> None:
    raise ValueError("boom")


fail = delayed(_fail, executor="loop", name="fail")


@pytest.fixture
async def reports() -> list[dict[str, Any]]:
    """What reaches the loop's exception handler."""
    seen: list[dict[str, Any]] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: seen.append(context))
    return seen


def frames(error: BaseException) -> list[str]:
    """The functions in the traceback of an error."""
    return [frame.name for frame in traceback.extract_tb(error.__traceback__)]


async def test_a_run_goes_on_in_the_background() -> None:
    """The node runs before anybody awaits the run, which then gives its value."""
    ended = asyncio.Event()

    async def node() -> int:
        ended.set()
        return 5

    run = start(delayed(node)())
    await ended.wait()
    assert await run == 5


async def test_a_run_can_be_awaited_again() -> None:
    """Its value is the same object each time, to one task and to several at once."""
    run = start(delayed(object, executor="loop")())
    values = [await run, await run, *await asyncio.gather(_awaited(run), _awaited(run))]
    assert all(value is values[0] for value in values)


async def test_every_await_raises_with_the_original_frames() -> None:
    """Each await of a failed run shows the frames of the failure whole, and does not add to them."""
    run = start(fail())
    seen = []
    for _ in range(5):
        with pytest.raises(ValueError, match="boom") as caught:
            await run
        seen.append(frames(caught.value))
    assert seen[0][-2:] == ["_fail", "_deeper"]
    assert seen == [seen[0]] * 5
    assert len(seen[0]) <= 4


async def test_two_tasks_that_await_it_both_see_the_failure() -> None:
    """Both tasks raise the exception of the node with its frames, whichever comes first."""
    run = start(fail())
    results = await asyncio.gather(_awaited(run), _awaited(run), return_exceptions=True)
    assert results[0] is results[1]
    assert type(results[0]) is ValueError
    with pytest.raises(ValueError, match="boom") as caught:
        await run
    assert frames(caught.value)[-2:] == ["_fail", "_deeper"]


async def test_a_failure_has_one_note_however_often_it_is_awaited() -> None:
    """The note about the node is added once."""
    run = start(fail())
    for _ in range(3):
        with pytest.raises(ValueError, match="boom") as caught:
            await run
    assert len(caught.value.__notes__) == 1


async def test_cancel_from_outside() -> None:
    """`cancel` stops what runs; awaiting then raises CancelledError, and cancels no other task."""
    began, ended = asyncio.Event(), []

    async def node() -> None:
        began.set()
        try:
            await asyncio.get_running_loop().create_future()
        finally:
            ended.append(1)

    run = start(delayed(node)())
    await began.wait()
    assert not run.done()
    assert run.cancel() is True
    assert run.cancel() is True
    for _ in range(2):
        with pytest.raises(asyncio.CancelledError):
            await run
    assert ended == [1]
    assert run.done()
    assert run.cancel() is False
    task = asyncio.current_task()
    assert task is not None
    assert task.cancelling() == 0


async def test_cancel_at_once() -> None:
    """A run that is cancelled before the loop goes round begins nothing."""
    calls: list[int] = []
    run = start(delayed(calls.append, executor="loop")(1))
    assert run.cancel()
    with pytest.raises(asyncio.CancelledError):
        await run
    assert calls == []


@pytest.mark.parametrize("executor", ["loop", "thread"])
async def test_cancel_from_inside_a_node(executor: str) -> None:
    """A node may cancel the run that it is in: it ends, and nothing after it begins."""
    loop = asyncio.get_running_loop()
    calls: list[str] = []
    box: list[Any] = []

    def node() -> None:
        calls.append("node")
        if executor == "loop":
            box[0].cancel()
        else:
            done: Future[bool] = Future()
            loop.call_soon_threadsafe(lambda: done.set_result(box[0].cancel()))
            done.result(30)

    run = start(delayed(calls.append, executor="loop")(delayed(node, executor=executor)()))
    box.append(run)
    with pytest.raises(asyncio.CancelledError):
        await run
    assert calls == ["node"]


async def test_cancel_from_inside_a_coroutine_node() -> None:
    """A coroutine that cancels its own run is cancelled at its next await."""
    box: list[Any] = []
    after: list[int] = []

    async def node() -> None:
        box[0].cancel()
        await asyncio.sleep(0)
        after.append(1)

    box.append(start(delayed(node)()))
    with pytest.raises(asyncio.CancelledError):
        await box[0]
    assert after == []


async def test_a_node_cannot_await_its_own_run(reports: list[dict[str, Any]]) -> None:
    """Each would wait for the other: the node fails with that, also when it has cancelled the run before."""
    box: list[Any] = []

    async def node(first: Any) -> None:
        first()
        await box[-1]

    box.append(start(delayed(node)(lambda: None)))
    with pytest.raises(RuntimeError, match="a node awaits the run that it is part of"):
        await box[-1]
    assert reports == []
    box.append(start(delayed(node)(lambda: [box[-1].cancel()])))
    with pytest.raises(asyncio.CancelledError):
        await box[-1]
    (complaint,) = reports
    assert "failed while its run was being cancelled" in complaint["message"]
    assert "a node awaits the run that it is part of" in str(complaint["exception"])


async def test_a_task_made_by_a_node_may_await_its_run() -> None:
    """Only the node itself is refused: a task that it leaves to others waits like anybody else."""
    box: list[Any] = []
    tasks: list[asyncio.Task[Any]] = []

    async def node() -> int:
        tasks.append(asyncio.ensure_future(_awaited(box[0])))
        await turns(3)
        return 5

    box.append(start(delayed(node)()))
    assert await box[0] == 5
    assert await tasks[0] == 5


async def test_cancelling_who_awaits_cancels_the_run() -> None:
    """Awaiting a run makes it part of the awaiting task, as awaiting a task does."""
    began = asyncio.Event()

    async def node() -> None:
        began.set()
        await asyncio.get_running_loop().create_future()

    run = start(delayed(node)())
    task = asyncio.ensure_future(_awaited(run))
    await began.wait()
    task.cancel("mine")
    with pytest.raises(asyncio.CancelledError) as caught:
        await task
    assert caught.value.args == ("mine",)
    assert run.done()


async def test_a_cancelled_run_in_a_gather_does_not_cancel_the_caller() -> None:
    """Its CancelledError is a result like another to `gather(return_exceptions=True)`."""
    run = start(inc(1))
    run.cancel()
    (result,) = await asyncio.gather(_awaited(run), return_exceptions=True)
    assert type(result) is asyncio.CancelledError


async def test_statistics_follow_the_run() -> None:
    """The counts of a run, while it is held in the middle and at the end, and its repr."""
    gate, began = asyncio.Event(), asyncio.Event()

    async def wait(x: int) -> int:
        began.set()
        await gate.wait()
        return x

    middle = delayed(wait)(inc(1))
    run = start(inc(inc(middle)))
    first = run.statistics()
    assert (first.nodes, first.finished, first.running) == (4, 0, 0)
    await began.wait()
    held = run.statistics()
    assert (held.nodes, held.finished, held.running, held.waiting, held.ready) == (4, 1, 1, 2, 0)
    assert repr(run) == "<Run running, 1 of 4 nodes finished>"
    assert held.seconds >= first.seconds >= 0
    gate.set()
    assert await run == 4
    last = run.statistics()
    assert (last.nodes, last.finished, last.failed, last.cancelled) == (4, 4, 0, 0)
    assert repr(run) == "<Run over, 4 of 4 nodes finished>"
    assert run.statistics().seconds == last.seconds


async def test_statistics_count_what_failed_and_what_was_cancelled() -> None:
    """A failed node with those behind it are failed; what was stopped or not begun is cancelled."""
    began = asyncio.Event()

    async def endless() -> None:
        began.set()
        await asyncio.get_running_loop().create_future()

    async def fail_then() -> None:
        await began.wait()
        raise ValueError

    run = start([inc(delayed(fail_then)()), inc(delayed(endless)())])
    with pytest.raises(ValueError):
        await run
    last = run.statistics()
    assert (last.nodes, last.finished, last.failed, last.not_run, last.cancelled) == (4, 0, 1, 1, 2)
    run = start([inc(fail()), inc(1)], return_exceptions=True)
    await run
    last = run.statistics()
    assert (last.nodes, last.finished, last.failed, last.not_run, last.cancelled) == (3, 1, 1, 1, 0)


async def test_statistics_count_nodes_that_functions_return() -> None:
    """The number of nodes grows with recursion."""

    @delayed(executor="loop")
    def down(n: int) -> Any:
        return n if n == 0 else down(n - 1)

    run = start(down(9))
    assert run.statistics().nodes == 1
    assert await run == 0
    assert run.statistics().nodes == run.statistics().finished == 10


async def test_repr_while_stopping() -> None:
    """A run that is being stopped says so."""
    began, go_on = asyncio.Event(), asyncio.Event()

    async def stubborn() -> None:
        began.set()
        try:
            await asyncio.get_running_loop().create_future()
        finally:
            await go_on.wait()

    run = start(delayed(stubborn)())
    await began.wait()
    run.cancel()
    assert repr(run) == "<Run stopping, 0 of 1 nodes finished>"
    assert not run.done()
    go_on.set()
    with pytest.raises(asyncio.CancelledError):
        await run
    assert run.statistics().cancelled == 1


async def test_a_failure_that_nobody_collects_is_reported(reports: list[dict[str, Any]]) -> None:
    """A background run that fails unseen does not vanish: the loop's exception handler hears of it."""
    run = start(fail())
    await _over(run)
    await turns(2)
    assert reports == []
    del run
    gc.collect()
    (report,) = reports
    assert str(report["exception"]) == "boom"
    assert frames(report["exception"])[-2:] == ["_fail", "_deeper"]


async def test_a_failure_that_is_collected_is_not_reported(reports: list[dict[str, Any]]) -> None:
    """Awaited, cancelled, or failed while a runtime waited for it and collected afterwards: no report."""
    run = start(fail())
    with pytest.raises(ValueError, match="boom"):
        await run
    other = start(inc(1))
    other.cancel()
    async with Runtime() as runtime:
        third = runtime.start(fail())
    with pytest.raises(ValueError, match="boom"):
        await third
    del run, third
    await _over(other)
    del other
    gc.collect()
    assert reports == []


async def test_a_failed_compute_leaves_no_garbage_cycles() -> None:
    """The exception, once let go, takes its frames with it without the collector."""
    import weakref

    class Big:
        pass

    refs: list[weakref.ref[Big]] = []

    def failing() -> None:
        big = Big()
        refs.append(weakref.ref(big))
        raise ValueError("boom")

    gc.collect()
    gc.disable()
    try:
        for executor in ("loop", "thread"):
            try:
                await compute(delayed(failing, executor=executor)())
            except ValueError:
                pass
        await turns(3)
        assert [ref() for ref in refs] == [None, None]
    finally:
        gc.enable()


async def test_a_run_belongs_to_its_loop() -> None:
    """Awaited on another loop it says so, and goes on undisturbed where it was started."""
    gate = asyncio.Event()

    async def wait() -> int:
        await gate.wait()
        return 5

    run = start(delayed(wait)())
    errors: list[BaseException] = []

    def elsewhere() -> None:
        try:
            asyncio.run(_awaited(run))
        except BaseException as error:
            errors.append(error)

    thread = threading.Thread(target=elsewhere)
    thread.start()
    await asyncio.get_running_loop().run_in_executor(None, thread.join)
    (error,) = errors
    assert type(error) is RuntimeError
    assert re.search("belongs to another event loop: await it where it was started", str(error))
    gate.set()
    assert await run == 5


async def test_start_takes_containers_and_options() -> None:
    """What compute takes as one argument, start does, with the same options."""
    assert await start({"a": [inc(1)]}) == {"a": [2]}
    (error,) = await start([fail()], return_exceptions=True)
    assert type(error) is ValueError


async def _over(run: Any) -> None:
    """Wait for the end of a run without asking for its outcome."""
    over = asyncio.Event()
    run.add_done_callback(lambda _: over.set())
    await over.wait()


async def _awaited(awaitable: Any) -> Any:
    return await awaitable
