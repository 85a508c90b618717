"""What lets a run be seen while and after it goes on, as the options of a command say."""

from __future__ import annotations

import argparse
import contextlib
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import ClassVar, TypeVar

from asyncgraph import Runtime
from asyncgraph._cli.drawing import check_program, draw, format_of
from asyncgraph._cli.exits import MISUSED, CommandError
from asyncgraph._graph.graph import Graph
from asyncgraph.observe import Event, Observer, RunStarted
from asyncgraph.observe.result_file import ResultFile

__all__ = ["seeing"]

T = TypeVar("T")

# Seconds after which progress is shown, in a terminal or not: it was asked for.
_SOON = 0.2


@contextlib.asynccontextmanager
async def seeing(options: argparse.Namespace, runtime: Runtime) -> AsyncIterator[list[ResultFile]]:
    """Let the runs of a block be seen.

    Yields:
        The files that are written when it is left; what has gone wrong with that has been logged.

    Raises:
        CommandError: Something that it takes is missing, a file cannot be written, or the port is taken.
    """
    files: list[ResultFile] = []
    async with contextlib.AsyncExitStack() as stack:
        if options.dashboard is not None:
            await stack.enter_async_context(_dashboard(runtime, options.dashboard))
        if options.trace is not None:
            from asyncgraph.observe import Trace

            files.append(await stack.enter_async_context(_opened(Trace, options.trace)))
        if options.report is not None:
            from asyncgraph.observe import Report

            files.append(await stack.enter_async_context(_opened(Report, options.report)))
        if options.graph is not None:
            stack.enter_context(_drawn(options.graph))
        if options.progress:  # it ends first, and is out of the way when the others have something to say
            from asyncgraph.observe import ProgressBar

            stack.enter_context(ProgressBar(minimum=_SOON))
        yield files


def _opened(kind: Callable[[Path], T], path: Path) -> T:
    try:
        return kind(path)
    except OSError as error:
        raise CommandError(MISUSED, f"{path} cannot be written: {error.strerror or error}") from None


class _Graphs(Observer):
    """Has the graph of the latest run that is not part of another."""

    kinds: ClassVar[frozenset[type[Event]]] = frozenset({RunStarted})

    def __init__(self) -> None:
        self.latest: Graph | None = None

    def __call__(self, event: RunStarted) -> None:
        if event.run.outer is None:
            self.latest = event.run.graph()


@contextlib.contextmanager
def _drawn(path: Path) -> Iterator[None]:
    """Draw the graph of the latest run of a block, whatever has come of it."""
    from asyncgraph.observe import Recording

    format = format_of(path)
    check_program(format)
    graphs = _Graphs()
    with Recording() as recording, graphs:
        try:
            yield
        finally:
            if graphs.latest is not None:
                draw(graphs.latest, format, path, color="duration", run=recording)


@contextlib.asynccontextmanager
async def _dashboard(runtime: Runtime, port: int) -> AsyncIterator[None]:
    from asyncgraph.observe import dashboard, serving

    server = serving(dashboard(runtime, details="always"), port=port)
    try:
        url = await server.__aenter__()
    except ImportError as error:
        raise CommandError(MISUSED, str(error)) from None
    except OSError as error:
        raise CommandError(MISUSED, f"no dashboard: {error.strerror or error}") from None
    async with contextlib.AsyncExitStack() as stack:
        stack.push_async_exit(server)
        print(f"asyncgraph: dashboard at {url}", file=sys.stderr)
        yield
