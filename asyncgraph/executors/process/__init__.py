"""Calls in worker processes: a pool whose every worker has pipes of its own.

A crash, a kill or a value that does not pickle therefore costs the one call it belongs to.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from asyncgraph.executors.process.pool import ProcessExecutor

__all__ = ["ProcessExecutor", "is_worker"]

is_worker = False
"""Whether this process is a worker. What would run in worker processes runs in its threads."""


def __getattr__(name: str) -> Any:
    # Lazy, because a worker imports this package on its way to `worker` and needs neither asyncio nor
    # subprocess: they would double its start.
    if name != "ProcessExecutor":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from asyncgraph.executors.process.pool import ProcessExecutor

    return ProcessExecutor
