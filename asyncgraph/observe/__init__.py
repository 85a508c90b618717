"""Seeing graphs and runs. It reads graphs and events, and runs nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from asyncgraph.observe.around import Surrounding
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
    from asyncgraph.observe.statistics import Statistics

__all__ = [
    "NODE_EVENTS",
    "Event",
    "FunctionProgress",
    "Logs",
    "LoopGuard",
    "NodeCached",
    "NodeCancelled",
    "NodeExpanded",
    "NodeFailed",
    "NodeFinished",
    "NodeInfo",
    "NodeReady",
    "NodeReleased",
    "NodeRetrying",
    "NodeStarted",
    "NodesAdded",
    "ObservedRun",
    "Observer",
    "OpenTelemetry",
    "RunFinished",
    "RunStarted",
    "Stall",
    "Statistics",
    "Surrounding",
    "WorkerLost",
    "WorkerStarted",
    "observing",
]

# Where each name is, if that is not `events`. Names are looked up when they are first used: who wants a
# progress bar need not import the dashboard.
_MODULES = {
    "Logs": "logs",
    "LoopGuard": "loop_guard",
    "Observer": "observer",
    "OpenTelemetry": "opentelemetry",
    "Stall": "loop_guard",
    "Statistics": "statistics",
    "Surrounding": "around",
    "observing": "observer",
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
