"""What a pool tells beside outcomes: when calls began and ended, and which workers there are."""

# ruff: noqa: D102 - helpers whose names say it

from __future__ import annotations

import os
import time
from itertools import pairwise

from tests.executors.process.harness import Batch
from tests.executors.process.remote import add, echo


class Timed(Batch):
    """Calls that want to know their times, and have them."""

    def __init__(self, *args, **options):
        self.times = []
        super().__init__(*args, is_noted=True, **options)

    def took(self, index, step, began, ended, pid):
        assert index not in self.deliveries, "the times of a call come before what has come of it"
        self.times.append((index, step, began, ended, pid))


def fail(value):
    """Raise, in the worker."""
    raise LookupError(value)


async def test_each_call_of_a_batch_tells_its_times(make_pool):
    """They come in order, one after another, on the clock that all processes share."""
    pool = make_pool(1)
    began = time.perf_counter()
    batch = Timed(pool.executor, echo, [(number,) for number in range(20)], 0.00001)
    assert await batch.outcome() == list(range(20))
    assert [(index, step) for index, step, *_ in batch.times] == [(index, 0) for index in range(20)]
    times = [began, *(moment for *_, start, end, _ in batch.times for moment in (start, end))]
    assert all(one <= other for one, other in pairwise([*times, time.perf_counter()]))
    assert len({pid for *_, pid in batch.times}) == 1
    assert os.getpid() not in {pid for *_, pid in batch.times}


async def test_each_step_of_a_chain_tells_its_times(make_pool):
    """The steps of a chain as the calls of a batch."""
    pool = make_pool(1)
    chain = Timed(pool.executor, echo, [(5,)], None, steps=[(echo, None), (echo, None)])
    assert await chain.outcome() == [5]
    assert [(index, step) for index, step, *_ in chain.times] == [(0, 0), (0, 1), (0, 2)]


async def test_a_call_that_fails_tells_its_times(make_pool):
    """An exception is an outcome as any other."""
    pool = make_pool(1)
    batch = Timed(pool.executor, fail, [("no",)], None)
    (error,) = await batch.outcome()
    assert isinstance(error, LookupError)
    assert [index for index, *_ in batch.times] == [0]


async def test_times_are_not_told_unasked(make_pool):
    """A job that has not asked for them is not told."""
    pool = make_pool(1)
    batch = Timed(pool.executor, add, [(1, 2)], None)
    other = Timed.__new__(Timed)
    other.times = []
    Batch.__init__(other, pool.executor, add, [(1, 2)], None)
    await batch.outcome()
    await other.outcome()
    assert len(batch.times) == 1
    assert other.times == []


async def test_workers_that_come_and_go(make_pool):
    """A worker is told of when it is ready, and when it has ended, with how that was."""
    told = []
    pool = make_pool(1, on_worker=lambda pid, end: told.append((pid, end)))
    pid = await pool.value(os.getpid)
    await pool.error(os._exit, 3)
    other = await pool.value(os.getpid)
    assert told == [(pid, None), (pid, "ended with exit code 3"), (other, None)]
    await pool.executor.aclose()
    assert told[3:] == [(other, "left")]


async def test_a_worker_that_is_killed_with_its_call(make_pool):
    """To cancel a call costs its worker, which is told of as that."""
    told = []
    pool = make_pool(1, on_worker=lambda pid, end: told.append(end))
    await pool.value(echo, 1)
    started = pool.start_with({"timeout": 0.05}, time.sleep, 60)
    await started.error()
    assert told == [None, "was killed, to stop its call"]
