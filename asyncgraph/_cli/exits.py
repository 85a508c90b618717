"""How commands end: the exit codes, and the exceptions that lead to them."""

from __future__ import annotations

import sys

__all__ = [
    "FAILED",
    "FINE",
    "INTERRUPTED",
    "MISUSED",
    "NOT_LOADED",
    "READER_GONE",
    "TERMINATED",
    "CommandError",
    "ReaderGoneError",
    "TerminatedError",
]

FINE, FAILED, MISUSED, NOT_LOADED = 0, 1, 2, 3

# What a shell says of programs that these signals have ended: 128 + SIGINT, SIGPIPE, and SIGTERM.
INTERRUPTED, READER_GONE, TERMINATED = 130, 141, 143


class CommandError(Exception):
    """Ends the command with an exit code, and a message on standard error.

    Args:
        code: The exit code.
        message: What is wrong and what would be right; "" if the error says all.
        error: What the user's code has raised, to be printed before it.
    """

    def __init__(self, code: int, message: str, error: BaseException | None = None) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.error = error

    def show(self) -> None:
        """Print it."""
        if self.error is not None:
            from asyncgraph._cli.tracebacks import print_error

            print_error(self.error)
        if self.message:
            print(f"asyncgraph: {self.message}", file=sys.stderr)


class ReaderGoneError(Exception):
    """Nobody reads standard output any more."""


class TerminatedError(Exception):
    """SIGTERM has come, and what was going on has been stopped."""
