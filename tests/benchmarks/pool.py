"""The pool of worker processes: what a call costs, how soon there is a result, how busy workers are kept."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from multiprocessing.connection import Connection
from typing import Any

from tests.benchmarks import cold_start
from tests.benchmarks.called import Spell, busy, inc, rest
from tests.benchmarks.pool_contenders import (
    EXECUTOR,
    MAP,
    WORKERS,
    Opened,
    in_stdlib,
    there,
    warm_ours,
    warm_stdlib,
)
from tests.benchmarks.table import Row
from tests.benchmarks.timing import OURS, Benchmark, Contender, rows_beside_ours, taking_turns, timed

_Measure = Callable[[], float]


# -- many trivial calls

_CHUNK = 100
"""Calls that travel together where the standard library is told to do so."""


def call_ours(opened: Opened, *, is_built: bool) -> Contender:
    """A node for each call, built before the clock starts or after."""
    runner, runtime = opened
    node_of = there(inc)

    async def work(items: int) -> float:
        nodes = [node_of(number) for number in range(items)] if is_built else []
        began = time.perf_counter()
        if not is_built:
            nodes = [node_of(number) for number in range(items)]
        results = await runtime.compute(*nodes)
        taken = time.perf_counter() - began
        assert results == (tuple(range(1, items + 1)) if items > 1 else 1)
        return taken

    return lambda items: runner.run(work(items))


def call_executor(pool: ProcessPoolExecutor) -> Contender:
    """A future for each call."""

    async def work(items: int) -> float:
        began = time.perf_counter()
        results = await in_stdlib(pool, inc, range(items))
        taken = time.perf_counter() - began
        assert results == list(range(1, items + 1))
        return taken

    return lambda items: asyncio.run(work(items))


def call_map(pool: ProcessPoolExecutor) -> Contender:
    """Several calls at a time, and no loop."""
    return lambda items: timed(lambda: list(pool.map(inc, range(items), chunksize=_CHUNK)))


def calls(items: int, rounds: int) -> Iterator[Row]:
    """Ours with building and without, each beside the same figures of the others."""
    with warm_ours() as opened, warm_stdlib() as pool:
        contenders: dict[str, Contender] = {
            "built before": call_ours(opened, is_built=True),
            "building included": call_ours(opened, is_built=False),
            EXECUTOR: call_executor(pool),
            f"{MAP}, chunks of {_CHUNK}": call_map(pool),
        }
        results = taking_turns(
            {name: functools.partial(each, items) for name, each in contenders.items()}, rounds
        )
    figures = {name: [s / items * 1e6 for s in seconds] for name, seconds in results.items()}
    ways, peers = list(figures)[:2], list(figures)[2:]
    targets = dict(zip(peers, (70, 0.67), strict=True))
    for way in ways:
        beside = {OURS: figures[way], **{name: figures[name] for name in peers}}
        yield from rows_beside_ours(beside, "µs", targets, prefix=f"{way}: ")


# -- one trivial call at a time

_Trip = Callable[[int], float]
"""Does so many, one after another, and returns the microseconds of one: their median."""


def trip_ours(opened: Opened) -> _Trip:
    """From building a node to its value."""
    runner, runtime = opened
    node_of = there(inc)

    async def work(items: int) -> float:
        trips = []
        for number in range(items):
            began = time.perf_counter()
            assert await runtime.compute(node_of(number)) == number + 1
            trips.append(time.perf_counter() - began)
        return statistics.median(trips) * 1e6

    return lambda items: runner.run(work(items))


def trip_executor(pool: ProcessPoolExecutor) -> _Trip:
    """The same by `run_in_executor`."""

    async def work(items: int) -> float:
        loop = asyncio.get_running_loop()
        trips = []
        for number in range(items):
            began = time.perf_counter()
            assert await loop.run_in_executor(pool, inc, number) == number + 1
            trips.append(time.perf_counter() - began)
        return statistics.median(trips) * 1e6

    return lambda items: asyncio.run(work(items))


def trip_pipe(ours: Connection[Any, Any]) -> _Trip:
    """The same over a pipe to a process that waits at its other end, with no loop and no threads."""

    def work(items: int) -> float:
        trips = []
        for number in range(items):
            began = time.perf_counter()
            ours.send((inc, number))
            assert ours.recv() == number + 1
            trips.append(time.perf_counter() - began)
        return statistics.median(trips) * 1e6

    return work


def _answer(theirs: Connection[Any, Any]) -> None:
    with contextlib.suppress(EOFError):
        while True:
            function, argument = theirs.recv()
            theirs.send(function(argument))


@contextlib.contextmanager
def _answering() -> Iterator[Connection[Any, Any]]:
    context = get_context("spawn")
    ours, theirs = context.Pipe()
    process = context.Process(target=_answer, args=(theirs,))
    process.start()
    theirs.close()
    try:
        yield ours
    finally:
        ours.close()
        process.join()


def trips(items: int, rounds: int) -> Iterator[Row]:
    """Ours, the standard library's, and the floor."""
    with warm_ours() as opened, warm_stdlib() as pool, _answering() as pipe:
        contenders: dict[str, _Trip] = {
            OURS: trip_ours(opened),
            EXECUTOR: trip_executor(pool),
            "a bare pipe": trip_pipe(pipe),
        }
        for each in contenders.values():
            each(min(items, 10))  # no figure is that of a first call
        figures = taking_turns(
            {name: functools.partial(each, items) for name, each in contenders.items()}, rounds
        )
    yield from rows_beside_ours(figures, "µs", {EXECUTOR: 3})


