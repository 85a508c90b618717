"""The report as a file: what is in it, what is not, and when it is written."""

from __future__ import annotations

import asyncio
import html.parser
import json
import re

import pytest

from asyncgraph.observe import NodeInfo, Report
from asyncgraph.observe.report import payload, sections
from asyncgraph.observe.report.stalls import BEAT, LATE, Heartbeat
from tests.observe.telling import Telling


@pytest.fixture
def path(tmp_path):
    """Return where the file goes."""
    return tmp_path / "run.html"


def told_pipeline(*observers, **options):
    """Tell of a download, tried twice, of what parses it, and of a failure, with something behind that."""
    told = Telling(*observers, began=50.0, **options).begin()
    told.add("fetch-1 async", "parse-1 process < fetch-1", "check-1 < parse-1", "save-1 < check-1")
    told.started("fetch-1", 50.1, "loop")
    told.retrying("fetch-1", 50.1, 50.2, "loop", 1, "OSError: <reset>", 0.3)
    told.started("fetch-1", 50.5, "loop", attempt=2)
    told.finished("fetch-1", 50.5, 51.0, "loop", 4000)
    told.worker_started("process 7", 51.2, pid=7)
    told.call("parse-1", 51.0, 51.3, 52.0, "process 7", 100)
    told.worker_lost("process 7", 52.1, "killed by signal 9", pid=7)
    try:
        raise ValueError("<b>no</b> row")
    except ValueError as error:
        told.failed("check-1", 52.0, 52.5, "thread 1", error)
        told.not_run("save-1", 52.5, error, "check-1")
        told.end(53.0, "failed", error)


class Text(html.parser.HTMLParser):
    """What a reader sees of a page: text outside scripts and styles, and the tooltips."""

    def __init__(self, page):
        super().__init__()
        self.words, self.tags, self.data = [], [], {}
        self.inside = None
        self.feed(page)

    def handle_starttag(self, tag, attributes):
        """Note the tag."""
        self.tags.append(tag)
        attributes = dict(attributes)
        self.words.append(attributes.get("title", "") or "")
        self.inside = (tag, attributes.get("id")) if tag in {"script", "style"} else None

    def handle_endtag(self, tag):
        """Leave scripts and styles."""
        self.inside = None

    def handle_data(self, data):
        """Keep what is shown."""
        if self.inside is None:
            self.words.append(data)
        elif self.inside[1]:
            self.data[self.inside[1]] = json.loads(data)

    @property
    def text(self):
        """All of it."""
        return re.sub(r"\s+", " ", " ".join(self.words))


def test_each_part_is_there(path):
    """Summary, advice, timeline, critical path, graph, functions, stalls, failures, retries and workers."""
    told_pipeline(Report(path), name="save-1")
    page = Text(path.read_text("utf-8"))
    headings = re.findall(r"<h2>(.*?)</h2>", path.read_text("utf-8"))
    assert headings == [
        "What would make it shorter",
        "Timeline",
        "Critical path",
        "Graph",
        "Slowest functions",
        "Loop stalls",
        "Failures",
        "Retries",
        "Workers",
    ]
    for words in (
        "save-1 how it ended failed",
        "Time 3 s from the beginning",
        "2 finished, 1 failed, 1 not run",
        "Live results 4.1 kB",
        "1 node failed; click one for its traceback. 1 node not run because of that.",
        "1 attempt failed and was followed by another",
        "OSError: <reset>",
        "1 worker process came or went during the run; 1 was lost.",
        "killed by signal 9",
    ):
        assert words in page.text


def test_names_and_messages_are_only_text(path):
    """Whatever a program calls things, no tag and no script comes of it."""
    evil = "</script><script>alert(1)</script><img src=x>"
    told = Telling(Report(path), name=evil).begin()
    told.add_nodes(NodeInfo(0, evil, evil, "function", "thread", False, (), None))
    told.failed(evil, 1.0, 2.0, "thread 1", ValueError(evil))
    told.end(3.0, "failed", ValueError(evil))
    page = Text(path.read_text("utf-8"))
    assert page.tags.count("script") == 2
    assert "img" not in page.tags
    assert evil in page.text
    assert page.data[f"data-{told.run.id}"]["names"] == [evil]


def test_lone_surrogates_do_not_break_the_file(path):
    """They are written as question marks."""
    told = Telling(Report(path), name="\udc80").begin().add("a\udc80-1")
    told.call("a\udc80-1", 0.0, 1.0, 2.0, "thread 1")
    told.end(3.0)
    assert "a?-1" in Text(path.read_text("utf-8")).text


def test_it_needs_nothing_else(path):
    """No address is in it but names of namespaces, and it forbids itself to load anything."""
    told_pipeline(Report(path))
    page = path.read_text("utf-8")
    assert set(re.findall(r"https?://[^\"'\s<]*", page)) <= {"http://www.w3.org/2000/svg"}
    assert "default-src 'none'" in page


