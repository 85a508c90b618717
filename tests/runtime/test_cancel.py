"""Cancellation: whatever ends a run early, nothing that it started goes on, and nobody's cancel is lost."""

from __future__ import annotations

import asyncio
import contextlib
import os
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import anyio
import pytest

from asyncgraph import Runtime, compute, delayed, start
from asyncgraph.errors import NodeExitedError
from tests.runtime.turns import turns

inc = delayed(lambda x: x + 1, executor="loop", name="inc")


class Endless:
    """A coroutine node that never ends by itself, and says when it began and how it ended."""

    def __init__(self) -> None:
        self.began = asyncio.Event()
        self.ended: list[str] = []

    async def __call__(self) -> None:
        """Wait until cancelled."""
        self.began.set()
        try:
            await asyncio.get_running_loop().create_future()
        except asyncio.CancelledError:
            self.ended.append("cancelled")
            raise

    def node(self) -> Any:
        """A node of it."""
        return delayed(self, name="endless")()


class Busy:
    """A call in a thread that goes on until it is released."""

    def __init__(self) -> None:
        self.release = threading.Event()
        self.calls: list[int] = []
        self.ended: list[int] = []
        self._loop = asyncio.get_running_loop()
        self.began = asyncio.Event()

    def __call__(self, number: int = 0, *_: Any) -> int:
        """Block until released."""
        self.calls.append(number)
        self._loop.call_soon_threadsafe(self.began.set)
        assert self.release.wait(30)
        self.ended.append(number)
        return number

    def node(self, number: int = 0) -> Any:
        """A node of it."""
        return delayed(self, executor="thread", name="busy")(number)


@pytest.fixture
async def busy() -> AsyncIterator[Busy]:
    """Released at the end of the test, come what may."""
    busy = Busy()
    yield busy
    busy.release.set()


@contextlib.contextmanager
def counted_turns() -> Iterator[Callable[[], int]]:
    """How often the loop has gone round because a callback of anybody ran: a busy spin shows here."""
    loop = asyncio.get_running_loop()
    count = 0
    original = loop.call_soon

    def call_soon(*args: Any, **kwargs: Any) -> Any:
        nonlocal count
        count += 1
        return original(*args, **kwargs)

    loop.call_soon = call_soon  # type: ignore[method-assign]
    try:
        yield lambda: count
    finally:
        loop.call_soon = original  # type: ignore[method-assign]


# -- what is stopped, and what arrives


async def test_the_same_cancelled_error_arrives() -> None:
    """The message of the cancel arrives with the CancelledError, and the task counts as cancelled."""
    endless = Endless()
    task = asyncio.ensure_future(compute(endless.node()))
    await endless.began.wait()
    task.cancel("the reason")
    with pytest.raises(asyncio.CancelledError) as caught:
        await task
    assert caught.value.args == ("the reason",)
    assert task.cancelled()
    assert endless.ended == ["cancelled"]


async def test_a_task_cancelled_before_its_first_step_starts_nothing() -> None:
    """A compute that never began has begun nothing."""
    calls: list[int] = []
    task = asyncio.ensure_future(compute(delayed(lambda: calls.append(1), executor="loop")()))
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await turns(5)
    assert calls == []


async def test_all_coroutines_are_cancelled_and_awaited() -> None:
    """Async `finally` blocks have run to their end when the cancellation leaves compute."""
    ended: list[int] = []
    began = asyncio.Semaphore(0)

    async def node(number: int) -> None:
        began.release()
        try:
            await asyncio.get_running_loop().create_future()
        finally:
            await turns(number)
            ended.append(number)

    task = asyncio.ensure_future(compute([delayed(node)(i) for i in range(20)]))
    for _ in range(20):
        await began.acquire()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert sorted(ended) == list(range(20))


async def test_a_node_that_suppresses_the_cancel_is_waited_for_and_its_value_dropped() -> None:
    """A node may finish in spite of the cancel; what depends on it does not begin."""
    began, go_on = asyncio.Event(), asyncio.Event()
    ended: list[str] = []

    async def stubborn() -> int:
        began.set()
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.get_running_loop().create_future()
        await go_on.wait()
        ended.append("stubborn")
        return 1

    task = asyncio.ensure_future(compute(delayed(ended.append, executor="loop")(delayed(stubborn)())))
    await began.wait()
    task.cancel()
    await turns(10)
    assert not task.done()
    go_on.set()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert ended == ["stubborn"]


