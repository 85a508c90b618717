"""The executor of threads: asyncgraph's own, on demand, reused, daemons, holding nothing."""

# ruff: noqa: D102, D103 - helpers whose names say it

from __future__ import annotations

import asyncio
import contextvars
import gc
import subprocess
import sys
import threading
import weakref
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest

from asyncgraph import Runtime, compute, delayed
from asyncgraph.executors.base import Call
from asyncgraph.executors.thread import ThreadExecutor

SECONDS = 20
"""Until a thread that should have been released gives up, so that a failing test ends."""


class Thing:
    """Something to watch with a weak reference."""


class Sink:
    """Takes the outcomes of calls."""

    def __init__(self, expected: int = 1) -> None:
        self.outcomes: list[tuple[Any, BaseException | None]] = []
        self.threads: set[threading.Thread] = set()
        self.expected = expected
        self.delivered = asyncio.Event()

    def __call__(self, value: Any, error: BaseException | None) -> None:
        self.outcomes.append((value, error))
        self.threads.add(threading.current_thread())
        if len(self.outcomes) >= self.expected:
            self.delivered.set()


def make(function: Callable[..., Any], *args: Any, deliver: Any, key: str = "node-1", **kwargs: Any) -> Call:
    return Call(function, args, kwargs, contextvars.copy_context(), key, deliver)


@pytest.fixture
async def executor() -> AsyncIterator[ThreadExecutor]:
    executor = ThreadExecutor(4, asyncio.get_running_loop())
    yield executor
    await executor.aclose()


def threads() -> set[threading.Thread]:
    return {each for each in threading.enumerate() if each.name.startswith("asyncgraph-")}


async def test_value(executor):
    """The value is delivered once, later than `start`, on the loop's thread; the call ran on another."""
    sink = Sink()
    executor.start(make(lambda x, *, y: (x, y, threading.current_thread()), 1, y=2, deliver=sink))
    assert sink.outcomes == []
    await sink.delivered.wait()
    (((x, y, ran_on), error),) = sink.outcomes
    assert (x, y, error) == (1, 2, None)
    assert sink.threads == {threading.current_thread()}
    assert ran_on is not threading.current_thread()


async def test_never_within_start(executor):
    """However quick the call, its outcome waits for the loop to come round."""
    done = threading.Event()
    sink = Sink()
    executor.start(make(done.set, deliver=sink))
    assert done.wait(SECONDS)
    assert sink.outcomes == []
    await sink.delivered.wait()
    assert sink.outcomes == [(None, None)]


async def test_error(executor):
    """What the function raises is delivered as the object it is, with the user's frames first."""
    mine = ValueError("mine")

    def fail() -> None:
        raise mine

    sink = Sink()
    executor.start(make(fail, deliver=sink))
    await sink.delivered.wait()
    assert sink.outcomes == [(None, mine)]
    assert mine.__traceback__ is not None
    assert mine.__traceback__.tb_frame.f_code is fail.__code__


async def test_on_demand_and_reused(executor):
    """There is no thread before the first call; calls one after the other share one, a daemon with a name."""
    assert threads() == set()
    seen = set()
    for _ in range(5):
        sink = Sink()
        executor.start(make(threading.current_thread, deliver=sink))
        await sink.delivered.wait()
        seen.add(sink.outcomes[0][0])
    (thread,) = seen
    assert thread.daemon
    assert thread.name.startswith("asyncgraph-")
    assert threads() == {thread}


async def test_one_thread_for_each_call_at_once(executor):
    """As many calls as there are slots run at once."""
    barrier = threading.Barrier(4)
    sink = Sink(4)
    for _ in range(4):
        executor.start(make(barrier.wait, SECONDS, deliver=sink))
    await sink.delivered.wait()
    assert sorted(value for value, _ in sink.outcomes) == [0, 1, 2, 3]
    assert len(threads()) == 4


async def test_a_call_started_from_an_outcome_reuses_its_thread(executor):
    """The thread whose outcome is being delivered is ready for the next call."""
    done = asyncio.Event()
    seen: list[threading.Thread] = []

    def again(value: threading.Thread, error: BaseException | None) -> None:
        seen.append(value)
        if len(seen) == 20:
            done.set()
        else:
            executor.start(make(threading.current_thread, deliver=again))

    executor.start(make(threading.current_thread, deliver=again))
    await done.wait()
    assert len(set(seen)) == 1


async def test_many_outcomes_one_wake_up(executor, monkeypatch):
    """Outcomes that arrive while the loop is busy cost it one wake-up."""
    loop = asyncio.get_running_loop()
    wakes = []
    original = loop.call_soon_threadsafe

    class Loop:
        def __getattr__(self, name: str) -> Any:
            return getattr(loop, name)

        def call_soon_threadsafe(self, *args: Any, **options: Any) -> Any:
            wakes.append(args)
            return original(*args, **options)

    monkeypatch.setattr(executor, "_loop", Loop())
    barrier = threading.Barrier(4)
    sink = Sink(4)
    for _ in range(4):
        executor.start(make(barrier.wait, SECONDS, deliver=sink))
    # The loop is kept busy until all outcomes are there.
    while len(executor._outcomes) < 4:
        pass
    await sink.delivered.wait()
    assert len(wakes) == 1


