"""Calls in an executor of `concurrent.futures`, which belongs to the user: whatever has `submit`.

A thread pool gets calls as they are, each in its context. Any other executor gets them pickled, as worker
processes of asyncgraph do: functions that are not importable go by value, and what is raised comes back with
its frames. What has been handed over and has not begun can be taken back; a call that has begun cannot be
stopped.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from concurrent.futures import BrokenExecutor, CancelledError, Executor, Future, ThreadPoolExecutor
from contextvars import Context
from typing import Any

from asyncgraph.errors import RuntimeClosedError
from asyncgraph.executors.base import Call, failure_of, perform

__all__ = ["FuturesExecutor", "slots_of"]

_INTERPRETERS = "InterpreterPoolExecutor"


def slots_of(pool: Executor) -> int:
    """How many calls an executor runs at once, as far as it tells; else 1."""
    workers = getattr(pool, "_max_workers", None)
    return workers if isinstance(workers, int) and workers > 0 else 1


class FuturesExecutor:
    """Hands calls to an executor, and brings their outcomes to the loop. It starts and ends no worker.

    Args:
        pool: The executor.
        loop: The loop that outcomes are delivered on.
    """

    after_timeout = "nothing can stop what runs in executor {executor}: it was waited for"

    def __init__(self, pool: Executor, loop: asyncio.AbstractEventLoop) -> None:
        self.slots = slots_of(pool)
        self._pool = pool
        self._loop = loop
        self._is_plain = isinstance(pool, ThreadPoolExecutor) and type(pool).__name__ != _INTERPRETERS

    def start(self, call: Call) -> Callable[[], bool]:
        """Hand over a call; raises nothing.

        Returns:
            What takes it back, if it has not begun, and says whether it did. The call is delivered then, too.
        """
        try:
            future = self._submit(call)
        except Exception as error:  # it is shut down, or the arguments do not pickle
            self._loop.call_soon(call.deliver, None, failure_of(error, call.key), context=Context())
            return _never
        return _Handed(call, future, self._loop).take_back

    def _submit(self, call: Call) -> Future[Any]:
        if self._is_plain:
            return self._pool.submit(
                call.context.run, perform, call.function, call.args, call.kwargs, call.key
            )
        from asyncgraph.executors.packing import pack
        from asyncgraph.executors.travel import perform_back

        packed, _ = pack(call)
        call.args, call.kwargs = (), {}  # they are not kept here while the call is there
        return self._pool.submit(perform_back, call.key, packed)

    async def aclose(self) -> None:
        """Nothing is done: whoever has made the executor shuts it down."""

    def close(self) -> None:
        """Likewise."""


def _never() -> bool:
    return False


def _own(error: BrokenExecutor) -> BrokenExecutor:
    """The same error once more: a pool has one for all calls that are lost with its workers."""
    own = type(error).__new__(type(error), *error.args)
    own.__dict__.update(error.__dict__)
    own.__cause__ = error.__cause__
    return own


class _Handed:
    """A call that an executor has."""

    def __init__(self, call: Call, future: Future[Any], loop: asyncio.AbstractEventLoop) -> None:
        self._call = call
        self._future = future
        self._loop = loop
        self._is_taken_back = False
        future.add_done_callback(self._arrived)

    def take_back(self) -> bool:
        """Take it back, if it has not begun; says whether it did."""
        self._is_taken_back = True
        return self._future.cancel()

    def _arrived(self, _: Future[Any]) -> None:
        """In whatever thread: the future is done."""
        with contextlib.suppress(RuntimeError):  # the loop has been closed: nobody waits any more
            self._loop.call_soon_threadsafe(self._deliver, context=Context())

    def _deliver(self) -> None:
        # In no variable: this frame is behind those in the traceback of an error.
        self._call.deliver(*self._outcome())

    def _outcome(self) -> tuple[Any, BaseException | None]:
        key = self._call.key
        try:
            result = self._future.result()
        except CancelledError:
            if self._is_taken_back:
                return None, asyncio.CancelledError()
            why = "its executor has cancelled it, as one does that is shut down with cancel_futures=True"
            return None, RuntimeClosedError(f"{key} was not called: {why}")
        except BrokenExecutor as error:
            return None, _own(error)
        except BaseException as error:  # of the executor itself
            return None, failure_of(error, key)
        if type(result) is tuple:
            return result
        outcome: tuple[Any, BaseException | None] = result.outcome(key)
        return outcome
