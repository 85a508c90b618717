"""Count the words of a large file (300 MB, or as many as the argument says) in little memory.

Worker processes count blocks of it. Few blocks are in memory at a time: no more than `concurrency` are
read at once, and none while those that have been read wait for a worker.
"""

from __future__ import annotations

import resource
import sys
import tempfile
import time
from pathlib import Path

from asyncgraph import Runtime, delayed, run
from asyncgraph.io import blocks

MEGABYTE = 1_000_000
LINE = b"It was the best of times, it was the worst of times, it was the age of wisdom.\n"
PAGE = LINE * 1000


def make_file(path: Path, size: int) -> int:
    """Write about `size` bytes; return how many words they are."""
    pages = size // len(PAGE)
    with path.open("wb") as file:
        file.writelines(PAGE for _ in range(pages))
    return pages * len(PAGE.split())


@delayed(executor="process")
def count(block: bytes) -> int:
    return len(block.split())


async def count_words(path: Path) -> int:
    async with Runtime(concurrency=4):
        counts = [count(block) for block in blocks(path, size=2 * MEGABYTE)]
        return await delayed(sum)(counts)


def peak_memory() -> float:
    """The most that this process has taken so far, in megabytes."""
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / MEGABYTE


if __name__ == "__main__":
    size = MEGABYTE * int(sys.argv[1] if len(sys.argv) > 1 else 300)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "novel.txt")
        expected = make_file(path, size)
        before, began = peak_memory(), time.perf_counter()
        words = run(count_words(path))
        seconds = time.perf_counter() - began
    print(f"{words:,} words in {size // MEGABYTE} MB, counted in {seconds:.1f} s")
    print(f"peak memory {peak_memory():.0f} MB; it was {before:.0f} MB before")
    print("as many as were written" if words == expected else f"WRONG: {expected:,} were written")
    sys.exit(words != expected)
