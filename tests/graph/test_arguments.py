"""The search for nodes in arguments, and the templates that put values in their places."""

from __future__ import annotations

import collections
import dataclasses
import sys
from typing import Any, NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st

from asyncgraph._graph.arguments import Made, Template, search


class Leaf:
    """Stands for a node: all that the search knows of nodes is their class."""

    def __init__(self, value):
        self.value = value


class Point(NamedTuple):
    x: Any
    y: Any = 0


@dataclasses.dataclass
class Order:
    item: Any
    count: Any = 1
    total: Any = dataclasses.field(init=False, repr=False)

    def __post_init__(self):
        self.made = "by __post_init__"


@dataclasses.dataclass(frozen=True)
class Frozen:
    item: Any


@dataclasses.dataclass(slots=True)
class Slotted:
    item: Any


@dataclasses.dataclass(frozen=True, slots=True)
class FrozenSlotted:
    item: Any
    other: Any = None


@dataclasses.dataclass(frozen=True)
class OldStyle:
    __slots__ = ("item",)
    item: Any


class Keywords(dict):
    """A dict of a class of its own, which is not searched."""


def type_of(value):
    """Name a test's parameter: a repr may hold an address."""
    return getattr(value, "__name__", None) or type(value).__name__


def searched(value):
    """Return what the search makes of a value, and the nodes that it found."""
    found = []
    return search(value, Leaf, found), found


def filled(value):
    """Search a value and fill in the values of the nodes."""
    result, _ = searched(value)
    assert type(result) is Template
    return result.fill(value_of, Leaf)


def value_of(item):
    """Return what stands in the place of an item."""
    return item.value if isinstance(item, Leaf) else item


a, b, c = Leaf("A"), Leaf("B"), Leaf("C")


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ([a, 1, [b, [c]]], ["A", 1, ["B", ["C"]]]),
        ((a, (1, b)), ("A", (1, "B"))),
        (Point(a, [b]), Point("A", ["B"])),
        ({a, 1}, {"A", 1}),
        (frozenset({a, 1}), frozenset({"A", 1})),
        ({"k": a, b: {c: 1}}, {"k": "A", "B": {"C": 1}}),
        (collections.OrderedDict(k=a, l=[b]), collections.OrderedDict(k="A", l=["B"])),
        (collections.defaultdict(list, k=[a]), collections.defaultdict(list, k=["A"])),
        (collections.deque([a, 1], maxlen=2), collections.deque(["A", 1], maxlen=2)),
        (slice(a, None, b), slice("A", None, "B")),
        (Frozen([a]), Frozen(["A"])),
        (Slotted({"k": a}), Slotted({"k": "A"})),
        (FrozenSlotted(a, b), FrozenSlotted("A", "B")),
        (OldStyle(a), OldStyle("A")),
        ([{"k": (Point(Frozen((slice(a),)), b),)}], [{"k": (Point(Frozen((slice("A"),)), "B"),)}]),
    ],
    ids=type_of,
)
def test_every_container_is_searched_and_rebuilt(value, expected):
    """The rebuilt container is of the same type, with values in place of nodes; the original is untouched."""
    before = repr(value)
    result = filled(value)
    assert type(result) is type(value)
    assert result == expected
    assert repr(value) == before


@pytest.mark.parametrize("kind", [dict, collections.OrderedDict, collections.defaultdict])
def test_the_views_of_a_dict_become_lists(kind):
    """They are searched as what they show, and cannot be made of anything else."""
    mapping = kind()
    mapping.update({"k": a, b: 1})
    assert filled(mapping.values()) == ["A", 1]
    assert filled(mapping.keys()) == ["k", "B"]
    assert filled([mapping.items()]) == [[("k", "A"), ("B", 1)]]
    plain = kind().values()
    assert searched(plain) == (plain, [])


def test_what_a_container_is_beside_its_items_is_kept():
    """A defaultdict keeps its factory, a deque its greatest length."""
    assert filled(collections.defaultdict(list, k=a)).default_factory is list
    assert filled(collections.deque([a], maxlen=3)).maxlen == 3


def test_nodes_are_found_in_order_of_appearance():
    """A node that appears twice is found twice."""
    assert searched([b, {"k": a, "l": (c, b)}])[1] == [b, a, c, b]


