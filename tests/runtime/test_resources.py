"""Resources: opened at first use, shared, closed after the last use, whatever happens in between."""

# ruff: noqa: ASYNC110, D102, D103 - turns of the loop are waited for; helpers whose names say it

from __future__ import annotations

import asyncio
import contextlib
import io
import operator
import random
import re
import threading

import pytest

from asyncgraph import (
    Input,
    Retry,
    Runtime,
    as_completed,
    compile,
    compute,
    delayed,
    from_graph,
    resource,
    start,
    when,
)
from asyncgraph.errors import DependencyError, GraphError
from tests.runtime.background import begin

SECONDS = 30


class Thing:
    """What a resource gives: it says whether it is open when it is used."""

    def __init__(self, name):
        self.name = name
        self.is_open = True

    def part(self):
        return Part(self)

    async def part_later(self):
        await asyncio.sleep(0)
        return Part(self)

    def __getitem__(self, index):
        return Part(self)


class Part:
    def __init__(self, thing):
        self.thing = thing


class Log(list):
    """What happens to resources; and the nodes of the tests."""

    def __init__(self):
        super().__init__()
        self.fails = set()

    @contextlib.asynccontextmanager
    async def opened(self, name, *inner):
        await asyncio.sleep(0)
        if f"open {name}" in self.fails:
            raise ConnectionError(f"open {name}")
        self.append(f"open {name}")
        assert all(each.is_open for each in inner)
        thing = Thing(name)
        try:
            yield thing
        except BaseException as error:
            self.append(f"{type(error).__name__} in {name}")
            raise
        finally:
            assert all(each.is_open for each in inner)
            thing.is_open = False
            await asyncio.sleep(0)
            self.note("close", name)

    def note(self, what, name):
        self.append(f"{what} {name}")
        if f"{what} {name}" in self.fails:
            raise ConnectionError(f"{what} {name}")

    def resource(self, name, *inner):
        return resource(self.opened, name, *inner)

    def call(self, *things, name="use"):
        for each in things:
            assert (each.thing if isinstance(each, Part) else each).is_open
        self.note(name, "+".join(each.name if isinstance(each, Thing) else "part" for each in things))
        return len(things)

    async def call_later(self, *things, name="use"):
        await asyncio.sleep(0)
        value = self.call(*things, name=name)
        await asyncio.sleep(0)
        return value

    def use(self, *things, lane="loop", name="use"):
        if lane == "coroutine":
            return delayed(self.call_later)(*things, name=name)
        return delayed(self.call, executor=lane)(*things, name=name)


class Swallowing:
    def __init__(self, log):
        self.log = log

    def __enter__(self):
        return Thing("s")

    def __exit__(self, *about):
        self.log.append(about[0])
        return True


@pytest.fixture
def log():
    return Log()


@pytest.mark.parametrize("lane", ["loop", "coroutine", "thread"])
async def test_shared_and_closed_in_reverse_order(log, lane):
    """One opening for all who use it; the one that was opened with another is closed before that."""
    a = log.resource("a")
    b = log.resource("b", a)
    assert await compute(log.use(a, b, lane=lane), log.use(b, lane=lane), log.use(b, lane=lane)) == (2, 1, 1)
    assert log == ["open a", "open b", *log[2:5], "close b", "close a"]
    assert sorted(log[2:5]) == ["use a+b", "use b", "use b"]
    log.clear()
    assert await log.use(a, lane=lane) == 1
    assert log == ["open a", "use a", "close a"]


async def test_two_for_the_same_node_are_closed_in_reverse_order(log):
    """Though neither needs the other."""
    await log.use(log.resource("a"), log.resource("b"))
    first, second = (each.removeprefix("open ") for each in log[:2])
    assert log[3:] == [f"close {second}", f"close {first}"]


async def test_opened_at_first_use(log):
    """Not before all else that its first user needs is there; closed when its last user is over."""

    @delayed
    async def slow():
        for _ in range(20):
            await asyncio.sleep(0)
        log.append("slow")
        return "slow"

    a = log.resource("a")
    await delayed(lambda thing, _: log.append("use"), executor="loop")(a, slow())
    assert log == ["slow", "open a", "use", "close a"]
    log.clear()
    await compute(log.use(a), slow())
    assert log == ["open a", "use a", "close a", "slow"]


