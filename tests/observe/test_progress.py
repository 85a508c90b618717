"""Progress bars: which runs they show, when, and what they leave; with runs that are told what to say."""

from __future__ import annotations

import asyncio
import contextlib
import io
import logging
import os
import subprocess
import sys
import threading

import pytest

from asyncgraph import Runtime, compute, delayed, start
from asyncgraph.observe import ProgressBar, RunFinished, RunStarted
from asyncgraph.observe.progress import painter
from asyncgraph.observe.progress.bar import DRAWN
from tests.interrupting import everywhere
from tests.observe.screen import Screen
from tests.observe.staging import Bar, Clock, FakeRun, began, draw, ended


class Terminal(io.StringIO):
    """A terminal of 80 columns."""

    encoding = "utf-8"

    def isatty(self):
        """Return that it is one."""
        return True

    def screen(self):
        """Return what it shows."""
        screen = Screen()
        screen.feed(self.getvalue())
        return str(screen)


class Log(io.StringIO):
    """A file that is no terminal."""


@pytest.fixture(autouse=True)
def _environment(monkeypatch):
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.delenv("NO_COLOR", raising=False)
    yield
    for each in list(painter._painters.values()):  # of a test that has failed
        each.leave()
    painter._painters.clear()


@pytest.fixture
def clock():
    """Return a clock that is set by hand."""
    return Clock()


@pytest.fixture
def terminal():
    """Return a terminal."""
    return Terminal()


def finish(bar, run, clock, state="finished"):
    """Let a run be over."""
    bar(ended(run, clock, state))


# -- options


@pytest.mark.parametrize(
    ("options", "kind", "message"),
    [
        ({"file": "log.txt"}, TypeError, "file= takes a file that is open for writing text, not 'log.txt'"),
        ({"minimum": "1"}, TypeError, "minimum= takes a number of seconds, not '1'"),
        ({"minimum": True}, TypeError, "minimum= takes a number of seconds, not True"),
        ({"minimum": -1}, ValueError, "minimum= is a number of seconds from 0 on, not -1"),
        ({"minimum": float("nan")}, ValueError, "minimum= is a number of seconds from 0 on, not nan"),
        ({"rich": "yes"}, TypeError, "rich= takes True, False or a rich.console.Console, not 'yes'"),
    ],
)
def test_options_are_checked_when_they_are_given(options, kind, message):
    """The message says what would be right."""
    with pytest.raises(kind) as caught:
        ProgressBar(**options)
    assert str(caught.value) == message


def test_options_are_named():
    """A file is not taken for something else."""
    with pytest.raises(TypeError):
        ProgressBar(sys.stderr)


def test_it_wants_nothing_but_the_beginning_and_the_end():
    """So a run records no steps for it."""
    assert ProgressBar.kinds == {RunStarted, RunFinished}


# -- which runs, and when


def test_a_short_run_leaves_no_trace(clock, terminal):
    """It is not even asked how far it is."""
    bar, run = Bar(clock, file=terminal), FakeRun()
    bar(began(run))
    clock.time += DRAWN - 0.01
    draw()
    finish(bar, run, clock)
    assert terminal.getvalue() == ""
    assert run.asked == 0


def test_a_run_is_shown_from_the_minimum_on(clock, terminal):
    """And when it is over, as it ended."""
    bar, run = Bar(clock, file=terminal, minimum=3), FakeRun()
    run.say("load", 4, finished=1, running=2)
    bar(began(run))
    clock.time += 2.9
    draw()
    assert terminal.getvalue() == ""
    clock.time += 0.1
    draw()
    assert "load" in terminal.screen()
    run.say("load", 4, finished=4)
    finish(bar, run, clock)
    first, second, cursor = terminal.screen().splitlines()
    assert first.split()[0::2] == ["total-1", "4/4", "after", "s"]
    assert second.split()[0::2] == ["load", "4/4"]
    assert cursor == "<cursor>"


def test_a_run_that_took_long_enough_is_shown_at_its_end_if_it_was_not_drawn(clock, terminal):
    """Whether the thread has come to it in time makes no difference."""
    bar, run = Bar(clock, file=terminal, minimum=0), FakeRun()
    run.say("load", 1, finished=1)
    bar(began(run))
    finish(bar, run, clock)
    assert "finished after 0.0 s" in terminal.screen()


