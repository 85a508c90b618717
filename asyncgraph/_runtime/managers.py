"""Entering and leaving a context manager by hand, whichever kind it is.

A `with` statement would not do: the error that ends a run is shown to the manager, which must not add frames
to its traceback, nor does it matter to the run whether the manager swallows it.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from typing import Any

from asyncgraph._graph.function import name_of

__all__ = ["entered", "left"]


async def entered(
    factory: Callable[..., Any], args: tuple[Any, ...], kwargs: Mapping[str, Any]
) -> tuple[Any, Any]:
    """Make a context manager and enter it; the manager, and what it gives.

    Raises:
        TypeError: The factory has made something else.
    """
    manager: Any = factory(*args, **kwargs)
    if inspect.isawaitable(manager) and not hasattr(type(manager), "__aenter__"):
        manager = await manager
    kind: Any = type(manager)
    if hasattr(kind, "__aenter__") and hasattr(kind, "__aexit__"):
        return manager, await kind.__aenter__(manager)
    if hasattr(kind, "__enter__") and hasattr(kind, "__exit__"):
        return manager, kind.__enter__(manager)
    raise TypeError(
        f"resource takes a function that makes a context manager, and {name_of(factory)} has made a "
        f"{kind.__name__}, which is none: it has neither __aenter__ and __aexit__ nor __enter__ and __exit__"
    )


async def left(manager: Any, failure: BaseException | None) -> None:
    """Leave a context manager that was entered, because of `failure` or because all is done.

    Raises:
        BaseException: What the manager raises, unless that is `failure`.
    """
    kind: Any = type(manager)
    traceback = None if failure is None else failure.__traceback__
    about = (None if failure is None else type(failure), failure, traceback)
    try:
        if hasattr(kind, "__aexit__"):
            await kind.__aexit__(manager, *about)
        else:
            kind.__exit__(manager, *about)
    except BaseException as error:
        if error is not failure:
            raise
    finally:
        if failure is not None:
            BaseException.with_traceback(failure, traceback)
