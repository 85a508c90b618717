"""`as_completed`: nodes with their values, as they come."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import subprocess
import sys
import textwrap
import weakref
from typing import Any

import pytest

from asyncgraph import Runtime, as_completed, delayed
from asyncgraph.errors import DependencyError

inc = delayed(lambda x: x + 1, executor="loop", name="inc")


def _fail(*_: Any) -> None:
    raise ValueError("boom")


fail = delayed(_fail, executor="loop", name="fail")


class Gates:
    """Coroutine nodes, each of which ends when its gate is opened."""

    def __init__(self, count: int) -> None:
        self.gates = [asyncio.Event() for _ in range(count)]
        self.running: set[int] = set()
        self.all_running = asyncio.Event()
        self.nodes = [delayed(self._wait, name="gated")(number) for number in range(count)]

    async def _wait(self, number: int) -> int:
        self.running.add(number)
        if len(self.running) == len(self.gates):
            self.all_running.set()
        try:
            await self.gates[number].wait()
            return number
        finally:
            self.running.discard(number)


async def test_values_come_in_the_order_of_completion() -> None:
    """Each node comes with its value as soon as that is there, while others still run."""
    gates = Gates(4)
    seen = []
    order = [2, 0, 3, 1]
    completed = as_completed(gates.nodes)
    async with contextlib.aclosing(completed):
        for number in order:
            gates.gates[number].set()
            node, value = await anext(completed)
            assert node is gates.nodes[number]
            seen.append(value)
        assert [each async for each in completed] == []
    assert seen == order


async def test_nodes_that_depend_on_each_other() -> None:
    """Requested nodes may be steps on the way to others: each is given, the earlier ones first."""
    first = inc(0)
    second = inc(first)
    third = inc(second)
    assert [value async for _, value in as_completed([third, first, second])] == [1, 2, 3]


async def test_what_was_there_is_given_before_the_failure() -> None:
    """A failure is raised from the iteration, after the values that had arrived."""
    seen = []
    with pytest.raises(ValueError, match="boom"):  # noqa: PT012
        async for _, value in as_completed([inc(1), inc(2), fail()]):
            seen.append(value)
    assert seen == [2, 3]


async def test_a_failure_cancels_what_still_runs() -> None:
    """When the failure leaves the iteration, nothing of it is running."""
    gates = Gates(3)
    with pytest.raises(ValueError, match="boom"):
        async for _ in as_completed([*gates.nodes, fail()]):
            pass
    assert not gates.running


async def test_return_exceptions_gives_them_in_place_of_values() -> None:
    """With return_exceptions the failures come as values do, and the rest goes on."""
    gates = Gates(1)
    bad = fail()
    behind = inc(bad)
    seen: dict[Any, Any] = {}
    async for node, value in as_completed([gates.nodes[0], bad, behind, inc(5)], return_exceptions=True):
        seen[id(node)] = value
        gates.gates[0].set()
    assert type(seen[id(bad)]) is ValueError
    assert type(seen[id(behind)]) is DependencyError
    assert seen[id(behind)].__cause__ is seen[id(bad)]
    assert seen[id(gates.nodes[0])] == 0
    assert len(seen) == 4


async def test_an_early_break_with_aclosing_leaves_nothing_running() -> None:
    """`contextlib.aclosing` cancels the rest at the end of its block, and waits for it."""
    gates = Gates(5)

    async def open_one() -> None:
        await gates.all_running.wait()
        gates.gates[3].set()

    opening = asyncio.ensure_future(open_one())
    async with contextlib.aclosing(as_completed(gates.nodes)) as completed:
        async for _, value in completed:
            assert value == 3
            break
        assert gates.running == {0, 1, 2, 4}
    assert not gates.running
    await opening


async def test_an_exception_in_the_loop_body_with_aclosing() -> None:
    """So does an exception that leaves the loop."""
    gates = Gates(3)
    gates.gates[0].set()
    with pytest.raises(KeyError):  # noqa: PT012
        async with contextlib.aclosing(as_completed(gates.nodes)) as completed:
            async for _ in completed:
                raise KeyError
    assert not gates.running


async def test_a_break_without_aclosing_is_cleaned_up_when_collected() -> None:
    """An iterator that is dropped is closed by the loop, which cancels the rest soon."""
    gates = Gates(3)
    gates.gates[0].set()
    async for _ in as_completed(gates.nodes):
        break
    gc.collect()
    for _ in range(20):
        if not gates.running:
            break
        await asyncio.sleep(0)
    assert not gates.running


@pytest.mark.parametrize("factory", ["asyncio", "uvloop"])
def test_a_break_without_aclosing_at_the_end_of_the_program(factory: str) -> None:
    """The loop's shutdown ends what an abandoned iterator was doing: no warning, no output."""
    pytest.importorskip(factory)
    script = f"""
        import asyncio, {factory}
        from asyncgraph import as_completed, delayed

        ended = []

        async def wait(number):
            try:
                await asyncio.sleep(0 if number == 0 else 1000)
                return number
            finally:
                ended.append(number)

        async def main():
            global kept
            kept = as_completed([delayed(wait)(i) for i in range(5)])
            async for node, value in kept:
                break

        with asyncio.Runner(loop_factory={factory}.new_event_loop) as runner:
            runner.run(main())
        assert sorted(ended) == [0, 1, 2, 3, 4], ended
    """
    command = [sys.executable, "-W", "error", "-c", textwrap.dedent(script)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=50, check=False)
    assert (done.returncode, done.stderr) == (0, "")


