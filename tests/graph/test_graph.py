"""Graphs as users see them: mappings of keys to tasks that read like calls."""

from __future__ import annotations

import copy
from collections.abc import Mapping

import pytest

from asyncgraph._graph.graph import Graph, Ref
from asyncgraph._graph.node import Site, site_of
from tests.graph.nodes import choice, data, input_node, node


def keyed(key, built):
    """Give a node a key by hand."""
    built._key = key
    return built


@pytest.fixture
def graph():
    """Return a graph of four tasks: data, a call, a call with containers, a call with keywords."""
    x = keyed("x", data([1, 2]))
    y = keyed("y", node("inc", x))
    z = keyed("z", node("add", [y, (x, "text")], {"k": y}))
    return Graph([keyed("out", node("show", z, 3, file=y, end="!"))])


def test_a_graph_is_a_mapping(graph):
    """It has keys, items, length, `in` and `get`, dependencies first, and gives a plain dictionary."""
    assert isinstance(graph, Mapping)
    assert list(graph) == list(graph.keys()) == ["x", "y", "z", "out"]
    assert (len(graph), "y" in graph, "other" in graph) == (4, True, False)
    assert graph.get("other") is None
    with pytest.raises(KeyError):
        graph["other"]
    assert {key: repr(task) for key, task in dict(graph).items()} == {
        "x": "[1, 2]",
        "y": "inc(x)",
        "z": "add([y, (x, 'text')], {'k': y})",
        "out": "show(z, 3, file=y, end='!')",
    }
    assert graph.outputs == ("out",)


def test_a_graph_is_read_only(graph):
    """Nothing can be put into it."""
    with pytest.raises(TypeError):
        graph["new"] = 1


def test_a_graph_prints_one_task_a_line(graph):
    """It prints as a dictionary does, but readably."""
    assert repr(graph) == (
        "{\n"
        "  'x': [1, 2],\n"
        "  'y': inc(x),\n"
        "  'z': add([y, (x, 'text')], {'k': y}),\n"
        "  'out': show(z, 3, file=y, end='!'),\n"
        "}"
    )


def test_a_task_says_what_it_is(graph):
    """It has the function, the arguments with references in them, the name, the executor, what it needs."""
    task = graph["out"]
    assert (task.function, task.name, task.executor) == (max, "show", "thread")
    assert (task.args, task.kwargs) == ((Ref("z"), 3), {"file": Ref("y"), "end": "!"})
    assert task.dependencies == ("z", "y")
    assert isinstance(task.site, Site)
    assert task.site.file == __file__
    assert graph["z"].args == ([Ref("y"), (Ref("x"), "text")], {"k": Ref("y")})
    assert graph["z"].dependencies == ("y", "x")


def test_data_is_a_task_without_a_function(graph):
    """Its one argument is the value."""
    assert (graph["x"].function, graph["x"].args, graph["x"].dependencies) == (None, ([1, 2],), ())


def test_references_are_equal_by_key():
    """They can be compared, and be members of sets and keys of dictionaries."""
    assert Ref("a") == Ref("a")
    assert Ref("a") != Ref("b")
    assert Ref("a") != "a"
    assert {Ref("a"), Ref("a")} == {Ref("a")}


def test_equal_keys_are_told_apart():
    """Of nodes with one hand-written key the first keeps it and the others get numbers."""
    first, second, third = (keyed("x", data(number)) for number in range(3))
    taken = keyed("x~3", data(9))
    graph = Graph([node("f", first, taken, second, third)])
    assert [repr(graph[key]) for key in ("x", "x~2", "x~3", "x~4")] == ["0", "1", "9", "2"]
    assert repr(graph[graph.outputs[0]]) == "f(x, x~3, x~2, x~4)"


def test_the_requested_node_keeps_its_key():
    """Where an inner node has the same key, it is the inner one that gets a number."""
    graph = Graph([keyed("total", node("f", keyed("total", data(1))))])
    assert {key: repr(task) for key, task in graph.items()} == {"total~2": "1", "total": "f(total~2)"}
    assert graph.outputs == ("total",)


