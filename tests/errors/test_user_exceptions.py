"""The user's own exception object: what it keeps, and what it is spared, whichever executor it came from."""

# ruff: noqa: D102, D103 - helpers whose names say it

from __future__ import annotations

import asyncio
import gc
import sys
import weakref
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest

from asyncgraph import compute, delayed, start
from asyncgraph.errors import AsyncgraphError, DependencyError
from tests.errors.reading import failure_of, frames, own_frames


class TwoArguments(Exception):
    def __init__(self, code: int, text: str) -> None:
        super().__init__(f"{code}: {text}")
        self.code, self.text = code, text


class KeywordOnly(Exception):
    def __init__(self, *, code: int) -> None:
        super().__init__()
        self.code = code


@dataclass(frozen=True)
class Frozen(Exception):
    code: int


class NoRepr(Exception):
    def __repr__(self) -> str:
        raise TypeError("no repr")

    __str__ = __repr__


class NoNotes(Exception):
    def add_note(self, note: str, /) -> None:
        raise TypeError("no notes")


class Final(Exception):
    def with_traceback(self, tb: object, /) -> Any:
        raise TypeError("no traceback")


def raise_(error: BaseException) -> Any:
    raise error


async def raise_later(error: BaseException) -> Any:
    raise error


def raise_two_arguments() -> Any:
    raise TwoArguments(7, "seven")


async def raise_two_arguments_later() -> Any:
    raise TwoArguments(7, "seven")


def raise_with_everything() -> Any:
    error = KeywordOnly(code=7)
    error.add_note("the user's note")
    error.extra = ["attribute"]  # type: ignore[attr-defined]
    raise error from LookupError("cause")


async def raise_with_everything_later() -> Any:
    raise_with_everything()


IN_THIS_PROCESS = [
    pytest.param(delayed(raise_later), id="coroutine"),
    pytest.param(delayed(raise_, executor="loop"), id="inline"),
    pytest.param(delayed(raise_, executor="thread"), id="thread"),
]


def everywhere(plain: Callable[..., Any], later: Callable[..., Any]) -> list[Any]:
    return [
        pytest.param(delayed(later), id="coroutine"),
        pytest.param(delayed(plain, executor="loop"), id="inline"),
        pytest.param(delayed(plain, executor="thread"), id="thread"),
        pytest.param(delayed(plain, executor="process"), id="process"),
    ]


def notes_of(error: BaseException) -> list[str]:
    return list(getattr(error, "__notes__", ()))


@pytest.mark.parametrize("function", IN_THIS_PROCESS)
async def test_the_object_itself(function):
    """The very object that was raised leaves `compute()`, with the same arguments."""
    mine = TwoArguments(7, "seven")
    error = await failure_of(function(mine))
    assert error is mine
    assert error.args == ("7: seven",)


@pytest.mark.parametrize("function", everywhere(raise_two_arguments, raise_two_arguments_later))
async def test_a_class_whose_init_takes_two_arguments(function):
    """An exception whose `__init__` takes something else than its `args` keeps class, text and attributes."""
    error = await failure_of(function())
    assert type(error) is TwoArguments
    assert (str(error), error.code, error.text) == ("7: seven", 7, "seven")
    assert len(own_frames(error)) == 1


@pytest.mark.parametrize("function", everywhere(raise_with_everything, raise_with_everything_later))
async def test_everything_is_kept(function):
    """Attributes, the user's notes, the cause and its being shown in place of the context all stay."""
    error = await failure_of(function())
    assert type(error) is KeywordOnly
    assert error.code == 7
    assert error.extra == ["attribute"]
    assert isinstance(error.__cause__, LookupError)
    assert error.__suppress_context__
    first, ours = notes_of(error)
    assert first == "the user's note"
    assert ours.startswith("asyncgraph: node ")
    assert len(own_frames(error)) == 1


@pytest.mark.parametrize("function", IN_THIS_PROCESS)
@pytest.mark.parametrize(
    "mine", [Frozen(1), NoRepr(), NoNotes(), Final()], ids=lambda error: type(error).__name__
)
async def test_an_exception_that_refuses(function, mine):
    """An exception that cannot be printed, noted or changed leaves `compute()` all the same."""
    assert await failure_of(function(mine)) is mine
    behind = await compute(delayed(len)(function(mine)), return_exceptions=True)
    assert isinstance(behind, DependencyError)
    assert behind.__cause__ is mine
    assert str(behind).startswith("len-")


@pytest.mark.parametrize("notes", [None, "text", ("tuple",)], ids=repr)
@pytest.mark.parametrize("function", IN_THIS_PROCESS)
async def test_notes_that_are_no_list(function, notes):
    """An exception whose `__notes__` is something else than a list keeps it and is raised."""
    mine = ValueError("mine")
    mine.__notes__ = notes  # type: ignore[assignment]
    assert await failure_of(function(mine)) is mine
    assert mine.__notes__ == notes


