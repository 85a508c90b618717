"""`make bench`: asyncgraph beside its peers; `make bench ARGS="build async --n 5000"` for some of it."""

from __future__ import annotations

import argparse
import os
import platform
import sys
import time

from tests.benchmarks.suite import BENCHMARKS
from tests.benchmarks.table import Table


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _named(wanted: str, names: list[str]) -> list[str]:
    """The workload of that name; where there is none, those whose names begin with it and a hyphen."""
    return [wanted] if wanted in names else [name for name in names if name.startswith(f"{wanted}-")]


def main() -> None:
    """Read the command line and measure."""
    listing = "\n".join(f"  {each.name:<10} {each.what}" for each in BENCHMARKS)
    parser = argparse.ArgumentParser(
        prog="make bench ARGS=...",
        description=__doc__,
        epilog=f"workloads:\n{listing}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "names", nargs="*", metavar="workload", help="which, or the first part of several; all by default"
    )
    parser.add_argument("--n", type=int, help="how many items, in place of each one's own number")
    parser.add_argument("--rounds", type=int, default=5, help="how often each is measured (default 5)")
    parser.add_argument("--markdown", action="store_true", help="print the table for a document")
    options = parser.parse_args()
    names = [each.name for each in BENCHMARKS]
    found = {each: _named(each, names) for each in options.names}
    if unknown := [each for each in found if not found[each]]:
        parser.error(f"there is no {', '.join(sorted(unknown))}: there are {', '.join(names)}")
    if options.rounds < 1 or (options.n is not None and options.n < 1):
        parser.error("--n and --rounds are at least 1")
    chosen = [name for each in found.values() for name in each] or names
    began = time.perf_counter()
    print(f"Python {platform.python_version()}, {sys.platform}, {_cores()} cores.\n")
    table = Table(markdown=options.markdown)
    for each in BENCHMARKS:
        if each.name in chosen:
            for row in each.measure(options.n, options.rounds):
                table.add(each.name, row)
    print(f"\nMeasured in {time.perf_counter() - began:.0f} s.")


if __name__ == "__main__":
    main()
