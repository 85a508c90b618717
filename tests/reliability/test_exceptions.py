"""Rows 1 to 9: what a user's exception is when it leaves `compute()`, wherever it was raised."""

# ruff: noqa: D103 - helpers whose names say it

from __future__ import annotations

import asyncio
import sys
import threading
from types import ModuleType
from typing import Any

import pytest

from asyncgraph import Runtime, compute, delayed, start
from asyncgraph.errors import DependencyError, RemoteError
from tests.errors.reading import failure_of, frames
from tests.reliability import harness
from tests.reliability.harness import LoadsHereOnly, notes_of, on


class Rejected(Exception):
    """One whose `__init__` takes something else than its `args`."""

    def __init__(self, code: int, *, text: str) -> None:
        super().__init__(f"{code}: {text}")
        self.code, self.text = code, text


def reject() -> None:
    raise Rejected(7, text="seven")


def names_of(error: BaseException) -> list[str]:
    return [name for _, name in frames(error)]


async def test_row_01_user_exception(executor):
    """The exception itself is raised, with its frames and a note; only its dependents do not run."""
    begun = []
    after = delayed(begun.append, executor="loop")
    async with Runtime(processes=1):
        before = await on(executor, harness.pid)()
        error = await failure_of(after(on(executor, reject)()))
        assert type(error) is Rejected
        assert error.code == 7
        assert names_of(error)[-1] == "reject"
        (note,) = notes_of(error)
        assert note.startswith("asyncgraph: node reject-")
        assert " (reject) failed, " in note
        failed, behind, beside = await compute(
            on(executor, reject)(), after(on(executor, reject)()), on(executor, harness.pid)(),
            return_exceptions=True,
        )  # fmt: skip
        assert (type(failed), type(behind), type(behind.__cause__)) == (Rejected, DependencyError, Rejected)
        assert beside == before, "the worker is used again"
        assert begun == []


async def test_row_02_custom_init(executor):
    """A class whose `__init__` takes other arguments than `args` keeps class, text and attributes."""
    error = await failure_of(on(executor, reject)())
    assert type(error) is Rejected
    assert (str(error), error.args, error.code, error.text) == ("7: seven", ("7: seven",), 7, "seven")


def reject_with_lock() -> None:
    error = Rejected(7, text="seven")
    error.lock = threading.Lock()
    raise error


async def test_row_03_unpicklable_attribute(executor):
    """The class and all else are kept; from a worker, the `repr` stands for what does not pickle."""
    error = await failure_of(on(executor, reject_with_lock)())
    assert type(error) is Rejected
    assert (error.code, error.text) == (7, "seven")
    if executor == "process":
        assert "lock object at" in error.lock.text
        assert repr(error.lock) == f"Unpicklable({error.lock.text!r})"
    else:
        assert type(error.lock) is type(threading.Lock())


def raise_what_loads_at_home_only() -> None:
    raise ValueError("fine", LoadsHereOnly())


def raise_what_loads_nowhere() -> None:
    raise FailsToLoad("fine")


class FailsToLoad(Exception):
    """One that pickles, and says that it is rebuilt in a way that fails."""

    def __reduce__(self) -> Any:
        return harness.LoadsNowhere().__reduce__()


@pytest.mark.parametrize("function", [raise_what_loads_at_home_only, raise_what_loads_nowhere])
async def test_row_04_exception_that_does_not_unpickle(executor, function):
    """A failure that cannot be rebuilt here is a failure of its node all the same, and harms nobody else."""
    async with Runtime(processes=1):
        worker = await on(executor, harness.pid)()
        error = await failure_of(on(executor, function)())
        if executor == "process" and function is raise_what_loads_at_home_only:
            assert type(error) is RemoteError
            assert error.type_qualname == "builtins.ValueError"
            assert "fine" in error.message
            assert function.__name__ in error.traceback_text
        else:
            assert error.args[0] == "fine"
            assert type(error) in {ValueError, FailsToLoad}
        assert notes_of(error)[-1].startswith(f"asyncgraph: node {function.__name__}-")
        assert await on(executor, harness.pid)() == worker


def raise_of_a_class_made_on_the_spot() -> None:
    module = ModuleType("made_on_the_spot")
    exec("class Odd(Exception):\n    pass", module.__dict__)
    sys.modules["made_on_the_spot"] = module
    error = module.Odd("an odd one")
    error.detail = 42
    error.add_note("an odd note")
    raise error


