"""Fair shares, producers held back, and a loop that stays served."""

from __future__ import annotations

import asyncio
import itertools
import threading
import weakref

import pytest

from asyncgraph import Runtime, compute, delayed, start
from asyncgraph._runtime import coroutines, slices, straight
from asyncgraph._runtime.lanes import THREAD
from asyncgraph.executors.thread import ThreadExecutor
from tests.runtime.background import begin
from tests.runtime.durations import long, tiny
from tests.runtime.turns import turns

MANY = 100_000

SECONDS = 20


class Gate:
    """Calls that enter, are seen from the loop, and wait there until they are let out, one by one."""

    def __init__(self):
        self.entered = []
        self._loop = asyncio.get_running_loop()
        self._news = asyncio.Event()
        self._out = threading.Semaphore(0)

    def __call__(self, name, *_):
        """Enter, and come out with the name."""
        self.entered.append(name)
        self._loop.call_soon_threadsafe(self._news.set)
        assert self._out.acquire(timeout=30)
        return name

    def let_out(self, count=1):
        """Let so many of them go."""
        self._out.release(count)

    async def until(self, count):
        """Wait until so many have entered."""
        while len(self.entered) < count:
            self._news.clear()
            await self._news.wait()

    def nodes(self, name, count, *needs):
        """Return so many nodes, each a call that enters."""
        return [delayed(self, executor="thread", name="gate")(name, *needs) for _ in range(count)]


# -- fair shares


def take_turns(names):
    """Whether each of two, ten times there, follows the other, once both have asked."""
    assert sorted(names) == ["a"] * 10 + ["b"] * 10
    return all(one != following for one, following in itertools.pairwise(names[1:-1]))


async def test_runs_take_turns():
    """Of two runs that want the same thread, neither gets it twice in a row."""
    gate = Gate()
    async with Runtime(threads=1):
        first, second = start(gate.nodes("a", 10)), start(gate.nodes("b", 10))
        await gate.until(1)
        await turns(3)
        gate.let_out(20)
        await first
        await second
    assert take_turns(gate.entered)


async def test_a_run_that_is_always_busy_takes_turns_too(monkeypatch):
    """One that comes back every turn of the loop does not take each slot before the other is there."""
    monkeypatch.setattr(slices, "SLICE", 0)
    gate, is_enough = Gate(), False

    def spin():
        return "enough" if is_enough else spinning()

    spinning = delayed(spin, executor="loop")
    async with Runtime(threads=1):
        first = start([spinning(), *gate.nodes("a", 10)])
        await gate.until(1)
        second = start(gate.nodes("b", 10))
        await turns(30)  # in which it is planned, a piece in each
        for entered in range(2, 21):
            gate.let_out()
            await gate.until(entered)
        gate.let_out()
        await second
        is_enough = True
        assert (await first)[0] == "enough"
    assert take_turns(gate.entered)


async def test_a_run_that_is_being_cancelled_leaves_its_turn_to_the_next():
    """While it cleans up, however long, the slot that it waited for is the next run's."""
    gate, cleaning, cleaned = Gate(), asyncio.Event(), asyncio.Event()

    async def clean_up():
        try:
            await asyncio.Event().wait()
        finally:
            cleaning.set()
            await cleaned.wait()

    async with Runtime(threads=1):
        first = start(gate.nodes("a", 1))
        await gate.until(1)
        second = start([delayed(clean_up)(), *gate.nodes("b", 1)])
        third = start(gate.nodes("c", 1))
        await turns(3)
        second.cancel()
        await cleaning.wait()
        gate.let_out()
        await gate.until(2)
        gate.let_out()
        assert (await first, await third) == (["a"], ["c"])
        assert not second.done()
        cleaned.set()
        with pytest.raises(asyncio.CancelledError):
            await second
    assert gate.entered == ["a", "c"]


async def test_a_run_that_was_woken_and_is_cancelled_leaves_its_turn_too():
    """A cancel between the promise of a slot and the claim loses no slot."""
    gate = Gate()
    async with Runtime(threads=1) as runtime:
        first = start(gate.nodes("a", 1))
        await gate.until(1)
        second, third = start(gate.nodes("b", 1)), start(gate.nodes("c", 1))
        await turns(3)
        slots = runtime._lanes[THREAD].slots
        original = second._execution.wake

        def wake():
            if second._execution in slots.promised:
                second.cancel()
            original()

        second._execution.wake = wake
        gate.let_out(2)
        assert (await first, await third) == (["a"], ["c"])
        with pytest.raises(asyncio.CancelledError):
            await second
        assert slots.used == 0
    assert gate.entered == ["a", "c"]


