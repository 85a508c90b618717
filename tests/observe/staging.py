"""Runs that go on as they are told to, on a clock set by hand, and what a progress bar shows of them."""

# ruff: noqa: D102, D103 - helpers whose names say it

from __future__ import annotations

import asyncio
import sys
import threading
from collections import defaultdict
from collections.abc import Callable
from typing import Any, TextIO

from asyncgraph import delayed
from asyncgraph.observe import FunctionProgress, ObservedRun, ProgressBar, RunFinished, RunStarted, Statistics
from asyncgraph.observe.progress import painter
from asyncgraph.observe.progress.view import Row, summed
from tests.observe.screen import snapshot

TURNS = 100
"""Passes of the loop within which everything that can go on has gone on."""


class Clock:
    """A clock that is set by hand. For a thread that waits time is never up: it draws nothing by itself."""

    def __init__(self) -> None:
        self.time = 1000.0
        self.cost = 0.0

    def now(self) -> float:
        return self.time

    def spent(self) -> float:
        return self.cost

    def wait(self, changed: threading.Condition, seconds: float) -> bool:
        changed.wait()
        return False


class Bar(ProgressBar):
    """A progress bar on such a clock, for runs whose times are real: they begin when the clock says."""

    def __init__(self, clock: Clock, **options: Any) -> None:
        super().__init__(**options)
        self._clock = clock
        self._began: dict[int, float] = {}

    def __call__(self, event: Any) -> None:
        if isinstance(event, RunStarted):
            self._began[event.run.id] = self._clock.now()
            super().__call__(event._replace(run=Shifted(event.run, self._clock.now())))
        elif isinstance(event, RunFinished):
            run = Shifted(event.run, self._began.pop(event.run.id))
            super().__call__(event._replace(run=run, time=self._clock.now()))


class Shifted:
    """A run that has begun at another time."""

    def __init__(self, run: ObservedRun, began: float) -> None:
        self._run = run
        self.began = began

    def __getattr__(self, name: str) -> Any:
        return getattr(self._run, name)


class FakeRun:
    """A run of which nothing is real."""

    def __init__(self, id: int = 1, name: str = "total-1", began: float = 1000.0, outer: Any = None) -> None:
        self.id = id
        self.name = name
        self.began = began
        self.wall_time = 0.0
        self.outer = outer
        self.runtime = None
        self.rows: list[FunctionProgress] = []
        self.asked = 0

    def say(self, name: str, nodes: int, running: int = 0, finished: int = 0, **other: int) -> None:
        """Say so of a function from now on."""
        troubles = [other.get(state, 0) for state in ("failed", "not_run", "cancelled")]
        row = FunctionProgress(name, nodes, running, finished, *troubles)
        names = [each.name for each in self.rows]
        if name in names:
            self.rows[names.index(name)] = row
        else:
            self.rows.append(row)

    def progress(self) -> list[FunctionProgress]:
        self.asked += 1
        return list(self.rows)

    def statistics(self) -> Statistics:
        nodes, *counts = summed("", [Row(*row) for row in self.rows])[1:7]
        return Statistics(nodes, nodes - sum(counts), 0, *counts, 0.0)


def began(run: Any) -> RunStarted:
    return RunStarted(run, run.began)


def ended(run: Any, clock: Clock, state: str = "finished") -> RunFinished:
    return RunFinished(run, clock.now(), state, None)


def draw() -> None:
    """Draw everything that it is time for."""
    for each in list(painter._painters.values()):
        each.round()


class Stage:
    """A program whose nodes end when it says so, in a terminal whose screen is looked at.

    Attributes:
        clock: The time.
        bar: The bar.
    """

    def __init__(self, file: TextIO | None = None, **options: Any) -> None:
        self.clock = Clock()
        self.bar = Bar(self.clock, file=file, **{"minimum": 0, **options})
        self._file = file or sys.stderr
        self._gates: defaultdict[str, asyncio.Semaphore] = defaultdict(lambda: asyncio.Semaphore(0))

    def function(self, name: str, act: Callable[..., Any] | None = None) -> Any:
        """A function whose calls end when they are let go, and then do what `act` does."""

        async def call(*values: Any) -> Any:
            await self._gates[name].acquire()
            result = None if act is None else act(*values)
            return await result if asyncio.iscoroutine(result) else result

        return delayed(call, name=name)

    async def let(self, name: str, count: int) -> None:
        """Let so many calls end."""
        for _ in range(count):
            self._gates[name].release()
        await self.settle()

    async def settle(self) -> None:
        """Let everything go on that can."""
        for _ in range(TURNS):
            await asyncio.sleep(0)

    def look(self, name: str, after: float = 0.0) -> None:
        """Draw so many seconds later, and take a snapshot of the screen."""
        self.clock.time += after
        draw()
        self._file.write(snapshot(name))
        self._file.flush()
