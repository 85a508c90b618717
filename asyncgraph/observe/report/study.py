"""All that is found out about a run, in one place: what the page shows and its sentences are made from."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

from asyncgraph.observe.counters import Series, alive, ready, running
from asyncgraph.observe.recorded import RecordedRun, RecordedWorker
from asyncgraph.observe.report.analysis import (
    ExecutorUse,
    FunctionTimes,
    excess_of,
    executors_of,
    functions_of,
    parallelism,
    quantile,
)
from asyncgraph.observe.report.path import CriticalPath, LongestChain, critical_path_of, longest_chain_of
from asyncgraph.observe.report.stalls import Stall, Suspect, suspects_of
from asyncgraph.observe.schedule import Schedule, schedule_of

__all__ = ["Study"]

# So many calls that begin alone, and beside others, are compared. These must take so much longer, and not by
# chance: so many standard deviations, of the rank-sum test, come about once in 300 000 times.
_ENOUGH = 15
_SLOWER = 1.5
_CERTAIN = 4.5


@dataclass(frozen=True)
class Study:
    """A run that is over, studied. Each part is found out when it is first asked for.

    Args:
        run: The run.
        workers: The worker processes of its time.
        all_stalls: When the loop did not answer, in this run or others.
    """

    run: RecordedRun
    workers: Sequence[RecordedWorker] = ()
    all_stalls: Sequence[Stall] = ()

    @cached_property
    def seconds(self) -> float:
        """How long the run took."""
        return self.run.seconds or 0.0

    @cached_property
    def schedule(self) -> Schedule:
        """Its calls."""
        return schedule_of(self.run)

    @cached_property
    def executors(self) -> list[ExecutorUse]:
        """How busy each executor was."""
        return executors_of(self.schedule)

    @cached_property
    def functions(self) -> list[FunctionTimes]:
        """How long the calls of each function took."""
        return functions_of(self.schedule)

    @cached_property
    def parallelism(self) -> float:
        """How many calls went on at once, on average."""
        return parallelism(self.schedule)

    @cached_property
    def path(self) -> CriticalPath:
        """What it waited for."""
        return critical_path_of(self.schedule, self.executors, self.workers)

    @cached_property
    def chain(self) -> LongestChain:
        """The longest chain of calls."""
        return longest_chain_of(self.schedule)

    @cached_property
    def stalls(self) -> list[Stall]:
        """When the loop did not answer while it went on."""
        began, ended = self.run.began, self.run.ended or self.run.began
        return [each for each in self.all_stalls if began <= each.began + each.seconds and each.began < ended]

    @cached_property
    def suspects(self) -> list[list[Suspect]]:
        """For each stall, who may have caused it."""
        return suspects_of(self.schedule, self.stalls)

    @cached_property
    def running(self) -> Series:
        """How many calls went on."""
        return running(self.schedule.calls)

    @cached_property
    def ready(self) -> Series:
        """How many nodes waited for a slot."""
        return ready(self.run, self.schedule.calls)

    @cached_property
    def alive(self) -> Series:
        """How many bytes the live results took."""
        return alive(self.run)

    @cached_property
    def its_workers(self) -> list[RecordedWorker]:
        """The worker processes that came or went while it went on."""
        began, ended = self.run.began, self.run.ended or self.run.began
        return [
            each
            for each in self.workers
            if began <= each.started <= ended or (each.lost is not None and began <= each.lost <= ended)
        ]

    @cached_property
    def crowded_functions(self) -> list[tuple[str, float, float, float]]:
        """Functions that are slower in threads while others of their calls go on: name, medians and total.

        The first median is that of calls that began alone, the second that of those that did not.
        """
        found = []
        for row in self.functions:
            if row.executor == "thread" and row.count >= 2 * _ENOUGH:
                alone, together = self._by_company(row.name)
                if len(alone) < _ENOUGH or len(together) < _ENOUGH:
                    continue
                slow, fast = quantile(sorted(together), 0.5), quantile(sorted(alone), 0.5)
                if slow >= _SLOWER * fast and excess_of(together, alone) >= _CERTAIN:
                    found.append((row.name, fast, slow, row.total))
        return found

    def _by_company(self, name: str) -> tuple[list[float], list[float]]:
        """The seconds of the calls of a function that began alone, and of those that did not."""
        schedule = self.schedule
        calls = [call for call in schedule.by_executor.get("thread", ()) if schedule.name_of(call) == name]
        going = running(calls)
        alone: list[float] = []
        together: list[float] = []
        for call in calls:
            # How many there are at its beginning does not depend on how long it takes; how many there are
            # meanwhile does, and short calls would seem to be alone more often.
            is_alone = going.at(call.began) <= 1
            (alone if is_alone else together).append(call.ended - call.began)
        return alone, together
