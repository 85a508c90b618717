"""Rows 26, 27 and 28, rule C5: calls in worker processes that take too long, or are not wanted any more."""

# ruff: noqa: D103 - helpers whose names say it

from __future__ import annotations

import asyncio
import itertools
import os
import signal
import time
from pathlib import Path

import pytest

from asyncgraph import Runtime, compute, delayed, start
from asyncgraph.errors import NodeTimeoutError
from tests.errors.reading import failure_of
from tests.executors.process import remote
from tests.reliability import harness
from tests.reliability.harness import Witness

pytestmark = pytest.mark.usefixtures("connection")

pid = delayed(harness.pid, executor="process")


def get_stuck(how: str) -> None:
    if how == "stopped":
        os.kill(os.getpid(), signal.SIGSTOP)
    sum(itertools.repeat(0))  # it lets no other thread run


def is_gone(process: int) -> bool:
    """Whether there is no such process, not even one that nobody has waited for."""
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return True
    return False


@pytest.mark.parametrize("how", ["stopped", "in C code"])
async def test_row_26_stuck_worker(how: str):
    """A worker that is there, but does nothing any more, is ended by the node's timeout."""
    async with Runtime(processes=1):
        worker = await pid()
        error = await failure_of(delayed(get_stuck, executor="process", timeout=0.05)(how))
        assert type(error) is NodeTimeoutError
        assert is_gone(worker)
        assert await pid() != worker


def note_and_wait(path: str) -> None:
    remote.note(path, 0)
    signal.pause()


async def test_row_27_timeout(tmp_path: Path):
    """It says which node and which timeout; the worker is replaced, and the call not made again."""
    path = tmp_path / "calls"
    node = delayed(note_and_wait, executor="process", timeout=0.05, retries_on_crash=3)
    async with Runtime(processes=1):
        worker = await pid()
        first, error, *others = await compute(pid(), node(str(path)), pid(1), pid(2), return_exceptions=True)
        assert type(error) is NodeTimeoutError
        assert isinstance(error, TimeoutError)
        assert (error.node, error.path) == ("note_and_wait", (error.key,))
        assert "its timeout of 0.05 s" in str(error)
        assert all(type(each) is int for each in [first, *others])
        assert is_gone(worker)
    # Perhaps not even once: fifty milliseconds are little.
    assert not path.exists() or path.read_text() == "0\n"


async def test_row_27_timeout_counts_from_the_beginning():
    """The time that a call waits for a worker does not count."""
    sleep = delayed(time.sleep, executor="process")
    quick = delayed(harness.pid, executor="process", timeout=0.5)
    async with Runtime(processes=1):
        await compute([sleep(0.7) for _ in range(3)], [quick(number) for number in range(3)])


def answer_and_report(gate: str, path: str) -> str:
    """Begin, wait at the gate, and report when the answer has been written."""
    from asyncgraph.executors.process.outbox import Outbox

    write = Outbox.write

    def write_and_report(*args: object) -> None:
        write(*args)
        Outbox.write = write
        harness.report(path)

    harness.report(path)
    with open(gate) as stream:
        stream.read()
    Outbox.write = write_and_report
    return "the result"


async def test_row_28_timeout_and_result_cross(tmp_path: Path, witness: Witness):
    """A result that is complete when the time is up, but that nobody has read yet, counts."""
    gate = tmp_path / "gate"
    os.mkfifo(gate)
    timeout = 1.0
    async with Runtime(processes=1):
        worker = await pid()
        node = delayed(answer_and_report, executor="process", timeout=timeout)
        going_on = start(node(str(gate), witness.path))
        assert await witness.next_pid() == worker
        # From here on the loop does not go round, until it has both before it: result and timeout.
        gate.write_text("go on")
        assert witness.pid() == worker
        time.sleep(timeout)  # noqa: ASYNC251 - to hold the loop is the point
        assert not going_on.done()
        assert await going_on == "the result"
        assert await pid() == worker


async def test_c05_process_nodes(tmp_path: Path, witness: Witness):
    """What waits never begins, and the worker of what runs is killed; others' calls go on, in a new one."""
    path = tmp_path / "calls"
    held = delayed(harness.hold, executor="process")
    note = delayed(remote.note, executor="process")
    async with Runtime(processes=2):
        nodes = [held(witness.path) for _ in range(2)], [note(str(path), number) for number in range(20)]
        task = asyncio.ensure_future(compute(*nodes))
        workers = {await witness.next_pid() for _ in range(2)}
        others = start([pid(number) for number in range(5)])
        task.cancel("not wanted")
        error = await failure_of(task)
        assert isinstance(error, asyncio.CancelledError)
        assert error.args == ("not wanted",)
        assert witness.is_alone()
        assert all(map(is_gone, workers))
        assert workers.isdisjoint(await others)
        assert not path.exists()
