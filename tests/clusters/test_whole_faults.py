"""What becomes of whole graphs on a cluster when something goes wrong: a clear error, and nothing is left."""

# ruff: noqa: D103 - helpers whose names say it

from __future__ import annotations

import asyncio
import importlib
import os
import signal
import sys
import threading
import time
from typing import Any

import pytest
from distributed import Client

from asyncgraph import Input, cancelled, compile, compute, delayed, start
from asyncgraph.dask import DaskRuntime
from asyncgraph.errors import (
    NodeExitedError,
    NodeTimeoutError,
    RuntimeClosedError,
    SerializationError,
    WorkerCrashedError,
)
from asyncgraph.executors.graphs import Note
from asyncgraph.observe import NodeFailed, NodeStarted
from tests.clusters.cluster import cluster
from tests.clusters.conftest import LARGE, die_once_at, nothing_is_left, value_later
from tests.clusters.gates import Gate

# What takes long is tried on one loop.
ONE_LOOP = pytest.mark.parametrize("anyio_backend", ["asyncio"])


# What is right where everything goes to the cluster, whatever executor it asks for.
AT_HOME = (
    "or keep the node here: a DaskRuntime sends whole graphs to its cluster, and "
    "Runtime(executors={'process': DaskExecutor(client)}) what has executor=\"process\"."
)


@delayed
def add(one: Any, other: Any) -> Any:
    return one + other


@delayed
def divide(one: int, other: int) -> float:
    return one / other


@delayed
def wait(began: Gate, gate: Gate, *needs: Any) -> int:
    began.open()
    gate.wait()
    return os.getpid()


@delayed
def until_cancelled(began: Gate, ended: Gate) -> None:
    began.open()
    while not cancelled():
        pass
    ended.open()


@delayed
async def forever(began: Gate, ended: Gate) -> None:
    began.open()
    try:
        await asyncio.get_running_loop().create_future()
    finally:
        ended.open()


@delayed
async def nested(began: Gate, ended: Gate) -> None:
    await forever(began, ended)


@delayed
def lock(*needs: Any) -> Any:
    return threading.Lock()


@pytest.fixture
def runtime(client):
    return DaskRuntime(client)


@pytest.mark.parametrize("function", [forever, until_cancelled, nested])
async def test_a_cancelled_run_stops_what_can_be_stopped(runtime, client, began, gate, function):
    """Coroutines are cancelled there, also in graphs inside; functions are told; nothing is left."""
    run = start([add(function(began, gate), 1), add(1, 2)], runtime=runtime)
    await began.opened()
    run.cancel()
    with pytest.raises(asyncio.CancelledError):
        await run
    assert not client.futures
    await gate.opened()
    await nothing_is_left(client)


async def test_a_loop_that_ends(address, client, began, gate):
    """A run that is still going on is cancelled with its loop, also if the client is on another one."""
    plain = await asyncio.to_thread(Client, address, set_as_default=False)

    async def leave() -> None:
        start(forever(began, gate), runtime=DaskRuntime(plain))
        await began.opened()

    try:
        await asyncio.to_thread(asyncio.run, leave())
        await gate.opened()
        assert not plain.futures
    finally:
        await asyncio.to_thread(plain.close)


async def test_a_failure_stops_the_others(runtime, client, began, gate):
    """As anywhere."""

    @delayed
    def fail() -> None:
        began.wait()
        raise LookupError("no more")

    with pytest.raises(LookupError):
        await compute(add(forever(began, gate), 1), fail(), runtime=runtime)
    assert not client.futures
    await gate.opened()


async def test_what_is_on_its_way_is_taken_back(runtime, client, monkeypatch):
    """A run that is cancelled while its graph is being handed over leaves nothing there."""
    get, loop, entered, go_on = client.get, asyncio.get_running_loop(), asyncio.Event(), threading.Event()

    def slowly(*words: Any, **options: Any) -> Any:
        loop.call_soon_threadsafe(entered.set)
        go_on.wait()
        return get(*words, **options)

    monkeypatch.setattr(client, "get", slowly)
    run = start(add(add(1, 2), 3), runtime=runtime)
    await entered.wait()
    run.cancel()
    for _ in range(3):
        await asyncio.sleep(0)
    assert not run.done()
    go_on.set()
    with pytest.raises(asyncio.CancelledError):
        await run
    assert not client.futures


