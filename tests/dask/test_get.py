"""`get`, the scheduler: from plain code, a loop, and its own tasks; its options, callbacks and faults."""

from __future__ import annotations

import asyncio
import contextvars
import gc
import operator
import os
import signal
import threading
import warnings
import weakref
from concurrent.futures import ThreadPoolExecutor
from multiprocessing.pool import ThreadPool

import dask
import dask.array as da
import dask.bag as db
import numpy as np
import pytest
from dask.callbacks import Callback
from dask.diagnostics import ProgressBar

from asyncgraph import cancelled, delayed
from asyncgraph.dask import bridge, get
from asyncgraph.errors import MissingKeyError


@pytest.fixture(autouse=True)
def _asyncgraph_as_scheduler():
    with dask.config.set(scheduler=get):
        yield


def test_plain_code_gets_values():
    """Set as Dask's scheduler, it computes what Dask is asked for."""
    array = da.arange(100, chunks=10)
    assert dask.compute(array.sum(), {"mean": array.mean()}) == (4950, {"mean": 49.5})


def test_keys_may_be_nested():
    """A list of keys gives a tuple of values, as from Dask's schedulers; tasks may be written the old way."""
    graph = {"x": 1, "y": (operator.add, "x", 1), "z": (sum, ["x", "y", 10])}
    assert get(graph, "z") == 13
    assert get(graph, ["x", ["z", "y"], "x"]) == (1, (13, 2), 1)


async def test_inside_a_running_loop_it_blocks_and_returns():
    """Called in a coroutine, it uses another loop, and does not wait for the one that it blocks."""
    assert dask.compute(dask.delayed(operator.add)(1, 2)) == (3,)


def test_tasks_may_compute():
    """Tasks that call `compute` in turn, more than there are threads, do not wait for each other."""

    def nested(depth):
        if not depth:
            return 1
        return sum(dask.compute(*[dask.delayed(nested)(depth - 1) for _ in range(3)]))

    before = threading.active_count()
    assert nested(4) == 81
    assert threading.active_count() - before < 40


def test_coroutine_tasks_may_compute():
    """A coroutine that blocks the loop with a call of `compute` gets its value from another one."""

    async def nested():
        return dask.compute(dask.delayed(operator.add)(1, 2))[0]

    assert dask.compute(dask.delayed(nested)()) == (3,)


@pytest.mark.parametrize("has_pool", [False, True])
def test_coroutine_tasks_may_compute_at_any_depth(has_pool):
    """What such a call waits for may compute in turn, in a coroutine too, whatever threads are between."""
    with ThreadPoolExecutor(4) as pool:
        options = {"pool": pool} if has_pool else {}

        def in_thread(depth):
            return depth and 1 + dask.compute(dask.delayed(in_coroutine)(depth - 1))[0]

        async def in_coroutine(depth):
            return depth and 1 + dask.compute(dask.delayed(in_thread)(depth - 1), **options)[0]

        assert dask.compute(dask.delayed(in_coroutine)(6)) == (6,)


@pytest.fixture
def on_dasks_threads():
    """Return what lets threads of Dask's own scheduler call a function, and blocks until they have."""
    with ThreadPoolExecutor(8) as pool:
        yield lambda function: dask.delayed(function)().compute(scheduler="threads", pool=pool)


def three():
    """Return a value that Dask is asked for."""
    return dask.delayed(operator.add)(1, 2).compute()


async def test_a_task_of_dasks_own_threads_that_block_a_loop_may_compute(on_dasks_threads):
    """A loop that waits for Dask's threads, whose task makes the call, is not needed for it."""
    assert on_dasks_threads(three) == 3


@pytest.mark.parametrize("scheduler", [get, "threads"])
def test_a_coroutine_task_may_wait_for_threads_that_compute(monkeypatch, on_dasks_threads, scheduler):
    """It blocks the loop that it shares with others, and nobody is told: another one is found each time."""
    monkeypatch.setattr(bridge, "_PATIENCE", 0.05)

    async def block():
        return on_dasks_threads(three)

    task = dask.delayed(block)() if scheduler is get else delayed(block)()
    with ThreadPoolExecutor(1) as pool:
        for _ in range(3):
            assert dask.compute(task, scheduler=scheduler, pool=pool) == (3,)


def test_coroutines_of_nodes_may_wait_for_others_by_blocking(monkeypatch):
    """Coroutines of nodes that Dask runs share a loop; one that blocks it with `dask.compute` goes on."""
    monkeypatch.setattr(bridge, "_PATIENCE", 0.05)

    with ThreadPoolExecutor(8) as pool:

        @delayed
        async def nested(depth):
            return depth and 1 + dask.compute(nested(depth - 1), scheduler="threads", pool=pool)[0]

        assert dask.compute(nested(4), scheduler="threads", pool=pool) == (4,)


