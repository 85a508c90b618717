from __future__ import annotations

import sys

import pytest


@pytest.mark.parametrize("target", ["graph.py:total", "./graph.py:total", "graph:total"])
def test_a_node_is_found_in_a_file_and_in_a_module(command, target):
    """A file and a module in the current directory are both imported, and the node's value is printed."""
    assert command("run", target) == (0, "13\n", "")


def test_a_file_in_a_package_is_imported_as_part_of_it(command, program):
    """The folder above the outermost package is where it is imported from, so that relative imports work."""
    program("outer/__init__.py", "")
    program("outer/inner/__init__.py", "from asyncgraph import delayed\ntop = delayed(1) + 0")
    program("outer/inner/nodes.py", "from . import top\nname = top + 1\nwhere = __name__")
    assert command("run", "outer/inner/nodes.py:name") == (0, "2\n", "")
    assert sys.modules["outer.inner.nodes"].where == "outer.inner.nodes"
    assert command("run", "outer/inner/__init__.py:top") == (0, "1\n", "")


def test_a_name_with_dots_leads_into_objects(command, program):
    """What comes behind the colon may be an attribute of an attribute."""
    program("nested.py", "from asyncgraph import delayed\nclass Jobs:\n    first = delayed('one') + ''")
    assert command("run", "nested.py:Jobs.first") == (0, "one\n", "")
    ended = command("run", "nested.py:Jobs.frist")
    assert ended == (3, "", "asyncgraph: nested.py:Jobs has no 'frist'; did you mean 'first'?\n")


def test_a_file_that_is_not_there(command):
    """It is said where it was looked for, and which file has nearly that name."""
    ended = command("run", "grahp.py:total")
    assert ended.code == 3
    assert ended.err.startswith("asyncgraph: there is no file grahp.py in ")
    assert ended.err.endswith("; did you mean graph.py?\n")


@pytest.mark.parametrize("name", ["x" * 300 + ".py", "nul\0.py", "gone/graph.py", ".py", "/"])
def test_names_that_no_file_has(command, name):
    """Whatever is wrong with a name, the answer is that there is no such file."""
    ended = command("run", f"{name}:total")
    assert ended.code == 3
    assert ended.err.startswith("asyncgraph: there is no file ")


def test_a_module_that_is_not_there(command, folder):
    """It is said where it was looked for, and which module has nearly that name."""
    ended = command("run", "grap:total")
    lines = ended.err.splitlines()
    assert ended.code == 3
    assert lines[0] == "asyncgraph: there is no module 'grap'; did you mean 'graph'?"
    assert lines[1:3] == ["looked for in:", f"  {folder}"]


def test_a_module_that_is_not_in_its_package(command, program):
    """Only the package's own folder is named; a name of the package, written with a dot, is explained."""
    program("bag/__init__.py", "import math as total")
    ended = command("run", "bag.nodse:total")
    assert ended.err.splitlines()[0] == "asyncgraph: there is no module 'bag.nodse'"
    assert len(ended.err.splitlines()) == 3
    ended = command("run", "bag.total:x")
    assert ended == (3, "", "asyncgraph: bag is a module and total a name in it: write bag:total\n")


def test_what_is_no_module_name(command):
    """What can be neither is wrong usage."""
    ended = command("run", "my graph:total")
    assert ended.code == 2
    assert "'my graph' is neither a file nor a module: give file.py:NAME or module:NAME" in ended.err


def test_a_target_without_a_name(command):
    """The nodes of the module are offered."""
    ended = command("run", "graph.py")
    offer = "it has the nodes total, broken, area, page"
    assert ended == (2, "", f"asyncgraph: say what of graph.py, as in graph.py:NAME; {offer}\n")


def test_a_name_that_is_not_there(command):
    """One that is nearly right is suggested; otherwise the nodes are listed."""
    ended = command("run", "graph.py:totla")
    assert ended == (3, "", "asyncgraph: graph.py has no 'totla'; did you mean 'total'?\n")
    ended = command("run", "graph.py:xyz")
    offer = "it has the nodes total, broken, area, page"
    assert ended == (3, "", f"asyncgraph: graph.py has no 'xyz'; {offer}\n")


