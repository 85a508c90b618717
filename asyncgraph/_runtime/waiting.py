"""Waiting for something to the end, however often the one who waits is cancelled meanwhile."""

from __future__ import annotations

import asyncio
import contextlib
import sys
from collections.abc import Callable
from typing import Any

__all__ = ["shield", "until_done"]


async def until_done(
    future: asyncio.Future[Any], *, on_cancel: Callable[[], object]
) -> asyncio.CancelledError | None:
    """Wait for `future` to the end.

    Args:
        future: What is waited for; it is not cancelled.
        on_cancel: Called each time that the caller is cancelled.

    Returns:
        The first of these cancellations, for the caller to raise, or None.
    """
    cancelled: asyncio.CancelledError | None = None
    while not future.done():
        try:
            with contextlib.nullcontext() if cancelled is None else shield():
                await asyncio.wait((future,))
        except asyncio.CancelledError as error:
            cancelled = cancelled or error
            on_cancel()
    try:
        return cancelled
    finally:
        del cancelled  # its traceback holds this frame


def shield() -> contextlib.AbstractContextManager[object]:
    """What keeps an anyio cancel scope from cancelling again.

    It does so once a turn of the loop, until its task has left or is shielded. Where anyio has not been
    imported there are no such scopes.
    """
    anyio = sys.modules.get("anyio")
    return contextlib.nullcontext() if anyio is None else anyio.CancelScope(shield=True)
