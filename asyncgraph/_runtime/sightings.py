"""What is seen of a node that is being computed: where it is, since when, and at which line.

Those who run calls (coroutines, threads, processes) say where each one is. They do it for whoever looks, from
any thread and amid anything, and so change nothing; what they say may be over when it has been said.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from functools import partial
from typing import Any

from asyncgraph._graph.node import Node, Site
from asyncgraph._runtime.stacks import Stacks, place_of

__all__ = ["DONE", "Sighting", "handed_over", "in_thread"]

DONE = "done, and the loop has yet to hear of it"

_Locate = Callable[[Stacks], Site | None]


class Sighting:
    """Where a node is.

    Attributes:
        task: Its number.
        node: The node.
        where: Where it is, in words.
        has_begun: Whether its function has been called, and has not returned, as far as is known.
        seconds: For how long that has been going on; None if that is not known.
        locate: Finds the line that the call is at, if that can be known.
        thread: The identifier of the thread that the call is in, if it is in one of its own.
    """

    __slots__ = ("has_begun", "locate", "node", "seconds", "task", "thread", "where")

    def __init__(
        self,
        task: int,
        node: Node[Any],
        where: str,
        *,
        has_begun: bool = True,
        seconds: float | None = None,
        locate: _Locate | None = None,
        thread: int | None = None,
    ) -> None:
        self.task = task
        self.node = node
        self.where = where
        self.has_begun = has_begun
        self.seconds = seconds
        self.locate: _Locate = locate or _nowhere
        self.thread = thread


def handed_over(task: int, node: Node[Any], where: str) -> Sighting:
    """A node that has been handed to somebody, and is not being computed."""
    return Sighting(task, node, where, has_begun=False)


def in_thread(
    task: int, node: Node[Any], thread: threading.Thread | None, seconds: float | None, more: str = ""
) -> Sighting:
    """A node that was handed to a thread, which may have yet to begin."""
    if thread is None:
        return handed_over(task, node, "for a thread")
    where = f"in thread {thread.name}{more}"
    locate = partial(_place_in, thread.ident)
    return Sighting(task, node, where, seconds=seconds, locate=locate, thread=thread.ident)


def _place_in(thread: int | None, stacks: Stacks) -> Site | None:
    return place_of(stacks.inside_of_ours(thread))


def _nowhere(stacks: Stacks) -> Site | None:
    return None
