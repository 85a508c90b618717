"""Calls on a Dask cluster, beside coroutines and threads at home."""

# ruff: noqa: D103 - helpers whose names say it

from __future__ import annotations

import asyncio
import io
import os
import random
import threading
import traceback
from contextvars import ContextVar
from typing import Any

import pytest
from distributed import Client
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from asyncgraph import Runtime, as_completed, compute, delayed, start, when
from asyncgraph.dask import DaskExecutor
from asyncgraph.errors import DependencyError, GraphError
from asyncgraph.observe import NodeFinished, OpenTelemetry
from tests.clusters.blocks import block, grow, size_of

user: ContextVar[str] = ContextVar("user", default="nobody")


@delayed(executor="process")
def add(one: Any, other: Any) -> Any:
    return one + other


@delayed(executor="process")
def divide(one: int, other: int) -> float:
    return one / other


@delayed
async def at_home(value: Any) -> Any:
    return value


@delayed
def in_thread(value: Any) -> Any:
    return value


@delayed(executor="process")
def pid(*needs: Any) -> int:
    return os.getpid()


async def test_one_graph_in_three_places(runtime):
    """Calls run on workers; coroutines on the loop, and threads here."""

    @delayed
    async def here(value: int) -> tuple[int, int]:
        return value, os.getpid()

    @delayed
    def thread(value: int) -> tuple[int, int]:
        return value + 1, os.getpid()

    worker, (one, loop), (two, home) = await compute(pid(), here(add(1, at_home(2))), thread(add(3, 4)))
    assert (one, two) == (3, 8)
    assert worker != os.getpid()
    assert loop == home == os.getpid()


async def test_what_only_the_cluster_needs_stays_there(runtime, traffic):
    """A large value goes from call to call as a future; only what was asked for comes home."""
    data = block(4_000_000)
    assert await size_of(grow(data), data) == 12_000_000
    assert traffic.gathered == ["size_of"]
    assert [(name, futures) for name, futures, _ in traffic.submitted] == [
        ("block", 0),
        ("grow", 1),
        ("size_of", 2),
    ]
    assert traffic.scattered == 0


async def test_what_is_needed_here_and_there(runtime, traffic):
    """A value that comes home goes to other calls on the cluster as a future all the same."""
    data = block(4_000_000)
    assert await compute(at_home(data), size_of(data), data) == (
        bytearray(4_000_000),
        4_000_000,
        bytearray(4_000_000),
    )
    assert traffic.gathered.count("block") == 1
    assert [(name, futures) for name, futures, _ in traffic.submitted] == [("block", 0), ("size_of", 1)]
    assert traffic.scattered == 0


async def test_large_arguments_go_ahead(runtime, traffic):
    """What is large does not go through the scheduler's graph; it arrives whole, and can be written to."""
    data = bytearray(b"x" * 3_000_000)

    @delayed(executor="process")
    def first(data: bytearray) -> bytes:
        data[0] = 0
        return bytes(data[:2])

    assert await first(data) == b"\0x"
    assert traffic.scattered == 1
    assert data[0] == ord("x")


async def test_arrays_can_be_written_to(runtime):
    """As they can in a worker process: those that were sent, and those that have come home."""
    numpy = pytest.importorskip("numpy")

    @delayed(executor="process")
    def double(array: Any) -> Any:
        array *= 2
        return array

    small, large, made = await compute(
        double(numpy.ones(10)),
        double(numpy.ones(300_000)),
        double(delayed(numpy.ones, executor="process")(300_000)),
    )
    for array in (small, large, made):
        array += 1
        assert set(array) == {3.0}


async def test_an_exception_is_the_user_s_own(runtime):
    """With its class, the frames on the worker, and a note that names node and executor."""
    with pytest.raises(ZeroDivisionError) as caught:
        await at_home(divide(add(1, 0), 0))
    text = "".join(traceback.format_exception(caught.value))
    assert "return one / other" in text
    assert "call_away" not in text
    (note,) = caught.value.__notes__
    assert "(divide) failed, process executor" in note
    assert caught.value.__cause__ is None


