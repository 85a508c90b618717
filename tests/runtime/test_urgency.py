"""With fewer slots than nodes, those go first for which the longest path of others waits."""

from __future__ import annotations

import asyncio

import pytest

from asyncgraph import Runtime, delayed
from asyncgraph._graph.plan import Plan
from asyncgraph._runtime import urgency as module

pytestmark = pytest.mark.anyio


class Log:
    """Two chains of coroutines of known mean durations, and a list of those that have begun."""

    def __init__(self, *, short, long):
        self.begun = []
        self.join = delayed(lambda *values: values, executor="loop", name="join")
        # Both need it: what needs nothing is held back while others wait.
        self.source = delayed(asyncio.sleep, name="source")(0, 1)
        self.node = {name: self._chain(name, seconds) for name, seconds in (("a", short), ("b", long))}

    def _chain(self, name, seconds):
        @delayed(name=name)
        async def step(number, before=None):
            self.begun.append(f"{name}{number}")
            await asyncio.sleep(0)

        last = step(0, self.source)
        last._function.durations.add(seconds)
        for number in range(1, 4):
            last = step(number, last)
        return last

    async def run(self, **slots):
        """Run the chains, and return who began when."""
        async with Runtime(**slots) as runtime:
            await runtime.compute(self.join(*self.node.values()))
        return self.begun


@pytest.mark.parametrize("swapped", [False, True])
async def test_the_longest_path_goes_first(swapped):
    """Whichever of the chains the plan has first."""
    seconds = [0.1, 0.001] if swapped else [0.001, 0.1]
    begun = await Log(short=seconds[0], long=seconds[1]).run(concurrency=1)
    assert begun == [f"{name}{number}" for name in ("ab" if swapped else "ba") for number in range(4)]


async def test_short_calls_keep_the_order_of_the_plan():
    """That is what keeps the fewest results alive."""
    begun = await Log(short=1e-6, long=2e-6).run(concurrency=1)
    assert begun == [f"{name}{number}" for name in "ab" for number in range(4)]


@pytest.mark.parametrize(("concurrency", "many"), [(100, 5_000), (1, 3)])
async def test_it_is_not_asked_where_all_can_run_at_once_nor_of_large_graphs(monkeypatch, concurrency, many):
    """Then it costs nothing."""
    monkeypatch.setattr("asyncgraph._graph.order._MANY", many)
    monkeypatch.setattr(module, "longest_first", None)
    await Log(short=0.001, long=0.1).run(concurrency=concurrency)


async def test_durations_of_coroutines_are_remembered():
    """Those that were suspended count with the time until they were done."""
    log = Log(short=0.001, long=100)
    functions = Plan([log.node["b"]]).functions
    await log.run(concurrency=1)
    (function,) = (each for each in functions if each.name == "b")
    assert 0 < function.durations.mean < 100
