"""The command line: `asyncgraph run`, `show`, `demo` and `doctor`.

This is where a command ends: what has gone wrong becomes a text on standard error and an exit code. What the
commands do is in `_cli`, and imported when it is needed: `asyncgraph --version` starts no runtime.

| exit code | means |
|---|---|
| 0 | all is well |
| 1 | the graph failed, its value is no JSON, or `doctor` has found something that would not work |
| 2 | the command was given something that is not right, or a file could not be written |
| 3 | what was to be run or shown could not be loaded |
| 130 | interrupted by Ctrl-C |
| 141 | whoever was reading the output has gone, as `head` does |
| 143 | ended by SIGTERM |
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence

from asyncgraph._cli.exits import (
    FAILED,
    FINE,
    INTERRUPTED,
    READER_GONE,
    TERMINATED,
    CommandError,
    ReaderGoneError,
    TerminatedError,
)
from asyncgraph._cli.streams import open_missing

__all__ = ["main"]


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command.

    Args:
        argv: Its words, without the name of the program; by default those that it was started with.

    Returns:
        The exit code. Nothing is raised: errors have been printed.

    Example:
        >>> from asyncgraph.cli import main
        >>> main(["--version"])
        asyncgraph ...
        0
    """
    open_missing()
    code = _ended(sys.argv[1:] if argv is None else list(argv))
    return code if _is_flushed() else code or READER_GONE


def _ended(argv: list[str]) -> int:
    from asyncgraph._cli.arguments import parse

    try:
        options = parse(argv)
        return int(options.command(options))
    except (
        SystemExit
    ) as error:  # of argparse, which has printed what there is to say; or of an `async def main`
        if isinstance(error.code, str):
            print(error.code, file=sys.stderr)
        return error.code if isinstance(error.code, int) else FAILED if error.code else FINE
    except CommandError as error:
        error.show()
        return error.code
    except ReaderGoneError:
        return READER_GONE
    except TerminatedError:
        print("Terminated; nothing is left running.", file=sys.stderr)
        return TERMINATED
    except KeyboardInterrupt:
        print("\nInterrupted; nothing is left running.", file=sys.stderr)
        return INTERRUPTED
    except Exception:
        import traceback

        traceback.print_exc()
        print("asyncgraph: this is a fault in asyncgraph itself; please report it", file=sys.stderr)
        return FAILED


def _is_flushed() -> bool:
    """Write out what is left, so that the interpreter, which would complain, has nothing to do."""
    if sys.stdout is None:  # it was closed before all began
        return True
    try:
        sys.stdout.flush()
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return False
    return True
