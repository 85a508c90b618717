"""Runs an example as a user does: as a script, by the interpreter, from another folder."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path

EXAMPLES = Path(__file__).parents[2] / "examples"

TIMEOUT = 50.0
"""Seconds: a little less than what a test has, so that what the example printed is shown."""


def command(name: str, *arguments: str) -> list[str]:
    """Return the command that runs an example, with warnings as errors."""
    return [sys.executable, "-X", "dev", "-W", "error", str(EXAMPLES / name), *arguments]


def run(*words: str) -> subprocess.CompletedProcess[str]:
    """Run a command to its end."""
    with tempfile.TemporaryDirectory() as folder:
        return subprocess.run(words, capture_output=True, text=True, timeout=TIMEOUT, check=False, cwd=folder)


def output_of(*words: str) -> str:
    """Run a command that must succeed, without a word on its standard error; return what it printed."""
    process = run(*words)
    # In its debug mode asyncio times each turn: on a busy machine some take longer than it likes.
    complaints = [line for line in process.stderr.splitlines() if not line.startswith("Executing <")]
    assert (process.returncode, complaints) == (0, []), process.stdout + process.stderr
    return process.stdout
