"""The dashboard as an ASGI app: its page, the feed of what happens, pictures, and, if allowed, cancelling.

It needs no framework, and loads nothing from elsewhere. It may be mounted below any path; all addresses that
the page uses are relative to its own.
"""

from __future__ import annotations

import asyncio
import contextlib
import math
from collections.abc import Awaitable, Callable, Iterable, MutableMapping
from functools import cache
from importlib import resources
from typing import Any, get_args
from urllib.parse import parse_qs

from asyncgraph.observe._dashboard.feed import Feed
from asyncgraph.observe._dashboard.guard import SECURITY_HEADERS, checked_hosts, is_own_origin, refused_host
from asyncgraph.observe._dashboard.serving import server_is_stopping
from asyncgraph.observe._dashboard.state import Details, State
from asyncgraph.observe.entered import AnyObserver

__all__ = ["Dashboard", "dashboard"]

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]

_SCRIPT = b"text/javascript; charset=utf-8"

_FILES: dict[str, tuple[str, bytes]] = {
    "": ("page.html", b"text/html; charset=utf-8"),
    "page.css": ("page.css", b"text/css; charset=utf-8"),
    "page.js": ("page.js", _SCRIPT),
    "picture.js": ("picture.js", _SCRIPT),
    "timeline.js": ("timeline.js", _SCRIPT),
    "icon.svg": ("icon.svg", b"image/svg+xml"),
}
"""What the page is made of, by path: the name of the file and its type."""

_STUCK = 30.0
"""Seconds that a browser has to take a message; one that takes none holds a connection and is let go of."""


def dashboard(
    runtime: Any = None,
    *,
    allow_cancel: bool = False,
    show_values: bool = False,
    hosts: Iterable[str] | None = None,
    keep: int = 20,
    interval: float = 0.25,
    details: Details = "watched",
) -> Dashboard:
    """A page that shows what a runtime is doing, as a plain ASGI app: mount it, or serve it with `serving`.

    It shows the runs that are going on and the last ones, how far each of their functions is, the graph with
    its states, what runs where, worker processes, slots and failures, and is told of changes a few times a
    second. It belongs on the event loop on which the runtime is.

    It shows the runs that are going on when it is made and those that begin later, which costs them nothing
    to speak of. What happens to single nodes, which the picture and the timeline are made of, costs them some
    30 microseconds a node: by default it is kept of the runs that begin while somebody looks. Of other runs
    there is how far their functions are, in numbers and in the picture, but no timeline.

    Args:
        runtime: The runtime to show. Without one it shows the runs that are given its observer:
            `node.compute(observers=[app.observer])`, or `with observing(app.observer):`.
        allow_cancel: Whether the page has a button that cancels a run. Pages of other sites cannot, but
            everybody can who may open the page.
        show_values: Whether what exceptions say is shown, which often quotes values; without, failures show
            the class of the exception, the node and where that was built. No argument and no result is shown
            either way.
        hosts: The host names under which it is reached, without port; ["*"] for any. By default any, but on
            loopback only those of loopback, so that no page elsewhere can read it by giving its own name this
            machine's address: name the host here if a proxy on this machine passes it on.
        keep: How many runs that are over are kept.
        interval: Seconds between two updates.
        details: "watched" or "always": of which runs it keeps what happens to single nodes.

    Returns:
        The app. Its `observer` is what hears of events, `close()` ends the streams of its browsers, and
        `detach()` lets it hear of no further runs.

    Raises:
        TypeError: An argument is not of its kind.
        ValueError: A number is out of range, or a host is none.

    Example:
        >>> from asyncgraph import Runtime
        >>> from asyncgraph.observe import dashboard
        >>> from starlette.applications import Starlette
        >>> runtime = Runtime()
        >>> app = Starlette()
        >>> app.mount("/graph", dashboard(runtime))
    """
    _check(runtime, details, allow_cancel=allow_cancel, show_values=show_values)
    state = State(keep=_checked_keep(keep), details=details, runtime=runtime)
    feed = Feed(
        state,
        interval=_checked_interval(interval),
        show_values=show_values,
        allow_cancel=allow_cancel,
        is_stopping=server_is_stopping,
    )
    app = Dashboard(state, feed, runtime, allow_cancel=allow_cancel, hosts=checked_hosts(hosts))
    if runtime is not None:
        for run in runtime.tell_of_ends(state):
            state.add(run)
        runtime.add_observer(state)
    return app