def test_an_error_leaves_with_nothing_that_refers_to_it():
    """It goes as soon as nobody has it, and all that its frames have: the collector is not needed."""

    class Mine(Exception):
        pass

    def fail():
        raise Mine

    gc.disable()
    try:
        errors = weakref.WeakSet()
        try:
            dask.compute(dask.delayed(fail)())
        except Mine as error:
            errors.add(error)
        three()  # the loop has done with the first call by then
        assert not errors
    finally:
        gc.enable()


@pytest.fixture
def unblock():
    """Block the loop of the first bridge; return what unblocks it, and waits for that."""
    blocked, go_on = threading.Event(), threading.Event()

    async def block():
        blocked.set()
        go_on.wait()

    with ThreadPoolExecutor(1) as pool:
        blocking = pool.submit(dask.compute, dask.delayed(block)())
        blocked.wait()

        def unblocking():
            go_on.set()
            assert blocking.result() == (None,)

        yield unblocking
        go_on.set()


def test_a_loop_that_is_blocked_is_passed_over_until_it_goes_on(monkeypatch, unblock):
    """What comes meanwhile is taken to another one, which need not wait for it."""
    monkeypatch.setattr(bridge, "_PATIENCE", 0.05)
    assert three() == 3
    assert bridge._bridges[0].is_silent
    unblock()
    assert not bridge._bridges[0].is_silent


def test_an_interruption_of_a_call_that_has_not_begun(monkeypatch, unblock):
    """Nothing is running of it, so that nothing is waited for, though the loop is blocked."""
    here, wait = threading.current_thread(), bridge.wait

    def interrupt(*args):
        if threading.current_thread() is here:
            raise KeyboardInterrupt
        return wait(*args)

    with monkeypatch.context() as patched:
        patched.setattr(bridge, "wait", interrupt)
        with pytest.raises(KeyboardInterrupt):
            three()
    unblock()


def test_calls_from_several_threads_at_once():
    """Threads of the caller's share one loop, and each gets its own value."""
    with ThreadPoolExecutor(4) as pool:
        graphs = [{"x": n, "y": (operator.mul, "x", 2)} for n in range(40)]
        assert list(pool.map(lambda graph: get(graph, "y"), graphs)) == [2 * n for n in range(40)]


def test_num_workers_bounds_how_many_tasks_run_at_once():
    """With three workers, the fourth of four tasks that wait for each other would never come."""
    barrier = threading.Barrier(3)
    most, running, lock = [0], [0], threading.Lock()

    def together(_):
        with lock:
            running[0] += 1
            most[0] = max(most[0], running[0])
        barrier.wait()
        with lock:
            running[0] -= 1

    tasks = [dask.delayed(together)(n) for n in range(9)]
    dask.compute(*tasks, num_workers=3)
    assert most == [3]


@pytest.mark.parametrize("number", [0, "four"])
def test_a_wrong_number_of_workers_is_refused(number):
    """The error names the option."""
    with pytest.raises((ValueError, TypeError), match="num_workers="):
        get({"x": (int,)}, "x", num_workers=number)


def test_an_executor_of_the_callers_runs_the_tasks():
    """`pool=` may be an executor of `concurrent.futures`."""
    with ThreadPoolExecutor(2) as pool:
        seen = set(dask.compute(*[dask.delayed(threading.get_ident)() for _ in range(8)], pool=pool))
        assert seen <= {thread.ident for thread in pool._threads}


def test_a_pool_of_multiprocessing_runs_the_tasks():
    """`pool=` may be a pool of `multiprocessing`, of threads or processes."""
    with ThreadPool(2) as pool:
        seen = set(dask.compute(*[dask.delayed(threading.get_ident)() for _ in range(8)], pool=pool))
        assert seen <= {thread.ident for thread in pool._pool}
        pool.terminate()
        pool.join()


def test_what_is_no_pool_is_refused():
    """The error says what would be one."""
    with pytest.raises(TypeError, match=r"executor of concurrent\.futures"):
        get({"x": (int,)}, "x", pool=object())


def test_a_cache_has_values():
    """Keys that are in `cache=` are not computed."""
    graph = {"x": (operator.truediv, 1, 0), "y": (operator.add, "x", 1)}
    assert get(graph, "y", cache={"x": 4}) == 5


def test_a_failure_is_the_tasks_own_exception():
    """The object that was raised leaves `compute`."""
    error = LookupError("mine")

    def fail():
        raise error

    with pytest.raises(LookupError) as caught:
        dask.compute(dask.delayed(fail)())
    assert caught.value is error


def test_a_missing_key_is_named():
    """A key that the graph does not have is an error before anything runs."""
    with pytest.raises(MissingKeyError, match="'z'"):
        get({"x": 1}, "z")


