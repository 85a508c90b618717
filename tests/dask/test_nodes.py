"""Nodes as Dask collections, and Dask collections among the arguments of nodes."""

from __future__ import annotations

import asyncio
import operator
import pickle
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor

import dask
import dask.array as da
import dask.bag as db
import dask.dataframe as dd
import numpy as np
import pandas as pd
import pytest
from dask.base import is_dask_collection, tokenize

from asyncgraph import Input, Retry, compute, delayed, resource, start, when
from asyncgraph.dask import from_dask, get
from asyncgraph.errors import GraphError, NodeTimeoutError


@delayed
def inc(number):
    """A function that Dask runs in one of its threads."""
    return number + 1


@delayed
async def later(number):
    """A coroutine function."""
    await asyncio.sleep(0)
    return number * 10


@pytest.fixture(params=["sync", "threads", get], ids=["sync", "threads", "asyncgraph"])
def _scheduler(request):
    """Each scheduler that runs in this process; the pool is that of the test, so that it ends with it."""
    with ThreadPoolExecutor(2) as pool, dask.config.set(scheduler=request.param, pool=pool):
        yield


# -- a node is a collection


def test_dask_takes_a_node_for_a_collection():
    """It is one, and to find that out makes no graph of it."""
    node = inc(1)
    assert is_dask_collection(node)
    (layer,) = node.__dask_graph__().layers.values()
    assert not layer.is_materialized()


@pytest.mark.usefixtures("_scheduler")
def test_dask_computes_nodes():
    """Functions, coroutines, operators, items and containers give what asyncgraph gives."""
    node = inc(1) + later(2)
    pair = delayed([node, {"twice": node * 2}])
    assert dask.compute(node, pair[1]["twice"], {"in": inc(5)}) == (22, 44, {"in": 6})


@pytest.mark.usefixtures("_scheduler")
def test_nodes_and_collections_compute_together():
    """One call of `dask.compute` may have both, and warns of nothing."""
    assert dask.compute(inc(1), dask.delayed(operator.neg)(1), inc(3)) == (2, -1, 4)


@pytest.mark.usefixtures("_scheduler")
def test_a_node_among_the_arguments_of_daskdelayed():
    """Dask's delayed functions take nodes, in containers too."""
    assert dask.delayed(operator.neg)(inc(1) + later(1)).compute() == -12
    assert dask.delayed(sum)([inc(1), inc(2)]).compute() == 5


@pytest.mark.usefixtures("_scheduler")
def test_persisted_nodes_have_their_values():
    """`dask.persist` gives a Dask collection whose value is there."""
    calls = []
    (kept,) = dask.persist(delayed(calls.append)(1))
    assert calls == [1]
    assert kept.compute() is None
    assert calls == [1]


@pytest.mark.usefixtures("_scheduler")
def test_a_shared_node_is_computed_once():
    """Two nodes of one call have their common dependency computed once."""
    calls = []

    @delayed
    def once():
        calls.append(1)
        return 1

    shared = once()
    assert dask.compute(shared + 1, shared + 2) == (2, 3)
    assert calls == [1]


@pytest.mark.usefixtures("_scheduler")
def test_a_function_that_returns_a_node():
    """The node is computed in its place, inside the task."""

    @delayed
    def countdown(number):
        return countdown(number - 1) if number else later(7)

    assert dask.compute(countdown(3)) == (70,)


@pytest.mark.usefixtures("_scheduler")
def test_a_choice_runs_one_side():
    """The side that is not chosen does not run."""
    calls = []
    chosen = when(inc(1) > 1, inc(10), delayed(calls.append)(1))
    assert dask.compute(chosen) == (11,)
    assert calls == []


