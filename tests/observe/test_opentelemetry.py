"""Traces: a span for each run and each node, with the right parents wherever a node runs."""

from __future__ import annotations

import asyncio
import contextlib
import multiprocessing
import sys
from collections.abc import AsyncIterator
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from contextlib import asynccontextmanager
from multiprocessing import resource_tracker
from typing import Any

import pytest
from opentelemetry import baggage, context, trace
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import StatusCode

from asyncgraph import Retry, Runtime, compute, delayed, resource, start, when
from asyncgraph.observe import NodeFinished, OpenTelemetry


class Traced:
    """A provider whose spans are kept, and what they are."""

    def __init__(self) -> None:
        self.exporter = InMemorySpanExporter()
        self.provider = TracerProvider()
        self.provider.add_span_processor(SimpleSpanProcessor(self.exporter))
        self.tracer = self.provider.get_tracer("tests")
        self.observer = OpenTelemetry(tracer_provider=self.provider)

    def spans(self, name: str) -> list[ReadableSpan]:
        """Those of a name, in the order in which they ended."""
        return [span for span in self.exporter.get_finished_spans() if span.name == name]

    def span(self, name: str) -> ReadableSpan:
        """The only one of a name."""
        [span] = self.spans(name)
        return span

    @property
    def run(self) -> ReadableSpan:
        """That of the only run."""
        return self.span("asyncgraph run")


@pytest.fixture
def traced() -> Traced:
    """A provider for one test."""
    return Traced()


def own_span(traced: Traced) -> None:
    """Open a span, as a user's function or a library that it calls does."""
    with traced.tracer.start_as_current_span("own"):
        pass


def span_in_worker(*_: Any) -> tuple[int, int, str]:
    """The same in a worker process, which has a provider of its own: the trace, the parent, and baggage."""
    exporter, provider = InMemorySpanExporter(), TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    with provider.get_tracer("tests").start_as_current_span("own"):
        pass
    (span,) = exporter.get_finished_spans()
    assert span.parent is not None
    return span.context.trace_id, span.parent.span_id, str(baggage.get_baggage("tenant"))


def id_of(span: ReadableSpan) -> int:
    """The id of a span."""
    return span.context.span_id


def parent_of(span: ReadableSpan) -> int | None:
    """The id of the span that it is below."""
    return None if span.parent is None else span.parent.span_id


def attribute(span: ReadableSpan, name: str) -> Any:
    """An attribute of a span."""
    return (span.attributes or {}).get(name)


async def test_spans_of_nodes_are_below_that_of_their_run(traced: Traced) -> None:
    """And that of the run is below the one that is current where it is begun."""
    with traced.tracer.start_as_current_span("request") as request, traced.observer:
        node = delayed(abs, name="size")(delayed(sum)([1, -3]))
        assert await node == 2
    assert parent_of(traced.run) == request.get_span_context().span_id
    for name in ("sum", "size"):
        assert parent_of(traced.span(name)) == id_of(traced.run)
    assert attribute(traced.span("size"), "asyncgraph.node.key") == node.key
    assert attribute(traced.run, "asyncgraph.run.name") == node.key
    assert attribute(traced.run, "asyncgraph.run.state") == "finished"
    assert attribute(traced.run, "asyncgraph.run.nodes") == 2


@pytest.mark.parametrize("lane", ["coroutine", "loop", "thread", "watched", "made"])
async def test_what_a_node_opens_is_below_its_span(traced: Traced, lane: str) -> None:
    """The span is current on the loop, also after it was suspended, and in threads; and not afterwards."""

    async def later() -> None:
        await asyncio.sleep(0)
        own_span(traced)

    functions: dict[str, Any] = {
        "coroutine": delayed(later, name="node"),
        "loop": delayed(own_span, executor="loop", name="node"),
        "thread": delayed(own_span, name="node"),
        "watched": delayed(own_span, name="node", timeout=50),
        "made": delayed(lambda call: call(), name="node"),
    }
    args: tuple[Any, ...] = {"coroutine": (), "made": (later,)}.get(lane, (traced,))
    with traced.observer:
        await compute(*[functions[lane](*args) for _ in range(3)])
        assert not trace.get_current_span().get_span_context().is_valid
    nodes = {id_of(span) for span in traced.spans("node")}
    assert len(nodes) == 3
    assert {parent_of(span) for span in traced.spans("own")} == nodes
    assert {parent_of(span) for span in traced.spans("node")} == {id_of(traced.run)}


