"""The straight way through a graph: one node after the other, in the order of the plan.

Where all nodes run on the event loop, or all in threads and none takes longer than to hand it over, nothing
has to be scheduled: the order of the plan is the order of execution, and a dictionary of values is all the
state there is. That is several times as fast as asking the scheduler about each node. As soon as a node
suspends, fails, takes long or returns something unusual, the execution makes a scheduler of what has been
done so far, and goes on with that.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Mapping
from contextvars import Context
from types import CoroutineType
from typing import Any

from asyncgraph._graph.arguments import ATOMS
from asyncgraph._graph.function import Function
from asyncgraph._graph.node import Node, key_of
from asyncgraph._graph.plan import Plan
from asyncgraph._runtime.arguments import resolve
from asyncgraph._runtime.runner import Runner, failure_in, turn
from asyncgraph.executors.base import failure_of

__all__ = ["UNUSUAL", "Straight", "Stretch", "are_tiny"]

# The clock is looked at after so many nodes at most: it takes 40 ns, a tenth of what a small node takes.
_LONGEST_STRIDE = 8

# Values that have to be computed, or awaited, first.
UNUSUAL = (Node, CoroutineType)

# Functions whose calls take less than this, in seconds, gain nothing from being shared out to several
# threads: to hand one over takes longer.
_TINY = 0.00001

# Seconds of work that a thread is given at a time.
_STRETCH = 0.001

_Outcome = tuple[Any, BaseException | None]


class Straight:
    """One way through a plan.

    Args:
        plan: What to compute.
        context: The context that each node is to find; plain functions are called in copies of it.
        given: The values of the first nodes, which are not called.

    Attributes:
        position: The number of the node that is being computed, or is next.
        values: The values that are still needed, by node.
        is_left: Whether the scheduler has taken over; set by the execution.
    """

    def __init__(self, plan: Plan, context: Context, given: Mapping[Node[Any], Any]) -> None:
        self.position = len(given)
        self.values: dict[Node[Any], Any] = dict(given)
        self.is_left = False
        self.nodes = plan.nodes
        self.context = context
        # In a tree each value is taken once: it is taken out then.
        self._last_uses = None if plan.is_tree else plan.last_uses
        self._value_of = self.values.pop if plan.is_tree else self.values.__getitem__

    @property
    def is_done(self) -> bool:
        """Whether all nodes have been computed."""
        return self.position == len(self.nodes)

    async def walk(self, runner: Runner, cover: Callable[[Runner], bool], slice_: float) -> _Outcome | None:
        """Compute node after node, on the loop.

        Args:
            runner: The task that this runs in; its `task` is the node that is being computed.
            cover: Called before the first coroutine of a slice; if it gives False, the way ends there.
            slice_: How many seconds to work before the loop is let to serve others.

        Returns:
            None if all is done, or the way was left between two nodes; else the outcome of the node at
            `position`, which is for the scheduler: its value is unusual, or it failed, or was suspended.
        """
        copy, clock, nodes, values = self.context.copy, time.monotonic, self.nodes, self.values
        base, own, has_variables = self.context, runner.context, runner.has_user_variables
        is_covered = False
        left = stride = 1
        looked = clock()
        until = looked + slice_
        node: Any = None
        args: Any = None
        kwargs: Any = None
        value: Any = None
        try:
            for position in range(self.position, len(nodes)):
                runner.task = self.position = position
                node = nodes[position]
                function = node._function
                if function.is_async and not is_covered:
                    is_covered = cover(runner)
                    if not is_covered:
                        runner.task = None
                        return None
                try:
                    args, kwargs = self.arguments(node) if node._dependencies else (node._args, node._kwargs)
                    if function.is_async:
                        value = await function.call(*args, **kwargs)
                        # Two quick looks in place of the call, most of the time.
                        if (has_variables or own != base) and not runner.is_clean():
                            return value, None
                    elif kwargs:
                        value = copy().run(function.call, *args, **kwargs)
                    else:
                        value = copy().run(function.call, *args)
                except BaseException as error:
                    return None, failure_in(runner, error, node)
                if runner.was_cancelled and not runner.is_clean():
                    return value, None
                if self.is_left or (type(value) not in ATOMS and issubclass(type(value), UNUSUAL)):
                    return value, None
                values[node] = value
                left -= 1
                if not left:
                    now = clock()
                    if now > until:
                        self.position, runner.task = position + 1, None
                        await turn()
                        if self._has_been_left():
                            return None
                        is_covered = False
                        now = clock()
                        until = now + slice_
                    # Twice as far as last time, if that was quick.
                    left = stride = min(2 * stride, _LONGEST_STRIDE) if now - looked < slice_ / 20 else 1
                    looked = now
            self.position, runner.task = len(nodes), None
            return None
        finally:
            # From Python 3.12 on, the traceback of a node's error leads to this frame, which is to keep
            # nothing of the run alive.
            del self, runner, cover, copy, base, own, nodes, values, node, args, kwargs, value

    def arguments(self, node: Node[Any]) -> tuple[tuple[Any, ...], Mapping[str, Any]]:
        """The arguments of the node at `position`; values that are needed no more after that are dropped."""
        args, kwargs = node._args, node._kwargs
        if node._dependencies is args:  # as `resolve` does, without the call
            args = tuple(map(self._value_of, args))
        else:
            args, kwargs = resolve(node, self._value_of)
        if self._last_uses is not None:
            for each in self._last_uses[self.position]:
                del self.values[each]
        return args, kwargs

    def _has_been_left(self) -> bool:
        return self.is_left  # in a method, so that type checkers do not take it for unchanged


def are_tiny(functions: frozenset[Function]) -> bool:
    """Whether calls of all these functions are known to be shorter than it takes to hand one to a thread."""
    return all(function.is_value or _mean(function) < _TINY for function in functions)


def _mean(function: Function) -> float:
    mean = function.durations.mean
    return _TINY if mean is None else mean


class Stretch:
    """The next nodes of the straight way, for a thread.

    What is shared with the loop is `_pending`: each node is taken from it once, by whoever is first.

    Attributes:
        first: The number of the first node.
        last: Once the thread is through, the number of the last node that it computed; -1 if none.
        outcome: The value and error of that node.
        is_usual: Whether that was a value like any other, and the way can go on.
    """

    def __init__(self, straight: Straight, functions: frozenset[Function]) -> None:
        mean = max([_mean(function) for function in functions if not function.is_value], default=_TINY)
        count = max(int(_STRETCH / max(mean, 1e-7)), 1)
        self.first = straight.position
        self._end = min(self.first + count, len(straight.nodes))
        self._pending = deque(range(self.first, self._end))
        self._straight = straight
        self._functions = functions
        self.last = -1
        self.outcome: _Outcome = None, None
        self.is_usual = True

    def __call__(self) -> None:
        """Compute the nodes, in the thread; stop at the first that is unusual."""
        straight, pending = self._straight, self._pending
        nodes, values, copy = straight.nodes, straight.values, straight.context.copy
        position, value = -1, None
        began = time.perf_counter()
        while pending:
            try:
                position = pending.popleft()
            except IndexError:  # taken back, just now
                break
            straight.position = position
            node = nodes[position]
            try:
                args, kwargs = straight.arguments(node) if node._dependencies else (node._args, node._kwargs)
                value = copy().run(node._function.call, *args, **kwargs)
            except BaseException as error:
                self.outcome, self.is_usual = (None, failure_of(error, key_of(node))), False
                break
            if type(value) not in ATOMS and issubclass(type(value), UNUSUAL):
                self.is_usual = False
                break
            values[node] = value
        if self.outcome[1] is None:
            self.outcome = value, None
        self.last = position
        if position >= 0:
            self._measure((time.perf_counter() - began) / (position + 1 - self.first))

    def take_back(self) -> int | None:
        """Let the thread begin no further node; the number of the one that it is at or was last, if any."""
        first = self._end
        while self._pending:
            try:
                first = self._pending.pop()
            except IndexError:  # begun, just now
                break
        return first - 1 if first > self.first else None

    def _measure(self, mean: float) -> None:
        # All functions alike: which of them took how much is not known, only whether they are tiny still.
        for function in self._functions:
            function.durations.add(mean)
