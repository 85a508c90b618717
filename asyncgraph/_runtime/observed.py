"""A run as its observers see it: see `ObservedRun`."""

from __future__ import annotations

import contextlib
import itertools
import time
import weakref
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from operator import attrgetter
from typing import TYPE_CHECKING, Any

from asyncgraph._graph.function import Function
from asyncgraph._graph.graph import Graph
from asyncgraph._graph.node import Node, key_of
from asyncgraph._graph.scheduler import CANCELLED, FAILED, FINISHED, RELEASED, RUNNING
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

_function_of = attrgetter("_function")


class View:
    """What observers may ask of a run. Once that is over, it keeps nothing of it but numbers.

    Args:
        run: The run.
        execution: Its execution.
        requested: The nodes that were asked for.
        runtime: The runtime.
        outer: The run that it was begun in a node of, and the key of that node; or None.
        age: How many seconds ago it was begun.
    """

    def __init__(
        self,
        run: Run[Any],
        execution: Execution,
        requested: Sequence[Node[Any]],
        runtime: Any,
        outer: tuple[View, str] | None,
        age: float,
    ) -> None:
        self.id = next(_ids)
        self.began = time.perf_counter() - age
        self.wall_time = time.time() - age
        self.runtime = runtime
        self.outer = outer
        keys = [key_of(node) for node in requested[:_NAMED]]
        more = len(requested) - len(keys)
        self.name = ", ".join(keys) + (f" and {more} more" if more else "") or "nothing"
        self._run: Run[Any] | None = run
        self._execution: Execution | None = execution
        self._requested = [weakref.ref(node) for node in requested]
        self._progress = _Progress()
        self._statistics: Statistics

    def __repr__(self) -> str:
        return f"<run {self.id} of {self.name}>"

    def observers(self) -> Sequence[AnyObserver]:
        """Who is told of the run."""
        audience = None if self._run is None else self._run.audience
        return () if audience is None else audience.observers

    def statistics(self) -> Statistics:
        """See `ObservedRun`."""
        run = self._run
        return self._statistics if run is None else run.statistics()

    def progress(self) -> list[FunctionProgress]:
        """See `ObservedRun`."""
        execution = self._execution
        if execution is not None:
            self._progress.look(execution)
        return self._progress.rows

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
        return self._looked_for(lambda execution: execution.task_on_loop())

    def in_thread(self, ident: int) -> NodeInfo | None:
        """The node that a thread of this process is in at this moment, as `on_loop` tells it."""
        return self._looked_for(lambda execution: execution.task_in(ident))

    def _looked_for(self, look: Callable[[Execution], int | None]) -> NodeInfo | None:
        from asyncgraph._runtime.teller import Infos

        execution = self._execution
        if execution is None or execution.is_over:
            return None
        # All of it may change meanwhile, or be let go of.
        with contextlib.suppress(AttributeError, LookupError, RuntimeError):
            task = look(execution)
            if task is not None:
                return Infos((), ()).describe(task, execution.nodes[task], ())
        return None

    def end(self) -> None:
        """Take down how far the run has come, and let go of it."""
        assert self._run is not None
        self.progress()
        self._statistics = self._run.statistics()
        self._run = self._execution = None


class _Progress:
    """How far the functions of an execution are: counted when somebody looks.

    Attributes:
        rows: As of the last look.
    """

    def __init__(self) -> None:
        self.rows: list[FunctionProgress] = []
        # What has been counted by now: so many nodes, by function.
        self._counted = 0
        self._totals: Counter[Function] = Counter()
        self._order: dict[str, None] = {}
        # Of the straight way: so many nodes have been begun.
        self._passed = 0
        self._begun: Counter[Function] = Counter()

    def look(self, execution: Execution) -> None:
        """Count anew; if the execution ends amid that, it stays as it was."""
        try:
            nodes = execution.nodes
            self._count_nodes(nodes)
            if execution.is_scheduled:
                counts = _by_state(nodes, execution.scheduler.state)
            else:
                counts = self._by_position(nodes, execution)
        except AttributeError:  # from another thread: the execution has let go of what it had
            return
        self.rows = self._rows(counts)

    def _count_nodes(self, nodes: Sequence[Node[Any]]) -> None:
        if len(nodes) > self._counted:
            self._totals.update(map(_function_of, nodes[self._counted :]))
            self._counted = len(nodes)
            for function in self._totals:
                if not function.is_value:
                    self._order.setdefault(function.name)

    def _by_position(self, nodes: Sequence[Node[Any]], execution: Execution) -> dict[int, Counter[Function]]:
        begun, running = execution.begun_straight()
        if begun == len(nodes):
            self._begun, self._passed = self._totals.copy(), begun
        elif begun > self._passed:
            self._begun.update(map(_function_of, nodes[self._passed : begun]))
            self._passed = begun
        now = Counter(nodes[task]._function for task in running)
        rest = CANCELLED if execution.is_stopping else -1
        return {FINISHED: self._begun - now, RUNNING: now, rest: self._totals - self._begun}

    def _rows(self, counts: dict[int, Counter[Function]]) -> list[FunctionProgress]:
        by_name: dict[str, list[int]] = {name: [0] * 5 for name in self._order}
        columns = [self._totals]
        columns += [counts.get(state, Counter()) for state in (RUNNING, FINISHED, FAILED, CANCELLED)]
        for index, column in enumerate(columns):
            for function, count in column.items():
                if not function.is_value and function.name in by_name:
                    by_name[function.name][index] += count
        return [FunctionProgress(name, *row) for name, row in by_name.items()]


def _by_state(nodes: Sequence[Node[Any]], states: Iterable[int]) -> dict[int, Counter[Function]]:
    """How many nodes of each function are in each state; those that are released have finished."""
    pairs = Counter(zip(states, map(_function_of, nodes), strict=False))
    counts: dict[int, Counter[Function]] = {}
    for (state, function), count in pairs.items():
        counts.setdefault(FINISHED if state == RELEASED else state, Counter())[function] += count
    return counts
