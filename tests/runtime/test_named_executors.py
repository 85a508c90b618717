"""Executors of `concurrent.futures` under names of the user's: what runs there, and what is promised."""

# ruff: noqa: ASYNC110, D102, D103 - turns of the loop are waited for; helpers whose names say it

from __future__ import annotations

import asyncio
import contextvars
import io
import multiprocessing
import os
import threading
import traceback
from collections.abc import Iterator
from concurrent.futures import Executor, Future, ProcessPoolExecutor, ThreadPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from multiprocessing import resource_tracker
from typing import Any

import pytest

from asyncgraph import Runtime, check_cancelled, compute, delayed, start
from asyncgraph.errors import (
    GraphError,
    NodeTimeoutError,
    RuntimeClosedError,
    SerializationError,
    WorkerCrashedError,
)
from asyncgraph.observe import NodeFinished
from tests.runtime.stories import check

# The standard library's own process, which stays for as long as this one: not to be taken for a leak.
resource_tracker.ensure_running()

user = contextvars.ContextVar("user", default="nobody")


@pytest.fixture
def threads():
    """One thread, which is shut down when the test is over."""
    with ThreadPoolExecutor(1, thread_name_prefix="gpu") as pool:
        yield pool


@pytest.fixture
def processes():
    """One process of the standard library's, which imports what it needs."""
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
        yield pool


class ByHand(Executor):
    """Does a call when the test says so, as one that has no thread of its own may."""

    def __init__(self) -> None:
        self.submitted: list[tuple[Future[Any], Any]] = []

    def submit(self, function: Any, /, *args: Any, **kwargs: Any) -> Future[Any]:
        future: Future[Any] = Future()
        self.submitted.append((future, (function, args, kwargs)))
        return future

    def do(self) -> None:
        future, (function, args, kwargs) = self.submitted.pop(0)
        if future.set_running_or_notify_cancel():
            future.set_result(function(*args, **kwargs))


@delayed(executor="gpu")
def where(*needs: Any) -> str:
    return threading.current_thread().name


@delayed(executor="gpu")
def divide(one: int, other: int) -> float:
    return one / other


async def test_calls_run_in_the_executor_of_that_name(threads):
    """They are nodes as any others: their values go on, and theirs come to them."""
    async with Runtime(executors={"gpu": threads}):
        name, other = await compute(where(), delayed(str.upper)(where(delayed(1))))
    assert name.startswith("gpu")
    assert other.startswith("GPU")


async def test_nobody_shuts_the_executor_down(threads):
    """It is the caller's: several runtimes can have it, one after another."""
    for _ in range(2):
        async with Runtime(executors={"gpu": threads}):
            await where()
    assert threads.submit(abs, -1).result() == 1


async def test_as_many_calls_at_once_as_it_has_workers():
    """No more is handed over than can run; of an executor that does not tell, one."""
    pool = ByHand()
    async with Runtime(executors={"gpu": pool}) as runtime:
        run = start([divide(number, 1) for number in range(3)])
        for done in range(3):
            while not pool.submitted:
                await asyncio.sleep(0)
            assert len(pool.submitted) == 1
            assert runtime.usage()[-1] == ("gpu", 1, 1, 1 if done < 2 else 0, 0)
            pool.do()
        assert await run == [0, 1, 2]


async def test_threads_see_the_context(threads):
    """Context variables, and whether to stop; what a call sets stays its own."""

    @delayed(executor="gpu")
    def name() -> str:
        check_cancelled()
        before = user.get()
        user.set("somebody else")
        return before

    user.set("Ada")
    async with Runtime(executors={"gpu": threads}):
        assert await compute(name(), name()) == ("Ada", "Ada")


async def test_an_exception_is_the_user_s_own(threads):
    """With its frames, and a note that names the executor."""
    async with Runtime(executors={"gpu": threads}):
        with pytest.raises(ZeroDivisionError) as caught:
            await divide(1, 0)
    assert "in divide" in "".join(traceback.format_exception(caught.value))
    assert "gpu executor" in caught.value.__notes__[0]


async def test_other_executors_get_pickles(processes):
    """Functions that nobody can import go by value; errors come back with their frames."""
    parent = os.getpid()
    async with Runtime(executors={"gpu": processes, "process": processes}):
        assert await delayed(lambda: os.getpid() + 0, executor="gpu")() != parent
        assert await delayed(os.getpid, executor="process")() != parent
        with pytest.raises(ZeroDivisionError) as caught:
            await divide(1, 0)
        text = "".join(traceback.format_exception(caught.value))
        assert "return one / other" in text
        with pytest.raises(SerializationError, match=r"args\[0\]") as refused:
            await divide(threading.Lock(), 0)
        assert refused.value.stage == "arg-pickle"
        with pytest.raises(SerializationError, match="cannot be sent back"):
            await delayed(lambda: (each for each in "ab"), executor="gpu")()


