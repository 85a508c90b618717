"""A Dask cluster of two worker processes: what a call costs there, and bringing results home."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import importlib.util
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from asyncgraph import Runtime, delayed
from tests.benchmarks.called import changed, inc, rest, some_array, total
from tests.benchmarks.pool_contenders import WORKERS, there
from tests.benchmarks.table import Row
from tests.benchmarks.timing import OURS, Benchmark, rows_beside_ours, taking_turns


@dataclass(frozen=True)
class Opened:
    """Where calls can go.

    Attributes:
        client: The client of the cluster, on the loop that everything runs on.
        hybrid: A runtime that sends calls there.
        whole: A runtime that sends whole graphs there.
        here: A runtime with as many worker processes of its own.
    """

    client: Any
    hybrid: Runtime
    whole: Runtime
    here: Runtime


Work = Callable[[Opened, int], Awaitable[Any]]
"""Does so much of it, once, from building to results; returns these."""

_HYBRID = f"{OURS}, DaskExecutor"
_WHOLE = f"{OURS}, DaskRuntime"
_HERE = f"{OURS}, worker processes here"
_NODE = "client.compute(node)"
_DELAYED = "dask.delayed, client.compute"


# Once: how long calls take is known of a delayed function.
_inc, _some_array, _changed, _total = (there(each) for each in (inc, some_array, changed, total))


# -- many calls at once


async def many_hybrid(opened: Opened, items: int) -> Any:
    """A node for each call."""
    return await opened.hybrid.compute([_inc(number) for number in range(items)])


async def many_whole(opened: Opened, items: int) -> Any:
    """The same, as a whole graph."""
    return await opened.whole.compute([_inc(number) for number in range(items)])


async def many_here(opened: Opened, items: int) -> Any:
    """The same, in worker processes of this machine."""
    return await opened.here.compute([_inc(number) for number in range(items)])


async def many_nodes(opened: Opened, items: int) -> Any:
    """The same nodes, given to Dask."""
    return await opened.client.gather(opened.client.compute([_inc(number) for number in range(items)]))


async def many_delayed(opened: Opened, items: int) -> Any:
    """A delayed value of Dask's for each call."""
    import dask

    call = dask.delayed(inc, pure=False)
    return await opened.client.gather(opened.client.compute([call(number) for number in range(items)]))


async def many_submitted(opened: Opened, items: int) -> Any:
    """A future for each call."""
    client = opened.client
    return await client.gather([client.submit(inc, number, pure=False) for number in range(items)])


MANY: Mapping[str, Work] = {
    _HYBRID: many_hybrid,
    _WHOLE: many_whole,
    _HERE: many_here,
    _NODE: many_nodes,
    _DELAYED: many_delayed,
    "client.submit, then gather": many_submitted,
}


# -- each call with the result of the one before


def _chain(call: Callable[[Any], Any], items: int) -> Any:
    value: Any = 0
    for _ in range(items):
        value = call(value)
    return value


async def chain_hybrid(opened: Opened, items: int) -> Any:
    """A chain of nodes."""
    return await opened.hybrid.compute(_chain(_inc, items))


async def chain_whole(opened: Opened, items: int) -> Any:
    """The same, as a whole graph."""
    return await opened.whole.compute(_chain(_inc, items))


async def chain_here(opened: Opened, items: int) -> Any:
    """The same, in worker processes of this machine."""
    return await opened.here.compute(_chain(_inc, items))


async def chain_node(opened: Opened, items: int) -> Any:
    """The same nodes, given to Dask."""
    return await opened.client.compute(_chain(_inc, items))


async def chain_delayed(opened: Opened, items: int) -> Any:
    """A chain of Dask's delayed values."""
    import dask

    return await opened.client.compute(_chain(dask.delayed(inc, pure=False), items))


async def chain_submitted(opened: Opened, items: int) -> Any:
    """A chain of futures, all handed over at once."""
    return await _chain(functools.partial(opened.client.submit, inc, pure=False), items)


async def chain_awaited(opened: Opened, items: int) -> Any:
    """A future awaited before the next call is made."""
    value = 0
    for _ in range(items):
        value = await opened.client.submit(inc, value, pure=False)
    return value


CHAINS: Mapping[str, Work] = {
    _HYBRID: chain_hybrid,
    _WHOLE: chain_whole,
    _HERE: chain_here,
    _NODE: chain_node,
    _DELAYED: chain_delayed,
    "client.submit of futures": chain_submitted,
    "await client.submit, one by one": chain_awaited,
}


# -- a large array through five calls

_FIRST = 8
"""Of calls, or bytes: so much is done before anything is measured."""

_CHANGES = 3
"""Calls between the one that makes an array and the one that adds it up."""


@delayed
async def _at_home(value: Any) -> Any:
    """A coroutine that takes the array, and hands it on."""
    return value


def _arrays(size: int, between: Callable[[Any], Any]) -> Any:
    array = _some_array(size)
    for _ in range(_CHANGES):
        array = _changed(between(array))
    return _total([between(array)])