async def test_a_node_that_fails_while_being_cancelled_is_reported() -> None:
    """The cancellation stays what leaves; the failure goes to the loop's exception handler."""
    reports: list[dict[str, Any]] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: reports.append(context))
    began = asyncio.Event()

    async def node() -> None:
        began.set()
        try:
            await asyncio.get_running_loop().create_future()
        finally:
            raise ValueError("while cleaning up")

    task = asyncio.ensure_future(compute(delayed(node, name="node")()))
    await began.wait()
    task.cancel("mine")
    with pytest.raises(asyncio.CancelledError) as caught:
        await task
    assert caught.value.args == ("mine",)
    (report,) = reports
    assert "node node" in report["message"]
    assert "while its run was being cancelled" in report["message"]
    assert str(report["exception"]) == "while cleaning up"


async def test_a_cancelled_error_of_ones_own_is_a_failure() -> None:
    """A node that raises CancelledError, though nobody cancelled it, has failed, and is not cancelled."""

    async def node() -> None:
        raise asyncio.CancelledError

    with pytest.raises(NodeExitedError):
        await delayed(node)()
    result = await compute(delayed(node)(), inc(1), return_exceptions=True)
    assert type(result[0]) is NodeExitedError
    assert result[1] == 2


# -- threads


async def test_queued_thread_calls_never_start_and_the_running_one_is_waited_for(busy: Busy) -> None:
    """With one thread, the second call has not begun when compute is cancelled, and never does."""
    async with Runtime(threads=1) as runtime:
        task = asyncio.ensure_future(runtime.compute([busy.node(i) for i in range(10)]))
        await busy.began.wait()
        task.cancel("mine")
        await turns(20)
        assert not task.done()
        busy.release.set()
        with pytest.raises(asyncio.CancelledError) as caught:
            await task
        assert caught.value.args == ("mine",)
        assert busy.calls == busy.ended == [0]
        assert await runtime.compute(delayed(lambda: 5, executor="thread")()) == 5
        assert busy.calls == [0]


async def test_cancelling_again_and_again_waits_all_the_same(busy: Busy) -> None:
    """Each further cancel while a thread runs is borne; the first one is what leaves."""
    task = asyncio.ensure_future(compute(busy.node()))
    await busy.began.wait()
    for number in range(5):
        task.cancel(f"number {number}")
        await turns(3)
        assert not task.done()
    assert busy.ended == []
    busy.release.set()
    with pytest.raises(asyncio.CancelledError) as caught:
        await task
    assert caught.value.args == ("number 0",)
    assert busy.ended == [0]
    assert task.cancelling() == 5


async def test_a_failure_in_a_thread_during_the_cancel_is_reported(busy: Busy) -> None:
    """A thread that fails after the cancel does not replace the CancelledError."""
    reports: list[dict[str, Any]] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: reports.append(context))

    def failing() -> None:
        busy()
        raise ValueError("late")

    task = asyncio.ensure_future(compute(delayed(failing, executor="thread")()))
    await busy.began.wait()
    task.cancel()
    await turns(3)
    busy.release.set()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert [str(report["exception"]) for report in reports] == ["late"]


# -- processes


def _write_pid_and_hang(path: str) -> None:
    Path(path).with_suffix(".part").write_text(str(os.getpid()))
    Path(path).with_suffix(".part").rename(path)
    time.sleep(600)


async def _pid_in(path: Path) -> int:
    """The pid that a worker writes when it has begun."""
    while not path.exists():  # noqa: ASYNC110 - another process writes it
        await asyncio.sleep(0.005)
    return int(path.read_text())


def _is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


async def test_a_worker_process_is_killed(tmp_path: Path) -> None:
    """When the cancellation leaves compute, the worker that ran the node is gone; another takes its place."""
    async with Runtime(processes=1) as runtime:
        hang = delayed(_write_pid_and_hang, executor="process")
        task = asyncio.ensure_future(runtime.compute(hang(str(tmp_path / "pid"))))
        pid = await _pid_in(tmp_path / "pid")
        assert _is_alive(pid)
        task.cancel("mine")
        with pytest.raises(asyncio.CancelledError) as caught:
            await task
        assert caught.value.args == ("mine",)
        assert not _is_alive(pid)
        assert await runtime.compute(delayed(os.getpid, executor="process")()) != pid


