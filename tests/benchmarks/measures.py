"""What is measured of asyncgraph alone: stalls of the loop, memory, growth, and the time to import it."""

from __future__ import annotations

import asyncio
import gc
import statistics
import subprocess
import sys
import time
import tracemalloc
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from asyncgraph import Runtime, compute, delayed, start
from tests.benchmarks.workloads import add_on_loop, not_suspending, suspending, timed, tree


@dataclass(frozen=True)
class Figure:
    """One figure.

    Attributes:
        label: Of what.
        value: How much.
        unit: Of what unit.
        most: What it is to be at most, or None.
    """

    label: str
    value: float
    unit: str
    most: float | None = None


@dataclass(frozen=True)
class Measure:
    """Something measured once: its name on the command line, what it is, the default size, and how."""

    name: str
    what: str
    items: int
    figures: Callable[[int], Iterator[Figure]]


def _identity(value: Any) -> Any:
    return value


def _worst_stall(build: Callable[[], Any]) -> float:
    """The longest time for which another coroutine did not get its turn while the graph was run, in ms."""

    async def main() -> float:
        worst, node = 0.0, build()
        last = time.perf_counter()
        run = start(node)
        while not run.done():
            await asyncio.sleep(0)
            now = time.perf_counter()
            worst, last = max(worst, now - last), now
        await run
        return worst * 1e3

    gc.collect()
    return asyncio.run(main())


def stalls(items: int) -> Iterator[Figure]:
    """For each way of running; median of three."""
    ways = {
        "inline": delayed(_identity, executor="loop"),
        "coroutines that do not suspend": delayed(not_suspending),
        "coroutines that suspend once": delayed(suspending),
        "threads": delayed(_identity, executor="thread"),
        "processes": delayed(_identity, executor="process"),
    }
    for label, function in ways.items():
        count = items if label != "processes" else items // 20

        def build(function: Any = function, count: int = count) -> Any:
            return delayed(len, executor="loop")([function(number) for number in range(count)])

        worst = statistics.median(_worst_stall(build) for _ in range(3))
        yield Figure(f"{label}, {count:,} nodes", worst, "ms", 10)

    async def task_group() -> None:
        async with asyncio.TaskGroup() as group:
            for number in range(items):
                group.create_task(not_suspending(number))

    async def main() -> float:
        return timed(lambda: None) + await _stall_of(task_group)

    yield Figure(f"for comparison: TaskGroup, {items:,} tasks", asyncio.run(main()), "ms")


async def _stall_of(work: Callable[[], Any]) -> float:
    task = asyncio.ensure_future(work())
    worst, last = 0.0, time.perf_counter()
    while not task.done():
        await asyncio.sleep(0)
        now = time.perf_counter()
        worst, last = max(worst, now - last), now
    return worst * 1e3


def memory(items: int) -> Iterator[Figure]:
    """Of the pairwise tree, by tracemalloc; the numbers in its leaves are not counted."""
    leaves = list(range(items + 1))
    gc.collect()
    tracemalloc.start()
    root = tree(add_on_loop, items)
    gc.collect()
    total = tracemalloc.get_traced_memory()[0]
    tracemalloc.stop()
    assert root is not None
    yield Figure("a node, with where it was built", (total - sys.getsizeof(leaves)) / items, "bytes", 320)


def _chain(items: int) -> Any:
    node = add_on_loop(0, 1)
    for _ in range(items - 1):
        node = add_on_loop(node, 1)
    return node


def _fan_in(items: int) -> Any:
    return delayed(len, executor="loop")([add_on_loop(number, 1) for number in range(items)])


def _fan_out(items: int) -> Any:
    source = add_on_loop(1, 1)
    return delayed(len, executor="loop")([add_on_loop(source, number) for number in range(items)])


def _steps(build: Callable[[int], Any], items: int) -> dict[str, float]:
    """Microseconds a node to build a graph, run it, cancel a run of it, and delete it."""

    async def main() -> dict[str, float]:
        gc.collect()
        marks = [time.perf_counter()]
        node = build(items)
        marks.append(time.perf_counter())
        await node
        marks.append(time.perf_counter())
        run = start(node)
        run.cancel()
        await asyncio.wait([asyncio.ensure_future(_ended(run))])
        marks.append(time.perf_counter())
        del node, run
        marks.append(time.perf_counter())
        names = ("build", "run", "cancel", "delete")
        return {name: (marks[i + 1] - marks[i]) / items * 1e6 for i, name in enumerate(names)}

    return asyncio.run(main())