def test_nothing_is_left_when_the_last_run_is_over(clock, terminal):
    """No thread, no painter; a run that begins later has new ones."""
    for number in range(3):
        bar, run = (
            Bar(clock, file=terminal, minimum=0),
            FakeRun(id=number, name=f"run-{number}", began=clock.time),
        )
        bar(began(run))
        (thread,) = threads()
        draw()
        finish(bar, run, clock)
        thread.join(10)
        assert not thread.is_alive()
        assert not painter._painters
    assert terminal.screen().count("finished after") == 3


def test_a_run_that_two_bars_hear_of_is_shown_once(clock, terminal):
    """As when there is one around the program and one that a run is given."""
    bars, run = [Bar(clock, file=terminal, minimum=0) for _ in range(2)], FakeRun()
    for bar in bars:
        bar(began(run))
    draw()
    for bar in bars:
        finish(bar, run, clock)
    assert terminal.screen().count("total-1") == 1
    assert not painter._painters


def test_the_pause_follows_from_what_asking_costs(clock, terminal):
    """It takes a hundredth of the time at most; the first look, which takes longer, does not count."""
    bar, run = Bar(clock, file=terminal, minimum=0), FakeRun()
    run.say("load", 4)
    progress = run.progress

    def slow():
        clock.cost += 0.05
        return progress()

    run.progress = slow
    bar(began(run))
    draw()
    draw()
    assert run.asked == 2
    spent, start_time = clock.cost, clock.time
    while clock.time < start_time + 100:
        clock.time += 0.1
        draw()
    assert 0.2 < clock.cost - spent < 1
    finish(bar, run, clock)


def test_a_large_run_is_asked_for_its_functions_later(clock, terminal):
    """Until then the line of the run is there, by what is counted more quickly."""
    bar, run = Bar(clock, file=terminal, minimum=0.5), FakeRun()
    run.say("load", 1_000_000, finished=250_000)
    bar(began(run))
    clock.time += 1
    draw()
    assert run.asked == 0
    assert "250,000/1,000,000" in terminal.screen()
    assert "load" not in terminal.screen()
    clock.time += 15
    draw()
    assert run.asked == 1
    assert "load" in terminal.screen()
    finish(bar, run, clock)


def test_a_run_that_does_not_answer_is_shown_as_it_was(clock, terminal):
    """It is asked again."""
    bar, run = Bar(clock, file=terminal, minimum=0), FakeRun()
    run.say("load", 4, finished=1)
    bar(began(run))
    draw()
    answers, run.progress = run.progress, None
    clock.time += 1
    draw()
    assert "1/4" in terminal.screen()
    run.progress = answers
    run.say("load", 4, finished=2)
    clock.time += 1
    draw()
    assert "2/4" in terminal.screen()
    run.progress = None
    finish(bar, run, clock)
    assert "finished after 2.0 s" in terminal.screen()


def test_the_slowest_function_says_how_long_it_will_take(clock, terminal):
    """One that has begun late and is slow, and not all nodes together."""
    bar, run = Bar(clock, file=terminal, minimum=0), FakeRun()
    run.say("quick", 500)
    run.say("slow", 100)
    bar(began(run))
    draw()
    run.say("quick", 500, finished=500)
    run.say("slow", 100, finished=1)
    clock.time += 1
    draw()
    assert "0:01, 1:39 left" in terminal.screen()
    finish(bar, run, clock)


def test_what_cannot_be_written_is_reported_once(clock, terminal, caplog):
    """The run goes on, and nothing is left of the bar."""
    bar, run = Bar(clock, file=terminal, minimum=0), FakeRun()
    bar(began(run))
    terminal.close()
    for _ in range(3):
        clock.time += 1
        with caplog.at_level(logging.WARNING):
            try:
                draw()
            except ValueError:  # which the thread would have taken
                next(iter(painter._painters.values()))._give_up(ValueError())
    finish(bar, run, clock)
    assert [record.message for record in caplog.records] == ["the progress of runs cannot be shown any more"]
    assert not painter._painters


