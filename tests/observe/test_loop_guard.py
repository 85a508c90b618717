"""The loop guard: what blocks an event loop is named, with its line, while it still does."""

from __future__ import annotations

import asyncio
import gc
import logging
import math
import sys
import threading
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from asyncgraph import compute, delayed, resource, run, start
from asyncgraph.observe import LoopGuard, Stall
from asyncgraph.observe import pulse as pulse_module
from asyncgraph.observe.pulse import Finding
from asyncgraph.observe.spots import calls_around

ON_LINUX = pytest.mark.skipif(sys.platform != "linux", reason="clocks of threads are told on Linux only")

# Seconds that no test takes.
NEVER = 30.0

# Seconds: short, so that tests are; whatever blocks here does so until it has been found.
THRESHOLD = 0.02


class Told(logging.Handler):
    """Says when the guard has told of something.

    Attributes:
        about: What that begins with. On a machine with much to do, all kinds of things take long.
    """

    def __init__(self) -> None:
        super().__init__()
        self.about = "node "
        self.lines: list[str] = []
        self.has_come = threading.Event()

    def emit(self, record: logging.LogRecord) -> None:
        """Note the line."""
        line = record.getMessage()
        if line.startswith(self.about):
            self.lines.append(line)
            self.has_come.set()

    def wait(self) -> None:
        """Wait, and block whatever this is called from."""
        assert self.has_come.wait(NEVER), "the guard has told of nothing"


@pytest.fixture
def told() -> Iterator[Told]:
    """What the guard tells."""
    handler, logger = Told(), logging.getLogger("asyncgraph.observe")
    logger.addHandler(handler)
    yield handler
    logger.removeHandler(handler)


