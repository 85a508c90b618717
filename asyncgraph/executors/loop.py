"""Calls on the event loop itself: coroutines as tasks, plain functions inline."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Mapping
from contextvars import Context
from functools import partial
from typing import Any

from asyncgraph.errors import NodeExitedError
from asyncgraph.executors.base import Call, without_own_frames

__all__ = ["LoopExecutor", "awaiting", "call_inline"]

_Outcome = tuple[Any, BaseException | None]


class LoopExecutor:
    """Runs each coroutine as an `asyncio.Task` of its own.

    A task is its call's alone: cancelling it stops this call and nothing else, and
    `asyncio.current_task()`, `asyncio.timeout` and cancel scopes work inside as in any task.
    """

    def __init__(self, slots: int, loop: asyncio.AbstractEventLoop) -> None:
        self.slots = slots
        self._loop = loop
        # asyncio itself keeps only weak references to its tasks.
        self._tasks: set[asyncio.Task[_Outcome]] = set()

    def start(self, call: Call) -> None:
        """Begin `call`, whose function gives something to await."""
        task = self._loop.create_task(_outcome_of(call), name=call.key, context=call.context)
        call.handle = task
        self._tasks.add(task)
        task.add_done_callback(partial(self._done, call))

    def cancel(self, call: Call) -> None:
        """Cancel the call's task, once. If it goes on all the same, it is waited for."""
        call.handle.cancel()

    async def aclose(self) -> None:
        """Nothing is left to end: a run waits for its tasks."""

    def close(self) -> None:
        """Nothing can be done without the loop."""

    def _done(self, call: Call, task: asyncio.Task[_Outcome]) -> None:
        self._tasks.discard(task)
        if task.cancelled():  # before its first step
            outcome: _Outcome = None, asyncio.CancelledError()
        elif (error := task.exception()) is not None:
            outcome = None, _on_the_loop(error, call.key)
        else:
            outcome = task.result()
        call.deliver(*outcome)


async def _outcome_of(call: Call) -> _Outcome:
    try:
        return await call.function(*call.args, **call.kwargs), None
    except GeneratorExit:
        # Python's own, when the loop is gone and this coroutine is thrown away; or the user's, and then
        # the task ends with it.
        raise
    except BaseException as error:
        return None, _on_the_loop(error, call.key)


def _on_the_loop(error: BaseException, key: str) -> BaseException:
    """What an error on the loop means for its node.

    SystemExit and KeyboardInterrupt stay: the run stops for them, and then raises them as they are. So
    does a cancellation that somebody asked for. Whatever else would mean something to a loop or a
    generator becomes an error that means only "it failed".
    """
    without_own_frames(error)
    replacement: Exception
    if isinstance(error, StopIteration | StopAsyncIteration):
        replacement = RuntimeError(f"{key} raised {type(error).__name__}")
    elif isinstance(error, GeneratorExit) or (
        isinstance(error, asyncio.CancelledError) and not _is_cancelled()
    ):
        replacement = NodeExitedError(
            f"{key} raised {error!r}, and nobody has asked it to stop", original=error
        )
    else:
        return error
    replacement.__cause__ = error
    return replacement


def _is_cancelled() -> bool:
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0


def call_inline(
    function: Callable[..., Any], args: tuple[Any, ...], kwargs: Mapping[str, Any], context: Context, key: str
) -> tuple[Any, BaseException | None]:
    """Call a plain function right here; return `(value, None)` or `(None, error)`."""
    try:
        return context.run(function, *args, **kwargs), None
    except BaseException as error:
        return None, _on_the_loop(error, key)


def awaiting(coroutine: Coroutine[Any, Any, Any]) -> Callable[[], Coroutine[Any, Any, Any]]:
    """A function for a `Call` that awaits a coroutine which was made elsewhere."""

    async def wait() -> Any:
        return await coroutine

    return wait
