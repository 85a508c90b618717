"""Traces for OpenTelemetry: a span for each run and each node, the current one while the node runs.

What a node opens spans for itself, in a coroutine, a thread or another process, is below its own span. So a
node's span is begun when its call is, where that is made; for another process, when the call is handed over,
and that gets to know of it as text (W3C Trace Context). Events say how it ends, and when. Spans hold
no arguments and no values.
"""

from __future__ import annotations

import contextlib
import functools
import inspect
import os
import time
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Any, ClassVar

from asyncgraph.observe.events import (
    Event,
    NodeCancelled,
    NodeExpanded,
    NodeFailed,
    NodeFinished,
    NodeInfo,
    NodeRetrying,
    NodeStarted,
    ObservedRun,
    RunFinished,
    RunStarted,
)
from asyncgraph.observe.observer import Observer

if TYPE_CHECKING:
    from opentelemetry.context import Context
    from opentelemetry.trace import Span, Tracer, TracerProvider

__all__ = ["OpenTelemetry"]

_OURS = os.path.dirname(os.path.dirname(__file__)) + os.sep

_End = NodeExpanded | NodeFinished | NodeFailed | NodeCancelled

# How a span of a node ends, in a word.
_STATES: dict[type[Any], str] = {
    NodeExpanded: "expanded",
    NodeFinished: "finished",
    NodeFailed: "failed",
    NodeCancelled: "cancelled",
}


class OpenTelemetry(Observer):
    """A span for each run and each node, below the span that is current where the run is begun.

    While a node runs, its span is the current one: on the loop, in threads, and in other processes, where
    `opentelemetry` has to be set up, too, for spans to be recorded. Nodes that were not begun have none, nor
    has data. The span of a node in another process begins when it is handed over; in a worker process of
    asyncgraph's, its event `started` says when it was called.

    Spans of nodes are called as their functions, with the attributes `code.function.name`, `code.file.path`,
    `code.line.number`, and `error.type` beside an event `exception` if they fail; and `asyncgraph.node.key`,
    `.kind`, `.executor`, `.worker`, `.built_at`, `.state` and `.size` (in bytes, about). Retries are events.
    Spans of runs are called "asyncgraph run", with `asyncgraph.run.id`, `.name`, `.state` and `.nodes`. Times
    are those of events.

    A node costs as much more as your tracer takes for a span, some tens of microseconds; and calls in
    threads and worker processes go one by one.

    Args:
        tracer_provider: Where spans go; by default OpenTelemetry's global one.

    Raises:
        ImportError: OpenTelemetry is not installed: `pip install 'asyncgraph[otel]'`.

    Example:
        >>> from asyncgraph import delayed
        >>> from asyncgraph.observe import OpenTelemetry
        >>> from opentelemetry.sdk.trace import TracerProvider
        >>> from opentelemetry.sdk.trace.export import SimpleSpanProcessor
        >>> from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
        >>> exporter, provider = InMemorySpanExporter(), TracerProvider()
        >>> provider.add_span_processor(SimpleSpanProcessor(exporter))
        >>> with OpenTelemetry(tracer_provider=provider):
        ...     await delayed(sum)([1, 2])
        3
        >>> [span.name for span in exporter.get_finished_spans()]
        ['sum', 'asyncgraph run']
    """

    kinds: ClassVar[frozenset[type[Event]]] = frozenset(
        {
            RunStarted,
            NodeStarted,
            NodeRetrying,
            NodeExpanded,
            NodeFinished,
            NodeFailed,
            NodeCancelled,
            RunFinished,
        }
    )

    def __init__(self, *, tracer_provider: TracerProvider | None = None) -> None:
        try:
            from opentelemetry import trace
        except ImportError as error:
            message = "OpenTelemetry is not installed: pip install 'asyncgraph[otel]'"
            raise ImportError(message, name=error.name) from error
        self._tracer = trace.get_tracer("asyncgraph", tracer_provider=tracer_provider)
        self._runs: dict[int, _RunSpans] = {}

    def __call__(self, event: Any) -> None:
        """Begin and end spans."""
        if type(event) is RunStarted:
            self._runs[event.run.id] = _RunSpans(self._tracer, event.run)
            return
        spans = self._runs.get(event.run.id)
        if spans is None:
            return
        if type(event) is RunFinished:
            del self._runs[event.run.id]
            spans.end_all(event)
        elif type(event) is NodeStarted:
            spans.started(event)
        elif type(event) is NodeRetrying:
            spans.retrying(event)
        elif isinstance(event, _End):
            spans.end(event)

    def around(
        self, run: ObservedRun, node: NodeInfo, call: Callable[..., Any]
    ) -> AbstractContextManager[Any] | None:
        """What makes the node's span the current one while it is called; see `asyncgraph.observe.around`."""
        spans = self._runs.get(run.id)
        if spans is None:
            return None
        return _Current(spans, node, call)


