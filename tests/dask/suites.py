"""Dask's own tests, run with asyncgraph as its scheduler and with Dask's threaded one: `make test-dask`.

They ship with Dask. `make test-dask ARGS="delayed bag"` runs some of the suites, and
`make test-dask ARGS=dask.dataframe.tests.test_groupby` a module or package of them; all together take hours.
Both schedulers have the tests of a module at once, in a process each. What pytest prints and finds is kept in
a folder whose name is printed first. The tests that end otherwise with one than with the other are named.
"""

from __future__ import annotations

import argparse
import os
import re
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple
from xml.etree import ElementTree as ET

import dask

ROOT = Path(__file__).parent.parent.parent

SUITES = {
    "delayed": "dask.tests.test_delayed",
    "bag": "dask.bag",
    "array": "dask.array",
    "dataframe": "dask.dataframe",
}

SCHEDULERS = ("asyncgraph", "threaded")

# Dask's own configuration of pytest does not ship with it, and ours is not meant for its tests.
_OPTIONS = ["-c", os.devnull, "-p", "tests.dask.plugin", "-p", "no:cacheprovider", "-p", "no:anyio", "-q"]
_OPTIONS += ["-o", "faulthandler_timeout=1800", "-o", "faulthandler_exit_on_timeout=true"]
_OPTIONS += ["-W", "ignore", "--tb=short", "--show-capture=no"]

# What pytest's status says beside that some tests have failed: 5 is that there are none.
_SOUND = (0, 1, 5)


class Tally(NamedTuple):
    """What has become of tests.

    Attributes:
        outcomes: "passed", "failed" or "skipped", by test; skipped are also those that fail as expected.
        graphs: How many graphs went through the scheduler.
        seconds: How long it took.
        trouble: What pytest printed last, where it did not come to its end; else empty.
    """

    outcomes: dict[str, str]
    graphs: int
    seconds: float
    trouble: str = ""

    def __add__(self, other: Tally) -> Tally:  # type: ignore[override]
        """Both together."""
        outcomes = {**self.outcomes, **other.outcomes}
        troubles = "\n".join(filter(None, (self.trouble, other.trouble)))
        return Tally(outcomes, self.graphs + other.graphs, self.seconds + other.seconds, troubles)

    def counts(self) -> list[str]:
        """How many passed, failed and were skipped, of how many graphs, in how many seconds."""
        counted = Counter(self.outcomes.values())
        numbers = (counted["passed"], counted["failed"], counted["skipped"], self.graphs, round(self.seconds))
        return [*map(str, numbers)] if not self.trouble else ["broken", *map(str, numbers[1:])]


NOTHING = Tally({}, 0, 0.0)


def run(module: str, scheduler: str, folder: Path, *more: str) -> Tally:
    """Run tests of Dask's with one of the schedulers; what was printed and found is in the folder."""
    found, printed = (folder / f"{module}-{scheduler}.{kind}" for kind in ("xml", "log"))
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-m", "pytest", *_OPTIONS, "--rootdir", str(folder), "--scheduler", scheduler]
    command += [f"--junitxml={found}", *more, "--pyargs", module]
    with printed.open("w") as log:
        done = subprocess.run(command, cwd=folder, env=environment, stdout=log, stderr=log, check=False)
    said = printed.read_text(errors="replace")
    graphs = re.findall(r"graphs through the scheduler: (\d+)", said)
    if done.returncode not in _SOUND or not graphs:
        return Tally({}, 0, 0.0, f"{module}, {scheduler}: status {done.returncode}\n{said[-2000:]}")
    outcomes, seconds = _outcomes(found)
    return Tally(outcomes, int(graphs[-1]), seconds)


def modules(name: str) -> list[str]:
    """The modules with tests that a suite, a package or a module of Dask's has."""
    dotted = SUITES.get(name, name)
    site = Path(dask.__file__).parent.parent
    place = site.joinpath(*dotted.split("."))
    if place.with_suffix(".py").exists():
        return [dotted]
    paths = sorted(place.rglob("test_*.py"))
    return [".".join(path.relative_to(site).with_suffix("").parts) for path in paths]


def differing(tallies: list[Tally]) -> Iterator[str]:
    """The tests that end otherwise with one scheduler than with the other, and how."""
    ours, theirs = (tally.outcomes for tally in tallies)
    for test in sorted({*ours, *theirs}):
        if ours.get(test) != theirs.get(test):
            yield f"{test}: {ours.get(test)} with asyncgraph, {theirs.get(test)} with threaded"


def _outcomes(found: Path) -> tuple[dict[str, str], float]:
    suite = next(ET.parse(found).getroot().iter("testsuite"))
    outcomes = {}
    for case in suite.iter("testcase"):
        kinds = {each.tag for each in case}
        outcome = "failed" if kinds & {"failure", "error"} else "skipped" if "skipped" in kinds else "passed"
        outcomes[f"{case.get('classname')}::{case.get('name')}"] = outcome
    return outcomes, float(suite.get("time", "0"))


def _row(name: str, cells: list[str]) -> None:
    print(f"{name:<56}" + "".join(f"{each:>9}" for each in cells), flush=True)


def _run_both(module: str, folder: Path) -> list[Tally]:
    with ThreadPoolExecutor(len(SCHEDULERS)) as pool:
        return [*pool.map(lambda scheduler: run(module, scheduler, folder), SCHEDULERS)]


def main() -> int:
    """Read the command line and run; the status is 1 if any test ends otherwise, or is not come to."""
    parser = argparse.ArgumentParser(prog="make test-dask ARGS=...", description=__doc__)
    parser.add_argument(
        "names", nargs="*", help=f"{', '.join(SUITES)}, a module or a package; all by default"
    )
    names = parser.parse_args().names or list(SUITES)
    folder = Path(tempfile.mkdtemp(prefix="test-dask-"))
    print(f"in {folder}", flush=True)
    _row("", [each for scheduler in SCHEDULERS for each in (scheduler, "", "", "", "")])
    _row("", ["passed", "failed", "skipped", "graphs", "seconds"] * len(SCHEDULERS))
    alike = True
    for name in names:
        total = [NOTHING] * len(SCHEDULERS)
        for module in modules(name):
            tallies = _run_both(module, folder)
            _row(module, [cell for tally in tallies for cell in tally.counts()])
            total = [before + tally for before, tally in zip(total, tallies, strict=True)]
        _row(f"{name}, whole", [cell for tally in total for cell in tally.counts()])
        said = [*filter(None, (tally.trouble for tally in total)), *differing(total)]
        alike = alike and not said
        print("\n".join(said or ["Every test ends with both as with the other."]), flush=True)
    return 0 if alike else 1


if __name__ == "__main__":
    sys.exit(main())
