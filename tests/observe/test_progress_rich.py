"""Progress bars drawn by rich: on its recording console, and what is said where it is missing."""

from __future__ import annotations

import io
import sys

import pytest

from asyncgraph import compute, delayed
from asyncgraph.observe import ProgressBar
from tests.observe.staging import Bar, Clock, FakeRun, began, draw, ended

rich_console = pytest.importorskip("rich.console")


def console(**options):
    """Return a console of 80 columns that keeps what it was given."""
    given = {
        "force_terminal": True,
        "width": 80,
        "height": 10,
        "legacy_windows": False,
        "file": io.StringIO(),
    }
    return rich_console.Console(record=True, get_time=lambda: 0.0, _environ={}, **{**given, **options})


def lines(text):
    """Return the lines that say something, each without what is between its parts."""
    return [" ".join(line.split()) for line in text.splitlines() if line.strip()]


def last_frame(shown):
    """Return the lines of what was drawn last."""
    text = shown.export_text()
    return lines(text)


@pytest.fixture
def clock():
    """Return a clock that is set by hand."""
    return Clock()


def test_a_row_for_each_function(clock):
    """With a spinner while it goes on, a mark when it is done or has failed, and counts."""
    shown, run = console(), FakeRun()
    bar = Bar(clock, rich=shown, minimum=0)
    run.say("load", 4, finished=4)
    run.say("parse", 4, finished=1, running=2)
    run.say("check", 4, failed=1)
    run.say("save", 4)
    bar(began(run))
    draw()
    found = last_frame(shown)
    bars = "━" * 10
    assert [line.split()[0] for line in found] == ["⠋", "✓", "⠋", "✗", "save"]
    assert [line.split(bars)[0].strip(" ━╸╺⠋✓✗") for line in found] == [
        "total-1",
        "load",
        "parse",
        "check",
        "save",
    ]
    assert [line.rsplit("━", 1)[1].strip(" ╸╺") for line in found] == [
        "6/16 2 running, 1 failed 0:00",
        "4/4",
        "1/4 2 running",
        "1/4 0 running, 1 failed",
        "0/4 0 running",
    ]
    bar(ended(run, clock))


@pytest.mark.parametrize(("state", "mark"), [("finished", "✓"), ("failed", "✗"), ("cancelled", "■")])
def test_what_is_left(clock, state, mark):
    """The last state, once, and a cursor that is seen."""
    shown, run = console(color_system=None), FakeRun()
    run.say("load", 4, finished=2, cancelled=2)
    bar = Bar(clock, rich=shown, minimum=0)
    bar(began(run))
    draw()
    shown.file.truncate(0)
    shown.file.seek(0)
    shown.export_text()
    clock.time += 2
    bar(ended(run, clock, state))
    first, second = last_frame(shown)[-2:]
    assert first.startswith(f"{mark} total-1 ")
    assert first.endswith(f"2/4 2 cancelled {state} after 2.0 s")
    assert second.endswith("2/4 2 cancelled")
    assert "\x1b[?25h" in shown.file.getvalue()
    assert shown.file.getvalue().endswith("\n")


def test_there_are_no_more_lines_than_the_console_has(clock):
    """What has no room is counted; the runs share it."""
    shown = console()
    bar = Bar(clock, rich=shown, minimum=0)
    runs = [FakeRun(id=number, name=f"run-{number}") for number in range(2)]
    for run in runs:
        for number in range(20):
            run.say(f"function {number}", 1)
        bar(began(run))
    draw()
    found = last_frame(shown)
    assert len(found) == 8
    assert sum("and 18 more functions" in line for line in found) == 2
    for run in runs:
        bar(ended(run, clock))


def test_a_nested_run(clock):
    """It is shown below the other one, and leaves nothing."""
    shown, outer = console(), FakeRun()
    inner = FakeRun(id=2, name="inner-1", outer=(outer, "node-1"))
    bar = Bar(clock, rich=shown, minimum=0)
    bar(began(outer))
    bar(began(inner))
    draw()
    assert [line.split("━")[0].strip() for line in last_frame(shown)] == ["⠋ total-1", "⠋ inner-1 in node-1"]
    bar(ended(inner, clock))
    shown.export_text()
    bar(ended(outer, clock))
    assert not any("inner" in line for line in last_frame(shown))


class Terminal(io.StringIO):
    """A terminal."""

    def isatty(self):
        """Return that it is one."""
        return True


def test_true_draws_in_a_terminal(clock, monkeypatch):
    """And leaves anything else to plain lines."""
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "80")
    terminal, log, run = Terminal(), io.StringIO(), FakeRun()
    for file in (terminal, log):
        bar = Bar(clock, file=file, rich=True, minimum=0)
        bar(began(run))
        draw()
        bar(ended(run, clock))
    assert "✓" in terminal.getvalue()
    assert "\x1b[?25h" in terminal.getvalue()
    assert log.getvalue().startswith("asyncgraph: total-1: ")


def test_what_is_printed_meanwhile_is_above(clock, monkeypatch):
    """Whole lines, one after another."""
    shown, run = console(color_system=None, force_terminal=True), FakeRun()
    monkeypatch.setattr(sys, "stdout", shown.file)
    bar = Bar(clock, rich=shown, minimum=0)
    bar(began(run))
    draw()
    print("one line")
    print("another line")
    shown.export_text()
    draw()
    bar(ended(run, clock))
    assert sys.stdout is shown.file
    written = shown.file.getvalue()
    assert written.index("one line") < written.index("another line") < written.index("finished after")


async def test_a_real_run():
    """It is counted by function."""
    shown = console()
    load = delayed(abs, name="load")
    with ProgressBar(rich=shown, minimum=0):
        assert await compute(*(load(-number) for number in range(5))) == (0, 1, 2, 3, 4)
    assert lines(shown.export_text())[-1].endswith("5/5")


def test_a_file_and_a_console():
    """Only one of them can be drawn on."""
    with pytest.raises(TypeError) as caught:
        ProgressBar(file=sys.stderr, rich=console())
    assert str(caught.value) == "file= and a console for rich= are both where to draw: give one of them"


def test_rich_is_not_there(monkeypatch):
    """The message says how to get it; without `rich=` nothing is missing."""
    monkeypatch.setitem(sys.modules, "rich.console", None)
    with pytest.raises(ImportError) as caught:
        ProgressBar(rich=True)
    assert str(caught.value) == "rich= needs rich: pip install 'asyncgraph[rich]'"
    ProgressBar()