async def test_what_was_got_out_of_it_keeps_it_open(log):
    """By an attribute, an item or a call, one after another; not what a function has made of it."""
    a = log.resource("a")
    parts = [a.part(), a.part_later(), a[0], a.part().thing[1]]
    assert await compute(*[log.use(each, lane="coroutine") for each in parts]) == (1, 1, 1, 1)
    assert log == ["open a", *["use part"] * 4, "close a"]
    log.clear()
    made = delayed(lambda thing: [thing.name], executor="loop")(a)

    @delayed
    async def end(names):
        while log[-1] != "close a":
            await asyncio.sleep(0)
        return names

    assert await end(made) == ["a"]


async def test_returned_nodes(log):
    """A function may return nodes that use it, or it itself, to be used by others."""
    a = log.resource("a")
    returned = delayed(lambda: a, executor="loop")()
    assert await log.use(returned, lane="coroutine") == 1
    again = delayed(lambda thing: log.use(thing, lane="coroutine"), executor="loop")(a)
    assert await again == 1
    chosen = when(True, when(True, a, log.resource("b")), None)
    assert await log.use(chosen.part(), lane="thread") == 1
    assert log == [each for use in ("a", "a", "part") for each in ("open a", f"use {use}", "close a")]


async def test_choices_that_may_need_it_keep_it_open(log):
    """What is used before the choice and on its side is opened once; what no side uses, never."""
    a, b = log.resource("a"), log.resource("b")
    later = log.use(lane="coroutine", name="later")
    assert await when(delayed(operator.add)(log.use(a), later) == 1, log.use(a), log.use(b)) == 1
    assert log.count("open a") == log.count("close a") == 1
    assert "open b" not in log


@pytest.mark.parametrize("lane", ["loop", "coroutine", "thread"])
async def test_a_failure_reaches_the_managers(log, lane):
    """They can roll back; what they raise then is a note, and hides nothing."""
    log.fails |= {"bad b", "close a"}
    a = log.resource("a")
    b = log.resource("b", a)
    with pytest.raises(ConnectionError, match="bad b") as caught:
        await log.use(b, lane=lane, name="bad")
    assert log == [
        "open a",
        "open b",
        "bad b",
        "ConnectionError in b",
        "close b",
        "ConnectionError in a",
        "close a",
    ]
    notes = "\n".join(caught.value.__notes__)
    assert "opened-" in notes
    assert "failed too: ConnectionError('close a')" in notes
    # Their frames are not in its traceback.
    traceback, names = caught.tb, []
    while traceback is not None:
        names.append(traceback.tb_frame.f_code.co_name)
        traceback = traceback.tb_next
    assert "opened" not in names
    assert names[-1] == "note"


async def test_a_manager_cannot_swallow_the_failure(log):
    """As the node has failed all the same."""
    log.fails |= {"bad s"}
    with pytest.raises(ConnectionError):
        await log.use(resource(Swallowing, log), name="bad")
    assert log == ["bad s", ConnectionError]


async def test_what_cannot_be_opened(log):
    """It fails like any node, and so does what needs it; what was opened for it is closed."""
    log.fails.add("open b")
    a = log.resource("a")
    b = log.resource("b", a)
    with pytest.raises(ConnectionError, match="open b") as caught:
        await log.use(b)
    assert "asyncgraph: node opened-" in caught.value.__notes__[0]
    assert log == ["open a", "ConnectionError in a", "close a"]
    log.clear()
    use, other = await compute(log.use(b), log.use(a, name="other"), return_exceptions=True)
    assert type(use) is DependencyError
    assert other == 1
    assert log[-1] == "close a"
    assert "ConnectionError in a" not in log


async def test_what_is_no_context_manager(log):
    """The function is named, and what it has made."""
    with pytest.raises(TypeError, match=r"dict has made a dict, which is none: it has neither __aenter__"):
        await log.use(resource(dict))


async def test_what_does_not_close(log):
    """With nothing else wrong, that is the failure of the run; the others are told of it."""
    log.fails.add("close b")
    a = log.resource("a")
    with pytest.raises(ConnectionError, match="close b") as caught:
        await log.use(a, log.resource("b", a))
    assert "asyncgraph: node opened-" in caught.value.__notes__[0]
    assert log[-4:] == ["use a+b", "close b", "ConnectionError in a", "close a"]


