"""The loop executor, alone: coroutines as tasks, plain functions inline."""

from __future__ import annotations

import asyncio
import contextvars
import gc
import weakref
from collections.abc import AsyncIterator

import pytest

from asyncgraph.errors import NodeExitedError
from asyncgraph.executors.loop import LoopExecutor, awaiting, call_inline
from tests.executors.process.harness import Started
from tests.runtime.eager import eager_loop  # noqa: F401 - a fixture

variable: contextvars.ContextVar[str] = contextvars.ContextVar("variable", default="unset")


@pytest.fixture
async def tasks() -> AsyncIterator[LoopExecutor]:
    """An executor, closed at the end."""
    executor = LoopExecutor(10, asyncio.get_running_loop())
    yield executor
    assert executor._tasks == set()
    await executor.aclose()


async def test_a_coroutine_is_a_task_of_its_own(tasks):
    """It runs in a task that has the node's key for a name."""

    async def name():
        return asyncio.current_task().get_name()

    assert await Started(tasks, name, (), {}).value() == "name-key"


async def test_a_task_is_kept_alive(tasks):
    """A coroutine that nothing else refers to survives a collection: asyncio alone would lose it."""
    futures = asyncio.Queue()

    async def wait():
        future = asyncio.get_running_loop().create_future()
        futures.put_nowait(weakref.ref(future))
        return await future

    call = Started(tasks, wait, (), {})
    future = await futures.get()
    gc.collect()
    future().set_result("alive")
    assert await call.value() == "alive"


async def test_a_coroutine_has_the_context_of_its_call(tasks):
    """It sees what was set outside; what it sets is not seen outside."""
    variable.set("of the caller")

    async def swap():
        before = variable.get()
        variable.set("of the call")
        await asyncio.sleep(0)
        return before, variable.get()

    assert await Started(tasks, swap, (), {}).value() == ("of the caller", "of the call")
    assert variable.get() == "of the caller"


@pytest.mark.parametrize(
    "error", [ValueError("v"), SystemExit(3), KeyboardInterrupt(), ExceptionGroup("g", [OSError()])]
)
async def test_an_exception_comes_back_as_itself(tasks, error):
    """The same object, also if it is to end the program: it does not leave its task by itself."""

    async def fail():
        await asyncio.sleep(0)
        raise error

    error.__traceback__ = None  # the parameters are shared by the loops
    assert await Started(tasks, fail, (), {}).error() is error
    assert error.__traceback__.tb_frame.f_code.co_name == "fail"
    assert error.__traceback__.tb_next is None


@pytest.mark.parametrize("error", [asyncio.CancelledError("own"), GeneratorExit()])
@pytest.mark.parametrize("waits", [False, True])
async def test_an_exit_of_ones_own_is_a_node_exited_error(tasks, error, waits):
    """Nobody has cancelled the coroutine, or closed it: it must not look as if somebody had."""

    async def leave():
        if waits:
            await asyncio.sleep(0)
        raise error

    outcome = await Started(tasks, leave, (), {}).error()
    assert type(outcome) is NodeExitedError
    assert str(outcome) == f"leave-key raised {error!r}, and nobody has asked it to stop"
    assert outcome.original is outcome.__cause__ is error


async def test_stop_iteration_is_a_runtime_error(tasks):
    """Python says so itself for coroutines, and keeps the cause."""

    async def stop():
        raise StopIteration(1)

    outcome = await Started(tasks, stop, (), {}).error()
    assert type(outcome) is RuntimeError
    assert type(outcome.__cause__) is StopIteration


async def test_cancel_is_delivered_when_the_coroutine_has_ended(tasks):
    """The async `finally` completes before the outcome arrives."""
    steps = []
    began = asyncio.Event()

    async def clean_up():
        began.set()
        try:
            await asyncio.Event().wait()
        finally:
            await asyncio.sleep(0)
            steps.append("cleaned")

    call = Started(tasks, clean_up, (), {})
    await began.wait()
    tasks.cancel(call.call)
    assert type(await call.error()) is asyncio.CancelledError
    assert steps == ["cleaned"]


async def test_a_coroutine_that_goes_on_is_waited_for(tasks):
    """One that suppresses its cancel gives its value."""
    began = asyncio.Event()

    async def stubborn():
        began.set()
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            return "all the same"

    call = Started(tasks, stubborn, (), {})
    await began.wait()
    tasks.cancel(call.call)
    assert await call.value() == "all the same"