async def test_an_exit_ends_no_worker(runtime):
    """It fails the node, as elsewhere."""
    with pytest.raises(Exception, match="would have ended the program"):
        await delayed(os.sys.exit, executor="process")(3)
    assert await add(1, 2) == 3


async def test_failures_as_values(runtime):
    """With `return_exceptions=True` everything that can run does, and nothing stays on the cluster."""
    data = block(100)
    failed, behind, size = await compute(
        divide(size_of(data), 0), at_home(divide(1, 0)), size_of(grow(data)), return_exceptions=True
    )
    assert isinstance(failed, ZeroDivisionError)
    assert isinstance(behind, DependencyError)
    assert size == 200


async def test_retries(runtime, tmp_path, traffic):
    """A call that has failed is made again, by us, with what the cluster has of its arguments."""

    @delayed(executor="process", retries=2)
    def flaky(data: bytearray) -> int:
        path = tmp_path / "tried"
        if not path.exists():
            path.touch()
            raise OSError("not yet")
        return len(data)

    assert await flaky(block(1000)) == 1000
    assert [(name, futures) for name, futures, _ in traffic.submitted] == [
        ("block", 0),
        ("flaky", 1),
        ("flaky", 1),
    ]
    assert traffic.gathered == ["flaky"]


async def blocks(client: Client) -> list[str]:
    """Return what the cluster is to keep of `block`."""
    await asyncio.sleep(0)  # Dask drops it in the next turn
    return [key for key in client.futures if key.startswith("block")]


async def test_what_is_here_and_there_is_not_sent_for_a_retry(runtime, client, tmp_path, traffic):
    """A call that is made again uses what the cluster has; when it is over, the cluster lets go of that."""

    @delayed(executor="process", retries=1)
    def flaky(one: bytearray, other: bytearray) -> int:
        path = tmp_path / "tried"
        if not path.exists():
            path.touch()
            raise OSError("not yet")
        return len(one + other)

    @delayed
    async def last(_: int) -> list[str]:
        return await blocks(client)

    data = block(2_000_000)
    assert await compute(last(flaky(data, data)), at_home(data)) == ([], bytearray(2_000_000))
    assert [(name, futures) for name, futures, _ in traffic.submitted] == [
        ("block", 0),
        ("flaky", 1),
        ("flaky", 1),
    ]
    assert traffic.scattered == 0


async def test_what_is_here_and_there_serves_calls_that_come_later(runtime, traffic):
    """Functions here return calls that take it, while others are over or go on."""
    data = block(2_000_000)

    @delayed
    async def later(*needs: Any) -> Any:
        return size_of(data)

    size = size_of(data)
    sizes = [size, later(at_home(data)), later(size)]
    assert await compute(sizes, at_home(data)) == ([2_000_000] * 3, bytearray(2_000_000))
    assert traffic.gathered.count("block") == 1


@pytest.mark.parametrize("last", ["refused", "refused again", "unhashable", "behind"])
async def test_what_is_here_and_there_is_not_kept_for_what_does_not_run(runtime, client, last):
    """A call that cannot be sent or made, or is behind a failure, keeps nothing on the cluster."""
    data, over = block(1000), asyncio.Event()

    @delayed
    async def goes_on(data: bytearray) -> int:
        await over.wait()
        return len(data)

    takes = {
        "refused": lambda: size_of(data, threading.Lock()),
        "refused again": lambda: size_of.options(retries=1)(data, threading.Lock()),
        "unhashable": lambda: size_of(data, {at_home([])}),
        "behind": lambda: size_of(data, divide(size_of(data), 0)),
    }[last]()
    run = start([takes, goes_on(data)], return_exceptions=True)
    async with asyncio.timeout(20):
        while await blocks(client) or not run.statistics().failed:
            pass
    over.set()
    failed, size = await run
    assert isinstance(failed, Exception)
    assert size == 1000


async def test_priority_and_resources_are_passed_on(runtime, traffic):
    """Dask is told of both; a retry is not its business."""
    assert await add.options(priority=5, resources={"GPU": 1})(1, 2) == 3
    ((_, _, options),) = traffic.submitted
    assert options["priority"] == 5
    assert options["resources"] == {"GPU": 1}
    assert "retries" not in options


