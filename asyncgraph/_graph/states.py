"""The states of a task; how it gets from one to another, `scheduler` says."""

from __future__ import annotations

__all__ = [
    "CANCELLED",
    "FAILED",
    "FINISHED",
    "NOT_RUN",
    "READY",
    "RELEASED",
    "RUNNING",
    "STATES",
    "WAITING",
]

STATES = ("waiting", "ready", "running", "finished", "failed", "not run", "cancelled", "released")
WAITING, READY, RUNNING, FINISHED, FAILED, NOT_RUN, CANCELLED, RELEASED = range(len(STATES))
