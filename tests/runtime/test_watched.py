"""Calls in threads that have a timeout, or are not waited for when their run is stopped."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import logging
import random
import threading
import time
import weakref
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest

import asyncgraph
from asyncgraph import Runtime, cancelled, check_cancelled, compute, delayed, start
from asyncgraph._runtime.lanes import THREAD
from asyncgraph._runtime.slots import Slots
from asyncgraph._runtime.stopping import current
from asyncgraph._runtime.window import seconds_in_window
from asyncgraph.errors import DependencyError, NodeTimeoutError
from asyncgraph.executors.thread import ThreadExecutor
from tests.errors.reading import failure_of
from tests.runtime.durations import short
from tests.runtime.endings import ENDINGS, Mine, end
from tests.runtime.turns import turns, until

SECONDS = 30

# Seconds; a call with this timeout that waits to be told is told soon.
SOON = 0.01

# Seconds; no test takes so long.
LATE = 3600


class Thing:
    """Something to watch with a weak reference."""


class Held:
    """A call in a thread that goes on until it is released, told or not.

    Attributes:
        begun: Set when it has begun.
        told: Set when it has been told to stop.
        ended: Set, in the thread, when it has ended.
        release: Lets it go.
        was_told: What it has seen of being told, when it was let go.
        outcome: Called for its value.
    """

    def __init__(self, outcome: Callable[[], Any] = lambda: "late") -> None:
        self.begun, self.told = asyncio.Event(), asyncio.Event()
        self.ended = threading.Event()
        self.release = threading.Event()
        self.was_told: list[bool] = []
        self.calls = 0
        self.outcome = outcome
        self._loop = asyncio.get_running_loop()

    def __call__(self, *_: Any) -> Any:
        """Go on."""
        self.calls += 1
        self._loop.call_soon_threadsafe(self.begun.set)
        try:
            for _ in range(SECONDS * 1000):
                if self.release.wait(0.001):
                    break
                if cancelled():
                    self._loop.call_soon_threadsafe(self.told.set)
                    assert self.release.wait(SECONDS)
                    break
            self.was_told.append(cancelled())
            return self.outcome()
        finally:
            self.ended.set()

    def node(self, *args: Any, **options: Any) -> Any:
        """A node of it, which may be abandoned."""
        options = {"abandon_on_cancel": True, **options}
        return delayed(self, executor="thread", name="held", **options)(*args)


@pytest.fixture
async def held() -> AsyncIterator[Held]:
    """Released at the end of the test, come what may."""
    held = Held()
    yield held
    held.release.set()


@pytest.fixture
async def complaints(_running_loop: Any) -> list[dict[str, Any]]:
    """What the loop's exception handler is told."""
    told: list[dict[str, Any]] = []
    _running_loop.set_exception_handler(lambda _, context: told.append(context))
    return told


def slots_of(runtime: Runtime) -> Slots:
    """The slots of its threads."""
    assert runtime._lanes is not None
    return runtime._lanes[THREAD].slots


def wait_to_be_told() -> None:
    """In a thread: go on until told to stop."""
    for _ in range(SECONDS * 1000):
        if cancelled():
            return
        time.sleep(0.001)
    raise AssertionError("it has not been told to stop")


# -- timeouts


async def test_a_value_in_time():
    """A call that is quick enough has its value, and leaves no timer behind."""
    function = delayed(lambda x: x + 1, executor="thread", timeout=LATE)
    assert await compute([function(number) for number in range(20)]) == list(range(1, 21))


async def test_an_error_in_time():
    """Its own exception is its own, also if that is a TimeoutError."""

    def fail() -> None:
        raise TimeoutError("mine")

    error = await failure_of(delayed(fail, executor="thread", timeout=LATE)())
    assert type(error) is TimeoutError
    assert error.args == ("mine",)


async def test_the_time_is_up(complaints):
    """The call is told, and when it has ended, the node fails, with an error that says which it was."""
    ended: list[bool] = []

    def slow() -> str:
        wait_to_be_told()
        ended.append(True)
        return "too late"

    error = await failure_of(delayed(slow, executor="thread", timeout=SOON)())
    assert type(error) is NodeTimeoutError
    assert ended == [True]
    assert "ran for longer than its timeout of 0.01 s; its thread was told to stop, and has ended" in str(
        error
    )
    assert error.node == "slow"
    assert error.key is not None
    assert len(error.__notes__) == 1
    assert complaints == []


