"""The error classes: one base, attributes, pickles, and words for each."""

from __future__ import annotations

import copy
import inspect
import pickle
from typing import Any

import pytest

from asyncgraph import compute, delayed, errors, from_graph
from asyncgraph.errors import (
    AsyncgraphError,
    CycleError,
    DependencyError,
    GraphError,
    InternalError,
    MissingKeyError,
    NodeExitedError,
    NodeTimeoutError,
    RemoteError,
    RuntimeClosedError,
    SerializationError,
    WorkerCrashedError,
    WorkerStartError,
)
from tests.errors.reading import failure_of

CLASSES = [getattr(errors, name) for name in errors.__all__]

# For each class the attributes that it has beside those of the base, with a value.
ATTRIBUTES: dict[type[AsyncgraphError], dict[str, Any]] = {
    AsyncgraphError: {},
    CycleError: {"cycle": ("a", "b", "a")},
    DependencyError: {},
    GraphError: {},
    InternalError: {},
    MissingKeyError: {"missing": "x"},
    NodeExitedError: {"original": None, "code": 3},
    NodeTimeoutError: {},
    RemoteError: {
        "type_qualname": "module.Class",
        "message": "text",
        "traceback_text": "Traceback ...",
        "notes": ("note",),
        "attrs_repr": {"code": "7"},
    },
    RuntimeClosedError: {},
    SerializationError: {"stage": "arg-pickle", "location": "args[0]"},
    WorkerCrashedError: {"exitcode": None, "signal": 9},
    WorkerStartError: {},
}


def documented(kind: type[AsyncgraphError]) -> set[str]:
    """The names under "Attributes:" in a class's docstring."""
    text = inspect.getdoc(kind) or ""
    _, _, attributes = text.partition("Attributes:\n")
    lines = [
        line
        for line in attributes.partition("\n\n")[0].splitlines()
        if line.startswith("    ") and line[4] != " "
    ]
    return {line.split(":")[0].strip() for line in lines}


def test_all_are_covered():
    """Every class of the module is tested here, and exported."""
    own = {
        kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, AsyncgraphError)
    }
    assert own == set(CLASSES) == set(ATTRIBUTES)
    assert errors.__all__ == sorted(errors.__all__)


@pytest.mark.parametrize("kind", CLASSES)
def test_one_base(kind):
    """One `except` clause catches them all, and each says what it is."""
    assert issubclass(kind, AsyncgraphError)
    assert issubclass(kind, Exception)
    assert inspect.getdoc(kind)


@pytest.mark.parametrize("kind", CLASSES)
def test_attributes(kind):
    """Each attribute of a class is documented, has a default, and is set by name."""
    own = ATTRIBUTES[kind]
    base = {"node", "key", "path"}
    assert documented(kind) == (base if kind is AsyncgraphError else set(own))
    empty = kind("message")
    assert (empty.node, empty.key, empty.path) == (None, None, ())
    for name in own:
        assert hasattr(empty, name)
    full = kind("message", node="parse", key="parse-1", path=("sum-1", "parse-1"), **own)
    assert str(full) == "message"
    assert (full.node, full.key, full.path) == ("parse", "parse-1", ("sum-1", "parse-1"))
    assert {name: getattr(full, name) for name in own} == own


@pytest.mark.parametrize("protocol", range(2, pickle.HIGHEST_PROTOCOL + 1))
@pytest.mark.parametrize("kind", CLASSES)
def test_pickle(kind, protocol):
    """An error pickles and copies with all that it has, notes too."""
    error = kind("message", node="parse", key="parse-1", path=("parse-1",), **ATTRIBUTES[kind])
    error.add_note("a note")
    for again in (pickle.loads(pickle.dumps(error, protocol)), copy.copy(error), copy.deepcopy(error)):
        assert type(again) is kind
        assert again.args == ("message",)
        assert vars(again) == vars(error)


def test_the_attributes_are_not_shared():
    """The defaults are the class's; setting one on an error does not touch the others."""
    first = RemoteError("message", attrs_repr={"a": "1"})
    assert first.attrs_repr == {"a": "1"}
    assert RemoteError("message").attrs_repr == {}


def test_other_parents():
    """Who catches TimeoutError or RuntimeError catches those of ours that are such."""
    assert issubclass(NodeTimeoutError, TimeoutError)
    assert issubclass(RuntimeClosedError, RuntimeError)
    assert issubclass(CycleError, GraphError)
    assert issubclass(MissingKeyError, GraphError)


def test_the_tree_in_the_docstring():
    """The tree that the module's docstring draws has every class, under its parent."""
    text = errors.__doc__ or ""
    for kind in CLASSES:
        (line,) = [line for line in text.splitlines() if f"── {kind.__name__} " in f"{line} "]
        depth = line.index("──")
        assert depth == 4 * len([each for each in kind.__mro__ if issubclass(each, AsyncgraphError)]) + 1


async def test_dependency_error():
    """It names the node that was not run, the one that failed and why, and has its own path."""

    def fail() -> None:
        raise ValueError("mine")

    failed = delayed(fail)()
    total = delayed(abs)(delayed(abs)(failed))
    error = await compute(total, return_exceptions=True)
    assert isinstance(error, DependencyError)
    (own,) = error.path
    assert (error.node, error.key) == ("abs", own)
    (failed_key,) = failed.graph
    assert str(error) == f"{own} was not run: {failed_key}, which it needs, failed with ValueError('mine')"
    assert isinstance(error.__cause__, ValueError)


def test_cycle_error():
    """It names the keys on the circle, and prints them."""
    with pytest.raises(CycleError) as caught:
        from_graph({"a": (abs, "b"), "b": (abs, "c"), "c": (abs, "b")}, "a")
    assert caught.value.cycle in (("b", "c", "b"), ("c", "b", "c"))
    assert " -> ".join(caught.value.cycle) in str(caught.value).replace("<-", "->").replace("'", "")


def test_missing_key_error():
    """It names the key that is missing."""
    with pytest.raises(MissingKeyError) as caught:
        from_graph({"a": 1}, "absent")
    assert caught.value.missing == "absent"
    assert "absent" in str(caught.value)


async def test_serialization_error():
    """It says which node, at which stage, and where in the arguments the culprit is."""
    import threading

    error = await failure_of(delayed(len, executor="process")([threading.Lock()]))
    assert isinstance(error, SerializationError)
    assert error.stage == "arg-pickle"
    assert error.location == "args[0][0]"
    assert error.location in str(error)
    assert error.node == "len"
    assert error.key == error.path[-1]
    assert error.key is not None
    assert error.key in str(error)
    assert isinstance(error.__cause__, TypeError)
