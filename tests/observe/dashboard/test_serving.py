"""The small server: it serves as long as its block lasts, and leaves nothing."""

from __future__ import annotations

import asyncio
import signal
import socket
import sys
import urllib.request

import pytest
import uvicorn

from asyncgraph import Runtime
from asyncgraph.observe import dashboard, serving
from asyncgraph.observe._dashboard.serving import server_is_stopping
from tests.observe.dashboard.asgi import PATIENCE


def fetched(url):
    """Return the body of what is there."""
    with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(url, timeout=PATIENCE) as answer:
        return answer.read()


async def listening(url):
    """Come as a browser to the feed; return the reader, at the first message, and the writer."""
    host, port = url.removeprefix("http://").strip("/").split(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    writer.write(f"GET /events HTTP/1.1\r\nHost: {host}\r\n\r\n".encode())
    await reader.readuntil(b"data: ")
    return reader, writer


async def test_it_serves_and_stops_under_an_open_stream():
    """A browser that is there is sent the end of its stream, and then nobody is listening any more."""
    app = dashboard()
    async with asyncio.timeout(PATIENCE):
        async with serving(app) as url:
            assert b"<title>asyncgraph</title>" in await asyncio.to_thread(fetched, url)
            reader, writer = await listening(url)
        assert (await reader.read()).endswith(b"0\r\n\r\n")
        with pytest.raises(ConnectionRefusedError):
            await listening(url)
    writer.close()
    await writer.wait_closed()


async def test_a_browser_that_reads_nothing_does_not_keep_it():
    """Nor does one that sends half a request."""
    async with asyncio.timeout(PATIENCE):
        async with serving(dashboard()) as url:
            _, writer = await listening(url)
            host, port = url.removeprefix("http://").strip("/").split(":")
            _, half = await asyncio.open_connection(host, int(port))
            half.write(b"GET / HTTP/1.1\r\n")
            await half.drain()
        for each in (writer, half):
            each.close()
            await each.wait_closed()


async def test_it_can_be_served_again():
    """The same app, after the server has ended."""
    app = dashboard()
    for _ in range(2):
        async with asyncio.timeout(PATIENCE), serving(app) as url:
            _, writer = await listening(url)
            writer.close()
            await writer.wait_closed()


async def test_leaving_by_an_error():
    """The error leaves the block, and the server has ended."""
    with pytest.raises(ZeroDivisionError):
        async with serving(dashboard()):
            raise ZeroDivisionError


async def test_being_cancelled():
    """In the block, it ends the server, and stays cancelled."""
    has_begun = asyncio.Event()

    async def serve():
        async with serving(dashboard()):
            has_begun.set()
            await asyncio.Event().wait()

    aio_task = asyncio.create_task(serve())
    await has_begun.wait()
    aio_task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await aio_task


async def test_a_port_can_be_chosen():
    """One that is in use is an error that names it."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(OSError, match=f"cannot serve on 127.0.0.1, port {port}: Address already in use$"):
            async with serving(dashboard(), port=port):
                pass
    async with serving(dashboard(), "127.0.0.1", port) as url:
        assert url == f"http://127.0.0.1:{port}/"


@pytest.mark.parametrize(
    ("port", "error"),
    [
        ("80", TypeError("port= takes a whole number, not '80'")),
        (True, TypeError("port= takes a whole number, not True")),
        (-1, ValueError("port= is between 0, for one that is free, and 65535, not -1")),
        (65536, ValueError("port= is between 0, for one that is free, and 65535, not 65536")),
    ],
    ids=str,
)
async def test_wrong_ports(port, error):
    """They are refused, with what would be right."""
    with pytest.raises(type(error)) as caught:
        async with serving(dashboard(), port=port):
            pass
    assert str(caught.value) == str(error)


@pytest.mark.parametrize(
    "app", [5, None, "dashboard", Runtime, Runtime()], ids=lambda app: type(app).__name__
)
async def test_what_is_no_app(app):
    """It is refused, with what would be right."""
    with pytest.raises(TypeError, match=r"takes an ASGI app, as in serving\(dashboard\(runtime\)\), not "):
        async with serving(app):
            pass


async def test_without_uvicorn(monkeypatch):
    """The error says how to install it."""
    monkeypatch.setitem(sys.modules, "uvicorn", None)
    monkeypatch.delitem(sys.modules, "asyncgraph.observe._dashboard.server", raising=False)
    with pytest.raises(ImportError, match=r"pip install 'asyncgraph\[dashboard\]'"):
        async with serving(dashboard()):
            pass


async def test_signals_are_left_alone():
    """Ctrl-C is for the program, whose server this is not."""
    before = signal.getsignal(signal.SIGINT)
    async with serving(dashboard()):
        assert signal.getsignal(signal.SIGINT) is before


async def test_a_server_of_the_user_can_stop():
    """It waits for streams before it tells an app of the end: the dashboard sees that coming."""
    app = dashboard(interval=0.01)
    assert not server_is_stopping()
    listener = socket.create_server(("127.0.0.1", 0))
    server = uvicorn.Server(uvicorn.Config(app, log_level="warning", ws="none"))
    aio_task = asyncio.create_task(server.serve(sockets=[listener]))
    async with asyncio.timeout(PATIENCE):
        reader, writer = await listening(f"http://127.0.0.1:{listener.getsockname()[1]}/")
        server.should_exit = True
        assert (await reader.read()).endswith(b"0\r\n\r\n")
        await aio_task
    writer.close()
    await writer.wait_closed()
    listener.close()
    assert not server_is_stopping()
