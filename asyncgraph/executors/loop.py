"""Calls on the event loop itself: coroutines as tasks, plain functions inline."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Mapping
from contextvars import Context
from functools import partial
from typing import Any

from asyncgraph.executors.base import Call, failure_of, without_own_frames

__all__ = ["LoopExecutor", "awaiting", "call_inline", "failure_on_loop"]

_Outcome = tuple[Any, BaseException | None]

# What a node on the loop must not raise as it is: its run would look cancelled, or closed. SystemExit and
# the like are to end the program: they end the run, and then leave `compute()` as they are.
_FOREIGN = (GeneratorExit, asyncio.CancelledError)


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
        coroutine = _outcome_of(call)
        try:
            task = self._loop.create_task(coroutine, name=call.key, context=call.context)
        except Exception as error:  # from a task factory of the user's own
            coroutine.close()
            _close_what_was_made_elsewhere(call)
            self._loop.call_soon(call.deliver, None, error)
            return
        call.handle = task
        self._tasks.add(task)
        task.add_done_callback(partial(self._done, call))

    def cancel(self, call: Call) -> None:
        """Cancel the call's task, once. If it goes on all the same, it is waited for."""
        if call.handle is None:
            # Called from within `start`: an eager task factory runs the coroutine's first step there.
            self._loop.call_soon(self.cancel, call)
        else:
            call.handle.cancel()

    async def aclose(self) -> None:
        """Nothing is left to end: a run waits for its tasks."""

    def close(self) -> None:
        """Nothing can be done without the loop, nor need asyncio complain of each task as it is destroyed."""
        for task in self._tasks:
            # As `asyncio.gather` does for the tasks that it makes.
            task._log_destroy_pending = False  # type: ignore[attr-defined] # pyright: ignore[reportAttributeAccessIssue]

    def _done(self, call: Call, task: asyncio.Task[_Outcome]) -> None:
        self._tasks.discard(task)
        _close_what_was_made_elsewhere(call)
        if task.cancelled():
            call.deliver(None, asyncio.CancelledError())
        else:
            error = task.exception()
            call.deliver(*(task.result() if error is None else (None, error)))


async def _outcome_of(call: Call) -> _Outcome:
    try:
        return await call.function(*call.args, **call.kwargs), None
    except BaseException as error:
        if isinstance(error, asyncio.CancelledError) and _is_cancelled():
            return None, without_own_frames(error)
        return None, failure_on_loop(error, call.key)
    finally:
        # From 3.12 on, the traceback leads to this frame, whose call has the task, whose result is the error.
        del call


def _is_cancelled() -> bool:
    """Whether somebody has cancelled the current task, so that its CancelledError is no failure."""
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0


async def awaiting(coroutine: Coroutine[Any, Any, Any]) -> Any:
    """The function of a `Call` that awaits a coroutine which was made elsewhere."""
    return await coroutine


def _close_what_was_made_elsewhere(call: Call) -> None:
    # A task that was cancelled before its first step has not begun its coroutine. Closing one that has
    # ended changes nothing.
    if call.function is awaiting:
        call.args[0].close()


def call_inline(
    function: Callable[..., Any], args: tuple[Any, ...], kwargs: Mapping[str, Any], context: Context, key: str
) -> _Outcome:
    """Call a plain function right here; return `(value, None)` or `(None, error)`."""
    try:
        return context.run(function, *args, **kwargs), None
    except BaseException as error:
        return None, failure_on_loop(error, key)


def failure_on_loop(error: BaseException, key: str) -> BaseException:
    """As `failure_of`, for what was raised on the loop."""
    return failure_of(error, key, foreign=_FOREIGN)
