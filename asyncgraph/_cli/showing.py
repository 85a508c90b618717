"""`asyncgraph show`: a graph as text, or as a picture; nothing of it is run."""

from __future__ import annotations

import argparse
import inspect
from pathlib import Path

import asyncgraph
from asyncgraph._cli.asking import Asked, Request
from asyncgraph._cli.drawing import draw, format_of
from asyncgraph._cli.exits import FINE, MISUSED, NOT_LOADED, CommandError
from asyncgraph._cli.output import write
from asyncgraph._graph.graph import Graph, Task

__all__ = ["show"]

_NO_TEXT = ("png", "pdf")


def show(options: argparse.Namespace) -> int:
    """Carry the command out; the exit code.

    Raises:
        CommandError: It is wrong, or the graph cannot be drawn like this.
    """
    path: Path | None = options.output
    format = options.format or ("text" if path is None else format_of(path))
    if path is None and format in _NO_TEXT:
        raise CommandError(MISUSED, f"{format} is no text: give a file, as in -o graph.{format}")
    graph = Graph(_request(Asked(options.target, options.inputs), options.target).nodes)
    if format == "text":
        write("".join(_lines(graph)), path)
    elif (text := draw(graph, format, path, collapse=not options.no_collapse)) is not None:
        write(f"{text}\n")
    return FINE


def _request(asked: Asked, target: str) -> Request:
    made = asked.made
    if inspect.iscoroutine(made):
        try:
            made = asyncgraph.run(made)
        except Exception as error:
            message = f"{target}, which was called for its nodes, has failed"
            raise CommandError(NOT_LOADED, message, error) from None
    request = asked.request(made)
    assert request is not None
    return request


def _lines(graph: Graph) -> list[str]:
    """A line for each key: what it stands for, and where that runs if not on the loop."""
    return [f"{key} = {' '.join(repr(task).split())}{_place(task)}\n" for key, task in graph.items()]


def _place(task: Task) -> str:
    return f"  # {task.executor}" if task.executor != "loop" else ""