async def test_a_timeout_kills_the_worker_process(tmp_path: Path) -> None:
    """Time up, or a failure beside it, end a worker process as a cancel does."""
    async with Runtime(processes=1) as runtime:
        hang = delayed(_write_pid_and_hang, executor="process")

        async def fail_when_begun() -> None:
            await _pid_in(tmp_path / "pid")
            raise ValueError("beside")

        with pytest.raises(ValueError, match="beside"):
            await runtime.compute(hang(str(tmp_path / "pid")), delayed(fail_when_begun)())
        assert not _is_alive(int((tmp_path / "pid").read_text()))


# -- inside the things that cancel


async def test_inside_asyncio_timeout() -> None:
    """`asyncio.timeout` around a compute becomes its TimeoutError, and the task goes on uncancelled."""
    endless = Endless()
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.01):
            await compute(endless.node())
    task = asyncio.current_task()
    assert task is not None
    assert task.cancelling() == 0
    assert endless.ended in (["cancelled"], [])


async def test_inside_wait_for() -> None:
    """`wait_for` around a node, in the same way."""
    endless = Endless()
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(endless.node().compute(), 0.01)
    assert await asyncio.wait_for(inc(1).compute(), 60) == 2


async def test_inside_a_task_group() -> None:
    """A sibling's failure cancels the compute; the group reports the failure alone."""
    endless = Endless()

    async def fail() -> None:
        await endless.began.wait()
        raise ValueError("sibling")

    with pytest.raises(ExceptionGroup) as caught:  # noqa: PT012
        async with asyncio.TaskGroup() as group:
            group.create_task(compute(endless.node()))
            group.create_task(fail())
    assert [str(error) for error in caught.value.exceptions] == ["sibling"]
    assert endless.ended == ["cancelled"]


async def test_a_failing_compute_in_a_task_group() -> None:
    """The failure of a node is what the group reports, and its siblings are cancelled."""
    endless = Endless()

    async def fail() -> None:
        await endless.began.wait()
        raise ValueError("node")

    with pytest.raises(ExceptionGroup) as caught:  # noqa: PT012
        async with asyncio.TaskGroup() as group:
            group.create_task(compute(endless.node()))
            group.create_task(compute(delayed(fail)()))
    assert [str(error) for error in caught.value.exceptions] == ["node"]
    assert endless.ended == ["cancelled"]


async def test_inside_an_anyio_scope() -> None:
    """A scope of anyio ends its block, catches what it caused, and the code after it goes on."""
    endless = Endless()
    with anyio.move_on_after(0.01) as scope:
        await compute(endless.node())
    assert scope.cancelled_caught
    with pytest.raises(TimeoutError):
        with anyio.fail_after(0.01):
            await Endless().node()
    assert await inc(1) == 2


async def test_an_anyio_scope_around_a_busy_thread_does_not_spin(busy: Busy) -> None:
    """The scope cancels again and again; waiting for the thread costs no turns of the loop."""
    loop = asyncio.get_running_loop()
    checked = asyncio.Event()

    async def cancel_and_count(scope: anyio.CancelScope) -> None:
        await busy.began.wait()
        scope.cancel()
        await turns(20)
        with counted_turns() as count:
            reached: asyncio.Future[None] = loop.create_future()
            loop.call_later(0.1, reached.set_result, None)
            await reached
            seen = count()
        assert seen < 20, f"{seen} turns while nothing happened"
        checked.set()
        busy.release.set()

    with anyio.CancelScope() as scope:
        other = asyncio.ensure_future(cancel_and_count(scope))
        await compute(busy.node())
    await other
    assert scope.cancelled_caught
    assert busy.ended == [0]
    assert checked.is_set()


async def test_an_anyio_task_group_that_is_cancelled(busy: Busy) -> None:
    """Computes in an anyio task group end with it, however many."""
    endless = [Endless() for _ in range(5)]
    async with anyio.create_task_group() as group:
        for each in endless:
            group.start_soon(compute, each.node())
        group.start_soon(compute, busy.node())
        for each in endless:
            await each.began.wait()
        await busy.began.wait()
        group.cancel_scope.cancel()
        asyncio.get_running_loop().call_soon(busy.release.set)
    assert [each.ended for each in endless] == [["cancelled"]] * 5
    assert busy.ended == [0]


