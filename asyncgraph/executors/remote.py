"""Calls that an engine on other machines makes, as Dask or Ray: how they are handed over, and come back.

What an engine can do is said by `Engine`: to run a call, to fetch a result, and to tell in our words what it
raises itself. Here it is decided when it does that. A result that only other calls on the same cluster need
stays there: the loop gets a `Remote` in its place, and keeps that as it would keep the value.

Everything here happens on the thread of the event loop; an engine may have a loop of its own, in another
thread.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Coroutine, Mapping, Sequence
from contextvars import Context
from typing import TYPE_CHECKING, Any, Protocol

from asyncgraph.executors.base import Call, Deliver, failure_of

if TYPE_CHECKING:
    from asyncgraph.executors.packing import Packed
    from asyncgraph.executors.travel import Held

__all__ = ["BOTH", "HERE", "THERE", "AwayCall", "Engine", "Errand", "Remote", "RemoteExecutor", "RunsCalls"]

HERE, THERE, BOTH = "here", "there", "both"
"""Where a result is needed: on the loop, on the cluster, or both."""


class Remote:
    """Stands for a value that has stayed on a cluster.

    Attributes:
        handle: What the engine knows it by. When the last of these is gone, the cluster drops the value.
    """

    __slots__ = ("handle",)

    def __init__(self, handle: Any) -> None:
        self.handle = handle


class AwayCall(Call):
    """A call that goes to a cluster.

    Attributes:
        needed: Asked when the call has succeeded: where its result is needed, by one of the words above.
        priority: Higher goes first, where the engine knows that.
        resources: How much the call takes of what workers have, by name.
        stayed: The value on the cluster, if it was delivered and is needed there as well.
    """

    __slots__ = ("needed", "priority", "resources", "stayed")

    needed: Callable[[], str]
    priority: float
    resources: Mapping[str, float]
    stayed: Remote | None


class Engine(Protocol):
    """What runs calls on other machines."""

    @property
    def loop(self) -> asyncio.AbstractEventLoop:
        """The loop that its coroutines are to run on."""
        ...

    def check(self, loop: asyncio.AbstractEventLoop) -> None:
        """Raise if it cannot be used, or not from this loop."""

    async def run(self, call: AwayCall, packed: Packed, handles: Sequence[Any]) -> Any:
        """Let it make a call; when this is cancelled, so is the call there.

        Returns:
            The handle of its result.

        Raises:
            Reply: The call has failed, or has returned a node.
        """

    async def fetch(self, handle: Any) -> Held:
        """Bring a result here."""
        ...

    def has(self, handle: Any) -> bool:
        """Whether it has what this handle, perhaps of another engine, stands for; it can be used."""
        ...

    def explained(self, error: BaseException, key: str) -> BaseException:
        """What is raised for an error of the engine's own, or that error itself."""
        ...

    async def aclose(self) -> None:
        """End what is still going on in the background."""


class RunsCalls(Protocol):
    """What a user gives to a runtime under a name: an executor of asyncgraph's that is not one of its own.

    Attributes:
        slots: How many calls it has at once.
        knows_resources: Whether calls may have `resources=`.
    """

    slots: int
    knows_resources: bool

    def bind(self, loop: asyncio.AbstractEventLoop) -> RemoteExecutor:
        """The executor for the runs of one runtime, on its loop; raises nothing."""
        ...


class RemoteExecutor:
    """Hands calls to an engine, and brings home what is needed here.

    Args:
        engine: The engine.
        slots: How many calls it has at once.
        loop: The loop that outcomes are delivered on.
        after_timeout: What becomes of a call whose time is up, for the message.
    """

    def __init__(
        self, engine: Engine, slots: int, loop: asyncio.AbstractEventLoop, after_timeout: str
    ) -> None:
        self.slots = slots
        self.after_timeout = after_timeout
        self._engine = engine
        self._loop = loop

    def start(self, call: AwayCall) -> Callable[[], bool]:
        """Hand over a call; raises nothing.

        Returns:
            What takes it back, and says whether there was still anything to take back. It is delivered then,
            too, as cancelled.
        """
        from asyncgraph.executors.packing import pack

        try:
            self._engine.check(self._loop)
            packed, handles = pack(call)
            call.args, call.kwargs = (), {}  # they are not kept here while the call is there
        except Exception as error:
            Errand(self._engine, self._loop, call.key, call.deliver).fail_soon(error)
            return _never
        return Errand(self._engine, self._loop, call.key, call.deliver).run(call, packed, handles)

    def has(self, remote: Remote) -> bool:
        """Whether calls can use a value that has stayed on a cluster, perhaps in an earlier run."""
        try:
            self._engine.check(self._loop)
        except Exception:
            return False
        return self._engine.has(remote.handle)

    def fetch(self, remote: Remote, key: str, deliver: Deliver) -> Callable[[], bool]:
        """Bring a value here that has stayed on the cluster; raises nothing."""
        try:
            self._engine.check(self._loop)
        except Exception as error:
            Errand(self._engine, self._loop, key, deliver).fail_soon(error)
            return _never
        return Errand(self._engine, self._loop, key, deliver).fetch(remote.handle)

    async def aclose(self) -> None:
        """The cluster goes on: whoever has made it closes it."""
        await self._engine.aclose()

    def close(self) -> None:
        """Likewise; nothing can be waited for."""


