"""Rules C1 to C13: what cancelling a run means, whoever or whatever cancels it."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import threading
from collections.abc import AsyncIterator
from typing import Any

import anyio
import pytest

from asyncgraph import Retry, Runtime, check_cancelled, compute, delayed, start
from asyncgraph import cancelled as is_to_stop
from asyncgraph.errors import NodeExitedError, NodeTimeoutError, RuntimeClosedError
from tests.errors.reading import failure_of
from tests.executors.process import remote
from tests.reliability import harness
from tests.reliability.harness import Stage, Witness, first_line, notes_of, outcome_of, program, turns


@pytest.fixture
async def stage() -> AsyncIterator[Stage]:
    """Nodes that go on, released at the end of the test, come what may."""
    stage = Stage()
    yield stage
    stage.release.set()


def held(witness: Witness) -> Any:
    """A node that goes on in a worker."""
    return delayed(harness.hold, executor="process")(witness.path)


async def cancelled(task: asyncio.Task[Any]) -> asyncio.CancelledError:
    """Wait for a task, which must end by being cancelled."""
    error = await failure_of(task)
    assert isinstance(error, asyncio.CancelledError)
    assert task.cancelled()
    return error


class Mine(Exception):
    """What a node of a test raises."""


@pytest.mark.parametrize("ending", ["failure", "cancel", "run.cancel", "timeout"])
async def test_c01_nothing_runs_afterwards(stage, witness, ending, complaints):
    """When `compute()` has raised, whatever for, nothing that it started is running any more."""
    all_have_begun = asyncio.Event()

    async def end() -> None:
        await stage.have_begun("coroutine", "another", "thread")
        if ending != "timeout":  # after which whoever waits for a worker in a thread would go on with that
            await witness.next_pid()
        all_have_begun.set()
        if ending == "failure":
            raise Mine
        await asyncio.get_running_loop().create_future()

    thread = stage.thread("thread", stage.after("coroutine"))  # which ends it
    nodes = [stage.coroutine(), stage.coroutine("another"), thread, held(witness), delayed(end)()]
    async with Runtime(processes=1):
        tasks = asyncio.all_tasks()
        # Wherever the end of that time falls, what has begun by then ends.
        going_on = start(nodes, timeout=0.3 if ending == "timeout" else None)
        task = asyncio.ensure_future(_awaited(going_on))
        if ending in {"cancel", "run.cancel"}:
            await all_have_begun.wait()
            (task if ending == "cancel" else going_on).cancel()
        error = await failure_of(task)
        assert type(error) is {"failure": Mine, "timeout": TimeoutError}.get(ending, asyncio.CancelledError)
        assert stage.running == []
        assert sorted(stage.ended) == sorted(stage.begun)
        os.close(os.open(witness.path, os.O_WRONLY))  # the worker may not have begun when the time was over
        assert witness.is_alone()
        assert asyncio.all_tasks() == tasks
    assert complaints == []


async def _awaited(awaitable: Any) -> Any:
    return await awaitable


async def test_c02_order(stage, complaints):
    """Nothing begins after the cancel, all that runs ends, and then the CancelledError itself is raised."""
    begun: list[str] = []

    async def suppress() -> str:
        begun.append("suppress")
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.get_running_loop().create_future()
        return "a value all the same"

    async def fail_to_clean() -> None:
        raise Mine("while cleaning up")

    async with Runtime(threads=1):
        note = delayed(begun.append, executor="loop")
        first = delayed(suppress)()
        nodes = [note(first), stage.coroutine("failing", clean=fail_to_clean)]
        nodes += [note(stage.thread()) for _ in range(3)]
        nodes += [stage.coroutine("behind", first), stage.coroutine("behind", nodes[1])]
        task = asyncio.ensure_future(compute(nodes))
        await stage.have_begun("failing", "thread")
        task.cancel("the reason")
        error = await cancelled(task)
    assert error.args == ("the reason",)
    assert begun == ["suppress"]
    assert sorted(stage.ended) == ["failing", "thread"]
    (complaint,) = complaints
    assert str(complaint["exception"]) == "while cleaning up"
    assert "failing" in complaint["message"]


async def test_c03_coroutine_nodes(stage, complaints):
    """A coroutine is cancelled once and waited for; what it returns in spite of that is dropped."""
    counts: list[int] = []
    go_on = asyncio.Event()
    begun = asyncio.Event()

    async def stubborn() -> str:
        task = asyncio.current_task()
        assert task is not None
        begun.set()
        try:
            await asyncio.get_running_loop().create_future()
        except asyncio.CancelledError:
            counts.append(task.cancelling())
        await go_on.wait()
        counts.append(task.cancelling())
        return "all the same"

    node = delayed(stubborn)()
    going_on = start([node, delayed(counts.append, executor="loop")(node)])
    task = asyncio.ensure_future(_awaited(going_on))
    await begun.wait()
    task.cancel()
    await turns(10)
    going_on.cancel()
    await turns(10)
    assert not task.done()
    go_on.set()
    await cancelled(task)
    assert counts == [1, 1]
    assert complaints == []


async def test_c03_cancelled_error_of_ones_own():
    """A CancelledError that nobody has asked for is a failure of the node that raised it."""

    @delayed
    async def node() -> None:
        await asyncio.sleep(0)
        raise asyncio.CancelledError("mine")

    error = await failure_of(node())
    assert type(error) is NodeExitedError
    assert error.original.args == ("mine",)
    task = asyncio.current_task()
    assert task is not None
    assert task.cancelling() == 0


async def test_c04_thread_nodes(stage):
    """A call that waits for a thread never begins; the one that runs is waited for."""
    async with Runtime(threads=1):
        nodes = [stage.thread() for _ in range(5)]
        task = asyncio.ensure_future(compute(nodes))
        await stage.have_begun("thread")
        task.cancel()
        await turns(20)
        assert not task.done()
        assert stage.running == ["thread"]
        stage.release.set()
        await cancelled(task)
        assert stage.ended == stage.begun == ["thread"]
        assert await delayed(abs, executor="thread")(-1) == 1, "its slot is free again"


async def test_c06_double_cancel(stage, witness, complaints):
    """Cancelled again while it cleans up, a run cleans up all the same; the first cancel is raised."""
    cleaning, go_on = asyncio.Event(), asyncio.Event()

    async def clean() -> None:
        cleaning.set()
        await go_on.wait()

    async with Runtime(processes=1):
        nodes = [stage.coroutine("slow", clean=clean), stage.thread(), held(witness)]
        task = asyncio.ensure_future(compute(nodes))
        await stage.have_begun("slow", "thread")
        await witness.next_pid()
        task.cancel("number 0")
        await cleaning.wait()
        for number in range(1, 4):
            task.cancel(f"number {number}")
            await turns(3)
            assert not task.done()
        assert "slow" in stage.running
        go_on.set()
        error = await cancelled(task)
    assert error.args == ("number 0",)
    assert task.cancelling() == 4
    assert sorted(stage.ended) == ["slow", "thread"]
    assert witness.is_alone()
    assert complaints == []


async def _in_timeout(node: Any, begun: asyncio.Event) -> None:
    async def compute_until_begun() -> None:
        async with asyncio.timeout(None) as scope:
            waiting.add_done_callback(lambda _: scope.reschedule(0))
            await node

    waiting = asyncio.ensure_future(begun.wait())
    assert type(await failure_of(compute_until_begun())) is TimeoutError


async def _in_task_group(node: Any, begun: asyncio.Event) -> None:
    async def fail() -> None:
        await begun.wait()
        raise Mine

    with pytest.raises(ExceptionGroup) as caught:  # noqa: PT012
        async with asyncio.TaskGroup() as group:
            group.create_task(fail())
            await node
    assert [type(error) for error in caught.value.exceptions] == [Mine]


async def _in_wait_for(node: Any, begun: asyncio.Event) -> None:
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(compute(node), 0.05)


async def _in_anyio_scope(node: Any, begun: asyncio.Event) -> None:
    async def cancel() -> None:
        await begun.wait()
        scope.cancel()

    cancelling = asyncio.ensure_future(cancel())
    with anyio.CancelScope() as scope:
        await node
    await cancelling
    assert scope.cancelled_caught


@pytest.mark.parametrize(
    "around",
    [_in_timeout, _in_task_group, _in_wait_for, _in_anyio_scope],
    ids=["timeout", "TaskGroup", "wait_for", "anyio"],
)
async def test_c07_cancel_counts(stage, around):
    """A timeout, group or scope around a `compute()` gets the cancel back that it made: none remains."""
    begun = asyncio.Event()

    async def tell() -> None:
        await stage.have_begun("coroutine", "thread")
        begun.set()

    task = asyncio.current_task()
    assert task is not None
    telling = asyncio.ensure_future(tell())
    await around(delayed([stage.coroutine(), stage.thread()]), begun)
    assert task.cancelling() == 0
    assert stage.running == []
    assert await delayed(abs, executor="thread")(-1) == 1
    telling.cancel()
    await asyncio.wait([telling])


async def _awaited_within(around: Any, node: Any) -> Any:
    async with around:
        return await node


async def _awaited_in_scope(node: Any) -> Any:
    with anyio.fail_after(harness.PATIENCE):
        return await node


WITHIN = {
    "timeout": lambda node: _awaited_within(asyncio.timeout(harness.PATIENCE), node),
    "TaskGroup": lambda node: _awaited_within(asyncio.TaskGroup(), node),
    "wait_for": lambda node: asyncio.wait_for(compute(node), harness.PATIENCE),
    "anyio": _awaited_in_scope,
    "anyio group": lambda node: _awaited_within(anyio.create_task_group(), node),
}


@pytest.mark.parametrize("around", WITHIN)
async def test_c07_cancel_from_outside(stage, around, complaints):
    """A cancel of the task that has one of these around its `compute()` is raised as it came, and counted."""
    nodes = [stage.coroutine(), stage.thread()]
    task = asyncio.ensure_future(WITHIN[around](delayed(nodes)))
    await stage.have_begun("coroutine", "thread")
    task.cancel("the reason")
    error = await cancelled(task)
    assert error.args == ("the reason",)
    assert task.cancelling() == 1
    assert sorted(stage.ended) == ["coroutine", "thread"]
    assert complaints == []


async def test_c07_run_that_is_cancelled(stage, complaints):
    """`run.cancel()` cancels no task: who awaits the run is told, and goes on."""
    nodes = [stage.coroutine(), stage.thread()]
    going_on = start(nodes)
    await stage.have_begun("coroutine", "thread")
    assert going_on.cancel()
    assert isinstance(await failure_of(going_on), asyncio.CancelledError)
    task = asyncio.current_task()
    assert task is not None
    assert task.cancelling() == 0
    assert await delayed(abs, executor="thread")(-1) == 1
    assert not going_on.cancel(), "it is over"
    assert complaints == []


async def test_c08_shared_nodes():
    """Of two runs that have nodes in common one is cancelled: the other has its value."""
    begun, go_on = asyncio.Semaphore(0), asyncio.Event()

    @delayed
    async def shared() -> int:
        begun.release()
        await go_on.wait()
        return 1

    node = shared()
    async with Runtime():
        first, second = start(node + 1), start(node + 2)
        for _ in range(2):
            await begun.acquire()
        first.cancel()
        assert isinstance(await failure_of(first), asyncio.CancelledError)
        assert not second.done()
        go_on.set()
        assert await second == 3


async def test_c08_shared_call_in_a_thread():
    """The same, where each run has the shared call in a thread: one is told to stop, and the other is not."""
    loop = asyncio.get_running_loop()
    begun, go_on = asyncio.Semaphore(0), threading.Event()

    def shared() -> int:
        loop.call_soon_threadsafe(begun.release)
        while not go_on.wait(0.001):
            check_cancelled()
        return 1

    node = delayed(shared, executor="thread")()
    async with Runtime(threads=2):
        first, second = start(node + 1), start(node + 2)
        for _ in range(2):
            await begun.acquire()
        first.cancel()
        assert isinstance(await failure_of(first), asyncio.CancelledError)
        assert not second.done()
        go_on.set()
        assert await second == 3


async def test_c08_shared_call_in_a_worker(tmp_path, witness):
    """The same in worker processes: the worker of the one that is cancelled is killed, and no other."""
    gate = tmp_path / "gate"
    os.mkfifo(gate)
    opened = os.open(gate, os.O_RDWR)
    node = delayed(remote.stay, executor="process")(witness.path, str(gate))
    async with Runtime(processes=2):
        first, second = start(node + 1), start(node + 2)
        for _ in range(2):
            assert await witness.next_pid()
        first.cancel()
        assert isinstance(await failure_of(first), asyncio.CancelledError)
        assert not second.done()
        os.write(opened, b"1")
        assert await second == 3
    assert witness.is_alone()
    os.close(opened)


@pytest.mark.parametrize("who", ["future", "thread"])
async def test_c09_completion_race(who):
    """A cancel that comes after the last value, but before `compute()` has returned it, still cancels."""
    loop = asyncio.get_running_loop()
    begun, gate, go_on = asyncio.Event(), loop.create_future(), threading.Event()

    async def on_loop() -> int:
        begun.set()
        return await gate

    def in_thread() -> int:
        loop.call_soon_threadsafe(begun.set)
        assert go_on.wait(harness.PATIENCE)
        return 1

    going_on = start(delayed(on_loop if who == "future" else in_thread)())
    task = asyncio.ensure_future(_awaited(going_on))
    await begun.wait()
    if who == "future":
        gate.set_result(1)
    else:
        # In the same turn as the run is over, and before the one who waits for it is told.
        going_on.add_done_callback(lambda _: task.cancel("late"))
        go_on.set()
    if who == "future":
        task.cancel("late")
    assert (await cancelled(task)).args == ("late",)
    if who == "thread":
        assert await going_on == 1, "the run has its value"


@pytest.mark.parametrize("return_exceptions", [False, True])
async def test_c10_timeout(stage, return_exceptions, complaints):
    """`timeout=` stops all and raises TimeoutError, which says what was still running."""
    # The thread ends when the coroutine cleans up: whenever the time is up, it is not running without that.
    nodes = [stage.coroutine(), stage.thread("thread", stage.after("coroutine"))]
    error = await failure_of(compute(nodes, timeout=0.05, return_exceptions=return_exceptions))
    assert type(error) is TimeoutError
    assert "not finished within 0.05 s" in str(error)
    assert all(f"{name}-" in str(error) for name in stage.begun)
    assert stage.running == []
    assert sorted(stage.ended) == sorted(stage.begun)
    assert complaints == []


async def hang() -> None:
    """Never end by itself."""
    await asyncio.get_running_loop().create_future()


def hang_until_told() -> None:
    """In a thread, end when told to."""
    never = threading.Event()
    while not is_to_stop():
        never.wait(0.001)


HANGING = {
    "coroutine": (hang, None),
    "thread": (hang_until_told, "thread"),
    "process": (signal.pause, "process"),
}


@pytest.mark.parametrize("kind", HANGING)
async def test_c10_timeout_in_each_attempt(kind, complaints):
    """A node's own timeout counts for each attempt, from when that begins; it fails that node alone."""
    function, executor = HANGING[kind]
    hanging = delayed(function, executor=executor, timeout=0.03, retries=Retry(attempts=3, backoff=0.01))
    error, fine = await compute(hanging(), delayed(abs)(-1), return_exceptions=True)
    assert type(error) is NodeTimeoutError
    assert "its timeout of 0.03 s" in str(error)
    (about,) = [note for note in notes_of(error) if note.startswith("asyncgraph: node ")]
    assert "attempt 3" in about
    assert fine == 1
    assert complaints == []


