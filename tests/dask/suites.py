"""Dask's own tests, run with asyncgraph as its scheduler and with Dask's threaded one: `make test-dask`.

`make test-dask ARGS="delayed bag"` runs some of them. They ship with Dask. They take an hour; what they print
is kept in a folder whose name is printed first.
"""

from __future__ import annotations

import argparse
import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).parent.parent.parent

SUITES = {
    "delayed": ["dask.tests.test_delayed"],
    "bag": ["dask.bag.tests"],
    "array": ["dask.array.tests"],
    "dataframe": ["dask.dataframe.tests"],
}

SCHEDULERS = ("asyncgraph", "threaded")

# Dask's own configuration of pytest does not ship with it, and ours is not meant for its tests.
_OPTIONS = ["-c", os.devnull, "-p", "tests.dask.plugin", "-p", "no:cacheprovider", "-p", "no:anyio", "-q"]
_OPTIONS += [
    "-o",
    "faulthandler_timeout=300",
    "-o",
    "faulthandler_exit_on_timeout=true",
    "-W",
    "ignore",
    "--tb=short",
    "--show-capture=no",
]


def run(modules: list[str], scheduler: str, folder: Path, *more: str) -> str:
    """Run tests of Dask's with one of the schedulers; returns what pytest printed."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-m", "pytest", *_OPTIONS, "--rootdir", str(folder), "--scheduler", scheduler]
    command += [*more, "--pyargs", *modules]
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    return done.stdout + done.stderr


def counts(printed: str) -> str:
    """What there is to say of it: how many passed and failed, and how many graphs were computed."""
    summary = re.findall(r"^.*\b(?:passed|failed|error)\b.* in [\d.]+s.*$", printed, re.MULTILINE)
    graphs = re.findall(r"graphs through the scheduler: (\d+)", printed)
    return f"{summary[-1] if summary else 'no summary'}; {graphs[-1] if graphs else '?'} graphs"


def main() -> None:
    """Read the command line and run."""
    parser = argparse.ArgumentParser(prog="make test-dask ARGS=...", description=__doc__)
    parser.add_argument("names", nargs="*", choices=[[], *SUITES], help="which; all by default")
    names = parser.parse_args().names or list(SUITES)
    folder = Path(tempfile.mkdtemp(prefix="test-dask-"))
    print(f"in {folder}", flush=True)
    for name in names:
        for scheduler in SCHEDULERS:
            printed = run(SUITES[name], scheduler, folder)
            (folder / f"{name}-{scheduler}.log").write_text(printed)
            print(f"{name:<10} {scheduler:<10} {counts(printed)}", flush=True)


if __name__ == "__main__":
    main()
