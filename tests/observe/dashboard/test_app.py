"""The dashboard as ASGI servers see it: what it answers, what it refuses, where it may be mounted."""

from __future__ import annotations

import asyncio
import re
from pathlib import Path

import pytest
from starlette.applications import Starlette
from starlette.testclient import TestClient

import asyncgraph.observe
from asyncgraph import Runtime, delayed
from asyncgraph.observe import dashboard
from tests.observe.dashboard.asgi import Listener, ask, living

PAGE = Path(asyncgraph.observe.__file__).parent / "_dashboard" / "page"
FILES = ["/", "/page.css", "/page.js", "/picture.js", "/timeline.js", "/icon.svg"]
TYPES = {".html": "text/html", ".css": "text/css", ".js": "text/javascript", ".svg": "image/svg+xml"}

OWN = {"origin": "http://127.0.0.1:8000", "sec-fetch-site": "same-origin"}


@pytest.fixture
def app():
    """Return a dashboard of no runtime."""
    return dashboard()


@pytest.mark.parametrize("path", FILES)
async def test_the_page_and_its_files(app, path):
    """Each is served with its type, and HEAD gives the same without the body."""
    answer = await ask(app, path)
    file = PAGE / (path[1:] or "page.html")
    assert answer.status == 200
    assert answer.body == file.read_bytes()
    assert answer.headers["content-type"].startswith(TYPES[file.suffix])
    head = await ask(app, path, method="HEAD")
    assert (head.status, head.body, head.headers) == (200, b"", answer.headers)


def test_every_file_of_the_page_is_served():
    """There is none but those that are asked for above."""
    assert {file.name for file in PAGE.iterdir()} == {path[1:] or "page.html" for path in FILES}


