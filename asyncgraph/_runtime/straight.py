"""The straight way through a graph: one node after the other, in the order of the plan.

Where all nodes run on the event loop, or in threads and take no longer there than to hand them over, nothing
has to be scheduled: the order of the plan is the order of execution, and a dictionary of values is all the
state there is. That is several times as fast as asking the scheduler about each node. As soon as a node
fails, takes long in a thread, returns something unusual or keeps those behind it waiting, the execution makes
a scheduler of what has been done so far, and goes on with that.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Collection, Iterable, Iterator, Mapping
from contextvars import Context
from itertools import filterfalse
from types import CoroutineType
from typing import Any, Protocol

from asyncgraph._graph.arguments import ATOMS
from asyncgraph._graph.function import Function
from asyncgraph._graph.node import Node, key_of
from asyncgraph._graph.plan import Plan
from asyncgraph._runtime.arguments import resolve
from asyncgraph._runtime.runner import Runner, failure_in
from asyncgraph._runtime.slices import SLICE, Slice
from asyncgraph._runtime.stopping import failure_in_thread

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


class Walkers(Protocol):
    """All those who walk one way.

    Attributes:
        runners: Their tasks, also those that are suspended.
    """

    runners: set[Runner]

    def cover(self, runner: Runner) -> bool:
        """Before coroutines: whether the runner has a slot, unless another run is to have it first."""
        ...

    def let_others(self, runner: Runner) -> None:
        """Before others have their turn: give the runner's slot back, if another run waits for it."""
        ...

    async def next_turn(self) -> bool:
        """Let the loop serve others; False, and at once, if there are enough who wait for that."""
        ...


class Straight:
    """One way through a plan.

    On the loop several may walk it: whoever is suspended in a coroutine leaves what follows to another.
    Nodes are begun in the order of the plan, each when what it needs is there.

    Args:
        plan: What to compute.
        context: The context that each node is to find; plain functions are called in copies of it.
        given: The values of the first nodes, which are not called.
        has_threads: Whether some nodes are for a thread.

    Attributes:
        position: The number of the node that is begun next; in a thread, of the one that is computed.
        values: The values that are still needed, by node.
        is_left: Whether nothing more is begun here: the scheduler has taken over, or the execution was
            stopped. Set from outside.
    """

    def __init__(
        self, plan: Plan, context: Context, given: Mapping[Node[Any], Any], *, has_threads: bool
    ) -> None:
        self.position = len(given)
        self.values: dict[Node[Any], Any] = dict(given)
        self.is_left = False
        self.nodes = plan.nodes
        self.context = context
        self._has_threads = has_threads
        # The first dependency of the next node that is not there, and those behind it.
        self._looked_at = -1
        self._missing: Node[Any] | None = None
        self._needed: Iterator[Node[Any]] = iter(())
        # In a tree each value is taken once: it is taken out then.
        self._last_uses = None if plan.is_tree else plan.last_uses
        self._value_of = self.values.pop if plan.is_tree else self.values.__getitem__

    @property
    def left(self) -> int:
        """How many nodes have not been begun."""
        return len(self.nodes) - self.position

    def is_next_ready(self) -> bool:
        """Whether what the next node needs is there, or one that is suspended has to finish first."""
        if self._looked_at != self.position:
            self._looked_at = self.position
            self._needed = filterfalse(self.values.__contains__, self.nodes[self.position]._dependencies)
            self._missing = next(self._needed, None)
        # On from where the last look ended: of a million dependencies each is looked at once.
        while self._missing is not None and self._missing in self.values:
            self._missing = next(self._needed, None)
        return self._missing is None

    @property
    def is_next_async(self) -> bool:
        """Whether the next node is a coroutine."""
        return self.nodes[self.position]._function.is_async

    def is_next_for_thread(self) -> bool:
        """Whether the next node is for a thread."""
        return self._has_threads and is_for_thread(self.nodes[self.position])

    # In one frame: calls would take half as long as all else that there is to do for a small node, and there
    # are as many of these frames as suspended coroutines.
    async def walk(  # noqa: PLR0912, PLR0915
        self, runner: Runner, walkers: Walkers, slice_: Slice
    ) -> _Outcome | None:
        """Compute node after node, on the loop.

        Args:
            runner: The task that this runs in; its `task` is the node that is being computed.
            walkers: Who else walks.
            slice_: How long.

        Returns:
            None if there is nothing to begin, or nothing that can be, or it is for a thread; else the outcome
            of the runner's `task`, which is for the scheduler: it is unusual, or the way has been left.
        """
        copy, clock, nodes, values = self.context.copy, time.monotonic, self.nodes, self.values
        base, own, has_variables = self.context, runner.context, runner.home.has_user_variables
        runners, count, has_threads = walkers.runners, len(nodes), self._has_threads
        is_tree, value_of = self._last_uses is None, self._value_of
        left, stride = 0, 1
        runner.began = looked = clock()
        until: float | None = None
        suspended: Function | None = None
        is_covered, is_alone = False, True
        position = self.position
        node: Any = None
        dependencies: Any = None
        args: Any = None
        kwargs: Any = None
        value: Any = None
        try:
            while position < count:
                if not left:
                    now = clock()
                    if suspended is not None:
                        suspended.durations.add(now - looked)
                        suspended = None
                    until = slice_.until or slice_.end()
                    if now > until:
                        walkers.let_others(runner)
                        runner.task = None
                        if not await walkers.next_turn() or self._has_been_left():
                            return None
                        stride = 1
                    elif now - looked > SLICE / 20:
                        left = stride = 1
                    else:  # twice as far as last time, because that was quick
                        if stride < _LONGEST_STRIDE:
                            stride *= 2
                        left = stride
                    runner.began = looked = now
                    is_covered, position = False, self.position
                    is_alone = (
                        len(runners) == 1
                    )  # until the next look: others come when this one is suspended
                    continue
                left -= 1
                node = nodes[position]
                function = node._function
                is_async, dependencies = function.is_async, node._dependencies
                if has_threads and function.executor == "thread":
                    break
                if not is_alone and dependencies and not self.is_next_ready():
                    break
                if is_async and not is_covered:
                    is_covered = walkers.cover(runner)
                    if not is_covered:
                        break
                runner.task = position
                position += 1
                self.position = position
                try:
                    args, kwargs = node._args, node._kwargs
                    if dependencies is args and is_tree:  # as `arguments` does, without the call
                        args = tuple(map(value_of, args))
                    elif dependencies:
                        args, kwargs = self.arguments(node, position - 1)
                    if is_async:
                        # To pass on an empty mapping takes a tenth of what a small node does.
                        value = await (function.call(*args, **kwargs) if kwargs else function.call(*args))
                        # Two quick looks in place of the call, most of the time.
                        if (has_variables or own != base) and not runner.is_clean():
                            return value, None
                        if slice_.until is not until:  # it was suspended
                            suspended, left = function, 0
                        position = self.position
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
            runner.task = None
            return None
        finally:
            # From Python 3.12 on, the traceback of a node's error leads to this frame, which is to keep
            # nothing of the run alive.
            del self, runner, walkers, slice_, runners, copy, base, own, nodes, values, value_of
            del node, args, kwargs, value, dependencies

    def arguments(self, node: Node[Any], number: int) -> tuple[tuple[Any, ...], Mapping[str, Any]]:
        """The arguments of a node, given its number; values that are needed no more are dropped."""
        args, kwargs = node._args, node._kwargs
        if node._dependencies is args:  # as `resolve` does, without the call
            args = tuple(map(self._value_of, args))
        else:
            args, kwargs = resolve(node, self._value_of)
        if self._last_uses is not None:
            for each in self._last_uses[number]:
                del self.values[each]
        return args, kwargs

    def _has_been_left(self) -> bool:
        return self.is_left  # in a method, so that type checkers do not take it for unchanged


