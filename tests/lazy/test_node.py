"""What a node is besides lazy: its names, identity, prints, copies; and large graphs of them."""

from __future__ import annotations

import asyncio
import copy
import gc
import pickle
import threading
import weakref
from collections.abc import Awaitable, Hashable

import pytest

from asyncgraph import Delayed, compute, delayed, from_graph
from tests.lazy.functions import Account, add, inc

MANY = 100_000


@pytest.mark.parametrize(
    "name",
    [
        "_private",
        "__array__",
        "__array_interface__",
        "__dataframe__",
        "__dask_exprs__",
        "__fspath__",
        "_repr_html_",
        "_ipython_display_",
        "_ipython_canary_method_should_not_exist_",
        "__next__",
        "__wrapped__",
        "__name__",
        "__length_hint__",
        "__dict__",
        "__getnewargs_ex__",
        "__",
    ],
)
def test_names_with_an_underscore_are_not_lazy(name):
    """Who asks a node for a protocol is told that it has none, and how to get the value's attribute."""
    with pytest.raises(AttributeError) as caught:
        getattr(delayed(1), name)
    assert str(caught.value) == (
        f"{name!r} is not lazy, because it starts with an underscore; "
        f"write delayed(getattr)(node, {name!r}) for that attribute of the value"
    )
    assert not hasattr(delayed(1), name)


async def test_asyncio_wait_takes_futures_of_nodes():
    """A node is no future: asyncio.wait, which would wait for it for ever, is told what to take."""
    node = inc(1)
    with pytest.raises(AttributeError, match=r"asyncio\.wait takes asyncio\.ensure_future\(node\)"):
        await asyncio.wait([node])
    assert not hasattr(node, "add_done_callback")
    done, _ = await asyncio.wait([asyncio.ensure_future(node)])
    assert [task.result() for task in done] == [2]


async def test_the_way_round_for_names_that_are_not_lazy():
    """`delayed(getattr)` gets an attribute that a node keeps for itself."""

    class Record:
        key = "of the value"
        _private = "hidden"

    record = delayed(Record)()
    assert await compute(delayed(getattr)(record, "key"), delayed(getattr)(record, "_private")) == (
        "of the value",
        "hidden",
    )


def test_the_public_names():
    """Four attributes are not lazy, and `dir` tells them."""
    node = inc(1)
    assert dir(node) == ["compute", "graph", "key", "visualize"]
    assert all(not isinstance(getattr(node, name), Delayed) for name in dir(node))
    assert isinstance(node.anything_else, Delayed)


def test_a_node_prints_its_key():
    """It shows which node it is, and never its value."""
    node = inc.options(name="step")(1)
    assert repr(node) == f"<Delayed {node.key}>"
    assert node.key.startswith("step-")


def test_keys_differ_and_stay():
    """Equal calls are different nodes."""
    first, second = inc(1), inc(1)
    assert first.key != second.key
    assert first.key == first.key


async def test_equality_is_lazy():
    """`==` and `!=` give nodes; whether two names are one node is asked with `is`."""
    node = inc(1)
    same = node
    assert isinstance(node == same, Delayed)
    assert await compute(node == 2, node != 2, node == inc(1)) == (True, False, True)


def test_nodes_are_members_of_sets_and_keys_of_dictionaries():
    """By identity: a node is found, an equal call is another."""
    first, second = inc(1), inc(1)
    values = {first: "first", second: "second"}
    assert (values[first], values[second], len({first, second, first})) == ("first", "second", 2)
    assert second in {first, second}
    assert first not in {second, 1}
    assert isinstance(first, Hashable)
    assert weakref.ref(first)() is first


def test_a_copy_of_a_node_is_itself():
    """A prescription does not change: copies, deep ones too, keep what is shared."""
    node = inc(1)
    assert copy.copy(node) is node
    assert copy.deepcopy([node, {"k": node}])[1]["k"] is node


def test_a_node_can_be_awaited_and_called():
    """So it says when asked; that makes functions that take awaitables take nodes."""
    node = inc(1)
    assert isinstance(node, Awaitable)
    assert callable(node)


