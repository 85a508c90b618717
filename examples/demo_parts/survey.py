"""What the demo finds out about Python source; plain functions that know nothing of graphs."""

from __future__ import annotations

import ast
import heapq
import importlib.util
import re
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple, TypeVar

T = TypeVar("T")

MOST = 5
"""How many of the longest functions are kept: of two surveys' longest, the longest are among these."""


class FunctionSize(NamedTuple):
    """A function and its length."""

    lines: int
    name: str
    module: str
    line: int


@dataclass(frozen=True)
class Survey:
    """What was found in some modules; `survey + other` is what was found in both.

    Attributes:
        imports: For each top-level module, how many of the modules import it.
        longest: The longest functions, the longest first.
    """

    modules: int
    lines: int
    functions: int
    longest: tuple[FunctionSize, ...]
    imports: Counter[str]
    words: Counter[str]

    def __add__(self, other: Survey) -> Survey:
        return Survey(
            modules=self.modules + other.modules,
            lines=self.lines + other.lines,
            functions=self.functions + other.functions,
            longest=tuple(heapq.nlargest(MOST, self.longest + other.longest)),
            imports=self.imports + other.imports,
            words=self.words + other.words,
        )


def survey_of(source: bytes, module: str) -> Survey:
    """Survey one module; raises SyntaxError if it does not parse."""
    tree = ast.parse(source, filename=module)
    text = importlib.util.decode_source(source)
    functions = list(functions_in(tree, module))
    return Survey(
        modules=1,
        lines=len(text.splitlines()),
        functions=len(functions),
        longest=tuple(heapq.nlargest(MOST, functions)),
        imports=Counter(set(imports_in(tree))),
        words=Counter(word.lower() for word in re.findall(r"[A-Za-z]{2,}", text)),
    )


def functions_in(tree: ast.AST, module: str) -> Iterator[FunctionSize]:
    """Every function and method, at any depth."""
    pending: list[tuple[ast.AST, str]] = [(tree, "")]
    for node, prefix in pending:
        name = prefix
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            name = f"{prefix}{node.name}."
            if not isinstance(node, ast.ClassDef):
                lines = (node.end_lineno or node.lineno) - node.lineno + 1
                yield FunctionSize(lines, name[:-1], module, node.lineno)
        # There are no `def`s inside expressions, which are most of a tree.
        pending += [(child, name) for child in ast.iter_child_nodes(node) if not isinstance(child, ast.expr)]


def imports_in(tree: ast.AST) -> Iterator[str]:
    """Top-level names of the modules that are imported; of a package by itself, none."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name.partition(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            yield node.module.partition(".")[0]


def merged_in_pairs(items: Sequence[T], merge: Callable[[T, T], T]) -> T:
    """Merge neighbours, then the results of that, until one is left: a tree of merges.

    Called with a delayed `merge`, and nodes as items, it builds the tree; with a plain one it merges.
    """
    while len(items) > 1:
        odd_one = items[len(items) // 2 * 2 :]
        items = [*map(merge, items[::2], items[1::2]), *odd_one]
    return items[0]
