"""`make bench`: one table, asyncgraph beside its peers; `make bench ARGS="build async --n 5000"` for some."""

from __future__ import annotations

import argparse
import gc
import platform
import statistics
import sys

from tests.benchmarks.workloads import WORKLOADS, Workload


def measure(workload: Workload, items: int, rounds: int) -> dict[str, list[float]]:
    """Microseconds an item of each contender, one figure a round; contenders take turns."""
    figures: dict[str, list[float]] = {name: [] for name in workload.contenders}
    for _ in range(rounds):
        for name, contender in workload.contenders.items():
            gc.collect()
            figures[name].append(contender(items) / items * 1e6)
    return figures


def report(workload: Workload, items: int, figures: dict[str, list[float]]) -> None:
    """Print the rows of one workload."""
    ours = statistics.median(next(iter(figures.values())))
    print(f"\n{workload.name}: {workload.what}, {items:,} items")
    for name, each in figures.items():
        median = statistics.median(each)
        spread = f"{min(each):.2f} to {max(each):.2f}"
        print(f"  {name:<20}{median:>10.2f} µs   {median / ours:>7.2f} x   ({spread})", flush=True)


def main() -> None:
    """Read the command line and measure."""
    parser = argparse.ArgumentParser(prog="make bench ARGS=...", description=__doc__)
    names = [workload.name for workload in WORKLOADS]
    parser.add_argument("workloads", nargs="*", metavar="workload", help=f"some of {', '.join(names)}")
    parser.add_argument("--n", type=int, help="how many items, in place of each workload's own number")
    parser.add_argument("--rounds", type=int, default=5, help="how often each is measured (default 5)")
    options = parser.parse_args()
    unknown = set(options.workloads) - set(names)
    if unknown:
        parser.error(f"there is no workload {', '.join(sorted(unknown))}: they are {', '.join(names)}")
    print(f"Python {platform.python_version()}, {sys.platform}; medians of {options.rounds} rounds, an item")
    for workload in WORKLOADS:
        if not options.workloads or workload.name in options.workloads:
            items = options.n or workload.items
            report(workload, items, measure(workload, items, options.rounds))


if __name__ == "__main__":
    main()
