"""What stays on a cluster in runs that were begun with `start`: asked for, gone on with, and let go of."""

# ruff: noqa: D103 - helpers whose names say it

from __future__ import annotations

import asyncio
import contextlib
import gc
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from distributed import Client, Future

from asyncgraph import Runtime, delayed, resource, start, when
from asyncgraph.dask import DaskExecutor
from asyncgraph.errors import GraphError, RuntimeClosedError, SerializationError, WorkerCrashedError
from tests.clusters.blocks import block, grow, size_of
from tests.clusters.conftest import nothing_is_left
from tests.clusters.gates import Gate


@delayed(executor="process")
def read(path: Path, *data: bytearray) -> int:
    return int(path.read_text()) + sum(map(len, data))


@delayed
async def at_home(value: Any) -> Any:
    return value


@pytest.fixture
def late(tmp_path):
    """Return the path of a file that is not there yet."""
    return tmp_path / "late"


async def failed(node: Any, **options: Any) -> Any:
    """Return a run of the node that has failed."""
    run = start(node, **options)
    with contextlib.suppress(FileNotFoundError):
        raise AssertionError(await run)
    return run


async def there(client: Client) -> list[str]:
    """Return the names of what workers have in memory."""
    return sorted(key.split("-")[0] for key, workers in (await client.who_has()).items() if workers)


async def test_only_what_was_asked_for_comes_home(runtime, client, traffic):
    """As with `await node`; and when the run has finished, nothing of it is on the cluster."""
    data = block(1000)
    run = start([size_of(grow(data), data), at_home(1)])
    assert await run == [3000, 1]
    assert traffic.gathered == ["size_of"]
    assert not client.futures
    assert dict(run.results) == {}


async def test_values_of_a_failed_run_are_there_and_not_here(runtime, client, late, traffic):
    """They are among the results, and to look one up says how to get it; so do the arguments of a failure."""
    data, home = block(1000), at_home(1)
    run = await failed([read(late, grow(data)), home])
    assert traffic.gathered == []
    assert await there(client) == ["grow"]
    (grown, *_) = [node for node in run.results if node is not home]
    assert home in run.results
    assert grown in run.results
    assert len(run.results) == 2
    with pytest.raises(RuntimeError, match=r"of grow-[0-9]+ is on a cluster: `await run.fetch\(node\)`"):
        run.results[grown]
    with pytest.raises(RuntimeError, match="is on a cluster"):
        _ = run.failures[0].inputs
    assert await run.fetch(grown) == bytearray(2000)
    assert await run.fetch(home) == 1
    assert traffic.gathered == ["grow"]
    assert await there(client) == ["grow"]


async def test_values_of_a_run_that_goes_on(runtime, client, tmp_path):
    """They can be fetched as soon as they are there."""
    with Gate.made(tmp_path / "began") as began, Gate.made(tmp_path / "gate") as gate:

        @delayed(executor="process")
        def wait(data: bytearray) -> int:
            began.open()
            gate.wait()
            return len(data)

        data = block(1000)
        waiting = wait(data)
        run = start(waiting)
        await began.opened()
        assert list(run.results) == [data]
        assert await run.fetch(data) == bytearray(1000)
        with pytest.raises(KeyError, match=r"wait-[0-9]+ has no value"):
            await run.fetch(waiting)
        gate.open()
        assert await run == 1000


async def test_a_plain_client(address, late):
    """Its loop is in another thread: values stay, are fetched, and are gone on with all the same."""
    client = await asyncio.to_thread(Client, address, set_as_default=False)
    try:
        async with Runtime(executors={"process": DaskExecutor(client)}):
            data = block(1000)
            run = await failed(read(late, data))
            assert await run.fetch(data) == bytearray(1000)
            late.write_text("1")
            assert await run.resume() == 1001
    finally:
        await asyncio.to_thread(client.close)


async def test_what_cannot_be_fetched(runtime, late):
    """Each time the error says why."""
    data = block(1000)
    reading = read(late, grow(data))
    run = await failed(reading)
    with pytest.raises(KeyError, match=r"read-[0-9]+ has no value"):
        await run.fetch(reading)
    with pytest.raises(KeyError, match=r"block-[0-9]+ had a value, which was dropped"):
        await run.fetch(data)
    with pytest.raises(KeyError, match="is not a node of this run"):
        await run.fetch(block(1))
    late.write_text("1")
    second = run.resume()
    with pytest.raises(RuntimeError, match="this run was resumed"):
        await run.fetch(data)
    assert await second == 2001
    with pytest.raises(KeyError, match=r"a run that has finished keeps what `await run` gives"):
        await second.fetch(reading)


