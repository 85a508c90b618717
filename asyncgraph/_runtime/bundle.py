"""Bundles: calls that are handed to a thread together, because each is too short to be handed over alone.

To give one call to a thread and to hear of its outcome costs tens of microseconds, most of them for waking
the thread and the loop. So calls of functions that are known to be short go together, about a
millisecond's work at a time: long beside what the hand-over costs, short beside what anybody would
notice. What a bundle has not begun can be taken back at any time, when one of its calls turns out to be slow.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Mapping
from contextvars import Context
from typing import Any

from asyncgraph._graph.function import Function
from asyncgraph._graph.node import Node, key_of
from asyncgraph.executors.base import failure_of

__all__ = ["Bundle", "Prepared", "is_short", "share"]

# Calls that take longer than this, in seconds, go alone.
_SHORT = 0.0002

# Seconds of work in a bundle: at most so much, and at least so much where idle threads could share it.
_LONGEST = 0.001
_SHORTEST = 0.00005

# A call that is ready to be made: its task, node, function and arguments.
Prepared = tuple[int, Node[Any], Function, tuple[Any, ...], Mapping[str, Any]]


def is_short(function: Function) -> bool:
    """Whether calls of `function` are known to be too short to go alone."""
    mean = function.durations.mean
    return mean is not None and mean < _SHORT


def share(mean: float, ready: int, idle: int) -> float:
    """The seconds of work for one bundle, of `ready` calls that take `mean` seconds, with `idle` threads."""
    return max(_SHORTEST, min(_LONGEST, mean * ready / max(idle, 1)))


class Bundle:
    """Calls for one thread, to be made one after another; often just one.

    The two deques are what the loop and the thread share: each call is taken from `pending` once, by
    whoever is first, and its outcome put into `done` once. Both are atomic.

    Attributes:
        pending: The calls that have not begun.
        done: The outcomes that have not been collected: task, value, error.
        current: The node that is being computed, or was last.
        began: When it was handed over, by `time.monotonic()`.
    """

    __slots__ = ("_context", "began", "current", "done", "pending")

    def __init__(self, calls: list[Prepared], context: Context) -> None:
        self.pending = deque(calls)
        self.done: deque[tuple[int, Any, BaseException | None]] = deque()
        self.current = calls[0][1]
        self.began = time.monotonic()
        self._context = context

    def __call__(self) -> None:
        """Make the calls, in the thread; stop after the first that fails."""
        pending, done, copy, clock = self.pending, self.done, self._context.copy, time.perf_counter
        last: Function | None = None
        count, began = 0, clock()
        while pending:
            try:
                task, self.current, function, args, kwargs = pending.popleft()
            except IndexError:  # taken back, just now
                break
            if function is not last:
                # Measured together: the clock takes as long as a small call.
                if last is not None:
                    now = clock()
                    last.durations.add(now - began, count)
                    count, began = 0, now
                last = function
            count += 1
            outcome: tuple[int, Any, BaseException | None]
            try:
                outcome = task, copy().run(function.call, *args, **kwargs), None
            except BaseException as error:
                outcome = task, None, failure_of(error, key_of(self.current))
            del args, kwargs
            done.append(outcome)
            has_failed = outcome[2] is not None
            del outcome
            if has_failed:
                break
        if last is not None:
            last.durations.add(clock() - began, count)

    def take_back(self) -> list[Prepared]:
        """The calls that have not begun, which are then not made here."""
        calls: list[Prepared] = []
        while self.pending:
            try:
                calls.append(self.pending.pop())
            except IndexError:  # begun, just now
                break
        calls.reverse()
        return calls
