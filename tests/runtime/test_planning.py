"""Runs of graphs that are too large to be planned in one slice: what happens before anything can begin."""

# ruff: noqa: D103 - helpers whose names say it

from __future__ import annotations

import asyncio
import functools
import gc
import weakref
from collections.abc import Iterator
from typing import Any

import pytest

from asyncgraph import Input, compute, delayed, start
from asyncgraph._graph.pieces import Pieces
from asyncgraph._graph.scheduler import Scheduler
from asyncgraph._runtime import planning, preparation, slices
from asyncgraph.errors import GraphError, InternalError

MANY = 3_000

inc = delayed(lambda x: x + 1, executor="loop")
count = delayed(len, executor="loop")


in_thread = delayed(abs, executor="thread")


@delayed
async def later(value: int = 0) -> int:
    await asyncio.sleep(0)
    return value + 1


@pytest.fixture(scope="module", autouse=True)
def _nothing_is_frozen() -> Iterator[None]:
    """As in most programs: the rig has frozen the tests, and where something is frozen, nothing is moved."""
    gc.unfreeze()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(planning, "_is_frozen", False)
        yield
    gc.collect()
    gc.freeze()


@pytest.fixture
def a_piece_a_turn(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever is done in slices takes a turn of the loop for each piece or two."""
    monkeypatch.setattr(slices, "SLICE", 0)


def wide(node_of: Any) -> Any:
    return count([node_of(number) for number in range(MANY)])


def chain(node_of: Any) -> Any:
    node = node_of(0)
    for _ in range(MANY - 1):
        node = node_of(node)
    return node


async def test_others_have_their_turn_while_a_graph_is_planned(a_piece_a_turn):
    """Nothing of it runs before, and the run says that it has not begun."""
    calls: list[int] = []
    node = wide(delayed(calls.append, executor="loop"))
    going = start(node)
    seen = []
    while not calls:
        statistics = going.statistics()
        seen.append((statistics.running, statistics.finished))
        assert statistics.waiting == statistics.nodes
        await asyncio.sleep(0)
    assert len(seen) > 2
    assert set(seen) == {(0, 0)}
    assert await going == MANY


@pytest.mark.parametrize("build", [wide, chain])
@pytest.mark.parametrize("node_of", [inc, later, in_thread], ids=["loop", "later", "thread"])
async def test_cancelled_at_any_turn(a_piece_a_turn, build, node_of):
    """Also while it is planned, or while a scheduler is made on the way."""
    node = build(node_of)
    for turns in (0, 1, 2, 3, 5, 8, 13, 21, 34):
        going = start(node)
        for _ in range(turns):
            await asyncio.sleep(0)
        if going.cancel():
            with pytest.raises(asyncio.CancelledError):
                await going
        else:  # threads go on between turns
            assert node_of not in {inc, later}
            await going
        statistics = going.statistics()
        assert statistics.finished + statistics.cancelled == statistics.nodes


@pytest.mark.parametrize("node_of", [inc, later, in_thread], ids=["loop", "later", "thread"])
async def test_cancelled_within_a_piece(monkeypatch, a_piece_a_turn, node_of):
    """As a finalizer may do it that the collector calls: nothing begins after that."""
    done_in = preparation.done_in
    going: list[Any] = []

    def cancelling(seconds: float, pieces: Pieces[Any], *, is_large: bool) -> bool:
        return done_in(seconds, cancelling_pieces(pieces), is_large=is_large)

    def cancelling_pieces(pieces: Pieces[Any]) -> Pieces[None]:
        nonlocal left
        while True:
            left -= 1
            if left <= 0 and going:
                going.pop().cancel()
            try:
                next(pieces)
            except StopIteration:
                return
            yield

    monkeypatch.setattr(preparation, "done_in", cancelling)
    node = wide(node_of)
    for number in range(100):
        left = number
        run = start(node)
        going.append(run)
        try:
            await run
        except asyncio.CancelledError:
            statistics = run.statistics()
            assert statistics.finished + statistics.cancelled == statistics.nodes
            assert not statistics.finished or node_of is later
        else:
            break
    assert left > 0
    assert number > 5


async def test_what_ends_while_a_scheduler_is_made(a_piece_a_turn):
    """Coroutines that were begun on the straight way, and end before there is a scheduler, count."""
    first = [later(number) for number in range(3)]
    rest = [inc(number) for number in range(MANY)]
    rest[9] = count([*first, rest[9]])
    node = count([count(first), *rest])
    assert await node == MANY + 1


@pytest.mark.parametrize("is_last", [False, True])
async def test_what_fails_while_a_scheduler_is_made(a_piece_a_turn, is_last):
    """It is the failure of the run, and what could run without it does if failures are returned."""

    @delayed
    async def fail(_: Any = None) -> None:
        await asyncio.sleep(0)
        raise KeyError("on the way")

    failing = fail(later()) if is_last else fail()
    node = inc(failing)
    for _ in range(MANY):
        node = inc(node)
    with pytest.raises(KeyError, match="on the way"):
        await compute(node, later())
    results = await compute(node, later(), return_exceptions=True)
    assert type(results[0].__cause__) is KeyError
    assert results[1] == 1


@pytest.mark.parametrize("has_others", [False, True])
async def test_a_finalizer_that_stops_a_run_while_it_is_planned(monkeypatch, has_others):
    """Nothing begins after that."""
    calls: list[int] = []
    going: list[Any] = []
    original = planning.Plan.in_pieces

    def in_pieces(outputs: Any) -> Any:
        pieces = original(outputs)
        yield
        if going:
            going[0].cancel()
        return (yield from pieces)

    node = count([delayed(calls.append, executor="loop")(1), *([in_thread(1)] if has_others else [])])
    monkeypatch.setattr(planning.Plan, "in_pieces", in_pieces)
    monkeypatch.setattr(slices, "SLICE", -1)
    going.append(start(node))
    monkeypatch.setattr(slices, "SLICE", 0.002)
    with pytest.raises(asyncio.CancelledError):
        await going[0]
    assert calls == []


async def test_inputs_of_a_large_graph(a_piece_a_turn):
    """They are found when it has been planned; awaiting the run says so."""
    node = count([inc(Input("x")), wide(inc)])
    going = start(node)
    assert not going.done()
    with pytest.raises(GraphError, match=r"inputs without values \(x\): compile it"):
        await going
    with pytest.raises(GraphError, match="compile it"):
        await node


async def test_a_timeout_while_a_graph_is_planned(a_piece_a_turn):
    """It is kept."""
    with pytest.raises(TimeoutError, match="still running: nothing"):
        await wide(inc).compute(timeout=1e-9)


@pytest.mark.parametrize("collects", [False, True])
async def test_the_collector_is_as_it_was(collects):
    """It pauses during planning only, and if somebody has stopped it, it stays so."""
    seen: list[bool] = []
    node = count([delayed(lambda: seen.append(gc.isenabled()), executor="loop")() for _ in range(MANY)])
    was_enabled = gc.isenabled()
    (gc.enable if collects else gc.disable)()
    try:
        await node
        assert set(seen) == {collects}
        assert gc.isenabled() is collects
    finally:
        (gc.enable if was_enabled else gc.disable)()


async def test_small_graphs_leave_the_collector_alone():
    """However many are computed, garbage is found as it always is."""

    class Garbage:
        def __init__(self) -> None:
            self.myself = self

    made: weakref.WeakSet[Garbage] = weakref.WeakSet()
    was_enabled = gc.isenabled()
    gc.enable()
    try:
        for _ in range(1_000):
            made.add(Garbage())
            assert await later() == 1
        assert len(made) < 800
    finally:
        (gc.enable if was_enabled else gc.disable)()


async def test_what_is_planned_is_old(monkeypatch, a_piece_a_turn):
    """The collector need not look at it again; unless the program has frozen objects, which stay frozen."""
    moved: list[None] = []
    monkeypatch.setattr(planning.gc, "freeze", lambda: moved.append(None))
    monkeypatch.setattr(planning.gc, "get_freeze_count", lambda: 0)  # Python 3.12 has frozen some itself
    monkeypatch.setattr(planning, "_is_frozen", False)
    monkeypatch.setattr(planning, "_moved", 0)
    node = wide(inc)
    assert await node == MANY
    assert moved
    # Now and then the collector has its turn, or garbage would be old and never looked at.
    monkeypatch.setattr(planning, "_MOST", 3)
    monkeypatch.setattr(planning.gc, "get_stats", lambda: [{}, {}, {"collections": 1_000_000}])
    moved.clear()
    assert await node == MANY
    assert len(moved) == 3
    monkeypatch.setattr(planning.gc, "get_stats", lambda: [{}, {}, {"collections": 1_000_001}])
    assert await node == MANY
    assert len(moved) == 6
    monkeypatch.setattr(planning.gc, "get_freeze_count", lambda: 1)
    monkeypatch.setattr(planning, "_moved", 0)
    assert await node == MANY
    assert len(moved) == 6


async def test_a_fault_in_planning(monkeypatch, a_piece_a_turn):
    """One of ours, in a later turn, is an InternalError, and the run is over."""

    def fault(*_: Any, **__: Any) -> Any:
        yield
        raise ZeroDivisionError

    monkeypatch.setattr(Scheduler, "in_pieces", fault)
    with pytest.raises(InternalError) as caught:
        await count([wide(inc), delayed(functools.partial(abs), executor="thread")(1)])
    assert type(caught.value.__cause__) is ZeroDivisionError


async def test_a_fault_in_the_first_slice(monkeypatch):
    """It is raised where the run was to begin, and nothing is left of it."""

    def fault(_: Any) -> Any:
        yield
        raise ZeroDivisionError

    monkeypatch.setattr(planning.Plan, "in_pieces", fault)
    with pytest.raises(ZeroDivisionError):
        start(inc(1))
    await asyncio.sleep(0)
