"""Events: what a run tells its observers, as it happens.

Everything that a run does is one stream of these. Times are in seconds on the clock of `time.perf_counter`,
which all processes of a machine share. Events hold no argument and no value, only how large values are, and
errors as they are. They are told in batches, up to a few hundredths of a second after what they are about,
in an order in which each makes sense: what a node needs has finished before it is ready, and it is ready
before it has started. Short calls in threads are told of when the loop has heard of them, so that `time` need
not rise from one event to the next.

A node goes this way::

    NodeReady --> NodeStarted --> NodeFinished --> NodeReleased
                     |  ^  |----> NodeFailed
                     |  |  |----> NodeCancelled
                     |  |  `----> NodeExpanded --> NodeFinished, NodeFailed or NodeNotRun, as its root
                     v  |
               NodeRetrying (and `NodeReady` again)

A node that will not run, because something that it needs has failed, is told of by `NodeNotRun` alone, one
that was never begun in a run that was stopped by `NodeCancelled` alone, and one whose value was there already
by `NodeCached`. Of one that had returned another in an earlier run, which is resumed, `NodeFinished` comes
without the rest.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

from asyncgraph._graph.node import Site
from asyncgraph.observe.statistics import Statistics

if TYPE_CHECKING:
    from asyncgraph._graph.graph import Graph

__all__ = [
    "NODE_EVENTS",
    "Event",
    "FunctionProgress",
    "NodeCached",
    "NodeCancelled",
    "NodeExpanded",
    "NodeFailed",
    "NodeFinished",
    "NodeInfo",
    "NodeNotRun",
    "NodeReady",
    "NodeReleased",
    "NodeRetrying",
    "NodeStarted",
    "NodesAdded",
    "ObservedRun",
    "RunFinished",
    "RunStarted",
    "WorkerLost",
    "WorkerStarted",
]


class FunctionProgress(NamedTuple):
    """How far the nodes of one function are, in one run.

    Attributes:
        name: The function's name.
        nodes: How many nodes call it, as far as is known: more come where functions return nodes.
        running: How many are being computed, or have been handed to a thread or a worker process.
        finished: How many have a value, or had one.
        failed: How many have failed.
        not_run: How many will not run, because something that they need has failed.
        cancelled: How many were stopped, or not begun.
    """

    name: str
    nodes: int
    running: int
    finished: int
    failed: int
    not_run: int
    cancelled: int


class NodeInfo(NamedTuple):
    """A node, as events tell of it.

    Attributes:
        number: Its number in the run, from 0 on, dependencies before dependents; nodes that come while the
            run is going on have the next ones.
        key: Its readable identity, as in errors.
        name: The name of its function, or what the data in it is called.
        kind: "function", "data" for a value that was there from the beginning, "choice" or "resource".
        executor: Where it runs: "loop", "thread" or "process".
        is_async: Whether it runs as a coroutine, so that it may be suspended.
        dependencies: The numbers of the nodes whose values it takes, in order of appearance, each once.
        site: Where it was built; None if that is not known.
    """

    number: int
    key: str
    name: str
    kind: str
    executor: str
    is_async: bool
    dependencies: tuple[int, ...]
    site: Site | None


class ObservedRun(Protocol):
    """A run, as its observers see it. All of this may be asked at any time, from any thread.

    Attributes:
        id: A number that no other run of this process has.
        name: The keys of the nodes that were asked for; of many, the first ones.
        began: When it began, on the clock of events.
        wall_time: The same in seconds since 1970, as `time.time` tells it.
        outer: The run that it was begun in a node of, and the key of that node; None for most.
        runtime: The runtime that it runs on: an `asyncgraph.Runtime`.
    """

    @property
    def id(self) -> int: ...  # noqa: D102 - described above, as are those below
    @property
    def name(self) -> str: ...  # noqa: D102
    @property
    def began(self) -> float: ...  # noqa: D102
    @property
    def wall_time(self) -> float: ...  # noqa: D102
    @property
    def outer(self) -> tuple[ObservedRun, str] | None: ...  # noqa: D102
    @property
    def runtime(self) -> Any: ...  # noqa: D102

    def statistics(self) -> Statistics:
        """How far it is; once it is over, how far it has come."""
        ...

    def progress(self) -> list[FunctionProgress]:
        """How far it is, function by function, in the order in which the graph comes to them.

        Data is left out. Nothing is counted before it is asked for: the first time takes about 200 ns a node,
        and later ones a fifth of that. Once the run is over, it is how far it has come; of a run of more than
        a thousand nodes nothing, unless somebody has asked before, or does when told of `RunFinished`.
        """
        ...

    def graph(self) -> Graph:
        """The graph of the nodes that were asked for, as `node.graph` gives it."""
        ...

    def on_loop(self) -> NodeInfo | None:
        """The node of this run that the loop is in at this moment, also while it is blocked; or None.

        What the node depends on is not told.
        """
        ...

    def in_thread(self, ident: int) -> NodeInfo | None:
        """The node that a thread of this process is in at this moment; likewise."""
        ...

    def cancel(self) -> bool:
        """Cancel the run, as `Run.cancel` does; call this on the thread of its loop."""
        ...

    def description(self) -> str:
        """What is running and what waits for what, in words, as `Run.dump` writes it."""
        ...


class RunStarted(NamedTuple):
    """A run has begun. Its nodes follow in `NodesAdded`, once it has been planned."""

    run: ObservedRun
    time: float


class NodesAdded(NamedTuple):
    """These nodes are part of the run from now on: at first all that it has, then what nodes have returned.

    Attributes:
        nodes: The nodes. At first each is made when it is looked at: who keeps this keeps the graph, too.
        source: The node that has returned them, or None.
        outputs: The numbers of those that were asked for; none but at first.
    """

    run: ObservedRun
    time: float
    nodes: Sequence[NodeInfo]
    source: NodeInfo | None
    outputs: tuple[int, ...]


class NodeReady(NamedTuple):
    """Nothing keeps the node from being begun but the want of a slot."""

    run: ObservedRun
    time: float
    node: NodeInfo


class NodeStarted(NamedTuple):
    """The node's function has been called.

    Attributes:
        worker: Where: "loop", "thread 2" or "process 4711".
        attempt: 1, or more if it was called before.
    """

    run: ObservedRun
    time: float
    node: NodeInfo
    worker: str
    attempt: int


class NodeRetrying(NamedTuple):
    """An attempt has failed, and another one will follow.

    Attributes:
        began: When the attempt began.
        worker: Where it was made.
        attempt: Which one has failed, from 1 on.
        error: What it has failed with, in words.
        pause: Seconds until the next attempt.
    """

    run: ObservedRun
    time: float
    node: NodeInfo
    began: float
    worker: str
    attempt: int
    error: str
    pause: float


class NodeExpanded(NamedTuple):
    """The node has returned another node, which is computed in its place and will be its value.

    Attributes:
        began: When its function was called.
        worker: Where it was called.
        root: The node that it has returned; itself, if it is that from now on (see `NodesAdded`).
    """

    run: ObservedRun
    time: float
    node: NodeInfo
    began: float
    worker: str
    root: NodeInfo


class NodeCached(NamedTuple):
    """The node's value was there already, as from an earlier run that is resumed: it is not called.

    Attributes:
        size: About how many bytes the value takes.
    """

    run: ObservedRun
    time: float
    node: NodeInfo
    size: int


class NodeFinished(NamedTuple):
    """The node has a value.

    Attributes:
        began: When its last attempt began. For a node that had returned another one, when its value came.
        worker: Where that was made.
        size: About how many bytes the value takes, as far as can be told quickly; 0 if it takes none in this
            process, as one that goes from one call to the next in a worker process.
    """

    run: ObservedRun
    time: float
    node: NodeInfo
    began: float
    worker: str
    size: int

    @property
    def seconds(self) -> float:
        """How long the call has taken."""
        return self.time - self.began


class NodeFailed(NamedTuple):
    """The node has failed.

    Attributes:
        began: When its last attempt began. For a node that had returned another one, which has failed, None.
        worker: Where that was made; "" for a node that had returned another one.
        error: What it has failed with: the exception itself.
        root: The node that it had returned, perhaps through others, if the failure is that one's; else None.
    """

    run: ObservedRun
    time: float
    node: NodeInfo
    began: float | None
    worker: str
    error: BaseException
    root: NodeInfo | None


class NodeNotRun(NamedTuple):
    """The node will not run, because something that it needs has failed.

    Attributes:
        error: What that has failed with.
        behind: The node that has failed.
    """

    run: ObservedRun
    time: float
    node: NodeInfo
    error: BaseException
    behind: NodeInfo


class NodeCancelled(NamedTuple):
    """The node was stopped, or will not be begun, because the run is being stopped or nothing needs it.

    Attributes:
        began: When its last attempt began; None if it was not begun.
        worker: Where that was made; "" if it was not begun.
    """

    run: ObservedRun
    time: float
    node: NodeInfo
    began: float | None
    worker: str


class NodeReleased(NamedTuple):
    """Nothing needs the node's value any more: it is gone."""

    run: ObservedRun
    time: float
    node: NodeInfo


