from __future__ import annotations

import contextlib
import errno
import json
import os
import re
import signal
import socket
import subprocess
import sys
import urllib.request

import pytest

from asyncgraph import observe
from asyncgraph._cli import seeing

TIMEOUT = 50.0

WAITING = """
import asyncio
from asyncgraph import delayed

@delayed
async def wait():
    await asyncio.Event().wait()

node = wait()
"""


def test_progress(command, monkeypatch):
    """`--progress` writes to standard error, and leaves standard output to the value."""
    monkeypatch.setattr(seeing, "_SOON", 0)
    ended = command("run", "graph.py:total", "--progress")
    assert (ended.code, ended.out) == (0, "13\n")
    assert re.search(r"^asyncgraph: sum-\d+: finished after \S+ s: 3 nodes$", ended.err, re.MULTILINE)


def test_progress_of_an_async_main(command, monkeypatch):
    """The runs that an `async def` begins itself are watched, too."""
    monkeypatch.setattr(seeing, "_SOON", 0)
    ended = command("run", "graph.py:computing", "--progress")
    assert (ended.code, ended.out) == (0, "(1, 2)\n")
    assert " nodes\n" in ended.err


def test_files(command, folder):
    """Trace, report and picture are written, and nothing is printed but the value."""
    words = ["--trace", "run.json", "--report", "run.html", "--graph", "graph.svg"]
    assert command("run", "graph.py:total", *words) == (0, "13\n", "")
    events = json.loads((folder / "run.json").read_text())["traceEvents"]
    assert "fetch" in {event["name"] for event in events}
    assert "fetch" in (folder / "run.html").read_text()
    assert (folder / "graph.svg").read_text().startswith("<svg")


def test_files_about_a_failure(command, folder):
    """They are written all the same if the run fails."""
    words = ["--trace", "run.json", "--report", "run.html", "--graph", "graph.html"]
    ended = command("run", "graph.py:broken", *words)
    assert (ended.code, ended.out) == (1, "")
    assert "ZeroDivisionError" in (folder / "run.html").read_text()
    assert json.loads((folder / "run.json").read_text())["traceEvents"]
    assert "invert" in (folder / "graph.html").read_text()


def test_a_folder_that_vanishes(command, program, folder, caplog):
    """What could not be written is in the log, and the exit code says so."""
    program(
        "vanishing.py",
        """
        import pathlib
        from asyncgraph import delayed
        node = delayed(pathlib.Path("made").rmdir)()
        """,
    )
    (folder / "made").mkdir()
    assert command("run", "vanishing.py:node", "--report", "made/run.html").code == 2
    assert f"asyncgraph could not write the report {folder.resolve()}/made/run.html: " in caplog.text


def test_a_picture_that_has_no_colors(command):
    """`--graph` is for formats that can be colored."""
    ended = command("run", "graph.py:total", "--graph", "graph.mmd")
    assert ended.code == 2
    assert "a file whose name ends in .svg, .html, .png, .pdf, not graph.mmd" in ended.err


@pytest.mark.parametrize("option", ["--report", "--trace"])
def test_a_file_that_cannot_be_written(command, option, tmp_path_factory):
    """It is said before anything runs."""
    folder = tmp_path_factory.mktemp("folder")
    path = folder / "run.json"

    def refuse(*_, **__):
        raise PermissionError(errno.EACCES, "Permission denied")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(observe, "Report" if option == "--report" else "Trace", refuse)
        ended = command("run", "graph.py:total", option, str(path))
    assert ended == (2, "", f"asyncgraph: {path} cannot be written: Permission denied\n")


def test_a_dashboard_serves_while_the_run_goes_on(folder):
    """Its address is printed, and answers; Ctrl-C ends it with the run, whose files are written."""
    (folder / "waiting.py").write_text(WAITING)
    words = [
        sys.executable,
        "-m",
        "asyncgraph",
        "run",
        "--trace",
        "run.json",
        "--dashboard",
        "waiting.py:node",
    ]
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with subprocess.Popen(
        words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
    ) as process:
        line = process.stderr.readline()
        url = re.fullmatch(r"asyncgraph: dashboard at (http://127\.0\.0\.1:\d+/?)\n", line)[1]
        with opener.open(url, timeout=TIMEOUT) as response:
            assert response.status == 200
            assert b"<html" in response.read()
        os.killpg(process.pid, signal.SIGINT)
        out, err = process.communicate(timeout=TIMEOUT)
    assert (process.returncode, out, err) == (130, "", "\nInterrupted; nothing is left running.\n")
    assert "wait" in {event["name"] for event in json.loads((folder / "run.json").read_text())["traceEvents"]}


def test_a_dashboard_at_a_port_that_is_taken(command):
    """It is wrong usage, and nothing is run: the coroutine that was to make the nodes is closed."""
    with contextlib.closing(socket.socket()) as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        ended = command("run", "graph.py:computing", "--dashboard", str(port))
    assert (ended.code, ended.out) == (2, "")
    assert ended.err.startswith(f"asyncgraph: no dashboard: cannot serve on 127.0.0.1, port {port}: ")


def test_a_dashboard_without_uvicorn(folder):
    """It is said what to install."""
    script = "import sys; sys.modules['uvicorn'] = None; from asyncgraph.cli import main; sys.exit(main())"
    words = [sys.executable, "-c", script, "run", "graph.py:total", "--dashboard"]
    ended = subprocess.run(words, capture_output=True, text=True, timeout=TIMEOUT, check=False)
    assert (ended.returncode, ended.stdout) == (2, "")
    assert ended.stderr.startswith("asyncgraph: uvicorn is needed ")
    assert ended.stderr.endswith("pip install 'asyncgraph[dashboard]'\n")
