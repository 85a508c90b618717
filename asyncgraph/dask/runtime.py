"""`DaskRuntime`: the whole graph goes to a Dask cluster, coroutines included.

It is a runtime of which all calls have one lane, that of an executor for graphs. What is sent when is decided
in `_runtime/ahead.py`; here it is decided how that becomes a graph of Dask's. What a worker does with a
call is in `there`.
"""

from __future__ import annotations

import asyncio
import time
import weakref
from collections.abc import Iterable, Mapping, Sequence
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any

from asyncgraph._graph.function import Function
from asyncgraph._runtime.lanes import INLINE, Lanes
from asyncgraph._runtime.runtime import Runtime, close_with_loop, running_loop
from asyncgraph.dask.executor import AFTER_TIMEOUT, LARGE, DaskEngine, checked_client
from asyncgraph.errors import GraphError
from asyncgraph.executors.graphs import GraphCall, GraphExecutor, Hear, Note
from asyncgraph.observe.entered import AnyObserver

if TYPE_CHECKING:
    from distributed import Client

    from asyncgraph.executors.packing import Packed

__all__ = ["DaskRuntime"]

_NAME = "dask"

# Calls that are followed at once. The cluster has them all; each that is followed costs a few kilobytes here.
_FOLLOWED = 1_000_000


class DaskRuntime(Runtime):
    """Sends whole graphs to a Dask cluster, and follows them from here.

    `await node.compute(runtime=DaskRuntime(client))` computes the graph on the cluster, as one Dask graph.
    Functions run in the threads of workers, whatever their `executor=`, and coroutine functions on a loop
    that each worker process has for them. Results stay there, and workers move them among themselves; what
    comes home is what was asked for, and what `when(...)` chooses by.

    Errors are the user's own, with the frames on the worker and a note. Observers are told of everything,
    also when calls have begun and ended on workers, and on which. `retries=` are made from here. `timeout=`
    counts from when a call begins: a coroutine is cancelled, and of any other call the future. When a run is
    cancelled, or a node fails, all futures are cancelled, always: coroutines are cancelled on their workers,
    `asyncgraph.cancelled()` tells functions, and what does not ask goes on by itself. A worker that dies is
    Dask's to recover: it begins what was running there once more elsewhere, three times by default, and
    `WorkerCrashedError` says if that did not help, or if what is lost came from here and is large (1 MB).
    With `retries_on_crash=` the call is sent again then, so many times at most. `isolate=` and
    `abandon_on_cancel=` have no effect; resources made by `resource` are refused.

    It needs no `async with` block, since it owns nothing: one may be made for each compute. Used as a block,
    it is the runtime of all that is computed inside. asyncgraph has to be installed where the scheduler and
    the workers run.

    Args:
        client: A client of the cluster: one with `asynchronous=True` of the loop that is running, or a plain
            one, which has a loop in a thread of its own. It is the caller's: nobody else closes it.
        context: Context variables whose values calls are to see, as they were at `compute()`; see `Runtime`.
        observers: Who is told of all runs on this runtime, beside those of the runs themselves.

    Raises:
        ImportError: Dask's `distributed` is not installed.
        TypeError: `client` is no Dask client, `context` no list of context variables, or `observers` no list
            of what can be called.
        ValueError: No module has a name for a variable in `context`.

    Example:
        >>> from asyncgraph import delayed
        >>> from asyncgraph.dask import DaskRuntime
        >>> from distributed import Client
        >>> @delayed
        ... async def fetch(number):
        ...     return number * 10
        >>> total = delayed(sum)([fetch(1), fetch(2)])
        >>> async with Client(processes=False, asynchronous=True, dashboard_address=":0") as client:
        ...     print(await total.compute(runtime=DaskRuntime(client)))
        30
    """

    _HOW_ELSEWHERE = "make a DaskRuntime for each loop, with a client of that loop"

    def __init__(
        self,
        client: Client,
        *,
        context: Sequence[ContextVar[Any]] = (),
        observers: Iterable[AnyObserver] = (),
    ) -> None:
        super().__init__(context=context, observers=observers)
        self._client = checked_client("DaskRuntime", client)

    def _made_lanes(self, loop: asyncio.AbstractEventLoop) -> Lanes:
        return _WholeLanes(_Graphs(self._client), loop, self._context)

    def _usable_lanes(self) -> Lanes:
        if self._loop is None and not self._is_of_parent():
            loop = running_loop()
            close_with_loop(self, loop)
            self.open_on(loop)
        return super()._usable_lanes()

    def __repr__(self) -> str:
        return f"<DaskRuntime of {self._client!r}>"


