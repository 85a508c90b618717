"""Whole graphs on a Dask cluster, followed from here."""

# ruff: noqa: D103 - helpers whose names say it

from __future__ import annotations

import asyncio
import gc
import io
import os
import random
import threading
import traceback
from collections.abc import Callable
from contextvars import ContextVar
from pathlib import Path
from typing import Any

import pytest
from distributed import Client
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from asyncgraph import Input, Retry, Runtime, as_completed, compile, compute, delayed, dump, start, when
from asyncgraph._graph import node as nodes
from asyncgraph.dask import DaskRuntime
from asyncgraph.errors import DependencyError, GraphError, SerializationError
from asyncgraph.observe import NodeFinished, NodeRetrying, NodeStarted, OpenTelemetry, Report
from tests.clusters.gates import Gate
from tests.clusters.test_executor import span_there
from tests.runtime import stories

user: ContextVar[str] = ContextVar("user", default="nobody")


@delayed
async def fetch(number: int) -> int:
    await asyncio.sleep(0)
    return number * 10


@delayed(executor="process")
def add(one: Any, other: Any) -> Any:
    return one + other


@delayed
def divide(one: int, other: int) -> float:
    return one / other


@delayed
def block(size: int) -> bytearray:
    return bytearray(size)


@delayed(executor="loop")
def size_of(*data: bytearray) -> int:
    return sum(map(len, data))


@delayed
async def pid(*needs: Any) -> int:
    return os.getpid()


@delayed
def count_down(number: int) -> Any:
    return count_down(number - 1) if number else "done"


@pytest.fixture
def runtime(client):
    return DaskRuntime(client)


async def test_all_of_it_runs_on_workers(runtime, traffic):
    """Functions and coroutines alike, as one graph of Dask's, of which only what was asked for comes home."""
    total = delayed(sum)([add(fetch(number), 1) for number in range(5)]) + 1
    there = pid(total)
    value, other = await compute(total, there, runtime=runtime)
    assert value == 106
    assert other != os.getpid()
    (graph,) = traffic.graphs
    assert sorted(graph) == sorted(["fetch", "add"] * 5 + ["sum", "add", "pid"])
    assert sorted(traffic.gathered) == ["add", "pid"]


async def test_a_block(client, traffic):
    """Everything that is computed inside goes to the cluster."""
    async with DaskRuntime(client) as runtime:
        assert await pid() != os.getpid()
        assert await runtime.compute(fetch(1)) == 10
    assert len(traffic.graphs) == 2
    assert repr(runtime).startswith("<DaskRuntime of <Client")


async def test_executors_are_of_no_account(runtime):
    """Also one that no runtime here has."""
    assert await add.options(executor="gpu")(1, 2).compute(runtime=runtime) == 3


async def test_any_graph_gives_what_it_gives_here(runtime):
    """Graphs at random, which grow, choose and fail: values and errors are the same."""
    for seed in range(10):
        outputs = _at_random(random.Random(seed))
        there = await compute(outputs, runtime=runtime, return_exceptions=True)
        here = await compute(outputs, return_exceptions=True)
        assert list(map(_told, there)) == list(map(_told, here)), seed


def _at_random(choose: random.Random) -> list[Any]:
    nodes: list[Any] = [delayed(3), fetch(1), 2]
    for _ in range(choose.randrange(3, 25)):
        one, other, third = choose.choices(nodes, k=3)
        kind = choose.choice(["add", "add", "divide", "fetch", "twice", "when", "list", "operator", "grow"])
        nodes.append(
            {
                "add": lambda a, b, _: add(a, b),
                "divide": lambda a, b, _: divide(a, b),
                "fetch": lambda a, _, __: fetch(a),
                "twice": lambda a, _, __: add(a, a),
                "when": lambda a, b, c: when(delayed(bool)(a), b, c),
                "list": lambda a, b, c: delayed(sum)([a, {"b": b}["b"], c]),
                "operator": lambda a, b, _: delayed(a) - b,
                "grow": lambda a, b, _: grown(a, b),
            }[kind](one, other, third)
        )
    return [delayed(each) for each in nodes[-4:]]