async def test_what_is_forgotten_while_a_graph_is_on_its_way(runtime, client, monkeypatch, began, gate):
    """A call that has failed does not take the graph with it that was about to refer to it."""
    get, loop, entered, go_on = client.get, asyncio.get_running_loop(), asyncio.Event(), threading.Event()

    def slowly(graph: Any, keys: list[str], **options: Any) -> Any:
        if keys[0].startswith("late"):
            loop.call_soon_threadsafe(entered.set)
            go_on.wait()
        return get(graph, keys, **options)

    monkeypatch.setattr(client, "get", slowly)

    @delayed
    def fail() -> None:
        gate.wait()
        raise LookupError("no more")

    @delayed
    def grow() -> Any:
        return late_add(1, 2)

    failing = fail()
    late_add = delayed(lambda one, other: one + other, name="late")
    has_failed = asyncio.Event()
    nodes = [add(failing, 1), late_add(grow(), failing), grow()]
    run = start(
        nodes,
        runtime=runtime,
        return_exceptions=True,
        observers=[lambda event: has_failed.set() if isinstance(event, NodeFailed) else None],
    )
    await entered.wait()
    gate.open()
    await has_failed.wait()
    go_on.set()
    failed, behind, value = await run
    assert isinstance(failed.__cause__, LookupError)
    assert isinstance(behind.__cause__, LookupError)
    assert value == 3


async def test_a_coroutine_that_takes_too_long(runtime, client, began, gate):
    """It is cancelled on its worker, and the error is as anywhere."""
    with pytest.raises(NodeTimeoutError) as caught:
        await add(forever.options(timeout=0.5)(began, gate), 1).compute(runtime=runtime)
    assert str(caught.value).partition(" ")[2] == "ran for longer than its timeout of 0.5 s"
    await gate.opened()
    assert not client.futures


async def test_a_function_that_takes_too_long(runtime, client, began, gate):
    """Its time counts from when it begins; the future is cancelled, and the function told."""
    node = until_cancelled.options(timeout=0.5)(began, gate)
    with pytest.raises(NodeTimeoutError) as caught:
        await add(node, 1).compute(runtime=runtime)
    assert str(caught.value).partition(" ")[2] == (
        "ran for longer than its timeout of 0.5 s; it was cancelled in executor 'dask', and what has "
        "begun in a thread of a worker goes on there by itself"
    )
    await gate.opened()
    assert not client.futures


async def test_waiting_for_a_worker_is_not_counted(runtime, client, began, gate):
    """The time of a call runs from when its worker says that it begins, and not before."""
    started = asyncio.Semaphore(0)
    run = start(
        [wait.options(timeout=60)(began, gate, number) for number in range(3)],
        runtime=runtime,
        observers=[lambda event: started.release() if isinstance(event, NodeStarted) else None],
    )
    for _ in range(2):
        await began.opened()
        await started.acquire()
    timers = [call.timer for call in run._execution.parts.named._calls.values()]
    assert sum(timer is not None for timer in timers) == 2
    gate.open(3)
    assert len(await run) == 3


async def test_a_call_that_begins_once_more(runtime, client, began, gate):
    """Dask has begun it on another worker, since the first one has died: its time begins once more."""
    started = asyncio.Event()
    run = start(
        wait.options(timeout=60)(began, gate),
        runtime=runtime,
        observers=[lambda event: started.set() if isinstance(event, NodeStarted) else None],
    )
    await started.wait()
    named = run._execution.parts.named
    ((task, call),) = named._calls.items()
    first = call.timer
    named._heard(task, Note("", time.perf_counter(), None, "worker 1", None))
    assert first.cancelled()
    assert not call.timer.cancelled()
    gate.open()
    assert isinstance(await run, int)


async def test_a_coroutine_that_cancels_itself(runtime):
    """That is a failure, and not a cancellation of the run."""

    @delayed
    async def cancel() -> None:
        raise asyncio.CancelledError

    with pytest.raises(NodeExitedError, match="nobody has asked it to stop"):
        await cancel().compute(runtime=runtime)