@pytest.mark.parametrize("suspends", [False, True])
@pytest.mark.parametrize("concurrency", [1, 2])
async def test_runs_on_the_straight_way_take_turns(concurrency, suspends):
    """Also runs whose nodes are too short for a scheduler end, none of them long before the others."""
    order = []

    async def work(name):
        order.append(name)
        if suspends:
            await asyncio.sleep(0)

    node = tiny(work)  # whoever goes first is of no account: nothing calls for a scheduler
    async with Runtime(concurrency=concurrency), asyncio.timeout(SECONDS):
        going = [start([node(name) for _ in range(10)]) for name in "abc"]
        for each in going:
            await each
    assert sorted(order) == sorted("abc" * 10)
    if suspends:
        assert set(order[:12]) == set("abc")


async def test_a_slot_that_came_too_late_goes_on_to_the_next():
    """A run on the straight way that has begun its last node wants no slot any more, and keeps none."""
    some_turns = tiny(turns)
    for first, second in itertools.product(range(1, 5), repeat=2):
        is_set = asyncio.Event()

        async def set_it(is_set=is_set):
            is_set.set()

        async with Runtime(concurrency=2), asyncio.timeout(SECONDS):
            waits = start([some_turns(first), tiny(is_set.wait)()])
            sets = start([some_turns(second), tiny(set_it)()])
            await sets
            await waits


async def test_a_slot_is_not_kept_for_plain_functions(monkeypatch):
    """Who has run a coroutine, and has plain functions to call for long, leaves the slot to other runs."""
    monkeypatch.setattr(slices, "SLICE", 0)
    count = delayed(lambda value: value + 1, executor="loop")

    @delayed
    async def one():
        return 1

    node = one()
    for _ in range(2_000):
        node = count(node)
    async with Runtime(concurrency=1), asyncio.timeout(SECONDS):
        long_one = begin(node)
        await turns(20)
        assert long_one.statistics().finished
        assert await one() == 1
        assert not long_one.done()
        assert await long_one == 2_001


async def test_many_runs_at_the_lowest_limits_all_end():
    """A hundred runs share one thread and one coroutine, and nobody is forgotten."""

    async def later(x):
        await asyncio.sleep(0)
        return x

    async with Runtime(threads=1, concurrency=1):
        runs = [
            start(delayed(abs, executor="thread")(delayed(later)(delayed(abs, executor="thread")(-number))))
            for number in range(100)
        ]
        assert [await run for run in runs] == list(range(100))


# -- producers


class Product:
    """Counts how many of its kind are alive."""

    alive = 0
    most = 0

    def __init__(self, *_):
        cls = type(self)
        cls.alive += 1
        cls.most = max(cls.most, cls.alive)
        weakref.finalize(self, cls._gone)

    @classmethod
    def _gone(cls):
        cls.alive -= 1


def _make(kind):
    async def make_later():
        await asyncio.sleep(0)
        return kind()

    def make_unawaited():
        return make_later()

    return {
        "inline": delayed(kind, executor="loop"),
        "coroutine": delayed(make_later),
        "thread": long(delayed(kind, executor="thread")),
        "hidden coroutine": delayed(make_unawaited, executor="loop"),
    }


@pytest.mark.parametrize("how", ["inline", "coroutine", "thread", "hidden coroutine"])
@pytest.mark.parametrize("through", [0, 1], ids=["direct", "through another node"])
async def test_producers_wait_for_their_consumers(how, through):
    """While what they feed waits for a slot, nodes without dependencies do not begin: few are alive."""

    class Thing(Product):
        pass

    make = _make(Thing)[how]
    gate = Gate()

    async def pass_on(thing):
        return thing

    def wanted():
        thing = make()
        return delayed(pass_on)(thing) if through else thing

    async with Runtime(threads=2, concurrency=2):
        run = start([delayed(lambda name, _: gate(name), executor="thread")(i, wanted()) for i in range(100)])
        for entered in range(2 if how != "thread" else 1, 101):
            await gate.until(min(entered, 100))
            await turns(20)
            gate.let_out()
        gate.let_out(2)
        assert await run == sorted(gate.entered) == list(range(100))
    # Two in hand, two waiting, two each being made and passed on, and one that congestion let slip.
    assert Thing.most <= 10
    assert Thing.alive == 0


