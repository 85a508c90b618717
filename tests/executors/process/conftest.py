"""Pools and signals for the tests, taken down after each."""

# ruff: noqa: D102 - helpers whose names say it

from __future__ import annotations

import asyncio

import pytest

from asyncgraph.executors.process import ProcessExecutor
from tests.executors.process.harness import Fifo, Started


class Pool:
    """An executor and all calls that were started on it."""

    def __init__(self, slots):
        self.executor = ProcessExecutor(slots, asyncio.get_running_loop())
        self.started = []

    def start(self, function, *args, **kwargs):
        self.started.append(Started(self.executor, function, args, kwargs))
        return self.started[-1]

    async def value(self, function, *args, **kwargs):
        return await self.start(function, *args, **kwargs).value()

    async def error(self, function, *args, **kwargs):
        return await self.start(function, *args, **kwargs).error()

    def cancel(self, started):
        self.executor.cancel([started])

    async def aclose(self):
        await self.executor.aclose()
        assert [len(started.deliveries) for started in self.started] == [1] * len(self.started)


@pytest.fixture
async def make_pool():
    """Make pools, which are closed when the test ends."""
    pools = []

    def make(slots=2):
        pools.append(Pool(slots))
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
