"""A heartbeat, which shows whether the event loop serves others while a graph runs, and a progress line."""

from __future__ import annotations

import asyncio
import contextlib
import sys
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

from asyncgraph import Run

BEAT = 0.005
REFRESH = 0.1


@dataclass
class Heartbeat:
    """Knows by how many seconds the latest of its beats was late: the loop's worst stall."""

    worst_stall: float = 0.0

    async def beat(self) -> None:
        """Beat every few milliseconds, until cancelled."""
        clock = asyncio.get_running_loop().time
        while True:
            due = clock() + BEAT
            await asyncio.sleep(BEAT)
            self.worst_stall = max(self.worst_stall, clock() - due)


@contextlib.asynccontextmanager
async def heartbeat() -> AsyncIterator[Heartbeat]:
    """Beat for the length of an `async with` block."""
    heart = Heartbeat()
    beating = asyncio.create_task(heart.beat())
    try:
        yield heart
    finally:
        beating.cancel()
        await asyncio.wait([beating])


async def show_progress(run: Run[Any]) -> None:
    """Keep a line about the run up to date until it is over, where there is a terminal to show it."""
    if not sys.stdout.isatty():
        return
    while not run.done():
        now = run.statistics()
        line = f"{now.finished:,} of {now.nodes:,} nodes finished, {now.running} running"
        print(f"\r{line}\x1b[K", end="", flush=True)
        await asyncio.sleep(REFRESH)
    print("\r\x1b[K", end="", flush=True)