async def test_check_cancelled_at_a_timeout():
    """A call that leaves when it is told to has timed out, and nothing else is told of it."""

    def slow() -> None:
        wait_to_be_told()
        check_cancelled()

    error = await failure_of(delayed(slow, executor="thread", timeout=SOON)())
    assert type(error) is NodeTimeoutError
    assert len(error.__notes__) == 1


async def test_what_a_call_raises_when_its_time_is_up():
    """That becomes a note of the timeout."""

    def slow() -> None:
        wait_to_be_told()
        raise ValueError("while cleaning up")

    error = await failure_of(delayed(slow, executor="thread", timeout=SOON)())
    assert type(error) is NodeTimeoutError
    (note, _) = error.__notes__
    assert note == "asyncgraph: when it was told to stop, it raised ValueError('while cleaning up')"


async def test_only_the_call_is_told():
    """The others of its run go on, and so does the run, as far as it can."""
    go_on = threading.Event()

    def slow() -> None:
        wait_to_be_told()
        go_on.set()

    def other() -> bool:
        assert go_on.wait(SECONDS)
        return cancelled()

    timed_out = delayed(slow, executor="thread", timeout=SOON)()
    behind = delayed([timed_out])
    error, has_stopped, missing = await compute(
        timed_out, delayed(other, executor="thread")(), behind, return_exceptions=True
    )
    assert type(error) is NodeTimeoutError
    assert has_stopped is False
    assert type(missing) is DependencyError
    assert missing.__cause__ is error


async def test_the_time_begins_with_the_call(monkeypatch):
    """As long as the thread has not begun, no time passes, however long it takes to be had."""
    original = ThreadExecutor.start

    def start_later(self: ThreadExecutor, call: Any) -> None:
        asyncio.get_running_loop().call_later(5 * timeout, original, self, call)

    timeout = 0.02
    monkeypatch.setattr(ThreadExecutor, "start", start_later)
    assert await delayed(lambda: 1, executor="thread", timeout=timeout)() == 1


async def test_waiting_for_a_slot_takes_no_time():
    """A call that waits for a slot has not begun, either."""
    timeout = 0.02
    release = threading.Event()
    asyncio.get_running_loop().call_later(5 * timeout, release.set)
    async with Runtime(threads=1):
        first = delayed(release.wait, executor="thread")(SECONDS)
        second = delayed(lambda: 1, executor="thread", timeout=timeout)()
        assert await compute(first, second) == (True, 1)


async def test_a_value_that_is_there_when_the_time_is_up(monkeypatch):
    """It counts, though the loop hears of it later than of the time."""
    calls: list[Any] = []
    monkeypatch.setattr(ThreadExecutor, "start", lambda _, call: calls.append(call))
    going_on = start(delayed(time.sleep, executor="thread", timeout=0.001, name="sleep")(0.002))
    await until(lambda: bool(calls))
    calls[0].function()  # in this thread, so that the timer cannot come in between
    await asyncio.sleep(0.01)  # it comes before this timer, which is for later
    assert not going_on.done()
    calls[0].deliver(None, None)
    assert await going_on is None


@pytest.mark.parametrize("is_abandonable", [False, True], ids=["waited-for", "abandoned"])
async def test_one_outcome_each(is_abandonable, complaints):
    """Where values and timeouts cross, each node has the one or the other, and each slot comes back."""
    pauses = [random.Random(number).uniform(0, 0.006) for number in range(300)]
    function = delayed(
        lambda pause: time.sleep(pause) or pause,
        executor="thread",
        timeout=0.003,
        abandon_on_cancel=is_abandonable,
    )
    async with Runtime(threads=8) as runtime:
        outcomes = await compute([function(pause) for pause in pauses], return_exceptions=True)
        for pause, outcome in zip(pauses, outcomes, strict=True):
            assert outcome == pause or type(outcome) is NodeTimeoutError
        assert {type(outcome) for outcome in outcomes} == {float, NodeTimeoutError}
        await until(lambda: slots_of(runtime).used == 0)
    assert complaints == []


async def test_short_calls_go_alone():
    """However short they are, calls with a timeout do not share a thread with others."""
    function = short(delayed(lambda: 1, executor="thread"))
    assert seconds_in_window(function.function) is not None
    assert seconds_in_window(function.options(timeout=1).function) is None
    assert seconds_in_window(function.options(abandon_on_cancel=True).function) is None


