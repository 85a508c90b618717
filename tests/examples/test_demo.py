from __future__ import annotations

import ast
import contextlib
import json
import os
import pty
import re
import signal
import subprocess
import urllib.error
import urllib.request
from collections import Counter

import pytest

from tests.examples.running import EXAMPLES, command, output_of, run

SMALL = ["--modules", "60", "--delay", "2"]

SOURCE = b'''\
import os, os.path
from sys import path
from . import sibling

class Both:
    async def method(self):
        import json

def outer():
    """W\xf6rter."""
    def inner():
        pass
'''


@pytest.fixture(autouse=True)
def _parts_are_importable(monkeypatch):
    monkeypatch.syspath_prepend(str(EXAMPLES))


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    """Return the folder in which the demo is to keep its results; it makes it."""
    return tmp_path_factory.mktemp("demo") / "new"


@pytest.fixture(scope="module")
def output(saved):
    """Return what the demo prints where there is no terminal."""
    return output_of(*command("demo.py", *SMALL, "--save", str(saved)))


def test_what_it_finds(output):
    """It reports on as many modules as were asked for, and both ways find the same."""
    assert "\nFound in 60 modules, " in output
    assert re.search(r"^  most imported   sys \d+, ", output, re.MULTILINE)
    assert re.search(r"^  words           [\d,]+, [\d,]+ different: \w+ [\d,]+, ", output, re.MULTILINE)
    assert len(re.findall(r"^ +\d+ lines  [\w.]+  \([\w/]+\.py:\d+\)$", output, re.MULTILINE)) == 5
    assert output.endswith("\nBoth ways found the same.\n")


def test_both_errors_read_as_themselves(output):
    """The missing file and the broken one are printed with the frames where they failed, and no others."""
    folders, numbers = r'(?<=[ "])/\S*/', r"(line |\.py:|0\.1:|download-|parse-)\d+"
    errors = re.sub(numbers, r"\1N", re.sub(folders, "", output[output.index("Traceback") :]))
    missing, broken = errors.split("\n\n")[:2]
    assert missing.splitlines() == [
        "Traceback (most recent call last):",
        '  File "demo.py", line N, in download',
        "    raise DownloadError(code, url)",
        "DownloadError: HTTP status 404 for http://127.0.0.1:N/planted/missing.py",
        "asyncgraph: node download-N (download) failed, loop executor, attempt 1",
        "  built at:  demo.py:N, in build",
    ]
    assert [line for line in broken.splitlines() if line.startswith("  File")] == [
        '  File "demo.py", line N, in parse',
        '  File "survey.py", line N, in survey_of',
        '  File "ast.py", line N, in parse',
        '  File "planted/broken.py", line N',
    ]
    assert broken.splitlines()[-3:] == [
        "SyntaxError: invalid syntax",
        "asyncgraph: node parse-N (parse) failed, process executor, attempt 1",
        "  built at:  demo.py:N, in build",
    ]


def test_it_says_how_long_both_ways_took(output):
    """Both times are printed, with the worst stall of the event loop that the heartbeat saw."""
    assert re.search(
        r"^As one graph +\d+\.\d s  worst stall of the event loop: \d+ ms$", output, re.MULTILINE
    )
    assert re.search(r"^One after the other +\d+\.\d s  \d+\.\d times as long$", output, re.MULTILINE)


def test_the_figures_are_those_of_the_library(output, saved):
    """The saved survey has the functions and lines that a count of the same files comes to."""
    from demo_parts.server import library_modules

    paths = list(library_modules().values())[:60]
    trees = [ast.parse(path.read_bytes()) for path in paths]
    kinds = (ast.FunctionDef, ast.AsyncFunctionDef)
    survey = json.loads((saved / "survey.json").read_text())
    assert survey["functions"] == sum(isinstance(node, kinds) for tree in trees for node in ast.walk(tree))
    assert survey["modules"] == 60


def test_pictures_are_left_in_the_folder(output, saved):
    """The folder and what is in it are named: the graph, the report and the trace of its run."""
    assert f"\nTo look at, in {saved}:\n" in output
    named = re.findall(r"^  (\w+\.\w+) ", output, re.MULTILINE)
    assert sorted(named) == sorted(path.name for path in saved.iterdir())
    assert (saved / "graph.svg").read_text().startswith("<svg")
    assert "download" in (saved / "report.html").read_text()
    events = json.loads((saved / "trace.json").read_text())["traceEvents"]
    counts = Counter(event["name"] for event in events if event["ph"] == "X")
    assert {name: counts[name] for name in ("download", "parse", "merge")} == {
        "download": 62,
        "parse": 61,
        "merge": 59,
    }


def test_a_terminal_sees_the_progress(output):
    """A terminal is shown how far the functions are; anything else gets plain lines."""
    assert "\r" not in output
    with on_a_terminal(*SMALL, "--delay", "300") as (process, terminal):
        shown = b"".join(terminal)
    assert process.returncode == 0
    assert re.search(rb"download.*\d+/62", shown)


def test_ctrl_c_ends_it():
    """Ctrl-C ends the demo with one line, and its server with it."""
    with on_a_terminal("--delay", "300") as (process, terminal):
        shown = b""
        while b"download" not in shown:
            shown += next(terminal)
        os.killpg(process.pid, signal.SIGINT)
        rest = b"".join(terminal)
    assert process.returncode == 130
    assert rest.endswith(b"\r\nInterrupted; nothing is left running.\r\n")
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with pytest.raises(urllib.error.URLError, match="refused"):
        opener.open(re.search(rb"http://[\d.:]+", shown)[0].decode())


@contextlib.contextmanager
def on_a_terminal(*arguments):
    """Run the demo on a terminal of its own; yield its process and an iterator over what is shown."""
    controller, terminal = pty.openpty()

    def shown():
        with contextlib.suppress(OSError):  # what Linux says when the other end is closed
            while chunk := os.read(controller, 1 << 16):
                yield chunk

    words = command("demo.py", *arguments)
    with (
        open(controller, "rb"),
        subprocess.Popen(words, stdout=terminal, stderr=terminal, start_new_session=True) as process,
    ):
        os.close(terminal)
        yield process, shown()


def test_no_modules_are_refused():
    """A number of modules that makes no sense is refused with what would."""
    process = run(*command("demo.py", "--modules", "0"))
    assert process.returncode == 2
    assert "argument --modules: must be at least 1" in process.stderr


def test_a_survey_of_source_in_another_encoding():
    """Functions at any depth, imported modules and words are found, in the file's own encoding."""
    from demo_parts.survey import survey_of

    survey = survey_of(b"# coding: latin-1\n" + SOURCE, "some.py")
    assert (survey.modules, survey.lines, survey.functions) == (1, 13, 3)
    assert survey.imports == {"os": 1, "sys": 1, "json": 1}
    assert [tuple(function) for function in survey.longest] == [
        (4, "outer", "some.py", 10),
        (2, "outer.inner", "some.py", 12),
        (2, "Both.method", "some.py", 7),
    ]
    assert survey.words["import"] == 4


@pytest.mark.parametrize("count", [1, 2, 3, 7, 8])
def test_merging_in_pairs(count):
    """A tree of merges keeps all items, and their order."""
    from demo_parts.survey import merged_in_pairs

    items = [[number] for number in range(count)]
    assert merged_in_pairs(items, lambda one, other: one + other) == list(range(count))
