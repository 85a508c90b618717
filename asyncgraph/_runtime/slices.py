"""Time slices: how long an execution works in one turn of the loop before others have theirs.

All that an execution does in a turn, in whatever task or callback, shares one slice. It begins with the first
piece of work, and ends for good when the execution has its next turn.
"""

from __future__ import annotations

import time
from collections.abc import Callable

__all__ = ["SLICE", "Slice"]

SLICE = 0.002
"""Seconds: short beside the 10 ms that a service may stall, long beside the 20 µs that coming back costs."""


class Slice:
    """The slice of an execution in the present turn.

    Args:
        wake: Called when a slice begins: it gives the execution its next turn, which is to call `close`.

    Attributes:
        until: When it ends, by `time.monotonic()`; None if nothing has been done yet.
    """

    __slots__ = ("_wake", "until")

    def __init__(self, wake: Callable[[], None]) -> None:
        self.until: float | None = None
        self._wake = wake

    def end(self) -> float:
        """When it ends; it begins now, if it has not."""
        if self.until is None:
            self.until = time.monotonic() + SLICE
            self._wake()
        return self.until

    def is_over(self) -> bool:
        """Whether the time is up; it begins now, if it has not."""
        return time.monotonic() > self.end()

    def close(self) -> None:
        """It is the next turn: time begins anew with the next piece of work."""
        self.until = None
