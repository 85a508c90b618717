"""`asyncgraph demo`: a small graph of all kinds of calls, and the pictures that are made of it.

The weather of some years at some stations, made up: it is "downloaded" by coroutines, which wait as a network
makes them wait, and of which one fails at first; analysed in worker processes; packed in threads; and merged
as a tree. It is the same on every run, but for the times.
"""

from __future__ import annotations

import argparse
import asyncio
import math
import random
import statistics
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar, NamedTuple

import asyncgraph
from asyncgraph import Runtime, delayed
from asyncgraph._cli.exits import FINE, MISUSED, CommandError
from asyncgraph._cli.output import write
from asyncgraph._graph.graph import Graph
from asyncgraph.observe import Event, NodeFinished, Observer, RunFinished

__all__ = ["demo"]

STATIONS = (
    "Graz",
    "Lund",
    "Turku",
    "Porto",
    "Nantes",
    "Ghent",
    "Siena",
    "Varna",
    "Riga",
    "Cork",
    "Basel",
    "Zadar",
)

_HOURS = 20 * 365 * 24

# The station whose first download fails, and seconds that downloads take.
_BUSY = "Ghent"
_FASTEST, _SLOWEST = 0.2, 1.2


class Weather(NamedTuple):
    """What was found out about some stations."""

    stations: int
    hours: int
    warmest: tuple[float, str]
    coldest: tuple[float, str]
    packed: int


def demo(options: argparse.Namespace) -> int:
    """Carry the command out; the exit code.

    Raises:
        CommandError: The folder cannot be made or written to.
    """
    folder: Path = options.folder
    try:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "report.html").touch()
    except OSError as error:
        raise CommandError(MISUSED, f"nothing can be written to {folder}: {error.strerror}") from None
    weather = graph_of(STATIONS)
    graph = Graph([weather])
    write(f"A graph of {len(graph)} nodes: downloads on the event loop, analyses in worker processes.\n")
    times = Times()
    found = asyncgraph.run(_computed(weather, times, folder))
    weather.visualize(filename=folder / "graph.svg")
    write(_summary(found, times, folder))
    return FINE


async def _computed(weather: Any, times: Times, folder: Path) -> Weather:
    from asyncgraph.observe import ProgressBar, Report, Trace

    async with Runtime():
        with Report(folder / "report.html"), Trace(folder / "trace.json"), times, ProgressBar():
            found: Weather = await weather
            return found


class Times(Observer):
    """How long the run takes, and how long its calls do, added up; in seconds."""

    kinds: ClassVar[frozenset[type[Event]]] = frozenset({NodeFinished, RunFinished})

    def __init__(self) -> None:
        self.of_calls = self.of_run = 0.0

    def __call__(self, event: NodeFinished | RunFinished) -> None:
        """Add it."""
        if isinstance(event, NodeFinished):
            self.of_calls += event.seconds
        else:
            self.of_run = event.seconds


def _summary(found: Weather, times: Times, folder: Path) -> str:
    return f"""\
{found.stations} stations, {found.hours:,} readings: {found.warmest[1]} is the warmest with \
{found.warmest[0]:.1f} degrees, {found.coldest[1]} the coldest with {found.coldest[0]:.1f}.
It took {times.of_run:.1f} s; its calls, added up, {times.of_calls:.1f} s.

Look at these in {folder}:
  graph.svg    the graph
  report.html  where the time went; for a browser
  trace.json   what ran when, and where; for https://ui.perfetto.dev
"""


# --- the graph ---


def graph_of(stations: Sequence[str]) -> Any:
    """The node that has the weather of all of them."""
    failing = {_BUSY}
    parts: list[Any] = []
    for name in stations:
        readings = download(name, failing)
        parts.append(found(name, analyse(name, readings), pack(readings)))
    while len(parts) > 1:
        odd_one = parts[len(parts) // 2 * 2 :]
        parts = [*map(merge, parts[::2], parts[1::2]), *odd_one]
    return parts[0]


@delayed(retries=2)
async def download(station: str, failing: set[str]) -> bytes:
    """How far each hour was from what is usual, in eighths of a degree: it takes a while to come."""
    chance = random.Random(station)
    await asyncio.sleep(chance.uniform(_FASTEST, _SLOWEST))
    if station in failing:
        failing.remove(station)
        raise ConnectionError(f"{station} is busy")
    return chance.randbytes(_HOURS)


@delayed(executor="process")
def analyse(station: str, readings: bytes) -> float:
    """The mean of the medians of all days, smoothed: it keeps a core busy."""
    mean = random.Random(station).uniform(0, 18)
    hours = [mean + usual(hour) + (reading - 128) / 8 for hour, reading in enumerate(readings)]
    days = [statistics.median(hours[hour : hour + 24]) for hour in range(0, len(hours), 24)]
    return statistics.fmean(statistics.fmean(days[max(0, day - 15) : day + 15]) for day in range(len(days)))


def usual(hour: int) -> float:
    """How much warmer it is than on average: of a year, and of a day."""
    return -11 * math.cos(hour / 8760 * math.tau) - 4 * math.cos(hour / 24 * math.tau)


@delayed
def pack(readings: bytes) -> int:
    """How many bytes the readings take when they are packed."""
    return len(zlib.compress(readings, 9))


@delayed(executor="loop")
def found(station: str, mean: float, packed: int) -> Weather:
    """What there is to say of one station."""
    return Weather(1, _HOURS, (mean, station), (mean, station), packed)


@delayed(executor="loop")
def merge(one: Weather, other: Weather) -> Weather:
    """What there is to say of both."""
    return Weather(
        one.stations + other.stations,
        one.hours + other.hours,
        max(one.warmest, other.warmest),
        min(one.coldest, other.coldest),
        one.packed + other.packed,
    )
