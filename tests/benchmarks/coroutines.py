"""Coroutines: many of them at once, and few of them for each of many requests."""

from __future__ import annotations

import asyncio
import functools
from collections.abc import Callable, Coroutine
from typing import Any

from asyncgraph import Input, compile, compute, delayed
from tests.benchmarks.timing import OURS, Contender, compared, timed_on_loop
from tests.benchmarks.workloads import not_suspending, suspending

_REQUEST = 100
"""Nodes of a compiled graph, the one that sums them not counted."""

_Function = Callable[[int], Coroutine[Any, Any, int]]


def sum_ours(function: _Function) -> Contender:
    """Build, run and sum with asyncgraph."""
    node_of, total = delayed(function), delayed(sum, executor="loop")

    async def work(items: int) -> None:
        result = await compute(total([node_of(number) for number in range(items)]))
        assert result == items * (items - 1) // 2

    return lambda items: timed_on_loop(functools.partial(work, items))


async def _task_group(function: _Function, items: int) -> int:
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(function(number)) for number in range(items)]
    return sum(task.result() for task in tasks)


def sum_task_group(function: _Function) -> Contender:
    """Run and sum with a TaskGroup."""

    async def work(items: int) -> None:
        assert await _task_group(function, items) == items * (items - 1) // 2

    return lambda items: timed_on_loop(functools.partial(work, items))


def sum_gather(function: _Function) -> Contender:
    """Run and sum with `gather`."""

    async def work(items: int) -> None:
        results = await asyncio.gather(*(function(number) for number in range(items)))
        assert sum(results) == items * (items - 1) // 2

    return lambda items: timed_on_loop(functools.partial(work, items))


def sum_in_turn(function: _Function) -> Contender:
    """Run and sum in one task, one after another: what the coroutines take by themselves."""

    async def work(items: int) -> None:
        results = [await function(number) for number in range(items)]
        assert sum(results) == items * (items - 1) // 2

    return lambda items: timed_on_loop(functools.partial(work, items))


def call_compiled(function: _Function) -> Contender:
    """Call a compiled graph of a hundred nodes, `items` nodes in all; compiling is not measured."""
    first, node_of, total = Input("first"), delayed(function), delayed(sum, executor="loop")
    request = compile(total([node_of(first), *(node_of(number) for number in range(1, _REQUEST))]))

    async def work(items: int) -> None:
        for _ in range(-(-items // _REQUEST)):
            assert await request(first=0) == _REQUEST * (_REQUEST - 1) // 2

    return lambda items: timed_on_loop(functools.partial(work, items))


def call_task_groups(function: _Function) -> Contender:
    """The same by a TaskGroup for each request."""

    async def work(items: int) -> None:
        for _ in range(-(-items // _REQUEST)):
            assert await _task_group(function, _REQUEST) == _REQUEST * (_REQUEST - 1) // 2

    return lambda items: timed_on_loop(functools.partial(work, items))


def _three(function: _Function) -> dict[str, Contender]:
    return {
        OURS: sum_ours(function),
        "TaskGroup": sum_task_group(function),
        "gather": sum_gather(function),
        "in turn, in one task": sum_in_turn(function),
    }


def _requests(function: _Function) -> dict[str, Contender]:
    return {OURS: call_compiled(function), "TaskGroup": call_task_groups(function)}


BENCHMARKS = [
    compared(
        "async",
        "coroutines that do not suspend: built, run and summed",
        50_000,
        _three(not_suspending),
        at_least={"TaskGroup": 5},
    ),
    compared(
        "suspend",
        "coroutines that suspend once: built, run and summed",
        50_000,
        _three(suspending),
        at_least={"TaskGroup": 2.5},
    ),
    compared(
        "compile",
        "a compiled graph with an input and 100 coroutines that do not suspend, called again and again",
        20_000,
        _requests(not_suspending),
        at_least={"TaskGroup": 4},
    ),
    compared(
        "compile-s",
        "the same with coroutines that suspend once",
        20_000,
        _requests(suspending),
        at_least={"TaskGroup": 4},
    ),
]
