"""`RayExecutor`: the calls of some nodes go to Ray, while coroutines and threads stay at home.

Ray gets one task for each call. What it needs of results that are in Ray goes as object references. Here it
is decided how a call becomes a task of Ray's, and what Ray's own errors mean; when that is done, and what
comes home, is decided in `executors/remote.py`. Importing this does not import Ray.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from functools import cached_property
from importlib import import_module
from typing import TYPE_CHECKING, Any, NamedTuple

from asyncgraph._runtime.options import whole_number
from asyncgraph.errors import RuntimeClosedError, WorkerCrashedError
from asyncgraph.executors.remote import AwayCall, RemoteExecutor
from asyncgraph.executors.safe_text import describe_error

if TYPE_CHECKING:
    from asyncgraph.executors.packing import Packed
    from asyncgraph.executors.travel import Held

__all__ = ["RayExecutor"]

# Calls at once: as for Dask.
_IN_FLIGHT = 1000

_AFTER_TIMEOUT = "it was cancelled in executor {executor}, where the worker process that was at it is killed"

# What Ray has options of its own for.
_OPTIONS = {"CPU": "num_cpus", "GPU": "num_gpus", "memory": "memory"}


class RayExecutor:
    """Runs calls on Ray: given to a runtime under a name, for functions with that `executor=`.

    Ray is the caller's: `ray.init()` comes before, and `ray.shutdown()` after. Under the name "process" it
    replaces the worker processes of the runtime, so that a graph needs no change. Only these calls go to Ray;
    coroutines and threads stay here.

    Results that only other calls in Ray need stay there, as object references. What the loop needs comes home
    when its call has finished: a value that was asked for, or that a node elsewhere takes. A run that was
    begun with `start` and has not finished keeps what is in Ray, to be resumed, as long as anybody has it:
    `await run.fetch(node)` brings a value home. Arrays among the arguments of a call cannot be written to, as
    always with Ray.

    `retries=` are those of asyncgraph, and `timeout=` counts from when a call is handed over. When a call is
    cancelled, or late, so is its task (`ray.cancel`), and the worker process that is at it is killed. A
    worker that dies is Ray's to recover: it begins the task again, three times by default, and
    `WorkerCrashedError` says if that did not help. With `retries_on_crash=` the call is handed over again
    then, so many times at most. `priority=` and `isolate=` have no effect. Of `resources=`, "CPU", "GPU" and
    "memory" (bytes) are Ray's own, and all others custom ones.

    Args:
        in_flight: How many calls are handed over at once, at most; Ray decides which of them run.

    Raises:
        ImportError: Ray is not installed.
        TypeError: `in_flight` is no number.
        ValueError: `in_flight` is less than 1.

    Example:
        ```python
        import ray
        from asyncgraph import Runtime
        from asyncgraph.ray import RayExecutor

        ray.init()
        async with Runtime(executors={"process": RayExecutor()}):
            print(await report)
        ```
    """

    knows_resources = True

    def __init__(self, *, in_flight: int = _IN_FLIGHT) -> None:
        try:
            _ray()
        except ImportError as error:
            raise ImportError("RayExecutor needs Ray: pip install 'asyncgraph[ray]'") from error
        self.slots = whole_number("in_flight", in_flight)

    def bind(self, loop: asyncio.AbstractEventLoop) -> RemoteExecutor:
        """The executor for runs on this loop: for the runtime."""
        return RemoteExecutor(_RayEngine(loop), self.slots, loop, _AFTER_TIMEOUT)


class _Object(NamedTuple):
    """The handle of a result: a reference to an object, and since which `ray.init()` that is."""

    reference: Any
    session: tuple[str, str]


class _RayEngine:
    """Ray, as an `Engine`.

    Attributes:
        loop: The loop at home: Ray has threads of its own.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.loop = loop

    @cached_property
    def _call_away(self) -> Any:
        return _ray().remote(_call_away)

    def check(self, loop: asyncio.AbstractEventLoop) -> None:
        """See `Engine`."""
        if not _ray().is_initialized():
            raise RuntimeClosedError(
                "Ray is not running, or was shut down: call ray.init() first, and ray.shutdown() after the "
                "runtime"
            )

    async def run(self, call: AwayCall, packed: Packed, handles: Sequence[Any]) -> Any:
        """See `Engine`: let Ray make the call; the handle is an object reference."""
        ray = _ray()
        # Two results: the first says that there is the second, which need not come here for that.
        options = {"name": call.key, "num_returns": 2, **_ray_options(call.resources)}
        references = [each.reference for each in handles]
        done, held = self._call_away.options(**options).remote(call.key, packed, *references)
        del packed, handles, references, call
        try:
            await done
        except asyncio.CancelledError:
            # By force, which ends its worker: nothing else stops what waits, or is in a library.
            ray.cancel(done, force=True)
            raise
        except ray.exceptions.RayTaskError as error:
            cause = _reply_in(error)
        else:
            return _Object(held, _session())
        raise cause

    async def fetch(self, handle: _Object) -> Held:
        """See `Engine`: get an object."""
        if not self.has(handle):  # it would be waited for without end
            raise RuntimeClosedError("what is asked for was in Ray before ray.shutdown(), and is gone")
        held: Held = await handle.reference
        return held

    def has(self, handle: Any) -> bool:
        """See `Engine`: an object since the last `ray.init()`; one that was lost since, Ray makes anew."""
        return isinstance(handle, _Object) and handle.session == _session()

    def explained(self, error: BaseException, key: str) -> BaseException:
        """See `Engine`: which of Ray's errors mean what."""
        exceptions = _ray().exceptions
        died = (exceptions.WorkerCrashedError, exceptions.NodeDiedError, exceptions.OutOfMemoryError)
        explained: BaseException
        if isinstance(error, died):
            explained = WorkerCrashedError(
                f"{key} was running on Ray workers that died; Ray begins it no more ({_first_line(error)}). "
                "Why they died is in their logs (memory, most often)"
            )
        elif isinstance(error, exceptions.ObjectLostError):
            explained = WorkerCrashedError(f"{key} was lost by Ray: {_first_line(error)}")
        elif isinstance(error, exceptions.TaskCancelledError | asyncio.CancelledError):
            explained = WorkerCrashedError(f"{key} was cancelled in Ray, and not by its run")
        else:
            return error
        explained.__cause__ = error.with_traceback(None)
        return explained

    async def aclose(self) -> None:
        """See `Engine`: there is nothing."""


def _ray() -> Any:
    """Ray, which has no types that would help here."""
    return import_module("ray")


def _session() -> tuple[str, str]:
    """What is another after each `ray.init()`."""
    context = _ray().get_runtime_context()
    return context.get_job_id(), context.get_node_id()


def _call_away(key: str, packed: Packed, *held: Held) -> tuple[None, Held]:
    from asyncgraph._runtime.away import call_away

    return None, call_away(key, packed, *held)


def _reply_in(error: Any) -> BaseException:
    """What a task has raised, out of what Ray makes of it."""
    from asyncgraph.executors.travel import Reply

    cause: BaseException = error.cause
    return cause if isinstance(cause, Reply) else error


def _ray_options(resources: Mapping[str, float]) -> dict[str, Any]:
    options: dict[str, Any] = {_OPTIONS[name]: each for name, each in resources.items() if name in _OPTIONS}
    others = {name: each for name, each in resources.items() if name not in _OPTIONS}
    return {**options, "resources": others} if others else options


def _first_line(error: BaseException) -> str:
    return describe_error(error).partition("\n")[0]
