"""What a cluster has been given of an execution ahead of time: the graph, as far as it is known.

A cluster that has a whole graph goes through it by itself, and nobody here is asked what comes next. The
scheduler of the execution follows behind: it begins a task, as ever, when all that this needs has finished;
but to begin it means to wait for what the cluster has had for a while. So all that the execution does with
outcomes stays as it is: it retries, fails, expands, keeps and releases, and tells observers.

When a ready task is not with the cluster, it goes there as one graph with all others that are ready, and with
everything behind them that needs nothing else: at the beginning that is all, but for what stands behind
choices. What has failed, or has returned a node, has made all behind it fail on the cluster: that is
forgotten, and goes there once more, under other names, when it can.
"""

from __future__ import annotations

import itertools
import uuid
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from typing import Any

from asyncgraph._graph.function import Function
from asyncgraph._graph.node import Node, key_of
from asyncgraph._graph.scheduler import FINISHED, READY, RUNNING, WAITING
from asyncgraph._runtime.arguments import resolve_in_order
from asyncgraph._runtime.owner import Guard, Owner
from asyncgraph._runtime.remotes import Remotes
from asyncgraph._runtime.slices import Slice
from asyncgraph.executors.base import failure_of
from asyncgraph.executors.graphs import GraphCall, GraphExecutor, Note
from asyncgraph.executors.packing import Packed, packed_arguments, packed_function, packed_input
from asyncgraph.executors.remote import Remote

__all__ = ["Ahead"]

_numbers = itertools.count()


