"""What tests with Dask have in common: nothing that asyncgraph keeps for it stays behind."""

from __future__ import annotations

import pytest

from asyncgraph.dask.bridge import close_bridges


@pytest.fixture(autouse=True)
def _no_bridge_left():
    """End the loop and threads that the process keeps for Dask, as it does when it exits."""
    yield
    close_bridges()
