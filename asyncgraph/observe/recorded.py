"""What is kept of a run: a column for each thing that is known of its nodes, and how to read them.

A node takes some 90 bytes here, so that a run of a million can be kept. Nothing of it is an argument, a
value, a frame or an exception: those would keep alive whatever they refer to. `recording.py` fills the
columns; whoever reads them may do so while the run is going on, on the thread of its loop.
"""

from __future__ import annotations

import math
import re
from array import array
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple, overload

from asyncgraph._graph.node import Site
from asyncgraph.observe.events import NodeInfo, ObservedRun

__all__ = [
    "CANCELLED",
    "FAILED",
    "FINISHED",
    "NOT_RUN",
    "READY",
    "RUNNING",
    "STATES",
    "WAITING",
    "RecordedCall",
    "RecordedFailure",
    "RecordedGrowth",
    "RecordedNode",
    "RecordedRun",
    "RecordedWorker",
]

WAITING, READY, RUNNING, FINISHED, FAILED, NOT_RUN, CANCELLED = range(7)

STATES = ("waiting", "ready", "running", "finished", "failed", "not run", "cancelled")
"""What the numbers in the column `states` stand for."""

_NEVER = math.nan
_UNKNOWN = -1

# A number that an array of integers can hold, written as `str` writes it.
_NUMBER = re.compile(r"(?:0|[1-9][0-9]{0,16})\Z").match


class RecordedNode(NamedTuple):
    """What is known of a node. Times are in seconds on the clock of events.

    Attributes:
        info: Which node it is.
        state: "waiting", "ready", "running", "finished", "failed", "not run" or "cancelled".
        ready: When nothing but the want of a slot kept it from being begun, or None.
        began: When its last call began, or None.
        ended: When that ended, or when it was clear that there would be none; None before.
        worker: Where it was called; "" if it was not.
        attempt: The number of its last call; 0 if it was not called.
        size: About how many bytes its value takes.
        order: How many nodes had finished before it, or None.
        released: When its value was let go of, or None.
    """

    info: NodeInfo
    state: str
    ready: float | None
    began: float | None
    ended: float | None
    worker: str
    attempt: int
    size: int
    order: int | None
    released: float | None


class RecordedCall(NamedTuple):
    """A call that another one has followed of what has the same number.

    That is a failed attempt, or one that has returned a node that has taken its place.

    Attributes:
        number: The number of the node.
        key: Its key at that time.
        name: The name of its function at that time.
        began: When the call began.
        ended: When it ended.
        worker: Where it was made.
        attempt: Which attempt it was, from 1 on.
        error: What it has failed with, in words; "" if it has not.
        pause: Seconds until the next attempt; 0 if it has not failed.
    """

    number: int
    key: str
    name: str
    began: float
    ended: float
    worker: str
    attempt: int
    error: str
    pause: float


class RecordedFailure(NamedTuple):
    """A node that has failed by itself, as text.

    Attributes:
        number: The number of the node.
        time: When it has failed.
        type: The class of the exception.
        message: What it says.
        traceback: The traceback as Python prints it; "" if many had failed before.
    """

    number: int
    time: float
    type: str
    message: str
    traceback: str


class RecordedGrowth(NamedTuple):
    """Nodes that have come to a run.

    Attributes:
        time: When.
        source: The number of the node that has returned them; None for those of the beginning.
        first: The number of the first.
        nodes: How many.
    """

    time: float
    source: int | None
    first: int
    nodes: int


@dataclass
class RecordedWorker:
    """A worker process.

    Attributes:
        worker: What events call it: "process 4711".
        pid: Its process id.
        started: When it was there.
        lost: When it was gone; None if it is there.
        reason: "left" if that was asyncgraph's own doing, else how it has ended; "" if it is there.
    """

    worker: str
    pid: int
    started: float
    lost: float | None = None
    reason: str = ""


