"""What the tests of the fault matrix share: functions that misbehave, and how one sees what came of it.

Worker processes import this module for the functions in it, so it imports little.
"""

# ruff: noqa: D102, D103 - helpers whose names say it

from __future__ import annotations

import asyncio
import contextlib
import gc
import itertools
import os
import select
import signal
import subprocess
import sys
import textwrap
import threading
import time
import weakref
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from asyncgraph import delayed

ROOT = Path(__file__).parents[2]

PATIENCE = 30.0
"""Seconds after which what a test waits for will not come any more."""

IN_THIS_PROCESS = ["coroutine", "inline", "thread"]
EVERYWHERE = [*IN_THIS_PROCESS, "process"]


def on(executor: str, function: Callable[..., Any]) -> Any:
    """`function` made lazy, for one of the ways of running it."""
    if executor != "coroutine":
        return delayed(function, executor="loop" if executor == "inline" else executor)

    async def later(*args: Any) -> Any:
        await asyncio.sleep(0)
        return function(*args)

    return delayed(later, name=function.__name__)


def notes_of(error: BaseException) -> list[str]:
    return list(getattr(error, "__notes__", ()))


async def turns(count: int) -> None:
    """Let the loop go round."""
    for _ in range(count):
        await asyncio.sleep(0)


@contextlib.contextmanager
def without_collector() -> Iterator[None]:
    """What is gone in here went without the garbage collector."""
    gc.collect()
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


# -- nodes that go on


class Stage:
    """Nodes of this process that go on until they are stopped or released, and tell of it.

    Attributes:
        running: The names of those that are running now.
        begun: The names of all that have begun, in order.
        ended: The names of those that have ended, in order, their cleaning up included.
        release: Lets go of those in threads. A coroutine that is cancelled sets it when it cleans up.
    """

    def __init__(self) -> None:
        self.running: list[str] = []
        self.begun: list[str] = []
        self.ended: list[str] = []
        self.release = threading.Event()
        self._loop = asyncio.get_running_loop()
        self._changed = asyncio.Event()

    def coroutine(self, name: str = "coroutine", *after: Any, clean: Callable[[], Any] | None = None) -> Any:
        """A coroutine that never ends by itself; `clean()` is awaited when it is cancelled."""

        async def endless(*_: Any) -> None:
            self._enter(name)
            try:
                await self._loop.create_future()
            finally:
                try:
                    self.release.set()
                    await turns(3)
                    if clean is not None:
                        await clean()
                finally:
                    self._leave(name)

        return delayed(endless, name=name)(*after)

    def thread(self, name: str = "thread", *after: Any) -> Any:
        """A call in a thread that goes on until it is released."""

        def blocked(*_: Any) -> str:
            self._enter(name)
            try:
                assert self.release.wait(PATIENCE)
            finally:
                self._leave(name)
            return name

        return delayed(blocked, executor="thread", name=name)(*after)

    async def have_begun(self, *names: str) -> None:
        """Wait until all of these have begun."""
        # Not `wait_for`, which in Python 3.11 may swallow a cancel.
        async with asyncio.timeout(PATIENCE):
            while not set(names) <= set(self.begun):
                self._changed.clear()
                await self._changed.wait()

    def after(self, *names: str) -> Any:
        """A node that waits until all of these have begun."""
        return delayed(self.have_begun, name="after")(*names)

    def _enter(self, name: str) -> None:
        self.running.append(name)
        self.begun.append(name)
        self._loop.call_soon_threadsafe(self._changed.set)

    def _leave(self, name: str) -> None:
        self.running.remove(name)
        self.ended.append(name)


# -- processes and programs


