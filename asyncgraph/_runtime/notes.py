"""What a failure says about the graph: which node, wanted by whom, run where, built at which line."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from asyncgraph._graph.node import Node, key_of, site_of
from asyncgraph._graph.scheduler import Scheduler
from asyncgraph.errors import AsyncgraphError, DependencyError

__all__ = ["describe", "not_run", "path_to"]

# A path is cut in the middle beyond this many keys: the requested output and the failure tell most.
_LONGEST_PATH = 12


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


def describe(error: BaseException, node: Node[Any], path: tuple[str, ...]) -> None:
    """Add to `error` the note that says which node failed; asyncgraph's own errors get attributes too.

    An exception object that comes back a second time with the same note keeps one.
    """
    function, key = node._function, key_of(node)
    if isinstance(error, AsyncgraphError) and error.key is None:
        error.node, error.key, error.path = function.name, key, path
    lines = [f"asyncgraph: node {key} ({function.name}) failed, {function.executor} executor, attempt 1"]
    if len(path) > 1:
        lines.append(f"  wanted by: {' <- '.join(path)}")
    site = site_of(node)
    if site is not None:
        lines.append(f"  built at:  {site.file}:{site.line}, in {site.function}")
    note = "\n".join(lines)
    if note not in getattr(error, "__notes__", ()):
        error.add_note(note)


def not_run(node: Node[Any], path: tuple[str, ...], failed: Node[Any], why: BaseException) -> DependencyError:
    """The error that stands for a node which was not run because `failed` has failed."""
    error = DependencyError(
        f"{key_of(node)} was not run: {key_of(failed)}, which it needs, failed with {why!r}",
        node=node._function.name,
        key=key_of(node),
        path=path,
    )
    error.__cause__ = why
    return error
