"""The errors that calls end with which have no outcome of their own."""

from __future__ import annotations

import asyncio

from asyncgraph.errors import NodeTimeoutError, RuntimeClosedError, WorkerStartError
from asyncgraph.executors import base
from asyncgraph.executors.safe_text import describe_error

__all__ = ["cancelled", "closed", "forked", "not_started", "timed_out"]


def timed_out(timeout: float, key: str) -> NodeTimeoutError:
    """It has run for too long."""
    return base.timed_out(key, timeout, "; its worker process was killed")


def cancelled(_: str) -> BaseException:
    """It is not wanted any more."""
    return asyncio.CancelledError()


def not_started(cause: Exception, key: str) -> WorkerStartError:
    """There is no worker for it."""
    error = WorkerStartError(f"{key}: no worker process could be started: {describe_error(cause)}")
    error.__cause__ = cause
    return error


def closed(key: str) -> RuntimeClosedError:
    """The pool is closed."""
    return RuntimeClosedError(f"{key} cannot run: the worker processes have been closed")


def forked(key: str) -> RuntimeClosedError:
    """The pool is that of another process."""
    return RuntimeClosedError(
        f"{key} cannot run: this process is a fork of the one that the worker processes belong to. "
        "Make a new runtime in it."
    )
