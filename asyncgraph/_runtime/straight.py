"""The straight way through a graph whose nodes all run on the event loop: one after the other, in order.

As long as no node suspends, fails or returns something unusual, nothing has to be scheduled: the order of
the plan is the order of execution, and a dictionary of values is all the state there is. That is several
times as fast as asking the scheduler about each node. When the way ends before the graph does, the
execution makes a scheduler of what has been done so far, and goes on with that.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from contextvars import Context
from types import CoroutineType
from typing import Any

from asyncgraph._graph.arguments import ATOMS
from asyncgraph._graph.node import Node
from asyncgraph._graph.plan import Plan
from asyncgraph._runtime.arguments import resolve
from asyncgraph._runtime.runner import Runner, failure_in, turn

__all__ = ["UNUSUAL", "Straight"]

# The clock is looked at after so many nodes at most: it takes 40 ns, a tenth of what a small node takes.
_LONGEST_STRIDE = 8

# Values that have to be computed, or awaited, first.
UNUSUAL = (Node, CoroutineType)

_Outcome = tuple[Any, BaseException | None]


class Straight:
    """One way through a plan.

    Args:
        plan: What to compute; all of it on the loop.
        context: The context that each node is to find; inline calls run in copies of it.
        given: The values of the first nodes, which are not called.
        slice_: How many seconds to work before the loop is let to serve others.

    Attributes:
        position: The number of the node that is being computed, or is next.
        values: The values that are still needed, by node.
        is_inside: Whether the node at `position` is being computed: it may be suspended.
        is_left: Whether the scheduler has taken over; set by the execution.
    """

    def __init__(self, plan: Plan, context: Context, given: Mapping[Node[Any], Any], slice_: float) -> None:
        self.position = len(given)
        self.values: dict[Node[Any], Any] = dict(given)
        self.is_inside = False
        self.is_left = False
        self._plan = plan
        self._context = context
        self._slice = slice_

    @property
    def is_done(self) -> bool:
        """Whether all nodes have been computed."""
        return self.position == len(self._plan.nodes)

    async def walk(self, runner: Runner, cover: Callable[[Runner], bool]) -> _Outcome | None:
        """Compute node after node.

        Args:
            runner: The task that this runs in.
            cover: Called before the first coroutine of a slice; if it gives False, the way ends there.

        Returns:
            None if all is done, or the way was left between two nodes; else the outcome of the node at
            `position`, which is for the scheduler: its value is unusual, or it failed, or was suspended.
        """
        copy, clock = self._context.copy, time.monotonic
        # In a tree each value is taken once: it is taken out then.
        values, last_uses = self.values, None if self._plan.is_tree else self._plan.last_uses
        value_of = values.pop if last_uses is None else values.__getitem__
        base, own, has_variables = self._context, runner.context, runner.has_user_variables
        left = stride = 1
        looked = clock()
        until = looked + self._slice
        nodes = self._plan.nodes
        is_covered = False
        self.is_inside = True
        for position in range(self.position, len(nodes)):
            self.position = position
            node = nodes[position]
            function = node._function
            if function.is_async and not is_covered:
                is_covered = cover(runner)
                if not is_covered:
                    self.is_inside = False
                    return None
            try:
                args, kwargs, dependencies = node._args, node._kwargs, node._dependencies
                if dependencies:
                    if dependencies is args:  # as `resolve` does, without the call
                        args = tuple(map(value_of, args))
                    else:
                        args, kwargs = resolve(node, value_of)
                    if last_uses is not None:
                        for each in last_uses[position]:
                            del values[each]
                if function.is_async:
                    value = await function.call(*args, **kwargs)
                    # Three quick looks in place of the call, most of the time.
                    if (runner.was_cancelled or has_variables or own != base) and not runner.is_clean():
                        return value, None
                elif kwargs:
                    value = copy().run(function.call, *args, **kwargs)
                else:
                    value = copy().run(function.call, *args)
            except BaseException as error:
                return None, failure_in(runner, error, node)
            if self.is_left or (type(value) not in ATOMS and isinstance(value, UNUSUAL)):
                return value, None
            values[node] = value
            left -= 1
            if not left:
                now = clock()
                if now > until:
                    self.position, self.is_inside = position + 1, False
                    await turn()
                    if self._has_been_left():
                        return None
                    self.is_inside, is_covered = True, False
                    now = clock()
                    until = now + self._slice
                # Twice as far as last time, if that was quick.
                left = stride = min(2 * stride, _LONGEST_STRIDE) if now - looked < self._slice / 20 else 1
                looked = now
        self.position, self.is_inside = len(nodes), False
        return None

    def _has_been_left(self) -> bool:
        return self.is_left  # in a method, so that type checkers do not take it for unchanged