@delayed
def grown(one: Any, other: Any) -> Any:
    if one < other:
        return add(fetch(one), other)
    return fetch(divide(other, one)) if one > 10 else one


def _told(value: Any) -> Any:
    if isinstance(value, DependencyError):
        return "behind", repr(value.__cause__)
    return repr(value) if isinstance(value, BaseException) else value


async def test_results_stay_where_they_are(runtime, traffic):
    """What was asked for comes home, and calls on the cluster use what is there all the same."""
    data = block(4_000_000)
    size, value = await compute(size_of(data, data), data, runtime=runtime)
    assert (size, len(value)) == (8_000_000, 4_000_000)
    assert sorted(traffic.gathered) == ["block", "size_of"]
    assert traffic.scattered == 0


@pytest.mark.parametrize("retries", [0, 1])
async def test_what_was_asked_for_is_not_kept_for_what_cannot_be_sent(runtime, client, tmp_path, retries):
    """The cluster has it for calls that take it, and lets go of it when the last one is refused."""
    with Gate.made(tmp_path / "gate") as gate:
        data, other = block(1000), delayed(Gate.wait)(gate)
        refused = size_of.options(retries=retries)(data, threading.Lock())
        run = start([data, refused, other], runtime=runtime, return_exceptions=True)
        async with asyncio.timeout(20):
            while len(client.futures) > 1 or not run.statistics().failed:  # noqa: ASYNC110 - it drops them a turn later
                await asyncio.sleep(0)
        gate.open()
        value, failed, _ = await run
    assert value == bytearray(1000)
    assert isinstance(failed, SerializationError)


async def test_functions_that_return_nodes(runtime, traffic):
    """They are computed in their place, also one after another; what stood behind is handed over again."""
    assert await add(count_down(3), "!").compute(runtime=runtime) == "done!"
    assert traffic.graphs == [["count_down", "add"]] * 4


async def test_what_is_chosen_or_returned_stays_there(runtime, traffic):
    """It comes home only if somebody here needs it."""
    data = block(1_000_000)

    @delayed
    def again(size: int) -> Any:
        return block(size)

    chosen = when(size_of(data) > 5, data, divide(1, 0))
    assert await size_of(chosen, again(size_of(data)), data).compute(runtime=runtime) == 3_000_000
    assert sorted(traffic.gathered) == ["gt", "size_of"]


async def test_choices_are_made_here(runtime, traffic):
    """Only what a choice goes by comes home, and only the side that was chosen goes to the cluster."""
    data = block(10)
    chosen = when(size_of(data) > 5, size_of(data, data), divide(1, 0))
    assert await add(chosen, 1).compute(runtime=runtime) == 21
    assert sorted(traffic.gathered) == ["add", "gt"]
    assert "divide" not in {name for graph in traffic.graphs for name in graph}


async def test_retries(runtime, tmp_path):
    """A call that has failed is made again, with all behind it; its pauses are ours."""
    path = tmp_path / "tried"
    events: list[Any] = []
    node = add(flaky(path, fetch(1)), fetch(2))
    assert await node.compute(runtime=runtime, observers=[events.append]) == 30
    assert path.read_text() == "xxx"
    assert [event.attempt for event in events if isinstance(event, NodeRetrying)] == [1, 2]
    stories.check(events)


@delayed(retries=Retry(attempts=3, backoff=0.01))
def flaky(path: Path, value: int) -> int:
    with path.open("a") as file:
        file.write("x")
    if len(path.read_text()) < 3:
        raise OSError("not yet")
    return value


