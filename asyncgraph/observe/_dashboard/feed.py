"""Server-sent events: what has changed, a few times a second, to each browser that is there.

While somebody looks, one task takes stock of what is known and gives what has changed a version. Each browser
is told, at its own pace, what has changed since the version that it has. While one message is on its way to
it, nothing more is kept for it: a browser that is slow skips versions, and one that is stuck holds one
message, until it is let go of. One that comes again says what it has seen last, and goes on from there.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import secrets
import time
from collections.abc import AsyncGenerator, Callable, Iterator

from asyncgraph.observe._dashboard.parts import Parts, encoded
from asyncgraph.observe._dashboard.selected import Selected
from asyncgraph.observe._dashboard.state import State

__all__ = ["Feed"]

logger = logging.getLogger("asyncgraph.observe")

HEARTBEAT = 15.0
"""Seconds after which a comment is sent if there was nothing else: proxies close what is idle."""

LONGEST = 300.0
"""Seconds that a stream lasts; the browser comes again by itself, and so one that nobody ends does end."""

_RETRY = b"retry: 1000\n\n"
"""How many milliseconds after the end of a stream a browser comes again."""

# Taking stock may take a tenth of the time of the loop, if graphs are so large that it takes long.
_SHARE = 0.1


class Feed:
    """What is told to browsers.

    Args:
        state: What is known.
        interval: Seconds between two looks at it.
        show_values: Whether what exceptions say is shown.
        allow_cancel: Whether the page offers to cancel.
        is_stopping: Whether the server is about to end, so that streams have to end.

    Attributes:
        version: Of what is shown; it rises with each change.
    """

    def __init__(
        self,
        state: State,
        *,
        interval: float,
        show_values: bool,
        allow_cancel: bool,
        is_stopping: Callable[[], bool],
    ) -> None:
        self.version = 0
        self._state = state
        self._interval = interval
        self._show_values = show_values
        self._allow_cancel = allow_cancel
        self._is_stopping = is_stopping
        self._is_closed = False
        # Versions are those of this feed: a browser may have seen one of another process.
        self._name = secrets.token_hex(4)
        self._parts = Parts()
        self._final: set[int] = set()
        self._selected: dict[int, Selected] = {}
        self._clients = 0
        self._ticker: asyncio.Task[None] | None = None
        self._next: asyncio.Future[None] | None = None
        # Messages of the present version, by the run that is looked at and the version that was seen.
        self._messages: dict[tuple[int | None, int], bytes] = {}

    @property
    def clients(self) -> int:
        """How many browsers are there."""
        return self._clients

    async def stream(self, run: int | None, last_id: str = "") -> AsyncGenerator[bytes, None]:
        """What is sent to a browser that looks at this run, and that has seen the message with this id last.

        It ends when the feed is closed, or after some minutes.
        """
        with self._watching(run) as selected:
            yield _RETRY
            seen = self._seen(last_id, selected)
            end = time.monotonic() + LONGEST
            while not self._is_closed and time.monotonic() < end:
                if seen < self.version:
                    message, seen = self._message(run, seen), self.version
                    yield message
                elif not await self._has_changed():
                    yield b": nothing new\n\n"

    def refresh(self) -> None:
        """Take stock now, and let browsers know what has changed."""
        version = self.version + 1
        has_changed = self._put_runs(version)
        overview = {**self._state.overview(), "allow_cancel": self._allow_cancel}
        has_changed |= self._parts.put("overview", overview, version)
        for selected in self._selected.values():
            has_changed |= selected.refresh(version)
        if has_changed:
            self.version = version
            self._messages.clear()
            self._wake()

    def open(self) -> None:
        """Take browsers, also after `close`."""
        self._is_closed = False

    def close(self) -> None:
        """End all streams; those that come later end at once."""
        self._is_closed = True
        self._wake()

    # -- taking stock

    def _put_runs(self, version: int) -> bool:
        has_changed = False
        names = {"overview"}
        runs = self._state.runs()
        for known in runs:
            name = f"run/{known.id}"
            names.add(name)
            if known.id in self._final:
                continue
            has_changed |= self._parts.put(name, known.row(show_values=self._show_values), version)
            if known.is_over:
                self._final.add(known.id)
        self._parts.keep_only(names)
        self._final &= {known.id for known in runs}
        return has_changed

    async def _tick(self) -> None:
        while True:
            began = time.perf_counter()
            try:
                self.refresh()
            except Exception:
                # A fault of ours: browsers are let go of, rather than shown what is no longer so.
                logger.exception("asyncgraph failed to take stock for the dashboard; please report this")
                self.close()
            if self._is_stopping():
                self.close()
            await asyncio.sleep(max(self._interval, (time.perf_counter() - began) / _SHARE))

    def _wake(self) -> None:
        waited_for, self._next = self._next, None
        if waited_for is not None and not waited_for.done():
            waited_for.set_result(None)

    # -- browsers

    @contextlib.contextmanager
    def _watching(self, run: int | None) -> Iterator[Selected | None]:
        """Somebody looks, and at this run."""
        self._clients += 1
        self._state.is_watched = True
        selected = self._select(run)
        if self._ticker is None:
            self._ticker = asyncio.create_task(self._tick(), name="asyncgraph dashboard")
        self.refresh()
        try:
            yield selected
        finally:
            if selected is not None:
                selected.clients -= 1
                if not selected.clients:
                    del self._selected[selected.known.id]
            self._clients -= 1
            if not self._clients:
                self._nobody_looks()

    def _nobody_looks(self) -> None:
        self._state.is_watched = False
        self._next = None
        if self._ticker is not None:
            self._ticker.cancel()
            self._ticker = None

    def _select(self, run: int | None) -> Selected | None:
        known = None if run is None else self._state.run_of(run)
        if known is None:
            return None
        selected = self._selected.get(known.id)
        if selected is None:
            selected = self._selected[known.id] = Selected(known, self.version)
        selected.clients += 1
        return selected

    def svg_of(self, run: int) -> str:
        """The picture of a run that somebody looks at; "" if there is none."""
        selected = self._selected.get(run)
        return "" if selected is None else selected.picture.svg

    def _seen(self, last_id: str, selected: Selected | None) -> int:
        """The version that a browser has; 0 if it has to be told everything."""
        name, _, number = last_id.partition("-")
        # int() would take more than what we have given out, and so would isdigit().
        if name != self._name or not (number.isascii() and number.isdecimal() and len(number) < 16):
            return 0
        seen = int(number)
        since = 0 if selected is None else selected.since
        return seen if since < seen <= self.version else 0

    async def _has_changed(self) -> bool:
        """Wait for the next version; whether it came before the next heartbeat."""
        if self._next is None:
            self._next = asyncio.get_running_loop().create_future()
        done, _ = await asyncio.wait([self._next], timeout=HEARTBEAT)
        return bool(done)

    def _message(self, run: int | None, seen: int) -> bytes:
        message = self._messages.get((run, seen))
        if message is None:
            message = self._messages[run, seen] = self._composed(run, seen)
        return message

    def _composed(self, run: int | None, seen: int) -> bytes:
        parts = self._parts.since(seen)
        bars: list[str] = []
        selected = None if run is None else self._selected.get(run)
        if selected is not None:
            parts |= selected.parts.since(seen)
            bars = selected.bars_since(seen)
        members = ",".join(f"{encoded(name)}:{text}" for name, text in parts.items())
        data = (
            f'{{"full":{encoded(not seen)},"time":{time.time():.3f},"run":{encoded(run)},'
            f'"parts":{{{members}}},"bars":[{",".join(bars)}]}}'
        )
        return f"id: {self._name}-{self.version}\ndata: {data}\n\n".encode()