def test_the_timeline_has_all_calls(path):
    """Both attempts, each on its track, with times counted from the beginning of the run."""
    told_pipeline(Report(path))
    (data,) = Text(path.read_text("utf-8")).data.values()
    unit = data["unit"]
    tracks = {track["name"]: track for track in data["tracks"]}
    assert list(tracks) == ["loop 1", "thread 1", "process 7"]
    assert [gap * unit for gap in tracks["loop 1"]["gap"]] == pytest.approx([0.1, 0.3])
    assert [long * unit for long in tracks["loop 1"]["long"]] == pytest.approx([0.1, 0.5])
    assert tracks["loop 1"]["key"] == [1, 1]
    assert tracks["loop 1"]["attempt"] == [1, 2]
    assert [data["outcomes"][each] for each in tracks["loop 1"]["outcome"]] == ["retried", "finished"]
    assert tracks["process 7"]["outcome"] == 0
    assert tracks["process 7"]["waited"][0] * unit == pytest.approx(0.3)


def test_a_graph_that_is_too_large_is_not_drawn(path, monkeypatch):
    """The page says how to draw it."""
    monkeypatch.setattr(sections, "_DRAWN", 3)
    told_pipeline(Report(path))
    page = path.read_text("utf-8")
    assert "The graph has 4 nodes, more than are drawn here: see node.visualize()." in page
    assert "<svg" not in page


def test_of_too_many_calls_the_longest_are_drawn(path, monkeypatch):
    """The payload says so."""
    monkeypatch.setattr(payload, "MOST_CALLS", 2)
    told_pipeline(Report(path))
    (data,) = Text(path.read_text("utf-8")).data.values()
    assert data["note"] == "The shortest 2 calls are not drawn."
    assert [track["name"] for track in data["tracks"] if track["gap"]] == ["loop 1", "process 7"]


def test_several_runs_are_in_one_page(path):
    """One is shown at a time, the last at first; of very many, the last twenty are there."""
    report = Report(path)
    for number in range(22):
        told_pipeline(report, name=f"run-{number}")
    page = path.read_text("utf-8")
    names = re.findall(r"<option [^>]*>\d+: (\S+) ", page)
    assert names == [f"run-{number}" for number in range(2, 22)]
    assert page.count("<article") == 20
    assert len(re.findall(r"<article [^>]*hidden", page)) == 19
    assert "2 earlier runs not shown" in page


def test_a_run_of_nothing(path):
    """It has a page, too."""
    Telling(Report(path), name="nothing").begin().end(0.0, "cancelled")
    text = Text(path.read_text("utf-8")).text
    assert "No function was called in this run." in text
    assert "Nothing stands out" in text


# -- the heart


class Clock:
    """A clock that is set by hand."""

    def __init__(self):
        self.time = 100.0

    def __call__(self):
        """Return the time."""
        return self.time


async def test_a_late_beat_is_a_stall():
    """It began when the beat was due, and lasts until it came."""
    clock = Clock()
    heart = Heartbeat(clock)
    heart.begin(1)
    clock.time += BEAT + LATE / 2
    heart.end(1)
    assert heart.stalls == []
    heart.begin(1)
    due = clock.time + BEAT
    clock.time += 1.0
    heart.end(1)
    ((began, seconds),) = heart.stalls
    assert (began, seconds) == pytest.approx((due, 1.0 - BEAT))


async def test_a_stall_counts_once():
    """Two runs that end in it have one stall."""
    clock = Clock()
    heart = Heartbeat(clock)
    heart.begin(1)
    heart.begin(2)
    clock.time += 1.0
    heart.end(1)
    heart.end(2)
    assert len(heart.stalls) == 1


async def test_the_heart_beats_while_a_run_goes_on():
    """It beats again and again, until the last run is over."""
    beats = 0
    two = asyncio.Event()

    class Counting(Clock):
        def __call__(self):
            nonlocal beats
            beats += 1
            if beats > 8:
                two.set()
            return self.time

    heart = Heartbeat(Counting())
    heart.begin(1)
    heart.begin(2)
    heart.end(1)
    await two.wait()
    heart.end(2)
    seen = beats
    assert heart._timer is None
    heart.end(2)
    assert beats == seen


def test_without_a_loop_nothing_beats():
    """Events that are told outside of a loop, as from a file, are no reason to fail."""
    heart = Heartbeat()
    heart.begin(1)
    heart.end(1)
    assert heart.stalls == []


def test_the_heart_beats_on_the_next_loop():
    """A loop that was closed amid a run does not keep it from beating on another."""
    heart = Heartbeat()

    async def begin(run):
        heart.begin(run)
        return heart._timer

    first = asyncio.run(begin(1))
    second = asyncio.run(begin(2))
    assert first is not second
