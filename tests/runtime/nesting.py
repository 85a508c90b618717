"""Trees of calls that compute each other inside of themselves; worker processes import this module."""

# ruff: noqa: D103 - helpers whose names say it

from __future__ import annotations

import asyncio
from typing import Any, NamedTuple

from asyncgraph import as_completed, compile, delayed, run, start

PATIENCE = 30.0
"""Seconds after which calls that wait for each other will not end any more."""

INSIDE = ["awaited", "together", "background", "completed", "compiled"]
HOWS = ["arguments", "returned", *INSIDE]


class Tree(NamedTuple):
    """A call: where it runs, how it gets the values of those below it, and these."""

    lane: str
    how: str
    below: tuple[Tree, ...] = ()


def expected(tree: Tree) -> int:
    """How many calls there are: what a tree has to come to."""
    return 1 + sum(map(expected, tree.below))


def node_of(tree: Tree) -> Any:
    values = [node_of(each) for each in tree.below] if tree.how == "arguments" else []
    return LANES[tree.lane](tree, *values)


async def work(tree: Tree, *values: int) -> Any:
    """What each call does."""
    if tree.how == "returned":
        return delayed(total)(*map(node_of, tree.below))
    nodes = [] if tree.how == "arguments" else [node_of(each) for each in tree.below]
    if tree.how == "awaited":
        values = tuple([await node for node in nodes])
    elif tree.how == "together":
        values = tuple(await asyncio.gather(*[node.compute() for node in nodes]))
    elif tree.how == "background":
        runs = [start(node) for node in nodes]
        values = tuple([await each for each in runs])
    elif tree.how == "completed":
        values = tuple([value async for _, value in as_completed(nodes)])
    elif nodes:
        values = tuple(await compile([*nodes])())
    return total(*values)


def total(*values: int) -> int:
    return 1 + sum(values)


def alone(tree: Tree, *values: int) -> Any:
    """Work on a loop of its own."""
    return run(work(tree, *values))


class Home:
    """The loop that calls in threads may use, in the process of the test."""

    loop: asyncio.AbstractEventLoop | None = None


def at_home(tree: Tree, *values: int) -> Any:
    """Work on the loop of the run that this is a call of, and wait for that."""
    if Home.loop is None:
        return alone(tree, *values)
    return asyncio.run_coroutine_threadsafe(work(tree, *values), Home.loop).result(PATIENCE)


LANES = {
    "coroutine": delayed(work),
    "thread": delayed(alone),
    "home": delayed(at_home),
    "process": delayed(alone, executor="process"),
}
