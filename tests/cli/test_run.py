from __future__ import annotations

import json

import pytest


def test_the_value_is_printed(command, program):
    """Text is printed as it is, anything else as Python writes it, and None not at all."""
    program(
        "values.py",
        """
        from asyncgraph import delayed
        text, line, nothing = delayed("a text"), delayed("a line\\n"), delayed(None)
        number = delayed([1, "two"])
        odd = delayed("\\udcff")
        """,
    )
    assert command("run", "values.py:text") == (0, "a text\n", "")
    assert command("run", "values.py:line") == (0, "a line\n", "")
    assert command("run", "values.py:nothing") == (0, "", "")
    assert command("run", "values.py:number") == (0, "[1, 'two']\n", "")
    assert command("run", "values.py:odd") == (0, "\\udcff\n", "")


def test_the_value_as_json_and_not_at_all(command, program, folder):
    """Options say how and where the value is written; what nodes print is kept apart from a file."""
    assert json.loads(command("run", "graph.py:later", "--json").out) == [1, 2]
    assert command("run", "graph.py:total", "--quiet") == (0, "", "")
    program(
        "loud.py", "from asyncgraph import delayed\nnode = delayed(lambda: print('loud') or {'a': 'ä'})()"
    )
    assert command("run", "loud.py:node", "--json", "-o", "value.json") == (0, "loud\n", "")
    assert (folder / "value.json").read_text("utf-8") == '{\n  "a": "ä"\n}\n'
    assert command("run", "loud.py:node", "--json", "--quiet").code == 2
    name = "x" * 300
    ended = command("run", "graph.py:total", "-o", name)
    assert ended == (2, "13\n", f"asyncgraph: {name} cannot be written: File name too long\n")


def test_what_json_has_no_word_for(command, program):
    """Dataclasses are objects and sets lists; what cannot be written is not lost, but text."""
    program(
        "kinds.py",
        """
        from dataclasses import dataclass
        from asyncgraph import delayed
        @dataclass
        class Point:
            x: int
            tags: set[str]
        point = delayed(Point(1, {"b", "a"}), name="point")
        mixed = delayed(frozenset([1]), name="mixed")
        odd = delayed({"value": 1j})
        undefined = delayed({"value": float("nan")})
        """,
    )
    assert json.loads(command("run", "kinds.py:point", "--json").out) == {"x": 1, "tags": ["a", "b"]}
    assert json.loads(command("run", "kinds.py:mixed", "--json").out) == [1]
    for name, text in {"odd": "{'value': 1j}\n", "undefined": "{'value': nan}\n"}.items():
        code, out, err = command("run", f"kinds.py:{name}", "--json")
        assert (code, out) == (1, text)
        assert err.startswith("asyncgraph: the value cannot be written as JSON, and is written as text: ")


def test_a_value_that_cannot_be_written(command, program):
    """A value that has no repr is a failure that says so."""
    program(
        "odd.py",
        """
        from asyncgraph import delayed
        class Odd:
            def __repr__(self):
                raise RuntimeError("no repr")
        node = delayed(Odd(), name="odd")
        """,
    )
    ended = command("run", "odd.py:node")
    assert ended.code == 1
    assert ended.err.endswith(
        "RuntimeError: no repr\nasyncgraph: the value cannot be written, because its repr has failed\n"
    )


def test_inputs_of_a_node(command):
    """`Input`s of nodes and of compiled graphs have their values from the command line, as literals."""
    assert command("run", "graph.py:area", "--input", "width=3", "-i", "height=4") == (0, "12\n", "")
    assert command("run", "graph.py:page", "-i", "width='ab'", "-i", "height=2") == (0, "('abab', 2)\n", "")


def test_inputs_of_a_function(command):
    """A function is called with the inputs that are its parameters; a name can be both."""
    assert command("run", "graph.py:build", "-i", "count=2", "-i", "by=10") == (0, "[10, 20]\n", "")
    assert command("run", "graph.py:scaled", "-i", "width=2", "-i", "height=5") == (0, "14\n", "")
    anything = command("run", "graph.py:anything", "-i", "a=[1]", "-i", "b=/home", "-i", "c=")
    assert anything == (0, "{'a': [1], 'b': '/home', 'c': ''}\n", "")
    assert command("run", "graph.py:fetch", "-i", "x='12'") == (0, "12121212121212121212\n", "")


def test_coroutine_functions(command):
    """An `async def` may return nodes, which are computed, or compute them itself."""
    assert command("run", "graph.py:later", "-i", "count=3") == (0, "[1, 2, 3]\n", "")
    assert command("run", "graph.py:computing") == (0, "(1, 2)\n", "")


def test_missing_inputs(command):
    """What is missing is named, as the options that would give it; what was given instead, too."""
    ended = command("run", "graph.py:area", "-i", "width=3")
    assert ended == (2, "", "asyncgraph: graph.py:area needs values for its inputs: --input height=...\n")
    ended = command("run", "graph.py:build", "-i", "coutn=3")
    wanted = "needs values for its arguments: --input count=..., and has no 'coutn'"
    assert ended == (2, "", f"asyncgraph: graph.py:build {wanted}\n")


