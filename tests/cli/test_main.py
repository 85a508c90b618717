from __future__ import annotations

import importlib.metadata
import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

import asyncgraph
from asyncgraph._cli import doctor
from asyncgraph._cli.exits import READER_GONE
from asyncgraph.cli import main

SCRIPT = Path(sys.executable).with_name("asyncgraph")

TIMEOUT = 50.0
"""Seconds: a little less than what a test has, so that what the command printed is shown."""

KINDS = """
import os

from asyncgraph import delayed

class Pair(tuple):
    pass

@delayed(executor="process")
def pair(x):
    return Pair([x, __name__]), os.getpid()

@delayed
def seen(made):
    value, pid = made
    return type(value) is Pair, pid != os.getpid(), value

node = seen(pair(1))

async def main():
    return await node.compute()
"""

WAITING = """
import asyncio
import sys
import threading

from asyncgraph import cancelled, delayed

@delayed
async def wait():
    print("waiting", flush=True)
    await asyncio.Event().wait()

@delayed
def block():
    print("waiting", flush=True)
    while not cancelled():
        threading.Event().wait(0.01)

@delayed
def stick():
    print("waiting", flush=True)
    threading.Event().wait()

node, thread, stuck = wait(), block(), stick()
many = delayed("x\\n" * 200_000)
@delayed
def flood():
    print("y\\n" * 200_000)
prints, elsewhere = flood(), flood.options(executor="process")()
if "interrupt" in sys.argv[-1]:
    raise KeyboardInterrupt
"""


# Unbuffered output, which some set for all programs, is not what is tested here.
ENVIRONMENT = {name: value for name, value in os.environ.items() if name != "PYTHONUNBUFFERED"}


def started(*words, env=ENVIRONMENT, **options):
    """Start a command as a process of its own."""
    return subprocess.Popen(
        words,
        env=env,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        **options,
    )


def ended(*words, **options):
    """Run a command as a process of its own; its exit code and what it printed."""
    with started(*words, **options) as process:
        out, err = process.communicate(timeout=TIMEOUT)
    return process.returncode, out, err


@pytest.mark.parametrize(
    "command", [[str(SCRIPT)], [sys.executable, "-m", "asyncgraph"]], ids=["script", "-m"]
)
def test_both_ways_to_call_it(folder, command):
    """The script and `python -m asyncgraph` are the same, and find modules in the current directory."""
    assert ended(*command, "run", "graph:total") == (0, "13\n", "")
    assert ended(*command, "--version") == (0, f"asyncgraph {asyncgraph.__version__}\n", "")


def test_the_script_is_that_of_the_package():
    """The installed script calls `main`."""
    (script,) = importlib.metadata.entry_points(group="console_scripts", name="asyncgraph")
    assert script.load() is main


def test_worker_processes_know_what_a_file_defines(folder):
    """Functions and classes of a file go to worker processes by name, and come back as what they were."""
    (folder / "kinds.py").write_text(KINDS)
    where, target = folder.parent, f"{folder.name}/kinds.py"
    for name in ("node", "main"):
        expected = "(True, True, (1, 'kinds'))\n"
        assert ended(str(SCRIPT), "run", f"{target}:{name}", cwd=where) == (0, expected, "")


@pytest.mark.parametrize("name", ["node", "thread"])
def test_ctrl_c_ends_a_run(folder, name):
    """Ctrl-C ends a run with one line and exit code 130, once nothing of it is running any more."""
    (folder / "waiting.py").write_text(WAITING)
    with started(str(SCRIPT), "run", f"waiting.py:{name}") as process:
        assert process.stdout.readline() == "waiting\n"
        os.killpg(process.pid, signal.SIGINT)
        out, err = process.communicate(timeout=TIMEOUT)
    assert (process.returncode, out, err) == (130, "", "\nInterrupted; nothing is left running.\n")


def test_what_ctrl_c_waits_for_is_said(folder):
    """A thread that does not end is named, with what ends it: Ctrl-C for the second time."""
    (folder / "waiting.py").write_text(WAITING)
    with started(str(SCRIPT), "run", "waiting.py:stuck") as process:
        assert process.stdout.readline() == "waiting\n"
        os.killpg(process.pid, signal.SIGINT)
        said = process.stderr.readline()
        assert said == "asyncgraph: stopping; waiting for stick-1 to end; Ctrl-C again does not wait\n"
        os.killpg(process.pid, signal.SIGINT)
        out, err = process.communicate(timeout=TIMEOUT)
    assert (process.returncode, out, err) == (130, "", "\nInterrupted; nothing is left running.\n")


def test_what_a_timeout_waits_for_is_said(folder):
    """So it is when the time is up, and nobody has pressed Ctrl-C."""
    (folder / "waiting.py").write_text(WAITING)
    with started(str(SCRIPT), "run", "waiting.py:stuck", "--timeout", "0.5") as process:
        said = process.stderr.readline()
        process.kill()
    assert said == "asyncgraph: stopping; waiting for stick-1 to end; Ctrl-C twice does not wait\n"


def test_sigterm_ends_a_run_and_files_are_written(folder):
    """It is as Ctrl-C, with an exit code of its own."""
    (folder / "waiting.py").write_text(WAITING)
    files = ("--report", "run.html", "--trace", "run.json", "--graph", "graph.svg")
    with started(str(SCRIPT), "run", "waiting.py:node", *files) as process:
        assert process.stdout.readline() == "waiting\n"
        process.terminate()
        out, err = process.communicate(timeout=TIMEOUT)
    assert (process.returncode, out, err) == (143, "", "Terminated; nothing is left running.\n")
    assert all((folder / name).exists() for name in files[1::2])


