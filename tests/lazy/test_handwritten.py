"""Graphs written by hand: what their entries mean, and what is wrong with those that cannot be run."""

from __future__ import annotations

import operator
from collections import UserDict
from dataclasses import dataclass
from typing import Any, NamedTuple

import pytest

from asyncgraph import Delayed, delayed, from_graph
from asyncgraph.errors import CycleError, GraphError, MissingKeyError
from tests.lazy.functions import Account, add, fetch, inc, plain


@dataclass
class Box:
    item: Any


class Pair(NamedTuple):
    left: Any
    right: Any


LIST = [1, [2]]
ENTRIES = {
    "data": (5, 5),
    "none": (None, None),
    "call": ((operator.add, 1, 2), 3),
    "call without arguments": ((dict,), {}),
    "reference": ("one", 1),
    "reference in a call": ((operator.add, "one", "two"), 3),
    "delayed function": ((inc, "one"), 2),
    "async function": ((fetch, "two"), 2),
    "bound method": ((Account(7).doubled,), 14),
    "delayed method": ((Account(7).plus, "two"), 9),
    "lambda": ((lambda x: x * 10, "two"), 20),
    "nested call": ((plain, (operator.add, "one", (inc, "one"))), 6),
    "list": (["one", [["two"]], 3], [1, [[2]], 3]),
    "list of calls": ([(inc, "one"), (inc, 5)], [2, 6]),
    "tuple of data": (("x", "one"), ("x", 1)),
    "tuple": (("one", 5), (1, 5)),
    "empty tuple": ((), ()),
    "dict values": ({"a": "one", "b": [(inc, "two")]}, {"a": 1, "b": [3]}),
    "dict keys are data": ({"one": "one", "two": 5}, {"one": 1, "two": 5}),
    "other strings": (["three", "One", ""], ["three", "One", ""]),
    "sets are data": ({"one"}, {"one"}),
    "node": (delayed(1) + 1, 2),
    "node in a tuple": ((delayed(3), "one"), (3, 1)),
    "node in a call": ((operator.add, delayed(3), "one"), 4),
    "class": ((Account, "two"), Account(2)),
    "function as data": ([len, "one"], [len, 1]),
}


@pytest.mark.parametrize("name", ENTRIES)
async def test_what_an_entry_means(name):
    """Tuples that begin with a callable are calls, strings that are keys are references, the rest is data."""
    entry, expected = ENTRIES[name]
    node = from_graph({"one": 1, "two": (inc, "one"), "entry": entry, "not needed": 1 / 3}, "entry")
    assert isinstance(node, Delayed)
    assert node.key == "entry"
    assert await node == expected


async def test_data_is_passed_on_as_it_is():
    """A list in which nothing refers to anything stays the same object, within others too."""
    assert await from_graph({"x": LIST}, "x") is LIST
    assert (await from_graph({"x": LIST, "y": [LIST, "x"]}, "y"))[0] is LIST


async def test_the_readme_graph():
    """The graph of the mission: data, a call, a call with data, and its dictionary."""
    node = from_graph({"x": 1, "y": (inc, "x"), "z": (add, "y", 10)}, "z")
    assert {key: repr(task) for key, task in node.graph.items()} == {
        "x": "1",
        "y": "inc(x)",
        "z": "add(y, 10)",
    }
    assert await node == 12


async def test_aliases_and_shared_keys():
    """A key may stand for another, and one that several need is one node."""
    node = from_graph({"a": (inc, 0), "b": "a", "c": "b", "d": (operator.add, "c", "a")}, "d")
    assert await node == 2
    assert list(node.graph) == ["a", "b", "c", "d"]


async def test_only_what_is_needed_is_looked_at():
    """Circles elsewhere do no harm."""
    graph = {"a": "b", "b": "a", "x": (inc, 1)}
    assert await from_graph(graph, "x") == 2


async def test_any_mapping_will_do():
    """The graph need not be a dict."""
    assert await from_graph(UserDict({"x": 1, "y": (inc, "x")}), "y") == 2


@pytest.mark.parametrize(
    ("graph", "cycle"),
    [
        ({"a": (inc, "a")}, ("a", "a")),
        ({"a": "a"}, ("a", "a")),
        ({"a": (inc, "b"), "b": [("c", 1)], "c": (add, 1, "a")}, ("a", "b", "c", "a")),
        ({"a": (inc, "b"), "b": {"k": "c"}, "c": (add, "d", "b"), "d": 1}, ("b", "c", "b")),
    ],
    ids=["call", "alias", "three", "behind"],
)
def test_a_circle_is_named_in_order(graph, cycle):
    """The message and the attribute list the keys as they refer to each other, the first one again last."""
    with pytest.raises(CycleError) as caught:
        from_graph(graph, "a")
    assert caught.value.cycle == cycle
    assert str(caught.value) == f"the graph goes round in a circle: {' -> '.join(cycle)}"
    assert isinstance(caught.value, GraphError)