class _RunSpans:
    """The spans of one run; nodes begin theirs in several threads.

    Args:
        tracer: What makes them.
        run: The run.
    """

    def __init__(self, tracer: Tracer, run: ObservedRun) -> None:
        from opentelemetry.trace import set_span_in_context

        self._tracer = tracer
        # On the clock of events, and since 1970 in nanoseconds.
        self._began = run.began
        self._epoch = round(run.wall_time * 1e9)
        about: dict[str, Any] = {"asyncgraph.run.id": run.id, "asyncgraph.run.name": run.name}
        # The parent is what is current where the run is begun: that is where its observers are told.
        self._span = tracer.start_span("asyncgraph run", start_time=self._epoch, attributes=about)
        self._context: Context = set_span_in_context(self._span)
        # Those of nodes that have begun, by key; and the nodes that have returned another one, whose value
        # comes later.
        self._spans: dict[str, Span] = {}
        self._expanded: set[str] = set()

    def span_of(self, node: NodeInfo, call: Callable[..., Any] | None, began: float | None = None) -> Span:
        """The span of a node; it begins now, or then, if it has not before."""
        span = self._spans.get(node.key)
        if span is None:
            start = self._time(time.perf_counter() if began is None else began)
            about = _about_node(node) | ({} if call is None else _about_code(call))
            span = self._tracer.start_span(node.name, self._context, attributes=about, start_time=start)
            self._spans[node.key] = span
        return span

    def carrier(self, node: NodeInfo, call: Callable[..., Any]) -> dict[str, str]:
        """The span of a node, and the baggage of its run, as text."""
        from opentelemetry.trace import set_span_in_context

        carrier: dict[str, str] = {}
        _propagator().inject(carrier, set_span_in_context(self.span_of(node, call), self._context))
        return carrier

    # -- what events tell

    def started(self, event: NodeStarted) -> None:
        """A node's function has been called."""
        span = self._spans.get(event.node.key)
        if span is None:
            return
        span.set_attribute("asyncgraph.node.worker", event.worker)
        if event.node.executor == "process":
            about = {"asyncgraph.attempt": event.attempt}
            span.add_event("started", about, timestamp=self._time(event.time))

    def retrying(self, event: NodeRetrying) -> None:
        """An attempt has failed."""
        about: dict[str, Any] = {"asyncgraph.attempt": event.attempt, "asyncgraph.error": event.error}
        about["asyncgraph.pause"] = event.pause
        span = self.span_of(event.node, None, event.began)
        span.add_event("retrying", about, timestamp=self._time(event.time))

    def end(self, event: _End) -> None:
        """A node has ended, or its call has."""
        node = event.node
        if node.key in self._expanded:
            self._expanded.discard(node.key)
            return
        if type(event) is NodeExpanded and event.root.number != node.number:
            self._expanded.add(node.key)
        if node.key not in self._spans and (event.began is None or node.kind == "data"):
            return  # it was not begun, or nothing was called
        span = self.span_of(node, None, event.began)
        del self._spans[node.key]
        if event.worker:
            span.set_attribute("asyncgraph.node.worker", event.worker)
        span.set_attribute("asyncgraph.node.state", _STATES[type(event)])
        when = self._time(event.time)
        if isinstance(event, NodeFinished):
            span.set_attribute("asyncgraph.node.size", event.size)
        elif isinstance(event, NodeExpanded):
            span.set_attribute("asyncgraph.node.root", event.root.key)
        elif isinstance(event, NodeFailed):
            _record(span, event.error, when)
        span.end(when)

    def end_all(self, event: RunFinished) -> None:
        """The run is over."""
        when = self._time(event.time)
        while self._spans:
            _, span = self._spans.popitem()
            span.end(when)
        self._span.set_attribute("asyncgraph.run.state", event.state)
        self._span.set_attribute("asyncgraph.run.nodes", event.run.statistics().nodes)
        if event.error is not None:
            _set_status(self._span, event.error)
        self._span.end(when)

    def _time(self, seconds: float) -> int:
        """A time on the clock of events, in nanoseconds since 1970."""
        return self._epoch + round((seconds - self._began) * 1e9)


