"""asyncgraph: lazy graphs of calls, run on the event loop you already have."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from asyncgraph import errors
    from asyncgraph._graph.retry import Retry
    from asyncgraph._lazy.choice import when
    from asyncgraph._lazy.compiled import Compiled, Input, compile
    from asyncgraph._lazy.completed import as_completed
    from asyncgraph._lazy.delayed import delayed
    from asyncgraph._lazy.handwritten import from_graph
    from asyncgraph._lazy.node import Delayed
    from asyncgraph._lazy.resource import resource
    from asyncgraph._runtime.dump import dump, dump_on_signal
    from asyncgraph._runtime.front import compute, run, start
    from asyncgraph._runtime.remains import Failure
    from asyncgraph._runtime.run import Run
    from asyncgraph._runtime.runtime import Runtime
    from asyncgraph._runtime.stopping import cancelled, check_cancelled

__all__ = [
    "Compiled",
    "Delayed",
    "Failure",
    "Input",
    "Retry",
    "Run",
    "Runtime",
    "as_completed",
    "cancelled",
    "check_cancelled",
    "compile",
    "compute",
    "delayed",
    "dump",
    "dump_on_signal",
    "errors",
    "from_graph",
    "resource",
    "run",
    "start",
    "when",
]

__version__ = "0.1.0"

_MODULES = {
    "Compiled": "_lazy.compiled",
    "Delayed": "_lazy.node",
    "Failure": "_runtime.remains",
    "Input": "_lazy.compiled",
    "Retry": "_graph.retry",
    "Run": "_runtime.run",
    "Runtime": "_runtime.runtime",
    "as_completed": "_lazy.completed",
    "cancelled": "_runtime.stopping",
    "check_cancelled": "_runtime.stopping",
    "compile": "_lazy.compiled",
    "compute": "_runtime.front",
    "delayed": "_lazy.delayed",
    "dump": "_runtime.dump",
    "dump_on_signal": "_runtime.dump",
    "from_graph": "_lazy.handwritten",
    "resource": "_lazy.resource",
    "run": "_runtime.front",
    "start": "_runtime.front",
    "when": "_lazy.choice",
}


def __getattr__(name: str) -> Any:
    # Names are looked up when they are first used: worker processes, which import this package on the way
    # to their own part of it, start in half the time without asyncio and all the rest.
    from importlib import import_module

    if name == "errors":
        return import_module("asyncgraph.errors")
    if name not in _MODULES:
        raise AttributeError(f"module 'asyncgraph' has no attribute {name!r}")
    value = globals()[name] = getattr(import_module(f"asyncgraph.{_MODULES[name]}"), name)
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
