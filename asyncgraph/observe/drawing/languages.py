"""Graphs as text that other programs draw: Mermaid (GitHub, notebooks) and DOT (Graphviz)."""

from __future__ import annotations

import re
from collections.abc import Callable

from asyncgraph._graph.graph import Graph, Task

__all__ = ["draw", "to_dot", "to_mermaid"]


def draw(graph: Graph, format: str) -> str:
    """The graph as text in `format`; raises ValueError for one that is not known."""
    formats: dict[str, Callable[[Graph], str]] = {"dot": to_dot, "mermaid": to_mermaid}
    if format not in formats:
        raise ValueError(f"there is no format {format!r}: format= is one of {', '.join(map(repr, formats))}")
    return formats[format](graph)


def to_mermaid(graph: Graph) -> str:
    """A Mermaid flowchart: round for functions, square for data, an arrow from each dependency."""
    numbers = {key: number for number, key in enumerate(graph)}
    lines = ["flowchart BT"]
    for key, task in graph.items():
        start, end = ("[", "]") if _is_data(task) else ("(", ")")
        lines.append(f'    n{numbers[key]}{start}"{_escaped(_label(key, task))}"{end}')
    lines += [f"    n{numbers[start]} --> n{numbers[end]}" for start, end in _edges(graph)]
    return "\n".join(lines)


# In a Mermaid label: what ends it, HTML, and what Mermaid takes for Markdown, mathematics or the start of an
# escape. An underscore within a word is none of these.
_SPECIAL = re.compile(r"""["#<>&`*~$\\\n]|(?<![^\W_])_|_(?![^\W_])""")


def _escaped(text: str) -> str:
    """Text for a Mermaid label, where special characters are written as entities."""
    return _SPECIAL.sub(lambda match: "<br>" if match[0] == "\n" else f"#{ord(match[0])};", text)


def to_dot(graph: Graph) -> str:
    """A DOT digraph: ellipses for functions, boxes for data, an arrow from each dependency."""
    lines = ["digraph {", "  rankdir=BT"]
    for key, task in graph.items():
        shape = "box" if _is_data(task) else "ellipse"
        lines.append(f"  {_quoted(key)} [label={_quoted(_label(key, task))}, shape={shape}]")
    lines += [f"  {_quoted(start)} -> {_quoted(end)}" for start, end in _edges(graph)]
    return "\n".join([*lines, "}"])


def _quoted(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
    return f'"{escaped}"'


def _is_data(task: Task) -> bool:
    return task.function is None and not task.dependencies


def _label(key: str, task: Task) -> str:
    return repr(task) if _is_data(task) else key


def _edges(graph: Graph) -> list[tuple[str, str]]:
    return [(dependency, key) for key, task in graph.items() for dependency in task.dependencies]
