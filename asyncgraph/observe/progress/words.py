"""Texts of a given width, and numbers as people read them."""

from __future__ import annotations

import unicodedata

__all__ = ["clean", "clock", "cut", "duration", "padded", "rate", "width_of"]


def clean(text: str, encoding: str | None = None) -> str:
    """The text on one line, with nothing in it that would move a cursor or that `encoding` lacks."""
    shown = text if text.isprintable() else "".join(each if each.isprintable() else "?" for each in text)
    return shown if encoding is None else shown.encode(encoding, "replace").decode(encoding)


def width_of(text: str) -> int:
    """How many columns of a terminal a clean text takes."""
    return len(text) if text.isascii() else sum(map(_width, text))


def cut(text: str, width: int, mark: str) -> str:
    """As much of the text as there is room for; `mark`, of one column, says that something is missing."""
    if width_of(text) <= width:
        return text
    room, kept = width - 1, ""
    for each in text:
        room -= _width(each)
        if room < 0:
            break
        kept += each
    return kept + mark if width > 0 else ""


def padded(text: str, width: int) -> str:
    """The text with spaces behind it."""
    return text + " " * (width - width_of(text))


def clock(seconds: float) -> str:
    """As a clock shows it: 0:05, 1:02:03; or 2 d 3 h."""
    whole = round(seconds)
    minutes, hours = whole // 60, whole // 3600
    if hours >= 48:
        return f"{hours // 24} d {hours % 24} h"
    return f"{hours}:{minutes % 60:02}:{whole % 60:02}" if hours else f"{minutes}:{whole % 60:02}"


def duration(seconds: float) -> str:
    """How long something has taken: 3.2 s, or as `clock`."""
    return f"{seconds:.1f} s" if seconds < 59.95 else clock(seconds)


def rate(per_second: float) -> str:
    """How many a second, a minute or an hour, whichever is a number that says something."""
    for factor, unit in ((1, "s"), (60, "min"), (3600, "h")):
        value = per_second * factor
        if value >= 9.95:
            return f"{value:,.0f}/{unit}"
        if value >= 0.95:
            return f"{value:.1f}/{unit}"
    return ""


def _width(character: str) -> int:
    if character < "\u0300":
        return 1
    if unicodedata.category(character) in {"Mn", "Me"}:  # they sit on the character before
        return 0
    return 2 if unicodedata.east_asian_width(character) in {"W", "F"} else 1
