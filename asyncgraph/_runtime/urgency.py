"""Which tasks of a run should go first because the rest waits for them, as far as durations are known."""

from __future__ import annotations

from collections.abc import Mapping
from math import inf

from asyncgraph._graph.function import Function
from asyncgraph._graph.makespan import longest_first
from asyncgraph._graph.order import is_small
from asyncgraph._graph.pieces import Pieces
from asyncgraph._graph.plan import Plan
from asyncgraph._runtime.lanes import INLINE, Lanes

__all__ = ["may_be_urgent", "urgency"]

# For calls that are shorter on average, in seconds, who goes first is of no account: to work it out
# takes 3 µs a node.
_SHORT = 1e-4


def may_be_urgent(plan: Plan, lanes: Lanes, lane_of: Mapping[Function, int]) -> bool:
    """Whether some tasks of a plan have to wait for a slot, so that it may matter who goes first."""
    count = len(plan.nodes)
    if not is_small(count) or _fewest_slots(lanes, lane_of) >= count:
        return False
    return max(_means(lane_of).values()) >= _SHORT


def urgency(plan: Plan, lanes: Lanes, lane_of: Mapping[Function, int]) -> Pieces[list[int] | None]:
    """The tasks of a plan, the most urgent first; None if the order of the plan will do.

    Args:
        plan: The plan.
        lanes: Where calls run.
        lane_of: The lane of each function.
    """
    if not may_be_urgent(plan, lanes, lane_of):
        return None
    means = _means(lane_of)
    seconds = [means[node._function] for node in plan.nodes]
    if sum(seconds) < _SHORT * len(seconds):
        return None
    # Each slot holds one result more, and one that it takes.
    more = int(2 * _fewest_slots(lanes, lane_of))
    return (yield from longest_first(plan.dependencies, plan.dependents, plan.outputs, seconds, more))


def _fewest_slots(lanes: Lanes, lane_of: Mapping[Function, int]) -> float:
    used = [lanes[lane].slots.capacity for lane in set(lane_of.values()) if lane in lanes.with_slots]
    return min(used, default=inf)


def _means(lane_of: Mapping[Function, int]) -> dict[Function, float]:
    """How long a call of each function takes: what is not known, as long as the others."""
    known = {
        function: 0.0 if lane == INLINE or function.is_value or function.is_input else function.durations.mean
        for function, lane in lane_of.items()
    }
    means = [mean for mean in known.values() if mean]
    usual = sum(means) / len(means) if means else 1.0  # `statistics` takes 2 ms to import
    return {function: usual if mean is None else mean for function, mean in known.items()}
