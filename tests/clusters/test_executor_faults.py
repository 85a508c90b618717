"""What becomes of calls on a Dask cluster when something goes wrong: a clear error, and nothing is left."""

# ruff: noqa: D103 - helpers whose names say it

from __future__ import annotations

import asyncio
import importlib
import os
import signal
import sys
import threading
import traceback
from typing import Any

import pytest
from distributed import Client

from asyncgraph import Runtime, delayed, start
from asyncgraph.dask import DaskExecutor
from asyncgraph.errors import (
    NodeTimeoutError,
    RuntimeClosedError,
    SerializationError,
    WorkerCrashedError,
)
from asyncgraph.ray import RayExecutor
from tests.clusters.cluster import cluster
from tests.clusters.conftest import LARGE, die_once_at, kill_the_worker_of, nothing_is_left, value_later
from tests.clusters.gates import Gate

# What takes long is tried on one loop.
ONE_LOOP = pytest.mark.parametrize("anyio_backend", ["asyncio"])


@delayed(executor="process")
def add(one: Any, other: Any) -> Any:
    return one + other


@delayed(executor="process")
def wait(began: Gate, gate: Gate, *needs: Any) -> int:
    began.open()
    gate.wait()
    return os.getpid()


@delayed(executor="process")
def make(*needs: Any) -> dict[str, int]:
    return {"pid": os.getpid()}


@delayed(executor="process")
def use(value: dict[str, int], *needs: Any) -> bool:
    return value["pid"] > 0


@delayed(executor="process")
def lock() -> Any:
    return threading.Lock()


@delayed(executor="process")
def is_locked(value: Any, *needs: Any) -> bool:
    return value.locked()


async def test_a_cancelled_run_lets_go_of_all(runtime, client, began, gate, monkeypatch):
    """It does not wait for what has begun in a thread of a worker, nor leave anything on the cluster."""
    submit, futures = client.submit, []

    def keeping(*words: Any, **options: Any) -> Any:
        futures.append(submit(*words, **options))
        return futures[-1]  # so that it is not let go of because nobody has it any more

    monkeypatch.setattr(client, "submit", keeping)
    run = start([add(wait(began, gate), number) for number in range(3)])
    await began.opened()
    run.cancel()
    with pytest.raises(asyncio.CancelledError):
        await run
    assert not client.futures
    assert [future.status for future in futures] == ["cancelled"] * 3
    gate.open(2)
    await nothing_is_left(client)


async def test_what_is_on_its_way_home_is_not_waited_for(runtime, client, monkeypatch):
    """A run that is cancelled while a value is being gathered ends, and the future is let go of."""
    asked, arrived = asyncio.Event(), asyncio.get_running_loop().create_future()

    def gather(future: Any, **options: Any) -> Any:
        asked.set()
        return arrived

    monkeypatch.setattr(client, "gather", gather)
    run = start(add(1, 2))
    await asked.wait()
    run.cancel()
    with pytest.raises(asyncio.CancelledError):
        await run
    assert not arrived.cancelled()
    arrived.set_exception(OSError("nobody need hear of this"))


async def test_what_is_on_its_way_home_for_others_is_theirs(runtime, client, monkeypatch):
    """Dask gathers two values together: when one run is cancelled, the other has its own all the same."""
    gather, go_on = client._gather_remote, asyncio.Event()

    async def slowly(*words: Any) -> Any:
        await go_on.wait()
        return await gather(*words)

    monkeypatch.setattr(client, "_gather_remote", slowly)
    one, other = start(add(1, 2)), start(add(3, 4))
    async with asyncio.timeout(20):
        while len(client._gather_keys or ()) < 2:  # noqa: ASYNC110 - it is Dask that has them then
            await asyncio.sleep(0)
    one.cancel()
    with pytest.raises(asyncio.CancelledError):
        await one
    go_on.set()
    assert await other == 7


@pytest.mark.parametrize("times", [1, 3])
async def test_what_others_do_not_want_any_more_is_asked_for_again(runtime, client, monkeypatch, times):
    """A program that cancels what Dask gathers together with ours cancels no run; but it may break Dask."""
    gather, asked = client.gather, 0

    async def cancelled(future: Any, **options: Any) -> Any:
        nonlocal asked
        asked += 1
        if asked <= times:
            raise asyncio.CancelledError
        return await gather(future, **options)

    monkeypatch.setattr(client, "gather", cancelled)
    run = start(add(1, 2))
    if times == 1:
        assert await run == 3
    else:
        with pytest.raises(WorkerCrashedError, match=r"add-[0-9]+ was lost .* cancelled, time and again"):
            await run


