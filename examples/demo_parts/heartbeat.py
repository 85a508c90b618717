"""A heartbeat, which shows whether the event loop serves others while a graph runs."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from dataclasses import dataclass

BEAT = 0.005


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