async def test_resources_are_honoured(runtime, client):
    """Of two calls that need what a worker has one of, no worker runs both at once; what none has, waits."""
    run = start(add.options(resources={"GPU": 2})(1, 2))
    async with asyncio.timeout(20):
        while not (states := await client.run_on_scheduler(_states)):
            pass
    assert states == ["no-worker"]
    run.cancel()
    with pytest.raises(asyncio.CancelledError):
        await run


def _states(dask_scheduler: Any) -> list[str]:
    return [task.state for task in dask_scheduler.tasks.values()]


async def test_any_graph_gives_what_it_gives_here(runtime, client):
    """Graphs at random, with nodes here and there, which grow, fail and try again: outcomes are the same."""
    async with Runtime(processes=1) as local:
        for seed in range(10):
            outputs = _at_random(random.Random(seed))
            there = await runtime.compute(outputs, return_exceptions=True)
            assert not client.futures, seed
            here = await local.compute(outputs, return_exceptions=True)
            assert list(map(_told, there)) == list(map(_told, here)), seed


def _at_random(choose: random.Random) -> list[Any]:
    nodes: list[Any] = [add(1, 1), at_home(1), 2]
    kinds = {
        "add": add,
        "divide": divide,
        "here": lambda one, _: at_home(one),
        "thread": lambda one, _: in_thread(one),
        "retries": divide.options(retries=1),
        "refused": lambda one, _: add(one, threading.Lock()),
        "grown here": grown_here,
        "grown there": grown_here.options(executor="process"),
        "operator": lambda one, other: delayed(one) - other,
    }
    for _ in range(choose.randrange(5, 40)):
        kind = choose.choice([*kinds, "add", "add", "here"])
        nodes.append(kinds[kind](*choose.choices(nodes, k=2)))
    return [delayed(each) for each in nodes[-6:]]


@delayed
def grown_here(one: Any, other: Any) -> Any:
    return add(at_home(one), other) if one < other else at_home(add(one, other))


def _told(value: Any) -> Any:
    return type(value) if isinstance(value, BaseException) else value


async def test_growing_graphs(runtime):
    """Functions on the cluster return nodes; what they refer to there is used there."""

    @delayed(executor="process")
    def count_down(number: int) -> Any:
        return count_down(number - 1) if number else "done"

    assert await count_down(3) == "done"


async def test_a_node_that_needs_what_stayed_there(runtime, traffic):
    """It is brought home first, for a node that a function here has returned; later ones find it here."""
    data = block(10)
    grown = grow(data)  # keeps `data` on the cluster until it has begun

    @delayed
    async def later(size: int) -> Any:
        return at_home(data)

    # The last call needs `data` when `later` has returned, and not before.
    run = compute(later(size_of(grown)), size_of(data, later(size_of(grown))))
    value, size = await run
    assert value == bytearray(10)
    assert size == 20


async def test_choices(runtime, traffic):
    """`when` decides here; only the side that was chosen runs, wherever."""
    data = block(10)
    size, other = await compute(
        when(size_of(data), size_of(grow(data)), divide(1, 0)), when(0, divide(1, 0), at_home(data))
    )
    assert (size, other) == (20, bytearray(10))


async def test_nested(runtime):
    """Nodes at home compute graphs that run on the cluster, also when that is full."""

    @delayed
    async def inner(number: int) -> int:
        return await add(number, 1)

    assert await add(inner(1), inner(2)) == 5


async def test_no_more_at_once_than_in_flight(client, traffic):
    """Those beyond it are handed over when others have come back; nested runs get one more."""
    async with Runtime(executors={"process": DaskExecutor(client, in_flight=1)}) as runtime:
        most = 0

        @delayed
        async def inner(value: int) -> int:
            return await add(value, 1)

        run = start([inner(add(number, 1)) for number in range(4)], observers=[lambda _: None])
        while not run.done():
            most = max(most, *(each.used for each in runtime.usage() if each.executor == "process"))
            await asyncio.sleep(0)
        assert await run == [2, 3, 4, 5]
        assert most >= 1
        assert runtime.usage()[-1].capacity == 1


