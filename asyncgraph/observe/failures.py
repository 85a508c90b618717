"""Failures as text: what is kept of an exception when nothing that it refers to may be."""

from __future__ import annotations

import traceback

from asyncgraph.observe.recorded import RecordedFailure

__all__ = ["LONGEST_MESSAGE", "cut_text", "failure_of"]

LONGEST_MESSAGE = 2_000
"""So many characters of a message are kept."""

_LONGEST_TRACEBACK = 40_000


def failure_of(number: int, time: float, error: BaseException, *, with_traceback: bool) -> RecordedFailure:
    """The failure as text; whatever the exception does when it is asked, there is one."""
    kind = type(error)
    name = kind.__qualname__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__qualname__}"
    try:
        message = str(error)
    except Exception:
        message = "<str(error) failed>"
    text = _formatted(error) if with_traceback else ""
    return RecordedFailure(
        number, time, name, cut_text(message, LONGEST_MESSAGE), cut_text(text, _LONGEST_TRACEBACK)
    )


def _formatted(error: BaseException) -> str:
    try:
        return "".join(traceback.format_exception(error))
    except Exception as fault:
        return f"(the traceback cannot be formatted: {type(fault).__name__})\n"


def cut_text(text: str, most: int) -> str:
    """The text, without its middle if it is longer than `most` characters."""
    if len(text) <= most:
        return text
    half = most // 2
    return f"{text[:half]} [...] {text[-half:]}"
