"""A graph as users see it: a read-only mapping of keys to tasks, printed readably."""

from __future__ import annotations

import itertools
import reprlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

from asyncgraph._graph.arguments import Template
from asyncgraph._graph.function import Function
from asyncgraph._graph.node import Branch, Node, Site, branches_of, in_dependency_order, key_of, site_of

__all__ = ["Graph", "Ref", "Task"]


class _Shown(reprlib.Repr):
    """Arguments are shown, not dumped: a long list or text is cut, and a function or class is its name."""

    def repr_function(self, function: Any, level: int) -> str:
        return str(function.__qualname__)

    repr_builtin_function_or_method = repr_type = repr_function

    def repr_bytes(self, value: bytes, level: int) -> str:
        # Cut before it is written out: it may be long.
        return repr(value) if len(value) <= self.maxother // 4 else f"<{len(value)} bytes>"


_shown = _Shown()
_shown.maxlist = _shown.maxtuple = _shown.maxset = _shown.maxfrozenset = _shown.maxdict = 10
_shown.maxstring = _shown.maxother = 80


class Ref:
    """Stands, among the arguments of a `Task`, for the value of the task with this key."""

    __slots__ = ("key",)

    def __init__(self, key: str) -> None:
        self.key = key

    def __repr__(self) -> str:
        return self.key

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Ref) and other.key == self.key

    def __hash__(self) -> int:
        return hash((Ref, self.key))


class Task:
    """What to call for one key of a graph, as data.

    Its `repr` reads like the call, with the keys of other tasks where their values go: `add(inc-1, 10)`.
    A task that is only data shows as the value.

    Attributes:
        function: What is called; None for data.
        args: Positional arguments, with a `Ref` in place of each node. For data, the one value.
        kwargs: Keyword arguments, likewise.
        is_choice: Whether it runs only one of the tasks that its arguments behind the first refer to.
        name: The name that messages use; the first part of the key, unless the graph was written by hand.
        executor: Where it runs: "loop", "thread", "process" or a registered name.
        dependencies: Keys of the tasks whose values it takes, in order of appearance, each once; for a
            choice also those it is between.
        site: File, line and function where the node was built, or None.
    """

    __slots__ = ("_function", "args", "dependencies", "kwargs", "site")

    def __init__(
        self,
        function: Function,
        args: tuple[Any, ...],
        kwargs: Mapping[str, Any],
        dependencies: tuple[str, ...],
        site: Site | None,
    ) -> None:
        self._function = function
        self.args = args
        self.kwargs = kwargs
        self.dependencies = dependencies
        self.site = site

    @property
    def function(self) -> Callable[..., Any] | None:
        """What is called, or None."""
        return None if self._function.is_value else self._function.call

    @property
    def is_choice(self) -> bool:
        """Whether it runs only one of the tasks that its arguments behind the first refer to."""
        return self._function.is_choice

    @property
    def name(self) -> str:
        """What messages call it."""
        return self._function.name

    @property
    def executor(self) -> str:
        """Where it runs."""
        return self._function.executor

    def __repr__(self) -> str:
        if self._function.is_input:
            return f"Input({self.name!r})"
        if self.function is None:
            return _shown.repr(self.args[0])
        arguments = [_shown.repr(value) for value in self.args]
        arguments += [f"{name}={_shown.repr(value)}" for name, value in self.kwargs.items()]
        return f"{self.name}({', '.join(arguments)})"


class Graph(Mapping[str, Task]):
    """The prescription behind one or more nodes: every task they need, or may need, dependencies first.

    It is read-only; `dict(graph)` gives a copy as a plain dictionary. Keys are unique in it: where
    several nodes have one (written by hand, or given in different processes), the first keeps it, outputs
    before others, and the rest get a number, as in `total~2`.

    Attributes:
        outputs: Keys of the nodes that the graph was made for.
    """

    __slots__ = ("_keys", "_nodes", "outputs")

    def __init__(self, outputs: Iterable[Node[Any]]) -> None:
        requested = list(outputs)
        nodes = in_dependency_order(requested, with_branches=True)
        self._keys = _unique_keys([*requested, *nodes])
        self._nodes: dict[str, Node[Any]] = {self._keys[id(node)]: node for node in nodes}
        self.outputs = tuple(self._keys[id(node)] for node in requested)

    def __getitem__(self, key: str) -> Task:
        return self._task(self._nodes[key])

    def __iter__(self) -> Iterator[str]:
        return iter(self._nodes)

    def __len__(self) -> int:
        return len(self._nodes)

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), ([self._nodes[key] for key in self.outputs],)

    def __repr__(self) -> str:
        lines = [f"  {key!r}: {task!r}," for key, task in self.items()]
        return "\n".join(["{", *lines, "}"])

    def rows(self) -> Iterator[tuple[str, Function, tuple[int, ...]]]:
        """What a picture needs of each task: its key, its function, the positions of its dependencies.

        It takes a fifth of what making the tasks does.
        """
        position_of = {id(node): position for position, node in enumerate(self._nodes.values())}
        for key, node in self._nodes.items():
            function, needed = node._function, node._dependencies
            if function.is_choice:
                needed = (*needed, *branches_of(node))
            positions = [position_of[id(each)] for each in needed]
            yield key, function, tuple(positions if len(positions) < 2 else dict.fromkeys(positions))

    def _task(self, node: Node[Any]) -> Task:
        return Task(
            node._function,
            tuple(self._as_shown(value) for value in node._args),
            {name: self._as_shown(value) for name, value in node._kwargs.items()},
            tuple(dict.fromkeys(self._keys[id(each)] for each in (*node._dependencies, *branches_of(node)))),
            site_of(node),
        )

    def _as_shown(self, value: Any) -> Any:
        """An argument with a `Ref` for each node, containers rebuilt around them."""
        return value.fill(self._as_ref, Node) if type(value) is Template else self._as_ref(value)

    def _as_ref(self, value: Any) -> Any:
        if type(value) is Branch:
            value = value.node
        return Ref(self._keys[id(value)]) if issubclass(type(value), Node) else value


def _unique_keys(nodes: Iterable[Node[Any]]) -> dict[int, str]:
    """The key of each node by its `id`; a key that an earlier node has gets a number."""
    keys: dict[int, str] = {}
    taken: set[str] = set()
    numbers: dict[str, Iterator[int]] = {}
    for node in nodes:
        if id(node) in keys:
            continue
        key = candidate = key_of(node)
        while candidate in taken:
            candidate = f"{key}~{next(numbers.setdefault(key, itertools.count(2)))}"
        keys[id(node)] = candidate
        taken.add(candidate)
    return keys