async def test_failures_that_do_not_stop_the_run(log):
    """With return_exceptions= a user that fails is over, and nothing is rolled back for it."""
    log.fails.add("bad a")
    a = log.resource("a")
    values = await compute(log.use(a), log.use(a, name="bad"), return_exceptions=True)
    assert values[0] == 1
    assert type(values[1]) is ConnectionError
    assert log[-1] == "close a"
    assert "ConnectionError in a" not in log


async def test_what_nobody_needs_after_a_failure_is_not_opened(log):
    """Nor does the run wait for it."""
    log.fails.add("bad ")
    node = delayed(log.call, executor="loop")(log.resource("a", log.resource("b")), log.use(name="bad"))
    run = begin([node, log.use()], return_exceptions=True)
    values = await run
    assert type(values[0]) is DependencyError
    assert values[1] == 0
    assert log == ["bad ", "use "] or log == ["use ", "bad "]
    assert run.statistics().waiting == 0


@pytest.mark.parametrize("when_cancelled", ["opening", "using", "closing"])
async def test_cancelling(log, when_cancelled):
    """Whenever it comes: what is open is closed, and so the cancel gets through."""
    reached = asyncio.Event()
    go_on = asyncio.Event()

    @contextlib.asynccontextmanager
    async def slow():
        try:
            if when_cancelled == "opening":
                reached.set()
                await go_on.wait()
            log.append("open")
            yield Thing("slow")
        finally:
            if when_cancelled == "closing":
                reached.set()
                await go_on.wait()
            await asyncio.sleep(0)
            log.append("close")

    @delayed
    async def using(thing, outer):
        assert thing.is_open
        if when_cancelled == "using":
            reached.set()
            try:
                await asyncio.get_running_loop().create_future()
            finally:
                await asyncio.sleep(0)
                log.append("used")

    outer = log.resource("a")
    aio_task = asyncio.ensure_future(compute(using(resource(slow), outer)))
    async with asyncio.timeout(SECONDS):
        await reached.wait()
        aio_task.cancel("enough")
        await asyncio.sleep(0)
        aio_task.cancel("enough")
        go_on.set()
        with pytest.raises(asyncio.CancelledError, match="enough"):
            await aio_task
    assert log.count("open a") == log.count("close a")
    expected = {"opening": ["close"], "using": ["open", "used", "close"], "closing": ["open", "close"]}
    assert [each for each in log if not each.endswith(" a") and " in " not in each] == expected[
        when_cancelled
    ]


async def test_a_timeout_of_the_run_tells_what_is_being_opened(log):
    """And closes it."""

    @contextlib.asynccontextmanager
    async def never():
        try:
            await asyncio.get_running_loop().create_future()
            yield
        finally:
            log.append("closed")

    with pytest.raises(TimeoutError, match=r"still running: never-\d+ \(opening\)"):
        await compute(log.use(resource(never)), timeout=0.2)
    assert log == ["closed"]


async def test_as_completed_gives_values_before_it_is_closed(log):
    """And a failure to close comes at the end."""
    a = log.resource("a")
    log.fails.add("close a")
    got = []

    async def collect():
        async for _, value in as_completed([log.use(a), log.use(a, lane="coroutine")]):
            got.append(value)

    with pytest.raises(ConnectionError, match="close a"):
        await collect()
    assert got == [1, 1]


async def test_one_for_each_run(log):
    """Of a compiled graph; and of computes at the same time."""
    f = compile(log.use(log.resource(Input("name")), lane="coroutine"))
    await asyncio.gather(f(name="a"), f(name="b"))
    assert sorted(log) == sorted(f"{what} {name}" for name in "ab" for what in ("open", "use", "close"))


async def test_attempts(log):
    """It stays open between the attempts of a node that uses it."""
    a = log.resource("a")
    tried = []

    @delayed(retries=Retry(3, on=ConnectionError, backoff=0.001))
    async def unsteady(thing):
        assert thing.is_open
        tried.append(thing)
        if len(tried) < 3:
            raise ConnectionError
        return len({id(each) for each in tried})

    assert await unsteady(a) == 1
    assert log == ["open a", "close a"]


