"""What progress bars say, without any place where they say it: rates, texts, columns and lines."""

from __future__ import annotations

import pytest

from asyncgraph.observe.progress.pace import Pace
from asyncgraph.observe.progress.table import ASCII, UNICODE, _bar, lines_of, shortened
from asyncgraph.observe.progress.view import RUNNING, Row, View, summed
from asyncgraph.observe.progress.words import clean, clock, cut, duration, padded, rate, width_of


def view(
    *rows: Row, state: str = RUNNING, seconds: float = 3.0, name: str = "total-1", depth: int = 0
) -> View:
    """Return a run with such functions."""
    return View(1, state, seconds, summed(name, rows), rows, depth)


def texts(views: list[View], width: int = 79, height: int = 20) -> list[str]:
    """Return the lines as texts."""
    lines = lines_of(views, width, height, ASCII, None)
    return ["".join(piece.text for piece in line) for line in lines]


# -- how fast


def test_the_rate_is_that_of_the_last_while():
    """After a change it is the new one as soon as the old one is ten seconds ago."""
    pace = Pace()
    for second in range(21):
        pace.add(second, 10 * second, has_begun=True)
    assert pace.rate() == pytest.approx(10)
    for second in range(21, 41):
        pace.add(second, 200 + 2 * (second - 20), has_begun=True)
    assert pace.rate() == pytest.approx(2)
    assert pace.left(10) == pytest.approx(5)


def test_the_rate_of_what_is_slow_is_taken_over_a_longer_time():
    """One in a minute is one in a minute between two of them, too."""
    pace = Pace()
    for second in range(3600):
        pace.add(second, second // 60, has_begun=True)
    assert pace.rate() * 60 == pytest.approx(1, rel=0.1)


def test_samples_are_few():
    """However long a run goes on."""
    pace = Pace()
    for tenth in range(20_000):
        pace.add(tenth / 10, tenth, has_begun=True)
    assert len(pace._samples) < 250
    assert pace.rate() == pytest.approx(10)


def test_the_time_before_something_has_begun_does_not_count():
    """Nor does what was there when it was looked at for the first time."""
    pace = Pace()
    for second in range(100):
        pace.add(second, 0, has_begun=False)
    pace.add(101, 8, has_begun=True)
    assert pace.rate() == pytest.approx(4)
    resumed = Pace()
    resumed.add(0, 500, has_begun=True)
    assert (resumed.rate(), resumed.left(10)) == (0, None)
    resumed.add(1, 501, has_begun=True)
    assert resumed.rate() == pytest.approx(1)


def test_nothing_is_known_at_first():
    """No rate, and no time that is left."""
    assert (Pace().rate(), Pace().left(1)) == (0, None)


# -- words


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0:00"),
        (59.4, "0:59"),
        (59.6, "1:00"),
        (3599.6, "1:00:00"),
        (3725, "1:02:05"),
        (200_000, "2 d 7 h"),
    ],
)
def test_clock(seconds, text):
    """Minutes and seconds, hours, days."""
    assert clock(seconds) == text


@pytest.mark.parametrize(
    ("seconds", "text"), [(0, "0.0 s"), (3.14, "3.1 s"), (59.94, "59.9 s"), (59.96, "1:00")]
)
def test_duration(seconds, text):
    """Short ones have a digit behind the point."""
    assert duration(seconds) == text


@pytest.mark.parametrize(
    ("per_second", "text"),
    [
        (0, ""),
        (12_345.6, "12,346/s"),
        (9.96, "10/s"),
        (1.5, "1.5/s"),
        (0.5, "30/min"),
        (0.001, "3.6/h"),
        (1e-5, ""),
    ],
)
def test_rate(per_second, text):
    """In the unit in which it is a number that says something."""
    assert rate(per_second) == text


@pytest.mark.parametrize(
    ("text", "width"),
    [("abc", 3), ("größe", 5), ("下载", 4), ("e\u0301", 1), ("👍", 2), ("", 0)],
)
def test_width(text, width):
    """Wide characters take two columns, accents of their own none."""
    assert width_of(text) == width
    assert width_of(padded(text, 10)) == 10


@pytest.mark.parametrize(
    ("text", "width", "shown"),
    [("abcdef", 6, "abcdef"), ("abcdef", 4, "abc~"), ("下载网页", 6, "下载~"), ("ab", 1, "~"), ("ab", 0, "")],
)
def test_cut(text, width, shown):
    """A mark stands for what is missing, and nothing is wider than it may be."""
    assert cut(text, width, "~") == shown
    assert width_of(shown) <= width