async def test_cancel_before_the_first_step(tasks):
    """The function is never called."""
    called = []

    async def never():
        called.append(1)

    call = Started(tasks, never, (), {})
    tasks.cancel(call.call)
    assert type(await call.error()) is asyncio.CancelledError
    assert called == []


async def test_a_coroutine_made_elsewhere_is_awaited(tasks):
    """`awaiting` is for one; cancelled before its first step, it is closed and warns of nothing."""

    async def made(value):
        return value

    assert await Started(tasks, awaiting, (made(7),), {}).value() == 7
    coroutine = made(8)
    call = Started(tasks, awaiting, (coroutine,), {})
    tasks.cancel(call.call)
    assert type(await call.error()) is asyncio.CancelledError
    assert coroutine.cr_frame is None


async def test_something_else_to_await(tasks):
    """A function that gives any awaitable will do."""
    loop = asyncio.get_running_loop()
    future = loop.create_future()
    call = Started(tasks, lambda: future, (), {})
    future.set_result("from a future")
    assert await call.value() == "from a future"


@pytest.mark.usefixtures("eager_loop")
async def test_an_eager_task_factory(tasks):
    """Tasks that run their first step at once are delivered later, and can be cancelled in that step."""
    calls = []

    async def at_once():
        return "at once"

    async def cancels_itself():
        tasks.cancel(calls[-1])
        await asyncio.Event().wait()

    assert await Started(tasks, at_once, (), {}).value() == "at once"
    original = tasks.start
    tasks.start = lambda call: (calls.append(call), original(call))
    call = Started(tasks, cancels_itself, (), {})
    assert type(await call.error()) is asyncio.CancelledError


async def test_a_task_factory_that_fails(tasks):
    """What the user's own factory raises is the outcome of the call; a coroutine made elsewhere is closed."""

    def refuse(loop, coroutine, **options):
        coroutine.close()
        raise LookupError("no tasks today")

    async def made():
        return 1

    coroutine = made()
    loop = asyncio.get_running_loop()
    before = loop.get_task_factory()
    loop.set_task_factory(refuse)
    calls = [Started(tasks, made, (), {}), Started(tasks, awaiting, (coroutine,), {})]
    loop.set_task_factory(before)
    for call in calls:
        assert type(await call.error()) is LookupError
    assert coroutine.cr_frame is None


def test_what_is_left_of_a_dead_loop_ends_silently(caplog):
    """After `close` a task of a loop that is gone is thrown away without a word."""
    loop = asyncio.new_event_loop()
    executor = LoopExecutor(1, loop)

    async def begin(executor):
        call = Started(executor, asyncio.Event().wait, (), {})
        await asyncio.sleep(0)
        return call

    call = loop.run_until_complete(begin(executor))
    executor.close()
    executor._tasks.clear()
    loop.close()
    del call, executor
    gc.collect()
    assert caplog.records == []


def test_inline_gives_the_value():
    """The call happens at once, in its context, and leaves the caller's alone."""
    context = contextvars.copy_context()
    context.run(variable.set, "of the call")
    assert call_inline(variable.get, (), {}, context, "get-1") == ("of the call", None)
    assert call_inline(dict, (), {"x": 1}, context, "dict-1") == ({"x": 1}, None)
    call_inline(variable.set, ("changed",), {}, context, "set-1")
    assert variable.get() == "unset"


@pytest.mark.parametrize("error", [ValueError("v"), SystemExit(3), KeyboardInterrupt()])
def test_inline_gives_the_exception(error):
    """It is returned, not raised, as itself."""

    def fail():
        raise error

    assert call_inline(fail, (), {}, contextvars.copy_context(), "fail-1") == (None, error)
    assert error.__traceback__.tb_frame.f_code.co_name == "fail"


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (StopIteration(), RuntimeError),
        (StopAsyncIteration(), RuntimeError),
        (GeneratorExit(), NodeExitedError),
        (asyncio.CancelledError(), NodeExitedError),
    ],
)
def test_inline_replaces_what_means_something_else(error, kind):
    """What a coroutine or a task would take for something else becomes an error."""

    def fail():
        raise error

    value, outcome = call_inline(fail, (), {}, contextvars.copy_context(), "fail-1")
    assert value is None
    assert type(outcome) is kind
    assert str(outcome).startswith("fail-1 raised ")
    assert outcome.__cause__ is error
