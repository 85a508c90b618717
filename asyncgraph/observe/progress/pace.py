"""How fast something gets done, and so how long the rest will take. It is told the time."""

from __future__ import annotations

from collections import deque

__all__ = ["Pace"]

SHORTEST = 10.0
"""Seconds that a rate is taken over, at least: long enough to be steady, short enough to follow a change."""

_PART = 4
"""It is taken over this part of the time so far, if that is longer: in slow runs little happens in 10 s."""

_SAMPLES = 100
"""How many samples are kept of that time."""


class Pace:
    """The rate at which something gets done, over the last while.

    The time before it has begun does not count, nor does what was done when it was first looked at.
    """

    def __init__(self) -> None:
        self._samples: deque[tuple[float, int]] = deque()
        self._began = 0.0

    def add(self, now: float, done: int, *, has_begun: bool) -> None:
        """Be told how much is done by now."""
        samples = self._samples
        if not has_begun or not samples:
            samples.clear()
            samples.append((now, done))
            self._began = now
            return
        window = max(SHORTEST, (now - self._began) / _PART)
        if len(samples) > 1 and now - samples[-2][0] < window / _SAMPLES:
            samples.pop()
        samples.append((now, done))
        while len(samples) > 2 and samples[1][0] <= now - window:
            samples.popleft()

    def rate(self) -> float:
        """How much a second; 0 if nothing was done, or it is too early to tell."""
        if not self._samples:
            return 0.0
        (began, before), (now, done) = self._samples[0], self._samples[-1]
        return max(0, done - before) / (now - began) if now > began else 0.0

    def left(self, remaining: int) -> float | None:
        """How many seconds the rest will take at this rate; None if that cannot be told."""
        rate = self.rate()
        return remaining / rate if rate else None
