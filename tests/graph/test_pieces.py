"""What is done in pieces is the same as what is done at once, and no piece is long."""

from __future__ import annotations

import pytest

from asyncgraph._graph.order import order
from asyncgraph._graph.pieces import PIECE, cut, whole
from asyncgraph._graph.plan import Plan
from asyncgraph._graph.scheduler import Scheduler
from tests.graph.nodes import chain, node, tree

MANY = 12_000


def wide():
    """One that needs all others, and some of them twice, so that it is no tree."""
    first = node("first")
    others = [node(f"n{number}", first) for number in range(MANY)]
    return node("last", *others, *others[:10])


GRAPHS = {"chain": lambda: chain(MANY), "tree": lambda: tree(MANY)[0], "wide": wide}


@pytest.mark.parametrize("name", GRAPHS)
def test_a_plan_in_pieces(name):
    """It has the same nodes, edges and uses as one made at once, and takes many pieces."""
    root = GRAPHS[name]()
    at_once = Plan([root])
    count = 0
    pieces = Plan.in_pieces([root])
    try:
        while True:
            next(pieces)
            count += 1
    except StopIteration as end:
        plan = end.value
    assert count >= MANY / PIECE
    numbered = list(plan.number_in_pieces())
    assert not plan.is_tree or len(numbered) >= MANY / PIECE / 4  # others were numbered to put them in order
    assert len(list(plan.last_uses_in_pieces())) >= MANY / PIECE
    assert [*plan.number_in_pieces(), *plan.last_uses_in_pieces()] == []  # done once
    assert (plan.nodes, plan.dependencies, plan.outputs) == (
        at_once.nodes,
        at_once.dependencies,
        at_once.outputs,
    )
    assert [list(each) for each in plan.dependents] == [list(each) for each in at_once.dependents]
    assert [list(each) for each in plan.last_uses] == [list(each) for each in at_once.last_uses]


@pytest.mark.parametrize("name", GRAPHS)
def test_a_scheduler_in_pieces(name):
    """It is in the same state as one made at once, also where the first tasks are done."""
    plan = Plan([GRAPHS[name]()])
    for begun in (0, 5_000):
        results = {
            task: f"value of {task}"
            for task in range(begun)
            if any(each >= begun for each in plan.dependents[task])
        }
        args = (
            plan.dependencies,
            plan.dependents,
            [0] * len(plan.nodes),
            plan.outputs,
            begun,
            results,
            (),
            None,
        )
        at_once = Scheduler(*args)
        made = whole(Scheduler.in_pieces(*args))
        made.validate()
        for attribute in ("state", "results", "remaining", "ready", "producers", "_missing", "_uses"):
            assert getattr(made, attribute) == getattr(at_once, attribute)
        assert len(list(Scheduler.in_pieces(*args))) >= MANY / PIECE


def test_an_order_in_pieces():
    """A graph that gets all drafts is ordered in pieces of a fraction of it."""
    sources = [() for _ in range(2_000)]
    dependencies = [*sources, *[(task, (7 * task + 3) % 2_000) for task in range(2_000)]]
    dependents = [[] for _ in dependencies]
    for task, each in enumerate(dependencies):
        for dependency in each:
            dependents[dependency].append(task)
    assert len(list(order(dependencies, dependents, range(2_000, 4_000)))) > 20


def test_what_is_cut():
    """All of it, in order, in as many parts as needed; one that is small stays as it is."""
    items = list(range(2_500))
    assert [list(some) for some in cut(items, 1_000)] == [items[:1_000], items[1_000:2_000], items[2_000:]]
    assert list(cut(items, 2_500)) == [items]
    assert next(cut(items, 5_000)) is items
    assert [len(some) for some in cut(range(3_000), 1_500)] == [1_500, 1_500]