async def test_a_run_can_be_resumed(runtime, tmp_path):
    """What finished is kept where it is; only what is missing runs again."""
    ready = tmp_path / "ready"

    @delayed(executor="process")
    def read(data: bytearray) -> int:
        return len(data) + len(ready.read_text())

    data = block(100)
    run = start(at_home(read(data)))
    with pytest.raises(FileNotFoundError):
        await run
    assert await run.fetch(data) == bytearray(100)
    ready.write_text("12345")
    assert await run.resume() == 105


async def test_as_they_come(runtime):
    """Outputs are told of one by one."""
    nodes = {add(number, number): number * 2 for number in range(5)}
    assert {node: value async for node, value in as_completed(nodes)} == nodes


async def test_context_variables(client):
    """Those that the runtime names are seen by calls on the cluster."""
    user.set("Ada")
    async with Runtime(executors={"process": DaskExecutor(client)}, context=[user]):
        assert await delayed(user.get, executor="process")() == "Ada"


async def test_it_is_observed_and_dumped(client):
    """Events and dumps name the executor."""
    events: list[Any] = []
    never = add.options(resources={"GPU": 2}, executor="cluster")(1, 2)
    async with Runtime(executors={"cluster": DaskExecutor(client)}):
        await compute(add.options(executor="cluster")(1, 2), observers=[events.append])
        run = start(never)
        await asyncio.sleep(0)
        text = io.StringIO()
        run.dump(file=text)
        run.cancel()
        with pytest.raises(asyncio.CancelledError):
            await run
    assert "in executor 'cluster'" in text.getvalue()
    assert [event.worker for event in events if isinstance(event, NodeFinished)] == ["cluster"]


async def test_spans_on_workers_are_below_their_node_s(client):
    """What is put around calls goes to the cluster with them, for each attempt; OpenTelemetry as text."""
    exporter, provider = InMemorySpanExporter(), TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    one = delayed(span_there, executor="process", name="one")()
    async with Runtime(executors={"process": DaskExecutor(client)}):
        with OpenTelemetry(tracer_provider=provider):
            seen = await compute(delayed(span_there, executor="process", name="other")(one), one)
    nodes = {span.name: span for span in exporter.get_finished_spans()}
    assert [parent for _, parent in seen] == [nodes[name].context.span_id for name in ("other", "one")]
    assert {trace for trace, _ in seen} == {nodes["asyncgraph run"].context.trace_id}


def span_there(*_: Any) -> tuple[int, int]:
    """Open a span on a worker, which has a provider of its own; the trace that it is in, and its parent."""
    exporter, provider = InMemorySpanExporter(), TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    with provider.get_tracer("tests").start_as_current_span("own"):
        pass
    (span,) = exporter.get_finished_spans()
    assert span.parent is not None
    return span.context.trace_id, span.parent.span_id


async def test_a_plain_client(address):
    """It has a loop in a thread of its own, and never holds up ours."""
    client = await asyncio.to_thread(Client, address, set_as_default=False)
    try:
        async with Runtime(executors={"process": DaskExecutor(client)}):
            data = block(2_000_000)
            assert (
                await compute(size_of(grow(data)), at_home(size_of(data, bytearray(2_000_000))))
                == (4_000_000,) * 2
            )
            with pytest.raises(ZeroDivisionError):
                await divide(1, 0)
            run = start(add.options(resources={"GPU": 2})(1, 2))
            await asyncio.sleep(0)
            run.cancel()
            with pytest.raises(asyncio.CancelledError):
                await run
    finally:
        await asyncio.to_thread(client.close)
    assert threading.current_thread() is threading.main_thread()


async def test_resources_elsewhere_are_refused(client):
    """An executor that knows none says so before anything runs, and which ones do."""
    async with Runtime(executors={"cluster": DaskExecutor(client)}) as runtime:
        with pytest.raises(GraphError) as caught:
            await runtime.compute(at_home(in_thread.options(resources={"GPU": 1})(1)))
    assert str(caught.value) == (
        "in_thread takes resources={'GPU': 1}, and executor 'thread' of this runtime knows no resources; "
        "DaskExecutor and RayExecutor do, as in Runtime(executors={'process': DaskExecutor(client)})"
    )
