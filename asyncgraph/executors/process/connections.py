"""Which connection with workers suits a loop."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable

from asyncgraph.executors.process.link import Link, PipeLink
from asyncgraph.executors.process.spawn import describe_setup
from asyncgraph.executors.process.threaded import ThreadedLink

__all__ = ["Connector", "connector_for"]


class Connector:
    """Starts workers and connects with them.

    Args:
        kind: The kind of connection.
        loop: The loop on which everything is called.
    """

    def __init__(self, kind: type[PipeLink | ThreadedLink], loop: asyncio.AbstractEventLoop) -> None:
        self._kind = kind
        self._loop = loop

    @property
    def can_share(self) -> bool:
        """Whether shared memory can be handed over."""
        return self._kind.can_share

    def __call__(self, slots: int, on_told: Callable[[], None], on_lost: Callable[[], None]) -> Link:
        """Start one of `slots` workers. Raises OSError if the system does not let it start."""
        return self._kind(self._loop, slots, describe_setup(), on_told, on_lost)


def connector_for(loop: asyncio.AbstractEventLoop) -> Connector:
    """Pipes, where the loop can watch them; else threads (on Windows)."""
    try:
        read, write = os.pipe()
    except OSError:  # no descriptor is left to try it with: threads suit all
        return Connector(ThreadedLink, loop)
    try:
        loop.add_reader(read, _nothing)
        loop.remove_reader(read)
    except (NotImplementedError, OSError):
        return Connector(ThreadedLink, loop)
    else:
        return Connector(PipeLink, loop)
    finally:
        os.close(read)
        os.close(write)


def _nothing() -> None:
    """Never called."""
