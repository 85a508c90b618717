"""Calls that compute graphs inside of themselves: whatever the limits are, none waits for its own slot."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from asyncgraph import Runtime, compute
from tests.runtime.nesting import HOWS, INSIDE, LANES, PATIENCE, Home, Tree, expected, node_of


@pytest.fixture(autouse=True)
def _at_home() -> Iterator[None]:
    """Leave no loop behind for others to use."""
    yield
    Home.loop = None


async def computed(trees: list[Tree], **limits: int) -> Any:
    """What the trees come to, all at once, in a runtime with these limits."""
    Home.loop = asyncio.get_running_loop()
    async with asyncio.timeout(PATIENCE), Runtime(**limits):
        return await compute([node_of(tree) for tree in trees])


def chain(lanes: list[str], how: str, depth: int) -> Tree:
    """Calls of which each computes the next one, and another beside it."""
    tree = Tree(lanes[0], "arguments")
    for level in range(depth):
        beside = Tree(lanes[level % len(lanes)], "arguments")
        tree = Tree(lanes[level % len(lanes)], how, (tree, beside))
    return tree


@pytest.mark.parametrize("how", INSIDE)
@pytest.mark.parametrize(
    "lanes",
    [*[[lane] for lane in LANES], ["home", "process"], ["coroutine", "home"], [*LANES]],
    ids="-".join,
)
async def test_six_deep_with_one_slot_of_each_kind(lanes: list[str], how: str) -> None:
    """Calls that compute calls that compute calls, several at once, get to their ends."""
    trees = [chain(lanes[turn:] + lanes[:turn], how, 6) for turn in range(2)]
    values = await computed(trees, threads=1, processes=1, concurrency=1)
    assert values == [expected(tree) for tree in trees]


async def test_a_thread_that_needs_the_worker_that_another_run_has() -> None:
    """The outer run has the only worker process, and so do calls inside of its threads, in turn."""
    below = Tree("process", "arguments")
    inner = Tree("home", "together", (below, below, Tree("home", "awaited", (below,))))
    trees = [inner, below, inner, below]
    assert await computed(trees, threads=1, processes=1, concurrency=1) == [5, 1, 5, 1]


lanes = st.sampled_from([*LANES])


def above(below: Any) -> Any:
    """Trees with up to three of these below; or none."""
    return st.builds(Tree, lanes, st.sampled_from(HOWS), st.lists(below, max_size=3).map(tuple))


leaves = st.builds(Tree, lanes, st.just("arguments"), st.just(()))
trees = above(above(above(leaves)))
limits = st.fixed_dictionaries({name: st.integers(1, 3) for name in ("threads", "processes", "concurrency")})


@pytest.mark.parametrize("loops", ["asyncio", "uvloop"])
@settings(max_examples=12, suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture])
@given(roots=st.lists(trees, min_size=1, max_size=2), limits=limits)
def test_any_trees_with_any_limits(loops: str, roots: list[Tree], limits: dict[str, int]) -> None:
    """Random calls inside calls, on all executors, come to what plain counting does."""
    factory = pytest.importorskip(loops).new_event_loop
    with asyncio.Runner(loop_factory=factory) as runner:
        values = runner.run(computed(roots, **limits))
    assert values == [expected(tree) for tree in roots]
