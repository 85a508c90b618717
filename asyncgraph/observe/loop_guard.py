"""The loop guard: says which node blocks the event loop, at which line, and where it had better run.

Likewise of a call in a thread that keeps the interpreter to itself, as some functions in C do. The watchdog
finds both; here it is decided what is said of them, and how often.
"""

from __future__ import annotations

import linecache
import logging
import math
import threading
from collections import Counter, deque
from collections.abc import Callable
from typing import Any, ClassVar, NamedTuple

from asyncgraph._graph.node import Site
from asyncgraph.observe.advice import advice_on_gil, advice_on_loop
from asyncgraph.observe.events import Event, RunFinished, RunStarted
from asyncgraph.observe.observer import Observer
from asyncgraph.observe.pulse import Finding
from asyncgraph.observe.spots import innermost_own, outermost_own
from asyncgraph.observe.watchdog import Watchdog

__all__ = ["LoopGuard", "Stall"]

logger = logging.getLogger("asyncgraph.observe")

# So many stalls are kept, the last ones.
_KEPT = 1000

# What is no node: asyncgraph itself; and a call in one of its threads that was through when it was looked at.
_OWN = "asyncgraph itself"
_GONE = "a node that is over by now"

# The least threshold, in seconds: to look more often would itself cost what it looks for.
_LEAST = 0.005


class Stall(NamedTuple):
    """Something that has blocked an event loop, or kept the interpreter to itself.

    Attributes:
        kind: "loop" if it has blocked an event loop, "gil" if it has held the interpreter's lock in a thread.
        began: When it began, on the clock of events, to half of the threshold.
        seconds: For how long it went on.
        run: The id of the run; None for what is no node.
        key: The node; "" for what is no node.
        name: The name of its function; else that of what the loop or the thread was in.
        executor: Where the node runs; "" for what is no node.
        worker: "loop", or the thread: "thread 2", as in events, or its name.
        site: The innermost line of your own code; None if it was in none.
        text: What that line says; "" if its source is not there.
        lines: The calls that it was in, outermost first, without those of asyncgraph.
        is_computing: Whether it computed, and did not wait; None where that cannot be told (not on Linux).
        advice: What would be right.
        times: How many stalls of this function at this line there have been, this one included.
    """

    kind: str
    began: float
    seconds: float
    run: int | None
    key: str
    name: str
    executor: str
    worker: str
    site: Site | None
    text: str
    lines: tuple[Site, ...]
    is_computing: bool | None
    advice: str
    times: int

    def __str__(self) -> str:
        did = "blocked the event loop" if self.kind == "loop" else f"held the interpreter in {self.worker}"
        return f"{_who(self)} {did} for {self.seconds:.2f} s{_at(self.site, self.text)}; {self.advice}"


