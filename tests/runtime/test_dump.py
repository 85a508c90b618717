"""`dump`: what is told of runs and of each kind of node, in each state."""

from __future__ import annotations

import asyncio
import functools
import gc
import io
import os
import re
import textwrap
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from asyncgraph import Retry, Run, Runtime, compute, delayed, dump, start
from asyncgraph._graph import node as nodes
from asyncgraph._runtime import (
    coroutines,
    description,
    processes,
    slices,
    stacks,
    straight,
    watched,
    window,
)
from asyncgraph._runtime.stacks import Stacks, place_of, suspended_in
from asyncgraph.executors.process import handle
from tests.reliability.harness import Witness, hold
from tests.runtime.background import begin
from tests.runtime.dumping import SECONDS, Gate, endless, going_on, is_told, read, tells
from tests.runtime.durations import long, short, tiny
from tests.runtime.turns import turns, until


@pytest.fixture(autouse=True)
def _numbers(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the numbers in keys begin with 1."""
    monkeypatch.setattr(nodes, "_counters", {})


@pytest.fixture
async def gate() -> Gate:
    """Closed; who uses it opens it in the end, with `going_on`."""
    return Gate()


@pytest.fixture
def witness(tmp_path: Path) -> Iterator[Witness]:
    """A pipe on which processes report."""
    witness = Witness(tmp_path / "witness")
    yield witness
    witness.close()


# -- what is running


async def test_a_coroutine() -> None:
    """It is shown at the line of the user's own code that is suspended, however deep that is called."""

    async def deeper() -> None:
        await asyncio.sleep(3600)

    async def fetch() -> None:
        await deeper()

    run = start(delayed(fetch)() + 1)
    async with going_on(run):
        await tells(run.dump, "suspended")
        is_told(
            run,
            """
            Run of add-1: running for … s; 2 nodes: 1 running, 1 waiting
              running:
                fetch-1: on the loop, suspended for … s
                  at 'await asyncio.sleep(3600)'
                  built at 'run = start(delayed(fetch)() + 1)'
              waiting:
                add-1: for fetch-1 (running)
            """,
        )


async def test_a_call_in_a_thread(gate: Gate) -> None:
    """It is shown at the line of the user's own code that its thread is at."""
    run = start(delayed(gate.blocked)())
    async with going_on(run, gate=gate):
        await gate.has_begun()
        is_told(
            run,
            """
            Run of blocked-1: running for … s; 1 node: 1 running
              running:
                blocked-1: in thread … for … s
                  at 'return bool(self._loop.call_soon_threadsafe(self._add)) and self._open.wait(SECONDS)'
                  built at 'run = start(delayed(gate.blocked)())'
            """,
        )


KNOWN_TO_BE = [pytest.param(kind, id=kind.__name__) for kind in (tiny, short, long)]


@pytest.mark.parametrize("kind", KNOWN_TO_BE)
@pytest.mark.parametrize("go", [begin, start])
async def test_calls_that_share_a_thread(gate: Gate, kind: Any, go: Any) -> None:
    """One that takes longer than expected is shown in its thread, and what waits behind it as not begun."""
    blocked = kind(delayed(gate.blocked, executor="thread", name="blocked"))
    async with Runtime(threads=1) as runtime:
        run = go([blocked(number) for number in range(3)], runtime=runtime)
        async with going_on(run, gate=gate):
            await gate.has_begun()
            told = read(run.dump)
            assert told.count("in thread …") == 1
            assert re.search(r"(?m)^    blocked-\d: in thread … for … s\n      at 'return bool", told)
            assert "  waiting:" in told or "  ready:" in told or "  handed over:" in told


async def test_a_call_in_a_worker_process(witness: Witness) -> None:
    """It is shown with the worker that has it."""
    run = start(delayed(hold, executor="process")(witness.path))
    async with going_on(run):
        pid = await witness.next_pid()
        await tells(run.dump, "in worker process")
        is_told(
            run,
            """
            Run of hold-1: running for … s; 1 node: 1 running
              running:
                hold-1: in worker process … for … s
                  built at 'run = start(delayed(hold, executor="process")(witness.path))'
            """,
        )
        file = io.StringIO()
        run.dump(file=file)
        assert f"in worker process {pid} for" in file.getvalue()


async def test_a_call_whose_worker_is_starting() -> None:
    """It is not said to run before its worker does."""
    async with Runtime(processes=1) as runtime:
        run = start([delayed(os.getpid, executor="process")() for _ in range(3)], runtime=runtime)
        async with going_on(run):
            await tells(run.dump, "handed over")
            told = read(run.dump)
            assert "  running:" not in told
            assert re.search(
                r"(?m)^    getpid-1: (in line at worker process …, which is starting|for a worker)", told
            )
            assert "getpid-3" in told
            await run
            is_told(run, "Run: over after … s; 3 nodes: 3 finished\n")


async def test_calls_behind_another_in_a_worker(witness: Witness) -> None:
    """What a worker has beside the call that it is at has not begun."""
    held = delayed(hold, executor="process")
    held.function.durations.add(0.01, 1000)  # so short that several go together
    async with Runtime(processes=1) as runtime:
        run = start([held(witness.path) for _ in range(3)], runtime=runtime)
        async with going_on(run):
            await witness.next_pid()
            await tells(run.dump, "in worker process")
            told = read(run.dump)
            assert told.count("in worker process … for") == 1
            assert len(re.findall(r"(?m)^    hold-\d: (?:in line at|for a) worker process", told)) == 2


class Clock:
    """Stands in for the module `time`.

    Attributes:
        now: What the clocks show.
    """

    def __init__(self) -> None:
        self.now = 100.0

    def monotonic(self) -> float:
        """What it shows."""
        return self.now

    perf_counter = monotonic


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """The clock by which ages are known."""
    clock = Clock()
    for module in (coroutines, handle, processes, straight, watched, window):
        monkeypatch.setattr(module, "time", clock)
    return clock


@pytest.mark.parametrize("go", [begin, start])
@pytest.mark.parametrize("options", [{}, {"timeout": 3600}])
async def test_the_age_of_a_coroutine(clock: Clock, go: Any, options: dict[str, Any]) -> None:
    """It counts from when the coroutine has begun, on the straight way and in the scheduler."""

    async def twice() -> None:
        await begun.wait()
        await endless()

    begun = asyncio.Event()
    run = go([delayed(twice, **options)()])
    async with going_on(run):
        await tells(run.dump, "suspended")
        clock.now += 2
        begun.set()
        await tells(run.dump, "suspended")
        clock.now += 5.25
        file = io.StringIO()
        run.dump(file=file)
        assert "twice-1: on the loop, suspended for 7.25 s\n" in file.getvalue()


@pytest.mark.parametrize("go", [begin, start])
async def test_the_age_of_a_coroutine_after_another(clock: Clock, go: Any) -> None:
    """It does not count what the same task has done before."""

    async def first() -> None:
        await begun.wait()

    begun = asyncio.Event()
    run = go(delayed(endless)(delayed(first)()))
    async with going_on(run):
        await tells(run.dump, "first-1: on the loop, suspended")
        clock.now += 2
        begun.set()
        await tells(run.dump, "endless-1: on the loop, suspended")
        clock.now += 5.25
        file = io.StringIO()
        run.dump(file=file)
        assert "endless-1: on the loop, suspended for 5.25 s\n" in file.getvalue()


@pytest.mark.parametrize("kind", [*KNOWN_TO_BE, "timed"])
@pytest.mark.parametrize("go", [begin, start])
async def test_the_age_of_a_call_in_a_thread(clock: Clock, gate: Gate, kind: Any, go: Any) -> None:
    """It counts from when the thread has begun it."""
    function = delayed(gate.blocked, executor="thread", name="blocked")
    run = go([function.options(timeout=3600)() if kind == "timed" else kind(function)()])
    async with going_on(run, gate=gate):
        await gate.has_begun()
        clock.now += 7.25
        file = io.StringIO()
        run.dump(file=file)
        assert re.search(r"blocked-1: in thread asyncgraph-\d+ for 7.25 s\n", file.getvalue())


async def test_a_chain_in_a_worker(clock: Clock, tmp_path: Path) -> None:
    """Of calls that one worker does one after another it is told which it is at, and since when."""
    path = str(tmp_path / "pipe")
    os.mkfifo(path)
    opened = delayed(os.open, executor="process")(path, os.O_RDONLY)  # ends when somebody writes to it
    run = begin(delayed(os.read, executor="process", timeout=3600)(opened, 1))
    async with going_on(run):
        await tells(run.dump, "in worker process")
        assert "    open-1: in worker process …, or at what follows it there, for … s\n" in read(run.dump)
        clock.now += 100
        written = await asyncio.to_thread(os.open, path, os.O_WRONLY)
        await tells(run.dump, "read-1: in worker process")
        clock.now += 7.25
        told = io.StringIO()
        run.dump(file=told)
        os.close(written)
        assert re.search(r"    read-1: in worker process \d+ for 7.25 s\n", told.getvalue())
        assert "2 nodes: 1 running, 1 finished" in told.getvalue()


@pytest.mark.parametrize(("go", "since"), [(begin, " for … s"), (start, "")])
async def test_a_plain_function_that_the_loop_is_in(go: Any, since: str) -> None:
    """It is shown at the line that it is at; on the straight way it is known since when."""
    told: list[str] = []
    box: list[Run[Any]] = []

    def look() -> None:
        told.append(read(box[0].dump))

    box.append(go(delayed(look, executor="loop")()))
    await box[0]
    assert told == [
        textwrap.dedent(f"""\
            Run of look-1: running for … s; 1 node: 1 running
              running:
                look-1: on the loop, running{since}
                  at 'look(file=file)'
                  built at 'box.append(go(delayed(look, executor="loop")()))'
            """)
    ]


async def test_a_coroutine_that_looks_at_its_own_run() -> None:
    """It is shown as running, and not as suspended."""
    told: list[str] = []
    box: list[Run[Any]] = []

    async def look() -> None:
        await asyncio.sleep(0)
        told.append(read(box[0].dump))

    box.append(start(delayed(look)()))
    await box[0]
    assert "look-1: on the loop, running for … s\n      at 'look(file=file)'" in told[0]


async def test_functions_of_libraries() -> None:
    """A call of theirs is shown at the line of the function that is the node."""
    event = threading.Event()
    run = start([delayed(asyncio.sleep)(3600), delayed(event.wait)(SECONDS)])
    async with going_on(run):
        await tells(run.dump, "in thread")
        await tells(run.dump, "2 nodes: 2 running")
        file = io.StringIO()
        run.dump(file=file)
        event.set()
        assert re.search(r"at .*asyncio/tasks.py:\d+, in sleep$", file.getvalue(), re.MULTILINE)
        assert re.search(r"at .*threading.py:\d+, in Event.wait$", file.getvalue(), re.MULTILINE)


async def test_a_function_in_c_has_no_line() -> None:
    """Nothing is known of where it is but the thread."""
    lock = threading.Lock()
    lock.acquire()
    run = start(delayed(lock.acquire, executor="thread")())
    async with going_on(run):
        await tells(run.dump, "in thread")
        told = read(run.dump)
        lock.release()
        assert "thread … for … s\n      built at" in told


async def test_generators_are_followed() -> None:
    """A coroutine that awaits by way of generators is shown at the innermost line of the user's."""

    class Pause:
        def __await__(self) -> Any:
            yield from asyncio.sleep(3600).__await__()

    async def items() -> Any:
        await asyncio.sleep(3600)
        yield 1

    async def over_items() -> None:
        async for _ in items():
            pass

    async def pause() -> None:
        await Pause()

    run = start([delayed(pause)(), delayed(over_items)()])
    async with going_on(run):
        await tells(run.dump, "2 nodes: 2 running")
        told = read(run.dump)
        assert "at 'yield from asyncio.sleep(3600).__await__()'" in told
        # Python does not tell what an asynchronous generator is in.
        assert "at 'async for _ in items():'" in told


def test_what_is_deep_is_followed_so_far(monkeypatch: pytest.MonkeyPatch) -> None:
    """A coroutine may await another, which awaits another, and so on."""

    async def deeper(depth: int) -> None:
        await (deeper(depth - 1) if depth else endless())

    async def main() -> None:
        task = asyncio.ensure_future(deeper(50))
        await asyncio.sleep(0)
        assert len(suspended_in(task.get_coro())) == 52
        monkeypatch.setattr(stacks, "_DEEPEST", 10)
        assert len(suspended_in(task.get_coro())) == 10
        task.cancel()

    asyncio.run(main())


def test_a_coroutine_that_has_ended_is_nowhere() -> None:
    """As one that has not begun, or is no coroutine."""
    coroutine = endless()
    assert [spot.code.co_name for spot in suspended_in(coroutine)] == ["endless"]
    coroutine.close()
    assert suspended_in(coroutine) == []
    assert suspended_in(None) == []
    assert place_of([]) is None
    assert Stacks().inside_of(threading.get_ident(), endless.__code__) == []
    assert Stacks().inside_of_ours(None) == []


async def test_nodes_at_the_same_line_are_shown_together() -> None:
    """Of many the first keys are shown, the longest-running one first, and how many there are."""
    wait = delayed(endless, name="wait")
    same = [wait(number) for number in range(8)]
    other = delayed(asyncio.sleep)(3600)
    run = start([*same, other])
    async with going_on(run):
        await tells(run.dump, "9 nodes: 9 running")
        told = read(run.dump)
        # What is behind it there is of the standard library.
        told = re.sub(r"(sleep-1: .*\n      at) .*", r"\1 …", told)
        assert told == textwrap.dedent("""\
            Run of wait-1 and 8 more: running for … s; 9 nodes: 9 running
              running:
                wait-1, wait-2, wait-3, wait-4, wait-5 and 3 more: on the loop, suspended for … s
                  at 'await asyncio.get_running_loop().create_future()'
                  built at 'same = [wait(number) for number in range(8)]'
                sleep-1: on the loop, suspended for … s
                  at …
                  built at 'other = delayed(asyncio.sleep)(3600)'
            """)


async def test_long_lists_are_cut(monkeypatch: pytest.MonkeyPatch) -> None:
    """The longest-running ones are shown, and how many there are beside them."""
    functions = [delayed(functools.partial(endless), name=f"f{number}") for number in range(15)]
    # Each built at a line of its own, so that none is like another.
    run = start(
        [eval("\n" * number + "function()", {"function": each}) for number, each in enumerate(functions)]
    )
    async with going_on(run):
        await tells(run.dump, "15 nodes: 15 running")
        told = read(run.dump)
        assert re.findall(r"(?m)^    (f\d+)-1: on the loop", told) == [f"f{number}" for number in range(10)]
        assert told.endswith("    ... and 5 more\n")
        monkeypatch.setattr(description, "_MOST_LOCATED", 3)
        told = read(run.dump)
        assert re.findall(r"(?m)^    (f\d+)-1: on the loop", told) == ["f0", "f1", "f2"]
        assert told.endswith("    ... and 12 more\n")


async def test_the_attempt(gate: Gate) -> None:
    """From the second one on it is told which attempt is running."""
    first = iter([True])

    async def fetch() -> None:
        if next(first, False):
            raise ConnectionError("busy")
        await endless()

    run = start(delayed(fetch, retries=Retry(attempts=2, backoff=0.0))())
    async with going_on(run, gate=gate):
        await tells(run.dump, "attempt 2")
        assert "    fetch-1: on the loop, suspended for … s, attempt 2\n" in read(run.dump)


async def test_between_attempts() -> None:
    """It is told when the next attempt is, which one, and why."""

    @delayed(retries=Retry(attempts=4, backoff=3600))
    async def fetch() -> None:
        raise ConnectionError("busy")

    run = start(fetch() + 1)
    async with going_on(run):
        await tells(run.dump, "between")
        is_told(
            run,
            """
            Run of add-1: running for … s; 2 nodes: 2 waiting
              between attempts:
                fetch-1: attempt 2 of 4 in … s, after ConnectionError: busy
              waiting:
                add-1: for fetch-1 (between attempts)
            """,
        )


async def test_a_thread_that_was_told_to_stop(gate: Gate) -> None:
    """A call whose time is up, and which goes on, is said to have been told."""
    run = start(delayed(gate.blocked, executor="thread", timeout=0.001)())
    async with going_on(run, gate=gate):
        await gate.has_begun()
        await tells(run.dump, "told to stop")
        assert "    blocked-1: in thread …, told to stop for … s\n" in read(run.dump)


# -- what is not


async def test_waiting_for_slots(gate: Gate) -> None:
    """Of those that are ready it is told which slots they wait for, and how many of these others have."""
    async with Runtime(threads=2, concurrency=1) as runtime:
        blocked = long(delayed(gate.blocked, executor="thread", name="blocked"))
        first = start([blocked()], runtime=runtime)
        second = start(
            [*(blocked(number) for number in range(3)), delayed(endless)(1), delayed(endless)(2)],
            runtime=runtime,
        )
        async with going_on(first, second, gate=gate):
            await gate.has_begun(2)
            await tells(second.dump, "endless-2: for a coroutine slot, 1 of 1 slots")
            assert read(second.dump).partition("  ready:\n")[2].splitlines() == [
                "    blocked-2, blocked-3: for a thread, 2 of 2 slots in use, 1 by others",
                "    endless-2: for a coroutine slot, 1 of 1 slots in use",
            ]


async def test_what_is_nearest_to_running_is_shown_first(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of those that wait, the ones behind running nodes; of what each waits for, that which runs."""
    slow = delayed(endless)()
    quick = [delayed(endless, name="other")(slow) for _ in range(20)]
    chain = slow
    for _ in range(30):
        chain = chain + 1
    run = start(delayed(list)([chain, *quick, slow]))
    async with going_on(run):
        await tells(run.dump, "1 running, 51 waiting")
        told = read(run.dump)
        waiting = told.partition("  waiting:\n")[2].splitlines()
        assert waiting[0] == "    other-1: for endless-1 (running)"
        assert len(waiting) == 11
        assert waiting[-1] == "    ... and 41 more"
        assert "add-1" not in told  # it goes later, since a chain behind it has to go on
        monkeypatch.setattr(description, "_MANY", 3)  # of a million nodes not all are looked at
        told = read(run.dump)
        assert "    other-1: for endless-1 (running)" in told
        assert told.endswith(" more\n")


async def test_many_needs_are_cut() -> None:
    """Of a hundred that a node waits for, some are shown."""
    run = start(delayed(sum)([delayed(endless)(number) for number in range(100)]))
    async with going_on(run):
        await tells(run.dump, "100 running, 1 waiting")
        waiting = read(run.dump).partition("  waiting:\n")[2]
        assert re.fullmatch(
            r"    sum-1: for (endless-\d+ \(running\), ){4}endless-\d+ \(running\) and 95 more\n", waiting
        )


async def test_a_function_that_has_returned_a_node() -> None:
    """It is said to wait for what it has returned."""
    inner = delayed(endless, name="inner")()
    run = start(delayed(lambda: inner, executor="loop", name="outer")())
    async with going_on(run):
        await tells(run.dump, "inner-1 (running)")
        assert "    outer-1: for what it has returned, inner-1 (running)\n" in read(run.dump)


async def test_producers_that_are_held_back(gate: Gate) -> None:
    """Tasks that only produce, and wait because what they feed does, are said to be held back."""
    async with Runtime(concurrency=3, threads=1) as runtime:
        consume = long(delayed(gate.blocked, executor="thread", name="consume"))
        produce = delayed(lambda number: number, name="produce")

        async def produced(number: int) -> int:
            return number

        produce = delayed(produced, name="produce")
        run = start([consume(produce(number)) for number in range(50)], runtime=runtime)
        async with going_on(run, gate=gate):
            await gate.has_begun()
            await tells(run.dump, "; held back while")
            assert re.search(
                r"(?m)^    produce-\d+.*: for a coroutine slot, \d of 3 slots in use; held back while what",
                read(run.dump),
            )


# -- the states of a run


def behind(node: Any) -> Any:
    """A plain function on the loop, behind another, behind a node."""
    middle = delayed(lambda x: x, executor="loop", name="middle")(node)
    return delayed(lambda x: x, executor="loop", name="outer")(middle)


async def test_the_straight_way() -> None:
    """Without a scheduler, too, it is told what runs, and what comes next."""
    outer = delayed(lambda x: x, executor="loop", name="outer")
    run = begin(outer(delayed(endless)()))
    async with going_on(run):
        await tells(run.dump, "suspended")
        assert not run._execution.is_scheduled
        is_told(
            run,
            """
            Run of outer-1: running for … s; 2 nodes: 1 running, 1 waiting
              running:
                endless-1: on the loop, suspended for … s
                  at 'await asyncio.get_running_loop().create_future()'
                  built at 'run = begin(outer(delayed(endless)()))'
              waiting:
                outer-1: for endless-1
            """,
        )


@pytest.fixture
def planned_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """However slow the machine is, a small graph takes less than a slice."""
    monkeypatch.setattr(slices, "SLICE", 3600)


async def test_before_anything_has_begun(planned_at_once: None) -> None:
    """A run that has just been begun is told of as well."""
    run = begin(behind(delayed(endless)()))
    async with going_on(run):
        is_told(
            run,
            """
            Run of outer-1: running for … s; 3 nodes: 3 waiting
              waiting:
                endless-1: for its turn
                middle-1: for endless-1
                outer-1: for middle-1
            """,
        )


async def test_the_next_ones_on_the_straight_way(planned_at_once: None) -> None:
    """Those that wait for nothing are said to wait for their turn."""
    run = begin([delayed(endless)(number) for number in range(20)])
    async with going_on(run):
        told = read(run.dump)
        assert told.startswith("Run of endless-1 and 19 more: running for … s; 20 nodes: 20 waiting\n")
        assert "    endless-2: for its turn\n" in told
        assert told.endswith("    ... and 10 more\n")


@pytest.mark.parametrize("go", [begin, start])
async def test_while_it_is_planned(monkeypatch: pytest.MonkeyPatch, go: Any) -> None:
    """A large graph is planned in pieces; a run says so."""
    monkeypatch.setattr(slices, "SLICE", 0)
    inc = delayed(lambda x: x + 1, executor="loop", name="inc")
    node = inc(0)
    for _ in range(3000):
        node = inc(node)
    run = go(node)
    told = [read(run.dump)]
    while not run.done():
        await asyncio.sleep(0)
        told.append(read(run.dump))
    assert await run == 3001
    assert told[0] == "Run of inc-1: running for … s; 1 node: 1 waiting\n  the rest is being planned\n"
    assert len(set(told)) > 5


@pytest.mark.parametrize("go", [begin, start])
async def test_stopping(go: Any) -> None:
    """A run that is being stopped says why, and what it still waits for."""
    let_end = asyncio.Event()

    async def clean_up() -> None:
        try:
            await endless()
        finally:
            await let_end.wait()

    async def fail() -> None:
        await asyncio.sleep(0)
        raise KeyError

    run = go([delayed(clean_up)(), delayed(fail)()])
    run.add_done_callback(lambda run: run._over.exception())
    await tells(run.dump, "at 'await let_end.wait()'")
    is_told(
        run,
        """
        Run of clean_up-1 and 1 more: stopping because of KeyError after … s; 2 nodes: 1 running, 1 failed
          running:
            clean_up-1: on the loop, suspended for … s
              at 'await let_end.wait()'
              built at 'run = go([delayed(clean_up)(), delayed(fail)()])'
        """,
    )
    let_end.set()
    await until(run.done)
    assert "over after … s; 2 nodes: 1 failed, 1 cancelled\n" in read(run.dump)


async def test_stopping_on_the_straight_way() -> None:
    """What was to come next is not told of any more."""

    async def clean_up() -> None:
        try:
            await endless()
        finally:
            await let_end.wait()

    let_end = asyncio.Event()
    run = begin([delayed(clean_up)(), *(delayed(endless)(number) for number in range(20))])
    await tells(run.dump, "clean_up-1: on the loop, suspended")
    run.cancel()
    await tells(run.dump, "at 'await let_end.wait()'")
    assert not run._execution.is_scheduled
    told = read(run.dump)
    assert told.startswith("Run of clean_up-1 and 20 more: stopping because of CancelledError after … s; ")
    assert "clean_up-1" in told
    assert "waiting:" not in told
    let_end.set()
    await until(run.done)


@pytest.mark.parametrize("go", [begin, start])
async def test_over(go: Any) -> None:
    """Of a run that is over the first line remains; to ask does not count as collecting its failure."""
    complaints: list[Any] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: complaints.append(context))
    finished, failed = go(delayed(abs)(-1)), go(delayed(divmod, executor="loop")(1, 0))
    cancelled = go(delayed(endless)())
    await until(failed.done)
    await finished
    cancelled.cancel()
    await until(cancelled.done)
    is_told(finished, "Run: over after … s; 1 node: 1 finished\n")
    told = read(failed.dump)
    assert told.endswith(": over after … s; 1 node: 1 failed\n")
    assert "1 node: 1 cancelled\n" in read(cancelled.dump)
    del failed
    await turns(2)
    gc.collect()
    assert len(complaints) == 1


def test_a_loop_that_was_closed() -> None:
    """A run whose loop was closed under it says so, and `dump` knows of it no more."""
    loop = asyncio.new_event_loop()

    async def begin_it() -> Run[Any]:
        run = start(delayed(endless)())
        await turns(3)
        return run

    run = loop.run_until_complete(begin_it())
    run._execution.parts.coroutines.silence()
    loop.close()
    assert read(run.dump).startswith(
        "Run of endless-1: left behind by its loop, which is closed, since … s; "
    )


# -- all runs


async def test_all_runs() -> None:
    """Those that `compute` and `await` have begun are among them, oldest first; not those that are over."""
    await delayed(abs, executor="loop")(1)
    assert read(dump) == "asyncgraph in process …: 0 runs\n"
    run = start(delayed(endless, name="first")())
    await turns(1)
    tasks = [asyncio.ensure_future(compute(delayed(endless, name="second")()))]
    await turns(1)

    async def await_it() -> None:
        await delayed(endless, name="third")()

    tasks.append(asyncio.ensure_future(await_it()))
    async with going_on(run):
        await tells(dump, "…: 3 runs")
        told = read(dump)
        assert told.startswith("asyncgraph in process …: 3 runs\nRun of first-1: running")
        assert re.findall(r"(?m)^Run of (\w+)-1", told) == ["first", "second", "third"]
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)
        assert read(dump).startswith("asyncgraph in process …: 1 run\nRun of first-1")


async def test_a_run_inside_a_node() -> None:
    """It is told of by itself; the node outside is at the line where it waits for it."""

    async def outside() -> None:
        await compute(delayed(endless, name="inside")())

    run = start(delayed(outside)())
    async with going_on(run):
        await tells(dump, "inside-1: on the loop")
        told = read(dump)
        assert "Run of outside-1: running for" in told
        assert "      at 'await compute(delayed(endless, name=\"inside\")())'" in told
        assert "Run of inside-1 inside a node of another run: running for" in told
        assert "    inside-1: on the loop, suspended for" in told


async def test_a_run_inside_a_thread() -> None:
    """A call in a thread is told of where its own code waits for the loop that it has begun."""

    def outside() -> None:
        asyncio.run(endless_inside())

    async def endless_inside() -> None:
        await compute(delayed(endless, name="inside")())

    run = start(delayed(outside)())
    async with going_on(run):
        await tells(dump, "inside-1: on the loop")
        told = read(dump)
        assert re.search(
            r"outside-1: in thread … for … s\n      at 'asyncio.run\(endless_inside\(\)\)'", told
        )
        assert "Run of inside-1 inside a node of another run: running for" in told
