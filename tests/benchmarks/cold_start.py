"""From opening a pool of worker processes to its first result.

A program, too, for interpreters that have done nothing else. It imports next to nothing, because processes
that multiprocessing spawns import their parent's program.
"""

from __future__ import annotations

import sys
import time

from tests.benchmarks.called import inc

_WORKERS = 2


def ours() -> float:
    """Seconds, with asyncgraph imported before and closing it not counted."""
    import asyncio

    from asyncgraph import Runtime, delayed

    async def main() -> float:
        node = delayed(inc, executor="process")(1)
        began = time.perf_counter()
        async with Runtime(processes=_WORKERS) as runtime:
            assert await runtime.compute(node) == 2
            return time.perf_counter() - began

    return asyncio.run(main())


def stdlib() -> float:
    """Seconds, with its modules imported before and closing it not counted."""
    from concurrent.futures import ProcessPoolExecutor
    from multiprocessing import get_context

    began = time.perf_counter()
    with ProcessPoolExecutor(_WORKERS, mp_context=get_context("spawn")) as pool:
        assert pool.submit(inc, 1).result() == 2
        return time.perf_counter() - began


if __name__ == "__main__":
    print({"ours": ours, "stdlib": stdlib}[sys.argv[1]]())
