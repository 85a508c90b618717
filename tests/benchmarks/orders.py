"""How many results are alive at the peak: our order of the tasks beside that of dask.

`python -m tests.benchmarks.orders` prints both for many graphs.
"""

# ruff: noqa: PLW0108 - each graph is made when its turn comes

from __future__ import annotations

import argparse
import contextlib
import io
import math
import os
from collections.abc import Callable, Hashable, Iterable, Iterator, Sequence
from typing import Any, NamedTuple

from asyncgraph._graph.order import order_of_shape
from asyncgraph._graph.pieces import whole
from tests.benchmarks import graphs
from tests.benchmarks.graphs import Edges, Graph, numbered, reversed_edges


def peak(dependencies: Sequence[Sequence[int]], tasks: Iterable[int]) -> int:
    """The most results that are alive at once while one worker runs `tasks` in this order.

    A result is alive from when its task ran until its last dependent has; that of an output to the end.
    It is counted when a task has run and what it took is still there.
    """
    uses = [0] * len(dependencies)
    for each in dependencies:
        for dependency in set(each):
            uses[dependency] += 1
    alive = most = 0
    for task in tasks:
        alive += 1
        most = max(most, alive)
        for dependency in set(dependencies[task]):
            uses[dependency] -= 1
            if not uses[dependency]:
                alive -= 1
    return most


class Row(NamedTuple):
    """One graph: the peak of our order, of the given (depth-first) one and of dask's."""

    name: str
    tasks: int
    ours: int
    given: int
    dask: int


# -- dask


def dask_peak(dependencies: Edges, keys: list[Hashable], graph: Any = None) -> int:
    """What dask reaches: the best of its orders for numbers, for the keys, and for the graph as it is.

    In the first two every task is one that calls something. In a graph of dask's own some may be mere
    data, which its order places as it likes; the keys count because they break ties.
    """
    from dask._task_spec import Task, TaskRef
    from dask.order import order as dask_order

    def tasks(names: list[Any]) -> Any:
        return {
            names[number]: Task(names[number], len, *(TaskRef(names[each]) for each in dict.fromkeys(needs)))
            for number, needs in enumerate(dependencies)
        }

    number_of = {key: number for number, key in enumerate(keys)}
    peaks = []
    for tried, numbers in (
        (tasks(list(range(len(keys)))), None),
        (tasks(keys), number_of),
        *([(graph, number_of)] if graph is not None else []),
    ):
        place = dask_order(tried)
        in_order = sorted(place, key=place.__getitem__)
        peaks.append(peak(dependencies, in_order if numbers is None else [numbers[key] for key in in_order]))
    return min(peaks)


def dask_dependencies(graph: Any) -> Graph:
    """A graph of dask's as plain keys, those from outside left out, in an order that is always the same."""
    from dask.core import get_deps

    dependencies, _ = get_deps(dict(graph))
    return {
        key: sorted((each for each in needs if each in dependencies), key=str)
        for key, needs in dependencies.items()
    }


def graphs_of_dask_tests() -> dict[str, Any]:
    """The graphs that dask's own tests of its order put it to, caught while these run.

    Some wheels of dask come without tests; then there are none.
    """
    import dask.order
    import pytest

    caught: dict[str, Any] = {}
    original = dask.order.order

    class Catcher:
        def pytest_collection_modifyitems(self, items: list[Any]) -> None:
            for module in {item.module for item in items}:
                module.order = self.order

        def pytest_runtest_call(self, item: Any) -> None:
            self.name = item.name

        def order(self, graph: Any, *args: Any, **kwargs: Any) -> Any:
            name = next(name for i in range(1000) if (name := f"{self.name} {i}") not in caught)
            with contextlib.suppress(TypeError):
                caught[name] = dict(graph)
            return original(graph, *args, **kwargs)

    catcher = Catcher()
    dask.order.order = catcher.order
    try:
        with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
            pytest.main(
                ["--pyargs", "dask.tests.test_order", "-q", "-p", "no:cacheprovider", "-c", os.devnull],
                plugins=[catcher],
            )
    finally:
        dask.order.order = original
    return caught


