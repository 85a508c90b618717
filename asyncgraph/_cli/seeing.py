"""What lets a run be seen while and after it goes on, as the options of a command say."""

from __future__ import annotations

import argparse
import contextlib
import sys
from collections.abc import AsyncIterator
from typing import Any

from asyncgraph import Runtime
from asyncgraph._cli.exits import MISUSED, CommandError

__all__ = ["seeing"]


@contextlib.asynccontextmanager
async def seeing(options: argparse.Namespace, runtime: Runtime) -> AsyncIterator[None]:
    """Let the runs of a block be seen.

    Raises:
        CommandError: Something that it takes is not installed, or the port is taken.
    """
    async with contextlib.AsyncExitStack() as stack:
        if options.dashboard is not None:
            await stack.enter_async_context(_dashboard(runtime, options.dashboard))
        for observer in _observers(options):
            stack.enter_context(observer)
        yield


def _observers(options: argparse.Namespace) -> list[Any]:
    observers: list[Any] = []
    if options.trace is not None:
        from asyncgraph.observe import Trace

        observers.append(Trace(options.trace))
    if options.report is not None:
        from asyncgraph.observe import Report

        observers.append(Report(options.report))
    if (
        options.progress
    ):  # last, and so the first to end: it is out of the way when the others have to say something
        from asyncgraph.observe import ProgressBar

        observers.append(ProgressBar())
    return observers


@contextlib.asynccontextmanager
async def _dashboard(runtime: Runtime, port: int) -> AsyncIterator[None]:
    from asyncgraph.observe import dashboard, serving

    try:
        server = serving(dashboard(runtime), port=port)
        async with contextlib.AsyncExitStack() as stack:
            url = await stack.enter_async_context(server)
            print(f"asyncgraph: dashboard at {url}", file=sys.stderr)
            yield
    except ImportError as error:
        raise CommandError(MISUSED, str(error)) from None
    except OSError as error:
        raise CommandError(MISUSED, f"the dashboard cannot be served at port {port}: {error}") from None
