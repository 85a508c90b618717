"""From the object that was named to the nodes that are asked for, and from inputs to where they belong.

A name among the inputs is a parameter of the function that makes the nodes, an `Input` of the nodes, or both;
one that is neither, and a parameter or an `Input` without a value, are errors before anything runs.
"""

from __future__ import annotations

import difflib
import inspect
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from asyncgraph import Compiled
from asyncgraph._cli.exits import MISUSED, NOT_LOADED, CommandError
from asyncgraph._cli.loading import load, nodes_in
from asyncgraph._graph.arguments import search
from asyncgraph._graph.node import Node, in_dependency_order

__all__ = ["Asked", "Request"]


class Request:
    """Nodes that are asked for.

    Args:
        value: A node, or a container with nodes in it.
        options: What `compile` was told, if they were compiled.

    Attributes:
        value: The same.
        options: Likewise.
        nodes: The nodes.
        inputs: The names of their inputs, each once.

    Raises:
        ValueError: A container holds nodes and itself.
    """

    def __init__(self, value: Any, **options: Any) -> None:
        self.value = value
        self.options = options
        self.nodes: list[Node[Any]] = []
        if isinstance(value, Node):
            self.nodes.append(value)
        else:
            search(value, Node, self.nodes)
        every = in_dependency_order(self.nodes, with_branches=True)
        names = (node._function.name for node in every if node._function.is_input)
        self.inputs = tuple(dict.fromkeys(names))

    @classmethod
    def of(cls, value: Any) -> Request | None:
        """The request that an object is, or None if it is none. Raises as the class."""
        if isinstance(value, Compiled):
            compiled = value._request
            return cls(compiled[0] if len(compiled) == 1 else compiled, **value._options)
        request = cls(value)
        return request if request.nodes else None


class Asked:
    """What the words of a command ask for.

    Args:
        target: Where it is.
        inputs: Values by name.

    Attributes:
        made: What was named, or what the function that was named has returned; perhaps a coroutine that makes
            it.

    Raises:
        CommandError: It cannot be loaded, or the function's arguments are not all there.
    """

    def __init__(self, target: str, inputs: Mapping[str, Any]) -> None:
        self._target = target
        self._inputs = dict(inputs)
        self._parameters: frozenset[str] = frozenset()
        self.made, self._module = load(target)
        self._verb = "is"
        if callable(self.made) and not isinstance(self.made, Node | Compiled):
            self._verb = "has returned"
            self._call(self.made)

    def request(self, made: Any, *, or_a_value: bool = False) -> Request | None:
        """The nodes in what was made; None if it is just a value, and that is right.

        Raises:
            CommandError: It is no node, or there are no inputs of some of the names.
        """
        try:
            request = Request.of(made)
        except ValueError as error:
            raise CommandError(NOT_LOADED, f"{self._target} {self._verb} no node: {error}") from None
        if request is None and not or_a_value:
            raise CommandError(NOT_LOADED, self._no_node(made))
        known = {*(request.inputs if request is not None else ()), *self._parameters}
        unknown = [name for name in self._inputs if name not in known]
        if unknown:
            raise CommandError(MISUSED, self._no_input(unknown, known))
        return request

    def values(self, request: Request) -> dict[str, Any]:
        """The values for the inputs of these nodes.

        Raises:
            CommandError: Some are missing.
        """
        self._check_there(request.inputs, "inputs")
        return {name: self._inputs[name] for name in request.inputs}

    def _call(self, function: Callable[..., Any]) -> None:
        arguments = self._arguments_of(function)
        try:
            self.made = function(**arguments)
        except Exception as error:
            message = f"{self._target}, which was called for its nodes, has failed"
            raise CommandError(NOT_LOADED, message, error) from None

    def _arguments_of(self, function: Callable[..., Any]) -> dict[str, Any]:
        try:
            parameters = list(inspect.signature(function).parameters.values())
        except (TypeError, ValueError):  # a callable in C that does not tell
            parameters = []
        needed = [each for each in parameters if each.default is each.empty]
        if nameless := [each.name for each in needed if each.kind is each.POSITIONAL_ONLY]:
            names = ", ".join(nameless)
            raise CommandError(
                MISUSED, f"{self._target} takes {names} by position only, and inputs are given by name"
            )
        kinds = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)
        self._check_there([each.name for each in needed if each.kind in kinds], "arguments")
        if any(each.kind is each.VAR_KEYWORD for each in parameters):
            self._parameters = frozenset(self._inputs)
        else:
            self._parameters = frozenset(each.name for each in parameters if each.kind in kinds)
        return {name: value for name, value in self._inputs.items() if name in self._parameters}

    def _check_there(self, names: Iterable[str], what: str) -> None:
        missing = [name for name in names if name not in self._inputs]
        if missing:
            wanted = " ".join(f"--input {name}=..." for name in missing)
            message = f"{self._target} needs values for its {what}: {wanted}"
            near = [each for each in self._inputs if difflib.get_close_matches(each, missing)]
            raise CommandError(MISUSED, f"{message}{', and has no ' + repr(near[0]) if near else ''}")

    def _no_input(self, unknown: list[str], known: set[str]) -> str:
        near = difflib.get_close_matches(unknown[0], known, n=1)
        takes = f"it takes {', '.join(sorted(known))}" if known else "it takes none"
        hint = f"did you mean {near[0]!r}?" if near and len(unknown) == 1 else takes
        return f"{self._target} has no input {', '.join(map(repr, unknown))}; {hint}"

    def _no_node(self, made: Any) -> str:
        names = nodes_in(self._module)
        hint = f"; {self._module.__name__} has the nodes {', '.join(names)}" if names else ""
        text = repr(made)
        shown = text if len(text) <= 60 else f"{text[:57]}..."
        return f"{self._target} {self._verb} {shown}, of type {type(made).__name__}, and no node{hint}"
