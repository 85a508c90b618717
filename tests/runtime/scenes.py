"""Graphs of all kinds, whose nodes tell what is going on in them: for tests of what comes of a run."""

from __future__ import annotations

import asyncio
import contextlib
import operator
import threading
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from typing import Any

import asyncgraph
from asyncgraph import Retry, check_cancelled, compute, delayed, resource, start, when
from tests.runtime.durations import short, tiny
from tests.runtime.turns import turns

# Seconds that no test takes.
NEVER = 1e9


class Mine(Exception):
    """What a node of a test raises."""


total = delayed(lambda *numbers: sum(numbers), executor="loop", name="total")


class Scene:
    """One run of a graph: its nodes, and what is going on in them.

    Args:
        graph: Makes the nodes that are asked for.

    Attributes:
        request: The nodes that are asked for.
        options: What `compute` is called with beside them.
        expected: What it returns.
        running: The names of what has begun and not ended.
        cut_short: The names of what was cancelled while it cleaned up after a cancel.
        gate: Lets go of what is held in a thread; `opener` opens it.
        is_deaf: Whether that does not ask whether it is to stop.
    """

    def __init__(self, graph: Graph) -> None:
        self.running: list[str] = []
        self.cut_short: list[str] = []
        self.gate = threading.Event()
        self.options: dict[str, Any] = {}
        self.is_deaf = False
        self._loop = asyncio.get_running_loop()
        self._is_held = asyncio.Event()
        self.request, self.expected = graph(self)

    def compute(self, **options: Any) -> Coroutine[Any, Any, Any]:
        """Run it, and wait for that."""
        return compute(self.request, **self.options, **options)

    # -- what nodes do

    @contextlib.contextmanager
    def doing(self, name: str) -> Iterator[None]:
        """Something is running."""
        self.running.append(name)
        try:
            yield
        finally:
            self.running.remove(name)

    async def work(self, number: int, *_: Any) -> int:
        """Wait for a while, also to clean up."""
        with self.doing(f"coroutine {number}"):
            was_cancelled = False
            try:
                await turns(2)
                return number
            except asyncio.CancelledError:
                was_cancelled = True
                raise
            finally:
                await self.clean_up(f"coroutine {number}", was_cancelled)

    async def clean_up(self, name: str, was_cancelled: bool) -> None:
        """Wait once more: a cancel may come here, too, if none has come before."""
        try:
            await turns(2)
        except asyncio.CancelledError:
            if was_cancelled:
                self.cut_short.append(name)
            raise

    def calculate(self, number: int, *_: Any) -> int:
        """Do not wait at all."""
        with self.doing(f"call {number}"):
            return number

    def hold(self, number: int, *_: Any) -> int:
        """Wait in a thread until the gate is open, or the run is stopped."""
        with self.doing(f"thread {number}"):
            self._loop.call_soon_threadsafe(self._is_held.set)
            while not self.gate.wait(0.0005):
                if not self.is_deaf:
                    check_cancelled()
            return number

    async def open(self, number: int, *_: Any) -> int:
        """Open the gate when somebody waits there."""
        with self.doing(f"opener {number}"):
            await self._is_held.wait()
            # A thread begins at no certain step of the loop: some are to find it there, whichever that is.
            await turns(5 if self.is_deaf else 0)
            self.gate.set()
            return number

    @contextlib.asynccontextmanager
    async def opened(self, number: int, *_: Any) -> AsyncIterator[list[int]]:
        """Wait to open, and to close."""
        with self.doing(f"resource {number}"):
            try:
                await asyncio.sleep(0)
            except asyncio.CancelledError:
                await self.clean_up(f"resource {number}", was_cancelled=True)
                raise
            try:
                yield [number]
            finally:
                await self.clean_up(f"closing {number}", was_cancelled=True)

    # -- nodes

    def coroutine(self, number: int, *after: Any) -> Any:
        """A coroutine, whose value is the number."""
        return delayed(self.work, name="coroutine")(number, *after)

    def inline(self, number: int, *after: Any) -> Any:
        """A plain function on the loop."""
        return delayed(self.calculate, executor="loop", name="inline")(number, *after)

    def thread(self, number: int, *after: Any) -> Any:
        """A call in a thread."""
        return delayed(self.calculate, executor="thread", name="thread")(number, *after)

    def held(self, number: int, *after: Any, **options: Any) -> Any:
        """A call in a thread that goes on until a node lets go of it: one such in a graph.

        The scheduler does not know of that: there have to be slots for the rest to go on beside the two.
        """
        return delayed(self.hold, executor="thread", name="held", **options)(number, *after)

    def opener(self, number: int, *after: Any) -> Any:
        """The node that lets go of it."""
        return delayed(self.open, name="opener")(number, *after)


Graph = Callable[[Scene], tuple[list[Any], Any]]


def on_the_loop(scene: Scene) -> tuple[list[Any], Any]:
    """Coroutines and inline calls, which go the straight way."""
    first = [scene.inline(1), scene.coroutine(2), scene.coroutine(3), scene.coroutine(4)]
    second = [scene.coroutine(5, *first[:2]), scene.inline(6, first[2]), scene.coroutine(7, *first)]
    return [total(*first, *second), second[0]], [28, 5]


def mixed(scene: Scene) -> tuple[list[Any], Any]:
    """Coroutines, inline calls and threads, which wait for each other."""
    first = [scene.inline(1), scene.coroutine(2), scene.coroutine(3), scene.thread(4)]
    held, opener = scene.held(5), scene.opener(6)
    second = [scene.coroutine(7, *first), scene.inline(8, held), scene.thread(9, opener)]
    return [total(*first, held, opener, *second), second[0]], [45, 7]