async def test_c10_timeout_between_attempts(complaints):
    """`timeout=` of the whole counts the pauses, too, and its error names the node that was in one."""
    attempts: list[int] = []

    @delayed(retries=Retry(attempts=2, backoff=lambda _: harness.PATIENCE))
    def fail() -> None:
        attempts.append(1)
        raise Mine

    error = await failure_of(fail().compute(timeout=0.5))
    assert type(error) is TimeoutError
    assert "(between attempts)" in str(error)
    assert attempts == [1]
    assert complaints == []


async def test_c11_failure_of_any_kind(stage, witness, executor, complaints):
    """Whatever the failing call runs in, the rest is stopped in the same way."""

    async def begin() -> None:
        await stage.have_begun("coroutine", "thread")
        await witness.next_pid()

    async with Runtime(processes=2, threads=2):
        failing = harness.on(executor, harness.fail)(delayed(begin)())
        error = await failure_of(compute(stage.coroutine(), stage.thread(), held(witness), failing))
        assert (type(error), error.args) == (ValueError, ("a failure",))
        assert stage.running == []
        assert sorted(stage.ended) == ["coroutine", "thread"]
        assert witness.is_alone()
    assert complaints == []


async def test_c11_failure_cancels_the_rest(stage, witness, complaints):
    """The first failure is raised when the rest has been stopped; what fails in that becomes a note of it."""

    async def fail() -> None:
        await stage.have_begun("victim", "thread")
        await witness.next_pid()
        raise Mine("first")

    async def fail_to_clean() -> None:
        raise KeyError("second")

    async with Runtime(processes=1, threads=1):
        nodes = [stage.coroutine("victim", clean=fail_to_clean), held(witness), delayed(fail)()]
        nodes += [stage.thread() for _ in range(3)]
        error = await failure_of(compute(nodes))
        assert (type(error), str(error)) == (Mine, "first")
        (about,) = [note for note in notes_of(error) if "failed too" in note]
        assert "victim-" in about
        assert "KeyError('second')" in about
        assert sorted(stage.ended) == ["thread", "victim"]
        assert witness.is_alone()
    assert complaints == []


