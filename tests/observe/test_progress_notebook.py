"""Progress bars in a notebook: what a real kernel is told to display, and what the HTML says."""

from __future__ import annotations

import json
import subprocess
from html.parser import HTMLParser
from pathlib import Path

import pytest

from asyncgraph.observe.progress.notebook import Notebook, _html
from asyncgraph.observe.progress.view import RUNNING, Row, View, summed
from tests.reliability.harness import PATIENCE, program

pytest.importorskip("ipykernel")

# It prints what is displayed by each cell: first for display ids that are new, then updates.
DRIVER = """
import json, os, sys, warnings
warnings.simplefilter("ignore")  # those of the libraries that drive the kernel
from jupyter_client import KernelManager

folder = os.environ["IPYTHONDIR"] = sys.argv[1]
manager = KernelManager(transport="ipc", ip=f"{folder}/ipc", connection_file=f"{folder}/connection.json")
manager.start_kernel(env=os.environ)
client = manager.blocking_client()
client.start_channels()
client.wait_for_ready(timeout=30)
shown = []

def on_message(message):
    kind, content = message["msg_type"], message["content"]
    if kind in {"display_data", "update_display_data"}:
        shown.append([kind, content["transient"]["display_id"], content["data"]])
    elif kind == "stream":
        shown.append([kind, content["name"], content["text"]])
    elif kind == "execute_result":
        shown.append([kind, "", content["data"]["text/plain"]])

for line in sys.stdin:
    shown.clear()
    reply = client.execute_interactive(json.loads(line), output_hook=on_message)["content"]
    print(json.dumps([reply.get("ename", reply["status"]), shown]), flush=True)
client.stop_channels()
manager.shutdown_kernel(now=True)
"""

SETUP = """
import asyncio
from asyncgraph import compute, delayed
from asyncgraph.observe import ProgressBar
from tests.observe.staging import draw

@delayed
async def step(*values):
    draw()
    if "fail" in values:
        raise ValueError("<b>")
    return 1
"""


@pytest.fixture
def run(tmp_path: Path):
    """Return what runs a cell and gives its end, and what it has displayed."""
    with program(DRIVER, str(tmp_path), stdin=subprocess.PIPE) as process:

        def run_cell(code):
            print(json.dumps(code), file=process.stdin, flush=True)
            return json.loads(process.stdout.readline())

        assert run_cell(SETUP) == ["ok", []]
        yield run_cell
        assert process.communicate(timeout=PATIENCE)[1] == ""


class Reader(HTMLParser):
    """The texts of cells, row by row; `<progress>` as its attributes."""

    def __init__(self, html):
        """Read it."""
        super().__init__()
        self.rows = []
        self.open = []
        self.feed(html)
        assert not self.open

    def handle_starttag(self, tag, attributes):
        """Begin."""
        self.open.append(tag)
        if tag == "tr":
            self.rows.append([])
        elif tag in {"td", "th"}:
            self.rows[-1].append("")
        elif tag == "progress":
            self.rows[-1][-1] = dict(attributes)

    def handle_endtag(self, tag):
        """End."""
        assert self.open.pop() == tag

    def handle_data(self, data):
        """Take a text."""
        self.rows[-1][-1] += data


def test_a_cell_shows_its_run(run):
    """As one output that is updated, HTML and text; the last one says that it has finished."""
    state, shown = run("with ProgressBar(minimum=0):\n    print(await compute(*(step(n) for n in range(3))))")
    assert state == "ok"
    displays = [each for each in shown if each[0].endswith("display_data")]
    assert displays[0][0] == "display_data"
    assert {kind for kind, _, _ in displays[1:]} == {"update_display_data"}
    assert len({id for _, id, _ in displays}) == 1
    last = displays[-1][2]
    first, second = Reader(last["text/html"]).rows
    assert (first[0], first[1], first[2]) == ("step-1, step-2, step-3", {"max": "3", "value": "3"}, "3/3")
    assert first[-1].startswith("finished after ")
    assert second == ["step", {"max": "3", "value": "3"}, "3/3", "", "", ""]
    assert "step  " in last["text/plain"]
    assert ["stream", "stdout", "(1, 1, 1)\n"] in shown
    assert not any(name == "stderr" for kind, name, _ in shown if kind == "stream")


def test_a_cell_whose_run_fails(run):
    """It says so, and the next cell has an output of its own."""
    state, shown = run("await step('fail').compute(observers=[ProgressBar(minimum=0)])")
    assert state == "ValueError"
    rows = Reader(shown[-1][2]["text/html"]).rows
    assert rows[0][-1].startswith("failed after ")
    assert rows[1][3] == "1 failed"
    first = shown[-1][1]
    state, shown = run("await step().compute(observers=[ProgressBar(minimum=0)])")
    assert state == "ok"
    assert first not in {id for _, id, _ in shown}


def test_a_file_that_is_given_is_written_to(run):
    """There is no output then."""
    state, shown = run(
        "import io\nfile = io.StringIO()\n"
        "with ProgressBar(file=file, minimum=0):\n    await step()\n"
        "file.getvalue()"
    )
    assert state == "ok"
    assert [kind for kind, _, _ in shown] == ["execute_result"]
    assert "asyncgraph: step-1: finished after" in shown[0][2]


def test_names_are_text():
    """They hold no HTML."""
    rows = [Row('<script>alert("1")</script>', 2, 1, 1, 0, 0, 0)]
    html = _html([View(1, RUNNING, 2.0, summed("a & b", rows), rows, 0)])
    assert "<script" not in html
    found = Reader(html).rows
    assert [row[0] for row in found] == ["a & b", '<script>alert("1")</script>']
    assert found[1][1] == {"max": "2", "value": "1"}
    assert found[0][3:] == ["1 running", "", "0:02"]


def test_many_functions_are_counted():
    """A table has forty of them at most."""
    rows = [Row(f"f{number}", 1, 0, 0, 0, 0, 0) for number in range(100)]
    found = Reader(_html([View(1, RUNNING, 2.0, summed("total-1", rows), rows, 0)])).rows
    assert len(found) == 41
    assert found[-1][0] == "and 61 more functions"


def test_runs_that_are_nested_are_in_the_output_of_the_outer_one(monkeypatch):
    """Other runs have their own."""
    shown = []
    monkeypatch.setattr(Notebook, "_show", lambda self, group: shown.append([view.id for view in group]))
    views = [
        View(id, RUNNING, 0.0, summed("", ()), (), depth) for id, depth in [(1, 0), (3, 1), (4, 2), (2, 0)]
    ]
    Notebook().draw(views, ())
    assert shown == [[1, 3, 4], [2]]