def test_unknown_inputs(command):
    """What there is no input for is refused before anything runs, with the nearest name or all of them."""
    ended = command("run", "graph.py:area", "-i", "width=3", "-i", "height=4", "-i", "wide=4")
    assert ended == (2, "", "asyncgraph: graph.py:area has no input 'wide'; did you mean 'width'?\n")
    ended = command("run", "graph.py:build", "-i", "count=1", "-i", "x=4", "-i", "y=4")
    assert ended == (2, "", "asyncgraph: graph.py:build has no input 'x', 'y'; it takes by, count\n")
    ended = command("run", "graph.py:total", "-i", "x=4")
    assert ended == (2, "", "asyncgraph: graph.py:total has no input 'x'; it takes none\n")
    ended = command("run", "graph.py:computing", "-i", "x=4")
    assert ended == (2, "", "asyncgraph: graph.py:computing has no input 'x'; it takes count\n")


@pytest.mark.parametrize("given", ["x", "=3", "2x=3", "class=3"])
def test_inputs_that_are_none(command, given):
    """An input is NAME=VALUE, with a name that an argument can have."""
    ended = command("run", "graph.py:total", "--input", given)
    assert ended.code == 2
    assert f"write NAME=VALUE, as in url=/home or count=3, not {given!r}" in ended.err


def test_an_input_that_is_given_twice(command):
    """Two values for one name are a mistake."""
    ended = command("run", "graph.py:area", "-i", "width=3", "-i", "width=4")
    assert ended.code == 2
    assert "--input width= was given twice" in ended.err


def test_a_parameter_that_has_no_name(command, program):
    """A function that takes an argument by position only cannot have it from an input."""
    program("positional.py", "def build(x, /):\n    return x")
    ended = command("run", "positional.py:build", "-i", "x=1")
    message = "positional.py:build takes x by position only, and inputs are given by name"
    assert ended == (2, "", f"asyncgraph: {message}\n")


def test_what_is_no_node(command, program):
    """It is said what it is instead, and which nodes there are."""
    program("none.py", "def three():\n    return 3\nwithin = []\nmake = dict")
    program("circle.py", "from asyncgraph import delayed\ncircle = [delayed(1)]\ncircle.append(circle)")
    ended = command("run", "graph.py:number")
    nodes = "graph has the nodes total, broken, area, page"
    assert ended == (3, "", f"asyncgraph: graph.py:number is 3, of type int, and no node; {nodes}\n")
    ended = command("run", "none.py:three")
    assert ended == (3, "", "asyncgraph: none.py:three has returned 3, of type int, and no node\n")
    assert command("run", "none.py:within").err.endswith("is [], of type list, and no node\n")
    assert command("run", "none.py:make").err.endswith("has returned {}, of type dict, and no node\n")
    ended = command("run", "circle.py:circle")
    assert ended.code == 3
    assert ended.err.startswith("asyncgraph: circle.py:circle is no node: ")


def test_a_function_that_fails(command, program):
    """One that fails to make nodes could not be loaded, and its own frames are shown."""
    program("failing.py", "def build():\n    return {}['key']")
    ended = command("run", "failing.py:build")
    lines = [line for line in ended.err.splitlines() if line.strip(" ^~")]
    assert ended.code == 3
    assert lines[1].endswith('failing.py", line 2, in build')
    assert lines[-2:] == [
        "KeyError: 'key'",
        "asyncgraph: failing.py:build, which was called for its nodes, has failed",
    ]


def test_a_node_that_fails(command):
    """The user's frames and the note that names the node are printed, and none of ours."""
    ended = command("run", "graph.py:broken")
    lines = [line for line in ended.err.splitlines() if line.strip(" ^~")]
    assert (ended.code, ended.out) == (1, "")
    assert lines[0] == "Traceback (most recent call last):"
    assert lines[1].endswith('graph.py", line 16, in invert')
    assert lines[2:4] == ["    return 1 / x", "ZeroDivisionError: division by zero"]
    assert lines[4].startswith("asyncgraph: node invert-")
    assert lines[5].startswith("  wanted by: sum-")
    assert lines[6].endswith("graph.py:19, in <module>")
    assert len(lines) == 7


def test_a_failure_without_frames_of_the_users(command, program):
    """Where only our own code has run there is no traceback, but the error and its note."""
    program("adding.py", "from asyncgraph import delayed\nnode = delayed(1) + 'a'")
    ended = command("run", "adding.py:node")
    assert ended.code == 1
    assert ended.err.startswith("TypeError: unsupported operand type(s) for +: 'int' and 'str'\nasyncgraph: ")


def test_causes_and_groups_have_no_frames_of_ours_either(command, program):
    """What an error came from, and what is in a group, is printed in the same way."""
    program(
        "group.py",
        """
        from asyncgraph import delayed
        @delayed
        async def one():
            raise KeyError("one")
        async def main():
            try:
                await one()
            except KeyError as error:
                raise ExceptionGroup("both", [error, ValueError("two")]) from error
        """,
    )
    ended = command("run", "group.py:main")
    assert ended.code == 1
    assert "The above exception was the direct cause of the following exception" in ended.err
    assert ended.err.count("KeyError: 'one'") == 2
    assert "asyncgraph/" not in ended.err
    assert "asyncio/" not in ended.err
    assert "uvloop" not in ended.err


