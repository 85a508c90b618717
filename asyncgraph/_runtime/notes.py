"""What a failure says about the graph: which node, wanted by whom, run where, built at which line."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from typing import Any

from asyncgraph._graph.node import Node, key_of, site_of
from asyncgraph._graph.scheduler import Scheduler
from asyncgraph.errors import AsyncgraphError, DependencyError
from asyncgraph.executors.safe_text import safe_repr

__all__ = ["add_note", "describe", "not_run", "path_to"]

# A path is cut in the middle beyond this many keys: the requested output and the failure tell most.
_LONGEST_PATH = 12

# So many earlier attempts are told of.
_FEW = 5

_START = "asyncgraph: node "
_BUILT = "\n  built at:  "


def path_to(task: int, nodes: Sequence[Node[Any]], scheduler: Scheduler) -> tuple[str, ...]:
    """The keys from a requested output down to `task`; long paths are cut in the middle, with "…"."""
    numbers = [task]
    while numbers[-1] not in scheduler.outputs:
        # Every task is there because an output needs it, so that any dependent leads to one.
        numbers.append(scheduler.dependents[numbers[-1]][0])
    numbers.reverse()
    if len(numbers) <= _LONGEST_PATH:
        return tuple(key_of(nodes[number]) for number in numbers)
    half = _LONGEST_PATH // 2
    start = tuple(key_of(nodes[number]) for number in numbers[:half])
    end = tuple(key_of(nodes[number]) for number in numbers[-half:])
    return (*start, f"… {len(numbers) - 2 * half} more …", *end)


def describe(
    error: BaseException, node: Node[Any], path: tuple[str, ...], executor: str, failed: Sequence[str] = ()
) -> None:
    """Add to `error` the note that says which node failed; asyncgraph's own errors get attributes too.

    Args:
        error: What the node has failed with.
        node: The node.
        path: The keys from the requested output down to it.
        executor: Where it has run.
        failed: What earlier attempts have failed with.

    An exception object that is raised again and again, as one kept in a variable of a module, has one
    note for each place where nodes that raise it are built, and so does not grow.
    """
    name, key = node._function.name, key_of(node)
    if isinstance(error, AsyncgraphError) and error.key is None:
        error.node, error.key, error.path = name, key, path
    first = f"{_START}{key} ({name}) failed, {executor} executor, attempt {1 + len(failed)}"
    before = "".join(
        f"\n  attempt {number}: {what}"
        for number, what in enumerate(failed, 1)
        if number > len(failed) - _FEW
    )
    wanted = f"\n  wanted by: {' <- '.join(path)}" if len(path) > 1 else ""
    site = site_of(node)
    built = f"{_BUILT}{site.file}:{site.line}, in {site.function}" if site is not None else ""
    with contextlib.suppress(Exception):  # of a class that makes something of its own out of notes
        notes = getattr(error, "__notes__", None)
        if isinstance(notes, list):
            notes[:] = [each for each in notes if not _is_about(each, name, built)]
    add_note(error, first + before + wanted + built)


def add_note(error: BaseException, note: str) -> None:
    """Add a note to `error`. One that refuses, for instance a frozen dataclass, goes without."""
    with contextlib.suppress(Exception):
        BaseException.add_note(error, note)


def _is_about(note: object, name: str, built: str) -> bool:
    """Whether a note tells of a node with this name, built at this place."""
    if not isinstance(note, str) or not note.startswith(_START):
        return False
    is_built_there = note.endswith(built) if built else _BUILT not in note
    return f" ({name}) failed, " in note and is_built_there


def not_run(node: Node[Any], path: tuple[str, ...], failed: Node[Any], why: BaseException) -> DependencyError:
    """The error that stands for a node which was not run because `failed` has failed."""
    error = DependencyError(
        f"{key_of(node)} was not run: {key_of(failed)}, which it needs, failed with {safe_repr(why)}",
        node=node._function.name,
        key=key_of(node),
        path=path,
    )
    error.__cause__ = why
    return error