def growing(scene: Scene) -> tuple[list[Any], Any]:
    """Functions of all kinds that return nodes, or coroutines, in place of values."""

    def grow(depth: int) -> Any:
        if not depth:
            return scene.coroutine(0)
        return total(scene.coroutine(depth), delayed(grow, executor="loop")(depth - 1))

    async def later(depth: int) -> Any:
        await turns(1)
        return grow(depth)

    grown = [delayed(grow, executor="loop")(2), delayed(later)(1), delayed(grow, executor="thread")(1)]
    opaque = [delayed(lambda: scene.work(4), executor=executor)() for executor in ("loop", "thread")]
    return [*grown, scene.thread(5, *grown), *opaque], [3, 1, 1, 5, 4, 4]


def nested(scene: Scene) -> tuple[list[Any], Any]:
    """Nodes that compute graphs themselves: on the same loop, in the background, on a loop of their own."""

    async def outer() -> int:
        with scene.doing("outer"):
            return sum(await compute(scene.thread(1), scene.coroutine(2), scene.coroutine(3)))

    async def background() -> Any:
        with scene.doing("background"):
            return await start(total(scene.coroutine(4), scene.inline(5)))

    def in_thread() -> int:
        return asyncgraph.run(total(scene.coroutine(6), scene.inline(7)))

    return [delayed(outer)(), delayed(background)(), delayed(in_thread, executor="thread")()], [6, 9, 13]


def retried(scene: Scene) -> tuple[list[Any], Any]:
    """Nodes that fail at first, wait and try again; those that can have a timeout have one."""
    failed: dict[int, int] = {}

    def flaky(number: int) -> int:
        failed[number] = failed.get(number, 0) + 1
        if failed[number] < 3:
            raise Mine(number)
        return scene.calculate(number)

    async def flaky_coroutine(number: int) -> int:
        await scene.work(number)
        return flaky(number)

    options = {"retries": Retry(attempts=3, on=Mine, backoff=0.0003), "timeout": NEVER}
    first = delayed(flaky_coroutine, **options)(1)
    second = delayed(flaky, executor="thread", **options)(2)
    third = delayed(flaky, executor="loop", retries=options["retries"])(3)
    return [total(first, second, third), scene.coroutine(4, third)], [6, 4]


def failing(scene: Scene) -> tuple[list[Any], Any]:
    """Failures that do not stop the rest; each is counted as ten."""
    scene.options["return_exceptions"] = True

    def fail(*_: Any) -> None:
        raise Mine

    async def fail_later(*_: Any) -> None:
        await scene.work(0)
        raise Mine

    failures = [delayed(fail, executor="loop")(), delayed(fail, executor="thread")(), delayed(fail_later)()]
    behind = scene.coroutine(1, failures[2])
    held, opener = scene.held(2), scene.opener(3, scene.coroutine(4))
    return [*failures, behind, held, opener], [10, 10, 10, 10, 2, 3]


def in_window(scene: Scene) -> tuple[list[Any], Any]:
    """Short calls, which threads take many at a time, also those that wait for others."""
    function = short(delayed(scene.calculate, executor="thread"))
    first = [function(number) for number in range(4)]
    second = [function(number, first[number % 4], first[0]) for number in range(4, 10)]
    return [total(*second), function(10, *second), scene.coroutine(11, second[0])], [39, 10, 11]


def in_stretches(scene: Scene) -> tuple[list[Any], Any]:
    """Tiny calls, which a thread takes one after another without a scheduler."""
    function = tiny(delayed(scene.calculate, executor="thread"))
    first = [function(number) for number in range(30)]
    second = scene.inline(30, *first)
    return [total(*first), function(31, second), function(32)], [435, 31, 32]


def with_resources(scene: Scene) -> tuple[list[Any], Any]:
    """Context managers that wait when they are entered and left, one of which needs another."""

    @contextlib.contextmanager
    def opened_at_once(number: int, *_: Any) -> Iterator[int]:
        with scene.doing(f"resource {number}"):
            yield number

    outer = resource(scene.opened, scene.coroutine(1))
    inner = resource(scene.opened, 2, outer)
    plain = resource(opened_at_once, 3, scene.inline(0))
    first = [scene.coroutine(4, inner), scene.thread(5, outer), total(plain, scene.coroutine(6))]
    part = delayed(operator.itemgetter(0), executor="loop")(inner)
    return [total(*first), scene.coroutine(7, inner[0], part, *first), scene.inline(8, plain)], [18, 7, 8]


def with_choices(scene: Scene) -> tuple[list[Any], Any]:
    """Choices, of which one waits for another, and whose sides are of all kinds."""
    shared = scene.coroutine(1)
    first = when(scene.coroutine(0), scene.thread(2), total(shared, scene.coroutine(3)))
    second = when(first, scene.coroutine(5, shared), scene.inline(6))
    third = when(scene.thread(7, second), total(scene.inline(8), shared), scene.coroutine(9))
    return [first, second, third, shared], [4, 5, 9, 1]


def small(scene: Scene) -> tuple[list[Any], Any]:
    """A few nodes that wait for each other, for what is tried at each step twice over."""
    return [total(scene.coroutine(1), scene.held(2), scene.opener(3))], [6]


def small_with_resource(scene: Scene) -> tuple[list[Any], Any]:
    """The same, with something to close."""
    opened = resource(scene.opened, 1)
    return [scene.coroutine(2, opened), scene.thread(3, resource(scene.opened, 4, opened))], [2, 3]


GRAPHS = [
    on_the_loop,
    mixed,
    growing,
    nested,
    retried,
    failing,
    in_window,
    in_stretches,
    with_resources,
    with_choices,
]