# -- races


async def test_a_cancel_that_comes_with_the_last_value_still_cancels() -> None:
    """If the last node finished before the cancel was delivered, compute raises all the same."""
    loop = asyncio.get_running_loop()
    gate: asyncio.Future[int] = loop.create_future()
    began = asyncio.Event()

    async def node() -> int:
        began.set()
        return await gate

    task = asyncio.ensure_future(compute(delayed(node)()))
    await began.wait()
    gate.set_result(1)
    task.cancel("late")
    with pytest.raises(asyncio.CancelledError):
        await task
    assert task.cancelled()


async def _mixed(log: set[str], events: list[str]) -> Any:
    """A graph of all kinds, in three layers, that tells of what is going on in it."""

    def running(name: str, function: Callable[[], Any]) -> Any:
        log.add(name)
        try:
            return function()
        finally:
            log.discard(name)

    async def coroutine(name: str, *_: Any) -> str:
        log.add(name)
        try:
            await turns(3)
            return name
        finally:
            try:  # the cancel may come here, too
                await turns(2)
            finally:
                log.discard(name)

    def plain(name: str, *_: Any) -> str:
        events.append(name)
        return running(name, lambda: name)

    def more(name: str, *_: Any) -> Any:
        return delayed(coroutine)(name)

    def opaque(name: str, *_: Any) -> Any:
        return coroutine(name)

    lanes = ("loop", "thread")
    first = [delayed(plain, executor=lanes[i % 2])(f"plain{i}") for i in range(4)]
    first += [delayed(coroutine)(f"coroutine{i}") for i in range(4)]
    second = [
        delayed(more, executor="loop")("more", *first[:2]),
        delayed(opaque, executor="loop")("opaque", *first[2:]),
    ]
    second += [delayed(plain, executor="thread")(f"second{i}", *first) for i in range(3)]
    last = delayed(coroutine)("last", *second)
    return await compute(last, second)


@pytest.mark.parametrize("again", [False, True], ids=["once", "twice"])
async def test_cancel_after_every_single_turn(again: bool) -> None:
    """Wherever a cancel falls, compute raises it, and nothing of the run goes on afterwards."""
    async with Runtime(threads=2, concurrency=3) as runtime:
        cancelled, turn = 0, 0
        while True:
            log: set[str] = set()
            events: list[str] = []
            task = asyncio.ensure_future(_mixed(log, events))
            await turns(turn)
            if task.done():
                break
            task.cancel(turn)
            if again:
                await turns(1)
                task.cancel("again")
            with pytest.raises(asyncio.CancelledError) as caught:
                await task
            assert caught.value.args == (turn,)
            cancelled += 1
            assert not log, f"turn {turn}"
            begun = list(events)
            await turns(5)
            assert events == begun, f"turn {turn}"
            slots = [lane.slots.used for lane in runtime._lanes._lanes.values()]  # type: ignore[union-attr]
            assert slots == [0, 0, 0], f"turn {turn}"
            assert not runtime._runs, f"turn {turn}"
            turn += 1
            assert turn < 10_000
        assert cancelled > 10
        assert task.result()[0] == "last"


# -- a failure cancels the rest


async def test_the_first_failure_cancels_its_siblings() -> None:
    """What runs beside a node that fails is cancelled and awaited, what waits never begins."""
    endless = Endless()
    calls: list[int] = []

    async def fail() -> None:
        await endless.began.wait()
        raise ValueError("first")

    failing = delayed(fail)()
    with pytest.raises(ValueError, match="first"):
        await compute(endless.node(), failing, delayed(calls.append, executor="loop")(failing))
    assert endless.ended == ["cancelled"]
    assert calls == []


