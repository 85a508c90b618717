"""Report: an observer that writes one page about runs, which shows where their time went."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from typing import Any

from asyncgraph.observe.events import RunFinished, RunStarted
from asyncgraph.observe.recorded import RecordedRun
from asyncgraph.observe.report.page import page_of
from asyncgraph.observe.report.stalls import Heartbeat
from asyncgraph.observe.report.study import Study
from asyncgraph.observe.result_file import ResultFile

__all__ = ["Report"]

# So many runs are in a page.
_RUNS = 20


class Report(ResultFile):
    """Writes a page that shows where the time of a run went, and what would make it shorter.

    The page is one file that loads nothing; any browser opens it, light or dark. It shows how busy each
    executor was, a timeline of all calls by worker (zoom, search, details), the critical path and what on it
    was waiting, the graph colored by time, the slowest functions, when the event loop did not answer and
    which node was running then, how many bytes the live results took, failures with their tracebacks,
    retries, and worker processes. It holds no argument and no value; what exceptions say, and their
    tracebacks, are as they were.

    While a run goes on, a heartbeat of 10 ms on its loop notices when that does not answer. The page is
    written when a run is over, with the last twenty runs that were seen, and takes the place of the former
    one at once. What is about more than a hundred nodes is written by a thread, some 50 us a node, and the
    loop goes on meanwhile: the file is there when the `with` block has been left, which waits for it, or
    after `wait()`. `async with` waits without holding up the loop, and for the runs of the block that still
    go on, too. A program does not end before.

    A file that cannot be written is an error in the log ("asyncgraph") and in `error`, and nothing happens to
    the run. If something else has written it meanwhile, perhaps another report, a warning says that it was
    replaced.

    Args:
        path: The file. Its folder must be there.
        most: Keep so many nodes at most (see `Recording`): a node takes about 90 bytes until then, and some
            40 bytes of the file. The page says how many were not kept.

    Raises:
        OSError: The folder is not there, or nothing can be written there.
        TypeError, ValueError: `most` is no number of nodes.

    Example:
        >>> import pathlib, tempfile
        >>> from asyncgraph import delayed
        >>> from asyncgraph.observe import Report
        >>> folder = tempfile.TemporaryDirectory()
        >>> path = pathlib.Path(folder.name, "run.html")
        >>> with Report(path):
        ...     await delayed(sum)([1, 2]).compute()
        3
        >>> "sum-1" in path.read_text()
        True
        >>> folder.cleanup()
    """

    what = "report"

    def __init__(self, path: str | os.PathLike[str], *, most: int | None = 500_000) -> None:
        super().__init__(path, most=most)
        self._heart = Heartbeat()

    def __call__(self, event: Any) -> None:
        """Keep what an event says; write the page, if it says that a run is over."""
        if type(event) is RunStarted:
            self._heart.begin(event.run.id)
        elif type(event) is RunFinished:
            self._heart.end(event.run.id)
        super().__call__(event)

    def pieces(self, runs: Sequence[RecordedRun]) -> Iterable[str]:
        """The text of the page for these runs."""
        workers, stalls = [*self.recording.workers], [*self._heart.stalls]
        shown = runs[-_RUNS:]
        return page_of([Study(run, workers, stalls) for run in shown], len(runs) - len(shown))
