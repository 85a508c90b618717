"""What observers put around the calls of nodes: context managers, in which the calls are made.

Events come after the fact. An observer that has to be there while a node runs, as tracing does whose span is
to be the current one then, has a method `around` besides. What it returns is entered in the call's own
context, where the call is made: on the loop, in a thread, or in another process.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from contextlib import AbstractContextManager
from functools import partial
from typing import Any, Protocol

from asyncgraph.observe.events import NodeInfo, ObservedRun

__all__ = ["Surrounding", "made_within", "surrounding"]

logger = logging.getLogger("asyncgraph.observe")

_Manager = AbstractContextManager[Any]


class Surrounding(Protocol):
    """An observer that puts something around calls."""

    def around(self, run: ObservedRun, node: NodeInfo, call: Callable[..., Any]) -> _Manager | None:
        """What a call of the node is to be made in, or None; asked on the loop, for each call.

        Each attempt is a call. Where a plain function returns a coroutine, that is awaited in a call of its
        own, on the loop, while the function may have been called in a thread.

        It is entered when the call begins and left when it ends, whatever has come of it. It must not keep
        the call from being made: if it raises, that is logged, and the call is made without. If the call is
        made in another process (`executor` is "process", or the name of a cluster or of a pool of processes),
        it is pickled, and entered there.

        Args:
            run: The run.
            node: The node.
            call: What is called: the user's function, or something of asyncgraph's own.
        """
        ...


def surrounding(observer: object) -> Callable[..., _Manager | None] | None:
    """The method `around` of an observer, if it has one."""
    return getattr(observer, "around", None)


def made_within(
    manager: _Manager, key: str, call: Callable[..., Any], *, is_awaited: bool
) -> Callable[..., Any]:
    """What is to be called in place of `call`, so that it is made within `manager`.

    Args:
        manager: The context manager.
        key: The node, for what may have to be logged.
        call: The call.
        is_awaited: Whether `call` gives something to await, which is awaited within.
    """
    return partial(_awaited_within if is_awaited else _called_within, manager, key, call)


def _called_within(
    manager: _Manager, key: str, call: Callable[..., Any], /, *args: Any, **kwargs: Any
) -> Any:
    is_entered = _enter(manager, key)
    try:
        return call(*args, **kwargs)
    finally:
        if is_entered:
            _leave(manager, key)


async def _awaited_within(
    manager: _Manager, key: str, call: Callable[..., Any], /, *args: Any, **kwargs: Any
) -> Any:
    is_entered = _enter(manager, key)
    try:
        return await call(*args, **kwargs)
    except GeneratorExit:
        is_entered = False  # it is thrown away, with its loop gone, and this is some other context
        raise
    finally:
        if is_entered:
            _leave(manager, key)


def _enter(manager: _Manager, key: str) -> bool:
    try:
        manager.__enter__()
    except Exception:
        logger.exception("%s: what an observer has put around it could not be entered", key)
        return False
    return True


def _leave(manager: _Manager, key: str) -> None:
    # What has come of the call is told by events; what is left here adds nothing to a traceback.
    try:
        manager.__exit__(None, None, None)
    except Exception:
        logger.exception("%s: what an observer has put around it could not be left", key)
