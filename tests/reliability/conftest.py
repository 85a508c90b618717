"""Fixtures of the fault matrix."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.reliability.harness import Witness


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
