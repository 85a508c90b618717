"""The printed traceback, to the letter: the user's frames, at most one of ours, and the note."""

# ruff: noqa: D103 - helpers whose names say it

from __future__ import annotations

import asyncio
import os
import sys
from textwrap import dedent, indent
from typing import Any

import pytest

from asyncgraph import compute, delayed, from_graph, start
from asyncgraph._graph import node as nodes
from asyncgraph.errors import DependencyError
from tests.errors.reading import as_read, failure_of


@pytest.fixture(autouse=True)
def _keys_from_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(nodes, "_counters", {})


def refuse(what: str) -> Any:
    raise ValueError(f"no {what}")


@delayed
async def fetch(what: str) -> Any:
    await asyncio.sleep(0)
    refuse(what)


@delayed(executor="loop")
def small(what: str) -> Any:
    refuse(what)


@delayed(executor="thread")
def read(what: str) -> Any:
    refuse(what)


@delayed(executor="process")
def parse(what: str) -> Any:
    refuse(what)


@delayed(executor="process")
def crash(what: str) -> Any:
    os._exit(3)


@delayed
async def inc(x: Any) -> Any:
    return x + 1


@delayed
async def grouped() -> None:
    async with asyncio.TaskGroup() as group:
        group.create_task(fetch.__wrapped__("a"), name="first")


@delayed(executor="thread")
def translated() -> None:
    try:
        refuse("key")
    except ValueError as error:
        raise LookupError("not found") from error


@delayed(executor="thread")
def stumbling() -> None:
    try:
        refuse("key")
    except ValueError:
        refuse("handler")


@delayed(executor="process")
def translated_in_a_worker() -> None:
    try:
        refuse("key")
    except ValueError as error:
        raise LookupError("not found") from error


def text(expected: str) -> str:
    return dedent(expected).lstrip("\n")


def indented(expected: str) -> str:
    return indent(text(expected), "  ")


async def test_coroutine():
    """A coroutine's failure shows the caller, one frame of asyncgraph, the user's frames and the note."""
    node = fetch("page")
    assert as_read(await failure_of(node)) == text(
        """
        Traceback (most recent call last):
          File "reading.py", in failure_of
            value = await awaitable
          File "asyncgraph/_runtime/run.py", in compute
            raise error
          File "test_tracebacks.py", in fetch
            refuse(what)
          File "test_tracebacks.py", in refuse
            raise ValueError(f"no {what}")
        ValueError: no page
        asyncgraph: node fetch-1 (fetch) failed, loop executor, attempt 1
          built at:  'node = fetch("page")', in test_coroutine
        """
    )


@pytest.mark.parametrize(
    ("function", "executor"), [(small, "loop"), (read, "thread"), (parse, "process")], ids=str
)
async def test_plain_function(function, executor):
    """A plain function's failure reads the same wherever it ran, but for the executor's name."""
    node = function("page")
    name = function.__name__
    assert as_read(await failure_of(node.compute())) == text(
        f"""
        Traceback (most recent call last):
          File "reading.py", in failure_of
            value = await awaitable
          File "asyncgraph/_runtime/run.py", in compute
            raise error
          File "test_tracebacks.py", in {name}
            refuse(what)
          File "test_tracebacks.py", in refuse
            raise ValueError(f"no {{what}}")
        ValueError: no page
        asyncgraph: node {name}-1 ({name}) failed, {executor} executor, attempt 1
          built at:  'node = function("page")', in test_plain_function
        """
    )


async def test_operator():
    """An operator that fails has no frame of its own: the note alone says where it was written."""
    ratio = delayed(1) / 0
    assert as_read(await failure_of(ratio)) == text(
        """
        Traceback (most recent call last):
          File "reading.py", in failure_of
            value = await awaitable
          File "asyncgraph/_runtime/run.py", in compute
            raise error
        ZeroDivisionError: division by zero
        asyncgraph: node truediv-1 (truediv) failed, loop executor, attempt 1
          built at:  'ratio = delayed(1) / 0', in test_operator
        """
    )


async def test_arguments_that_do_not_fit_together():
    """A container of arguments that cannot be built is its node's failure, with no frame but one of ours."""
    page = delayed(list)()
    node = inc({page})
    assert as_read(await failure_of(node)) == text(
        """
        Traceback (most recent call last):
          File "reading.py", in failure_of
            value = await awaitable
          File "asyncgraph/_runtime/run.py", in compute
            raise error
        TypeError: unhashable type: 'list'
        asyncgraph: node inc-1 (inc) failed, loop executor, attempt 1
          built at:  'node = inc({page})', in test_arguments_that_do_not_fit_together
        """
    )


