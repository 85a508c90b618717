"""Whether the program is being ended by Ctrl-C that has come more than once.

At the first Ctrl-C `asyncio.Runner`, and so `asyncio.run` and `asyncgraph.run`, cancel the main task. At the
second KeyboardInterrupt is raised, wherever the program is; on its way out the runner cancels all tasks and
runs the loop until they have ended. In this time nothing else tells that it is not an ordinary cancel.
"""

from __future__ import annotations

import sys

__all__ = ["is_interrupted"]


def is_interrupted() -> bool:
    """Whether the loop is run while KeyboardInterrupt is on its way out of the program."""
    error = sys.exception()
    # Callers may be handling a CancelledError, whose context it is then.
    while error is not None and not isinstance(error, KeyboardInterrupt):
        error = error.__context__
    return error is not None
