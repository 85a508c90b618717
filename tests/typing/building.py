"""What type checkers say of building graphs. Not run: mypy and pyright read it, see `make types`."""

from __future__ import annotations

import contextlib
import functools
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from typing import Any, NamedTuple, Self, assert_type

from asyncgraph import Delayed, delayed, from_graph, resource, when


@delayed
def count(text: str) -> int:
    """Be plain."""
    return len(text)


@delayed
async def fetch(url: str, *, tries: int = 3) -> str:
    """Be async."""
    return url


@delayed(executor="process", name="parsed", nout=2)
def parse(text: str) -> tuple[int, str]:
    """Have options."""
    return 1, text


@delayed(name="got")
async def get(url: str) -> bytes:
    """Be async and have options."""
    return b""


@delayed()
def nothing() -> None:
    """Return nothing."""


@delayed
def returns_a_node(number: int) -> Delayed[int]:
    """Return a node."""
    return count(str(number))


@delayed(executor="loop")
def returns_a_node_by_option(number: int) -> Delayed[str]:
    """Return a node, with options."""
    return fetch(str(number))


@delayed
def returns_either(number: int) -> int | Delayed[int]:
    """Return a value or a node, as recursion does."""
    return number or returns_either(1)


@delayed
def returns_a_callable() -> Callable[[int], str]:
    """Return a function."""
    return str


class Point(NamedTuple):
    x: int
    y: int


class Scaler:
    def __call__(self, number: int) -> float:
        """Be called."""
        return 1.5 * number


class AsyncScaler:
    async def __call__(self, number: int) -> float:
        """Be called."""
        return 1.5 * number


class Service:
    @delayed
    def method(self, number: int) -> str:
        """Be plain."""
        return str(number)

    @delayed(name="async_method")
    async def async_method(self, number: int) -> bytes:
        """Be async."""
        return b""

    @classmethod
    @delayed
    def class_method(cls, number: int) -> int:
        """Belong to the class."""
        return number

    @staticmethod
    @delayed
    async def static_method(number: int) -> int:
        """Belong to nobody."""
        return number

    def plain(self, number: int) -> float:
        """Be plain, and not delayed."""
        return number

    async def plain_async(self, number: int) -> list[float]:
        """Be async, and not delayed."""
        return [number]


async def add(first: int, second: int) -> str:
    """Take two."""
    return str(first + second)


def functions() -> None:
    """A call gives a node of what the function returns, or of what its coroutine does."""
    assert_type(count("a"), Delayed[int])
    assert_type(fetch("a"), Delayed[str])
    assert_type(fetch("a", tries=1), Delayed[str])
    assert_type(parse("a"), Delayed[tuple[int, str]])
    assert_type(get("a"), Delayed[bytes])
    assert_type(nothing(), Delayed[None])
    assert_type(count(fetch("a")), Delayed[int])
    assert_type(count.options(name="length")("a"), Delayed[int])
    assert_type(fetch.options(name="x").options(nout=2)("a"), Delayed[str])


def functions_that_return_nodes() -> None:
    """A function that returns a node counts as one that returns its value."""
    assert_type(returns_a_node(1), Delayed[int])
    assert_type(returns_a_node_by_option(1), Delayed[str])
    assert_type(returns_either(1), Delayed[int])


def other_callables() -> None:
    """Classes, instances, partials, lambdas, built-in functions and methods of values."""
    service = Service()
    assert_type(returns_a_callable(), Delayed[Callable[[int], str]])
    assert_type(delayed(Point)(1, 2), Delayed[Point])
    assert_type(delayed(Scaler())(1), Delayed[float])
    assert_type(delayed(AsyncScaler())(1), Delayed[float])
    assert_type(delayed(functools.partial(add, 1))(2), Delayed[str])
    assert_type(delayed(lambda: 3)(), Delayed[int])
    assert_type(delayed(len)([1]), Delayed[int])
    assert_type(delayed(str)(1), Delayed[str])
    assert_type(delayed(str, name="text")(1), Delayed[str])
    assert_type(delayed(service.plain)(1), Delayed[float])
    assert_type(delayed(service.plain_async)(1), Delayed[list[float]])
    assert_type(delayed(count)("a"), Delayed[int])
    assert_type(delayed(service.method)(1), Delayed[str])


