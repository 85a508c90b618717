"""Drawings: what is drawn, which boxes become one shape, and how it is colored."""

from __future__ import annotations

import re
import tempfile
import xml.etree.ElementTree as ET

import pytest

from asyncgraph import Input, delayed, resource, when
from asyncgraph._graph.node import Site
from asyncgraph.observe import Mark, NodeInfo
from asyncgraph.observe.drawing import Drawing, boxes_of_graph, boxes_of_nodes, marks_of
from asyncgraph.observe.drawing.model import Details
from asyncgraph.observe.drawing.tally import seconds_in_words
from tests.lazy.functions import add, inc
from tests.observe.graphs import SVG, boxes, chain, fills_of, mission, pairwise, random_boxes

PLAIN = str.maketrans("\u00a0\u00d7", " x")


def labels_of(drawing):
    """Return what stands in the shapes, without the numbers of keys."""
    return [re.sub(r"-\d+$", "", shape.label.translate(PLAIN)) for shape in drawing.shapes]


def drawn(node, **options):
    """Return the drawing of a node's graph."""
    return Drawing(boxes_of_graph(node.graph), **options)


# --- boxes ---


def test_boxes_of_a_graph():
    """A box for each task: what it is, where it runs, what it needs; data shows its value."""
    x = delayed(1)
    node = when(inc(x) > 1, x, add(x, b=resource(tempfile.TemporaryDirectory)))
    found = boxes_of_graph(node.graph)
    assert [(box.name, box.kind, box.executor, box.dependencies) for box in found] == [
        ("int", "data", "loop", ()),
        ("inc", "function", "loop", (0,)),
        ("gt", "function", "loop", (1,)),
        ("TemporaryDirectory", "resource", "loop", ()),
        ("add", "function", "loop", (0, 3)),
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
    assert where == "on the event loop, inline"
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
    assert len(drawn(mission(50)).shapes) == 5


def test_siblings_become_one():
    """A graph of 1 502 nodes is five shapes."""
    assert labels_of(drawn(mission(500))) == ["fetch x 500", "parse x 500", "save x 500", "sum", "add"]


def test_without_collapse_all_is_drawn():
    """Each box is a shape of its own."""
    drawing = drawn(mission(60), collapse=False)
    assert len(drawing.shapes) == 182
    assert all(len(shape.members) == 1 for shape in drawing.shapes)


def test_a_tree_becomes_its_levels():
    """Merging in pairs halves the number each time."""
    assert labels_of(drawn(pairwise(128))) == [
        "fetch x 128",
        "merge x 64",
        "merge x 32",
        "merge x 16",
        "merge x 8",
        "merge x 4",
        "merge x 2",
        "merge",
    ]


def test_a_long_chain_is_one_shape_with_a_loop():
    """Calls of one function, each of what the one before gives."""
    drawing = drawn(chain(10_000))
    assert labels_of(drawing) == ["0", "inc x 10 000"]
    assert [(edge.start, edge.end, edge.pairs) for edge in drawing.edges] == [(0, 1, 1), (1, 1, 9_999)]


def test_chains_of_one_function_side_by_side():
    """What comes before and after them is kept apart."""
    nodes = [delayed(abs)(chain(200)) for _ in range(3)]
    assert labels_of(drawn(delayed(sum)(nodes))) == ["int x 3", "inc x 600", "abs x 3", "sum"]


def test_a_fold_is_drawn_by_function():
    """Where steps are too many, they do not count."""
    node = delayed(0)
    for number in range(400):
        node = add(node, inc(number))
    assert labels_of(drawn(node)) == ["0", "inc x 400", "add x 400"]


def test_siblings_that_go_different_ways_are_kept_apart():
    """The same function, but what takes their values differs."""
    ones = [inc(number) for number in range(100)]
    others = [inc(number) for number in range(80)]
    node = delayed(max)(delayed(sum)(ones), delayed(len)(others))
    assert labels_of(drawn(node)) == ["inc x 100", "sum", "inc x 80", "len", "max"]


def test_many_functions_are_lumped_together():
    """Of 400 different ones, no picture can show all."""
    nodes = [delayed(abs, name=f"f{number}")(-1) for number in range(400)]
    assert labels_of(drawn(delayed(sum)(nodes))) == ["functions x 400", "sum"]


@pytest.mark.parametrize("seed", range(8))
def test_no_picture_has_too_many_shapes(seed):
    """Whatever the graph: each box is in one shape, and there are at most 150 of them."""
    drawing = Drawing(random_boxes(seed, 700))
    assert len(drawing.shapes) <= 150
    assert sorted(number for shape in drawing.shapes for number in shape.members) == list(range(700))
    pairs = [(edge.start, edge.end) for edge in drawing.edges]
    assert len(set(pairs)) == len(pairs)


# --- colors ---


MARKS = {
    "f0-0": Mark("finished", 0.5, 0),
    "f1-1": Mark("running", 2.5, 1),
    "f2-2": Mark("failed", 0.25, 2),
}


def test_executors_have_colors_and_a_legend():
    """The legend tells of those that there are, if there are several."""
    svg = drawn(mission(1)).svg()
    fills = fills_of(svg)
    fetch, parse, save, total, more = fills.values()
    assert len({fetch, parse, save}) == 3
    assert (save, fetch) == (total, more)
    assert legend_of(svg) == ["loop", "thread", "process"]
    assert legend_of(drawn(chain(3)).svg()) == []


def test_states():
    """What has no mark is waiting; marks of what is not drawn do not count."""
    drawing = Drawing(boxes([(), (0,), (1,), (2,)]))
    paint = {**MARKS, "elsewhere": Mark("cancelled")}
    svg = drawing.svg(color="state", paint=paint)
    assert legend_of(svg) == ["waiting", "running", "finished", "failed"]
    assert len(set(fills_of(svg).values())) == 4


def test_marks_by_number():
    """As a dashboard has them: the picture is the same."""
    drawing = Drawing(boxes([(), (0,), (1,), (2,)]))
    by_number = dict(enumerate(MARKS.values()))
    for color in ("state", "duration", "order"):
        assert drawing.svg(color=color, paint=by_number) == drawing.svg(color=color, paint=MARKS)


def test_a_shape_of_many_shows_what_matters_most():
    """A failure before what is running, and that before what is finished; one that is unfinished is not."""
    drawing = Drawing(boxes([()] * 200, names=["f"] * 200))
    finished = {number: Mark("finished", 0.1, number) for number in range(200)}
    for paint, state in [
        ({}, "waiting"),
        (finished, "finished"),
        ({0: Mark("finished")}, "waiting"),
        ({0: Mark("ready")}, "ready"),
        (finished | {3: Mark("running")}, "running"),
        (finished | {3: Mark("running"), 4: Mark("failed")}, "failed"),
    ]:
        assert legend_of(drawing.svg(color="state", paint=paint)) == [state]
    (lines,) = drawing.painted("state", finished | {3: Mark("failed", 1.0, 3)}).lines
    assert lines == ("199 finished, 1 failed", "took 20.90 s together, the longest 1.00 s")
    (lines,) = drawing.painted("duration", {7: Mark("finished", 0.5, 0)}).lines
    assert lines == ("199 waiting, 1 finished", "took 500 ms")


def test_durations_and_orders_are_scales():
    """From little to much; what was not begun has no place on them."""
    drawing = Drawing(boxes([(), (0,), (1,), (2,)]))
    duration = drawing.svg(color="duration", paint=MARKS)
    assert legend_of(duration) == ["250 ms", "2.50 s", "not begun"]
    order = drawing.svg(color="order", paint=MARKS)
    assert legend_of(order) == ["1st to begin", "3rd to begin", "not begun"]
    assert len(set(fills_of(duration).values())) == len(set(fills_of(order).values())) == 4
    assert legend_of(drawing.svg(color="order", paint={})) == ["not begun"]
    assert legend_of(drawing.svg(color="duration", paint={0: Mark("finished", 0.001)})) == [
        "1 ms",
        "not begun",
    ]


def test_tooltips_tell_of_the_run():
    """State, duration, and when it began."""
    drawing = Drawing(boxes([(), (0,), (1,)]))
    assert drawing.painted("executor", MARKS).lines[1] == ("running", "took 2.50 s", "number 2 to begin")
    assert "number 2 to begin</title>" in drawing.svg(color="state", paint=MARKS)


def test_data_that_no_run_tells_of_has_no_state():
    """It was there from the beginning."""
    data, call = drawn(inc(delayed(1))).painted("state", {}).fills
    assert data != call


@pytest.mark.parametrize(
    ("color", "paint", "message"),
    [
        (
            "colour",
            None,
            "there is no color 'colour': color= is one of 'executor', 'state', 'duration', 'order'",
        ),
        (
            "state",
            None,
            "color='state' shows what a run has done, and there is none: give run= its Recording",
        ),
        ("state", {0: Mark("done")}, "there is no state 'done': a Mark's is one of 'waiting', 'ready'"),
    ],
)
def test_colors_that_cannot_be(color, paint, message):
    """The message says what there is, or what is missing."""
    with pytest.raises(ValueError, match=message):
        Drawing(boxes([()])).svg(color=color, paint=paint)


def test_what_has_marks():
    """A recording of a run, or the marks themselves; anything else is refused."""

    class Recording:
        def marks(self):
            return MARKS

    assert marks_of(Recording()) is marks_of(MARKS) is MARKS
    for wrong in (3, "run", [Mark("ready")]):
        with pytest.raises(TypeError, match="run= takes a Recording of a run, or a mapping of"):
            marks_of(wrong)


def test_seconds_in_words():
    """Three digits or so, whatever the size."""
    assert [
        seconds_in_words(each) for each in (0, 2e-6, 0.9994e-3, 0.9996e-3, 0.9994, 0.9996, 99.5, 100, 3600)
    ] == [
        "0 µs",
        "2 µs",
        "999 µs",
        "1 ms",
        "999 ms",
        "1.00 s",
        "99.50 s",
        "1 min 40 s",
        "60 min 0 s",
    ]


def legend_of(svg):
    """Return the words of the legend: the texts outside of the shapes."""
    groups = ET.fromstring(svg).findall(f"{SVG}g")
    return [each.text for each in groups[-1].findall(f"{SVG}text")] if len(groups) > 1 else []
