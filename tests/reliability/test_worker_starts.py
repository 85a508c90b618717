"""Rows 23, 44 and 55: how worker processes are started, and what becomes of calls when they are not."""

from __future__ import annotations

import asyncio
import errno
import os
import sys
from pathlib import Path
from typing import Any

import pytest

from asyncgraph import Runtime, compute, delayed, start
from asyncgraph.errors import WorkerStartError
from asyncgraph.executors.process import link, threaded
from asyncgraph.executors.process.spawn import usable_cores
from tests.errors.reading import failure_of
from tests.executors.process import remote
from tests.reliability import harness
from tests.reliability.harness import Witness, outcome_of, program

pid = delayed(harness.pid, executor="process")


@pytest.mark.usefixtures("connection")
async def test_row_23_failed_starts(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    """After a few attempts the error has what the worker has said; all else runs, later calls as well."""
    starts = tmp_path / "starts"
    script = tmp_path / "python"
    script.write_text(f"#!/bin/sh\necho start >> '{starts}'\necho 'a library is missing' >&2\nexit 3\n")
    script.chmod(0o755)
    async with Runtime(processes=1):
        with monkeypatch.context() as patch:
            patch.setattr(sys, "executable", str(script))
            beside = [delayed(abs, executor=executor)(-1) for executor in ("loop", "thread")]
            error, *values = await compute(pid(), *beside, return_exceptions=True)
            assert type(error) is WorkerStartError
            assert (error.exitcode, error.stderr_tail) == (3, "a library is missing")
            assert "3 in a row" in str(error)
            assert "a library is missing" in str(error)
            assert (error.node, error.path) == ("pid", (error.key,))
            assert values == [1, 1]
            assert starts.read_text() == "start\n" * 3
        assert await pid() != os.getpid()


@pytest.mark.usefixtures("connection")
async def test_row_44_no_descriptor_is_left(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, witness: Witness
):
    """Calls that a further worker was wanted for are done by those there are; without any they fail."""
    gate = tmp_path / "gate"
    os.mkfifo(gate)
    wanted = asyncio.Event()

    def no_descriptors(*args: Any, **options: Any) -> None:
        wanted.set()
        raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))

    async with Runtime(processes=2):
        worker = await pid()
        with monkeypatch.context() as patch:
            for module in (link, threaded):
                patch.setattr(module, "WorkerProcess", no_descriptors)
            waiting = start(delayed(remote.wait_for, executor="process")(str(gate)))
            others = start([pid(number) for number in range(5)])
            await wanted.wait()
            await asyncio.to_thread(gate.write_text, "go on")
            assert await waiting == "go on"
            assert await others == [worker] * 5
            held = start(delayed(harness.hold, executor="process")(witness.path))
            await witness.next_pid()
            held.cancel()
            assert isinstance(await failure_of(held), asyncio.CancelledError)
            error = await failure_of(pid())
            assert type(error) is WorkerStartError
            assert isinstance(error.__cause__, OSError)
            assert error.__cause__.errno == errno.EMFILE
        assert await pid() != worker


FEW_DESCRIPTORS = """
import asyncio, os, resource, time
from asyncgraph import Runtime, compute, delayed
from asyncgraph.errors import WorkerStartError
from tests.reliability.harness import pid

async def main():
    node = delayed(pid, executor="process")
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    async with Runtime(processes=4):
        worker = await node()
        open_fds = {int(fd) for fd in os.listdir("/proc/self/fd")}
        resource.setrlimit(resource.RLIMIT_NOFILE, (max(open_fds) + 1, hard))
        slept = [delayed(time.sleep, executor="process")(0.01) for _ in range(8)]
        *pids, _ = await compute(*(node(number) for number in range(20)), slept)
        print(set(pids) == {worker})
        error, _ = await compute(delayed(os._exit, executor="process")(3), slept, return_exceptions=True)
        print(type(error).__name__)
    resource.setrlimit(resource.RLIMIT_NOFILE, (4, hard))
    async with Runtime(processes=4):
        try:
            await node()
        except WorkerStartError as error:
            print(error.__cause__)

loop = asyncio.new_event_loop()
loop.run_until_complete(main())
loop.close()
"""


def test_row_44_descriptor_limit():
    """The same where the system itself refuses: few descriptors, and later none."""
    with program(FEW_DESCRIPTORS) as process:
        code, printed, complained = outcome_of(process)
    assert code == 0
    assert printed.splitlines() == ["True", "WorkerCrashedError", "[Errno 24] Too many open files"]
    few = "no further worker process starts, going on with 1 of 4"
    assert complained == f"{few}: OSError: [Errno 24] Too many open files\n"


NUMERICAL = [
    "BLIS_NUM_THREADS",
    "MKL_NUM_THREADS",
    "NUMEXPR_NUM_THREADS",
    "OMP_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "VECLIB_MAXIMUM_THREADS",
]


@pytest.mark.usefixtures("connection")
@pytest.mark.parametrize("processes", [1, 2, 1000])
async def test_row_55_numerical_libraries(monkeypatch: pytest.MonkeyPatch, processes: int):
    """Workers are told to start so many threads that all use the cores once; the user's word goes first."""
    for name in NUMERICAL:
        monkeypatch.delenv(name, raising=False)
    environment = delayed(remote.environment, executor="process")(*NUMERICAL)
    async with Runtime(processes=processes):
        told = {int(value) for value in await environment}
    assert told == {max(1, usable_cores() // processes)}
    monkeypatch.setenv("OMP_NUM_THREADS", "7")
    async with Runtime(processes=processes):
        assert [value for value in await environment if int(value) not in told] == ["7"]
