"""Rows 10 to 14: arguments and results that cannot travel to a worker process or back."""

# ruff: noqa: D103 - helpers whose names say it

from __future__ import annotations

import gc
import importlib.util
import sys
import threading
import weakref
from pathlib import Path
from typing import Any

import pytest

from asyncgraph import Runtime, compute, delayed
from asyncgraph.errors import SerializationError
from tests.errors.reading import failure_of
from tests.reliability import harness
from tests.reliability.harness import LoadsHereOnly, LoadsNowhere

pytestmark = pytest.mark.usefixtures("connection")

pid = delayed(harness.pid, executor="process")


def note_in(path: str, *_: Any) -> None:
    with open(path, "a") as stream:
        stream.write("called\n")


async def test_row_10_unpicklable_argument(tmp_path: Path):
    """The error says which node, and which part of its arguments; worker and other calls are not touched."""
    note = delayed(note_in, executor="process")
    async with Runtime(processes=1):
        before = await pid()
        arguments = ("first", {"cfg": [threading.Lock()]})
        node = note(str(tmp_path / "calls"), *arguments)
        error, beside = await compute(node, pid(), return_exceptions=True)
        assert type(error) is SerializationError
        assert error.stage == "arg-pickle"
        assert error.location == "args[2]['cfg'][0]"
        assert isinstance(error.__cause__, TypeError)
        assert (error.node, error.path) == ("note_in", (error.key,))
        assert error.key in str(error)
        assert beside == before == await pid()
    assert not (tmp_path / "calls").exists()


async def test_row_10_the_error_keeps_no_argument_alive():
    """Whoever has the error has the way to what is at fault, and not what the call was to take."""
    kept = weakref.WeakSet()

    async def error_of_a_call() -> SerializationError:
        argument = harness.Thing()
        kept.add(argument)
        (error,) = await compute([pid(argument, threading.Lock())], return_exceptions=True)
        return error

    async with Runtime(processes=1):
        error = await error_of_a_call()
        gc.collect()
        assert error.location == "args[1]"
        assert not kept


async def test_row_11_argument_that_does_not_unpickle(tmp_path: Path):
    """The call fails and is not made; its worker stays, and reads the next call from where that begins."""
    note = delayed(note_in, executor="process")
    async with Runtime(processes=1):
        before = await pid()
        path = str(tmp_path / "calls")
        nodes = [note(path, LoadsNowhere()), pid(), note(path, 1), pid()]
        error, *others = await compute(nodes, return_exceptions=True)
        assert type(error) is SerializationError
        assert error.stage == "arg-unpickle"
        assert repr(error.__cause__) == "ValueError('it does not load')"
        assert (error.node, error.path) == ("note_in", (error.key,))
        assert others == [before, None, before]
    assert (tmp_path / "calls").read_text() == "called\n"


async def test_row_11_function_of_a_module_that_is_not_there(tmp_path: Path, monkeypatch):
    """A function whose module the worker cannot import is sent whole, once it has turned out so."""
    path = tmp_path / "only_here.py"
    path.write_text("OFFSET = 5\n\ndef shift(x):\n    return x + OFFSET\n")
    specification = importlib.util.spec_from_file_location("only_here", path)
    module = importlib.util.module_from_spec(specification)
    monkeypatch.setitem(sys.modules, "only_here", module)
    specification.loader.exec_module(module)
    async with Runtime(processes=1):
        before = await pid()
        shift = delayed(module.shift, executor="process")
        assert await compute(shift(1), shift(shift(2)), pid()) == (6, 12, before)


def lock_after(path: str) -> Any:
    note_in(path)
    return {"rows": [1, threading.Lock()]}


async def test_row_13_unpicklable_result(tmp_path: Path):
    """The error says which part of the result; the call, which was made, is not made again."""
    async with Runtime(processes=1):
        before = await pid()
        node = delayed(lock_after, executor="process")(str(tmp_path / "calls"))
        error, beside = await compute(node, pid(), return_exceptions=True)
        assert type(error) is SerializationError
        assert error.stage == "result-pickle"
        assert error.location == "result['rows'][1]"
        assert isinstance(error.__cause__, TypeError)
        assert (error.node, error.path) == ("lock_after", (error.key,))
        assert beside == before == await pid()
    assert (tmp_path / "calls").read_text() == "called\n"


async def test_row_14_result_that_does_not_unpickle(complaints):
    """The call fails, and nothing else: neither the loop, nor the worker, nor its other calls."""
    async with Runtime(processes=1):
        before = await pid()
        node = delayed(LoadsHereOnly, executor="process")()
        error, beside = await compute(node, pid(), return_exceptions=True)
        assert type(error) is SerializationError
        assert error.stage == "result-unpickle"
        assert repr(error.__cause__) == "ValueError('it loads at home only')"
        assert error.node == "LoadsHereOnly"
        assert beside == before == await pid()
        again = await failure_of(delayed(LoadsHereOnly, executor="process")())
        assert type(again) is SerializationError
    assert complaints == []
