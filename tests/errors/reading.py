"""A failure as a person reads it: the printed traceback, without what differs from run to run."""

from __future__ import annotations

import linecache
import re
import traceback
from collections.abc import Awaitable
from pathlib import Path
from typing import Any

import asyncgraph

_PACKAGE = Path(asyncgraph.__file__).parent
_FRAME = re.compile(r'(?m)File "([^"]+)", line (\d+), in (\S+)$')
_SITE = re.compile(r"(?m)  built at:  (.+):(\d+), in (\S+)$")
# What the standard library's own frames say, which differs between versions of Python, as do the carets.
_GROUP = re.compile(r'(taskgroups\.py", in __aexit__\n)(?:  \|     .*\n)+')
_CARETS = re.compile(r"(?m)^[ |]*[ ~^]*[~^][ ~^]*\n")


def as_read(error: BaseException) -> str:
    """The traceback as Python prints it; a place that a node was built at is shown as its source line."""
    text = "".join(traceback.format_exception(error))
    text = _FRAME.sub(lambda found: f'File "{_place(found[1])}", in {found[3]}', text)
    text = _SITE.sub(lambda found: f"  built at:  {_source(found[1], found[2])!r}, in {found[3]}", text)
    text = re.sub(r"pid \d+", "pid …", text)
    return _GROUP.sub(r"\1", _CARETS.sub("", text))


async def failure_of(awaitable: Awaitable[Any]) -> BaseException:
    """What awaiting raises."""
    try:
        value = await awaitable
    except BaseException as error:
        return error
    raise AssertionError(f"it did not fail but returned {value!r}")


def own_frames(error: BaseException) -> list[str]:
    """The names of asyncgraph's functions in the traceback."""
    return [name for file, name in frames(error) if file.startswith(str(_PACKAGE))]


def frames(error: BaseException) -> list[tuple[str, str]]:
    """The files and functions of the traceback, outermost first."""
    return [(each.filename, each.name) for each in traceback.extract_tb(error.__traceback__)]


def _place(file: str) -> str:
    path = Path(file)
    return f"asyncgraph/{path.relative_to(_PACKAGE)}" if path.is_relative_to(_PACKAGE) else path.name


def _source(file: str, line: str) -> str:
    return linecache.getline(file, int(line)).strip()
