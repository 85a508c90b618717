"""The straight way through a graph, and the change to the scheduler at every point of it."""

# ruff: noqa: D103 - helpers whose names say it

from __future__ import annotations

import asyncio
import contextvars
import functools
import itertools
import threading
import weakref
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from asyncgraph import Runtime, compute, delayed, run
from asyncgraph._graph.plan import Plan
from asyncgraph._runtime import straight, way
from asyncgraph._runtime.straight import Straight, Stretch, are_tiny
from asyncgraph.errors import DependencyError
from tests.runtime.background import begin
from tests.runtime.durations import long, short, tiny

SECONDS = 20


class Broken(Exception):
    """What a broken node raises."""


def _join(name: str, *values: Any) -> tuple[Any, ...]:
    return (name, *values)


async def _join_async(name: str, *values: Any) -> tuple[Any, ...]:
    return (name, *values)


async def _join_later(name: str, *values: Any) -> tuple[Any, ...]:
    await asyncio.sleep(0)
    return (name, *values)


def _fail(name: str, *values: Any) -> Any:
    raise Broken(name)


async def _fail_later(name: str, *values: Any) -> Any:
    await asyncio.sleep(0)
    raise Broken(name)


variable: contextvars.ContextVar[str] = contextvars.ContextVar("variable")


async def _join_and_set(name: str, *values: Any) -> tuple[Any, ...]:
    variable.set(name)
    return (name, *values)


def _give_coroutine(*args: Any) -> Any:
    return _join_later(*args)


inline = delayed(_join, executor="loop")


# Functions of their own, so that what is known of one says nothing of another.
def _copies(function: Any) -> Any:
    return functools.partial(function)


KINDS = {
    "inline": inline,
    "at once": delayed(_join_async),
    "later": delayed(_join_later),
    "setting": delayed(_join_and_set),
    "returning a node": delayed(_copies(inline), executor="loop"),
    "returning a coroutine": delayed(_give_coroutine, executor="loop"),
    "tiny thread": tiny(delayed(_join, executor="thread", name="tiny")),
    "short thread": short(delayed(_copies(_join), executor="thread")),
    "long thread": long(delayed(_copies(_join), executor="thread")),
    "failing": delayed(_fail, executor="loop"),
    "failing later": delayed(_fail_later),
}
FAILING = {"failing", "failing later"}
ON_LOOP = ["inline", "at once", "later", "setting", "returning a node", "returning a coroutine"]

# By node, the nodes that it needs.
SHAPES = {
    "chain": [[], [0], [1], [2]],
    "tree": [[], [], [0, 1], [], [2, 3]],
    "diamond": [[], [0], [0], [1, 2]],
    "twice": [[], [0, 0], [1, 1]],
    "shared": [[], [0], [0, 1], [0, 1, 2], [0]],
    "apart": [[], [], [0], [1]],
}


def naive(shape: list[list[int]], kinds: list[str]) -> list[Any]:
    """What each node must give: its value, or the node whose failure it is behind."""
    values: list[Any] = []
    for number, needs in enumerate(shape):
        behind = {values[need] for need in needs if isinstance(values[need], int)}
        if behind:
            values.append(min(behind))
        elif kinds[number] in FAILING:
            values.append(number)
        else:
            values.append((f"n{number}", *(values[need] for need in needs)))
    return values


def build(shape: list[list[int]], kinds: list[str]) -> list[Any]:
    nodes: list[Any] = []
    for number, needs in enumerate(shape):
        nodes.append(KINDS[kinds[number]](f"n{number}", *(nodes[need] for need in needs)))
    return nodes


def check(shape: list[list[int]], kinds: list[str], outputs: list[int], results: list[Any]) -> None:
    expected = naive(shape, kinds)
    for output, result in zip(outputs, results, strict=True):
        if not isinstance(expected[output], int):
            assert result == expected[output]
        elif expected[output] == output:
            assert type(result) is Broken
        else:
            assert type(result) is DependencyError
            assert type(result.__cause__) is Broken


def ends_of(shape: list[list[int]]) -> list[int]:
    used = set(itertools.chain.from_iterable(shape))
    return [number for number in range(len(shape)) if number not in used]


@pytest.mark.parametrize("name", SHAPES)
@pytest.mark.parametrize("all_outputs", [False, True])
async def test_every_kind_of_node_in_every_place(name, all_outputs):
    """Wherever the straight way ends, and for whatever reason, every value is what it would have been."""
    shape = SHAPES[name]
    outputs = list(range(len(shape))) if all_outputs else ends_of(shape)
    for place in range(len(shape)):
        for kind in KINDS:
            for rest in ("inline", "at once", "tiny thread"):
                kinds = [rest] * len(shape)
                kinds[place] = kind
                nodes = build(shape, kinds)
                results = await compute([nodes[output] for output in outputs], return_exceptions=True)
                check(shape, kinds, outputs, results)


