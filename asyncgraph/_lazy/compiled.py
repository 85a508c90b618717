"""`Input` and `compile`: a graph that is planned once, and run for each request with other values."""

from __future__ import annotations

import keyword
import sys
from collections.abc import Coroutine, Iterable, Mapping
from functools import partial
from typing import Any, Generic, NoReturn, TypeVar, overload

from asyncgraph._graph.arguments import search
from asyncgraph._graph.function import Function
from asyncgraph._graph.graph import Graph
from asyncgraph._graph.node import NO_KWARGS, Node
from asyncgraph._lazy.node import Delayed, build_node
from asyncgraph._runtime import run as runs
from asyncgraph._runtime.options import checked_observers
from asyncgraph._runtime.planning import plan_for_calls
from asyncgraph._runtime.run import Run
from asyncgraph._runtime.runtime import Runtime, check_request, current_runtime
from asyncgraph.errors import GraphError
from asyncgraph.observe.entered import AnyObserver

__all__ = ["Compiled", "Input", "compile"]

T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)


def Input(name: str) -> Delayed[Any]:  # noqa: N802 - it is used as if it were a class
    """A node whose value is given later, by name, in each call of the compiled graph.

    Two inputs of the same name have the same value.

    Args:
        name: How the value will be given: `f = compile(...)`, `await f(name=value)`.

    Raises:
        TypeError: `name` is no string.
        ValueError: It cannot be the name of an argument.

    Example:
        >>> from asyncgraph import Input, compile, delayed
        >>> area = compile(Input("width") * Input("height"))
        >>> await area(width=3, height=4)
        12
    """
    if not isinstance(name, str):
        raise TypeError(f"Input takes a name, not {name!r}")
    if not name.isidentifier() or keyword.iskeyword(name):
        raise ValueError(f"Input takes a name that an argument can have, as in f(url=...), not {name!r}")
    function = Function(partial(_no_value, name), name, "loop", is_input=True)
    return build_node(function, (), NO_KWARGS, sys._getframe(1))


def _no_value(name: str) -> NoReturn:
    raise GraphError(f"the input {name!r} has no value here: a node that is returned cannot have inputs")


@overload
def compile(
    node: Node[T],
    /,
    *,
    timeout: float | None = None,
    return_exceptions: bool = False,
    runtime: Runtime | None = None,
    observers: Iterable[AnyObserver] = (),
) -> Compiled[T]: ...
@overload
def compile(
    *nodes: Any,
    timeout: float | None = None,
    return_exceptions: bool = False,
    runtime: Runtime | None = None,
    observers: Iterable[AnyObserver] = (),
) -> Compiled[Any]: ...
def compile(
    *nodes: Any,
    timeout: float | None = None,
    return_exceptions: bool = False,
    runtime: Runtime | None = None,
    observers: Iterable[AnyObserver] = (),
) -> Compiled[Any]:
    """Plan a graph once, to run it many times: as often as wanted, also many times at once.

    Args:
        nodes: As in `compute`; among what they need may be `Input("x")`.
        timeout: For each call; as in `compute`.
        return_exceptions: Likewise.
        runtime: Likewise; by default the one that is current when a call is awaited.
        observers: Who is told of each call, beside those of the runtime and of `with` blocks.

    Returns:
        A function: `await f(x=1)` gives what `compute` would with 1 in the place of `Input("x")`.

    Raises:
        TypeError: There is nothing to compute, or an option is of the wrong type.
        ValueError: An option has a value that cannot be right.

    Example:
        >>> from asyncgraph import Input, compile, delayed
        >>> @delayed
        ... async def fetch(url):
        ...     return f"page at {url}"
        >>> page = compile(fetch(Input("url")))
        >>> await page(url="/home")
        'page at /home'
    """
    check_request(nodes, timeout, runtime)
    options = {"return_exceptions": return_exceptions, "observers": checked_observers(observers)}
    return Compiled(nodes, timeout=timeout, runtime=runtime, **options)


class Compiled(Generic[T_co]):
    """A graph that is planned; what `compile(node)` gives.

    Attributes:
        inputs: The names of its inputs, in order of appearance.
    """

    def __init__(self, request: tuple[Any, ...], **options: Any) -> None:
        found: list[Any] = []
        single = request[0] if len(request) == 1 else request
        if isinstance(single, Node):
            self._shape, outputs = single, [single]
        else:
            self._shape, outputs = search(single, Node, found), found
        self._request = request
        self._options = options
        self._plan = plan_for_calls(outputs)
        self.inputs = tuple(dict.fromkeys(node._function.name for node in self._plan.inputs))

    def __call__(self, /, *args: Any, **inputs: Any) -> Coroutine[Any, Any, T_co]:
        """Run the graph with these values; `await` what this returns.

        Raises:
            TypeError: An input is missing, or there is none of that name.
            BaseException: What `compute` raises, when awaited.
        """
        given = self._given(args, inputs)
        return runs.compute(partial(self._begin, given))

    def start(self, /, *args: Any, **inputs: Any) -> Run[T_co]:
        """The same in the background, as the function `start` does."""
        return self._begin(self._given(args, inputs))

    @property
    def graph(self) -> Graph:
        """The prescription: a read-only mapping of keys to tasks."""
        return Graph(self._plan.requested)

    def __repr__(self) -> str:
        return (
            f"<compiled graph of {len(self._plan.nodes)} nodes, inputs: {', '.join(self.inputs) or 'none'}>"
        )

    def __reduce__(self) -> tuple[Any, ...]:
        return _compiled, (self._request, self._options)

    def _begin(self, given: Mapping[Node[Any], Any]) -> Run[T_co]:
        options = dict(self._options)
        runtime = current_runtime(options.pop("runtime"))
        run: Run[T_co] = runtime.begin_plan(self._shape, self._plan, given, **options)
        return run

    def _given(self, args: tuple[Any, ...], inputs: dict[str, Any]) -> dict[Node[Any], Any]:
        if args or len(inputs) != len(self.inputs) or not all(map(inputs.__contains__, self.inputs)):
            raise TypeError(self._complaint(args, inputs))
        for name, value in inputs.items():
            if issubclass(type(value), Node):
                raise TypeError(f"{name}= takes a value, and {value!r} is a node: await it first")
        return {node: inputs[node._function.name] for node in self._plan.inputs}

    def _complaint(self, args: tuple[Any, ...], inputs: Mapping[str, Any]) -> str:
        names = ", ".join(f"{name}=" for name in self.inputs)
        right = f"this graph takes the inputs {names}" if names else "this graph takes no inputs"
        if args:
            return f"{right}{' by name' if names else ''}, not {len(args)} without a name"
        missing = [f"{name}=" for name in self.inputs if name not in inputs]
        unknown = [f"{name}=" for name in inputs if name not in self.inputs]
        wrong = [f"missing: {', '.join(missing)}"] * bool(missing) + [
            f"unknown: {', '.join(unknown)}"
        ] * bool(unknown)
        return f"{right}; {'; '.join(wrong)}"


def _compiled(request: tuple[Any, ...], options: dict[str, Any]) -> Compiled[Any]:
    return Compiled(request, **options)
