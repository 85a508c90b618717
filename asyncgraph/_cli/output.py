"""Writing what a command was asked for, to a file or to standard output."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from asyncgraph._cli.exits import FAILED, MISUSED, CommandError, ReaderGoneError

__all__ = ["as_json", "as_text", "write"]


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
    """A value as JSON; errors in it, as `--keep-going` leaves them, are text.

    Raises:
        CommandError: It cannot be.
    """
    try:
        return json.dumps(value, indent=2, ensure_ascii=False, default=_as_plain) + "\n"
    except (TypeError, ValueError, RecursionError) as error:
        raise CommandError(FAILED, f"the value cannot be written as JSON: {error}") from None


def _as_plain(value: Any) -> Any:
    if isinstance(value, BaseException):
        return f"{type(value).__name__}: {value}"
    raise TypeError(f"Object of type {type(value).__name__} is not JSON serializable")


def write(text: str, path: Path | None = None) -> None:
    """Write to a file, or to standard output.

    Raises:
        CommandError: The file cannot be written.
        ReaderGoneError: Nobody reads standard output any more.
    """
    if path is None:
        _print(text)
        return
    try:
        path.write_text(text, "utf-8", "surrogateescape")
    except OSError as error:
        raise CommandError(MISUSED, f"{path} cannot be written: {error.strerror or error}") from None


def _print(text: str) -> None:
    encoding = sys.stdout.encoding or "utf-8"
    try:
        sys.stdout.write(text.encode(encoding, "backslashreplace").decode(encoding))
        sys.stdout.flush()
    except BrokenPipeError:
        raise ReaderGoneError from None