def test_the_page_loads_nothing_from_elsewhere():
    """It names no other host, has no inline script or style, and its addresses are relative."""
    for file in PAGE.iterdir():
        text = file.read_text("utf-8").replace("http://www.w3.org/2000/svg", "")
        assert "//" not in re.sub(r"^\s*//.*|/\*.*?\*/", "", text, flags=re.MULTILINE), file
        assert not re.search(r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|eval\(", text), file
    page = (PAGE / "page.html").read_text("utf-8")
    assert not re.search(r"<style|style=|<script>|\son\w+=|=\"/", page)


@pytest.mark.parametrize(
    "path", ["/nothing", "/runs", "/runs/1", "/runs/1/else", "/runs/x/cancel", "/a/b", "/.."]
)
async def test_what_is_not_there(app, path):
    """Other paths, numbers that are none and runs that are not known give 404."""
    answer = await ask(app, path)
    assert (answer.status, answer.text) == (404, "There is nothing here.\n")


@pytest.mark.parametrize(
    ("method", "path", "allowed"),
    [
        ("POST", "/", "GET, HEAD"),
        ("DELETE", "/events", "GET"),
        ("POST", "/runs/1/picture.svg", "GET, HEAD"),
        ("GET", "/runs/1/cancel", "POST"),
    ],
)
async def test_wrong_methods(app, method, path, allowed):
    """They give 405 and say which would be right."""
    answer = await ask(app, path, method=method)
    assert (answer.status, answer.headers["allow"]) == (405, allowed)


@pytest.mark.parametrize("path", ["/", "/nothing", "/runs/1/cancel", "/page.js"])
async def test_security_headers(app, path):
    """Whatever the answer, nothing else may be loaded, and it may not be framed, kept or guessed at."""
    headers = (await ask(app, path)).headers
    policy = dict(each.strip().split(" ", 1) for each in headers["content-security-policy"].split(";"))
    assert policy["default-src"] == policy["frame-ancestors"] == policy["base-uri"] == "'none'"
    assert policy["script-src"] == policy["style-src"] == policy["connect-src"] == "'self'"
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["cache-control"] == "no-store"
    assert headers["referrer-policy"] == "no-referrer"


async def test_below_another_path():
    """Mounted, it is where it was mounted; without the slash at the end it says where it is."""
    app = dashboard()
    mounted = {"root_path": "/tools/graph"}
    assert (await ask(app, "/tools/graph/page.css", **mounted)).status == 200
    assert (await ask(app, "/tools/graph/", **mounted)).headers["content-type"].startswith("text/html")
    answer = await ask(app, "/tools/graph", **mounted)
    assert (answer.status, answer.headers["location"]) == (307, "graph/")
    # Servers that take the root path off themselves.
    assert (await ask(app, "/page.css", **mounted)).status == 200


def test_mounted_in_starlette():
    """Below a path of a Starlette app, which itself may be below another one."""
    app = Starlette()
    app.mount("/graph", dashboard())
    for root in ("", "/behind/a/proxy"):
        client = TestClient(app, root_path=root)
        assert client.get(f"{root}/graph").url.path == f"{root}/graph/"
        page = client.get(f"{root}/graph/")
        assert page.text == (PAGE / "page.html").read_text("utf-8")
        for address in re.findall(r'(?:src|href)="([^"#]+)"', page.text):
            assert client.get(f"{root}/graph/{address}").status_code == 200


# -- hosts


@pytest.mark.parametrize("host", ["127.0.0.1:8000", "localhost:8000", "LOCALHOST", "[::1]:8000"])
async def test_loopback_names(app, host):
    """On loopback it answers to the names of loopback."""
    assert (await ask(app, "/", headers={"host": host})).status == 200


@pytest.mark.parametrize("host", ["evil.example", "evil.example:8000", "127.0.0.1.evil.example", ""])
@pytest.mark.parametrize("path", ["/", "/events", "/runs/1/cancel"])
async def test_other_names_on_loopback_are_refused(app, host, path):
    """A page elsewhere whose name has come to mean this machine learns nothing; it says what to do."""
    answer = await ask(app, path, headers={"host": host})
    assert answer.status == 421
    assert f"hosts=[{host.partition(':')[0]!r}]" in answer.text


async def test_allowed_hosts():
    """`hosts=` names others; then these and loopback are all, wherever the server is."""
    app = dashboard(hosts=["Graphs.example.com"])
    assert (await ask(app, "/", headers={"host": "graphs.example.com"})).status == 200
    assert (await ask(app, "/", headers={"host": "localhost"})).status == 200
    assert (await ask(app, "/", headers={"host": "other.example"})).status == 421
    assert (await ask(app, "/", headers={"host": "other.example"}, server=("10.0.0.1", 80))).status == 421
    assert (await ask(dashboard(hosts=["*"]), "/", headers={"host": "any.example"})).status == 200


@pytest.mark.parametrize("server", [("10.0.0.1", 80), ("testserver", 80), ("/run/app.sock", None), None])
async def test_elsewhere_any_host_is_fine(app, server):
    """Where it is not reached by loopback, it does not know its names."""
    assert (await ask(app, "/", headers={"host": "graphs.example.com"}, server=server)).status == 200


# -- cancelling


async def test_cancel_is_off_by_default():
    """Without `allow_cancel=True` a run goes on, whoever asks; the answer says how to allow it."""
    async with Runtime() as runtime:
        app = dashboard(runtime)
        run, gate = gated(runtime)
        answer = await ask(app, f"/runs/{id_of(app)}/cancel", method="POST", headers=OWN)
        assert answer.status == 403
        assert "allow_cancel=True" in answer.text
        gate.set()
        assert await run == 1


async def test_cancel():
    """Where that is allowed, the page cancels a run; one that is over, or unknown, it cannot."""
    async with Runtime() as runtime:
        app = dashboard(runtime, allow_cancel=True)
        run, _ = gated(runtime)
        path = f"/runs/{id_of(app)}/cancel"
        assert (await ask(app, path, method="POST", headers=OWN)).status == 202
        with pytest.raises(asyncio.CancelledError):
            await run
        assert (await ask(app, path, method="POST", headers=OWN)).status == 409
        assert (await ask(app, "/runs/999999999/cancel", method="POST", headers=OWN)).status == 404


@pytest.mark.parametrize(
    "headers",
    [
        {"origin": "http://evil.example"},
        {"origin": "http://127.0.0.1:9000"},
        {"origin": "null"},
        {"origin": ""},
        {"sec-fetch-site": "cross-site"},
        {"sec-fetch-site": "same-site", "origin": "http://127.0.0.1:8000"},
        {"sec-fetch-site": "none"},
    ],
    ids=str,
)
async def test_cancel_refuses_other_origins(headers):
    """A page of another origin cannot cancel: not of another host, port or kind."""
    async with Runtime() as runtime:
        app = dashboard(runtime, allow_cancel=True)
        run, gate = gated(runtime)
        answer = await ask(app, f"/runs/{id_of(app)}/cancel", method="POST", headers=headers)
        assert answer.status == 403
        gate.set()
        assert await run == 1


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"origin": "http://127.0.0.1:8000"},
        {"host": "localhost", "origin": "http://localhost:80"},
        {"host": "localhost:443", "origin": "https://localhost"},
    ],
    ids=str,
)
async def test_cancel_from_its_own_origin(headers):
    """Its own page may, also behind TLS, and so may a program that is no browser."""
    async with Runtime() as runtime:
        app = dashboard(runtime, allow_cancel=True)
        run, _ = gated(runtime)
        answer = await ask(app, f"/runs/{id_of(app)}/cancel", method="POST", headers=headers)
        assert answer.status == 202
        with pytest.raises(asyncio.CancelledError):
            await run


