"""Shapes of graphs, as mappings from a task's key to the keys that it depends on.

They are what the order of tasks is measured on. Whoever needs numbers instead of keys calls `numbered`.
"""

from __future__ import annotations

import itertools
import random
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from typing import Any

Graph = Mapping[Hashable, Sequence[Hashable]]
Edges = list[tuple[int, ...]]


def numbered(graph: Graph, outputs: Iterable[Hashable] | None = None) -> tuple[Edges, list[Hashable]]:
    """The graph in numbers, as a plan gives them: depth first over the outputs, dependencies first.

    Args:
        graph: The graph.
        outputs: Where to begin; by default the tasks without dependents, as they come.

    Returns:
        The dependencies by number, and the key of each number.
    """
    if outputs is None:
        used = {each for dependencies in graph.values() for each in dependencies}
        outputs = [key for key in graph if key not in used]
    number: dict[Hashable, int] = {}
    entered = set()
    stack = list(outputs)[::-1]
    while stack:
        key = stack[-1]
        if key in number:
            stack.pop()
        elif key not in entered:
            entered.add(key)
            stack += [each for each in list(graph[key])[::-1] if each not in number]
        else:
            number[stack.pop()] = len(number)
    return [tuple(number[each] for each in graph[key]) for key in number], list(number)


def reversed_edges(dependencies: Edges) -> list[list[int]]:
    """The dependents of each task."""
    dependents: list[list[int]] = [[] for _ in dependencies]
    for task, each in enumerate(dependencies):
        for dependency in each:
            dependents[dependency].append(task)
    return dependents


