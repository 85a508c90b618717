"""Several calls in one worker: what becomes of each when one of them crashes, is cancelled, or takes long."""

from __future__ import annotations

import asyncio
import collections
import os
import signal
import sys
import types

import pytest

from asyncgraph.errors import NodeTimeoutError, WorkerCrashedError, WorkerStartError
from asyncgraph.executors.process import crew, handle
from tests.executors.process import remote
from tests.executors.process.harness import gone, only_pipes


def noted(path):
    """How often each call has begun."""
    return collections.Counter(map(int, path.read_text().split()))


@pytest.fixture
def notes(tmp_path):
    """A file in which calls note that they have begun."""
    return tmp_path / "notes"


@pytest.mark.parametrize("slots", [1, 2])
@pytest.mark.parametrize("crash", [0, 17, 49])
async def test_a_crash_in_a_batch_costs_one_call(make_pool, notes, slots, crash):
    """What was finished counts, who crashed is to blame, and no other runs more or less than once."""
    pool = make_pool(slots)
    batch = pool.batch(remote.note_and_crash, [(str(notes), number, crash) for number in range(50)])
    outcomes = await batch.outcome()
    assert isinstance(outcomes[crash], WorkerCrashedError)
    assert f"call[{crash}]" in str(outcomes[crash])
    assert [each for each in outcomes if each is not outcomes[crash]] == [n for n in range(50) if n != crash]
    assert noted(notes) == dict.fromkeys(range(50), 1)


async def test_a_call_that_has_not_begun_is_cancelled_without_a_kill(make_pool, notes, fifo):
    """A batch that waits behind another run's call is taken out; that call goes on."""
    pool = make_pool(slots=1)
    running = pool.batch(remote.hold, [(fifo.path,)])
    waiting = pool.batch(remote.note, [(str(notes), number) for number in range(20)])
    pid = await fifo.pid()
    pool.cancel(waiting)
    assert {type(each) for each in await waiting.outcome()} == {asyncio.CancelledError}
    os.kill(pid, 0)
    pool.cancel(running)
    assert isinstance(*await running.outcome(), asyncio.CancelledError)
    assert await gone(pid)
    assert not notes.exists()


async def test_mates_of_a_cancelled_call_run_elsewhere(make_pool, notes, fifo):
    """Who is killed with a worker that another run's call was in is not known there."""
    pool = make_pool(slots=1)
    running = pool.batch(remote.hold, [(fifo.path,)])
    mates = pool.batch(remote.note, [(str(notes), number) for number in range(20)])
    await fifo.pid()
    pool.cancel(running)
    assert await mates.outcome() == list(range(20))
    assert noted(notes) == dict.fromkeys(range(20), 1)
    await running.outcome()


async def test_what_was_finished_before_a_cancel_counts(make_pool, notes, fifo):
    """Of a batch that is cancelled, calls that are over have their values."""
    pool = make_pool(slots=1)
    calls = [(str(notes), number, fifo.path if number == 5 else None) for number in range(10)]
    batch = pool.batch(remote.note_and_hold, calls)
    await fifo.pid()
    pool.cancel(batch)
    outcomes = await batch.outcome()
    assert outcomes[:5] == [0, 1, 2, 3, 4]
    assert {type(each) for each in outcomes[5:]} == {asyncio.CancelledError}
    assert noted(notes) == dict.fromkeys(range(6), 1)


async def test_nothing_waits_behind_a_call_that_turns_out_slow(make_pool, notes, tmp_path):
    """Short calls that were given together with one that is not are taken back, and run elsewhere."""
    gate = tmp_path / "gate"
    os.mkfifo(gate)
    pool = make_pool(slots=2)
    calls = [(str(notes), number, str(gate) if number == 0 else None) for number in range(20)]
    batch = pool.batch(remote.note_and_wait, calls)
    assert await batch.outcome(*range(1, 20)) == list(range(1, 20))
    assert 0 not in batch.deliveries
    await asyncio.to_thread(gate.write_text, "done")
    assert await batch.outcome(0) == ["done"]
    assert noted(notes) == dict.fromkeys(range(20), 1)


async def test_a_worker_that_dies_between_calls_costs_nothing(make_pool, notes):
    """Workers are killed from outside while batches run: everything that was not running runs once."""
    pool = make_pool(slots=2)
    batch = pool.batch(remote.note, [(str(notes), number) for number in range(500)])
    await batch.outcome(0)
    for worker in pool.executor._crew.workers:
        os.kill(worker.process.pid, signal.SIGKILL)
    outcomes = await batch.outcome()
    crashed = [number for number, each in enumerate(outcomes) if isinstance(each, WorkerCrashedError)]
    assert len(crashed) <= 2
    assert [each for each in outcomes if isinstance(each, int)] == [n for n in range(500) if n not in crashed]
    assert max(noted(notes).values()) == 1


