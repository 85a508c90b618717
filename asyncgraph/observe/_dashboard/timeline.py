"""The recent calls of a run, each on a lane: a thread, a worker process, or one of those of the loop.

Coroutines overlap, and so each that goes on has a lane of its own, the lowest that is free. Only the last
calls are kept, however long the run goes on.
"""

from __future__ import annotations

import heapq
from collections import deque
from typing import Any, NamedTuple

__all__ = ["MOST_BARS", "Bar", "Timeline"]

MOST_BARS = 600
"""So many calls that are over are kept: what fits a screen side by side."""

MOST_OPEN = 200
"""So many calls that are going on are shown."""


class Bar(NamedTuple):
    """A call that is over. Times are in seconds since the run began.

    Attributes:
        lane: Where it was made, as an index into the names of the lanes.
        began: When.
        ended: When.
        key: Of which node it was.
        name: The name of its function.
        outcome: "finished", "failed", "cancelled", "retrying", or "expanded" if it returned a node.
    """

    lane: int
    began: float
    ended: float
    key: str
    name: str
    outcome: str


class Timeline:
    """What was called where, lately.

    Args:
        since: When the run began, on the clock of events.

    Attributes:
        lanes: The names of the lanes, in the order in which they came.
        bars: The last calls that are over.
        count: How many there were in all.
    """

    def __init__(self, since: float) -> None:
        self.lanes: list[str] = []
        self.bars: deque[Bar] = deque(maxlen=MOST_BARS)
        self.count = 0
        self._since = since
        self._index: dict[str, int] = {}
        # By the number of a node, the call of it that goes on: lane, when it began, key, and function.
        self._open: dict[int, tuple[int, float, str, str]] = {}
        self._free: list[int] = []
        self._of_the_loop = 0
        self._numbers: dict[int, int] = {}

    def began(self, event: Any) -> None:
        """A call has begun."""
        node = event.node
        self._open[node.number] = self._taken(event.worker), self._at(event.time), node.key, node.name

    def ended(self, event: Any, outcome: str) -> None:
        """A call is over, if there was one: a node may fail or be cancelled without."""
        call = self._open.pop(event.node.number, None)
        if call is None:
            return
        lane, _, key, name = call
        self._give_back(lane)
        self.bars.append(Bar(lane, self._at(event.began), self._at(event.time), key, name, outcome))
        self.count += 1

    def new_bars(self, seen: int) -> list[Bar]:
        """The calls that are over but for the first `seen` ones, as far as they are kept."""
        new = min(self.count - seen, len(self.bars))
        return [self.bars[index] for index in range(-new, 0)]

    def open_calls(self) -> list[tuple[int, float, str, str]]:
        """Of the calls that are going on, the longest: lane, beginning, key and function."""
        return sorted(self._open.values(), key=lambda call: call[1])[:MOST_OPEN]

    def worker_calls(self) -> dict[str, str]:
        """What worker processes are at: keys of nodes, by the name of the worker."""
        return {
            self.lanes[lane]: key
            for lane, _, key, _ in self._open.values()
            if self.lanes[lane].startswith("process ")
        }

    def _at(self, time: float) -> float:
        return round(time - self._since, 5)

    def _taken(self, worker: str) -> int:
        if worker != "loop":
            return self._lane(worker)
        if self._free:
            number = heapq.heappop(self._free)
        else:
            self._of_the_loop += 1
            number = self._of_the_loop
        lane = self._lane(f"loop {number}")
        self._numbers[lane] = number
        return lane

    def _give_back(self, lane: int) -> None:
        if lane in self._numbers:
            heapq.heappush(self._free, self._numbers[lane])

    def _lane(self, name: str) -> int:
        lane = self._index.get(name)
        if lane is None:
            lane = self._index[name] = len(self.lanes)
            self.lanes.append(name)
        return lane
