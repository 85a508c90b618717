"""What a run can be asked by its observers: how far it is, and its graph."""

from __future__ import annotations

import asyncio
import gc
import weakref
from typing import Any

import pytest

from asyncgraph import (
    compute,
    delayed,
    start,
)
from asyncgraph.observe import (
    NodesAdded,
)
from tests.runtime.telling import OnlyRuns, fetch


async def test_without_node_events_nothing_is_noted() -> None:
    """A run that is observed as a whole goes the same way as one that is not."""
    seen = OnlyRuns()
    run = start(fetch(1), observers=[seen])
    assert run._execution.recorder is None
    await run
    run = start(fetch(1), observers=[print])
    assert run._execution.recorder is not None
    run.cancel()
    with pytest.raises(asyncio.CancelledError):
        await run


@pytest.mark.parametrize("executor", ["loop", "thread", "async"])
async def test_progress_by_function(executor: str) -> None:
    """How far each function is, on whichever way; in the end, all; data is left out."""
    seen = OnlyRuns()
    reached, gate = asyncio.Event(), asyncio.Event()

    async def wait(value: Any) -> Any:
        reached.set()
        await gate.wait()
        return value

    function = fetch if executor == "async" else delayed(abs, name="fetch", executor=executor)
    before = [function(number) for number in range(10)]
    middle = delayed(wait)(delayed(len)(before))
    aio_task = asyncio.ensure_future((middle + delayed(5)).compute(observers=[seen]))
    await reached.wait()
    rows = {row.name: row for row in seen.events[0].run.progress()}
    assert rows["fetch"] == ("fetch", 10, 0, 10, 0, 0, 0)
    assert rows["wait"] == ("wait", 1, 1, 0, 0, 0, 0)
    assert rows["add"] == ("add", 1, 0, 0, 0, 0, 0)
    assert rows.keys() == {"fetch", "len", "wait", "add"}
    gate.set()
    await aio_task
    run = seen.events[0].run
    assert {row.finished == row.nodes for row in run.progress()} == {True}
    assert run.statistics().finished == 14
    assert run.description().endswith("over\n")
    assert not run.cancel()


async def test_progress_of_what_fails_and_is_cancelled() -> None:
    """Failed and cancelled nodes are counted as such."""
    seen = OnlyRuns()
    with pytest.raises(ZeroDivisionError):
        await compute(fetch(1) / 0, delayed(asyncio.Event().wait)() - 1, observers=[seen])
    rows = {row.name: row for row in seen.events[0].run.progress()}
    assert rows["truediv"].failed + rows["truediv"].cancelled + rows["truediv"].finished == 1
    assert rows["sub"].cancelled == 1
    assert seen.events[-1].state == "failed"


async def test_an_observer_keeps_no_values() -> None:
    """Whoever keeps events keeps nothing of what was computed, nor the run; `NodesAdded` keeps the graph."""

    class Value:
        pass

    made: list[weakref.ref[Value]] = []

    @delayed(executor="loop")
    def make() -> Value:
        value = Value()
        made.append(weakref.ref(value))
        return value

    events: list[Any] = []
    run = start(make(), observers=[events.append])
    value = await run
    gone = weakref.ref(run)
    del run, value
    gc.collect()
    assert gone() is None
    assert made[0]() is None
    events[:] = [event for event in events if not isinstance(event, NodesAdded)]
    with pytest.raises(RuntimeError, match="the graph is gone"):
        events[0].run.graph()


async def test_the_graph_of_a_run() -> None:
    """As long as somebody has the nodes, an observer can ask for their graph."""
    seen = OnlyRuns()
    node = fetch(1) + 1
    await node.compute(observers=[seen])
    assert dict(seen.events[0].run.graph()).keys() == dict(node.graph).keys()
    assert seen.events[0].run.name == node.key
    assert repr(seen.events[0].run).endswith(f"of {node.key}>")
