"""Being told to stop: `cancelled`, `check_cancelled`, and runs inside calls in threads."""

from __future__ import annotations

import asyncio
import contextvars
import threading
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest

import asyncgraph
from asyncgraph import Run, Runtime, cancelled, check_cancelled, compute, delayed, start
from asyncgraph._runtime import stopping
from asyncgraph.errors import NodeExitedError
from tests.errors.reading import failure_of
from tests.runtime.durations import long, short, tiny
from tests.runtime.endings import ENDINGS, Mine, end

SECONDS = 30


class Scene:
    """Calls in threads that go on until they are told to stop, or the test is over.

    Attributes:
        begun: Set when one has begun.
        ended: What those that have ended have to say.
    """

    def __init__(self) -> None:
        self.loop = asyncio.get_running_loop()
        self.begun = asyncio.Event()
        self.ended: list[Any] = []
        self.is_over = threading.Event()

    def begin(self) -> None:
        """Say, from any thread, that a call has begun."""
        self.loop.call_soon_threadsafe(self.begun.set)

    def until(self, is_true: Callable[[], bool]) -> None:
        """Go on, in a thread, until that is true."""
        for _ in range(SECONDS * 1000):
            if is_true() or self.is_over.wait(0.001):
                return
        raise AssertionError("it has not been told to stop")

    def poll(self, *_: Any) -> str:
        """Go on until told to stop, and then return."""
        self.begin()
        self.until(cancelled)
        self.ended.append(cancelled())
        return "a value all the same"

    def check(self, *_: Any) -> None:
        """Go on until told to stop, and leave with that."""
        self.begin()
        try:
            self.until(_checked)
        finally:
            self.ended.append(cancelled())

    async def endless(self) -> None:
        """As a coroutine, on whatever loop: never end by itself."""
        self.begin()
        try:
            await asyncio.get_running_loop().create_future()
        finally:
            await asyncio.sleep(0)
            self.ended.append("cleaned up")


def _checked() -> bool:
    check_cancelled()
    return False


@pytest.fixture
async def scene() -> AsyncIterator[Scene]:
    """Released at the end of the test, come what may."""
    scene = Scene()
    yield scene
    scene.is_over.set()


@pytest.fixture(autouse=True)
def _none_is_remembered():
    """No run inside a call is remembered when it is over."""
    yield
    assert stopping._nested == set()


@pytest.fixture
async def complaints(_running_loop: Any) -> list[dict[str, Any]]:
    """What the loop's exception handler is told."""
    told: list[dict[str, Any]] = []
    _running_loop.set_exception_handler(lambda _, context: told.append(context))
    return told


# -- what a function can ask


async def test_outside_of_any_node():
    """Nothing is to stop where no node is running, on the loop, in a thread or anywhere."""
    assert cancelled() is False
    check_cancelled()
    assert await asyncio.to_thread(cancelled) is False


@pytest.mark.parametrize("executor", ["loop", "thread", "process"])
async def test_nobody_has_stopped_it(executor):
    """In a node of a run that goes on, in whatever executor, nothing is to stop."""
    assert await delayed(cancelled, executor=executor)() is False
    assert await delayed(check_cancelled, executor=executor)() is None


@pytest.mark.parametrize("ending", ENDINGS)
@pytest.mark.parametrize("how", ["poll", "check"])
@pytest.mark.parametrize("known", [long, short, tiny], ids=["alone", "window", "straight"])
async def test_a_call_in_a_thread_is_told(scene, complaints, ending, how, known):
    """However its run ends, and however it came into its thread, a call is told, and the run waits for it."""
    function = known(delayed(getattr(scene, how), executor="thread"))
    error = await end(ending, scene.begun, function())
    assert scene.ended == [True]
    assert complaints == []
    assert not [note for note in getattr(error, "__notes__", []) if "failed too" in note]


async def test_cancelled_errors_that_nobody_asked_for_are_failures():
    """Raised by a call that nobody has told to stop, CancelledError means that it tried to leave."""

    def fail() -> None:
        raise asyncio.CancelledError

    assert type(await failure_of(delayed(fail, executor="thread")())) is NodeExitedError


