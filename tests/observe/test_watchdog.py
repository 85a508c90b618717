"""The watchdog, on a clock of its own; and what runs say of where they are, which it asks."""

from __future__ import annotations

import asyncio
import sys
import threading
from typing import Any

import pytest

from asyncgraph import compute, delayed
from asyncgraph.observe import NodeInfo, Observer, RunStarted
from asyncgraph.observe.pulse import Finding, Pulse, _is_in_debugger
from asyncgraph.observe.spots import calls_around
from asyncgraph.observe.watchdog import Watchdog


class Changing:
    """A run whose loop is in another node each time."""

    id = 1
    number = 0

    def on_loop(self) -> NodeInfo:
        """Another one."""
        self.number += 1
        return NodeInfo(self.number, f"f-{self.number}", "f", "function", "loop", False, (), None)


async def test_what_changes_while_it_is_looked_at_is_no_stall() -> None:
    """A loop that is busy with many short calls is stuck in none of them."""
    pulse = Pulse(asyncio.get_running_loop())
    pulse.runs[1] = changing = Changing()
    assert [pulse.look(now / 2, 1.0, 0.25, lambda pulse: None) for now in range(10)] == [None] * 10
    assert changing.number > 5


async def test_what_stays_the_same_for_a_threshold_is_one() -> None:
    """It counts from the last moment at which the loop may have been alive."""
    pulse = Pulse(asyncio.get_running_loop())
    looks = [0.0, 0.5, 0.99, 1.0]

    def look(now: float) -> Any:
        return pulse.look(now, 1.0, 0.25, lambda pulse: None)

    found = [look(now) for now in looks]
    assert found[:3] == [None] * 3
    assert (found[3].began, found[3].seconds) == (0.0, 1.0)
    assert look(9.0) is None
    over = pulse.answer(10.0)
    assert over is found[3]
    assert over.seconds == 10.0


async def test_a_loop_that_waits_for_work_is_not_stuck() -> None:
    """It may have yet to be woken, on a machine with much to do."""
    pulse = Pulse(asyncio.get_running_loop())

    def is_at_rest() -> bool:
        return not pulse.inside(calls_around(sys._current_frames()[pulse.thread]))

    def look(now: float) -> Any:
        while not is_at_rest():
            pass
        return pulse.look(now, 1.0, 0.25, lambda pulse: None)

    asyncio.get_running_loop().call_soon(Watchdog(1.0, print, print)._called, pulse)
    await asyncio.sleep(0)
    assert await asyncio.to_thread(lambda: [look(float(now)) for now in range(10)]) == [None] * 10
    assert pulse._asked == 9.0


@pytest.mark.parametrize("waits", [0, 1_000_000])
async def test_a_program_that_stood_still_as_a_whole_has_no_stall(waits: int) -> None:
    """As in a debugger that stops all threads: none has computed anything meanwhile."""
    told: list[Finding] = []
    dog = Watchdog(1.0, told.append, told.append)
    dog._pulses[asyncio.get_running_loop()] = pulse = Pulse(asyncio.get_running_loop())
    pulse.runs[1] = Changing()
    dog._gains()
    dog._look(0.0, 0.0, 0)
    assert dog._look(1000.0, 999.0, waits) == []
    assert pulse._asked == 1000.0
    dog._pulses.clear()


async def test_what_a_loop_was_stuck_in_is_over_when_its_run_is() -> None:
    """Also if the loop has had no turn since, in which it would have answered."""
    told: list[Finding] = []
    dog = Watchdog(1.0, print, told.append)
    run: Any = Changing()
    dog._pulses[asyncio.get_running_loop()] = dog._of_run[1] = pulse = Pulse(asyncio.get_running_loop())
    pulse.runs[1] = run
    pulse._finding = finding = Finding(run, None, [], began=0.0, seconds=1.0, is_computing=None)
    dog.leave(run)
    assert told == [finding]
    assert finding.seconds > 1.0
    assert pulse.answer(9.0) is None


def test_a_debugger_is_known_by_its_frames() -> None:
    """Whoever steps through a node need not be told that it blocks the loop."""
    namespace: dict[str, Any] = {"look": lambda: calls_around(sys._getframe())}
    exec(compile("def interaction(): return look()", "/lib/bdb.py", "exec"), namespace)
    assert _is_in_debugger(namespace["interaction"]())
    assert not _is_in_debugger(namespace["look"]())


class Runs(Observer):
    """Keeps the runs that it is told of, and asks for the events of nodes if it is to."""

    def __init__(self, *, is_straight: bool) -> None:
        self.runs: list[Any] = []
        if is_straight:
            self.kinds = frozenset({RunStarted})  # type: ignore[misc]

    def __call__(self, event: Any) -> None:
        """Keep the run."""
        if type(event) is RunStarted:
            self.runs.append(event.run)


@pytest.mark.parametrize("is_straight", [True, False])
async def test_a_run_knows_what_its_loop_and_its_threads_are_in(is_straight: bool) -> None:
    """Asked from inside of nodes of all kinds; a suspended one is not what the loop is in."""
    runs = Runs(is_straight=is_straight)

    def here() -> Any:
        return runs.runs[0].on_loop(), runs.runs[0].in_thread(threading.get_ident())

    @delayed
    async def suspended(on: asyncio.Event) -> None:
        await on.wait()

    @delayed
    async def awaited() -> Any:
        await asyncio.sleep(0)
        return here()

    on = asyncio.Event()
    nodes = {
        "coroutine": awaited(),
        "inline": delayed(here, executor="loop")(),
        "thread": delayed(here)(),
        "made": delayed(lambda call: call(), name="made")(awaited.function.call),
    }
    opener = delayed(lambda *_: on.set(), executor="loop")(*nodes.values())
    seen, _, _ = await compute(nodes, opener, suspended(on), observers=[runs])
    assert {kind: seen[kind][0] and seen[kind][0].key for kind in ("coroutine", "inline", "made")} == {
        kind: nodes[kind].key for kind in ("coroutine", "inline", "made")
    }
    assert seen["thread"][1].key == nodes["thread"].key
    assert seen["coroutine"][1] is seen["inline"][1] is None
    assert runs.runs[0].on_loop() is None
