"""Rows 48 to 58: large graphs, forgotten runs, contexts, several loops, and our own faults."""

# ruff: noqa: D103 - helpers whose names say it

from __future__ import annotations

import asyncio
import contextvars
import gc
import pickle
import threading
import weakref
from typing import Any

import cloudpickle
import pytest

from asyncgraph import Runtime, as_completed, compute, delayed, run, start
from asyncgraph._graph.scheduler import Scheduler
from asyncgraph.errors import DependencyError, InternalError
from tests.errors.reading import failure_of
from tests.reliability.harness import EVERYWHERE, IN_THIS_PROCESS, PATIENCE, Stage, on, turns

# -- row 48

MANY = 100_000


def inc(x: int) -> int:
    return x + 1


def chain(executor: str, first: Any) -> Any:
    """A long chain of nodes behind a first one."""
    node, function = first, on(executor, inc)
    if executor == "coroutine":  # without a turn of the loop for each

        @delayed(name="inc")
        async def function(x: int) -> int:
            return x + 1

    for _ in range(MANY):
        node = function(node)
    return node


@pytest.mark.parametrize("executor", IN_THIS_PROCESS)
def test_row_48_chain_of_100_000_nodes(executor):
    """It is built, looked at, computed, failed, cancelled and collected without recursion, and quickly."""

    async def fail_and_cancel() -> None:
        behind = await chain(executor, delayed(0) / 0).compute(return_exceptions=True)
        assert type(behind) is DependencyError
        assert type(behind.__cause__) is ZeroDivisionError

        stage = Stage()
        going_on = start(chain(executor, stage.coroutine()))
        await stage.have_begun("coroutine")
        going_on.cancel()
        with pytest.raises(asyncio.CancelledError):
            await going_on
        assert going_on.statistics().cancelled == MANY + 1

    node = chain(executor, delayed(0))
    assert hash(node) == hash(node)
    assert "inc" in repr(node)
    assert run(node) == MANY
    gone = weakref.ref(node)
    del node
    assert gone() is None
    run(fail_and_cancel())


def test_row_48_chain_of_100_000_nodes_pickles():
    """It travels as pickle, and is the same graph afterwards."""
    node = pickle.loads(cloudpickle.dumps(chain("inline", delayed(0))))
    assert len(node.graph) == MANY + 1
    assert run(node) == MANY


# -- row 50


async def test_row_50_run_that_nobody_holds():
    """A run goes on though nobody has it, and what its node waits for is known to nobody else."""
    gates: list[weakref.ref[asyncio.Future[str]]] = []
    ended = asyncio.Event()

    @delayed
    async def wait() -> None:
        gate = asyncio.get_running_loop().create_future()
        gates.append(weakref.ref(gate))
        assert await gate == "go"
        ended.set()

    start(wait())
    await turns(3)
    gc.collect()
    gate = gates[0]()
    assert gate is not None
    gate.set_result("go")
    await asyncio.wait_for(ended.wait(), PATIENCE)


# -- row 51

variable: contextvars.ContextVar[str] = contextvars.ContextVar("variable", default="default")


def look_and_set(name: str, *_: Any) -> str:
    seen = variable.get()
    variable.set(name)
    return seen


@pytest.mark.parametrize("executor", EVERYWHERE)
async def test_row_51_contextvars(executor):
    """A node sees the context of the `compute()` and nothing of other nodes; a worker sees none of it."""
    function = on(executor, look_and_set)
    first = function("first")
    nodes = [first, function("second"), function("third", first)]
    async with Runtime(processes=1):
        variable.set("caller")
        computing = start(nodes)
        variable.set("caller, later")
        seen = await computing
    assert seen == ["default" if executor == "process" else "caller"] * 3
    assert variable.get() == "caller, later"


async def test_row_51_contextvars_named_by_the_runtime():
    """A worker sees those that the runtime names, as they were at `compute()`, and nothing of other nodes."""
    function = on("process", look_and_set)
    first = function("first")
    async with Runtime(processes=1, context=[variable]):
        variable.set("caller")
        computing = start([first, function("second"), function("third", first)])
        variable.set("caller, later")
        assert await computing == ["caller"] * 3


# -- rows 53 and 54


