"""Graphs that grow while they run: functions that return nodes, wide and deep, in each executor."""

# ruff: noqa: D103 - helpers whose names say it

from __future__ import annotations

import asyncio
import gc
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from asyncgraph import Retry, Runtime, as_completed, compile, compute, delayed, start
from asyncgraph._runtime import processes
from asyncgraph._runtime.former import FormerNodes
from asyncgraph.errors import CycleError, NodeTimeoutError
from tests.errors.reading import failure_of
from tests.reliability.harness import PATIENCE, Witness
from tests.runtime.growing import (
    LANES,
    Luggage,
    Seen,
    descend_and_fail,
    descend_and_hold,
    descend_and_hold_too_long,
    descend_at_second_attempts,
    descend_elsewhere,
    on,
)

IN_THIS_PROCESS = ["loop", "coroutine", "thread"]

DEEP = 3_000
VERY_DEEP = 100_000


async def collected(node: Any) -> Any:
    (value,) = [value async for _, value in as_completed([node])]
    return value


async def returned(node: Any) -> Any:
    (value,) = await compute([node], return_exceptions=True)
    return value


ENTRANCES = {
    "compute": compute,
    "start": start,
    "as_completed": collected,
    "compile": lambda node: compile(node)(),
    "return_exceptions": returned,
}


@pytest.fixture
def witness(tmp_path: Path) -> Iterator[Witness]:
    """A pipe on which workers report, and on which their end is seen."""
    witness = Witness(tmp_path / "witness")
    yield witness
    witness.close()


# -- wide


@pytest.mark.parametrize(
    "lanes",
    [*[(lane,) for lane in LANES], ("loop", "thread"), ("coroutine", "process"), tuple(LANES)],
    ids="-".join,
)
async def test_recursion_needs_one_slot(lanes: tuple[str, ...]) -> None:
    """A call that has returned a node holds no slot: with one of each kind, recursion gets to its end."""
    number, value = (8, 21) if "process" in lanes else (12, 144)
    async with Runtime(threads=1, processes=1, concurrency=1):
        assert await on(lanes[0], "fibonacci")(number, lanes) == value


@pytest.mark.parametrize("entrance", ENTRANCES)
async def test_recursion_by_each_entrance(entrance: str) -> None:
    """However a graph is run, it may grow."""
    lanes = ("coroutine", "loop", "thread")
    async with Runtime(threads=1, concurrency=1):
        assert await ENTRANCES[entrance](on("loop", "fibonacci")(9, lanes)) == 34


# -- deep


@pytest.mark.parametrize("name", ["descend", "descend_with"])
@pytest.mark.parametrize(
    ("lane", "entrance"),
    [*[(lane, "compute") for lane in IN_THIS_PROCESS], *[("loop", entrance) for entrance in ENTRANCES][1:]],
)
async def test_what_calls_have_carried_is_gone(lane: str, name: str, entrance: str) -> None:
    """A call that calls itself last holds no more at its end than at its beginning, in any kind of run."""
    seen = Seen()
    async with Runtime(threads=1, concurrency=1):
        assert await ENTRANCES[entrance](on(lane, name)(DEEP, Luggage(), seen, lane)) == "bottom"
    assert len(seen.blocks) == DEEP // 1000
    assert seen.pieces < 10


@pytest.mark.parametrize("entrance", ["compute", "start"])
def test_a_hundred_thousand_calls_deep(entrance: str) -> None:
    """The memory that they take does not grow, also where inputs are held to go on with the run."""
    seen = Seen()

    async def main() -> Any:
        gc.collect()
        return await ENTRANCES[entrance](on("loop", "descend")(VERY_DEEP, None, seen, "loop"))

    assert asyncio.run(main()) == "bottom"
    assert seen.pieces < 10
    assert seen.grown() < 2_000  # each call that was kept would be a dozen


async def test_deep_in_worker_processes() -> None:
    """Functions that return nodes from there, too, are told that they are done with."""
    async with Runtime(processes=1):
        run = start(descend_elsewhere(300))
        assert await run == "bottom"
    assert run.statistics().finished == 301


# -- what was returned is one node, whoever uses it


