"""A node as data: one recorded call, with what it depends on and where it was written.

This is the record behind the user's `Delayed`; it knows no operators and runs nothing. Nodes are
immutable once built, so a graph of them can hold no cycle, be shared between runs, and be read from
any thread.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import lru_cache
from types import CodeType
from typing import Any, Generic, NamedTuple, TypeVar

from asyncgraph._graph.function import Function
from asyncgraph._graph.pieces import PIECE, Pieces, cut, whole

__all__ = [
    "NO_KWARGS",
    "Branch",
    "Node",
    "Site",
    "branches_of",
    "dependency_order",
    "in_dependency_order",
    "key_of",
    "site_of",
    "tree_order",
]

T_co = TypeVar("T_co", covariant=True)

NO_KWARGS: Mapping[str, Any] = {}


class Site(NamedTuple):
    """A place in a source file: where a node was built."""

    file: str
    line: int
    function: str

    def __str__(self) -> str:
        return f"{self.file}, line {self.line}, in {self.function}"


class Node(Generic[T_co]):
    """One recorded call of `_function`, as `_args` and `_kwargs` say.

    Among the arguments, nodes stand for their values and a `Template` stands for a container with
    nodes inside; `_dependencies` lists all these nodes in order of appearance (one that appears
    twice is listed twice). `_code` and `_lasti` are the code object and the instruction of the call
    that built the node: two pointers, from which `site_of` finds file and line when they are wanted.
    """

    # No __dict__: a slotted node of two arguments takes about 200 bytes, with one about 350.
    __slots__ = ("__weakref__", "_args", "_code", "_dependencies", "_function", "_key", "_kwargs", "_lasti")

    def __init__(
        self,
        function: Function,
        args: tuple[Any, ...],
        kwargs: Mapping[str, Any],
        dependencies: tuple[Node[Any], ...],
        code: CodeType | Site | None,
        lasti: int,
    ) -> None:
        self._function = function
        self._args = args
        self._kwargs = kwargs
        self._dependencies = dependencies
        self._code = code
        self._lasti = lasti
        self._key: str | None = None


class Branch:
    """One of the nodes that a choice is between, among its arguments; no dependency: it may never run.

    Attributes:
        node: The node.
    """

    __slots__ = ("node",)

    def __init__(self, node: Node[Any]) -> None:
        self.node = node

    def __repr__(self) -> str:
        return repr(self.node)


def branches_of(node: Node[Any]) -> tuple[Node[Any], ...]:
    """The nodes that `node` is a choice between; none, if it is no choice."""
    if not node._function.is_choice:
        return ()
    return tuple([value.node for value in node._args if type(value) is Branch])


_counters: dict[str, Iterator[int]] = {}
_claims: dict[int, str] = {}


def key_of(node: Node[Any]) -> str:
    """The node's readable identity, as `parse-7`: given on first request, unique in this process."""
    if node._key is None:
        name = node._function.name
        # Two threads may ask at once, and must get the same answer: whoever comes first with
        # `setdefault` (which is atomic) has named the node, unless that has been recorded already.
        counter = _counters.get(name) or _counters.setdefault(name, itertools.count(1))
        key = _claims.setdefault(id(node), f"{name}-{next(counter)}")
        if node._key is None:
            object.__setattr__(node, "_key", key)
        _claims.pop(id(node), None)
    assert node._key is not None
    return node._key


def site_of(node: Node[Any]) -> Site | None:
    """Where the node was built, or None if that is not known."""
    code = node._code
    return _site_in(code, node._lasti) if isinstance(code, CodeType) else code


@lru_cache(maxsize=256)  # many nodes are built in few places, and reading the table takes its time
def _site_in(code: CodeType, lasti: int) -> Site:
    line = code.co_firstlineno
    for start, end, number in code.co_lines():
        if start <= lasti < end and number is not None:
            line = number
    return Site(code.co_filename, line, code.co_qualname)


def in_dependency_order(
    outputs: Iterable[Node[Any]],
    is_placed: Callable[[Node[Any]], bool] | None = None,
    *,
    with_branches: bool = False,
) -> list[Node[Any]]:
    """Every node that `outputs` need, dependencies before dependents, depth first, without recursion.

    Where `is_placed` is given, the nodes for which it is true are left out, and what only they need. With
    branches, there is also what they may need, as choices turn out.
    """
    return whole(dependency_order(outputs, is_placed, with_branches=with_branches))


def dependency_order(
    outputs: Iterable[Node[Any]],
    is_placed: Callable[[Node[Any]], bool] | None = None,
    *,
    with_branches: bool = False,
) -> Pieces[list[Node[Any]]]:
    """As `in_dependency_order`, in pieces."""
    ordered: list[Node[Any]] = []
    entered: set[Node[Any]] = set()
    placed: set[Node[Any]] = set()
    stack = list(outputs)
    stack.reverse()
    while stack:
        for _ in range(PIECE):
            node = stack[-1]
            if node in placed or (is_placed is not None and is_placed(node)):
                stack.pop()
            elif node._dependencies and node not in entered:
                entered.add(node)
                if with_branches:
                    stack += branches_of(node)[::-1]
                stack += [each for each in node._dependencies[::-1] if each not in placed]
            elif with_branches and node not in entered and (branches := branches_of(node)):
                entered.add(node)
                stack += branches[::-1]
            else:
                stack.pop()
                placed.add(node)
                ordered.append(node)
            if not stack:
                break
        else:
            yield
    return ordered


# After so many nodes `tree_order` looks for the first time whether what it sees is a tree, then each time
# that it has seen four times as many.
_FIRST_LOOK = 500


def tree_order(outputs: Iterable[Node[Any]]) -> Pieces[list[Node[Any]] | None]:
    """As `dependency_order`, for a graph in which every node is needed once; None for any other.

    Such a graph is walked without asking of each node whether it has been seen before, which takes a
    third of the time; whether one was there twice is seen at the end, and now and then.
    """
    ordered: list[Node[Any]] = []
    stack = list(outputs)
    look_at = _FIRST_LOOK
    while stack:
        for _ in range(PIECE):
            node = stack.pop()
            ordered.append(node)
            if node._dependencies:
                stack += node._dependencies
                if len(ordered) > look_at:
                    # A node that appears twice doubles all that is below it: without this look, thirty
                    # levels of that would be a billion nodes.
                    if not (yield from _are_different(ordered)):
                        return None
                    look_at = 4 * len(ordered)
            if not stack:
                break
        else:
            yield
    ordered.reverse()
    return ordered if (yield from _are_different(ordered)) else None


def _are_different(nodes: list[Node[Any]]) -> Pieces[bool]:
    seen: set[Node[Any]] = set()
    for some in cut(nodes, 10 * PIECE):
        if seen:
            yield
        seen.update(some)
    return len(seen) == len(nodes)
