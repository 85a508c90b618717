"""The rig of all tests: which loops, what must not be left behind, how hypothesis runs."""

from __future__ import annotations

import asyncio
import gc
import importlib.util
import io
import math
import os
import signal
from collections.abc import AsyncIterator, Iterator
from typing import Any

import hypothesis
import pytest

from tests.leaks import Snapshot, listing

hypothesis.settings.register_profile("ci", derandomize=True, deadline=None, database=None, print_blob=True)
hypothesis.settings.register_profile("dev", deadline=None)
hypothesis.settings.load_profile(
    os.environ.get("HYPOTHESIS_PROFILE") or ("ci" if os.environ.get("CI") else "dev")
)

# A shell lets what it runs in the background ignore Ctrl-C, and so would the programs that tests start.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

LOOP_TURNS = 20
"""Passes of the loop that a task may take to end after its test: turns, not time, to keep the check exact."""

_failed = pytest.StashKey[bool]()

_needs_uvloop = pytest.mark.skipif(
    importlib.util.find_spec("uvloop") is None, reason="uvloop is not installed"
)


@pytest.fixture(
    params=[
        # asyncio's debug mode checks that calls come from the loop's own thread, and says where coroutines
        # that were never awaited were made. uvloop runs without, so that both are covered.
        pytest.param(("asyncio", {"debug": True}), id="asyncio"),
        pytest.param(("asyncio", {"use_uvloop": True}), id="uvloop", marks=_needs_uvloop),
    ]
)
def anyio_backend(request: pytest.FixtureRequest) -> Any:
    """Run each async test on each event loop."""
    return request.param


def pytest_collection_finish() -> None:
    """Let the collector pass over what lives as long as the session: it would take 0.2 s each time."""
    gc.collect()  # what is frozen is never collected
    gc.freeze()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]) -> Iterator[None]:
    """Remember which tests failed: the traceback of a failure keeps alive whatever its frames hold."""
    report = yield
    if report.failed:
        item.stash[_failed] = True
    return report


# The two checks are set up before all other fixtures of a test and so torn down after them. First goes
# `_no_pending_tasks`, while the loop is still open; then `_running_loop`, with which anyio closes the loop;
# then `_no_leaks`. What lives as long as the loop (the default runtime, asyncio's executor) has then ended.


@pytest.fixture(autouse=True)
def _no_leaks(request: pytest.FixtureRequest) -> Iterator[None]:
    """Fail a test that leaves a thread, a child process or an open descriptor behind."""
    before = Snapshot.take()
    yield
    if not request.node.stash.get(_failed, False):
        _fail_if_any(before.leaks_after_grace())


@pytest.fixture(autouse=True)
def _no_pending_tasks(request: pytest.FixtureRequest, _no_leaks: None) -> Iterator[None]:
    """Fail an async test that leaves a task pending on its loop."""
    if "anyio_backend" not in request.fixturenames:
        yield
        return
    loop = request.getfixturevalue("_running_loop")
    before = asyncio.all_tasks(loop)
    yield
    leaked = _pending_tasks(loop, before)
    if leaked and not request.node.stash.get(_failed, False):
        _fail_if_any([_describe_task(aio_task) for aio_task in leaked])


@pytest.fixture
async def _running_loop() -> AsyncIterator[asyncio.AbstractEventLoop]:
    """Hold the test's loop open until the end of its other fixtures."""
    loop = asyncio.get_running_loop()
    loop.slow_callback_duration = math.inf  # in debug mode a slow machine would be told of in the log
    # A fixture that yields holds its lease on anyio's runner; one that returns would give it back at once.
    yield loop  # noqa: PT022


def _pending_tasks(loop: asyncio.AbstractEventLoop, before: set[asyncio.Task[Any]]) -> set[asyncio.Task[Any]]:
    for _ in range(LOOP_TURNS):
        if not (leaked := asyncio.all_tasks(loop) - before):
            return leaked
        loop.run_until_complete(asyncio.sleep(0))
    return asyncio.all_tasks(loop) - before


def _describe_task(aio_task: asyncio.Task[Any]) -> str:
    stack = io.StringIO()
    aio_task.print_stack(file=stack)
    return f"task {aio_task.get_name()!r}\n{stack.getvalue()}".rstrip()


def _fail_if_any(leaks: list[str]) -> None:
    if leaks:
        pytest.fail(f"the test left behind\n{listing(leaks)}", pytrace=False)
