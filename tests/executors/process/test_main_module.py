"""Scripts: functions and classes of `__main__` cross, without a guard, and `__main__` runs once."""

from __future__ import annotations

import pytest

from tests.executors.process.harness import run_script

SCRIPT = """
import asyncio, os, sys
print("main runs")
from asyncgraph.executors.process import ProcessExecutor
from tests.executors.process.harness import Started

FACTOR = 3
class Failure(Exception):
    def __init__(self, code, text):
        self.code = code
class Point:
    def __init__(self, x): self.x = x
def scale(point): return Point(helper(point.x))
def helper(x): return x * FACTOR
def fail(): raise Failure(5, "text")

async def main():
    executor = ProcessExecutor(2, asyncio.get_running_loop())
    async def outcome(function, *args):
        return await Started(executor, function, args, {}).outcome()
    value, _ = await outcome(scale, Point(2))
    print(type(value) is Point, value.x)
    _, error = await outcome(fail)
    print(type(error) is Failure, error.code)
    await executor.aclose()

asyncio.run(main())
"""

EXPECTED = "main runs\nTrue 6\nTrue 5\n"


@pytest.mark.parametrize("mode", ["-c", "stdin"])
def test_functions_of_main_cross_without_a_file(mode):
    """`python -c` and a script on standard input work."""
    assert run_script(SCRIPT, mode=mode) == EXPECTED


def test_functions_of_a_script_cross_without_a_guard(tmp_path):
    """A script without `if __name__ == "__main__"` is not run again in its workers."""
    path = tmp_path / "script.py"
    path.write_text(SCRIPT)
    assert run_script(str(path), mode="file", cwd=tmp_path) == EXPECTED