async def test_threads_and_nested_runs(log):
    """A thread uses it as a coroutine does; a compute inside a node opens its own."""
    a = log.resource("a")

    @delayed
    async def outer(thing):
        inner = await log.use(a, lane="thread")
        return inner + log.call(thing)

    assert await outer(a) == 2
    assert log == ["open a", "open a", "use a", "close a", "use a", "close a"]


async def test_resuming_opens_it_anew(log):
    """Only what is missing runs; what was got out of the old one is got out of the new one."""
    log.fails.add("bad part")
    a = resource(log.opened, log.use(name="first") + 0)
    part = a.part()
    done = log.use(part)

    @delayed
    async def bad(part, _):
        return log.call(part, name="bad")

    run = start([done, bad(part, done)])
    with pytest.raises(ConnectionError):
        await run
    assert log.count("use part") >= 1
    failure = next(each for each in run.failures if each.state == "failed")
    with pytest.raises(RuntimeError, match="has no value"):
        failure.rerun()
    log.fails.clear()
    log.clear()
    assert await run.resume() == [1, 1]
    assert log == ["open 0", "bad part", "close 0"]


async def test_it_cannot_be_computed_itself(log):
    """Asked for, in a container, in a compiled graph, or returned by what was asked for."""
    a = log.resource("a")
    about = "which is closed by the time that its value is there: compute nodes that use it"
    for asked in (a, [a], delayed(lambda: a, executor="loop")(), when(True, when(True, a, 1), 1)):
        with pytest.raises(GraphError, match=about):
            await compute(asked)
    with pytest.raises(GraphError, match=about):
        compile(a)
    assert log == []


async def test_wrong_use(log):
    """What is no function that makes a context manager."""
    with pytest.raises(TypeError, match=r"write resource\(Swallowing, ...\) or resource\(lambda: ...\)"):
        resource(Swallowing(log))
    with pytest.raises(TypeError, match="makes a context manager, not 3"):
        resource(3)
    with pytest.raises(TypeError, match="takes a plain function"):
        resource(delayed(print))


async def test_what_has_to_be_awaited_first(log):
    """An `async def` that returns a context manager; one that is both awaitable and a manager is entered."""

    async def connect():
        return contextlib.nullcontext(Thing("c"))

    class Both:
        def __await__(self):
            raise AssertionError

        async def __aenter__(self):
            return Thing("both")

        async def __aexit__(self, *about):
            log.append("left")

    assert await compute(log.use(resource(connect)), log.use(resource(Both))) == (1, 1)
    assert sorted(log) == ["left", "use both", "use c"]


async def test_it_is_entered_and_left_in_one_task(log):
    """As cancel scopes and task groups want it."""

    async def forever():
        await asyncio.get_running_loop().create_future()

    @contextlib.asynccontextmanager
    async def with_task():
        async with asyncio.TaskGroup() as group:
            aio_task = group.create_task(forever())
            yield Thing("group")
            aio_task.cancel()

    assert await log.use(resource(with_task), lane="coroutine") == 1


async def test_written_by_hand_and_by_value(log):
    """In a dictionary graph; and the graph of one shows it."""
    a = log.resource("a")
    node = log.use(a)
    assert [task.name for task in node.graph.values()] == ["opened", "call"]
    assert await from_graph(dict(node.graph), node.key) == 1
    assert await from_graph({"a": a, "n": (log.call, "a")}, "n") == 1
    assert log == ["open a", "use a", "close a"] * 2


async def test_worker_processes_are_told_what_they_cannot_have():
    """A value that pickles goes there; another is the node's error, and the resource is closed."""
    closed = []

    @contextlib.contextmanager
    def number():
        yield 5
        closed.append("number")

    @contextlib.contextmanager
    def lock():
        try:
            yield threading.Lock()
        finally:
            closed.append("lock")

    async with Runtime(processes=1):
        twice = delayed(operator.mul, executor="process")
        assert await twice(resource(number), 2) == 10
        with pytest.raises(Exception, match="pickle"):
            await twice(resource(lock), 2)
    assert closed == ["number", "lock"]