@settings(deadline=None, max_examples=150)
@given(st.data())
def test_random_graphs(data):
    """The same for random graphs of random kinds."""
    shape: list[list[int]] = []
    for number in range(data.draw(st.integers(1, 12))):
        needs = st.lists(st.integers(0, number - 1), max_size=3) if number else st.just([])
        shape.append(data.draw(needs))
    kinds = [data.draw(st.sampled_from([*KINDS, *ON_LOOP * 2])) for _ in shape]
    outputs = data.draw(st.lists(st.integers(0, len(shape) - 1), min_size=1, max_size=5))
    nodes = build(shape, kinds)
    results = run(compute([nodes[output] for output in outputs], return_exceptions=True))
    check(shape, kinds, outputs, results)


async def _join_after(turns: int, name: str, *values: Any) -> tuple[Any, ...]:
    for _ in range(turns):
        await asyncio.sleep(0)
    return (name, *values)


async def _compute_with(concurrency: int, nodes: list[Any]) -> Any:
    async with Runtime(concurrency=concurrency) as runtime:
        return await runtime.compute(nodes, return_exceptions=True)


@settings(deadline=None, max_examples=200)
@given(st.data())
def test_random_graphs_on_the_loop(data):
    """Coroutines that are suspended for different times, few at once, beside nodes that are not."""
    shape: list[list[int]] = []
    for number in range(data.draw(st.integers(1, 12))):
        needs = st.lists(st.integers(0, number - 1), max_size=3) if number else st.just([])
        shape.append(data.draw(needs))
    kinds = [data.draw(st.sampled_from([*["after"] * 6, *ON_LOOP, "failing later"])) for _ in shape]
    after = [functools.partial(delayed(_join_after), data.draw(st.integers(0, 4))) for _ in shape]
    outputs = data.draw(st.lists(st.integers(0, len(shape) - 1), min_size=1, max_size=5))
    nodes: list[Any] = []
    for number, needs in enumerate(shape):
        call = after[number] if kinds[number] == "after" else KINDS[kinds[number]]
        nodes.append(call(f"n{number}", *(nodes[need] for need in needs)))
    results = run(_compute_with(data.draw(st.integers(1, 4)), [nodes[output] for output in outputs]))
    check(shape, kinds, outputs, results)


async def test_what_can_begin_does_while_others_are_suspended():
    """Also where a node in between waits: nothing that is ready waits for what it does not need."""
    gate, begun = asyncio.Event(), []

    @delayed
    async def hold() -> int:
        await gate.wait()
        return 1

    @delayed
    async def note(value: Any) -> Any:
        begun.append(value)
        if len(begun) == 3:
            gate.set()
        return value

    held = hold()
    assert await compute(note(held), [note(number) for number in (2, 3, 4)]) == (1, [2, 3, 4])
    assert sorted(begun[:3]) == [2, 3, 4]


async def test_a_slot_that_is_not_needed_any_more():
    """One that a run waited for, and need not have in the end, is free for others while it goes on."""
    held, stepped, ended = asyncio.Event(), asyncio.Event(), asyncio.Event()

    async def wait(event: asyncio.Event) -> None:
        await event.wait()

    async def end() -> None:
        ended.set()

    # Short, as far as is known: for long ones the scheduler would be asked who goes first.
    wait_for, then = tiny(wait), tiny(end)
    async with Runtime(concurrency=2) as runtime:
        going = begin([wait_for(held), wait_for(stepped), then()])
        for _ in range(5):  # both slots are taken, and one more is wanted
            await asyncio.sleep(0)
        stepped.set()
        await ended.wait()
        async with asyncio.timeout(SECONDS):
            assert await runtime.compute(KINDS["later"]("other")) == ("other",)
        assert not going.done()
        held.set()
        await going


@pytest.mark.parametrize("concurrency", [1, 2])
async def test_a_plain_function_needs_no_slot(concurrency):
    """It runs while all slots are taken by coroutines that wait for it."""
    done = asyncio.Event()

    @delayed
    async def wait() -> bool:
        return await done.wait()

    async with Runtime(concurrency=concurrency) as runtime:
        node = delayed(done.set, executor="loop")()
        waiting = [wait() for _ in range(concurrency)]
        assert await runtime.compute(waiting, node) == ([True] * concurrency, None)