async def test_an_exception_is_the_user_s_own(runtime):
    """With its class, the frames on the worker, and a note that tells the node and the way to it."""
    with pytest.raises(ZeroDivisionError) as caught:
        await add(divide(add(1, 0), 0), 1).compute(runtime=runtime)
    text = "".join(traceback.format_exception(caught.value))
    assert "return one / other" in text
    assert "perform_loaded" not in text
    (note,) = caught.value.__notes__
    assert "(divide) failed, dask executor" in note
    assert "wanted by: add-" in note
    assert caught.value.__cause__ is None


async def test_an_exception_of_a_coroutine(runtime):
    """Likewise, without the frames of what runs it there."""

    @delayed
    async def fail(number: int) -> None:
        await asyncio.sleep(0)
        raise LookupError(number)

    with pytest.raises(LookupError) as caught:
        await fail(fetch(1)).compute(runtime=runtime)
    assert caught.value.args == (10,)
    assert traceback.extract_tb(caught.value.__traceback__)[-1].line == "raise LookupError(number)"
    names = [frame.name for frame in traceback.extract_tb(caught.value.__traceback__)]
    assert names == ["test_an_exception_of_a_coroutine", "compute", "fail"]


async def test_failures_as_values(runtime):
    """With `return_exceptions=True` everything that can run does."""
    nodes = divide(1, 0), add(divide(1, 0), 1), add(fetch(1), 1)
    failed, behind, value = await compute(*nodes, runtime=runtime, return_exceptions=True)
    assert isinstance(failed, ZeroDivisionError)
    assert isinstance(behind, DependencyError)
    assert value == 11


async def test_data(runtime, traffic):
    """What inputs are given goes there once for all that take it, and ahead of the graph if it is large."""
    given, table = Input("table"), bytearray(2_000_000)
    nodes = [add(size_of(given), number) for number in range(5)]
    compiled = compile(delayed(sum)(nodes))
    async with runtime:
        assert await compiled(table=table) == 10_000_010
        assert traffic.scattered == 1
        assert await delayed(len)(delayed([1, fetch(2), {"three": 3}])) == 3


async def test_priority_and_resources_are_passed_on(runtime, traffic, monkeypatch):
    """Each task has its own."""
    monkeypatch.setattr(nodes, "_counters", {})
    node = delayed(max)(add.options(priority=5)(1, 2), add.options(resources={"GPU": 1})(1, 2), add(1, 1))
    assert await node.compute(runtime=runtime) == 3
    assert traffic.annotations == {
        "add-1": {"priority": 5},
        "add-2": {"resources": {"GPU": 1}},
        "add-3": None,
        "max-1": None,
    }


def _annotations(dask_scheduler: Any) -> list[Any]:
    return [task.annotations for task in dask_scheduler.tasks.values()]


async def test_resources_are_waited_for(runtime, client):
    """What no worker has is waited for, and the rest runs."""
    never = add.options(resources={"GPU": 2}, priority=7)(fetch(1), 2)
    run = start([never, fetch(5)], runtime=runtime)
    async with asyncio.timeout(20):
        while "no-worker" not in await client.run_on_scheduler(_states):
            pass
    assert {"priority": 7, "resources": {"GPU": 2}} in await client.run_on_scheduler(_annotations)
    run.cancel()
    with pytest.raises(asyncio.CancelledError):
        await run


def _states(dask_scheduler: Any) -> list[str]:
    return [task.state for task in dask_scheduler.tasks.values()]


async def test_a_run_can_be_resumed(client, runtime, tmp_path, traffic):
    """What it had computed is still there, can be brought here, and is used again by the run that goes on."""
    ready, large = tmp_path / "ready", block(100)
    run = start(add(read(ready, large), add(count_down(1), "!")), runtime=runtime, return_exceptions=True)
    assert isinstance((await run).__cause__, FileNotFoundError)
    assert large in run.results
    with pytest.raises(RuntimeError, match=r"is on a cluster: `await run\.fetch\(node\)` brings it here"):
        run.results[large]
    assert await run.fetch(large) == bytearray(100)
    assert [failure.state for failure in run.failures] == ["failed", "not run"]
    ready.write_text("12345")
    again = run.resume(runtime=DaskRuntime(client), return_exceptions=False)
    assert await again == "12345 of 100 done!"
    assert [name for graph in traffic.graphs for name in graph].count("block") == 1
    assert traffic.graphs[-1] == ["read", "add"]


