"""What a piece of code leaves behind in this process: children, threads, open descriptors.

Knows nothing of pytest: `tests/conftest.py` asks it after every test, `tests/documents.py` after every
document.
Children and descriptors are read from /proc; where there is none, only threads are compared.
"""

from __future__ import annotations

import functools
import gc
import os
import sys
import threading
import time
import traceback
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

GRACE = 10.0
"""Seconds that what is on its way out may take; waited only where something is left."""

MOST_SHOWN = 10
"""Leaks that a report describes; a property test may leave hundreds."""

_PAUSE = 0.005
_STACK_DEPTH = 8
_PROC = Path("/proc/self")

_STAY = "Dask-Offload"
"""What the threads are called that Dask keeps for good."""


@dataclass(frozen=True)
class Snapshot:
    """What was there at one moment."""

    children: frozenset[int]
    threads: frozenset[threading.Thread]
    descriptors: Counter[str]

    @classmethod
    def take(cls) -> Snapshot:
        """Look around now."""
        _open_what_stays()
        return cls(
            children=frozenset(_children()),
            threads=frozenset(threading.enumerate()),
            descriptors=Counter(_descriptors().values()),
        )

    def leaks(self) -> list[str]:
        """Say what is here now that was not then, one text each."""
        return [*self._new_threads(), *self._new_children(), *self._new_descriptors()]

    def leaks_after_grace(self) -> list[str]:
        """Do the same, but give what is about to end by itself the time to do so."""
        leaks = self.leaks()
        if not leaks:
            return leaks
        deadline = time.monotonic() + GRACE
        gc.collect()  # an object in a reference cycle may hold the descriptor
        while (leaks := self.leaks()) and time.monotonic() < deadline:
            time.sleep(_PAUSE)
        return leaks

    def _new_threads(self) -> Iterator[str]:
        for thread in threading.enumerate():
            if thread not in self.threads and not thread.name.startswith(_STAY):
                yield _describe_thread(thread)

    def _new_children(self) -> Iterator[str]:
        for pid in _children():
            if pid not in self.children:
                yield _describe_child(pid)

    def _new_descriptors(self) -> Iterator[str]:
        spare = self.descriptors.copy()
        for fd, target in _descriptors().items():
            if spare[target] > 0:
                spare[target] -= 1
            else:
                yield f"descriptor {fd}: {target}"


@functools.cache
def _open_what_stays() -> None:
    """Open once what a library opens at its first use and keeps for the life of the process."""
    try:
        import uvloop
    except ImportError:
        return
    uvloop.new_event_loop().close()  # the pipe over which libuv hands signals from loop to loop


def _describe_thread(thread: threading.Thread) -> str:
    kind = "daemon thread" if thread.daemon else "thread"
    frame = sys._current_frames().get(thread.ident or -1)
    stack = traceback.format_stack(frame)[-_STACK_DEPTH:] if frame else ["  (about to end)\n"]
    return f"{kind} {thread.name!r}, which is at\n{''.join(stack)}".rstrip()


def _describe_child(pid: int) -> str:
    try:
        command = Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
    except OSError:
        command = ""
    return f"child {pid}: {command.strip() or '(has ended, but nobody waited for it)'}"


def listing(leaks: list[str]) -> str:
    """Return one text for all leaks; the first few of many are enough."""
    shown = [f"- {leak}" for leak in leaks[:MOST_SHOWN]]
    if more := leaks[MOST_SHOWN:]:
        shown.append(f"- and {len(more)} more")
    return "\n".join(shown)


def _children() -> list[int]:
    """Return the pids of this process's children, those that wait to be reaped included."""
    if not _PROC.exists():
        return []
    lists = list(_PROC.glob("task/*/children"))
    if not lists:  # a kernel without CONFIG_PROC_CHILDREN
        return _children_by_scan()
    return [int(pid) for path in lists for pid in _read(path).split()]


def _children_by_scan() -> list[int]:
    me = os.getpid()
    return [int(path.parent.name) for path in Path("/proc").glob("[0-9]*/stat") if _parent_of(path) == me]


def _parent_of(stat: Path) -> int | None:
    # The second field, a command in parentheses, may itself hold spaces and parentheses.
    fields = _read(stat).rpartition(")")[2].split()
    return int(fields[1]) if fields else None


def _read(path: Path) -> str:
    """Return the text of a file of /proc, empty if what it describes has gone meanwhile."""
    try:
        return path.read_text()
    except OSError:
        return ""


def _descriptors() -> dict[int, str]:
    """Return what each open descriptor of this process refers to."""
    folder = _PROC / "fd"
    if not folder.exists():
        return {}
    targets = {}
    for name in os.listdir(folder):
        try:
            targets[int(name)] = os.readlink(folder / name)
        except OSError:  # the descriptor of the listing itself
            continue
    return targets
