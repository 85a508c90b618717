"""Which tasks of a run should go first because the rest waits for them, as far as durations are known."""

from __future__ import annotations

from collections.abc import Mapping
from statistics import fmean

from asyncgraph._graph.function import Function
from asyncgraph._graph.makespan import longest_first
from asyncgraph._graph.order import is_small
from asyncgraph._graph.plan import Plan
from asyncgraph._runtime.lanes import INLINE, Lanes

__all__ = ["urgency"]

# For calls that are shorter on average, in seconds, who goes first is of no account: to work it out
# takes 3 µs a node.
_SHORT = 1e-4


def urgency(
    plan: Plan, lanes: Lanes, lane_of: Mapping[Function, int], running: int | None
) -> list[int] | None:
    """The tasks of a plan, the most urgent first; None if the order of the plan will do.

    Args:
        plan: The plan.
        lanes: Where calls run.
        lane_of: The lane of each function.
        running: A task that is running already, and so comes first.
    """
    used = [lanes[lane].slots.capacity for lane in set(lane_of.values()) if lane in lanes.with_slots]
    # If all can run at once, nothing has to wait.
    if not used or not min(used) < len(plan.nodes) or not is_small(len(plan.nodes)):
        return None
    seconds = _seconds(plan, lane_of)
    if seconds is None:
        return None
    # Each slot holds one result more, and one that it takes.
    tasks = longest_first(plan.dependencies, plan.dependents, plan.outputs, seconds, 2 * min(used))
    if tasks is not None and running is not None:
        tasks.remove(running)
        tasks.insert(0, running)
    return tasks


def _seconds(plan: Plan, lane_of: Mapping[Function, int]) -> list[float] | None:
    """How long each task will take: what is not known, as long as the others; None if all are short."""
    known = {
        function: 0.0 if lane == INLINE or function.is_value or function.is_input else function.durations.mean
        for function, lane in lane_of.items()
    }
    means = [mean for mean in known.values() if mean]
    usual = fmean(means) if means else 1.0
    taken = {function: usual if mean is None else mean for function, mean in known.items()}
    seconds = [taken[node._function] for node in plan.nodes]
    return seconds if sum(seconds) >= _SHORT * len(seconds) else None