def random_graph(dice, log):
    """Some resources, opened with each other, and some nodes that use them and each other."""
    things, nodes = [], []
    for number in range(dice.randint(1, 4)):
        inner = dice.sample(things, dice.randint(0, min(2, len(things))))
        things.append(log.resource(f"r{number}", *inner))
    for _ in range(dice.randint(1, 8)):
        used = dice.sample(things, dice.randint(0, min(2, len(things))))
        used = [dice.choice([each, each.part(), each[0]]) for each in used]
        node = log.use(*used, lane=dice.choice(["loop", "coroutine", "coroutine", "thread"]))
        if nodes and dice.random() < 0.6:
            node = delayed(lambda value, _: value, executor="loop")(node, dice.choice(nodes))
        if nodes and dice.random() < 0.3:
            node = when(dice.choice(nodes) > dice.randint(0, 1), node, dice.choice(nodes))
        if dice.random() < 0.2:
            node = delayed(lambda node=node: node, executor="loop")()
        nodes.append(node)
    return nodes


@pytest.mark.parametrize("seed", range(60))
async def test_random_graphs(seed):
    """Whatever fails or is cancelled, and when: used while it is open, and closed in the end."""
    dice = random.Random(seed)
    log = Log()
    nodes = random_graph(dice, log)
    way = dice.choice(["compute", "start", "exceptions"])
    # A failure to close what a cancelled run had open goes there.
    asyncio.get_running_loop().set_exception_handler(lambda _, about: log.append(about["message"]))
    if dice.random() < 0.5:
        log.fails |= {dice.choice(["use r0", "use part", "open r1", "close r0", "use r1+part"])}
    if way == "start":
        run = start(nodes)
    else:
        run = begin(nodes, return_exceptions=way == "exceptions")
    if dice.random() < 0.5:
        for _ in range(dice.randint(0, 30)):
            await asyncio.sleep(0)
        run.cancel()
    async with asyncio.timeout(SECONDS):
        while True:
            with contextlib.suppress(ConnectionError, asyncio.CancelledError):
                await run
                break
            assert_all_closed(log)
            if way != "start" or not run.failures:
                break
            log.fails.clear()
            run = run.resume()
    assert_all_closed(log)


def assert_all_closed(log):
    for number in range(4):
        assert log.count(f"open r{number}") == log.count(f"close r{number}")
    log.clear()


async def test_a_dump_tells_of_them(log):
    """What is being opened and at which line, what is open for whom, and what sleeps."""

    class Slow:
        async def __aenter__(self):
            await asyncio.get_running_loop().create_future()

        async def __aexit__(self, *about):
            raise AssertionError

    @delayed
    async def forever(*_):
        await asyncio.get_running_loop().create_future()

    a, b = log.resource("a"), log.resource("b")
    waiting = forever()
    run = start([forever(a), log.use(resource(Slow)), log.use(b, waiting)])
    while "open a" not in log or run.statistics().running < 3:
        await asyncio.sleep(0)
    text = io.StringIO()
    run.dump(file=text)
    run.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await run
    sections = text.getvalue()
    assert re.search(r"Slow-\d+: on the loop, being opened for \S+ s\n      at .*\.__aenter__\n", sections)
    assert re.search(r"  open:\n    opened-\d+: open for \S+ s, used by forever-\d+\n", sections)
    assert re.search(r"call-\d+: for forever-\d+ \(running\), opened-\d+ \(not needed yet\)\n", sections)


async def test_ctrl_c_cuts_closing_short(log):
    """As it does all cleaning up, when it comes for the second time: KeyboardInterrupt is on its way then."""
    closing = asyncio.Event()

    class Stubborn:
        async def __aenter__(self):
            return Thing("stubborn")

        async def __aexit__(self, *about):
            closing.set()
            try:
                await asyncio.get_running_loop().create_future()
            finally:
                log.append("cut short")

    run = begin(log.use(resource(Stubborn)))
    async with asyncio.timeout(SECONDS):
        await closing.wait()
        try:
            raise KeyboardInterrupt
        except KeyboardInterrupt:
            run.cancel()
        with pytest.raises(asyncio.CancelledError):
            await run
    assert log == ["use stubborn", "cut short"]
