"""The time that a coroutine node may take."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextvars import Context
from functools import partial
from typing import Any

from asyncgraph._graph.node import Node, key_of
from asyncgraph.executors.base import timed_out, without_own_frames

__all__ = ["within_timeout"]


def within_timeout(node: Node[Any], call: Callable[..., Any]) -> Callable[..., Any]:
    """The coroutine function `call`, which is awaited for as long as the node's timeout allows."""
    return call if node._function.timeout is None else partial(_awaited, node, call)


# As `asyncio.timeout` does, but for two things: an exception or a value that comes after the deadline, from
# whatever the coroutine does when it is cancelled, is no outcome; and a TimeoutError of its own stays itself.
async def _awaited(node: Node[Any], call: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Any:
    aio_task = asyncio.current_task()
    seconds = node._function.timeout
    assert aio_task is not None
    assert seconds is not None
    before, has_struck = aio_task.cancelling(), False

    def strike() -> None:
        nonlocal has_struck
        has_struck = True
        aio_task.cancel()

    timer = asyncio.get_running_loop().call_later(seconds, strike, context=Context())
    try:
        value = await call(*args, **kwargs)
    except BaseException as error:
        timer.cancel()
        # If its run is being stopped as well, it was cancelled once more than that.
        if not has_struck or aio_task.uncancel() > before:
            raise
        raise timed_out(key_of(node), seconds) from without_own_frames(error)
    timer.cancel()
    if has_struck and aio_task.uncancel() <= before:
        raise timed_out(key_of(node), seconds)
    return value