async def test_what_opening_a_resource_opens_is_below_its_span(traced: Traced) -> None:
    """A database driver that is traced connects there."""

    @asynccontextmanager
    async def connection() -> AsyncIterator[str]:
        await asyncio.sleep(0)
        own_span(traced)
        yield "open"

    with traced.observer:
        assert await delayed(len)(resource(connection)) == 4
    assert parent_of(traced.span("own")) == id_of(traced.span("connection"))


async def test_what_a_node_opens_in_a_worker_process_is_below_its_span(traced: Traced) -> None:
    """The process gets to know of it, and of baggage, each call of a chain of its own span."""
    token = context.attach(baggage.set_baggage("tenant", "ada"))
    first, last = (
        delayed(span_in_worker, executor="process", name="first"),
        delayed(span_in_worker).options(executor="process", name="last"),
    )
    async with Runtime(processes=1):
        with traced.observer:
            one = first()
            seen = await compute(one, last(one))
    context.detach(token)
    spans = traced.span("first"), traced.span("last")
    assert list(seen) == [(span.context.trace_id, id_of(span), "ada") for span in spans]
    for span in spans:
        assert [event.name for event in span.events] in (["started"], [])
        assert attribute(span, "asyncgraph.node.executor") == "process"
        assert attribute(span, "asyncgraph.node.worker").startswith("process ")


async def test_what_a_node_opens_in_a_pool_of_the_user_s_is_below_its_span(traced: Traced) -> None:
    """In a thread the span itself is the current one; another process gets to know of it."""
    resource_tracker.ensure_running()  # the standard library's own process, which stays
    token = context.attach(baggage.set_baggage("tenant", "ada"))
    with (
        ThreadPoolExecutor(1) as threads,
        ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as processes,
    ):
        async with Runtime(executors={"near": threads, "far": processes}):
            with traced.observer:
                near, far = await compute(
                    delayed(current_span_id, executor="near", name="near")(1),
                    delayed(span_in_worker, executor="far", name="far")(),
                )
    context.detach(token)
    assert near == id_of(traced.span("near"))
    span = traced.span("far")
    assert far == (span.context.trace_id, id_of(span), "ada")
    assert attribute(span, "asyncgraph.node.worker") == "far"


async def test_many_small_calls_each_have_their_own_span(traced: Traced) -> None:
    """Calls that are known to be short go together otherwise, in threads and worker processes."""
    runs: dict[str, list[Any]] = {}
    async with Runtime(processes=1):
        for executor in ("thread", "process"):
            function = delayed(current_span_id, executor=executor, name=executor)
            function.function.durations.add(1e-3, 1000)
            with traced.observer:
                runs[executor] = await delayed(list, executor="loop")([function(n) for n in range(20)])
    for executor, seen in runs.items():
        assert sorted(seen) == sorted(id_of(span) for span in traced.spans(executor))


def current_span_id(number: int) -> int:
    """That of the span which is current."""
    return trace.get_current_span().get_span_context().span_id


@pytest.mark.parametrize("executor", ["thread", "process"])
async def test_attempts_that_have_failed_are_events(traced: Traced, executor: str, tmp_path: Any) -> None:
    """The span is that of the node: it goes on until the last attempt has ended."""
    path = tmp_path / "attempts"
    flaky = delayed(fail_twice, executor=executor, retries=Retry(attempts=3, backoff=0))
    async with Runtime(processes=1):
        with traced.observer:
            assert await flaky(str(path)) == "at last"
    span = traced.span("fail_twice")
    failed = [event for event in span.events if event.name == "retrying"]
    assert [(event.attributes or {})["asyncgraph.attempt"] for event in failed] == [1, 2]
    assert "ConnectionError" in str((failed[0].attributes or {})["asyncgraph.error"])
    assert span.status.status_code is StatusCode.UNSET
    assert attribute(span, "asyncgraph.node.state") == "finished"


