"""Calls as a Dask graph: one task for each, and one for each value that they take and nobody computes."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

from dask._task_spec import DataNode, GraphNode, Task, TaskRef
from dask.highlevelgraph import HighLevelGraph, MaterializedLayer

from asyncgraph.dask.there import call_there
from asyncgraph.executors.graphs import GraphCall
from asyncgraph.executors.packing import Packed
from asyncgraph.executors.travel import arrived

__all__ = ["graph_of_calls"]


def graph_of_calls(
    calls: Sequence[GraphCall], values: Mapping[str, Packed], sent: Mapping[int, Any], topic: str
) -> HighLevelGraph:
    """A Dask graph.

    Args:
        calls: The calls.
        values: Values that they take, by name.
        sent: The futures of what was sent to a worker ahead, by its id.
        topic: The topic for notes.

    Returns:
        One layer for each combination of priority and resources that calls have.
    """
    layers: dict[tuple[Any, ...], dict[str, GraphNode]] = defaultdict(dict)
    layer_of: dict[str, tuple[Any, ...]] = {}
    plain = 0, ()
    for name, packed in values.items():
        layers[plain][name] = _value(name, packed, sent)
        layer_of[name] = plain
    for call in calls:
        about = call.priority, tuple(sorted(call.resources.items()))
        layers[about][call.name] = _task(call, sent, topic)
        layer_of[call.name] = about
    needed = {
        about: {layer_of[each] for task in tasks.values() for each in task.dependencies if each in layer_of}
        for about, tasks in layers.items()
    }
    return HighLevelGraph(
        {_name(about): MaterializedLayer(tasks, _annotations(*about)) for about, tasks in layers.items()},
        {_name(about): {_name(each) for each in others - {about}} for about, others in needed.items()},
    )


def _name(about: tuple[Any, ...]) -> str:
    return f"asyncgraph-{about}"


def _annotations(priority: float, resources: tuple[tuple[str, float], ...]) -> dict[str, Any] | None:
    annotations: dict[str, Any] = {}
    if priority:
        annotations["priority"] = priority
    if resources:
        annotations["resources"] = dict(resources)
    return annotations or None


def _value(name: str, packed: Packed, sent: Mapping[int, Any]) -> GraphNode:
    future = sent.get(id(packed))
    if future is None:
        return DataNode(name, arrived(name, packed, True))
    return Task(name, arrived, name, TaskRef(future.key), True)


def _task(call: GraphCall, sent: Mapping[int, Any], topic: str) -> Task:
    function, packed = (
        TaskRef(sent[id(each)].key) if id(each) in sent else each for each in (call.function, call.packed)
    )
    note = None if call.note is None else (topic, call.note)
    inputs = [TaskRef(each if isinstance(each, str) else each.key) for each in call.inputs]
    return Task(call.name, call_there, call.key, function, packed, call.timeout, note, *inputs)