async def test_large_arguments_that_nobody_waits_for_any_more(runtime, client, monkeypatch):
    """What is being sent when the run is cancelled is let go of when it has arrived."""
    scatter, asked, go_on, arrived = client.scatter, asyncio.Event(), asyncio.Event(), asyncio.Event()
    kept = []

    async def slowly(*data: Any, **options: Any) -> Any:
        asked.set()
        await go_on.wait()
        kept.append(await scatter(*data, **options))
        arrived.set()
        return kept[-1]

    monkeypatch.setattr(client, "scatter", slowly)
    run = start(add(bytes(2_000_000), b""))
    await asked.wait()
    run.cancel()
    with pytest.raises(asyncio.CancelledError):
        await run
    go_on.set()
    await arrived.wait()
    await nothing_is_left(client)


async def test_a_failure_stops_what_runs_on_the_cluster(runtime, client, began, gate):
    """The futures of the others are cancelled."""

    @delayed
    async def fail() -> None:
        await began.opened()
        raise LookupError("no more")

    with pytest.raises(LookupError):
        await delayed([add(wait(began, gate), 1), fail()])
    assert not client.futures


async def test_a_timeout(runtime, client, began, gate):
    """The future is cancelled, and the message says what goes on."""
    with pytest.raises(NodeTimeoutError) as caught:
        await wait.options(timeout=0.5)(began, gate)
    assert str(caught.value).partition(" ")[2] == (
        "ran for longer than its timeout of 0.5 s; it was cancelled in executor 'process', and what has "
        "begun in a thread of a worker goes on there by itself"
    )
    assert not client.futures


async def test_a_client_that_is_closed_too_early(client, began, gate):
    """What was running is lost, and what comes later does not begin."""
    async with Runtime(executors={"process": DaskExecutor(client)}):
        run = start(wait(began, gate))
        await began.opened()
        await client.close()
        with pytest.raises(
            RuntimeClosedError, match=r"wait-[0-9]+ was lost: its Dask client is closed; keep"
        ):
            await run
        with pytest.raises(
            RuntimeClosedError, match="the Dask cluster cannot be reached: its Dask client is closed"
        ):
            await add(1, 2)


async def test_a_plain_client_that_is_closed_too_early(address, began, gate):
    """Likewise, though its loop is another."""
    client = await asyncio.to_thread(Client, address, set_as_default=False)
    async with Runtime(executors={"process": DaskExecutor(client)}):
        run = start(wait(began, gate))
        await began.opened()
        await asyncio.to_thread(client.close)
        with pytest.raises(RuntimeClosedError):
            await run
        with pytest.raises(RuntimeClosedError):
            await add(1, 2)


async def test_an_argument_that_does_not_pickle(runtime):
    """The error says which, as for a worker process."""
    with pytest.raises(SerializationError, match=r"args\[1\]\['lock'\]") as caught:
        await add(1, {"lock": threading.Lock()})
    assert str(caught.value).endswith('or run the node with executor="thread".')
    assert caught.value.stage == "arg-pickle"


async def test_a_result_that_does_not_pickle(runtime):
    """It is told when it is to leave its worker; until then it may be used there."""
    with pytest.raises(SerializationError, match=r"The result of lock-[0-9]+ cannot be sent back") as caught:
        await lock()
    assert str(caught.value).endswith('or run the node with executor="thread".')
    assert caught.value.stage == "result-pickle"
    assert await is_locked(lock()) is False


async def test_a_result_that_does_not_get_to_another_worker(client):
    """The call that needs it fails with that, rather than wait for ever."""
    addresses = list((await client.scheduler.identity())["workers"])
    held = client.submit(_held_lock, key="held", workers=addresses[:1])
    error = await client.submit(_value_of, held, key="other", workers=addresses[1:]).exception()
    assert isinstance(error, SerializationError)
    assert str(error).startswith("The result of lock-1 cannot be sent back")


def _held_lock() -> Any:
    from asyncgraph.executors.travel import Held

    return Held(threading.Lock(), "lock-1")