def graphs_of_dask_arrays() -> Iterator[tuple[str, Any]]:
    """What dask makes of operations on arrays, as they are and after its optimizations."""
    import dask.array as da
    import numpy as np

    x = da.ones((64, 64), chunks=(8, 8))
    long = da.ones((100, 4), chunks=(2, 4))
    y = da.random.random((40, 40), chunks=(10, 10))
    days = np.arange(100) % 10
    by_day = np.argsort(days, kind="stable")
    collections: dict[str, Callable[[], Any]] = {
        "centred sum": lambda: (x - x.mean(0)).sum(),
        "centred": lambda: x - x.mean(axis=0),
        "centred both": lambda: (x - x.mean(0) - x.mean(1)[:, None]).sum(),
        "centred long": lambda: (long - long.mean(0)).sum(),
        "standardised": lambda: ((x - x.mean(0)) / x.std(0)).sum(0),
        "variance": lambda: x.var(),
        "sum": lambda: x.sum(),
        "sum of a line": lambda: long.sum(0),
        "mean, by 2": lambda: da.reduction(long, np.sum, np.sum, axis=0, split_every=2, dtype=float),
        "rechunk to rows": lambda: x.rechunk((2, 64)),
        "rechunk to columns": lambda: x.rechunk((64, 4)),
        "rechunk crosswise": lambda: da.ones((60, 60), chunks=(5, 60)).rechunk((60, 5)),
        "rechunk odd": lambda: x.rechunk((7, 9)),
        "rechunk and sum": lambda: x.rechunk((64, 4)).sum(0),
        "overlap": lambda: x.map_overlap(lambda b: b, depth=1, boundary="reflect"),
        "overlap in a line": lambda: long.map_overlap(lambda b: b, depth=1, boundary="none"),
        "overlap twice": lambda: x.map_overlap(lambda b: b, depth=1, boundary="none").map_overlap(
            lambda b: b, depth=1, boundary="none"
        ),
        "anomaly": lambda: (long - da.stack([long[days == d].mean(0) for d in range(10)])[days]).mean(0),
        "anomaly by take": lambda: (long - long[by_day].rechunk((10, 4)).mean(0)).sum(),
        "tsqr": lambda: da.linalg.tsqr(long),
        "svd": lambda: da.linalg.svd(long),
        "svd compressed": lambda: da.linalg.svd_compressed(x, 4, n_power_iter=1, seed=1),
        "qr both": lambda: da.linalg.qr(long)[1],
        "lu": lambda: da.linalg.lu(da.ones((40, 40), chunks=10) + da.eye(40, chunks=10)),
        "cholesky": lambda: da.linalg.cholesky(da.eye(40, chunks=10)),
        "solve": lambda: da.linalg.solve(da.eye(40, chunks=10), da.ones((40,), chunks=10)),
        "matmul": lambda: x @ x,
        "matmul transposed": lambda: x @ x.T,
        "matmul chain": lambda: (x @ x) @ x,
        "gram": lambda: (x.T @ x).sum(),
        "random mean": lambda: (y - y.mean(0)).std(),
        "transpose sum": lambda: (x + x.T).sum(),
        "concatenate": lambda: da.concatenate([x, x + 1, x.T]).mean(1),
        "fft": lambda: da.fft.fft(da.ones((32, 32), chunks=(32, 4)), axis=0).sum(),
        "cumsum": lambda: long.cumsum(0),
        "cumsum blelloch": lambda: da.cumsum(long, axis=0, method="blelloch"),
        "histogram": lambda: da.histogram(long, bins=10, range=(0, 1))[0],
        "percentiles": lambda: da.percentile(long[:, 0], [10, 50, 90]),
        "topk": lambda: da.topk(long[:, 0], 5),
        "diff": lambda: da.diff(long, axis=0),
        "roll": lambda: da.roll(long, 3, axis=0),
        "tensordot": lambda: da.tensordot(x, x, axes=([0], [0])),
        "einsum": lambda: da.einsum("ij,jk,kl->il", x, x, x),
        "covariance": lambda: da.cov(x),
        "gradient": lambda: da.gradient(x, axis=0).sum(),
        "shuffle": lambda: da.random.permutation(long),
        "slicing": lambda: (x[::2, ::3] + x[1::2, ::3]).sum(1),
        "coarsen": lambda: da.coarsen(np.mean, x, {0: 4, 1: 4}),
        "pca": lambda: da.linalg.svd_compressed(x - x.mean(0), 4, seed=1)[0].sum(),
    }
    for name, collection in collections.items():
        with contextlib.suppress(ImportError):  # some need scipy
            yield from graphs_of_collection(name, collection())


