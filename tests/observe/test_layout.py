"""The layout: layers, crossings, places; on graphs of all kinds."""

from __future__ import annotations

import itertools
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from asyncgraph.observe.drawing.alignment import aligned
from asyncgraph.observe.drawing.crossings import crossings_of, ordered
from asyncgraph.observe.drawing.labels import label_places
from asyncgraph.observe.drawing.layers import acyclic, layers_of
from asyncgraph.observe.drawing.layout import Size, layout_of
from asyncgraph.observe.drawing.measure import readable, shortened, width_of
from tests.observe.graphs import AWKWARD


@st.composite
def graphs(draw, *, with_circles=False):
    """Return a number of vertices, and pairs of them; a pair begins with the smaller, unless circles go."""
    number = draw(st.integers(1, 30))
    vertex = st.integers(0, number - 1)
    pairs = draw(st.lists(st.tuples(vertex, vertex), max_size=60, unique=True))
    if not with_circles:
        pairs = list(dict.fromkeys((min(pair), max(pair)) for pair in pairs if pair[0] != pair[1]))
    return number, pairs


@given(graphs(with_circles=True))
def test_circles_are_opened(graph):
    """Each pair stays, or is turned round; what is left has no circle, and what had none is as it was."""
    number, pairs = graph
    pairs = [pair for pair in pairs if pair[0] != pair[1]]
    opened = acyclic(number, pairs)
    assert {frozenset(pair) for pair in opened} == {frozenset(pair) for pair in pairs}
    layers = layers_of(number, opened)
    assert all(layers[start] < layers[end] for start, end in opened)


@given(graphs())
def test_what_has_no_circle_stays_as_it_is(graph):
    """No pair is turned round without need."""
    number, pairs = graph
    assert acyclic(number, pairs) == pairs


def test_what_is_needed_late_stands_near_what_needs_it():
    """In a chain of four: data for the last call is just below it, with what is made of it alone."""
    pairs = [(0, 1), (1, 2), (2, 3), (4, 3), (5, 6), (6, 3)]
    assert layers_of(7, pairs) == [0, 1, 2, 3, 2, 1, 2]


def test_what_several_need_stays_below_all():
    """It is one layer below the lowest of them."""
    assert layers_of(5, [(0, 1), (1, 2), (2, 3), (4, 2), (4, 3)]) == [0, 1, 2, 3, 1]


@given(st.integers(1, 8), st.integers(1, 8), st.data())
def test_crossings_are_counted(lower, upper, data):
    """As by comparing each edge with each other."""
    places = st.tuples(st.integers(0, lower - 1), st.integers(0, upper - 1))
    edges = data.draw(st.lists(places, unique=True, max_size=20))
    above = [[lower + end for start, end in edges if start == vertex] for vertex in range(lower + upper)]
    crossed = sum((a - c) * (b - d) < 0 for (a, b), (c, d) in itertools.combinations(edges, 2))
    assert crossings_of([list(range(lower)), list(range(lower, lower + upper))], above) == crossed


def neighbors(number, pairs):
    """Return the neighbors above, and those below."""
    above, below = ([[] for _ in range(number)] for _ in range(2))
    for start, end in pairs:
        above[start].append(end)
        below[end].append(start)
    return above, below


