"""Generators that calls were given: which of them have given items since."""

from __future__ import annotations

import gc

import pytest

from asyncgraph._graph import once
from asyncgraph._graph.function import Function
from asyncgraph._graph.node import NO_KWARGS, Node
from asyncgraph.errors import GraphError

FUNCTION = Function(sum, "sum", "loop")


def made():
    """Make a generator."""
    return (number for number in range(3))


def test_a_generator_is_given_once():
    """Unless nothing is left of it: then never."""
    fresh, spent = made(), made()
    once.give(fresh)
    with pytest.raises(TypeError, match="another call was given this one"):
        once.give(fresh)
    list(spent)
    with pytest.raises(TypeError, match="this one has given them all"):
        once.give(spent)


def test_one_that_has_begun_since_is_spent():
    """One that had begun before only when it is through; what is no generator, never."""
    fresh, begun, unknown = made(), made(), made()
    next(begun)
    once.give(fresh)
    once.give(begun)
    for each in (fresh, begun, unknown, [1]):
        assert not once.is_spent(each)
    for each in (fresh, begun, unknown):
        next(each)
    assert [once.is_spent(each) for each in (fresh, begun, unknown)] == [True, False, False]
    list(begun)
    assert once.is_spent(begun)


@pytest.mark.parametrize("kind", ["args", "kwargs"])
def test_nodes_with_spent_arguments_are_refused(kind):
    """By the key of the node."""
    generator = made()
    args, kwargs = ((generator,), NO_KWARGS) if kind == "args" else ((), {"iterable": generator})
    node = Node(FUNCTION, args, kwargs, (), None, -1)
    once.give(generator)
    once.refuse_spent([node])
    next(generator)
    assert once.has_spent_any()
    with pytest.raises(GraphError, match=r"sum-\d+ was given a generator"):
        once.refuse_spent([node])


def test_what_is_gone_is_forgotten():
    """Nothing is kept alive by this."""
    gc.collect()
    before = len(once._given)
    generator = made()
    once.give(generator)
    assert len(once._given) == before + 1
    del generator
    gc.collect()
    assert len(once._given) == before
