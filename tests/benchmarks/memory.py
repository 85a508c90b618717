"""What the nodes of a built graph occupy."""

from __future__ import annotations

import functools
import gc
import operator
import tracemalloc
from collections.abc import Callable, Iterator
from typing import Any

from tests.benchmarks.table import Row
from tests.benchmarks.timing import OURS, Benchmark, rows_beside_ours, taking_turns
from tests.benchmarks.workloads import add_on_loop, dask, pairwise

_MOST_WITH_DASK = 5_000


def bytes_a_node(add: Callable[[Any, Any], Any], items: int) -> float:
    """Of the tree, by tracemalloc; the numbers that are its leaves were there before."""
    add(1, 2)  # what the first call makes for good is not a node's
    leaves = list(range(items + 1))
    gc.collect()
    tracemalloc.start()
    try:
        root = pairwise(leaves, add)
        gc.collect()
        size = tracemalloc.get_traced_memory()[0]
    finally:
        tracemalloc.stop()
    assert root is not None
    return size / items


def rows(items: int, rounds: int) -> Iterator[Row]:
    """Ours beside partial and dask."""
    works: dict[str, Callable[[], float]] = {
        OURS: lambda: bytes_a_node(add_on_loop, items),
        "functools.partial": lambda: bytes_a_node(functools.partial(functools.partial, operator.add), items),
    }
    remarks = {}
    if dask is not None:
        count = min(items, _MOST_WITH_DASK)
        add = dask.delayed(operator.add, pure=False)
        works["dask.delayed"] = lambda: bytes_a_node(add, count)
        if count < items:
            remarks["dask.delayed"] = f"{count:,} of them"
    ours, *others = rows_beside_ours(taking_turns(works, rounds), "bytes", {}, remarks)
    yield Row(ours.label, ours.figures, ours.unit, at_most=320)
    yield from others


BENCHMARKS = [
    Benchmark(
        "memory",
        "bytes a node of a pairwise tree, with where it was built, by tracemalloc",
        20_000,
        rows,
    )
]