@pytest.mark.parametrize("function", IN_THIS_PROCESS)
async def test_awaiting_a_node_again_and_again(function):
    """An exception object that one node raises again and again has one note, and no more frames."""
    mine = ValueError("mine")
    node = function(mine)
    assert await failure_of(node) is mine
    notes, shown = notes_of(mine), frames(mine)
    for _ in range(10):
        mine.__traceback__ = None
        assert await failure_of(node) is mine
        assert notes_of(mine) == notes
        assert frames(mine) == shown
    assert len(notes) == 1


@pytest.mark.parametrize("function", IN_THIS_PROCESS)
async def test_one_object_raised_by_many_nodes(function):
    """An exception kept in a variable has one note for each place that builds nodes, however many."""
    mine = ValueError("mine")
    built = [function(mine) for _ in range(20)]
    for node in built:
        assert await failure_of(node) is mine
    (note,) = notes_of(mine)
    last = built[-1]
    assert f"node {next(iter(last.graph))} " in note


async def test_frames_grow_no_more_than_in_python():
    """Raised again and again, one object gathers the frames that Python gives it, and one of ours a time."""
    mine = ValueError("mine")
    node = delayed(raise_, executor="thread")(mine)
    for turn in range(1, 6):
        assert await failure_of(node) is mine
        assert [name for _, name in frames(mine)] == ["failure_of", "compute", "raise_"] * turn


async def test_awaiting_a_failed_run_again_and_again():
    """Every await of one run raises the same object with the same frames."""
    run = start(delayed(raise_two_arguments)())
    first = await failure_of(run)
    shown = frames(first)
    for _ in range(5):
        assert await failure_of(run) is first
        assert frames(first) == shown
    assert len(notes_of(first)) == 1


@pytest.mark.parametrize("function", IN_THIS_PROCESS)
async def test_one_object_from_two_nodes_of_a_run(function):
    """One object raised by two nodes comes back for both, with a note for each place."""
    mine = ValueError("mine")
    one = function(mine)
    two = function(mine)
    assert await compute(one, two, return_exceptions=True) == (mine, mine)
    assert len(notes_of(mine)) == 2


async def test_raising_what_a_dependency_gave():
    """A node may raise an exception object that another node returned as its value."""
    mine = ValueError("mine")
    make = delayed(lambda: mine, executor="thread")
    assert await failure_of(delayed(raise_)(make())) is mine


async def test_long_path():
    """The path through a long chain is cut in the middle: its ends tell most."""
    node = delayed(raise_two_arguments)()
    for _ in range(5000):
        node = node + 1
    error = await failure_of(node)
    (note,) = notes_of(error)
    wanted = note.split("\n")[1]
    keys = wanted.removeprefix("  wanted by: ").split(" <- ")
    assert len(keys) == 13
    assert keys[6] == "… 4989 more …"
    assert keys[-1].startswith("raise_two_arguments-")
    assert len(wanted) < 300


async def test_errors_of_ours_raised_by_a_user_are_told_their_node():
    """An AsyncgraphError that a node raises is given its node, key and path, once."""
    mine = AsyncgraphError("by hand")
    node = delayed(raise_)(mine) + 1
    assert await failure_of(node) is mine
    assert mine.node == "raise_"
    assert mine.key is not None
    assert mine.path[-1] == mine.key
    assert len(mine.path) == 2
    key = mine.key
    assert await failure_of(delayed(raise_)(mine)) is mine
    assert mine.key == key


async def test_several_failures_at_once():
    """The first failure is raised; one that comes while the rest is stopped is told of in a note."""

    @delayed
    async def stubborn() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            raise LookupError("cleanup")

    @delayed
    async def failing() -> None:
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        raise ValueError("first")

    error = await failure_of(compute(stubborn(), failing()))
    assert isinstance(error, ValueError)
    assert any("failed too: LookupError('cleanup')" in note for note in notes_of(error))


@pytest.mark.parametrize("function", everywhere(raise_two_arguments, raise_two_arguments_later))
async def test_a_failure_that_was_handled_is_collected(function):
    """Once a failure has been handled nothing keeps the exception alive: no node, no runtime."""
    node = function()
    error = await failure_of(node)
    seen = weakref.ref(error)
    del error
    await asyncio.sleep(0)
    gc.collect()
    assert seen() is None
    assert node is not None


@pytest.mark.parametrize("function", everywhere(raise_two_arguments, raise_two_arguments_later)[::2])
async def test_no_cycle_keeps_a_failure_alive(function):
    """A failure of a coroutine or a thread is freed when it has been handled, without a collection."""
    await failure_of(function())
    gc.collect()
    gc.disable()
    try:
        error = await failure_of(function())
        assert sys.getrefcount(error) == 2  # this variable, and the argument of getrefcount
        del error
    finally:
        gc.enable()
