"""An event loop in a thread, for callers that block: Dask asks its schedulers for values, and waits.

There is one bridge in a process, made at first use and kept, so that a call costs a hand-over to its thread
and back, some 50 µs. It has a runtime for each number of threads that was asked for. Calls that come out of
its own nodes run on the same runtimes, in slots that runs inside nodes get beyond the others: however deep
they nest, none waits for a thread that waits for it.

A coroutine that makes such a call blocks the loop that it is on, and whatever it waits for has to run on
another: only then is there a second bridge, which serves all who come before the first loop goes on. A
coroutine may also wait for threads without our knowledge, as those of Dask's own scheduler, and a task in
one of them make the call. So a loop that does not begin what it is handed is passed over, too.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import threading
from collections.abc import Coroutine, Iterator
from concurrent.futures import wait
from typing import Any, TypeVar

from asyncgraph._runtime.runtime import Runtime

__all__ = ["close_bridges", "compute", "run"]

T = TypeVar("T")

# Seconds that a loop has to begin what it is handed. It may be that it is only busy: then there is a bridge
# more than there need be, with threads of its own, and that is all.
_PATIENCE = 1.0


def compute(nodes: Any, threads: int, concurrency: int | None = None) -> Any:
    """The values of nodes, or of a container with nodes, on a runtime with so many threads.

    The caller waits. If it is interrupted, as by Ctrl-C, the run is cancelled, and waited for until nothing
    of it is running; a second interruption ends that.

    Raises:
        BaseException: What `asyncgraph.compute` raises.
    """
    return run(_computed(nodes, threads, concurrency))


def run(coroutine: Coroutine[Any, Any, T]) -> T:
    """What a coroutine returns that runs on the loop of a bridge, in the caller's context; the caller waits.

    This may be called in whatever thread, also a bridge's own.
    """
    while True:
        with _bridge_for_here() as bridge:
            values = bridge.run(coroutine, _PATIENCE)
        if values:
            return values.pop()
        bridge.pass_over()


class _Bridge:
    """A loop in a thread of its own.

    Attributes:
        pid: The process that it belongs to; in a fork of that its thread is not there.
        thread: The thread.
        is_blocked: Whether something on its loop waits for another bridge.
        is_silent: Whether it has not begun what it was handed, and has done nothing since.
    """

    def __init__(self) -> None:
        self.pid = os.getpid()
        self.is_blocked = self.is_silent = False
        self._loop = asyncio.new_event_loop()
        self._runtimes: dict[tuple[int, int | None], Runtime] = {}
        self.thread = threading.Thread(target=self._serve, name="asyncgraph-dask", daemon=True)
        self.thread.start()

    def run(self, coroutine: Coroutine[Any, Any, T], patience: float | None = None) -> list[T]:
        """What a coroutine returns; or nothing, if the loop does not begin it for so many seconds."""
        handed, future = _Handed(coroutine, self._loop), None
        try:
            future = asyncio.run_coroutine_threadsafe(handed.begin(), self._loop)
            wait((future,), patience)
            return [] if not future.done() and handed.is_taken_back() else [future.result()]
        except BaseException:
            handed.end()
            raise
        finally:
            future = None  # it has the error, whose traceback has this frame

    def pass_over(self) -> None:
        """Take no more calls until the loop goes on."""
        self.is_silent = True
        self._loop.call_soon_threadsafe(self._go_on)

    def _go_on(self) -> None:
        self.is_silent = False

    def runtime(self, threads: int, concurrency: int | None) -> Runtime:
        """The runtime for so many threads and coroutines at once; on the loop."""
        runtime = self._runtimes.get((threads, concurrency))
        if runtime is None:
            own = (
                Runtime(threads=threads, concurrency=concurrency) if concurrency else Runtime(threads=threads)
            )
            runtime = self._runtimes[threads, concurrency] = own
            runtime.open_on(self._loop)
        return runtime

    def close(self) -> None:
        """End all that it has started; nothing may be running on it."""
        self.run(self._close_runtimes())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self.thread.join()

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


class _Handed:
    """A coroutine that a loop is to begin, unless it is taken back before.

    Args:
        coroutine: The coroutine.
        loop: The loop.
    """

    def __init__(self, coroutine: Coroutine[Any, Any, Any], loop: asyncio.AbstractEventLoop) -> None:
        self._coroutine = coroutine
        self._loop = loop
        # Whoever takes this out, the loop or the caller, decides.
        self._unbegun = [coroutine]
        self._over = threading.Event()
        self._aio_task: asyncio.Task[Any] | None = None

    async def begin(self) -> Any:
        """What the coroutine returns; on the loop."""
        try:
            coroutine = self._unbegun.pop()
        except IndexError:  # it was taken back
            return None
        self._aio_task = asyncio.current_task()
        try:
            return await coroutine
        finally:
            self._aio_task = None  # it will have the error, whose traceback has the frame that has this
            self._over.set()

    def is_taken_back(self) -> bool:
        """Take it back, if it has not begun; whether that was so."""
        try:
            del self._unbegun[0]
        except IndexError:
            return False
        self._over.set()
        return True

    def end(self) -> None:
        """Let nothing of it be running when this returns: the caller was interrupted, or it has failed."""
        if self.is_taken_back():
            self._coroutine.close()
        elif not self._over.is_set():
            self._loop.call_soon_threadsafe(self._cancel)
            self._over.wait()

    def _cancel(self) -> None:
        if self._aio_task is not None:
            self._aio_task.cancel()


# In order of making: each is for when the loops of those before it are blocked.
_bridges: list[_Bridge] = []
_lock = threading.Lock()


@contextlib.contextmanager
def _bridge_for_here() -> Iterator[_Bridge]:
    """The bridge for a call that is made here."""
    with _lock:
        _forget_those_of_the_parent()
        own = _bridge_of_here()
        if own is not None:
            own.is_blocked = True
        bridge = next((each for each in _bridges if not (each.is_blocked or each.is_silent)), None)
        if bridge is None:
            bridge = _Bridge()
            _bridges.append(bridge)
    try:
        yield bridge
    finally:
        if own is not None:
            own.is_blocked = False


def _bridge_of_here() -> _Bridge | None:
    """The bridge whose thread this is."""
    return next((each for each in _bridges if each.thread is threading.current_thread()), None)


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


async def _computed(nodes: Any, threads: int, concurrency: int | None) -> Any:
    bridge = _bridge_of_here()
    assert bridge is not None, "this runs on the loop of a bridge"
    return await bridge.runtime(threads, concurrency).compute(nodes)