def _value_of(held: Any) -> Any:
    return held.value()


@pytest.mark.parametrize("make", ["generator", "coroutine"])
async def test_a_result_that_nobody_could_use_elsewhere(runtime, make):
    """A generator or a coroutine is refused at once, also where it would stay on its worker."""

    @delayed(executor="process")
    def give() -> Any:
        async def coroutine() -> None: ...

        return coroutine() if make == "coroutine" else (each for each in "ab")

    @delayed(executor="process")
    def take(value: Any) -> str:
        return type(value).__name__

    with pytest.raises(SerializationError, match="does not pickle"):
        await take(give())


async def test_a_module_that_workers_lack(runtime, tmp_path, monkeypatch):
    """The error says what is missing, and how workers get it."""
    (tmp_path / "only_here.py").write_text("def answer():\n    return 42\n")
    monkeypatch.syspath_prepend(tmp_path)
    only_here = importlib.import_module("only_here")
    try:
        with pytest.raises(SerializationError, match="No module named 'only_here'") as caught:
            await delayed(only_here.answer, executor="process")()
        assert caught.value.stage == "arg-unpickle"
        assert any("client.upload_file" in note for note in caught.value.__notes__)
    finally:
        del sys.modules["only_here"]


async def test_a_value_that_cannot_come_home_for_a_node(runtime, client, monkeypatch):
    """The node that has returned one which needs it fails with that."""
    kept = lock()

    @delayed
    async def later(_: bool) -> Any:
        return delayed(str)(kept)

    with pytest.raises(SerializationError, match=r"The result of lock-[0-9]+ cannot be sent back"):
        await delayed([is_locked(kept, later(is_locked(kept)))])


async def test_workers_without_asyncgraph(client):
    """What Dask says of that is told in our words."""
    engine = DaskExecutor(client).bind(asyncio.get_running_loop())._engine
    error = engine.explained(ModuleNotFoundError("No module named 'asyncgraph'", name="asyncgraph"), "add-1")
    assert isinstance(error, SerializationError)
    assert "the same version has to be installed for its scheduler and workers" in str(error)
    lost = engine.explained(OSError("broken"), "add-1")
    assert str(lost) == "add-1 was lost: the connection to the Dask cluster has broken (OSError: broken)"
    other = LookupError()
    assert engine.explained(other, "add-1") is other


async def test_a_client_of_another_loop(client):
    """It is refused, with what would be right."""
    executor = DaskExecutor(client)

    def elsewhere() -> str:
        async def run() -> str:
            async with Runtime(executors={"process": executor}):
                with pytest.raises(RuntimeError) as caught:
                    await add(1, 2)
                return str(caught.value)

        return asyncio.run(run())

    message = await asyncio.to_thread(elsewhere)
    assert message.startswith(
        "the Dask client of this executor belongs to another event loop: make one in this"
    )


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ((5,), TypeError, "DaskExecutor takes a dask.distributed.Client, not 5"),
        ((None,), TypeError, "DaskExecutor takes a dask.distributed.Client, not None"),
    ],
)
def test_what_is_no_client(arguments, error, message):
    """It is refused when it is given."""
    with pytest.raises(error) as caught:
        DaskExecutor(*arguments)
    assert str(caught.value) == message


async def test_options(client):
    """`in_flight=` is checked, and a client by itself is no executor."""
    with pytest.raises(ValueError, match="in_flight= takes a whole number of at least 1, not 0"):
        DaskExecutor(client, in_flight=0)
    with pytest.raises(TypeError, match=r"executors= takes .*: give it as DaskExecutor\(client\)"):
        Runtime(executors={"process": client})


def test_without_dask(monkeypatch):
    """The error says what to install."""
    monkeypatch.setitem(sys.modules, "distributed", None)
    with pytest.raises(ImportError, match=r"DaskExecutor needs Dask: pip install 'asyncgraph\[dask\]'"):
        DaskExecutor(None)


def test_without_ray(monkeypatch):
    """Likewise."""
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(ImportError, match=r"RayExecutor needs Ray: pip install 'asyncgraph\[ray\]'"):
        RayExecutor()


