"""Runs that have failed or were cancelled: what they tell, and that they go on where they were."""

# ruff: noqa: ASYNC110, D102, D103 - turns of the loop are waited for; helpers whose names say it

from __future__ import annotations

import asyncio
import random
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from asyncgraph import Runtime, delayed, start
from asyncgraph.errors import DependencyError, GraphError, RuntimeClosedError

SECONDS = 30


class Machine:
    """Makes nodes in all lanes, notes each call, and fails where it is told to."""

    def __init__(self):
        self.calls = []
        self.broken = set()

    def call(self, name, *values):
        self.calls.append(name)
        if name in self.broken:
            raise ConnectionError(name)
        return sum(values) + 1

    async def call_later(self, name, *values):
        await asyncio.sleep(0)
        return self.call(name, *values)

    def node(self, name, *nodes, lane="loop"):
        if lane == "coroutine":
            return delayed(self.call_later, name=name)(name, *nodes)
        return delayed(self.call, executor=lane, name=name)(name, *nodes)


def add_in_process(*values):
    return sum(values) + 1


async def failed(run, error=ConnectionError):
    with pytest.raises(error):
        async with asyncio.timeout(SECONDS):
            await run
    return run


@pytest.mark.parametrize("lane", ["loop", "coroutine", "thread"])
async def test_only_what_is_missing_runs_again(lane):
    """What has finished is not called again, though its value was about to be dropped."""
    machine = Machine()
    one = machine.node("one", lane=lane)
    two = machine.node("two", one, lane=lane)
    three = machine.node("three", two, lane=lane)
    machine.broken.add("three")
    run = await failed(start(machine.node("four", three, lane=lane)))
    assert dict(run.results) == {two: 2}
    assert machine.calls == ["one", "two", "three"]
    machine.broken.clear()
    assert await run.resume() == 4
    assert machine.calls == ["one", "two", "three", "three", "four"]


async def test_what_worker_processes_have_made_is_not_made_again():
    """Their values stay where they came from as long as nothing needs them here; they can be read, too."""
    machine = Machine()
    machine.broken.add("last")
    step = delayed(add_in_process, executor="process")
    async with Runtime(processes=1):
        chain = step(step(1))
        big = delayed(bytes, executor="process")(1 << 20)
        size = delayed(len, executor="process")(big)
        run = await failed(start(machine.node("last", chain, size)))
        assert run.results[chain] == 3
        assert run.results[size] == 1 << 20
        machine.broken.clear()
        assert await run.resume() == (1 << 20) + 4


async def test_failures_tell_what_why_and_behind_what():
    """Those that have failed themselves first, then those behind them."""
    machine = Machine()
    machine.broken.add("two")
    one = machine.node("one")
    two = machine.node("two", one)
    three = machine.node("three", two)
    run = await failed(start(three))
    own, behind = run.failures
    assert (own.node, own.key, own.state, own.behind) == (two, two.key, "failed", None)
    assert isinstance(own.error, ConnectionError)
    assert (behind.node, behind.state, behind.error, behind.behind) == (three, "not run", own.error, two)
    assert own.inputs == (("two", 1), {})
    with pytest.raises(
        RuntimeError, match=r"three-\d+ cannot be called: two-\d+, which it needs, has no value"
    ):
        behind.rerun()
    assert repr(own) == f"<Failure {two.key} failed: ConnectionError>"
    assert repr(behind) == f"<Failure {three.key} not run: ConnectionError, behind {two.key}>"


async def test_a_failed_node_is_called_again_here_with_what_it_got():
    """In this process and thread, and nothing around it; a coroutine function gives a coroutine."""
    machine = Machine()
    machine.broken.add("two")
    run = await failed(start(machine.node("two", machine.node("one"), lane="coroutine")))
    (failure,) = run.failures
    with pytest.raises(ConnectionError):
        await failure.rerun()
    machine.broken.clear()
    assert await failure.rerun() == 2
    async with Runtime(processes=1):
        divide = delayed(divmod, executor="process")
        run = await failed(start(divide(7, delayed(abs, executor="process")(0))), ZeroDivisionError)
        with pytest.raises(ZeroDivisionError):
            run.failures[0].rerun()
        assert run.failures[0].inputs == ((7, 0), {})


