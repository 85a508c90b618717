"""Whatever happens, events make sense, and to tell them does not hold up the loop."""

from __future__ import annotations

import asyncio
import logging
import random
import time
from collections import Counter
from types import SimpleNamespace
from typing import Any

import pytest

from asyncgraph import (
    Runtime,
    delayed,
    start,
)
from asyncgraph._runtime import recorder
from asyncgraph._runtime.slices import SLICE
from asyncgraph.observe import (
    NodeCached,
    NodeCancelled,
    NodeFailed,
    NodeFinished,
    NodeNotRun,
    Observer,
)
from tests.runtime.stories import by_run, check
from tests.runtime.telling import OnlyRuns


def some_graph(choose: random.Random, size: int) -> list[Any]:
    """A random graph of all kinds of nodes: some fail, some return others, some are tried again."""

    def work(kind: str, *values: Any) -> Any:
        if kind == "raise":
            raise LookupError(kind)
        if kind == "grow":
            return delayed(work)("plain", *values) + 0
        return 1 + sum(value for value in values if isinstance(value, int)) % 7

    async def later(kind: str, *values: Any) -> Any:
        for _ in range(choose.randrange(3)):
            await asyncio.sleep(0)
        return work(kind, *values)

    tried: Counter[int] = Counter()

    async def flaky(number: int, *values: Any) -> Any:
        tried[number] += 1
        if tried[number] < 2:
            raise OSError("busy")
        return len(values)

    short = delayed(work, name="short")
    short.function.durations.add(0.001, 1000)
    kinds = ["plain"] * 12 + ["grow", "grow", "raise"][: choose.randrange(4)]
    functions = [delayed(work), short, short, delayed(work, executor="loop"), delayed(later)]
    if choose.random() < 0.3:
        functions.append(delayed(work, executor="process"))
    nodes: list[Any] = []
    for number in range(size):
        inputs = [choose.choice(nodes) for _ in range(min(len(nodes), choose.randrange(4)))]
        if choose.random() < 0.1:
            nodes.append(delayed(flaky, retries=2)(number, *inputs))
        else:
            nodes.append(choose.choice(functions)(choose.choice(kinds), *inputs))
    return choose.sample(nodes, min(3, len(nodes)))


@pytest.mark.parametrize("seed", range(60))
async def test_random_graphs_tell_whole_stories(seed: int, caplog: pytest.LogCaptureFixture) -> None:
    """Whatever a run does and however it ends, what is told of it follows the rules and is complete."""
    choose = random.Random(seed)
    outputs = some_graph(choose, choose.randrange(1, 60))
    # What fails in a run that is being cancelled is told to the loop.
    asyncio.get_running_loop().set_exception_handler(lambda *_: None)
    events: list[Any] = []
    async with Runtime(processes=1, threads=2, concurrency=choose.choice([2, 20])):
        for _ in range(2):
            run = start(
                outputs,
                return_exceptions=choose.random() < 0.7,
                observers=[events.append, OnlyRuns()],
                timeout=30,
            )
            if choose.random() < 0.3:
                for _ in range(choose.randrange(20)):
                    await asyncio.sleep(0)
                run.cancel()
            try:
                await run
            except (LookupError, asyncio.CancelledError):
                if choose.random() < 0.5:
                    try:
                        await run.resume(return_exceptions=True)
                    except asyncio.CancelledError:
                        pytest.fail("a run that was resumed was cancelled")
    check(events)
    assert not [each for each in caplog.records if each.levelno >= logging.ERROR]
    for story in by_run(events).values():
        finished = sum(isinstance(event, (NodeFinished, NodeCached)) for event in story)
        failed = sum(isinstance(event, NodeFailed) for event in story)
        not_run = sum(isinstance(event, NodeNotRun) for event in story)
        cancelled = sum(isinstance(event, NodeCancelled) for event in story)
        statistics = story[0].run.statistics()
        assert (finished, failed, not_run, cancelled) == statistics[4:8]
        assert finished + failed + not_run + cancelled == statistics.nodes


async def test_many_nodes_do_not_hold_the_loop() -> None:
    """What there is to tell is told in portions: others have their turn in between."""
    turns = 0
    told_in_turn: Counter[int] = Counter()

    async def count() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    counting = asyncio.ensure_future(count())

    def note(event: Any) -> None:
        told_in_turn[turns] += 1

    total = delayed(sum, executor="loop")([delayed(abs, executor="loop")(each) for each in range(20_000)])
    assert await total.compute(observers=[note]) == sum(range(20_000))
    counting.cancel()
    assert max(told_in_turn.values()) < 20_000
    assert sum(told_in_turn.values()) > 80_000


async def test_slow_observers_hold_the_loop_no_longer_than_fast_ones(monkeypatch: pytest.MonkeyPatch) -> None:
    """A turn ends when its time is up, however little has been told in it."""
    clock = time.perf_counter()
    turns = 0
    told_in_turn: Counter[int] = Counter()

    async def count() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    class Slow(Observer):
        kinds = frozenset({NodeFinished})

        def __call__(self, event: Any) -> None:
            nonlocal clock
            clock += SLICE
            told_in_turn[turns] += 1

    monkeypatch.setattr(recorder, "time", SimpleNamespace(perf_counter=lambda: clock))
    counting = asyncio.ensure_future(count())
    total = delayed(sum, executor="loop")([delayed(abs, executor="loop")(each) for each in range(1_000)])
    assert await total.compute(observers=[Slow()]) == sum(range(1_000))
    counting.cancel()
    assert sum(told_in_turn.values()) == 1_001
    assert max(told_in_turn.values()) < 10
