"""How the tests drive an executor: calls whose outcomes can be awaited, and signals from workers."""

# ruff: noqa: D102 - helpers whose names say it

from __future__ import annotations

import asyncio
import os
import pathlib
import select
import subprocess
import sys

import pytest

from asyncgraph.executors.process import serialization
from asyncgraph.executors.process.job import Job, Step
from asyncgraph.executors.process.link import PipeLink
from asyncgraph.executors.process.payload import LARGE
from asyncgraph.executors.process.pickling import PREVIOUS
from asyncgraph.executors.process.refusal import Refusal
from asyncgraph.executors.process.threaded import ThreadedLink

PATIENCE = 30.0
"""Seconds after which a test has failed that waits for an outcome."""

only_pipes = pytest.mark.parametrize("link", [PipeLink], ids=["pipes"], indirect=True)
only_threads = pytest.mark.parametrize("link", [ThreadedLink], ids=["threads"], indirect=True)

ROOT = pathlib.Path(__file__).parents[3]


class Nowhere:
    """Where durations are noted that nobody asks for."""

    def add(self, seconds, calls=1):
        pass


class Started(Job):
    """A call that was handed to an executor, and what it has delivered."""

    def __init__(self, executor, function, args, kwargs, **options):
        self.deliveries = []
        self._future = asyncio.get_running_loop().create_future()
        self.name = getattr(function, "__name__", "function") + "-key"
        try:
            self._prepare(executor, function, args, kwargs)
        except Refusal as refusal:
            self._deliver(None, refusal.as_error(self.name))
            return
        for name, value in options.items():
            setattr(self, name, value)
        executor.start([self])
        assert not self.deliveries, "delivered from within start"

    def _prepare(self, executor, function, args, kwargs):
        shipped = executor.shipping.ship(function, Nowhere())
        parts = (args, kwargs) if shipped.data is not None else (function, args, kwargs)
        with serialization.pickled_by_value(executor.shipping.by_value):
            payload = serialization.pack_arguments(parts, [])
        large = len(payload.sizes) > 1 or payload.size >= LARGE
        super().__init__(shipped, [None if large else b"".join(payload.stream)], None)
        self.payloads = [payload] if large else []

    def key(self, index, step):
        return self.name

    def done(self, index, values):
        for value in values:
            self._deliver(value, None)

    def ended(self, index, step, value, error):
        self._deliver(value, error)

    def _deliver(self, value, error):
        self.deliveries.append((value, error))
        self.payloads = ()
        if not self._future.done():
            self._future.set_result(None)

    async def outcome(self):
        await asyncio.wait_for(asyncio.shield(self._future), PATIENCE)
        (outcome,) = self.deliveries
        return outcome

    async def value(self):
        value, error = await self.outcome()
        if error is not None:
            raise error
        return value

    async def error(self):
        value, error = await self.outcome()
        assert error is not None, f"no error, but {value!r}"
        return error


class Batch(Job):
    """Calls of one function with plain arguments, and what has come of each; or a chain."""

    def __init__(self, executor, function, calls, seconds, steps=(), **options):
        super().__init__(executor.shipping.ship(function, Nowhere()), list(calls), seconds)
        self.deliveries = {}
        self.passes = []
        self.count = len(self.calls)
        self._done = asyncio.Event()
        self.steps = [
            Step(
                executor.shipping.ship(step, Nowhere()),
                b"".join(serialization.pack_arguments(((PREVIOUS,), {}), []).stream),
                timeout,
            )
            for step, timeout in steps
        ]
        for name, value in options.items():
            setattr(self, name, value)
        executor.start([self])

    def key(self, index, step):
        return f"call[{index}]+{step}"

    def done(self, index, values):
        for offset, value in enumerate(values):
            self._deliver(index + offset, value, None)

    def passed(self, step):
        self.passes.append(step)

    def ended(self, index, step, value, error):
        self._deliver(index, value, error)

    def _deliver(self, index, value, error):
        assert index not in self.deliveries
        self.deliveries[index] = value, error
        self._done.set()

    async def outcome(self, *indices):
        """Wait for these calls, or all; return their values, or errors in their places."""
        indices = indices or range(self.count)
        async with asyncio.timeout(PATIENCE):
            while not all(index in self.deliveries for index in indices):
                self._done.clear()
                await self._done.wait()
        return [error or value for value, error in map(self.deliveries.get, indices)]


class Fifo:
    """A named pipe on which workers report to the test."""

    def __init__(self, path):
        os.mkfifo(path)
        self.path = str(path)
        self._fd = os.open(path, os.O_RDWR | os.O_NONBLOCK)
        self._text = ""

    async def line(self):
        """Return the next line, as its words."""
        loop = asyncio.get_running_loop()
        while "\n" not in self._text:
            readable = asyncio.Event()
            loop.add_reader(self._fd, readable.set)
            try:
                await asyncio.wait_for(readable.wait(), PATIENCE)
            finally:
                loop.remove_reader(self._fd)
            self._text += os.read(self._fd, 4096).decode()
        line, _, self._text = self._text.partition("\n")
        return line.split()

    async def pid(self):
        """Return the process id at the start of the next line."""
        return int((await self.line())[0])

    def close(self):
        os.close(self._fd)


async def gone(pid, seconds=PATIENCE):
    """Whether process `pid`, a child or not, ends within `seconds`."""
    try:
        fd = os.pidfd_open(pid)
    except ProcessLookupError:
        return True
    try:
        return bool(await asyncio.to_thread(select.select, [fd], [], [], seconds)) and bool(
            select.select([fd], [], [], 0)[0]
        )
    finally:
        os.close(fd)


def run_script(script, *arguments, mode="-c", **options):
    """Run a Python script ("-c", "stdin" or "file") in a process of its own; return what it has printed."""
    source = {"-c": ["-c", script], "stdin": [], "file": [script]}[mode]
    command = [sys.executable, *source, *arguments]
    if mode == "stdin":
        options["input"] = script
    finished = subprocess.run(
        command,
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        check=False,
        **options,
    )
    assert (finished.returncode, finished.stderr) == (0, "")
    return finished.stdout
