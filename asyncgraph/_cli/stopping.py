"""While a command is being stopped: what it says of what it waits for, and the signal that ends it tidily.

Ctrl-C is asyncio's: it cancels the main task, and for the second time ends the program. SIGTERM does the same
here, so that the files that were asked for are written.
"""

from __future__ import annotations

import asyncio
import contextlib
import signal
import sys
from collections.abc import Iterator

from asyncgraph._runtime.runtime import going_on

__all__ = ["Termination", "told_while_stopping"]

# Seconds after which it is said what is waited for, or twice as many.
_PATIENCE = 1.0

# So many nodes are named.
_NAMED = 5


@contextlib.contextmanager
def told_while_stopping() -> Iterator[None]:
    """Say on standard error what has not ended, if the runs of the block take long to stop."""
    watch = _Watch()
    try:
        yield
    finally:
        watch.end()


class _Watch:
    """Looks now and then whether runs on this loop are being stopped; speaks once."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._main = asyncio.current_task()
        self._were_stopping = False
        self._timer = self._loop.call_later(_PATIENCE, self._look)

    def end(self) -> None:
        """Look no more."""
        self._timer.cancel()

    def _look(self) -> None:
        keys = _still_running()
        if keys and self._were_stopping:
            self._say(keys)
            return
        self._were_stopping = bool(keys)
        self._timer = self._loop.call_later(_PATIENCE, self._look)

    def _say(self, keys: list[str]) -> None:
        named = ", ".join(keys[:_NAMED]) + (f" and {len(keys) - _NAMED} more" if len(keys) > _NAMED else "")
        was_cancelled = self._main is not None and self._main.cancelling()
        how = "Ctrl-C again" if was_cancelled else "Ctrl-C twice"
        print(f"asyncgraph: stopping; waiting for {named} to end; {how} does not wait", file=sys.stderr)


def _still_running() -> list[str]:
    """The keys of what has not ended, in runs that are being stopped."""
    with contextlib.suppress(RuntimeError):  # another thread has just made a runtime: so the next time
        return [key for run in going_on() for key in run.still_stopping()]
    return []


class Termination:
    """SIGTERM cancels what is going on, as Ctrl-C does; for the second time it ends the program at once.

    Attributes:
        has_come: Whether it has come.
    """

    def __init__(self) -> None:
        self.has_come = False

    @contextlib.contextmanager
    def heeded(self) -> Iterator[None]:
        """Heed it in this block, if this is the main thread of a system that has it."""
        loop, main = asyncio.get_running_loop(), asyncio.current_task()
        assert main is not None

        def cancel() -> None:
            self.has_come = True
            loop.remove_signal_handler(signal.SIGTERM)
            main.cancel()

        with contextlib.suppress(NotImplementedError, RuntimeError, ValueError):
            loop.add_signal_handler(signal.SIGTERM, cancel)
        try:
            yield
        finally:
            with contextlib.suppress(NotImplementedError, RuntimeError, ValueError):
                loop.remove_signal_handler(signal.SIGTERM)