# --- time -----------------------------------------------------------------------------------------


async def test_a_call_that_takes_too_long_is_killed_with_what_it_has_started(pool, fifo):
    """NodeTimeoutError names the node and its timeout; the next call is not harmed."""
    call = pool.start_with({"timeout": 1.0}, remote.hold_with_child, fifo.path)
    child = await fifo.pid()
    error = await call.error()
    assert isinstance(error, NodeTimeoutError)
    assert "hold_with_child-key" in str(error)
    assert "1 s" in str(error)
    assert await gone(child)
    assert await pool.value(remote.add, 1, 1) == 2


async def test_a_call_in_time_is_not_killed(pool):
    """The worker of a call with a timeout serves the next one when the time would have been up."""
    pids = [await pool.start_with({"timeout": 30.0}, remote.pid).value() for _ in range(3)]
    assert len(set(pids)) == 1


async def test_a_stopped_worker_is_killed_when_the_time_is_up(pool, fifo):
    """A worker that is alive but silent is ended by the timeout."""
    call = pool.start_with({"timeout": 1.0}, remote.hold, fifo.path)
    os.kill(await fifo.pid(), signal.SIGSTOP)
    assert isinstance(await call.error(), NodeTimeoutError)


# --- crashes --------------------------------------------------------------------------------------


async def test_a_call_may_begin_again_after_a_crash(pool, notes):
    """Each attempt has a worker of its own, and the last one's value counts."""
    pids = await pool.start_with({"crash_retries": 2}, remote.crash_until, str(notes), 3).value()
    assert len(set(pids)) == 3


async def test_a_call_that_crashes_too_often_is_given_up(pool, notes):
    """The error says how often it was tried."""
    error = await pool.start_with({"crash_retries": 2}, remote.crash_until, str(notes), 10).error()
    assert isinstance(error, WorkerCrashedError)
    assert error.attempts == 3
    assert not error.oom_suspected
    assert len(notes.read_text().split()) == 3


async def test_what_a_worker_reports_of_its_crash_is_told(pool):
    """A segmentation fault comes with the stack of the call."""
    error = await pool.error(remote.segfault)
    assert error.signal == signal.SIGSEGV
    assert "in segfault" in error.stderr_tail
    assert "in segfault" in str(error)


@pytest.mark.parametrize(("number", "suspected"), [(signal.SIGKILL, True), (signal.SIGTERM, False)])
async def test_a_kill_from_outside_may_be_for_want_of_memory(pool, number, suspected):
    """SIGKILL that was not ours is suspected to be the system's."""
    error = await pool.error(remote.kill_itself, number)
    assert error.oom_suspected is suspected
    assert error.attempts == 1


# --- which worker ---------------------------------------------------------------------------------


async def test_an_isolated_call_has_a_worker_of_its_own(make_pool):
    """Nothing has run in it before, and nothing does after."""
    pool = make_pool(slots=1)
    before = await pool.value(remote.pid)
    alone = [pool.start_with({"is_isolated": True}, remote.pid) for _ in range(2)]
    pids = [before, *[await call.value() for call in alone], await pool.value(remote.pid)]
    assert len(set(pids)) == 4


async def test_workers_are_replaced_after_so_many_calls(make_pool):
    """No worker runs more calls than it may, and no call is lost over it."""
    pool = make_pool(slots=2, max_tasks=3)
    pids = collections.Counter(await pool.batch(remote.pid, [()] * 30).outcome())
    assert pids.total() == 30
    assert max(pids.values()) <= 3


async def test_a_worker_with_too_much_memory_is_replaced(make_pool):
    """After a call its memory is looked at."""
    pool = make_pool(slots=1, max_memory=1)
    assert len({await pool.value(remote.pid) for _ in range(3)}) == 3
    pool = make_pool(slots=1, max_memory=1 << 40)
    assert len({await pool.value(remote.pid) for _ in range(3)}) == 1


async def test_a_worker_with_nothing_to_do_leaves(pool, monkeypatch):
    """After a while; another is started when there is something to do."""
    monkeypatch.setattr(crew, "_IDLE_TIME", 0.05)
    pid = await pool.value(remote.pid)
    assert await gone(pid)
    assert await pool.value(remote.add, 1, 1) == 2


async def test_why_no_worker_starts_is_told(pool, monkeypatch, tmp_path):
    """What the interpreter has written on standard error is in the message."""
    script = tmp_path / "python"
    script.write_text("#!/bin/sh\necho 'a library is missing' >&2\nexit 3\n")
    script.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(script))
    error = await pool.error(remote.add, 1, 1)
    assert isinstance(error, WorkerStartError)
    assert "3 in a row" in str(error)
    assert "a library is missing" in str(error)
    assert error.stderr_tail == "a library is missing"


