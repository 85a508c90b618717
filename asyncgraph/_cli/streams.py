"""Standard input, output and error: that they are there, and whether anybody reads what is written."""

from __future__ import annotations

import os
import select
import sys

__all__ = ["is_reader_gone", "open_missing"]


def open_missing() -> None:
    """Put the null device where a shell has closed one of the three (`>&-`).

    The next file or socket would get its number otherwise, and what is printed would go there.
    """
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # it gets the lowest number that is free: this one
            os.set_inheritable(number, True)
    if sys.stderr is None:  # print(file=None) would write to standard output
        sys.stderr = open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115 - for as long as the program runs


def is_reader_gone() -> bool:
    """Whether standard output is a pipe that nobody reads any more."""
    if sys.stdout is None or not hasattr(select, "poll"):
        return False
    try:
        number = sys.stdout.fileno()
    except (OSError, ValueError):
        return False
    poll = select.poll()
    poll.register(number, 0)
    return any(event & select.POLLERR for _, event in poll.poll(0))
