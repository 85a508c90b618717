"""METG: the smallest duration of a task at which half of the time of the cores goes into tasks.

After Task Bench (Slaughter et al., SC'20): graphs of a fixed width, step behind step, in which every task
takes the same time. Efficiency is the time of all tasks over that of all cores.
"""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack

from tests.benchmarks import metg_contenders as who
from tests.benchmarks.kernels import Kernel, calibrated, digest, spin
from tests.benchmarks.table import Row
from tests.benchmarks.timing import Benchmark, rows_beside_ours, taking_turns

WIDTH = 8
_STAGES = 3  # log2 of the width

_ENOUGH = 0.04
"""Seconds that one measurement takes at least, so that its beginning and end do not count."""

_LEAST_TASKS, _MOST_TASKS = 16 * WIDTH, 512 * WIDTH
_LONGEST = 0.02
_RESOLUTION = 1.1


def _stencil(step: int, place: int) -> Iterator[int]:
    return (each for each in (place - 1, place, place + 1) if 0 <= each < WIDTH)


def _nearest(step: int, place: int) -> Iterator[int]:
    return (each for each in range(place - 2, place + 3) if 0 <= each < WIDTH)


def _fft(step: int, place: int) -> Iterator[int]:
    reach = 1 << (step - 1) % _STAGES
    return (each for each in (place - reach, place, place + reach) if 0 <= each < WIDTH)


def _tree(step: int, place: int) -> Iterator[int]:
    yield place // 2


def _none(step: int, place: int) -> Iterator[int]:
    return iter(())


PATTERNS: dict[str, Callable[[int, int], Iterator[int]]] = {
    "stencil": _stencil,
    "fft": _fft,
    "tree": _tree,
    "nearest": _nearest,
    "none": _none,
}


def graph_of(pattern: str, tasks: int) -> who.Graph:
    """For each task the tasks of the step before that it needs, by number."""
    needs = PATTERNS[pattern]
    return [
        tuple((step - 1) * WIDTH + each for each in needs(step, place)) if step else ()
        for step in range(max(1, tasks // WIDTH))
        for place in range(WIDTH)
    ]


class Search:
    """Looks for the METG of one contender and pattern; knows from one round to the next where it was."""

    def __init__(self, run: who.Run, pattern: str, kernel: Kernel, cores: int, most_tasks: int) -> None:
        self._run = run
        self._kernel = kernel
        self._cores = cores
        small = graph_of(pattern, min(_LEAST_TASKS, most_tasks))
        run(small, kernel.call, 0)  # starts workers
        cost = run(small, kernel.call, 0) / len(small)
        tasks = min(max(int(_ENOUGH / cost), _LEAST_TASKS), _MOST_TASKS, most_tasks)
        self._warming, self._graph = small, graph_of(pattern, tasks)
        self._found = cost * cores

    def _efficiency(self, seconds: float) -> float:
        size = self._kernel.size_for(seconds)
        self._run(self._warming, self._kernel.call, size)
        taken = self._run(self._graph, self._kernel.call, size)
        return len(self._graph) * self._kernel.seconds(size) / (taken * self._cores)

    def microseconds(self) -> float:
        """Between a duration that is too short and a tenth more, which is not; infinite if none is enough."""
        shortest = self._kernel.seconds(0)
        enough = min(max(self._found, shortest), _LONGEST)
        if self._efficiency(enough) >= 0.5:
            while (short := enough / 2) > shortest and self._efficiency(short) >= 0.5:
                enough = short
            short = max(short, shortest)
        else:
            short = enough
            while self._efficiency(enough := short * 2) < 0.5:
                if enough > _LONGEST:
                    return math.inf
                short = enough
        while enough > short * _RESOLUTION:
            middle = math.sqrt(short * enough)
            if self._efficiency(middle) >= 0.5:
                enough = middle
            else:
                short = middle
        self._found = enough
        return enough * 1e6


def usable_cores() -> int:
    """Two, or one where there is no more: figures of two machines are to be comparable."""
    return min(2, len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1)


def rows(items: int, rounds: int) -> Iterator[Row]:
    """For each executor and pattern ours and the others, in turns."""
    cores = usable_cores()
    kernels = {"inline": calibrated(spin), "threads": calibrated(digest)}
    kernels["processes"] = kernels["inline"]
    for executor, kernel in kernels.items():
        counted = 1 if executor == "inline" else cores
        with ExitStack() as stack:
            contenders = who.CONTENDERS[executor]
            runs = {name: stack.enter_context(make(cores)) for name, make in contenders.items()}
            for pattern in PATTERNS:
                searches = {
                    name: Search(run, pattern, kernel, counted, items).microseconds
                    for name, run in runs.items()
                }
                figures = taking_turns(searches, rounds)
                targets = dict.fromkeys(runs, 10.0) if executor != "inline" else {}
                ours, *others = rows_beside_ours(figures, "µs", targets, prefix=f"{executor}, {pattern}: ")
                at_most = 5 if executor == "inline" else None
                yield Row(ours.label, ours.figures, ours.unit, at_most=at_most)
                yield from others


BENCHMARKS = [
    Benchmark(
        "metg",
        "the shortest tasks that keep the cores half busy, in graphs of width 8",
        _MOST_TASKS,
        rows,
        most_rounds=3,
    )
]