# --- chains ---------------------------------------------------------------------------------------


async def test_a_chain_stays_in_one_worker(pool):
    """Each step gets the value of the one before; all but the last are passed by."""
    steps = [(remote.with_pid, None)] * 3
    chain = pool.batch(remote.echo, [((),)], steps=steps)
    ((*pids,),) = await chain.outcome()
    assert len(pids) == 3
    assert len(set(pids)) == 1
    assert chain.passes == [0, 1, 2]


async def test_a_step_that_fails_is_named(pool):
    """The key in the error is that of the step, and those after it do not run."""
    chain = pool.batch(remote.echo, [(1,)], steps=[(remote.double, None), (remote.segfault, None)])
    (error,) = await chain.outcome()
    assert isinstance(error, WorkerCrashedError)
    assert "call[0]+2" in str(error)
    assert chain.passes == [0, 1]
    chain = pool.batch(remote.echo, [(1,)], steps=[(remote.fail_with, None), (remote.double, None)])
    (error,) = await chain.outcome()
    assert isinstance(error, ValueError)
    assert chain.passes == [0]


async def test_a_step_that_takes_too_long_is_killed(pool, fifo):
    """Its time is watched from its beginning, though the step before it took none to speak of."""
    for _ in range(3):
        chain = pool.batch(remote.echo, [(fifo.path,)], steps=[(remote.hold_after, 0.5)])
        await fifo.pid()
        (error,) = await chain.outcome()
        assert isinstance(error, NodeTimeoutError)
        assert "call[0]+1" in str(error)
        assert chain.passes == [0]


# --- functions ------------------------------------------------------------------------------------


@pytest.fixture
def sent(monkeypatch):
    """The functions that are sent to workers."""
    functions = []
    frame_of = handle.frame_of

    def watched(head, *parts):
        functions.extend(data for _, data in head[2])
        return frame_of(head, *parts)

    monkeypatch.setattr(handle, "frame_of", watched)
    return functions


async def test_a_function_goes_to_a_worker_once(make_pool, sent):
    """However many calls of it follow, in however many batches."""
    pool = make_pool(slots=1)
    for _ in range(3):
        await pool.batch(remote.echo, [(1,)] * 10).outcome()
    await pool.value(remote.echo, [1])
    assert len(sent) == 1


async def test_a_function_that_has_changed_goes_again(make_pool, sent):
    """What goes by value is taken down anew, with the globals that it uses."""
    pool = make_pool(slots=1)
    scope = {"__name__": "__main__", "factor": 2}
    exec("def scale(value):\n    return factor * value", scope)
    assert await pool.batch(scope["scale"], [(10,)]).outcome() == [20]
    assert await pool.batch(scope["scale"], [(10,)]).outcome() == [20]
    scope["factor"] = 3
    assert await pool.batch(scope["scale"], [(10,)]).outcome() == [30]
    assert len(sent) == 2


async def test_functions_that_a_worker_has_forgotten_are_sent_again(make_pool, sent, monkeypatch):
    """Long-known functions make room for others."""
    monkeypatch.setattr(handle, "_FUNCTIONS", 2)
    pool = make_pool(slots=1)
    for _ in range(2):
        for function in (remote.echo, remote.double, remote.with_pid):
            await pool.batch(function, [([],)]).outcome()
    assert len(sent) == 6


@pytest.fixture
def only_here(monkeypatch):
    """A module that workers cannot import, as those of pytest's import mode "importlib"."""
    module = types.ModuleType("only_in_the_parent")
    source = (
        "class Point:\n    def __init__(self, x):\n        self.x = x\n"
        "def x_of(point):\n    return point.x\n"
        "def shift(number):\n    return number + OFFSET\nOFFSET = 5"
    )
    exec(source, module.__dict__)
    monkeypatch.setitem(sys.modules, module.__name__, module)
    return module


async def test_a_module_that_only_the_parent_has_is_sent_by_value(make_pool, only_here):
    """Functions and arguments of such a module arrive at the second attempt, plain ones and others."""
    pool = make_pool(slots=1)
    assert await pool.batch(only_here.shift, [(number,) for number in range(10)]).outcome() == list(
        range(5, 15)
    )
    assert await pool.value(only_here.x_of, only_here.Point(7)) == 7
    assert await pool.value(only_here.x_of, only_here.Point(b"x" * 1_000_000)) == b"x" * 1_000_000


@only_pipes
async def test_frames_that_no_pipe_holds_arrive(make_pool):
    """Arguments and results of some hundred KB go in band."""
    pool = make_pool(slots=1)
    data = os.urandom(200_000)
    assert await pool.batch(remote.echo, [(data,)] * 20).outcome() == [data] * 20
