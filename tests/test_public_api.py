"""What users may rely on: the names, their options, their errors, and what is shipped."""

from __future__ import annotations

import importlib.metadata
import inspect
import pickle
import tarfile
import zipfile
from pathlib import Path

import pytest
from hatchling.builders.sdist import SdistBuilder
from hatchling.builders.wheel import WheelBuilder

import asyncgraph
from asyncgraph import errors

ROOT = Path(__file__).parent.parent

# Everything importable from `asyncgraph`. A name here is a promise; take one away only with a deprecation.
PUBLIC = [
    "Compiled",
    "Delayed",
    "Failure",
    "Input",
    "Retry",
    "Run",
    "Runtime",
    "as_completed",
    "cancelled",
    "check_cancelled",
    "compile",
    "compute",
    "delayed",
    "dump",
    "dump_on_signal",
    "errors",
    "from_graph",
    "resource",
    "run",
    "start",
    "when",
]

# Where options are given; each must be named by the caller.
TAKES_OPTIONS = ["Runtime", "as_completed", "compile", "compute", "delayed", "dump", "start"]
METHODS_WITH_OPTIONS = [
    ("Delayed", "compute"),
    ("Run", "dump"),
    ("Run", "resume"),
    ("Runtime", "compute"),
    ("Runtime", "start"),
]

_BY_KEYWORD = inspect.Parameter.KEYWORD_ONLY
_BY_POSITION = inspect.Parameter.POSITIONAL_ONLY


def test_all_is_what_was_promised():
    """`__all__` is the promised names, sorted."""
    assert list(asyncgraph.__all__) == PUBLIC
    assert sorted(PUBLIC) == PUBLIC


@pytest.mark.parametrize("name", PUBLIC)
def test_a_public_name_exists_and_is_documented(name):
    """Every promised name is there and has a docstring."""
    assert (inspect.getdoc(getattr(asyncgraph, name)) or "").strip()


@pytest.mark.parametrize("name", [name for name in PUBLIC if name[0].isupper()])
def test_public_methods_are_documented(name):
    """Every public method and property of a public class has a docstring."""
    members = vars(getattr(asyncgraph, name)).items()
    bare = [
        attribute
        for attribute, value in members
        if not attribute.startswith("_")
        and (inspect.isroutine(value) or isinstance(value, property))
        and not inspect.getdoc(value)
    ]
    assert bare == []


@pytest.mark.parametrize("name", TAKES_OPTIONS)
def test_options_are_keyword_only(name):
    """A parameter that has a default cannot be given by position, or then only by position."""
    assert loose_options(getattr(asyncgraph, name)) == []


@pytest.mark.parametrize(("owner", "method"), METHODS_WITH_OPTIONS)
def test_options_of_methods_are_keyword_only(owner, method):
    """The same holds for the methods that take options."""
    assert loose_options(getattr(getattr(asyncgraph, owner), method)) == []


def test_the_version_is_that_of_the_package():
    """`__version__` is the installed version, and not in `__all__`."""
    assert asyncgraph.__version__ == importlib.metadata.version("asyncgraph")
    assert "__version__" not in asyncgraph.__all__


def test_every_error_is_exported():
    """`errors.__all__` is sorted and holds every error class of the module."""
    defined = [
        name
        for name, value in vars(errors).items()
        if inspect.isclass(value) and value.__module__ == errors.__name__ and not name.startswith("_")
    ]
    assert list(errors.__all__) == sorted(defined)


@pytest.mark.parametrize("name", errors.__all__)
def test_every_error_has_the_common_base(name):
    """Every error is an AsyncgraphError and says in its docstring when it is met."""
    cls = getattr(errors, name)
    assert issubclass(cls, errors.AsyncgraphError)
    assert "__doc__" in vars(cls)


@pytest.mark.parametrize("name", errors.__all__)
@pytest.mark.parametrize("protocol", range(2, pickle.HIGHEST_PROTOCOL + 1))
def test_errors_pickle(name, protocol):
    """An error comes back from pickle with its class, message, attributes and notes."""
    cls = getattr(errors, name)
    error = cls("what happened", node="parse", key="parse-1", path=("total", "parse-1"))
    error.add_note("a note")
    copy = pickle.loads(pickle.dumps(error, protocol))
    assert type(copy) is cls
    assert copy.args == ("what happened",)
    assert str(copy) == "what happened"
    assert (copy.node, copy.key, copy.path) == ("parse", "parse-1", ("total", "parse-1"))
    assert copy.__notes__ == ["a note"]


def test_a_plain_error_says_that_it_knows_no_node():
    """The common attributes are always there."""
    error = errors.AsyncgraphError("plain")
    assert (error.node, error.key, error.path) == (None, None, ())


def test_the_package_says_that_it_is_typed():
    """The marker file py.typed lies in the package."""
    assert Path(asyncgraph.__file__).with_name("py.typed").is_file()


def test_the_wheel_holds_the_package_and_no_tests(tmp_path):
    """The built wheel has every module, py.typed and the licence, and nothing of the tests."""
    (wheel,) = WheelBuilder(str(ROOT)).build(directory=str(tmp_path), versions=["standard"])
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
    assert modules() <= names
    assert "asyncgraph/py.typed" in names
    assert any(name.endswith("licenses/LICENSE") for name in names)
    assert {name.partition("/")[0].partition("-")[0] for name in names} == {"asyncgraph"}


def test_the_source_distribution_holds_the_package(tmp_path):
    """The source distribution has every module, py.typed, and what it takes to build."""
    (sdist,) = SdistBuilder(str(ROOT)).build(directory=str(tmp_path), versions=["standard"])
    with tarfile.open(sdist) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    assert modules() <= names
    assert {"asyncgraph/py.typed", "pyproject.toml", "README.md", "LICENSE"} <= names


def loose_options(function):
    """Return the parameters with defaults that can be given both by position and by keyword."""
    parameters = inspect.signature(function).parameters.values()
    return [
        parameter.name
        for parameter in parameters
        if parameter.default is not parameter.empty and parameter.kind not in (_BY_KEYWORD, _BY_POSITION)
    ]


def modules():
    """Return the paths of all modules of the package, as archives name them."""
    return {path.relative_to(ROOT).as_posix() for path in (ROOT / "asyncgraph").rglob("*.py")}