async def test_pickled_calls_see_the_variables_that_the_runtime_names(processes):
    """As calls in worker processes do."""
    user.set("Ada")
    async with Runtime(executors={"gpu": processes}, context=[user]):
        assert await delayed(user.get, executor="gpu")() == "Ada"


async def test_an_executor_whose_processes_die():
    """The executor's own error leaves `compute`, and it goes on to raise that."""
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
        async with Runtime(executors={"gpu": pool}):
            for _ in range(2):
                with pytest.raises(BrokenProcessPool):
                    await delayed(os._exit, executor="gpu")(1)


async def test_an_executor_that_is_shut_down(threads):
    """What it says about that is the failure of the node."""
    threads.shutdown()
    async with Runtime(executors={"gpu": threads}):
        with pytest.raises(RuntimeError, match="cannot schedule new futures after shutdown"):
            await where()


async def test_an_executor_that_drops_its_calls():
    """Nobody has cancelled the run: it fails, and says what has happened."""
    pool = ByHand()
    async with Runtime(executors={"gpu": pool}):
        run = start(where())
        while not pool.submitted:
            await asyncio.sleep(0)
        pool.submitted[0][0].cancel()  # as `shutdown(cancel_futures=True)` does
        with pytest.raises(RuntimeClosedError, match=r"where-[0-9]+ was not called: its executor has"):
            await run


async def test_calls_that_are_lost_together_have_errors_of_their_own():
    """A pool that breaks has one error for all of them, and each node has its own, with its own note."""

    class Two(ByHand):
        _max_workers = 2

    pool = Two()
    async with Runtime(executors={"gpu": pool}):
        run = start([where(), where()], return_exceptions=True)
        while len(pool.submitted) < 2:
            await asyncio.sleep(0)
        broken = BrokenProcessPool("a process has died")
        broken.__cause__ = EOFError()
        for future, _ in pool.submitted:
            future.set_exception(broken)
        errors = await run
    assert [(type(error), error.args) for error in errors] == [(BrokenProcessPool, broken.args)] * 2
    assert [len(error.__notes__) for error in errors] == [1, 1]
    assert {error.__cause__ for error in errors} == {broken.__cause__}


async def test_what_has_not_begun_is_taken_back():
    """A run that is cancelled does not wait for a call that is still in line."""
    pool = ByHand()
    async with Runtime(executors={"gpu": pool}):
        run = start(where())
        while not pool.submitted:
            await asyncio.sleep(0)
        run.cancel()
        with pytest.raises(asyncio.CancelledError):
            await run
    assert pool.submitted[0][0].cancelled()


async def test_what_has_begun_is_waited_for(threads):
    """A run that is cancelled ends when its call there has, which is told to stop."""
    began, ended = asyncio.Event(), threading.Event()
    loop = asyncio.get_running_loop()

    @delayed(executor="gpu")
    def wait() -> None:
        loop.call_soon_threadsafe(began.set)
        try:
            while True:
                check_cancelled()
        finally:
            ended.set()

    async with Runtime(executors={"gpu": threads}):
        run = start(wait())
        await began.wait()
        run.cancel()
        with pytest.raises(asyncio.CancelledError):
            await run
        assert ended.is_set()


async def test_a_timeout_takes_back_or_waits(threads):
    """A call in line that is late fails at once; one that has begun when it has ended."""
    pool = ByHand()
    async with Runtime(executors={"gpu": pool, "other": threads}):
        with pytest.raises(NodeTimeoutError, match="executor 'gpu'"):
            await where.options(timeout=0.01)()
        gate = threading.Event()
        asyncio.get_running_loop().call_later(0.5, gate.set)
        with pytest.raises(NodeTimeoutError, match="it was waited for"):
            await delayed(gate.wait, executor="other", timeout=0.3)()
        assert gate.is_set()


async def test_retries(threads):
    """A call that fails is made again, as elsewhere."""
    calls: list[int] = []

    @delayed(executor="gpu", retries=2)
    def flaky() -> int:
        calls.append(1)
        return 1 // (len(calls) - 1)

    async with Runtime(executors={"gpu": threads}):
        assert await flaky() == 1
    assert len(calls) == 2


