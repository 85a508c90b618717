"""Runs and nodes in the log, and the names of tasks: whoever reads them finds nodes by name."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import re
from collections.abc import Iterator
from typing import Any

import pytest

from asyncgraph import Retry, Runtime, delayed, start
from asyncgraph.observe import Logs, NodeFinished, RunFinished


class Records(logging.Handler):
    """Keeps records."""

    def __init__(self) -> None:
        super().__init__()
        self.records: list[Any] = []

    def emit(self, record: logging.LogRecord) -> None:
        """Keep it."""
        self.records.append(record)

    @property
    def lines(self) -> list[str]:
        """What they say, with numbers as N."""
        return [re.sub(r"\d+(\.\d+)?", "N", record.getMessage()) for record in self.records]


@pytest.fixture
def records() -> Iterator[Records]:
    """What is logged about runs."""
    handler, logger = Records(), logging.getLogger("asyncgraph.run")
    logger.addHandler(handler)
    logger.setLevel(logging.DEBUG)
    yield handler
    logger.removeHandler(handler)
    logger.setLevel(logging.NOTSET)


async def test_a_run_and_its_nodes_are_told_by_name(records: Records) -> None:
    """Also which run and node a record is about, for formatters that write it apart."""
    with Logs():
        node = delayed(sum, executor="loop", name="total")([1, 2])
        await node
    assert records.lines == [
        "run N of total-N has begun",
        "total-N has begun in loop",
        "total-N has finished in loop, after N s",
        "run N of total-N has finished after N s",
    ]
    levels = [record.levelno for record in records.records]
    assert levels == [logging.INFO, logging.DEBUG, logging.DEBUG, logging.INFO]
    last = records.records[2]
    assert (last.node_key, last.node_name, last.node_worker) == (node.key, "total", "loop")
    assert last.node_seconds >= 0
    assert last.run_name == records.records[0].run_name == node.key


async def test_attempts_and_failures_are_warnings(records: Records) -> None:
    """A node that is behind one that has failed is none."""

    @delayed(executor="loop", retries=Retry(attempts=2, backoff=0), name="fetch")
    def fail() -> None:
        raise ConnectionError("down")

    with Logs(), pytest.raises(ConnectionError):
        await delayed(str, name="text")(fail())
    warnings = [line for line, each in zip(records.lines, records.records, strict=True) if each.levelno > 20]
    assert warnings == [
        "fetch-N: attempt N in loop has failed with ConnectionError: down; the next one is in N s",
        "fetch-N has failed in loop with ConnectionError",
    ]
    assert "text-N is not run, behind fetch-N" in records.lines
    assert records.lines[-1] == "run N of text-N has failed with ConnectionError after N s"
    assert "fetch-N has begun in loop, attempt N" in records.lines


async def test_what_was_cancelled_is_told(records: Records) -> None:
    """Whether it had begun or not."""
    has_begun = asyncio.Event()

    @delayed
    async def wait() -> None:
        has_begun.set()
        await asyncio.sleep(1e9)

    run = start(delayed(str, name="text")(wait()), observers=[Logs()])
    await has_begun.wait()
    run.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await run
    assert "wait-N was cancelled in loop, after N s" in records.lines
    assert "text-N was cancelled before it began" in records.lines
    assert records.lines[-1] == "run N of text-N was cancelled after N s"


async def test_what_nodes_return_is_told(records: Records) -> None:
    """First what it is, then that its value has come."""

    @delayed
    async def pick() -> Any:
        return delayed(abs)(-1)

    with Logs():
        await delayed(str, name="text")(pick())
    assert "pick-N has returned abs-N" in records.lines


async def test_worker_processes_come_and_go(records: Records) -> None:
    """Those of a runtime that the observer was given to."""
    async with Runtime(processes=1, observers=[Logs()]):
        await delayed(abs, executor="process")(-1)
    assert "worker process N has started" in records.lines
    assert "worker process N has left" in records.lines


def test_where_nodes_are_not_wanted_none_is_asked_for(records: Records) -> None:
    """A logger for less than DEBUG makes runs keep no record of their nodes."""
    logs = Logs()
    assert NodeFinished in logs.kinds
    logging.getLogger("asyncgraph.run").setLevel(logging.INFO)
    assert NodeFinished not in logs.kinds
    assert RunFinished in logs.kinds
    assert NodeFinished in Logs(node_level=logging.INFO).kinds


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"logger": 1}, "logger= takes a logger or its name, not 1"),
        ({"level": "INFO"}, "level= takes a number, such as logging.INFO, not 'INFO'"),
        ({"node_level": True}, "node_level= takes a number, such as logging.INFO, not True"),
    ],
)
def test_options_are_checked(options: dict[str, Any], message: str) -> None:
    """What cannot be is said at once."""
    with pytest.raises(TypeError) as caught:
        Logs(**options)
    assert str(caught.value) == message


@pytest.mark.parametrize("is_observed", [False, True])
async def test_tasks_have_the_names_of_the_nodes_that_they_run(is_observed: bool) -> None:
    """For `asyncio.all_tasks` always; for those who look from outside, in runs that are observed."""
    names: list[set[str]] = []
    outside: list[set[str]] = []
    all_there = asyncio.Barrier(3)

    @delayed
    async def look() -> None:
        await all_there.wait()
        tasks = asyncio.all_tasks()
        names.append({aio_task.get_name() for aio_task in tasks})
        outside.append({asyncio.Task.get_name(aio_task) for aio_task in tasks})

    nodes = [look() for _ in range(3)]
    events: list[Any] = []
    await delayed(list, executor="loop")(nodes).compute(observers=[events.append] if is_observed else [])
    keys = {node.key for node in nodes}
    assert keys <= names[0]
    assert (keys <= outside[0]) == is_observed
