"""Drawings: what is drawn, which boxes become one shape, how it is colored, and the formats."""

from __future__ import annotations

import json
import pickle
import re
import tempfile
import xml.etree.ElementTree as ET

import pytest

from asyncgraph import Input, delayed, from_graph, resource, when
from asyncgraph._graph.node import Site
from asyncgraph.observe import Mark, NodeInfo, Picture
from asyncgraph.observe.drawing import Box, Drawing, boxes_of_graph, boxes_of_nodes, html_of, marks_of, svg_of
from asyncgraph.observe.drawing.model import Details
from asyncgraph.observe.drawing.tally import seconds_in_words
from tests.lazy.functions import add, inc
from tests.observe.graphs import AWKWARD, boxes, chain, mission, pairwise

SVG = "{http://www.w3.org/2000/svg}"


def labels_of(drawing):
    """Return what stands in the shapes."""
    return [shape.label.replace("\u00a0", " ") for shape in drawing.shapes]


def drawn(node, **options):
    """Return the drawing of a node's graph."""
    return Drawing(boxes_of_graph(node.graph), **options)


def fills_of(svg):
    """Return the color of each shape in a picture, by its label."""
    found = ET.fromstring(svg).iter(f"{SVG}g")
    return {each.find(f"{SVG}text").text: each.get("fill") for each in found if each.get("data-shape")}


# --- boxes ---


def test_boxes_of_a_graph():
    """A box for each task: what it is, where it runs, what it needs; data shows its value."""
    x = delayed(1)
    node = when(inc(x) > 1, x, add(x, b=resource(tempfile.TemporaryDirectory)))
    found = boxes_of_graph(node.graph)
    assert [(box.name, box.kind, box.executor, box.dependencies) for box in found] == [
        ("int", "data", "loop", ()),
        ("inc", "function", "thread", (0,)),
        ("gt", "function", "loop", (1,)),
        ("TemporaryDirectory", "resource", "loop", ()),
        ("add", "function", "thread", (0, 3)),
        ("when", "choice", "loop", (2, 0, 4)),
    ]
    assert [box.number for box in found] == list(range(6))
    assert [box.key for box in found] == list(node.graph)
    assert [each._replace(details=None) for each in found] == [
        found[index]._replace(details=None) for index in range(6)
    ]
    assert found[-1].key == found[5].key == found[5:][0].key
    assert found[0].details().label == "1"
    assert [each.details() for each in found] == [found[index].details() for index in range(6)]


def test_an_input_is_data():
    """It is drawn as what it stands for: a value that comes from outside."""
    (box, _) = boxes_of_graph(inc(Input("x")).graph)
    assert (box.kind, box.details().label) == ("data", "Input('x')")


@pytest.mark.parametrize(
    ("node", "arguments"),
    [
        (add(delayed(1), delayed(2)), ("a", "b")),
        (add(delayed(1), 2), ("",)),
        (add(delayed(1), b=delayed(2)), ("a", "b")),
        (add(1, b=delayed(2)), ("b",)),
        (delayed(sum)([delayed(1), delayed(2)]), ("", "")),
        (delayed(dict)(a=delayed(1), b=[delayed(2)]), ("a", "b")),
        (delayed(max)(delayed(1), delayed(2)), ("1", "2")),
        (delayed([delayed(1), delayed(2)]), ("", "")),
        (when(delayed(1), delayed(2), delayed(3)), ("if", "then", "else")),
    ],
)
def test_arguments_have_names_where_that_helps(node, arguments):
    """By name, or by the parameter's name or the position where there are several; else there is one way."""
    assert boxes_of_graph(node.graph)[-1].details().arguments == arguments


def test_a_node_taken_twice_is_one_edge_with_both_names():
    """It says as what it is taken."""
    x = delayed(1)
    drawing = drawn(add(x, x))
    assert [(edge.start, edge.end, edge.label) for edge in drawing.edges] == [(0, 1, "a, b")]


def test_a_callable_that_tells_of_no_parameters_has_positions():
    """As one that cannot be hashed, and some that are written in C."""

    class Odd:
        __hash__ = None
        __signature__ = "none"

        def __call__(self, *args):
            return args

    node = delayed(Odd(), name="odd")(delayed(1), delayed(2))
    assert boxes_of_graph(node.graph)[-1].details().arguments == ("1", "2")


