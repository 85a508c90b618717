"""What calls on workers and their test tell each other: pipes with names, which nobody has to ask twice."""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple


class Gate(NamedTuple):
    """A pipe with a name; it pickles."""

    path: str

    @classmethod
    @contextlib.contextmanager
    def made(cls, path: Path) -> Iterator[Gate]:
        """Make one; whoever waits at it then is let through at the end."""
        os.mkfifo(path)
        # Both ends, so that nobody else has to wait for the other one.
        descriptor = os.open(path, os.O_RDWR | os.O_NONBLOCK)
        try:
            yield cls(str(path))
            os.write(descriptor, b"x" * 100)
            os.unlink(path)  # while it is open here: who has opened it too reads that, and no other can
        finally:
            os.close(descriptor)

    def open(self, times: int = 1) -> None:
        """Let so many through."""
        with open(self.path, "r+b", buffering=0) as pipe:
            pipe.write(b"x" * times)

    def wait(self) -> None:
        """Wait, in the thread of a worker, until it is opened."""
        with open(self.path, "rb", buffering=0) as pipe:
            pipe.read(1)

    async def opened(self) -> None:
        """Wait, on the loop, until it is opened."""
        loop, opened = asyncio.get_running_loop(), asyncio.Event()
        descriptor = os.open(self.path, os.O_RDONLY | os.O_NONBLOCK)
        loop.add_reader(descriptor, opened.set)
        try:
            await opened.wait()
            os.read(descriptor, 1)
        finally:
            loop.remove_reader(descriptor)
            os.close(descriptor)
