"""The picture of a run: drawn when its graph is known or has grown, and painted as its nodes go on.

To draw takes from milliseconds to seconds, in a thread, and what is drawn are shapes, each for one node or
for many that are alike. To paint is to count the states of the nodes of each shape, which is done on the
loop. The colors are up to the page.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from asyncgraph._graph.graph import Graph
from asyncgraph.observe.events import FunctionProgress, NodeInfo
from asyncgraph.observe.recorded import STATES, RecordedRun

if TYPE_CHECKING:
    from asyncgraph.observe._dashboard.state import KnownRun
    from asyncgraph.observe.drawing import Drawing

__all__ = ["MOST_DRAWN", "Picture"]

MOST_DRAWN = 20_000
"""Of a graph with more nodes there is no picture: to draw it would take too long while it runs."""

_LOOKED_AT_ONCE = 1_000
"""Nodes that are looked at in one go, which takes some milliseconds."""

# A graph that grows is drawn again when so many times as long has passed as the last drawing has taken.
_REST = 5.0

_INDEX = {state: index for index, state in enumerate(STATES)}


class Picture:
    """The picture of one run.

    Args:
        known: The run.

    Attributes:
        svg: The text of the `<svg>` element, or "" as long as there is none.
        drawn: How many times it was drawn.
        problem: Why there is no picture, or "".
    """

    def __init__(self, known: KnownRun) -> None:
        self.svg = ""
        self.drawn = 0
        self.problem = ""
        self._known = known
        self._drawing: Drawing | None = None
        self._names: dict[int, str] = {}
        self._shape_of = (0, 0)
        self._pending: asyncio.Future[Any] | None = None
        self._not_before = 0.0
        self._painted: tuple[bytes, int] | None = None
        self._paint: list[list[int]] = []

    @property
    def is_pending(self) -> bool:
        """Whether it is being drawn."""
        return self._pending is not None

    def look(self) -> None:
        """Have it drawn, if there is something new to draw; on the loop."""
        if self._pending is not None or time.perf_counter() < self._not_before:
            return
        recorded = self._known.recorded
        if recorded is None:
            self._look_at_graph()
        else:
            self._look_at_record(recorded)

    def paint(self) -> list[list[int]]:
        """For each shape, how many of its nodes are in each state; in the order of `STATES`."""
        if self._drawing is None:
            return []
        recorded = self._known.recorded
        if recorded is None:
            return self._painted_by_function(self._drawing)
        now = bytes(recorded.states), self.drawn
        if now != self._painted:
            self._paint = [_counts(recorded.states, shape.members) for shape in self._drawing.shapes]
            self._painted = now
        return self._paint

    # -- of a run whose nodes are recorded

    def _look_at_record(self, recorded: RecordedRun) -> None:
        shape_of = len(recorded), len(recorded.roots) + len(recorded.calls)
        if shape_of == self._shape_of or not len(recorded):
            return
        if len(recorded) + recorded.omitted > MOST_DRAWN:
            self.problem = f"{len(recorded) + recorded.omitted} nodes are too many to be drawn while they run"
            return
        if -1 in recorded.infos.kind_of:
            self._known.look(_LOOKED_AT_ONCE)
            if -1 in recorded.infos.kind_of:
                return
        self._shape_of = shape_of
        self._begin(lambda: [recorded.infos[number] for number in range(shape_of[0])])

    # -- of one that began while nobody looked

    def _look_at_graph(self) -> None:
        if self.drawn or self.problem:
            return
        if self._known.is_over:
            self.problem = "nobody looked when this run began: its nodes were not kept"
        elif (nodes := self._known.run.statistics().nodes) > MOST_DRAWN:
            self.problem = f"{nodes} nodes are too many to be drawn while they run"
        else:
            run = self._known.run
            self._begin(lambda: _infos_of(run.graph()))

    def _painted_by_function(self, drawing: Drawing) -> list[list[int]]:
        states = {row.name: _state_of(row) for row in self._known.run.progress()}
        finished = _INDEX["finished"]
        paint = []
        for shape in drawing.shapes:
            counts = [0] * len(STATES)
            counts[states.get(self._names[shape.members[0]], finished)] = len(shape.members)
            paint.append(counts)
        return paint

    # -- drawing

    def _begin(self, nodes_of: Any) -> None:
        def draw() -> tuple[Drawing, str, dict[int, str], float]:
            from asyncgraph.observe.drawing import Drawing, boxes_of_nodes

            began = time.perf_counter()
            nodes = nodes_of()
            drawing = Drawing(boxes_of_nodes(nodes))
            svg = drawing.svg(color="state", paint={})
            return drawing, svg, {node.number: node.name for node in nodes}, time.perf_counter() - began

        self._pending = asyncio.get_running_loop().run_in_executor(None, draw)
        self._pending.add_done_callback(self._has_drawn)

    def _has_drawn(self, pending: asyncio.Future[Any]) -> None:
        self._pending = None
        if pending.cancelled():
            return
        error = pending.exception()
        if error is not None:
            self.problem = f"the graph could not be drawn: {type(error).__name__}"
            return
        self._drawing, self.svg, self._names, seconds = pending.result()
        self._not_before = time.perf_counter() + _REST * seconds
        self.drawn += 1
        self.problem = ""


def _counts(states: bytearray, members: Sequence[int]) -> list[int]:
    """How many of these nodes are in each state."""
    counts: Mapping[int, int] = Counter(map(states.__getitem__, members))
    return [counts[state] for state in range(len(STATES))]


def _state_of(row: FunctionProgress) -> int:
    """The state in which all nodes of a function are shown, as nothing is known of the single ones."""
    if row.failed:
        state = "failed"
    elif row.running:
        state = "running"
    elif row.not_run:
        state = "not run"
    elif row.cancelled:
        state = "cancelled"
    elif row.finished == row.nodes:
        state = "finished"
    else:
        state = "ready" if row.finished else "waiting"
    return _INDEX[state]


def _infos_of(graph: Graph) -> list[NodeInfo]:
    """The nodes of a graph, as events would tell of them: without any value."""
    numbers = {key: number for number, key in enumerate(graph)}
    infos = []
    for key, task in graph.items():
        is_data = task.function is None and not task.dependencies
        kind = "choice" if task.is_choice else "data" if is_data else "function"
        needed = tuple(numbers[each] for each in task.dependencies)
        infos.append(NodeInfo(numbers[key], key, task.name, kind, task.executor, False, needed, task.site))
    return infos