def test_crossings_that_need_not_be_are_gone():
    """A tree and a grid in disorder are drawn without any."""
    dice = random.Random(3)
    tree = [(child, (child - 1) // 2) for child in range(1, 63)]
    layers = [list(range(2**depth - 1, 2 ** (depth + 1) - 1)) for depth in (5, 4, 3, 2, 1, 0)]
    for layer in layers:
        dice.shuffle(layer)
    above, below = neighbors(63, tree)
    assert crossings_of(layers, above) > 0
    assert crossings_of(ordered(layers, above, below), above) == 0


def test_most_crossings_are_gone_where_there_is_no_way_without():
    """Fewer than in the order that there was, and never more."""
    for seed in range(20):
        dice = random.Random(seed)
        layers = [list(range(start, start + 8)) for start in range(0, 40, 8)]
        edges = [
            (dice.choice(lower), dice.choice(upper))
            for lower, upper in itertools.pairwise(layers)
            for _ in range(14)
        ]
        above, below = neighbors(40, list(dict.fromkeys(edges)))
        found = ordered(layers, above, below)
        assert sorted(map(sorted, found)) == layers
        assert crossings_of(found, above) < crossings_of(layers, above) / 2


@given(graphs(), st.data())
def test_vertices_of_a_layer_do_not_overlap(graph, data):
    """Whatever their widths, each is as far from the one before as both want."""
    number, pairs = graph
    layers = layers_of(number, pairs)
    near = [(start, end) for start, end in pairs if layers[end] == layers[start] + 1]
    above, below = neighbors(number, near)
    order = [[each for each in range(number) if layers[each] == layer] for layer in range(max(layers) + 1)]
    widths = data.draw(st.lists(st.floats(0, 300), min_size=number, max_size=number))
    xs = aligned(order, above, below, widths, [20.0] * number, number)
    for row in order:
        for left, right in itertools.pairwise(row):
            assert xs[right] - xs[left] >= (widths[left] + widths[right]) / 2 + 20 - 1e-6


def test_long_edges_are_straight_and_dependents_are_above_the_middle():
    """An edge past three layers has no kink; what takes two values stands between them."""
    size = Size(60, 30, 30)
    layout = layout_of([size] * 5, [(0, 1), (1, 2), (2, 3), (0, 3), (4, 3)])
    way = layout.routes[3].points
    bends = {x for x, _ in way[1:-1]}
    assert len(bends) == 1
    one, other, top = layout_of([size] * 3, [(0, 2), (1, 2)]).places
    assert top.x == pytest.approx((one.x + other.x) / 2)


@given(graphs(with_circles=True), st.booleans())
def test_everything_has_a_place_within(graph, is_labelled):
    """Shapes do not overlap, edges lead from shape to shape, and nothing is outside."""
    number, pairs = graph
    sizes = [Size(30.0 + 17 * (each % 7), 26.0 + 6 * (each % 3), 20.0) for each in range(number)]
    layout = layout_of(sizes, pairs, is_labelled=is_labelled)
    for place in layout.places:
        assert place.width / 2 - 1e-6 <= place.x <= layout.width - place.width / 2 + 1e-6
        assert place.height / 2 - 1e-6 <= place.y <= layout.height - place.height / 2 + 1e-6
    for one, other in itertools.combinations(layout.places, 2):
        apart_x = abs(one.x - other.x) - (one.width + other.width) / 2
        apart_y = abs(one.y - other.y) - (one.height + other.height) / 2
        assert max(apart_x, apart_y) > 1
    for (start, end), route in zip(pairs, layout.routes, strict=True):
        first, last = (layout.places[each] for each in ((end, start) if route.goes_down else (start, end)))
        if start == end:
            assert route.is_loop
            continue
        assert route.points[0][1] == pytest.approx(first.y - first.height / 2)
        assert route.points[-1][1] == pytest.approx(last.y + last.height / 2)
        assert abs(route.points[0][0] - first.x) <= first.width / 2
        assert all(one[1] >= other[1] - 1e-6 for one, other in itertools.pairwise(route.points))


def test_too_many_bends_are_left_out():
    """Of edges that pass very many layers; they still lead where they should."""
    pairs = [(each, each + 1) for each in range(300)] + [(0, each) for each in range(2, 301)]
    layout = layout_of([Size(40, 30, 20)] * 301, pairs)
    lengths = [len(route.points) for route in layout.routes]
    assert lengths[-1] == 2
    assert max(lengths) > 10


def test_labels_find_room_or_are_left_out():
    """Twenty labels of one shape's edges do not overlap each other, and some have no room."""
    layout = layout_of([Size(40, 30, 20)] * 21, [(each, 20) for each in range(20)], is_labelled=True)
    places = [place for place in label_places(layout, ["a name that is far too long"] * 20) if place]
    assert 0 < len(places) < 20
    for one, other in itertools.combinations(places, 2):
        assert abs(one.x - other.x) >= one.width or abs(one.y - other.y) >= one.height


def test_labels_are_left_out_of_huge_pictures():
    """Nobody could read them."""
    pairs = [(each, 1001) for each in range(1001)]
    layout = layout_of([Size(40, 30, 20)] * 1002, pairs, is_labelled=True)
    assert label_places(layout, ["x"] * 1001) == [None] * 1001


# --- text ---


@pytest.mark.parametrize("kind", AWKWARD)
def test_shown_text_is_on_one_line(kind):
    """Without what XML has no place for; and it can be cut to any width."""
    shown = readable(AWKWARD[kind])
    assert "\n" not in shown
    assert all(each.isprintable() or each in "\u200d\u200f" for each in shown)
    for width in (20, 60, 190):
        cut = shortened(shown, width)
        assert width_of(cut) <= width
        assert cut == shown or "…" in cut


def test_text_is_cut_in_its_middle():
    """Its end may be what tells it apart."""
    assert shortened("a_rather_long_name_of_a_function-12345", 120) == "a_rathe…-12345"


def test_widths_grow_with_the_text():
    """Wide characters are wide, and marks above letters take no room."""
    assert width_of("") == 0
    assert width_of("W") > width_of("i") > 0
    assert width_of("漢") > width_of("W")
    assert width_of("é") == width_of("e\u0301") == width_of("e")
