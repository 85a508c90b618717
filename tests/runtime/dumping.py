"""What dumps say, without what differs from run to run; and runs that stay where they are meanwhile."""

from __future__ import annotations

import asyncio
import io
import linecache
import re
import textwrap
import threading
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

from asyncgraph import Run
from tests.runtime.turns import until

SECONDS = 20


def read(look: Callable[..., None]) -> str:
    """What is written, without what differs from run to run; places are shown as their source lines."""
    file = io.StringIO()
    look(file=file)
    text = file.getvalue()
    assert "too fast" not in text
    text = re.sub(r"\d+\.\d\d(?: to \d+\.\d\d)? s\b", "… s", text)
    text = re.sub(r"\bthread asyncgraph-\d+", "thread …", text)
    text = re.sub(r"\bprocess \d+", "process …", text)
    return re.sub(r"(?m)^( +(?:built )?at) (.+):(\d+), in \S+$", _with_source, text)


def _with_source(place: re.Match[str]) -> str:
    return f"{place[1]} {linecache.getline(place[2], int(place[3])).strip()!r}"


def is_told(run: Run[Any], text: str) -> None:
    """Assert that the dump of a run is this."""
    assert read(run.dump) == textwrap.dedent(text).lstrip("\n")


@asynccontextmanager
async def going_on(*runs: Run[Any], gate: Gate | None = None) -> AsyncIterator[None]:
    """In the end, cancel the runs and let threads go, come what may."""
    try:
        yield
    finally:
        if gate is not None:
            gate.open()
        for run in runs:
            await run.aclose()


async def tells(look: Callable[..., None], part: str) -> None:
    """Let the loop go round until that is part of what is written."""
    await until(lambda: part in read(look))


async def endless(*_: Any) -> None:
    """Wait for what does not come."""
    await asyncio.get_running_loop().create_future()


class Gate:
    """Keeps calls in threads from ending until it is opened.

    Attributes:
        begun: How many calls have begun.
    """

    def __init__(self) -> None:
        self.begun = 0
        self._loop = asyncio.get_running_loop()
        self._changed = asyncio.Event()
        self._open = threading.Event()

    def blocked(self, *_: Any) -> bool:
        """Wait until the gate is opened; all at one line, so that it is known where a dump finds it."""
        return bool(self._loop.call_soon_threadsafe(self._add)) and self._open.wait(SECONDS)

    async def has_begun(self, count: int = 1) -> None:
        """Wait until so many calls have begun."""
        async with asyncio.timeout(SECONDS):
            while self.begun < count:
                self._changed.clear()
                await self._changed.wait()

    def open(self) -> None:
        """Let all go."""
        self._open.set()

    def _add(self) -> None:
        self.begun += 1
        self._changed.set()
