"""`when`: one side runs, the other does not, and what they share with the rest runs once."""

# ruff: noqa: D102, D103 - helpers whose names say it

from __future__ import annotations

import asyncio
import operator
from collections import Counter

import cloudpickle
import pytest

from asyncgraph import (
    Input,
    Runtime,
    as_completed,
    compile,
    compute,
    delayed,
    from_graph,
    start,
    when,
)
from asyncgraph.errors import DependencyError, GraphError

LANES = ["loop", "coroutine", "thread", "process"]


class Calls:
    """Makes nodes in all lanes but processes, and counts the calls of each name."""

    def __init__(self):
        self.count = Counter()
        self.broken = set()

    def call(self, name, *values):
        self.count[name] += 1
        if name in self.broken:
            raise LookupError(name)
        return sum(values)

    async def call_later(self, name, *values):
        await asyncio.sleep(0)
        return self.call(name, *values)

    def node(self, name, *values, lane="loop"):
        if lane == "coroutine":
            return delayed(self.call_later, name=name)(name, *values)
        return delayed(self.call, name=name, executor=lane)(name, *values)


@pytest.fixture
def calls():
    return Calls()


@pytest.mark.parametrize("lane", ["loop", "coroutine", "thread"])
@pytest.mark.parametrize("is_true", [True, False])
async def test_one_side_runs(calls, lane, is_true):
    """In every lane; and the other side is not called, nor what only it needs."""
    condition = calls.node("condition", 1 if is_true else 0, lane=lane)
    then = calls.node("then", calls.node("before then", 1, lane=lane), 1, lane=lane)
    otherwise = calls.node("otherwise", calls.node("before otherwise", 2, lane=lane), 2, lane=lane)
    assert await when(condition, then, otherwise) == (2 if is_true else 4)
    side = "then" if is_true else "otherwise"
    assert calls.count == {"condition": 1, side: 1, f"before {side}": 1}


async def test_in_worker_processes():
    """What a side shares with a chain of process calls is not lost in the worker that the chain stays in."""
    step = delayed(operator.add, executor="process")
    async with Runtime(processes=1):
        first = step(1, 1)
        second = step(first, 1)
        chosen = when(second == 3, step(first, second), step(first, 100))
        assert await compute(chosen, second, chosen + 1) == (5, 3, 6)


async def test_data_on_the_sides():
    """A side may be data, or a container with nodes in it; and so may the condition."""
    node = delayed(3)
    assert await when(node == 3, [node, node + 1], None) == [3, 4]
    assert await when([], "there", "nothing") == "nothing"
    assert await when(node > 3, node, {"none": node}) == {"none": 3}
    assert await compute(when(True, node, 0), when(False, node, 0)) == (3, 0)


async def test_what_is_shared_runs_once(calls):
    """By the condition and both sides; by two choices and nothing else; by an output and a side."""
    base = calls.node("base", 5)
    only_sides = calls.node("only sides", base, 1)
    one = when(base == 5, calls.node("one", only_sides, base), base)
    two = when(base == 0, base, calls.node("two", only_sides, one))
    assert await compute(one, two, when(two > 0, only_sides, 0), base) == (11, 17, 6, 5)
    assert calls.count == {"base": 1, "only sides": 1, "one": 1, "two": 1}


async def test_a_result_is_kept_no_longer_than_for_the_choice():
    """It is dropped once the choice is made, though the graph goes on."""
    alive = set()

    class Tracked(list):
        def __init__(self, *items):
            super().__init__(items)
            alive.add(id(self))

        def __del__(self):
            alive.discard(id(self))

    big = delayed(Tracked, executor="loop")(1, 2)
    chosen = when(delayed(len, executor="loop")(big) == 2, "two", delayed(sum, executor="loop")(big))
    seen = delayed(lambda _: len(alive), executor="loop")(chosen)
    assert await seen == 0


