"""Functions that return nodes, for each way of running them; worker processes import this module."""

# ruff: noqa: D103 - helpers whose names say it

from __future__ import annotations

import functools
import sys
import weakref
from pathlib import Path
from typing import Any, ClassVar

from asyncgraph import Retry, delayed
from tests.reliability.harness import hold

LANES = ["loop", "coroutine", "thread", "process"]


@functools.cache
def on(lane: str, name: str) -> Any:
    """One of the functions below, made lazy for a lane; coroutine functions end in `_later`."""
    if lane == "coroutine":
        return delayed(globals()[f"{name}_later"], name=name)
    return delayed(globals()[name], executor=lane)


# -- wide


def fibonacci(number: int, lanes: tuple[str, ...]) -> Any:
    """The next two calls are on the next of the lanes, in turn."""
    if number < 2:
        return number
    lane, *others = lanes
    turned = (*others, lane)
    lower = [on(lane, "fibonacci")(number - less, turned) for less in (1, 2)]
    return on(others[0] if others else lane, "added")(*lower)


async def fibonacci_later(number: int, lanes: tuple[str, ...]) -> Any:
    return fibonacci(number, lanes)


def added(one: int, other: int) -> int:
    return one + other


async def added_later(one: int, other: int) -> int:
    return one + other


# -- deep


class Luggage:
    """What is carried from call to call; how much of it is alive can be seen."""

    alive: ClassVar[weakref.WeakSet[Luggage]] = weakref.WeakSet()

    def __init__(self) -> None:
        self.alive.add(self)


class Seen:
    """What calls have seen of the memory, by how many were left then."""

    def __init__(self) -> None:
        self.blocks: dict[int, int] = {}
        self.pieces = 0

    def look(self, left: int) -> None:
        """Look around, now and then."""
        if left % 1000 == 500:
            self.blocks[left] = sys.getallocatedblocks()
            self.pieces = max(self.pieces, len(Luggage.alive))

    def grown(self) -> int:
        """How many blocks of memory more there were at the end than near the beginning."""
        deepest, *_, early, _ = sorted(self.blocks)
        return self.blocks[deepest] - self.blocks[early]


def descend(left: int, luggage: Any, seen: Seen, lane: str) -> Any:
    seen.look(left)
    return on(lane, "descend")(left - 1, Luggage(), seen, lane) if left else "bottom"


async def descend_later(left: int, luggage: Any, seen: Seen, lane: str) -> Any:
    return descend(left, luggage, seen, lane)


def packed(luggage: Any) -> Any:
    return Luggage()


async def packed_later(luggage: Any) -> Any:
    return Luggage()


def descend_with(left: int, luggage: Any, seen: Seen, lane: str) -> Any:
    """As `descend`; but what is carried is itself made by a node, out of what was carried."""
    seen.look(left)
    if not left:
        return "bottom"
    return on(lane, "descend_with")(left - 1, on(lane, "packed")(luggage), seen, lane)


async def descend_with_later(left: int, luggage: Any, seen: Seen, lane: str) -> Any:
    return descend_with(left, luggage, seen, lane)


@delayed(executor="process")
def descend_elsewhere(left: int) -> Any:
    return descend_elsewhere(left - 1) if left else "bottom"


@delayed(executor="process", retries=Retry(2, backoff=0))
def descend_at_second_attempts(left: int, folder: str) -> Any:
    """Fail when called with this for the first time."""
    mark = Path(folder) / str(left)
    if not mark.exists():
        mark.touch()
        raise ConnectionError(f"at {left}")
    return descend_at_second_attempts(left - 1, folder) if left else "bottom"


@delayed(executor="process")
def descend_and_fail(left: int) -> Any:
    if not left:
        raise ConnectionError("at 0")
    return descend_and_fail(left - 1)


@delayed(executor="process")
def descend_and_hold(left: int, path: str) -> Any:
    return descend_and_hold(left - 1, path) if left else hold(path)


@delayed(executor="process", timeout=1.0)
def descend_and_hold_too_long(left: int, path: str) -> Any:
    return descend_and_hold_too_long(left - 1, path) if left else hold(path)
