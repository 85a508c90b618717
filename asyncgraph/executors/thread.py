"""Blocking functions in threads of asyncgraph's own.

Guarantees:

- The threads are daemons: one that is stuck in a user's function does not keep the interpreter alive.
- A call runs in its own copy of the context, and nothing of it (arguments, value, exception) is held
  by the thread afterwards.
- Outcomes are delivered on the loop's thread; many that arrive together cost one wake-up of the loop.

Neither anyio's threads (whose limit is shared with Starlette's endpoints) nor `ThreadPoolExecutor`
(whose threads are joined at interpreter exit) give the first.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import threading
import time
from collections import deque
from contextvars import Context
from queue import SimpleQueue
from typing import Any

from asyncgraph.executors.base import Call, perform

__all__ = ["ThreadExecutor"]

_numbers = itertools.count(1)

# How long outcomes are delivered before the loop serves others, in seconds.
_SLICE = 0.002


class ThreadExecutor:
    """Threads that are started when they are needed and kept for the next call.

    Args:
        slots: How many calls run at once.
        loop: The loop on whose thread outcomes are delivered.
    """

    def __init__(self, slots: int, loop: asyncio.AbstractEventLoop) -> None:
        self.slots = slots
        self._loop = loop
        self._calls: SimpleQueue[Call | None] = SimpleQueue()
        self._outcomes: deque[tuple[Call, Any, BaseException | None]] = deque()
        self._is_waking = False
        self._threads: list[threading.Thread] = []
        # Those that are in a call which nobody waits for.
        self._let_go: set[threading.Thread] = set()
        # Threads that are, or will be without waiting for a user's function, ready for a call.
        self._idle = 0
        self._has_let_go_of_all = False

    def start(self, call: Call) -> None:
        """Hand `call` to a thread."""
        if self._idle:
            self._idle -= 1
        else:
            try:
                self._add_thread()
            except RuntimeError as error:  # the system gives no more threads
                self._loop.call_soon(call.deliver, None, error)
                return
        self._calls.put(call)

    def let_go(self, thread: threading.Thread) -> None:
        """Do not wait for a thread, whose call may go on for ever; it ends by itself when that has."""
        self._let_go.add(thread)

    def take_back(self, thread: threading.Thread) -> None:
        """The call of a thread that was let go of has ended."""
        self._let_go.discard(thread)

    def let_go_of_all(self) -> None:
        """Do not wait for threads at the end: the program is to end at once, whatever they are in."""
        self._has_let_go_of_all = True

    async def aclose(self) -> None:
        """End the threads, all of which are idle but for those that were let go of."""
        self.close()
        for thread in () if self._has_let_go_of_all else self._threads:
            # They have no user code left to run: this takes microseconds.
            if thread not in self._let_go:
                thread.join()
        self._threads.clear()
        self._idle = 0

    def close(self) -> None:
        """Tell the threads to end after the call they are in."""
        for _ in self._threads:
            self._calls.put(None)

    def _add_thread(self) -> None:
        thread = threading.Thread(target=self._work, name=f"asyncgraph-{next(_numbers)}", daemon=True)
        thread.start()
        self._threads.append(thread)

    def _work(self) -> None:
        calls, outcomes = self._calls, self._outcomes
        while (call := calls.get()) is not None:
            try:
                value, error = call.context.run(perform, call.function, call.args, call.kwargs, call.key)
            except BaseException as fault:  # in our own code, for want of memory: nobody must wait for ever
                value, error = None, fault
            outcomes.append((call, value, error))
            # Before the loop hears of the outcome: whoever waits for it may then rely on nothing here
            # holding the arguments, the value or the exception any more.
            del call, value, error
            self._wake_loop()

    def _wake_loop(self) -> None:
        # One wake-up serves all outcomes that arrive before the loop comes round to it. The flag is
        # set after the outcome is appended and cleared before outcomes are taken: none is missed.
        if not self._is_waking:
            self._is_waking = True
            with contextlib.suppress(RuntimeError):  # the loop has been closed: nobody waits any more
                self._loop.call_soon_threadsafe(self._deliver, context=Context())

    def _deliver(self) -> None:
        self._is_waking = False
        outcomes = self._outcomes
        until = time.monotonic() + _SLICE
        try:
            while outcomes:
                call, value, error = outcomes.popleft()
                self._idle += 1
                call.deliver(value, error)
                del call, value, error
                if time.monotonic() > until:
                    break
        finally:
            if outcomes:  # others have their turn first; or Ctrl-C came between
                self._wake_loop()
