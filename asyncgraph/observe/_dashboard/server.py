"""uvicorn as a guest: it leaves signals to its host, and says when it has started. Needs uvicorn."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import Iterator
from typing import Any

import uvicorn

__all__ = ["Server"]

# Seconds that requests have at the end: streams end by themselves, and sooner.
_GRACE = 2


class Server(uvicorn.Server):
    """A server for one app.

    Attributes:
        has_started: Set when it takes connections.
    """

    def __init__(self, app: Any) -> None:
        config = uvicorn.Config(
            app,
            ws="none",
            log_config=None,
            log_level="warning",
            access_log=False,
            server_header=False,
            timeout_graceful_shutdown=_GRACE,
        )
        super().__init__(config)
        self.has_started = asyncio.Event()

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Take none."""
        yield

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Start as any server, and say so."""
        await super().startup(sockets)
        if not self.should_exit:
            self.has_started.set()
