"""Tasks in a pool of the caller's: an executor of `concurrent.futures`, or a pool of `multiprocessing`."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from asyncgraph._graph.function import is_async

__all__ = ["in_pool", "workers_of"]

Wrap = Callable[[Any, Callable[..., Any]], Callable[..., Any]]


def in_pool(pool: Any, wrap: Wrap | None) -> Wrap:
    """Makes of a task's function a coroutine function that calls it in the pool; `wrap` is around that.

    A task whose run is cancelled is not begun if the pool has not begun it. One that is running goes on:
    nobody can stop it there.
    """
    submit = _submit_of(pool)

    def wrapped(key: Any, call: Callable[..., Any]) -> Callable[..., Any]:
        if is_async(call):
            return call if wrap is None else wrap(key, call)

        async def called(*args: Any, **kwargs: Any) -> Any:
            return await asyncio.wrap_future(submit(call, *args, **kwargs))

        return called if wrap is None else wrap(key, called)

    return wrapped


def workers_of(pool: Any) -> int | None:
    """How many workers a pool has, as far as it tells."""
    number = getattr(pool, "_max_workers", None) or len(getattr(pool, "_pool", ()))
    return int(number) if number else None


def _submit_of(pool: Any) -> Callable[..., Any]:
    from multiprocessing.pool import Pool

    if isinstance(pool, Pool):
        from dask.local import MultiprocessingPoolExecutor

        pool = MultiprocessingPoolExecutor(pool)
    if not callable(getattr(pool, "submit", None)):
        raise TypeError(
            f"pool= takes an executor of concurrent.futures, or a pool of multiprocessing, not {pool!r}"
        )
    submit: Callable[..., Any] = pool.submit
    return submit