async def test_cancelling_the_consumer_cancels_the_rest() -> None:
    """A task that is cancelled in the iteration has ended everything by the time that it ends."""
    gates = Gates(3)
    waiting = asyncio.Event()

    async def consume() -> None:
        waiting.set()
        async for _ in as_completed(gates.nodes):
            pass

    task = asyncio.ensure_future(consume())
    await waiting.wait()
    await gates.all_running.wait()
    task.cancel("mine")
    with pytest.raises(asyncio.CancelledError) as caught:
        await task
    assert caught.value.args == ("mine",)
    for _ in range(20):
        await asyncio.sleep(0)
    assert not gates.running


async def test_a_node_that_is_there_twice_is_given_once() -> None:
    """Duplicates are one request."""
    node = inc(1)
    assert [value async for _, value in as_completed([node, node, node])] == [2]


async def test_nothing_requested_gives_nothing() -> None:
    """An empty iterable is over at once; a generator of nodes is taken as it is."""
    assert [each async for each in as_completed([])] == []
    assert sorted([value async for _, value in as_completed(inc(i) for i in range(3))]) == [1, 2, 3]


@pytest.mark.parametrize("wrong", [1, None, "text", len, inc, [inc(1)]])
def test_what_is_no_node_is_refused_at_the_call(wrong: Any) -> None:
    """Refused before any iteration, with what was given."""
    with pytest.raises(TypeError, match="as_completed takes nodes, not"):
        as_completed([inc(1), wrong])


def test_a_single_node_is_refused_with_what_to_write() -> None:
    """A node in place of a list of nodes is not mistaken for one to unpack."""
    with pytest.raises(TypeError, match=r"takes several nodes, as in as_completed\(\[node\]\)"):
        as_completed(delayed(1))


async def test_timeout() -> None:
    """Time up is a TimeoutError from the iteration; what was there has been given."""
    gates = Gates(2)
    gates.gates[0].set()
    seen = []
    with pytest.raises(TimeoutError, match="running: gated"):  # noqa: PT012
        async for _, value in as_completed(gates.nodes, timeout=0.2):
            seen.append(value)
    assert seen == [0]
    assert not gates.running


async def test_runtime() -> None:
    """`runtime=` says where it runs."""
    async with Runtime(threads=1) as runtime:
        node = delayed(lambda: 1, executor="thread")()
        assert [value async for _, value in as_completed([node], runtime=runtime)] == [1]
        assert runtime._executors()
    with pytest.raises(TypeError, match="runtime= takes a Runtime"):
        async for _ in as_completed([inc(1)], runtime=1):  # type: ignore[arg-type]
            pass


async def test_values_are_not_kept_once_they_have_been_given() -> None:
    """A long stream of values lives one at a time, whatever the consumer lets go of."""

    class Value:
        pass

    gates = Gates(1)
    refs: list[weakref.ref[Value]] = []
    made = [delayed(Value, executor="loop")() for _ in range(10)]
    async with contextlib.aclosing(as_completed([*made, *gates.nodes])) as completed:
        for _ in range(10):
            _, value = await anext(completed)
            refs.append(weakref.ref(value))
            del value, _
        await asyncio.sleep(0)
        assert [ref() for ref in refs] == [None] * 10
