from __future__ import annotations

import json
import re

from asyncgraph._cli import demo
from asyncgraph._graph.graph import Graph
from asyncgraph.cli import main


def test_the_demo_leaves_what_it_names(tmp_path, monkeypatch, capsys):
    """It computes a graph of all kinds of calls, says what it found, and leaves three files in a folder."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(demo, "STATIONS", ["Graz", "Ghent", "Riga"])
    assert main(["demo"]) == 0
    out, err = capsys.readouterr()
    assert err == ""
    assert out.startswith("A graph of 14 nodes: ")
    assert "3 stations, 525,600 readings: " in out
    assert re.search(r"^It took \d+\.\d s; its calls, added up, \d+\.\d s\.$", out, re.MULTILINE)
    assert "\nLook at these in asyncgraph-demo:\n" in out
    folder = tmp_path / "asyncgraph-demo"
    assert sorted(path.name for path in folder.iterdir()) == ["graph.svg", "report.html", "trace.json"]
    assert (folder / "graph.svg").read_text().startswith("<svg")
    assert "analyse" in (folder / "report.html").read_text()
    workers = {event.get("cat") for event in json.loads((folder / "trace.json").read_text())["traceEvents"]}
    assert {"loop", "thread", "process"} <= workers


def test_the_demo_finds_the_same_each_time():
    """Its graph is that of all stations, and one download fails at first."""
    graph = Graph([demo.graph_of(demo.STATIONS)])
    names = [task.name for task in graph.values()]
    count = len(demo.STATIONS)
    expected = {"download": count, "analyse": count, "pack": count, "found": count, "merge": count - 1}
    assert {name: names.count(name) for name in expected} == expected
    assert demo._BUSY in demo.STATIONS


def test_a_folder_that_cannot_be_made(tmp_path, capsys):
    """A folder below a file is refused with exit code 2, and nothing is run."""
    (tmp_path / "file").touch()
    assert main(["demo", "--folder", str(tmp_path / "file" / "below")]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err == f"asyncgraph: nothing can be written to {tmp_path}/file/below: Not a directory\n"
