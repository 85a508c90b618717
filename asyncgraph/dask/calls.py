"""What a Dask task does for a node, in whatever thread and process Dask runs it.

Coroutines run on the loop of a thread that the process has for them (see `bridge`), one loop for all, so that
they can share what belongs to a loop; not on that of a Dask worker, which has to answer its scheduler while
they compute. What a function returns in place of a value, a node or a coroutine, is computed there, too. The
task waits for it, and with it its thread.
"""

from __future__ import annotations

import asyncio
import inspect
import random
import time
from collections.abc import Coroutine, Mapping
from typing import Any, NamedTuple

from asyncgraph._graph.arguments import Template
from asyncgraph._graph.function import Function
from asyncgraph._graph.graph import Ref
from asyncgraph._graph.node import Node
from asyncgraph.dask.bridge import compute, run
from asyncgraph.executors.base import timed_out, usable_cores

__all__ = ["Recorded", "Ref", "call_recorded", "in_time"]


class Recorded(NamedTuple):
    """A node's call without the node, which would bring all that it needs.

    Attributes:
        function: What is called, and how.
        args: The positional arguments, with a `Ref` in place of each node.
        kwargs: The named ones, likewise.
        keys: The keys of those nodes in the Dask graph, each once.
        name: The key that asyncgraph has for the node, for messages.
    """

    function: Function
    args: tuple[Any, ...]
    kwargs: Mapping[str, Any]
    keys: tuple[str, ...]
    name: str


def call_recorded(recorded: Recorded, *values: Any) -> Any:
    """Make the call, with the values of its keys; after a failure again, as its `retries=` says."""
    known = dict(zip(recorded.keys, values, strict=True))
    args = [_filled(each, known) for each in recorded.args]
    kwargs = {name: _filled(each, known) for name, each in recorded.kwargs.items()}
    retry, attempt = recorded.function.retry, 1
    while True:
        try:
            return _value(recorded, args, kwargs)
        except Exception as error:
            if retry is None or attempt >= retry.attempts or not retry.covers(error):
                raise
        time.sleep(retry.pause(attempt, random.random()))
        attempt += 1


def _value(recorded: Recorded, args: list[Any], kwargs: Mapping[str, Any]) -> Any:
    function = recorded.function
    value = function.call(*args, **kwargs)
    while inspect.iscoroutine(value) or isinstance(value, Node):
        if isinstance(value, Node):
            value = compute(value, usable_cores() + 4)
        else:
            value = run(in_time(value, function.timeout, recorded.name))
    return value


async def in_time(coroutine: Coroutine[Any, Any, Any], timeout: float | None, name: str) -> Any:
    """What a coroutine returns, which is cancelled after so many seconds; it is then that of `name`."""
    limit = asyncio.timeout(timeout)
    try:
        async with limit:
            return await coroutine
    except TimeoutError:
        if timeout is not None and limit.expired():
            raise timed_out(name, timeout) from None
        raise


def _filled(argument: Any, known: Mapping[str, Any]) -> Any:
    if isinstance(argument, Ref):
        return known[argument.key]
    if type(argument) is Template:
        return argument.fill(lambda ref: known[ref.key], Ref)
    return argument