def test_many_equal_keys_cost_no_search():
    """10 000 nodes with one key are numbered in one pass."""
    graph = Graph([node("f", [keyed("x", data(number)) for number in range(10_000)])])
    assert list(graph)[:3] == ["x", "x~2", "x~3"]
    assert list(graph)[-2] == "x~10000"


def test_several_outputs():
    """A graph may be made for several nodes, and one may be asked for twice."""
    a = keyed("a", data(1))
    b = keyed("b", node("f", a))
    graph = Graph([b, a, b])
    assert (graph.outputs, list(graph)) == (("b", "a", "b"), ["a", "b"])


@pytest.mark.parametrize(
    ("value", "longest"),
    [
        ("x" * 1000, 80),
        (list(range(1000)), 50),
        (dict.fromkeys(range(1000), "x" * 1000), 1000),
        (b"x" * 1000, 12),
        (frozenset(range(1000)), 60),
        ([[[[[[[[[[1]]]]]]]]]], 30),
        (10**500, 45),
        (type("Long", (), {"__repr__": lambda self: "x" * 1000})(), 80),
    ],
    ids=["text", "list", "dict", "bytes", "set", "nested", "int", "other"],
)
def test_long_values_are_cut(value, longest):
    """A value is shown, not dumped: what is long is cut."""
    text = shown(data(value))
    assert 3 < len(text) <= longest
    assert "..." in text or "<" in text


def test_short_values_are_shown_whole():
    """Bytes, text and functions are shown as one would write them."""
    assert shown(node("f", b"short", "text", ..., None)) == "f(b'short', 'text', Ellipsis, None)"
    assert shown(node("f", pytest.raises, len, "".join, key=dict)) == "f(raises, len, str.join, key=dict)"


def test_a_value_that_cannot_be_shown_is_named():
    """A repr that raises does not keep the graph from being printed."""

    class Broken:
        def __repr__(self):
            raise ValueError("no")

    assert shown(node("f", Broken())).startswith("f(<Broken instance at ")


def test_a_graph_can_be_copied():
    """A copy has the same keys, tasks and outputs."""
    a = keyed("a", data(1))
    graph = Graph([keyed("b", node("f", a, [a])), a])
    for again in (copy.copy(graph), copy.deepcopy(graph)):
        assert repr(again) == repr(graph) == "{\n  'a': 1,\n  'b': f(a, [a]),\n}"
        assert again.outputs == graph.outputs


def test_the_site_is_that_of_the_node(graph):
    """A task has the site of its node, or None."""
    built = node("f")
    key = Graph([built]).outputs[0]
    assert Graph([built])[key].site == site_of(built)
    built._code = None
    assert Graph([built])[key].site is None


def shown(built):
    """Return how the task of a node reads."""
    graph = Graph([built])
    return repr(graph[graph.outputs[0]])


def test_an_input_is_shown_as_one():
    """Its name is all that it has."""
    assert repr(Graph([input_node("url")])["url-1"]) == "Input('url')"


def test_a_choice_shows_what_it_is_between():
    """Both sides are in the graph, before the choice; for pictures, they count among what it needs."""
    shared = keyed("shared", node("load"))
    one, other = keyed("one", node("halve", shared)), keyed("other", node("refuse"))
    graph = Graph([keyed("out", node("show", keyed("chosen", choice(shared, one, other))))])
    assert list(graph) == ["shared", "one", "other", "chosen", "out"]
    assert repr(graph["chosen"]) == "when(shared, one, other)"
    assert graph["chosen"].is_choice
    assert not graph["out"].is_choice
    rows = [(key, function.name, needed) for key, function, needed in graph.rows()]
    assert rows[-2:] == [("chosen", "when", (0, 1, 2)), ("out", "show", (3,))]


def test_a_branch_reads_as_its_node():
    """In the arguments of a choice."""
    chosen = choice(node("load"), node("halve"), node("refuse"))
    assert list(map(repr, chosen._args[1:])) == [repr(each.node) for each in chosen._args[1:]]


def test_a_choice_without_a_condition_that_is_a_node():
    """Its sides come before it all the same."""
    one, other = keyed("one", node("halve")), keyed("other", node("refuse"))
    assert list(Graph([keyed("chosen", choice(1, one, other))])) == ["one", "other", "chosen"]
