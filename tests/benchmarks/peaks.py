"""How many results are alive at the peak, in our order of the tasks and in dask's."""

from __future__ import annotations

from collections.abc import Iterator

from tests.benchmarks.table import Row
from tests.benchmarks.timing import Benchmark
from tests.benchmarks.workloads import dask


def rows(items: int, rounds: int) -> Iterator[Row]:
    """The geometric mean over many graphs, and the worst; nothing here is timed, so once is enough."""
    if dask is None:
        yield Row("live results, ours over dask's", remark="not measured: needs dask")
        return
    try:
        from tests.benchmarks import orders

        graphs, mean = orders.compare()
    except ImportError as error:
        yield Row("live results, ours over dask's", remark=f"not measured: {error}")
        return
    yield Row(f"geometric mean of {len(graphs)} graphs", [mean], "x", at_most=0.9)
    above = sum(row.ours > row.dask for row in graphs)
    yield Row("graphs on which ours is above", [float(above)], "graphs", at_most=0)
    worst = max(graphs, key=lambda row: row.ours / row.dask)
    yield Row(f"worst: {worst.name[:42]}", [worst.ours / worst.dask], "x")


BENCHMARKS = [
    Benchmark("order", "results alive at the peak with one worker, over those in dask's order", 0, rows)
]
