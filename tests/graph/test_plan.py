"""Plans: the numbers of nodes, and the edges between them."""

from __future__ import annotations

from asyncgraph._graph.plan import Plan, dependents_of
from tests.graph.nodes import chain, choice, input_node, node, tree


def test_dependencies_come_before_dependents():
    """Each node has a higher number than everything that it depends on."""
    plan = Plan([tree(50)[0]])
    assert all(number > each for number, needs in enumerate(plan.dependencies) for each in needs)
    assert [plan.number[node] for node in plan.nodes] == list(range(len(plan.nodes)))


def test_the_order_is_depth_first():
    """A dependency is followed by nothing but what the same dependent needs, in order of appearance."""
    a, b = node("a"), node("b")
    left, right = node("left", a, b), node("right", b)
    plan = Plan([node("top", left, right)])
    assert [each._function.name for each in plan.nodes] == ["a", "b", "left", "right", "top"]


def test_a_dependency_that_appears_twice_is_listed_twice():
    """It is so in both directions, because it is taken twice."""
    a = node("a")
    plan = Plan([node("twice", a, a)])
    assert (plan.dependencies, plan.dependents) == ([(), (0, 0)], [[1, 1], []])


def test_outputs_are_numbered_in_the_order_asked_for():
    """A node asked for twice is there once, and so is one that another output needs."""
    a = node("a")
    b = node("b", a)
    plan = Plan([b, a, b])
    assert (plan.outputs, len(plan.nodes)) == ([1, 0, 1], 2)


def test_the_edges_the_other_way_round():
    """Every edge is in both lists, and nowhere else."""
    assert dependents_of([(), (0,), (0, 1), (1,)]) == [[1, 2], [2, 3], [], []]


def test_a_plan_of_a_long_chain_needs_no_recursion():
    """100 000 nodes in a row are numbered along the row."""
    plan = Plan([chain(100_000)])
    assert plan.dependencies == [(), *((number,) for number in range(99_999))]


def test_whether_a_plan_is_a_tree():
    """Every node needed once makes a tree, or several; one that is needed twice does not."""
    a, b = node("a"), node("b")
    assert Plan([node("c", a, b), node("d")]).is_tree
    assert not Plan([node("c", a, a)]).is_tree
    assert not Plan([node("c", a), a]).is_tree
    assert not Plan([a, a]).is_tree
    assert Plan([]).is_tree


def test_dependents_of_a_tree():
    """They are found in another way, and are the same."""
    plan = Plan([tree(50)[0]])
    assert plan.is_tree
    assert [list(each) for each in plan.dependents] == dependents_of(plan.dependencies)


def test_last_uses():
    """Each value is dropped where it is used last, once, and outputs never."""
    a = node("a")
    b = node("b", a, a)
    c = node("c", a, b)
    plan = Plan([c, b])
    assert list(map(list, plan.last_uses)) == [[], [], [a]]


def test_inputs_come_first():
    """Their values are given, so that a run begins behind them."""
    x, y = input_node("x"), input_node("y")
    plan = Plan([node("top", node("left", x), y, node("right", x))])
    assert plan.inputs == [x, y]
    assert [each._function.name for each in plan.nodes] == ["x", "y", "left", "right", "top"]
    plan.prepare()
    assert plan.dependencies[-1] == (2, 1, 3)


def test_a_wide_plan_is_linear():
    """One node that is the last to use 200 000 others: each is listed once, and no list is copied."""
    source = node("source")
    top = node("top", *[node("middle", source, number) for number in range(200_000)])
    plan = Plan([top])
    assert not plan.is_tree
    assert [len(each) for each in plan.last_uses[-2:]] == [1, 200_000]


def test_inputs_that_only_a_choice_may_need():
    """They are inputs of the plan, though no dependency of anything in it."""
    flag, other = input_node("flag"), input_node("other")
    plan = Plan([choice(flag, node("load"), node("parse", other))])
    assert [each._function.name for each in plan.inputs] == ["flag", "other"]
    assert [each._function.name for each in plan.nodes] == ["flag", "other", "when"]
