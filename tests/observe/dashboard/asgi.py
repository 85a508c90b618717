"""A server made by hand: calls an ASGI app with messages of its own, and keeps what the app sends."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import Callable
from typing import Any, Self

PATIENCE = 20.0
"""Seconds after which a test fails that waits for a message."""


async def until(condition: Callable[[], object]) -> None:
    """Let the loop go on until something is so."""
    async with asyncio.timeout(PATIENCE):
        while not condition():  # noqa: ASYNC110 - what is waited for tells nobody
            await asyncio.sleep(0)


def scope_of(path: str, *, method: str = "GET", headers: Any = (), **more: Any) -> dict[str, Any]:
    """Return the scope of a request to a server on loopback."""
    path, _, query = path.partition("?")
    given = {"host": "127.0.0.1:8000", **dict(headers)}
    return {
        "type": "http",
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "method": method,
        "scheme": "http",
        "path": path,
        "root_path": "",
        "query_string": query.encode(),
        "headers": [(name.encode(), value.encode()) for name, value in given.items()],
        "server": ("127.0.0.1", 8000),
        "client": ("127.0.0.1", 50000),
        **more,
    }


class Answer:
    """What an app has sent for a request.

    Attributes:
        status: The status.
        headers: The headers.
        body: The body.
    """

    def __init__(self, messages: list[dict[str, Any]]) -> None:
        self.status = messages[0]["status"]
        self.headers = {name.decode(): value.decode() for name, value in messages[0]["headers"]}
        self.body = b"".join(message.get("body", b"") for message in messages[1:])
        assert not messages[-1].get("more_body", False)

    @property
    def text(self) -> str:
        """The body as text."""
        return self.body.decode()


async def ask(app: Any, path: str, **options: Any) -> Answer:
    """Return the answer to a request; it must come without the client doing anything else."""
    sent: list[dict[str, Any]] = []

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message: dict[str, Any]) -> None:
        sent.append(message)

    async with asyncio.timeout(PATIENCE):
        await app(scope_of(path, **options), receive, send)
    return Answer(sent)


class Listener:
    """A browser at the feed, which takes one message at a time.

    Attributes:
        app: What it asks.
        aio_task: The call of the app.
        id: The id of the last message.
        taken: How many messages it has taken.
    """

    def __init__(self, app: Any, path: str = "/events", **options: Any) -> None:
        self.app = app
        self.id = ""
        self.taken = 0
        self._scope = scope_of(path, **options)
        self._has_gone = asyncio.Event()
        self._message: asyncio.Queue[bytes] = asyncio.Queue(1)
        self._wants_next = asyncio.Semaphore(0)

    async def __aenter__(self) -> Self:
        self.aio_task = asyncio.create_task(self.app(self._scope, self._receive, self._send))
        return self

    async def __aexit__(self, *_: object) -> None:
        self.leave()
        async with asyncio.timeout(PATIENCE):
            await asyncio.wait([self.aio_task])
        if not self.aio_task.cancelled():
            self.aio_task.result()

    def leave(self) -> None:
        """Close the connection."""
        self._has_gone.set()

    async def next(self) -> str:
        """Take the next part of the stream, as text; "" at its end."""
        self._wants_next.release()
        async with asyncio.timeout(PATIENCE):
            body = await self._message.get()
        self.taken += 1
        return body.decode()

    async def hear(self) -> dict[str, Any]:
        """Take the next message that says something."""
        while True:
            text = await self.next()
            assert text, "the stream has ended"
            lines = dict(line.split(": ", 1) for line in text.strip().split("\n") if not line.startswith(":"))
            if "data" in lines:
                self.id = lines["id"]
                return json.loads(lines["data"])

    async def until(self, condition: Any) -> dict[str, Any]:
        """Take messages until what is known of them together is so; return that."""
        known: dict[str, Any] = {"parts": {}, "bars": []}
        while True:
            message = await self.hear()
            known["parts"] |= message["parts"]
            known["bars"] += message["bars"]
            if condition(known):
                return known

    async def _receive(self) -> dict[str, Any]:
        await self._has_gone.wait()
        return {"type": "http.disconnect"}

    async def _send(self, message: dict[str, Any]) -> None:
        if message["type"] == "http.response.start":
            assert message["status"] == 200
            return
        # As a server whose buffer is full: it takes a message when the one before has been read.
        await self._wants_next.acquire()
        await self._message.put(message["body"])


@contextlib.asynccontextmanager
async def living(app: Any) -> Any:
    """Tell an app of the beginning and, when the block is left, of the end."""
    inbox: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
    outbox: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
    aio_task = asyncio.create_task(app({"type": "lifespan"}, inbox.get, outbox.put))
    async with asyncio.timeout(PATIENCE):
        await inbox.put({"type": "lifespan.startup"})
        assert (await outbox.get())["type"] == "lifespan.startup.complete"
        yield
        await inbox.put({"type": "lifespan.shutdown"})
        assert (await outbox.get())["type"] == "lifespan.shutdown.complete"
        await aio_task