def _never() -> bool:
    return False


class Errand:
    """One call, or the way home of one result.

    Args:
        engine: The engine.
        loop: The loop at home.
        key: The key of the node.
        deliver: Called once, at home.
    """

    def __init__(self, engine: Engine, loop: asyncio.AbstractEventLoop, key: str, deliver: Deliver) -> None:
        self._engine = engine
        self._loop = loop
        self._key = key
        self._deliver = deliver
        self._call: AwayCall | None = None
        self._aio_task: asyncio.Task[Any] | None = None
        self._is_taken_back = False
        self._is_over = False

    def run(self, call: AwayCall, packed: Packed, handles: Sequence[Any]) -> Callable[[], bool]:
        """Let the engine make the call; returns what takes it back."""
        return self.ask(call, self._engine.run(call, packed, handles))

    def ask(self, call: AwayCall, work: Coroutine[Any, Any, Any]) -> Callable[[], bool]:
        """Let the engine do what gives the handle of the call's result; returns what takes the call back."""
        self._call = call
        self._begin(work, self._ran)
        return self._take_back

    def do(self, work: Coroutine[Any, Any, Any]) -> None:
        """Let the engine do something else; what that gives is delivered as it is."""
        self._begin(work, self._did)

    def fail_soon(self, error: Exception) -> None:
        """The engine cannot be used."""
        self._loop.call_soon(self._deliver, None, failure_of(error, self._key), context=Context())

    def fetch(self, handle: Any) -> Callable[[], bool]:
        """Bring the result home; returns what gives that up."""
        self._begin(self._engine.fetch(handle), self._fetched)
        return self._take_back

    def _take_back(self) -> bool:
        if self._is_over or self._is_taken_back:
            return False
        self._is_taken_back = True
        with contextlib.suppress(RuntimeError):  # its loop is closed, and with it all its tasks were ended
            self._on_engine(self._cancel)
        return True

    def _cancel(self) -> None:
        if self._aio_task is not None:
            self._aio_task.cancel()

    # -- on the engine's loop

    def _on_engine(self, step: Callable[[], None]) -> None:
        if self._engine.loop is self._loop:
            step()
        else:
            self._engine.loop.call_soon_threadsafe(step, context=Context())

    def _begin(
        self, work: Coroutine[Any, Any, Any], then: Callable[[Any, BaseException | None], None]
    ) -> None:
        """Do the work on the engine's loop, and then something with its outcome at home."""

        def begin() -> None:
            self._aio_task = aio_task = self._engine.loop.create_task(work, context=Context())
            aio_task.add_done_callback(ended, context=Context())

        def ended(aio_task: asyncio.Task[Any]) -> None:
            value, error = _outcome_of(aio_task)
            if self._engine.loop is self._loop:
                then(value, error)
                return
            with contextlib.suppress(RuntimeError):  # nobody is at home any more
                self._loop.call_soon_threadsafe(then, value, error, context=Context())

        try:
            self._on_engine(begin)
        except RuntimeError as error:  # the engine's loop is closed
            work.close()
            self._loop.call_soon(then, None, error, context=Context())

    # -- at home

    def _ran(self, handle: Any, error: BaseException | None) -> None:
        """The engine has made the call."""
        from asyncgraph.executors.travel import Reply

        call = self._call
        assert call is not None
        if error is None and not self._is_taken_back:
            needed = call.needed()
            if needed == THERE:
                self._conclude(Remote(handle), None)
                return
            if needed == BOTH:
                call.stayed = Remote(handle)
            self._begin(self._engine.fetch(handle), self._fetched)
        elif isinstance(error, Reply):
            outcome = [error.outcome(self._key)]
            del error  # no frame that goes on holds what the error refers to
            self._conclude(*outcome.pop())
        else:
            self._fail(error)

    def _did(self, value: Any, error: BaseException | None) -> None:
        """The engine has done what it was to do."""
        if error is not None:
            self._fail(error)
        else:
            self._conclude(value, None)

    def _fetched(self, held: Held, error: BaseException | None) -> None:
        """The result has come."""
        if error is not None or self._is_taken_back:
            self._fail(error)
            return
        self._conclude(*held.outcome(self._key))

    def _fail(self, error: BaseException | None) -> None:
        """The engine has failed, or the call was cancelled."""
        if error is None or self._is_taken_back or self._is_shutdown(error):
            error = asyncio.CancelledError()
        else:
            error = failure_of(self._engine.explained(error, self._key), self._key)
        self._conclude(None, error)

    def _is_shutdown(self, error: BaseException) -> bool:
        """Whether our own loop is being shut down, and cancels all of its tasks."""
        return isinstance(error, asyncio.CancelledError) and self._engine.loop is self._loop

    def _conclude(self, value: Any, error: BaseException | None) -> None:
        if not self._is_over:
            self._is_over = True
            self._aio_task = self._call = None
            self._deliver(value, error)


def _outcome_of(aio_task: asyncio.Task[Any]) -> tuple[Any, BaseException | None]:
    if aio_task.cancelled():
        return None, asyncio.CancelledError()
    error = aio_task.exception()
    return (None, error) if error is not None else (aio_task.result(), None)
