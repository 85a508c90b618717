"""Rows 21, 22, 24, 25, 29, 32, 33 and 34: workers that die, and calls that do harm to theirs."""

# ruff: noqa: D103 - helpers whose names say it

from __future__ import annotations

import asyncio
import collections
import os
import signal
import subprocess
from pathlib import Path
from typing import Any

import pytest

from asyncgraph import Runtime, compute, delayed, start
from asyncgraph.errors import WorkerCrashedError
from tests.errors.reading import failure_of
from tests.executors.process import remote
from tests.reliability import harness
from tests.reliability.harness import PATIENCE, Witness, turns

pytestmark = pytest.mark.usefixtures("connection")

pid = delayed(harness.pid, executor="process")


@pytest.mark.parametrize(("number", "suspected"), [(signal.SIGKILL, True), (signal.SIGTERM, False)])
async def test_row_21_out_of_memory(witness: Witness, number: signal.Signals, suspected: bool):
    """A worker that is killed as the system does when memory runs out: the error says that it may be that."""
    async with Runtime(processes=2):
        held = start(delayed(harness.hold, executor="process")(witness.path))
        victim = await witness.next_pid()
        beside = await pid()
        os.kill(victim, number)
        error = await failure_of(held)
        assert type(error) is WorkerCrashedError
        assert error.signal == number
        assert error.oom_suspected is suspected
        assert ("out of memory?" in str(error)) is suspected
        assert await pid() == beside


def note_and_crash(path: str, number: int, crash: int) -> int:
    remote.note(path, number)
    if number == crash:
        os._exit(3)
    return number


async def test_row_22_poison_pill(tmp_path: Path):
    """A call that crashes each worker fails after its attempts; no other is made more often than once."""
    path = tmp_path / "calls"
    node = delayed(note_and_crash, executor="process", retries_on_crash=2)
    async with Runtime(processes=2):
        await compute([node(str(path), -1, 17) for _ in range(50)])  # now they are known to be short
        path.unlink()
        values = await compute([node(str(path), number, 17) for number in range(50)], return_exceptions=True)
        error = values[17]
        assert type(error) is WorkerCrashedError
        assert (error.exitcode, error.attempts) == (3, 3)
        assert "attempt 3" in str(error)
        assert values == [error if number == 17 else number for number in range(50)]
    begun = collections.Counter(map(int, path.read_text().split()))
    assert begun == {number: 3 if number == 17 else 1 for number in range(50)}


def die_after(value: Any, path: str) -> Any:
    remote.note(path, 0)
    return remote.die_after_answering(value)


@pytest.mark.parametrize("size", [0, 5_000_000])
async def test_row_24_death_after_the_result(tmp_path: Path, size: int):
    """A worker that dies when it has written its result has done its work: that counts, and no call fails."""
    path = tmp_path / "calls"
    node = delayed(die_after, executor="process")
    async with Runtime(processes=1):
        nodes = [node(bytes(size) if size else number, str(path)) for number in range(3)]
        *values, other = await compute(*nodes, pid())
    assert values == [bytes(size)] * 3 if size else values == [0, 1, 2]
    assert type(other) is int
    assert path.read_text() == "0\n" * 3


def tell_size(value: bytes, path: str) -> int:
    remote.note(path, 0)
    return len(value)


@pytest.mark.parametrize("size", [200_000, 20_000_000])
async def test_row_25_death_amid_a_large_argument(tmp_path: Path, size: int):
    """Of a call whose worker dies while its argument is on the way nobody is blocked, and it begins once."""
    path = tmp_path / "calls"
    async with Runtime(processes=1):
        victim = await pid()
        os.kill(victim, signal.SIGSTOP)
        try:
            going_on = start(delayed(tell_size, executor="process")(bytes(size), str(path)))
            await turns(20)
            assert not going_on.done()
        finally:
            os.kill(victim, signal.SIGKILL)
        assert await going_on == size
        assert await pid() != victim
    assert path.read_text() == "0\n"


_children: list[Any] = []