def test_there_is_nothing_to_write_to(clock, monkeypatch):
    """A program without a console shows nothing; nor does one whose stderr is closed."""
    monkeypatch.setattr(sys, "stderr", None)
    Bar(clock, minimum=0)(began(FakeRun()))
    closed = Terminal()
    closed.close()
    monkeypatch.setattr(sys, "stderr", closed)
    Bar(clock, minimum=0)(began(FakeRun()))
    assert not painter._painters


# -- terminals


def test_colors(clock, terminal, monkeypatch):
    """What is done, what has failed and the rest; none of them where NO_COLOR is set."""
    run = FakeRun()
    run.say("load", 4, finished=1, failed=1)
    show(Bar(clock, file=terminal, minimum=0), run, clock)
    assert colors(terminal) == {"32", "31", "2", "0"}
    monkeypatch.setenv("NO_COLOR", "1")
    plain = Terminal()
    show(Bar(clock, file=plain, minimum=0), run, clock)
    assert colors(plain) == set()
    assert plain.screen() == terminal.screen()


@pytest.mark.parametrize("kind", ["dumb", "", "unknown", None])
def test_a_terminal_that_moves_no_cursor_gets_plain_lines(clock, terminal, monkeypatch, kind):
    """There are no control codes in them."""
    if kind is None:
        monkeypatch.delenv("TERM")
    else:
        monkeypatch.setenv("TERM", kind)
    show(Bar(clock, file=terminal, minimum=0), FakeRun(), clock)
    assert terminal.getvalue().startswith("asyncgraph: total-1: ")
    assert "\x1b" not in terminal.getvalue()


def test_the_size_is_asked_for_whenever_something_is_drawn(clock, terminal, monkeypatch):
    """A window may become smaller; one that tells 0 has 80 columns and 24 lines."""
    sizes = [(120, 40), (40, 5), (0, 0)]
    widths = []
    monkeypatch.setattr(terminal, "fileno", lambda: 1)
    run = FakeRun()
    for number in range(10):
        run.say(f"a function with number {number}", 1)
    bar = Bar(clock, file=terminal, minimum=0)
    bar(began(run))
    for size in sizes:
        monkeypatch.setattr(os, "get_terminal_size", lambda _, size=size: os.terminal_size(size))
        terminal.seek(0)
        terminal.truncate()
        clock.time += 1
        draw()
        lines = terminal.getvalue().replace("\x1b[2m", "").replace("\x1b[0m", "").split("\r\n")
        widths.append((len(lines), max(map(len, lines[1:-1]))))
    finish(bar, run, clock)
    assert [count for count, _ in widths] == [12, 4, 12]
    assert all(
        width <= (size[0] or 80) + len("\x1b[K") for (_, width), size in zip(widths, sizes, strict=True)
    )


# -- plain lines


def test_plain_lines(clock):
    """One when the minimum is over, then ever fewer, and one at the end."""
    file, run = Log(), FakeRun()
    run.say("load", 600, finished=0, running=4)
    run.say("save", 600)
    bar = Bar(clock, file=file)
    bar(began(run))
    told = []
    for second in range(1, 1500):
        clock.time += 1
        run.say("load", 600, finished=min(600, second), running=4)
        before = len(file.getvalue())
        draw()
        if len(file.getvalue()) > before:
            told.append(second)
    run.say("load", 600, finished=600)
    run.say("save", 600, finished=599, failed=1)
    finish(bar, run, clock, "failed")
    lines = file.getvalue().splitlines()
    assert told == [10, 20, 40, 80, 160, 320, 620, 920, 1220]
    assert lines[1] == (
        "asyncgraph: total-1: after 20.0 s 20/1,200 nodes, 4 running, 1.0/s, about 19:40 left"
        " (load 20/600, save 0/600)"
    )
    assert lines[-1] == (
        "asyncgraph: total-1: failed after 24:59: 1,199/1,200 nodes, 1 failed (load 600/600, save 599/600)"
    )


def test_requests_of_a_service_write_nothing(clock):
    """They take less than ten seconds."""
    file, run = Log(), FakeRun()
    bar = Bar(clock, file=file)
    bar(began(run))
    clock.time += 9.9
    draw()
    finish(bar, run, clock)
    assert file.getvalue() == ""


