"""How far the functions of an execution are, counted when somebody looks; from any thread.

Nodes are looked at once, which takes longest: from then on each is a byte that stands for the name of its
function. Added to the byte of its state that gives one for both, and bytes are counted quickly. All is done
in slices, between which other threads can go on.
"""

from __future__ import annotations

import threading
from array import array
from collections import Counter
from collections.abc import Iterable, Sequence
from operator import attrgetter
from typing import TYPE_CHECKING, Any

from asyncgraph._graph.function import Function
from asyncgraph._graph.node import Node
from asyncgraph._graph.scheduler import CANCELLED, FAILED, FINISHED, NOT_RUN, RELEASED, RUNNING, STATES
from asyncgraph.observe.events import FunctionProgress

if TYPE_CHECKING:
    from asyncgraph._runtime.execution import Execution

__all__ = ["Counting"]

_function_of = attrgetter("_function")

_STATES = len(STATES)

_DATA = 0
"""What stands for all data, which is not counted."""

_MOST = 256 // _STATES - 1
"""The highest number of a name of which a byte has room for the states, too."""

_SPREAD = bytes(number * _STATES % 256 for number in range(256))

_LOOKED_AT, _COUNTED = 10_000, 50_000
"""So many nodes are looked at, or counted, in one go: about a millisecond."""

_COLUMNS = ((RUNNING,), (FINISHED, RELEASED), (FAILED,), (NOT_RUN,), (CANCELLED,))


class Counting:
    """The counts of one execution.

    Attributes:
        rows: As of the last look; nothing before the first one.
        was_asked: Whether there has been one.
    """

    def __init__(self) -> None:
        self.rows: list[FunctionProgress] = []
        self.was_asked = False
        self._lock = threading.Lock()
        self._numbers: dict[str, int] = {}
        self._of_function: dict[Function, int] = {}
        self._is_planned = self._is_final = False
        # Of each node the number of its name: bytes, as long as that does.
        self._codes: bytearray | array[int] = bytearray()
        self._totals: Counter[int] = Counter()

    def look(self, execution: Execution) -> None:
        """Count anew; if the execution ends amid that, it stays as it was."""
        self.was_asked = True
        # Not waited for: who holds it may be what a signal handler, which asks this, has interrupted.
        if not self._lock.acquire(blocking=False):
            return
        try:
            if self._is_final:
                return
            try:
                is_over = execution.is_over
                if not self._is_planned:
                    self._is_planned = execution.overview.is_planned
                    self._begin_anew()
                self._look_at_nodes(execution.nodes)
                if execution.is_scheduled:
                    counts = self._by_state(execution.scheduler.state)
                else:
                    counts = self._by_position(execution)
            except AttributeError:  # from another thread: the execution has let go of what it had
                return
            self._is_final = is_over
            self.rows = [
                FunctionProgress(
                    name,
                    self._totals[number],
                    *(sum(counts[number, state] for state in states) for states in _COLUMNS),
                )
                for name, number in self._numbers.items()
            ]
        finally:
            self._lock.release()

    def _begin_anew(self) -> None:
        # What was looked at may have been the nodes that were asked for; others come, in another order.
        self._codes = bytearray()
        self._numbers.clear()
        self._of_function.clear()
        self._totals.clear()

    def _look_at_nodes(self, nodes: Sequence[Node[Any]]) -> None:
        end = len(nodes)
        for begin in range(len(self._codes), end, _LOOKED_AT):
            functions = list(map(_function_of, nodes[begin : min(begin + _LOOKED_AT, end)]))
            for function in dict.fromkeys(functions):
                if function not in self._of_function:
                    self._of_function[function] = self._number(function)
            codes = list(map(self._of_function.__getitem__, functions))
            self._codes.extend(codes)
            for number in set(codes):
                self._totals[number] += codes.count(number)

    def _number(self, function: Function) -> int:
        number = (
            _DATA if function.is_value else self._numbers.setdefault(function.name, len(self._numbers) + 1)
        )
        if number > _MOST and isinstance(self._codes, bytearray):
            self._codes = array("L", list(self._codes))
        return number

    def _by_state(self, states: Sequence[int]) -> Counter[tuple[int, int]]:
        counts: Counter[tuple[int, int]] = Counter()
        for begin in range(0, len(self._codes), _COUNTED):
            codes = self._codes[begin : begin + _COUNTED]
            counts.update(_pairs(codes, bytes(states[begin : begin + len(codes)])))
        return counts

    def _by_position(self, execution: Execution) -> Counter[tuple[int, int]]:
        begun, running = execution.overview.begun_straight()
        codes = self._codes[:begun]
        finished = (
            Counter({number: codes.count(number) for number in self._numbers.values()})
            if isinstance(codes, bytearray)
            else Counter(codes)
        )
        counts: Counter[tuple[int, int]] = Counter()
        for task in running:
            counts[self._codes[task], RUNNING] += 1
        for number in self._numbers.values():
            counts[number, FINISHED] = finished[number] - counts[number, RUNNING]
            if execution.is_stopping:
                counts[number, CANCELLED] = self._totals[number] - finished[number]
        return counts


def _pairs(codes: Iterable[int], states: bytes) -> Counter[tuple[int, int]]:
    """How many nodes there are of each name in each state."""
    if not isinstance(codes, bytearray):
        return Counter(zip(codes, states, strict=False))
    # As numbers of many bytes, these are added in one go; no byte overflows into the next one.
    both = int.from_bytes(codes.translate(_SPREAD), "little") + int.from_bytes(states, "little")
    found = both.to_bytes(len(codes), "little")
    return Counter({divmod(byte, _STATES): found.count(byte) for byte in set(found)})