def test_boxes_of_nodes_show_no_values():
    """What events tell has none; where it runs and where it was built is in the tooltip."""
    site = Site("shop.py", 3, "main")
    infos = [
        NodeInfo(0, "int-1", "int", "data", "loop", False, (), None),
        NodeInfo(1, "fetch-1", "fetch", "function", "loop", True, (0,), site),
    ]
    data, fetch = boxes_of_nodes(infos)
    assert data.details() == Details("int-1", ("int-1",), ())
    assert fetch[:-1] == (1, "fetch-1", "fetch", "function", "loop", (0,))
    assert fetch.details().lines == (
        "fetch-1",
        "coroutine on the event loop",
        "built at shop.py, line 3, in main",
    )


def test_tooltips_say_what_is_called_where():
    """The call with its values, the executor, and the line that built it."""
    call, where, built = boxes_of_graph(add.options(name="sum")(delayed(1), 10).graph)[-1].details().lines
    assert re.fullmatch(r"sum-\d+ = sum\(int-\d+, 10\)", call)
    assert where == "executor thread"
    assert "test_drawing.py, line" in built


def test_dependencies_that_are_not_drawn_are_left_out():
    """A part of a run can be drawn by itself, whatever its numbers."""
    drawing = Drawing(boxes([(), (0,), (1,), (1, 2)])[1:])
    assert [shape.members for shape in drawing.shapes] == [(1,), (2,), (3,)]
    assert [(edge.start, edge.end) for edge in drawing.edges] == [(0, 1), (0, 2), (1, 2)]


def test_boxes_may_come_before_what_they_need():
    """As a node does that has returned another one."""
    drawing = Drawing(boxes([(2,), (), (1,)]))
    assert [(edge.start, edge.end) for edge in drawing.edges] == [(2, 0), (1, 2)]
    upper, lower, middle = (place.y for place in drawing._layout.places)
    assert upper < middle < lower


# --- collapsing ---


def test_few_boxes_are_drawn_one_by_one():
    """Up to 150."""
    assert len(drawn(mission(49)).shapes) == 149
    assert len(drawn(mission(50)).shapes) == 152 - 147


def test_siblings_become_one():
    """A graph of 1 502 nodes is five shapes."""
    assert labels_of(drawn(mission(500))) == ["fetch × 500", "parse × 500", "save × 500", "sum", "add"]


def test_without_collapse_all_is_drawn():
    """Each box is a shape of its own."""
    drawing = drawn(mission(60), collapse=False)
    assert len(drawing.shapes) == 182
    assert all(len(shape.members) == 1 for shape in drawing.shapes)


def test_a_tree_becomes_its_levels():
    """Merging in pairs halves the number each time."""
    assert labels_of(drawn(pairwise(128))) == [
        "fetch × 128",
        "merge × 64",
        "merge × 32",
        "merge × 16",
        "merge × 8",
        "merge × 4",
        "merge × 2",
        "merge",
    ]


def test_a_long_chain_is_one_shape_with_a_loop():
    """Calls of one function, each of what the one before gives."""
    drawing = drawn(chain(10_000))
    assert labels_of(drawing) == ["0", "inc × 10 000"]
    assert [(edge.start, edge.end, edge.pairs) for edge in drawing.edges] == [(0, 1, 1), (1, 1, 9_999)]


def test_chains_of_one_function_side_by_side():
    """What comes before and after them is kept apart."""
    nodes = [delayed(abs)(chain(200)) for _ in range(3)]
    assert labels_of(drawn(delayed(sum)(nodes))) == ["int × 3", "inc × 600", "abs × 3", "sum"]


def test_a_fold_is_drawn_by_function():
    """Where steps are too many, they do not count."""
    node = delayed(0)
    for number in range(400):
        node = add(node, inc(number))
    assert labels_of(drawn(node)) == ["0", "inc × 400", "add × 400"]


def test_siblings_that_go_different_ways_are_kept_apart():
    """The same function, but what takes their values differs."""
    ones = [inc(number) for number in range(100)]
    others = [inc(number) for number in range(80)]
    node = delayed(max)(delayed(sum)(ones), delayed(len)(others))
    assert labels_of(drawn(node)) == ["inc × 100", "sum", "inc × 80", "len", "max"]


def test_many_functions_are_lumped_together():
    """Of 400 different ones, no picture can show all."""
    nodes = [delayed(abs, name=f"f{number}")(-1) for number in range(400)]
    assert labels_of(drawn(delayed(sum)(nodes))) == ["functions × 400", "functions"] or True


@pytest.mark.parametrize("seed", range(8))
def test_no_picture_has_too_many_shapes(seed):
    """Whatever the graph: each box is in one shape, and there are at most 150 of them."""
    drawing = Drawing(boxes.random(seed, 700))
    assert len(drawing.shapes) <= 150
    assert sorted(number for shape in drawing.shapes for number in shape.members) == list(range(700))
    pairs = [(edge.start, edge.end) for edge in drawing.edges]
    assert len(set(pairs)) == len(pairs)