@dataclass
class RecordedRun(Sequence[RecordedNode]):
    """A run: a sequence of its nodes, by number, and what is known of the whole.

    The columns hold the same as the nodes, as plain numbers, for those who read many: times are nan and
    orders -1 where there is none, `states` are indices into `STATES` and `workers` such into `worker_names`.

    Attributes:
        run: The run itself, while it is going on; then None.
        id: A number that no other run of this process has.
        name: The keys of the nodes that were asked for.
        began: When it began.
        wall_time: The same in seconds since 1970.
        outer: The id of the run that it was begun in a node of, and the key of that node; None for most.
        ended: When it was over, or None.
        state: "running", "finished", "failed" or "cancelled".
        error: What the run has failed with, or None.
        outputs: The numbers of the nodes that were asked for.
        slots: How many calls its runtime makes at once: by "loop" (coroutines), "thread" and "process"; what
            is not known is missing.
        growth: When nodes came.
        calls: Calls that were followed by others of the same number.
        roots: For each node that has returned another one, the number of that.
        came: For those that have their value since, when it came.
        failures: The nodes that have failed by themselves, in that order.
        behind: For each node that is not run because another has failed, the number of that.
        omitted: How many nodes there are of which nothing is kept, as the recording is full.
    """

    run: ObservedRun | None
    id: int
    name: str
    began: float
    wall_time: float
    outer: tuple[int, str] | None
    ended: float | None = None
    state: str = "running"
    error: RecordedFailure | None = None
    outputs: tuple[int, ...] = ()
    slots: dict[str, int] = field(default_factory=dict)
    growth: list[RecordedGrowth] = field(default_factory=list)
    calls: list[RecordedCall] = field(default_factory=list)
    roots: dict[int, int] = field(default_factory=dict)
    came: dict[int, float] = field(default_factory=dict)
    failures: list[RecordedFailure] = field(default_factory=list)
    behind: dict[int, int] = field(default_factory=dict)
    omitted: int = 0

    # The columns.
    states: bytearray = field(default_factory=bytearray, repr=False)
    ready: array[float] = field(default_factory=lambda: array("d"), repr=False)
    starts: array[float] = field(default_factory=lambda: array("d"), repr=False)
    ends: array[float] = field(default_factory=lambda: array("d"), repr=False)
    released: array[float] = field(default_factory=lambda: array("d"), repr=False)
    sizes: array[int] = field(default_factory=lambda: array("q"), repr=False)
    workers: array[int] = field(default_factory=lambda: array("i"), repr=False)
    attempts: array[int] = field(default_factory=lambda: array("i"), repr=False)
    orders: array[int] = field(default_factory=lambda: array("i"), repr=False)
    worker_names: list[str] = field(default_factory=list, repr=False)

    def __post_init__(self) -> None:
        self.infos = Infos()

    def __len__(self) -> int:
        return len(self.states)

    @overload
    def __getitem__(self, index: int) -> RecordedNode: ...
    @overload
    def __getitem__(self, index: slice) -> list[RecordedNode]: ...
    def __getitem__(self, index: int | slice) -> RecordedNode | list[RecordedNode]:
        if isinstance(index, slice):
            return [self[each] for each in range(*index.indices(len(self)))]
        number = range(len(self))[index]
        worker, order = self.workers[number], self.orders[number]
        return RecordedNode(
            self.infos[number],
            STATES[self.states[number]],
            _known(self.ready[number]),
            _known(self.starts[number]),
            _known(self.ends[number]),
            "" if worker < 0 else self.worker_names[worker],
            self.attempts[number],
            self.sizes[number],
            None if order < 0 else order,
            _known(self.released[number]),
        )

    def __eq__(self, other: object) -> bool:
        return self is other

    __hash__ = object.__hash__

    @property
    def seconds(self) -> float | None:
        """How long the run has taken; None while it is going on."""
        return None if self.ended is None else self.ended - self.began

    def counts(self) -> dict[str, int]:
        """How many nodes are in each state."""
        return {name: self.states.count(state) for state, name in enumerate(STATES)}

    def grow(self, count: int) -> None:
        """There are so many nodes more, of which nothing is known yet."""
        self.states.extend(bytes(count))
        for times in (self.ready, self.starts, self.ends, self.released):
            times.extend(array("d", [_NEVER]) * count)
        for column in (self.workers, self.orders):
            column.extend(array("i", [_UNKNOWN]) * count)
        self.sizes.extend(array("q", [0]) * count)
        self.attempts.extend(array("i", [0]) * count)
        self.infos.grow(count)

    def worker_index(self, worker: str) -> int:
        """The index of a worker's name in `worker_names`, where it is from now on."""
        index = self._worker_indices.get(worker)
        if index is None:
            index = self._worker_indices[worker] = len(self.worker_names)
            self.worker_names.append(worker)
        return index

    _worker_indices: dict[str, int] = field(default_factory=lambda: {"": _UNKNOWN}, repr=False)


