"""Planning: pieces of it in slices of time, without the garbage collector.

A plan is made of as many small objects as its graph has nodes and edges, none of which is garbage. Each time
that their number has grown by a quarter, the collector would look at all of them, and at the graph: for a
million nodes that takes longer than the planning itself. So it pauses while nothing else can run in this
thread; and what has been made by then it is to take for old, instead of looking at all of it next.
"""

from __future__ import annotations

import contextlib
import gc
import time
from collections.abc import Iterable, Iterator
from typing import Any

from asyncgraph._graph.node import Node, key_of
from asyncgraph._graph.pieces import Pieces
from asyncgraph._graph.plan import Plan
from asyncgraph.errors import GraphError

__all__ = ["done_in", "no_output", "plan_for_calls", "planned", "planning"]

_MOST = 200
"""How often all objects are moved between two full collections: as often as for a million nodes."""


def planning(outputs: Iterable[Node[Any]]) -> Pieces[Plan]:
    """Make a plan in pieces.

    Raises:
        GraphError: The graph has inputs, which have no value without a call; or a resource is asked for.
    """
    requested = list(outputs)
    _refuse_resources(requested)
    plan = yield from Plan.in_pieces(requested)
    if plan.inputs:
        names = ", ".join(sorted({node._function.name for node in plan.inputs}))
        raise GraphError(
            f"the graph has inputs without values ({names}): compile it, and call it with values, as in "
            f"`await asyncgraph.compile(node)({plan.inputs[0]._function.name}=...)`"
        )
    return plan


def planned(plan: Plan) -> Pieces[Plan]:
    """A plan that is there."""
    yield
    return plan


def plan_for_calls(outputs: Iterable[Node[Any]]) -> Plan:
    """Make a plan at once, with all that its runs may need.

    Raises:
        GraphError: A resource is asked for.
    """
    requested = list(outputs)
    _refuse_resources(requested)
    with _without_collector():
        plan = Plan(requested)
        plan.prepare()
    return plan


def _refuse_resources(requested: Iterable[Node[Any]]) -> None:
    for node in requested:
        if node._function.is_resource:
            raise GraphError(f"what is to be computed is {no_output(node)}")


def no_output(node: Node[Any]) -> str:
    """What to say of a resource whose value is asked for."""
    return (
        f"the resource {key_of(node)}, which is closed by the time that its value is there: "
        "compute nodes that use it"
    )


def done_in(seconds: float, pieces: Pieces[Any], *, is_large: bool) -> bool:
    """Do as many pieces as there is time for, one at least; whether those were all.

    Args:
        seconds: How much time there is, of this thread.
        pieces: What to do.
        is_large: Whether much of it has been done already. What is small leaves the collector alone: a
            service that computes a small graph for each request would otherwise never let it have its turn.
    """
    # The time of this thread: on a busy machine a small graph may take long by the clock, and is no larger.
    clock = time.thread_time
    until = clock() + seconds
    with _without_collector() if is_large else contextlib.nullcontext():
        for _ in pieces:
            if clock() > until:
                return False
    return True


@contextlib.contextmanager
def _without_collector() -> Iterator[None]:
    if not gc.isenabled():  # somebody else's decision
        yield
        return
    gc.disable()
    try:
        yield
    finally:
        _let_all_be_old()
        gc.enable()


# Whether the program has frozen objects; and how often all objects have been moved since the last full
# collection, by the number of that.
_is_frozen = False
_moved = _collection = 0


def _let_all_be_old() -> None:
    """Move all objects to the oldest generation, in no time; unless the program has frozen some of them."""
    global _is_frozen, _moved, _collection
    # Asked once: to count what is frozen takes long where it is much. Python 3.12 itself has frozen some, and
    # they cannot be told apart: there nothing is moved.
    _is_frozen = _is_frozen or gc.get_freeze_count() > 0
    collections = gc.get_stats()[2]["collections"]
    if collections != _collection:
        _collection, _moved = collections, 0
    # What is moved does not count towards the next full collection, which has to come all the same.
    if not _is_frozen and _moved < _MOST:
        _moved += 1
        gc.freeze()
        gc.unfreeze()