@pytest.mark.parametrize("is_failing", [False, True], ids=["value", "error"])
async def test_cancelled_when_its_time_is_up(held, complaints, is_failing):
    """A run that is cancelled while it waits for a call whose time is up is cancelled, and has not failed."""
    if is_failing:
        held.outcome = lambda: 1 // 0
    node = held.node(timeout=SOON, abandon_on_cancel=False)
    task = asyncio.ensure_future(compute(node))
    await held.told.wait()
    task.cancel()
    await turns(10)
    assert not task.done()
    held.release.set()
    assert isinstance(await failure_of(task), asyncio.CancelledError)
    assert held.was_told == [True]
    assert [type(each["exception"]) for each in complaints] == [ZeroDivisionError] * is_failing


async def test_runs_inside_a_call_whose_time_is_up():
    """They are cancelled with it, and the run around it goes on."""
    ended: list[str] = []

    async def endless() -> None:
        try:
            await asyncio.get_running_loop().create_future()
        finally:
            ended.append("cleaned up")

    inner = delayed(endless)()
    outer = delayed(lambda: asyncgraph.run(inner), executor="thread", timeout=SOON)()
    error, one = await compute(outer, delayed(1), return_exceptions=True)
    assert type(error) is NodeTimeoutError
    assert (ended, one) == (["cleaned up"], 1)


async def test_each_attempt_has_its_time(held):
    """After a timeout a call is made again, if its function says so, with all of its time."""
    counted: list[int] = []

    def slow_at_first() -> int:
        counted.append(len(counted))
        if len(counted) < 3:
            wait_to_be_told()
        return len(counted)

    assert await delayed(slow_at_first, executor="thread", timeout=SOON, retries=2)() == 3


# -- calls that nobody waits for


@pytest.mark.parametrize("ending", ENDINGS)
async def test_a_run_does_not_wait(held, ending, complaints):
    """However the run ends, it is over while the call goes on; that is told, and its value dropped."""
    await end(ending, held.begun, held.node())
    assert not held.ended.is_set()
    held.release.set()
    assert await asyncio.to_thread(held.ended.wait, SECONDS)
    assert held.was_told == [True]
    assert complaints == []


@pytest.mark.parametrize("ending", ENDINGS)
async def test_others_are_waited_for(held, ending):
    """Beside a call that is not waited for, one that is has ended when the run is over."""
    ended: list[bool] = []

    def waited_for() -> None:
        wait_to_be_told()
        ended.append(True)

    await end(ending, held.begun, held.node(), delayed(waited_for, executor="thread")())
    assert ended in ([True], [])  # it may not have begun
    assert not held.ended.is_set()


@pytest.mark.parametrize("ending", ENDINGS)
async def test_its_slot_is_its_own_until_it_ends(held, ending):
    """Nobody is given the slot before; then it comes back, once, and who waits for it is woken."""
    async with Runtime(threads=1) as runtime:
        await end(ending, held.begun, held.node())
        slots = slots_of(runtime)
        assert slots.used == 1
        waiting = start(delayed(threading.get_ident, executor="thread")())
        await turns(50)
        assert waiting.statistics().ready == 1
        held.release.set()
        assert await waiting
        assert slots.used == 0
        assert not slots.waiting
        assert not slots.promised


async def test_a_call_that_ends_while_its_run_is_being_stopped(monkeypatch):
    """One that has ended, though nobody has heard of that yet, gives its slot back like any other."""
    calls: list[Any] = []
    monkeypatch.setattr(ThreadExecutor, "start", lambda _, call: calls.append(call))
    async with Runtime(threads=1) as runtime:
        going_on = start(delayed(lambda: 1, executor="thread", abandon_on_cancel=True)())
        await until(lambda: bool(calls))
        calls[0].function()
        going_on.cancel()
        assert isinstance(await failure_of(going_on), asyncio.CancelledError)
        assert slots_of(runtime).used == 1
        calls[0].deliver(None, None)
        assert slots_of(runtime).used == 0


async def test_a_call_that_has_not_begun_is_not_made(monkeypatch, held):
    """One that was handed over, but that no thread has begun, is not made when its run has been stopped."""
    calls: list[Any] = []
    monkeypatch.setattr(ThreadExecutor, "start", lambda _, call: calls.append(call))
    async with Runtime(threads=1) as runtime:
        going_on = start(held.node())
        await until(lambda: bool(calls))
        going_on.cancel()
        assert isinstance(await failure_of(going_on), asyncio.CancelledError)
        calls[0].function()
        assert held.calls == 0
        calls[0].deliver(None, None)
        assert slots_of(runtime).used == 0


