"""Dask collections on asyncgraph: equal results, shared tasks, and what failing and cancelling do."""

from __future__ import annotations

import asyncio
import operator
import os
import threading

import dask
import dask.array as da
import dask.bag as db
import dask.dataframe as dd
import numpy as np
import pandas as pd
import pytest
from dask._task_spec import Alias, DataNode, Dict, List, Task, TaskRef
from dask.delayed import Delayed

from asyncgraph import compute, delayed, run, start
from asyncgraph.dask import from_dask
from asyncgraph.dask.collections import optimizing
from asyncgraph.dask.evaluation import fused, run_fused
from asyncgraph.dask.translation import Translation
from asyncgraph.errors import CycleError, MissingKeyError, SerializationError


def double(number):
    """A task."""
    return 2 * number


def frame():
    """A dataframe in parts."""
    data = pd.DataFrame({"k": ["a", "b", "a", "b"] * 5, "v": range(20)})
    return dd.from_pandas(data, npartitions=4)


def mean():
    """A groupby."""
    return frame().groupby("k").v.mean()


def merged():
    """A shuffle."""
    return frame().merge(frame(), on="v").k_x.value_counts()


COLLECTIONS = {
    "array": lambda: (da.arange(120, chunks=10).reshape((12, 10)) + 1).T.sum(axis=0),
    "overlap": lambda: da.arange(60, chunks=7).map_overlap(lambda block: block * 2, depth=1),
    "matmul": lambda: da.ones((40, 40), chunks=(10, 10)) @ da.ones((40, 40), chunks=(10, 10)),
    "groupby": mean,
    "merge": merged,
    "bag": lambda: db.from_sequence(range(20), npartitions=3).map(double).filter(lambda n: n % 3 == 0),
    "delayed": lambda: dask.delayed(sum)([dask.delayed(double)(n) for n in range(5)]),
}


def same(one, other):
    """Whether two results are equal, rows and keys in order."""
    if isinstance(one, pd.Series | pd.DataFrame):
        return one.sort_index().equals(other.sort_index())
    return np.array_equal(one, other)


@pytest.mark.parametrize("name", COLLECTIONS)
async def test_a_collection_gives_what_dask_gives(name):
    """The value of the node equals the result of Dask's own scheduler."""
    collection = COLLECTIONS[name]()
    expected = collection.compute(scheduler="sync")
    assert same(await from_dask(collection).compute(), expected)


async def test_tasks_run_in_threads():
    """Nothing of Dask's runs on the event loop."""
    threads = await from_dask(db.from_sequence(range(6), npartitions=3).map(lambda _: threading.get_ident()))
    assert threading.get_ident() not in threads


async def test_tasks_run_in_worker_processes_if_asked():
    """`executor="process"` moves them there."""
    seen = await from_dask(dask.delayed(os.getpid)(), executor="process")
    assert seen != os.getpid()


async def test_several_collections_share_tasks():
    """What two collections need is computed once when they become nodes together."""
    calls = []

    @dask.delayed
    def once():
        calls.append(1)
        return 5

    shared = once()
    one, other = from_dask(dask.delayed(double)(shared), dask.delayed(operator.neg)(shared))
    assert await compute(one, other) == (10, -5)
    assert calls == [1]


async def test_collections_of_different_kinds_come_in_the_order_given():
    """Delayed values, arrays and dataframes are each optimized by rules of their own."""
    array, delayed, data = da.arange(10, chunks=3).sum(), dask.delayed(double), frame().v.sum()
    nodes = from_dask(delayed(1), array, delayed(2), data, delayed(3))
    assert await compute(*nodes) == (2, 45, 4, 190, 6)


async def test_coroutine_functions_run_on_the_loop():
    """`dask.delayed` of a coroutine function is awaited on the caller's loop."""

    async def where():
        await asyncio.sleep(0)
        return asyncio.get_running_loop()

    assert await from_dask(dask.delayed(where)()) is asyncio.get_running_loop()


async def test_a_task_fails_with_its_own_exception():
    """It is the object that was raised, and says which task of Dask's it came from."""
    error = LookupError("mine")

    def fail():
        raise error

    with pytest.raises(LookupError) as caught:
        await from_dask(dask.delayed(fail)(dask_key_name="the-failing-one"))
    assert caught.value is error
    assert "the-failing-one" in error.__notes__[0]
    assert "test_from_dask.py" in error.__notes__[0]


async def test_a_cancelled_run_begins_nothing_more():
    """When cancelling is over, no task is running, and those behind it have not begun."""
    has_begun, may_end, after = asyncio.Event(), threading.Event(), []
    loop = asyncio.get_running_loop()

    def first():
        loop.call_soon_threadsafe(has_begun.set)
        may_end.wait()

    run = start(from_dask(dask.delayed(after.append)(dask.delayed(first)())))
    await has_begun.wait()
    run.cancel()
    may_end.set()
    with pytest.raises(asyncio.CancelledError):
        await run
    assert after == []


async def test_a_result_that_does_not_pickle_is_a_clear_error():
    """In a worker process, a result that cannot come back fails its task with SerializationError."""
    with pytest.raises(SerializationError):
        await from_dask(dask.delayed(threading.Lock)(), executor="process")


