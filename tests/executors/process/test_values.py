"""What crosses by reference and what by value, and what is said of that which does not cross at all."""

# ruff: noqa: D102, D103 - helpers whose names say it

from __future__ import annotations

import functools
import pickle
import threading

import cloudpickle
import pytest

from asyncgraph.errors import SerializationError
from asyncgraph.executors.process import serialization
from tests.executors.process import remote


async def test_lambdas_and_closures_cross(pool):
    """What no import can find goes by value."""
    offset = 10
    assert await pool.value(remote.call, lambda: offset + 1) == 11
    returned = await pool.value(remote.call, lambda: lambda x: x * offset)
    assert returned(2) == 20


async def test_a_callable_with_a_state_goes_with_each_call(pool):
    """Bound methods, objects and partials are as they are when they are called; calls change copies only."""
    counter = remote.Counter(5)
    for number in range(3):
        counter.count = 10 * number
        for callable_ in (counter.add, counter, functools.partial(counter.add)):
            assert await pool.value(callable_, 2) == 10 * number + 2
            assert await pool.value(callable_, more=3) == 10 * number + 3
    assert await pool.value("text".upper) == "TEXT"
    assert await pool.value(remote.Counter.add, remote.Counter(1)) == 2


async def test_a_function_behind_its_decorated_name_goes_by_reference(pool):
    """The function runs with the globals of its module, however many decorators hide it."""
    assert await pool.value(remote.decorated.__wrapped__) is True
    assert await pool.value(remote.twice_decorated.__wrapped__.__wrapped__) == remote.__name__
    assert len(serialization.dumps(remote.decorated.__wrapped__)) < 300


def test_a_function_that_is_not_hidden_is_left_to_cloudpickle():
    """Only a function that `__wrapped__` leads to is found that way."""
    assert serialization._way_behind_decorators(remote.add) is None
    assert serialization._way_behind_decorators(lambda: 1) is None
    hidden = remote.twice_decorated.__wrapped__.__wrapped__
    assert serialization._way_behind_decorators(hidden) == (remote.__name__, "twice_decorated", 2)


def test_a_module_registered_by_value_stays_by_value():
    """The user's word to cloudpickle holds for hidden functions too."""
    cloudpickle.register_pickle_by_value(remote)
    try:
        assert serialization._way_behind_decorators(remote.decorated.__wrapped__) is None
    finally:
        cloudpickle.unregister_pickle_by_value(remote)


class Slotted:
    __slots__ = ("lock", "unset")

    def __init__(self):
        self.lock = threading.Lock()


class Cyclic:
    def __init__(self):
        self.me = self
        self.bad = threading.Lock()


class HostileRepr(dict):
    def __repr__(self):
        raise ValueError

    def items(self):
        raise ValueError


def with_closure():
    lock = threading.Lock()
    return lambda: lock


def with_default(lock=threading.Lock()):  # noqa: B008
    return lock


LOCK = threading.Lock()


def _at(value):
    return {"args": (1, value)}


@pytest.mark.parametrize(
    ("value", "location"),
    [
        (threading.Lock(), "args[1]"),
        ({"cfg": remote.Config(lock=threading.Lock())}, "args[1]['cfg'].lock"),
        ([1, (2, [threading.Lock()])], "args[1][1][1][0]"),
        ({1: {"a": threading.Lock()}}, "args[1][1]['a']"),
        (Slotted(), "args[1].lock"),
        (Cyclic(), "args[1].bad"),
        (functools.partial(remote.add, threading.Lock()), "args[1].args[0]"),
        (with_closure(), "args[1].__closure__['lock']"),
        ([remote.Config(x=1), remote.Config(deep=[remote.Config(lock=LOCK)])], "args[1][1].deep[0].lock"),
    ],
)
async def test_an_argument_that_does_not_pickle_is_named(pool, value, location):
    """The error says which part of which argument it is, and has pickle's own error as its cause."""
    error = await pool.error(remote.echo, 0, value)
    assert isinstance(error, SerializationError)
    assert error.stage == "arg-pickle"
    assert error.location == location
    assert isinstance(error.__cause__, TypeError)
    assert location in str(error)
    assert "echo-key" in str(error)


async def test_a_keyword_argument_that_does_not_pickle_is_named(pool):
    """Keyword arguments have their names in the location."""
    error = await pool.error(remote.echo, a=1, b=[threading.Lock()])
    assert error.location == "kwargs['b'][0]"


async def test_a_function_that_does_not_pickle_is_named(pool):
    """So do the variables of a closure that is to be called."""
    error = await pool.error(with_closure())
    assert error.location == "function.__closure__['lock']"


async def test_no_worker_is_taken_for_what_does_not_pickle(pool):
    """An argument that does not pickle fails before any worker is started."""
    await pool.error(remote.echo, threading.Lock())
    assert not pool.executor._crew.workers


async def test_hostile_objects_only_shorten_the_search(pool):
    """Classes that fail when they are looked into leave the search one level above."""
    error = await pool.error(remote.echo, [HostileRepr(a=threading.Lock())])
    assert isinstance(error, SerializationError)
    assert error.location.startswith("args[0]")


async def test_deep_nesting_is_an_error_and_no_crash(pool):
    """A structure too deep for pickle fails its call."""
    deep = []
    for _ in range(100_000):
        deep = [deep]
    error = await pool.error(remote.echo, deep)
    assert isinstance(error, SerializationError)
    while deep:
        deep = deep.pop()


async def test_an_argument_that_fails_to_load_costs_only_its_call(pool):
    """The worker refuses the call, and serves the next."""
    pid = await pool.value(remote.pid)
    error = await pool.error(remote.echo, remote.FailsWhenLoaded())
    assert isinstance(error, SerializationError)
    assert error.stage == "arg-unpickle"
    assert isinstance(error.__cause__, ValueError)
    assert "does not like to be loaded" in str(error)
    assert await pool.value(remote.pid) == pid


async def test_a_result_that_does_not_pickle_costs_only_its_call(pool):
    """The error names the part of the result; the worker serves the next call."""
    pid = await pool.value(remote.pid)
    error = await pool.error(remote.unpicklable_result)
    assert isinstance(error, SerializationError)
    assert (error.stage, error.location) == ("result-pickle", "result['rows'][1].lock")
    assert isinstance(error.__cause__, TypeError)
    assert await pool.value(remote.pid) == pid


async def test_a_result_that_fails_to_load_costs_only_its_call(pool):
    """Not even SystemExit, raised while the result is loaded, does more than fail the call."""
    pid = await pool.value(remote.pid)
    error = await pool.error(remote.fails_in_parent)
    assert isinstance(error, SerializationError)
    assert error.stage == "result-unpickle"
    assert isinstance(error.__cause__, SystemExit)
    assert await pool.value(remote.pid) == pid


async def test_a_worker_forgets_what_it_has_worked_on(make_pool):
    """Arguments, results and exceptions are dropped as soon as they are reported, without a collection."""
    pool = make_pool(slots=1)
    await pool.value(remote.remember, remote.Big())
    await pool.error(remote.remember_and_raise, remote.Big())
    await pool.value(remote.remember, remote.Big())
    assert await pool.value(remote.still_alive) == [False] * 3


def test_code_that_goes_by_value_keeps_the_name_of_its_file():
    """Whichever version of cloudpickle is there; functions inside of functions too."""

    def outer():
        return lambda: None

    copy = pickle.loads(serialization.dumps(outer))
    assert copy is not outer
    assert copy.__code__.co_filename == copy().__code__.co_filename == __file__