async def test_an_exit_ends_no_worker(runtime):
    """It fails the node, also in a coroutine."""

    @delayed
    async def leave() -> None:
        sys.exit(3)

    for node in (leave(), delayed(sys.exit)(3)):
        with pytest.raises(NodeExitedError) as caught:
            await node.compute(runtime=runtime)
        assert caught.value.code == 3
    assert await add(1, 2).compute(runtime=runtime) == 3


async def test_a_client_that_is_closed_too_early(client, began, gate):
    """What was running is lost, and what comes later does not begin."""
    runtime = DaskRuntime(client)
    run = start(add(wait(began, gate), 1), runtime=runtime)
    await began.opened()
    await client.close()
    with pytest.raises(RuntimeClosedError, match=r"wait-[0-9]+ was lost: its Dask client is closed; keep"):
        await run
    with pytest.raises(
        RuntimeClosedError, match="the Dask cluster cannot be reached: its Dask client is closed"
    ):
        await add(1, 2).compute(runtime=runtime)


async def test_an_argument_that_does_not_pickle(runtime):
    """The error says which; what does not need it runs."""
    failed, value = await compute(
        add(1, {"lock": threading.Lock()}), add(1, 2), runtime=runtime, return_exceptions=True
    )
    assert isinstance(failed, SerializationError)
    assert "args[1]['lock']" in str(failed)
    assert str(failed).endswith(AT_HOME)
    assert failed.stage == "arg-pickle"
    assert value == 3


async def test_a_function_that_does_not_pickle(runtime):
    """Likewise."""
    held = threading.Lock()

    @delayed
    def locked() -> bool:
        return held.locked()

    with pytest.raises(SerializationError, match="function") as caught:
        await add(locked(), 1).compute(runtime=runtime)
    assert str(caught.value).endswith(AT_HOME)


async def test_a_result_that_does_not_pickle(runtime):
    """It is told when it is to leave its worker; until then it may be used there."""
    with pytest.raises(SerializationError, match=r"The result of lock-[0-9]+ cannot be sent back") as caught:
        await lock().compute(runtime=runtime)
    assert str(caught.value).endswith(AT_HOME)
    assert caught.value.stage == "result-pickle"


async def test_data_that_does_not_pickle(runtime):
    """What an input is given goes to the cluster, too."""
    given = Input("given")
    async with runtime:
        with pytest.raises(SerializationError, match=r"the value of given-[0-9]+, of type lock") as caught:
            await compile(add(given, 1))(given=threading.Lock())
    assert str(caught.value).endswith(AT_HOME)


async def test_a_returned_node_that_does_not_pickle(runtime):
    """It would be computed in place of its call, and cannot come here for that."""

    @delayed
    def again() -> Any:
        return add(threading.Lock(), 1)

    with pytest.raises(SerializationError, match="cannot be sent back") as caught:
        await again().compute(runtime=runtime)
    assert str(caught.value).endswith(AT_HOME)


async def test_a_module_that_workers_lack(runtime, tmp_path, monkeypatch):
    """The error says what is missing, and how workers get it."""
    (tmp_path / "only_here.py").write_text("def answer():\n    return 42\n")
    monkeypatch.syspath_prepend(tmp_path)
    only_here = importlib.import_module("only_here")
    try:
        with pytest.raises(SerializationError, match="No module named 'only_here'") as caught:
            await delayed(only_here.answer)().compute(runtime=runtime)
        assert caught.value.stage == "arg-unpickle"
        assert any("client.upload_file" in note for note in caught.value.__notes__)
    finally:
        del sys.modules["only_here"]


async def test_a_client_of_another_loop(client):
    """It is refused, with what would be right."""

    def elsewhere() -> str:
        async def run() -> str:
            with pytest.raises(RuntimeError) as caught:
                await add(1, 2).compute(runtime=DaskRuntime(client))
            return str(caught.value)

        return asyncio.run(run())

    message = await asyncio.to_thread(elsewhere)
    assert message.startswith(
        "the Dask client of this executor belongs to another event loop: make one in this"
    )


