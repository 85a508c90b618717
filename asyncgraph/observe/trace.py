"""Trace: an observer that writes runs as Chrome trace events, for Perfetto and speedscope."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence

from asyncgraph.observe.recorded import RecordedRun
from asyncgraph.observe.result_file import ResultFile
from asyncgraph.observe.trace_events import lines_of

__all__ = ["Trace"]


class Trace(ResultFile):
    """Writes a file that Perfetto (https://ui.perfetto.dev), speedscope and chrome://tracing open.

    Each run is a process there. Each thread and each worker process has a track, coroutines as many as were
    being computed at once ("loop 1", "loop 2", ...), and inline calls the track "loop". A call is a slice
    with the name of its function and, as arguments, its key, attempt, how long it waited for a slot, and the
    size of its value. Arrows lead from each dependency to what needs it. Counters tell how many nodes run,
    how many wait for a slot, and how many bytes the live results take. The file holds no argument and no
    value, but what exceptions say if attempts have failed and were repeated.

    The file is written when a run is over, with all runs that were seen so far and are over, and takes the
    place of the former one at once. Nothing is written while a run goes on. What is about more than a
    hundred nodes is written by a thread, 20 microseconds a node, and the loop goes on meanwhile: the file is
    there when the `with` block has been left, which waits for it, or after `wait()`. `async with` waits
    without holding up the loop, and for the runs of the block that still go on, too. A program does not end
    before.

    A file that cannot be written is an error in the log ("asyncgraph") and in `error`, and nothing happens to
    the run. If something else has written it meanwhile, perhaps another trace, a warning says that it was
    replaced.

    Args:
        path: The file. Its folder must be there.
        most: Keep so many nodes at most (see `Recording`): a node takes about 90 bytes until then, and some
            600 bytes of the file. A run has at most 200 000 arrows. What is left out, the file says in its
            "otherData".

    Raises:
        OSError: The folder is not there, or nothing can be written there.
        TypeError, ValueError: `most` is no number of nodes.

    Example:
        >>> import json, pathlib, tempfile
        >>> from asyncgraph import delayed
        >>> from asyncgraph.observe import Trace
        >>> folder = tempfile.TemporaryDirectory()
        >>> path = pathlib.Path(folder.name, "run.json")
        >>> with Trace(path):
        ...     await delayed(sum)([1, 2]).compute()
        3
        >>> events = json.loads(path.read_text())["traceEvents"]
        >>> [event["args"]["key"] for event in events if event.get("cat") == "thread"]
        ['sum-1']
        >>> folder.cleanup()
    """

    what = "trace"

    def __init__(self, path: str | os.PathLike[str], *, most: int | None = 500_000) -> None:
        super().__init__(path, most=most)

    def pieces(self, runs: Sequence[RecordedRun]) -> Iterable[str]:
        """The text of the file for these runs."""
        return lines_of(runs)
