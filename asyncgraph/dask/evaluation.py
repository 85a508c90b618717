"""Calling a Dask task, in the thread or worker process that has it.

Tasks may hold tasks: as arguments, or several that were fused into one. Dask works out an order for those
that were fused each time that it calls them, which takes longer than many of them do; here that is done once,
when the graph is translated (see `fused`), and what is needed no more is dropped on the way.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from typing import Any, NamedTuple

from dask._task_spec import GraphNode, Task, TaskRef, _execute_subgraph

__all__ = ["Fused", "apply", "evaluate", "fused", "is_fused", "run_fused"]


class Step(NamedTuple):
    """One of several tasks that were fused.

    Attributes:
        key: Its key.
        task: The task.
        inner: What it is made of, if it was fused in turn.
        unneeded: The keys of what is needed no more when it is done.
    """

    key: Any
    task: Any
    inner: Fused | None
    unneeded: tuple[Any, ...]


class Fused(NamedTuple):
    """Several tasks that were fused into one.

    Attributes:
        steps: The tasks, in the order in which they are called; the last one has the value.
        inputs: The keys of what they need from outside.
    """

    steps: tuple[Step, ...]
    inputs: tuple[Any, ...]


def apply(function: Any, /, *args: Any, **kwargs: Any) -> Any:
    """Call a function that stands for itself only: one of many, such as a `partial` for each task."""
    return function(*args, **kwargs)


def evaluate(task: GraphNode, keys: Iterable[Any], *values: Any) -> Any:
    """Call a task that holds others, with the values of these keys."""
    return _evaluated(task, dict(zip(keys, values, strict=True)))


def is_fused(task: GraphNode) -> bool:
    """Whether the task is several that were fused."""
    return type(task) is Task and task.func is _execute_subgraph


def fused(inner: Mapping[Any, GraphNode], output: Any, inputs: Iterable[Any]) -> Fused:
    """Put tasks that were fused in order."""
    inputs = tuple(inputs)
    order = _in_order(inner, output, inputs)
    last: dict[Any, Any] = {}
    for key in order:
        for each in inner[key].dependencies:
            last[each] = key
    unneeded: dict[Any, list[Any]] = {}
    for each, key in last.items():
        unneeded.setdefault(key, []).append(each)
    steps = [Step(key, inner[key], _inner(inner[key]), tuple(unneeded.get(key, ()))) for key in order]
    return Fused(tuple(steps), inputs)


def _inner(task: Any) -> Fused | None:
    return fused(*task.args[:3]) if is_fused(task) else None


def run_fused(task: Fused, *values: Any) -> Any:
    """Call tasks that were fused, with the values of their inputs."""
    known = dict(zip(task.inputs, values, strict=True))
    del values
    value = None
    for key, step, inner, unneeded in task.steps:
        if inner is None:
            value = _evaluated(step, known)
        else:
            value = run_fused(inner, *[_value(each, known) for each in step.args[3:]])
        known[key] = value
        for each in unneeded:
            del known[each]
    return value


def _in_order(inner: Mapping[Any, GraphNode], output: Any, inputs: Collection[Any]) -> list[Any]:
    """The keys that the output needs, dependencies first."""
    order: list[Any] = []
    placed = set(inputs)
    entered: set[Any] = set()
    stack = [output]
    while stack:
        key = stack[-1]
        if key in placed:
            stack.pop()
        elif key in entered:
            stack.pop()
            placed.add(key)
            order.append(key)
        else:
            entered.add(key)
            stack += [each for each in inner[key].dependencies if each not in placed]
    return order


def _evaluated(task: Any, known: Mapping[Any, Any]) -> Any:
    kind = type(task)
    if kind.__call__ is not Task.__call__:  # an alias, data, or what only Dask knows
        return task({key: known[key] for key in task.dependencies})
    args = [_value(each, known) for each in task.args]
    if task.func is _execute_subgraph:
        return run_fused(fused(*args[:3]), *args[3:])
    return task.func(*args, **{name: _value(each, known) for name, each in task.kwargs.items()})


def _value(argument: Any, known: Mapping[Any, Any]) -> Any:
    if isinstance(argument, TaskRef):
        return known[argument.key]
    return _evaluated(argument, known) if isinstance(argument, GraphNode) else argument