@pytest.mark.parametrize(
    ("crashes", "failures", "is_enough"),
    [(2, 0, True), (3, 0, False), (2, 1, True), (2, 2, False), (0, 2, False)],
)
async def test_calls_that_are_lost_with_a_worker(threads, crashes, failures, is_enough):
    """They are begun again as often as `retries_on_crash=` says, and other failures as `retries=` says."""
    calls: list[int] = []

    def flaky(number: int) -> int:
        calls.append(number)
        if len(calls) <= crashes:
            raise WorkerCrashedError("its worker has died")
        return 1 // (len(calls) > crashes + failures)

    node = delayed(flaky, executor="gpu", retries=1, retries_on_crash=2)(delayed(int)("5"))
    async with Runtime(executors={"gpu": threads}):
        if is_enough:
            assert await node == 1
        else:
            with pytest.raises(WorkerCrashedError if crashes > 2 else ZeroDivisionError) as caught:
                await node
            assert f"attempt {len(calls)}" in caught.value.__notes__[0]
    assert calls == [5] * (min(crashes, 2) + min(failures, 1) + 1)


async def test_a_call_that_is_lost_with_its_generator(threads):
    """What has begun is not begun again, and the error says so."""

    @delayed(executor="gpu", retries_on_crash=2)
    def lost(items: Iterator[int]) -> int:
        next(items)
        raise WorkerCrashedError("its worker has died")

    async with Runtime(executors={"gpu": threads}):
        with pytest.raises(WorkerCrashedError) as caught:
            await lost(each for each in range(3))
    assert (
        "asyncgraph: not tried again: an argument is a generator, which has begun" in caught.value.__notes__
    )


async def test_a_name_that_the_runtime_does_not_know():
    """The error says which there are, and how to give one."""
    async with Runtime() as runtime:
        with pytest.raises(GraphError) as caught:
            await runtime.compute(where())
    assert str(caught.value) == (
        "where is to run in executor 'gpu', and this runtime has 'loop', 'thread', 'process'; others are "
        "given to it, as in Runtime(executors={'gpu': ...})"
    )


async def test_a_returned_node_for_an_unknown_executor():
    """The function that has returned it fails with that."""
    with pytest.raises(GraphError, match="executor 'gpu'"):
        await delayed(lambda: where() + "")()


@pytest.mark.parametrize(
    ("executors", "error", "message"),
    [
        (5, TypeError, "executors= takes a mapping of names to executors, not 5"),
        ({5: None}, TypeError, "executors= takes names as keys, as 'gpu', not 5"),
        ({"loop": None}, ValueError, "executors= cannot replace 'loop': give it another name, as 'gpu'"),
        (
            {"threads": None},
            ValueError,
            "executors= cannot replace 'threads': give it another name, as 'gpu'",
        ),
        (
            {"gpu": 5},
            TypeError,
            (
                "executors= takes executors of concurrent.futures, which have `submit`, and those of "
                "asyncgraph, as DaskExecutor; 'gpu' is 5"
            ),
        ),
        (
            {"gpu": ThreadPoolExecutor},
            TypeError,
            (
                "executors= takes executors of concurrent.futures, which have `submit`, and those of "
                "asyncgraph, as DaskExecutor; 'gpu' is <class "
                "'concurrent.futures.thread.ThreadPoolExecutor'>: call it"
            ),
        ),
    ],
)
def test_what_is_no_executor_is_refused(executors, error, message):
    """When it is given, with what would be right."""
    with pytest.raises(error) as caught:
        Runtime(executors=executors)
    assert str(caught.value) == message


async def test_they_are_observed_and_dumped(threads):
    """Events and dumps name the executor."""
    pool = ByHand()
    events: list[Any] = []
    async with Runtime(executors={"gpu": pool}):
        run = start(where(divide(1, 1)), observers=[events.append])
        while not pool.submitted:
            await asyncio.sleep(0)
        text = io.StringIO()
        run.dump(file=text)
        assert "in executor 'gpu'" in text.getvalue()
        other = start(divide(1, 1))
        await asyncio.sleep(0)
        text = io.StringIO()
        other.dump(file=text)
        assert "for executor 'gpu', 1 of 1 slots in use, 1 by others" in text.getvalue()
        for _ in range(3):
            while not pool.submitted:
                await asyncio.sleep(0)
            pool.do()
        await run
        await other
    check(events)
    assert {event.worker for event in events if isinstance(event, NodeFinished)} == {"gpu"}
