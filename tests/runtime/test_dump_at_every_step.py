"""`dump` only looks: at whatever step of a run that is done, it changes nothing and keeps nothing alive."""

from __future__ import annotations

import asyncio
import functools
import itertools
import sys
import threading
import weakref
from collections.abc import Iterator
from types import FrameType
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from asyncgraph import Run, delayed, start
from asyncgraph._graph import node as nodes
from asyncgraph._runtime import (
    description,
)
from tests.reliability.harness import Thing, without_collector
from tests.runtime.background import begin
from tests.runtime.dumping import SECONDS, endless, going_on, read, tells
from tests.runtime.durations import short, tiny
from tests.runtime.eager import eager_loop  # noqa: F401 - a fixture


@pytest.fixture(autouse=True)
def _numbers(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the numbers in keys begin with 1."""
    monkeypatch.setattr(nodes, "_counters", {})


def test_what_changes_is_looked_at_again() -> None:
    """What fails again and again is said to have failed, and everything else is told all the same."""
    outcomes: Iterator[Any] = iter(
        [RuntimeError("set changed size"), AttributeError("gone"), ["  all is well"]]
    )

    def look() -> list[str]:
        outcome = next(outcomes)
        if isinstance(outcome, Exception):
            raise outcome
        lines: list[str] = outcome
        return lines

    assert description.seen(look) == ["  all is well"]
    outcomes = itertools.repeat(KeyError(1))
    assert description.seen(look) == ["  (this changes too fast to be looked at: KeyError(1))"]


class Look:
    """Looks at a run at one line of asyncgraph after another: nothing may be wrong there.

    Args:
        run: The run, once there is one.
        step: At how many lines it goes by before the next look.
    """

    MODULES = (
        "_graph/scheduler.py",
        *(f"_runtime/{name}.py" for name in ("coroutines", "dispatch", "execution", "growth", "outcomes")),
        *(f"_runtime/{name}.py" for name in ("parts", "preparation", "run", "runner", "slots", "straight")),
        *(f"_runtime/{name}.py" for name in ("threads", "way")),
    )

    def __init__(self, step: int = 1) -> None:
        self.run: Run[Any] | None = None
        self.count = 0
        self._step = step
        self._is_looking = False

    def __call__(self, frame: FrameType, event: str, argument: Any) -> Any:
        """Trace a function."""
        return self._line if frame.f_code.co_filename.endswith(self.MODULES) else None

    def _line(self, frame: FrameType, event: str, argument: Any) -> Any:
        if event == "line" and not self._is_looking and self.run is not None:
            self.count += 1
            if self.count % self._step == 0:
                self._look()
        return self._line

    def _look(self) -> None:
        assert self.run is not None
        self._is_looking = True
        try:
            read(self.run.dump)
        finally:
            self._is_looking = False


def _join(name: str, *values: Any) -> tuple[Any, ...]:
    return (name, *values)


async def _join_later(name: str, *values: Any) -> tuple[Any, ...]:
    await asyncio.sleep(0)
    return (name, *values)


def _join_node(name: str, *values: Any) -> Any:
    return KINDS["inline"](name, *values)


def _fail_at_first(failed: list[Any], name: str, *values: Any) -> Any:
    if name not in failed:
        failed.append(name)
        raise ConnectionError(name)
    return (name, *values)


KINDS = {
    "inline": delayed(_join, executor="loop"),
    "later": delayed(_join_later),
    "node": delayed(_join_node, executor="loop"),
    "thread": delayed(_join, executor="thread"),
    "tiny thread": tiny(delayed(functools.partial(_join), executor="thread")),
    "short thread": short(delayed(functools.partial(_join), executor="thread")),
    "timed": delayed(_join_later, timeout=3600),
    "again": delayed(functools.partial(_fail_at_first, []), executor="loop", retries=1, name="again"),
    "failing": delayed(lambda *_: divmod(1, 0), executor="loop", name="failing"),
}

graphs = st.lists(
    st.tuples(st.sampled_from(sorted(KINDS)), st.lists(st.integers(min_value=0, max_value=5), max_size=3)),
    min_size=1,
    max_size=8,
)


def built(graph: list[tuple[str, list[int]]], names: Iterator[int]) -> Any:
    """The nodes of a graph: each depends on some of those before it."""
    made: list[Any] = []
    for number, (kind, needs) in enumerate(graph):
        dependencies = [made[need % number] for need in needs] if number else []
        made.append(KINDS[kind](f"n{next(names)}", *dependencies))
    return made


@settings(max_examples=20)
@given(graph=graphs, is_resumable=st.booleans(), cancel_at=st.none() | st.integers(1, 400))
def test_at_every_step(graph: Any, is_resumable: bool, cancel_at: int | None) -> None:
    """Whatever line asyncgraph is at, a dump can be made, and the run ends as it does without any."""
    names = itertools.count()
    look = Look(step=7)

    async def main(look: Look | None) -> list[Any]:
        run = (start if is_resumable else begin)(built(graph, names), return_exceptions=True)
        if look is None:
            return list(await run)
        look.run = run
        before = sys.gettrace()
        sys.settrace(look)
        try:
            while not run.done():
                await asyncio.sleep(0)
                if cancel_at is not None and look.count > cancel_at:
                    run.cancel()
        finally:
            sys.settrace(before)
        read(run.dump)
        try:
            return list(await run)
        except asyncio.CancelledError:
            assert cancel_at is not None
            return []

    expected = asyncio.run(main(None))
    seen = asyncio.run(main(look))
    if seen or cancel_at is None:
        assert [type(each) for each in seen] == [type(each) for each in expected]


async def test_nothing_is_kept_alive() -> None:
    """A look holds no frame, and so no value of a call, which ends later."""
    may_end = threading.Event()
    seen: list[weakref.ref[Thing]] = []
    loop, begun = asyncio.get_running_loop(), asyncio.Event()

    def in_thread() -> None:
        thing = Thing()
        seen.append(weakref.ref(thing))
        loop.call_soon_threadsafe(begun.set)
        assert may_end.wait(SECONDS)

    async def on_loop() -> None:
        thing = Thing()
        seen.append(weakref.ref(thing))
        await asyncio.sleep(0)
        await begun.wait()
        del thing

    for go in (begin, start):
        with without_collector():
            begun.clear()
            may_end.clear()
            run = go([delayed(in_thread)(), delayed(on_loop)()])
            await begun.wait()
            for _ in range(3):
                read(run.dump)
            may_end.set()
            await run
            assert [each() for each in seen] == [None] * len(seen)


async def test_a_context_of_its_own(eager_loop: Any) -> None:  # noqa: F811 - the fixture
    """On a loop that begins tasks at once it works as well."""
    run = start(delayed(endless)())
    async with going_on(run):
        await tells(run.dump, "suspended")
        assert "endless-1: on the loop, suspended" in read(run.dump)
