"""Which module may import which; read from the source, so that imports in functions count too."""

from __future__ import annotations

import ast
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

import asyncgraph

PACKAGE = Path(__file__).parent.parent / "asyncgraph"

CORE = {"errors", "_graph", "executors", "_runtime", "observe", "_lazy"}

# Each layer, and the layers that it may import besides itself. A new module or folder needs a line here.
MAY_IMPORT = {
    "errors": set(),
    "_graph": {"errors"},
    "executors": {"errors"},
    "observe": {"errors", "_graph"},
    "_runtime": {"errors", "_graph", "executors", "observe"},
    "_lazy": CORE | {"dask"},  # in methods of nodes, which are Dask collections
    "io": CORE,
    "stream": CORE,
    "dask": CORE,
    "ray": CORE,
    "testing": CORE,
    # The command line is a user: it imports what users do, too.
    "_cli": CORE | {"__init__"},
    "cli": {"_cli"},
    "__main__": {"cli"},
}

# The pure core is told what happened: it does not look at the clock, wait, roll dice or touch the outside.
IMPURE = (
    {
        "_thread",
        "asyncio",
        "concurrent",
        "multiprocessing",
        "queue",
        "sched",
        "signal",
        "subprocess",
        "threading",
    }
    | {"datetime", "random", "secrets", "time", "uuid"}
    | {"ctypes", "ftplib", "http", "mmap", "select", "selectors", "socket", "socketserver", "ssl", "urllib"}
    | {"glob", "io", "logging", "os", "pathlib", "shutil", "sqlite3", "tempfile"}
)

# What is imported only by those who use it: `import asyncgraph` stays quick.
LATE = {
    "aiofiles",
    "anyio",
    "cloudpickle",
    "dask",
    "distributed",
    "multiprocessing",
    "ray",
    "sqlite3",
}
LATE |= {"uvloop"}

MODULES = sorted(PACKAGE.rglob("*.py"))


def by_path(path):
    """Name a test's parameter after the module."""
    return path.relative_to(PACKAGE.parent).as_posix()


@pytest.mark.parametrize("path", MODULES, ids=by_path)
def test_imports_point_down(path):
    """A module imports only its own layer and those below."""
    layer = layer_of(path)
    if layer == "__init__":
        return
    assert layer in MAY_IMPORT, f"say in MAY_IMPORT what {layer} may import"
    allowed = MAY_IMPORT[layer] | {layer}
    wrong = sorted(name for name in imports_of(path) if (own := own_layer(name)) and own not in allowed)
    assert not wrong, f"{layer} may import {sorted(allowed)}, not {wrong}"


@pytest.mark.parametrize("path", [p for p in MODULES if "_graph" in p.parts], ids=by_path)
def test_the_core_is_pure(path):
    """Nothing in _graph imports or opens what belongs to the world outside, nor any third party."""
    roots = {name.partition(".")[0] for name in imports_of(path)}
    assert sorted(roots & IMPURE) == []
    assert roots <= set(sys.stdlib_module_names) | {"asyncgraph"}
    called = {
        node.func.id
        for node in ast.walk(parse(path))
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name)
    }
    assert not called & {"open", "print", "input", "__import__"}


def test_the_front_door_only_reexports():
    """`asyncgraph/__init__.py` says where each name is, to readers and to itself alike, and nothing else."""
    docstring, *rest = parse(PACKAGE / "__init__.py").body
    assert isinstance(docstring, ast.Expr)
    assert isinstance(docstring.value, ast.Constant)
    for statement in rest:
        if isinstance(statement, ast.Assign):
            names = {target.id for target in statement.targets if isinstance(target, ast.Name)}
            assert names <= {"__all__", "__version__", "_MODULES"}, f"line {statement.lineno}"
        elif isinstance(statement, ast.FunctionDef):
            assert statement.name in {"__getattr__", "__dir__"}, f"line {statement.lineno}"
        else:
            assert isinstance(statement, (ast.Import, ast.ImportFrom, ast.If)), f"line {statement.lineno}"
    (for_readers,) = [statement for statement in rest if isinstance(statement, ast.If)]
    assert ast.unparse(for_readers.test) == "TYPE_CHECKING"
    told = {
        alias.name: each.module
        for each in for_readers.body
        for alias in each.names
        if each.module != "asyncgraph"
    }
    assert told == {name: f"asyncgraph.{module}" for name, module in asyncgraph._MODULES.items()}
    assert {*told, "errors"} == set(asyncgraph.__all__)