def fail_twice(path: str) -> str:
    """Succeed when called for the third time."""
    with open(path, "a") as stream:
        if stream.tell() < 2:
            stream.write("x")
            raise ConnectionError("not yet")
    return "at last"


class Odd(Exception):
    """Cannot even be shown."""

    def __str__(self) -> str:
        raise RuntimeError("no")


@pytest.mark.parametrize("error", [ValueError("bad"), Odd()])
async def test_a_failure_is_recorded_where_it_happened(traced: Traced, error: Exception) -> None:
    """The node's span has the exception, the run's its status; what was not run has no span."""

    @delayed
    def fail() -> None:
        raise error

    with traced.observer, pytest.raises(type(error)):
        await delayed(str, name="behind")(fail())
    span, kind = traced.span("fail"), type(error)
    name = "ValueError" if kind is ValueError else f"{__name__}.Odd"
    for each in (span, traced.run):
        assert each.status.status_code is StatusCode.ERROR
        assert attribute(each, "error.type") == name
    assert span.status.description == ("ValueError: bad" if kind is ValueError else "Odd")
    if kind is ValueError:
        [event] = span.events
        assert event.name == "exception"
        assert "raise error" in str((event.attributes or {})["exception.stacktrace"])
    assert (
        attribute(span, "asyncgraph.node.state") == attribute(traced.run, "asyncgraph.run.state") == "failed"
    )
    assert traced.spans("behind") == []


async def test_what_was_cancelled_is_no_error(traced: Traced) -> None:
    """Its span ends with the state, and so does that of the run."""
    has_begun = asyncio.Event()

    @delayed
    async def wait() -> None:
        has_begun.set()
        await asyncio.sleep(1e9)

    run = start(wait(), observers=[traced.observer])
    await has_begun.wait()
    run.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await run
    assert attribute(traced.span("wait"), "asyncgraph.node.state") == "cancelled"
    assert attribute(traced.run, "asyncgraph.run.state") == "cancelled"
    assert {span.status.status_code for span in traced.exporter.get_finished_spans()} == {StatusCode.UNSET}


async def test_a_run_in_a_node_is_below_the_span_of_that(traced: Traced) -> None:
    """On the loop, and in a thread with a loop of its own."""

    @delayed
    async def outer() -> int:
        return await delayed(abs, name="inner")(-1)

    @delayed
    def outer_in_thread() -> int:
        return asyncio.run(delayed(abs, name="inner")(-1).compute())

    with traced.observer:
        assert await (outer() + outer_in_thread()) == 2
    runs = {id_of(span): parent_of(span) for span in traced.spans("asyncgraph run")}
    parents = {runs[parent_of(span) or 0] for span in traced.spans("inner")}
    assert parents == {id_of(traced.span("outer")), id_of(traced.span("outer_in_thread"))}


async def test_what_a_node_returns_has_spans_of_its_own(traced: Traced) -> None:
    """The span of a call that has returned a node ends with the call; each call of a recursion has one."""

    @delayed(executor="loop")
    def down(number: int) -> Any:
        return down(number - 1) if number else delayed(abs, name="bottom")(-7)

    @delayed
    async def pair() -> Any:
        return delayed(sum)([delayed(abs)(-1), delayed(abs)(-2)])

    with traced.observer:
        assert await compute(down(3), pair()) == (7, 3)
    assert len(traced.spans("down")) == 4
    assert [attribute(span, "asyncgraph.node.state") for span in traced.spans("down")] == ["expanded"] * 4
    assert len(traced.spans("abs")) == 2
    assert attribute(traced.span("pair"), "asyncgraph.node.state") == "expanded"
    assert {parent_of(traced.span(name)) for name in ("bottom", "sum", "pair")} == {id_of(traced.run)}


async def test_a_choice_runs_one_side(traced: Traced) -> None:
    """The other has no span."""
    with traced.observer:
        assert await when(delayed(bool)(1), delayed(abs, name="yes")(-1), delayed(abs, name="no")(-2)) == 1
    assert len(traced.spans("yes")) == 1
    assert traced.spans("no") == []


