from __future__ import annotations

import os
import re

import pytest


def test_a_graph_as_text(command):
    """Without a format there is a line for each key, with where it runs if not on the loop."""
    ended = command("show", "graph.py:broken")
    assert (ended.code, ended.err) == (0, "")
    assert re.sub(r"-\d+", "-N", ended.out).splitlines() == [
        "invert-N = invert(4)  # process",
        "invert-N = invert(0)  # process",
        "sum-N = sum([invert-N, invert-N])  # thread",
    ]


def test_nothing_runs(command, program):
    """Only the function that makes the nodes is called, plain or `async def`."""
    program(
        "never.py",
        """
        from asyncgraph import delayed
        @delayed
        def never():
            print("run")
        async def build():
            return {"both": [never(), never()]}
        """,
    )
    assert re.sub(r"-\d+", "-N", command("show", "never.py:build").out) == "never-N = never()  # thread\n" * 2


def test_inputs_need_no_values(command):
    """A graph is shown with its inputs as they are; a function's arguments have to be there."""
    ended = command("show", "graph.py:page")
    assert "width-1 = Input('width')\n" in re.sub(r"-\d+", "-1", ended.out)
    assert command("show", "graph.py:build").code == 2
    assert command("show", "graph.py:build", "-i", "count=3").out.count("inc(") == 3


def test_what_cannot_be_shown(command):
    """An `async def` that returns no nodes, or fails, is no graph."""
    ended = command("show", "graph.py:computing")
    assert ended.code == 3
    assert "graph.py:computing has returned (1, 2), of type tuple, and no node" in ended.err
    ended = command("show", "graph.py:later", "-i", "count='x'")
    assert ended.code == 3
    assert ended.err.endswith("asyncgraph: graph.py:later, which was called for its nodes, has failed\n")


def test_arrays_take_one_line(command, program):
    """What is shown over several lines elsewhere is one line here."""
    program(
        "lines.py",
        "from asyncgraph import delayed\nclass A:\n  def __repr__(s): return 'a\\n  b'\nx = delayed(A())",
    )
    assert command("show", "lines.py:x").out.endswith(" = a b\n")


@pytest.mark.parametrize(
    ("format", "begins"),
    [
        ("mermaid", "flowchart BT\n"),
        ("dot", "digraph"),
        ("json", "{"),
        ("svg", "<svg"),
        ("html", "<!doctype html>"),
    ],
)
def test_a_graph_in_another_format(command, format, begins):
    """A format is printed, or written to a file."""
    ended = command("show", "graph.py:pair", "--format", format)
    assert (ended.code, ended.err) == (0, "")
    assert ended.out.startswith(begins)
    assert "invert" in ended.out


@pytest.mark.parametrize(
    ("name", "begins"),
    [
        ("graph.svg", "<svg"),
        ("graph.HTML", "<!doctype html>"),
        ("graph.gv", "digraph"),
        ("graph.mmd", "flowchart"),
        ("graph.txt", "fetch-"),
        ("graph.json", "{"),
    ],
)
def test_a_graph_in_a_file(command, folder, name, begins):
    """The format is that of the file's suffix, and nothing is printed."""
    assert command("show", "graph.py:total", "-o", name) == (0, "", "")
    assert (folder / name).read_text().startswith(begins)


def test_a_format_beats_the_suffix(command, folder):
    """Where both are given, the option counts."""
    assert command("show", "graph.py:total", "-o", "graph.txt", "--format", "svg") == (0, "", "")
    assert (folder / "graph.txt").read_text().startswith("<svg")


def test_an_unknown_suffix(command):
    """It is refused with those that are known."""
    ended = command("show", "graph.py:total", "-o", "graph.jpg")
    assert ended.code == 2
    assert "graph.jpg has none of the suffixes .svg, .html, .dot, " in ended.err


def test_formats_that_are_no_text(command, folder, monkeypatch):
    """They need a file, and Graphviz."""
    ended = command("show", "graph.py:total", "--format", "png")
    assert ended == (2, "", "asyncgraph: png is no text: give a file, as in -o graph.png\n")
    monkeypatch.setenv("PATH", str(folder))
    ended = command("show", "graph.py:total", "-o", "graph.pdf")
    message = "pdf is drawn by Graphviz, whose program dot is not on the path; svg and html need nothing"
    assert ended == (2, "", f"asyncgraph: {message}\n")


def test_what_is_alike_is_drawn_as_one(command, program):
    """Of many nodes that are alike there is one shape, unless all are asked for."""
    program(
        "many.py",
        """
        from asyncgraph import delayed
        node = delayed(sum)([delayed(abs)(number) for number in range(400)])
        """,
    )
    few = command("show", "many.py:node", "--format", "mermaid").out.splitlines()
    all_of_them = command("show", "many.py:node", "--format", "mermaid", "--no-collapse").out.splitlines()
    assert len(few) < 10
    assert len(all_of_them) > 800


def test_formats_that_graphviz_draws(command, folder, monkeypatch):
    """What its program makes of the graph is written; what it complains of is printed."""
    program = folder / "dot"
    program.write_text("#!/bin/sh\necho an image; cat\n")
    program.chmod(0o700)
    monkeypatch.setenv("PATH", f"{folder}:{os.environ['PATH']}")
    assert command("show", "graph.py:total", "-o", "graph.png") == (0, "", "")
    assert (folder / "graph.png").read_text().startswith("an image\ndigraph")
    program.write_text("#!/bin/sh\ncat >/dev/null; echo not today >&2; exit 1\n")
    ended = command("show", "graph.py:total", "-o", "graph.png")
    assert ended == (1, "", "asyncgraph: dot has failed: not today\n")


def test_a_picture_that_cannot_be_written(command):
    """It is said of the file, with the reason."""
    name = "x" * 300 + ".svg"
    ended = command("show", "graph.py:total", "-o", name)
    assert ended == (2, "", f"asyncgraph: {name} cannot be written: File name too long\n")