class _WholeLanes(Lanes):
    """Lanes of which one has all calls."""

    everywhere = _NAME

    def __init__(self, executor: _Graphs, loop: asyncio.AbstractEventLoop, context: Any) -> None:
        super().__init__(1, 1, 1, loop, context, {_NAME: executor})
        (self._whole,) = self.named

    def number_of(self, function: Function) -> int:
        """See `Lanes`: that of the cluster; choices are made here, and nothing is called for that."""
        if function.is_resource:
            raise GraphError(
                f"{function.name} is a resource, which is open in this process, and a DaskRuntime runs "
                "everything on a cluster: open it inside the functions that use it, or keep those here, with "
                "Runtime(executors={'process': DaskExecutor(client)})"
            )
        return INLINE if function.is_choice else self._whole


class _Graphs:
    """What the lane of the cluster is made of."""

    knows_resources = True
    slots = _FOLLOWED

    def __init__(self, client: Any) -> None:
        self._client = client

    def bind(self, loop: asyncio.AbstractEventLoop) -> GraphExecutor:
        """The executor for runs on this loop."""
        return GraphExecutor(_GraphEngine(self._client), self.slots, loop, AFTER_TIMEOUT)


class _GraphEngine(DaskEngine):
    """Dask, as a `GraphEngine`."""

    async def submit(self, calls: Sequence[GraphCall], values: Mapping[str, Packed]) -> list[Any]:
        """See `GraphEngine`: hand over one Dask graph."""
        from distributed.utils import offload

        sent: dict[int, Any] = {}
        for packed in [
            *values.values(),
            *(each.packed for each in calls),
            *(each.function for each in calls),
        ]:
            if packed.size >= LARGE and id(packed) not in sent:
                sent[id(packed)] = await self.sent(packed)
        topic = self._channel().topic if any(each.note for each in calls) else ""
        # In a thread: to pickle the graph takes a while, and to make so many futures.
        return list(await offload(self._submitted, calls, values, sent, topic))

    def _submitted(
        self, calls: Sequence[GraphCall], values: Mapping[str, Packed], sent: Mapping[int, Any], topic: str
    ) -> Any:
        from asyncgraph.dask.graphs import graph_of_calls

        graph = graph_of_calls(calls, values, sent, topic)
        return self._client.get(graph, [each.name for each in calls], sync=False)

    def listen(self, run: str, hear: Hear) -> None:
        """See `GraphEngine`."""
        self._channel().listeners[run] = hear

    def listen_no_more(self, run: str) -> None:
        """See `GraphEngine`."""
        self._channel().listeners.pop(run, None)

    def _channel(self) -> _Channel:
        channel = _channels.get(self._client)
        if channel is None:
            channel = _channels[self._client] = _Channel(self._client)
        return channel


class _Channel:
    """What workers say of the calls that a client has sent, from the first such call on.

    Attributes:
        topic: The topic.
        listeners: Who hears of each run.
    """

    def __init__(self, client: Any) -> None:
        self.topic = f"asyncgraph-{client.id}"
        self.listeners: dict[str, Hear] = {}
        client.subscribe_topic(self.topic, self._hear)

    def _hear(self, event: tuple[float, list[Any]]) -> None:
        _, (run, name, began, ended, worker, size) = event
        hear = self.listeners.get(run)
        if hear is None:
            return
        # Both clocks tell the time of day, if the machines agree on that.
        now, here = time.time(), time.perf_counter()
        since = here - max(now - began, 0.0)
        until = None if ended is None else max(here - max(now - ended, 0.0), since)
        hear(Note(name, since, until, f"worker {worker}", size))


_channels: weakref.WeakKeyDictionary[Any, _Channel] = weakref.WeakKeyDictionary()
