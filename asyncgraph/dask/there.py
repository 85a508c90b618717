"""What a Dask worker does for a node of a graph that has come to the cluster as a whole.

Coroutines run on the loop of a thread that each worker process has for them (see `bridge`), and not on the
worker's own loop, which has to answer the scheduler. The thread of the call waits for them. When Dask takes
a call back that has begun, its coroutine is cancelled, and `asyncgraph.cancelled()` says so in any other
function: Dask itself stops nothing.

Imported by workers only.
"""

from __future__ import annotations

import asyncio
import functools
import inspect
import time
from collections.abc import Sequence
from contextvars import Context
from types import AsyncGeneratorType, GeneratorType
from typing import Any

from dask.sizeof import sizeof
from distributed import WorkerPlugin, get_worker

from asyncgraph._graph.node import Node
from asyncgraph._runtime.stopping import Scope, current, stop_within
from asyncgraph.dask.bridge import run
from asyncgraph.dask.calls import in_time
from asyncgraph.executors.base import without_own_frames
from asyncgraph.executors.packing import Packed, unpack
from asyncgraph.executors.travel import Held, Loaded, perform_loaded

__all__ = ["call_there"]

_PLUGIN = "asyncgraph"

# Bytes: functions that bring more than this with them are not kept from one call to the next.
_SMALL = 1 << 16

# A node is computed in place of its call; of generators nobody else could make anything.
_UNKEPT = (Node, GeneratorType, AsyncGeneratorType)


def call_there(
    key: str,
    function: Packed,
    packed: Packed,
    timeout: float | None,
    note: tuple[str, str] | None,
    *held: Held,
) -> Held:
    """Make the call of a node.

    Args:
        key: The key of the node.
        function: The function, and the context variables that it is to see.
        packed: Its arguments.
        timeout: After so many seconds a coroutine is cancelled, and the call has failed.
        note: Under which topic to tell when it begins and ends, and of which run; None for nobody.
        held: What the arguments take of other results.

    Raises:
        Reply: It has failed, or has returned a node.
    """
    worker = get_worker()
    name = worker.get_current_task()
    call = _Call(worker, str(name))

    def load(values: Sequence[Any]) -> Loaded:
        is_small = len(function.data) < _SMALL and not function.buffers
        called, variables = _kept(bytes(function.data)) if is_small else function.load()
        args, kwargs = unpack(packed, values)
        return called, args, kwargs, [*variables, (current, call)]

    def finish(context: Context, value: Any) -> Any:
        if not inspect.iscoroutine(value):
            return value
        value, error = context.run(run, call.outcome(value, timeout, key))
        if error is not None:
            raise error
        return value

    began = time.time()
    if note is not None:
        worker.log_event(note[0], [note[1], call.name, began, None, str(worker.name), None])
    result = None
    try:
        with call:
            result = perform_loaded(key, load, held, _UNKEPT, finish, is_whole=True)
            return result
    finally:
        if note is not None:
            ended, size = time.time(), None if result is None else _size_of(result)
            worker.log_event(note[0], [note[1], call.name, began, ended, str(worker.name), size])


def _size_of(result: Held) -> int | None:
    """The size of a result in bytes; None if its type cannot tell: that is no reason for its call to fail."""
    try:
        return int(sizeof(result))
    except BaseException:  # the user's code
        return None


@functools.lru_cache(maxsize=256)
def _kept(data: bytes) -> Any:
    """A function and its context variables, unpickled once for many calls."""
    return Packed(data).load()


class _Call(Scope):
    """A call that is going on in this worker: what is asked whether it is to stop.

    Attributes:
        name: The name of its Dask task.
    """

    def __init__(self, worker: Any, name: str) -> None:
        self.name = name
        self.is_stopping = self.has_ended = False
        self.outer: Scope | None = None
        self.loop: asyncio.AbstractEventLoop = worker.loop.asyncio_loop
        self._worker = worker
        self._coroutine: asyncio.Task[Any] | None = None

    def __enter__(self) -> None:
        """It begins."""
        stops = _Stops.of(self._worker)
        stops.calls[self.name] = self
        # It may have been taken back before there was anybody to be told.
        task = self._worker.state.tasks.get(self.name)
        if task is None or task.state == "cancelled":
            self.stop()

    def __exit__(self, *_: object) -> None:
        """It is over."""
        self.has_ended = True
        _Stops.of(self._worker).calls.pop(self.name, None)

    def stop(self) -> None:
        """It is to stop; from any thread."""
        self.is_stopping = True
        stop_within(self)
        coroutine = self._coroutine
        if coroutine is not None:
            coroutine.get_loop().call_soon_threadsafe(coroutine.cancel)

    async def outcome(self, coroutine: Any, timeout: float | None, key: str) -> Any:
        """Run the coroutine that the call has returned; returns its value and None, or None and its error."""
        self._coroutine = asyncio.current_task()
        try:
            if self.is_stopping:
                coroutine.close()
                raise asyncio.CancelledError
            return await in_time(coroutine, timeout, key), None
        except BaseException as error:
            return None, without_own_frames(error)


class _Stops(WorkerPlugin):
    """Hears when Dask takes a call back that has begun.

    Attributes:
        calls: The calls that are going on in the worker, by the names of their tasks.
    """

    def __init__(self) -> None:
        self.calls: dict[str, _Call] = {}

    @classmethod
    def of(cls, worker: Any) -> _Stops:
        """The one of a worker, which gets it when it is first asked for; in a thread of the worker's."""
        known = worker.plugins.get(_PLUGIN)
        if known is None:
            adding = asyncio.run_coroutine_threadsafe(_added(worker, cls), worker.loop.asyncio_loop)
            known = adding.result()
        assert isinstance(known, cls)
        return known

    def transition(self, key: Any, start: str, finish: str, **_: Any) -> None:
        """A task of the worker has come from one state into another."""
        call = self.calls.get(key)
        # Dask would like it to be released, and waits until it is over.
        if call is not None and start in ("executing", "long-running") and finish == "released":
            call.stop()


async def _added(worker: Any, plugin: type[_Stops]) -> _Stops:
    if _PLUGIN not in worker.plugins:
        await worker.plugin_add(plugin(), name=_PLUGIN)
    added: _Stops = worker.plugins[_PLUGIN]
    return added
