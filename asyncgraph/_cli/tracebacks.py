"""The tracebacks that commands print: the user's frames, without those that lead to them."""

from __future__ import annotations

import asyncio
import contextlib
import importlib
import os
import sys
import traceback
from collections.abc import Iterator

from asyncgraph.errors import InternalError
from asyncgraph.executors.base import PACKAGE

__all__ = ["print_error"]

_DEMO = os.path.join(PACKAGE, "_cli", "demo")

# What calls, or imports, the user's code.
_LEADING = (
    os.path.dirname(asyncio.__file__) + os.sep,
    contextlib.__file__,
    os.path.dirname(importlib.__file__) + os.sep,
    "<frozen importlib",
    "uvloop",
)


def print_error(error: BaseException) -> None:
    """Print an error with its notes, and those that it came from, on standard error."""
    shown = traceback.TracebackException.from_exception(error, compact=True)
    if not isinstance(error, InternalError):
        for each in _all_in(shown):
            each.stack[:] = _users_frames(each.stack)
            if not each.stack:
                vars(each)["stack"] = None  # then no heading is printed either
    print("".join(shown.format()), end="", file=sys.stderr)


def _users_frames(frames: list[traceback.FrameSummary]) -> list[traceback.FrameSummary]:
    theirs = [frame for frame in frames if not _is_ours(frame.filename)]
    leading = 0
    while leading < len(theirs) and theirs[leading].filename.startswith(_LEADING):
        leading += 1
    return theirs[leading:]


def _is_ours(file: str) -> bool:
    return file.startswith(PACKAGE) and not file.startswith(_DEMO)


def _all_in(shown: traceback.TracebackException) -> Iterator[traceback.TracebackException]:
    """An error, what it came from, and, if it is a group, what is in it."""
    pending: list[traceback.TracebackException | None] = [shown]
    while pending:
        each = pending.pop()
        if each is not None:
            yield each
            pending += [each.__cause__, each.__context__, *(each.exceptions or ())]
