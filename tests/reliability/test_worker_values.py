"""Rows 12, 42, 43, 46 and 47: large values, and such as do harm, between this process and its workers."""

# ruff: noqa: D103 - helpers whose names say it

from __future__ import annotations

import asyncio
import errno
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from asyncgraph import Runtime, compute, delayed, start
from asyncgraph.errors import WorkerCrashedError
from tests.reliability import harness

pytestmark = pytest.mark.usefixtures("connection")

pid = delayed(harness.pid, executor="process")


def echo(value: Any) -> Any:
    return value


def note_in(path: str, *_: Any) -> None:
    with open(path, "a") as stream:
        stream.write("called\n")


class Deadly:
    """What ends the process that it is unpickled in."""

    def __init__(self, size: int = 0) -> None:
        self.ballast = os.urandom(size)

    def __reduce__(self) -> Any:
        return _die, (self.ballast,)


def _die(_: bytes) -> None:
    os._exit(4)


@pytest.mark.parametrize("size", [0, 1_000_000])
async def test_row_12_deadly_argument(tmp_path: Path, size: int):
    """An argument that crashes the worker when it is unpickled is the failure of its own call alone."""
    note = delayed(note_in, executor="process")
    path = str(tmp_path / "calls")
    async with Runtime(processes=1):
        before = await pid()
        nodes = [
            note(path, 1),
            note(path, Deadly(size)),
            note(path, 2),
            *[pid(number) for number in range(5)],
        ]
        first, error, second, *others = await compute(nodes, return_exceptions=True)
        assert type(error) is WorkerCrashedError
        assert (error.exitcode, error.attempts) == (4, 1)
        assert (error.node, error.path) == ("note_in", (error.key,))
        assert (first, second) == (None, None)
        assert all(type(each) is int for each in others)
        assert await pid() != before
    assert (tmp_path / "calls").read_text() == "called\n" * 2


GIGANTIC = 200_000_000


def tell_size(value: bytes) -> int:
    return len(value)


def make(size: int) -> bytes:
    return b"x" * size


@pytest.mark.parametrize("way", ["there", "back"])
async def test_row_42_gigantic_value(way: str):
    """While a value of hundreds of megabytes travels, the loop goes round, and other nodes run."""
    rounds = 0

    async def go_round() -> None:
        nonlocal rounds
        while True:
            await asyncio.sleep(0)
            rounds += 1

    node = delayed(tell_size if way == "there" else make, executor="process")
    async with Runtime(processes=1):
        worker = await pid()
        argument = make(GIGANTIC) if way == "there" else GIGANTIC
        going_on = start(node(argument))
        going_round = asyncio.ensure_future(go_round())
        beside = await delayed(abs, executor="thread")(-1)
        value = await going_on
        going_round.cancel()
        await asyncio.wait([going_round])
        assert beside == 1
        assert value == GIGANTIC if way == "there" else len(value) == GIGANTIC
        assert rounds > 20
        assert await pid() == worker


# The first is more than a pipe holds, and goes through it; the second may be in shared memory.
@pytest.mark.parametrize(("size", "count"), [(200_000, 30), (5_000_000, 6)])
async def test_row_43_both_directions_at_once(size: int, count: int):
    """Large values go to a worker while others come from it: neither side waits for the other."""
    values = [os.urandom(size) for _ in range(count)]
    node = delayed(echo, executor="process")
    async with Runtime(processes=1):
        assert await compute([node(value) for value in values]) == values
    async with Runtime(processes=2):
        # Short calls are given to workers many at a time, when it is known that they are short.
        for _ in range(2):
            assert await compute([node(value) for value in values]) == values


def fail_to_share(fault: str) -> None:
    """Let shared memory be full in this process: when it is asked for, when it is written, or half way."""
    name = fault.rpartition(" ")[2]
    function, fails = getattr(os, name), not fault.startswith("second")

    def fail(*args: Any) -> Any:
        nonlocal fails
        if fails:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        fails = True
        return function(*args)

    setattr(os, name, fail)


@pytest.mark.parametrize("fault", ["memfd_create", "pwrite", "second pwrite"])
async def test_row_46_shared_memory_is_full(monkeypatch: pytest.MonkeyPatch, fault: str):
    """Without memory to share, here or in the worker, large values arrive all the same."""
    array = np.arange(1_000_000)
    node = delayed(echo, executor="process")
    async with Runtime(processes=1):
        await delayed(fail_to_share, executor="process")(fault)
        before = set(os.listdir("/proc/self/fd"))
        for name in ("memfd_create", "pwrite"):
            monkeypatch.setattr(os, name, getattr(os, name))  # put back at the end
        fail_to_share(fault)
        for _ in range(3):
            np.testing.assert_array_equal(await node(array), array)
        assert set(os.listdir("/proc/self/fd")) <= before


def fill(array: Any, value: int) -> Any:
    array[:] = value
    return array


def is_zero(array: Any, *_: Any) -> bool:
    return not array.any()


@pytest.mark.parametrize("size", [10, 1_000_000])
@pytest.mark.parametrize("made_by", ["caller", "worker", "this process"])
async def test_row_47_change_of_an_array(size: int, made_by: str):
    """A call may change an array that it was given: neither the caller sees that, nor any other node."""
    filled = delayed(fill, executor="process")
    checked = delayed(is_zero, executor="process")
    array = np.zeros(size)
    if made_by == "caller":
        given: Any = array
    else:
        given = delayed(np.zeros, executor="process" if made_by == "worker" else "loop")(size)
    async with Runtime(processes=1):
        first, second = filled(given, 1), filled(given, 2)
        after = checked(given, first, second)
        values = await compute(first, second, after, delayed(given))
    for value, result in zip((1, 2, 0), (values[0], values[1], values[3]), strict=True):
        assert (result == value).all()
    assert values[2] is True
    assert not array.any()
    values[0][0] = 7
    assert values[1][0] == 2
