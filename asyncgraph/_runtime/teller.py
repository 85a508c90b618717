"""What was noted of an execution, as events: put together, in an order that makes sense, and told.

The notes are those of the recorder, in the order in which they were made. They come from several threads, and
so one may come early: that a call has begun, of a task of which the scheduler has yet to hear that it is
ready. Such a note waits for the one that it follows from.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from typing import TYPE_CHECKING, Any, overload

from asyncgraph._graph.function import Function
from asyncgraph._graph.node import Node, Site, key_of, site_of
from asyncgraph._graph.scheduler import (
    CANCELLED,
    FAILED,
    FINISHED,
    NOT_RUN,
    READY,
    RELEASED,
    RUNNING,
    WAITING,
)
from asyncgraph._runtime.observed import View
from asyncgraph.observe.events import (
    Event,
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
)

if TYPE_CHECKING:
    from asyncgraph._runtime.execution import Execution

__all__ = [
    "ADDED",
    "BEGAN",
    "CACHED",
    "ENDED",
    "EXPANDED",
    "OUTCOME",
    "RETRYING",
    "STATE",
    "STATES",
    "THERE",
    "Entry",
    "Teller",
]

# What a note says. Behind it come the time, the task, and two things more:
STATE = 0  # the state before, and the new one
BEGAN = 1  # the worker
ENDED = 2  # the size of the value, if that is known
OUTCOME = 3  # the size of the value; the error
RETRYING = 4  # the number of the attempt and its error, in words; the pause
ADDED = 5  # nodes, dependencies and the source; the outputs
EXPANDED = 6  # the root
CACHED = 7  # the size of the value
STATES = 8  # of all tasks: the states before, and the new ones, as bytes
THERE = 9  # of all tasks, as bytes: released, if there is a value before anything has begun

Entry = tuple[int, float, int, Any, Any]

_LOOP = "loop"


class Teller:
    """Makes events of the notes of one execution.

    Args:
        tell: Called with each event.
        wanted: The classes of events that anybody wants; the most frequent others are not made.
        view: The run, as observers see it.
        execution: The execution; it is asked for errors, and for the reasons of failures.
    """

    def __init__(
        self,
        tell: Callable[[Any], None],
        wanted: Collection[type[Event]],
        view: View,
        execution: Execution,
    ) -> None:
        self._tell = tell
        self._tells_ready = NodeReady in wanted
        self._tells_started = NodeStarted in wanted
        self._tells_released = NodeReleased in wanted
        self._view = view
        self._execution = execution
        self._everywhere = execution.lanes.everywhere
        self._made = Infos((), (), everywhere=self._everywhere)
        # What tasks are now, by number; and what one was that another has taken the place of, just now.
        self._infos: dict[int, NodeInfo] = {}
        self._former: dict[int, NodeInfo] = {}
        # Tasks that have been told to be ready; what is known of the calls that are going on; tasks that have
        # returned a node, each with the task of that; the number of the next attempt, where that is not the
        # first; and those that had a value from the beginning.
        self._ready: set[int] = set()
        self._calls: dict[int, _Call] = {}
        self._expanded: dict[int, int] = {}
        self._attempts: dict[int, int] = {}
        self._cached: set[int] = set()
        # What has come with nodes that were returned, until somebody asks; and the sizes of values.
        self._later: dict[int, tuple[Node[Any], tuple[int, ...]]] = {}
        self._sizes: dict[int, int] = {}

    def tell(self, entry: Entry) -> None:
        """Tell what a note says, if that is for others to know."""
        what, when, task, one, other = entry
        if what == STATE:
            self._changed(when, task, one, other)
        elif what == BEGAN:
            self._began(task, when, one)
        elif what == ENDED:
            call = self._call_of(task)
            call.ended, call.size = when, one
        elif what == OUTCOME:
            call = self._call_of(task)
            call.ended, call.error = call.ended or when, other
            self._sizes[task] = one if call.size is None else call.size
        elif what == RETRYING:
            self._retrying(when, task, *one, pause=other)
        elif what == ADDED:
            self._added(when, *one, outputs=other)
        elif what == EXPANDED:
            self._has_expanded(when, task, one)
        elif task not in self._cached:
            self._cached.add(task)
            self._tell(NodeCached(self._view, when, self._info(task), one))

    def describe(self, task: int, node: Node[Any], dependencies: tuple[int, ...]) -> NodeInfo:
        """What observers are told of a node, before they are told of it."""
        return self._made.describe(task, node, dependencies)

    def has_begun(self, task: int, since: float, worker: str) -> None:
        """A call that goes on elsewhere has begun then, as far as has been heard."""
        call = self._calls.get(task)
        if call is not None and call.is_running and not call.is_told:
            self._start(task, call, max(since, call.taken), worker)

    # -- nodes

    def _added(
        self,
        when: float,
        nodes: Any,
        edges: Sequence[tuple[int, ...]],
        source: int | None,
        *,
        outputs: tuple[int, ...],
    ) -> None:
        if source is None:
            self._made = Infos(nodes, edges, everywhere=self._everywhere)
            self._tell(NodesAdded(self._view, when, self._made, None, outputs))
            return
        origin = self._former[source] = self._info(source)
        numbers = [number for _, number in nodes]
        new = [node for node, _ in nodes]
        self._later.update(zip(numbers, zip(new, edges, strict=True), strict=True))
        for number in numbers:
            self._infos.pop(number, None)  # of one that has taken the place of another
        infos = Infos(new, edges, numbers, everywhere=self._everywhere)
        self._tell(NodesAdded(self._view, when, infos, origin, ()))

    def _info(self, task: int) -> NodeInfo:
        info = self._infos.get(task)
        if info is None:
            later = self._later.pop(task, None)
            info = self._made[task] if later is None else self._made.describe(task, *later)
            self._infos[task] = info
        return info

    # -- states

    def _changed(self, when: float, task: int, old: int, new: int) -> None:
        if new == READY:
            if old == RUNNING:  # it was given back, and has not begun
                self._calls.pop(task, None)
            elif self._tells_ready:
                self._now_ready(when, task)
        elif new == RUNNING:
            self._now_running(when, task)
        elif new == FINISHED or new == RELEASED:
            self._has_value(when, task, old, new)
        elif new == FAILED:
            self._failed(when, task)
        elif new == NOT_RUN:
            self._not_run(when, task)
        elif new == CANCELLED and old != FINISHED:
            self._cancelled(when, task)

    def _now_ready(self, when: float, task: int) -> None:
        if task not in self._ready:
            self._ready.add(task)
            self._tell(NodeReady(self._view, when, self._info(task)))

    def _now_running(self, when: float, task: int) -> None:
        call = self._call_of(task)
        call.is_running, call.taken = True, when
        if self._tells_ready:
            # What was taken ahead may have begun in a thread before the loop has heard that it can.
            self._now_ready(when if call.began is None else min(when, call.began), task)
        if call.began is not None:
            self._start(task, call, call.began, call.worker)
        elif self._info(task).executor == _LOOP:
            self._start(task, call, when, _LOOP)

    def _began(self, task: int, when: float, worker: str) -> None:
        call = self._call_of(task)
        call.began, call.worker = when, worker
        if call.is_running and not call.is_told:
            self._start(task, call, when, worker)

    def _start(self, task: int, call: _Call, when: float, worker: str) -> None:
        call.is_told, call.began, call.worker = True, when, worker
        if self._tells_started:
            self._tell(NodeStarted(self._view, when, self._info(task), worker, self._attempts.get(task, 1)))

    def _call_of(self, task: int) -> _Call:
        call = self._calls.get(task)
        if call is None:
            call = self._calls[task] = _Call()
        return call

    def _over(self, task: int, when: float) -> tuple[float | None, float, str]:
        """When and where the last call of a task began, if it has, and when it ended; it is over."""
        call = self._calls.pop(task, None)
        self._ready.discard(task)
        if call is None:
            return None, when, ""
        return call.began, when if call.ended is None else call.ended, call.worker

    def _called(self, task: int, when: float) -> tuple[float, float, str]:
        """The same of a task that has been called, as is told now if it was not before."""
        call = self._call_of(task)
        if not call.is_told:  # a method that has turned out to be a coroutine: it was for a thread
            self._start(task, call, call.taken if call.began is None else call.began, call.worker or _LOOP)
        began, ended, worker = self._over(task, when)
        assert began is not None, "it was told to have begun"
        return began, max(began, ended), worker

    # -- ends

    def _has_value(self, when: float, task: int, old: int, new: int) -> None:
        is_last = new == RELEASED
        if old == RUNNING:
            began, ended, worker = self._called(task, when)
            self._attempts.pop(task, None)
            size = self._sizes.get(task, 0)
            self._tell(NodeFinished(self._view, ended, self._info(task), began, worker, size))
            when = max(when, ended)
        elif old == WAITING and self._is_alias(task):
            root = self._expanded.pop(task, task)
            size = self._sizes[task] = self._sizes.get(root, 0)
            self._tell(NodeFinished(self._view, when, self._info(task), when, "", size))
        elif old == WAITING:  # it was given a value; if that is needed, it counts as finished from here on
            is_last = False
        if is_last:
            if self._tells_released:
                self._tell(NodeReleased(self._view, when, self._info(task)))
            self._infos.pop(task, None)  # nothing more happens to it
            self._sizes.pop(task, None)

    def _is_alias(self, task: int) -> bool:
        """Whether it has returned a node, now or in an earlier run that is resumed."""
        return task in self._expanded or self._execution.scheduler.is_alias(task)

    def _cancelled(self, when: float, task: int) -> None:
        call = self._calls.get(task)
        error = None if call is None else call.error
        began, ended, worker = self._over(task, when)
        self._expanded.pop(task, None)
        info = self._info(task)
        if error is not None:  # by itself, while all was being stopped
            self._tell(NodeFailed(self._view, ended, info, began, worker, error, None))
        else:
            self._tell(NodeCancelled(self._view, ended, info, began, worker))

    def _failed(self, when: float, task: int) -> None:
        began, ended, worker = self._over(task, when)
        self._attempts.pop(task, None)
        self._expanded.pop(task, None)
        origin, error = self._execution.outcomes.reason_of(task)
        root = None if origin == task else self._info(origin)
        self._tell(NodeFailed(self._view, ended, self._info(task), began, worker, error, root))

    def _not_run(self, when: float, task: int) -> None:
        self._over(task, when)
        self._attempts.pop(task, None)
        self._expanded.pop(task, None)
        origin, error = self._execution.outcomes.reason_of(task)
        self._tell(NodeNotRun(self._view, when, self._info(task), error, self._info(origin)))

    def _retrying(self, when: float, task: int, number: int, error: str, *, pause: float) -> None:
        began, ended, worker = self._called(task, when)
        self._attempts[task] = number + 1
        info = self._info(task)
        self._tell(NodeRetrying(self._view, ended, info, began, worker, number, error, pause))

    def _has_expanded(self, when: float, task: int, root: int) -> None:
        began, ended, worker = self._called(task, when)
        node = self._former.pop(task, None) or self._info(task)
        self._former.clear()
        self._attempts.pop(task, None)
        if root != task:
            self._expanded[task] = root
        self._tell(NodeExpanded(self._view, ended, node, began, worker, self._info(root)))


class _Call:
    """What is known of the call of a task.

    Attributes:
        is_running: Whether the scheduler has been told that it is running.
        taken: When that was.
        is_told: Whether observers have been told that it has begun.
        began: When it began, if that is known.
        ended: When it ended.
        worker: Where it was made.
        size: The size of its value, if that was known where it was made.
        error: What it has failed with.
    """

    __slots__ = ("began", "ended", "error", "is_running", "is_told", "size", "taken", "worker")

    def __init__(self) -> None:
        self.is_running = self.is_told = False
        self.taken = 0.0
        self.began: float | None = None
        self.ended: float | None = None
        self.worker = ""
        self.size: int | None = None
        self.error: BaseException | None = None


class Infos(Sequence[NodeInfo]):
    """What observers are told of nodes, made when they look: of a million nodes few are looked at.

    Args:
        nodes: The nodes.
        dependencies: For each, the numbers of those that it needs; one may be there twice.
        numbers: Their numbers, if these are not counted from 0.
        everywhere: The executor that makes all calls, if one does.
    """

    def __init__(
        self,
        nodes: Sequence[Node[Any]],
        dependencies: Sequence[tuple[int, ...]],
        numbers: Sequence[int] | None = None,
        *,
        everywhere: str | None = None,
    ) -> None:
        self._everywhere = everywhere
        self._nodes = nodes
        self._dependencies = dependencies
        self._numbers = range(len(nodes)) if numbers is None else numbers
        # To find a line takes microseconds, and siblings are often built in the same.
        self._sites: dict[tuple[Any, int], Site | None] = {}

    def __len__(self) -> int:
        return len(self._nodes)

    @overload
    def __getitem__(self, index: int) -> NodeInfo: ...
    @overload
    def __getitem__(self, index: slice) -> list[NodeInfo]: ...
    def __getitem__(self, index: int | slice) -> NodeInfo | list[NodeInfo]:
        if isinstance(index, slice):
            return [self[each] for each in range(*index.indices(len(self)))]
        return self.describe(self._numbers[index], self._nodes[index], self._dependencies[index])

    def describe(self, number: int, node: Node[Any], dependencies: tuple[int, ...]) -> NodeInfo:
        """What observers are told of a node."""
        function = node._function
        built = node._code, node._lasti
        site = self._sites.get(built)
        if site is None:
            site = self._sites[built] = site_of(node)
        needed = tuple(dict.fromkeys(dependencies)) if len(dependencies) > 1 else dependencies
        kind, executor, is_async = _kind_of(function), function.executor, function.is_async
        if self._everywhere is not None and not function.is_choice:
            executor = self._everywhere
        return NodeInfo(number, key_of(node), function.name, kind, executor, is_async, needed, site)


def _kind_of(function: Function) -> str:
    if function.is_value or function.is_input:
        return "data"
    return "choice" if function.is_choice else "resource" if function.is_resource else "function"
