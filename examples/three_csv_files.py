"""Count the rows of three account files with pandas, in threads: written out, then as a loop.

pandas lets other threads run while it parses numbers, so that the files are read side by side where
there are cores for it. (Without an index column, pandas 3 uses several threads for one large file.)
"""

from __future__ import annotations

import tempfile
import time
from pathlib import Path

import pandas as pd

from asyncgraph import delayed, run

ROWS = {"alice": 1_500_000, "bob": 1_000_000, "carol": 2_000_000}


def write_accounts(folder: Path) -> None:
    # A thousand different rows again and again: enough for a file whose reading takes a while.
    lines = "".join(
        f"{i % 365},{i * 7919 % 100_003 / 100},{i * 104_729 % 10_007 / 100}\n" for i in range(1000)
    )
    for name, rows in ROWS.items():
        (folder / f"{name}.csv").write_text("day,amount,balance\n" + lines * (rows // 1000))


def read_accounts(path: Path) -> pd.DataFrame:
    return pd.read_csv(path, index_col="day")


def one_after_the_other(folder: Path) -> int:
    return sum(len(read_accounts(folder / f"{name}.csv")) for name in ROWS)


def written_out(folder: Path) -> int:
    read = delayed(read_accounts)
    alice = delayed(len)(read(folder / "alice.csv"))
    bob = delayed(len)(read(folder / "bob.csv"))
    carol = delayed(len)(read(folder / "carol.csv"))
    return run(delayed(sum)([alice, bob, carol]))


def as_a_loop(folder: Path) -> int:
    lengths = []
    for name in ROWS:
        accounts = delayed(read_accounts)(folder / f"{name}.csv")
        lengths.append(delayed(len)(accounts))
    return run(delayed(sum)(lengths))


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as folder:
        write_accounts(Path(folder))
        for way in (one_after_the_other, written_out, as_a_loop):
            began = time.perf_counter()
            rows = way(Path(folder))
            print(f"{way.__name__:20} {rows:,} rows in {time.perf_counter() - began:.2f} s")
