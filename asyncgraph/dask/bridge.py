"""An event loop in a thread, for callers that block: Dask asks its schedulers for values, and waits.

There is one bridge in a process, made at first use and kept, so that a call costs a hand-over to its thread
and back, some 50 µs. It has a runtime for each number of threads that was asked for. Calls that come out of
its own nodes run on the same runtimes, in slots that runs inside nodes get beyond the others: however deep
they nest, none waits for a thread that waits for it.

A coroutine that makes such a call blocks the loop that it is on, and whatever it waits for has to run on
another: only then is there a second bridge, which serves all who come before the first loop goes on.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import threading
from collections.abc import Coroutine, Iterator
from typing import Any, TypeVar

from asyncgraph._runtime.runtime import Runtime

__all__ = ["Bridge", "bridge_for_here", "close_bridges"]

T = TypeVar("T")


class Bridge:
    """A loop in a thread of its own.

    Attributes:
        pid: The process that it belongs to; in a fork of that its thread is not there.
        thread: The thread.
        is_blocked: Whether something on its loop waits for another bridge.
    """

    def __init__(self) -> None:
        self.pid = os.getpid()
        self.is_blocked = False
        self._loop = asyncio.new_event_loop()
        self._runtimes: dict[tuple[int, int | None], Runtime] = {}
        self.thread = threading.Thread(target=self._serve, name="asyncgraph-dask", daemon=True)
        self.thread.start()

    def compute(self, nodes: Any, threads: int, concurrency: int | None = None) -> Any:
        """The values of nodes, or of a container with nodes, on a runtime with so many threads.

        The caller waits. If it is interrupted, as by Ctrl-C, the run is cancelled, and waited for until
        nothing of it is running; a second interruption ends that.

        Raises:
            BaseException: What `asyncgraph.compute` raises.
        """
        return self.run(self._compute(nodes, threads, concurrency))

    def run(self, coroutine: Coroutine[Any, Any, T]) -> T:
        """What a coroutine returns that runs on the loop, in the caller's context; the caller waits."""
        over = threading.Event()
        future = asyncio.run_coroutine_threadsafe(_awaited(coroutine, over), self._loop)
        try:
            return future.result()
        except BaseException:
            if not over.is_set():
                future.cancel()
                over.wait()
            raise
        finally:
            del future  # it has the error, whose traceback has this frame

    def close(self) -> None:
        """End all that it has started; nothing may be running on it."""
        self.run(self._close_runtimes())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self.thread.join()

    async def _compute(self, nodes: Any, threads: int, concurrency: int | None) -> Any:
        runtime = self._runtimes.get((threads, concurrency))
        if runtime is None:
            own = (
                Runtime(threads=threads, concurrency=concurrency) if concurrency else Runtime(threads=threads)
            )
            runtime = self._runtimes[threads, concurrency] = own
            runtime.open_on(self._loop)
        return await runtime.compute(nodes)

    async def _close_runtimes(self) -> None:
        while self._runtimes:
            _, runtime = self._runtimes.popitem()
            await runtime.aclose(cancel=True)

    def _serve(self) -> None:
        asyncio.set_event_loop(self._loop)
        try:
            self._loop.run_forever()
        finally:
            self._loop.close()


# In order of making: each is for when the loops of those before it are blocked.
_bridges: list[Bridge] = []
_lock = threading.Lock()


@contextlib.contextmanager
def bridge_for_here() -> Iterator[Bridge]:
    """The bridge for a call that is made here, in whatever thread; that may be a bridge's own."""
    with _lock:
        _forget_those_of_the_parent()
        own = next((each for each in _bridges if each.thread is threading.current_thread()), None)
        if own is not None:
            own.is_blocked = True
        bridge = next((each for each in _bridges if not each.is_blocked), None)
        if bridge is None:
            bridge = Bridge()
            _bridges.append(bridge)
    try:
        yield bridge
    finally:
        if own is not None:
            own.is_blocked = False


def close_bridges() -> None:
    """End the bridges of this process."""
    with _lock:
        _forget_those_of_the_parent()
        bridges = _bridges.copy()
        _bridges.clear()
    for bridge in bridges:
        bridge.close()


def _forget_those_of_the_parent() -> None:
    """In a fork of the process their threads are not there."""
    if _bridges and _bridges[0].pid != os.getpid():
        _bridges.clear()


async def _awaited(coroutine: Coroutine[Any, Any, T], over: threading.Event) -> T:
    try:
        return await coroutine
    finally:
        over.set()
