"""`node.visualize()`: files and formats, what is refused, and what notebooks are given."""

from __future__ import annotations

import json
import os
import pickle
import stat
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest

from asyncgraph import delayed
from asyncgraph.observe import Mark, NodeFinished, NodesAdded, Picture, Recording
from asyncgraph.observe.drawing import Drawing, boxes_of_graph, boxes_of_nodes
from tests.observe.graphs import chain, fetch, inc, mission

FAKE_DOT = """#!/bin/sh
read -r first
case "$first$FAIL" in
    "digraph {") printf '%s' "drawn with $1" ;;
    *) echo "syntax error in line 1" >&2; exit 1 ;;
esac
"""


@pytest.fixture
def fake_dot(tmp_path, monkeypatch):
    """Put a program `dot` on the path, which says with which option it was run."""
    program = tmp_path / "bin" / "dot"
    program.parent.mkdir()
    program.write_text(FAKE_DOT)
    program.chmod(program.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setenv("PATH", str(program.parent))


@pytest.mark.parametrize(
    ("format", "start", "mime_type"),
    [
        (None, "<svg ", "image/svg+xml"),
        ("svg", "<svg ", "image/svg+xml"),
        ("html", "<!doctype html>", "text/html"),
        ("dot", "digraph {", "text/vnd.graphviz"),
        ("mermaid", "flowchart BT", "text/vnd.mermaid"),
        ("json", "{", "application/json"),
    ],
)
def test_pictures_are_text(format, start, mime_type):
    """Without a filename it is returned, as a string that knows what it is; SVG by default."""
    picture = mission(2).visualize(format=format)
    assert isinstance(picture, Picture)
    assert isinstance(picture, str)
    assert picture.startswith(start)
    assert picture.mime_type == mime_type
    assert repr(picture) == f"<Picture, {mime_type}, {len(picture):,} characters>"
    assert str(picture) == picture


@pytest.mark.parametrize(
    ("name", "start"),
    [
        ("a.svg", "<svg "),
        ("a.HTML", "<!doctype html>"),
        ("a.htm", "<!doctype html>"),
        ("a.dot", "digraph {"),
        ("a.gv", "digraph {"),
        ("a.mermaid", "flowchart BT"),
        ("a.mmd", "flowchart BT"),
        ("a.json", "{"),
    ],
)
def test_the_name_of_a_file_says_the_format(tmp_path, name, start):
    """The file is written, and its path returned."""
    node = delayed(abs, name="größe")(-1)
    path = node.visualize(tmp_path / name)
    assert path == tmp_path / name
    assert path.read_text("utf-8").startswith(start)
    assert "größe" in path.read_text("utf-8")


def test_format_goes_before_the_name(tmp_path):
    """What is in the file is what was asked for; what was there is replaced."""
    for format in ("svg", "mermaid"):
        path = inc(1).visualize(str(tmp_path / "graph.txt"), format=format)
        assert isinstance(path, Path)
        assert path.read_text("utf-8").startswith({"svg": "<svg", "mermaid": "flowchart"}[format])


@pytest.mark.usefixtures("fake_dot")
def test_png_and_pdf_are_drawn_by_graphviz(tmp_path):
    """Without a filename they are bytes."""
    assert inc(1).visualize(format="png") == b"drawn with -Tpng"
    path = inc(1).visualize(tmp_path / "graph.pdf")
    assert path.read_bytes() == b"drawn with -Tpdf"


def test_without_graphviz(tmp_path, monkeypatch):
    """The message says what to install, and what needs nothing."""
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(FileNotFoundError, match=r"apt-get install graphviz.*'html', which need nothing"):
        inc(1).visualize(tmp_path / "graph.png")
    assert not (tmp_path / "graph.png").exists()


@pytest.mark.usefixtures("fake_dot")
def test_graphviz_fails(monkeypatch):
    """What it has said is in the message."""
    monkeypatch.setenv("FAIL", "now")
    with pytest.raises(RuntimeError, match="dot has failed: syntax error in line 1"):
        inc(1).visualize(format="png")


@pytest.mark.parametrize(
    ("arguments", "options", "error", "message"),
    [
        ((), {"format": "gif"}, ValueError, "there is no format 'gif': format= is one of 'svg'"),
        (("a.gif",), {}, ValueError, "the name 'a.gif' says no format: add format=, which is one of 'svg'"),
        (("graph",), {}, ValueError, "the name 'graph' says no format"),
        ((3,), {}, TypeError, "3 is no name of a file"),
        ((), {"color": "red"}, ValueError, "there is no color 'red': color= is one of 'executor', 'state'"),
        ((), {"color": "state"}, ValueError, "color='state' shows what a run has done, and there is none"),
        ((), {"run": 3, "color": "state"}, TypeError, "run= takes a Recording of a run, or a mapping"),
        ((), {"collapse": 3}, TypeError, "collapse= is True or False, not 3"),
        ((), {"format": "mermaid", "color": "red"}, ValueError, "there is no color 'red'"),
    ],
)
def test_what_is_refused(tmp_path, monkeypatch, arguments, options, error, message):
    """Before anything is drawn, with a message that says what would be right; nothing is written."""
    monkeypatch.chdir(tmp_path)
    with pytest.raises(error, match=message):
        inc(1).visualize(*arguments, **options)
    assert os.listdir(tmp_path) == []


def test_a_folder_that_is_not_there(tmp_path):
    """It is the operating system's error."""
    with pytest.raises(FileNotFoundError):
        inc(1).visualize(tmp_path / "nowhere" / "a.svg")


def test_collapse():
    """Similar nodes are one shape, unless that is not wanted."""
    node = mission(60)
    assert node.visualize().count("data-shape=") == 5
    assert node.visualize(collapse=False).count("data-shape=") == 182


def test_marks_color_the_picture():
    """A mapping of keys to marks will do for a run."""
    node = inc(fetch(1))
    (first, last) = node.graph
    marks = {first: Mark("finished", 0.5, 0), last: Mark("running", 0.1, 1)}
    for color in ("state", "duration", "order"):
        picture = node.visualize(color=color, run=marks)
        assert picture != node.visualize(run=marks)
        assert "took 500 ms" in picture
        assert "took 500 ms" in node.visualize(color=color, run=marks, format="html")
        assert "took 500 ms" in node.visualize(color=color, run=marks, format="json")


def test_a_picture_pickles():
    """With what it is."""
    picture = inc(1).visualize(format="dot")
    again = pickle.loads(pickle.dumps(picture))
    assert again == picture
    assert again.mime_type == picture.mime_type


def test_what_notebooks_are_given():
    """Of nodes and graphs a picture and their text; of pictures what they are."""
    node = mission(2)
    bundle = node._repr_mimebundle_()
    assert bundle["text/plain"] == repr(node)
    assert ET.fromstring(bundle["image/svg+xml"]).tag.endswith("svg")
    bundle = node.graph._repr_mimebundle_(include=None, exclude=None)
    assert bundle["text/plain"] == repr(node.graph)
    assert bundle["image/svg+xml"] == node.visualize()
    assert pickle.loads(pickle.dumps(inc(fetch(1)).graph))._repr_mimebundle_().keys() == bundle.keys()
    for format, shown in [("svg", "image/svg+xml"), ("html", "text/html"), ("mermaid", "text/vnd.mermaid")]:
        picture = node.visualize(format=format)
        assert list(picture._repr_mimebundle_()) == [shown, "text/plain"]
    assert node.visualize(format="json")._repr_mimebundle_() == {"text/plain": node.visualize(format="json")}
    frame = node.visualize(format="html")._repr_mimebundle_()["text/html"]
    assert frame.startswith('<iframe srcdoc="&lt;!doctype html&gt;')
    assert frame.count("<") == 2


def test_a_deep_graph_is_drawn_without_recursion():
    """One shape a thousand times deeper than Python's stack."""
    node = chain(20_000)
    assert node.visualize().count("data-shape=") == 2
    assert chain(3_000).visualize(collapse=False).count("data-shape=") == 3_001


class Told:
    """An observer that keeps what a picture needs."""

    def __init__(self):
        self.nodes = []
        self.found = {}

    def __call__(self, event):
        """Keep it."""
        if isinstance(event, NodesAdded):
            self.nodes += event.nodes
        elif isinstance(event, NodeFinished):
            self.found[event.node.key] = Mark("finished", event.seconds, len(self.found))

    def marks(self):
        """Return the marks of what has finished."""
        return self.found


def triple(x):
    """Return it times three."""
    return 3 * x


async def test_a_run_colors_the_picture():
    """Each node of the graph has its mark, under the key that the graph has it by."""
    told = Told()
    node = delayed(sum)([delayed(triple)(number) for number in range(3)]) + delayed(4)
    assert await node.compute(observers=[told]) == 13
    picture = node.visualize(color="state", run=told)
    assert picture.count("finished") >= 5
    assert "waiting" not in picture
    assert node.visualize(color="duration", run=told) != picture
    assert set(node.graph) == {info.key for info in told.nodes}


async def test_what_events_tell_is_drawn_like_the_graph():
    """The same shapes and edges, without the values and the arguments' names."""
    told = Told()
    node = delayed(divmod)(delayed(triple)(7), delayed(4))
    assert await node.compute(observers=[told]) == (5, 1)
    from_graph, from_events = map(Drawing, (boxes_of_graph(node.graph), boxes_of_nodes(told.nodes)))
    keys = [sorted(shape.keys for shape in drawing.shapes) for drawing in (from_graph, from_events)]
    assert keys[0] == keys[1]
    for drawing in (from_graph, from_events):
        pairs = {(drawing.shapes[edge.start].name, drawing.shapes[edge.end].name) for edge in drawing.edges}
        assert pairs == {("triple", "divmod"), ("int", "divmod")}
    svg = from_events.svg(color="state", paint=told.marks())
    assert ">4<" not in svg
    assert ">4<" in from_graph.svg()


async def test_a_recording_colors_the_picture():
    """As it is, and whatever becomes of the nodes: what has failed is told, and what was not begun."""

    def fail(x):
        raise ZeroDivisionError

    node = delayed(sum)([delayed(fail)(delayed(triple)(1)), delayed(4)])
    with Recording() as recording, pytest.raises(ZeroDivisionError):
        await node.compute()
    found = json.loads(node.visualize(format="json", color="state", run=recording))
    states = {each["name"]: each["details"][3:4] for each in found["nodes"]}
    assert (states["fail"], states["sum"]) == (["failed"], ["not run"])
    assert states["triple"][0] in {"finished", "released"}
    for color in ("duration", "order"):
        assert "took " in node.visualize(color=color, run=recording)