def test_what_is_no_collection_is_refused():
    """The error says what was given."""
    with pytest.raises(TypeError, match="from_dask takes Dask collections, not 5"):
        from_dask(5)
    with pytest.raises(TypeError, match="one or more"):
        from_dask()


async def test_methods_of_collections_take_nodes_by_way_of_delayed_values():
    """Where one has come alone into a task, the error says what would be right."""
    node, bag = delayed(10) + 1, db.from_sequence([1, 2])
    assert await from_dask(bag.map(operator.add, dask.delayed(node))) == [12, 13]
    with pytest.raises(TypeError, match=r"take `dask\.delayed\(node\)`"):
        from_dask(frame().v + node)


def test_an_unknown_executor_is_refused():
    """Only threads and processes have a meaning for Dask's tasks."""
    with pytest.raises(ValueError, match="'thread' or 'process'"):
        from_dask(dask.delayed(double)(1), executor="loop")


async def test_every_kind_of_task_is_translated():
    """Aliases, data, containers, nested and fused tasks and named arguments give what Dask makes of them."""
    graph = {
        "data": DataNode("data", [1, 2]),
        "alias": Alias("alias", "data"),
        "sum": Task("sum", sum, TaskRef("alias"), start=10),
        "nested": Task("nested", double, Task(None, operator.add, TaskRef("sum"), 1)),
        "list": List(TaskRef("sum"), TaskRef("nested"), 3),
        "dict": Dict({"a": TaskRef("sum"), "b": List(TaskRef("data"))}),
        "named": Task("named", dict, one=TaskRef("sum"), two=DataNode(None, 2)),
    }
    graph["fused"] = Task.fuse(
        Task("inner", operator.mul, TaskRef("sum"), TaskRef("nested")),
        Task("outer", operator.neg, TaskRef("inner")),
    )
    nodes = Translation(graph).nodes(graph)
    values = dict(zip(graph, await compute(*nodes), strict=True))
    assert values == {
        "data": [1, 2],
        "alias": [1, 2],
        "sum": 13,
        "nested": 28,
        "list": [13, 28, 3],
        "dict": {"a": 13, "b": [[1, 2]]},
        "named": {"one": 13, "two": 2},
        "fused": -364,
    }


def test_a_fused_task_lets_go_of_what_it_needs_no_more():
    """Of a chain that was fused, two values at most are there at once."""
    alive = set()

    class Block:
        def __init__(self, number):
            self.number = number
            alive.add(number)
            seen.append(len(alive))

        def __del__(self):
            alive.discard(self.number)

    seen = []
    chain = [Task(0, Block, 0)]
    chain += [Task(n, lambda block: Block(block.number + 1), TaskRef(n - 1)) for n in range(1, 6)]
    task = Task.fuse(*chain)
    result = run_fused(fused(*task.args[:3]))
    assert result.number == 5
    assert max(seen) == 2


async def test_fused_tasks_may_hold_fused_ones():
    """The inner ones get what the outer task hands them, whatever they call it, data included."""
    inner = Task.fuse(
        Task("one", operator.add, TaskRef("placeholder"), TaskRef("number")),
        Task("two", operator.neg, TaskRef("one")),
        key="inner",
    ).substitute({"placeholder": "three", "number": DataNode(None, 100)})
    outer = Task.fuse(Task("three", double, TaskRef("x")), inner, key="outer")
    (node,) = Translation({"x": Task("x", int, "4"), "outer": outer}).nodes(["outer"])
    assert await node == outer({"x": 4}) == -108


def test_a_key_that_is_not_there_is_named():
    """A graph that refers to nothing is refused before anything runs."""
    with pytest.raises(MissingKeyError, match="'nowhere'"):
        Translation({"a": Task("a", double, TaskRef("nowhere"))}).nodes(["a"])


def test_a_circle_is_named():
    """A graph that goes round is refused before anything runs."""
    graph = {"a": Task("a", double, TaskRef("b")), "b": Task("b", double, TaskRef("a"))}
    with pytest.raises(CycleError, match="goes round"):
        Translation(graph).nodes(["a"])


async def test_a_long_chain_needs_no_recursion():
    """A hundred times deeper than Python's frames go."""
    graph = {0: Task(0, int)}
    graph |= {n: Task(n, operator.add, TaskRef(n - 1), 1) for n in range(1, 20_000)}
    (node,) = Translation(graph).nodes([19_999])
    assert await node == 19_999


def test_dask_optimizes_in_one_thread_at_a_time():
    """While it does, another thread cannot begin to: in Python 3.11 they could wait for each other."""
    others = []

    class Watched(Delayed):
        """A delayed value that another thread looks at while it is optimized."""

        @staticmethod
        def __dask_optimize__(graph, keys, **options):
            looking = threading.Thread(target=lambda: others.append(optimizing.acquire(blocking=False)))
            looking.start()
            looking.join()
            return graph

    assert run(from_dask(Watched("key", {"key": 5}))) == 5
    assert others == [False]
