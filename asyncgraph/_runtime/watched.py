"""A call in a thread that is watched: it has a timeout, or is not waited for when its run is stopped.

A thread cannot be stopped, only told. What comes of the call is decided on the loop: the timeout counts from
when the thread has begun, an outcome that is there when the time is up counts, and a call that was let go of
counts no more, but for the slot, which it keeps until its thread has ended.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import threading
import time
from collections.abc import Callable
from contextvars import Context
from types import CoroutineType
from typing import TYPE_CHECKING, Any

from asyncgraph._graph.function import Function
from asyncgraph._graph.node import Node, key_of
from asyncgraph._runtime.notes import add_note
from asyncgraph._runtime.owner import Owner, Resolved
from asyncgraph._runtime.slots import Slots
from asyncgraph._runtime.stopping import Scope, current, failure_in_thread, stop_within
from asyncgraph.errors import NodeTimeoutError
from asyncgraph.executors.base import Deliver, timed_out
from asyncgraph.executors.safe_text import safe_repr
from asyncgraph.executors.thread import ThreadExecutor

if TYPE_CHECKING:
    from asyncgraph._runtime.recorder import Timing

__all__ = ["Watched", "is_watched"]

_logger = logging.getLogger("asyncgraph")


def is_watched(function: Function) -> bool:
    """Whether calls of the function in a thread are to be watched."""
    return function.timeout is not None or function.is_abandonable


class Watched:
    """A call that has a thread for itself, and is watched: a scope of its own.

    Attributes:
        node: The node, until the call is abandoned.
        outcomes: Its value and error, once there are any.
        is_stopping: Whether its time is up, or it was abandoned.
        has_ended: Whether its thread is through with it.
        thread: The thread, once it has begun.
        outer: The execution.
        loop: Its loop.
    """

    __slots__ = (
        "_began",
        "_context",
        "_deliver",
        "_function",
        "_is_abandoned",
        "_key",
        "_prepared",
        "_timer",
        "_timing",
        "has_ended",
        "is_stopping",
        "loop",
        "node",
        "outcomes",
        "outer",
        "thread",
    )

    def __init__(
        self, node: Node[Any], prepared: Resolved, owner: Owner, timing: Timing | None = None
    ) -> None:
        self.node = node
        self._timing = timing
        self.outcomes: list[tuple[Any, BaseException | None]] = []
        self.is_stopping = self.has_ended = False
        self.outer: Scope | None = owner
        self.loop = owner.loop
        self._function = prepared[0]
        self._key = key_of(node)
        # Whoever takes it out, thread or loop, decides whether the call is made.
        self._prepared = [prepared]
        self._context: Context | None = owner.context.copy()
        self._context.run(current.set, self)
        self._began: float | None = None
        self.thread: threading.Thread | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._deliver: Deliver
        self._is_abandoned = False

    @property
    def is_abandonable(self) -> bool:
        """Whether nobody waits for it when it is to stop."""
        return self._function.is_abandonable

    def seconds(self) -> float | None:
        """For how long the call has been going on; None before it has begun."""
        return None if self._began is None else time.monotonic() - self._began

    # -- in the thread

    def __call__(self) -> None:
        """Make the call, unless it has been abandoned before."""
        self.thread = threading.current_thread()
        try:
            function, args, kwargs = self._prepared.pop()
        except IndexError:
            return
        context, self._context = self._context, None  # which leads back to this
        assert context is not None, "a call is made once"
        call = function.call
        if self._timing is not None:
            call = self._timing.call or call
            self._timing.began()
        self._began = began = time.monotonic()
        try:
            self.outcomes.append((context.run(call, *args, **kwargs), None))
        except BaseException as error:
            self.outcomes.append((None, failure_in_thread(error, self._key, context)))
        function.durations.add(time.monotonic() - began)
        if self._timing is not None and not self._is_abandoned:
            self._timing.ended()
        if self._is_abandoned:
            self._drop_late()
        del self, call, context, args, kwargs  # see `Window.work`

    # -- on the loop

    def delivering(self, deliver: Deliver) -> Deliver:
        """What the executor is to call when the thread is through: `deliver`, or what has replaced that.

        The executor and the thread know nothing else of the run, so that a call that has been abandoned keeps
        nothing of it alive.
        """
        self._deliver = deliver
        return self._delivered

    def watch(self, strike: Callable[[], None]) -> None:
        """Call `strike` when the call has taken all of its time."""
        timeout = self._function.timeout
        if timeout is not None:
            self._timer = self.loop.call_later(timeout, self._look, timeout, strike, context=Context())

    def stop(self) -> None:
        """Tell it to stop, and all that it has begun on other loops."""
        self.is_stopping = True
        stop_within(self)

    def timed_out(self) -> NodeTimeoutError:
        """The error of a call that has taken longer than it may; what else has come of it is dropped."""
        is_left = self.is_abandonable
        seconds = self._function.timeout
        assert seconds is not None
        then = "goes on by itself until it does" if is_left else "has ended"
        error = timed_out(self._key, seconds, f"; its thread was told to stop, and {then}")
        late = None if is_left else self.late_error()
        if late is not None:
            add_note(error, f"asyncgraph: when it was told to stop, it raised {safe_repr(late)}")
        return error

    def abandon(self, executor: ThreadExecutor, slots: Slots) -> None:
        """Let it go on by itself, if it has begun; its slot is given back when its thread has ended."""
        self._cancel_timer()
        self._is_abandoned = True
        self.stop()
        with contextlib.suppress(IndexError):
            self._prepared.pop()  # it does not begin any more
        thread = self.thread
        if thread is not None:
            executor.let_go(thread)

        def returned(*_: object) -> None:
            if thread is not None:
                executor.take_back(thread)
            slots.give_back()

        self._deliver = returned
        self._drop_late()  # if it has just come
        del self.node

    def _look(self, timeout: float, strike: Callable[[], None]) -> None:
        self._timer = None
        if self.outcomes:
            return  # it is there, and counts: it will be delivered at once
        left = timeout if self._began is None else self._began + timeout - time.monotonic()
        if left > 0:
            self._timer = self.loop.call_later(left, self._look, timeout, strike, context=Context())
        else:
            strike()

    def _delivered(self, value: Any, error: BaseException | None) -> None:
        self._cancel_timer()
        self.has_ended = True
        deliver = self._deliver
        del self._deliver
        deliver(value, error)

    def _cancel_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    # -- what comes too late

    def late_error(self) -> BaseException | None:
        """Drop the outcome, and return its error, if that tells anything."""
        try:
            value, error = self.outcomes.pop()
        except IndexError:  # there is none, or the other thread has it
            return None
        if type(value) is CoroutineType:
            value.close()
        return None if isinstance(error, asyncio.CancelledError) else error

    def _drop_late(self) -> None:
        # In the thread, if it has not ended before: the loop may be gone by then.
        error = self.late_error()
        if error is not None:
            _logger.debug("%s, which nobody waits for any more, failed", self._key, exc_info=error)