class RunFinished(NamedTuple):
    """The run is over, and nothing of it is running any more. No event of it follows.

    Attributes:
        state: "finished", "failed" or "cancelled".
        error: What it has failed with, or None.
    """

    run: ObservedRun
    time: float
    state: str
    error: BaseException | None

    @property
    def seconds(self) -> float:
        """How long the run has taken."""
        return self.time - self.run.began


class WorkerStarted(NamedTuple):
    """A worker process of a runtime is there. Those learn of it whose runs are going on there.

    The workers of a cluster are not told of.

    Attributes:
        worker: What node events call it: "process 4711".
        pid: Its process id.
        runtime: Whose it is: an `asyncgraph.Runtime`.
    """

    time: float
    worker: str
    pid: int
    runtime: Any


class WorkerLost(NamedTuple):
    """A worker process of a runtime is gone.

    Attributes:
        reason: "left" if that was asyncgraph's own doing, or what is known of how it has ended.
    """

    time: float
    worker: str
    pid: int
    runtime: Any
    reason: str


Event = (
    RunStarted
    | NodesAdded
    | NodeReady
    | NodeStarted
    | NodeRetrying
    | NodeExpanded
    | NodeCached
    | NodeFinished
    | NodeFailed
    | NodeNotRun
    | NodeCancelled
    | NodeReleased
    | RunFinished
    | WorkerStarted
    | WorkerLost
)
"""Any event."""

NODE_EVENTS: tuple[type[Event], ...] = (
    NodesAdded,
    NodeReady,
    NodeStarted,
    NodeRetrying,
    NodeExpanded,
    NodeCached,
    NodeFinished,
    NodeFailed,
    NodeNotRun,
    NodeCancelled,
    NodeReleased,
)
"""Those that there are for each node. An observer that wants none of them costs a run nothing."""