@pytest.mark.parametrize(
    ("statement", "found"),
    [
        ("import asyncgraph._lazy", {"asyncgraph._lazy"}),
        ("from asyncgraph import errors", {"asyncgraph.errors"}),
        ("from asyncgraph import delayed", {"asyncgraph.delayed"}),
        ("from ..errors import GraphError", {"asyncgraph.errors.GraphError"}),
        ("from . import plan", {"asyncgraph._graph.plan"}),
        ("def f():\n    from .. import _runtime", {"asyncgraph._runtime"}),
        ("if TYPE_CHECKING:\n    import os.path", {"os.path"}),
    ],
)
def test_every_form_of_import_is_seen(statement, found):
    """Absolute, relative, nested and type-only imports are all found by their full names."""
    assert imported_names(ast.parse(statement), package=["asyncgraph", "_graph"]) == found


def test_a_name_of_the_front_door_is_a_layer_of_its_own():
    """No module below may import a re-exported name from `asyncgraph` itself: that would be a circle."""
    assert own_layer("asyncgraph.delayed") == "__init__"
    assert own_layer("asyncgraph.errors.GraphError") == "errors"
    assert own_layer("asyncio.events") is None


def test_importing_is_cheap_and_touches_no_loop():
    """A fresh `import asyncgraph` brings in nothing that is for later, and makes no event loop."""
    script = """
import asyncio, json, sys
def refuse(*args): raise AssertionError("an event loop was made or asked for")
asyncio.new_event_loop = asyncio.get_event_loop = refuse
asyncio.events.new_event_loop = asyncio.events.get_event_loop = refuse
before = set(sys.modules)
import asyncgraph
assert getattr(asyncio.events, "_event_loop_policy", None) is None
print(json.dumps(sorted(set(sys.modules) - before)))
"""
    # Without the variables by which coverage measures subprocesses: it would import some of these itself.
    environment = {name: value for name, value in os.environ.items() if not name.startswith("COV")}
    output = subprocess.check_output([sys.executable, "-I", "-c", script], env=environment, text=True)
    roots = {name.partition(".")[0] for name in json.loads(output)}
    assert "asyncgraph" in roots
    assert sorted(roots & LATE) == []


def layer_of(path):
    """Return the layer of a module: its top folder, or its own name."""
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def own_layer(name):
    """Return the layer that a fully dotted name belongs to, or None if it is not of this package."""
    root, *rest = name.split(".")
    if root != "asyncgraph":
        return None
    is_module = rest and ((PACKAGE / rest[0]).is_dir() or (PACKAGE / f"{rest[0]}.py").is_file())
    return rest[0] if is_module or (rest and rest[0] in MAY_IMPORT) else "__init__"


def imports_of(path):
    """Return the full names of everything that a module imports, wherever in it."""
    return imported_names(parse(path), package=list(path.relative_to(PACKAGE.parent).parent.parts))


def imported_names(tree, package):
    """Return the full names of everything imported in a tree of the given package."""
    names = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else []
            module = [*base, *(node.module or "").split(".")]
            names.update(".".join(filter(None, [*module, alias.name])) for alias in node.names)
    return names


def parse(path):
    """Return the tree of a module."""
    return ast.parse(path.read_text("utf-8"), str(path))
