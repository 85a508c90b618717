"""Rows 20, 30, 31, 41 and 52: what a call may do to the worker process that it runs in."""

# ruff: noqa: D103 - helpers whose names say it

from __future__ import annotations

import asyncio
import os
import signal
from pathlib import Path
from typing import Any

import pytest

from asyncgraph import Runtime, compute, delayed, run, start
from asyncgraph.errors import WorkerCrashedError
from tests.errors.reading import failure_of
from tests.reliability import harness
from tests.reliability.harness import Witness, outcome_of, program

pid = delayed(harness.pid, executor="process")


def crash(path: str, how: str) -> None:
    with open(path, "a") as stream:
        stream.write("called\n")
    if how == "exit":
        os._exit(3)
    os.kill(os.getpid(), signal.Signals[how])
    signal.pause()


@pytest.mark.usefixtures("connection")
@pytest.mark.parametrize("how", ["exit", "SIGSEGV", "SIGABRT", "SIGKILL"])
async def test_row_20_crash(tmp_path: Path, how: str):
    """A crash costs the call that was running, which is not made again; all others have their values."""
    async with Runtime(processes=1):
        before = await pid()
        node = delayed(crash, executor="process")(str(tmp_path / "calls"), how)
        first, error, behind, *others = await compute(
            pid(), node, pid(node), *[pid() for _ in range(5)], return_exceptions=True
        )
        assert type(error) is WorkerCrashedError
        ended_by = (3, None) if how == "exit" else (None, signal.Signals[how])
        assert (error.exitcode, error.signal) == ended_by
        assert (error.node, error.path) == ("crash", (error.key,))
        assert behind.__cause__ is error
        assert all(type(each) is int for each in [first, *others])
        assert await pid() != before, "there is a new worker"
    assert (tmp_path / "calls").read_text() == "called\n"


@pytest.mark.usefixtures("connection")
async def test_row_41_sigterm_to_a_worker(witness: Witness):
    """A worker that somebody terminates is the failure of the call that it was running, and of no other."""
    async with Runtime(processes=2):
        held = start(delayed(harness.hold, executor="process")(witness.path))
        victim = await witness.next_pid()
        beside = await pid()
        os.kill(victim, signal.SIGTERM)
        error = await failure_of(held)
        assert type(error) is WorkerCrashedError
        assert (error.exitcode, error.signal) == (None, signal.SIGTERM)
        assert witness.is_alone()
        assert await pid() == beside


FLOOD = """
import sys
from asyncgraph import delayed, run

@delayed(executor="process")
def flood():
    for number in range(20_000):
        print("out", number, "." * 50)
        print("err", number, "." * 50, file=sys.stderr)
    return "done"

result = run(flood())
print(result)
"""


def test_row_30_flood_of_output():
    """What a call prints, however much, is seen where the program's own output is, and blocks nobody."""
    with program(FLOOD) as process:
        code, printed, complained = outcome_of(process)
    assert code == 0
    lines = printed.splitlines()
    assert len(lines) == 20_001
    assert lines[19_999:] == ["out 19999 " + "." * 50, "done"]
    assert len(complained.splitlines()) == 20_000


READS = """
import os, sys
from asyncgraph import delayed, run

@delayed(executor="process")
def read():
    return sys.stdin.read(), os.read(0, 1)

print(*run(read()), sys.stdin.read())
"""


def test_row_31_standard_input():
    """Standard input is empty in a worker, and remains whole for the program."""
    with program(READS, stdin=-1) as process:
        assert outcome_of(process, "the program's own") == (0, " b'' the program's own\n", "")


def nested(depth: int) -> list[int]:
    """The ids of the processes that it is computed in, from the inside out."""
    if not depth:
        return [os.getpid()]
    return [*run(delayed(nested, executor="process")(depth - 1)), os.getpid()]


def nested_beside_others(count: int) -> Any:
    async def main() -> Any:
        return await compute([pid(number) for number in range(count)])

    return asyncio.run(main())


@pytest.mark.usefixtures("connection")
async def test_row_52_compute_inside_a_worker():
    """A call in a worker may compute; what is for a worker process there runs in that same one."""
    async with Runtime(processes=1):
        pids = await delayed(nested, executor="process")(3)
        assert pids == [await pid()] * 4
        assert pids[0] != os.getpid()
        assert await delayed(nested_beside_others, executor="process")(10) == pids[:1] * 10