def test_plain_lines_of_nested_runs(clock):
    """There are none: the outer run has some."""
    file, outer = Log(), FakeRun()
    inner = FakeRun(id=2, name="inner-1", outer=(outer, "node-1"))
    bar = Bar(clock, file=file, minimum=0)
    bar(began(outer))
    bar(began(inner))
    clock.time += 1
    draw()
    finish(bar, inner, clock)
    finish(bar, outer, clock)
    assert len(file.getvalue().splitlines()) == 2
    assert "inner" not in file.getvalue()


def test_a_name_does_not_break_a_line(clock):
    """Nor does it write what the file cannot hold."""
    file, run = Log(), FakeRun(name="a\nb\x1b[2J")
    show(Bar(clock, file=file, minimum=0), run, clock)
    assert all(line.startswith("asyncgraph: a?b?[2J: ") for line in file.getvalue().splitlines())


# -- ends


def test_a_loop_that_is_closed_amid_a_run_ends_the_display(clock, terminal):
    """The last state stays."""
    loop = asyncio.new_event_loop()
    run = FakeRun()
    run.say("load", 3, running=3)
    bar = Bar(clock, file=terminal, minimum=0)

    async def begin():
        bar(began(run))

    loop.run_until_complete(begin())
    draw()
    loop.close()
    clock.time += 1
    (thread,) = threads()
    draw()
    thread.join(10)
    assert not thread.is_alive()
    assert "left behind after 1.0 s" in terminal.screen()
    assert terminal.screen().endswith("\n<cursor>\n")


def test_a_program_that_ends_amid_a_run_does_not_wait_for_it():
    """It writes the last state."""
    text = """
    import sys
    from tests.observe.staging import *
    clock = Clock()
    bar, run = Bar(clock, minimum=0, file=sys.stdout), FakeRun()
    run.say("load", 3, running=3)
    bar(began(run))
    clock.time += 2
    draw()
    """
    command = [sys.executable, "-W", "error", "-c", "\n".join(map(str.strip, text.splitlines()))]
    done = subprocess.run(command, capture_output=True, text=True, timeout=50, check=True)
    assert done.stdout.splitlines() == [
        "asyncgraph: total-1: after 2.0 s 0/3 nodes, 3 running",
        "asyncgraph: total-1: left behind after 2.0 s: 0/3 nodes",
    ]
    assert done.stderr == ""


# Not in the painter: at the line of a `with` the tool strikes where no signal does, and so leaves it locked.
@pytest.mark.parametrize("module", ["bar", "terminal", "watch"])
def test_ctrl_c_at_any_line(module):
    """Wherever it strikes on the thread of the loop, no thread is left when the loop is gone."""

    async def main(terminal):
        # What is said of an error that nobody has asked for.
        asyncio.get_running_loop().set_exception_handler(lambda *_: None)
        with ProgressBar(file=terminal, minimum=0):
            await slowly()

    for interrupt in everywhere(f"observe/progress/{module}.py"):
        with contextlib.suppress(KeyboardInterrupt), interrupt():
            asyncio.run(main(Terminal()))
        for thread in threads():
            thread.join(10)
            assert not thread.is_alive()
        assert not painter._painters


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there are no forks")
def test_a_process_that_was_forked_has_no_runs():
    """It may have some of its own; those of the other process go on."""
    text = """
    import os, sys, threading
    from asyncgraph.observe.progress import painter
    from tests.observe.staging import *
    clock = Clock()
    bar, run = Bar(clock, minimum=0, file=sys.stdout), FakeRun()
    bar(began(run))
    sys.stdout.flush()
    painter._lock.acquire()
    pid = os.fork()
    if pid == 0:
        other, mine = Bar(clock, minimum=0, file=sys.stdout), FakeRun(2, "mine-1")
        other(began(mine))
        other(ended(mine, clock))
        sys.stdout.flush()
        os._exit(0)
    assert os.waitpid(pid, 0)[1] == 0
    painter._lock.release()
    bar(ended(run, clock))
    """
    command = [sys.executable, "-c", "\n".join(line[4:] for line in text.splitlines())]
    done = subprocess.run(command, capture_output=True, text=True, timeout=50, check=True)
    assert done.stdout.splitlines() == [
        "asyncgraph: mine-1: finished after 0.0 s: 0 nodes",
        "asyncgraph: total-1: finished after 0.0 s: 0 nodes",
    ]


