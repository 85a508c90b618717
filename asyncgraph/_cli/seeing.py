"""What lets a run be seen while and after it goes on, as the options of a command say."""

from __future__ import annotations

import argparse
import contextlib
import sys
from collections.abc import AsyncIterator

from asyncgraph import Runtime
from asyncgraph._cli.exits import MISUSED, CommandError

__all__ = ["seeing"]


# Seconds after which progress is shown, in a terminal or not: it was asked for.
_SOON = 0.2


@contextlib.asynccontextmanager
async def seeing(options: argparse.Namespace, runtime: Runtime) -> AsyncIterator[None]:
    """Let the runs of a block be seen.

    Raises:
        CommandError: Something that it takes is not installed, or the port is taken.
    """
    async with contextlib.AsyncExitStack() as stack:
        if options.dashboard is not None:
            await stack.enter_async_context(_dashboard(runtime, options.dashboard))
        if options.trace is not None:
            from asyncgraph.observe import Trace

            await stack.enter_async_context(Trace(options.trace))
        if options.report is not None:
            from asyncgraph.observe import Report

            await stack.enter_async_context(Report(options.report))
        if options.progress:  # it ends first, and is out of the way when the others have something to say
            from asyncgraph.observe import ProgressBar

            stack.enter_context(ProgressBar(minimum=_SOON))
        yield


@contextlib.asynccontextmanager
async def _dashboard(runtime: Runtime, port: int) -> AsyncIterator[None]:
    from asyncgraph.observe import dashboard, serving

    server = serving(dashboard(runtime), port=port)
    try:
        url = await server.__aenter__()
    except ImportError as error:
        raise CommandError(MISUSED, str(error)) from None
    except OSError as error:
        raise CommandError(MISUSED, f"the dashboard cannot be served at port {port}: {error}") from None
    async with contextlib.AsyncExitStack() as stack:
        stack.push_async_exit(server)
        print(f"asyncgraph: dashboard at {url}", file=sys.stderr)
        yield
