"""Observers that write a file about runs when these are over: what trace and report have in common.

It decides when the file is written, and how: whole or not at all, beside the loop if there is much of it, and
never at the expense of a run.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import secrets
import shutil
import threading
from collections.abc import Iterable, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from asyncgraph.observe.events import RunFinished
from asyncgraph.observe.observer import Observer
from asyncgraph.observe.recorded import RecordedRun
from asyncgraph.observe.recording import Recording

__all__ = ["ResultFile"]

logger = logging.getLogger("asyncgraph")

# Files about more nodes are written by a thread. So many take some ten milliseconds.
_FEW = 100

# So many pieces of text are written at once.
_PIECES = 2_000


class ResultFile(Observer):
    """Keeps what happens in runs and, whenever one is over, writes a file about all of them.

    Args:
        path: The file. Its folder must be there.
        most: See `Recording`.

    Raises:
        OSError: The folder is not there, or nothing can be written there.

    Attributes:
        path: The file.
        recording: What it is made from.
        error: Why the file could not be written when it was last to be, or None.
    """

    what = "file"
    """What the file is called in messages."""

    def __init__(self, path: str | os.PathLike[str], *, most: int | None) -> None:
        self.path = _checked(path)
        self.recording = Recording(most=most)
        self._lock = threading.Lock()
        self._writer: threading.Thread | None = None
        self._is_behind = False
        self._is_told = True
        self._waiting: list[asyncio.Future[None]] = []
        # The file as it was left, or found in the beginning: if it is another one, somebody else writes it.
        self._left = _identity_of(self.path)
        self.error: Exception | None = None

    def pieces(self, runs: Sequence[RecordedRun]) -> Iterable[str]:
        """The text of the file for these runs, which are over. It may be asked for in any thread."""
        raise NotImplementedError(f"{type(self).__name__} has no pieces(self, runs)")

    def __call__(self, event: Any) -> None:
        """Keep what an event says; write the file, if it says that a run is over."""
        try:
            self.recording(event)
        except BaseException:  # it will be told no more, and nobody is to wait for that
            self._is_told = False
            self._wake_waiting()
            raise
        if type(event) is RunFinished:
            self._write()
            self._wake_waiting()

    def wait(self) -> None:
        """Wait until the file is written, if it is being written. This blocks: not for use on a loop."""
        while (writer := self._writer) is not None:
            writer.join()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Be told of no further runs, and wait until the file is written."""
        super().__exit__(kind, error, traceback)
        self.wait()

    async def __aenter__(self) -> Self:
        """The same as `with`; what follows differs."""
        return self.__enter__()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Be told of no further runs, and wait until those that go on are over and the file is written.

        An error that leaves the block does not wait for runs.
        """
        super().__exit__(kind, error, traceback)
        if error is None:
            await self._until_over()
        if self._writer is not None:
            await asyncio.to_thread(self.wait)

    async def _until_over(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            with self.telling:  # runs on other loops tell it from their threads
                if not self._is_told or all(run.ended is not None for run in self.recording.runs):
                    return
                waiting = loop.create_future()
                self._waiting.append(waiting)
            await waiting

    def _wake_waiting(self) -> None:
        for waiting in self._waiting:
            with contextlib.suppress(RuntimeError):  # its loop has been closed
                waiting.get_loop().call_soon_threadsafe(_wake, waiting)
        self._waiting.clear()

    def _write(self) -> None:
        with self._lock:
            if self._writer is not None:
                self._is_behind = True
                return
            runs = self._runs()
            if sum(map(len, runs)) > _FEW and self._began_beside(runs):
                return
        self._put(runs)

    def _began_beside(self, runs: list[RecordedRun]) -> bool:
        """Begin to write in a thread; whether that can be done."""
        writer = threading.Thread(target=self._write_beside, args=(runs,), name=f"asyncgraph {self.what}")
        try:
            writer.start()
        except RuntimeError:  # the interpreter is ending
            return False
        self._writer = writer
        return True

    def _runs(self) -> list[RecordedRun]:
        return [run for run in self.recording.runs if run.ended is not None]

    def _write_beside(self, runs: list[RecordedRun]) -> None:
        """Write, in a thread, and again if further runs have ended meanwhile."""
        while True:
            self._put(runs)
            with self._lock:
                if not self._is_behind:
                    self._writer = None
                    return
                self._is_behind = False
                runs = self._runs()

    def _put(self, runs: Sequence[RecordedRun]) -> None:
        """Write the file; what goes wrong with that is logged."""
        try:
            was_left = _identity_of(self.path) == self._left
            _replace(self.path, self.pieces(runs))
            self.error, self._left = None, _identity_of(self.path)
            if not was_left:
                text = (
                    "the %s %s, which something else has written meanwhile, was replaced: give each its own"
                )
                logger.warning(text, self.what, self.path)
        except OSError as error:
            self.error = error
            logger.error("asyncgraph could not write the %s %s: %s", self.what, self.path, error)
        except Exception as error:
            self.error = error
            logger.exception("asyncgraph failed to make the %s %s; please report this", self.what, self.path)


def _wake(waiting: asyncio.Future[None]) -> None:
    if not waiting.done():
        waiting.set_result(None)


def _identity_of(path: Path) -> tuple[int, int] | None:
    """Which file is there, and when it was written; None if there is none."""
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_ino, found.st_mtime_ns


def _checked(path: str | os.PathLike[str]) -> Path:
    """The path, made absolute; raises OSError if no file can be written there."""
    file = Path(os.path.realpath(path))  # what a link points to is written, and the link stays
    if file.exists() and not file.is_file() and not file.is_dir():
        raise FileExistsError(f"{file} is no regular file, and would be replaced by one: give another path")
    if file.is_dir():
        raise IsADirectoryError(f"{file} is a folder: give the path of a file in it")
    if not file.parent.is_dir():
        raise FileNotFoundError(f"{file} cannot be written: there is no folder {file.parent}")
    if not os.access(file.parent, os.W_OK | os.X_OK):
        raise PermissionError(f"{file} cannot be written: nothing may be written in {file.parent}")
    return file


def _replace(path: Path, pieces: Iterable[str]) -> None:
    """Put this text into a file: readers find the old one or the new one, never a part."""
    draft = path.with_name(f".{path.name}.{os.getpid()}-{secrets.token_hex(4)}")
    try:
        with draft.open("x", encoding="utf-8", newline="\n") as file:
            some: list[str] = []
            for piece in pieces:
                some.append(piece)
                if len(some) >= _PIECES:
                    file.write("".join(some))
                    some.clear()
            file.write("".join(some))
        if path.exists():
            shutil.copymode(path, draft)
        os.replace(draft, path)
    except BaseException:
        draft.unlink(missing_ok=True)
        raise