async def test_awaiting_twice_computes_twice():
    """A node keeps no value."""
    calls = []
    node = delayed(calls.append, executor="loop")(1)
    assert (await node, await node, calls) == (None, None, [1, 1])


async def test_a_node_can_be_waited_for_like_any_awaitable():
    """`asyncio.wait_for` and `asyncio.gather` take it."""
    assert await asyncio.wait_for(inc(1), 30) == 2
    assert await asyncio.gather(inc(1), inc(2)) == [2, 3]


def test_the_graph_of_a_node():
    """`node.graph` is a mapping whose dictionary is the whole prescription."""
    node = from_graph({"x": 1, "y": (inc, "x"), "z": (add, "y", 10)}, "z") * 2
    graph = node.graph
    assert [repr(task) for task in graph.values()] == ["1", "inc(x)", "add(y, 10)", "mul(z, 2)"]
    assert graph.outputs == (node.key,)
    assert dict(graph)["z"].function is add.__wrapped__


def test_visualize_gives_text():
    """SVG by default, others when asked; anything else is an error that says what there is."""
    node = inc(delayed(1))
    assert node.visualize() == node.visualize(format="svg")
    assert node.visualize().startswith("<svg")
    assert node.visualize(format="mermaid").startswith("flowchart")
    with pytest.raises(ValueError, match="there is no format 'gif': format= is one of 'svg', 'html', 'dot'"):
        node.visualize(format="gif")


def test_a_graph_pickles():
    """A graph goes through pickle with its keys, also where the ids of its nodes are others."""
    graph = (inc(inc(1)) + 1).graph
    again = pickle.loads(pickle.dumps(graph))
    assert repr(again) == repr(graph)
    assert again.outputs == graph.outputs


def test_sites_of_calls():
    """Every way of building a node keeps the line where it is written."""
    first = test_sites_of_calls.__code__.co_firstlineno
    account = Account(1)
    nodes = [
        inc(1),
        inc.options(name="x")(1),
        account.plus(1),
        Account.opened(1),
        Account.fee(1),
        delayed(5),
        delayed(len)(
            [1],
        ),
        from_graph({"x": 1}, "x"),
        next(iter(delayed((1, 2), nout=2))),
    ]
    lines = [node.graph[node.key].site.line - first for node in nodes]
    assert lines == [5, 6, 7, 8, 9, 10, 11, 14, 15]
    sites = {node.graph[node.key].site for node in nodes}
    assert {(site.file, site.function) for site in sites} == {(__file__, "test_sites_of_calls")}


async def test_a_node_of_another_thread():
    """A node built in one thread is computed on the loop of another, by several at once."""
    built = []
    thread = threading.Thread(target=lambda: built.append(inc(delayed(1)) + 1))
    thread.start()
    thread.join()
    (node,) = built
    answers = []

    def elsewhere():
        answers.append(asyncio.run(awaited(node)))

    threads = [threading.Thread(target=elsewhere) for _ in range(3)]
    for each in threads:
        each.start()
    assert await node == 3
    for each in threads:
        await asyncio.to_thread(each.join)
    assert answers == [3, 3, 3]


async def awaited(node):
    """Await a node."""
    return await node


def chain():
    """Return the last of many nodes in a row."""
    node = delayed(0)
    for _ in range(MANY):
        node = node + 1
    return node


def fan_in():
    """Return a node that needs many."""
    return delayed(sum)([delayed(1) for _ in range(MANY)])


def fan_out():
    """Return a list of many nodes that need one, as a node."""
    source = delayed(1)
    return delayed(sum)([source + 0 for _ in range(MANY)])


@pytest.mark.parametrize("anyio_backend", ["asyncio"])  # once: these take seconds
@pytest.mark.parametrize("build", [chain, fan_in, fan_out])
async def test_large_graphs_need_no_recursion(build):
    """100 000 nodes are built, computed, listed, pickled, and collected."""
    node = build()
    assert await node == MANY
    assert len(node.graph) > MANY
    again = pickle.loads(pickle.dumps(node))
    assert await again == MANY
    last = weakref.ref(node)
    del node, again
    gc.collect()
    assert last() is None