class Witness:
    """A named pipe: processes that have called `report` or `hold` are seen to run, and to be gone.

    Their end is seen as the end of the pipe: nobody has it open any more, neither they nor anything that
    they have started. That a process has ended but nobody has waited for it makes no difference.
    """

    def __init__(self, path: Path) -> None:
        os.mkfifo(path)
        self.path = str(path)
        self._fd = self._open()
        self._text = ""

    def pid(self) -> int:
        """Wait for the next report, which is the id of a process; blocking."""
        deadline = time.monotonic() + PATIENCE
        while "\n" not in self._text:
            assert self._is_readable(deadline), "nobody has reported"
            self._read()
        line, _, self._text = self._text.partition("\n")
        return int(line)

    async def next_pid(self) -> int:
        """The same, for the loop."""
        return await asyncio.to_thread(self.pid)

    def is_alone(self, seconds: float = 0) -> bool:
        """Whether all that have reported are gone, or will be within `seconds`; blocking."""
        deadline = time.monotonic() + seconds
        while not self._read():
            if not self._is_readable(deadline):
                return False
        return True

    def close(self) -> None:
        os.close(self._fd)

    def _open(self) -> int:
        return os.open(self.path, os.O_RDONLY | os.O_NONBLOCK)

    def _is_readable(self, deadline: float) -> bool:
        return bool(select.select([self._fd], [], [], max(deadline - time.monotonic(), 0))[0])

    def _read(self) -> bool:
        """Read what there is; whether that was the end, because nobody has the pipe open."""
        try:
            data = os.read(self._fd, 4096)
        except BlockingIOError:  # nothing, but somebody has it open
            return False
        self._text += data.decode()
        if not data:
            # Opened anew it is at no end before the next one has come and gone; never is it without a reader.
            ended, self._fd = self._fd, self._open()
            os.close(ended)
        return not data


@contextlib.contextmanager
def program(text: str, *arguments: str, **options: Any) -> Iterator[subprocess.Popen[str]]:
    """Run a script, which treats warnings as errors and cannot outlive the test."""
    command = [sys.executable, "-W", "error", "-c", textwrap.dedent(text), *arguments]
    options = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE, **options}
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    with subprocess.Popen(command, text=True, env=environment, start_new_session=True, **options) as process:
        try:
            yield process
        finally:
            process.kill()


def outcome_of(process: subprocess.Popen[str], given: str | None = None) -> tuple[int, str, str]:
    """Wait for a program; its exit code, and what it has printed."""
    printed, complained = process.communicate(given, timeout=PATIENCE)
    return process.returncode, printed, complained


def first_line(process: subprocess.Popen[str]) -> str:
    """The first line that a program prints, and nothing of what follows."""
    assert process.stdout is not None
    # Byte by byte: what a buffer has read ahead `communicate` would not see.
    read = b""
    while not read.endswith(b"\n") and (byte := os.read(process.stdout.fileno(), 1)):
        read += byte
    return read.decode().rstrip()


# -- what runs in workers


def report(path: str) -> int:
    """Tell the witness that this process runs."""
    fd = os.open(path, os.O_WRONLY)  # and never closed
    os.write(fd, f"{os.getpid()}\n".encode())
    return os.getpid()


def hold(path: str) -> None:
    """Tell the witness, and never end."""
    report(path)
    while True:
        signal.pause()


def hold_the_interpreter(path: str) -> None:
    """The same, in C code that lets no other thread run."""
    report(path)
    sum(itertools.repeat(0))


def pid(*_: Any) -> int:
    return os.getpid()


def fail(*_: Any) -> None:
    raise ValueError("a failure")


class LoadsHereOnly:
    """What can be unpickled by the process that pickled it, and by no other."""

    def __reduce__(self) -> Any:
        return _load_in, (os.getpid(),)


def _load_in(pid: int) -> LoadsHereOnly:
    if os.getpid() != pid:
        raise ValueError("it loads at home only")
    return LoadsHereOnly()


class LoadsNowhere:
    """What can be pickled, but not unpickled."""

    def __reduce__(self) -> Any:
        return _fail_to_load, ()


def _fail_to_load() -> None:
    raise ValueError("it does not load")


class Thing:
    """Something whose end can be seen."""


_seen: list[weakref.ref[Thing]] = []


def raise_beside_a_thing() -> None:
    """Fail, with a `Thing` among the variables of the frame."""
    thing = Thing()
    _seen.append(weakref.ref(thing))
    raise ValueError("beside a thing")


def count_things() -> tuple[int, int]:
    """How many things were made in this process, and how many of them are there."""
    made, alive = len(_seen), sum(each() is not None for each in _seen)
    _seen.clear()
    return made, alive