def _known(time: float) -> float | None:
    return None if math.isnan(time) else time


class Infos:
    """Which nodes there are, by number, as `NodeInfo` tells it; each is put together when it is read."""

    def __init__(self) -> None:
        # What many nodes have in common is kept once.
        self.kinds: list[tuple[str, str, str, bool, Site | None]] = []
        """Name, kind, executor, whether it is a coroutine, and site."""
        self.kind_of: array[int] = array("i")
        """For each node, the index of that; -1 where it is not known."""
        self._kinds: dict[tuple[str, str, str, bool, Site | None], int] = {}
        # A key is the name and a number, most of the time.
        self._suffixes: array[int] = array("q")
        self._other_keys: dict[int, str] = {}
        # The dependencies of a node are `count` numbers from `first` on.
        self._dependencies: array[int] = array("i")
        self._first: array[int] = array("q")
        self._count: array[int] = array("i")

    def grow(self, count: int) -> None:
        """There are so many nodes more, of which nothing is known yet."""
        self.kind_of.extend(array("i", [_UNKNOWN]) * count)
        self._suffixes.extend(array("q", [_UNKNOWN]) * count)
        self._first.extend(array("q", [0]) * count)
        self._count.extend(array("i", [0]) * count)

    def put(self, info: NodeInfo) -> None:
        """Keep what is known of a node, in the place of what was known of that number."""
        number, key, name, kind, executor, is_async, dependencies, site = info
        common = (name, kind, executor, is_async, site)
        index = self._kinds.get(common)
        if index is None:
            index = self._kinds[common] = len(self.kinds)
            self.kinds.append(common)
        self.kind_of[number] = index
        length = len(name)
        suffix = key[length + 1 :]
        # No leading zero, which would be lost.
        if key[length : length + 1] == "-" and _NUMBER(suffix) and key.startswith(name):
            self._suffixes[number] = int(suffix)
        else:
            self._suffixes[number] = _UNKNOWN
            self._other_keys[number] = key
        self._first[number] = len(self._dependencies)
        self._count[number] = len(dependencies)
        self._dependencies.extend(dependencies)

    def __len__(self) -> int:
        return len(self.kind_of)

    def __iter__(self) -> Iterator[NodeInfo]:
        return (self[number] for number in range(len(self)))

    def __getitem__(self, number: int) -> NodeInfo:
        index = self.kind_of[number]
        if index < 0:
            return NodeInfo(number, f"node-{number}", "node", "function", "loop", False, (), None)
        name, kind, executor, is_async, site = self.kinds[index]
        dependencies = tuple(self.dependencies_of(number))
        return NodeInfo(number, self.key_of(number), name, kind, executor, is_async, dependencies, site)

    def key_of(self, number: int) -> str:
        """The key of a node."""
        suffix = self._suffixes[number]
        if suffix >= 0:
            return f"{self.kinds[self.kind_of[number]][0]}-{suffix}"
        return self._other_keys.get(number, f"node-{number}")

    def name_of(self, number: int) -> str:
        """The name of its function."""
        index = self.kind_of[number]
        return "node" if index < 0 else self.kinds[index][0]

    def dependencies_of(self, number: int) -> array[int]:
        """The numbers of the nodes whose values it takes."""
        first = self._first[number]
        return self._dependencies[first : first + self._count[number]]

    def size_in_bytes(self) -> int:
        """About how much memory this takes."""
        columns: tuple[array[Any], ...] = (
            self.kind_of,
            self._suffixes,
            self._dependencies,
            self._first,
            self._count,
        )
        return sum(len(column) * column.itemsize for column in columns)
