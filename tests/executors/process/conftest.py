"""Pools and signals for the tests, taken down after each."""

# ruff: noqa: D102 - helpers whose names say it

from __future__ import annotations

import asyncio

import pytest

from asyncgraph.executors.process import ProcessExecutor
from asyncgraph.executors.process.connections import Connector
from asyncgraph.executors.process.link import PipeLink
from asyncgraph.executors.process.threaded import ThreadedLink
from tests.executors.process.harness import Batch, Fifo, Started

SECONDS = 0.00001
"""What calls of a batch are said to take."""


class Pool:
    """An executor and all calls that were started on it."""

    def __init__(self, kind, slots, **options):
        loop = asyncio.get_running_loop()
        self.executor = ProcessExecutor(slots, loop, connect=Connector(kind, loop), **options)
        self.started = []
        self.batches = []

    def start(self, function, *args, **kwargs):
        self.started.append(Started(self.executor, function, args, kwargs))
        return self.started[-1]

    def start_with(self, options, function, *args):
        self.started.append(Started(self.executor, function, args, {}, **options))
        return self.started[-1]

    def batch(self, function, calls, seconds=SECONDS, **options):
        self.batches.append(Batch(self.executor, function, calls, seconds, **options))
        return self.batches[-1]

    async def value(self, function, *args, **kwargs):
        return await self.start(function, *args, **kwargs).value()

    async def error(self, function, *args, **kwargs):
        return await self.start(function, *args, **kwargs).error()

    def cancel(self, started):
        self.executor.cancel([started])

    async def aclose(self):
        await self.executor.aclose()
        assert [len(started.deliveries) for started in self.started] == [1] * len(self.started)
        assert all(len(batch.deliveries) == batch.count for batch in self.batches)


@pytest.fixture(params=[pytest.param(PipeLink, id="pipes"), pytest.param(ThreadedLink, id="threads")])
def link(request):
    """Which connection with its workers a pool has. Tests of one alone say `only_pipes` or `only_threads`."""
    return request.param


def pytest_collection_modifyitems(config, items):
    """Run tests with threads on one loop only: to threads all loops are alike, to the clock they are not."""
    kept, dropped = [], []
    for item in items:
        params = item.callspec.params if hasattr(item, "callspec") else {}
        is_twice = params.get("link") is ThreadedLink and "use_uvloop" in str(params.get("anyio_backend"))
        (dropped if is_twice else kept).append(item)
    if dropped:
        config.hook.pytest_deselected(items=dropped)
        items[:] = kept


@pytest.fixture
async def make_pool(link):
    """Make pools, which are closed when the test ends."""
    pools = []

    def make(slots=2, **options):
        pools.append(Pool(link, slots, **options))
        return pools[-1]

    yield make
    for pool in pools:
        await pool.aclose()


@pytest.fixture
async def pool(make_pool):
    """A pool of two slots."""
    return make_pool()


@pytest.fixture
def fifo(tmp_path):
    """A pipe on which workers report."""
    fifo = Fifo(tmp_path / "fifo")
    yield fifo
    fifo.close()