async def _ended(run: Any) -> None:
    try:
        await run
    except asyncio.CancelledError:
        pass


def growth(items: int) -> Iterator[Figure]:
    """Cost a node at `items` beside that at a hundredth of it, median of three."""

    def both(count: int) -> float:
        steps = [_steps(lambda n: tree(add_on_loop, n), count) for _ in range(3)]
        return statistics.median(each["build"] + each["run"] for each in steps)

    yield Figure(
        f"tree, build and run, {items:,} against {items // 100:,}", both(items) / both(items // 100), "x", 1.3
    )


def shapes(items: int) -> Iterator[Figure]:
    """A chain, a fan-in and a fan-out."""
    for label, build in {"chain": _chain, "fan-in": _fan_in, "fan-out": _fan_out}.items():
        for count in (items // 10, items):
            for step, cost in _steps(build, count).items():
                yield Figure(f"{label}, {count:,}: {step}", cost, "µs")


def suspended(items: int) -> Iterator[Figure]:
    """All suspended at once: time and memory beside a TaskGroup."""
    figures: dict[str, tuple[float, float]] = {}

    async def ours(wait: Any, begun: Any) -> None:
        node_of = delayed(wait)
        async with Runtime(concurrency=items):
            await compute([node_of() for _ in range(items)])

    async def theirs(wait: Any, begun: Any) -> None:
        async with asyncio.TaskGroup() as group:
            for _ in range(items):
                group.create_task(wait())

    async def main(work: Any) -> tuple[float, float]:
        count, peak, go = 0, 0.0, asyncio.Event()

        async def wait() -> None:
            nonlocal count, peak
            count += 1
            if count == items:
                peak = tracemalloc.get_traced_memory()[0] if tracemalloc.is_tracing() else 0.0
                go.set()
            await go.wait()

        began = time.perf_counter()
        await work(wait, None)
        return time.perf_counter() - began, peak

    for name, work in (("asyncgraph", ours), ("TaskGroup", theirs)):
        gc.collect()
        seconds, _ = asyncio.run(main(work))
        gc.collect()
        tracemalloc.start()
        _, peak = asyncio.run(main(work))
        tracemalloc.stop()
        figures[name] = seconds, peak
        yield Figure(f"{name}: time a coroutine", seconds / items * 1e6, "µs")
        yield Figure(f"{name}: memory a coroutine", peak / items, "bytes")
    for index, what in enumerate(("time", "memory")):
        yield Figure(
            f"{what}, asyncgraph against TaskGroup",
            figures["asyncgraph"][index] / figures["TaskGroup"][index],
            "x",
            1,
        )


_IMPORT = "import sys, time; import asyncio; t = time.perf_counter(); {0}; print(time.perf_counter() - t)"
_LATE = ("aiofiles", "cloudpickle", "multiprocessing", "sqlite3", "tblib", "uvloop")


def imports(items: int) -> Iterator[Figure]:
    """Time of `import asyncgraph` when asyncio is there already; median of so many interpreters."""
    times = [float(_python(_IMPORT.format("import asyncgraph"))) for _ in range(items)]
    yield Figure("import asyncgraph, after asyncio", statistics.median(times) * 1e3, "ms", 30)
    loaded = _python(f"import sys, asyncgraph; print(sum(name in sys.modules for name in {_LATE!r}))")
    yield Figure(f"of {', '.join(_LATE)} it imports", float(loaded), "modules", 0)


def _python(code: str) -> str:
    return subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout


MEASURES = [
    Measure("stall", "worst stall of the loop while a graph runs", 100_000, stalls),
    Measure("memory", "memory of a built graph", 20_000, memory),
    Measure("growth", "cost a node as the graph grows", 1_000_000, growth),
    Measure("shapes", "graphs of extreme shape, a node", 1_000_000, shapes),
    Measure("suspended", "coroutines that are suspended at once", 100_000, suspended),
    Measure("import", "time to import", 11, imports),
]
