"""Values that do not behave: nodes may return them, and other nodes take them."""

from __future__ import annotations

from typing import Any

import pytest

from asyncgraph import Input, compile, compute, delayed
from asyncgraph.errors import SerializationError
from tests.runtime.durations import tiny

pytestmark = pytest.mark.anyio


class Proxy:
    """Stands for an object that is not there, as werkzeug's LocalProxy does outside of a request."""

    @property
    def __class__(self) -> type:  # type: ignore[override]
        raise RuntimeError("working outside of request context")


@pytest.mark.parametrize("kind", ["coroutine", "loop", "thread", "tiny"])
async def test_a_value_that_does_not_say_what_it_is(kind):
    """It is a value like any other."""
    proxy = Proxy()

    async def give() -> Any:
        return proxy

    function = {
        "coroutine": delayed(give),
        "loop": delayed(lambda: proxy, executor="loop"),
        "thread": delayed(lambda: proxy, executor="thread"),
        "tiny": tiny(delayed(lambda: proxy, executor="thread")),
    }[kind]
    consumer = tiny(delayed(lambda value: value is proxy, executor="thread"))
    assert await compute(consumer(function()))


@pytest.mark.parametrize("executor", ["loop", "thread"])
async def test_an_argument_that_does_not_say_what_it_is(executor):
    """It is handed on as it is, alone, beside nodes, in a list of them, and as an input."""
    proxy = Proxy()
    is_it = delayed(lambda value, *others: value is proxy, executor=executor)
    is_first = delayed(lambda values: values[0] is proxy, executor=executor)
    nodes = is_it(proxy), is_it(proxy, is_it(1)), is_first([proxy]), is_first([proxy, is_it(1)])
    assert await compute(*nodes) == (True, True, True, True)
    assert [*nodes[1].graph] == [node.key for node in (*nodes[1]._dependencies, nodes[1])]
    assert await compile(is_it(Input("value")))(value=proxy)


async def test_an_argument_that_does_not_say_what_it_is_cannot_travel():
    """Pickle asks what it is: the node fails, and says which argument that was."""
    with pytest.raises(SerializationError, match=r"Proxy, does not pickle .*outside of request") as caught:
        await delayed(len, executor="process")([1, Proxy()])
    assert caught.value.location == "args[0][1]"
