"""Which observers' `with` blocks this is in; apart, so that runs without observers import no more."""

from __future__ import annotations

from collections.abc import Callable
from contextvars import ContextVar
from typing import Any

__all__ = ["AnyObserver", "entered"]

AnyObserver = Callable[[Any], object]
"""Whatever can be called with an event. What it returns does not matter."""

entered: ContextVar[tuple[AnyObserver, ...]] = ContextVar("asyncgraph_observers", default=())
"""The observers whose `with` blocks this is in, the outermost first."""