class Ahead:
    """What one executor for graphs has of one execution.

    Args:
        owner: The execution.
        lane: The lane of the executor.
        executor: The executor.
        remotes: The results that are on clusters.
        on_note: Called when there is word from a worker of a task that has been begun.
    """

    def __init__(
        self,
        owner: Owner,
        lane: int,
        executor: GraphExecutor,
        remotes: Remotes,
        on_note: Callable[[int, Note], None],
    ) -> None:
        self._owner = owner
        self._guard = Guard(owner)
        self._lane = lane
        self._executor = executor
        self._remotes = remotes
        self._on_note = on_note
        # By task: its name on the cluster, from when it is on its way there; its handle, from when it has
        # arrived until it is over; and why it cannot be sent.
        self._names: dict[int, str] = {}
        self._handles: dict[int, Any] = {}
        self._refused: dict[int, BaseException] = {}
        # What is being made ready to be sent.
        self._packing: Iterator[None] | None = None
        self._packed: dict[int, GraphCall] = {}
        self._functions: dict[Function, Packed] = {}
        self._on_way = 0
        # The handles of what has been forgotten, as long as a graph is on its way that may refer to it: a
        # cluster takes nothing of a graph that refers to what it has let go of.
        self._forgotten: list[Any] = []
        # Of whom workers send word, and what has come before it was time.
        self._run = uuid.uuid4().hex
        self._listens = False
        self._notes: dict[str, Note] = {}
        self._tasks: dict[str, int] = {}

    def is_busy(self) -> bool:
        """Whether anything is on its way to the cluster."""
        return self._on_way > 0

    # -- handing over

    def fill(self, slice_: Slice) -> bool:
        """Hand over what comes next and all behind it; whether there is more to do before anything begins."""
        if self._packing is None:
            first = self._owner.scheduler.first(self._lane)
            if first is None or first in self._names or first in self._refused:
                return False
            self._packing = self._pack()
        for _ in self._packing:
            if slice_.is_over():
                return True
        self._packing = None
        return False

    def has_next(self) -> bool:
        """Whether the next ready task has arrived there, or cannot be sent."""
        first = self._owner.scheduler.first(self._lane)
        return first is not None and (first in self._handles or first in self._refused)

    def _pack(self) -> Iterator[None]:
        """Make everything ready to be sent that can be sent now; and send it."""
        packed, queue = self._packed, deque(self._ready())
        values: dict[int, tuple[str, Packed]] = {}
        while queue:
            task = queue.popleft()
            if self._can_be_sent(task):
                call = self._call(task, values)
                if call is not None:
                    packed[task] = call
                    queue += self._behind(task)
            yield
        state = self._owner.scheduler.state
        calls = {task: call for task, call in packed.items() if state[task] in (WAITING, READY)}
        self._packed = {}
        if calls:
            self._hand_over(calls, dict(values.values()))

    def _ready(self) -> list[int]:
        scheduler, lane = self._owner.scheduler, self._lane
        ranks = itertools.chain(scheduler.ready.get(lane, ()), scheduler.producers.get(lane, ()))
        return [scheduler.task_at(rank) for rank in ranks]

    def _behind(self, task: int) -> Iterable[int]:
        """The tasks that take the result of a task; those that take it from one that has returned it, too."""
        scheduler, reached = self._owner.scheduler, [task]
        for each in reached:
            for dependent in scheduler.dependents[each]:
                if scheduler.is_alias(dependent):
                    reached.append(dependent)
                else:
                    yield dependent

    def _can_be_sent(self, task: int) -> bool:
        if task in self._names or task in self._packed or task in self._refused:
            return False
        scheduler = self._owner.scheduler
        if scheduler.lanes[task] != self._lane:
            return False
        if scheduler.state[task] != READY and not (
            scheduler.state[task] == WAITING and scheduler.can_go_ahead(task)
        ):
            return False
        return all(map(self._is_there, self._sources(task)))

    def _sources(self, task: int) -> list[int]:
        """The tasks whose results a task takes."""
        scheduler = self._owner.scheduler
        needed, state = scheduler.dependencies[task], scheduler.state
        return [each if state[each] == FINISHED else scheduler.final(each) for each in needed]

    def _is_there(self, task: int) -> bool:
        return self._owner.scheduler.state[task] == FINISHED or task in self._packed or task in self._names

    def _call(self, task: int, values: dict[int, tuple[str, Packed]]) -> GraphCall | None:
        """The call of a task, as it is sent; None if it cannot be, which is noted."""
        node: Node[Any] = self._owner.nodes[task]
        function, key = node._function, key_of(node)
        try:
            places = [Remote(self._place(each, values)) for each in self._sources(task)]
            args, kwargs = resolve_in_order(node, places) if places else (node._args, node._kwargs)
            packed, inputs = packed_arguments(args, kwargs, key)
            shared = self._function(task, function, key)
        except BaseException as error:  # the user's code
            self._refused[task] = failure_of(error, key)
            return None
        is_noted = self._owner.recorder is not None or (
            function.timeout is not None and not function.is_async
        )
        if is_noted and not self._listens:
            self._listens = True
            self._executor.listen(self._run, self._hear)
        return GraphCall(
            self._new_name(key),
            key,
            shared,
            packed,
            inputs,
            function.timeout,
            self._run if is_noted else None,
            function.priority,
            function.resources,
        )

    def _new_name(self, key: str) -> str:
        return f"{key}-{next(_numbers):x}-{self._run}"

    def _place(self, task: int, values: dict[int, tuple[str, Packed]]) -> Any:
        """Where a call finds the result of a task: by a name, or a handle."""
        if task in self._packed:
            return self._packed[task].name
        scheduler = self._owner.scheduler
        if scheduler.state[task] != FINISHED:
            return self._names[task]
        remote = self._remotes.copy_of(task)
        if remote is not None:
            return remote.handle
        if task not in values:
            key = key_of(self._owner.nodes[task])
            values[task] = self._new_name(key), packed_input(scheduler.results[task], key)
        return values[task][0]

    def _function(self, task: int, function: Function, key: str) -> Packed:
        """What is called for a task: one for all tasks of the function, unless observers are around it."""
        owner, call = self._owner, function.call
        if owner.recorder is not None:
            call = owner.recorder.around(task, call, is_awaited=function.is_async)
        packed = self._functions.get(function) if call is function.call else None
        if packed is None:
            variables = [(each, owner.context[each]) for each in owner.lanes.context if each in owner.context]
            packed = packed_function(call, variables, key)
            if call is function.call:
                self._functions[function] = packed
        return packed

    def _hand_over(self, calls: dict[int, GraphCall], values: dict[str, Packed]) -> None:
        self._on_way += 1
        for task, call in calls.items():
            self._names[task] = call.name
            if call.note is not None:
                self._tasks[call.name] = task
        names = {task: call.name for task, call in calls.items()}
        self._executor.hand_over([*calls.values()], values, partial(self._arrived, names))

    def _arrived(self, names: dict[int, str], handles: Any, error: BaseException | None) -> None:
        """A graph has arrived on the cluster, or has not."""
        with self._guard:
            self._on_way -= 1
            if self._owner.is_stopping:
                if error is None:
                    self._give_up(handles)
            elif error is None:
                # What has been forgotten meanwhile is let go of with its handle.
                arrived = zip(names.items(), handles, strict=True)
                self._handles.update({task: each for (task, name), each in arrived if self._is(task, name)})
            else:
                refused = [task for task, name in names.items() if self._is(task, name)]
                for task in refused:
                    del self._names[task]
                self._refused.update(dict.fromkeys(refused, error))
            if not self._on_way:
                self._forgotten.clear()
        self._owner.wake()

    def _is(self, task: int, name: str) -> bool:
        return self._names.get(task) == name

    # -- following

    def refusal(self, task: int) -> BaseException | None:
        """Why a task cannot be sent, if it cannot; it may be tried again."""
        return self._refused.pop(task, None)

    def handle(self, task: int) -> Any:
        """What the cluster knows a task by that has arrived there."""
        return self._handles[task]

    def begun(self, task: int) -> Note | None:
        """What a worker has said of a task by now."""
        return self._notes.get(self._names[task])

    def over(self, task: int, *, has_value: bool) -> None:
        """A task that was begun is over; without a value, all behind it has failed on the cluster, too."""
        name = self._names[task]
        self._notes.pop(name, None)
        self._tasks.pop(name, None)
        if has_value:
            del self._handles[task]
        else:
            self._forget(task)

    def _forget(self, task: int) -> None:
        """What the cluster has of a task, and of all behind it, is of no use any more."""
        reached = [task]
        for each in reached:
            name = self._names.pop(each, "")
            self._notes.pop(name, None)
            self._tasks.pop(name, None)
            self._packed.pop(each, None)
            if each in self._handles:
                handle = self._handles.pop(each)
                if self._on_way:
                    self._forgotten.append(handle)
            behind = set(self._behind(each)) - set(reached)
            reached += [other for other in behind if other in self._names or other in self._packed]

    # -- notes

    def _hear(self, note: Note) -> None:
        """A worker has said something of a call."""
        owner, task = self._owner, self._tasks.get(note.name)
        if task is None or owner.is_over:
            return
        self._notes[note.name] = note
        if owner.is_scheduled and owner.scheduler.state[task] == RUNNING:
            self._on_note(task, note)

    # -- the end

    def cancel(self) -> None:
        """Take back all that is not over."""
        self._packing = None
        self.close()
        handles = [*self._handles.values()]
        self._handles = {}
        if handles:
            self._give_up(handles)

    def _give_up(self, handles: Sequence[Any]) -> None:
        self._on_way += 1
        self._executor.give_up(handles, self._given_up)

    def _given_up(self, value: Any, error: BaseException | None) -> None:
        self._on_way -= 1
        self._owner.wake()

    def close(self) -> None:
        """Nobody needs word of anything any more."""
        if self._listens:
            self._listens = False
            self._executor.listen_no_more(self._run)