async def test_run():
    """Awaiting a run in the background reads as awaiting the node does."""
    node = read("page")
    assert as_read(await failure_of(start(node))) == text(
        """
        Traceback (most recent call last):
          File "reading.py", in failure_of
            value = await awaitable
          File "asyncgraph/_runtime/run.py", in __await__
            raise error
          File "test_tracebacks.py", in read
            refuse(what)
          File "test_tracebacks.py", in refuse
            raise ValueError(f"no {what}")
        ValueError: no page
        asyncgraph: node read-1 (read) failed, thread executor, attempt 1
          built at:  'node = read("page")', in test_run
        """
    )


async def test_chain():
    """The note of a node deep in a graph says through which nodes it was wanted."""
    page = fetch("page")
    total = inc(inc(page)) + 1
    assert as_read(await failure_of(total)).partition("ValueError: ")[2] == text(
        """
        no page
        asyncgraph: node fetch-1 (fetch) failed, loop executor, attempt 1
          wanted by: add-1 <- inc-1 <- inc-2 <- fetch-1
          built at:  'page = fetch("page")', in test_chain
        """
    )


async def test_group():
    """An ExceptionGroup out of a node's TaskGroup is shown whole, with the note on the group."""
    node = grouped()
    assert as_read(await failure_of(node)) == indented(
        """
          + Exception Group Traceback (most recent call last):
          |   File "reading.py", in failure_of
          |     value = await awaitable
          |   File "asyncgraph/_runtime/run.py", in compute
          |     raise error
          |   File "test_tracebacks.py", in grouped
          |     async with asyncio.TaskGroup() as group:
          |   File "taskgroups.py", in __aexit__
          | ExceptionGroup: unhandled errors in a TaskGroup (1 sub-exception)
          | asyncgraph: node grouped-1 (grouped) failed, loop executor, attempt 1
          |   built at:  'node = grouped()', in test_group
          +-+---------------- 1 ----------------
            | Traceback (most recent call last):
            |   File "test_tracebacks.py", in fetch
            |     refuse(what)
            |   File "test_tracebacks.py", in refuse
            |     raise ValueError(f"no {what}")
            | ValueError: no a
            +------------------------------------
        """
    )


@pytest.mark.parametrize("function", [translated, translated_in_a_worker], ids=str)
async def test_cause(function):
    """The cause of a failure is printed before it, with its own frames, from a worker process too."""
    node = function()
    name, executor = function.__name__, "thread" if function is translated else "process"
    assert as_read(await failure_of(node)) == text(
        f"""
        Traceback (most recent call last):
          File "test_tracebacks.py", in {name}
            refuse("key")
          File "test_tracebacks.py", in refuse
            raise ValueError(f"no {{what}}")
        ValueError: no key

        The above exception was the direct cause of the following exception:

        Traceback (most recent call last):
          File "reading.py", in failure_of
            value = await awaitable
          File "asyncgraph/_runtime/run.py", in compute
            raise error
          File "test_tracebacks.py", in {name}
            raise LookupError("not found") from error
        LookupError: not found
        asyncgraph: node {name}-1 ({name}) failed, {executor} executor, attempt 1
          built at:  'node = function()', in test_cause
        """
    )


async def test_context():
    """The exception that was being handled when a node failed is printed as its context."""
    node = stumbling()
    assert as_read(await failure_of(node)) == text(
        """
        Traceback (most recent call last):
          File "test_tracebacks.py", in stumbling
            refuse("key")
          File "test_tracebacks.py", in refuse
            raise ValueError(f"no {what}")
        ValueError: no key

        During handling of the above exception, another exception occurred:

        Traceback (most recent call last):
          File "reading.py", in failure_of
            value = await awaitable
          File "asyncgraph/_runtime/run.py", in compute
            raise error
          File "test_tracebacks.py", in stumbling
            refuse("handler")
          File "test_tracebacks.py", in refuse
            raise ValueError(f"no {what}")
        ValueError: no handler
        asyncgraph: node stumbling-1 (stumbling) failed, thread executor, attempt 1
          built at:  'node = stumbling()', in test_context
        """
    )


async def test_failing_while_the_caller_handles_an_error():
    """An error that the caller is handling is the context of a failure, as with any other call."""
    node = read("page")
    try:
        raise KeyError("first")
    except KeyError as first:
        handled: BaseException = first
        error = await failure_of(node)
    assert error.__context__ is handled