def have_child(path: str, ending: str) -> None:
    """Start a process, which reports to the witness and goes on; then end in this way or that."""
    script = 'exec 3>"$0"; echo $$ >&3; echo begun; exec sleep 600'
    _children.append(subprocess.Popen(["sh", "-c", script, path], stdout=subprocess.PIPE))
    assert _children[-1].stdout.readline() == b"begun\n"
    if ending == "crash":
        os._exit(3)
    while ending == "cancel":
        signal.pause()


@pytest.mark.parametrize("ending", ["crash", "cancel", "return"])
async def test_row_29_processes_of_a_call(witness: Witness, ending: str):
    """What a call has started is killed with its worker, whatever that ends of."""
    async with Runtime(processes=1):
        going_on = start(delayed(have_child, executor="process")(witness.path, ending))
        await witness.next_pid()
        if ending == "return":
            await going_on
            assert not witness.is_alone(), "the worker goes on, and with it what the call has started"
        elif ending == "cancel":
            going_on.cancel()
            assert isinstance(await failure_of(going_on), asyncio.CancelledError)
        else:
            assert type(await failure_of(going_on)) is WorkerCrashedError
    # It has been killed, but nobody here can wait for the child of another.
    assert witness.is_alone(PATIENCE)


def close_all(path: str, goes_on: bool) -> None:
    remote.note(path, 0)
    os.closerange(3, 256)
    while goes_on:
        signal.pause()


@pytest.mark.parametrize("goes_on", [False, True], ids=["returns", "goes on"])
async def test_row_32_closed_descriptors(tmp_path: Path, goes_on: bool):
    """A call that closes what is not its own is taken for crashed, once, and harms no other."""
    path = tmp_path / "calls"
    async with Runtime(processes=1):
        before = await pid()
        node = delayed(close_all, executor="process")(str(path), goes_on)
        first, error, *others = await compute(pid(), node, pid(1), pid(2), return_exceptions=True)
        assert type(error) is WorkerCrashedError
        assert error.node == "close_all"
        assert all(type(each) is int for each in [first, *others])
        assert await pid() != before
    assert path.read_text() == "0\n"


def change_all(folder: str) -> int:
    os.chdir(folder)
    os.environ["ASYNCGRAPH_TEST"] = "changed"
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    return os.getpid()


def look() -> tuple[str, str | None, bool]:
    is_ignored = signal.getsignal(signal.SIGTERM) is signal.SIG_IGN
    return os.getcwd(), os.environ.get("ASYNCGRAPH_TEST"), is_ignored


async def test_row_33_changed_surroundings(tmp_path: Path):
    """What a call changes about its process stays there; an `isolate` call has its own."""
    unchanged = os.getcwd(), None, False
    looked = delayed(look, executor="process")
    alone = delayed(look, executor="process", isolate=True)
    async with Runtime(processes=1):
        await delayed(change_all, executor="process", isolate=True)(str(tmp_path))
        assert await looked() == unchanged
        worker = await delayed(change_all, executor="process")(str(tmp_path))
        assert await pid() == worker
        assert await looked() == (str(tmp_path), "changed", True)
        assert await alone() == look() == unchanged
        assert await looked() == unchanged, "the changed worker has made room"


_kept: list[bytes] = []


def grow(size: int) -> int:
    _kept.append(b"x" * size)
    return os.getpid()


async def test_row_34_growing_memory():
    """A worker that has too much memory, or has done so many calls, is replaced, and no call is lost."""
    node = delayed(grow, executor="process")
    async with Runtime(processes=1, max_worker_memory=300_000_000):
        first = await node(1)
        assert await node(400_000_000) == first, "it has done its call"
        second = await node(1)
        assert second != first
        assert await pid() == second
        pids = await compute([node(400_000_000 if number == 3 else 1) for number in range(10)])
        assert len(set(pids)) > 1
    async with Runtime(processes=2, max_tasks_per_worker=3):
        counts = collections.Counter(await compute([pid(number) for number in range(12)]))
        assert counts.total() == 12
        assert max(counts.values()) <= 3