async def test_a_run_that_was_cancelled_goes_on():
    """What was running is begun again; what was finished is there."""
    machine, doors = Machine(), asyncio.Event()

    @delayed
    async def wait(value):
        machine.calls.append("wait")
        await doors.wait()
        return value

    one = machine.node("one")
    waits = wait(one)
    run = start(machine.node("last", waits))
    while "wait" not in machine.calls:
        await asyncio.sleep(0)
    assert dict(run.results) == {one: 1}
    assert run.failures == []
    run.cancel()
    await failed(run, asyncio.CancelledError)
    (waited, _) = run.failures
    assert (waited.node, waited.state, waited.error) == (waits, "cancelled", None)
    doors.set()
    assert await run.resume() == 2
    assert machine.calls == ["one", "wait", "wait", "last"]


async def test_a_run_that_timed_out_goes_on_with_another_timeout():
    """The new run has its own; what has not begun by then was not begun twice."""
    machine, doors = Machine(), asyncio.Event()

    @delayed
    async def wait(value):
        await doors.wait()
        return value

    run = await failed(start(machine.node("last", wait(machine.node("one"))), timeout=0.01), TimeoutError)
    again = await failed(run.resume(timeout=0.01), TimeoutError)
    doors.set()
    assert await again.resume() == 2
    assert machine.calls == ["one", "last"]


async def test_a_run_cancelled_before_it_began_starts_anew():
    """Nothing is there to go on with, and that is enough."""
    machine = Machine()
    run = start(machine.node("two", machine.node("one")))
    run.cancel()
    await failed(run, asyncio.CancelledError)
    assert await run.resume() == 2


async def test_with_return_exceptions_what_failed_can_be_run_again():
    """A run that has ended with exceptions among its values is not whole."""
    machine = Machine()
    machine.broken.add("two")
    one, two = machine.node("one"), machine.node("two")
    run = start([one, two, machine.node("three", two)], return_exceptions=True)
    value, error, behind = await run
    assert (value, type(error), type(behind)) == (1, ConnectionError, DependencyError)
    assert run.results[one] == 1
    again = run.resume()
    assert [type(each) for each in await again] == [int, ConnectionError, DependencyError]
    machine.broken.clear()
    assert await again.resume(return_exceptions=False) == [1, 1, 2]
    assert machine.calls.count("one") == 1


async def test_what_functions_have_returned_is_gone_on_with():
    """A node that has returned a node is not called again; what it returned goes on."""
    machine = Machine()
    machine.broken.add("inner")

    def expand():
        machine.calls.append("expand")
        return machine.node("inner", machine.node("first"))

    run = await failed(start(machine.node("last", delayed(expand, executor="loop")())))
    machine.broken.clear()
    assert await run.resume() == 3
    assert machine.calls == ["expand", "first", "inner", "inner", "last"]


async def test_what_cannot_be_asked_is_refused():
    """While it goes on, when it is whole, and when it was resumed: each with what would be right."""
    machine = Machine()
    machine.broken.add("one")
    whole = start(delayed(1))
    with pytest.raises(RuntimeError, match="still going on"):
        whole.resume()
    await whole
    with pytest.raises(RuntimeError, match="has finished: nothing of it is missing"):
        whole.resume()
    assert (dict(whole.results), whole.failures) == ({}, [])
    other = machine.node("other")
    run = await failed(start([machine.node("one"), machine.node("two", other)]))
    with pytest.raises(KeyError, match="is not a node of this run"):
        run.results[delayed(1)]
    with pytest.raises(KeyError, match="has no value"):
        run.results[run.failures[0].node]
    assert delayed(1) not in run.results
    assert 1 not in run.results
    with pytest.raises(ValueError, match="timeout= takes a number of seconds above 0"):
        run.resume(timeout=-1)
    machine.broken.clear()
    assert await run.resume() == [1, 2]
    for ask in (lambda: run.results, lambda: run.failures, run.resume):
        with pytest.raises(RuntimeError, match="was resumed: ask the run that `resume` has returned"):
            ask()


async def test_a_value_can_be_fetched_wherever_it_is():
    """One that is here is given as it is; what has no value is refused as it is by `results`."""
    machine = Machine()
    one = machine.node("one", lane="process")
    two = machine.node("two", one)
    machine.broken.add("two")
    run = await failed(start([two, machine.node("three")]))
    assert await run.fetch(one) == run.results[one] == 1
    for node, message in ((two, "two-[0-9]+ has no value"), (delayed(1), "is not a node of this run")):
        with pytest.raises(KeyError, match=message):
            await run.fetch(node)
    machine.broken.clear()
    assert await run.resume() == [2, 1]


