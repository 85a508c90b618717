"""What progress bars show in a terminal: whole programs in a pty, and their screens as files in `golden`.

To renew the files, run this with ASYNCGRAPH_RENEW_GOLDEN=1, and look at what `git diff` says of them.
"""

from __future__ import annotations

import fcntl
import os
import pty
import struct
import subprocess
import sys
import termios
from pathlib import Path

import pytest

from tests.observe.progress_scenes import SCENES
from tests.observe.screen import Screen
from tests.reliability.harness import PATIENCE, ROOT

FOLDER = Path(__file__).with_name("golden")

# Other than in a terminal of 80 columns and 24 lines: how many, and what the environment says.
VARIANTS = {
    "pipeline in 50 columns": ("pipeline", 50, 24, {}),
    "pipeline in 30 columns": ("pipeline", 30, 24, {}),
    "pipeline in 12 columns": ("pipeline", 12, 24, {}),
    "pipeline in 4 lines": ("pipeline", 80, 4, {}),
    "pipeline in ASCII": ("pipeline", 80, 24, {"PYTHONIOENCODING": "ascii"}),
    "names in ASCII": ("names", 80, 24, {"PYTHONIOENCODING": "ascii"}),
}
CASES = {name: (name, 80, 24, {}) for name in SCENES} | VARIANTS


def shown(scene: str, columns: int = 80, lines: int = 24, **variables: str) -> Screen:
    """Run a scene in a terminal; what it has shown."""
    controlling, terminal = pty.openpty()
    try:
        fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", lines, columns, 0, 0))
        process = subprocess.Popen(
            [sys.executable, "-W", "error", "-m", "tests.observe.progress_scenes", scene],
            stdin=terminal,
            stdout=terminal,
            stderr=terminal,
            cwd=ROOT,
            start_new_session=True,
            env={"PYTHONUTF8": "1", "TERM": "xterm", "PATH": os.environ["PATH"], **variables},
        )
    finally:
        os.close(terminal)
    try:
        written = b"".join(iter(lambda: read(controlling), b""))
        assert process.wait(PATIENCE) == 0, written.decode()
    finally:
        process.kill()
        process.wait()
        os.close(controlling)
    screen = Screen(columns, lines)
    screen.feed(written.decode(variables.get("PYTHONIOENCODING", "utf-8")) + "\x1b]the program is over\x07")
    return screen


def read(fd: int) -> bytes:
    """Some of what was written to the terminal; nothing when nobody has it open any more."""
    try:
        return os.read(fd, 65536)
    except OSError:  # EIO, by which Linux says so
        return b""


@pytest.mark.parametrize("case", CASES)
def test_a_screen_is_as_in_its_file(case: str) -> None:
    """At each moment at which the program looks, and when it is over."""
    scene, columns, lines, variables = CASES[case]
    snapshots = shown(scene, columns, lines, **variables).snapshots
    text = "".join(f"=== {name}\n{each}" for name, each in snapshots.items())
    path = FOLDER / f"{case.replace(' ', '_')}.txt"
    if os.environ.get("ASYNCGRAPH_RENEW_GOLDEN"):
        path.write_text(text, "utf-8")
    assert text == path.read_text("utf-8")


def test_there_is_a_file_for_each_case_and_no_other() -> None:
    """No file is left of a case that is gone."""
    assert sorted(path.stem for path in FOLDER.iterdir()) == sorted(case.replace(" ", "_") for case in CASES)
