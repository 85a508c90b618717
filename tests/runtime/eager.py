"""A loop that begins each task at once, for tests of what that does to us."""

from __future__ import annotations

import asyncio
import sys

import pytest


@pytest.fixture
async def eager_loop():
    """Let the loop of the test begin each task at once, where Python and the loop can do that."""
    if sys.version_info < (3, 12):
        pytest.skip("eager tasks came with Python 3.12")
    loop = asyncio.get_running_loop()
    before = loop.get_task_factory()
    loop.set_task_factory(asyncio.eager_task_factory)
    coroutine = asyncio.sleep(0)
    try:
        await loop.create_task(coroutine)
    except TypeError as error:  # uvloop 0.22 with Python 3.13.0
        coroutine.close()
        pytest.skip(str(error))
    else:
        yield loop
    finally:
        loop.set_task_factory(before)