@pytest.mark.parametrize("kind", ["inline", "at once", "later", "tiny thread", "short thread"])
async def test_a_run_that_is_cancelled_at_each_turn(kind):
    """Whenever it is cancelled, a run ends as cancelled, with all its nodes, or had ended before."""
    for turns in range(12):
        node = KINDS[kind]("a", KINDS[kind]("b"), KINDS["later"]("c"))
        going = begin(node)
        for _ in range(turns):
            await asyncio.sleep(0)
        if going.cancel():
            with pytest.raises(asyncio.CancelledError):
                await going
        else:
            assert await going == ("a", ("b",), ("c",))
        counts = going.statistics()
        assert counts.finished + counts.cancelled == counts.nodes == 3


@pytest.mark.parametrize("shared", [False, True])
@pytest.mark.parametrize("is_async", [False, True])
async def test_a_value_whose_finalizer_cancels_the_run(is_async, shared):
    """Nothing begins after that, and nobody hears of an error that is none of the user's."""
    complaints: list[Any] = []
    calls: list[int] = []

    class Last:
        def __init__(self, number: int) -> None:
            self.number = number

        def __del__(self) -> None:
            if self.number == cancels_at:
                going.cancel()
                calls.clear()

    def make(number: int, *values: Any) -> Last:
        calls.append(number)
        return Last(number)

    async def make_async(number: int, *values: Any) -> Last:
        return make(number, *values)

    function = delayed(make_async) if is_async else delayed(make, executor="loop")
    nodes = [function(0)]
    for number in range(1, 20):
        nodes.append(function(number, *nodes[-2:] if shared else nodes[-1:]))
    asyncio.get_running_loop().set_exception_handler(lambda _, complaint: complaints.append(complaint))
    for number in range(15):
        cancels_at = number
        going = begin(nodes[-1])
        with pytest.raises(asyncio.CancelledError):
            await going
        assert len(calls) <= 1  # the node that was being begun
    assert not complaints


async def test_statistics_on_the_way():
    """A run says how far it is, on the straight way as well."""
    seen = []
    runs = []

    def look(*_: Any) -> None:
        seen.append(runs[0].statistics())

    looking = delayed(look, executor="loop")
    runs.append(begin(looking(looking(looking()))))
    await runs[0]
    assert [(each.finished, each.running, each.waiting) for each in seen] == [(0, 1, 2), (1, 1, 1), (2, 1, 0)]
    assert runs[0].statistics().finished == 3


class Thing:
    """Something to watch with a weak reference."""


@pytest.mark.parametrize("suspends", [False, True])
@pytest.mark.parametrize("shared", [False, True])
async def test_values_are_dropped_after_their_last_use(suspends, shared):
    """On the straight way as on any other, and where it ends."""
    things: list[weakref.ref[Thing]] = []
    alive: list[int] = []

    @delayed(executor="loop")
    def make(*_: Any) -> Thing:
        thing = Thing()
        things.append(weakref.ref(thing))
        return thing

    @delayed(executor="loop")
    def use(*_: Any) -> None:
        return None

    @delayed
    async def look(*_: Any) -> None:
        if suspends:
            await asyncio.sleep(0)
        alive.append(sum(each() is not None for each in things))

    node: Any = None
    for _ in range(5):
        thing = make(node)
        node = use(thing, thing) if shared else use(thing)
        node = look(node)
    await node
    assert alive == [0] * 5


async def test_functions_are_not_looked_at_for_every_node(monkeypatch):
    """Many functions do not make it slow to decide that the way may be gone on with."""
    asked = []
    may_be_urgent = way.may_be_urgent
    monkeypatch.setattr(way, "may_be_urgent", lambda *args: asked.append(args) or may_be_urgent(*args))
    nodes = [tiny(_copies(_join_later))(str(number)) for number in range(100)]
    async with Runtime(concurrency=1):
        assert await compute(nodes) == [(str(number),) for number in range(100)]
    assert len(asked) <= 2


# -- in one thread


async def test_tiny_calls_go_to_one_thread(monkeypatch):
    """And all to the same one, where nothing in the graph takes longer."""
    monkeypatch.setattr(way, "PATIENCE", SECONDS)  # on a busy machine everything takes longer
    ident = tiny(delayed(lambda *_: threading.get_ident(), executor="thread"))
    idents = await compute([ident(ident()) for _ in range(3_000)])
    assert len(set(idents)) == 1
    assert threading.get_ident() not in idents


@pytest.mark.parametrize("where", [0, 1, 25, 49])
async def test_a_call_that_is_not_tiny_after_all(where):
    """What waits behind it is done by others while it is held; and it counts when it is done."""
    go = threading.Event()
    others = threading.Semaphore(0)

    def hold(number: int) -> int:
        if number == where:
            assert go.wait(SECONDS)
        else:
            others.release()
        return number

    call = tiny(delayed(hold, executor="thread"))
    nodes = [call(number) for number in range(50)]
    async with Runtime(threads=2):
        going = begin([call(node) for node in nodes[:where]] + nodes[where:])
        for _ in range(49):
            await asyncio.to_thread(others.acquire, timeout=SECONDS)
        assert not going.done()
        go.set()
        assert await going == list(range(50))


