"""Seeing graphs and runs. It reads graphs and events, and runs nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from asyncgraph.observe._dashboard import Dashboard, dashboard, serving
    from asyncgraph.observe.around import Surrounding
    from asyncgraph.observe.drawing.model import Mark
    from asyncgraph.observe.drawing.picture import Picture
    from asyncgraph.observe.events import (
        NODE_EVENTS,
        Event,
        FunctionProgress,
        NodeCached,
        NodeCancelled,
        NodeExpanded,
        NodeFailed,
        NodeFinished,
        NodeInfo,
        NodeNotRun,
        NodeReady,
        NodeReleased,
        NodeRetrying,
        NodesAdded,
        NodeStarted,
        ObservedRun,
        RunFinished,
        RunStarted,
        WorkerLost,
        WorkerStarted,
    )
    from asyncgraph.observe.logs import Logs
    from asyncgraph.observe.loop_guard import LoopGuard, Stall
    from asyncgraph.observe.observer import Observer, observing
    from asyncgraph.observe.opentelemetry import OpenTelemetry
    from asyncgraph.observe.progress import ProgressBar
    from asyncgraph.observe.recorded import (
        RecordedCall,
        RecordedFailure,
        RecordedGrowth,
        RecordedNode,
        RecordedRun,
        RecordedWorker,
    )
    from asyncgraph.observe.recording import Recording
    from asyncgraph.observe.report.report import Report
    from asyncgraph.observe.statistics import Statistics
    from asyncgraph.observe.trace import Trace

__all__ = [
    "NODE_EVENTS",
    "Dashboard",
    "Event",
    "FunctionProgress",
    "Logs",
    "LoopGuard",
    "Mark",
    "NodeCached",
    "NodeCancelled",
    "NodeExpanded",
    "NodeFailed",
    "NodeFinished",
    "NodeInfo",
    "NodeNotRun",
    "NodeReady",
    "NodeReleased",
    "NodeRetrying",
    "NodeStarted",
    "NodesAdded",
    "ObservedRun",
    "Observer",
    "OpenTelemetry",
    "Picture",
    "ProgressBar",
    "RecordedCall",
    "RecordedFailure",
    "RecordedGrowth",
    "RecordedNode",
    "RecordedRun",
    "RecordedWorker",
    "Recording",
    "Report",
    "RunFinished",
    "RunStarted",
    "Stall",
    "Statistics",
    "Surrounding",
    "Trace",
    "WorkerLost",
    "WorkerStarted",
    "dashboard",
    "observing",
    "serving",
]

# Where each name is, if that is not `events`. Names are looked up when they are first used: who wants a
# progress bar need not import the dashboard.
_MODULES = {
    "Dashboard": "_dashboard",
    "Logs": "logs",
    "LoopGuard": "loop_guard",
    "Mark": "drawing.model",
    "Observer": "observer",
    "OpenTelemetry": "opentelemetry",
    "Picture": "drawing.picture",
    "ProgressBar": "progress",
    "RecordedCall": "recorded",
    "RecordedFailure": "recorded",
    "RecordedGrowth": "recorded",
    "RecordedNode": "recorded",
    "RecordedRun": "recorded",
    "RecordedWorker": "recorded",
    "Recording": "recording",
    "Report": "report.report",
    "Stall": "loop_guard",
    "Statistics": "statistics",
    "Surrounding": "around",
    "Trace": "trace",
    "dashboard": "_dashboard",
    "observing": "observer",
    "serving": "_dashboard",
}


def __getattr__(name: str) -> Any:
    from importlib import import_module

    if name not in __all__:
        raise AttributeError(f"module 'asyncgraph.observe' has no attribute {name!r}")
    module = import_module(f"asyncgraph.observe.{_MODULES.get(name, 'events')}")
    value = globals()[name] = getattr(module, name)
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
