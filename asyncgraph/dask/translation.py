"""From a Dask graph to nodes.

Each task becomes a node that calls the task's own function, so that Dask is not asked when it runs; data and
aliases become no nodes. Nodes of tasks with a common name ("sum-aggregate" of the key `("sum-aggregate-1f3a",
0, 1)`) share what is known of how long their calls take, as in Dask's own cluster. What the last graph with
that name has shown counts as one call, so that short ones go together from the start, and yet a graph of
larger blocks is soon known for what it is.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from types import BuiltinFunctionType, CodeType, FunctionType
from typing import Any

from asyncgraph._graph.function import Durations, Function, is_async
from asyncgraph._graph.node import NO_KWARGS, Node
from asyncgraph._lazy.node import Delayed, new_node
from asyncgraph.errors import CycleError, MissingKeyError

__all__ = ["Translation", "Wrap", "value_node"]

Wrap = Any
"""Called with a key and a function; returns what is called in its place."""

_PLAIN = (FunctionType, BuiltinFunctionType, type)


class _Data:
    """The value of a key that is data."""

    __slots__ = ("value",)

    def __init__(self, value: Any) -> None:
        self.value = value


class Translation:
    """Turns a graph into nodes, what the requested keys need of it.

    Args:
        graph: Keys and their `dask.task_spec` objects.
        executor: Where tasks run: "thread" or "process".
        code: Where the graph was handed over: the code object that did, for messages.
        lasti: The instruction of it.
        known: Values by key, for keys that need not be computed.
        wrap: Makes what is called in place of the function of a task; None for the function itself.
    """

    def __init__(
        self,
        graph: Mapping[Any, Any],
        *,
        executor: str = "thread",
        code: CodeType | None = None,
        lasti: int = -1,
        known: Mapping[Any, Any] | None = None,
        wrap: Wrap | None = None,
    ) -> None:
        from dask._task_spec import Alias, DataNode, GraphNode, Task, TaskRef
        from dask.utils import key_split

        from asyncgraph.dask import evaluation

        self._graph = graph
        self._executor = executor
        self._code, self._lasti = code, lasti
        self._known = known or {}
        self._wrap = wrap
        self._alias, self._data, self._task = Alias, DataNode, Task
        self._ref, self._graph_node = TaskRef, GraphNode
        self._split, self._evaluation = key_split, evaluation
        # What has become of each key; and the functions, by name and callable.
        self._made: dict[Any, Any] = {}
        self._functions: dict[tuple[str, Any], Function] = {}
        self._durations: dict[str, Durations] = {}
        self._names: dict[Any, str] = {}

    def nodes(self, keys: Iterable[Any]) -> list[Delayed[Any]]:
        """A node for each of the keys.

        Raises:
            MissingKeyError: A key is not in the graph.
            CycleError: Keys wait for each other in a circle.
        """
        keys = list(keys)
        self._make(keys)
        made = [self._made[key] for key in keys]
        return [value_node(each.value) if type(each) is _Data else each for each in made]

    def _make(self, keys: Iterable[Any]) -> None:
        graph, made, known = self._graph, self._made, self._known
        entered: set[Any] = set()
        stack = list(keys)[::-1]
        while stack:
            key = stack[-1]
            if key in made:
                stack.pop()
                continue
            if known and key in known:
                made[key] = _Data(known[key])
                continue
            task = graph.get(key)
            if task is None:
                raise MissingKeyError(f"there is no key {key!r} in the Dask graph", missing=str(key))
            missing = [each for each in task.dependencies if each not in made]
            if not missing:
                stack.pop()
                made[key] = self._made_of(key, task)
            elif key in entered:
                raise CycleError(
                    f"the Dask graph goes round in a circle: {key!r} needs itself", cycle=(str(key),)
                )
            else:
                entered.add(key)
                stack += missing

    def _made_of(self, key: Any, task: Any) -> Any:
        """What becomes of a task whose dependencies are there: a node, or data."""
        kind = type(task)
        if kind is self._alias:
            return self._made[task.target]
        if kind is self._data:
            return _Data(task.value)
        dependencies: list[Any] = []
        kwargs = NO_KWARGS
        if kind is self._task and self._is_flat(task):
            function: Any = task.func
            args = [self._argument(each, dependencies) for each in task.args]
            if task.kwargs:
                kwargs = {name: self._argument(each, dependencies) for name, each in task.kwargs.items()}
            if self._evaluation.is_fused(task):
                function = self._evaluation.run_fused
                args = [self._evaluation.fused(*task.args[:3]), *args[3:]]
        else:
            function = self._evaluation.evaluate
            needed = tuple(task.dependencies)
            args = [task, needed, *(self._value_of(each, dependencies) for each in needed)]
        return self._node(key, function, args, kwargs, dependencies)

    def _node(
        self, key: Any, call: Any, args: list[Any], kwargs: Mapping[str, Any], dependencies: list[Any]
    ) -> Delayed[Any]:
        if self._wrap is not None:
            call = self._wrap(key, call)
        if type(call) not in _PLAIN and not is_async(call):
            args, call = [call, *args], self._evaluation.apply
        node: Delayed[Any] = new_node(Node)
        node._function = self._function(key, call)
        node._args = positional = tuple(args)
        node._kwargs = kwargs
        # One tuple serves for both where all arguments are nodes.
        is_all = not kwargs and len(dependencies) == len(positional)
        node._dependencies = positional if is_all else tuple(dependencies)
        node._code = self._code
        node._lasti = self._lasti
        node._key = key if type(key) is str else str(key)
        node.__class__ = Delayed
        return node

    def _is_flat(self, task: Any) -> bool:
        """Whether the task holds no others as its arguments."""
        graph_node = self._graph_node
        for each in task.args:
            if isinstance(each, graph_node):
                return False
        if task.kwargs:
            return not any(isinstance(each, graph_node) for each in task.kwargs.values())
        return True

    def _argument(self, argument: Any, dependencies: list[Any]) -> Any:
        if isinstance(argument, self._ref):
            return self._value_of(argument.key, dependencies)
        if isinstance(argument, Node):
            raise TypeError(
                f"{argument!r} is an argument of one of Dask's tasks: methods of its collections do not know "
                "nodes, and take `dask.delayed(node)` where they take delayed values"
            )
        return argument

    def _value_of(self, key: Any, dependencies: list[Any]) -> Any:
        """The node of a key, or its value where that is data."""
        made = self._made[key]
        if type(made) is _Data:
            return made.value
        dependencies.append(made)
        return made

    def _function(self, key: Any, call: Any) -> Function:
        name = self._name(key)
        function = self._functions.get((name, call))
        if function is None:
            function = self._new_function(call, name)
            self._functions[name, call] = function
        return function

    def _new_function(self, call: Any, name: str) -> Function:
        if is_async(call):
            return Function(call, name, "loop", is_async=True)
        durations = self._durations.get(name)
        if durations is None:
            durations = self._durations[name] = _durations(name, self._executor)
        return Function(call, name, self._executor, durations=durations)

    def _name(self, key: Any) -> str:
        first = key[0] if type(key) is tuple and key else key
        name = self._names.get(first)
        if name is None:
            name = self._names[first] = str(self._split(key)) or "task"
        return name


def value_node(value: Any) -> Delayed[Any]:
    """A node of which this is the value."""
    node: Delayed[Any] = new_node(Node)
    Node.__init__(node, _ITSELF, (value,), NO_KWARGS, (), None, -1)
    node.__class__ = Delayed
    return node


def _itself(value: Any) -> Any:
    return value


_ITSELF = Function(_itself, "data", "loop", is_value=True, is_part=True)


# By name and executor, what is known from the last graph.
_latest: dict[tuple[str, str], Durations] = {}

_MOST_NAMES = 10_000


def _durations(name: str, executor: str) -> Durations:
    """How long calls of that name take, to be found out in a graph, given what is known from others."""
    durations = Durations()
    known = _latest.get((name, executor))
    if known is not None and known.mean is not None:
        durations.add(known.mean)
    if len(_latest) > _MOST_NAMES:
        _latest.clear()
    _latest[name, executor] = durations
    return durations