async def test_row_05_exception_class_absent(executor):
    """From a worker, a RemoteError stands for an exception whose class is not here, with its whole text."""
    error = await failure_of(on(executor, raise_of_a_class_made_on_the_spot)())
    sys.modules.pop("made_on_the_spot", None)
    if executor != "process":
        assert type(error).__name__ == "Odd"
        assert error.detail == 42
        return
    assert type(error) is RemoteError
    assert error.type_qualname == "made_on_the_spot.Odd"
    assert error.message == "an odd one"
    assert error.notes == ("an odd note",)
    assert error.attrs_repr["detail"] == "42"
    assert error.traceback_text.startswith("Traceback")
    assert "raise_of_a_class_made_on_the_spot" in error.traceback_text


def raise_a_tree() -> None:
    try:
        try:
            raise KeyError("cause")
        except KeyError as cause:
            raise Rejected(1, text="middle") from cause
    except Rejected:
        parts = [Rejected(2, text="two"), ExceptionGroup("inner", [OSError(2, "No such file", "/there")])]
        group = ExceptionGroup("outer", parts)
        group.add_note("a note")
        raise group  # noqa: B904 - the context is the point


def raise_a_circle() -> None:
    first, second = ValueError("first"), KeyError("second")
    first.__context__, second.__context__ = second, first
    raise first


def raise_a_long_chain() -> None:
    error = ValueError("0")
    for number in range(1, 2000):
        above = ValueError(str(number))
        above.__cause__ = error
        error = above
    raise error


async def test_row_06_groups_causes_contexts_and_notes(executor):
    """The whole tree is kept, a circle of contexts is no endless loop, and a long chain no fault."""
    async with Runtime(processes=1):
        group = await failure_of(on(executor, raise_a_tree)())
        circle = await failure_of(on(executor, raise_a_circle)())
        chain = await failure_of(on(executor, raise_a_long_chain)())
    assert type(group) is ExceptionGroup
    assert notes_of(group)[0] == "a note"
    two, inner = group.exceptions
    assert (type(two), two.code) == (Rejected, 2)
    assert (inner.message, inner.exceptions[0].filename) == ("inner", "/there")
    middle = group.__context__
    assert group.__cause__ is None
    assert (type(middle), type(middle.__cause__)) == (Rejected, KeyError)
    assert (group.__suppress_context__, middle.__suppress_context__) == (False, True)
    assert (type(circle), type(circle.__context__)) == (ValueError, KeyError)
    for number in range(1999, 1950, -1):
        assert chain.args == (str(number),)
        chain = chain.__cause__


def descend(depth: int) -> None:
    if not depth:
        raise ValueError("deep down")
    descend(depth - 1)


def descend_for_ever() -> None:
    descend(-1)


@pytest.mark.parametrize(
    ("function", "arguments", "kind"),
    [(descend, (800,), ValueError), (descend_for_ever, (), RecursionError)],
    ids=["800 frames", "RecursionError"],
)
async def test_row_07_deep_traceback(executor, function, arguments, kind):
    """Of a traceback of hundreds of frames, the first and the last hundred come from a worker."""
    error = await failure_of(on(executor, function)(*arguments))
    assert type(error) is kind
    names = names_of(error)
    assert names[-1] == "descend"
    assert function.__name__ in names[:6]
    if executor == "process":
        assert 200 <= len(names) < 210
        assert any("frames" in note and "omitted" in note for note in notes_of(error))
    else:
        assert len(names) > 800


async def test_row_08_nothing_keeps_what_the_frames_held(executor):
    """When the error has been handled, the variables of the frames that failed are gone, in a worker too."""
    async with Runtime(processes=1):
        with harness.without_collector():
            with pytest.raises(ValueError, match="beside a thing"):
                await (on(executor, harness.raise_beside_a_thing)() + 1)
            await harness.turns(3)
            assert await on(executor, harness.count_things)() == (1, 0)


async def test_row_09_same_failure_awaited_twice(executor):
    """However often a failure is awaited, and by however many, its frames are all there and do not grow."""
    node = on(executor, reject)()

    async def consume(awaitable: Any) -> list[str]:
        return names_of(await failure_of(awaitable))

    async with Runtime(processes=1):
        run = start(node)
        alone = [await consume(run) for _ in range(3)]
        together = await asyncio.gather(consume(run), consume(run), consume(run))
        anew = [await consume(node) for _ in range(2)]
        error = await failure_of(run)
    assert alone == [alone[0]] * 3
    assert together == [alone[0]] * 3
    assert anew[0] == anew[1]
    for names in (alone[0], anew[0]):
        assert names[-1] == "reject"
        assert names.count("reject") == 1
    assert len(notes_of(error)) == 1