@delayed
def read(path: Path, data: bytearray) -> str:
    return f"{path.read_text()} of {len(data)} "


async def test_as_they_come(runtime):
    """Outputs are told of one by one."""
    nodes = {add(fetch(number), number): number * 11 for number in range(5)}
    assert {node: value async for node, value in as_completed(nodes, runtime=runtime)} == nodes


async def test_context_variables(client):
    """Those that the runtime names are seen, in functions and in coroutines."""
    user.set("Ada")

    @delayed
    async def who() -> str:
        return user.get()

    runtime = DaskRuntime(client, context=[user])
    assert await compute(delayed(user.get)(), who(), runtime=runtime) == ("Ada", "Ada")


async def test_computing_inside(runtime):
    """A function on a worker may compute a graph of its own, there."""

    @delayed
    async def inner(number: int) -> int:
        return await add(fetch(number), 1)

    assert await delayed(sum)([inner(number) for number in range(4)]).compute(runtime=runtime) == 64


async def test_what_is_told(runtime):
    """Events make sense, and name the worker and the times there; so does a report."""
    events: list[Any] = []
    total = delayed(sum)([add(fetch(number), count_down(2) == "done") for number in range(3)])
    assert await total.compute(runtime=runtime, observers=[events.append]) == 33
    stories.check(events)
    calls = [event for event in events if isinstance(event, NodeFinished) and event.node.kind == "function"]
    assert {event.worker for event in calls if event.worker} <= {"worker 0", "worker 1"}
    assert {event.node.executor for event in events if isinstance(event, NodeStarted)} == {"dask"}


async def test_notes_are_subscribed_to_while_a_run_listens(runtime, client, tmp_path):
    """By the first of several; when the last one is over, the scheduler sends the client none."""
    with Gate.made(tmp_path / "one") as one, Gate.made(tmp_path / "other") as other:
        told = asyncio.Semaphore(0)
        options: Any = {"runtime": runtime, "observers": [_when_started(told.release)]}
        runs = {gate: start(delayed(Gate.wait)(gate), **options) for gate in (one, other)}
        for _ in runs:
            await told.acquire()
        for gate, run in runs.items():
            assert await client.run_on_scheduler(_subscribers) == [client.id]
            gate.open()
            await run
    async with asyncio.timeout(20):
        while await client.run_on_scheduler(_subscribers):
            pass
    events: list[Any] = []
    await fetch(1).compute(runtime=runtime, observers=[events.append])
    stories.check(events)
    assert {event.worker for event in events if isinstance(event, NodeFinished)} <= {"worker 0", "worker 1"}


def _when_started(act: Callable[[], object]) -> Callable[[Any], None]:
    def observe(event: Any) -> None:
        if isinstance(event, NodeStarted):
            act()

    return observe


def _subscribers(dask_scheduler: Any) -> list[str]:
    topics = dask_scheduler._broker._topics
    return [
        each for name, topic in topics.items() if name.startswith("asyncgraph-") for each in topic.subscribers
    ]


class Sizeless:
    """What cannot tell how large it is."""

    def __sizeof__(self) -> int:
        raise LookupError("no size")


async def test_a_value_without_a_size(runtime):
    """Observers are not told of its size, and nothing fails of that."""
    events: list[Any] = []
    named = delayed(lambda value: type(value).__name__)(delayed(Sizeless)())
    assert await named.compute(runtime=runtime, observers=[events.append]) == "Sizeless"
    stories.check(events)


