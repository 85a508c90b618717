"""A run as its observers see it: see `ObservedRun`."""

from __future__ import annotations

import contextlib
import itertools
import time
import weakref
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from asyncgraph._graph.graph import Graph
from asyncgraph._graph.node import Node, key_of
from asyncgraph._runtime.counting import Counting
from asyncgraph.observe.entered import AnyObserver
from asyncgraph.observe.events import FunctionProgress, NodeInfo
from asyncgraph.observe.statistics import Statistics

if TYPE_CHECKING:
    from asyncgraph._runtime.execution import Execution
    from asyncgraph._runtime.run import Run

__all__ = ["View"]

_ids = itertools.count(1)

# A name has so many keys at most.
_NAMED = 3

# So few nodes are looked at in no time: in less than 0.2 ms.
_FEW = 1_000


class View:
    """What observers may ask of a run. Once that is over, it keeps nothing of it but numbers.

    Args:
        run: The run.
        execution: Its execution.
        requested: The nodes that were asked for.
        runtime: The runtime.
        outer: The run that it was begun in a node of, and the key of that node; or None.
        began: When it was begun, on the clock of events.
    """

    def __init__(
        self,
        run: Run[Any],
        execution: Execution,
        requested: Sequence[Node[Any]],
        runtime: Any,
        outer: tuple[View, str] | None,
        began: float,
    ) -> None:
        self.id = next(_ids)
        self.began = began
        self.wall_time = time.time() - (time.perf_counter() - began)
        self.runtime = runtime
        self.outer = outer
        keys = [key_of(node) for node in requested[:_NAMED]]
        more = len(requested) - len(keys)
        self.name = ", ".join(keys) + (f" and {more} more" if more else "") or "nothing"
        self._run: Run[Any] | None = run
        self._execution: Execution | None = execution
        self._requested = [weakref.ref(node) for node in requested]
        self._counting = Counting()
        self._statistics: Statistics

    def __repr__(self) -> str:
        return f"<run {self.id} of {self.name}>"

    def observers(self) -> Sequence[AnyObserver]:
        """Who is told of the run."""
        audience = None if self._run is None else self._run.audience
        return () if audience is None else audience.observers

    def statistics(self) -> Statistics:
        """See `ObservedRun`."""
        while (run := self._run) is not None:
            try:
                return run.statistics()
            except AttributeError:  # in another thread: the execution is letting go of what it had
                continue
        return self._statistics

    def progress(self) -> list[FunctionProgress]:
        """See `ObservedRun`."""
        execution = self._execution
        if execution is not None:
            self._counting.look(execution)
        return self._counting.rows

    def graph(self) -> Graph:
        """See `ObservedRun`."""
        nodes = [node for each in self._requested if (node := each()) is not None]
        if len(nodes) < len(self._requested):
            raise RuntimeError("the graph is gone: the run is over, and nobody has kept its nodes")
        return Graph(nodes)

    def cancel(self) -> bool:
        """See `ObservedRun`."""
        run = self._run
        return run is not None and run.cancel()

    def description(self) -> str:
        """See `ObservedRun`."""
        run = self._run
        return f"Run of {self.name}: over\n" if run is None else run.description()

    def on_loop(self) -> NodeInfo | None:
        """The node that the loop is in at this moment; for any thread, and while the loop is blocked.

        None if it is in none of this run. What the node depends on is not told.
        """
        return self._looked_for(lambda execution: execution.overview.task_on_loop())

    def in_thread(self, ident: int) -> NodeInfo | None:
        """The node that a thread of this process is in at this moment, as `on_loop` tells it."""
        return self._looked_for(lambda execution: execution.overview.task_in(ident))

    def _looked_for(self, look: Callable[[Execution], int | None]) -> NodeInfo | None:
        from asyncgraph._runtime.teller import Infos

        execution = self._execution
        if execution is None or execution.is_over:
            return None
        # All of it may change meanwhile, or be let go of.
        with contextlib.suppress(AttributeError, LookupError, RuntimeError):
            task = look(execution)
            if task is not None:
                return Infos((), (), everywhere=execution.lanes.everywhere).describe(
                    task, execution.nodes[task], ()
                )
        return None

    def end(self) -> None:
        """Take down how far the run has come, and let go of it.

        Of a large one its functions are not looked at now if nobody has asked for them by the time that it
        was told to be over: that takes longer than anything else that is done for an observer.
        """
        assert self._run is not None
        self._statistics = self._run.statistics()
        if self._counting.was_asked or self._statistics.nodes <= _FEW:
            self.progress()
        self._run = self._execution = None