class _Current:
    """Makes the span of a node the current one: on the loop, in a thread or, pickled, in another process."""

    def __init__(self, spans: _RunSpans, node: NodeInfo, call: Callable[..., Any]) -> None:
        self._about = spans, node, call
        self._token: Any = None

    def __enter__(self) -> None:
        from opentelemetry import context, trace

        spans, node, call = self._about
        self._token = context.attach(trace.set_span_in_context(spans.span_of(node, call)))

    def __exit__(self, *error: object) -> None:
        from opentelemetry import context

        context.detach(self._token)

    def __reduce__(self) -> tuple[Any, ...]:
        spans, node, call = self._about
        return _CurrentElsewhere, (spans.carrier(node, call),)


class _CurrentElsewhere:
    """The same in another process, where there is only text.

    Args:
        carrier: The text.
    """

    def __init__(self, carrier: Mapping[str, str]) -> None:
        self._carrier = carrier
        self._token: Any = None

    def __enter__(self) -> None:
        from opentelemetry import context

        self._token = context.attach(_propagator().extract(self._carrier))

    def __exit__(self, *error: object) -> None:
        from opentelemetry import context

        context.detach(self._token)


def _propagator() -> Any:
    """What puts a context into text and gets it out: always the same, however either process is set up."""
    from opentelemetry.baggage.propagation import W3CBaggagePropagator
    from opentelemetry.propagators.composite import CompositePropagator
    from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

    return CompositePropagator([TraceContextTextMapPropagator(), W3CBaggagePropagator()])


# -- attributes


def _about_node(node: NodeInfo) -> dict[str, Any]:
    about = {
        "asyncgraph.node.key": node.key,
        "asyncgraph.node.kind": node.kind,
        "asyncgraph.node.executor": node.executor,
    }
    if node.site is not None:
        about["asyncgraph.node.built_at"] = f"{node.site.file}:{node.site.line}"
    return about


def _about_code(call: Callable[..., Any]) -> dict[str, Any]:
    """What OpenTelemetry calls a function; nothing for one of asyncgraph's own."""
    while isinstance(call, functools.partial):
        call = call.func
    code = getattr(inspect.unwrap(call), "__code__", None)
    if code is not None and code.co_filename.startswith(_OURS):
        return {}
    name = getattr(call, "__qualname__", None)
    if not isinstance(name, str):
        return {}
    module = getattr(call, "__module__", None)
    about: dict[str, Any] = {"code.function.name": f"{module}.{name}" if module else name}
    if code is not None:
        about |= {"code.file.path": code.co_filename, "code.line.number": code.co_firstlineno}
    return about


def _record(span: Span, error: BaseException, when: int) -> None:
    """A span ends with this error."""
    with contextlib.suppress(Exception):  # of the error's own methods, which are the user's
        span.record_exception(error, timestamp=when)
    _set_status(span, error)


def _set_status(span: Span, error: BaseException) -> None:
    from opentelemetry.trace import StatusCode

    kind = type(error)
    name = kind.__qualname__
    span.set_attribute("error.type", name if kind.__module__ == "builtins" else f"{kind.__module__}.{name}")
    description = name
    with contextlib.suppress(Exception):
        description = f"{name}: {error}"
    span.set_status(StatusCode.ERROR, description)
