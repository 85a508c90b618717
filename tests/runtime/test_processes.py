"""What goes between a graph and the worker pool: which calls go together, and what comes of them."""

from __future__ import annotations

import asyncio
import sys
import threading
import time
import types
from collections.abc import Iterator
from typing import Any

import pytest

from asyncgraph import Runtime, delayed
from asyncgraph._runtime import slices
from asyncgraph._runtime.lanes import PROCESS
from asyncgraph._runtime.processes import Processes
from asyncgraph.errors import InternalError, NodeTimeoutError, SerializationError
from asyncgraph.executors.process.pool import ProcessExecutor
from tests.runtime.background import begin

SECONDS = 20

BIG = 1_000_000


def lasting(function: Any, seconds: float, **options: Any) -> Any:
    """The function as a process node, of which it is known how long it takes."""
    made = delayed(executor="process", **options)(function)
    made.function.durations.add(1000 * seconds, 1000)
    return made


def in_process(function: Any, **options: Any) -> Any:
    """The function as a process node, of which nothing is known."""
    return delayed(executor="process", **options)(function)


def echo(value: Any) -> Any:
    """What it is given."""
    return value


def size_of(value: Any) -> int:
    """How long it is; a node has no length."""
    return len(value)


def after_pause(value: Any) -> Any:
    """What it is given, a little later."""
    time.sleep(0.02)
    return value


def returning_a_node(size: int) -> Any:
    """A node with a large constant, which is larger than what stays in a pipe."""
    return delayed(echo)(b"x" * size)


class Scale:
    """Has a state, without which its calls make no sense."""

    def __init__(self, factor: int) -> None:
        self.factor = factor

    def times(self, value: int) -> int:
        """So many times the value."""
        return self.factor * value

    __call__ = times


@pytest.mark.parametrize("processes", [1, 2])
async def test_methods_and_objects_are_called_in_workers(processes: int) -> None:
    """Alone, several at a time, and in a chain: what they belong to goes with each call."""
    thrice = Scale(3)
    async with Runtime(processes=processes) as runtime:
        for function in (in_process(thrice.times), in_process(thrice), lasting(thrice.times, 1e-5)):
            assert await runtime.compute(function(function(function(2)))) == 54
            assert await runtime.compute([function(number) for number in range(9)]) == [*range(0, 27, 3)]


def used(runtime: Runtime) -> int:
    """How many slots for processes are taken."""
    assert runtime._lanes is not None
    return runtime._lanes[PROCESS].slots.used


@pytest.fixture
def reports() -> Any:
    """What the loop's exception handler is told; nothing, in the end."""
    told: list[dict[str, Any]] = []

    def listen() -> None:
        asyncio.get_running_loop().set_exception_handler(lambda _, context: told.append(context))

    listen.told = told  # type: ignore[attr-defined]
    yield listen
    assert not told


@pytest.fixture
def handed(monkeypatch: pytest.MonkeyPatch) -> list[list[Any]]:
    """The jobs that the pool gets, as they come."""
    batches: list[list[Any]] = []
    original = ProcessExecutor.start

    def start(self: ProcessExecutor, jobs: Any) -> None:
        batches.append(list(jobs))
        original(self, jobs)

    monkeypatch.setattr(ProcessExecutor, "start", start)
    return batches


@pytest.fixture
def strange() -> Iterator[types.ModuleType]:
    """A module that workers cannot import."""
    module = types.ModuleType("tests_runtime_strange")
    exec("def successor(x):\n    return x + 1\n\n\nclass Thing:\n    pass\n", module.__dict__)
    sys.modules[module.__name__] = module
    yield module
    del sys.modules[module.__name__]


# -- failures on the way to the pool


@pytest.mark.parametrize("seconds", [1e-5, 1.0], ids=["together", "alone"])
async def test_a_refusal_behind_calls_that_were_taken(seconds, reports):
    """Those have nowhere to go any more; the run ends once, and nothing is said of asyncgraph failing."""
    reports()
    function = lasting(echo, seconds)
    async with Runtime(processes=2) as runtime:
        with pytest.raises(SerializationError, match="does not pickle"):
            await runtime.compute(function(1), function(threading.Lock()), function(2))
        await asyncio.sleep(0)
        assert used(runtime) == 0
        assert await runtime.compute(function(3)) == 3


async def test_slots_come_back_from_a_run_that_has_broken_off(monkeypatch):
    """A fault of ours costs the run, and not all those that come after it."""

    def fail(self: ProcessExecutor, jobs: Any) -> None:
        raise MemoryError

    async with Runtime(processes=1) as runtime:
        with monkeypatch.context() as patch:
            patch.setattr(ProcessExecutor, "start", fail)
            with pytest.raises(InternalError):
                await runtime.compute(in_process(echo)(1))
        assert used(runtime) == 0
        assert await runtime.compute(in_process(echo)(2)) == 2


# -- nodes that functions return


@pytest.mark.parametrize("size", [10, BIG], ids=["small", "large"])
@pytest.mark.parametrize("count", [1, 2], ids=["chain", "fork"])
async def test_a_returned_node_is_computed_however_large(size, count):
    """It does not stay pickled, as a value that only other process calls need."""
    async with Runtime(processes=1) as runtime:
        node = in_process(returning_a_node)(size)
        assert await runtime.compute([in_process(size_of)(node) for _ in range(count)]) == [size] * count