async def test_a_failure_that_stops_nothing(scene):
    """With `return_exceptions=True` the failure of one node is no reason for another to stop."""
    failed = threading.Event()

    def fail() -> None:
        scene.loop.call_soon(failed.set)
        raise Mine

    def look() -> bool:
        assert failed.wait(SECONDS)
        return cancelled()

    node = delayed(fail, executor="loop")()
    error, has_stopped = await compute(node, delayed(look, executor="thread")(), return_exceptions=True)
    assert type(error) is Mine
    assert has_stopped is False


async def test_another_run_is_not_told(scene):
    """Of two runs of one graph, only the one that is stopped tells its calls so."""
    go_on = threading.Event()
    begun = asyncio.Semaphore(0)

    def look() -> bool:
        scene.loop.call_soon_threadsafe(begun.release)
        assert go_on.wait(SECONDS)
        return cancelled()

    node = delayed(look, executor="thread")()
    async with Runtime(threads=2):
        first, second = start(node), start(node)
        for _ in range(2):
            await begun.acquire()
        first.cancel()
        go_on.set()
        assert await second is False
        assert isinstance(await failure_of(first), asyncio.CancelledError)


async def test_a_thread_of_the_calls_own_is_told(scene):
    """A thread that a call has started asks with the context of the call."""

    def outer() -> None:
        context = contextvars.copy_context()
        inner = threading.Thread(target=context.run, args=(scene.poll,))
        inner.start()
        inner.join()

    await end("cancel", scene.begun, delayed(outer, executor="thread")())
    assert scene.ended == [True]


async def test_a_coroutine_is_told(scene):
    """In a coroutine it says whether its run is being stopped."""
    seen: list[bool] = []

    async def node() -> None:
        seen.append(cancelled())
        scene.begin()
        try:
            await asyncio.get_running_loop().create_future()
        finally:
            seen.append(cancelled())

    await end("cancel", scene.begun, delayed(node)())
    assert seen == [False, True]


@pytest.mark.parametrize("is_async", [True, False], ids=["coroutine", "inline"])
async def test_what_stops_its_own_run_has_stopped(complaints, is_async):
    """A node on the loop that is told before its task is cancelled has stopped, too, and not failed."""
    runs: list[Run[Any]] = []

    def plain() -> None:
        runs[0].cancel()
        check_cancelled()

    async def coroutine() -> None:
        plain()

    runs.append(start(delayed(coroutine if is_async else plain, executor="loop")()))
    assert isinstance(await failure_of(runs[0]), asyncio.CancelledError)
    assert complaints == []


async def test_what_outlives_a_run_is_not_told(scene):
    """A task that a node has left behind is in no run any more."""
    tasks: list[asyncio.Task[bool]] = []
    go_on = asyncio.Event()

    async def later() -> bool:
        await go_on.wait()
        return cancelled()

    async def node() -> None:
        tasks.append(asyncio.ensure_future(later()))
        await scene.endless()

    await end("cancel", scene.begun, delayed(node)())
    go_on.set()
    assert await tasks[0] is False


# -- runs inside calls


async def _awaiting(node: Any) -> Any:
    return await node


async def _starting(node: Any) -> Any:
    return await start([node])


INNER: dict[str, Callable[[Any], Any]] = {
    "asyncgraph.run": asyncgraph.run,
    "asyncio.run": lambda node: asyncio.run(_awaiting(node)),
    "start": lambda node: asyncio.run(_starting(node)),
}


@pytest.mark.parametrize("ending", ENDINGS)
@pytest.mark.parametrize("how", INNER)
@pytest.mark.parametrize("known", [long, short, tiny], ids=["alone", "window", "straight"])
async def test_a_run_inside_a_call_is_cancelled(scene, complaints, ending, how, known):
    """A run on a loop of the thread ends, having cleaned up, before the one around it is over."""
    inner = delayed(scene.endless)()
    error = await end(ending, scene.begun, known(delayed(lambda: INNER[how](inner), executor="thread"))())
    assert scene.ended == ["cleaned up"]
    assert complaints == []
    assert not [note for note in getattr(error, "__notes__", []) if "failed too" in note]


