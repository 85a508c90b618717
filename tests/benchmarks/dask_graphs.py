"""Dask's array graphs on asyncgraph, beside Dask's own threaded scheduler."""

from __future__ import annotations

import time
import tracemalloc
from collections.abc import Callable, Iterator
from functools import partial
from math import isqrt
from typing import Any

from tests.benchmarks.table import Row
from tests.benchmarks.timing import OURS, Benchmark, rows_beside_ours, taking_turns
from tests.benchmarks.workloads import dask

_THREADED = "dask threaded"

_SMALL, _MIDDLE, _LARGE = 4, 64, 128
"""Numbers along a side of the blocks: where cost is measured, and where memory is (32 and 128 KiB each)."""

_FEW = 20
"""How many times fewer tasks there are with large blocks: what is there is blocks, and hardly the graph."""


def _sum(blocks: int, side: int) -> Any:
    """Blocks that are made, changed, and summed up along a tree."""
    from dask import array

    return (array.ones((blocks * side, blocks * side), chunks=side) + 1).sum()


def _transposed(blocks: int, side: int) -> Any:
    """Blocks that are needed twice, for one near and one far."""
    from dask import array

    numbers = array.ones((blocks * side, blocks * side), chunks=side).persist(scheduler="sync")
    return (numbers + numbers.T).sum(axis=0).sum()


def _product(blocks: int, side: int) -> Any:
    """A product of matrices: each block is needed as often as there are blocks along a side."""
    from dask import array

    blocks = round((blocks * blocks) ** (1 / 3))
    numbers = array.ones((blocks * side, blocks * side), chunks=side)
    return (numbers @ numbers).sum()


GRAPHS: dict[str, Callable[[int, int], Any]] = {
    "sum": _sum,
    "transposed": _transposed,
    "product": _product,
}


def _lowered(collection: Any) -> tuple[dict[Any, Any], list[Any]]:
    """The graph that a scheduler is given, and the keys."""
    from dask._expr import FinalizeCompute
    from dask.base import collections_to_expr
    from dask.core import flatten

    expression = FinalizeCompute(collections_to_expr((collection,))).optimize()
    return dict(expression.__dask_graph__()), list(flatten(expression.__dask_keys__()))


def _schedulers() -> dict[str, Callable[..., Any]]:
    import dask.threaded

    from asyncgraph.dask import get

    return {OURS: get, _THREADED: dask.threaded.get}


def _microseconds(get: Callable[..., Any], graph: dict[Any, Any], keys: list[Any]) -> float:
    """Of the processor, a task: tasks as small as these run one at a time, whatever else the machine does."""
    began = time.process_time()
    get(graph, keys)
    return (time.process_time() - began) / len(graph) * 1e6


def _peak(get: Callable[..., Any], graph: dict[Any, Any], keys: list[Any]) -> float:
    """Megabytes that were there at most, above what was there before."""
    tracemalloc.start()
    try:
        get(graph, keys)
        return tracemalloc.get_traced_memory()[1] / 1e6
    finally:
        tracemalloc.stop()


def _compared(
    measure: Callable[..., float], items: int, side: int, rounds: int, unit: str, at_least: float
) -> Iterator[Row]:
    if dask is None:
        yield Row("Dask's graphs", remark="not measured: needs dask")
        return
    from asyncgraph.dask.bridge import close_bridges

    for name, make in GRAPHS.items():
        graph, keys = _lowered(make(isqrt(items), side))
        works = {each: partial(measure, get, graph, keys) for each, get in _schedulers().items()}
        figures = taking_turns(works, rounds)
        yield from rows_beside_ours(figures, unit, {_THREADED: at_least}, prefix=f"{name}, {len(graph):,}: ")
    close_bridges()


def costs(items: int, rounds: int) -> Iterator[Row]:
    """Small blocks: what a task costs beside its function."""
    return _compared(_microseconds, items, _SMALL, rounds, "µs", at_least=2)


def peaks(items: int, rounds: int) -> Iterator[Row]:
    """What is there at once, of the graph and of the blocks; and of graphs that have few and large blocks."""
    yield from _compared(_peak, items, _MIDDLE, rounds, "MB", at_least=1)
    yield from _compared(_peak, items // _FEW, _LARGE, rounds, "MB", at_least=1)


BENCHMARKS = [
    Benchmark("dask-cost", "processor time a task of Dask's array graphs, in threads", 10_000, costs),
    Benchmark("dask-memory", "the peak of Dask's array graphs, in threads", 10_000, peaks, most_rounds=3),
]