def test_sigterm_for_the_second_time_does_not_wait(folder):
    """It ends the program as it ends others, whatever a thread is at."""
    (folder / "waiting.py").write_text(WAITING)
    with started(str(SCRIPT), "run", "waiting.py:stuck") as process:
        assert process.stdout.readline() == "waiting\n"
        process.terminate()
        assert "waiting for stick-1 to end" in process.stderr.readline()
        process.terminate()
        process.communicate(timeout=TIMEOUT)
    assert process.returncode == -signal.SIGTERM


@pytest.mark.parametrize(
    ("closed", "code", "out", "err"),
    [
        (">&-", 2, "", "asyncgraph: the value cannot be written: standard output is closed\n"),
        (">&- --quiet", 0, "", ""),
        ("<&-", 0, "x", ""),
        ("2>&-", 0, "x", ""),
        ("<&- >&- 2>&-", 2, "", ""),
    ],
)
def test_streams_that_are_closed(folder, closed, code, out, err):
    """What a shell has closed harms nothing: only a value that is to be printed there is an error."""
    (folder / "waiting.py").write_text(WAITING)
    ended_with = ended("sh", "-c", f"exec {SCRIPT} run waiting.py:many {closed}")
    assert (ended_with[0], ended_with[1][:1], ended_with[2]) == (code, out, err)


def test_ctrl_c_while_a_file_is_imported(folder):
    """The same holds before the run has begun."""
    (folder / "waiting.py").write_text(WAITING)
    code, out, err = ended(str(SCRIPT), "run", "waiting.py:node", "--input", "interrupt=1")
    assert (code, out, err) == (130, "", "\nInterrupted; nothing is left running.\n")


@pytest.mark.parametrize("target", ["many", "prints", "elsewhere"])
def test_a_reader_that_goes_away(folder, target):
    """Output that nobody reads any more ends the command without a word, as SIGPIPE would."""
    (folder / "waiting.py").write_text(WAITING)
    with started(str(SCRIPT), "run", f"waiting.py:{target}") as process:
        assert process.stdout.readline() in {"x\n", "y\n"}
        process.stdout.close()
        err = process.stderr.read()
        process.wait(TIMEOUT)
    assert (process.returncode, err) == (READER_GONE, "")


def test_what_is_left_in_the_buffer_when_the_reader_goes(folder):
    """The interpreter has nothing to complain of at its end."""
    (folder / "short.py").write_text(
        "from asyncgraph import delayed\n"
        "import sys\n"
        "def build():\n"
        "    print('begun', flush=True)\n"
        "    sys.stdin.read()\n"
        "    return delayed(print)('lost')\n"
    )
    with started(str(SCRIPT), "run", "short.py:build", stdin=subprocess.PIPE) as process:
        assert process.stdout.readline() == "begun\n"
        process.stdout.close()
        process.stdin.close()
        err = process.stderr.read()
        process.wait(TIMEOUT)
    assert (process.returncode, err) == (READER_GONE, "")


def test_no_command_prints_the_help(capsys):
    """Without a command there is the help, on standard error, and exit code 2."""
    assert main([]) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.startswith("usage: asyncgraph")


@pytest.mark.parametrize("command", [[], ["run"], ["show"], ["demo"], ["doctor"]])
def test_the_help_tells_the_exit_codes(capsys, command):
    """Each help text has all exit codes that the module has."""
    assert main([*command, "--help"]) == 0
    out = capsys.readouterr().out
    for code in ["0 ", "1 ", "2 ", "3 ", "130", "141"]:
        assert f"\n  {code}  " in out
    assert all(len(line) <= 110 for line in out.splitlines())


def test_a_fault_of_our_own(capsys, monkeypatch):
    """What a command does not expect is printed whole, as something to report."""

    def fail():
        raise RuntimeError("unexpected")

    monkeypatch.setitem(doctor.SECTIONS, "machine", fail)
    assert main(["doctor"]) == 1
    out, err = capsys.readouterr()
    assert out == ""
    assert "doctor.py" in err
    assert err.endswith(
        "RuntimeError: unexpected\nasyncgraph: this is a fault in asyncgraph itself; please report it\n"
    )


def test_an_unknown_command(capsys):
    """It is refused with those that there are."""
    assert main(["rum"]) == 2
    assert "'rum'" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "port"),
    [
        (["--dashboard", "graph.py:total"], 0),
        (["graph.py:total", "--dashboard"], 0),
        (["--dashboard", "8123", "graph.py:total"], 8123),
        (["--dashboard=8123", "graph.py:total"], 8123),
        (["--dashboard", "--progress", "graph.py:total"], 0),
        (["graph.py:total"], None),
    ],
)
def test_the_port_may_be_left_out(words, port):
    """What follows `--dashboard` is its port only if it is a number."""
    from asyncgraph._cli.arguments import parse

    options = parse(["run", *words])
    assert (options.target, options.dashboard) == ("graph.py:total", port)


def test_the_version_takes_no_runtime():
    """`--version` and `--help` import neither asyncio nor anything of the runtime."""
    script = """
import json, sys
from asyncgraph.cli import main
main(sys.argv[1:])
print(json.dumps(sorted(sys.modules)))
"""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("COV")}
    for words in (["--version"], ["--help"], ["run", "--help"]):
        code, out, err = ended(sys.executable, "-I", "-c", script, *words, env=environment)
        assert (code, err) == (0, "")
        loaded = set(json.loads(out.splitlines()[-1]))
        own = {name for name in loaded if name.startswith("asyncgraph")}
        assert own == {
            "asyncgraph",
            "asyncgraph._cli",
            "asyncgraph._cli.arguments",
            "asyncgraph._cli.exits",
            "asyncgraph._cli.streams",
            "asyncgraph.cli",
        }
        assert not loaded & {"asyncio", "uvloop", "threading", "subprocess", "cloudpickle"}
