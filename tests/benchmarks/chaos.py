"""Graphs of process nodes whose workers are killed, one after another, while they run."""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
import signal
import statistics
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from asyncgraph import Runtime, delayed
from tests.benchmarks.called import mixed
from tests.benchmarks.pool_contenders import WORKERS
from tests.benchmarks.table import Row
from tests.benchmarks.timing import Benchmark

_EVERY = 0.05
"""Seconds from one kill to the next."""

_RETRIES = 50
_GRAPHS_A_ROUND = 4
_MOST_NEEDS = 3
_SHORTEST, _LONGEST = 0.001, 0.005
_TIMEOUT = 300.0
"""Seconds after which a graph counts as failed."""

_PROC = Path("/proc")


class Task(NamedTuple):
    """How long it takes, and the tasks, by number, that it needs."""

    seconds: float
    needs: tuple[int, ...]


def graph_of(seed: int, tasks: int) -> list[Task]:
    """A random graph: each task needs up to three of those before it, whichever."""
    chance = random.Random(seed)
    return [
        Task(
            chance.uniform(_SHORTEST, _LONGEST),
            tuple(chance.sample(range(number), min(number, chance.randint(0, _MOST_NEEDS)))),
        )
        for number in range(tasks)
    ]


def serially(graph: list[Task]) -> list[int]:
    """The value of each task, found in this process."""
    values: list[int] = []
    for number, task in enumerate(graph):
        values.append(mixed(0, number, *(values[each] for each in task.needs)))
    return values


def _sinks(graph: list[Task]) -> list[int]:
    needed = {each for task in graph for each in task.needs}
    return [number for number in range(len(graph)) if number not in needed]


# -- who is killed


def workers(spared: frozenset[int] = frozenset()) -> set[int]:
    """Living processes that descend from this one and have no living children: those that do the work."""
    children: dict[int, list[int]] = {}
    for stat in _PROC.glob("[0-9]*/stat"):
        try:
            # The second field, a command in parentheses, may itself hold spaces and parentheses.
            state, parent = stat.read_text().rpartition(")")[2].split()[:2]
        except (OSError, ValueError):  # it has ended meanwhile
            continue
        if state not in "ZX":
            children.setdefault(int(parent), []).append(int(stat.parent.name))
    found, waiting = set[int](), [os.getpid()]
    while waiting:
        below = [each for each in children.get(waiting.pop(), []) if each not in spared]
        waiting += below
        found.update(each for each in below if each not in children)
    return found


async def _kill(chance: random.Random, spared: frozenset[int], killed: list[int]) -> None:
    while True:
        await asyncio.sleep(_EVERY)
        if found := sorted(workers(spared)):
            victim = chance.choice(found)
            with contextlib.suppress(ProcessLookupError):
                os.kill(victim, signal.SIGKILL)
                killed.append(victim)


# -- what comes of it


class Outcome(NamedTuple):
    """What came of one graph: seconds, how many were killed, how many were left, and what was wrong."""

    seconds: float
    killed: int
    left: int
    fault: str


async def run_graph(seed: int, tasks: int, *, is_killing: bool = True, **options: Any) -> Outcome:
    """Run the graph of that seed in a runtime of its own, with further options of `delayed`."""
    graph = graph_of(seed, tasks)
    expected = serially(graph)
    sinks = _sinks(graph)
    node_of = delayed(mixed, executor="process", **options)
    nodes: list[Any] = []
    for number, task in enumerate(graph):
        nodes.append(node_of(task.seconds, number, *(nodes[each] for each in task.needs)))
    spared, killed, fault = frozenset(workers()), list[int](), ""
    began = time.perf_counter()
    async with Runtime(processes=WORKERS) as runtime:
        killing = asyncio.create_task(_kill(random.Random(seed), spared, killed)) if is_killing else None
        try:
            values = await runtime.compute([nodes[each] for each in sinks], timeout=_TIMEOUT)
            if values != [expected[each] for each in sinks]:
                fault = "wrong values"
        except Exception as error:  # whatever it is, this graph has failed, and the next has its turn
            fault = type(error).__name__
        seconds = time.perf_counter() - began
        if killing is not None:
            killing.cancel()
            await asyncio.wait([killing])
    return Outcome(seconds, len(killed), len(workers(spared)), fault)


def rows(items: int, rounds: int) -> Iterator[Row]:
    """A few graphs a round, each with kills and without; the ratio is that of the two."""
    label = "graphs that failed or came out wrong"
    if not _PROC.exists():
        yield Row(label, remark=f"not measured: needs {_PROC}")
        return
    options: dict[str, Any] = {"retries_on_crash": _RETRIES}
    try:
        delayed(mixed, executor="process", **options)
    except TypeError:
        yield Row(label, remark="not measured: delayed has no retries_on_crash=")
        return
    seeds = range(_GRAPHS_A_ROUND * rounds)
    calm, killed = [], []
    for seed in seeds:
        calm.append(asyncio.run(run_graph(seed, items, is_killing=False, **options)))
        killed.append(asyncio.run(run_graph(seed, items, **options)))
    faults = [each.fault for each in (*calm, *killed) if each.fault]
    which = f", of {len(seeds)}: {', '.join(dict.fromkeys(faults)) or 'none of them'}"
    yield Row(label + which, [float(len(faults))], "graphs", at_most=0)
    left = float(sum(each.left for each in (*calm, *killed)))
    yield Row("workers left behind", [left], "workers", at_most=0)
    yield Row(
        f"workers killed in a graph, one every {_EVERY * 1e3:g} ms",
        [float(each.killed) for each in killed],
        "workers",
    )
    undisturbed = Row("a graph, nobody killed", [each.seconds for each in calm], "s")
    seconds = [each.seconds for each in killed]
    yield undisturbed
    yield Row("a graph, workers killed", seconds, "s", statistics.median(seconds) / undisturbed.median)


BENCHMARKS = [
    Benchmark(
        "chaos",
        f"random graphs of calls of 1 to 5 ms, {WORKERS} worker processes, one of them killed every "
        f"{_EVERY * 1e3:g} ms; {_GRAPHS_A_ROUND} graphs a round",
        500,
        rows,
    )
]
