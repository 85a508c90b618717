"""Let the loop go round: so many times, or until something is so for which there is no event."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

# Seconds after which a test has failed.
_LONGEST = 30


async def turns(count: int) -> None:
    """Let the loop go round so many times."""
    for _ in range(count):
        await asyncio.sleep(0)


async def until(is_true: Callable[[], bool]) -> None:
    """Let the loop go round until that is true."""
    async with asyncio.timeout(_LONGEST):
        while not is_true():  # noqa: ASYNC110 - there are no events for what is asked
            await asyncio.sleep(0)