@pytest.mark.usefixtures("_scheduler")
def test_retries_are_kept():
    """A function is called again as its `retries=` says, wherever Dask runs it; other errors pass at once."""
    answers = iter([ConnectionError("busy"), "here", LookupError("gone"), "never"])

    @delayed(retries=Retry(3, on=ConnectionError, backoff=0))
    def ask():
        answer = next(answers)
        if isinstance(answer, Exception):
            raise answer
        return answer

    assert dask.compute(ask()) == ("here",)
    with pytest.raises(LookupError):
        dask.compute(ask())


def test_the_timeout_of_a_coroutine_is_kept():
    """A coroutine that takes too long is cancelled, and fails as in asyncgraph."""

    @delayed(timeout=0.01)
    async def forever():
        await asyncio.Event().wait()

    with pytest.raises(NodeTimeoutError, match=r"timeout of 0\.01 s"):
        dask.compute(forever(), scheduler="sync")


def test_coroutines_share_a_loop():
    """What one has made on its loop another can use."""

    @delayed
    async def where():
        return asyncio.get_running_loop()

    one, other = dask.compute(where(), where(), scheduler="sync")
    assert one is other


def test_a_failure_is_the_nodes_own_exception():
    """What a node raises leaves `dask.compute`."""
    with pytest.raises(ZeroDivisionError):
        dask.compute(inc(1) / 0, scheduler="sync")


def test_inputs_and_resources_are_refused():
    """The error says what would be right."""
    with pytest.raises(GraphError, match=r"Input\('x'\) has no value in a Dask graph"):
        dask.compute(inc(Input("x")), scheduler="sync")
    with pytest.raises(GraphError, match="open it inside the functions"):
        dask.compute(inc(resource(threading.Lock)), scheduler="sync")


def test_keys_are_unique_and_stay():
    """A node has one key, an equal call another, and both begin with the function's name."""
    node, equal = inc(1), inc(1)
    assert node.__dask_keys__() == node.__dask_keys__() == [node.__dask_tokenize__()]
    assert tokenize(node) == tokenize(node) != tokenize(equal)
    assert dask.utils.key_split(node.__dask_keys__()[0]) == "inc"


def test_a_node_that_comes_out_of_a_pickle_has_a_key_of_its_own():
    """Two processes never have the same key for two nodes."""
    node = inc(1)
    assert node.key
    again = pickle.loads(pickle.dumps(node))
    assert again.key == node.key
    assert again.__dask_keys__() != node.__dask_keys__()


def test_the_token_of_a_node_goes_with_it():
    """Nothing is kept of nodes that are there no more."""
    from asyncgraph.dask.protocol import _tokens

    before = len(_tokens)
    node = inc(1)
    assert node.__dask_keys__()
    assert len(_tokens) == before + 1
    del node
    assert len(_tokens) == before


def test_annotations_reach_the_graph():
    """`dask.annotate` around it counts for nodes as for Dask's own."""
    with dask.annotate(priority=3):
        expression = dask.base.collections_to_expr(inc(inc(1)))
    assert set(expression.__dask_annotations__()["priority"].values()) == {3}


def test_the_graph_can_be_drawn():
    """`dask.visualize` finds every task under the name of its function."""
    graph = dask.base.collections_to_expr([inc(later(1))]).__dask_graph__()
    assert sorted(map(dask.utils.key_split, graph)) == ["inc", "later"]


def test_dask_is_not_lazy():
    """`node.dask` would be taken for the graph of a collection; the error names the way round."""
    with pytest.raises(AttributeError, match=r"delayed\(getattr\)\(node, 'dask'\)"):
        _ = inc(1).dask


# -- a collection is a dependency


async def test_a_collection_among_the_arguments_is_computed():
    """Delayed values and arrays, positional, named and in containers, become values."""

    @delayed
    def seen(*args, **kwargs):
        return args, kwargs

    array, number = da.arange(10, chunks=3), dask.delayed(operator.neg)(1)
    args, kwargs = await seen(array.sum(), [number, {"a": (array.max(), 2)}], name=number)
    assert args == (45, [-1, {"a": (9, 2)}])
    assert kwargs == {"name": -1}


