"""What is known of a function, for tests of what depends on it."""

from __future__ import annotations

from typing import Any

from asyncgraph import delayed


def long(function: Any) -> Any:
    """Let calls of a delayed function count as so long that each goes to a thread alone."""
    function = delayed(function)
    for _ in range(1000):
        function.function.durations.add(1000.0)
    return function


def short(function: Any) -> Any:
    """Let calls of a delayed function count as so short that they go to a thread many at a time."""
    function = delayed(function)
    function.function.durations.add(0.05, 1000)
    return function


def tiny(function: Any) -> Any:
    """Let calls of a delayed function count as shorter than it takes to hand one to a thread."""
    function = delayed(function)
    function.function.durations.add(1e-4, 1000)
    return function
