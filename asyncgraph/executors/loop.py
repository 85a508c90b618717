"""What a call on the event loop may raise, and what that is to those who wait for it.

The calls themselves are made by a run, in its own tasks.
"""

from __future__ import annotations

import asyncio

from asyncgraph.executors.base import failure_of

__all__ = ["failure_on_loop"]

# What a node on the loop must not raise as it is: its run would look cancelled, or closed. SystemExit and
# the like are to end the program: they end the run, and then leave `compute()` as they are.
_FOREIGN = (GeneratorExit, asyncio.CancelledError)


def failure_on_loop(error: BaseException, key: str) -> BaseException:
    """As `failure_of`, for what was raised on the loop."""
    return failure_of(error, key, foreign=_FOREIGN)