def test_going_on_after_failures(command):
    """`--keep-going` runs all that can run: the value has the errors in it, and each is printed once."""
    ended = command("run", "graph.py:pair", "--keep-going")
    assert ended.code == 1
    assert ended.out.startswith("{'total': 13, 'broken': DependencyError(")
    assert ended.err.count("ZeroDivisionError: division by zero") == 1
    assert ended.err.endswith("asyncgraph: 1 node failed; not run because of that: 1\n")
    assert command("run", "graph.py:total", "--keep-going") == (0, "13\n", "")
    ended = command("run", "graph.py:pair", "--keep-going", "--json")
    assert json.loads(ended.out)["broken"].startswith("DependencyError: sum-")


def test_a_timeout(command, program):
    """A run that takes too long is stopped, and so is an `async def` that makes no nodes in time."""
    program(
        "slow.py",
        """
        import asyncio
        from asyncgraph import delayed
        node = delayed(asyncio.Event().wait)()
        async def main():
            await asyncio.Event().wait()
        """,
    )
    ended = command("run", "slow.py:node", "--timeout", "0.05")
    assert (ended.code, ended.out) == (1, "")
    assert ended.err.startswith("TimeoutError: not finished within 0.05 s; still running: ")
    ended = command("run", "slow.py:main", "--timeout", "0.05")
    assert ended == (1, "", "asyncgraph: slow.py:main was not finished within 0.05 s\n")


def test_a_timeout_of_the_users_own(command, program):
    """A TimeoutError that an `async def` raises is its failure, and not taken for that of `--timeout`."""
    program("own.py", "async def main():\n    raise TimeoutError('mine')")
    ended = command("run", "own.py:main", "--timeout", "30")
    assert ended.code == 1
    assert ended.err.endswith("\nTimeoutError: mine\n")


def test_how_many_at_once(command, program):
    """The bounds are those of the runtime that all runs are on."""
    program(
        "bounds.py",
        """
        from asyncgraph import delayed
        @delayed
        async def capacities(): ...
        async def main():
            from asyncgraph._runtime.runtime import current_runtime
            return [usage.capacity for usage in current_runtime(None).usage()]
        """,
    )
    words = ["--processes", "3", "--threads", "5", "--concurrency", "7"]
    assert sorted(json.loads(command("run", "bounds.py:main", *words).out)) == [3, 5, 7]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--processes", "0"], "a whole number from 1 on, not '0'"),
        (["--threads", "many"], "a whole number from 1 on, not 'many'"),
        (["--timeout", "-1"], "a number of seconds above 0, not '-1'"),
        (["--timeout", "nan"], "a number of seconds above 0, not 'nan'"),
        (["--timeout", "soon"], "a number of seconds above 0, not 'soon'"),
        (["--dashboard", "70000"], "a port, from 0 to 65535, not '70000'"),
        (["--report", "nowhere/run.html"], "there is no folder nowhere"),
        (["--trace", "."], ". is a folder: give a file"),
    ],
)
def test_options_that_cannot_be_right(command, words, said):
    """They are refused before anything is imported, with what would be right."""
    ended = command("run", "nowhere.py:total", *words)
    assert ended.code == 2
    assert said in ended.err


def test_a_compiled_graph_keeps_its_own_options(command, program):
    """What `compile` was told holds, unless an option says otherwise."""
    program(
        "compiled.py",
        """
        import asyncio
        from asyncgraph import compile, delayed
        @delayed
        async def wait():
            await asyncio.Event().wait()
        node = compile(wait(), timeout=0.04)
        kept = compile(delayed(1) / 0, return_exceptions=True)
        """,
    )
    assert "within 0.04 s" in command("run", "compiled.py:node").err
    assert "within 0.05 s" in command("run", "compiled.py:node", "--timeout", "0.05").err
    assert command("run", "compiled.py:kept").out == "ZeroDivisionError('division by zero')\n"


def test_an_async_main_that_leaves_the_program(command, program):
    """`sys.exit` of a coroutine function is the end of the command, with that code."""
    program(
        "leaving.py",
        """
        import sys
        async def main(code):
            sys.exit(code)
        """,
    )
    assert command("run", "leaving.py:main", "-i", "code=5") == (5, "", "")
    assert command("run", "leaving.py:main", "-i", "code=None") == (0, "", "")
    assert command("run", "leaving.py:main", "-i", "code=enough") == (1, "", "enough\n")


def test_a_coroutine_that_cancels_itself(command, program):
    """A cancelled coroutine function is a failure, and no crash of the command."""
    program("gone.py", "import asyncio\nasync def main():\n    raise asyncio.CancelledError")
    assert command("run", "gone.py:main") == (1, "", "asyncgraph: gone.py:main was cancelled\n")
