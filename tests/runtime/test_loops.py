"""Loops of other kinds and other makes: running already, many at once, eager, interrupted."""

from __future__ import annotations

import asyncio
import threading

import pytest

from asyncgraph import Runtime, compute, delayed, start
from asyncgraph._graph.scheduler import Scheduler
from tests.runtime.eager import eager_loop  # noqa: F401 - a fixture

# -- loops that were there before


def test_a_loop_that_runs_for_ever_in_a_thread():
    """As in a notebook: the loop runs already, cells are coroutines on it, and its end closes the rest."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, name="a notebook's loop")
    thread.start()

    async def cell(number):
        return await (delayed(abs, executor="thread")(-number) + delayed(asyncio.sleep)(0, 10))

    async def finish():
        await loop.shutdown_asyncgens()
        loop.stop()

    try:
        results = [asyncio.run_coroutine_threadsafe(cell(number), loop).result(30) for number in range(3)]
    finally:
        asyncio.run_coroutine_threadsafe(finish(), loop)
        thread.join(30)
        loop.close()
    assert results == [10, 11, 12]


def test_two_loops_in_two_threads_share_a_graph():
    """Each loop computes the same nodes for itself, in its own threads, at the same time."""
    barrier = threading.Barrier(2)
    calls = []

    def meet():
        barrier.wait(30)
        calls.append(threading.get_ident())
        return 1

    node = delayed(sum)([delayed(meet, executor="thread")(), 1])
    results = []
    threads = [threading.Thread(target=lambda: results.append(asyncio.run(node.compute()))) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert results == [2, 2]
    assert len(set(calls)) == 2


async def test_a_loop_of_its_own_inside_a_thread_node():
    """A blocking function may call `asyncio.run`, and compute there, on that loop's own runtime."""

    def blocking(number):
        nodes = delayed(abs, executor="thread")(number), delayed(asyncio.sleep)(0, number)
        return asyncio.run(compute(*nodes))

    async with Runtime(threads=1, concurrency=1):
        assert await delayed(blocking, executor="thread")(-5) == (5, -5)


async def test_locks_and_queues_of_asyncio_work_across_nodes():
    """Coroutines of one run are on one loop: what synchronises tasks synchronises them."""
    queue = asyncio.Queue(1)

    async def put(numbers):
        for number in numbers:
            await queue.put(number)

    async def get(count):
        return [await queue.get() for _ in range(count)]

    _, got = await compute(delayed(put)(range(20)), delayed(get)(20))
    assert got == list(range(20))


# -- eager tasks


@pytest.mark.usefixtures("eager_loop")
async def test_everything_works_with_eager_tasks():
    """Coroutines whose first step runs while their run is still beginning others do no harm."""

    async def at_once(x):
        return x + 1

    async def later(x):
        await asyncio.sleep(0)
        return x + 1

    async def nested(x):
        return await delayed(later)(x)

    async def fails():
        raise ValueError("at once")

    def unawaited(x):
        return at_once(x)

    for function in (at_once, later, nested, unawaited):
        node = delayed(function)
        assert await compute([node(node(number)) for number in range(20)]) == list(range(2, 22))
    with pytest.raises(ValueError, match="at once"):
        await compute([delayed(fails)() for _ in range(5)], delayed(asyncio.sleep)(3600))


@pytest.mark.usefixtures("eager_loop")
async def test_a_first_step_that_cancels_the_run_with_eager_tasks():
    """The run is stopped while it is beginning the very node that stops it."""
    runs, ended = [], []

    async def cancels():
        runs[0].cancel()
        try:
            await asyncio.sleep(3600)
        finally:
            ended.append("cancelled")

    runs.append(start([delayed(asyncio.sleep)(3600), delayed(cancels)(), delayed(asyncio.sleep)(3600)]))
    with pytest.raises(asyncio.CancelledError):
        await runs[0]
    assert ended == ["cancelled"]


# -- Ctrl-C on a loop that is run by hand: KeyboardInterrupt wherever it happens to come


def interrupted(main):
    """Run `main()` on a loop until Ctrl-C leaves it; then end it as scripts do; return what became of it."""
    loop = asyncio.new_event_loop()
    try:
        task = loop.create_task(main())
        with pytest.raises(KeyboardInterrupt):
            loop.run_until_complete(task)
        for each in asyncio.all_tasks(loop):
            each.cancel()
        loop.run_until_complete(asyncio.wait([task]))
        loop.run_until_complete(loop.shutdown_asyncgens())
        return task
    finally:
        loop.close()


@pytest.mark.parametrize("method", ["take", "finish", "consume"])
def test_ctrl_c_in_the_midst_of_a_run(monkeypatch, method):
    """An interrupt between two steps of asyncgraph's own ends the run as cancelled; nothing hangs."""
    original = getattr(Scheduler, method)
    count = 0

    def interrupt(*args, **kwargs):
        nonlocal count
        count += 1
        if count == 3:
            raise KeyboardInterrupt
        return original(*args, **kwargs)

    monkeypatch.setattr(Scheduler, method, interrupt)

    async def main():
        node = delayed(abs, executor="thread")(delayed(asyncio.sleep)(0, -1))
        await compute([node + number for number in range(5)])

    assert interrupted(main).cancelled()


@pytest.mark.parametrize("executor", ["loop", "coroutine"])
def test_ctrl_c_inside_a_node(executor):
    """One that hits a node on the loop stops the run, and then leaves `compute()`."""

    def hit(_):
        raise KeyboardInterrupt

    async def hit_later():
        await asyncio.sleep(0)
        raise KeyboardInterrupt

    async def passes():
        await asyncio.sleep(0)

    stopped = []

    async def beside():
        try:
            await asyncio.sleep(3600)
        finally:
            stopped.append(True)

    async def main():
        hits = {"coroutine": delayed(hit_later)(), "loop": delayed(hit, executor="loop")(delayed(passes)())}
        await compute(delayed(beside)(), hits[executor])

    assert type(interrupted(main).exception()) is KeyboardInterrupt
    assert stopped == [True]
