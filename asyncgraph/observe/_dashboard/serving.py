"""The dashboard on its own: a small server for the time of an `async with` block, by uvicorn."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import socket
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterator, MutableMapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from asyncgraph.observe._dashboard.server import Server

__all__ = ["App", "server_is_stopping", "serving"]

App = Callable[
    [
        MutableMapping[str, Any],
        Callable[[], Awaitable[MutableMapping[str, Any]]],
        Callable[[MutableMapping[str, Any]], Awaitable[None]],
    ],
    Awaitable[None],
]
"""An ASGI application."""


@contextlib.asynccontextmanager
async def serving(app: App, host: str = "127.0.0.1", port: int = 0) -> AsyncGenerator[str, None]:
    """Serve an ASGI app, such as a dashboard, as long as the block lasts.

    The server runs on the loop of the block, takes no signals and writes no log but warnings. When the block
    is left, streams are ended and all connections closed; nothing of it is left.

    Args:
        app: The app. If it has a method `close`, that is called first when the block is left.
        host: The address to serve on; by default only programs on this machine can reach it.
        port: The port; 0 for one that is free.

    Yields:
        The URL of the app.

    Raises:
        ImportError: uvicorn is not installed.
        OSError: The port is in use, or the host is no address of this machine.
        TypeError: `app` is no ASGI app, or `port` is no whole number.
        ValueError: `port` is not between 0 and 65535.

    Example:
        >>> from asyncgraph import Runtime
        >>> from asyncgraph.observe import dashboard, serving
        >>> async with Runtime() as runtime:
        ...     async with serving(dashboard(runtime)) as url:
        ...         print(url.rpartition(":")[0])
        http://127.0.0.1
    """
    _check_app(app)
    _check_port(port)
    server = _new_server(app)
    with _listener(host, port) as listener:
        aio_task = asyncio.create_task(server.serve(sockets=[listener]), name="asyncgraph dashboard server")
        try:
            await _until_started(aio_task, server.has_started)
            yield _url_of(listener)
        finally:
            await _stop(app, server, aio_task)


def _check_app(app: object) -> None:
    if isinstance(app, type) or not callable(app):
        raise TypeError(f"serving() takes an ASGI app, as in serving(dashboard(runtime)), not {app!r}")


def _check_port(port: object) -> None:
    if not isinstance(port, int) or isinstance(port, bool):
        raise TypeError(f"port= takes a whole number, not {port!r}")
    if not 0 <= port <= 65535:
        raise ValueError(f"port= is between 0, for one that is free, and 65535, not {port}")


async def _until_started(aio_task: asyncio.Task[None], has_started: asyncio.Event) -> None:
    waiting = asyncio.create_task(has_started.wait())
    try:
        await asyncio.wait([aio_task, waiting], return_when=asyncio.FIRST_COMPLETED)
    finally:
        waiting.cancel()
    if aio_task.done():
        await aio_task
        raise RuntimeError("the server has ended before it had begun: the log says why")


async def _stop(app: App, server: Server, aio_task: asyncio.Task[None]) -> None:
    close = getattr(app, "close", None)
    if callable(close):
        close()
    server.should_exit = True
    try:
        await asyncio.wait([aio_task])
    except asyncio.CancelledError:
        server.force_exit = True  # it waits for no connection
        await asyncio.wait([aio_task])
        raise
    if not aio_task.cancelled():
        aio_task.result()


@contextlib.contextmanager
def _listener(host: str, port: int) -> Iterator[socket.socket]:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        listener = socket.create_server((host, port), family=family)
    except OSError as error:
        # What it says itself may name the address in Python's own way; of names that are unknown it is all.
        number = error.errno or 0
        reason = os.strerror(number) if number > 0 else error.strerror
        raise OSError(number, f"cannot serve on {host}, port {port}: {reason}") from None
    with listener:
        yield listener


def _url_of(listener: socket.socket) -> str:
    host, port = listener.getsockname()[:2]
    return f"http://{f'[{host}]' if ':' in host else host}:{port}/"


def _new_server(app: App) -> Server:
    try:
        from asyncgraph.observe._dashboard.server import Server
    except ImportError as error:
        if error.name != "uvicorn":
            raise
        raise ImportError(
            "uvicorn is needed to serve the dashboard: pip install 'asyncgraph[dashboard]'", name="uvicorn"
        ) from None
    return Server(app)


def server_is_stopping() -> bool:
    """Whether a server that has taken the signals of this process is about to end.

    Servers wait for the streams of their clients before they tell an app of the end, or they do not tell it
    at all where it is mounted; uvicorn can be asked, as it is its method that handles signals.
    """
    for number in (signal.SIGINT, signal.SIGTERM):
        server = getattr(signal.getsignal(number), "__self__", None)
        if getattr(server, "should_exit", False) is True:
            return True
    return False
