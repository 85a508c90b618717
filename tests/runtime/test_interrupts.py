"""Ctrl-C amid asyncgraph's own work: wherever it strikes, the program ends, and nothing is left running."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import sys
import threading
import warnings
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from asyncgraph import Runtime, compute, delayed
from tests.interrupting import Interrupt, everywhere

ON_LOOP = (
    "_runtime/coroutines.py",
    "_runtime/dispatch.py",
    "_runtime/execution.py",
    "_runtime/growth.py",
    "_runtime/outcomes.py",
    "_runtime/parts.py",
    "_runtime/preparation.py",
    "_runtime/processes.py",
    "_runtime/run.py",
    "_runtime/runner.py",
    "_runtime/straight.py",
    "_runtime/waiting.py",
    "_runtime/way.py",
)
WITH_THREADS = (*ON_LOOP, "_runtime/threads.py", "_runtime/window.py", "executors/thread.py")


class Program:
    """A graph of all kinds that is run in a loop, interrupted, and ended as `asyncio.Runner` does it.

    Args:
        interrupt: Strikes from the beginning on, or after the cancel.
        is_cancelled: Whether the program is cancelled by one of the nodes, as by the first Ctrl-C.

    Attributes:
        begun: The coroutine nodes that have begun.
        ended: Those that have ended, cleaning up included.
        main: The main task.
        runtime: What it runs in.
    """

    def __init__(self, interrupt: Interrupt, *, is_cancelled: bool) -> None:
        self.begun: list[str] = []
        self.ended: list[str] = []
        self.main: asyncio.Task[Any]
        self.runtime = Runtime(threads=2)
        self._interrupt = interrupt
        self._is_cancelled = is_cancelled
        self._may_end = threading.Event()

    async def coroutine(self, name: str, *_: Any) -> str:
        """Suspend, and clean up."""
        self.begun.append(name)
        try:
            await asyncio.sleep(0)
        finally:
            try:  # Ctrl-C may come here, too
                await asyncio.sleep(0)
            finally:
                self.ended.append(name)
        return name

    async def cancel(self, *_: Any) -> None:
        """Cancel the main task; from here on Ctrl-C strikes."""
        self._interrupt.__enter__()
        self.main.cancel()
        self._may_end.set()
        await asyncio.sleep(0)

    def thread(self, *_: Any) -> None:
        """A call in a thread."""

    def long(self, *_: Any) -> None:
        """A call in a thread that goes on when the program is cancelled."""
        assert self._may_end.wait(30)

    async def run(self) -> Any:
        """Compute the graph."""
        first = [delayed(self.coroutine)(f"first{i}") for i in range(3)]
        second = [delayed(self.thread)(*first), delayed(len, executor="loop")(first)]
        last = delayed(lambda *_: delayed(self.coroutine)("returned"), executor="loop")(*second)
        if self._is_cancelled:
            last = [last, delayed(self.long)(*second), delayed(self.cancel)(*second)]
        behind = delayed(self.coroutine)("last", last)
        async with self.runtime:
            return await compute(behind, second)

    def live(self, loop: asyncio.AbstractEventLoop) -> None:
        """Run it until it ends, or is interrupted; and then to its end."""
        self.main = loop.create_task(self.run())
        try:
            with contextlib.nullcontext() if self._is_cancelled else self._interrupt:
                loop.run_until_complete(self.main)
        except asyncio.CancelledError:
            pass
        except KeyboardInterrupt:
            end(loop)
        finally:
            sys.settrace(None)


def end(loop: asyncio.AbstractEventLoop) -> None:
    """What `asyncio.Runner` does when it is closed."""
    tasks = asyncio.all_tasks(loop)
    for task in tasks:
        task.cancel()
    if tasks:
        loop.run_until_complete(asyncio.gather(*tasks, return_exceptions=True))
    loop.run_until_complete(loop.shutdown_asyncgens())


@contextlib.contextmanager
def fresh_loop(factory: Callable[[], asyncio.AbstractEventLoop]) -> Iterator[asyncio.AbstractEventLoop]:
    """A loop that nobody else has used, and that does not complain of tasks that Ctrl-C has ended."""
    loop = factory()
    loop.set_exception_handler(lambda _, context: None)
    try:
        yield loop
    finally:
        end(loop)
        loop.close()


@contextlib.contextmanager
def coroutines_never_begun() -> Iterator[None]:
    """Where garbage is collected by hand only, and may have coroutines in it that nobody has awaited."""
    # Ctrl-C may come when a coroutine was made and is not begun. CPython warns of it when it is collected;
    # but if that is amid a NamedTuple's `__new__`, which has no builtins, it fails to import `warnings`.
    gc.disable()
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "coroutine .* was never awaited", RuntimeWarning)
            yield
            gc.collect()
    finally:
        gc.enable()


def live_through(
    interrupt: Interrupt, factory: Callable[[], asyncio.AbstractEventLoop], *, is_cancelled: bool
) -> None:
    """A program is interrupted, and ends with all that it has begun."""
    program = Program(interrupt, is_cancelled=is_cancelled)
    with fresh_loop(factory) as loop:
        program.live(loop)
        assert program.main.done(), interrupt.where
        program.runtime.close()  # as at the end of the interpreter, if Ctrl-C came when it was closed
    assert sorted(program.ended) == sorted(program.begun), interrupt.where


@pytest.mark.parametrize("is_cancelled", [False, True], ids=["running", "cancelled"])
# The lines are the same on both loops: on the second every third will do.
@pytest.mark.parametrize(("loops", "step"), [("asyncio", 1), ("uvloop", 3)], ids=["asyncio", "uvloop"])
def test_an_interrupt_at_any_line(loops: str, step: int, is_cancelled: bool) -> None:
    """Whether a run goes on or is being cancelled: what Ctrl-C cuts short keeps nobody from ending."""
    factory = pytest.importorskip(loops).new_event_loop
    struck = 0
    with coroutines_never_begun():
        for make in everywhere(*(WITH_THREADS if is_cancelled else ON_LOOP), step=step):
            interrupt = make()
            live_through(interrupt, factory, is_cancelled=is_cancelled)
            struck += interrupt.has_struck
            gc.collect(0)  # what is garbage now is that young
    assert struck > 100