async def test_coroutines_that_plain_functions_return_keep_to_the_limit():
    """`lambda: fetch(url)` is one of `concurrency=` coroutines, and so is an async method called lazily."""
    running, most = 0, 0

    async def fetch(x):
        nonlocal running, most
        running += 1
        most = max(most, running)
        await turns(3)
        running -= 1
        return x

    class Client:
        async def get(self, x):
            return await fetch(x)

    client = delayed(Client())
    nodes = [delayed(lambda i=i: fetch(i), executor=("loop", "thread")[i % 2])() for i in range(20)]
    async with Runtime(concurrency=3, threads=2):
        assert await compute(nodes, [client.get(i) for i in range(20)]) == (list(range(20)), list(range(20)))
    assert most == 3


async def test_an_async_method_called_lazily_holds_no_thread():
    """Ten of them run at once, although there is one thread only."""
    arrived = 0
    everybody = asyncio.Event()

    class Client:
        async def meet(self):
            nonlocal arrived
            arrived += 1
            if arrived == 10:
                everybody.set()
            await everybody.wait()

    client = delayed(Client())
    async with Runtime(threads=1):
        await compute([client.meet() for _ in range(10)])


async def test_consumers_whose_arguments_fail_do_not_stall_their_producers():
    """The producers behind a queue that empties without a single call go on."""

    async def make():
        return []

    nodes = [delayed(len, executor="thread")({delayed(make)()}) for _ in range(50)]
    async with Runtime(threads=1, concurrency=1):
        results = await compute(nodes, return_exceptions=True)
    assert {type(each) for each in results} == {TypeError}


# -- a loop that stays served


@pytest.mark.parametrize("has_others", [False, True])
async def test_the_loop_is_served_between_slices(monkeypatch, has_others):
    """Other coroutines get their turn each time that a slice is over, through a hundred thousand nodes."""
    now = 0.0
    ran = 0
    between = []

    class Clock:
        @staticmethod
        def monotonic():
            return now

    def step(value):
        nonlocal now, ran
        now += 0.0001
        ran += 1
        return value

    for module in (slices, straight):
        monkeypatch.setattr(module, "time", Clock)
    function = delayed(step, executor="loop")
    # With a thread in the graph, the scheduler is asked about each node.
    others = [delayed(abs, executor="thread")(-1)] if has_others else []
    run = start([others, [function(number) for number in range(MANY)]])

    async def heartbeat():
        last = ran
        while not run.done():
            await asyncio.sleep(0)
            between.append(ran - last)
            last = ran

    await heartbeat()
    await run
    assert ran == MANY
    assert max(between) <= slices.SLICE / 0.0001 + 2
    assert len(between) >= MANY / (slices.SLICE / 0.0001 + 2)


@pytest.mark.parametrize("executor", ["loop", "thread"])
async def test_beginning_many_calls_leaves_the_loop_served_too(monkeypatch, executor):
    """A thousand coroutines, or threads, are begun in slices as well."""
    now = 0.0
    begun = 0
    between = []
    gate = threading.Event()

    class Clock:
        @staticmethod
        def monotonic():
            nonlocal now
            now += 0.0001
            return now

    original = ThreadExecutor.start

    def count(*args):
        nonlocal begun
        begun += 1
        original(*args)

    for module in (slices, straight, coroutines):
        monkeypatch.setattr(module, "time", Clock)
    monkeypatch.setattr(ThreadExecutor, "start", count)

    async def coroutine():
        nonlocal begun
        begun += 1
        await asyncio.sleep(0)

    function = delayed(coroutine) if executor == "loop" else delayed(gate.wait, executor="thread")
    async with Runtime(concurrency=1_000, threads=50):
        run = start([function() for _ in range(1_000 if executor == "loop" else 50)])
        last = 0
        gate.set()
        while not run.done():
            await asyncio.sleep(0)
            between.append(begun - last)
            last = begun
        await run
    assert max(between) <= slices.SLICE / 0.0001 + 2


async def test_an_inline_node_may_cancel_its_own_run():
    """What it returns is dropped, a node or a coroutine too; what it raises is reported."""
    closed, reported = [], []
    loop = asyncio.get_running_loop()
    handler = loop.get_exception_handler()
    loop.set_exception_handler(lambda _, context: reported.append(context))

    async def never():
        closed.append("begun")

    inc = delayed(lambda x: x + 1, executor="loop")
    runs = []
    for result in (lambda: 1, lambda: inc(1), never, lambda: 1 / 0):

        def cancel_first(result=result):
            runs[-1].cancel()
            return result()

        runs.append(begin(inc(delayed(cancel_first, executor="loop")())))
        with pytest.raises(asyncio.CancelledError):
            await runs[-1]
        assert runs[-1].statistics().finished == 0
    loop.set_exception_handler(handler)
    assert closed == []
    (context,) = reported
    assert type(context["exception"]) is ZeroDivisionError
    assert "cancel_first" in context["message"]
