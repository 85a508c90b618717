"""`ProgressBar`: which runs are shown where, and from when on. Who shows them, and how, is not known here."""

from __future__ import annotations

import asyncio
import functools
import os
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, ClassVar, TextIO

from asyncgraph.observe.events import Event, RunFinished, RunStarted
from asyncgraph.observe.observer import Observer
from asyncgraph.observe.progress.painter import SYSTEM, Clock, begin
from asyncgraph.observe.progress.view import Display
from asyncgraph.observe.progress.watch import Watch

if TYPE_CHECKING:
    from rich.console import Console

__all__ = ["ProgressBar"]

DRAWN = 0.5
"""Seconds after which a run is shown where it is drawn: shorter ones would only flicker."""

WRITTEN = 10.0
"""Seconds after which lines are written about a run: requests of a service are shorter."""


class ProgressBar(Observer):
    """Shows how far runs are: of each function how many calls are done, running and failed, and how long.

    It is given to a run (`observers=[ProgressBar()]`) or to a runtime, or is a `with` block around runs.
    Where and how it shows them depends on where the program runs, which is looked at when a run begins:

    - **In a terminal** there are lines that are redrawn in place: one for the run and one for each
      function, as many as there is room for. What the program prints meanwhile, from whatever thread or
      process, comes to stand above them. When the run is over its lines stay as they are then. There are no
      colors if the variable NO_COLOR is set.
    - **In a notebook** there is the same as HTML, where the cell's output is.
    - **Anywhere else**, as in a log, a pipe or a terminal that cannot move its cursor (TERM=dumb), it
      writes a line about a run that has been going on for 10 seconds, further ones after 20, 40, 80 seconds
      and so on, at least every five minutes, and one when it is over. Of shorter runs it writes nothing, so
      that services stay silent.

    Runs that are over before `minimum` leave no trace. A run that is begun in a node of another is shown
    below that one while it goes on, and not in plain lines. Two bars in one terminal share it.

    It asks runs from a thread of its own, so that the display goes on while something blocks the loop, and
    takes at most two hundredths of the time. So of large runs it shows the functions later, those of a
    million nodes after some 15 seconds; until then there is the line of the run. What cannot be written (to
    a file that was closed) is reported once to the logger "asyncgraph", and changes nothing for the runs.

    Args:
        file: Where to; by default what `sys.stderr` is when a run begins. Nothing is shown if that is None.
        minimum: How many seconds a run has to take to be shown; by default 0.5, and 10 in plain lines.
        rich: Whether to draw with rich in a terminal, which adds spinners and colors, and lifts what the
            program prints above the display by replacing `sys.stdout` and `sys.stderr` meanwhile. A
            `rich.console.Console` is drawn on whatever it is. It takes `pip install 'asyncgraph[rich]'`.

    Raises:
        ImportError: rich is wanted and not there.
        TypeError: `file` cannot be written to, `minimum` is no number, or both a file and a console are
            given.
        ValueError: `minimum` is negative.

    Example:
        >>> import sys
        >>> from asyncgraph import delayed
        >>> from asyncgraph.observe import ProgressBar
        >>> total = delayed(sum)([delayed(abs)(number) for number in range(-3, 0)])
        >>> with ProgressBar(file=sys.stdout, minimum=0):
        ...     await total
        asyncgraph: sum-1: finished after ... s: 4 nodes
        6
    """

    kinds: ClassVar[frozenset[type[Event]]] = frozenset({RunStarted, RunFinished})
    _clock: Clock = SYSTEM

    def __init__(
        self, *, file: TextIO | None = None, minimum: float | None = None, rich: bool | Console = False
    ) -> None:
        _check(file, minimum)
        self._file = file
        self._minimum = minimum
        self._console = _console(rich, file)
        self._draws_with_rich = bool(rich)
        self._ends: dict[int, Callable[[str, float], None]] = {}

    def __call__(self, event: Any) -> None:
        """Hear of a run that begins or is over."""
        if isinstance(event, RunStarted):
            self._show(event)
        elif isinstance(event, RunFinished):
            end = self._ends.pop(event.run.id, None)
            if end is not None:
                end(event.state, event.seconds)

    def _show(self, event: RunStarted) -> None:
        file = sys.stderr if self._file is None else self._file
        found = self._place(file)
        if found is None:
            return
        kind, place, make = found
        usual = WRITTEN if kind == "lines" else DRAWN
        minimum = usual if self._minimum is None else self._minimum
        watch = Watch(event.run, minimum, asyncio._get_running_loop())
        self._ends[event.run.id] = begin((kind, id(place)), make, watch, self._clock)

    def _place(self, file: TextIO | None) -> tuple[str, object, Callable[[], Display]] | None:
        """What is shown where: the kind of display, what it is shown on, and how it is made."""
        if self._console is not None:
            return "rich", self._console, functools.partial(_rich, self._console)
        shell = None if self._file is not None else _notebook()
        if shell is not None:
            return "notebook", shell, _notebook_display
        if file is None or getattr(file, "closed", False):
            return None
        if not _can_be_drawn_on(file):
            return "lines", file, functools.partial(_lines, file)
        if self._draws_with_rich:
            return "rich", file, functools.partial(_rich_on, file)
        return "terminal", file, functools.partial(_terminal, file)


def _check(file: object, minimum: object) -> None:
    if file is not None and not callable(getattr(file, "write", None)):
        raise TypeError(f"file= takes a file that is open for writing text, not {file!r}")
    if minimum is None:
        return
    if isinstance(minimum, bool) or not isinstance(minimum, (int, float)):
        raise TypeError(f"minimum= takes a number of seconds, not {minimum!r}")
    if not minimum >= 0:
        raise ValueError(f"minimum= is a number of seconds from 0 on, not {minimum!r}")


def _console(rich: object, file: object) -> Console | None:
    """The console that `rich=` is, if it is one."""
    if rich is False:
        return None
    try:
        from rich.console import Console
    except ImportError as error:
        raise ImportError("rich= needs rich: pip install 'asyncgraph[rich]'") from error
    if rich is True:
        return None
    if not isinstance(rich, Console):
        raise TypeError(f"rich= takes True, False or a rich.console.Console, not {rich!r}")
    if file is not None:
        raise TypeError("file= and a console for rich= are both where to draw: give one of them")
    return rich


def _can_be_drawn_on(file: TextIO) -> bool:
    """Whether it is a terminal whose cursor can be moved."""
    try:
        if not file.isatty():
            return False
    except (AttributeError, ValueError):  # it has no such method, or is closed
        return False
    if sys.platform == "win32":
        return "WT_SESSION" in os.environ  # the old console would show the codes
    return os.environ.get("TERM", "dumb") not in {"", "dumb", "unknown"}


def _notebook() -> object | None:
    """The shell of the notebook that this is, if it is one."""
    ipython = sys.modules.get("IPython")
    shell = None if ipython is None else ipython.get_ipython()
    return shell if getattr(shell, "kernel", None) is not None else None


# Each display is imported by those who see it.


def _lines(file: TextIO) -> Display:
    from asyncgraph.observe.progress.lines import Lines

    return Lines(file)


def _terminal(file: TextIO) -> Display:
    from asyncgraph.observe.progress.terminal import Terminal

    return Terminal(file)


def _notebook_display() -> Display:
    from asyncgraph.observe.progress.notebook import Notebook

    return Notebook()


def _rich(console: Console) -> Display:
    from asyncgraph.observe.progress.with_rich import Rich

    return Rich(console)


def _rich_on(file: TextIO) -> Display:
    from rich.console import Console

    return _rich(Console(file=file))