def _check(runtime: Any, details: object, **flags: object) -> None:
    """Refuse what no dashboard can be made of."""
    for name, value in flags.items():
        if not isinstance(value, bool):
            raise TypeError(f"{name}= takes True or False, not {value!r}")
    if runtime is not None and not callable(getattr(runtime, "add_observer", None)):
        raise TypeError(f"dashboard() takes an asyncgraph.Runtime, not {runtime!r}")
    if details not in get_args(Details):
        raise ValueError(f'details= is "watched" or "always", not {details!r}')


class Dashboard:
    """The app that `dashboard` makes.

    Attributes:
        observer: What hears of events: for `observers=` and `observing`.
    """

    def __init__(
        self,
        state: State,
        feed: Feed,
        runtime: Any,
        *,
        allow_cancel: bool,
        hosts: frozenset[str] | None,
    ) -> None:
        self.observer: AnyObserver = state
        self._state = state
        self._feed = feed
        self._runtime = runtime
        self._allows_cancel = allow_cancel
        self._hosts = hosts

    def close(self) -> None:
        """End the streams of all browsers, so that the server can stop."""
        self._feed.close()

    def detach(self) -> None:
        """Hear of no further runs of the runtime; those that go on are still shown."""
        if self._runtime is not None:
            self._runtime.remove_observer(self._state)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request, as ASGI has it."""
        if scope["type"] == "http":
            await self._answer(scope, receive, send)
        elif scope["type"] == "lifespan":
            await self._live(receive, send)
        elif scope["type"] == "websocket":
            await receive()
            await send({"type": "websocket.close", "code": 1000})
        else:
            raise RuntimeError(f"the dashboard speaks HTTP, and not {scope['type']}")

    async def _live(self, receive: Receive, send: Send) -> None:
        while True:
            message = await receive()
            if message["type"] == "lifespan.startup":
                self._feed.open()
                await send({"type": "lifespan.startup.complete"})
            else:
                self.close()
                await send({"type": "lifespan.shutdown.complete"})
                return

    # -- requests

    async def _answer(self, scope: Scope, receive: Receive, send: Send) -> None:
        headers = {
            name.decode("latin-1").lower(): value.decode("latin-1") for name, value in scope["headers"]
        }
        path = _path_of(scope)
        if (problem := refused_host(scope, headers.get("host", ""), self._hosts)) is not None:
            await _say(send, 421, problem)
        elif path == "":
            await _redirect(scope, send)
        elif (words := path.split("/")[1:])[0] == "runs" and len(words) == 3 and _is_number(words[1]):
            await self._answer_for_run(int(words[1]), words[2], scope, headers, send)
        elif len(words) > 1:
            await _say(send, 404, "There is nothing here.")
        elif words[0] == "events":
            if await _allows(scope, send, "GET"):
                await self._stream(scope, headers, receive, send)
        elif words[0] in _FILES:
            if await _allows(scope, send, "GET", "HEAD"):
                name, content_type = _FILES[words[0]]
                await _respond(scope, send, 200, content_type, _file(name))
        else:
            await _say(send, 404, "There is nothing here.")

    async def _answer_for_run(
        self, run: int, what: str, scope: Scope, headers: dict[str, str], send: Send
    ) -> None:
        if what == "picture.svg":
            if await _allows(scope, send, "GET", "HEAD"):
                svg = self._feed.svg_of(run)
                if svg:
                    await _respond(scope, send, 200, b"image/svg+xml", svg.encode())
                else:
                    await _say(send, 404, "There is no picture of this run now.")
        elif what == "cancel":
            if await _allows(scope, send, "POST"):
                await self._cancel(run, headers, send)
        else:
            await _say(send, 404, "There is nothing here.")

    async def _cancel(self, id: int, headers: dict[str, str], send: Send) -> None:
        if not self._allows_cancel:
            await _say(send, 403, "Cancelling is not allowed here: dashboard(runtime, allow_cancel=True)")
            return
        if not is_own_origin(headers):
            await _say(send, 403, "A run can be cancelled from the dashboard's own page, and from no other.")
            return
        known = self._state.run_of(id)
        if known is None:
            await _say(send, 404, f"There is no run {id} any more.")
        elif known.is_over or not known.run.cancel():
            await _say(send, 409, f"Run {id} is over.")
        else:
            await _say(send, 202, f"Run {id} is being cancelled.")

    # -- the stream

    async def _stream(self, scope: Scope, headers: dict[str, str], receive: Receive, send: Send) -> None:
        query = parse_qs(scope.get("query_string", b"").decode("latin-1"))
        run = query.get("run", [""])[0]
        stream = self._feed.stream(int(run) if _is_number(run) else None, headers.get("last-event-id", ""))
        await _send_start(send, 200, b"text/event-stream; charset=utf-8", [(b"x-accel-buffering", b"no")])
        writing = asyncio.create_task(_write(stream, send), name="asyncgraph dashboard stream")
        leaving = asyncio.create_task(_until_gone(receive), name="asyncgraph dashboard client")
        try:
            await asyncio.wait([writing, leaving], return_when=asyncio.FIRST_COMPLETED)
        finally:
            writing.cancel()
            leaving.cancel()
            await asyncio.wait([writing, leaving])
            await stream.aclose()
        if not writing.cancelled():
            writing.result()


async def _write(stream: Any, send: Send) -> None:
    """Send what the stream has, until it ends or the browser does not take it any more."""
    # OSError: the connection is gone. TimeoutError, which is one: nobody reads.
    with contextlib.suppress(OSError):
        async for message in stream:
            async with asyncio.timeout(_STUCK):
                await send({"type": "http.response.body", "body": message, "more_body": True})
        await send({"type": "http.response.body", "body": b""})


async def _until_gone(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


# -- answers


async def _allows(scope: Scope, send: Send, *methods: str) -> bool:
    """Whether the method of a request is one of these; if not, it is answered."""
    if scope["method"] in methods:
        return True
    allowed = ", ".join(methods)
    headers = [(b"allow", allowed.encode())]
    await _respond(scope, send, 405, b"text/plain; charset=utf-8", f"Use {allowed}.\n".encode(), headers)
    return False


async def _redirect(scope: Scope, send: Send) -> None:
    """To the same path with a slash at its end: addresses of the page are relative to it."""
    last = scope.get("root_path", "").rpartition("/")[2]
    headers = [(b"location", f"{last}/".encode("latin-1"))]
    await _respond(scope, send, 307, b"text/plain; charset=utf-8", b"", headers)


async def _say(send: Send, status: int, text: str) -> None:
    await _respond({"method": "GET"}, send, status, b"text/plain; charset=utf-8", f"{text}\n".encode())


async def _respond(
    scope: Scope,
    send: Send,
    status: int,
    content_type: bytes,
    body: bytes,
    headers: Iterable[tuple[bytes, bytes]] = (),
) -> None:
    length = (b"content-length", str(len(body)).encode())
    await _send_start(send, status, content_type, [length, *headers])
    await send({"type": "http.response.body", "body": b"" if scope["method"] == "HEAD" else body})


async def _send_start(
    send: Send, status: int, content_type: bytes, headers: Iterable[tuple[bytes, bytes]]
) -> None:
    given = [(b"content-type", content_type), *SECURITY_HEADERS, *headers]
    await send({"type": "http.response.start", "status": status, "headers": given})


def _headers_of(scope: Scope) -> dict[str, str]:
    return {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in scope["headers"]}


def _path_of(scope: Scope) -> str:
    """The path below the one at which the app is mounted; "" if that is asked for without a slash."""
    path: str = scope["path"]
    root: str = scope.get("root_path", "").rstrip("/")
    if root and path == root:
        return ""
    return path[len(root) :] if root and path.startswith(f"{root}/") else path or "/"


def _is_number(text: str) -> bool:
    return text.isascii() and text.isdecimal() and len(text) < 16


@cache
def _file(name: str) -> bytes:
    return resources.files("asyncgraph.observe._dashboard").joinpath("page", name).read_bytes()


# -- options


def _checked_keep(keep: object) -> int:
    if not isinstance(keep, int) or isinstance(keep, bool):
        raise TypeError(f"keep= is how many runs that are over are kept, a whole number, not {keep!r}")
    if keep < 0:
        raise ValueError(f"keep= is how many runs that are over are kept, 0 or more, not {keep}")
    return keep


def _checked_interval(interval: object) -> float:
    if not isinstance(interval, int | float) or isinstance(interval, bool):
        raise TypeError(f"interval= takes seconds, not {interval!r}")
    if not (interval > 0 and math.isfinite(interval)):
        raise ValueError(f"interval= takes seconds above 0, not {interval!r}")
    return float(interval)