# -- other scopes


async def test_lifespan_ends_the_streams(app):
    """The end of the server ends the streams; begun again, there are new ones."""
    for _ in range(2):
        async with living(app), Listener(app) as listener:
            await listener.hear()
            app.close()
            assert await listener.next() == ""
    async with living(app), Listener(app) as listener:
        await listener.hear()


async def test_other_scopes(app):
    """A WebSocket is closed, and anything else is a mistake of the server's."""
    sent = []

    async def receive():
        return {"type": "websocket.connect"}

    async def send(message):
        sent.append(message)

    await app({"type": "websocket"}, receive, send)
    assert sent == [{"type": "websocket.close", "code": 1000}]
    with pytest.raises(RuntimeError, match="speaks HTTP, and not telepathy"):
        await app({"type": "telepathy"}, receive, send)


# -- options


@pytest.mark.parametrize(
    ("options", "error"),
    [
        ({"runtime": 3}, TypeError("dashboard() takes an asyncgraph.Runtime, not 3")),
        ({"allow_cancel": 1}, TypeError("allow_cancel= takes True or False, not 1")),
        ({"show_values": "no"}, TypeError("show_values= takes True or False, not 'no'")),
        (
            {"hosts": "a.example"},
            TypeError("hosts= takes a list of host names, not 'a.example': hosts=['graphs.example.com']"),
        ),
        ({"hosts": [1]}, TypeError("hosts= takes a list of host names, and 1 is none")),
        (
            {"hosts": ["http://a.example"]},
            ValueError("hosts= takes names without scheme, port and path, not 'http://a.example'"),
        ),
        ({"hosts": ["a:80"]}, ValueError("hosts= takes names without scheme, port and path, not 'a:80'")),
        ({"keep": 2.5}, TypeError("keep= is how many runs that are over are kept, a whole number, not 2.5")),
        ({"keep": -1}, ValueError("keep= is how many runs that are over are kept, 0 or more, not -1")),
        ({"interval": "1"}, TypeError("interval= takes seconds, not '1'")),
        ({"interval": 0}, ValueError("interval= takes seconds above 0, not 0")),
        ({"interval": float("nan")}, ValueError("interval= takes seconds above 0, not nan")),
        ({"details": "all"}, ValueError('details= is "watched" or "always", not \'all\'')),
    ],
    ids=str,
)
def test_wrong_options(options, error):
    """They are refused when they are given, with what would be right."""
    with pytest.raises(type(error)) as caught:
        dashboard(**options)
    assert str(caught.value) == str(error)


def gated(runtime):
    """Start a run of one node that waits; return it, and what the node waits for."""
    gate = asyncio.Event()

    @delayed
    async def wait():
        await gate.wait()
        return 1

    return runtime.start(wait()), gate


def id_of(app):
    """Return the number of the newest run that a dashboard knows."""
    return app.observer.runs()[0].id
