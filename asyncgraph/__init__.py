"""asyncgraph: lazy graphs of calls, run on the event loop you already have."""

from __future__ import annotations

from asyncgraph import errors
from asyncgraph._lazy.compiled import Compiled, Input, compile
from asyncgraph._lazy.completed import as_completed
from asyncgraph._lazy.delayed import delayed
from asyncgraph._lazy.handwritten import from_graph
from asyncgraph._lazy.node import Delayed
from asyncgraph._runtime.front import compute, run, start
from asyncgraph._runtime.run import Run
from asyncgraph._runtime.runtime import Runtime

__all__ = [
    "Compiled",
    "Delayed",
    "Input",
    "Run",
    "Runtime",
    "as_completed",
    "compile",
    "compute",
    "delayed",
    "errors",
    "from_graph",
    "run",
    "start",
]

__version__ = "0.1.0"
