"""Workflows with uneven durations, in the shapes of real ones, and what any schedule of them needs."""

from __future__ import annotations

import heapq
import random
from collections.abc import Callable
from typing import NamedTuple


class Task(NamedTuple):
    """What kind it is of, how long it takes, and the tasks, by number, that come before it."""

    kind: str
    seconds: float
    needs: tuple[int, ...]


class _Builder:
    """Collects tasks. Those of a kind take its mean duration, give or take a fifth."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)
        self.tasks: list[Task] = []

    def add(self, kind: str, mean: float, needs: tuple[int, ...] | list[int] = ()) -> int:
        self.tasks.append(Task(kind, mean * self.random.uniform(0.8, 1.2), tuple(dict.fromkeys(needs))))
        return len(self.tasks) - 1


def layered(tasks: int) -> list[Task]:
    """Layers of random width; a task needs up to three of the layer before. Three kinds in each layer."""
    graph = _Builder(1)
    layer: list[int] = []
    depth = 0
    while len(graph.tasks) < tasks:
        means = [graph.random.choice((1, 2, 4, 8)) for _ in range(3)]
        width = min(graph.random.randint(15, 45), tasks - len(graph.tasks))
        before, layer = layer, []
        for _ in range(width):
            third = graph.random.randrange(3)
            needs = graph.random.sample(before, min(len(before), graph.random.randint(1, 3)))
            layer.append(graph.add(f"step_{depth}_{third}", means[third], needs))
        depth += 1
    return graph.tasks


def fork_join(tasks: int) -> list[Task]:
    """Stages of tasks of three kinds, each behind the join of the stage before."""
    graph, width, joined = _Builder(2), max(2, min(60, tasks // 5)), -1
    for stage in range(max(1, tasks // (width + 1))):
        needs = [joined] if joined >= 0 else []
        forked = [graph.add(f"fork_{stage}_{i % 3}", (1, 2, 4)[i % 3], needs) for i in range(width)]
        joined = graph.add(f"join_{stage}", 0.5, forked)
    return graph.tasks


def montage(tasks: int) -> list[Task]:
    """Mosaics of the sky: project, compare neighbours, fit a model, correct, add up."""
    graph, images = _Builder(3), max(2, (tasks - 6) // 5)
    projected = [graph.add("project", 13.0) for _ in range(images)]
    compared = [
        graph.add("difference", 10.5, [projected[i], projected[(i + step) % images]])
        for i in range(images)
        for step in (1, 2, 3)
    ]
    model = graph.add("model", 2.0, [graph.add("concatenate", 1.0, compared)])
    corrected = [graph.add("background", 10.5, [each, model]) for each in projected]
    added = graph.add("add", 4.0, [graph.add("table", 1.5, corrected)])
    graph.add("picture", 0.6, [graph.add("shrink", 3.0, [added])])
    return graph.tasks


def epigenomics(tasks: int) -> list[Task]:
    """Lanes of a sequencer: split, four steps for each piece of which one is long, merge."""
    graph, lanes = _Builder(4), 4
    merged = []
    for _ in range(lanes):
        split = graph.add("split", 6.0)
        mapped = []
        for _ in range(max(1, (tasks - 11) // lanes // 4)):
            each = graph.add("filter", 2.5, [split])
            each = graph.add("convert", 0.5, [each])
            each = graph.add("pack", 1.5, [each])
            mapped.append(graph.add("map", 20.0, [each]))
        merged.append(graph.add("merge", 4.0, mapped))
    graph.add("pileup", 5.0, [graph.add("index", 4.0, [graph.add("merge_all", 4.0, merged)])])
    return graph.tasks


def cholesky(tasks: int) -> list[Task]:
    """Factorising a matrix in tiles, as dense linear algebra does."""
    graph, size = _Builder(5), 2
    while (size + 1) * (size + 2) * (size + 3) // 6 <= tasks:
        size += 1
    last: dict[tuple[int, int], int] = {}

    def update(kind: str, mean: float, tile: tuple[int, int], *reads: int) -> None:
        last[tile] = graph.add(kind, mean, [*([last[tile]] if tile in last else []), *reads])

    for k in range(size):
        update("potrf", 1, (k, k))
        for i in range(k + 1, size):
            update("trsm", 3, (i, k), last[k, k])
        for i in range(k + 1, size):
            update("syrk", 3, (i, i), last[i, k])
            for j in range(k + 1, i):
                update("gemm", 6, (i, j), last[i, k], last[j, k])
    return graph.tasks


WORKFLOWS: dict[str, Callable[[int], list[Task]]] = {
    "layered": layered,
    "fork-join": fork_join,
    "montage-like": montage,
    "epigenomics-like": epigenomics,
    "cholesky": cholesky,
}


def bound(tasks: list[Task], slots: int) -> float:
    """Seconds that no schedule can beat: the longest path, or all work over the slots."""
    return max(*levels(tasks), sum(task.seconds for task in tasks) / slots)


def levels(tasks: list[Task]) -> list[float]:
    """For each task the longest path from its beginning to the end of all."""
    found = [task.seconds for task in tasks]
    for number in range(len(tasks) - 1, -1, -1):
        for each in tasks[number].needs:
            found[each] = max(found[each], tasks[each].seconds + found[number])
    return found


def critical_path_first(tasks: list[Task], slots: int) -> float:
    """When all would be done if every duration were known, and the longest path went first. Simulated."""
    level = levels(tasks)
    missing = [len(task.needs) for task in tasks]
    dependents: list[list[int]] = [[] for _ in tasks]
    for number, task in enumerate(tasks):
        for each in task.needs:
            dependents[each].append(number)
    ready = [(-level[number], number) for number, count in enumerate(missing) if not count]
    heapq.heapify(ready)
    running: list[tuple[float, int]] = []
    now = 0.0
    while ready or running:
        while ready and len(running) < slots:
            number = heapq.heappop(ready)[1]
            heapq.heappush(running, (now + tasks[number].seconds, number))
        now, done = heapq.heappop(running)
        for each in dependents[done]:
            missing[each] -= 1
            if not missing[each]:
                heapq.heappush(ready, (-level[each], each))
    return now


def scaled(tasks: list[Task], slots: int, seconds: float) -> list[Task]:
    """The same with durations such that no schedule takes less than so many seconds."""
    factor = seconds / bound(tasks, slots)
    return [task._replace(seconds=task.seconds * factor) for task in tasks]
