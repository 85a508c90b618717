"""Writing what a command was asked for, to a file or to standard output."""

from __future__ import annotations

import dataclasses
import json
import sys
from collections.abc import Set as AbstractSet
from pathlib import Path
from typing import Any

from asyncgraph._cli.exits import FAILED, MISUSED, CommandError, ReaderGoneError

__all__ = ["NoJsonError", "as_json", "as_text", "write"]


class NoJsonError(Exception):
    """A value is no JSON."""


def as_text(value: Any) -> str:
    """A value as a line of text; "" for None.

    Raises:
        CommandError: Its `repr` does.
    """
    if value is None:
        return ""
    try:
        text = value if isinstance(value, str) else repr(value)
    except Exception as error:
        raise CommandError(
            FAILED, "the value cannot be written, because its repr has failed", error
        ) from None
    return text if text.endswith("\n") else f"{text}\n"


def as_json(value: Any) -> str:
    """A value as JSON.

    Dataclasses are objects, and sets are lists, in order if they have one. Errors, as `--keep-going` leaves
    them, are text.

    Raises:
        NoJsonError: It cannot be.
    """
    try:
        # Not NaN and infinities, which Python would write, and few others would read.
        return json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False, default=_as_plain) + "\n"
    except (TypeError, ValueError, RecursionError) as error:
        raise NoJsonError(str(error)) from None


def _as_plain(value: Any) -> Any:
    if isinstance(value, BaseException):
        return f"{type(value).__name__}: {value}"
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {field.name: getattr(value, field.name) for field in dataclasses.fields(value)}
    if isinstance(value, set | frozenset):
        return _in_order(value)
    raise TypeError(f"Object of type {type(value).__name__} is not JSON serializable")


def _in_order(value: AbstractSet[Any]) -> list[Any]:
    try:
        return sorted(value)
    except TypeError:
        return list(value)


def write(text: str, path: Path | None = None) -> None:
    """Write to a file, or to standard output; there too, if the file cannot be written.

    Raises:
        CommandError: The file cannot be written, or standard output is closed.
        ReaderGoneError: Nobody reads standard output any more.
    """
    if path is None:
        _print(text)
        return
    try:
        path.write_text(text, "utf-8", "surrogateescape")
    except OSError as error:
        _print(text)  # what has perhaps taken hours is not lost
        raise CommandError(MISUSED, f"{path} cannot be written: {error.strerror or error}") from None


def _print(text: str) -> None:
    if sys.stdout is None:
        raise CommandError(MISUSED, "the value cannot be written: standard output is closed")
    encoding = sys.stdout.encoding or "utf-8"
    try:
        sys.stdout.write(text.encode(encoding, "backslashreplace").decode(encoding))
        sys.stdout.flush()
    except BrokenPipeError:
        raise ReaderGoneError from None