def methods() -> None:
    """Decorated methods of every kind."""
    service = Service()
    assert_type(service.method(1), Delayed[str])
    assert_type(service.async_method(1), Delayed[bytes])
    assert_type(service.method.options(name="other")(1), Delayed[str])
    assert_type(Service.method(service, 1), Delayed[str])
    assert_type(Service.class_method(1), Delayed[int])
    assert_type(service.class_method(1), Delayed[int])
    assert_type(Service.static_method(1), Delayed[int])


def data() -> None:
    """A value gives a node of its type, and a node is itself."""
    assert_type(delayed(5), Delayed[int])
    assert_type(delayed("a", name="text"), Delayed[str])
    assert_type(delayed([1, 2], nout=2), Delayed[list[int]])
    assert_type(delayed(None), Delayed[None])
    assert_type(delayed(count("a")), Delayed[int])
    assert_type(from_graph({"x": 1}, "x"), Delayed[Any])


def operations() -> None:
    """What is done to a node is recorded: its type is not known."""
    node = count("a")
    for result in (node + 1, 1 + node, node - 1, 2 * node, node / 2, node // 2, node % 2, 2 % node):
        assert_type(result, Delayed[Any])
    for result in (node**2, 2**node, pow(node, 2, 5), divmod(node, 2), divmod(2, node), [[1]] @ node):
        assert_type(result, Delayed[Any])
    for result in (node & 1, 1 | node, node ^ 1, node << 1, 1 >> node, -node, +node, ~node):
        assert_type(result, Delayed[Any])
    for result in (abs(node), round(node), round(node, 2), node[0], node[1:], node["k"], node[node]):
        assert_type(result, Delayed[Any])
    for result in (node.real, node.bit_length(), node(1, key=2), node.a.b.c(node)):
        assert_type(result, Delayed[Any])
    assert_type(node == 1, Delayed[Any])
    assert_type(node != 1, Delayed[Any])
    assert_type(node < 1, Delayed[Any])
    first, second = parse("a")
    assert_type(node >= first, Delayed[Any])
    assert_type(first, Delayed[Any])
    assert_type(second, Delayed[Any])


def variance(node: Delayed[bool]) -> Delayed[int]:
    """A node of a subtype is a node of the type, and an awaitable of it."""
    awaitable: Awaitable[int] = node
    print(awaitable)
    return node


def as_argument(function: Callable[[str], Delayed[int]]) -> None:
    """A delayed function is a callable that gives nodes."""
    as_argument(count)
    as_argument(Service().method)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]


def streams(numbers: AsyncIterator[int]) -> None:
    """What is no coroutine is a value like any other."""
    assert_type(delayed(numbers), Delayed[AsyncIterator[int]])


class Client:
    """Be an async context manager that gives itself."""

    async def __aenter__(self) -> Self:
        """Enter."""
        return self

    async def __aexit__(self, *about: object) -> None:
        """Leave."""


@contextlib.asynccontextmanager
async def connected(url: str) -> AsyncIterator[bytes]:
    """Be a function that makes an async context manager."""
    yield url.encode()


@contextlib.contextmanager
def opened(path: str) -> Iterator[int]:
    """Be a function that makes a plain one."""
    yield len(path)


def resources_and_choices(number: int) -> None:
    """A resource has the type of what its context manager gives; a choice that of either side."""
    assert_type(resource(Client), Delayed[Client])
    assert_type(resource(connected, "url"), Delayed[bytes])
    assert_type(resource(opened, path="path"), Delayed[int])
    assert_type(when(count("a"), count("b"), fetch("c")), Delayed[int | str])
    assert_type(when(number > 1, count("b"), None), Delayed[int | None])
