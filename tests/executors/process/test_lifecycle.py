"""The first and the last moments of workers: starts that fail, closing, forks, and parents that vanish."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import gc
import os
import signal
import subprocess
import sys
import time

import pytest

from asyncgraph.errors import RuntimeClosedError, WorkerStartError
from asyncgraph.executors.process import ProcessExecutor, crew
from asyncgraph.executors.process import handle as handle_module
from asyncgraph.executors.process import link as link_module
from asyncgraph.executors.process import threaded as threaded_module
from tests.executors.process import remote
from tests.executors.process.harness import PATIENCE, ROOT, Started, gone, run_script


async def test_a_worker_that_cannot_start_fails_the_waiting_calls(pool, monkeypatch):
    """After three starts that end early, those who wait are told the exit code."""
    monkeypatch.setattr(sys, "executable", "/bin/false")
    calls = [pool.start(remote.add, 1, 1) for _ in range(3)]
    for call in calls:
        error = await call.error()
        assert isinstance(error, WorkerStartError)
        assert error.exitcode == 1
        assert "exit code 1" in str(error)
        assert "add-key" in str(error)


async def test_a_pool_that_failed_tries_again(pool, monkeypatch):
    """A later call finds a pool that starts workers again."""
    with monkeypatch.context() as patch:
        patch.setattr(sys, "executable", "/bin/false")
        assert isinstance(await pool.error(remote.add, 1, 1), WorkerStartError)
    assert await pool.value(remote.add, 1, 1) == 2


async def test_a_start_that_fails_once_is_tried_again(pool, monkeypatch, tmp_path):
    """One failed start costs no call."""
    flag = tmp_path / "flag"
    script = tmp_path / "python"
    script.write_text(f'#!/bin/sh\n[ -e {flag} ] && exec {sys.executable} "$@"\n: > {flag}\nexit 5\n')
    script.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(script))
    assert await pool.value(remote.add, 1, 1) == 2
    assert flag.exists()


@pytest.mark.parametrize("executable", ["/nowhere/python", "", None])
async def test_a_missing_interpreter_is_a_start_error(pool, monkeypatch, executable):
    """Where nothing can be started at all, the error has the system's reason as its cause."""
    monkeypatch.setattr(sys, "executable", executable)
    error = await pool.error(remote.add, 1, 1)
    assert isinstance(error, WorkerStartError)
    assert isinstance(error.__cause__, FileNotFoundError)


async def test_without_descriptors_the_existing_workers_go_on(pool, monkeypatch, fifo):
    """EMFILE fails nobody while there is a worker, and everybody where there is none."""
    holder = pool.start(remote.hold, fifo.path)
    await fifo.pid()
    with monkeypatch.context() as patch:
        for module in (link_module, threaded_module):
            patch.setattr(module, "WorkerProcess", _no_descriptors)
        waiting = pool.start(remote.add, 1, 1)
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        assert not waiting.deliveries
        pool.cancel(holder)
        error = await waiting.error()
    assert isinstance(error, WorkerStartError)
    assert error.__cause__.errno == errno.EMFILE
    await holder.error()
    assert await pool.value(remote.add, 1, 1) == 2


def _no_descriptors(slots, **options):
    raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))


async def test_a_worker_that_never_says_hello_is_given_up(pool, monkeypatch, tmp_path):
    """A start that hangs counts as one that fails."""
    monkeypatch.setattr(handle_module, "_HELLO_TIME", 0.05)
    monkeypatch.setattr(sys, "executable", sleeper(tmp_path))
    error = await pool.error(remote.add, 1, 1)
    assert isinstance(error, WorkerStartError)
    assert error.signal == signal.SIGKILL


def sleeper(folder):
    """Make an interpreter that never does anything."""
    script = folder / "python"
    script.write_text("#!/bin/sh\nexec sleep 600\n")
    script.chmod(0o755)
    return str(script)


async def test_aclose_leaves_no_process_and_no_descriptor(make_pool, monkeypatch):
    """When aclose returns, all workers are reaped; they leave by themselves, and are not killed."""
    monkeypatch.setattr(crew, "_LEAVE_TIME", PATIENCE)
    pool = make_pool()
    calls = [pool.start(remote.pid) for _ in range(2)]
    pids = {await call.value() for call in calls}
    workers = [worker.process for worker in pool.executor._crew.workers]
    await pool.executor.aclose()
    assert {worker.exitcode for worker in workers} == {0}
    for pid in pids:
        with pytest.raises(ProcessLookupError):
            os.kill(pid, 0)


async def test_aclose_kills_workers_that_do_not_leave(make_pool):
    """A worker that does not leave when asked to is killed after the grace."""
    pool = make_pool()
    pid = await pool.value(remote.pid)
    os.kill(pid, signal.SIGSTOP)
    await pool.executor.aclose()
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)


async def test_aclose_that_is_cancelled_still_leaves_nothing(make_pool):
    """A second cancel does not save a worker."""
    pool = make_pool()
    pid = await pool.value(remote.pid)
    os.kill(pid, signal.SIGSTOP)
    aio_task = asyncio.ensure_future(pool.executor.aclose())
    await asyncio.sleep(0)
    aio_task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await aio_task
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)


async def test_aclose_ends_calls_that_still_run(make_pool, fifo):
    """Should a call be running or waiting after all, it is told that the pool is closed."""
    pool = make_pool(slots=1)
    calls = [pool.start(remote.hold, fifo.path) for _ in range(3)]
    await fifo.pid()
    await fifo.pid()
    await pool.executor.aclose()
    for call in calls:
        assert isinstance(await call.error(), RuntimeClosedError)


