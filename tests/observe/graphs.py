"""Graphs to draw, and text that is awkward to show."""

from __future__ import annotations

import random
import xml.etree.ElementTree as ET
from collections.abc import Sequence
from typing import Any

from asyncgraph import delayed
from asyncgraph.observe.drawing import Box
from asyncgraph.observe.drawing.model import Details

SVG = "{http://www.w3.org/2000/svg}"

AWKWARD = {
    "quote": "a\"b'c",
    "backslash": "a\\b",
    "newline": "a\nb",
    "brackets": "[a](b){c}",
    "html": "<b>&amp;</b><script>alert(1)</script>",
    "comment": "--><!--]]>",
    "template": "$svg ${title} %s {0}",
    "entity": "#35;",
    "semicolon": "a;b",
    "markdown": "*a* `b` ~c~",
    "mathematics": "$$a$$",
    "arrow": "a --> b",
    "word": "end",
    "unicode": "größe",
    "wide": "漢字かな交じり文",
    "right to left": "שלום עולם",
    "emoji": "👩‍👩‍👧‍👦🎉",
    "combining": "e\u0301\u0323\u0308",
    "control": "a\x00b\x1b[31mc",
    "surrogate": "a\ud800b",
    "separators": "a\u2028b\u2029c\x85d",
    "long": "x" * 5_000,
    "long words": "lorem ipsum " * 200,
    "blank": " ",
}


@delayed
async def fetch(url: Any) -> None:
    """Stand for a function; nobody runs it."""


@delayed(executor="process")
def parse(text: Any) -> None:
    """Stand for a function; nobody runs it."""


@delayed
def save(words: Any) -> None:
    """Stand for a function; nobody runs it."""


@delayed
def merge(one: Any, other: Any) -> None:
    """Stand for a function; nobody runs it."""


@delayed
def inc(x: Any) -> None:
    """Stand for a function; nobody runs it."""


def mission(number: int) -> Any:
    """Return what fetches, parses and saves so many pages."""
    return delayed(sum)([save(parse(fetch(each))) for each in range(number)]) + 1


def chain(number: int) -> Any:
    """Return so many calls, each of what the one before gives."""
    node: Any = delayed(0)
    for _ in range(number):
        node = inc(node)
    return node


def pairwise(number: int) -> Any:
    """Return so many fetched pages, merged as a tree."""
    nodes: list[Any] = list(map(fetch, range(number)))
    while len(nodes) > 1:
        pairs = zip(nodes[::2], nodes[1::2], strict=False)
        nodes = [merge(*pair) for pair in pairs] + nodes[len(nodes) // 2 * 2 :]
    return nodes[0]


def lattice(side: int) -> Any:
    """Return a square of calls, each of which takes what its two neighbors give."""
    row: list[Any] = [fetch(0)]
    for _ in range(side - 1):
        row.append(inc(row[-1]))
    for _ in range(side - 1):
        above, row = row, [inc(row[0])]
        for each in above[1:]:
            row.append(merge(row[-1], each))
    return row[-1]


def boxes(dependencies: Sequence[Sequence[int]], names: Sequence[str] | None = None) -> list[Box]:
    """Return boxes that depend on each other like this; each has a name of its own, if none are given."""
    return [
        Box(
            number,
            f"{name}-{number}",
            name,
            "function",
            "thread",
            tuple(needed),
            lambda name=name, needed=needed: Details(name, (name,), ("",) * len(needed)),  # type: ignore[misc]
        )
        for number, (needed, name) in enumerate(
            zip(dependencies, names or [f"f{each}" for each in range(len(dependencies))], strict=True)
        )
    ]


def random_boxes(seed: int, number: int) -> list[Box]:
    """Return boxes of all kinds that depend on each other at random, with labels short and long."""
    dice = random.Random(seed)
    near = dice.choice([3, 10, 40, number])
    most = dice.choice([1, 2, 3, 6])
    found: list[Box] = []
    for position in range(number):
        kind = dice.choice(["function"] * 6 + ["data", "choice", "resource"])
        earlier = range(max(0, position - near), position)
        count = 0 if kind == "data" else min(len(earlier), dice.randrange(most + 1))
        needed = tuple(dice.sample(earlier, count))
        name = dice.choice(["inc", "fetch_page", "漢字", "a much longer name of a function", "W" * 12])
        label = f"{name}-{position}"
        arguments = tuple(dice.choice(["", "left", "right", "another argument"]) for _ in needed)
        details = Details(label, (label,), arguments)
        executor = dice.choice(["loop", "thread", "process", "cluster"])
        found.append(Box(position, label, name, kind, executor, needed, lambda details=details: details))  # type: ignore[misc]
    return found


def fills_of(svg: str) -> dict[str, str]:
    """Return the color of each shape in a picture, by its label."""
    found = ET.fromstring(svg).iter(f"{SVG}g")
    return {
        each.findtext(f"{SVG}text") or "": each.get("fill", "") for each in found if each.get("data-shape")
    }
