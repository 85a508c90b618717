"""Runs and nodes in the log: one line for each event that a person would want to read."""

from __future__ import annotations

import logging
from typing import Any

from asyncgraph.observe.events import (
    Event,
    NodeCancelled,
    NodeExpanded,
    NodeFailed,
    NodeFinished,
    NodeNotRun,
    NodeRetrying,
    NodeStarted,
    RunFinished,
    RunStarted,
    WorkerLost,
    WorkerStarted,
)
from asyncgraph.observe.observer import Observer

__all__ = ["Logs"]

_OF_RUNS: frozenset[type[Event]] = frozenset({RunStarted, RunFinished, WorkerStarted, WorkerLost})
_OF_NODES: frozenset[type[Event]] = frozenset(
    {NodeStarted, NodeRetrying, NodeExpanded, NodeFinished, NodeFailed, NodeNotRun, NodeCancelled}
)

# Attributes of a record that say what it is about, beside its text.
_Extra = dict[str, Any]


class Logs(Observer):
    """Writes what runs do into the log, by the names of nodes.

    Runs and worker processes are told of at `level`, what nodes do at `node_level`: that they have begun,
    finished, or were cancelled. Attempts that are made again, nodes that have failed by themselves and worker
    processes that were lost are warnings. Each record has attributes for formatters that write them apart:
    `run_id`, `run_name`, and of nodes `node_key`, `node_name`, `node_worker` and `node_seconds`.

    Where the logger does not want `node_level`, nothing is said of single nodes, and none costs anything.

    Args:
        logger: Where to: a logger, or its name.
        level: The level of what runs do, as a number.
        node_level: That of what nodes do.

    Raises:
        TypeError: `logger` is no logger and no name, or a level is no number.

    Example:
        >>> import logging
        >>> from asyncgraph import delayed
        >>> from asyncgraph.observe import Logs
        >>> logger = logging.getLogger("shop")
        >>> handler = logging.Handler()
        >>> handler.emit = lambda record: print(record.getMessage())
        >>> logger.addHandler(handler)
        >>> logger.setLevel(logging.DEBUG)
        >>> with Logs(logger=logger):
        ...     await delayed(sum)([1, 2])
        run ... of sum-1 has begun
        sum-1 has begun in thread ...
        sum-1 has finished in thread ..., after ... s
        run ... of sum-1 has finished after ... s
        3
        >>> logger.removeHandler(handler)
    """

    def __init__(
        self,
        *,
        logger: logging.Logger | str = "asyncgraph.run",
        level: int = logging.INFO,
        node_level: int = logging.DEBUG,
    ) -> None:
        given: object = logger
        if not isinstance(given, logging.Logger | str):
            raise TypeError(f"logger= takes a logger or its name, not {given!r}")
        levels: dict[str, object] = {"level": level, "node_level": node_level}
        for name, value in levels.items():
            if not isinstance(value, int) or isinstance(value, bool):
                raise TypeError(f"{name}= takes a number, such as logging.INFO, not {value!r}")
        self._logger = logging.getLogger(logger) if isinstance(logger, str) else logger
        self._level = level
        self._node_level = node_level

    @property
    def kinds(  # type: ignore[override]  # pyright: ignore[reportIncompatibleVariableOverride]
        self,
    ) -> frozenset[type[Event]]:
        """What the logger wants, as it is when a run begins."""
        return _OF_RUNS | _OF_NODES if self._logger.isEnabledFor(self._node_level) else _OF_RUNS

    def __call__(self, event: Any) -> None:
        """Write a line."""
        kind = type(event)
        if kind is WorkerStarted:
            self._logger.log(self._level, "worker %s has started", event.worker)
        elif kind is WorkerLost:
            is_own = event.reason == "left"
            level = self._level if is_own else logging.WARNING
            self._logger.log(level, "worker %s has %s", event.worker, "left" if is_own else event.reason)
        elif kind is RunStarted or kind is RunFinished:
            self._about_run(event)
        elif kind is NodeRetrying or kind is NodeFailed or kind is NodeNotRun:
            self._about_failure(event)
        else:
            self._about_node(event)

    def _about_run(self, event: Any) -> None:
        run = event.run
        extra: _Extra = {"run_id": run.id, "run_name": run.name}
        if type(event) is RunStarted:
            self._logger.log(self._level, "run %d of %s has begun", run.id, run.name, extra=extra)
            return
        what = {"failed": "has failed", "cancelled": "was cancelled"}.get(event.state, "has finished")
        why = "" if event.error is None else f" with {type(event.error).__qualname__}"
        about = run.id, run.name, what, why, event.seconds
        self._logger.log(self._level, "run %d of %s %s%s after %.2f s", *about, extra=extra)

    def _about_failure(self, event: NodeRetrying | NodeFailed | NodeNotRun) -> None:
        node, extra = event.node, _extra_of(event)
        if isinstance(event, NodeRetrying):
            about = node.key, event.attempt, event.worker, event.error, event.pause
            text = "%s: attempt %d in %s has failed with %s; the next one is in %.3g s"
            self._logger.warning(text, *about, extra=extra)
        elif isinstance(event, NodeNotRun):
            key = event.behind.key
            self._logger.log(self._node_level, "%s is not run, behind %s", node.key, key, extra=extra)
        elif event.root is not None:
            key = event.root.key
            self._logger.log(self._node_level, "%s has failed as %s has", node.key, key, extra=extra)
        else:
            error = type(event.error).__qualname__
            self._logger.warning("%s has failed in %s with %s", node.key, event.worker, error, extra=extra)

    def _about_node(self, event: Any) -> None:
        node, extra = event.node, _extra_of(event)
        kind, where = type(event), event.worker
        about: tuple[Any, ...]
        if node.kind == "data":
            return
        if kind is NodeStarted:
            again = f", attempt {event.attempt}" if event.attempt > 1 else ""
            text, about = "%s has begun in %s%s", (node.key, where, again)
        elif event.began is None:
            text, about = "%s was cancelled before it began", (node.key,)
        elif kind is NodeFinished and not where:
            text, about = "%s has the value of what it has returned", (node.key,)
        elif kind is NodeExpanded:
            text, about = "%s has returned %s", (node.key, event.root.key)
        else:
            what = "was cancelled" if kind is NodeCancelled else "has finished"
            text, about = "%s %s in %s, after %.3f s", (node.key, what, where, event.time - event.began)
        self._logger.log(self._node_level, text, *about, extra=extra)


def _extra_of(event: Any) -> _Extra:
    """What a record about a node has as attributes."""
    extra: _Extra = {"run_id": event.run.id, "run_name": event.run.name}
    extra |= {
        "node_key": event.node.key,
        "node_name": event.node.name,
        "node_worker": getattr(event, "worker", ""),
    }
    began = getattr(event, "began", None)
    extra["node_seconds"] = None if began is None else event.time - began
    return extra
