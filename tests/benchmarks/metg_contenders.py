"""Who runs the graphs of METG: for each executor asyncgraph, dask, and a program written by hand."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Executor, ProcessPoolExecutor, ThreadPoolExecutor
from contextlib import AbstractContextManager
from multiprocessing import get_context
from typing import Any

from asyncgraph import delayed
from tests.benchmarks.timing import OURS
from tests.benchmarks.workloads import dask, open_runtime

Graph = list[tuple[int, ...]]
Run = Callable[[Graph, Callable[..., int], int], float]
"""Runs a graph of one call, at a size, and returns the seconds; building the graph is not in them."""

_Opened = Callable[[int], AbstractContextManager[Run]]


def _nodes(graph: Graph, node_of: Callable[..., Any], size: int) -> list[Any]:
    nodes: list[Any] = []
    for needs in graph:
        nodes.append(node_of(size, *(nodes[each] for each in needs)))
    return nodes


def _sinks(graph: Graph, nodes: list[Any]) -> list[Any]:
    needed = {each for needs in graph for each in needs}
    return [node for number, node in enumerate(nodes) if number not in needed]


def ours(executor: str) -> _Opened:
    """By asyncgraph."""

    @contextlib.contextmanager
    def opened(cores: int) -> Iterator[Run]:
        join = delayed(len, executor="loop")
        with open_runtime(processes=cores, threads=cores) as (runner, runtime):
            known: dict[tuple[Any, int], Any] = {}

            def run(graph: Graph, call: Callable[..., int], size: int) -> float:
                # Another size is another function, whose duration has yet to be found out.
                if (call, size) not in known:
                    known.clear()
                    known[call, size] = delayed(call, executor=executor)
                root = join(_sinks(graph, _nodes(graph, known[call, size], size)))

                async def main() -> float:
                    start = time.perf_counter()
                    await runtime.compute(root)
                    return time.perf_counter() - start

                return runner.run(main())

            yield run

    return opened


def with_dask(scheduler: str, pool_of: Callable[[int], Executor] | None = None) -> dict[str, _Opened]:
    """By a local scheduler of dask, with a pool that stays."""

    @contextlib.contextmanager
    def opened(cores: int) -> Iterator[Run]:
        with contextlib.nullcontext() if pool_of is None else pool_of(cores) as pool:
            options = {} if pool is None else {"pool": pool}

            def run(graph: Graph, call: Callable[..., int], size: int) -> float:
                nodes = _nodes(graph, dask.delayed(call, pure=False), size)
                root = dask.delayed(len, pure=False)(_sinks(graph, nodes))
                start = time.perf_counter()
                root.compute(scheduler=scheduler, **options)
                return time.perf_counter() - start

            yield run

    return {} if dask is None else {f"dask {scheduler}": opened}


def by_hand(pool_of: Callable[[int], Executor]) -> _Opened:
    """By a task of asyncio for each, which awaits what it needs and then `run_in_executor`."""

    @contextlib.contextmanager
    def opened(cores: int) -> Iterator[Run]:
        with asyncio.Runner() as runner, pool_of(cores) as pool:

            def run(graph: Graph, call: Callable[..., int], size: int) -> float:
                async def main() -> float:
                    loop = asyncio.get_running_loop()
                    tasks: list[asyncio.Task[int]] = []

                    async def one(needs: tuple[int, ...]) -> int:
                        values = [await tasks[each] for each in needs]
                        return await loop.run_in_executor(pool, call, size, *values)

                    start = time.perf_counter()
                    tasks += [asyncio.create_task(one(needs)) for needs in graph]
                    await asyncio.gather(*tasks)
                    return time.perf_counter() - start

                return runner.run(main())

            yield run

    return opened


def processes(cores: int) -> Executor:
    """Worker processes of the standard library, started in the way that is safe beside threads."""
    return ProcessPoolExecutor(cores, mp_context=get_context("spawn"))


CONTENDERS: dict[str, dict[str, _Opened]] = {
    "inline": {OURS: ours("loop"), **with_dask("sync")},
    "threads": {
        OURS: ours("thread"),
        "ThreadPoolExecutor": by_hand(ThreadPoolExecutor),
        **with_dask("threads", ThreadPoolExecutor),
    },
    "processes": {
        OURS: ours("process"),
        "ProcessPoolExecutor": by_hand(processes),
        **with_dask("processes", processes),
    },
}
