"""`DaskExecutor`: the calls of some nodes go to a Dask cluster, while coroutines and threads stay at home.

Dask gets one task for each call. What it needs of results that are on the cluster goes as futures, so that
the workers move the data among themselves. Here it is decided how a call becomes a task of Dask's, and what
Dask's own errors mean; when that is done, and what comes home, is decided in `executors/remote.py`.
"""

from __future__ import annotations

import asyncio
import contextlib
import uuid
from collections.abc import Sequence
from concurrent.futures import CancelledError as FutureCancelled
from contextvars import Context
from typing import TYPE_CHECKING, Any

from asyncgraph._runtime.options import whole_number
from asyncgraph.errors import RuntimeClosedError, SerializationError, WorkerCrashedError
from asyncgraph.executors.dask_frames import moved_in_frames
from asyncgraph.executors.remote import AwayCall, RemoteExecutor
from asyncgraph.executors.safe_text import describe_error, safe_repr

if TYPE_CHECKING:
    from distributed import Client

    from asyncgraph.executors.packing import Packed
    from asyncgraph.executors.travel import Held

__all__ = ["AFTER_TIMEOUT", "LARGE", "DaskEngine", "DaskExecutor", "checked_client"]

# Calls at once: enough for the workers of a large cluster to have some in line, which is also what clusters
# that grow by themselves go by; and few enough for the scheduler and this process not to hold all of a large
# graph.
_IN_FLIGHT = 1000

# Bytes: from this size on the arguments of a call go to a worker ahead of it. Dask's scheduler would have to
# keep them otherwise, which it warns of from ten times as much on.
LARGE = 1 << 20

# How often a value is asked for, if others cancel what Dask has joined with it.
_ATTEMPTS = 3

# What Dask says of a task that needs data which were lost, and were sent to a worker from outside.
_FORGOTTEN = "already forgotten"

AFTER_TIMEOUT = (
    "it was cancelled in executor {executor}, and what has begun in a thread of a worker goes on there by "
    "itself"
)


class DaskExecutor:
    """Runs calls on a Dask cluster: given to a runtime under a name, for functions with that `executor=`.

    Under the name "process" it replaces the worker processes of the runtime, so that a graph needs no change.
    Only these calls go to the cluster; coroutines and threads stay here.

    Results that only other calls on the cluster need stay there, as futures, and workers move them among
    themselves. What the loop needs comes home when its call has finished: a value that was asked for, or that
    a node elsewhere takes. What is on the cluster is let go of as soon as nothing needs it any more, also
    when a run fails or is cancelled. One that was begun with `start` and has not finished keeps it, to be
    resumed, as long as anybody has the run: `await run.fetch(node)` brings a value home.

    `retries=` are those of asyncgraph, and `timeout=` counts from when a call is handed over. When a call is
    cancelled, or late, so is its future; Dask begins nothing of it then, but what has begun in a thread of a
    worker goes on by itself. A worker that dies is Dask's to recover: it begins what was running there once
    more elsewhere, three times by default, and `WorkerCrashedError` says if that did not help, or if what is
    lost came from here and is large (1 MB). With `retries_on_crash=` the call is sent again then, so many
    times at most; what it takes is kept here until it is over. `isolate=` has no effect.

    asyncgraph has to be installed where the scheduler and the workers run.

    Args:
        client: A client of the cluster: one with `asynchronous=True` of the loop that the runtime is on, or a
            plain one, which has a loop in a thread of its own. It is the caller's: nobody else closes it.
        in_flight: How many calls are handed over at once, at most; Dask decides which of them run.

    Raises:
        ImportError: Dask's `distributed` is not installed.
        TypeError: `client` is no Dask client, or `in_flight` no number.
        ValueError: `in_flight` is less than 1.

    Example:
        >>> from asyncgraph import Runtime, delayed
        >>> from asyncgraph.dask import DaskExecutor
        >>> from distributed import Client
        >>> async def total(client: Client) -> int:
        ...     async with Runtime(executors={"process": DaskExecutor(client)}):
        ...         return await delayed(sum, executor="process")([1, 2, 3])
        >>> async with Client(processes=False, asynchronous=True, dashboard_address=":0") as client:
        ...     print(await total(client))
        6
    """

    knows_resources = True

    def __init__(self, client: Client, *, in_flight: int = _IN_FLIGHT) -> None:
        self._client = checked_client("DaskExecutor", client)
        self.slots = whole_number("in_flight", in_flight)

    def bind(self, loop: asyncio.AbstractEventLoop) -> RemoteExecutor:
        """The executor for runs on this loop: for the runtime."""
        return RemoteExecutor(DaskEngine(self._client), self.slots, loop, AFTER_TIMEOUT)

    def __repr__(self) -> str:
        return f"<DaskExecutor of {self._client!r}>"


