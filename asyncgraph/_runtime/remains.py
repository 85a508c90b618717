"""What is left of a run that did not finish: what it had computed, what failed and why, and the way on."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from typing import Any

from asyncgraph._graph.node import Node, key_of
from asyncgraph._graph.pieces import Pieces, cut
from asyncgraph._graph.scheduler import CANCELLED, FAILED, FINISHED, NOT_RUN, RELEASED, STATES, Scheduler
from asyncgraph._runtime.arguments import resolve_in_order
from asyncgraph._runtime.choices import Choices
from asyncgraph._runtime.lanes import INLINE, PROCESS, Lanes
from asyncgraph._runtime.resources import Resources
from asyncgraph.errors import GraphError, SerializationError
from asyncgraph.executors.remote import Remote

__all__ = ["Failure", "Remains", "Results", "fitted"]


class Remains:
    """The state in which an execution has ended that held its inputs.

    Attributes:
        nodes: The nodes, by the scheduler's numbers.
        number: The number of each node.
        scheduler: The state.
        lanes: Where its calls have run.
        errors: What tasks have failed with.
        choices: The choices that have not been made, if there are any.
        resources: Its resources, if it has any.
    """

    def __init__(
        self,
        nodes: Sequence[Node[Any]],
        number: dict[Node[Any], int],
        scheduler: Scheduler,
        lanes: Lanes,
        errors: Mapping[int, BaseException],
        choices: Choices | None = None,
        resources: Resources | None = None,
    ) -> None:
        self.nodes = nodes
        self.number = number
        self.scheduler = scheduler
        self.lanes = lanes
        self.errors = dict(errors)
        self.choices = choices
        self.resources = resources

    def is_missing_any(self) -> bool:
        """Whether anything has failed or was cancelled."""
        state = self.scheduler.state
        return bool(self.scheduler.behind) or CANCELLED in state

    def failures(self) -> list[Failure]:
        """What did not finish: what has failed itself, what stands behind that, and what was cancelled."""
        scheduler, nodes = self.scheduler, self.nodes
        own: list[Failure] = []
        behind: list[Failure] = []
        cancelled: list[Failure] = []
        for task, state in enumerate(scheduler.state):
            if state in (FAILED, NOT_RUN):
                origin, is_own = scheduler.behind[task], state == FAILED
                failure = Failure(
                    nodes[task],
                    STATES[state],
                    self.errors[origin],
                    None if is_own else nodes[origin],
                    partial(self.inputs, task),
                )
                (own if is_own else behind).append(failure)
            elif state == CANCELLED:
                cancelled.append(Failure(nodes[task], "cancelled", None, None, partial(self.inputs, task)))
        return [*own, *behind, *cancelled]

    def inputs(self, task: int) -> tuple[tuple[Any, ...], Mapping[str, Any]]:
        """The arguments that a task is called with.

        Raises:
            RuntimeError: Some of them are not there.
        """
        scheduler, node = self.scheduler, self.nodes[task]
        missing = [each for each in scheduler.dependencies[task] if scheduler.state[each] != FINISHED]
        if missing:
            needed = key_of(self.nodes[missing[0]])
            raise RuntimeError(f"{key_of(node)} cannot be called: {needed}, which it needs, has no value")
        return resolve_in_order(node, [self.value_of(each) for each in scheduler.dependencies[task]])

    def finished(self, node: Node[Any]) -> int:
        """The task of a node that has a value.

        Raises:
            KeyError: It has none, or is none of this run.
        """
        task = self.number.get(node)
        if task is None:
            raise KeyError(f"{node!r} is not a node of this run")
        state = self.scheduler.state[task]
        if state == RELEASED:
            raise KeyError(f"{key_of(node)} had a value, which was dropped when nothing needed it any more")
        if state != FINISHED:
            raise KeyError(f"{key_of(node)} has no value")
        return task

    async def fetch(self, task: int) -> tuple[Any, BaseException | None]:
        """The same, brought here from a cluster if need be, and None; or None and why it does not come."""
        remote = self.scheduler.results[task]
        if type(remote) is not Remote:
            return self.value_of(task), None
        arrived: asyncio.Future[tuple[Any, BaseException | None]] = asyncio.get_running_loop().create_future()

        def deliver(value: Any, error: BaseException | None) -> None:
            if not arrived.done():
                arrived.set_result((value, error))

        executor = self.lanes[self.scheduler.lanes[self.scheduler.final(task)]].executor
        give_up = executor.fetch(remote, key_of(self.nodes[task]), deliver)
        try:
            return await arrived
        finally:
            give_up()

    def value_of(self, task: int) -> Any:
        """The value of a task that has finished and is still needed.

        Raises:
            RuntimeError: It has stayed on a cluster.
            SerializationError: It is that of a process call, and does not unpickle here.
        """
        results = self.scheduler.results
        if type(results[task]) is Remote:
            key = key_of(self.nodes[task])
            raise RuntimeError(f"the value of {key} is on a cluster: `await run.fetch(node)` brings it here")
        if PROCESS in self.scheduler.ready:
            from asyncgraph._runtime.processes import unpacked_result

            results[task] = unpacked_result(self.nodes[task], results[task])
        return results[task]


def fitted(remains: Remains, lanes: Lanes) -> Pieces[None]:
    """Make what an execution has left such that another one can go on with it in these lanes.

    Values that cannot be used there count as missing: those on a cluster that is another, or gone.

    Raises:
        GraphError: There is no executor for something that is missing. Nothing has changed.
    """
    scheduler, nodes = remains.scheduler, remains.nodes
    if lanes is remains.lanes and not lanes.named:
        return
    numbers: list[int | None] = []
    lost: list[int] = []
    missing: list[int] = []
    for tasks in cut(range(len(nodes))):
        numbers += [_number_in(lanes, nodes[task]) for task in tasks]
        yield
    for tasks in cut(range(len(nodes))):
        for task in tasks:
            number = numbers[scheduler.final(task)]
            if scheduler.state[task] == FINISHED and _is_lost(remains, task, lanes, number):
                lost.append(task)
            elif scheduler.state[task] in (FAILED, NOT_RUN, CANCELLED) and not scheduler.is_alias(task):
                missing.append(task)
        yield
    again = scheduler.needed_again(lost)
    for task in (*missing, *again):
        if numbers[task] is None:
            lanes.number_of(nodes[task]._function)  # which says what is wrong
    if lanes is not remains.lanes:
        scheduler.assign([INLINE if number is None else number for number in numbers])
        remains.lanes = lanes
    if again:
        scheduler.forget(again)


def _number_in(lanes: Lanes, node: Node[Any]) -> int | None:
    """The lane that calls of a node would have; None if there is none."""
    try:
        return lanes.number_of(node._function)
    except GraphError:
        return None


def _is_lost(remains: Remains, task: int, lanes: Lanes, number: int | None) -> bool:
    """Whether the value of a task cannot be used in other lanes, where calls of its node have this number."""
    scheduler = remains.scheduler
    result = scheduler.results[task]
    if type(result) is Remote:
        return number is None or not lanes.can_use(result, number)
    if scheduler.lanes[task] == PROCESS != number:
        try:
            remains.value_of(task)  # as it came from its worker, no other executor could use it
        except SerializationError:
            return True
    return False


class Results(Mapping[Node[Any], Any]):
    """The values that a run has by now, by node.

    They are those of the nodes that were asked for, and of those that something else still needs: a value is
    dropped when all that need it have finished. Of one that has stayed on a cluster there is only the key: to
    look it up raises RuntimeError.
    """

    def __init__(self, remains: Remains) -> None:
        self._remains = remains

    def __getitem__(self, node: Node[Any]) -> Any:
        return self._remains.value_of(self._remains.finished(node))

    def __iter__(self) -> Iterator[Node[Any]]:
        nodes = self._remains.nodes
        return (nodes[task] for task, state in enumerate(self._remains.scheduler.state) if state == FINISHED)

    def __len__(self) -> int:
        return self._remains.scheduler.state.count(FINISHED)

    def __contains__(self, node: object) -> bool:
        number = self._remains.number.get(node) if isinstance(node, Node) else None
        return number is not None and self._remains.scheduler.state[number] == FINISHED

    def __repr__(self) -> str:
        return f"<{len(self)} results>"


class Failure:
    """A node that did not finish in a run, and why.

    Attributes:
        node: The node.
        key: Its key.
        state: "failed" if its own call has; "not run" if one that it needs has; or "cancelled".
        error: What failed: its own error, or that of the node it stands behind; None if it was cancelled.
        behind: The node that it stands behind, or None.
    """

    __slots__ = ("_inputs", "behind", "error", "node", "state")

    def __init__(
        self, node: Node[Any], state: str, error: BaseException | None, behind: Node[Any] | None, inputs: Any
    ) -> None:
        self.node = node
        self.state = state
        self.error = error
        self.behind = behind
        self._inputs = inputs

    @property
    def key(self) -> str:
        """The key of the node."""
        return key_of(self.node)

    @property
    def inputs(self) -> tuple[tuple[Any, ...], Mapping[str, Any]]:
        """The positional and the named arguments that the node's function is called with.

        Raises:
            RuntimeError: They are not there: what they come from has not finished, or has stayed on a
                cluster, from where `await run.fetch(node)` brings it; or the run was resumed.
        """
        args, kwargs = self._inputs()
        return args, kwargs

    def rerun(self) -> Any:
        """Call the node's function once more with the same arguments, here: in this process and thread.

        As a plain call, with nothing around it, so that a debugger stops where it fails; also for a function
        that runs in a worker process. Options such as `timeout=` and `retries=` do not apply.

        Returns:
            What the function returns: for a coroutine function a coroutine, to be awaited.

        Raises:
            BaseException: Whatever the function raises.
            RuntimeError: The arguments are not there.
        """
        args, kwargs = self.inputs
        return self.node._function.call(*args, **kwargs)

    def __repr__(self) -> str:
        behind = "" if self.behind is None else f", behind {key_of(self.behind)}"
        why = "" if self.error is None else f": {type(self.error).__name__}"
        return f"<Failure {self.key} {self.state}{why}{behind}>"
