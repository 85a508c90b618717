"""Runners: tasks on the event loop, each of which runs one coroutine node after another.

A task of its own for every coroutine would cost more than all the rest of a small node. While a node
runs, the runner belongs to it alone: it is `asyncio.current_task()`, so that timeouts, task groups and
cancel scopes in the node work as in any task. A runner that a node leaves in another state than it
found it in (with context variables set, or cancelled) runs no other.
"""

from __future__ import annotations

import asyncio
import types
from collections.abc import Coroutine, Generator
from operator import is_
from typing import Any

from asyncgraph._graph.node import Node, key_of
from asyncgraph._runtime.owner import Owner
from asyncgraph._runtime.stopping import has_stopped
from asyncgraph.executors.base import without_own_frames
from asyncgraph.executors.loop import failure_on_loop

__all__ = ["Home", "Runner", "failure_in", "turn"]


class Home:
    """What the runners of one execution have in common.

    Args:
        owner: The execution.

    Attributes:
        owner: The execution.
        base: The context that each node is to find.
        has_user_variables: Whether there are variables in `base` that are not asyncgraph's.
        values: The values of all variables then, or none.
    """

    __slots__ = ("base", "has_user_variables", "owner", "values")

    def __init__(self, owner: Owner) -> None:
        self.owner = owner
        self.base = base = owner.context
        # Of one variable, which is ours, equality tells all. Of the user's the objects have to be the same:
        # of two empty lists one may be filled later.
        self.has_user_variables = len(base) > 1
        self.values = tuple(base.values()) if self.has_user_variables else ()


# Made directly and not by the loop's task factory, which is the user's: an eager one would run nodes
# from within ours.
class Runner(asyncio.Task[None]):
    """One task that runs nodes.

    Args:
        main: The coroutine of the runner, which takes the nodes; it begins in the loop's next turn.
        home: What it has in common with others; it has a copy of the context.

    Attributes:
        task: The number of the node that it runs, or None between two.
        began: When that began, or a little before, by `time.monotonic()`; for those who look.
        has_slot: Whether it has a slot for coroutines.
        has_begun: To be set by `main` when it begins.
        was_cancelled: Whether anybody has called `cancel`, also if that has been taken back since.
        was_shut_down: Whether that was while the loop stood still, as `asyncio.run` does at its end.
        context: The runner's own copy of the base context.
        home: What it has in common with others.
    """

    # No __dict__: as many of these are alive as coroutines are suspended.
    __slots__ = (
        "began",
        "context",
        "has_begun",
        "has_slot",
        "home",
        "task",
        "was_cancelled",
        "was_shut_down",
    )

    def __init__(self, main: Coroutine[Any, Any, None], home: Home) -> None:
        self.task: int | None = None
        self.began: float
        self.has_slot = False
        self.has_begun = False
        self.was_cancelled = self.was_shut_down = False
        self.home = home
        self.context = home.base.copy()
        super().__init__(main, loop=home.owner.loop, name="asyncgraph", context=self.context)

    def cancel(self, msg: Any = None) -> bool:
        """As a task's; but one that has not begun does begin, to hear of it and leave nothing open."""
        self.was_cancelled = True
        self.was_shut_down = self.was_shut_down or not self.home.owner.loop.is_running()
        return super().cancel(msg) if self.has_begun else True

    def get_name(self) -> str:
        """The key of the node that is running."""
        return "asyncgraph" if self.task is None else key_of(self.home.owner.nodes[self.task])

    def is_clean(self) -> bool:
        """Whether the node that has ended left nothing behind that the next one would see."""
        if self.was_cancelled and (self.cancelling() or self.is_to_be_cancelled()):
            return False
        self.was_cancelled = False
        # Contexts in which nothing was set since one was copied from the other are equal in 10 ns.
        home = self.home
        return (
            not home.values or all(map(is_, self.context.values(), home.values))
        ) and self.context == home.base

    def is_to_be_cancelled(self) -> bool:
        """Whether the node cancelled its own task and then ended without waiting.

        A task that ends like that counts as cancelled, whatever it returned.
        """
        pending: bool = self._must_cancel  # type: ignore[attr-defined]  # pyright: ignore[reportAttributeAccessIssue]
        return pending

    def silence(self) -> None:
        """Do not complain when the task is destroyed before its end: its loop is gone."""
        # As `asyncio.gather` does for the tasks that it makes.
        self._log_destroy_pending = False


def failure_in(runner: Runner, error: BaseException, node: Node[Any]) -> BaseException:
    """What `error`, which `node` has raised in `runner`, is to those who wait for the node.

    Raises:
        GeneratorExit: `error` is that, and not the node's: the runner is being thrown away, its loop gone.
    """
    if isinstance(error, GeneratorExit) and _running_task() is not runner:
        raise error
    if isinstance(error, asyncio.CancelledError) and runner.cancelling():
        return without_own_frames(error)  # somebody has cancelled it: no failure
    if has_stopped(error, runner.home.owner):
        return without_own_frames(error)  # it was told to, and the cancel has yet to come
    return failure_on_loop(error, key_of(node))


def _running_task() -> asyncio.Task[Any] | None:
    try:
        return asyncio.current_task()
    except RuntimeError:
        return None


@types.coroutine
def turn() -> Generator[None, None, None]:
    """Let the loop serve everyone else once; half of what `asyncio.sleep(0)` costs."""
    yield