async def test_another_runtime_may_have_other_executors():
    """What is missing runs in the executor of the same name, wherever that stands among the others."""
    machine = Machine()
    node = machine.node("three", machine.node("two", machine.node("one"), lane="pool"), lane="pool")
    machine.broken.add("three")
    with ThreadPoolExecutor(1) as pool:
        async with Runtime(executors={"pool": pool}) as first:
            run = await failed(start(node, runtime=first))
        machine.broken.clear()
        async with Runtime(executors={"other": pool, "pool": pool}) as second:
            assert await run.resume(runtime=second) == 3
    assert machine.calls == ["one", "two", "three", "three"]


@pytest.mark.parametrize("count", [1, 30_000])
async def test_a_runtime_that_lacks_an_executor_harms_nothing(count):
    """The error says what is missing, at once or, of a large graph, soon; then the run goes on elsewhere."""
    machine = Machine()
    node = delayed(list)([machine.node("one", lane="pool"), *(delayed(abs)(-1) for _ in range(count))])
    machine.broken.add("one")
    with ThreadPoolExecutor(1) as pool:
        async with Runtime(executors={"pool": pool}) as first, Runtime() as second:
            run = await failed(start(node, runtime=first))
            missing = [failure.key for failure in run.failures]
            machine.broken.clear()
            with pytest.raises(GraphError, match="one is to run in executor 'pool'"):
                await (run := run.resume(runtime=second))
            assert [failure.key for failure in run.failures] == missing
            assert sum(await run.resume(runtime=first)) == count + 1


async def test_a_closed_runtime_resumes_nothing():
    """Another one does."""
    machine = Machine()
    machine.broken.add("one")
    async with Runtime() as runtime:
        run = await failed(start(machine.node("one")))
    machine.broken.clear()
    with pytest.raises(RuntimeClosedError):
        run.resume(runtime=runtime)
    assert await run.resume() == 1


async def test_the_first_failure_in_the_graph_is_raised():
    """Though a thread that was at it has told of it later; the other one is in its notes."""
    machine = Machine()
    begun = asyncio.Event()
    loop = asyncio.get_running_loop()
    go_on = threading.Event()

    @delayed
    def first():
        loop.call_soon_threadsafe(begun.set)
        assert go_on.wait(SECONDS)
        raise LookupError("the first")

    @delayed
    async def second():
        await begun.wait()
        go_on.set()
        raise ConnectionError("the second")

    run = start([first(), second()])
    await failed(run, LookupError)
    with pytest.raises(LookupError) as caught:
        await run
    notes = "\n".join(caught.value.__notes__)
    assert "(first) failed, thread executor" in notes
    assert "failed too: ConnectionError('the second')" in notes
    assert [failure.state for failure in run.failures] == ["failed", "failed"]
    assert machine.calls == []


@pytest.mark.parametrize("seed", range(40))
async def test_any_graph_gets_there(seed, monkeypatch):
    """Whatever fails and whenever it is cancelled, the answer is right in the end."""
    # What fails while its run is being cancelled is reported to the loop, which is as it should be.
    monkeypatch.setattr(asyncio.get_running_loop(), "call_exception_handler", lambda context: None)
    dice = random.Random(seed)
    machine = Machine()
    nodes, wanted, names = [], [], []
    for number in range(dice.randint(2, 25)):
        needs = dice.sample(range(number), min(number, dice.randint(0, 3)))
        lane = dice.choice(["loop", "coroutine", "thread"])
        nodes.append(machine.node(f"n{number}", *[nodes[each] for each in needs], lane=lane))
        wanted.append(sum(wanted[each] for each in needs) + 1)
        names.append(f"n{number}")
    machine.broken.update(dice.sample(names, len(names) // 3))
    async with asyncio.timeout(SECONDS), Runtime(threads=2, concurrency=2):
        run = start(nodes, return_exceptions=dice.random() < 0.3)
        for _ in range(200):
            for _ in range(dice.choice((0, 1, 5, 10**6))):
                if run.done():
                    break
                await asyncio.sleep(0)
            run.cancel()
            try:
                values = await run
            except (ConnectionError, asyncio.CancelledError):
                values = None
            if values == wanted:
                break
            if machine.broken and dice.random() < 0.5:
                machine.broken.discard(dice.choice(sorted(machine.broken)))
            run = run.resume()
    assert values == wanted
