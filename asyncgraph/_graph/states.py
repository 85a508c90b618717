"""The states of a task; how it gets from one to another, `scheduler` says."""

from __future__ import annotations

__all__ = ["CANCELLED", "FAILED", "FINISHED", "READY", "RELEASED", "RUNNING", "STATES", "WAITING"]

STATES = ("waiting", "ready", "running", "finished", "failed", "cancelled", "released")
WAITING, READY, RUNNING, FINISHED, FAILED, CANCELLED, RELEASED = range(len(STATES))