async def test_values_behind_a_call_that_is_not_tiny_are_dropped():
    """What was there when the way was left is kept no longer than by the scheduler."""
    go = threading.Event()
    things: list[weakref.ref[Thing]] = []

    def make() -> Thing:
        thing = Thing()
        things.append(weakref.ref(thing))
        return thing

    hold = tiny(delayed(lambda: go.wait(SECONDS), executor="thread"))
    use = tiny(delayed(lambda *_: None, executor="thread"))
    is_alive = delayed(lambda _: things[0]() is not None, executor="loop")
    thing = tiny(delayed(make, executor="thread"))()
    async with Runtime(threads=2):
        alive, _ = await compute(is_alive(use(thing, hold())), tiny(delayed(go.set, executor="thread"))())
    assert not alive


@pytest.mark.parametrize("kind", ["value", "failure", "node", "coroutine"])
@pytest.mark.parametrize("is_left", [False, True])
async def test_what_a_node_in_the_thread_gives(kind, is_left):
    """Whatever the node gives that ends the straight way, before or after the way was left."""
    go, begun = threading.Event(), asyncio.Event()
    loop = asyncio.get_running_loop()

    def give(number: int) -> Any:
        if is_left:
            loop.call_soon_threadsafe(begun.set)
            assert go.wait(SECONDS)
        if kind == "failure":
            raise Broken("on the way")
        return {"value": int, "node": inline, "coroutine": _join_async}[kind](number)

    before, after = (tiny(delayed(lambda x: x, executor="thread", name=name)) for name in ("before", "after"))
    node = after(tiny(delayed(give, executor="thread"))(before(1)))
    going = begin([node, before(2)], return_exceptions=True)
    if is_left:
        await begun.wait()
        await asyncio.sleep(2 * 0.005)  # the time after which a thread is looked at has to pass
        go.set()
    result, other = await going
    assert other == 2
    if kind == "failure":
        assert type(result) is DependencyError
    else:
        assert result == {"value": 1, "node": (1,), "coroutine": (1,)}[kind]


async def test_a_run_in_a_thread_that_is_cancelled():
    """What the thread has not begun never begins; what it is at is waited for."""
    go, begun = threading.Event(), asyncio.Event()
    loop = asyncio.get_running_loop()
    calls: list[int] = []

    def note(number: int) -> None:
        calls.append(number)
        if number == 3:
            loop.call_soon_threadsafe(begun.set)
            assert go.wait(SECONDS)

    function = tiny(delayed(note, executor="thread"))
    async with Runtime(threads=1):
        going = begin([function(number) for number in range(10)])
        await begun.wait()
        going.cancel()
        assert not going.done()
        go.set()
        with pytest.raises(asyncio.CancelledError):
            await going
    assert calls == [0, 1, 2, 3]


async def test_contexts_in_a_thread():
    """Each call finds the variables of the caller, and none that another has set."""
    variable.set("of the caller")

    def swap(*_: Any) -> str:
        before = variable.get()
        variable.set("of a call")
        return before

    function = tiny(delayed(swap, executor="thread"))
    assert await compute([function(function()) for _ in range(20)]) == ["of the caller"] * 20


def plan_of(*nodes: Any) -> Plan:
    return Plan(nodes)


def test_are_tiny():
    """Known to be, all of them."""
    assert are_tiny(plan_of(tiny(abs)(1)).functions)
    assert not are_tiny(plan_of(delayed(abs)(1)).functions)
    assert not are_tiny(plan_of(tiny(abs)(short(max)(1))).functions)


def test_a_stretch_is_about_a_millisecond(monkeypatch):
    """How many nodes that are depends on what is known of their functions."""
    nodes = [tiny(abs)(number) for number in range(1_000)]
    plan = plan_of(*nodes)
    path = Straight(plan, contextvars.copy_context(), {}, has_threads=True)
    monkeypatch.setattr(straight, "_STRETCH", 1e-7 * 10.5)
    stretch = Stretch(path, plan.functions)
    stretch()
    assert (stretch.first, stretch.last, stretch.is_usual) == (0, 9, True)
    assert [path.values[node] for node in nodes[:10]] == list(range(10))
    assert stretch.take_back() == 9


def test_taking_a_stretch_back():
    """Before it has begun nothing of it is running; what was taken back is not done."""
    plan = plan_of(*[tiny(abs)(number) for number in range(10)])
    path = Straight(plan, contextvars.copy_context(), {}, has_threads=True)
    stretch = Stretch(path, plan.functions)
    assert stretch.take_back() is None
    stretch()
    assert (stretch.last, path.values) == (-1, {})
