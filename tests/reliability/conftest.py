"""Fixtures of the fault matrix."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from asyncgraph.executors.process.connections import Connector
from asyncgraph.executors.process.threaded import ThreadedLink
from tests.reliability.harness import IN_THIS_PROCESS, Witness

CONNECTIONS = ["pipes", "threads"]


@pytest.fixture(params=CONNECTIONS)
def connection(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """The connection that runtimes of this test have with their workers: each that there is."""
    name: str = request.param
    _connect(name, monkeypatch)
    return name


@pytest.fixture(params=[*IN_THIS_PROCESS, *(f"process-{name}" for name in CONNECTIONS)])
def executor(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """The ways of running a function: see `harness.on`; worker processes over each connection."""
    name, _, connection = request.param.partition("-")
    _connect(connection, monkeypatch)
    return str(name)


def _connect(connection: str, monkeypatch: pytest.MonkeyPatch) -> None:
    if connection == "threads":
        target = "asyncgraph.executors.process.pool.connector_for"
        monkeypatch.setattr(target, lambda loop: Connector(ThreadedLink, loop))


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Run tests with threads on one loop only: to threads all loops are alike."""
    dropped = [item for item in items if _is_twice(getattr(item, "callspec", None))]
    if dropped:
        config.hook.pytest_deselected(items=dropped)
        items[:] = [item for item in items if item not in dropped]


def _is_twice(callspec: Any) -> bool:
    params = callspec.params if callspec is not None else {}
    by_threads = params.get("connection") == "threads" or params.get("executor") == "process-threads"
    return by_threads and "use_uvloop" in str(params.get("anyio_backend"))


@pytest.fixture
def witness(tmp_path: Path) -> Iterator[Witness]:
    """A pipe on which processes report, and on which their end is seen."""
    witness = Witness(tmp_path / "witness")
    yield witness
    witness.close()


@pytest.fixture
async def complaints(_running_loop: Any) -> list[dict[str, Any]]:
    """What the loop's exception handler is told."""
    told: list[dict[str, Any]] = []
    _running_loop.set_exception_handler(lambda _, context: told.append(context))
    return told
