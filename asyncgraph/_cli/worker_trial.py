"""A trial of a worker process, as a runtime starts it: whether it works, and how long things take."""

from __future__ import annotations

import asyncio
import os
import statistics
import time
from typing import NamedTuple

from asyncgraph import Runtime, delayed

__all__ = ["Trial", "try_a_worker"]

_CALLS = 100
_LARGE = 8 << 20
_TIMEOUT = 60.0


class Trial(NamedTuple):
    """What was seen.

    Attributes:
        loop: The class of the event loop.
        start: Seconds from the first call to its value, with which a worker comes to be.
        round_trip: Seconds from a call to its value, later on; the median of many.
        transfer: Seconds that it takes to send a worker 8 MB and to get them back.
        is_apart: Whether it was another process.
        has_same_clock: Whether its clock is the one of this process.
    """

    loop: str
    start: float
    round_trip: float
    transfer: float
    is_apart: bool
    has_same_clock: bool


async def try_a_worker() -> Trial:
    """Start one, and use it.

    Raises:
        Exception: It does not work; whatever a runtime says of that.
        TimeoutError: It took more than a minute.
    """
    loop = type(asyncio.get_running_loop())
    async with asyncio.timeout(_TIMEOUT), Runtime(processes=1):
        began = time.perf_counter()
        pid = await _getpid()
        start = time.perf_counter() - began
        times = []
        for _ in range(_CALLS):
            began = time.perf_counter()
            await _getpid()
            times.append(time.perf_counter() - began)
        before, there, after = time.perf_counter(), await _clock(), time.perf_counter()
        data = bytearray(os.urandom(_LARGE))
        began = time.perf_counter()
        is_whole = await _itself(data) == data
        transfer = time.perf_counter() - began
    if not is_whole:
        raise ValueError("what came back from a worker process was not what had been sent")
    return Trial(
        f"{loop.__module__.partition('.')[0]}.{loop.__qualname__}",
        start,
        statistics.median(times),
        transfer,
        pid != os.getpid(),
        before <= there <= after,
    )


_getpid = delayed(os.getpid, executor="process")
_clock = delayed(time.perf_counter, executor="process")


@delayed(executor="process")
def _itself(data: bytearray) -> bytearray:
    return data