async def array_stays(opened: Opened, size: int) -> Any:
    """The array stays on the cluster."""
    return await opened.hybrid.compute(_arrays(size, lambda array: array))


async def array_whole(opened: Opened, size: int) -> Any:
    """The whole graph goes there."""
    return await opened.whole.compute(_arrays(size, lambda array: array))


async def array_comes_home(opened: Opened, size: int) -> Any:
    """Between each two calls, a coroutine takes it."""
    return await opened.hybrid.compute(_arrays(size, _at_home))


async def array_here(opened: Opened, size: int) -> Any:
    """The array stays in worker processes of this machine."""
    return await opened.here.compute(_arrays(size, lambda array: array))


async def array_futures(opened: Opened, size: int) -> Any:
    """Futures are passed on."""
    submit = functools.partial(opened.client.submit, pure=False)
    array = submit(some_array, size)
    for _ in range(_CHANGES):
        array = submit(changed, array)
    return await submit(total, [array])


async def array_gathered(opened: Opened, size: int) -> Any:
    """Each array is gathered, and scattered for the next call."""
    client, submit = opened.client, functools.partial(opened.client.submit, pure=False)
    array = await submit(some_array, size)
    for _ in range(_CHANGES):
        array = await submit(changed, await client.scatter(array, hash=False))
    return await submit(total, [await client.scatter(array, hash=False)])


ARRAYS: Mapping[str, Work] = {
    _HYBRID: array_stays,
    _WHOLE: array_whole,
    "DaskExecutor, coroutines in between": array_comes_home,
    _HERE: array_here,
    "client.submit of futures": array_futures,
    "gather and scatter in between": array_gathered,
}


# -- measuring


def _expected(what: Mapping[str, Work], amount: int) -> Any:
    if what is MANY:
        return list(range(1, amount + 1))
    return amount if what is CHAINS else float(amount // 8 * (1 + _CHANGES))


async def milliseconds(works: Mapping[str, Work], name: str, opened: Opened, amount: int) -> float:
    """How long one of them takes, whose result is checked."""
    began = time.perf_counter()
    result = await works[name](opened, amount)
    taken = time.perf_counter() - began
    assert result == _expected(works, amount), name
    return taken * 1e3


@contextlib.contextmanager
def opened_cluster() -> Iterator[tuple[asyncio.Runner, Opened]]:
    """A loop, a cluster in a process of its own, and its peers, all of whose workers have started."""
    from tests.clusters.cluster import cluster

    with cluster(WORKERS) as (address, _), asyncio.Runner() as runner:
        opening = _opened(address)
        opened = runner.run(anext(opening))
        try:
            yield runner, opened
        finally:
            runner.run(opening.aclose())


async def _opened(address: str) -> AsyncIterator[Opened]:
    from distributed import Client

    from asyncgraph.dask import DaskExecutor, DaskRuntime

    async with Client(address, asynchronous=True, set_as_default=False) as client:
        await client.wait_for_workers(WORKERS)
        async with (
            Runtime(executors={"process": DaskExecutor(client)}) as hybrid,
            DaskRuntime(client) as whole,
            Runtime(processes=WORKERS) as here,
        ):
            await here.compute([there(rest)(0.3) for _ in range(WORKERS)])
            yield Opened(client, hybrid, whole, here)


def rows(items: int, rounds: int) -> Iterator[Row]:
    """So many calls at once, a fifth of them in a chain, and an array of half as many megabytes."""
    if any(importlib.util.find_spec(each) is None for each in ("distributed", "numpy")):
        yield Row("calls on a cluster", remark="not measured: needs asyncgraph[dask] and numpy")
        return
    few, megabytes = max(items // 5, 1), max(items // 2, 1)
    with opened_cluster() as (runner, opened):
        yield from _rows(runner, opened, rounds, MANY, items, items, f"{items:,} at once")
        yield from _rows(runner, opened, rounds, CHAINS, few, few, f"chain of {few:,}")
        yield from _rows(runner, opened, rounds, ARRAYS, megabytes * 1_000_000, 1, f"{megabytes:,} MB")


def _rows(
    runner: asyncio.Runner,
    opened: Opened,
    rounds: int,
    works: Mapping[str, Work],
    amount: int,
    parts: int,
    label: str,
) -> Iterator[Row]:
    def measure(name: str, amount: int = amount) -> float:
        return runner.run(milliseconds(works, name, opened, amount)) / parts

    for name in works:
        measure(name, min(amount, _FIRST))  # workers import what they call
    figures = taking_turns({name: functools.partial(measure, name) for name in works}, rounds)
    yield from rows_beside_ours(figures, "ms", {}, prefix=f"{label}: ")


BENCHMARKS = [
    Benchmark(
        "cluster",
        "a call on a Dask cluster, many at once and in a chain, and a large array through five calls",
        200,
        rows,
        most_rounds=3,
    )
]
