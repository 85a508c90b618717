"""Nodes that raise what means something to a loop, a generator or the interpreter (faults 15 to 19)."""

# ruff: noqa: D103 - helpers whose names say it

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import textwrap
from typing import Any

import pytest

from asyncgraph import Runtime, compute, delayed, start
from asyncgraph.errors import NodeExitedError
from tests.errors.reading import failure_of


class Exit(BaseException):
    """One that no library knows, as pytest's own."""


def raise_(kind: type[BaseException], *args: object) -> Any:
    raise kind(*args)


async def raise_later(kind: type[BaseException], *args: object) -> Any:
    await asyncio.sleep(0)
    raise kind(*args)


COROUTINE = pytest.param(delayed(raise_later, name="node"), id="coroutine")
INLINE = pytest.param(delayed(raise_, executor="loop", name="node"), id="inline")
THREAD = pytest.param(delayed(raise_, executor="thread", name="node"), id="thread")
PROCESS = pytest.param(delayed(raise_, executor="process", name="node"), id="process")

ENDS_THE_PROGRAM = [SystemExit, KeyboardInterrupt, Exit]


@pytest.fixture(autouse=True)
def complaints(request: pytest.FixtureRequest) -> Any:
    """What the loop's exception handler was told; nothing, in any of these tests."""
    told: list[dict[str, Any]] = []
    if "anyio_backend" in request.fixturenames:
        loop = request.getfixturevalue("_running_loop")
        loop.set_exception_handler(lambda _, context: told.append(context))
    yield told
    assert told == []


@pytest.mark.parametrize("function", [COROUTINE, INLINE, THREAD, PROCESS])
@pytest.mark.parametrize("kind", [StopIteration, StopAsyncIteration])
async def test_stop_iteration(function, kind):
    """StopIteration would look like the end of a generator: it becomes the cause of a RuntimeError."""
    error = await failure_of(function(kind, 5))
    assert type(error) is RuntimeError
    # A coroutine's own StopIteration is replaced by Python.
    assert str(error).endswith(f" raised {kind.__name__}")
    assert error.__notes__[0].startswith("asyncgraph: node node-")
    assert type(error.__cause__) is kind
    assert error.__cause__.args == (5,)


@pytest.mark.parametrize("function", [THREAD, PROCESS])
@pytest.mark.parametrize("kind", [SystemExit, KeyboardInterrupt, GeneratorExit, asyncio.CancelledError])
async def test_leaving_from_elsewhere(function, kind):
    """What would end a program, or look like a cancellation, fails its node in a thread or a worker."""
    error = await failure_of(function(kind, 3))
    assert type(error) is NodeExitedError
    assert type(error.original) is kind
    assert error.__cause__ is error.original
    assert error.code == (3 if kind is SystemExit else None)
    assert error.node == "node"
    assert error.path == (error.key,)
    assert f"{error.key} raised {kind.__name__}(3)" in str(error)


@pytest.mark.parametrize("function", [THREAD, PROCESS])
@pytest.mark.parametrize(
    ("kind", "meaning"),
    [
        (SystemExit, "which would have ended the program"),
        (asyncio.CancelledError, "and nobody has asked it to stop"),
        (Exit, "of the class tests.errors.test_exits.Exit, which is no Exception"),
    ],
)
async def test_why_leaving_is_a_failure(function, kind, meaning):
    """The error says what makes it another than the one that was raised."""
    error = await failure_of(function(kind, 3))
    assert type(error) is NodeExitedError
    assert str(error) == f"{error.key} raised {kind.__name__}(3), {meaning}"


@pytest.mark.parametrize("function", [COROUTINE, INLINE])
@pytest.mark.parametrize("kind", [GeneratorExit, asyncio.CancelledError])
async def test_leaving_from_the_loop(function, kind):
    """GeneratorExit, or a CancelledError that nobody asked for, is a failure of its node on the loop too."""
    error = await failure_of(function(kind, "mine"))
    assert type(error) is NodeExitedError
    assert type(error.original) is kind
    assert error.__cause__ is error.original


@pytest.mark.parametrize("function", [COROUTINE, INLINE, THREAD, PROCESS])
async def test_leaving_is_a_failure_among_others(function):
    """With `return_exceptions`, what was no failure before it became one is returned as any other."""
    error, value = await compute(
        function(asyncio.CancelledError), delayed(len)("abc"), return_exceptions=True
    )
    assert type(error) is NodeExitedError
    assert value == 3


