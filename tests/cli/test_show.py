from __future__ import annotations

import re


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
