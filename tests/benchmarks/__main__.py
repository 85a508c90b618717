"""`make bench`: asyncgraph beside its peers; `make bench ARGS="build async --n 5000"` for some of it."""

from __future__ import annotations

import argparse
import gc
import platform
import statistics
import sys

from tests.benchmarks.measures import MEASURES, Measure
from tests.benchmarks.workloads import WORKLOADS, Workload


def measure(workload: Workload, items: int, rounds: int) -> dict[str, list[float]]:
    """Microseconds an item of each contender, one figure a round; contenders take turns."""
    figures: dict[str, list[float]] = {name: [] for name in workload.contenders}
    for _ in range(rounds):
        for name, contender in workload.contenders.items():
            count = min(items, workload.most.get(name, items))
            gc.collect()
            figures[name].append(contender(count) / count * 1e6)
    return figures


class Table:
    """Prints rows as they come, as plain text or as Markdown."""

    def __init__(self, *, markdown: bool) -> None:
        self._markdown = markdown

    def head(self, title: str, columns: tuple[str, ...]) -> None:
        """Begin a table."""
        print(f"\n**{title}**\n" if self._markdown else f"\n{title}")
        if self._markdown:
            print(f"| {' | '.join(columns)} |")
            print(f"|---|{'---:|' * (len(columns) - 1)}")

    def row(self, first: str, *cells: str) -> None:
        """Print one row."""
        if self._markdown:
            print(f"| {first} | {' | '.join(cells)} |", flush=True)
        else:
            print(f"  {first:<52}{''.join(f'  {cell:>18}' for cell in cells)}", flush=True)


def verdict(*, is_met: bool, target: str) -> str:
    """How a figure compares with its target."""
    return f"{target} {'ok' if is_met else 'missed'}"


def report(table: Table, workload: Workload, items: int, figures: dict[str, list[float]]) -> None:
    """Print the rows of one workload."""
    table.head(
        f"{workload.name}: {workload.what}, {items:,} items", ("", "median", "ratio", "range", "target")
    )
    ours = statistics.median(next(iter(figures.values())))
    for name, each in figures.items():
        ratio = statistics.median(each) / ours
        target = workload.targets.get(name)
        judged = "" if target is None else verdict(is_met=ratio >= target, target=f"{target:g} x")
        spread = f"{min(each):.2f} to {max(each):.2f}"
        table.row(name, f"{statistics.median(each):.2f} µs", f"{ratio:.2f} x", spread, judged)


def report_measure(table: Table, each: Measure, items: int) -> None:
    """Measure, and print the rows."""
    table.head(f"{each.name}: {each.what}", ("", "figure", "target"))
    for figure in each.figures(items):
        judged = ""
        if figure.most is not None:
            judged = verdict(is_met=figure.value <= figure.most, target=f"at most {figure.most:g}")
        table.row(figure.label, f"{figure.value:.2f} {figure.unit}", judged)


def main() -> None:
    """Read the command line and measure."""
    parser = argparse.ArgumentParser(prog="make bench ARGS=...", description=__doc__)
    names = [each.name for each in (*WORKLOADS, *MEASURES)]
    parser.add_argument("names", nargs="*", metavar="name", help=f"some of {', '.join(names)}")
    parser.add_argument("--n", type=int, help="how many items, in place of each one's own number")
    parser.add_argument("--rounds", type=int, default=5, help="how often peers are compared (default 5)")
    parser.add_argument("--markdown", action="store_true", help="print tables for a document")
    options = parser.parse_args()
    unknown = set(options.names) - set(names)
    if unknown:
        parser.error(f"there is no {', '.join(sorted(unknown))}: there are {', '.join(names)}")
    chosen = set(options.names or names)
    table = Table(markdown=options.markdown)
    print(f"Python {platform.python_version()}, {sys.platform}; medians of {options.rounds} rounds, an item.")
    for workload in WORKLOADS:
        if workload.name in chosen:
            items = options.n or workload.items
            report(table, workload, items, measure(workload, items, options.rounds))
    for each in MEASURES:
        if each.name in chosen:
            report_measure(table, each, options.n or each.items)


if __name__ == "__main__":
    main()
