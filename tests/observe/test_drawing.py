"""Graphs as text: what Mermaid and Graphviz are given to draw."""

from __future__ import annotations

import re

import pytest

from asyncgraph import delayed, from_graph
from asyncgraph.observe.drawing.languages import draw, to_dot, to_mermaid
from tests.lazy.functions import add, inc

AWKWARD = {
    "quote": 'a"b',
    "backslash": "a\\b",
    "newline": "a\nb",
    "brackets": "[a](b){c}",
    "html": "<b>&amp;",
    "entity": "#35;",
    "semicolon": "a;b",
    "markdown": "*a* `b` ~c~",
    "mathematics": "$$a$$",
    "arrow": "a --> b",
    "word": "end",
    "unicode": "größe",
}


@pytest.fixture
def graph():
    """Return the graph of the mission: data, a call of it, a call of that and more data."""
    return from_graph({"x": 1, "y": (inc, "x"), "z": (add, "y", "x")}, "z").graph


def named(text):
    """Return the graph of one call with a name, of data that shows the same text."""
    shown = type("Shown", (), {"__repr__": lambda self: text})
    return delayed(max, name=text)(delayed(shown())).graph


def test_mermaid(graph):
    """Square for data, which shows its value; round for calls, which show their keys; an arrow an edge."""
    assert to_mermaid(graph) == (
        'flowchart BT\n    n0["1"]\n    n1("y")\n    n2("z")\n    n0 --> n1\n    n1 --> n2\n    n0 --> n2'
    )


def test_dot(graph):
    """The same as a digraph: boxes and ellipses."""
    assert to_dot(graph) == (
        "digraph {\n"
        "  rankdir=BT\n"
        '  "x" [label="1", shape=box]\n'
        '  "y" [label="y", shape=ellipse]\n'
        '  "z" [label="z", shape=ellipse]\n'
        '  "x" -> "y"\n'
        '  "y" -> "z"\n'
        '  "x" -> "z"\n'
        "}"
    )


@pytest.mark.parametrize("kind", AWKWARD)
def test_mermaid_labels_hold_nothing_special(kind):
    """Whatever a label says, it ends at its quote and shows the text: what is special is an entity."""
    text = AWKWARD[kind]
    graph = named(text)
    _, data, call, edge = to_mermaid(graph).split("\n")
    labels = [re.fullmatch(r'    n0\["(.*)"\]', data), re.fullmatch(r'    n1\("(.*)"\)', call)]
    for label in labels:
        assert not re.search(r'["<>&`*~$\\]', label[1].replace("<br>", ""))
    assert decoded(labels[0][1]) == text
    assert decoded(labels[1][1]) == graph.outputs[0]
    assert edge == "    n0 --> n1"


def test_mermaid_keeps_underscores_within_words():
    """Only where Markdown would take them for emphasis are they entities."""
    line = to_mermaid(named("read_all __init__ _x")).split("\n")[1]
    assert line == '    n0["read_all #95;#95;init#95;#95; #95;x"]'


@pytest.mark.parametrize("kind", AWKWARD)
def test_dot_strings_hold_nothing_special(kind):
    """Whatever a string says, it ends at its quote, stays on its line and shows the text."""
    text = AWKWARD[kind]
    graph = named(text)
    _, _, data, call, edge, _ = to_dot(graph).split("\n")
    string = r'"((?:[^"\\]|\\.)*)"'
    label = re.fullmatch(rf"  {string} \[label={string}, shape=box\]", data)[2]
    key, shown = re.fullmatch(rf"  {string} \[label={string}, shape=ellipse\]", call).groups()
    assert unquoted(label) == text
    assert unquoted(key) == unquoted(shown) == graph.outputs[0]
    assert re.fullmatch(rf"  {string} -> {string}", edge)[2] == key


def test_ids_are_unique():
    """Nodes with one hand-written key are drawn apart in both formats."""
    parts = [from_graph({"x": number}, "x") for number in range(3)]
    graph = delayed(sum)(parts).graph
    assert len(set(re.findall(r"(n\d+)[\[(]", to_mermaid(graph)))) == 4
    assert re.findall(r'"(x\S*)" \[', to_dot(graph)) == ["x", "x~2", "x~3"]


def test_a_dependency_is_drawn_once():
    """A node that is taken twice has one arrow."""
    node = inc(1)
    assert add(node, node).visualize().count("-->") == 1


def test_data_with_nodes_in_it_is_drawn_like_a_call():
    """It is put together in the run: it shows its key and has arrows."""
    node = delayed([inc.options(name="step")(1)], name="parts")
    first, second, edge = node.visualize().split("\n")[1:]
    assert first.startswith('    n0("step-')
    assert second == f'    n1("{node.key}")'
    assert edge == "    n0 --> n1"


def test_drawing_twice_gives_the_same_text(graph):
    """The text depends on the graph alone."""
    for format in ("dot", "mermaid"):
        again = from_graph(dict(graph), "z").graph
        assert draw(graph, format) == draw(again, format)


def test_an_unknown_format_is_refused(graph):
    """The message says which there are."""
    with pytest.raises(ValueError, match="there is no format 'svg': format= is one of 'dot', 'mermaid'"):
        draw(graph, "svg")


def test_a_graph_of_one_node_is_drawn():
    """It is one box."""
    assert to_mermaid(from_graph({"x": None}, "x").graph) == 'flowchart BT\n    n0["None"]'


def decoded(label):
    """Return the text that Mermaid shows for a label."""
    text = label.replace("<br>", "\n")
    return re.sub(r"#(\d+);", lambda match: chr(int(match[1])), text)


def unquoted(string):
    """Return the text that Graphviz shows for a string."""
    return re.sub(r"\\(.)", lambda match: "\n" if match[1] == "n" else match[1], string)