def are_tiny(functions: Iterable[Function]) -> bool:
    """Whether calls of all these functions are known to be shorter than it takes to hand one to a thread."""
    return all(_mean(function) < _TINY for function in functions)


def is_for_thread(node: Node[Any]) -> bool:
    """Whether the node is to be computed in a thread."""
    return node._function.executor == "thread"


def _mean(function: Function) -> float:
    mean = function.durations.mean
    return _TINY if mean is None else mean


class Stretch:
    """The next nodes of the straight way, for a thread.

    What is shared with the loop is `_pending`: each node is taken from it once, by whoever is first.

    Attributes:
        first: The number of the first node.
        at: The number of the node that the thread is at; None before it has begun.
        last: Once the thread is through, the number of the last node that it computed; -1 if none.
        outcome: The value and error of that node.
        is_usual: Whether that was a value like any other, and the way can go on.
        thread: The thread, once it has begun; for those who look.
    """

    def __init__(self, straight: Straight, functions: Collection[Function]) -> None:
        """The thread has not begun.

        Args:
            straight: The way; its next node is for a thread.
            functions: All those whose calls are for threads.
        """
        most = max(int(_STRETCH / max(*map(_mean, functions), 1e-7)), 1)
        nodes, self.first = straight.nodes, straight.position
        self._end = min(self.first + most, len(nodes))
        # It ends before a node that is for the loop; one that is data may be anywhere.
        for number in range(self.first, self._end):
            if not (is_for_thread(nodes[number]) or nodes[number]._function.is_value):
                self._end = number
                break
        self._pending = deque(range(self.first, self._end))
        # The first of the nodes that have been taken back.
        self._taken_back = self._end
        self._straight = straight
        self._functions = functions
        self.at: int | None = None
        self.last = -1
        self.outcome: _Outcome = None, None
        self.is_usual = True
        self.thread: threading.Thread | None = None
        self._began: float | None = None

    def __call__(self) -> None:
        """Compute the nodes, in the thread; stop at the first that is unusual."""
        straight, pending = self._straight, self._pending
        nodes, values, copy = straight.nodes, straight.values, straight.context.copy
        position, value = -1, None
        self.thread = threading.current_thread()
        self._began = began = time.perf_counter()
        while pending:
            try:
                position = pending.popleft()
            except IndexError:  # taken back, just now
                break
            straight.position = self.at = position
            node = nodes[position]
            try:
                args, kwargs = (
                    straight.arguments(node, position) if node._dependencies else (node._args, node._kwargs)
                )
                value = copy().run(node._function.call, *args, **kwargs)
            except BaseException as error:
                self.outcome, self.is_usual = (
                    (None, failure_in_thread(error, key_of(node), straight.context)),
                    False,
                )
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

    def seconds(self) -> float | None:
        """How long the call that it is at has taken, and all before it, which are tiny; None before that."""
        return None if self._began is None else time.perf_counter() - self._began

    @property
    def count(self) -> int:
        """How many nodes it has at most."""
        return self._end - self.first

    def take_back(self) -> int | None:
        """Let the thread begin no further node; the number of the one that it is at or was last, if any."""
        first = self._end
        while self._pending:
            try:
                first = self._pending.pop()
            except IndexError:  # begun, just now
                break
        # It may have been asked before, or meanwhile by a finalizer.
        self._taken_back = first = min(first, self._taken_back)
        return first - 1 if first > self.first else None

    def _measure(self, mean: float) -> None:
        # All functions alike: which of them took how much is not known, only whether they are tiny still.
        for function in self._functions:
            function.durations.add(mean)