def compute_here() -> Any:
    """What a function does that is not `async`, and wants a value."""
    return run(delayed(abs, executor="thread")(-5))


@pytest.mark.parametrize("executor", ["coroutine", "inline"])
async def test_row_53_compute_from_plain_code_on_the_loop(executor):
    """Where a loop is running already, `run` raises at once and says what to do: nobody waits for himself."""
    with pytest.raises(RuntimeError, match="`await` the node"):
        compute_here()
    error = await failure_of(on(executor, compute_here)())
    assert type(error) is RuntimeError
    assert "`await` the node" in str(error)


async def test_row_53_compute_from_plain_code_in_a_thread():
    """In a thread, where no loop is running, `run` computes on one of its own; `start` and `await` say so."""
    async with Runtime(threads=1):
        assert await delayed(compute_here, executor="thread")() == 5
        error = await failure_of(delayed(lambda: start(delayed(1)), executor="thread")())
        assert type(error) is RuntimeError
        assert "asyncgraph.run(node)" in str(error)


def test_row_54_two_loops_share_a_graph():
    """Two threads, with a loop each, compute the same nodes at the same time: each has values of its own."""
    both = threading.Barrier(2)
    made: list[object] = []

    @delayed
    async def make() -> object:
        await asyncio.to_thread(both.wait, PATIENCE)
        made.append(object())
        return made[-1]

    node = delayed(lambda thing: [thing], executor="thread")(make())
    values: list[Any] = []
    threads = [threading.Thread(target=lambda: values.append(run(node))) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(PATIENCE)
    assert len(made) == 2
    assert {id(thing) for (thing,) in values} == {id(thing) for thing in made}


async def test_row_54_what_belongs_to_another_loop():
    """A runtime or a run that is used on another loop than its own says so, and goes on on its own."""
    stage = Stage()
    async with Runtime() as runtime:
        going_on = start(stage.thread())
        await stage.have_begun("thread")

        async def elsewhere() -> None:
            for use in (lambda: compute(delayed(1), runtime=runtime), going_on.outcome):
                with pytest.raises(RuntimeError, match="belongs to another event loop"):
                    await use()

        await asyncio.to_thread(lambda: asyncio.run(elsewhere()))
        stage.release.set()
        assert await going_on == "thread"


# -- row 58


class Fault(Exception):
    """What a faulty part of asyncgraph raises."""


async def wait_for_all(nodes: list[Any]) -> list[Any]:
    return [value async for _, value in as_completed(nodes)]


@pytest.mark.parametrize("entrance", [compute, start, wait_for_all], ids=["compute", "start", "as_completed"])
@pytest.mark.parametrize("nth", [1, 3])
@pytest.mark.parametrize("method", ["first", "take", "consume", "finish", "fail", "cancel", "stop"])
async def test_row_58_fault_of_our_own(monkeypatch, method, nth, entrance, complaints):
    """A fault in the scheduler ends the run with an InternalError, when all of it has ended; others go on."""
    stage, others = Stage(), Stage()
    original, calls = getattr(Scheduler, method), 0

    def faulty(scheduler: Scheduler, *args: Any, **options: Any) -> Any:
        nonlocal calls
        calls += 1
        if calls == nth:
            raise Fault(method)
        return original(scheduler, *args, **options)

    async def fail() -> None:
        await stage.have_begun("coroutine", "thread")
        raise ValueError("of a node")

    async with Runtime(threads=2):
        other = start(others.thread())
        await others.have_begun("thread")
        # The coroutine, when it is cancelled, lets go of the thread.
        nodes = [delayed(fail)(), stage.coroutine(), stage.thread("thread", stage.after("coroutine"))]
        nodes += [delayed(look_and_set, executor=each)("x") for each in ("loop", "thread")]
        with monkeypatch.context() as patch:
            patch.setattr(Scheduler, method, faulty)
            error = await asyncio.wait_for(failure_of(entrance(nodes)), PATIENCE)
        assert stage.running == []
        if calls >= nth:
            assert type(error) is InternalError
            assert type(error.__cause__) is Fault
            assert "report" in str(error)
        else:
            assert str(error) == "of a node"
        others.release.set()
        assert await other == "thread"
        assert await delayed(look_and_set, executor="thread")("x") == "default"
    assert complaints == []