@pytest.mark.parametrize("how", ["poll", "check"])
@pytest.mark.parametrize("known", [long, short, tiny], ids=["alone", "window", "straight"])
async def test_calls_in_threads_of_the_inner_run_are_told(scene, complaints, how, known):
    """However deep they are, calls in threads of inner runs are told by the outermost."""
    innermost = known(delayed(getattr(scene, how), executor="thread"))()
    inner = delayed(lambda: asyncgraph.run(innermost), executor="thread")()
    await end("cancel", scene.begun, delayed(lambda: asyncgraph.run(inner), executor="thread")())
    assert scene.ended == [True]
    assert complaints == []


@pytest.mark.parametrize("how", ["poll", "check"])
async def test_a_call_on_the_inner_loop_is_told(scene, complaints, how):
    """A function that keeps the inner loop busy, so that nobody could call that, sees the outer run stop."""
    inner = delayed(getattr(scene, how), executor="loop")()
    await end("cancel", scene.begun, delayed(lambda: asyncgraph.run(inner), executor="thread")())
    assert scene.ended == [True]
    assert complaints == []


async def test_a_run_begun_afterwards_does_not_run(scene, complaints):
    """A call that goes on with another run, when it is to stop, gets no further than that."""
    ran: list[int] = []

    def outer() -> None:
        scene.poll()
        try:
            asyncgraph.run(delayed(ran.append, executor="thread")(1))
        except asyncio.CancelledError as error:
            scene.ended.append(str(error))
            raise

    await end("cancel", scene.begun, delayed(outer, executor="thread")())
    assert ran == []
    assert scene.ended == [True, "the node that this is computed in is to stop"]
    assert complaints == []


async def test_a_run_inside_a_call_has_its_value():
    """Where nobody stops anything, a run inside a call is like any other, and its own cancel is its own."""

    def outer() -> tuple[int, bool]:
        async def main() -> tuple[int, bool]:
            going_on = start(delayed(_forever)())
            going_on.cancel()
            error = await failure_of(going_on)
            return await (delayed(1) + 1), isinstance(error, asyncio.CancelledError)

        return asyncio.run(main())

    assert await delayed(outer, executor="thread")() == (2, True)


async def _forever() -> None:
    await asyncio.get_running_loop().create_future()


async def test_a_run_on_the_same_loop_is_cancelled_by_asyncio(scene, complaints):
    """A coroutine that awaits a run is cancelled, and with it that run; its calls in threads are told."""
    inner = delayed([delayed(scene.endless)(), delayed(scene.check, executor="thread")()])

    async def outer() -> Any:
        return await inner

    await end("cancel", scene.begun, delayed(outer)())
    assert set(scene.ended) <= {"cleaned up", True}
    assert "cleaned up" in scene.ended
    assert complaints == []


async def test_a_run_in_the_background_of_the_same_loop_goes_on(scene):
    """A run that a coroutine has started, and not awaited, is none of those that stop with its own."""
    background: list[Run[Any]] = []

    async def node() -> None:
        background.append(start(delayed(cancelled, executor="thread")()))
        await scene.endless()

    await end("cancel", scene.begun, delayed(node)())
    assert await background[0] is False


async def test_a_loop_that_has_been_closed(scene):
    """A run that was left behind on a closed loop is in nobody's way."""

    def outer() -> None:
        loop = asyncio.new_event_loop()

        async def leave() -> None:
            begun = asyncio.Event()
            start([delayed(_forever)(), delayed(begun.set, executor="loop")()])
            await begun.wait()
            await asyncio.sleep(0)

        loop.run_until_complete(leave())
        loop.close()
        scene.poll()

    await end("cancel", scene.begun, delayed(outer, executor="thread")())
    assert scene.ended == [True]
    # The default runtime of a closed loop goes when the next one is made.
    assert await delayed(lambda: asyncgraph.run(delayed(1) + 1), executor="thread")() == 2