async def test_a_node_whose_place_was_taken_is_still_that_node() -> None:
    """Who has kept a node that has returned another may return it once more: it is not run again."""
    calls: list[int] = []
    at_the_bottom, may_end = asyncio.Event(), asyncio.Event()

    @delayed
    async def down(left: int) -> Any:
        calls.append(left)
        if left:
            return down(left - 1)
        at_the_bottom.set()
        await may_end.wait()
        return object()

    kept = down(3)

    @delayed
    async def again() -> Any:
        await at_the_bottom.wait()
        may_end.set()
        return delayed(list, executor="loop")([kept])

    first, (second,) = await compute(delayed(lambda: kept, executor="loop")(), again())
    assert first is second
    assert calls == [3, 2, 1, 0]


async def test_a_node_that_returns_what_it_was_itself_is_a_cycle() -> None:
    """Also many calls later, by which time its place has been taken by others."""

    @delayed(executor="loop")
    def down(left: int) -> Any:
        return down(left - 1) if left else kept + 1

    kept = down(3)
    outer = delayed(lambda: kept, executor="loop")()
    with pytest.raises(CycleError, match="depends on it"):
        await outer


def test_former_nodes_are_known_as_long_as_anybody_has_them() -> None:
    """They are told apart by what they are, not by where they are in memory, and are not kept alive."""
    former = FormerNodes()
    node, other = delayed(1), delayed(2)
    former.add(node, 7)
    assert former.get(node) == 7
    assert former.get(other) is None
    del node
    assert len(former) == 0


# -- failing and being cancelled far down


def failing(lane: str, calls: list[int], broken: set[int]) -> Any:
    def down(left: int) -> Any:
        calls.append(left)
        if left in broken:
            raise ConnectionError(f"at {left}")
        return make(left - 1) if left else "bottom"

    async def down_later(left: int) -> Any:
        return down(left)

    make = delayed(down_later, name="down") if lane == "coroutine" else delayed(down, executor=lane)
    return make


@pytest.mark.parametrize("entrance", ["compute", "start", "as_completed", "compile"])
@pytest.mark.parametrize("lane", IN_THIS_PROCESS)
async def test_a_failure_far_down(lane: str, entrance: str) -> None:
    """It leaves as itself, with a note of the call that has failed and of the node that was asked for."""
    calls: list[int] = []
    node = failing(lane, calls, {0})(1000)
    error = await failure_of(ENTRANCES[entrance](node + "!"))
    assert (type(error), str(error)) == (ConnectionError, "at 0")
    assert len(calls) == 1001
    (note,) = error.__notes__
    executor = "thread" if lane == "thread" else "loop"
    first, wanted, built = note.splitlines()
    assert first.endswith(f"(down) failed, {executor} executor, attempt 1")
    assert wanted.startswith("  wanted by: add-")
    assert f" <- {node.key} <- down-" in wanted
    assert built.startswith(f"  built at:  {__file__}")


@pytest.mark.parametrize("lane", IN_THIS_PROCESS)
async def test_a_failure_far_down_as_a_value(lane: str) -> None:
    """What stands behind it was not run, and says so; what is beside it is there."""
    calls: list[int] = []
    node = failing(lane, calls, {3})(500)
    error, behind, beside = await compute(node, node + "!", delayed(1) + 1, return_exceptions=True)
    assert str(error) == "at 3"
    assert behind.__cause__ is error
    assert beside == 2


@pytest.mark.parametrize("lane", IN_THIS_PROCESS)
async def test_a_run_goes_on_where_it_has_failed_far_down(lane: str) -> None:
    """What has returned a node is not called again, however far down that was."""
    calls: list[int] = []
    broken = {200, 100}
    run = start(failing(lane, calls, broken)(400) + "!")
    for left in (200, 100):
        assert str(await failure_of(run)) == f"at {left}"
        failed = [failure for failure in run.failures if failure.state == "failed"]
        assert failed[-1].inputs == ((left,), {})
        broken.remove(left)
        run = run.resume()
    assert await run == "bottom!"
    assert len(calls) == 403


@pytest.mark.parametrize("entrance", ["compute", "start", "as_completed", "compile"])
async def test_cancelled_far_down(entrance: str) -> None:
    """The one call that runs is cancelled, and cleans up; nothing else is begun."""
    begun = asyncio.Event()
    steps: list[str] = []

    @delayed
    async def down(left: int) -> Any:
        if left:
            return down(left - 1)
        begun.set()
        try:
            await asyncio.Event().wait()
        finally:
            await asyncio.sleep(0)
            steps.append("cleaned up")

    async def wait() -> Any:
        return await ENTRANCES[entrance](down(1000) + 1)

    task = asyncio.ensure_future(wait())
    await begun.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert steps == ["cleaned up"]