def test_an_import_that_raises(command, program):
    """Its own traceback is printed, without a frame of what has imported it."""
    program("raising.py", "def broken():\n    return {}['key']\n\nvalue = broken()\n")
    ended = command("run", "raising.py:value")
    lines = [line for line in ended.err.splitlines() if line.strip(" ^~")]
    assert ended.code == 3
    assert [line.partition('"')[2].rpartition("/")[2] for line in lines[1:4:2]] == [
        'raising.py", line 4, in <module>',
        'raising.py", line 2, in broken',
    ]
    assert lines[-2:] == ["KeyError: 'key'", "asyncgraph: raising could not be imported"]
    assert "importlib" not in ended.err
    assert "asyncgraph/" not in ended.err


def test_an_import_that_is_missing_in_a_file(command, program):
    """A module that the file itself cannot import is not taken for the file."""
    program("wanting.py", "import nowhere_to_be_found")
    ended = command("run", "wanting.py:value")
    assert ended.code == 3
    assert "ModuleNotFoundError: No module named 'nowhere_to_be_found'" in ended.err
    assert ended.err.endswith("asyncgraph: wanting could not be imported\n")


def test_a_file_that_does_not_parse(command, program):
    """A syntax error is shown with its line."""
    program("wrong.py", "total = = 1\n")
    ended = command("run", "wrong.py:total")
    assert ended.code == 3
    assert 'wrong.py", line 1\n    total = = 1\n' in ended.err


def test_a_file_that_leaves_the_program(command, program):
    """A script without a main guard that calls sys.exit is told of the guard."""
    program("leaving.py", "import sys\nsys.exit(4)\n")
    ended = command("run", "leaving.py:total")
    assert ended.code == 3
    assert "leaving has left the program while it was imported (sys.exit(4))" in ended.err
    assert 'belongs under `if __name__ == "__main__":`' in ended.err


def test_the_main_guard_is_left_out(command, program):
    """A file is imported: what is for scripts only does not happen."""
    program(
        "script.py",
        """
        from asyncgraph import delayed, run
        node = delayed(len)("abc")
        if __name__ == "__main__":
            print("as a script")
            run(node)
        """,
    )
    assert command("run", "script.py:node") == (0, "3\n", "")


def test_a_script_that_runs_on_import_works_too(command, program):
    """A file is imported outside of any event loop, so that it may run what it likes."""
    program("eager.py", "from asyncgraph import delayed, run\nnode = delayed(len)('abc')\nprint(run(node))")
    assert command("run", "eager.py:node") == (0, "3\n3\n", "")


def test_a_file_with_the_name_of_another_module(command, program):
    """A file that workers would not find under its name is refused, and the other one named."""
    program("json.py", "total = 1")
    ended = command("run", "json.py:total")
    assert ended.code == 3
    assert "json.py has the name of another module, " in ended.err
    assert (
        "json/__init__.py, which worker processes would find in its place: give it another name" in ended.err
    )


def test_files_that_cannot_be_imported(command, program):
    """A dot in the name, or another suffix, is refused with what would be right."""
    program("v1.2.py", "total = 1")
    program("notes.txt", "total = 1")
    ended = command("run", "v1.2.py:total")
    assert ended.code == 3
    assert "cannot be imported, as its name has a dot in it" in ended.err
    ended = command("run", "./notes.txt:total")
    assert ended.code == 3
    assert "is no Python file: its name does not end in .py" in ended.err


def test_a_name_with_a_hyphen_will_do(command, program):
    """A file whose name is no identifier is imported, and its functions reach worker processes."""
    program(
        "my-graph.py",
        """
        from asyncgraph import delayed
        @delayed(executor="process")
        def twice(x):
            return 2 * x, __name__
        node = twice(4)
        """,
    )
    assert command("run", "my-graph.py:node") == (0, "(8, 'my-graph')\n", "")
