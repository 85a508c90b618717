"""The order in which several workers should run the tasks of a graph, so that all is done early.

The task with the longest path still ahead goes first (the critical path method; Hu, "Parallel sequencing
and assembly line problems", 1961). That may keep more results alive than the order of the plan does,
and is done only if it keeps hardly more.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from asyncgraph._graph.order import peak_of
from asyncgraph._graph.pieces import Pieces, cut

__all__ = ["longest_first"]


def longest_first(
    dependencies: Sequence[Sequence[int]],
    dependents: Sequence[Sequence[int]],
    outputs: Iterable[int],
    seconds: Sequence[float],
    more: int,
) -> Pieces[list[int] | None]:
    """The tasks, those with the longest path ahead first; None if that keeps too many results alive.

    Args:
        dependencies: For each task, the tasks whose results it takes: all of them lower numbers.
        dependents: The same edges the other way round.
        outputs: The tasks whose results are kept to the end.
        seconds: How long each task takes, in whatever unit.
        more: How many results more may be alive, when one worker runs them, than in the order of numbers.
    """
    ahead = list(seconds)
    for some in cut(range(len(ahead) - 1, -1, -1)):
        for task in some:
            if dependents[task]:
                ahead[task] += max([ahead[each] for each in dependents[task]])
        yield
    # Where two are equal, the lower number goes first; so dependencies come first in any case.
    tasks = sorted(range(len(ahead)), key=ahead.__getitem__, reverse=True)
    kept = list(outputs)
    usual = yield from peak_of(dependencies, dependents, kept, range(len(ahead)))
    peak = yield from peak_of(dependencies, dependents, kept, tasks)
    return tasks if peak <= usual + more else None