@pytest.fixture
def computing(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let each thread seem to be on a core all the time, however much there is to do on this machine."""
    monkeypatch.setattr(pulse_module, "cpu_seconds", lambda native: time.perf_counter())


@ON_LINUX
async def test_a_coroutine_that_waits_is_named_while_it_blocks_the_loop(told: Told) -> None:
    """The warning says the node, the line that it is stuck in and what to await; the stall comes after it."""

    @delayed
    async def look_up() -> str:
        told.has_come.wait(NEVER)
        return "found"

    with LoopGuard(threshold=THRESHOLD) as guard:
        node = look_up()
        assert await node == "found"
    [line], [stall] = told.lines, [each for each in guard.stalls if each.key]
    assert line.startswith(f"node {node.key} blocks the event loop (")
    assert f"{__file__}:" in line
    assert ": told.has_come.wait(NEVER); it waits: await asyncio's locks and events, or make it" in line
    assert (stall.kind, stall.key, stall.name, stall.executor) == ("loop", node.key, "look_up", "loop")
    assert (stall.worker, stall.text, stall.is_computing, stall.times) == (
        "loop",
        "told.has_come.wait(NEVER)",
        False,
        1,
    )
    assert stall.seconds >= THRESHOLD


def test_time_sleep_has_an_equivalent_to_await(told: Told) -> None:
    """A call of machine code has no line of its own: what it is shows on the line that calls it."""

    @delayed
    async def nap() -> None:
        while not told.has_come.is_set():
            time.sleep(THRESHOLD)  # noqa: ASYNC251 - that is what it is about

    with LoopGuard(threshold=THRESHOLD):
        run(nap())
    assert "await asyncio.sleep, or make it a plain `def`" in told.lines[0]


@ON_LINUX
async def test_a_coroutine_that_computes_belongs_into_a_process(told: Told, computing: None) -> None:
    """What has a core to itself all the time does not wait for anything."""

    @delayed
    async def count() -> None:
        while not told.has_come.is_set():
            pass

    with LoopGuard(threshold=THRESHOLD) as guard:
        await count()
    [stall] = [each for each in guard.stalls if each.key]
    assert stall.is_computing
    assert stall.advice == 'it computes: move that into a plain `def` with executor="process"'


@pytest.mark.parametrize("is_straight", [True, False])
@ON_LINUX
async def test_a_plain_function_on_the_loop_belongs_into_a_thread(told: Told, is_straight: bool) -> None:
    """It was put there by `executor="loop"`, which is said; whichever way the run goes."""
    hold = delayed(told.wait, executor="loop", name="hold")
    events: list[Any] = []
    with LoopGuard(threshold=THRESHOLD) as guard:
        node = hold()
        await node.compute(observers=() if is_straight else [events.append])
    [stall] = [each for each in guard.stalls if each.key]
    assert stall.key == node.key
    assert stall.advice == 'it waits: leave executor="loop" out, so that it runs in a thread'


@ON_LINUX
async def test_a_plain_function_that_computes_belongs_into_a_process(told: Told, computing: None) -> None:
    """The same that computes."""
    hold = delayed(told.wait, executor="loop", name="hold")
    with LoopGuard(threshold=THRESHOLD) as guard:
        await hold()
    assert (
        next(each for each in guard.stalls if each.key).advice
        == 'it computes: executor="process" in place of executor="loop"'
    )


@ON_LINUX
async def test_machine_code_on_the_loop_belongs_into_a_thread(told: Told) -> None:
    """It has no line, as an operator has none: what is said holds for both."""
    door = threading.Lock()
    door.acquire()

    def open_it() -> None:
        told.wait()
        door.release()

    opener = threading.Thread(target=open_it)
    with LoopGuard(threshold=THRESHOLD) as guard:
        opener.start()
        await delayed(door.acquire, executor="loop", name="enter")()
    opener.join()
    [stall] = [each for each in guard.stalls if each.name == "enter"]
    assert stall.site is None
    assert 'leave executor="loop" out, so that it runs in a thread; ' in stall.advice
    assert stall.advice.endswith("if it is an operator, attribute or item of a node, make a function of that")


async def test_a_resource_that_blocks_when_it_is_opened_is_named(told: Told) -> None:
    """To open a resource is what its node does."""

    @asynccontextmanager
    async def connection() -> AsyncIterator[str]:
        told.wait()
        yield "open"

    opened = resource(connection)
    with LoopGuard(threshold=THRESHOLD) as guard:
        assert await delayed(len, executor="loop")(opened) == 4
    assert [stall.key for stall in guard.stalls if stall.key] == [opened.key]


async def test_what_is_no_node_is_reported_as_such(told: Told) -> None:
    """Another coroutine of the same loop blocks it: the guard says that it is none of the nodes."""
    is_over = asyncio.Event()
    told.about = "test_what_is_no_node"

    async def mine() -> None:
        told.wait()
        is_over.set()

    with LoopGuard(threshold=THRESHOLD) as guard:
        aio_task = asyncio.create_task(mine())
        await delayed(is_over.wait)()
        await aio_task
    stall = next(each for each in guard.stalls if each.name.endswith("mine"))
    assert (stall.key, stall.executor, stall.run) == ("", "", None)
    assert "mine, which is no node, blocks the event loop" in told.lines[0]
    assert "hand it to asyncio.to_thread" in stall.advice


async def test_a_nested_run_is_not_blamed_on_the_node_around_it(told: Told) -> None:
    """The innermost node is the one that blocks; the one that awaits it is suspended."""

    @delayed
    async def inner() -> None:
        told.wait()

    @delayed
    async def outer() -> None:
        await inner()

    with LoopGuard(threshold=THRESHOLD) as guard:
        await outer()
    assert [stall.name for stall in guard.stalls if stall.key] == ["inner"]


def test_each_of_two_loops_has_its_own_stalls(told: Told) -> None:
    """While one thread's loop is stuck, another's goes on and is not blamed."""

    @delayed
    async def hold() -> None:
        told.wait()

    @delayed
    async def go_on() -> None:
        while not told.has_come.is_set():  # noqa: ASYNC110 - it is set in another thread
            await asyncio.sleep(0)

    with LoopGuard(threshold=THRESHOLD) as guard:

        def serve() -> None:
            run(go_on().compute(observers=[guard]))

        other = threading.Thread(target=serve)
        other.start()
        run(hold())
        other.join()
    assert {stall.name for stall in guard.stalls if stall.key} == {"hold"}


@ON_LINUX
async def test_a_thread_that_keeps_the_interpreter_to_itself_is_named() -> None:
    """A function in C that does not let go of the lock: nothing else runs, which a process would help."""
    stalls: list[Stall] = []

    @delayed
    def add_up() -> int:
        total = 0
        while not any(each.key for each in stalls):
            total += sum(range(3_000_000))
        return total

    with LoopGuard(threshold=0.005, on_stall=stalls.append) as guard:
        node = add_up()
        await node
    stall = next(each for each in guard.stalls if each.key)
    assert (stall.kind, stall.key, stall.is_computing) == ("gil", node.key, True)
    assert stall.worker.startswith("thread ")
    assert stall.advice.endswith('executor="process" gives it an interpreter of its own')
    assert stalls[0] in guard.stalls


async def test_a_coroutine_that_holds_the_interpreter_blocks_its_loop(told: Told, computing: None) -> None:
    """The watchdog cannot look while it does, and finds it afterwards, at the line where it was."""

    @delayed
    async def add_up() -> None:
        while not told.has_come.is_set():
            sum(range(3_000_000))

    with LoopGuard(threshold=0.005) as guard:
        node = add_up()
        await node
    stall = next(each for each in guard.stalls if each.key)
    assert (stall.kind, stall.key, stall.is_computing) == ("loop", node.key, True)


async def test_what_goes_on_when_a_run_ends_counts(told: Told) -> None:
    """A stall is over, and on record, when `compute` returns."""
    records: list[Stall] = []
    with LoopGuard(threshold=THRESHOLD, on_stall=records.append) as guard:
        await delayed(told.wait, executor="loop")()
        assert records == guard.stalls
        assert len([each for each in records if each.key]) == 1


async def test_nothing_is_said_of_a_loop_that_serves_everybody() -> None:
    """Many small nodes, and waiting, block nothing."""
    with LoopGuard(threshold=NEVER) as guard:
        await compute(*[delayed(asyncio.sleep, name="nap")(0) for _ in range(500)])
        await delayed(sum)([delayed(abs)(number) for number in range(500)])
    assert guard.stalls == []


def test_its_thread_ends_with_the_runs() -> None:
    """While nothing runs, the guard costs nothing; another run starts its thread again."""
    guard = LoopGuard(threshold=THRESHOLD)
    for _ in range(2):
        run(delayed(abs)(-1).compute(observers=[guard]))
        thread = guard._watchdog._thread
        if thread is not None:
            thread.join(NEVER)
        assert guard._watchdog._thread is None


def test_runs_whose_loop_was_closed_do_not_keep_its_thread() -> None:
    """Such runs never say that they are over."""
    guard = LoopGuard(threshold=THRESHOLD)
    loop = asyncio.new_event_loop()

    async def begin() -> None:
        start(delayed(asyncio.sleep)(NEVER), observers=[guard])

    loop.run_until_complete(begin())
    thread = guard._watchdog._thread
    assert thread is not None
    for aio_task in asyncio.all_tasks(loop):
        aio_task.get_coro().close()
    loop.close()
    thread.join(NEVER)
    assert not thread.is_alive()
    gc.collect()


def test_the_same_place_is_told_of_at_powers_of_ten(told: Told) -> None:
    """What happens again and again does not flood the log, and is counted."""
    guard = LoopGuard()
    told.about = "found_here"
    for _ in range(12):
        finding = found_here()
        guard._found(finding)
        guard._over(finding)
    assert [stall.times for stall in guard.stalls] == list(range(1, 13))
    assert len(told.lines) == 2
    assert "for the 10th time" in told.lines[1]


def test_so_many_stalls_are_kept() -> None:
    """A service runs for ever: the last ones are kept."""
    guard = LoopGuard()
    for _ in range(1001):
        guard._over(found_here())
    assert len(guard.stalls) == 1000
    assert guard.stalls[-1].times == 1001


def test_a_stall_says_all_in_a_line() -> None:
    """As text it is what the log shows, and how long it has taken."""
    guard = LoopGuard()
    guard._over(found_here())
    text = str(guard.stalls[0])
    assert text.startswith("found_here, which is no node, blocked the event loop for 0.50 s at ")
    assert "it waits" in text


def test_what_on_stall_raises_harms_nothing(told: Told) -> None:
    """It is logged."""

    def fail(stall: Stall) -> None:
        raise RuntimeError("no")

    told.about = "on_stall"
    guard = LoopGuard(on_stall=fail)
    guard._over(found_here())
    assert told.lines == ["on_stall of a LoopGuard failed"]
    assert len(guard.stalls) == 1


def found_here() -> Finding:
    """A stall of no node, as if the loop were in this function."""
    spots = calls_around(sys._getframe())[-1:]
    return Finding(None, None, spots, began=0.0, seconds=0.5, is_computing=False)


# -- what it is given


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"threshold": "1"}, TypeError, "threshold= takes a number of seconds, not '1'"),
        ({"threshold": True}, TypeError, "threshold= takes a number of seconds, not True"),
        ({"threshold": 0}, ValueError, "threshold= takes at least 0.005 seconds and no infinity, not 0"),
        (
            {"threshold": math.nan},
            ValueError,
            "threshold= takes at least 0.005 seconds and no infinity, not nan",
        ),
        ({"on_stall": 1}, TypeError, "on_stall= is called with each stall, and 1 cannot be called"),
    ],
)
def test_options_are_checked(options: dict[str, Any], error: type[Exception], message: str) -> None:
    """What cannot be is said at once."""
    with pytest.raises(error) as caught:
        LoopGuard(**options)
    assert str(caught.value) == message