def test_a_dataclass_is_copied_and_not_constructed():
    """What `__post_init__` made is kept, and a field that was never set stays unset."""
    order = Order(a)
    order.note = "added"
    result = filled(order)
    assert (result.item, result.count, result.made, result.note) == ("A", 1, "by __post_init__", "added")
    assert not hasattr(result, "total")
    assert order.item is a


@pytest.mark.parametrize(
    "value",
    [
        [],
        (),
        {},
        set(),
        [1, "a", None],
        {"k": [1, (2,)]},
        Order(1),
        Point(1, [2]),
        slice(1, 2),
        [Order([1])],
        "text",
        3,
        None,
        len,
        object(),
        Keywords(k=a),
        collections.Counter({"k": a}),
        Order,
        Point,
    ],
    ids=type_of,
)
def test_what_holds_no_nodes_is_passed_on_as_it_is(value):
    """The very same object, as in an ordinary call; subclasses of containers are not looked into."""
    result, found = searched(value)
    assert result is value
    assert found == []


def test_containers_without_nodes_stay_the_same_within_others():
    """Only what is on the way to a node is rebuilt."""
    plain, point = [1, [2]], Order([3])
    result = filled([plain, {"k": a, "point": point}])
    assert result[0] is plain
    assert result[1]["point"] is point


def test_every_filling_makes_containers_of_its_own():
    """Two runs of one graph share no list that a function might change."""
    template, _ = searched([a, Order([a])])
    first, second = template.fill(value_of, Leaf), template.fill(value_of, Leaf)
    first[1].item.append("changed")
    assert second[1].item == ["A"]


def test_changing_an_argument_afterwards_changes_nothing():
    """A container with nodes is copied at once: what the call said holds."""
    inner, keys = [a], {"k": b}
    order = Order(inner)
    template, _ = searched([inner, keys, order])
    inner.append(c)
    keys["new"] = c
    order.item = order.count = c
    result = template.fill(value_of, Leaf)
    assert (result[:2], result[2].item, result[2].count) == ([["A"], {"k": "B"}], ["A"], 1)


def test_a_shared_container_is_rebuilt_once():
    """A list that appears twice is one list again afterwards, and its nodes are found once."""
    shared = [a]
    template, found = searched([shared, {"again": shared}, (shared, [])])
    result = template.fill(value_of, Leaf)
    assert result[0] is result[1]["again"] is result[2][0]
    assert found == [a]


def test_a_shared_container_without_nodes_is_looked_through_once():
    """Sharing does not multiply the work: 60 levels of doubled lists are 60 lists."""
    value = [Leaf("deep")]
    for _ in range(60):
        value = [value, value]
    _, found = searched(value)
    assert len(found) == 1
    plain = [object()]
    for _ in range(60):
        plain = [plain, plain]
    assert searched(plain)[0] is plain


def test_containers_that_a_property_makes_are_told_apart():
    """A container that exists only for the search is not taken for an earlier one at the same address."""

    class Property:
        def __get__(self, instance, owner=None):
            return [Leaf(instance.number)] if instance else 0

        def __set__(self, instance, value):
            pass

    @dataclasses.dataclass
    class Holder:
        number: int
        made: Any = Property()  # noqa: RUF009 - a descriptor, which a class is the place for

    value = [Holder(number) for number in range(50)]
    _, found = searched(value)
    assert [leaf.value for leaf in found] == list(range(50))


@pytest.mark.parametrize("kind", ["list", "dict", "mutual", "dataclass"])
def test_what_contains_itself_and_a_node_is_refused(kind):
    """Such a container cannot be rebuilt; the message names its type and the way round."""
    value = {"list": [], "dict": {}, "mutual": [], "dataclass": Order(None)}[kind]
    if kind == "dict":
        value.update(me=value, node=a)
    elif kind == "dataclass":
        value.item = [value, a]
    else:
        value.append([value] if kind == "mutual" else value)
        value.append(a)
    with pytest.raises(ValueError) as caught:
        searched(value)
    name = type(value).__name__
    assert str(caught.value) == (
        f"an argument holds nodes and contains itself (a {name}), so it cannot be rebuilt with their values; "
        "pass the nodes as arguments of their own"
    )


