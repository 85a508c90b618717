"""Crashes, kills and cancelled calls: each costs the call it belongs to, and no other."""

from __future__ import annotations

import asyncio
import os
import signal

import pytest

from asyncgraph.errors import NodeExitedError, WorkerCrashedError
from asyncgraph.executors.process import losses
from tests.executors.process import remote
from tests.executors.process.harness import PATIENCE, gone


@pytest.mark.parametrize("code", [0, 3])
async def test_a_worker_that_exits_fails_its_call(pool, code):
    """os._exit inside a call is a WorkerCrashedError with the exit code, and the pool lives on."""
    error = await pool.error(remote.exit_at_once, code)
    assert isinstance(error, WorkerCrashedError)
    assert (error.exitcode, error.signal) == (code, None)
    assert "exit_at_once-key" in str(error)
    assert f"exit code {code}" in str(error)
    assert await pool.value(remote.add, 1, 1) == 2


@pytest.mark.parametrize("name", ["SIGKILL", "SIGSEGV", "SIGTERM", "SIGABRT"])
async def test_a_worker_killed_by_a_signal_fails_its_call(pool, name):
    """The error names the signal; for SIGKILL it hints at the memory."""
    number = signal.Signals[name]
    error = await pool.error(remote.kill_itself, number)
    assert isinstance(error, WorkerCrashedError)
    assert (error.exitcode, error.signal) == (None, number)
    assert name in str(error)
    assert ("memory" in str(error)) == (name == "SIGKILL")
    assert await pool.value(remote.add, 1, 1) == 2


async def test_a_crash_while_unpickling_is_a_crash(pool):
    """An argument that ends the worker when it is loaded fails its call, once."""
    error = await pool.error(remote.echo, remote.CrashesWhenLoaded())
    assert isinstance(error, WorkerCrashedError)
    assert error.exitcode == 4
    assert await pool.value(remote.add, 1, 1) == 2


async def test_a_crash_harms_nobody_else(make_pool):
    """Of many calls in parallel only those that crash fail."""
    pool = make_pool(slots=3)
    calls = [pool.start(*((remote.exit_at_once, 3) if n % 5 == 2 else (remote.echo, n))) for n in range(20)]
    for number, call in enumerate(calls):
        value, error = await call.outcome()
        assert (isinstance(error, WorkerCrashedError)) if number % 5 == 2 else (value == number)


async def test_a_result_that_was_written_wins_over_the_death(pool):
    """A worker that dies right after its answer has done its work."""
    for number in range(5):
        assert await pool.value(remote.die_after_answering, number) == number
    assert await pool.value(remote.die_after_answering, b"x" * 5_000_000) == b"x" * 5_000_000


async def test_an_idle_worker_that_dies_is_replaced_silently(pool):
    """No call fails when a worker is killed between calls, however soon the next one comes."""
    for _ in range(5):
        os.kill(await pool.value(remote.pid), signal.SIGKILL)
        assert await pool.value(remote.add, 1, 1) == 2


async def test_a_worker_that_dies_before_the_call_has_arrived_is_replaced(pool):
    """A call that no worker has begun is given to another, even if half of it was written."""
    data = b"x" * 20_000_000
    pid = await pool.value(remote.pid)
    call = pool.start(remote.echo, data)
    os.kill(pid, signal.SIGKILL)
    assert await call.value() == data


async def test_a_call_that_meets_only_dying_workers_is_suspected(pool, monkeypatch):
    """A call is not handed from one dying worker to the next for ever."""
    monkeypatch.setattr(losses, "_STRAYS", 1)
    pid = await pool.value(remote.pid)
    os.kill(pid, signal.SIGSTOP)
    call = pool.start(remote.echo, 1)
    os.kill(pid, signal.SIGKILL)
    assert isinstance(await call.error(), WorkerCrashedError)


async def test_a_dead_idle_worker_is_reaped_without_a_call(pool):
    """The pool notices by itself that an idle worker is gone, and leaves no zombie."""
    pid = await pool.value(remote.pid)
    os.kill(pid, signal.SIGKILL)
    async with asyncio.timeout(PATIENCE):
        await pool.executor._none_dying.wait()
    with pytest.raises(ChildProcessError):
        os.waitpid(pid, os.WNOHANG)


async def test_a_forked_grandchild_does_not_hide_the_death(pool, fifo):
    """A worker's death is seen, and its children killed, though a forked child has copies of its pipes."""
    call = pool.start(remote.fork_and_die, fifo.path)
    error = await call.error()
    assert error.exitcode == 7
    assert pool.executor._crew.dying == set()


async def test_a_call_that_forks_answers_once(pool):
    """Of a forked worker only the original goes on."""
    assert await pool.value(remote.fork_and_return) == "worker"
    assert await pool.value(remote.add, 1, 1) == 2


async def test_closed_descriptors_count_as_a_crash(pool):
    """A call that closes what is not its own loses its worker, which is killed if it goes on."""
    error = await pool.error(remote.close_everything)
    assert isinstance(error, WorkerCrashedError)
    assert "connection" in str(error)


