"""How the tests drive an executor: calls whose outcomes can be awaited, and signals from workers."""

# ruff: noqa: D102 - helpers whose names say it

from __future__ import annotations

import asyncio
import contextvars
import os
import pathlib
import select
import subprocess
import sys

from asyncgraph.executors.base import Call

PATIENCE = 30.0
"""Seconds after which a test has failed that waits for an outcome."""

ROOT = pathlib.Path(__file__).parents[3]


class Started:
    """A call that was handed to an executor, and what it has delivered."""

    def __init__(self, executor, function, args, kwargs):
        self.deliveries = []
        self._future = asyncio.get_running_loop().create_future()
        key = getattr(function, "__name__", "function") + "-key"
        self.call = Call(function, args, kwargs, contextvars.copy_context(), key, self._deliver)
        executor.start(self.call)
        assert not self.deliveries, "delivered from within start"

    def _deliver(self, value, error):
        self.deliveries.append((value, error))
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