def test_what_contains_itself_and_no_node_is_passed_on():
    """That is the function's own business, beside a node too."""
    value = [[1]]
    value[0].append(value)
    assert searched(value)[0] is value
    assert filled([value, a])[0] is value


class Lazy:
    """As the lazy objects of Django and werkzeug: who asks for its class has it computed."""

    @property
    def __class__(self):
        raise AssertionError("it was computed")


def test_a_lazy_object_is_not_computed():
    """Neither the search nor the filling asks it for its class, alone or beside a node."""
    lazy = Lazy()
    assert searched(lazy)[0] is lazy
    assert filled([lazy, a, {"k": lazy}])[0] is lazy
    assert searched([lazy, (lazy, 1)])[1] == []


def test_containers_nested_10_000_deep():
    """Depth needs no recursion: neither to search, nor to fill, nor to replace."""
    value, plain = a, 1
    for _ in range(10_000):
        value, plain = [value], (plain,)
    assert searched(plain)[0] is plain
    template, found = searched(value)
    assert found == [a]
    result = template.replace(value_of).fill(str.lower, str)
    for _ in range(10_000):
        (result,) = result
    assert result == "a"


def test_replacing_gives_a_new_template():
    """`replace` puts something else in the place of each item, and leaves the template as it was."""
    template, _ = searched([a, ["text"], [b]])
    lowered = template.replace(lambda item: item.value.lower() if isinstance(item, Leaf) else item)
    assert lowered.fill(lambda item: item, Leaf) == ["a", ["text"], ["b"]]
    assert template.fill(value_of, Leaf) == ["A", ["text"], ["B"]]


def test_a_filled_value_may_look_like_anything():
    """The value of a node is put in as it is, be it a node's list or a container."""
    made = Made(0)
    template, _ = searched([[a], b])
    assert template.fill({a: made, b: [1]}.get, Leaf) == [[made], [1]]


def test_an_unhashable_value_in_a_set_is_a_type_error():
    """As it would be in the ordinary call."""
    with pytest.raises(TypeError, match="unhashable"):
        filled({Leaf([1])})


@pytest.mark.parametrize("items", [1, "text", None, 2.5, collections.Counter(), object(), sys], ids=type_of)
@pytest.mark.parametrize("kind", ["list", "tuple", "dict", "nested"])
def test_many_plain_values_cost_one_scan(items, kind):
    """100 000 values that can hold no nodes cost as many calls as one, whatever their type."""
    one, many = [items], [items] * 100_000
    if kind == "tuple":
        one, many = tuple(one), tuple(many)
    elif kind == "dict":
        one, many = dict(enumerate(one)), dict(enumerate(many))
    elif kind == "nested":
        one, many = [(), one], [(), many]
    assert calls_of(search, many, Leaf, []) == calls_of(search, one, Leaf, []) < 60


# Rows of a table, and of how many containers each consists.
ROWS = {
    "tuples": (lambda number: (number, "text", object()), 1),
    "lists": (lambda number: [number, [number, frozenset([number])]], 3),
    "mappings": (lambda number: {"id": number, "tags": ["a", "b"], ("a", "key"): {}}, 4),
}


@pytest.mark.parametrize(("row", "containers"), ROWS.values(), ids=ROWS)
def test_the_rows_of_a_table_cost_a_call_for_each_container(row, containers):
    """Containers of plain values are told apart, scanned in C, and passed on as they are."""
    rows = [row(number) for number in range(10_000)]
    assert calls_of(search, rows, Leaf, []) < len(rows) * containers + 100
    assert searched(rows) == (rows, [])


@pytest.mark.parametrize("depth", range(8))
def test_a_node_far_inside_plain_values_is_found(depth):
    """However deep it is, in an item, a value or a key."""
    for value in ([1, a], {1: a}, {(1, a): 1}):
        for _ in range(depth):
            value = [1, ({"k": value},)]
        assert searched([[1, "plain"], value])[1] == [a]


def calls_of(function, *args):
    """Count the calls of Python and C functions that a call makes."""
    calls = 0

    def count(frame, event, arg):
        nonlocal calls
        calls += event in ("call", "c_call")

    sys.setprofile(count)
    try:
        function(*args)
    finally:
        sys.setprofile(None)
    return calls