async def test_a_closed_pool_refuses_calls(make_pool):
    """After the end a call is told so, not at once but soon."""
    pool = make_pool()
    await pool.executor.aclose()
    await pool.executor.aclose()
    assert isinstance(await pool.error(remote.add, 1, 1), RuntimeClosedError)


async def test_close_works_inside_a_running_loop(make_pool):
    """close() needs no await, and may be repeated."""
    pool = make_pool()
    pid = await pool.value(remote.pid)
    pool.executor.close()
    pool.executor.close()
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)


def test_close_works_after_the_loop_has_closed():
    """A pool that was forgotten is closed without touching its closed loop."""

    async def use():
        executor = ProcessExecutor(2, asyncio.get_running_loop())
        return executor, await Started(executor, remote.pid, (), {}).value()

    executor, pid = asyncio.run(use())
    executor.close()
    executor.close()
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)


def test_close_with_a_call_under_way_after_the_loop_has_closed(fifo):
    """Even a busy worker is gone after close()."""

    async def use():
        executor = ProcessExecutor(1, asyncio.get_running_loop())
        Started(executor, remote.hold, (fifo.path,), {})
        return executor, await fifo.pid()

    executor, pid = asyncio.run(use())
    executor.close()
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)


async def test_a_forked_child_is_refused_and_harms_nobody(pool):
    """In a forked child a call fails with RuntimeClosedError, and close leaves the parent's workers alone."""
    pid = await pool.value(remote.pid)
    read, write = os.pipe()
    child = os.fork()
    if not child:
        # Whatever happens, the child must not return into pytest.
        with contextlib.suppress(BaseException):
            os.write(write, _in_forked_child(pool.executor).encode())
        os._exit(0)
    os.close(write)
    with open(read) as stream:
        report = await asyncio.to_thread(stream.read)
    await asyncio.to_thread(os.waitpid, child, 0)
    assert report == "RuntimeClosedError"
    assert await pool.value(remote.pid) == pid


def _in_forked_child(executor):
    asyncio.events._set_running_loop(None)

    async def use():
        call = Started(executor, remote.add, (1, 1), {})
        error = await call.error()
        executor.cancel([call])
        await executor.aclose()
        executor.close()
        return type(error).__name__

    return asyncio.new_event_loop().run_until_complete(use())


PARENT = """
import asyncio, os, sys
from asyncgraph.executors.process import ProcessExecutor
from tests.executors.process import remote
from tests.executors.process.harness import Started

async def main():
    executor = ProcessExecutor(3, asyncio.get_running_loop())
    idle = await Started(executor, remote.pid, (), {}).value()
    calls = [Started(executor, getattr(remote, name), (sys.argv[1],), {}) for name in sys.argv[2:]]
    await asyncio.sleep(3600)

asyncio.run(main())
"""


async def test_a_parent_that_vanishes_leaves_no_worker(fifo):
    """Workers of a killed parent end, whether busy, waiting or deep in C code."""
    functions = ["hold", "hold_the_interpreter"] if sys.platform == "linux" else ["hold"]
    parent = subprocess.Popen(
        [sys.executable, "-c", PARENT, fifo.path, *functions], env={**os.environ, "PYTHONPATH": str(ROOT)}
    )
    pids = [await fifo.pid() for _ in functions]
    parent.kill()
    await asyncio.to_thread(parent.wait)
    for pid in pids:
        assert await gone(pid)


async def test_a_parent_that_vanishes_takes_along_what_calls_have_started(fifo):
    """The lifeline alone ends a worker with its whole group."""
    script = PARENT.replace(
        "asyncio.run(main())",
        "import threading\nt = threading.Thread(target=lambda: asyncio.run(main()))\nt.start()",
    )
    parent = subprocess.Popen(
        [sys.executable, "-c", script, fifo.path, "hold_with_child"],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    child = await fifo.pid()
    parent.kill()
    await asyncio.to_thread(parent.wait)
    assert await gone(child)


def test_a_program_that_forgets_to_close_ends_cleanly():
    """Without any close a program ends by itself, prints nothing on standard error, and fast."""
    script = PARENT.replace("await asyncio.sleep(3600)", "print('done', idle)")
    pid = int(run_script(script).split()[1])
    deadline = time.monotonic() + PATIENCE
    while _alive(pid) and time.monotonic() < deadline:
        time.sleep(0.005)
    assert not _alive(pid)


def _alive(pid):
    try:
        with open(f"/proc/{pid}/stat") as stream:
            return stream.read().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


async def test_a_worker_started_by_another_thread_outlives_that_thread(fifo):
    """The kernel's death signal is not used where it would follow a thread that ends early."""
    started = []

    def use():
        async def main():
            executor = ProcessExecutor(1, asyncio.get_running_loop())
            started.append((executor, await Started(executor, remote.pid, (), {}).value()))

        asyncio.run(main())

    await asyncio.to_thread(use)
    executor, pid = started[0]
    assert not await gone(pid, 0.2)
    executor.close()


async def test_the_pool_keeps_no_context_alive(pool):
    """Readers and timers of a worker do not hold on to the context of the call that started it."""
    import contextvars
    import weakref

    variable = contextvars.ContextVar("variable")

    class Marker:
        pass

    def start():
        marker = Marker()
        variable.set(marker)
        return pool.start(remote.add, 1, 1), weakref.ref(marker)

    call, marker = contextvars.copy_context().run(start)
    assert await call.value() == 2
    pool.started.clear()
    del call
    gc.collect()
    assert marker() is None
