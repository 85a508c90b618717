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
    executors_of,
    functions_of,
    parallelism,
    quantile,
)
from asyncgraph.observe.report.path import CriticalPath, LongestChain, critical_path_of, longest_chain_of
from asyncgraph.observe.report.stalls import Stall, Suspect, suspects_of
from asyncgraph.observe.schedule import Schedule, schedule_of

__all__ = ["Study"]

# A call is alone if so little, and in company if so much, of the same function goes on beside it, on average;
# so many of each are compared; and so much longer the one must take.
_ALONE, _TOGETHER = 0.2, 0.8
_ENOUGH = 5
_SLOWER = 1.5


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
        return running(self.schedule)

    @cached_property
    def ready(self) -> Series:
        """How many nodes waited for a slot."""
        return ready(self.schedule)

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

        The first median is that of calls that were alone, the second that of those that were not.
        """
        found = []
        for row in self.functions:
            if row.executor == "thread" and row.count >= 2 * _ENOUGH:
                alone, together = self._by_company(row.name)
                if len(alone) < _ENOUGH or len(together) < _ENOUGH:
                    continue
                slow, fast = quantile(sorted(together), 0.5), quantile(sorted(alone), 0.5)
                if slow >= _SLOWER * fast:
                    found.append((row.name, fast, slow, row.total))
        return found

    def _by_company(self, name: str) -> tuple[list[float], list[float]]:
        """The seconds of the calls of a function that were alone, and of those that were not."""
        schedule = self.schedule
        calls = [
            call
            for call in schedule.calls
            if schedule.name_of(call) == name and schedule.executor_of(call) == "thread"
        ]
        edges = sorted([(call.began, 1) for call in calls] + [(call.ended, -1) for call in calls])
        # The integral, over time, of how many go on: its difference over a call is what goes on beside it.
        times: list[float] = []
        sums: list[float] = []
        count, total = 0, 0.0
        for time, change in edges:
            total += count * (time - times[-1]) if times else 0.0
            times.append(time)
            sums.append(total)
            count += change
        integral = dict(zip(times, sums, strict=True))
        alone, together = [], []
        for call in calls:
            seconds = call.ended - call.began
            if seconds <= 0:
                continue
            beside = (integral[call.ended] - integral[call.began]) / seconds - 1
            if beside <= _ALONE:
                alone.append(seconds)
            elif beside >= _TOGETHER:
                together.append(seconds)
        return alone, together