# -- the first result of a pool

_LEAST_ROUNDS = 11

_COLD = {"ours": OURS, "stdlib": "ProcessPoolExecutor"}


def _in_interpreter(name: str) -> float:
    command = [sys.executable, "-m", cold_start.__name__, name]
    return float(subprocess.run(command, check=True, capture_output=True, text=True).stdout) * 1e3


def starts(items: int, rounds: int) -> Iterator[Row]:
    """In this process, which has had pools before, and in one that has imported what it needs and no more."""
    here: dict[str, _Measure] = {
        "ours": lambda: cold_start.ours() * 1e3,
        "stdlib": lambda: cold_start.stdlib() * 1e3,
    }
    fresh: dict[str, _Measure] = {name: functools.partial(_in_interpreter, name) for name in here}
    for place, measures in {"this process": here, "a fresh interpreter": fresh}.items():
        for measure in measures.values():
            measure()  # so that byte code is there
        results = taking_turns(measures, max(rounds, _LEAST_ROUNDS if rounds > 1 else 1))
        figures = {_COLD[name]: each for name, each in results.items()}
        ours, *others = rows_beside_ours(figures, "ms", {_COLD["stdlib"]: 3}, prefix=f"{place}: ")
        yield Row(ours.label, ours.figures, ours.unit, at_most=120)
        yield from others


# -- calls of a millisecond

_MILLISECOND = 0.001
_SMALL_CHUNK = 10

_Run = Callable[[Callable[[float], Spell], int], tuple[list[Spell], float]]
"""Does so many calls of a function, and returns what they did and the seconds that it took."""


def run_ours(opened: Opened) -> _Run:
    """A node for each call; building them is not measured."""
    runner, runtime = opened
    functions: dict[Any, Any] = {}

    async def work(function: Callable[[float], Spell], items: int) -> tuple[list[Spell], float]:
        # One for all rounds: what the first finds out about its duration is known in the others.
        node_of = functions.setdefault(function, there(function))
        nodes = [node_of(_MILLISECOND) for _ in range(items)]
        began = time.perf_counter()
        spells = await runtime.compute(nodes)
        return spells, time.perf_counter() - began

    return lambda function, items: runner.run(work(function, items))


def run_map(pool: ProcessPoolExecutor) -> _Run:
    """Several calls at a time."""

    def work(function: Callable[[float], Spell], items: int) -> tuple[list[Spell], float]:
        began = time.perf_counter()
        spells = list(pool.map(function, [_MILLISECOND] * items, chunksize=_SMALL_CHUNK))
        return spells, time.perf_counter() - began

    return work


def busyness(run: _Run, function: Callable[[float], Spell], items: int) -> float:
    """Per cent of the time of all workers that went into calls.

    A call that computes counts as long as it was told to take, since whatever made it longer was in its
    way. One that rests counts as long as it did: timers are late, which is nobody's fault.
    """
    spells, taken = run(function, items)
    if function is busy:
        return items * _MILLISECOND / (taken * WORKERS) * 100
    return sum(ended - began for _, began, ended in spells) / (taken * WORKERS) * 100


def milliseconds(items: int, rounds: int) -> Iterator[Row]:
    """Calls that compute and calls that rest."""
    with warm_ours() as opened, warm_stdlib() as pool:
        runs = {OURS: run_ours(opened), f"{MAP}, chunks of {_SMALL_CHUNK}": run_map(pool)}
        for kind, function in {"computing": busy, "resting": rest}.items():
            measures = {name: functools.partial(busyness, run, function, items) for name, run in runs.items()}
            for name, figures in taking_turns(measures, rounds).items():
                yield Row(f"{kind}: {name}", figures, "%", at_least=95 if name == OURS else None)


BENCHMARKS = [
    Benchmark(
        "pool-calls",
        f"trivial calls at once, {WORKERS} worker processes that are there already, a call",
        5_000,
        calls,
    ),
    Benchmark("pool-trip", "one trivial call at a time, to a worker process and back", 500, trips),
    Benchmark("pool-start", "from opening a pool of worker processes to its first result", 0, starts),
    Benchmark(
        "pool-busy",
        f"calls of 1 ms, {WORKERS} worker processes: how much of their time goes into calls",
        1_000,
        milliseconds,
    ),
]