def checked_client(what: str, client: object) -> Any:
    """The client that `what` was given, if it is one.

    Raises:
        ImportError: Dask's `distributed` is not installed.
        TypeError: It is something else.
    """
    try:
        import distributed
    except ImportError as error:
        raise ImportError(f"{what} needs Dask: pip install 'asyncgraph[dask]'") from error
    if not isinstance(client, distributed.Client):
        raise TypeError(f"{what} takes a dask.distributed.Client, not {safe_repr(client)}")
    return client


class DaskEngine:
    """Dask, as an `Engine`."""

    def __init__(self, client: Any) -> None:  # a Client; nearly nothing of it is typed
        from asyncgraph.executors.packing import Packed
        from asyncgraph.executors.travel import Held

        for kind in (Packed, Held):  # which may have been imported before Dask was
            moved_in_frames(kind)
        self._client = client
        # What is being sent, and what is being gathered, also when the call has been cancelled meanwhile.
        self._sending: set[asyncio.Task[Any]] = set()
        self._fetching: set[asyncio.Task[Any]] = set()

    @property
    def loop(self) -> asyncio.AbstractEventLoop:
        """See `Engine`: the client's."""
        loop: asyncio.AbstractEventLoop = self._client.loop.asyncio_loop
        return loop

    def check(self, loop: asyncio.AbstractEventLoop) -> None:
        """See `Engine`."""
        if self._client.status in ("closing", "closed"):
            raise RuntimeClosedError(_closed("the Dask cluster cannot be reached"))
        # Not `asynchronous`, which says how it would behave in the present loop.
        if self._client._asynchronous and self.loop is not loop:
            raise RuntimeError(
                "the Dask client of this executor belongs to another event loop: make one in this loop, or a "
                "plain one, without asynchronous=True"
            )

    async def run(self, call: AwayCall, packed: Packed, handles: Sequence[Any]) -> Any:
        """See `Engine`: let Dask make the call; the handle is its future."""
        from asyncgraph._runtime.away import call_away

        sent = await self.sent(packed) if packed.size >= LARGE else packed
        future = self._client.submit(
            call_away,
            call.key,
            sent,
            *handles,
            key=f"{call.key}-{uuid.uuid4().hex}",
            pure=False,
            priority=call.priority,
            resources=dict(call.resources) or None,
        )
        outcome = self.outcome(future)
        del sent, packed, handles, call
        del future  # an error's traceback has this frame, and the future holds the error
        return await outcome

    async def outcome(self, handle: Any) -> Any:
        """Wait for a call that the cluster has; when this is cancelled, so is the call."""
        try:
            error = await handle.exception(asynchronous=True)
        except asyncio.CancelledError:
            await self.cancel([handle])
            raise
        if error is not None:
            del handle  # which would be in the error's traceback, and hold the error itself
            raise error
        if handle.status != "finished":
            await handle  # which raises why
        return handle

    async def cancel(self, handles: Sequence[Any]) -> None:
        """Take calls back; those are left out that were taken back before."""
        live = [each for each in handles if each.status != "cancelled"]
        if live:
            # It only says so, and does not wait: so it is done in any case, also when the scheduler is slow.
            with contextlib.suppress(Exception):  # the client is closed, and the scheduler has let go of all
                await self._client.cancel(live, force=True, asynchronous=True)

    async def sent(self, packed: Packed) -> Any:
        """Send large arguments to a worker; returns the future that stands for them."""
        sending = self._client.scatter(packed, hash=False, asynchronous=True)
        aio_task = self._apart(sending, self._sending)
        try:
            return await asyncio.shield(aio_task)
        except asyncio.CancelledError:
            # It is not stopped in the middle: nobody would let go of what has arrived then.
            aio_task.add_done_callback(_let_go, context=Context())
            raise

    async def fetch(self, handle: Any) -> Held:
        """See `Engine`: gather a result.

        Dask joins what is to be gathered at about the same time, whoever has asked for it, and to cancel one
        cancels all. So none is cancelled here, and one that somebody else has cancelled is asked for again.
        """
        for _ in range(_ATTEMPTS):
            self.check(self.loop)
            aio_task = self._apart(self._client.gather(handle, asynchronous=True), self._fetching)
            try:
                held: Held = await asyncio.shield(aio_task)
            except asyncio.CancelledError:
                if _is_cancelled():
                    raise
            else:
                return held
        raise FutureCancelled("whatever was gathered with it was cancelled, time and again")

    def _apart(self, awaitable: Any, among: set[asyncio.Task[Any]]) -> asyncio.Task[Any]:
        """A task of its own for what is not to be cancelled, which is among these until it is done."""
        aio_task = self.loop.create_task(_awaited(awaitable), context=Context())
        among.add(aio_task)
        aio_task.add_done_callback(among.discard)
        aio_task.add_done_callback(_had, context=Context())
        return aio_task

    def has(self, handle: Any) -> bool:
        """See `Engine`: a future of this client, whose value has not been lost since."""
        return getattr(handle, "client", None) is self._client and handle.status == "finished"

    def explained(self, error: BaseException, key: str) -> BaseException:
        """See `Engine`: which of Dask's errors mean what."""
        from distributed.scheduler import KilledWorker

        explained: BaseException
        if isinstance(error, KilledWorker):
            explained = WorkerCrashedError(
                f"{key} was running on Dask workers each time that one of them died: "
                f"{error.allowed_failures + 1} in all, the last one at {error.last_worker.address}. Dask "
                "begins it no more; why they died is in their logs (memory, most often). How often it tries "
                "is set by distributed.scheduler.allowed-failures"
            )
        elif self._client.status in ("closing", "closed"):
            explained = RuntimeClosedError(_closed(f"{key} was lost"))
        elif getattr(error, "reason", None) == _FORGOTTEN:
            explained = WorkerCrashedError(
                f"{key} was lost by the Dask cluster with a worker: it takes something that was sent there "
                "from here because it is large (1 MB), or that was made of such, and Dask cannot make that "
                "again. retries_on_crash= sends again what came from here"
            )
        elif isinstance(error, FutureCancelled | asyncio.CancelledError):
            explained = WorkerCrashedError(f"{key} was lost by the Dask cluster: {_why(error)}")
        elif isinstance(error, OSError):
            explained = WorkerCrashedError(
                f"{key} was lost: the connection to the Dask cluster has broken ({describe_error(error)})"
            )
        elif isinstance(error, ImportError) and (error.name or "").startswith("asyncgraph"):
            explained = SerializationError(
                f"{key} could not be unpickled on the Dask cluster, where asyncgraph cannot be imported "
                f"({describe_error(error)}): the same version has to be installed for its scheduler and "
                "workers",
                stage="arg-unpickle",
            )
        else:
            return error
        explained.__cause__ = error.with_traceback(None)  # which is Dask's, and holds its futures
        return explained

    async def aclose(self) -> None:
        """See `Engine`: give up what is still being sent. What is being gathered is the client's."""
        if self._sending and self.loop is asyncio.get_running_loop():
            sending = list(self._sending)
            for aio_task in sending:
                aio_task.cancel()
            await asyncio.wait(sending)


async def _awaited(awaitable: Any) -> Any:
    return await awaitable


def _had(aio_task: asyncio.Task[Any]) -> None:
    """Nobody need be told of its error, if nobody waits for it any more."""
    if not aio_task.cancelled():
        aio_task.exception()


def _is_cancelled() -> bool:
    """Whether the task that is running has been cancelled."""
    aio_task = asyncio.current_task()
    return aio_task is not None and aio_task.cancelling() > 0


def _let_go(sent: asyncio.Task[Any]) -> None:
    """What nobody wants any more has been sent."""
    if not sent.cancelled() and sent.exception() is None:
        sent.result().release()


def _closed(what: str) -> str:
    return (
        f"{what}: its Dask client is closed; keep the client open for as long as the runtime, or make "
        "another one, if it has closed because its scheduler is gone"
    )


def _why(error: BaseException) -> str:
    reason = getattr(error, "reason", None)
    return describe_error(error) if reason in (None, "unknown") else f"{reason} ({describe_error(error)})"
