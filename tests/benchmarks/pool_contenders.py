"""Two pools of worker processes, ours and the standard library's, and what both are given to do."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from typing import Any

from asyncgraph import Runtime, delayed
from tests.benchmarks import called
from tests.benchmarks.workloads import open_runtime

WORKERS = 2

EXECUTOR = "run_in_executor"
MAP = "ProcessPoolExecutor.map"

_STARTED = 0.3
"""Seconds that a first call takes in each worker, so that none gets two: the others have started by then."""

Opened = tuple[asyncio.Runner, Runtime]
_Call = Callable[..., Any]


def there(function: _Call) -> Any:
    """The function, for worker processes."""
    return delayed(function, executor="process")


@contextlib.contextmanager
def warm_ours() -> Iterator[Opened]:
    """A runtime all of whose workers have started."""
    with open_runtime(processes=WORKERS) as (runner, runtime):
        rest = there(called.rest)
        runner.run(_computed(runtime, [rest(_STARTED) for _ in range(WORKERS)]))
        yield runner, runtime


async def _computed(runtime: Runtime, node: Any) -> Any:
    return await runtime.compute(node)


@contextlib.contextmanager
def warm_stdlib() -> Iterator[ProcessPoolExecutor]:
    """The standard library's pool, started in the way that is safe beside threads; all workers are there."""
    with ProcessPoolExecutor(WORKERS, mp_context=get_context("spawn")) as pool:
        list(pool.map(called.rest, [_STARTED] * WORKERS))
        yield pool


async def in_stdlib(pool: ProcessPoolExecutor, function: _Call, arguments: Sequence[Any]) -> list[Any]:
    """What `function` gives for each of the arguments, by `run_in_executor` and `gather`."""
    loop = asyncio.get_running_loop()
    return await asyncio.gather(*(loop.run_in_executor(pool, function, each) for each in arguments))