async def test_an_outcome_whose_delivery_fails(executor):
    """A delivery that raises, which is a fault of ours, does not lose the outcomes that arrived with it."""
    loop = asyncio.get_running_loop()
    complaints: list[dict[str, Any]] = []
    loop.set_exception_handler(lambda _, context: complaints.append(context))
    fault = RuntimeError("a fault of ours")

    def fail(value: Any, error: BaseException | None) -> None:
        raise fault

    sink = Sink(3)
    for deliver in (fail, sink, sink, sink):
        executor.start(make(int, deliver=deliver))
    await sink.delivered.wait()
    assert sink.outcomes == [(0, None)] * 3
    assert [each["exception"] for each in complaints] == [fault]


async def test_context(executor):
    """A call runs in its own context: it sees what was set there, and changes nothing outside."""
    variable = contextvars.ContextVar("variable", default="default")
    variable.set("set by the caller")

    def look_and_set() -> str:
        seen = variable.get()
        variable.set("set by the call")
        return seen

    for _ in range(2):
        sink = Sink()
        executor.start(make(look_and_set, deliver=sink))
        await sink.delivered.wait()
        assert sink.outcomes == [("set by the caller", None)]
    assert variable.get() == "set by the caller"


async def test_no_more_threads(executor, monkeypatch):
    """Where the system gives no more threads, that is the call's error, delivered as any; later calls run."""

    def refuse(self: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    sink = Sink()
    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", refuse)
        executor.start(make(int, deliver=sink))
        assert sink.outcomes == []
    await sink.delivered.wait()
    ((value, error),) = sink.outcomes
    assert value is None
    assert type(error) is RuntimeError
    assert str(error) == "can't start new thread"
    sink = Sink()
    executor.start(make(int, deliver=sink))
    await sink.delivered.wait()
    assert sink.outcomes == [(0, None)]


async def test_no_more_threads_in_a_graph(monkeypatch):
    """In a run it is that node's failure, with its note, and the others come back."""

    def refuse(self: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    async with Runtime():
        with monkeypatch.context() as patch:
            patch.setattr(threading.Thread, "start", refuse)
            error, value = await compute(delayed(int)(), delayed(3) + 1, return_exceptions=True)
        assert str(error) == "can't start new thread"
        assert error.__notes__[0].startswith("asyncgraph: node int-")
        assert value == 4
        assert await delayed(int)() == 0


@pytest.mark.parametrize("how", ["value", "error"])
async def test_nothing_is_held_afterwards(executor, how):
    """When the outcome has been delivered, neither thread nor executor holds argument, value or exception."""
    seen: list[weakref.ref[Any]] = []

    class Failure(Exception):
        pass

    def use(thing: Thing) -> Thing:
        seen.append(weakref.ref(thing))
        result: Any = Thing() if how == "value" else Failure()
        seen.append(weakref.ref(result))
        if how == "value":
            return result
        try:
            raise result
        finally:
            del result

    sink = Sink()
    executor.start(make(use, Thing(), deliver=sink))
    await sink.delivered.wait()
    assert len(seen) == 2
    sink.outcomes.clear()
    gc.collect()
    assert [each() for each in seen] == [None, None]


@pytest.mark.parametrize("executor_name", ["coroutine", "inline", "thread"])
@pytest.mark.parametrize("how", ["value", "error"])
async def test_nothing_is_held_after_a_run(executor_name, how):
    """After a run nothing is alive of its arguments, results and exceptions, while its runtime is."""
    seen: list[weakref.ref[Any]] = []

    class Failure(Exception):
        pass

    def watched(thing: Any) -> Any:
        seen.append(weakref.ref(thing))
        return thing

    def make_thing() -> Thing:
        return watched(Thing())

    def use(thing: Thing) -> Thing:
        if how == "error":
            raise watched(Failure())
        return watched(Thing())

    async def use_later(thing: Thing) -> Thing:
        return use(thing)

    function = (
        delayed(use_later)
        if executor_name == "coroutine"
        else delayed(use, executor="loop" if executor_name == "inline" else "thread")
    )
    async with Runtime():
        node = function(delayed(make_thing)())
        (outcome,) = await compute([node], return_exceptions=True)
        assert type(outcome) is (Thing if how == "value" else Failure)
        del outcome
        await asyncio.sleep(0)
        gc.collect()
        assert len(seen) == 2
        assert [each() for each in seen] == [None, None]
        assert node is not None


async def test_a_result_is_dropped_after_its_last_use():
    """A thread's result is gone once the node that used it is over, while the run goes on."""
    seen: list[weakref.ref[Any]] = []

    def make_thing() -> Thing:
        thing = Thing()
        seen.append(weakref.ref(thing))
        return thing

    def use(thing: Thing) -> int:
        return 1

    async def look(one: int) -> bool:
        gc.collect()
        return seen[0]() is None

    assert await delayed(look)(delayed(use)(delayed(make_thing)()))


async def test_aclose_ends_the_threads():
    """`aclose` waits for the threads, which are all idle, to end."""
    executor = ThreadExecutor(4, asyncio.get_running_loop())
    sink = Sink(4)
    barrier = threading.Barrier(4)
    for _ in range(4):
        executor.start(make(barrier.wait, SECONDS, deliver=sink))
    await sink.delivered.wait()
    assert len(threads()) == 4
    await executor.aclose()
    assert threads() == set()
    await executor.aclose()


async def test_a_call_after_aclose(executor):
    """An executor that was closed starts a thread for a call as if it were new, rather than lose the call."""
    for _ in range(2):
        sink = Sink()
        executor.start(make(int, deliver=sink))
        await sink.delivered.wait()
        assert sink.outcomes == [(0, None)]
        await executor.aclose()


async def test_close_waits_for_nobody():
    """`close` returns while a call is running; its thread ends after the call."""
    executor = ThreadExecutor(1, asyncio.get_running_loop())
    begun, go = threading.Event(), threading.Event()
    sink = Sink()

    def wait() -> bool:
        begun.set()
        return go.wait(SECONDS)

    executor.start(make(wait, deliver=sink))
    assert await asyncio.to_thread(begun.wait, SECONDS)
    (thread,) = threads()
    executor.close()
    assert thread.is_alive()
    go.set()
    await sink.delivered.wait()
    thread.join(SECONDS)
    assert not thread.is_alive()


def test_an_outcome_after_the_loop_is_gone():
    """A call that ends after its loop was closed bothers nobody: its thread ends quietly."""
    begun, go = threading.Event(), threading.Event()
    delivered: list[Any] = []

    def wait() -> bool:
        begun.set()
        return go.wait(SECONDS)

    loop = asyncio.new_event_loop()
    executor = ThreadExecutor(1, loop)
    executor.start(make(wait, deliver=lambda *outcome: delivered.append(outcome)))
    assert begun.wait(SECONDS)
    (thread,) = threads()
    loop.close()
    executor.close()
    go.set()
    thread.join(SECONDS)
    assert not thread.is_alive()
    assert delivered == []


STUCK = """
import asyncio, contextvars, threading
from asyncgraph.executors.base import Call
from asyncgraph.executors.thread import ThreadExecutor

begun = threading.Event()

def stuck():
    begun.set()
    threading.Event().wait()

async def main():
    executor = ThreadExecutor(1, asyncio.get_running_loop())
    executor.start(Call(stuck, (), {}, contextvars.copy_context(), "stuck-1", print))
    assert begun.wait(20)

asyncio.run(main())
print("over")
"""


def test_a_stuck_thread_does_not_hold_up_the_exit():
    """The interpreter exits although a thread is stuck in a user's function."""
    ended = subprocess.run(
        [sys.executable, "-X", "dev", "-c", STUCK], check=False, capture_output=True, text=True, timeout=30
    )
    assert (ended.stdout, ended.stderr, ended.returncode) == ("over\n", "", 0)


async def test_a_fault_of_our_own_is_an_outcome_too(monkeypatch, executor):
    """If not even the failure can be put into words, the call ends all the same, and its thread goes on."""

    def perform(*_: Any) -> Any:
        raise MemoryError

    with monkeypatch.context() as patched:
        patched.setattr("asyncgraph.executors.thread.perform", perform)
        with pytest.raises(MemoryError):
            await _value_of(executor, int)
    assert await _value_of(executor, int) == 0


async def _value_of(executor: ThreadExecutor, function: Callable[[], Any]) -> Any:
    sink = Sink()
    executor.start(Call(function, (), {}, contextvars.copy_context(), "key", sink))
    await sink.delivered.wait()
    ((value, error),) = sink.outcomes
    if error is not None:
        raise error
    return value


async def test_a_thread_that_was_let_go_of_is_not_waited_for():
    """Closing waits for all threads but that one, which ends by itself when its call has."""
    executor = ThreadExecutor(2, asyncio.get_running_loop())
    release, begun = threading.Event(), asyncio.Event()
    loop = asyncio.get_running_loop()
    stuck: list[threading.Thread] = []

    def hold() -> None:
        stuck.append(threading.current_thread())
        loop.call_soon_threadsafe(begun.set)
        assert release.wait(SECONDS)

    sink = Sink()
    executor.start(make(hold, deliver=sink))
    await begun.wait()
    executor.let_go(stuck[0])
    await executor.aclose()
    assert stuck[0].is_alive()
    release.set()
    await asyncio.to_thread(stuck[0].join, SECONDS)
    assert not stuck[0].is_alive()


async def test_a_thread_that_has_come_back_is_waited_for(executor):
    """When its call has ended, a thread that was let go of is as any other."""
    sink = Sink()
    executor.start(make(threading.current_thread, deliver=sink))
    await sink.delivered.wait()
    ((thread, _),) = sink.outcomes
    executor.let_go(thread)
    executor.take_back(thread)
    await executor.aclose()
    assert not thread.is_alive()