async def test_a_returned_node_may_be_or_need_what_is_in_a_chain(handed):
    """Its value has gone from call to call, and is made once more."""
    first = in_process(echo)(5)
    chain = in_process(echo)(first)
    last = in_process(after_pause)(chain)

    def returning(node: Any) -> Any:
        return lambda: node

    async with Runtime(processes=1) as runtime:
        nodes = [delayed(returning(node))() for node in (first, chain, in_process(echo)([first, chain]))]
        assert await runtime.compute(last, *nodes) == (5, 5, 5, [5, 5])
    assert [len(job.tasks) for job in handed[0]] == [3]


async def test_a_returned_node_needs_what_is_kept_pickled():
    """On the loop, and in a thread, it is unpickled for it."""
    big = in_process(bytes)(BIG)
    sizes = [in_process(size_of)(big), in_process(size_of)(big)]

    def returning(executor: str) -> Any:
        return delayed(lambda _: delayed(executor=executor)(size_of)(big))

    async with Runtime(processes=1) as runtime:
        hold = in_process(after_pause)(sizes)
        nodes = [returning(executor)(sizes[0]) for executor in ("loop", "thread", "process")]
        assert await runtime.compute(hold, *nodes) == ([BIG, BIG], BIG, BIG, BIG)


# -- chains


async def test_a_step_that_a_worker_cannot_import_is_sent_by_value(strange, handed):
    """As it is if nothing goes before it; what went before is not called again."""
    async with Runtime(processes=1) as runtime:
        assert await runtime.compute(in_process(strange.successor)(in_process(echo)(1))) == 2
    assert [len(job.tasks) for jobs in handed for job in jobs] == [2, 1]


async def test_a_step_with_an_argument_that_a_worker_cannot_import(strange):
    """So are the classes of what is passed to it."""
    strange.Thing.__module__ = strange.__name__

    def with_name(value: Any, thing: Any) -> tuple[Any, str]:
        return value, type(thing).__name__

    async with Runtime(processes=1) as runtime:
        node = in_process(with_name)(in_process(echo)(1), strange.Thing())
        assert await runtime.compute(node) == (1, "Thing")


async def test_to_load_a_step_is_not_the_time_of_the_call_before():
    """A function that takes long to load has a turn of its own behind one whose time is limited."""

    class SlowToLoad:
        def __reduce__(self) -> Any:
            return time.sleep, (1.2,)

    slow = SlowToLoad()

    def step(value: Any, what: Any = slow) -> Any:
        return value

    async with Runtime(processes=1) as runtime:
        assert await runtime.compute(in_process(echo)(0)) == 0
        assert await runtime.compute(in_process(step)(in_process(echo, timeout=1.0)(1))) == 1
        with pytest.raises(NodeTimeoutError):
            await runtime.compute(in_process(step)(in_process(time.sleep, timeout=0.1)(5)))


async def test_a_chain_pays_for_its_long_steps(handed):
    """Short calls share a slot; with long ones behind them they would be more than there are workers."""
    slow = lasting(after_pause, 0.1)
    shorts = [lasting(lambda number=number: number, 1e-5) for number in range(4)]
    async with Runtime(processes=1) as runtime:
        run = begin([slow(short()) for short in shorts])
        assert runtime._lanes is not None
        most = 0
        while not run.done():
            await asyncio.sleep(0.005)
            most = max(most, len(runtime._lanes[PROCESS].executor._crew.workers))
        assert await run == [0, 1, 2, 3]
        assert (most, used(runtime)) == (1, 0)
    chains = [job for jobs in handed for job in jobs if job.steps]
    assert all(job.seconds > 0.01 for job in chains)


async def test_a_chain_of_short_calls_shares_a_slot(handed):
    """It pays for each of them, and no more."""
    functions = [lasting(lambda value, number=number: value + number, 1e-5) for number in range(3)]
    async with Runtime(processes=1) as runtime:
        nodes = [functions[2](functions[1](functions[0](number))) for number in range(1)]
        assert await runtime.compute(nodes) == [3]
        assert used(runtime) == 0
    assert [len(job.tasks) for jobs in handed for job in jobs] == [3]
    assert handed[0][0].units < 100


# -- batches


async def test_to_pickle_for_short_calls_does_not_hold_the_loop(monkeypatch, handed):
    """How short the calls are says nothing of how long it takes to pickle what they are called with."""
    monkeypatch.setattr(slices, "SLICE", 0.0)
    packed: list[float] = []
    original = Processes._pack

    def pack(self: Processes, *args: Any) -> Any:
        packed.append(0)
        return original(self, *args)

    monkeypatch.setattr(Processes, "_pack", pack)
    function = lasting(size_of, 1e-6)
    async with Runtime(processes=1) as runtime:
        assert await runtime.compute([function([number, 1]) for number in range(20)]) == [2] * 20
    assert len(packed) == 20
    assert max(len(job.tasks) for jobs in handed for job in jobs) < 5