def test_tracebacks_are_short():
    """Nothing of how a call travels is in what a user sees of it."""
    from asyncgraph.executors.packing import Packed
    from asyncgraph.executors.remote import AwayCall
    from asyncgraph.executors.travel import Reply, perform_away

    call = AwayCall(lambda: 1 / 0, (), {}, None, "key", None)
    call.variables = ()
    packed = _packed(call)
    assert isinstance(packed, Packed)
    with pytest.raises(Reply) as caught:
        perform_away("key", packed, (), ())
    value, error = caught.value.outcome("key")
    assert value is None
    assert [frame.name for frame in traceback.extract_tb(error.__traceback__)] == ["<lambda>"]
    assert str(caught.value) == repr(caught.value) == "ZeroDivisionError: division by zero"


def _packed(call: Any) -> Any:
    from asyncgraph.executors.packing import pack

    return pack(call)[0]


# -- what ends workers, and takes long; last, because the cluster may be without one for a while


@ONE_LOOP
async def test_a_worker_that_dies_of_a_call(runtime, client, tmp_path):
    """Dask begins it again, and its value is as if nothing had been."""
    path = tmp_path / "died"

    @delayed(executor="process")
    def die_once() -> str:
        if not path.exists():
            path.touch()
            os.kill(os.getpid(), signal.SIGKILL)
        return "alive"

    assert await die_once() == "alive"


@ONE_LOOP
async def test_a_value_that_dies_with_its_worker(runtime, client, began, gate):
    """What stayed on a worker is computed again elsewhere for those that need it."""
    made = make()
    run = start(use(made, wait(began, gate, made)))
    await began.opened()
    await kill_the_worker_of("make", client)
    gate.open(2)
    assert await run is True


@ONE_LOOP
async def test_a_large_argument_that_dies_with_its_worker(runtime, client, tmp_path):
    """It is sent again for a function that says so: Dask cannot make it again."""
    die_once = die_once_at(tmp_path / "died")
    with pytest.raises(
        WorkerCrashedError, match=r"was lost by .* \(1 MB\), .* retries_on_crash= sends again"
    ):
        await die_once(LARGE)
    die_once = die_once_at(tmp_path / "died again").options(retries_on_crash=1)
    assert await delayed(abs, executor="process")(die_once(LARGE)) == len(LARGE)


@ONE_LOOP
async def test_a_value_made_of_a_large_argument(runtime, client, began, gate):
    """When it has died with its worker, those that need it have a clear error; `resume` makes it again."""
    made = make(LARGE)
    run = start(use.options(retries_on_crash=2)(made, wait(began, gate, made)))
    await began.opened()
    await kill_the_worker_of("make", client)
    gate.open(2)
    with pytest.raises(
        WorkerCrashedError, match=r"a worker: it takes something .* large \(1 MB\), or .* such"
    ):
        await run
    gate.open()
    assert await run.resume() is True


@ONE_LOOP
async def test_a_call_that_no_worker_survives(runtime, client):
    """Dask gives up, which is told in our words, with its own error as the cause."""
    deadly = delayed(lambda: os.kill(os.getpid(), signal.SIGKILL), name="deadly", executor="process")()
    with pytest.raises(WorkerCrashedError) as caught:
        await deadly
    assert str(caught.value).startswith(
        f"{deadly.key} was running on Dask workers each time that one of them died: 2 in all, the last one "
        "at tcp://"
    )
    assert type(caught.value.__cause__).__name__ == "KilledWorker"
    assert f"{deadly.key} (deadly) failed, process executor" in caught.value.__notes__[0]


@ONE_LOOP
async def test_the_scheduler_is_gone(address, began, gate):
    """Nothing hangs: what was running is lost, and so is what comes later."""
    with cluster(1) as (own, process):
        async with (
            Client(own, asynchronous=True, set_as_default=False, timeout=1) as client,
            Runtime(executors={"process": DaskExecutor(client)}),
        ):
            run = start(wait(began, gate))
            await began.opened()
            process.kill()
            with pytest.raises(WorkerCrashedError, match=r"wait-[0-9]+ was lost by .*: scheduler-connection"):
                await run


@ONE_LOOP
async def test_a_restarted_cluster(runtime, client, began, gate):
    """What was running is lost, and it says why; what comes later runs."""
    run = start(wait(began, gate))
    await began.opened()
    await client.restart(wait_for_workers=False)
    with pytest.raises(WorkerCrashedError, match="scheduler-restart"):
        await run
    assert await value_later(add(1, 2)) == 3
