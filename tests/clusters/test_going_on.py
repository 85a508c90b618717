"""Runs that are gone on with when their client, or their cluster, is not there any more as it was."""

# ruff: noqa: D103 - helpers whose names say it

from __future__ import annotations

import contextlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from distributed import Client

from asyncgraph import Runtime, delayed, start
from asyncgraph.dask import DaskExecutor, DaskRuntime
from asyncgraph.errors import RuntimeClosedError, WorkerCrashedError
from tests.clusters.blocks import block, grow
from tests.clusters.cluster import cluster
from tests.clusters.gates import Gate

# All of it takes long: it is tried on one loop.
pytestmark = pytest.mark.parametrize("anyio_backend", ["asyncio"])

RUNTIMES: dict[str, Callable[[Client], Runtime]] = {
    "calls": lambda client: Runtime(executors={"process": DaskExecutor(client)}),
    "whole": DaskRuntime,
}


@delayed(executor="process")
def read(path: Path, *data: bytearray) -> int:
    return int(path.read_text()) + sum(map(len, data))


@delayed(executor="process")
def wait(began: Gate, gate: Gate, data: bytearray) -> int:
    began.open()
    gate.wait()
    return len(data)


@pytest.fixture(params=RUNTIMES)
def runtime_of(request):
    """Return what makes a runtime for a client: one whose calls go there, or one that sends whole graphs."""
    return RUNTIMES[request.param]


@pytest.fixture(params=["with values there", "with none"])
def has_values(request):
    return request.param == "with values there"


async def failed(runtime: Runtime, late: Path, *, has_values: bool) -> tuple[Any, Any]:
    """Return a run that has failed, perhaps with a value on the cluster; and the node of that."""
    grown = grow(block(1000))
    run = start(read(late, grown) if has_values else read(late), runtime=runtime)
    with pytest.raises(FileNotFoundError):
        await run
    late.write_text("1")
    return run, grown if has_values else None


async def value_of(run: Any, **options: Any) -> Any:
    """Go on with a run, also where Dask gives it to workers that are being ended, and blames it."""
    while True:
        run = run.resume(**options)
        with contextlib.suppress(WorkerCrashedError):
            return await run


async def test_after_a_restart(client, runtime_of, has_values, tmp_path):
    """What was there is lost, which is told; it counts as missing, and is computed again."""
    async with runtime_of(client) as runtime:
        run, grown = await failed(runtime, tmp_path / "late", has_values=has_values)
        await client.restart(wait_for_workers=False)
        if grown is not None:
            with pytest.raises(WorkerCrashedError, match=r"grow-[0-9]+ was lost .*: scheduler-restart"):
                await run.fetch(grown)
        assert await value_of(run) == (2001 if has_values else 1)


async def test_a_run_that_a_restart_has_struck(client, runtime_of, tmp_path):
    """It has failed, and is gone on with from the beginning: what it had there is lost, too."""
    with Gate.made(tmp_path / "began") as began, Gate.made(tmp_path / "gate") as gate:
        async with runtime_of(client) as runtime:
            run = start(wait(began, gate, grow(block(1000))))
            await began.opened()
            await client.restart(wait_for_workers=False)
            with pytest.raises(WorkerCrashedError, match="scheduler-restart"):
                await run
            gate.open(10)
            assert await value_of(run, runtime=runtime) == 2000


async def test_with_another_client(address, runtime_of, has_values, tmp_path):
    """The first one is closed: its values and its runtime are of no use; that of another one goes on."""
    async with Client(address, asynchronous=True, set_as_default=False) as client:
        runtime = await runtime_of(client).__aenter__()
        run, grown = await failed(runtime, tmp_path / "late", has_values=has_values)
    if grown is not None:
        with pytest.raises(RuntimeClosedError, match="its Dask client is closed"):
            await run.fetch(grown)
    again = run.resume(runtime=runtime)
    with pytest.raises(RuntimeClosedError, match="its Dask client is closed"):
        await again
    await runtime.__aexit__(None, None, None)
    async with (
        Client(address, asynchronous=True, set_as_default=False) as client,
        runtime_of(client) as runtime,
    ):
        assert await again.resume() == (2001 if has_values else 1)


async def test_without_the_scheduler(runtime_of, has_values, tmp_path):
    """It is gone: each time that is told, nothing hangs, and the run goes on elsewhere."""
    with cluster(1) as (own, process):
        async with (
            Client(own, asynchronous=True, set_as_default=False, timeout=1) as client,
            runtime_of(client) as runtime,
        ):
            run, grown = await failed(runtime, tmp_path / "late", has_values=has_values)
            process.kill()
            # The client finds the connection broken, has lost it, or is closed after it has tried in vain.
            lost = pytest.raises((WorkerCrashedError, RuntimeClosedError), match=r"scheduler|the connection")
            if grown is not None:
                with lost:
                    await run.fetch(grown)
            again = run.resume()
            with lost:
                await again
            async with Runtime(processes=1) as other:
                assert await again.resume(runtime=other) == (2001 if has_values else 1)