def test_callbacks_are_told():
    """Start, start of the state, before and after each task, and the end, each as in Dask."""
    told = []
    callback = Callback(
        start=lambda dsk: told.append(("start", len(dsk))),
        start_state=lambda dsk, state: told.append(("state", sorted(state["waiting"]))),
        pretask=lambda key, dsk, state: told.append(("before", key, key in state["running"])),
        posttask=lambda key, value, dsk, state, worker: told.append(("after", key, value)),
        finish=lambda dsk, state, failed: told.append(("finish", sorted(state["finished"]), failed)),
    )
    with callback:
        get({"x": 1, "y": (operator.add, "x", 1), "z": (operator.neg, "y")}, "z")
    assert told == [
        ("start", 3),
        ("state", ["y", "z"]),
        ("before", "y", True),
        ("after", "y", 2),
        ("before", "z", True),
        ("after", "z", -2),
        ("finish", ["y", "z"], False),
    ]


def test_callbacks_hear_of_a_failure():
    """The end comes also after a failure, and says so; nobody is told that the task has a value."""
    told = []
    callback = Callback(
        posttask=lambda *args: told.append(args[0]), finish=lambda dsk, state, failed: told.append(failed)
    )
    with callback, pytest.raises(ZeroDivisionError):
        get({"x": (operator.truediv, 1, 0)}, "x")
    assert told == [True]


def test_callbacks_are_not_told_of_what_tasks_compute():
    """As in Dask, those of the outermost call hear of its own tasks only."""
    told = []
    inner = dask.delayed(operator.add)(1, 2)
    with Callback(pretask=lambda key, dsk, state: told.append(key)):
        dask.compute(dask.delayed(inner.compute)(dask_key_name="outer"))
    assert told == ["outer"]


def test_callbacks_hear_of_coroutines_and_pools():
    """Tasks that run elsewhere than in asyncgraph's threads are told of, too."""
    told = []

    async def one():
        return 1

    with Callback(posttask=lambda *args: told.append(args[1])), ThreadPoolExecutor(1) as pool:
        dask.compute(dask.delayed(operator.add)(dask.delayed(one)(), 1), pool=pool)
    assert told == [1, 2]


def test_a_callback_that_fails_is_a_failure():
    """What a callback raises leaves `compute`."""

    def refuse(key, dsk, state):
        raise PermissionError(key)

    with Callback(pretask=refuse), pytest.raises(PermissionError):
        get({"x": (int,)}, "x")


def test_the_progress_bar_comes_to_its_end(capsys):
    """Dask's own progress bar works."""
    with ProgressBar(dt=0.001):
        dask.compute(da.arange(100, chunks=10).sum())
    assert "100% Completed" in capsys.readouterr().out


def test_context_variables_reach_the_tasks():
    """A task sees the variables of the code that called `compute`."""
    variable = contextvars.ContextVar("variable", default="default")
    variable.set("set")
    assert dask.compute(dask.delayed(variable.get)()) == ("set",)


def test_an_interrupt_ends_the_run_first():
    """Ctrl-C leaves `compute` as KeyboardInterrupt, when the task that was running has ended."""
    ended, main = [], threading.main_thread().ident

    def until_cancelled():
        signal.pthread_kill(main, signal.SIGINT)
        pause = threading.Event()
        while not cancelled():
            pause.wait(0.001)
        ended.append(True)

    with pytest.raises(KeyboardInterrupt):
        dask.compute(dask.delayed(ended.append)(dask.delayed(until_cancelled)()))
    assert ended == [True]


def test_a_bag_that_asks_for_processes_keeps_them():
    """Only the default is replaced: a scheduler that is named is the one that is used."""
    bag = db.from_sequence(range(4), npartitions=2).map(operator.neg)
    assert bag.compute(scheduler="sync") == [0, -1, -2, -3]
    assert np.array_equal(bag.compute(), [0, -1, -2, -3])


def test_a_forked_process_has_a_bridge_of_its_own():
    """In a fork the thread of the parent is not there, and is not waited for."""
    assert dask.compute(dask.delayed(operator.add)(1, 2)) == (3,)
    reader, writer = os.pipe()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # of forking beside threads, which is the point
        pid = os.fork()
    if not pid:
        value = dask.compute(dask.delayed(operator.add)(1, 3))[0]
        os.write(writer, bytes([value]))
        os._exit(0)
    os.close(writer)
    assert os.read(reader, 1) == bytes([4])
    os.close(reader)
    os.waitpid(pid, 0)


def test_many_small_graphs_use_the_same_threads():
    """Threads are kept and used again: a hundred calls need no more than one."""
    graph = {"x": (threading.get_ident,)}
    seen = {get(graph, "x", num_workers=1) for _ in range(100)}
    assert len(seen) == 1


def test_asyncio_run_around_it():
    """A program whose loop ends is not held by what Dask has computed in it."""

    async def main():
        return dask.compute(dask.delayed(operator.add)(1, 2))

    assert asyncio.run(main()) == (3,)
