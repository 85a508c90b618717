"""The window: threads do short calls and what waits for these without the loop; none waits for a slow one."""

from __future__ import annotations

import asyncio
import contextvars
import functools
import gc
import random
import threading
import weakref
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from asyncgraph import Runtime, compute, delayed, run
from asyncgraph._graph.function import Durations, Function
from asyncgraph._runtime.window import Meter, Window, hands_for, room_for, seconds_in_window
from asyncgraph.errors import DependencyError
from asyncgraph.executors.thread import ThreadExecutor
from tests.runtime.background import begin
from tests.runtime.durations import long, short

SECONDS = 20

# A node that is not in a thread, so that the graph is scheduled.
INLINE = delayed(1) + 1


@pytest.fixture
def handed(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """What threads are handed, in order."""
    calls: list[Any] = []
    original = ThreadExecutor.start

    def start_(self: ThreadExecutor, call: Any) -> None:
        calls.append(call.function)
        original(self, call)

    monkeypatch.setattr(ThreadExecutor, "start", start_)
    return calls


async def test_short_calls_go_together(handed):
    """A thousand calls of a twentieth of a millisecond are not handed over one by one."""
    function = short(delayed(lambda x: x + 1, executor="thread"))
    assert await compute([function(number) for number in range(1_000)], INLINE) == (list(range(1, 1_001)), 2)
    assert len(handed) < 100


async def test_long_calls_go_alone(handed):
    """So do those of which nothing is known."""
    known = long(delayed(lambda x: x, executor="thread"))
    await compute([known(number) for number in range(50)], INLINE)
    assert len(handed) == 50
    unknown = delayed(lambda x: x, executor="thread")
    await compute([unknown(1)], INLINE)
    assert len(handed) == 51


async def test_durations_are_remembered():
    """What one run has measured serves the next, and the same function with other options."""
    function = delayed(lambda x: x, executor="thread")
    assert function.function.durations.mean is None
    await function(1)
    assert 0 < function.function.durations.mean < 60
    assert function.options(name="other").function.durations is function.function.durations


@pytest.mark.parametrize("where", [0, 1, 50, 99])
async def test_nothing_waits_behind_a_call_that_is_slow(where):
    """What is ready beside it is done by other threads, and counts at once."""
    go = threading.Event()
    others = threading.Semaphore(0)

    def hold(number: int) -> int:
        if number == where:
            assert go.wait(SECONDS)
        return number

    def after(number: int) -> int:
        others.release()
        return number

    call = short(delayed(hold, executor="thread"))
    follow = short(delayed(after, executor="thread"))
    async with Runtime(threads=3):
        going = begin([[follow(call(number)) for number in range(100)], INLINE])
        for _ in range(99):
            assert await asyncio.to_thread(others.acquire, timeout=SECONDS)
        assert not going.done()
        go.set()
        assert (await going)[0] == list(range(100))


async def test_two_slow_ones_do_not_share_a_thread():
    """While another is idle: both are running at once."""
    together = threading.Barrier(2)

    def meet(number: int) -> int:
        if number in (3, 4):
            together.wait(SECONDS)
        return number

    call = short(delayed(meet, executor="thread"))
    async with Runtime(threads=2):
        assert (await compute([call(number) for number in range(20)], INLINE))[0] == list(range(20))


@pytest.mark.parametrize("threads", [1, 2, 3])
async def test_long_calls_leave_a_thread_to_the_window(threads):
    """What uses the result of a long call is not left behind by further long calls, whose results pile up."""
    gates = [threading.Event() for _ in range(20)]
    used = threading.Semaphore(0)

    def make(number: int) -> int:
        assert gates[number].wait(SECONDS)
        return number

    def use(total: int, number: int) -> int:
        used.release()
        return total + number

    make_, use_ = long(delayed(make, executor="thread")), short(delayed(use, executor="thread"))
    total = 0
    for number in range(20):
        total = use_(total, make_(number))
    async with Runtime(threads=threads):
        going = begin([total, INLINE])
        for gate in gates:  # what was begun after it waits at the next
            gate.set()
            assert await asyncio.to_thread(used.acquire, timeout=SECONDS)
        assert await going == [sum(range(20)), 2]


@pytest.mark.parametrize("where", [0, 5, 19])
async def test_a_failure_in_the_window(where):
    """It is that node's alone; with `return_exceptions` what is beside it in the window still runs."""

    def check(number: int) -> int:
        if number == where:
            raise ValueError(f"{number} is wrong")
        return number

    call = short(delayed(check, executor="thread"))
    nodes = [call(number) for number in range(20)]
    results, _ = await compute(nodes, INLINE, return_exceptions=True)
    assert [repr(each) for each in results] == [
        repr(ValueError(f"{where} is wrong")) if number == where else str(number) for number in range(20)
    ]
    with pytest.raises(ValueError, match=f"{where} is wrong") as caught:
        await compute(nodes, INLINE)
    assert nodes[where].key in caught.value.__notes__[0]


@pytest.mark.parametrize("how", ["cancel", "timeout"])
async def test_stopping_a_run_while_the_window_is_busy(how):
    """What has not begun never does; what is running is waited for."""
    go, begun = threading.Event(), asyncio.Event()
    loop = asyncio.get_running_loop()
    calls: list[int] = []

    def note(number: int) -> None:
        calls.append(number)
        if number == 1:
            loop.call_soon_threadsafe(begun.set)
            assert go.wait(SECONDS)

    function = short(delayed(note, executor="thread"))
    nodes = [function(number) for number in range(50)]
    async with Runtime(threads=1):
        going = begin([nodes, INLINE], timeout=SECONDS)
        await begun.wait()
        if how == "cancel":
            going.cancel()
        else:
            going._expire(SECONDS)  # as its timer would
        assert not going.done()
        go.set()
        with pytest.raises(asyncio.CancelledError if how == "cancel" else TimeoutError):
            await going
    assert calls == [0, 1]


async def test_contexts_in_the_window():
    """Each call finds the variables of the caller, and none that another has set."""
    variable: contextvars.ContextVar[str] = contextvars.ContextVar("variable")
    variable.set("of the caller")

    def swap() -> str:
        before = variable.get()
        variable.set("of a call")
        return before

    function = short(delayed(swap, executor="thread"))
    seen, _ = await compute([function() for _ in range(50)], INLINE)
    assert seen == ["of the caller"] * 50


async def test_many_short_calls():
    """Twenty thousand, in two stages, all right."""
    function = short(delayed(lambda x: x + 1, executor="thread"))
    total, _ = await compute(delayed(sum)([function(function(n)) for n in range(20_000)]), INLINE)
    assert total == sum(range(20_000)) + 40_000


async def test_an_executor_that_cannot_begin(monkeypatch):
    """Its error is that of every call that it was to make."""

    def refuse(self: ThreadExecutor, call: Any) -> None:
        asyncio.get_running_loop().call_soon(call.deliver, None, RuntimeError("no more threads"))

    function = short(delayed(abs, executor="thread"))
    with monkeypatch.context() as patch:
        patch.setattr(ThreadExecutor, "start", refuse)
        results, _ = await compute([function(-number) for number in range(5)], INLINE, return_exceptions=True)
    assert [str(each) for each in results] == ["no more threads"] * 5


# -- what waits for others in the window


def waiting_for(event: threading.Event) -> Any:
    """A node that holds up the loop until the event."""
    return delayed(event.wait, executor="loop")(SECONDS)


async def test_dependents_are_done_without_the_loop():
    """A chain of short calls goes on to its end while the loop does nothing else."""
    over = threading.Event()
    step = short(delayed(lambda x: x + 1, executor="thread"))
    last = short(delayed(lambda x: over.set() or x, executor="thread"))
    node = step(0)
    for _ in range(20):
        node = step(node)
    assert await compute(last(node), waiting_for(over)) == (21, True)


async def test_values_are_dropped_after_their_last_use_there():
    """Before the loop has heard of them."""
    things: list[weakref.ref[Any]] = []
    alive: list[int] = []
    over = threading.Event()

    class Thing:
        pass

    @functools.partial(delayed, executor="thread")
    def make(*_: Any) -> Thing:
        thing = Thing()
        things.append(weakref.ref(thing))
        return thing

    use = short(delayed(lambda *_: None, executor="thread"))
    look = short(
        delayed(lambda _: alive.append(sum(each() is not None for each in things)), executor="thread")
    )
    last = short(delayed(lambda _: over.set(), executor="thread"))
    node: Any = None
    for _ in range(5):
        thing = short(make)(node)
        node = look(use(thing, thing))
    await compute(last(node), waiting_for(over))
    assert alive == [0] * 5


async def test_nothing_is_held_when_a_run_is_over():
    """Neither a value nor a failure lives on in the window, not even until garbage is collected."""

    class Thing:
        pass

    def give(*_: Any) -> Thing:
        return Thing()

    def fail(thing: Thing) -> None:
        raise ValueError(thing)

    step, broken = short(delayed(give, executor="thread")), short(delayed(fail, executor="thread"))
    gc.disable()
    try:
        values, _ = await compute([step(step()) for _ in range(20)], INLINE)
        things = [weakref.ref(each) for each in values]
        del values
        error, _ = await compute(broken(step()), INLINE, return_exceptions=True)
        things.append(weakref.ref(error.args[0]))
        del error
        assert [each() for each in things] == [None] * 21
    finally:
        gc.enable()


async def test_a_value_that_others_need_too():
    """It is there for nodes elsewhere, and as a result, though the window is through with it."""
    over = threading.Event()
    make = short(delayed(lambda: ["value"], executor="thread"))
    use = short(delayed(lambda value: over.set() or [*value, "used"], executor="thread"))
    made, other = make(), make()
    both = delayed(lambda *values: values, executor="loop")(waiting_for(over), other)
    results = await compute(use(made), made, use(other), both)
    assert results == (["value", "used"], ["value"], ["value", "used"], (True, ["value"]))


@pytest.mark.parametrize("keep_going", [False, True])
async def test_nothing_is_begun_behind_a_failure(keep_going):
    """What waits for it in the window never runs; what does not, if all is to run that can."""
    calls: list[str] = []

    def note(name: str, *_: Any) -> str:
        calls.append(name)
        if name == "broken":
            raise ValueError(name)
        return name

    call = short(delayed(note, executor="thread"))
    broken = call("broken", call("first"))
    behind = call("behind", call("behind", broken))
    nodes = [behind, call("apart", call("apart"))]
    async with Runtime(threads=1):
        if keep_going:
            error, apart = (await compute(nodes, INLINE, return_exceptions=True))[0]
            assert type(error) is DependencyError
            assert type(error.__cause__) is ValueError
            assert apart == "apart"
            assert sorted(calls) == ["apart", "apart", "broken", "first"]
        else:
            with pytest.raises(ValueError, match="broken") as caught:
                await compute(nodes, INLINE)
            assert f"{behind.key} <- " in caught.value.__notes__[0]
            assert calls == ["first", "broken"]


async def test_calls_that_turn_out_to_be_coroutines():
    """So many that nothing else is to be begun meanwhile; calls that only produce come after them."""

    async def later(x: int) -> int:
        await asyncio.sleep(0)
        return x

    which = delayed(lambda: later, executor="loop")
    called = [which()(number) for number in range(20)]
    long_one = long(delayed(lambda x: x, executor="thread"))
    short_one = short(delayed(lambda x: x, executor="thread"))
    producers = [(long_one(number), short_one(number)) for number in range(20)]
    async with Runtime(concurrency=2, threads=2):
        results = await compute(called, producers)
    assert results == ([*range(20)], [(number, number) for number in range(20)])


async def test_the_outcome_of_a_slow_call_counts_at_once():
    """Though the thread goes on with another slow one, and nobody has looked for a while."""
    steps = [threading.Event() for _ in range(3)]
    heard = asyncio.Event()

    def hold(number: int) -> int:
        assert steps[number].wait(SECONDS)
        return number

    @delayed
    async def hear(number: int) -> int:
        heard.set()
        return number

    call = short(delayed(hold, executor="thread"))
    async with Runtime(threads=1):
        going = begin([hear(call(0)), hear(call(1)), hear(call(2))])
        for number, step in enumerate(steps):
            await asyncio.sleep(0.02)  # the time after which a thread is looked at has to pass, a few times
            heard.clear()
            step.set()
            await asyncio.wait_for(heard.wait(), SECONDS)
            assert going.done() is False or number == 2
        assert await going == [0, 1, 2]


@pytest.mark.parametrize("kind", ["node", "coroutine"])
async def test_a_value_that_has_to_be_computed_first(kind):
    """What waits in the window for a node or a coroutine gets the value of that."""
    plain = delayed(lambda x: x + 1, executor="loop")

    async def later(x: int) -> int:
        await asyncio.sleep(0)
        return x + 1

    def give_(x: int) -> Any:
        return {"node": plain, "coroutine": later}[kind](x)

    give = short(delayed(give_, executor="thread"))
    step = short(delayed(lambda *values: sum(values), executor="thread"))
    nodes = [step(step(give(step(number))), step(number)) for number in range(20)]
    assert (await compute(nodes, INLINE))[0] == [2 * number + 1 for number in range(20)]


async def test_a_node_that_is_returned_needs_what_is_in_the_window():
    """What the window was through with is computed again if a new node needs it, and is right."""
    over = threading.Event()
    make = short(delayed(lambda: ["value"], executor="thread"))
    use = short(delayed(lambda value: over.set() or value, executor="thread"))
    made = make()
    returning = delayed(lambda _: use(made), executor="loop")(waiting_for(over))
    assert await compute(use(made), returning) == (["value"], ["value"])


async def test_more_threads_come_when_more_becomes_ready():
    """Two calls that wait for the same one are done at once."""
    together = threading.Barrier(2)
    first = short(delayed(lambda: 1, executor="thread"))
    meet = short(delayed(lambda x: together.wait(SECONDS) and x, executor="thread"))
    async with Runtime(threads=2):
        node = first()
        await compute(meet(node), meet(node), INLINE)


@pytest.mark.parametrize("how", ["cancel", "timeout"])
async def test_stopping_a_chain(how):
    """What waits in the window for the call that is running never begins; statistics count all."""
    go, begun = threading.Event(), asyncio.Event()
    loop = asyncio.get_running_loop()
    calls: list[int] = []

    def note(number: int, *_: Any) -> None:
        calls.append(number)
        if number == 10:
            loop.call_soon_threadsafe(begun.set)
            assert go.wait(SECONDS)

    call = short(delayed(note, executor="thread"))
    node = call(0)
    for number in range(1, 30):
        node = call(number, node)
    async with Runtime(threads=2):
        going = begin([node, INLINE], timeout=SECONDS)
        await begun.wait()
        if how == "cancel":
            going.cancel()
        else:
            going._expire(SECONDS)  # as its timer would
            assert "still running: note" in str(going._interruption)
        assert not going.done()
        go.set()
        with pytest.raises(asyncio.CancelledError if how == "cancel" else TimeoutError):
            await going
        counts = going.statistics()
        assert counts.finished + counts.cancelled == counts.nodes
    assert calls == [*range(11)]


@pytest.mark.parametrize("which", [0, 7, 19])
async def test_a_value_whose_finalizer_stops_the_run(which):
    """It may come in between while outcomes are being noted; the run ends, and counts every node once."""

    class Thing:
        def __init__(self, number: int) -> None:
            self.number = number

        def __del__(self) -> None:
            if self.number == which:
                going.cancel()

    make = delayed(Thing, executor="loop")
    step = short(delayed(lambda *_: None, executor="thread"))
    nodes = [step(step(make(number))) for number in range(20)]
    async with Runtime(threads=2):
        going = begin(nodes)
        with pytest.raises(asyncio.CancelledError):
            await going
        counts = going.statistics()
        assert counts.finished + counts.cancelled == counts.nodes


async def test_two_runs_share_a_slot():
    """A run with a great deal to do lets another have its turn."""
    step = short(delayed(lambda x: x + 1, executor="thread"))
    node = step(0)
    for _ in range(3_000):
        node = step(node)
    async with Runtime(threads=1):
        long_one = begin([node, INLINE])
        short_one = begin([step(0), INLINE])
        assert await short_one == [1, 2]
        assert not long_one.done()
        assert await long_one == [3_001, 2]


async def test_a_thread_that_cannot_be_had_beside_another(monkeypatch):
    """The one that is there does all."""
    original = ThreadExecutor.start
    calls: list[Any] = []

    def refuse(self: ThreadExecutor, call: Any) -> None:
        calls.append(call)
        if len(calls) == 1:
            original(self, call)
        else:
            asyncio.get_running_loop().call_soon(call.deliver, None, RuntimeError("no more threads"))

    monkeypatch.setattr(ThreadExecutor, "start", refuse)
    step = short(delayed(lambda x: x + 1, executor="thread"))
    assert (await compute([step(step(number)) for number in range(30)], INLINE))[0] == [*range(2, 32)]


async def test_a_fault_in_a_thread(monkeypatch):
    """Nobody waits for ever for what it was doing."""

    def fault(*_: Any) -> None:
        raise MemoryError("put in by hand")

    step = short(delayed(lambda x: x + 1, executor="thread"))
    async with Runtime(threads=1):
        with monkeypatch.context() as patch:
            patch.setattr(Window, "_finish", fault)
            with pytest.raises(MemoryError, match="put in by hand"):
                await compute(step(step(1)), INLINE)
        assert await compute(step(step(1)), INLINE) == (3, 2)


class Broken(Exception):
    """What a broken node raises."""


def naive(shape: list[list[int]], kinds: list[str]) -> list[Any]:
    """What each node must give: its value, or the number of a node whose failure it is behind."""
    values: list[Any] = []
    for number, needs in enumerate(shape):
        behind = {values[need] for need in needs if isinstance(values[need], int)}
        if behind:
            values.append(min(behind))
        elif kinds[number] == "failing":
            values.append(number)
        else:
            values.append((f"n{number}", *(values[need] for need in needs)))
    return values


def _join(name: str, *values: Any) -> tuple[Any, ...]:
    return (name, *values)


async def _join_later(name: str, *values: Any) -> tuple[Any, ...]:
    await asyncio.sleep(0)
    return (name, *values)


def _fail(name: str, *values: Any) -> Any:
    raise Broken(name)


def build(shape: list[list[int]], kinds: list[str]) -> list[Any]:
    """The nodes of a graph, of which some return nodes that need others again."""
    nodes: list[Any] = []
    join = short(delayed(_join, executor="thread"))

    def give_coroutine(*args: Any) -> Any:
        return _join_later(*args)

    def again(name: str, *_: Any) -> Any:
        return join(name, *(nodes[need] for need in shape[int(name[1:])]))

    functions = {
        "short": join,
        "failing": short(delayed(_fail, executor="thread")),
        "returning a node": short(delayed(again, executor="thread")),
        "returning a node inline": delayed(again, executor="loop"),
        "returning a coroutine": short(delayed(give_coroutine, executor="thread")),
        "long": long(delayed(functools.partial(_join), executor="thread")),
        "inline": delayed(_join, executor="loop"),
        "later": delayed(_join_later),
    }
    for number, needs in enumerate(shape):
        nodes.append(functions[kinds[number]](f"n{number}", *(nodes[need] for need in needs)))
    return nodes


KINDS = ["short"] * 8 + ["failing", "returning a node", "returning a node inline", "returning a coroutine"]
KINDS += ["long", "inline", "later"]


@settings(deadline=None, max_examples=200)
@given(st.data())
def test_random_graphs(data):
    """Graphs of all kinds of nodes, most of them short calls, give what a naive evaluator gives."""
    shape: list[list[int]] = []
    for number in range(data.draw(st.integers(1, 25))):
        needs = st.lists(st.integers(max(0, number - 6), number - 1), max_size=3) if number else st.just([])
        shape.append(data.draw(needs))
    kinds = [data.draw(st.sampled_from(KINDS)) for _ in shape]
    outputs = data.draw(st.lists(st.integers(0, len(shape) - 1), min_size=1, max_size=5))
    nodes, expected = build(shape, kinds), naive(shape, kinds)

    async def main() -> Any:
        async with Runtime(threads=2):
            return await compute([nodes[output] for output in outputs], INLINE, return_exceptions=True)

    results, _ = run(main())
    for output, result in zip(outputs, results, strict=True):
        if not isinstance(expected[output], int):
            assert result == expected[output]
        elif kinds[output] == "failing" and expected[output] == output:
            assert type(result) is Broken
        else:
            assert type(result) in (DependencyError, Broken)


async def test_a_task_that_is_another_call_by_now_goes_ahead_of_nothing_that_it_needs():
    """What counted for the call that it was before does not count for the one that this has returned."""
    shape: list[list[int]] = [[], [], [1, 0], [2], [3], [4]]
    kinds = ["short", "inline", "returning a node", "returning a node", "short", "short"]
    async with Runtime(threads=2):
        value, _ = await compute(build(shape, kinds)[-1], INLINE)
    assert value == naive(shape, kinds)[-1]


@pytest.mark.parametrize("seed", range(10))
async def test_larger_random_graphs(seed):
    """The same for graphs of a few hundred nodes, so that the window is filled many times."""
    dice = random.Random(seed)
    shape = [dice.choices(range(max(0, n - 12), n), k=dice.randint(0, 3)) if n else [] for n in range(600)]
    kinds = dice.choices([kind for kind in KINDS if kind != "failing"], k=len(shape))
    # Values grow with each step: what is asked for is how many there are.
    sizes = {kind: functools.partial(_size, kind) for kind in {*KINDS}}
    nodes: list[Any] = []
    for number, needs in enumerate(shape):
        function = SIZE_KINDS[kinds[number]](sizes[kinds[number]])
        nodes.append(function(*(nodes[need] for need in needs)))
    expected: list[int] = []
    for needs in shape:
        expected.append((1 + sum(expected[need] for need in needs)) % 1_000_003)
    async with Runtime(threads=3):
        results = await compute(nodes)
    assert results == expected


def _size(kind: str, *sizes: int) -> Any:
    size = (1 + sum(sizes)) % 1_000_003
    if kind.startswith("returning a node"):
        return delayed(int, executor="loop")(size)
    return _later(size) if kind in ("later", "returning a coroutine") else size


async def _later(size: int) -> int:
    await asyncio.sleep(0)
    return size


SIZE_KINDS = {
    "short": lambda function: short(delayed(function, executor="thread")),
    "returning a node": lambda function: short(delayed(function, executor="thread")),
    "returning a node inline": lambda function: delayed(function, executor="loop"),
    "returning a coroutine": lambda function: short(delayed(function, executor="thread")),
    "long": lambda function: long(delayed(function, executor="thread")),
    "inline": lambda function: delayed(function, executor="loop"),
    "later": lambda function: delayed(function, executor="loop"),
}


# -- the parts


def test_durations():
    """The mean of all calls, in which older ones count for less and less."""
    durations = Durations()
    durations.add(2.0, 4)
    assert durations.mean == 0.5
    durations.add(1.0)
    assert durations.mean == 0.6
    for _ in range(5_000):
        durations.add(0.1)
    assert durations.mean == pytest.approx(0.1, rel=0.01)


def test_what_may_enter():
    """Only what is known to be short, and to run where it says."""
    function = Function(abs, "abs", "thread")
    assert seconds_in_window(function) is None
    function.durations.add(0.0001)
    assert seconds_in_window(function) == 0.0001
    assert seconds_in_window(Function(abs, "abs", "thread", is_dynamic=True)) is None
    function.durations.add(1.0)
    assert seconds_in_window(function) is None


def test_how_many_threads_are_worth_it():
    """No more than there are ready calls, each with enough to do; and one at least."""
    assert hands_for(0.01, 100, ready=3) == 3
    assert hands_for(0.00011, 10, ready=10) == 2
    assert hands_for(0.00004, 1, ready=1) == 1
    assert hands_for(0.01, 10_000, ready=100) == 1
    assert hands_for(0.01, 100, ready=0) == hands_for(0.01, 10_000, ready=0) == 0
    assert room_for(4) == 4 * room_for(1) == 4 * room_for(0)


def test_a_meter():
    """What the calls of one function take is noted together, and not as that of another."""
    one, other = Function(abs, "one", "thread"), Function(abs, "other", "thread")
    meter = Meter(one)
    meter.note()
    assert one.durations.mean is None
    meter.add(one, 0.0001)
    meter.add(one, 0.0003)
    meter.add(other, 0.0005)
    assert (one.durations.mean, other.durations.mean) == (pytest.approx(0.0002), None)
    meter.note()
    assert other.durations.mean == pytest.approx(0.0005)
