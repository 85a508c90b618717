"""How far a run is, in numbers."""

from __future__ import annotations

from typing import NamedTuple

__all__ = ["Statistics"]


class Statistics(NamedTuple):
    """How far a run is.

    Attributes:
        nodes: How many nodes there are; more come where functions return nodes.
        waiting: How many wait for others.
        ready: How many wait for a place to run.
        running: How many are being computed.
        finished: How many have a value, or had one that is needed no more.
        failed: How many have failed.
        not_run: How many will not run, because something that they need has failed.
        cancelled: How many were stopped, or not begun.
        seconds: How long the run has taken so far.
    """

    nodes: int
    waiting: int
    ready: int
    running: int
    finished: int
    failed: int
    not_run: int
    cancelled: int
    seconds: float
