"""What is drawn: boxes, one a node, made from a graph or from what events tell of nodes; and their marks.

A `Box` is light, and knows how to say more (its `Details`) where it is drawn: of a million boxes, most are
not.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import lru_cache, partial
from typing import Any, Literal, NamedTuple, Protocol, cast, get_args, overload

from asyncgraph._graph.arguments import ATOMS, search
from asyncgraph._graph.function import Function
from asyncgraph._graph.graph import Graph, Ref, Task
from asyncgraph.observe.events import NodeInfo

__all__ = [
    "COLORS",
    "STATES",
    "Box",
    "Color",
    "Details",
    "HasMarks",
    "Mark",
    "Marks",
    "boxes_of_graph",
    "boxes_of_nodes",
    "marks_of",
]

Color = Literal["executor", "state", "duration", "order"]
"""What the color of a box says; for all but the first there have to be marks."""

COLORS: tuple[str, ...] = get_args(Color)

STATES = ("waiting", "ready", "running", "finished", "failed", "not run", "cancelled", "released")
"""All states, in the order in which a legend has them."""


class Mark(NamedTuple):
    """What a run has made of a node: what its box is colored by.

    Attributes:
        state: "waiting", "ready", "running", "finished", "failed", "not run", "cancelled" or "released".
        seconds: How long its call has taken, or has been going on; None if it was not begun.
        order: The how-manieth of the run it was to begin, from 0 on; None if it was not begun.

    Example:
        >>> from asyncgraph.observe import Mark
        >>> Mark("finished", 0.25)
        Mark(state='finished', seconds=0.25, order=None)
    """

    state: str
    seconds: float | None = None
    order: int | None = None


Marks = Mapping[Any, Mark]
"""Marks by the keys of nodes, or by their numbers. A node without one is waiting."""


class HasMarks(Protocol):
    """A record of a run: it has the marks of its nodes, by their keys."""

    def marks(self) -> Marks:
        """The marks."""
        ...


class Details(NamedTuple):
    """What is written about a box that is drawn.

    Attributes:
        label: What stands in it.
        lines: What its tooltip says, line by line.
        arguments: As what it takes each of its dependencies: the name of an argument, or its position, or ""
            where that says nothing.
    """

    label: str
    lines: tuple[str, ...]
    arguments: tuple[str, ...]


class Box(NamedTuple):
    """A node, as it is drawn.

    Attributes:
        number: Which it is: unique among the boxes of a drawing.
        key: Its readable identity.
        name: The name of its function, or what the data in it is called.
        kind: "function", "data", "choice" or "resource".
        executor: Where it runs.
        dependencies: The numbers of the boxes whose values it takes.
        details: Says what is written about it.
    """

    number: int
    key: str
    name: str
    kind: str
    executor: str
    dependencies: tuple[int, ...]
    details: Callable[[], Details]


def marks_of(run: HasMarks | Marks) -> Marks:
    """The marks that `run=` gives.

    Raises:
        TypeError: It is neither a record of a run nor a mapping of keys to marks.
    """
    if isinstance(run, Mapping):
        return run
    marks = getattr(run, "marks", None)
    if not callable(marks):
        raise TypeError(f"run= takes a Recording of a run, or a mapping of keys to marks, not {run!r}")
    return cast("Marks", marks())


# --- from a graph: the user holds the node, so that values are shown ---


def boxes_of_graph(graph: Graph) -> Sequence[Box]:
    """A box for each task of a graph, made when it is looked at. Data shows its value, cut."""
    return _GraphBoxes(graph)


class _Boxes(Sequence[Box]):
    """A sequence whose boxes are made when they are looked at."""

    def _box(self, index: int) -> Box:
        raise NotImplementedError

    @overload
    def __getitem__(self, index: int) -> Box: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[Box]: ...
    def __getitem__(self, index: int | slice) -> Box | Sequence[Box]:
        numbers = range(len(self))[index]
        return self._box(numbers) if isinstance(numbers, int) else [self._box(each) for each in numbers]

    def __iter__(self) -> Iterator[Box]:
        return map(self._box, range(len(self)))


class _GraphBoxes(_Boxes):
    def __init__(self, graph: Graph) -> None:
        self._graph = graph
        self._keys = list(graph)
        self._numbers = {key: number for number, key in enumerate(self._keys)}

    def __len__(self) -> int:
        return len(self._keys)

    def _box(self, index: int) -> Box:
        key = self._keys[index]
        task = self._graph[key]
        numbers = self._numbers
        return Box(
            index,
            key,
            task.name,
            _kind_of(task._function, task.dependencies),
            task.executor,
            tuple([numbers[each] for each in task.dependencies]),
            partial(_details_of_task, key, task),
        )

    def __iter__(self) -> Iterator[Box]:
        graph = self._graph
        for number, (key, function, dependencies) in enumerate(graph.rows()):
            kind = _kind_of(function, dependencies)
            details = partial(_details_in_graph, graph, key)
            yield Box(number, key, function.name, kind, function.executor, dependencies, details)


def _details_in_graph(graph: Graph, key: str) -> Details:
    return _details_of_task(key, graph[key])


def _kind_of(function: Function, dependencies: Sequence[object]) -> str:
    if function.is_choice:
        return "choice"
    if function.is_resource:
        return "resource"
    return "data" if (function.is_value or function.is_input) and not dependencies else "function"


def _details_of_task(key: str, task: Task) -> Details:
    kind = _kind_of(task._function, task.dependencies)
    call = repr(task)
    lines = [f"{key} = {call}"]
    if kind != "data":
        lines.append(_where(kind, task.executor, is_async=task._function.is_async))
    if task.site is not None:
        lines.append(f"built at {task.site}")
    return Details(call if kind == "data" else key, tuple(lines), _arguments_of(task))


def _where(kind: str, executor: str, *, is_async: bool) -> str:
    if kind == "choice":
        return "a choice: runs one of its sides"
    if kind == "resource":
        return "a resource: open as long as it is used"
    if executor == "loop":
        return "coroutine on the event loop" if is_async else "on the event loop, inline"
    return f"executor {executor}"


def _arguments_of(task: Task) -> tuple[str, ...]:
    """As what a task takes each of its dependencies; "" where that says nothing, as for the only one."""
    taken: dict[str, list[str]] = {key: [] for key in task.dependencies}
    for name, value in [*zip(_parameters_of(task), task.args, strict=True), *task.kwargs.items()]:
        for key in _keys_in(value):
            taken[key].append(name)
    names = {name for found in taken.values() for name in found}
    if len(names) < 2 and not names & task.kwargs.keys():
        return ("",) * len(taken)
    return tuple([", ".join(found) for found in taken.values()])


def _keys_in(value: Any) -> dict[str, None]:
    """The keys that an argument refers to, each once, in order."""
    if type(value) in ATOMS:
        return {}
    found: list[Ref] = [value] if type(value) is Ref else []
    if not found:
        search(value, Ref, found)
    return dict.fromkeys(ref.key for ref in found)


def _parameters_of(task: Task) -> Iterable[str]:
    """What the positional arguments of a task are called, or else their positions, from 1 on."""
    if task.is_choice:
        return ("if", "then", "else")
    positions = [str(position + 1) for position in range(len(task.args))]
    if task.function is None:
        return positions
    names = _parameters(task.function)
    return [*names[: len(positions)], *positions[len(names) :]]


def _parameters(call: Callable[..., Any]) -> tuple[str, ...]:
    """The names of the positional parameters of a function; none where they cannot be told."""
    try:
        return _signature(call)
    except TypeError:  # not hashable
        return _signature.__wrapped__(call)


@lru_cache(maxsize=256)
def _signature(call: Callable[..., Any]) -> tuple[str, ...]:
    try:
        parameters = inspect.signature(call).parameters.values()
    except (TypeError, ValueError):  # not one that tells of itself, as some that are written in C
        return ()
    return tuple([each.name for each in parameters if each.kind in _POSITIONAL])


_POSITIONAL = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)


# --- from what events tell of nodes: values are not known ---


def boxes_of_nodes(nodes: Iterable[NodeInfo]) -> Sequence[Box]:
    """A box for each node that events have told of. No values are shown: events hold none."""
    return [_box_of_node(node) for node in nodes]


def _box_of_node(node: NodeInfo) -> Box:
    # By position: making it is much of what a drawing of many nodes costs.
    details = partial(_details_of_node, node)
    return Box(node.number, node.key, node.name, node.kind, node.executor, node.dependencies, details)


def _details_of_node(node: NodeInfo) -> Details:
    lines = [node.key]
    if node.kind != "data":
        lines.append(_where(node.kind, node.executor, is_async=node.is_async))
    if node.site is not None:
        lines.append(f"built at {node.site}")
    return Details(node.key, tuple(lines), ("",) * len(node.dependencies))