async def test_crash():
    """A crash says which node the worker was running, and how the worker ended."""
    node = crash("now")
    assert as_read(await failure_of(node)) == text(
        """
        Traceback (most recent call last):
          File "reading.py", in failure_of
            value = await awaitable
          File "asyncgraph/_runtime/run.py", in compute
            raise error
        asyncgraph.errors.WorkerCrashedError: crash-1: its worker process (pid …) ended with exit code 3 while it was running the call
        asyncgraph: node crash-1 (crash) failed, process executor, attempt 1
          built at:  'node = crash("now")', in test_crash
        """  # noqa: E501 - to the letter
    )


async def test_dependency_error():
    """A node behind a failure comes back as an error that prints with its cause, the failure, in full."""
    page = fetch("page")
    error = await compute(inc(page), return_exceptions=True)
    assert isinstance(error, DependencyError)
    assert as_read(error) == text(
        """
        Traceback (most recent call last):
          File "test_tracebacks.py", in fetch
            refuse(what)
          File "test_tracebacks.py", in refuse
            raise ValueError(f"no {what}")
        ValueError: no page
        asyncgraph: node fetch-1 (fetch) failed, loop executor, attempt 1
          wanted by: inc-1 <- fetch-1
          built at:  'page = fetch("page")', in test_dependency_error

        The above exception was the direct cause of the following exception:

        asyncgraph.errors.DependencyError: inc-1 was not run: fetch-1, which it needs, failed with ValueError('no page')
        """  # noqa: E501 - to the letter
    )


async def test_run_within_a_node():
    """A node that computes another graph appears with its frames between asyncgraph's, and its note."""

    @delayed
    async def outer() -> None:
        await small("page")

    node = outer()
    assert as_read(await failure_of(node)) == text(
        """
        Traceback (most recent call last):
          File "reading.py", in failure_of
            value = await awaitable
          File "asyncgraph/_runtime/run.py", in compute
            raise error
          File "test_tracebacks.py", in outer
            await small("page")
          File "asyncgraph/_runtime/run.py", in compute
            raise error
          File "test_tracebacks.py", in small
            refuse(what)
          File "test_tracebacks.py", in refuse
            raise ValueError(f"no {what}")
        ValueError: no page
        asyncgraph: node small-1 (small) failed, loop executor, attempt 1
          built at:  'await small("page")', in test_run_within_a_node.<locals>.outer
        asyncgraph: node outer-1 (outer) failed, loop executor, attempt 1
          built at:  'node = outer()', in test_run_within_a_node
        """
    )


def build_elsewhere() -> Any:
    return small("elsewhere")


AT_MODULE_LEVEL = small("module")


def note_of(error: BaseException) -> str:
    return as_read(error).partition("  built at:  ")[2].strip()


async def test_site_of_a_call_over_several_lines():
    """A call over several lines is found at the line where it begins."""
    node = inc(
        small(
            "page",
        ),
    )
    assert note_of(await failure_of(node)) == "'small(', in test_site_of_a_call_over_several_lines"


async def test_site_in_a_comprehension():
    """A node built in a comprehension is found at its line there."""
    built = [
        small(what)  # here
        for what in ("a", "b")
    ]
    inner = ".<locals>.<listcomp>" if sys.version_info < (3, 12) else ""
    expected = f"'small(what)  # here', in test_site_in_a_comprehension{inner}"
    assert [note_of(await failure_of(node)) for node in built] == [expected, expected]


async def test_site_in_another_function():
    """A node that another function has built is found in that function."""
    assert note_of(await failure_of(build_elsewhere())) == "'return small(\"elsewhere\")', in build_elsewhere"


async def test_site_at_module_level():
    """A node that a module has built is found there."""
    assert note_of(await failure_of(AT_MODULE_LEVEL)) == "'AT_MODULE_LEVEL = small(\"module\")', in <module>"


async def test_site_in_a_lambda():
    """A node built by a lambda is found in it."""
    build = lambda: small("page")  # noqa: E731
    shown = note_of(await failure_of(build()))
    assert shown.endswith("in test_site_in_a_lambda.<locals>.<lambda>")


async def test_site_of_a_node_that_a_node_returned():
    """A node that a function has returned is found in that function, and wanted by the node of its call."""

    @delayed
    async def choose() -> Any:
        return small("choice")

    error = await failure_of(choose())
    assert note_of(error) == (
        "'return small(\"choice\")', in test_site_of_a_node_that_a_node_returned.<locals>.choose"
    )
    assert "wanted by: choose-1 <- small-1" in as_read(error)


async def test_graph_written_by_hand():
    """In a graph written by hand the note has the user's own keys."""
    node = from_graph({"page": (refuse, "x"), "total": (len, "page")}, "total")
    shown = as_read(await failure_of(node))
    assert "asyncgraph: node page (refuse) failed, thread executor, attempt 1\n" in shown
    assert "  wanted by: total <- page\n" in shown
