"""Graphs that an engine on other machines is given as a whole, to go through them by itself.

What an engine can do with graphs is said by `GraphEngine`; how a single call travels, and what comes home of
it, is decided in `remote.py` as for all calls that engines make. Everything here happens on the thread of the
event loop.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

from asyncgraph.executors.base import Deliver
from asyncgraph.executors.remote import AwayCall, Engine, Errand, RemoteExecutor

if TYPE_CHECKING:
    from asyncgraph.executors.packing import Packed

__all__ = ["GraphCall", "GraphEngine", "GraphExecutor", "Hear", "Note"]


class GraphCall(NamedTuple):
    """One call of a graph.

    Attributes:
        name: What the engine is to know it by: like no other name that there ever was.
        key: The key of the node.
        function: The function and the context variables that it is to see; one for many calls.
        packed: Its arguments.
        inputs: What these take of other results: the name of a call or of a value of the same graph or an
            earlier one, or the handle of a result.
        timeout: After so many seconds a coroutine that the function has returned is cancelled.
        note: The run to which a word is to go when the call begins and when it ends; None for no word.
        priority: Higher goes first.
        resources: How much the call takes of what workers have, by name.
    """

    name: str
    key: str
    function: Packed
    packed: Packed
    inputs: Sequence[Any]
    timeout: float | None
    note: str | None
    priority: float
    resources: Mapping[str, float]


class Note(NamedTuple):
    """A word from a worker about a call.

    Attributes:
        name: The name of the call.
        began: When it began, on the clock of `time.perf_counter` here, as far as the clocks agree.
        ended: When it ended, likewise; None if it goes on.
        worker: The worker.
        size: The size of its value in bytes, if it has one and that is known.
    """

    name: str
    began: float
    ended: float | None
    worker: str
    size: int | None


Hear = Callable[[Note], None]


class GraphEngine(Engine, Protocol):
    """What runs graphs on other machines."""

    async def submit(self, calls: Sequence[GraphCall], values: Mapping[str, Packed]) -> list[Any]:
        """Hand over a graph; returns the handles of its calls, in their order.

        Args:
            calls: The calls, each behind those that it takes something of.
            values: What they take that nobody has to compute, by name.
        """
        ...

    async def outcome(self, handle: Any) -> Any:
        """Wait for a call of a graph; as `run`. When this is cancelled, so is the call there."""

    async def cancel(self, handles: Sequence[Any]) -> None:
        """Let these calls not begin, and stop what can be stopped of them."""

    def listen(self, run: str, hear: Hear) -> None:
        """Let notes about this run be heard, on the engine's own loop."""

    def listen_no_more(self, run: str) -> None:
        """Nobody needs these any more."""


class GraphExecutor(RemoteExecutor):
    """Hands whole graphs to an engine, and follows the calls.

    Args:
        engine: The engine.
        slots: How many calls are followed at once.
        loop: The loop that outcomes are delivered on.
        after_timeout: What becomes of a call whose time is up, for the message.
    """

    _engine: GraphEngine

    def hand_over(self, calls: Sequence[GraphCall], values: Mapping[str, Packed], deliver: Deliver) -> None:
        """Hand a graph over; the handles of its calls are delivered, or why there are none."""
        errand = Errand(self._engine, self._loop, calls[0].key, deliver)
        try:
            self._engine.check(self._loop)
        except Exception as error:
            errand.fail_soon(error)
            return
        errand.do(self._engine.submit(calls, values))

    def follow(self, call: AwayCall, handle: Any) -> Callable[[], bool]:
        """Wait for a call that the engine has been given with a graph; returns what takes it back."""
        return Errand(self._engine, self._loop, call.key, call.deliver).ask(
            call, self._engine.outcome(handle)
        )

    def give_up(self, handles: Sequence[Any], deliver: Deliver) -> None:
        """Take back what the engine has been given; delivers when it has been told."""
        Errand(self._engine, self._loop, "", deliver).do(self._engine.cancel(handles))

    def listen(self, run: str, hear: Hear) -> None:
        """Let what the workers say of the calls of a run be heard, on the loop."""
        engine, loop = self._engine, self._loop

        def hear_at_home(note: Note) -> None:
            if engine.loop is loop:
                hear(note)
            elif not loop.is_closed():
                loop.call_soon_threadsafe(hear, note)

        engine.listen(run, hear_at_home)

    def listen_no_more(self, run: str) -> None:
        """Nobody needs these any more."""
        self._engine.listen_no_more(run)