async def test_garbage_on_the_channel_counts_as_a_crash(pool):
    """A call that writes into the channel fails itself and nobody else."""
    scribbler = pool.start(remote.scribble)
    assert await pool.value(remote.add, 1, 1) == 2
    error = await scribbler.error()
    assert isinstance(error, WorkerCrashedError)


async def test_a_running_call_is_cancelled_by_killing_its_worker(pool, fifo):
    """The worker is gone when CancelledError is delivered; the next call gets another."""
    call = pool.start(remote.hold, fifo.path)
    pid = await fifo.pid()
    other = pool.start(remote.hold, fifo.path)
    other_pid = await fifo.pid()
    pool.cancel(call)
    assert isinstance(await call.error(), asyncio.CancelledError)
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)
    os.kill(other_pid, 0)
    assert await pool.value(remote.pid) != pid
    pool.cancel(other)
    await other.error()


async def test_a_call_that_holds_the_interpreter_is_cancelled(pool, fifo):
    """C code that never returns to the interpreter is killed like anything else."""
    call = pool.start(remote.hold_the_interpreter, fifo.path)
    await fifo.pid()
    pool.cancel(call)
    assert isinstance(await call.error(), asyncio.CancelledError)


async def test_a_waiting_call_is_cancelled_without_a_worker(make_pool, fifo):
    """A call that waits is taken out of the queue; those that run go on."""
    pool = make_pool(slots=1)
    running = [pool.start(remote.hold, fifo.path) for _ in range(2)]
    pids = [await fifo.pid(), await fifo.pid()]
    waiting = pool.start(remote.hold, fifo.path)
    pool.cancel(waiting)
    assert isinstance(await waiting.error(), asyncio.CancelledError)
    for pid in pids:
        os.kill(pid, 0)
    for call in running:
        pool.cancel(call)
        await call.error()


async def test_a_call_is_cancelled_before_its_worker_is_ready(pool):
    """Cancelled right after its start, a call never runs; the worker serves the next."""
    call = pool.start(remote.exit_at_once, 3)
    pool.cancel(call)
    assert isinstance(await call.error(), asyncio.CancelledError)
    assert await pool.value(remote.add, 1, 1) == 2


async def test_a_call_is_cancelled_while_its_argument_is_written(pool):
    """A cancelled call need not have arrived completely."""
    await pool.value(remote.pid)
    call = pool.start(remote.echo, b"x" * 20_000_000)
    pool.cancel(call)
    assert isinstance(await call.error(), asyncio.CancelledError)
    assert await pool.value(remote.add, 1, 1) == 2


async def test_cancelling_twice_or_too_late_does_nothing(pool, fifo):
    """Only the first of several cancels counts, and none after the outcome."""
    call = pool.start(remote.hold, fifo.path)
    await fifo.pid()
    pool.cancel(call)
    pool.cancel(call)
    assert isinstance(await call.error(), asyncio.CancelledError)
    pool.cancel(call)
    done = pool.start(remote.add, 1, 1)
    assert await done.value() == 2
    pool.cancel(done)
    assert await pool.value(remote.add, 1, 1) == 2


async def test_cancelling_kills_what_the_call_has_started(pool, fifo):
    """A program that a call has started dies with it."""
    call = pool.start(remote.hold_with_child, fifo.path)
    child = await fifo.pid()
    pool.cancel(call)
    assert isinstance(await call.error(), asyncio.CancelledError)
    assert await gone(child)


@pytest.mark.parametrize("code", [3, None, "text"])
async def test_sys_exit_in_a_call_is_an_error_with_its_code(pool, code):
    """SystemExit neither ends the parent nor the worker."""
    pid = await pool.value(remote.pid)
    error = await pool.error(remote.leave, code)
    assert isinstance(error, NodeExitedError)
    assert error.code == code
    assert isinstance(error.original, SystemExit)
    assert error.__cause__ is error.original
    assert await pool.value(remote.pid) == pid


async def test_keyboard_interrupt_in_a_call_is_an_error(pool):
    """KeyboardInterrupt raised by the function is an error of that call."""
    error = await pool.error(remote.interrupt)
    assert isinstance(error, NodeExitedError)
    assert isinstance(error.original, KeyboardInterrupt)


@pytest.mark.parametrize("kind", [StopIteration, StopAsyncIteration])
async def test_stop_iteration_in_a_call_is_a_runtime_error(pool, kind):
    """As in a generator: it must not look like the end of a coroutine."""
    error = await pool.error(remote.stop_iteration, kind(5))
    assert type(error) is RuntimeError
    assert type(error.__cause__) is kind
    assert error.__cause__.args == (5,)


async def test_sigint_does_not_reach_workers(pool, fifo):
    """A worker ignores SIGINT: Ctrl-C is for the parent to answer."""
    pid = await pool.value(remote.pid)
    os.kill(pid, signal.SIGINT)
    assert await pool.value(remote.pid) == pid