async def test_a_value_that_does_not_come_home(runtime, late):
    """It did not pickle: the error is the usual one, and the run has the value still."""

    @delayed(executor="process")
    def lock() -> Any:
        import threading

        return threading.Lock()

    @delayed(executor="process")
    def use(lock: Any, path: Path) -> str:
        return path.read_text() + str(lock.locked())

    locked = lock()
    run = await failed(use(locked, late))
    for _ in range(2):
        with pytest.raises(SerializationError, match=r"The result of lock-[0-9]+ cannot be sent back"):
            await run.fetch(locked)


async def test_to_cancel_a_fetch_is_harmless(runtime, client, late, monkeypatch):
    """The value stays where it is, and can be fetched again."""
    data = block(1000)
    run = await failed(read(late, data))
    gather, asked = client.gather, asyncio.Event()
    arrived = asyncio.get_running_loop().create_future()

    def gathering(future: Any, **options: Any) -> Any:
        asked.set()
        return arrived

    monkeypatch.setattr(client, "gather", gathering)
    fetching = asyncio.create_task(run.fetch(data))
    await asked.wait()
    fetching.cancel()
    with pytest.raises(asyncio.CancelledError):
        await fetching
    arrived.set_result(None)
    monkeypatch.setattr(client, "gather", gather)
    assert await run.fetch(data) == bytearray(1000)


async def test_it_is_gone_on_with_there(runtime, client, late, traffic):
    """What is missing gets the rest as futures, and nothing but what was asked for comes home, ever."""
    run = await failed(at_home(read(late, grow(block(1000)))))
    again = await failed_again(run)
    late.write_text("1")
    assert await again.resume() == 2001
    submitted = [(name, futures) for name, futures, _ in traffic.submitted]
    assert submitted == [("block", 0), ("grow", 1), ("read", 1), ("read", 1), ("read", 1)]
    assert traffic.gathered == ["read"]
    assert not client.futures


async def failed_again(run: Any, **options: Any) -> Any:
    """Return what a run was resumed as, which has failed, too."""
    again = run.resume(**options)
    with pytest.raises(FileNotFoundError):
        await again
    return again


async def test_a_run_that_nobody_has_lets_go(runtime, client, late):
    """What is on the cluster goes with it; nobody need ask for that."""
    run = await failed(read(late, grow(block(1000))))
    assert len(client.futures) == 1
    del run
    gc.collect()  # the error that `await run` has raised has a frame which had the run
    await nothing_is_left(client)


async def test_a_run_that_was_resumed_lets_go(runtime, client, late):
    """What is on the cluster is the new run's, which drops it when it is used."""
    run = await failed(read(late, grow(block(1000))))
    late.write_text("1")
    assert await run.resume() == 2001
    assert not client.futures


async def test_what_a_function_here_returns_needs_it(runtime, late, traffic):
    """A node comes into the graph in a later run, and needs here what has stayed there: that comes home."""
    data = block(1000)

    @delayed
    def later(path: Path) -> Any:
        return at_home(data) if path.read_text() else None

    run = await failed([size_of(data, later(late))])
    late.write_text("1")
    assert await run.resume() == [2000]


# -- elsewhere


async def test_another_runtime_with_the_cluster(runtime, client, late, traffic):
    """The same client under the same name: nothing is run again, though the lanes are others."""
    pool = ThreadPoolExecutor(1)
    run = await failed(at_home(read(late, grow(block(1000)))))
    late.write_text("1")
    with pool:
        async with Runtime(executors={"pool": pool, "process": DaskExecutor(client)}) as other:
            assert await run.resume(runtime=other) == 2001
    assert [name for name, _, _ in traffic.submitted] == ["block", "grow", "read", "read"]


async def test_another_runtime_without_the_cluster(runtime, client, late):
    """What is on the cluster counts as missing, and is run again, with what was dropped that it needs."""
    counted = late.with_name("counted")

    @delayed(executor="loop")
    def size() -> int:
        with counted.open("a") as file:
            file.write("x")
        return 1000

    grown = grow(block(size()))
    run = await failed([at_home(read(late, grown)), size_of(grown, grown)])
    late.write_text("1")
    async with Runtime(processes=1) as other:
        again = run.resume(runtime=other)
        assert await again == [2001, 4000]
    assert counted.read_text() == "xx"
    assert not client.futures


