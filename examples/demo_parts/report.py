"""The demo's results as people read them, and as a program does."""

from __future__ import annotations

import json
import sys
import traceback
from collections import Counter
from pathlib import Path

from demo_parts.heartbeat import Heartbeat
from demo_parts.survey import Survey


def print_survey(survey: Survey) -> None:
    print(f"Found in {survey.modules:,} modules, {survey.lines:,} lines:")
    print(f"  most imported   {top(survey.imports)}")
    print(f"  words           {survey.words.total():,}, {len(survey.words):,} different: {top(survey.words)}")
    print(f"  functions       {survey.functions:,}; the longest:")
    for function in survey.longest:
        print(f"    {function.lines:6,} lines  {function.name}  ({function.module}:{function.line})")


def top(counts: Counter[str], most: int = 6) -> str:
    # Counter.most_common leaves the order of equal counts to chance.
    ranked = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    return ", ".join(f"{name} {count:,}" for name, count in ranked[:most])


def print_errors(*errors: Exception) -> None:
    for error in errors:
        traceback.print_exception(error, file=sys.stdout)
        print()


def print_files(folder: Path) -> None:
    print(f"To look at, in {folder}:")
    print("  graph.svg    the graph, colored by how long its calls took")
    print("  report.html  where the time went, for a browser")
    print("  trace.json   what ran when and where, for https://ui.perfetto.dev")
    print("  survey.json  what was found")


def print_comparison(seconds: float, heart: Heartbeat, seconds_before: float, *, is_same: bool) -> None:
    stall = heart.worst_stall * 1000
    print(f"As one graph         {seconds:6.1f} s  worst stall of the event loop: {stall:.0f} ms")
    print(f"One after the other  {seconds_before:6.1f} s  {seconds_before / seconds:.1f} times as long")
    print("Both ways found the same." if is_same else "The two ways found DIFFERENT things.")


def as_json(survey: Survey) -> str:
    content = vars(survey) | {"longest": [function._asdict() for function in survey.longest]}
    return json.dumps(content, indent=2, sort_keys=True) + "\n"
