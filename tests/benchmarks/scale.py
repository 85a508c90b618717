"""Whether the cost of a node stays what it is as graphs grow, and in graphs of extreme shape."""

from __future__ import annotations

import asyncio
import functools
import gc
import operator
import statistics
import sys
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from typing import Any

from asyncgraph import compile, delayed, start
from tests.benchmarks.table import Row
from tests.benchmarks.timing import Benchmark, timed, timed_on_loop
from tests.benchmarks.workloads import add_on_loop, tree

_TIMES = 100
"""How many times more nodes the large tree has."""

_REPEATS = 10
"""The small tree is measured so often in a round, so that a figure is not that of 10 ms."""

_OTHERS = 10_000
"""Blocks of memory that may come and go meanwhile and are none of the graph's."""

_NO_COLLECTOR = "build, collector off"
_PARTIAL = "build functools.partial"

_partial_add = functools.partial(functools.partial, operator.add)

_count = delayed(len, executor="loop")


def _costs(items: int) -> dict[str, float]:
    """Microseconds a node to build a tree, to plan it alone, and to plan and run it."""
    roots: list[Any] = []
    gc.collect()
    seconds = {"build": timed(lambda: roots.append(tree(add_on_loop, items)))}
    gc.collect()
    seconds["plan"] = timed(lambda: roots.append(compile(roots[0])))
    roots.pop()
    gc.collect()
    seconds["plan and run"] = timed_on_loop(roots[0].compute)
    roots.clear()
    gc.collect()
    gc.disable()
    seconds[_NO_COLLECTOR] = timed(lambda: roots.append(tree(add_on_loop, items)))
    gc.enable()
    roots.clear()
    gc.collect()
    seconds[_PARTIAL] = timed(lambda: roots.append(tree(_partial_add, items)))
    return {name: each / items * 1e6 for name, each in seconds.items()}


def growth(items: int, rounds: int) -> Iterator[Row]:
    """A large tree beside a small one; the ratio is that of the two."""
    sizes = {max(1, items // _TIMES): _REPEATS, items: 1}
    figures: dict[tuple[str, int], list[float]] = defaultdict(list)
    for _ in range(rounds):
        for size, repeats in sizes.items():
            several = [_costs(size) for _ in range(repeats)]
            for step in several[0]:
                figures[step, size].append(statistics.mean(each[step] for each in several))
    small, large = sizes
    for step in ("build", "plan", "plan and run", _NO_COLLECTOR, _PARTIAL):
        yield Row(f"{step}, {small:,} nodes", figures[step, small], "µs")
        ratio = statistics.median(figures[step, large]) / statistics.median(figures[step, small])
        at_most = None if step in {_NO_COLLECTOR, _PARTIAL} else 1.3
        yield Row(f"{step}, {large:,} nodes", figures[step, large], "µs", ratio, at_most=at_most)


def chain(items: int) -> Any:
    """Each node needs the one before."""
    node = add_on_loop(0, 1)
    for _ in range(items - 1):
        node = add_on_loop(node, 1)
    return node


def fan_in(items: int) -> Any:
    """One node needs all others."""
    return _count([add_on_loop(number, 1) for number in range(items - 1)])


def fan_out(items: int) -> Any:
    """All nodes need one; another needs them, so that there is one to ask for."""
    source = add_on_loop(1, 1)
    return _count([add_on_loop(source, number) for number in range(items - 2)])


_TURNS = 3
"""Turns of the loop after which a run is cancelled: in the midst of it, if it is not a tiny one."""


async def _steps(build: Callable[[int], Any], items: int) -> dict[str, float]:
    """Microseconds a node to build a graph, run it, cancel a run in the midst of it, and delete it."""
    seconds = {}
    gc.collect()
    before = sys.getallocatedblocks()

    began = time.perf_counter()
    node = build(items)
    seconds["build"] = time.perf_counter() - began

    gc.collect()
    began = time.perf_counter()
    await node
    seconds["run"] = time.perf_counter() - began

    gc.collect()
    run = start(node)
    for _ in range(_TURNS):
        await asyncio.sleep(0)
    began = time.perf_counter()
    run.cancel()
    try:
        await run
    except asyncio.CancelledError:
        pass
    seconds["cancel"] = time.perf_counter() - began
    del run
    await asyncio.sleep(0)  # what the loop still holds of the run goes
    gc.collect()

    began = time.perf_counter()
    del node
    if sys.getallocatedblocks() - before > items // 2 + _OTHERS:  # somebody else, or a cycle, held it
        gc.collect()
    seconds["delete"] = time.perf_counter() - began
    return {step: each / items * 1e6 for step, each in seconds.items()}


def shapes(items: int, rounds: int) -> Iterator[Row]:
    """A chain, a fan-in and a fan-out, at full size and at a tenth; the ratio is that of the two."""
    small, large = max(3, items // 10), items
    for label, build in {"chain": chain, "fan-in": fan_in, "fan-out": fan_out}.items():
        figures: dict[tuple[str, int], list[float]] = defaultdict(list)
        for _ in range(rounds):
            for size in (small, large):
                for step, cost in asyncio.run(_steps(build, size)).items():
                    figures[step, size].append(cost)
        for step in ("build", "run", "cancel", "delete"):
            yield Row(f"{label}, {step}, {small:,} nodes", figures[step, small], "µs")
            ratio = statistics.median(figures[step, large]) / statistics.median(figures[step, small])
            yield Row(f"{label}, {step}, {large:,} nodes", figures[step, large], "µs", ratio)


BENCHMARKS = [
    Benchmark(
        "growth",
        "a pairwise tree of additions, large and small, a node; the ratio is theirs",
        1_000_000,
        growth,
    ),
    Benchmark(
        "shapes",
        "a chain, a fan-in, a fan-out, at two sizes, a node; the ratio is that of the sizes",
        1_000_000,
        shapes,
        most_rounds=3,
    ),
]
