"""What a function is called, and whether it awaits: for every kind of callable."""

from __future__ import annotations

import functools

import pytest

from asyncgraph._graph.function import Durations, Function, is_async, name_of


class Plain:
    def __call__(self):
        """Do nothing."""

    def method(self):
        """Do nothing."""

    async def async_method(self):
        """Do nothing, on the loop."""

    @staticmethod
    async def static():
        """Do nothing, on the loop, for nobody."""


class Async:
    async def __call__(self):
        """Do nothing, on the loop."""


class NotFor(Async):
    """A class whose instances await, itself called without."""


async def fetch():
    """Do nothing, on the loop."""


@functools.wraps(fetch)
def wrapped():
    """Return a coroutine without being a coroutine function."""
    return fetch()


def awaitable():
    """Do so without showing it."""
    return fetch()


@pytest.mark.parametrize(
    "call",
    [
        fetch,
        Async(),
        functools.partial(fetch, 1),
        functools.partial(functools.partial(Async()), 1),
        Plain().async_method,
        Plain.async_method,
        Plain.static,
        functools.partial(Plain().async_method),
    ],
    ids=name_of,
)
def test_what_gives_something_to_await(call):
    """Coroutine functions do, as methods, in partials and as the `__call__` of an instance too."""
    assert is_async(call)


@pytest.mark.parametrize(
    "call",
    [
        len,
        Plain(),
        Plain,
        NotFor,
        functools.partial(len),
        Plain().method,
        "".join,
        awaitable,
        wrapped,
        functools.lru_cache(len),
        functools.partial(Plain),
    ],
    ids=name_of,
)
def test_what_does_not(call):
    """A class does not, whatever its instances do; nor a function that only returns a coroutine."""
    assert not is_async(call)


@pytest.mark.parametrize(
    ("call", "name"),
    [
        (fetch, "fetch"),
        (len, "len"),
        (Plain, "Plain"),
        (Plain(), "Plain"),
        (Plain().method, "method"),
        (functools.partial(functools.partial(fetch)), "fetch"),
        (lambda: None, "lambda"),
    ],
)
def test_names(call, name):
    """A function is called what people call it: no `<>`, no `partial`."""
    assert name_of(call) == name


def test_a_function_shows_its_name_and_where_it_runs():
    """The repr of a function with its options is short."""
    assert repr(Function(len, "count", "process")) == "<count, executor 'process'>"


def test_the_mean_of_durations():
    """Of all calls there were, of which older ones count for less and less."""
    durations = Durations()
    assert durations.mean is None
    durations.add(2.0, 4)
    durations.add(1.0)
    assert durations.mean == 0.6
    for _ in range(5_000):
        durations.add(0.1)
    assert abs(durations.mean - 0.1) < 0.001


@pytest.mark.parametrize(
    ("options", "special"),
    [({}, False), ({"timeout": 1.0}, True), ({"crash_retries": 1}, True), ({"is_isolated": True}, True)],
)
def test_what_wants_a_worker_for_itself(options, special):
    """A call with a timeout, retries or a worker of its own is not handed over with others."""
    assert Function(abs, "abs", "process", **options).is_special is special