async def test_two_runs_at_once_have_a_trace_each(traced: Traced) -> None:
    """Their nodes alternate, and none is below the wrong run."""

    async def alternate() -> None:
        for _ in range(3):
            await asyncio.sleep(0)
        own_span(traced)

    with traced.observer:
        runs = [start(delayed(alternate, name=f"node-{number}")()) for number in range(2)]
        for run in runs:
            await run
    nodes = [traced.span(f"node-{number}") for number in range(2)]
    assert len({span.context.trace_id for span in nodes}) == 2
    assert {parent_of(span) for span in nodes} == {id_of(span) for span in traced.spans("asyncgraph run")}
    assert {parent_of(span) for span in traced.spans("own")} == {id_of(span) for span in nodes}


async def test_times_are_those_of_events(traced: Traced) -> None:
    """In nanoseconds since 1970."""
    events: list[Any] = []
    with traced.observer:
        await delayed(own_value)("x").compute(observers=[events.append])
    [finished] = [event for event in events if type(event) is NodeFinished]
    [over] = [event for event in events if type(event).__name__ == "RunFinished"]
    node, run = traced.span("own_value"), traced.run

    def nanoseconds(seconds: float) -> int:
        began = finished.run.began
        return round(finished.run.wall_time * 1e9) + round((seconds - began) * 1e9)

    assert node.end_time == nanoseconds(finished.time)
    assert (run.start_time, run.end_time) == (nanoseconds(finished.run.began), nanoseconds(over.time))
    assert nanoseconds(finished.run.began) <= (node.start_time or 0) <= (node.end_time or 0)


async def test_a_span_says_what_was_called_and_no_values(traced: Traced) -> None:
    """The names are those of the semantic conventions."""
    with traced.observer:
        node = delayed(own_value, executor="loop")("secret")
        await node
    span = traced.span("own_value")
    assert attribute(span, "code.function.name") == f"{__name__}.own_value"
    assert attribute(span, "code.file.path") == __file__
    assert attribute(span, "code.line.number") == own_value.__code__.co_firstlineno
    assert attribute(span, "asyncgraph.node.built_at").startswith(f"{__file__}:")
    assert attribute(span, "asyncgraph.node.worker") == "loop"
    assert attribute(span, "asyncgraph.node.size") > 0
    assert "secret" not in " ".join(each.to_json() for each in traced.exporter.get_finished_spans())


def own_value(value: str) -> str:
    """Give something back."""
    return value.upper()


async def test_operators_have_spans_without_code_of_ours(traced: Traced) -> None:
    """They are nodes, too; where asyncgraph does them is nobody's business."""
    with traced.observer:
        assert await (delayed(abs)(-1) + 1) == 2
    span = traced.span("add")
    assert attribute(span, "asyncgraph.node.executor") == "loop"
    assert attribute(span, "code.file.path") is None


async def test_what_is_done_in_a_node_is_not_seen_by_the_next(traced: Traced) -> None:
    """The context of the nodes of a run is as it was, and threads have none."""
    seen: list[bool] = []

    @delayed
    async def look() -> None:
        seen.append(trace.get_current_span().get_span_context().is_valid)

    with traced.observer:
        await compute(*[look() for _ in range(5)])
    await look()
    assert seen == [True] * 5 + [False]


def test_a_missing_package_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """With the extra that it comes with."""
    monkeypatch.setitem(sys.modules, "opentelemetry", None)
    with pytest.raises(ImportError) as caught:
        OpenTelemetry()
    assert str(caught.value) == "OpenTelemetry is not installed: pip install 'asyncgraph[otel]'"


async def test_a_call_in_a_thread_begins_its_span_there(traced: Traced) -> None:
    """Not when it was handed over: it may have waited for a thread."""

    @delayed
    def wait(name: str) -> str:
        return name

    async with Runtime(threads=1) as runtime:
        await runtime.compute(wait("a"), wait("b"), observers=[traced.observer])
    first, second = sorted(traced.spans("wait"), key=lambda span: span.start_time or 0)
    assert (first.end_time or 0) <= (second.start_time or 0)