async def test_what_fails_while_being_stopped_becomes_a_note() -> None:
    """The first failure wins; those of its victims are notes on it, in one line each."""
    all_began = asyncio.Semaphore(0)

    async def victim(number: int) -> None:
        all_began.release()
        try:
            await asyncio.get_running_loop().create_future()
        finally:
            raise KeyError(number)

    async def fail() -> None:
        for _ in range(3):
            await all_began.acquire()
        raise ValueError("first")

    victims = [delayed(victim, name="victim")(i) for i in range(3)]
    with pytest.raises(ValueError, match="first") as caught:
        await compute(victims, delayed(fail)())
    about = [note for note in caught.value.__notes__ if "failed too" in note]
    assert len(about) == 3
    for number, note in enumerate(sorted(about, key=lambda note: note[-3:])):
        assert note.startswith("asyncgraph: while the rest was being stopped, node victim")
        assert note.endswith(f"failed too: KeyError({number})")


async def test_a_cancel_while_a_failure_is_being_cleaned_up_leaves_as_cancel(busy: Busy) -> None:
    """The caller's own cancel is not lost when the run has failed already."""
    failed = asyncio.Event()

    async def fail() -> None:
        await busy.began.wait()
        failed.set()
        raise ValueError("first")

    task = asyncio.ensure_future(compute(busy.node(), delayed(fail)()))
    await failed.wait()
    await turns(3)
    task.cancel("mine")
    await turns(3)
    assert not task.done()
    busy.release.set()
    with pytest.raises(asyncio.CancelledError) as caught:
        await task
    assert caught.value.args == ("mine",)


async def test_cancelling_one_run_leaves_the_other_alone(busy: Busy) -> None:
    """Two runs of the same nodes are two executions: one is cancelled, the other gives its value."""
    began = asyncio.Semaphore(0)
    gate = asyncio.Event()

    async def wait() -> int:
        began.release()
        await gate.wait()
        return 1

    node = inc(delayed(wait)())
    first, second = start(node), start(node)
    await began.acquire()
    await began.acquire()
    assert first.cancel()
    with pytest.raises(asyncio.CancelledError):
        await first
    gate.set()
    assert await second == 2


async def test_cancelling_the_outer_compute_cancels_the_inner_one() -> None:
    """A compute inside a coroutine node is part of it, and ends before it does."""
    endless = Endless()
    ended: list[str] = []

    async def outer() -> None:
        try:
            await compute(endless.node())
        finally:
            ended.append("outer")
            assert endless.ended == ["cancelled"]

    task = asyncio.ensure_future(compute(delayed(outer)()))
    await endless.began.wait()
    task.cancel("mine")
    with pytest.raises(asyncio.CancelledError):
        await task
    assert ended == ["outer"]


# -- the end of a runtime


async def test_leaving_a_runtime_waits_for_its_runs() -> None:
    """A block that ends normally waits for what it started."""
    gate, ended = asyncio.Event(), []

    async def node() -> None:
        await gate.wait()
        ended.append(1)

    async with Runtime() as runtime:
        run = runtime.start(delayed(node)())
        asyncio.get_running_loop().call_soon(gate.set)
    assert ended == [1]
    assert run.done()
    await run


async def test_leaving_a_runtime_with_an_exception_cancels_its_runs() -> None:
    """A block that fails cancels what it started, and the exception leaves as it is."""
    endless = Endless()
    with pytest.raises(ValueError, match="body"):  # noqa: PT012
        async with Runtime() as runtime:
            run = runtime.start(endless.node())
            await endless.began.wait()
            raise ValueError("body")
    assert endless.ended == ["cancelled"]
    with pytest.raises(asyncio.CancelledError):
        await run


async def test_leaving_a_runtime_may_itself_be_cancelled(busy: Busy) -> None:
    """A cancel while the block waits at its end cancels the runs; nothing is left, and the cancel leaves."""
    endless = Endless()
    leaving = asyncio.Event()

    async def main() -> None:
        async with Runtime() as runtime:
            runtime.start(endless.node())
            runtime.start(busy.node())
            await endless.began.wait()
            await busy.began.wait()
            leaving.set()

    task = asyncio.ensure_future(main())
    await leaving.wait()
    await turns(3)
    assert endless.ended == []
    task.cancel("mine")
    await turns(5)
    assert endless.ended == ["cancelled"]
    assert not task.done()
    busy.release.set()
    with pytest.raises(asyncio.CancelledError) as caught:
        await task
    assert caught.value.args == ("mine",)
    assert busy.ended == [0]
