"""Planning: pieces of it in slices of time, without the garbage collector.

A plan is made of as many small objects as its graph has nodes and edges, none of which is garbage. Each time
that their number has grown by a quarter, the collector would look at all of them, and at the graph: for a
million nodes that takes longer than the planning itself. So it pauses while nothing else can run in this
thread.
"""

from __future__ import annotations

import contextlib
import gc
from collections.abc import Iterable, Iterator
from typing import Any

from asyncgraph._graph.node import Node
from asyncgraph._graph.pieces import Pieces
from asyncgraph._graph.plan import Plan
from asyncgraph._runtime.slices import Slice
from asyncgraph.errors import GraphError

__all__ = ["done_in", "plan_for_calls", "planned", "planning"]


def planning(outputs: Iterable[Node[Any]]) -> Pieces[Plan]:
    """Make a plan in pieces.

    Raises:
        GraphError: The graph has inputs, which have no value without a call.
    """
    plan = yield from Plan.in_pieces(outputs)
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
    """Make a plan at once, with all that its runs may need."""
    with _without_collector():
        plan = Plan(outputs)
        plan.prepare()
    return plan


def done_in(slice_: Slice, pieces: Pieces[Any]) -> bool:
    """Do so many pieces as fit into the slice, one at least; whether those were all."""
    with _without_collector():
        for _ in pieces:
            if slice_.is_over():
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
        gc.enable()