# -- real runs


@delayed
async def slowly(*values):
    """Let the loop go round."""
    await asyncio.sleep(0)
    return len(values)


async def test_real_runs(terminal):
    """Coroutines, threads and processes are counted by function, and the result is what it was."""
    inline, thread, process = (
        delayed(abs, executor=each, name=each) for each in ("loop", "thread", "process")
    )
    nodes = [inline(process(thread(slowly(number)))) for number in range(20)]
    with ProgressBar(file=terminal, minimum=0):
        assert await compute(*nodes) == (1,) * 20
    shown = terminal.screen()
    assert [line.split()[0] for line in shown.splitlines()][1:-1] == ["slowly", "thread", "process", "loop"]
    assert shown.count(" 20/20") == 4
    assert " 80/80  finished after " in shown


async def test_a_bar_of_a_runtime(terminal):
    """It shows each run of it."""
    async with Runtime(observers=[ProgressBar(file=terminal, minimum=0)]):
        for _ in range(3):
            await slowly()
    assert terminal.screen().count("finished after") == 3


async def test_a_real_run_that_fails(terminal):
    """The exception is that of the node."""
    with pytest.raises(ZeroDivisionError):
        await delayed(lambda: 1 / 0, name="divide")().compute(
            observers=[ProgressBar(file=terminal, minimum=0)]
        )
    assert "failed after" in terminal.screen()
    assert "1 failed" in terminal.screen()


async def test_failures_as_values(terminal):
    """The run has finished."""
    node = delayed(lambda: 1 / 0, name="divide")
    with ProgressBar(file=terminal, minimum=0):
        assert len(await compute(node(), slowly(), return_exceptions=True)) == 2
    assert "1 failed  finished after" in terminal.screen()


async def test_a_real_run_that_is_cancelled(terminal):
    """What was stopped is counted."""

    @delayed
    async def endless():
        begun.set()
        await asyncio.get_running_loop().create_future()

    begun = asyncio.Event()
    run = start(slowly(endless()), observers=[ProgressBar(file=terminal, minimum=0)])
    await begun.wait()
    run.cancel()
    with pytest.raises(asyncio.CancelledError):
        await run
    assert "2 cancelled  cancelled after" in terminal.screen()


async def test_a_run_of_many_nodes(terminal):
    """100 000 of them, asked while they run."""
    number_of = delayed(abs, executor="loop")
    node = delayed(len, executor="loop")([number_of(number) for number in range(100_000)])
    with ProgressBar(file=terminal, minimum=0.01):
        assert await node == 100_000
    assert " 100,001/100,001  finished after " in terminal.screen()


async def test_the_display_goes_on_while_the_loop_is_blocked(terminal):
    """It is drawn by a thread."""
    drawn = threading.Event()
    write = terminal.write

    def noticed(text):
        drawn.set()
        return write(text)

    terminal.write = noticed
    with ProgressBar(file=terminal, minimum=0):
        assert await delayed(drawn.wait, executor="loop")(30) is True


async def test_a_run_in_a_node(terminal):
    """It is shown while it goes on, and leaves nothing."""

    @delayed
    async def outer():
        result = await slowly()
        draw()
        return result

    with ProgressBar(file=terminal, minimum=0):
        await outer()
    assert "slowly-" not in terminal.screen()
    assert terminal.screen().count("finished after") == 1


def show(bar, run, clock):
    """Let a run begin, be drawn once, and be over."""
    bar(began(run))
    draw()
    finish(bar, run, clock)


def colors(terminal):
    """Return the codes of the colors on a terminal."""
    screen = Screen()
    screen.feed(terminal.getvalue())
    return screen.colors


def threads():
    """Return the threads of progress bars."""
    return [each for each in threading.enumerate() if each.name == "asyncgraph progress"]