async def test_a_runtime_does_not_wait(held):
    """Leaving the block of a runtime does not wait for such a call; its thread ends with that."""
    before = set(threading.enumerate())
    async with Runtime(threads=2):
        await delayed(abs, executor="thread")(-1)
        await end("cancel", held.begun, held.node())
    (thread,) = set(threading.enumerate()) - before
    assert thread.daemon
    held.release.set()
    await asyncio.to_thread(thread.join, SECONDS)
    assert not thread.is_alive()


async def test_its_thread_serves_again(held):
    """When such a call has ended, its thread takes the next, and leaving the block waits for it."""
    before = set(threading.enumerate())
    async with Runtime(threads=1):
        await end("cancel", held.begun, held.node())
        (thread,) = set(threading.enumerate()) - before
        held.release.set()
        assert await delayed(threading.current_thread, executor="thread")() is thread
    assert not thread.is_alive()


async def test_a_timeout_does_not_wait(held, complaints):
    """When the time of such a call is up, its node fails at once, and the run goes on."""
    async with Runtime(threads=2) as runtime:
        node = held.node(timeout=SOON)
        error, one = await compute(node, delayed(abs, executor="thread")(-1), return_exceptions=True)
        assert type(error) is NodeTimeoutError
        assert "its thread was told to stop, and goes on by itself until it does" in str(error)
        assert one == 1
        assert slots_of(runtime).used == 1
        held.release.set()
        await until(lambda: slots_of(runtime).used == 0)
        assert held.was_told == [True]
    assert complaints == []


async def test_the_slot_of_a_call_whose_time_was_up(held):
    """What is ready behind it in the same run waits until the slot is there, and is woken for it."""
    async with Runtime(threads=1):
        other = delayed(held.ended.is_set, executor="thread")
        going_on = start([held.node(timeout=SOON), other()], return_exceptions=True)
        await until(lambda: going_on.statistics().failed == 1)
        await turns(20)
        assert not going_on.done()
        held.release.set()
        error, has_ended = await going_on
    assert type(error) is NodeTimeoutError
    assert has_ended is True


async def test_an_attempt_beside_one_that_goes_on(held):
    """A call that has timed out and goes on keeps its slot, and the next attempt has another."""

    def first_is_held() -> str:
        return held() if not held.calls else "the next"

    function = delayed(first_is_held, executor="thread", timeout=SOON, retries=1, abandon_on_cancel=True)
    async with Runtime(threads=2) as runtime:
        assert await function() == "the next"
        assert slots_of(runtime).used == 1
        held.release.set()
        await until(lambda: slots_of(runtime).used == 0)


async def test_stopped_just_when_its_time_is_up(held):
    """A run that stops at the moment when the call's time is up lets go of the call once."""
    async with Runtime(threads=1) as runtime:
        going_on = start(held.node(timeout=LATE))
        await held.begun.wait()
        threads = going_on._execution.parts.threads
        ((task, call),) = threads._alone.items()
        going_on.cancel()  # which stops it in the next turn
        threads._strike(task, call)
        assert isinstance(await failure_of(going_on), asyncio.CancelledError)
        assert slots_of(runtime).used == 1
        held.release.set()
        await until(lambda: slots_of(runtime).used == 0)


async def test_a_thread_that_cannot_be_had(monkeypatch):
    """That is the failure of the node, as for any call, and nothing waits for its time to be up."""

    def refuse(_: ThreadExecutor) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(ThreadExecutor, "_add_thread", refuse)
    node = delayed(lambda: 1, executor="thread", timeout=LATE, abandon_on_cancel=True)()
    error = await failure_of(node)
    assert str(error) == "can't start new thread"


async def test_no_slot_is_lost():
    """Runs are stopped at any moment, with calls that end at any moment: all slots come back."""
    function = delayed(time.sleep, executor="thread", timeout=0.002, abandon_on_cancel=True)
    async with Runtime(threads=4) as runtime:
        for number in range(60):
            choice = random.Random(number)
            going_on = start([function(choice.uniform(0, 0.003)) for _ in range(6)], return_exceptions=True)
            await asyncio.sleep(choice.uniform(0, 0.004))
            going_on.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await going_on
        slots = slots_of(runtime)
        await until(lambda: slots.used == 0)
        assert not slots.waiting
        assert not slots.promised
        assert len(await compute([delayed(abs, executor="thread")(-1) for _ in range(20)])) == 20


async def logged_late(held, caplog):
    """Abandon the call, let it end, and return what was logged."""
    with caplog.at_level(logging.DEBUG, logger="asyncgraph"):
        async with Runtime(threads=1) as runtime:
            await end("cancel", held.begun, held.node())
            held.release.set()
            await until(lambda: slots_of(runtime).used == 0)
    return caplog.records


