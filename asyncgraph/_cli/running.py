"""`asyncgraph run`: compute what is asked for, let it be seen, and write its value."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import inspect
import sys
from typing import Any, ClassVar

import asyncgraph
from asyncgraph import Runtime
from asyncgraph._cli.asking import Asked, Request
from asyncgraph._cli.exits import FAILED, FINE, MISUSED, CommandError, ReaderGoneError, TerminatedError
from asyncgraph._cli.output import NoJsonError, as_json, as_text, write
from asyncgraph._cli.seeing import seeing
from asyncgraph._cli.stopping import Termination, told_while_stopping
from asyncgraph._cli.streams import is_reader_gone
from asyncgraph._cli.tracebacks import print_error
from asyncgraph.observe import Event, NodeFailed, NodeNotRun, Observer
from asyncgraph.observe.result_file import ResultFile

__all__ = ["run"]


def run(options: argparse.Namespace) -> int:
    """Carry the command out; the exit code.

    Raises:
        CommandError: It is wrong, the graph has failed, or its value cannot be written.
        ReaderGoneError: Nobody reads what nodes print any more.
        TerminatedError: SIGTERM has come.
    """
    failures = Failures()
    job = _Job(Asked(options.target, options.inputs), options, failures)
    try:
        value = asyncgraph.run(job.computed())
    except CommandError:
        raise
    except asyncio.CancelledError:
        if job.termination.has_come:
            raise TerminatedError from None
        raise CommandError(FAILED, f"{options.target} was cancelled") from None
    except Exception as error:
        if isinstance(error, BrokenPipeError) and is_reader_gone():
            raise ReaderGoneError from None  # a node has printed something
        raise CommandError(FAILED, "", error) from None
    if not options.quiet:
        _write(value, options)
    failures.show()
    if any(file.error is not None for file in job.files):
        return MISUSED
    return FAILED if failures.errors else FINE


def _write(value: Any, options: argparse.Namespace) -> None:
    """Write the value; what is no JSON is not lost, but written as Python does."""
    try:
        write(as_json(value) if options.json else as_text(value), options.output)
    except NoJsonError as error:
        write(as_text(value), options.output)
        message = f"the value cannot be written as JSON, and is written as text: {error}"
        raise CommandError(FAILED, message) from None


# Seconds that are left at least for a run, once its nodes have been made in time.
_LEAST = 0.001


class Failures(Observer):
    """What nodes have failed with, each error once, and how many nodes were not run because of that.

    Attributes:
        errors: The errors.
        not_run: How many nodes were not run.
    """

    kinds: ClassVar[frozenset[type[Event]]] = frozenset({NodeFailed, NodeNotRun})

    def __init__(self) -> None:
        self.errors: list[BaseException] = []
        self.not_run = 0

    def __call__(self, event: NodeFailed | NodeNotRun) -> None:
        """Remember a failure."""
        if isinstance(event, NodeNotRun):
            self.not_run += 1
        elif all(error is not event.error for error in self.errors):
            self.errors.append(event.error)

    def show(self) -> None:
        """Print them."""
        for error in self.errors:
            print_error(error)
        if self.errors:
            count = len(self.errors)
            failed = f"{count} node{'s' * (count > 1)} failed"
            print(f"asyncgraph: {failed}; not run because of that: {self.not_run}", file=sys.stderr)


class _Job:
    """One run of the command.

    Attributes:
        termination: Whether SIGTERM has ended it.
        files: The report and the trace, as far as they were asked for.
    """

    def __init__(self, asked: Asked, options: argparse.Namespace, failures: Failures) -> None:
        self._asked = asked
        self._options = options
        self._failures = failures
        self.termination = Termination()
        self.files: list[ResultFile] = []
        self._is_to_be_made = inspect.iscoroutine(asked.made)
        if not self._is_to_be_made:  # what is wrong is said before anything begins
            request = asked.request(asked.made)
            assert request is not None
            asked.values(request)

    async def computed(self) -> Any:
        """The value."""
        options = self._options
        names = ("processes", "threads", "concurrency")
        bounds = {name: getattr(options, name) for name in names if getattr(options, name) is not None}
        try:
            with told_while_stopping(), self.termination.heeded():
                async with Runtime(**bounds) as runtime, seeing(options, runtime) as self.files:
                    made, left = await self._made()
                    request = self._asked.request(made, or_a_value=self._is_to_be_made)
                    return made if request is None else await self._values_of(request, left)
        finally:
            if self._is_to_be_made:
                self._asked.made.close()  # in case that it was not begun

    async def _values_of(self, request: Request, timeout: float | None) -> Any:
        given = {**request.options, "runtime": None}
        if timeout is not None:
            given["timeout"] = timeout
        if self._options.keep_going:
            given["return_exceptions"] = True
        values = self._asked.values(request)
        with self._failures if self._options.keep_going else contextlib.nullcontext():
            if values:
                return await asyncgraph.compile(request.value, **given)(**values)
            return await asyncgraph.compute(request.value, **given)

    async def _made(self) -> tuple[Any, float | None]:
        """What was asked for, and how many seconds are left for it."""
        seconds: float | None = self._options.timeout
        if not self._is_to_be_made:
            return self._asked.made, seconds
        clock = asyncio.get_running_loop().time
        began = clock()
        timeout = asyncio.timeout(seconds)
        try:
            async with timeout:
                made = await self._asked.made
        except TimeoutError:
            if not timeout.expired():
                raise
            message = f"{self._options.target} was not finished within {seconds:g} s"
            raise CommandError(FAILED, message) from None
        return made, None if seconds is None else max(seconds - (clock() - began), _LEAST)
