"""Which executor would be right for what blocks the event loop, or holds the interpreter's lock."""

from __future__ import annotations

from asyncgraph.observe.events import NodeInfo
from asyncgraph.observe.spots import Spot, innermost_own

__all__ = ["advice_on_gil", "advice_on_loop"]

# What to await in place of a call into a library that blocks, by the library.
_INSTEAD = {
    "boto3": "aiobotocore",
    "botocore": "aiobotocore",
    "http": "aiohttp or another asynchronous client",
    "psycopg2": "psycopg's AsyncConnection",
    "pymysql": "aiomysql",
    "queue": "an asyncio.Queue",
    "redis": "redis.asyncio",
    "requests": "aiohttp or another asynchronous client",
    "socket": "asyncio.open_connection",
    "sqlite3": "aiosqlite",
    "subprocess": "asyncio.create_subprocess_exec",
    "threading": "asyncio's locks and events",
    "urllib": "aiohttp or another asynchronous client",
    "urllib3": "aiohttp or another asynchronous client",
}

# The same by what is on the line, for calls of machine code, which has no line of its own.
_INSTEAD_OF_TEXT = {
    "sleep(": "asyncio.sleep",
    "input(": "asyncio.to_thread(input)",
    "open(": "asyncgraph.io or aiofiles",
    "execute(": "aiosqlite or another asynchronous driver",
    "recv(": "asyncio's streams",
    "urlopen(": "aiohttp or another asynchronous client",
}

_EQUIVALENT = "an asynchronous equivalent"


def _cause_of(spots: list[Spot]) -> str:
    """The library that the innermost of the user's code has called, and is in; "" if it is in none."""
    own = innermost_own(spots)
    if own is None:
        return ""
    behind = spots[spots.index(own) + (not own.is_in_library) :]
    return next((spot.library for spot in behind if spot.is_in_library), "")


def advice_on_loop(node: NodeInfo | None, spots: list[Spot], text: str, *, is_computing: bool | None) -> str:
    """What to do about something that blocks the event loop.

    Args:
        node: The node; None for what is no node.
        spots: The calls that it is in.
        text: The line that it is in, as it is in the source.
        is_computing: Whether it computes; None if that is not known.
    """
    if node is None:
        return _on_foreign(_instead(spots, text), is_computing=is_computing)
    if node.is_async or node.kind == "resource":
        return _on_coroutine(_instead(spots, text), is_computing=is_computing)
    advice = _on_plain(is_computing=is_computing)
    if all(spot.is_ours for spot in spots):  # machine code, of which it does not show who has called it
        advice += "; if it is an operator, attribute or item of a node, make a function of that"
    return advice


def _on_plain(*, is_computing: bool | None) -> str:
    if is_computing:
        return 'it computes: executor="process" in place of executor="loop"'
    if is_computing is None:
        return 'leave executor="loop" out, so that it runs in a thread; if it computes, executor="process"'
    return 'it waits: leave executor="loop" out, so that it runs in a thread'


def advice_on_gil(node: NodeInfo | None) -> str:
    """What to do about something in a thread that keeps the interpreter to itself."""
    if node is None:
        return "nothing else can run meanwhile: do this in a process of its own"
    return 'nothing else can run meanwhile: executor="process" gives it an interpreter of its own'


def _on_coroutine(instead: str, *, is_computing: bool | None) -> str:
    wait = f"await {instead or _EQUIVALENT}, or make it a plain `def`, which runs in a thread"
    if is_computing:
        return 'it computes: move that into a plain `def` with executor="process"'
    if is_computing is None:
        return f'{wait}; if it computes, with executor="process"'
    return f"it waits: {wait}"


def _on_foreign(instead: str, *, is_computing: bool | None) -> str:
    wait = f"await {instead or _EQUIVALENT}, or hand it to asyncio.to_thread"
    compute = 'make it a node with executor="process"'
    if is_computing is None:
        return f"{wait}; if it computes, {compute}"
    return f"it computes: {compute}" if is_computing else f"it waits: {wait}"


def _instead(spots: list[Spot], text: str) -> str:
    by_library = _INSTEAD.get(_cause_of(spots))
    return by_library or next((instead for part, instead in _INSTEAD_OF_TEXT.items() if part in text), "")