async def test_collections_of_one_call_share_tasks():
    """What two arguments need is computed once."""
    calls = []

    @dask.delayed
    def once():
        calls.append(1)
        return 5

    shared = once()
    total = delayed(operator.add)(dask.delayed(operator.neg)(shared), dask.delayed(abs)(shared))
    assert await total == 0
    assert calls == [1]


async def test_operators_take_collections():
    """On either side of a node."""
    total = da.arange(10, chunks=3).sum()
    assert await (inc(1) + total) == 47
    assert await (total + inc(1)) == 47


async def test_a_choice_between_collections():
    """`when` takes them like nodes."""
    numbers = da.arange(10, chunks=3)
    assert await when(inc(1) == 2, numbers.sum(), numbers.max()) == 45
    assert await when(numbers.sum() == 2, numbers.sum(), numbers.max()) == 9


@pytest.mark.parametrize("take", [compute, start])
async def test_a_collection_in_place_of_a_node_is_refused(take):
    """The error says how to make one of it."""
    with pytest.raises(TypeError, match=r"write `asyncgraph\.dask\.from_dask\(\.\.\.\)`"):
        await take(da.arange(10, chunks=3).sum())


def test_collections_are_made_of_nodes():
    """`from_delayed` takes nodes, for arrays, dataframes and bags."""
    zeros, numbers = delayed(np.zeros)(3), delayed(list)((1, 2))
    assert da.from_delayed(zeros, (3,), float).sum().compute(scheduler="sync") == 0
    assert db.from_delayed([numbers, numbers]).sum().compute(scheduler="sync") == 6
    frame = delayed(pd.DataFrame)({"k": [1, 2]})
    assert dd.from_delayed([frame, frame], meta={"k": int}).k.sum().compute(scheduler="sync") == 6


async def test_a_collection_inside_data_is_computed():
    """`delayed(value)` finds it in containers."""
    value = await delayed({"mean": da.arange(11, chunks=3).mean(), "plain": np.arange(2)})
    assert value["mean"] == 5
    assert value["plain"].tolist() == [0, 1]


async def test_what_only_looks_like_a_collection_is_a_value():
    """Classes whose instances are collections at times, as xarray's, are asked which they are."""

    class Empty:
        def __dask_graph__(self):
            return None

    empty, held = Empty(), [Empty()]
    assert await delayed(lambda *args: args)(empty, held) == (empty, held)


async def test_nodes_of_collections_are_nodes_like_others():
    """They go back to Dask, and share what they have in common when they are computed together."""
    node = from_dask(da.arange(10, chunks=5).sum())
    assert dask.compute(node, scheduler="sync") == (45,)
    assert await compute(node, node + 1) == (45, 46)


def test_plain_arguments_import_nothing_of_dask():
    """Building nodes in a program without Dask does not bring it in, nor does importing `asyncgraph.dask`."""
    script = (
        "import sys, asyncgraph.dask\n"
        "from asyncgraph import delayed\n"
        "class Own: pass\n"
        "delayed(print)(1, [Own()], {'a': Own()}, key=object())\n"
        "assert 'dask' not in sys.modules\n"
    )
    subprocess.run([sys.executable, "-I", "-c", script], check=True)


def test_without_dask_the_error_says_what_to_install():
    """Who has no Dask is told of the extra."""
    script = (
        "import sys\n"
        "sys.modules['dask'] = None\n"
        "from asyncgraph.dask import from_dask, get\n"
        "for call in (lambda: from_dask(1), lambda: get({}, [])):\n"
        "    try:\n"
        "        call()\n"
        "    except ImportError as error:\n"
        "        assert 'asyncgraph[dask]' in str(error)\n"
        "    else:\n"
        "        raise AssertionError\n"
    )
    subprocess.run([sys.executable, "-I", "-c", script], check=True)