async def test_choices_within_choices(calls):
    """On a side, as a condition, and as what another function returns."""

    def collatz(number):
        value = delayed(number)
        return when(value == 1, 0, 1 + delayed(collatz)(when(value % 2 == 0, value // 2, 3 * value + 1)))

    assert await delayed(collatz)(27) == 111


async def test_hundreds_of_choices_within_each_other(calls):
    """Neither building nor running them descends from one to the next."""
    node = calls.node("end", 7)
    for _ in range(400):
        node = when(True, node, 0)
    assert len(node.graph) == 801
    assert await node == 7
    assert await cloudpickle.loads(cloudpickle.dumps(when(True, node + 1, 0))) == 8


async def test_failures(calls):
    """Of the condition; of its truth; of the side that is chosen, not of the other one."""
    calls.broken |= {"bad"}
    bad, good = calls.node("bad", 1), calls.node("good", 1)
    assert await when(good, good, bad) == 1
    for choice in (when(bad, good, good), when(good, bad, good)):
        with pytest.raises(LookupError) as caught:
            await choice
        assert "node bad-" in caught.value.__notes__[0]
    values = await compute(when(bad, good, good), when(good, bad, good), good, return_exceptions=True)
    assert [type(each) for each in values] == [DependencyError, LookupError, int]

    class Ambiguous:
        def __bool__(self):
            raise ValueError("ambiguous")

    with pytest.raises(ValueError, match="ambiguous"):
        await when(delayed(Ambiguous)(), good, good)


async def test_resuming(calls):
    """A choice that was made stays made; one that was not finds what it needs."""
    calls.broken |= {"late"}
    base = calls.node("base", 3)
    made = when(base == 3, calls.node("side", base, 1), base)
    open_choice = when(calls.node("late", made), calls.node("other", base, 2), base)
    run = start([made, open_choice])
    with pytest.raises(LookupError):
        await run
    calls.broken.clear()
    assert await run.resume() == [4, 5]
    assert calls.count == {"base": 1, "side": 1, "late": 2, "other": 1}


async def test_other_ways_to_run(calls):
    """Compiled, with inputs that only one side has; one by one as they come; written as a dictionary."""
    absolute = compile(when(Input("x") < 0, -Input("x"), Input("y")))
    assert set(absolute.inputs) == {"x", "y"}
    assert [await absolute(x=x, y="y") for x in (-2, 2)] == [2, "y"]
    with pytest.raises(GraphError, match="x, y"):
        await when(True, Input("x"), Input("y"))
    nodes = [when(number, calls.node(f"n{number}", number), -1) for number in (0, 1)]
    assert sorted([value async for _, value in as_completed(nodes)]) == [-1, 1]
    choice = when(calls.node("condition", 1), calls.node("then", 1), calls.node("otherwise", 2))
    copy = from_graph(dict(choice.graph), choice.key)
    assert [task.name for task in copy.graph.values()] == ["condition", "then", "otherwise", "when"]
    calls.count.clear()
    assert await copy == 1
    assert calls.count == {"condition": 1, "then": 1}
    condition, then, otherwise, _ = choice.graph
    assert repr(choice.graph[choice.key]) == f"when({condition}, {then}, {otherwise})"
    for key in (condition, then, otherwise):
        assert f'"{key}" -> "{choice.key}"' in choice.visualize(format="dot")


async def test_wrong_use(calls):
    """A function, or a coroutine, in place of a node."""

    async def fetch():
        return 1

    with pytest.raises(TypeError, match=r"is a function: call it, as in when\(ok, f\(x\), g\(x\)\)"):
        when(True, delayed(fetch), 1)
    with pytest.raises(TypeError, match="make its function delayed, and call that"):
        when(True, fetch(), 1)
    with pytest.raises(TypeError):
        when(True, 1)


async def test_cancelling_before_the_choice_is_made():
    """Neither side begins."""
    begun = asyncio.Event()

    @delayed
    async def endless():
        begun.set()
        await asyncio.get_running_loop().create_future()

    @delayed(executor="loop")
    def side():
        raise AssertionError

    run = start(when(endless(), side(), side()))
    await begun.wait()
    run.cancel()
    with pytest.raises(asyncio.CancelledError):
        await run
    assert run.statistics().cancelled == 2
