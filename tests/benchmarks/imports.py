"""What importing asyncgraph costs a program that has asyncio already.

All of its names are imported: `import asyncgraph` alone looks none of them up, and takes next to nothing.
"""

from __future__ import annotations

import statistics
import subprocess
import sys
from collections.abc import Iterator

from tests.benchmarks.table import Row
from tests.benchmarks.timing import Benchmark, taking_turns, timed

LATE = ("aiofiles", "cloudpickle", "multiprocessing", "sqlite3", "uvloop")
"""What must not be imported before something needs it."""

_LEAST_ROUNDS = 11


def _python(code: str) -> str:
    return subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout


def rows(items: int, rounds: int) -> Iterator[Row]:
    """Whole runs of fresh interpreters, taking turns, and the difference of each pair."""
    codes = ("import asyncio", "import asyncio; from asyncgraph import *")
    for code in codes:  # so that byte code is there
        _python(code)
    least = _LEAST_ROUNDS if rounds > 1 else 1
    results = taking_turns(
        {code: (lambda code=code: timed(lambda: _python(code)) * 1e3) for code in codes}, max(rounds, least)
    )
    for code, figures in results.items():
        yield Row(f"python -c '{code}'", figures, "ms")
    pairs = [ours - theirs for theirs, ours in zip(*results.values(), strict=True)]
    yield Row("the difference, pair by pair", pairs, "ms", at_most=30)
    code = f"import sys; from asyncgraph import *; print(*(name for name in {LATE!r} if name in sys.modules))"
    found = _python(code).split()
    label = f"modules it should not import: {', '.join(found) or 'none of them'}"
    yield Row(label, [float(len(found))], "modules", at_most=0)
    assert statistics.median(results[codes[0]]) > 0


BENCHMARKS = [Benchmark("import", "fresh interpreters, with and without asyncgraph", 0, rows)]
