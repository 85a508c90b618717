"""The ways in which a run may end early, for tests of what comes of its nodes."""

from __future__ import annotations

import asyncio
from typing import Any

from asyncgraph import compute, delayed, start
from tests.errors.reading import failure_of

ENDINGS = ["cancel", "double cancel", "run.cancel", "timeout", "failure"]


class Mine(Exception):
    """What a node of a test raises."""


async def end(ending: str, begun: asyncio.Event, *nodes: Any) -> BaseException:
    """Run the nodes, and end that in one of these ways when `begun` is set; returns what the run raises."""

    async def fail() -> None:
        await begun.wait()
        raise Mine

    if ending == "failure":
        error = await failure_of(compute(*nodes, delayed(fail)()))
        assert type(error) is Mine
        return error
    going_on = start(nodes)

    async def wait() -> Any:
        return await going_on

    task = asyncio.ensure_future(wait())
    await begun.wait()
    if ending == "timeout":
        going_on._expire(0.0)  # what the timer of `compute(timeout=)` does, when all have begun
    else:
        (going_on if ending == "run.cancel" else task).cancel()
    if ending == "double cancel":
        await asyncio.sleep(0)
        task.cancel()
    error = await failure_of(task)
    assert isinstance(error, TimeoutError if ending == "timeout" else asyncio.CancelledError)
    return error