async def test_what_is_put_around_calls_goes_with_them(runtime):
    """Each call has its own, functions and coroutines alike: spans on workers are below their nodes."""
    exporter, provider = InMemorySpanExporter(), TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    one = delayed(span_there, name="one")()
    with OpenTelemetry(tracer_provider=provider):
        seen = await compute(spans_later(one), one, runtime=runtime)
    spans = {span.name: span for span in exporter.get_finished_spans()}
    assert [parent for _, parent in seen] == [spans[name].context.span_id for name in ("spans_later", "one")]
    assert {trace for trace, _ in seen} == {spans["asyncgraph run"].context.trace_id}


@delayed
async def spans_later(*_: Any) -> tuple[int, int]:
    await asyncio.sleep(0)
    return span_there()


async def test_a_report(runtime, tmp_path):
    """The page is made of a run there as of any other."""
    async with Report(tmp_path / "run.html"):
        await delayed(sum)([add(fetch(number), 1) for number in range(3)]).compute(runtime=runtime)
    assert "worker" in (tmp_path / "run.html").read_text()


async def test_it_is_dumped(runtime):
    """A dump says what is there."""
    run = start(add.options(resources={"GPU": 2})(1, 2), runtime=runtime)
    text = ""
    async with asyncio.timeout(20):
        while "in executor 'dask'" not in text:
            await asyncio.sleep(0)
            out = io.StringIO()
            run.dump(file=out)
            text = out.getvalue()
    run.cancel()
    with pytest.raises(asyncio.CancelledError):
        await run


async def test_a_runtime_for_one_run_is_dumped(client):
    """It is there as long as its run, also if nobody else has it."""
    run = start(add.options(resources={"GPU": 2})(1, 2), runtime=DaskRuntime(client))
    gc.collect()
    out = io.StringIO()
    dump(file=out)
    assert "1 run" in out.getvalue()
    run.cancel()
    with pytest.raises(asyncio.CancelledError):
        await run


async def test_a_plain_client(address):
    """It has a loop in a thread of its own, and never holds up ours."""
    client = await asyncio.to_thread(Client, address, set_as_default=False)
    try:
        runtime = DaskRuntime(client)
        events: list[Any] = []
        node = add(size_of(block(2_000_000), bytearray(2_000_000)), count_down(1) == "done")
        assert await node.compute(runtime=runtime, observers=[events.append]) == 4_000_001
        stories.check(events)
        with pytest.raises(ZeroDivisionError):
            await divide(1, 0).compute(runtime=runtime)
        run = start(add.options(resources={"GPU": 2})(1, 2), runtime=runtime)
        await asyncio.sleep(0)
        run.cancel()
        with pytest.raises(asyncio.CancelledError):
            await run
    finally:
        await asyncio.to_thread(client.close)


async def test_resources_of_ours_are_refused(runtime):
    """What is open in this process cannot be there; the error says what would be right."""
    from contextlib import asynccontextmanager

    from asyncgraph import resource

    @resource
    @asynccontextmanager
    async def connection() -> Any:
        yield 1

    with pytest.raises(GraphError, match=r"connection is a resource, which is open in this process"):
        await add(connection(), 1).compute(runtime=runtime)


async def test_hundreds_of_nodes(runtime, traffic):
    """They go as one graph, whatever their shape."""
    layer = [fetch(number) for number in range(50)]
    for _ in range(5):
        layer = [add(one, other) for one, other in zip(layer, layer[1:] + layer[:1], strict=True)]
    assert await delayed(sum)(layer).compute(runtime=runtime) == sum(range(50)) * 10 * 32
    assert [len(graph) for graph in traffic.graphs] == [301]


async def test_beside_others(runtime):
    """Several runs on one runtime, and a runtime for each compute, do not get into each other's way."""
    async with Runtime():
        values = await asyncio.gather(
            *(add(fetch(number), 1).compute(runtime=runtime) for number in range(5)),
            add(fetch(7), 1).compute(runtime=DaskRuntime(runtime._client)),
            add(1, 1).compute(),
        )
    assert values == [1, 11, 21, 31, 41, 71, 2]