def test_clean():
    """Nothing moves the cursor, and nothing is left that cannot be written."""
    assert clean("a\tb\x1b[2Jc\u202e\ud800") == "a?b?[2Jc??"
    assert clean("größe", "ascii") == "gr??e"


# -- lines


def test_a_run_and_its_functions():
    """The run first, with all of them together."""
    rows = [Row("load", 10, 2, 5, 1, 0, 0, 2.5, 0.8), Row("save", 1000, 0, 0, 0, 1, 0)]
    assert texts([view(*rows)]) == [
        "total-1  x------------      6/1,010   2 running, 1 failed, 1 not run       0:03",
        "  load   ######xx-----         6/10   2 running, 1 failed             0:01 left",
        "  save   -------------      0/1,000   0 running, 1 not run",
    ]


@pytest.mark.parametrize("width", range(1, 121))
def test_no_line_is_wider_than_it_may_be(width):
    """However narrow it is; in wide terminals, all columns are there."""
    rows = [
        Row("a_function_with_a_long_name", 1_000_000, 256, 123_456, 7, 0, 0, 5_000.0, 175.0),
        Row("下载网页" * 5, 10, 0, 0, 10, 0, 0),
    ]
    for state in (RUNNING, "failed"):
        found = texts([view(*rows, state=state), view(depth=1)], width=width)
        assert max(map(width_of, found)) <= width
    assert width < 100 or "0:03" in texts([view(*rows)], width=width)[0]


@pytest.mark.parametrize("height", range(12))
@pytest.mark.parametrize("runs", [1, 2, 5])
def test_there_are_no_more_lines_than_there_may_be(runs, height):
    """Each run has a line, functions share the rest, and what has no room is counted."""
    rows = [Row(f"f{number}", 1, 0, 0, 0, 0, 0) for number in range(4)]
    found = texts([view(*rows, name=f"run-{number}") for number in range(runs)], height=height)
    assert len(found) <= max(height, 1)
    if height >= 5 * runs:
        assert len(found) == 5 * runs
    if runs > height > 1:
        assert found[-1].startswith(f"and {runs - height + 1} more runs")
    assert (runs > max(height, 1)) == any("more run" in line for line in found) or height < 2


def test_no_runs_are_no_lines():
    """Nothing is drawn then."""
    assert texts([]) == []


def test_at_the_end_what_has_become_of_a_run_is_worth_more_than_a_bar():
    """In a narrow terminal, which has no room for both."""
    rows = [Row("load", 10, 0, 5, 1, 4, 0)]
    (line, _) = texts([view(*rows, state="failed")], width=60)
    assert line == "total-1   6/10  1 failed, 4 not run  failed after 3.0 s"
    (line, _) = texts([view(*rows)], width=60)
    assert line.startswith("total-1  ####")


def test_functions_to_which_something_happens_are_kept():
    """First those that are under way, then those that have failed, then those to come; in their order."""
    done, waiting = Row("done", 1, 0, 1, 0, 0, 0), Row("waiting", 5, 0, 0, 0, 0, 0)
    failed, active = Row("failed", 1, 0, 0, 1, 0, 0), Row("active", 3, 1, 1, 0, 0, 0)
    rows = [done, waiting, failed, active]
    assert shortened(rows, 4) == (rows, None)
    assert shortened(rows, 3) == ([failed, active], Row("and 2 more functions", 6, 0, 1, 0, 0, 0))
    assert shortened(rows, 2)[0] == [active]
    assert shortened(rows, 1) == ([], Row("4 functions", 10, 1, 2, 1, 0, 0))


@pytest.mark.parametrize(
    ("row", "bar"),
    [
        (Row("f", 0, 0, 0, 0, 0, 0), "────────"),
        (Row("f", 8, 0, 0, 0, 0, 0), "────────"),
        (Row("f", 16, 0, 5, 0, 0, 0), "━━╸─────"),
        (Row("f", 1_000_000, 0, 999_999, 0, 0, 0), "━━━━━━━╸"),
        (Row("f", 8, 0, 8, 0, 0, 0), "━━━━━━━━"),
        (Row("f", 1_000, 0, 999, 1, 0, 0), "━━━━━━━╍"),
        (Row("f", 8, 0, 0, 8, 0, 0), "╍╍╍╍╍╍╍╍"),
        (Row("f", 8, 0, 4, 0, 0, 4), "━━━━────"),
    ],
)
def test_bars(row, bar):
    """What is not done is never shown as done, and a failure always shows."""
    assert "".join(piece.text for piece in _bar(row, 8, UNICODE)) == bar
