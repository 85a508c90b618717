"""Nodes of all kinds, and what observers have been told of them."""

# ruff: noqa: D102, D103 - helpers whose names say it

from __future__ import annotations

import asyncio
from typing import Any

from asyncgraph import (
    delayed,
)
from asyncgraph.observe import (
    Observer,
    RunFinished,
    RunStarted,
)


@delayed
async def fetch(value: Any) -> Any:
    await asyncio.sleep(0)
    return value


@delayed
def save(value: Any) -> Any:
    return value


@delayed(executor="process")
def parse(value: Any) -> Any:
    return value


@delayed(executor="loop")
def add(*values: Any) -> Any:
    return sum(values)


def told(events: list[Any], *kinds: type) -> list[tuple[str, str]]:
    """The names of events and nodes; of these kinds only, if any are given."""
    return [
        (type(event).__name__, event.node.key)
        for event in events
        if hasattr(event, "node") and (not kinds or isinstance(event, kinds))
    ]


class OnlyRuns(Observer):
    """Hears of runs, and not of their nodes."""

    kinds = frozenset({RunStarted, RunFinished})

    def __init__(self) -> None:
        self.events: list[Any] = []

    def __call__(self, event: Any) -> None:
        self.events.append(event)