async def test_a_late_error_is_logged(held, caplog):
    """An exception that nobody waits for is told at debug level, with the key of its node."""
    mine = Mine("late")

    def fail() -> None:
        raise mine

    held.outcome = fail
    (record,) = await logged_late(held, caplog)
    assert (record.name, record.levelname) == ("asyncgraph", "DEBUG")
    assert "held-" in record.getMessage()
    assert "which nobody waits for any more, failed" in record.getMessage()
    assert record.exc_info[1] is mine


async def test_a_late_cancelled_error_is_not_logged(held, caplog):
    """A call that leaves when it is told to has done what was wanted."""
    held.outcome = check_cancelled
    assert await logged_late(held, caplog) == []


async def test_late_values_are_dropped(held):
    """Nothing keeps a value that has come too late."""
    things: list[Any] = []

    def make() -> Thing:
        thing = Thing()
        things.append(weakref.ref(thing))
        return thing

    held.outcome = make
    async with Runtime(threads=1) as runtime:
        await end("cancel", held.begun, held.node())
        held.release.set()
        await until(lambda: slots_of(runtime).used == 0)
        assert things[0]() is None


async def test_it_keeps_its_own_arguments_and_nothing_else(held):
    """The values and nodes of the run are gone when that is over, but for what the call itself was given."""
    own, other = Thing(), Thing()
    refs = [weakref.ref(own), weakref.ref(other)]
    holders = [delayed(own), delayed(other)]
    node = held.node(holders[0])
    beside = delayed([holders[1], node])
    refs += [weakref.ref(each) for each in (node, beside, *holders)]
    async with Runtime(threads=1):
        await end("cancel", held.begun, beside)
        del own, other, node, beside, holders
        await turns(5)  # asyncio has a task that was cancelled for one more
        gc.collect()
        assert [ref() is None for ref in refs] == [False, True, True, True, True, True]
        held.release.set()


async def test_nested_runs_of_a_call_that_nobody_waits_for(held):
    """They are cancelled as those of any other call."""
    loop = asyncio.get_running_loop()
    inner = delayed(asyncio.sleep, name="inner")(LATE)
    outcomes: list[BaseException] = []

    def outer() -> None:
        try:
            asyncgraph.run(delayed([inner, delayed(loop.call_soon_threadsafe)(held.begun.set)]))
        except asyncio.CancelledError as error:
            outcomes.append(error)
            held.ended.set()
            raise

    going_on = start(delayed(outer, executor="thread", abandon_on_cancel=True)())
    await held.begun.wait()
    going_on.cancel()
    assert isinstance(await failure_of(going_on), asyncio.CancelledError)
    assert await asyncio.to_thread(held.ended.wait, SECONDS)
    assert len(outcomes) == 1


# -- what such functions may return


@pytest.mark.parametrize(
    "options", [{"timeout": LATE}, {"abandon_on_cancel": True}], ids=["timeout", "abandon"]
)
async def test_they_may_return_coroutines_and_nodes(options):
    """What a function returns that has to be awaited, or computed, is, as for any function."""

    async def fetch(number: int) -> int:
        await asyncio.sleep(0)
        return number

    awaits = delayed(lambda: fetch(1), executor="thread", **options)()
    expands = delayed(lambda: delayed(1) + 1, executor="thread", **options)()
    assert await compute(awaits, expands, awaits + expands) == (1, 2, 3)


@pytest.mark.parametrize("is_abandonable", [False, True], ids=["waited-for", "abandoned"])
async def test_a_late_coroutine_is_closed(held, is_abandonable, recwarn):
    """One that is returned too late is closed, and nothing complains that nobody has awaited it."""
    held.outcome = lambda: asyncio.sleep(0)
    async with Runtime(threads=1) as runtime:
        going_on = start(held.node(timeout=SOON, abandon_on_cancel=is_abandonable))
        await held.told.wait()
        held.release.set()
        assert type(await failure_of(going_on)) is NodeTimeoutError
        await until(lambda: slots_of(runtime).used == 0)
        gc.collect()
    assert [str(each.message) for each in recwarn.list] == []


async def test_a_call_is_in_its_run():
    """Inside a call that is watched, its run is found as in any other: its runtime is that of its nodes."""

    def scopes() -> list[str]:
        scope, names = current.get(), []
        while scope is not None:
            names.append(type(scope).__name__)
            scope = scope.outer
        return names

    assert await delayed(scopes, executor="thread", timeout=LATE)() == ["Watched", "Execution"]
