"""Writing a text where somebody will read it, whatever the program is amid."""

from __future__ import annotations

import contextlib
import os
import sys
from typing import TextIO

__all__ = ["write"]

_STDERR = 2


def write(text: str, file: TextIO | None) -> None:
    """Write to `file`, or to `sys.stderr` if it is None, and then raise nothing.

    Raises:
        Exception: What `file` raises.
    """
    if file is not None:
        file.write(text)
        file.flush()
    elif sys.stderr is not None:  # a program without a console has none
        try:
            sys.stderr.write(text)
            sys.stderr.flush()
        except Exception:
            # It is closed; or a signal has come while something was being written to it.
            with contextlib.suppress(OSError):
                os.write(_STDERR, text.encode(errors="backslashreplace"))
