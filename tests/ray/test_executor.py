"""Calls on Ray, beside coroutines and threads at home. `make test-ray` runs these, for a minute or two."""

# ruff: noqa: D103 - helpers whose names say it

from __future__ import annotations

import asyncio
import os
import signal
import sys
import threading
import traceback
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest

from asyncgraph import Runtime, delayed, start, when
from asyncgraph.errors import NodeTimeoutError, RuntimeClosedError, SerializationError, WorkerCrashedError

if not os.environ.get("ASYNCGRAPH_TEST_RAY"):
    pytest.skip("Ray starts many processes: `make test-ray` runs this", allow_module_level=True)
ray = pytest.importorskip("ray")

from asyncgraph.ray import RayExecutor  # noqa: E402

pytestmark = pytest.mark.filterwarnings("ignore")


@pytest.fixture(scope="session")
def cluster() -> Iterator[None]:
    """Run Ray on this machine, for all tests; what it starts in this process is there before the first."""
    os.environ["RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO"] = "0"
    os.environ["RAY_AUTH_MODE"] = "disabled"  # else Ray leaves a token in the home directory
    path = os.pathsep.join([os.getcwd(), *filter(None, [os.environ.get("PYTHONPATH")])])
    ray.init(
        num_cpus=2,
        resources={"licence": 1},
        include_dashboard=False,
        log_to_driver=False,
        object_store_memory=100_000_000,
        runtime_env={"env_vars": {"PYTHONPATH": path}},
    )
    asyncio.run(_warm_up())
    yield
    ray.shutdown()


async def _warm_up() -> None:
    async with Runtime(executors={"process": RayExecutor()}):
        await add(1, 2)


@pytest.fixture
async def runtime(cluster: None) -> AsyncIterator[Runtime]:
    """Give a runtime whose process calls go to Ray."""
    async with Runtime(executors={"process": RayExecutor()}) as runtime:
        yield runtime


@delayed(executor="process")
def block(size: int) -> bytes:
    return bytes(size)


@delayed(executor="process")
def add(one: Any, other: Any) -> Any:
    return one + other


@delayed(executor="process")
def size_of(*data: bytes) -> int:
    return sum(map(len, data))


@delayed(executor="process")
def divide(one: int, other: int) -> float:
    return one / other


@delayed(executor="process")
def hang(began: Path) -> None:
    began.touch()
    threading.Event().wait()


@delayed
async def at_home(value: Any) -> Any:
    return value


async def test_one_graph_in_three_places(runtime):
    """Calls run on workers; coroutines on the loop, and threads here."""
    worker, here, thread = await delayed(
        [delayed(os.getpid, executor="process")(), at_home(add(1, at_home(2))), delayed(os.getpid)()]
    )
    assert worker != os.getpid() == thread
    assert here == 3


async def test_what_only_ray_needs_stays_there(runtime, monkeypatch):
    """A large value goes from call to call as a reference; only what was asked for comes home."""
    from asyncgraph.ray import _RayEngine

    fetch, fetched, data = _RayEngine.fetch, [], block(2_000_000)

    async def fetching(engine: _RayEngine, handle: Any) -> Any:
        held = await fetch(engine, handle)
        fetched.append(held.value())
        return held

    monkeypatch.setattr(_RayEngine, "fetch", fetching)
    assert await size_of(add(data, data), data) == 6_000_000
    assert fetched == [6_000_000]


async def test_what_stays_there_in_a_run_that_fails(runtime, tmp_path, monkeypatch):
    """It is fetched from there, and gone on with there; by another Ray it could not be."""

    @delayed(executor="process")
    def read(data: bytes) -> int:
        return int((tmp_path / "late").read_text()) + len(data)

    data = block(1000)
    run = start(read(data))
    with pytest.raises(FileNotFoundError):
        await run
    with pytest.raises(RuntimeError, match="is on a cluster"):
        run.results[data]
    assert await run.fetch(data) == bytes(1000)
    (tmp_path / "late").write_text("1")
    with monkeypatch.context() as patch:
        patch.setattr("asyncgraph.ray._session", lambda: ("another", "session"))
        with pytest.raises(RuntimeClosedError, match="is gone"):
            await run.fetch(data)
    assert await run.resume() == 1001


async def test_an_exception_is_the_user_s_own(runtime):
    """It is no RayTaskError: it has its class, the frames on the worker, and our note."""
    with pytest.raises(ZeroDivisionError) as caught:
        await at_home(divide(add(1, 0), 0))
    text = "".join(traceback.format_exception(caught.value))
    assert type(caught.value) is ZeroDivisionError
    assert "return one / other" in text
    assert "RayTaskError" not in text
    assert "failed, process executor" in caught.value.__notes__[0]


async def test_resources(runtime):
    """They are Ray's own, or custom ones."""
    resources = delayed(lambda: ray.get_runtime_context().get_assigned_resources(), executor="process")
    assert await resources.options(resources={"CPU": 2, "licence": 1})() == {"CPU": 2.0, "licence": 1.0}


async def test_cancelled(runtime, tmp_path):
    """The tasks are cancelled in Ray, also those that have begun: what comes later finds room."""
    run = start([hang(tmp_path / "one"), hang(tmp_path / "other")])
    while len(list(tmp_path.iterdir())) < 2:  # noqa: ASYNC110 - workers tell nobody else
        await asyncio.sleep(0)
    run.cancel()
    with pytest.raises(asyncio.CancelledError):
        await run
    assert await add.options(resources={"CPU": 2})(1, 2) == 3


async def test_a_timeout(runtime, tmp_path):
    """The task is cancelled, and the message says what that means."""
    with pytest.raises(NodeTimeoutError, match="it was cancelled in executor 'process', where the worker"):
        await hang.options(timeout=0.5)(tmp_path / "began")


async def test_growing_graphs_and_choices(runtime):
    """Functions in Ray return nodes; choices are made here, of what is there."""

    @delayed(executor="process")
    def count_down(number: int) -> Any:
        return count_down(number - 1) if number else "done"

    data = block(10)
    assert await count_down(2) == "done"
    assert await when(size_of(data), size_of(add(data, data)), divide(1, 0)) == 20


async def test_a_worker_that_dies(runtime):
    """Ray gives up, which is told in our words."""
    with pytest.raises(WorkerCrashedError, match="was running on Ray workers that died") as caught:
        await delayed(lambda: os.kill(os.getpid(), signal.SIGKILL), name="deadly", executor="process")()
    assert type(caught.value.__cause__).__module__.startswith("ray.")


async def test_what_does_not_pickle(runtime):
    """An argument, and a result that is to leave its worker."""
    with pytest.raises(SerializationError, match=r"args\[1\]"):
        await add(1, threading.Lock())
    with pytest.raises(SerializationError, match="cannot be sent back"):
        await delayed(threading.Lock, executor="process")()


async def test_ray_is_not_running(monkeypatch):
    """It says what to call first."""
    monkeypatch.setattr(ray, "is_initialized", lambda: False)
    async with Runtime(executors={"process": RayExecutor()}):
        with pytest.raises(RuntimeClosedError, match=r"call ray.init\(\) first"):
            await add(1, 2)


def test_options(monkeypatch):
    """`in_flight=` is checked; without Ray it says what to install."""
    with pytest.raises(ValueError, match="in_flight= takes a whole number of at least 1, not 0"):
        RayExecutor(in_flight=0)
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(ImportError, match=r"pip install 'asyncgraph\[ray\]'"):
        RayExecutor()
