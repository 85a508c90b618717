"""A loop that lets a test do something after any single step: between two callbacks that it runs.

Everything that happens on a loop is a callback: each step of a task, each future that wakes somebody, each
outcome that a thread or a worker sends. A `Strike` falls after the n-th of them; `everywhere` makes strikes
for n = 0, 1, 2, ... until what is struck has ended before. So a test sees all the moments at which a cancel
can come, as far as the loop is concerned. What threads do between two steps is their own affair, unless
`SteppedThreads` takes their place, which makes calls in steps of the loop.
"""

from __future__ import annotations

import asyncio
import collections
from collections.abc import Callable, Iterator
from typing import Any

from asyncgraph.executors.base import Call, perform

__all__ = ["SteppedThreads", "SteppingLoop", "Strike", "everywhere"]

# More than any run of these tests takes: one that takes more will never end.
_MOST = 5000


class SteppingLoop(asyncio.SelectorEventLoop):
    """An event loop that counts its steps, and whose clock can be put forward."""

    def __init__(self) -> None:
        super().__init__()
        self._ahead = 0.0
        self._strikes: list[Strike] = []
        # Where asyncio's loops have what they are to run next.
        self._ready = _Ready(self._stepped)

    def time(self) -> float:
        """Seconds, as of the loop's own clock."""
        return super().time() + self._ahead

    def leap(self, seconds: float) -> None:
        """Let so much time have passed: timers that are due by then are, in the next turn of the loop."""
        self._ahead += seconds

    def arm(self, strike: Strike) -> None:
        """Let a strike count the steps from here on, the present one included."""
        self._strikes.append(strike)

    def disarm(self, strike: Strike) -> None:
        """Let a strike fall no more."""
        if strike in self._strikes:
            self._strikes.remove(strike)

    def _stepped(self) -> None:
        for strike in self._strikes.copy():
            strike.count_down()


class Strike:
    """Something that is done once, after a given number of steps.

    Args:
        steps: After how many; none means at the end of the step in which it is armed.

    Attributes:
        steps: After how many.
        has_struck: Whether it has been done.
        afterwards: Called when it has been, for another strike to be armed.
    """

    def __init__(self, steps: int) -> None:
        self.steps = steps
        self.has_struck = False
        self.afterwards: Callable[[], object] | None = None
        self._left = steps
        self._action: Callable[[], object]
        self._loop: SteppingLoop | None = None

    def arm(self, action: Callable[[], object]) -> None:
        """Begin to count: `action()` is called, by nobody's task, when so many steps have been taken."""
        loop = asyncio.get_running_loop()
        assert isinstance(loop, SteppingLoop)
        self._loop, self._action = loop, action
        loop.arm(self)

    def disarm(self) -> None:
        """It does not fall any more."""
        if self._loop is not None:
            self._loop.disarm(self)

    def count_down(self) -> None:
        """A step has been taken."""
        if self._left:
            self._left -= 1
            return
        self.disarm()
        self.has_struck = True
        self._action()
        if self.afterwards is not None:
            self.afterwards()


def everywhere() -> Iterator[Strike]:
    """Strikes that fall one step later each time, until one has not fallen; each is to be used at once."""
    for steps in range(_MOST):
        strike = Strike(steps)
        yield strike
        strike.disarm()
        if not strike.has_struck:
            return
    raise AssertionError(f"it has not ended within {_MOST} steps")


class SteppedThreads:
    """Stands for the executor of threads: makes a call in one step of the loop, and delivers it in another.

    Not for calls that wait for something that happens on the loop.
    """

    def __init__(self, slots: int) -> None:
        self.slots = slots

    def start(self, call: Call) -> None:
        """Make a call soon."""
        asyncio.get_running_loop().call_soon(self._make, call)

    def _make(self, call: Call) -> None:
        outcome = call.context.run(perform, call.function, call.args, call.kwargs, call.key)
        asyncio.get_running_loop().call_soon(call.deliver, *outcome)

    async def aclose(self) -> None:
        """There is nothing to end."""

    def close(self) -> None:
        """Likewise."""


class _Ready(collections.deque[Any]):
    """Callbacks that are due; each that is taken out says so when it has been run."""

    def __init__(self, stepped: Callable[[], None]) -> None:
        super().__init__()
        self._stepped = stepped

    def popleft(self) -> _Step:
        return _Step(super().popleft(), self._stepped)


class _Step:
    """A callback, as far as a loop that is to run it wants to know."""

    __slots__ = ("_handle", "_stepped")

    def __init__(self, handle: asyncio.Handle, stepped: Callable[[], None]) -> None:
        self._handle = handle
        self._stepped = stepped

    def __repr__(self) -> str:
        return repr(self._handle)

    @property
    def _cancelled(self) -> bool:
        return self._handle.cancelled()

    def _run(self) -> None:
        self._handle._run()
        self._stepped()