async def test_c13_leaving_a_block_waits(stage, witness):
    """A block that is left normally waits for its runs, and ends all threads and workers then."""
    reported = delayed(harness.report, executor="process")
    async with Runtime() as runtime:
        going_on = [start(stage.thread()), start(reported(witness.path))]
        await stage.have_begun("thread")
        asyncio.get_running_loop().call_soon(stage.release.set)
    assert [each.done() for each in going_on] == [True, True]
    assert await going_on[0] == "thread"
    assert await asyncio.to_thread(witness.pid) == await going_on[1]
    assert witness.is_alone()
    assert not [each.name for each in threading.enumerate() if each.name.startswith("asyncgraph-")]
    with pytest.raises(RuntimeClosedError):
        await compute(delayed(1), runtime=runtime)


async def test_c13_leaving_a_block_with_an_exception_cancels(stage, witness, complaints):
    """A block that is left with an exception cancels its runs and waits for that; the exception is raised."""
    going_on = []

    async def block() -> None:
        async with Runtime():
            going_on.extend([start([stage.coroutine(), stage.thread()]), start(held(witness))])
            await stage.have_begun("coroutine", "thread")
            await witness.next_pid()
            raise Mine

    assert type(await failure_of(block())) is Mine
    assert stage.running == []
    assert sorted(stage.ended) == ["coroutine", "thread"]
    assert witness.is_alone()
    for each in going_on:
        assert isinstance(await failure_of(each), asyncio.CancelledError)
    assert complaints == []


AT_EXIT = """
import asyncio, sys
from asyncgraph import Runtime, compute, delayed
from tests.reliability.harness import report

async def main():
    runtime = await Runtime(processes=2).__aenter__()
    await compute(delayed(report, executor="process")(sys.argv[1]), delayed(abs, executor="thread")(-1))
    return runtime

loop = asyncio.new_event_loop()
kept = loop.run_until_complete(main())
loop.close()
print("closed", flush=True)
"""


def test_c13_end_of_the_interpreter(witness: Witness):
    """A runtime that nobody has closed ends its workers with the program, silently and without a loop."""
    with program(AT_EXIT, witness.path) as process:
        assert first_line(process) == "closed"
        assert outcome_of(process) == (0, "", "")
        assert witness.pid()
        assert witness.is_alone()