def test_a_missing_key_is_named_with_one_that_is_like_it():
    """So that a slip of the pen is seen."""
    with pytest.raises(MissingKeyError) as caught:
        from_graph({"total": 1, "other": 2}, "totl")
    assert str(caught.value) == "there is no key 'totl' in the graph; did you mean 'total'?"
    assert caught.value.missing == "totl"
    with pytest.raises(MissingKeyError, match=r"there is no key 'x' in the graph$"):
        from_graph({"total": 1}, "x")


def test_a_task_that_refers_to_a_missing_key():
    """In a graph that was taken apart the message also says who refers to it."""
    node = from_graph({"data": 1, "y": (inc, "data")}, "y")
    graph = dict(node.graph)
    del graph["data"]
    with pytest.raises(MissingKeyError, match="there is no key 'data' in the graph, which 'y' refers to"):
        from_graph({"date": 1, **graph}, "y")


@pytest.mark.parametrize(
    ("graph", "key", "message"),
    [
        ([1], "x", r"from_graph takes a mapping of keys to tasks, not \[1\]"),
        ({"x": 1}, 3, "the keys of a graph are strings, not 3"),
        ({"x": 1, 3: 2}, "x", "the keys of a graph are strings, not 3"),
        ({"x": 1}, None, "the keys of a graph are strings, not None"),
    ],
)
def test_what_is_no_graph(graph, key, message):
    """Graph and keys of the wrong type are a TypeError that says what is right."""
    with pytest.raises(TypeError, match=message):
        from_graph(graph, key)


@pytest.mark.parametrize("kind", ["list", "dict"])
def test_an_entry_that_contains_itself(kind):
    """It is refused by name of its type, instead of running for ever."""
    entry = [1] if kind == "list" else {}
    entry.append([entry]) if kind == "list" else entry.update(k=[entry])
    with pytest.raises(ValueError, match=f"the graph holds a {kind} that contains itself"):
        from_graph({"x": entry}, "x")


def test_a_call_that_is_none():
    """What `delayed` refuses is refused here."""
    with pytest.raises(TypeError, match="generator function"):
        from_graph({"x": (numbers, 1)}, "x")


def numbers(count):
    """Count, as a generator, which no node can be."""
    yield from range(count)


@delayed(executor="loop")
def identity(*args, **kwargs):
    """Return what it is called with."""
    return args if not kwargs else (args, kwargs)


@pytest.mark.parametrize(
    "build",
    [
        lambda a: add(inc(a), b=a) * 2,
        lambda a: delayed("abcdef")[a : a + 3].upper().split("B"),
        lambda a: sum(delayed(lambda: (1, 2), executor="loop", nout=2)()) + a,
        lambda a: delayed({"k": [a, (a,)], a: Box(a), "s": {a}, "p": Pair(a, 1)}),
        lambda a: identity((len, "abc"), [str, a], "inc-1", x=(a, "a"), y={"a": a}),
        lambda a: delayed(list)(delayed(map)(str, [a, 2])),
        lambda a: identity(identity, a, Box((len, a))),
        lambda a: divmod(a + 10, 3),
        fetch.options(name="got"),
    ],
    ids=[
        "call",
        "slice",
        "nout",
        "containers",
        "tuples and strings",
        "callable first",
        "objects",
        "divmod",
        "name",
    ],
)
async def test_the_tasks_of_a_graph_make_the_node_again(build):
    """`from_graph(node.graph, node.key)` gives an equal node; there a string is never a key."""
    node = build(from_graph({"a": 1}, "a"))
    for graph in (node.graph, dict(node.graph)):
        again = from_graph(graph, node.key)
        assert again is not node
        assert again.key == node.key
        assert repr(again.graph) == repr(node.graph)
        assert [task.site for task in again.graph.values()] == [task.site for task in node.graph.values()]
        value, expected = await again, await node
        assert repr(value) == repr(expected)


async def test_tasks_and_entries_can_be_mixed():
    """A graph may be taken apart, changed by hand, and put together again."""
    graph = dict(from_graph({"x": 1, "y": (inc, "x"), "z": (add, "y", 10)}, "z").graph)
    graph["x"] = 100
    graph["w"] = (operator.neg, "z")
    assert await from_graph(graph, "w") == -111


@pytest.mark.parametrize("anyio_backend", ["asyncio"])  # once: it takes seconds
async def test_a_chain_of_100_000_keys_needs_no_recursion():
    """Nor does a circle of as many."""
    count = 100_000
    graph = {"k0": 0} | {f"k{number}": (inc, f"k{number - 1}") for number in range(1, count)}
    assert await from_graph(graph, f"k{count - 1}") == count - 1
    graph["k0"] = f"k{count - 1}"
    with pytest.raises(CycleError) as caught:
        from_graph(graph, "k5")
    assert len(caught.value.cycle) == count + 1


async def test_entries_nested_10_000_deep_need_no_recursion():
    """Lists in lists, with a reference at the bottom; and calls in calls."""
    entry, call = "x", "x"
    for _ in range(10_000):
        entry, call = [entry], (inc, call)
    value = await from_graph({"x": 7, "y": entry}, "y")
    for _ in range(10_000):
        (value,) = value
    assert value == 7
    assert await from_graph({"x": 7, "y": call}, "y") == 10_007
