"""What is left of a run that did not finish: what it had computed, what failed and why, and the way on."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from typing import Any

from asyncgraph._graph.node import Node, key_of
from asyncgraph._graph.scheduler import CANCELLED, FAILED, FINISHED, NOT_RUN, RELEASED, STATES, Scheduler
from asyncgraph._runtime.arguments import resolve_in_order
from asyncgraph._runtime.choices import Choices
from asyncgraph._runtime.lanes import PROCESS
from asyncgraph._runtime.resources import Resources

__all__ = ["Failure", "Remains", "Results"]


class Remains:
    """The state in which an execution has ended that held its inputs.

    Attributes:
        nodes: The nodes, by the scheduler's numbers.
        number: The number of each node.
        scheduler: The state.
        errors: What tasks have failed with.
        choices: The choices that have not been made, if there are any.
        resources: Its resources, if it has any.
    """

    def __init__(
        self,
        nodes: Sequence[Node[Any]],
        number: dict[Node[Any], int],
        scheduler: Scheduler,
        errors: Mapping[int, BaseException],
        choices: Choices | None = None,
        resources: Resources | None = None,
    ) -> None:
        self.nodes = nodes
        self.number = number
        self.scheduler = scheduler
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

    def value_of(self, task: int) -> Any:
        """The value of a task that has finished and is still needed.

        Raises:
            SerializationError: It is that of a process call, and does not unpickle here.
        """
        results = self.scheduler.results
        if PROCESS in self.scheduler.ready:
            from asyncgraph._runtime.processes import unpacked_result

            results[task] = unpacked_result(self.nodes[task], results[task])
        return results[task]


class Results(Mapping[Node[Any], Any]):
    """The values that a run has by now, by node.

    They are those of the nodes that were asked for, and of those that something else still needs: a value is
    dropped when all that need it have finished.
    """

    def __init__(self, remains: Remains) -> None:
        self._remains = remains

    def __getitem__(self, node: Node[Any]) -> Any:
        number = self._remains.number.get(node)
        if number is None:
            raise KeyError(f"{node!r} is not a node of this run")
        state = self._remains.scheduler.state[number]
        if state == RELEASED:
            raise KeyError(f"{key_of(node)} had a value, which was dropped when nothing needed it any more")
        if state != FINISHED:
            raise KeyError(f"{key_of(node)} has no value")
        return self._remains.value_of(number)

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
            RuntimeError: They are not there: what they come from has not finished; or the run was resumed.
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