def _reduce(graph: dict[Any, Any], keys: Sequence[Any], fan_in: int, name: str) -> Any:
    """Join `keys`, `fan_in` at a time, until one is left; its key."""
    level = 0
    while len(keys) > 1:
        joined = []
        for index in range(0, len(keys), fan_in):
            key = (name, level, index // fan_in)
            graph[key] = tuple(keys[index : index + fan_in])
            joined.append(key)
        keys = joined
        level += 1
    return keys[0]


# -- shapes without a shared result


def chain(length: int) -> Graph:
    """One after another."""
    return {index: (index - 1,) if index else () for index in range(length)}


def chains(count: int, length: int) -> Graph:
    """Chains beside each other."""
    return {(i, j): ((i, j - 1),) if j else () for i in range(count) for j in range(length)}


def tree(leaves: int, fan_in: int) -> Graph:
    """A reduction, `fan_in` at a time; where it does not come out even, the last ones are narrower."""
    graph: dict[Any, Any] = {("leaf", index): () for index in range(leaves)}
    _reduce(graph, list(graph), fan_in, "join")
    return graph


def comb(length: int, *, leaf_first: bool) -> Graph:
    """A fold in which each step joins one new leaf, named before or after what there is so far."""
    graph: dict[Any, Any] = {("leaf", index): () for index in range(length)}
    last: Any = ("leaf", 0)
    for index in range(1, length):
        pair = (("leaf", index), last)
        graph["fold", index] = pair if leaf_first else pair[::-1]
        last = "fold", index
    return graph


def uneven_tree(leaves: int, most: int, seed: int) -> Graph:
    """A random tree: at each step, up to `most` of what is there are joined."""
    chance = random.Random(seed)
    graph: dict[Any, Any] = {("leaf", index): () for index in range(leaves)}
    open_keys: list[Any] = list(graph)
    for step in itertools.count():
        if len(open_keys) == 1:
            return graph
        taken = chance.sample(range(len(open_keys)), min(len(open_keys), chance.randint(2, most)))
        graph["join", step] = tuple(open_keys[index] for index in taken)
        open_keys = [key for index, key in enumerate(open_keys) if index not in taken]
        open_keys.append(("join", step))
    raise AssertionError


def forest(trees: int, leaves: int, fan_in: int) -> Graph:
    """Reductions beside each other."""
    graph: dict[Any, Any] = {}
    for index in range(trees):
        keys = [(index, "leaf", leaf) for leaf in range(leaves)]
        graph.update(dict.fromkeys(keys, ()))
        _reduce(graph, keys, fan_in, f"join-{index}")
    return graph


# -- shapes with shared results


def fan(width: int) -> Graph:
    """One result, used by many, which are joined."""
    graph: dict[Any, Any] = {"one": ()}
    graph.update(dict.fromkeys(range(width), ("one",)))
    graph["all"] = tuple(range(width))
    return graph


def fan_tree(width: int, fan_in: int) -> Graph:
    """One result, used by many, which are reduced."""
    graph: dict[Any, Any] = {"one": ()}
    graph.update(dict.fromkeys(range(width), ("one",)))
    _reduce(graph, list(range(width)), fan_in, "join")
    return graph


def shuffle(inputs: int, outputs: int, *, by_input: bool = False) -> Graph:
    """Each input is split into a piece for each output."""
    graph: dict[Any, Any] = {("in", i): () for i in range(inputs)}
    graph.update({(i, o): (("in", i),) for i in range(inputs) for o in range(outputs)})
    joins = {("out", o): tuple((i, o) for i in range(inputs)) for o in range(outputs)}
    if by_input:
        graph["end"] = tuple(joins)
    return graph | joins


def shuffle_in_stages(width: int, radix: int) -> Graph:
    """A shuffle in which groups of `radix` exchange pieces, then groups across, until all have met all."""
    graph: dict[Any, Any] = {(0, i): () for i in range(width)}
    stride, stage = 1, 0
    while stride < width:
        for i in range(width):
            base = i - (i // stride % radix) * stride
            pieces = []
            for j in range(radix):
                piece = ("piece", stage, base + j * stride, i)
                graph[piece] = ((stage, base + j * stride),)
                pieces.append(piece)
            graph[stage + 1, i] = tuple(pieces)
        stride *= radix
        stage += 1
    return graph


def stencil(
    width: int, steps: int, reach: int = 1, *, is_ring: bool = False, is_joined: bool = False
) -> Graph:
    """Each cell of a step depends on its neighbours in the step before."""
    graph: dict[Any, Any] = {(0, i): () for i in range(width)}
    for step in range(1, steps + 1):
        for i in range(width):
            near = range(i - reach, i + reach + 1)
            cells = [j % width for j in near] if is_ring else [j for j in near if 0 <= j < width]
            graph[step, i] = tuple((step - 1, j) for j in cells)
    if is_joined:
        _reduce(graph, [(steps, i) for i in range(width)], 4, "join")
    return graph


def stencil_2d(width: int, steps: int) -> Graph:
    """A five-point stencil on a square."""
    cells = list(itertools.product(range(width), repeat=2))
    graph: dict[Any, Any] = {(0, i, j): () for i, j in cells}
    for step in range(1, steps + 1):
        for i, j in cells:
            near = ((i, j), (i - 1, j), (i + 1, j), (i, j - 1), (i, j + 1))
            graph[step, i, j] = tuple((step - 1, *cell) for cell in near if (0, *cell) in graph)
    return graph


def butterfly(width: int) -> Graph:
    """The data flow of a fast Fourier transform."""
    graph: dict[Any, Any] = {(0, i): () for i in range(width)}
    for step in range(width.bit_length() - 1):
        for i in range(width):
            graph[step + 1, i] = ((step, i), (step, i ^ (1 << step)))
    return graph


def wavefront(height: int, width: int, *, is_corner_used: bool = True) -> Graph:
    """Dynamic programming: each cell depends on those above, to the left and between."""
    graph: dict[Any, Any] = {}
    for i in range(height):
        for j in range(width):
            near = [(i - 1, j), (i, j - 1)] + ([(i - 1, j - 1)] if is_corner_used else [])
            graph[i, j] = tuple(cell for cell in near if cell in graph)
    return graph


def triangle(size: int) -> Graph:
    """Forward substitution: each result is used in every later row."""
    graph: dict[Any, Any] = {}
    for i in range(size):
        graph["row", i] = ()
        for j in range(i):
            graph["step", i, j] = (("step", i, j - 1) if j else ("row", i), ("x", j))
        graph["x", i] = (("step", i, i - 1) if i else ("row", i),)
    return graph


def cholesky(size: int) -> Graph:
    """A tiled Cholesky factorisation."""
    graph: dict[Any, Any] = {(0, i, j): () for i in range(size) for j in range(i + 1)}
    for k in range(size):
        graph["L", k, k] = ((k, k, k),)
        for i in range(k + 1, size):
            graph["L", i, k] = ((k, i, k), ("L", k, k))
        for i in range(k + 1, size):
            for j in range(k + 1, i + 1):
                graph[k + 1, i, j] = ((k, i, j), *{("L", i, k): 1, ("L", j, k): 1})
    return graph


def centred(blocks: int, fan_in: int, *, again: int = 1) -> Graph:
    """`(x - x.mean()).sum()`, the same thing `again` times one after another."""
    graph: dict[Any, Any] = {(0, i): () for i in range(blocks)}
    for turn in range(again):
        parts = []
        for i in range(blocks):
            graph["part", turn, i] = ((turn, i),)
            parts.append(("part", turn, i))
        mean = _reduce(graph, parts, fan_in, f"mean-{turn}")
        for i in range(blocks):
            graph[turn + 1, i] = ((turn, i), mean)
    sums = []
    for i in range(blocks):
        graph["sum", i] = ((again, i),)
        sums.append(("sum", i))
    _reduce(graph, sums, fan_in, "total")
    return graph


def anomaly(steps: int, groups: int, fan_in: int) -> Graph:
    """Each step minus the mean of its group, the whole averaged; as in climate data."""
    graph: dict[Any, Any] = {("x", i): () for i in range(steps)}
    means = {}
    for group in range(groups):
        parts = []
        for i in range(group, steps, groups):
            graph["pick", i] = (("x", i),)
            graph["part", i] = (("pick", i),)
            parts.append(("part", i))
        means[group] = _reduce(graph, parts, fan_in, f"mean-{group}")
    chunks = []
    for i in range(steps):
        graph["expand", i] = (means[i % groups],)
        graph["anomaly", i] = (("x", i), ("expand", i))
        graph["chunk", i] = (("anomaly", i),)
        chunks.append(("chunk", i))
    _reduce(graph, chunks, fan_in, "mean")
    return graph


def products(steps: int, fan_in: int) -> Graph:
    """Means of u*u, of v*v and of u*v over many steps."""
    graph: dict[Any, Any] = {}
    parts: dict[str, list[Any]] = {"uu": [], "vv": [], "uv": []}
    for i in range(steps):
        graph["u", i] = graph["v", i] = ()
        for pair, keys in parts.items():
            graph[pair, i] = tuple(dict.fromkeys((each, i) for each in pair))
            graph["part", pair, i] = ((pair, i),)
            keys.append(("part", pair, i))
    for pair, keys in parts.items():
        _reduce(graph, keys, fan_in, f"mean-{pair}")
    return graph


def matmul(size: int, *, fan_in: int = 0) -> Graph:
    """A product of two square matrices of blocks, each block summed at once or by a tree."""
    blocks = list(itertools.product(range(size), repeat=2))
    graph: dict[Any, Any] = {(name, i, j): () for name in "ab" for i, j in blocks}
    for i, j in blocks:
        parts = []
        for k in range(size):
            graph["ab", i, j, k] = (("a", i, k), ("b", k, j))
            parts.append(("ab", i, j, k))
        if fan_in:
            _reduce(graph, parts, fan_in, f"sum-{i}-{j}")
        else:
            graph["sum", i, j] = tuple(parts)
    return graph


def gram(size: int) -> Graph:
    """All pairs of inputs, each used with every other."""
    graph: dict[Any, Any] = dict.fromkeys(range(size), ())
    graph.update({(i, j): (i, j) for i in range(size) for j in range(i)})
    return graph


def tall_qr(blocks: int) -> Graph:
    """Factors of a tall matrix: a tree down to one, and back up to every block."""
    graph: dict[Any, Any] = {("x", i): () for i in range(blocks)}
    graph.update({("qr", i): (("x", i),) for i in range(blocks)})
    graph.update({("r", i): (("qr", i),) for i in range(blocks)})
    graph.update({("q", i): (("qr", i),) for i in range(blocks)})
    graph["stack"] = tuple(("r", i) for i in range(blocks))
    graph["q2"] = graph["r2"] = ("stack",)
    for i in range(blocks):
        graph["slice", i] = ("q2",)
        graph["u", i] = (("q", i), ("slice", i))
    return graph


def staircase(length: int) -> Graph:
    """One source used by every step of a fold; the pieces reach it one after another."""
    graph: dict[Any, Any] = {"source": ()}
    for i in range(length):
        graph["piece", i] = ("source",)
        graph["fold", i] = (("fold", i - 1), ("piece", i)) if i else (("piece", i),)
    return graph


def ladder(length: int, rails: int) -> Graph:
    """Folds beside each other over the same pieces."""
    graph: dict[Any, Any] = {}
    for i in range(length):
        graph["piece", i] = ()
        for rail in range(rails):
            before = (("fold", rail, i - 1),) if i else ()
            graph["fold", rail, i] = (*before, ("piece", i))
    return graph


def overlap(blocks: int) -> Graph:
    """Each block is joined with slices of its neighbours, worked on and trimmed."""
    graph: dict[Any, Any] = {("x", i): () for i in range(blocks)}
    for i in range(blocks):
        edges = []
        for j in (i - 1, i + 1):
            if 0 <= j < blocks:
                graph["edge", i, j] = (("x", j),)
                edges.append(("edge", i, j))
        graph["wide", i] = (("x", i), *edges)
        graph["done", i] = (("wide", i),)
        graph["trim", i] = (("done", i),)
    return graph


def rechunk(old: int, new: int) -> Graph:
    """`old` blocks of a line become `new` ones by cutting and joining."""
    graph: dict[Any, Any] = {("old", i): () for i in range(old)}
    for i in range(new):
        first, last = i * old // new, -(-(i + 1) * old // new)
        for j in range(first, last):
            graph["cut", j, i] = (("old", j),)
        graph["new", i] = tuple(("cut", j, i) for j in range(first, last))
    return graph


def layers(width: int, depth: int, fan_in: int, seed: int) -> Graph:
    """Layers of random edges, as in a build or in a feature pipeline."""
    chance = random.Random(seed)
    graph: dict[Any, Any] = {(0, i): () for i in range(width)}
    for layer in range(1, depth + 1):
        for i in range(width):
            graph[layer, i] = tuple((layer - 1, j) for j in chance.sample(range(width), fan_in))
    return graph


def random_graph(size: int, most: int, reach: int, seed: int) -> Graph:
    """Each task depends on up to `most` of the `reach` before it."""
    chance = random.Random(seed)
    graph: dict[Any, Any] = {}
    for i in range(size):
        near = range(max(0, i - reach), i)
        graph[i] = tuple(chance.sample(near, min(len(near), chance.randint(0, most))))
    return graph


def service(requests: int, seed: int) -> Graph:
    """A page: users, their orders, the items of each (often the same ones), joined level by level."""
    chance = random.Random(seed)
    graph: dict[Any, Any] = {}
    for user in range(requests):
        graph["user", user] = ()
        graph["orders", user] = (("user", user),)
        items = [("item", chance.randrange(requests)) for _ in range(chance.randint(1, 5))]
        for item in items:
            graph.setdefault(item, ())
        graph["summary", user] = (("orders", user), *dict.fromkeys(items))
    graph["page"] = tuple(("summary", user) for user in range(requests))
    return graph


SHAPES: dict[str, Callable[[], Graph]] = {
    "chain of 100": lambda: chain(100),
    "20 chains of 10": lambda: chains(20, 10),
    "tree of 256 by 2": lambda: tree(256, 2),
    "tree of 243 by 3": lambda: tree(243, 3),
    "tree of 1000 by 4": lambda: tree(1000, 4),
    "tree of 1000 by 16": lambda: tree(1000, 16),
    "tree of 777 by 8": lambda: tree(777, 8),
    "comb, leaf first": lambda: comb(200, leaf_first=True),
    "comb, leaf last": lambda: comb(200, leaf_first=False),
    **{f"uneven tree {seed}": lambda seed=seed: uneven_tree(300, 2 + seed, seed) for seed in range(6)},
    "10 trees of 64 by 4": lambda: forest(10, 64, 4),
    "fan of 100": lambda: fan(100),
    "fan and tree of 256 by 4": lambda: fan_tree(256, 4),
    "shuffle 64 x 64": lambda: shuffle(64, 64),
    "shuffle 64 x 64, joined": lambda: shuffle(64, 64, by_input=True),
    "shuffle 16 x 4": lambda: shuffle(16, 4),
    "shuffle 4 x 16": lambda: shuffle(4, 16),
    "shuffle of 64 in stages of 4": lambda: shuffle_in_stages(64, 4),
    "shuffle of 64 in stages of 8": lambda: shuffle_in_stages(64, 8),
    "stencil 100 x 5": lambda: stencil(100, 5),
    "stencil 20 x 40": lambda: stencil(20, 40),
    "stencil 50 x 10, wide": lambda: stencil(50, 10, 2),
    "stencil 64 x 8, ring": lambda: stencil(64, 8, is_ring=True),
    "stencil 100 x 5, joined": lambda: stencil(100, 5, is_joined=True),
    "stencil 12 x 12 x 4": lambda: stencil_2d(12, 4),
    "butterfly of 16": lambda: butterfly(16),
    "butterfly of 64": lambda: butterfly(64),
    "butterfly of 256": lambda: butterfly(256),
    "wavefront 30 x 30": lambda: wavefront(30, 30),
    "wavefront 10 x 60": lambda: wavefront(10, 60),
    "wavefront 60 x 10": lambda: wavefront(60, 10),
    "wavefront 30 x 30, no corner": lambda: wavefront(30, 30, is_corner_used=False),
    "forward substitution of 20": lambda: triangle(20),
    "cholesky of 8": lambda: cholesky(8),
    "centred sum of 64": lambda: centred(64, 4),
    "centred sum of 64, 3 times": lambda: centred(64, 4, again=3),
    "anomaly 60 / 5": lambda: anomaly(60, 5, 4),
    "anomaly 200 / 12": lambda: anomaly(200, 12, 4),
    "products of 100": lambda: products(100, 4),
    "matmul 6": lambda: matmul(6),
    "matmul 8 by 4": lambda: matmul(8, fan_in=4),
    "gram of 20": lambda: gram(20),
    "tall qr of 40": lambda: tall_qr(40),
    "staircase of 100": lambda: staircase(100),
    "ladder of 50 by 4": lambda: ladder(50, 4),
    "overlap of 50": lambda: overlap(50),
    "rechunk 100 to 30": lambda: rechunk(100, 30),
    "rechunk 7 to 64": lambda: rechunk(7, 64),
    **{
        f"layers {seed}": lambda seed=seed: layers(20 + 10 * seed, 8, 2 + seed % 2, seed) for seed in range(4)
    },
    **{
        f"random graph {seed}": lambda seed=seed: random_graph(200 + 100 * seed, 3, 10 + 20 * seed, seed)
        for seed in range(6)
    },
    "service of 100": lambda: service(100, 1),
}
