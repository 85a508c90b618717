"""Events made by hand: runs whose every time is known, told to observers as the runtime would."""

from __future__ import annotations

import itertools
from dataclasses import dataclass, field

from asyncgraph._graph.node import Site
from asyncgraph.observe import (
    NodeCached,
    NodeCancelled,
    NodeExpanded,
    NodeFailed,
    NodeFinished,
    NodeInfo,
    NodeNotRun,
    NodeReady,
    NodeReleased,
    NodeRetrying,
    NodesAdded,
    NodeStarted,
    RunFinished,
    RunStarted,
    WorkerLost,
    WorkerStarted,
)

_ids = itertools.count(1_000_000)


@dataclass
class ToldRun:
    """A run, as far as observers need one."""

    name: str = "total-1"
    began: float = 0.0
    wall_time: float = 1_800_000_000.0
    outer: tuple | None = None
    runtime: object = None
    id: int = field(default_factory=lambda: next(_ids))


class Telling:
    """Tells an observer of one run.

    A node is known by its key: `add` says which there are, the others what happens to them.
    """

    def __init__(self, *observers, **options):
        self.observers = observers
        self.run = ToldRun(**options)
        self.nodes = {}

    def tell(self, event):
        """Tell all observers."""
        for observer in self.observers:
            observer(event)

    def begin(self):
        """The run begins."""
        self.tell(RunStarted(self.run, self.run.began))
        return self

    def add(self, *specifications, time=None, source=None, outputs=()):
        """Add nodes: `"fetch-1"`, or `"parse-1 process < fetch-1 fetch-2"`; "thread" is understood."""
        new = []
        for specification in specifications:
            own, _, needed = specification.partition("<")
            key, executor, *_ = [*own.split(), "thread"]
            name = key.rpartition("-")[0] or key
            kind = "data" if executor == "data" else "function"
            is_async = executor == "async"
            executor = "loop" if executor in {"data", "async", "inline"} else executor
            dependencies = tuple(self.nodes[each].number for each in needed.split())
            site = Site("pipeline.py", 7, "build")
            info = NodeInfo(len(self.nodes), key, name, kind, executor, is_async, dependencies, site)
            self.nodes[key] = info
            new.append(info)
        return self._tell_of(new, time, source, outputs)

    def add_nodes(self, *infos):
        """Add nodes that are described already."""
        self.nodes |= {info.key: info for info in infos}
        return self._tell_of(list(infos), None, None, ())

    def _tell_of(self, new, time, source, outputs):
        source = source and self.nodes[source]
        numbers = tuple(self.nodes[key].number for key in outputs)
        self.tell(NodesAdded(self.run, self.run.began if time is None else time, new, source, numbers))
        return self

    def ready(self, key, time):
        """The node is ready."""
        self.tell(NodeReady(self.run, time, self.nodes[key]))

    def started(self, key, time, worker, attempt=1):
        """The node is being called."""
        self.tell(NodeStarted(self.run, time, self.nodes[key], worker, attempt))

    def finished(self, key, began, time, worker, size=100):
        """The node has a value."""
        self.tell(NodeFinished(self.run, time, self.nodes[key], began, worker, size))

    def call(self, key, ready, began, ended, worker, size=100):
        """The node goes the usual way."""
        self.ready(key, ready)
        self.started(key, began, worker)
        self.finished(key, began, ended, worker, size)

    def cached(self, key, time, size=0):
        """The node's value was there."""
        self.tell(NodeCached(self.run, time, self.nodes[key], size))

    def retrying(self, key, began, time, worker, attempt, error, pause):
        """An attempt has failed."""
        self.tell(NodeRetrying(self.run, time, self.nodes[key], began, worker, attempt, error, pause))

    def expanded(self, key, began, time, worker, root):
        """The node has returned another one."""
        self.tell(NodeExpanded(self.run, time, self.nodes[key], began, worker, self.nodes[root]))

    def failed(self, key, began, time, worker, error, root=None):
        """The node has failed."""
        root = root and self.nodes[root]
        self.tell(NodeFailed(self.run, time, self.nodes[key], began, worker, error, root))

    def not_run(self, key, time, error, behind):
        """The node will not run."""
        self.tell(NodeNotRun(self.run, time, self.nodes[key], error, self.nodes[behind]))

    def cancelled(self, key, began, time, worker):
        """The node was stopped."""
        self.tell(NodeCancelled(self.run, time, self.nodes[key], began, worker))

    def released(self, key, time):
        """The node's value is gone."""
        self.tell(NodeReleased(self.run, time, self.nodes[key]))

    def end(self, time, state="finished", error=None):
        """The run is over."""
        self.tell(RunFinished(self.run, time, state, error))
        return self

    def worker_started(self, worker, time, pid=1):
        """A worker process is there."""
        self.tell(WorkerStarted(time, worker, pid, self.run.runtime))

    def worker_lost(self, worker, time, reason, pid=1):
        """A worker process is gone."""
        self.tell(WorkerLost(time, worker, pid, self.run.runtime, reason))