async def test_another_client(runtime, client, address, late, traffic):
    """Its futures are its own: those of the first one are of no use to it."""
    run = await failed(read(late, grow(block(1000))))
    late.write_text("1")
    async with (
        Client(address, asynchronous=True, set_as_default=False) as other,
        Runtime(executors={"process": DaskExecutor(other)}) as another,
    ):
        assert await run.resume(runtime=another) == 2001
        assert not other.futures
    assert not client.futures
    assert len(traffic.submitted) == 3


async def test_a_client_that_is_closed(address, late):
    """What it had cannot be fetched; another runtime runs it again."""
    async with Client(address, asynchronous=True, set_as_default=False) as client:
        async with Runtime(executors={"process": DaskExecutor(client)}) as runtime:
            data = block(1000)
            run = await failed(read(late, data), runtime=runtime)
        assert await run.fetch(data) == bytearray(1000)
    with pytest.raises(RuntimeClosedError, match="its Dask client is closed"):
        await run.fetch(data)
    late.write_text("1")
    async with Runtime(processes=1) as other:
        assert await run.resume(runtime=other) == 1001


async def test_a_value_that_the_cluster_has_lost(runtime, client, late):
    """It cannot be fetched, and counts as missing: the run that goes on makes it again."""
    data = block(1000)
    run = await failed(read(late, data))
    await client.cancel([Future(key, client) for key in client.futures], force=True)
    with pytest.raises(WorkerCrashedError, match=r"block-[0-9]+ was lost by the Dask cluster"):
        await run.fetch(data)
    late.write_text("1")
    assert await run.resume() == 1001


async def test_from_worker_processes_to_the_cluster(runtime, late):
    """Values that only worker processes needed are no riddle for the cluster."""
    async with Runtime(processes=1) as local:
        run = await failed(read(late, grow(block(1_000_000))), runtime=local)
    late.write_text("1")
    assert await run.resume(runtime=runtime) == 2_000_001


async def test_an_executor_that_is_missing(client, late):
    """The error says which, before anything runs; with a runtime that has it the same run goes on."""
    elsewhere = read.options(executor="cluster")
    async with Runtime(executors={"cluster": DaskExecutor(client)}) as runtime:
        run = await failed(elsewhere(late, block.options(executor="cluster")(1000)), runtime=runtime)
        late.write_text("1")
        async with Runtime() as other:
            with pytest.raises(GraphError, match="is to run in executor 'cluster'"):
                run.resume(runtime=other)
        assert await run.resume(runtime=runtime) == 1001


async def test_calls_that_have_become_others_are_made_again(runtime, late):
    """A function that has returned a call of itself, and so on, goes on from the last one."""
    shared = block(10)

    @delayed(executor="process")
    def descend(depth: int, path: Path, *data: bytearray) -> Any:
        if depth:
            return descend(depth - 1, path, grow(shared), grow(data[0]))
        return int(path.read_text()) + sum(map(len, data))

    run = await failed([descend(3, late, grow(shared), grow(shared)), read(late, shared)])
    late.write_text("1")
    async with Runtime(processes=1) as other:
        assert await run.resume(runtime=other) == [61, 11]


async def test_resources_are_opened_again(runtime, late):
    """What is to be made again may need one that was closed long ago; it is closed again after that."""
    story: list[str] = []

    @contextlib.asynccontextmanager
    async def connection(name: str) -> AsyncIterator[dict[str, int]]:
        story.append(f"open {name}")
        yield {"size": 1000}
        story.append("close")

    @delayed
    async def size(connection: dict[str, int]) -> int:
        story.append("use")
        return connection["size"]

    once = ["open db", "use", "close"]
    run = await failed(read(late, block(size(resource(connection, delayed(str.lower)("DB"))))))
    assert story == once
    async with Runtime(processes=1) as other:
        again = await failed_again(run, runtime=other)
        assert story == [*once, *once]
        late.write_text("1")
        assert await again.resume(runtime=other) == 1001
    assert story == [*once, *once]


async def test_choices_are_not_made_again(runtime, late):
    """A value that is lost is made again by the side that was chosen."""
    made = late.with_name("made")

    @delayed(executor="loop")
    def choose() -> bool:
        with made.open("a") as file:
            file.write("x")
        return True

    size = when(choose(), at_home(1000), at_home(0))
    run = await failed(read(late, block(size)))
    late.write_text("1")
    async with Runtime(processes=1) as other:
        assert await run.resume(runtime=other) == 1001
    assert made.read_text() == "x"
