"""`dump` and `dump_on_signal`: what all runs of this process are at, for whoever finds that nothing moves."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import threading
from collections.abc import Callable
from types import FrameType
from typing import Any, TextIO

from asyncgraph._runtime.description import seen
from asyncgraph._runtime.run import Run
from asyncgraph._runtime.runtime import going_on
from asyncgraph._runtime.writing import write

__all__ = ["dump", "dump_on_signal"]

# A fault of machine code raises them again as soon as a handler in Python has been noted for later.
_FAULTS = {"SIGBUS", "SIGFPE", "SIGILL", "SIGSEGV"}


def dump(*, file: TextIO | None = None) -> None:
    """Write what all runs of this process are at that are not over, whichever loop they are on.

    `Run.dump` says what is written of each; the longest-running one comes first. Runs that `await node` and
    `compute` have begun are among them. It may be called from any thread, also while a loop is blocked.

    Args:
        file: Where to; by default `sys.stderr`.

    Raises:
        Exception: What `file` raises. Writing to `sys.stderr` raises nothing.

    Example:
        >>> import asyncio, sys
        >>> from asyncgraph import delayed, dump, start
        >>> @delayed
        ... async def listen():
        ...     await asyncio.sleep(3600)
        >>> run = start(listen())
        >>> await asyncio.sleep(0.1)
        >>> dump(file=sys.stdout)
        asyncgraph in process ...: 1 run
        Run of listen-...: running for ... s; 1 node: 1 running
          running:
            listen-...: on the loop, suspended for ... s
              at ...
              built at ...
        >>> run.cancel()
        True
    """
    write(_description(), file)


def dump_on_signal(signum: int | None = None) -> None:
    """Let this process call `dump()` whenever it gets a signal, for instance from `kill -USR1 PID`.

    That works on every event loop, also while a node blocks it: the main thread does it between two
    instructions, or as soon as a call that it is in returns from C. What has handled the signal before, a
    function or an event loop, does so after that. What the system would have done by itself, such as to end
    the program, is not done any more: so give a signal that is used for nothing else. To do it again for the
    same one changes nothing; `signal.signal(signum, signal.SIG_DFL)` takes it back.

    Args:
        signum: The signal; by default `signal.SIGUSR1`, which Windows does not have.

    Raises:
        RuntimeError: This is not the main thread, where alone signals can be handled.
        TypeError: `signum` is no number.
        ValueError: There is no such signal, or none that can be handled in Python.

    Example:
        >>> import signal
        >>> from asyncgraph import dump_on_signal
        >>> dump_on_signal(signal.SIGUSR2)
        >>> _ = signal.signal(signal.SIGUSR2, signal.SIG_DFL)
    """
    number = _checked(signum)
    if threading.current_thread() is not threading.main_thread():
        raise RuntimeError(
            "signals are handled by the main thread, and this is another one: call dump_on_signal in that"
        )
    before = signal.getsignal(number)
    if isinstance(before, _Handler):
        return
    try:
        signal.signal(number, _Handler(before))
    except (OSError, ValueError) as error:
        raise ValueError(f"{number.name} cannot be handled: give another, such as {_example()}") from error


class _Handler:
    """Dumps, and then does what was done before.

    Args:
        before: What the signal was handled by.
    """

    def __init__(self, before: Any) -> None:
        self._then: Callable[[int, FrameType | None], Any] | None = before if callable(before) else None

    def __call__(self, signum: int, frame: FrameType | None) -> None:
        """Handle the signal. Nothing of ours is raised into whatever the program is at."""
        dump()
        if self._then is not None:
            self._then(signum, frame)


def _description() -> str:
    runs: list[Run[Any]] = []

    def count() -> list[str]:
        runs[:] = sorted(going_on(), key=lambda run: run.age, reverse=True)
        return [f"asyncgraph in process {os.getpid()}: {len(runs)} run{'' if len(runs) == 1 else 's'}"]

    lines = seen(count)
    return "".join([*(f"{line}\n" for line in lines), *(run.description() for run in runs)])


def _checked(signum: object) -> signal.Signals:
    """The signal that is meant.

    Raises:
        TypeError: It is no number.
        ValueError: It is no signal, or none that can be handled.
    """
    if signum is None:
        default = getattr(signal, "SIGUSR1", None)
        if default is None:
            raise ValueError(
                f"there is no SIGUSR1 on this system: name a signal, as in dump_on_signal({_example()})"
            )
        return signal.Signals(default)
    if not isinstance(signum, int) or isinstance(signum, bool):
        raise TypeError(f"dump_on_signal takes a signal, such as {_example()}, not {signum!r}")
    known = None
    with contextlib.suppress(ValueError):
        known = signal.Signals(signum)
    if known is None:
        raise ValueError(f"there is no signal {signum}: give one of signal.Signals, such as {_example()}")
    if known.name in _FAULTS:
        raise ValueError(
            f"{known.name} tells of a fault in machine code, which no function in Python can handle: "
            "use faulthandler.enable()"
        )
    return known


def _example() -> str:
    return "signal.SIGBREAK" if sys.platform == "win32" else "signal.SIGUSR1"
