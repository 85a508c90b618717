"""A service whose client goes away: what it computes for that client stops, where the service looks.

Neither Starlette nor uvicorn cancels an ordinary endpoint when its client has gone: they tell it, if it asks.
`while_connected` is what the guide "Trying again, and going on" has for those whose nodes are to stop then.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator, Callable
from typing import Any, Self

import anyio
import pytest
import uvicorn
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.middleware.base import BaseHTTPMiddleware
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response, StreamingResponse
from starlette.routing import Route

from asyncgraph import Runtime, as_completed, compute, delayed
from tests.reliability import harness
from tests.reliability.harness import Stage


@pytest.fixture
async def stage() -> AsyncIterator[Stage]:
    """Nodes that go on, released at the end of the test, come what may."""
    stage = Stage()
    yield stage
    stage.release.set()


@contextlib.asynccontextmanager
async def while_connected(request: Request) -> AsyncIterator[None]:
    """Cancel what is awaited in the block when the client has gone."""

    async def watch() -> None:
        while (await request.receive())["type"] != "http.disconnect":
            pass
        scope.cancel()

    with anyio.CancelScope() as scope:
        watching = asyncio.create_task(watch())
        try:
            yield
        finally:
            watching.cancel()


class Service:
    """An endpoint, served on loopback.

    Attributes:
        ended: How each call of the endpoint has ended, in order.
    """

    def __init__(self, endpoint: Callable[[Request], Any], *middleware: Middleware) -> None:
        self.ended: list[str] = []
        self._endpoint = endpoint
        self._has_ended = asyncio.Event()
        self._listener = socket.create_server(("127.0.0.1", 0))
        app = Starlette(routes=[Route("/", self._serve)], middleware=middleware)
        self._server = uvicorn.Server(uvicorn.Config(app, log_level="warning", ws="none"))

    async def __aenter__(self) -> Self:
        self._serving = asyncio.create_task(self._server.serve(sockets=[self._listener]))
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.should_exit = True
        await self._serving
        self._listener.close()

    async def visit(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """Come as a client, with a request."""
        reader, writer = await asyncio.open_connection(*self._listener.getsockname())
        writer.write(b"GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
        return reader, writer

    async def answer(self) -> str:
        """Come as a client that waits for the answer: its last line."""
        reader, writer = await self.visit()
        text = (await reader.read()).decode()
        await leave(writer)
        return text.splitlines()[-1]

    async def has_ended(self) -> None:
        """Wait until a call of the endpoint has ended."""
        async with asyncio.timeout(harness.PATIENCE):
            await self._has_ended.wait()
        self._has_ended.clear()

    async def _serve(self, request: Request) -> Response:
        try:
            response: Response = await self._endpoint(request)
        except BaseException as error:
            self.ended.append(type(error).__name__)
            raise
        else:
            self.ended.append(str(response.status_code))
            return response
        finally:
            self._has_ended.set()


async def leave(writer: asyncio.StreamWriter) -> None:
    """Close the connection."""
    writer.close()
    await writer.wait_closed()


async def pass_on(request: Request, call_next: Callable[[Request], Any]) -> Response:
    """A middleware that does nothing."""
    response: Response = await call_next(request)
    return response


BETWEEN = {"plain": [], "middleware": [Middleware(BaseHTTPMiddleware, dispatch=pass_on)]}


@pytest.mark.parametrize("between", BETWEEN)
async def test_c07_client_that_has_gone(stage, witness, complaints, caplog, between):
    """When its client goes away, an endpoint that looks is cancelled, with all nodes of every kind."""
    visits = 0

    async def endpoint(request: Request) -> Response:
        nonlocal visits
        visits += 1
        async with while_connected(request):
            if visits > 1:
                return PlainTextResponse(str(await compute(delayed(harness.pid, executor="process")())))
            await compute(stage.coroutine(), stage.thread(), held)
        return Response(status_code=499)

    held = delayed(harness.hold, executor="process")(witness.path)
    async with Runtime(processes=1, threads=1), Service(endpoint, *BETWEEN[between]) as service:
        _, writer = await service.visit()
        await stage.have_begun("coroutine", "thread")
        worker = await witness.next_pid()
        await leave(writer)
        await service.has_ended()
        assert stage.running == []
        assert sorted(stage.ended) == ["coroutine", "thread"]
        assert witness.is_alone()
        assert int(await service.answer()) != worker
        assert service.ended == ["499", "200"]
    assert complaints == []
    assert caplog.records == []


async def test_c07_client_that_stays(complaints):
    """What an endpoint raises leaves its block as itself, and nobody's cancel is left over."""
    cancelling: list[int] = []

    async def fail() -> None:
        raise LookupError("no such thing")

    async def endpoint(request: Request) -> Response:
        try:
            async with while_connected(request):
                await delayed(fail)()
        except LookupError as error:
            task = asyncio.current_task()
            assert task is not None
            cancelling.append(task.cancelling())
            return PlainTextResponse(str(error), status_code=404)
        raise AssertionError("it was not raised")

    async with Service(endpoint) as service:
        assert await service.answer() == "no such thing"
    assert service.ended == ["404"]
    assert cancelling == [0]
    assert complaints == []


async def test_c07_client_that_leaves_a_stream(stage, witness, complaints, caplog):
    """Starlette itself ends a stream whose client has gone, and with it what the stream waits for."""
    stream_has_ended = asyncio.Event()

    async def lines(nodes: list[Any]) -> AsyncIterator[str]:
        try:
            async with contextlib.aclosing(as_completed(nodes)) as completed:
                async for _, value in completed:
                    yield f"{value}\n"
        finally:
            stream_has_ended.set()

    async def endpoint(request: Request) -> Response:
        held = delayed(harness.hold, executor="process")(witness.path)
        return StreamingResponse(lines([delayed("first"), stage.coroutine(), stage.thread(), held]))

    async with Runtime(processes=1, threads=1), Service(endpoint) as service:
        reader, writer = await service.visit()
        await reader.readuntil(b"first\n")
        await stage.have_begun("coroutine", "thread")
        await witness.next_pid()
        await leave(writer)
        async with asyncio.timeout(harness.PATIENCE):
            await stream_has_ended.wait()
        assert stage.running == []
        assert sorted(stage.ended) == ["coroutine", "thread"]
        assert witness.is_alone()
    assert complaints == []
    assert caplog.records == []


async def test_an_endpoint_that_does_not_look_goes_on():
    """Without that nobody cancels it: it computes to the end for a client that has gone."""
    begun, gone = asyncio.Event(), asyncio.Event()

    async def node() -> str:
        begun.set()
        await gone.wait()
        return "an answer"

    async def watch(request: Request) -> None:
        while (await request.receive())["type"] != "http.disconnect":
            pass
        gone.set()

    async def endpoint(request: Request) -> Response:
        watching = asyncio.create_task(watch(request))
        answer = await delayed(node)()
        await watching
        return PlainTextResponse(answer)

    async with Service(endpoint) as service:
        _, writer = await service.visit()
        await begun.wait()
        await leave(writer)
        await service.has_ended()
    assert service.ended == ["200"]
