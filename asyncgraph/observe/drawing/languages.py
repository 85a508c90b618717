"""Drawings as text that other programs read: Mermaid (GitHub, notebooks), DOT (Graphviz), JSON."""

from __future__ import annotations

import json
import re

from asyncgraph.observe.drawing.paint import Painted
from asyncgraph.observe.drawing.shapes import Edge, Figure, Shape

__all__ = ["dot_text", "json_text", "mermaid_text"]


# --- Mermaid ---

_MERMAID_SHAPES = {
    "function": ("(", ")"),
    "data": ("[", "]"),
    "choice": ("{{", "}}"),
    "resource": ("[(", ")]"),
}


def mermaid_text(figure: Figure) -> str:
    """A Mermaid flowchart: round for functions, square for data, an arrow from each dependency."""
    lines = ["flowchart BT"]
    for number, shape in enumerate(figure.shapes):
        start, end = _MERMAID_SHAPES[shape.kind]
        lines.append(f'    n{number}{start}"{_escaped(shape.label)}"{end}')
    return "\n".join([*lines, *map(_mermaid_edge, figure.edges)])


def _mermaid_edge(edge: Edge) -> str:
    arrow = "-.->" if edge.is_side else "-->"
    label = f'|"{_escaped(edge.label)}"|' if edge.label else ""
    return f"    n{edge.start} {arrow}{label} n{edge.end}"


# In a Mermaid label: what ends it, HTML, and what Mermaid takes for Markdown, mathematics or the start of an
# escape. An underscore within a word is none of these.
_SPECIAL = re.compile(r"""["#<>&`*~$\\]|(?<![^\W_])_|_(?![^\W_])""")


def _escaped(text: str) -> str:
    """Text for a Mermaid label, where special characters are written as entities."""
    return _SPECIAL.sub(lambda match: f"#{ord(match[0])};", text)


# --- DOT ---

_DOT_SHAPES = {"function": "ellipse", "data": "box", "choice": "hexagon", "resource": "cylinder"}


def dot_text(figure: Figure, paint: Painted) -> str:
    """A DOT digraph: ellipses for functions, boxes for data, an arrow from each dependency."""
    ids = _dot_ids(figure)
    lines = [
        "digraph {",
        "  rankdir=BT",
        '  node [fontname="Helvetica", fontsize=11, style=filled]',
        '  edge [fontname="Helvetica", fontsize=9, color="#767676", fontcolor="#767676"]',
    ]
    for number, shape in enumerate(figure.shapes):
        fill = paint.fills[number]
        attributes = {
            "label": shape.label,
            "shape": _DOT_SHAPES[shape.kind],
            "fillcolor": fill.inside,
            "color": fill.around,
            "tooltip": "\n".join([*shape.lines, *paint.lines[number]]),
        }
        if len(shape.members) > 1:
            attributes["peripheries"] = "2"
        lines.append(f"  {ids[number]}{_attributes(attributes)}")
    for edge in figure.edges:
        attributes = {"label": edge.label} if edge.label else {}
        if edge.is_side:
            attributes["style"] = "dashed"
        lines.append(f"  {ids[edge.start]} -> {ids[edge.end]}{_attributes(attributes)}")
    return "\n".join([*lines, "}"])


def _dot_ids(figure: Figure) -> list[str]:
    """The key of each node, and something that is no key for several nodes at once."""
    ids: dict[str, int] = {}
    names = [shape.keys[0] if len(shape.members) == 1 else "" for shape in figure.shapes]
    for number, name in enumerate(names):
        # Two keys may differ in what cannot be shown.
        unique = name or f"group {number}"
        while unique in ids or (unique != name and unique in names):
            unique += "'"
        ids[unique] = number
    return list(map(_quoted, ids))


def _attributes(attributes: dict[str, str]) -> str:
    if not attributes:
        return ""
    return f" [{', '.join([f'{name}={_quoted(value)}' for name, value in attributes.items()])}]"


def _quoted(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
    return f'"{escaped}"'


# --- JSON ---


def json_text(figure: Figure, paint: Painted) -> str:
    """An object with the "nodes" and the "edges" of the drawing, and how many "boxes" there are."""
    nodes = [_json_node(number, shape, paint) for number, shape in enumerate(figure.shapes)]
    edges = [
        {
            "from": edge.start,
            "to": edge.end,
            "argument": edge.label,
            "count": edge.pairs,
        }
        for edge in figure.edges
    ]
    return json.dumps({"boxes": figure.boxes, "nodes": nodes, "edges": edges}, ensure_ascii=False, indent=1)


def _json_node(number: int, shape: Shape, paint: Painted) -> dict[str, object]:
    return {
        "id": number,
        "label": shape.label,
        "name": shape.name,
        "kind": shape.kind,
        "executor": shape.executor,
        "count": len(shape.members),
        "keys": list(shape.keys),
        "color": paint.fills[number].inside,
        "details": [*shape.lines, *paint.lines[number]],
    }
