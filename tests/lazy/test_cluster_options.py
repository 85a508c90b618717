"""The options for clusters: what is refused, that they stay with the function, and who refuses them."""

from __future__ import annotations

import math
import operator
import pickle

import cloudpickle
import pytest

from asyncgraph import Runtime, compute, delayed
from asyncgraph._graph.function import NO_RESOURCES
from asyncgraph.errors import GraphError


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"priority": "high"}, TypeError, "priority= takes a number, not 'high'"),
        ({"priority": True}, TypeError, "priority= takes a number, not True"),
        ({"priority": math.nan}, ValueError, "priority= takes a finite number, not nan"),
        (
            {"resources": "GPU"},
            TypeError,
            "resources= takes a mapping of names to numbers, as {'GPU': 1}, not 'GPU'",
        ),
        ({"resources": {1: 1}}, TypeError, "resources= takes names as keys, as 'GPU', not 1"),
        ({"resources": {"GPU": "one"}}, TypeError, "resources= takes numbers, and 'GPU' is 'one'"),
        ({"resources": {"GPU": 0}}, ValueError, "resources= takes numbers above 0, and 'GPU' is 0"),
        ({"resources": {"GPU": math.inf}}, ValueError, "resources= takes numbers above 0, and 'GPU' is inf"),
    ],
)
def test_wrong_values_are_refused(options, error, message):
    """When they are given, with what would be right; to a function and for one call alike."""
    for give in (delayed(abs).options, lambda **given: delayed(abs, **given)):
        with pytest.raises(error) as caught:
            give(**options)
        assert str(caught.value) == message


def test_they_stay_with_the_function():
    """Also where others are given for one call, or they are taken back; what was given is copied."""
    given = {"GPU": 1}
    function = delayed(abs, executor="process", priority=-2, resources=given)
    given["GPU"] = 5
    assert function.options(timeout=5).function.resources == {"GPU": 1}
    assert function.options(timeout=5).function.priority == -2
    bare = function.options(resources={}, priority=0).function
    assert (bare.resources, bare.priority) == (NO_RESOURCES, 0)


@pytest.mark.parametrize("pickler", [pickle, cloudpickle])
def test_they_pickle(pickler):
    """With the function, and with a node."""
    function = delayed(operator.add, name="sum", resources={"GPU": 0.5}, priority=3)
    node = pickler.loads(pickler.dumps(function(1, 2)))
    for each in (pickler.loads(pickler.dumps(function)).function, node._function):
        assert each.resources == {"GPU": 0.5}
        assert each.priority == 3


def test_data_has_none():
    """Data runs nowhere."""
    with pytest.raises(TypeError, match="priority= is for functions"):
        delayed([1], priority=1)


@pytest.mark.parametrize("executor", ["thread", "process", "loop"])
async def test_executors_here_know_no_resources(executor):
    """The graph is refused before anything has run; a priority has no effect."""
    ran = []
    add = delayed(operator.add, executor=executor, priority=5)
    first = delayed(ran.append, executor="loop")(1)
    async with Runtime(processes=1):
        if executor != "process":
            assert await add(1, 2) == 3
        with pytest.raises(GraphError, match=f"add takes resources={{'GPU': 1}}, and executor '{executor}'"):
            await compute(first, add.options(resources={"GPU": 1})(1, 2))
    assert ran == []