def graphs_of_collection(name: str, collection: Any) -> Iterator[tuple[str, Any]]:
    """The graph of one dask collection, or of several together, without and with optimization."""
    from dask.base import collections_to_expr

    several = list(collection) if isinstance(collection, tuple) else [collection]
    for is_fused in (False, True):
        expression = collections_to_expr(several, optimize_graph=is_fused)
        graph = expression.optimize().__dask_graph__() if is_fused else expression.__dask_graph__()
        yield f"da {name}{', fused' if is_fused else ''}", dict(graph)


def all_graphs() -> Iterator[tuple[str, Graph, Any]]:
    """Name, plain dependencies, and for graphs of dask's the graph itself."""
    for name, shape in graphs.SHAPES.items():
        yield name, shape(), None
    for name, graph in (*graphs_of_dask_arrays(), *graphs_of_dask_tests().items()):
        if graph:
            try:
                yield name, dask_dependencies(graph), graph
            except TypeError:
                continue


# -- ours


def our_order(dependencies: Edges) -> Sequence[int]:
    """The order in which asyncgraph would run the tasks on one worker."""
    dependents = reversed_edges(dependencies)
    outputs = tuple(task for task, each in enumerate(dependents) if not each)
    is_tree = all(len(each) <= 1 for each in dependents)
    found = whole(order_of_shape(tuple(dependencies), outputs, is_tree=is_tree))
    return range(len(dependencies)) if found is None else found


def compare(is_wanted: Callable[[str], bool] = lambda name: True) -> tuple[list[Row], float]:
    """A row for each graph that differs from those before, and the geometric mean of ours over dask's."""
    rows, seen = [], set()
    for name, graph, original in all_graphs():
        if not is_wanted(name):
            continue
        try:
            dependencies, keys = numbered(graph)
        except KeyError:
            continue
        if len(keys) != len(graph) or tuple(dependencies) in seen:
            continue  # a cycle, or there already
        seen.add(tuple(dependencies))
        given = range(len(keys))
        ours = our_order(dependencies)
        rows.append(
            Row(
                name,
                len(keys),
                peak(dependencies, ours),
                peak(dependencies, given),
                dask_peak(dependencies, keys, original),
            )
        )
    return rows, mean_ratio(rows)


def mean_ratio(rows: list[Row]) -> float:
    """The geometric mean of our peaks over those of dask."""
    return math.exp(sum(math.log(row.ours / row.dask) for row in rows) / len(rows))


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("name", nargs="?", default="", help="only graphs with this in their names")
    options = parser.parse_args()
    rows, mean = compare(lambda name: options.name in name)
    print(f"{'peak of live results':<52}{'tasks':>8}{'ours':>8}{'given':>8}{'dask':>8}{'ratio':>8}")
    for row in sorted(rows, key=lambda row: row.ours / row.dask):
        numbers = "".join(f"{number:>8}" for number in row[1:])
        print(f"{row.name[:50]:<52}{numbers}{row.ours / row.dask:>8.2f}")
    above = sum(row.ours > row.dask for row in rows)
    print(f"\n{len(rows)} graphs: geometric mean {mean:.3f}, {above} above")


if __name__ == "__main__":
    main()