async def test_a_run_goes_on_where_it_was_cancelled_far_down() -> None:
    """With the call that was cancelled."""
    calls: list[int] = []
    begun, may_end = asyncio.Event(), asyncio.Event()

    @delayed
    async def down(left: int) -> Any:
        calls.append(left)
        if left:
            return down(left - 1)
        begun.set()
        await may_end.wait()
        return "bottom"

    run = start(down(300))
    await begun.wait()
    run.cancel()
    assert isinstance(await failure_of(run), asyncio.CancelledError)
    may_end.set()
    assert await run.resume() == "bottom"
    assert calls == [*range(300, -1, -1), 0]


# -- the options of nodes that are returned


@pytest.mark.parametrize("lane", IN_THIS_PROCESS)
async def test_each_call_of_a_recursion_has_all_its_attempts(lane: str) -> None:
    """Attempts are those of one call, and not of all that were made in its place."""
    calls: list[int] = []

    def down(left: int) -> Any:
        calls.append(left)
        if calls.count(left) < 3:
            raise ConnectionError(f"at {left}")
        return make(left - 1) if left else "bottom"

    async def down_later(left: int) -> Any:
        return down(left)

    options: Any = {"retries": Retry(3, backoff=0), "name": "down"}
    make = delayed(down_later, **options) if lane == "coroutine" else delayed(down, executor=lane, **options)
    assert await make(50) == "bottom"
    assert calls == [left for left in range(50, -1, -1) for _ in range(3)]


async def test_the_timeout_of_a_call_of_a_recursion_is_its_own() -> None:
    """The call that takes too long fails, in its own name."""

    @delayed(timeout=0.05)
    async def down(left: int) -> Any:
        return down(left - 1) if left else await asyncio.Event().wait()

    node = down(20)
    error = await failure_of(node)
    assert isinstance(error, NodeTimeoutError)
    assert str(error).startswith("down-")
    assert error.path == (node.key, error.key)
    assert error.key != node.key


# -- in worker processes


async def test_a_recursion_in_workers_has_its_attempts(tmp_path: Path) -> None:
    """Functions that come back with a node have the options that they have here."""
    async with Runtime(processes=1):
        assert await descend_at_second_attempts(10, str(tmp_path)) == "bottom"
    assert len(list(tmp_path.iterdir())) == 11


async def test_a_failure_far_down_in_workers() -> None:
    """Its path leads from the node that was asked for to the one that has failed."""
    node = descend_and_fail(50)
    error = await failure_of(node)
    assert (type(error), str(error)) == (ConnectionError, "at 0")
    (note,) = error.__notes__
    assert "(descend_and_fail) failed, process executor, attempt 1" in note
    assert f"wanted by: {node.key} <- descend_and_fail-" in note


async def test_a_worker_that_is_far_down_is_killed(witness: Witness) -> None:
    """When the run is cancelled, and when the call takes too long."""
    async with Runtime(processes=1):
        run = start(descend_and_hold(50, witness.path))
        await witness.next_pid()
        run.cancel()
        assert isinstance(await failure_of(run), asyncio.CancelledError)
        assert witness.is_alone(PATIENCE)
        assert await descend_elsewhere(1) == "bottom"  # in a worker that has imported by then what it needs
        node = descend_and_hold_too_long(20, witness.path)
        error = await failure_of(node)
        assert isinstance(error, NodeTimeoutError)
        assert error.path == (node.key, error.key)
        await witness.next_pid()
        assert witness.is_alone(PATIENCE)


async def test_workers_that_return_closures(monkeypatch: pytest.MonkeyPatch) -> None:
    """A function that goes by value, and comes back as another each time, is not kept for each call."""
    monkeypatch.setattr(processes, "_REMEMBERED", 5)

    def descend(left: int) -> Any:
        return delayed(descend, executor="process")(left - 1) if left else "bottom"

    kept: list[int] = []
    plain = processes.Processes._ship

    def watched(self: Any, function: Any) -> Any:
        shipped = plain(self, function)
        kept.append(len(self._shipped))
        return shipped

    monkeypatch.setattr(processes.Processes, "_ship", watched)
    async with Runtime(processes=1):
        assert await delayed(descend, executor="process")(20) == "bottom"
    assert len(kept) > 10
    assert max(kept) == 5
