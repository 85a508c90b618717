"""Runs in the background that are like those of `compute`: they hold no inputs, to be gone on with."""

from __future__ import annotations

from typing import Any

from asyncgraph._runtime.run import Run
from asyncgraph._runtime.runtime import Runtime, current_runtime

__all__ = ["begin"]


def begin(node: Any, *, runtime: Runtime | None = None, **options: Any) -> Run[Any]:
    """Begin a run, as `compute` does, and do not wait for it."""
    return current_runtime(runtime).begin((node,), **options)
