"""A cluster for all tests, and for each test a client that must leave nothing there."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import logging
import os
import signal
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("distributed")

from distributed import Client

from asyncgraph import Delayed, Runtime, delayed
from asyncgraph.dask import DaskExecutor
from asyncgraph.errors import WorkerCrashedError
from tests.clusters.cluster import cluster
from tests.clusters.gates import Gate
from tests.clusters.traffic import Traffic


@pytest.fixture(scope="session")
def address() -> Iterator[str]:
    """Give the address of a cluster of two worker processes, which all tests share."""
    logging.getLogger("distributed").setLevel(logging.CRITICAL)
    with cluster() as (address, _):
        assert address.startswith("tcp://"), "the cluster has not started"
        yield address


@pytest.fixture
async def client(address: str) -> AsyncIterator[Client]:
    """Connect to the cluster from the test's own loop; nothing may be left on it afterwards."""
    async with Client(address, asynchronous=True, set_as_default=False) as client:
        await client.wait_for_workers(1)
        yield client
        if client.status == "running":
            gc.collect()  # a run that has failed has its error, whose frames may have the run
            await nothing_is_left(client)


@pytest.fixture
async def runtime(client: Client) -> AsyncIterator[Runtime]:
    """Open a runtime whose process calls go to the cluster."""
    async with Runtime(executors={"process": DaskExecutor(client)}) as runtime:
        yield runtime


@pytest.fixture
def began(tmp_path: Path) -> Iterator[Gate]:
    """A gate that a call opens when it has begun."""
    with Gate.made(tmp_path / "began") as gate:
        yield gate


@pytest.fixture
def gate(tmp_path: Path) -> Iterator[Gate]:
    """A gate that a call waits at."""
    with Gate.made(tmp_path / "gate") as gate:
        yield gate


@pytest.fixture
def traffic(client: Client, monkeypatch: pytest.MonkeyPatch) -> Traffic:
    """Note what the client is asked for."""
    return Traffic(client, monkeypatch)


async def value_later(node: Delayed[Any], **options: Any) -> Any:
    """The value of a node, also where Dask gives it to workers that are being ended, and blames it."""
    while True:
        with contextlib.suppress(WorkerCrashedError):
            return await node.compute(**options)


async def nothing_is_left(client: Client) -> None:
    """Fail unless the cluster lets go of all that it had: it is told of that a little later."""
    deadline = asyncio.get_running_loop().time() + 20
    while left := [*client.futures, *await client.run_on_scheduler(_tasks)]:
        assert asyncio.get_running_loop().time() < deadline, left


def _tasks(dask_scheduler: Any) -> list[str]:
    return [f"{key}: {task.state}" for key, task in dask_scheduler.tasks.items()]


LARGE = bytearray(2_000_000)
"""What is sent to a worker ahead of the call that takes it."""


def die_once_at(path: Path) -> Any:
    """Make a function whose first call kills its worker, and notes that; later ones return a length."""

    @delayed(executor="process")
    def die_once(data: bytearray) -> int:
        if not path.exists():
            path.touch()
            os.kill(os.getpid(), signal.SIGKILL)
        return len(data)

    return die_once


async def kill_the_worker_of(name: str, client: Client) -> None:
    """Kill the worker that has the value of the node of a function of this name; the cluster has noticed."""
    [places] = [places for key, places in (await client.who_has()).items() if str(key).startswith(f"{name}-")]
    pids = await client.run(os.getpid)
    os.kill(pids[places[0]], signal.SIGKILL)
    while places[0] in await client.run_on_scheduler(_workers):
        pass


def _workers(dask_scheduler: Any) -> list[str]:
    return [*dask_scheduler.workers]
