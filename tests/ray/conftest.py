"""Tests with Ray, which keeps threads and connections of its own here, and opens more as it likes."""

from __future__ import annotations

import pytest


@pytest.fixture(autouse=True)
def _no_leaks() -> None:
    """Look for nothing but tasks on the loop, which are ours; see `tests/conftest.py`."""
