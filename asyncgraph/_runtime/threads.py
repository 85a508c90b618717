"""The thread calls of an execution: what goes to a thread together, and what is taken back from one."""

from __future__ import annotations

import asyncio
import contextvars
import time
from collections import deque
from collections.abc import Callable
from functools import partial
from typing import Any

from asyncgraph._graph.function import is_async
from asyncgraph._graph.node import NO_KWARGS, Node
from asyncgraph._runtime.bundle import Bundle, Prepared, is_short, share
from asyncgraph._runtime.coroutines import Coroutines
from asyncgraph._runtime.lanes import THREAD
from asyncgraph._runtime.owner import Owner
from asyncgraph.executors.base import Call

__all__ = ["PATIENCE", "Threads"]

# Seconds after which what was meant to take a thread one millisecond is looked at.
PATIENCE = 0.005


class Threads:
    """Runs the thread calls of one execution.

    Attributes:
        calls: Calls that were taken from the scheduler and are not in a bundle yet, or no more.
    """

    def __init__(self, owner: Owner, coroutines: Coroutines) -> None:
        """Nothing runs yet.

        Args:
            owner: The execution.
            coroutines: Takes calls that turn out to be coroutines.
        """
        self.calls: deque[Prepared] = deque()
        self._owner = owner
        self._coroutines = coroutines
        self._bundles: set[Bundle] = set()
        self._others: set[Callable[[], None]] = set()
        self._timer: asyncio.TimerHandle | None = None

    def is_busy(self) -> bool:
        """Whether any thread works for the execution."""
        return bool(self._bundles or self._others)

    def running(self) -> list[Node[Any]]:
        """The nodes that are being computed."""
        return [bundle.current for bundle in self._bundles]

    def start(self) -> None:
        """Hand calls that are ready to a thread, with the slot that has been claimed."""
        calls = self._next_calls()
        if not calls:
            self._owner.give_back(THREAD)
            return
        bundle = Bundle(calls, self._owner.context)
        self._bundles.add(bundle)
        try:
            self._hand(bundle, partial(self._delivered, bundle))
        except BaseException:  # an executor must not raise, and will not deliver now
            if bundle in self._bundles:
                self._bundles.remove(bundle)
                self._owner.give_back(THREAD)
            raise
        if len(calls) > 1:
            self._watch()

    def hand(self, work: Callable[[], None], deliver: Callable[[BaseException | None], None]) -> None:
        """Hand something else to a thread, with the slot that has been claimed.

        Args:
            work: What the thread is to call.
            deliver: Called when it has, with the error if that was not possible.
        """
        self._others.add(work)
        try:
            self._hand(work, partial(self._delivered_other, work, deliver))
        except BaseException:
            if work in self._others:
                self._others.remove(work)
                self._owner.give_back(THREAD)
            raise

    def take_back(self) -> None:
        """Take all calls back that have not begun."""
        for bundle in self._bundles:
            self.calls += bundle.take_back()

    def drop(self) -> None:
        """Forget what has not begun."""
        while self.calls:
            self._owner.scheduler.stop(self.calls.popleft()[0])

    def close(self) -> None:
        """The execution is over."""
        if self._timer is not None:
            self._timer.cancel()

    def _hand(self, work: Callable[[], None], deliver: Callable[[Any, BaseException | None], None]) -> None:
        # The work enters contexts itself, one for each call.
        call = Call(work, (), NO_KWARGS, contextvars.Context(), "", deliver)
        try:
            executor = self._owner.lanes[THREAD].executor
        except Exception as error:  # it could not be made
            self._owner.loop.call_soon(deliver, None, error)
        else:
            executor.start(call)

    def _next_calls(self) -> list[Prepared]:
        """The first call that is ready, or so many that are short that they are worth a hand-over."""
        owner = self._owner
        calls: list[Prepared] = []
        seconds = 0.0
        while not owner.is_stopping and (prepared := self._next_call()) is not None:
            function = prepared[2]
            if not is_short(function):
                if calls:
                    self.calls.appendleft(prepared)
                else:
                    calls.append(prepared)
                break
            mean = function.durations.mean or 0.0
            if not calls:
                ready = len(self.calls) + owner.scheduler.ready_count(THREAD)
                seconds = share(mean, ready, owner.lanes[THREAD].slots.free + 1)
            calls.append(prepared)
            seconds -= mean
            if seconds <= 0:
                break
        return calls

    def _next_call(self) -> Prepared | None:
        """The first call that is ready for a thread."""
        owner = self._owner
        if self.calls:
            return self.calls.popleft()
        while not owner.is_stopping and (task := owner.take(THREAD)) is not None:
            prepared = owner.prepare(task)
            if prepared is None:
                continue
            function, args, kwargs = prepared
            if function.is_dynamic and is_async(args[0]):
                self._coroutines.add(task, args[0], args[1:], kwargs)
                continue
            return task, owner.nodes[task], function, args, kwargs
        return None

    def _delivered(self, bundle: Bundle, _: Any, error: BaseException | None) -> None:
        """What the executor calls when a thread is through with a bundle."""
        owner = self._owner
        try:
            self._bundles.remove(bundle)
            owner.give_back(THREAD)
            # What is left: behind a call that failed, or everything, if the executor could not begin.
            left = bundle.take_back()
            assert bundle.done or not left or error is not None, (
                "an executor has not called what it was given"
            )
            self._collect(bundle)
            if error is None:
                self.calls += left
            else:
                for task, *_ in left:
                    owner.settle(task, THREAD, None, error)
            if owner.is_stopping:
                self.drop()
        except BaseException as internal:
            owner.break_off(internal)
            if not isinstance(internal, Exception):
                raise
        owner.wake()

    def _delivered_other(
        self,
        work: Callable[[], None],
        deliver: Callable[[BaseException | None], None],
        _: Any,
        error: BaseException | None,
    ) -> None:
        owner = self._owner
        try:
            self._others.remove(work)
            owner.give_back(THREAD)
            deliver(error)
        except BaseException as internal:
            owner.break_off(internal)
            if not isinstance(internal, Exception):
                raise
        owner.wake()

    def _collect(self, bundle: Bundle) -> None:
        """Take the outcomes that are there."""
        while bundle.done:
            # In no variable of a frame that goes on: it would be behind those in an error's traceback.
            self._settle(*bundle.done.popleft())

    def _settle(self, task: int, value: Any, error: BaseException | None) -> None:
        self._owner.settle(task, THREAD, value, error)

    def _watch(self) -> None:
        if self._timer is None:
            self._timer = self._owner.loop.call_later(PATIENCE, self._look)

    def _look(self) -> None:
        """A bundle that takes longer than expected: what waits in it goes elsewhere, what is done counts."""
        self._timer = None
        try:
            for bundle in list(self._bundles):
                if time.monotonic() - bundle.began >= PATIENCE:
                    self.calls += bundle.take_back()
                self._collect(bundle)
            if any(bundle.pending for bundle in self._bundles):
                self._watch()
        except Exception as error:
            self._owner.break_off(error)
        self._owner.wake()
