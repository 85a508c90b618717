"""Values that do not behave: nodes may return them, and other nodes take them."""

from __future__ import annotations

from typing import Any

import pytest

from asyncgraph import compute, delayed
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