class LoopGuard(Observer):
    """Says which nodes block the event loop, and where they had better run.

    A thread looks at the loop a few times in each threshold while runs go on. What blocks the loop for longer
    is told as a warning of the logger `asyncgraph.observe` while it still does: the node, the line that it is
    stuck in, and what would be right. So is a call in a thread that keeps the interpreter to itself (on
    Linux). The same function at the same line is told of at its first, 10th, 100th ... time.

    What it costs does not depend on the number of nodes: some tens of microseconds for each run, and a few
    milliseconds of each second at the default threshold. One guard may watch several loops. A program that
    stands still as a whole, as in a debugger, is not told of.

    Args:
        threshold: Seconds from which on it is told; at least 0.005.
        on_stall: Called with a `Stall` when it is over, in the thread that finds that out: the loop's, or the
            guard's own. What it raises is logged.

    Raises:
        TypeError: `threshold` is no number, or `on_stall` cannot be called.
        ValueError: `threshold` is too small, or infinite.

    Example:
        >>> import time
        >>> from asyncgraph import delayed
        >>> from asyncgraph.observe import LoopGuard
        >>> @delayed
        ... async def pause():
        ...     time.sleep(0.5)
        >>> with LoopGuard() as guard:
        ...     await pause()
        >>> [stall] = guard.stalls
        >>> stall.key, stall.executor, stall.advice
        ('pause-1', 'loop', 'it waits: await ..., or make it a plain `def`, which runs in a thread')
    """

    kinds: ClassVar[frozenset[type[Event]]] = frozenset({RunStarted, RunFinished})

    def __init__(self, *, threshold: float = 0.1, on_stall: Callable[[Stall], object] | None = None) -> None:
        self._threshold = _checked_threshold(threshold)
        if on_stall is not None and not callable(on_stall):
            raise TypeError(f"on_stall= is called with each stall, and {on_stall!r} cannot be called")
        self._on_stall = on_stall
        self._stalls: deque[Stall] = deque(maxlen=_KEPT)
        self._counts: Counter[tuple[str, str, Site | None]] = Counter()
        self._lock = threading.Lock()
        self._watchdog = Watchdog(self._threshold, self._found, self._over)

    def __call__(self, event: Any) -> None:
        """Watch while runs go on."""
        if type(event) is RunStarted:
            self._watchdog.watch(event.run)
        elif type(event) is RunFinished:
            self._watchdog.leave(event.run)

    @property
    def threshold(self) -> float:
        """Seconds from which on a stall is told of."""
        return self._threshold

    @property
    def stalls(self) -> list[Stall]:
        """What has been found and is over, in the order in which it ended: the last 1000."""
        with self._lock:
            return list(self._stalls)

    # -- what the watchdog finds

    def _found(self, finding: Finding) -> None:
        """Something goes on for longer than it should."""
        stall = self._stall_of(finding)
        if not _is_power_of_ten(stall.times):
            return
        does = "blocks the event loop" if stall.kind == "loop" else f"holds the interpreter in {stall.worker}"
        times = "" if stall.times == 1 else f", for the {stall.times}th time"
        where = _at(stall.site, stall.text)
        about = _who(stall), does, stall.seconds, times, where, stall.advice
        logger.warning("%s %s (%.2f s so far%s)%s; %s", *about)

    def _over(self, finding: Finding) -> None:
        """It is over."""
        stall = self._stall_of(finding)._replace(seconds=finding.seconds)
        with self._lock:
            self._stalls.append(stall)
        if self._on_stall is None:
            return
        try:
            self._on_stall(stall)
        except Exception:
            logger.exception("on_stall of a LoopGuard failed")

    def _stall_of(self, finding: Finding) -> Stall:
        """What is to be said of it, made once: the loop may hear of its end while it is still being told."""
        with self._lock:
            if finding.stall is None:
                stall = _described(finding)
                about = stall.kind, stall.name, stall.site
                self._counts[about] += 1
                finding.stall = stall._replace(times=self._counts[about])
            described: Stall = finding.stall
        return described


def _described(finding: Finding) -> Stall:
    node, spots = finding.node, finding.spots
    own = innermost_own(spots)
    site = None if own is None else own.site
    text = "" if site is None else linecache.getline(site.file, site.line).strip()
    if finding.thread:
        advice = advice_on_gil(node)
    else:
        advice = advice_on_loop(node, spots, text, is_computing=finding.is_computing)
    return Stall(
        kind="gil" if finding.thread else "loop",
        began=finding.began,
        seconds=finding.seconds,
        run=None if finding.run is None else finding.run.id,
        key="" if node is None else node.key,
        name=_foreign(finding) if node is None else node.name,
        executor="" if node is None else node.executor,
        worker=_worker(finding.thread),
        site=site,
        text=text,
        lines=tuple(spot.site for spot in spots if not spot.is_ours),
        is_computing=finding.is_computing,
        advice=advice,
        times=0,
    )


def _who(stall: Stall) -> str:
    if stall.key:
        return f"node {stall.key}"
    return stall.name + ("" if stall.name in (_OWN, _GONE) else ", which is no node,")


def _foreign(finding: Finding) -> str:
    """What is no node, or is none any more."""
    if finding.thread.startswith("asyncgraph-"):
        return _GONE
    own = outermost_own(finding.spots)
    return _OWN if own is None else own.site.function


def _worker(thread: str) -> str:
    """What events call a thread, if it is one of asyncgraph's."""
    number = thread.removeprefix("asyncgraph-")
    return f"thread {number}" if number.isdigit() else thread or "loop"


def _at(site: Site | None, text: str) -> str:
    if site is None:
        return ""
    return f" at {site.file}:{site.line}, in {site.function}" + (f": {text}" if text else "")


def _is_power_of_ten(number: int) -> bool:
    return str(number).strip("0") == "1"


def _checked_threshold(threshold: object) -> float:
    if not isinstance(threshold, int | float) or isinstance(threshold, bool):
        raise TypeError(f"threshold= takes a number of seconds, not {threshold!r}")
    if not _LEAST <= threshold < math.inf:
        raise ValueError(f"threshold= takes at least {_LEAST} seconds and no infinity, not {threshold!r}")
    return float(threshold)
