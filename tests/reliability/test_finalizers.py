"""Row 49: what finalizers may do, at whatever moment they come."""

# ruff: noqa: D102, D103 - helpers whose names say it

from __future__ import annotations

import asyncio
import gc
import threading
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import pytest

from asyncgraph import Runtime, delayed, run, start
from tests.reliability.harness import IN_THIS_PROCESS, PATIENCE, Stage, on, turns
from tests.runtime.durations import short


class Fuse:
    """Calls a function from a finalizer, in the so-manieth garbage collection from now on."""

    def __init__(self, collections: int, function: Callable[[], object]) -> None:
        self._left, self._functions = collections, [function]
        _Spark(self)

    def burn(self) -> None:
        self._left -= 1
        if self._left < 0 and self._functions:
            self._functions.pop()()
        elif self._functions:
            _Spark(self)

    def put_out(self) -> None:
        self._functions.clear()


class _Spark:
    def __init__(self, fuse: Fuse) -> None:
        self._fuse = fuse
        self._itself = self  # nothing but the collector frees it

    def __del__(self) -> None:
        self._fuse.burn()


@pytest.fixture
def collecting() -> Iterator[None]:
    """A garbage collection at nearly every chance."""
    before = gc.get_threshold()
    gc.collect()
    gc.set_threshold(1, 1, 1_000_000)  # of young objects: with all others it would take long
    yield
    gc.set_threshold(*before)


class Number:
    """A value that the collector looks at, and whose end is told of."""

    def __init__(self, number: int, at_end: Callable[[], object] = int) -> None:
        self.number, self._at_end = number, at_end

    def __del__(self) -> None:
        self._at_end()


def step(value: Number) -> Number:
    return Number(value.number + 1)


def step_later(value: Number) -> Any:
    return delayed(step, executor="loop")(value)


def add(*values: Number) -> int:
    return sum(value.number for value in values)


def branches(executor: str, first: Callable[[], Number] = lambda: Number(0)) -> Any:
    """A graph of a few branches, nodes that return nodes among them; its value is 9."""
    function, again = on(executor, step), delayed(step_later, executor="loop")
    ends = [function(function(function(first()))), function(again(function(first())))]
    ends.append(again(again(delayed(step, executor="thread")(first()))))
    return delayed(add, executor="loop")(*ends)


IN_SHORT_CALLS = "short calls in threads"


def branches_on(executor: str) -> Any:
    if executor != IN_SHORT_CALLS:
        return branches(executor)
    function = short(delayed(partial(step), executor="thread"))
    return delayed(add, executor="loop")(*[function(function(function(Number(0)))) for _ in range(3)])


def in_loop(loop: asyncio.AbstractEventLoop, function: Callable[[], object]) -> None:
    """Call `function` now, or soon where this is not the thread of the loop."""
    if threading.current_thread() is threading.main_thread():
        function()
    else:
        loop.call_soon_threadsafe(function)


@pytest.mark.parametrize("executor", [*IN_THIS_PROCESS, IN_SHORT_CALLS])
async def test_row_49_finalizer_that_cancels(executor, collecting, complaints):
    """The collector may call a finalizer that cancels the run at any moment: it ends all the same."""
    loop = asyncio.get_running_loop()
    outcomes = set()
    async with Runtime(threads=2):
        for collections in range(250):
            going_on = start(branches_on(executor))
            fuse = Fuse(collections, partial(in_loop, loop, going_on.cancel))
            try:
                outcomes.add(await asyncio.wait_for(asyncio.shield(going_on), PATIENCE))
            except asyncio.CancelledError:
                counts = going_on.statistics()
                assert counts.finished + counts.cancelled == counts.nodes
                outcomes.add("cancelled")
            fuse.put_out()
        assert await branches_on(executor) == 9
    assert outcomes <= {9, "cancelled"}
    # In short calls the collector runs in threads, and what it asks for may come when all is over.
    assert "cancelled" in outcomes or executor == IN_SHORT_CALLS
    assert complaints == []


@pytest.mark.parametrize("executor", [*IN_THIS_PROCESS, IN_SHORT_CALLS])
async def test_row_49_finalizer_that_computes(executor, collecting, complaints):
    """Nor does it matter if the finalizer starts another run, or in a thread computes one to its end."""
    others = []

    def another() -> None:
        is_in_loop = threading.current_thread() is threading.main_thread()
        others.append(start(branches_on(executor)) if is_in_loop else run(branches("inline")))

    async with Runtime(threads=1, concurrency=1):
        for collections in range(0, 250, 5):
            going_on = start(branches_on(executor))
            fuse = Fuse(collections, another)
            assert await asyncio.wait_for(going_on, PATIENCE) == 9
            fuse.put_out()
            while others:
                other = others.pop()
                assert other == 9 or await asyncio.wait_for(other, PATIENCE) == 9
    assert complaints == []


@pytest.mark.parametrize("executor", IN_THIS_PROCESS)
async def test_row_49_value_whose_end_cancels_or_computes(executor, complaints):
    """A value may do either when it is dropped, in whichever thread that is."""
    loop, others, going_on = asyncio.get_running_loop(), [], []

    def compute_another() -> None:
        is_in_loop = threading.current_thread() is threading.main_thread()
        others.append(start(branches(executor)) if is_in_loop else run(branches("inline")))

    def cancel() -> None:
        for each in going_on:
            in_loop(loop, each.cancel)

    async with Runtime(threads=2):
        make = on(executor, Number)
        assert await branches(executor, lambda: make(0, compute_another)) == 9
        await turns(3)
        assert [other if type(other) is int else await other for other in others] == [9] * 3
        # It waits for a coroutine that never ends by itself: without the cancel it would not end.
        stage = Stage()
        going_on.append(start([branches(executor, lambda: make(0, cancel)), stage.coroutine()]))
        with pytest.raises(asyncio.CancelledError):
            await asyncio.wait_for(asyncio.shield(going_on[0]), PATIENCE)
        # It has kept values to go on with, which refer to it by their ends: let go of now, and not by a
        # collection in some other thread, when the loop is closed.
        going_on.clear()
    assert complaints == []