atoms = st.one_of(st.integers(), st.text(max_size=3), st.none(), st.integers().map(Leaf))
keys = st.one_of(st.integers(), st.text(max_size=2), st.integers().map(Leaf))


def containers(inner):
    """Return the strategy for one more level of containers."""
    return st.one_of(
        st.lists(inner, max_size=4),
        st.lists(inner, max_size=4).map(tuple),
        st.dictionaries(keys, inner, max_size=3),
        st.frozensets(keys, max_size=3),
        st.sets(keys, max_size=3),
        st.builds(Point, inner, inner),
        st.builds(slice, inner, inner, inner),
        st.builds(Order, inner, inner),
        st.builds(FrozenSlotted, inner),
    )


@given(st.recursive(atoms, containers, max_leaves=30))
def test_any_nesting_comes_back_with_values_in_place(value):
    """The template filled in is what recursion gives; without nodes the value itself comes back."""
    result, found = searched(value)
    expected, count = by_recursion(value)
    assert len(found) == count - isinstance(value, Leaf)
    if type(result) is Template:
        assert repr(result.fill(value_of, Leaf)) == repr(expected)
    else:
        assert result is value


def by_recursion(value):
    """Return a value with its nodes filled in, and how many there were: the plain way."""
    if isinstance(value, Leaf):
        return value.value, 1
    if isinstance(value, Order):
        parts = [by_recursion(value.item), by_recursion(value.count)]
        return Order(*(part for part, _ in parts)), sum(count for _, count in parts)
    if isinstance(value, FrozenSlotted):
        part, count = by_recursion(value.item)
        return FrozenSlotted(part), count
    if isinstance(value, slice):
        parts = [by_recursion(each) for each in (value.start, value.stop, value.step)]
        return slice(*(part for part, _ in parts)), sum(count for _, count in parts)
    if isinstance(value, dict):
        parts = [(by_recursion(key), by_recursion(each)) for key, each in value.items()]
        return {key: each for (key, _), (each, _) in parts}, sum(n + m for (_, n), (_, m) in parts)
    if isinstance(value, tuple | list | set | frozenset):
        parts = [by_recursion(each) for each in value]
        made = [part for part, _ in parts]
        kind = Point._make if isinstance(value, Point) else type(value)
        count = sum(count for _, count in parts)
        # A set without nodes stays the same object: another equal one may come in another order.
        return (kind(made) if count else value), count
    return value, 0


@pytest.mark.parametrize("kind", [list, tuple, set, frozenset, collections.deque])
def test_a_flat_template_is_built_of_values(kind):
    """One container of nothing but nodes is made of their values in order, as filling it would."""
    leaves = [Leaf(number) for number in range(5)]
    found: list[Leaf] = []
    template = search(kind(leaves), Leaf, found)
    assert template.is_flat
    built = template.build([leaf.value for leaf in found])
    assert built == template.fill(lambda leaf: leaf.value, Leaf) == kind(range(5))
    assert type(built) is kind
    assert not search([leaves, 1], Leaf, []).is_flat
    assert not search({"key": leaves[0]}, Leaf, []).is_flat


def test_what_counts_as_a_node_is_found_too():
    """Instances of classes that look like Dask's collections are asked about, wherever they are."""

    class Collection:
        def __init__(self, is_one):
            self.is_one = is_one

        def __dask_graph__(self):
            raise AssertionError("nobody looks into it")

    def is_other(value):
        asked.append(value)
        return value.is_one

    one, other, asked = Collection(True), Collection(False), []
    found: list[Any] = []
    assert search(one, Leaf, found, is_other) is one
    assert search(other, Leaf, found, is_other) is other
    template = search([1, {"a": one}, other], Leaf, found, is_other)
    assert found == [one, one]
    assert asked == [one, other, one, other]
    assert template.replace(lambda item: "it" if item is one else item).fill(str, Leaf) == [
        1,
        {"a": "it"},
        other,
    ]
    held = [other]
    assert search(held, Leaf, found, is_other) is held
    assert search([one], Leaf, found) == [one]
    assert found == [one, one]