@pytest.mark.parametrize("return_exceptions", [False, True])
@pytest.mark.parametrize("function", [COROUTINE, INLINE])
@pytest.mark.parametrize("kind", ENDS_THE_PROGRAM)
async def test_ending_the_program(function, kind, return_exceptions):
    """SystemExit and the like on the loop stop the run, which cleans up, and leave it as they are."""
    steps: list[str] = []
    begun = asyncio.Event()

    @delayed
    async def other() -> None:
        begun.set()
        try:
            await asyncio.Event().wait()
        finally:
            await asyncio.sleep(0)
            steps.append("cleaned up")

    @delayed
    async def after_the_other_has_begun() -> type[BaseException]:
        await begun.wait()
        return kind

    request = compute(other(), function(after_the_other_has_begun(), 3), return_exceptions=return_exceptions)
    with pytest.raises(kind) as caught:
        await request
    assert type(caught.value) is kind
    assert caught.value.args == (3,)
    assert steps == ["cleaned up"]
    (note,) = caught.value.__notes__
    assert note.startswith("asyncgraph: node node-")


@pytest.mark.parametrize("function", [COROUTINE, INLINE])
@pytest.mark.parametrize("kind", ENDS_THE_PROGRAM)
async def test_ending_the_program_from_a_run_in_the_background(function, kind):
    """It leaves a run in the background only where that is awaited, not through the loop."""
    run = start(function(kind, 3))
    over = asyncio.Event()
    run.add_done_callback(lambda _: over.set())
    await over.wait()
    for _ in range(2):
        with pytest.raises(kind):
            await run


@pytest.mark.parametrize("function", [COROUTINE, INLINE])
async def test_others_go_on_when_one_run_ends_the_program(function):
    """Another run of the same runtime does not notice."""
    go = asyncio.Event()

    @delayed
    async def other() -> str:
        await go.wait()
        return "done"

    async with Runtime():
        run = start(other())
        with pytest.raises(SystemExit):
            await function(SystemExit, 3)
        go.set()
        assert await run == "done"


async def test_a_node_that_cancels_itself():
    """A coroutine that cancels its own task is not mistaken for a failure: its run is cancelled."""

    @delayed
    async def node() -> None:
        task = asyncio.current_task()
        assert task is not None
        task.cancel()
        await asyncio.sleep(0)

    with pytest.raises(asyncio.CancelledError):
        await node()
    current = asyncio.current_task()
    assert current is not None
    assert current.cancelling() == 0


SCRIPT = """
import asyncio, sys
from asyncgraph import delayed, run

async def raise_later(kind, *args):
    await asyncio.sleep(0)
    raise kind(*args)

def raise_(kind, *args):
    raise kind(*args)

@delayed
async def other():
    try:
        await asyncio.Event().wait()
    finally:
        await asyncio.sleep(0)
        print("cleaned up", flush=True)

function = {"coroutine": delayed(raise_later), "inline": delayed(raise_, executor="loop")}[sys.argv[1]]
kind = {"SystemExit": SystemExit, "KeyboardInterrupt": KeyboardInterrupt}[sys.argv[2]]

async def main():
    from asyncgraph import compute
    asyncio.get_running_loop().slow_callback_duration = 3600  # a slow machine is nothing to complain of
    await compute(other(), function(kind, 3))

if sys.argv[3] == "run":
    run(main())
else:
    asyncio.run(main(), debug=True)
"""


@pytest.mark.parametrize("how", ["run", "asyncio.run"])
@pytest.mark.parametrize("kind", ["SystemExit", "KeyboardInterrupt"])
@pytest.mark.parametrize("where", ["coroutine", "inline"])
def test_a_program_ends_with_it(where, kind, how):
    """A program whose node raises SystemExit(3) has cleaned up, exits with 3 and complains of nothing."""
    ended = subprocess.run(
        [sys.executable, "-X", "dev", "-c", textwrap.dedent(SCRIPT), where, kind, how],
        check=False,
        capture_output=True,
        text=True,
        timeout=50,
        env={**os.environ, "PYTHONASYNCIODEBUG": "0"},
    )
    assert ended.stdout == "cleaned up\n"
    if kind == "SystemExit":
        assert ended.returncode == 3
        assert ended.stderr == ""
    else:
        assert ended.returncode in (130, -2)
        assert ended.stderr.count("Traceback") == 1
        assert "KeyboardInterrupt: 3\nasyncgraph: node raise_" in ended.stderr
        assert "never retrieved" not in ended.stderr