async def test_a_runtime_of_another_loop(runtime):
    """It is refused there once it was used here, with what would be right."""
    assert await add(1, 2).compute(runtime=runtime) == 3

    async def elsewhere() -> None:
        await add(1, 2).compute(runtime=runtime)

    with pytest.raises(
        RuntimeError, match="another event loop: make a DaskRuntime for each loop, with a client"
    ):
        await asyncio.to_thread(asyncio.run, elsewhere())


def test_what_is_no_client():
    """It is refused when it is given."""
    with pytest.raises(TypeError) as caught:
        DaskRuntime("tcp://127.0.0.1:8786")
    assert str(caught.value) == "DaskRuntime takes a dask.distributed.Client, not 'tcp://127.0.0.1:8786'"


def test_without_dask(monkeypatch):
    """The error says what to install."""
    monkeypatch.setitem(sys.modules, "distributed", None)
    with pytest.raises(ImportError, match=r"DaskRuntime needs Dask: pip install 'asyncgraph\[dask\]'"):
        DaskRuntime(None)


# -- what ends workers, and takes long; last, because the cluster may be without one for a while


@ONE_LOOP
async def test_a_worker_that_dies_of_a_call(runtime, tmp_path):
    """Dask begins it again, with what it needs, and its value is as if nothing had been."""
    path = tmp_path / "died"

    @delayed
    def die_once(value: int) -> int:
        if not path.exists():
            path.touch()
            os.kill(os.getpid(), signal.SIGKILL)
        return value

    assert await add(die_once(add(1, 2)), 1).compute(runtime=runtime) == 4


@ONE_LOOP
@pytest.mark.parametrize("is_given", [False, True])
async def test_a_large_argument_that_dies_with_its_worker(runtime, tmp_path, is_given):
    """It is sent again, and what stands behind it, for a function that says so; as given, or as an input."""
    die_once = die_once_at(tmp_path / "died").options(retries_on_crash=1)
    data = Input("data")
    compiled = compile(add(add(die_once(data if is_given else LARGE), 1), 1))
    async with runtime:
        assert await (compiled(data=LARGE) if is_given else compiled()) == len(LARGE) + 2


@ONE_LOOP
async def test_a_large_argument_that_is_lost(runtime, tmp_path):
    """The error says what can be done."""
    with pytest.raises(
        WorkerCrashedError, match=r"was lost by .* \(1 MB\), .* retries_on_crash= sends again"
    ):
        await add(die_once_at(tmp_path / "died")(LARGE), 1).compute(runtime=runtime)


@ONE_LOOP
async def test_a_call_that_no_worker_survives(runtime):
    """Dask gives up, which is told in our words, of the node that it was, with its own error as the cause."""
    deadly = delayed(lambda _: os.kill(os.getpid(), signal.SIGKILL), name="deadly")
    with pytest.raises(WorkerCrashedError) as caught:
        await add(deadly(add(1, 2)), 1).compute(runtime=runtime)
    assert "was running on Dask workers each time that one of them died: 2 in all, the last" in str(
        caught.value
    )
    assert str(caught.value).startswith("deadly-")
    assert type(caught.value.__cause__).__name__ == "KilledWorker"


@ONE_LOOP
async def test_the_scheduler_is_gone(began, gate):
    """Nothing hangs: what was running is lost."""
    with cluster(1) as (own, process):
        async with Client(own, asynchronous=True, set_as_default=False, timeout=1) as client:
            run = start(add(wait(began, gate), 1), runtime=DaskRuntime(client))
            await began.opened()
            process.kill()
            with pytest.raises(WorkerCrashedError, match=r"wait-[0-9]+ was lost by .*: scheduler-connection"):
                await run


@ONE_LOOP
async def test_a_restarted_cluster(runtime, client, began, gate):
    """What was running is lost, and it says why; what comes later runs."""
    run = start(add(wait(began, gate), 1), runtime=runtime)
    await began.opened()
    await client.restart(wait_for_workers=False)
    with pytest.raises(WorkerCrashedError, match="scheduler-restart"):
        await run
    assert await value_later(add(1, 2), runtime=runtime) == 3
