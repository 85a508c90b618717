"""What observers put around calls: where it is entered, and that it harms nothing."""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from contextvars import ContextVar
from typing import Any

import pytest

from asyncgraph import compute, delayed, start
from asyncgraph.observe import NodeInfo, ObservedRun, Observer

where: ContextVar[str] = ContextVar("where", default="nowhere")


class Around(Observer):
    """Says in a context variable which node this is in, and by which observer."""

    kinds = frozenset()

    def __init__(self, name: str = "") -> None:
        self.name = name
        self.threads: list[int] = []
        self.seen: list[tuple[str, str]] = []

    def around(
        self, run: ObservedRun, node: NodeInfo, call: Callable[..., Any]
    ) -> AbstractContextManager[Any]:
        """What sets it, and takes it back."""
        self.seen.append((run.name, node.key))
        return self._manager(node.key)

    @contextmanager
    def _manager(self, key: str) -> Iterator[None]:
        self.threads.append(threading.get_ident())
        token = where.set(
            f"{self.name}{key}" if where.get() == "nowhere" else f"{where.get()},{self.name}{key}"
        )
        yield
        where.reset(token)


class Failing(Observer):
    """Fails when it is asked, or when what it gives is entered or left."""

    kinds = frozenset()

    def __init__(self, at: str) -> None:
        self.at = at

    def around(self, run: ObservedRun, node: NodeInfo, call: Callable[..., Any]) -> Any:
        """Fail, or give something that fails."""
        if self.at == "around":
            raise RuntimeError("no")
        return self

    def __enter__(self) -> Any:
        """Fail."""
        if self.at == "enter":
            raise RuntimeError("no")

    def __exit__(self, *error: object) -> None:
        """Fail."""
        if self.at == "leave":
            raise RuntimeError("no")


@pytest.mark.parametrize("executor", ["loop", "thread"])
async def test_a_call_is_made_within_where_it_is_made(executor: str) -> None:
    """In its own context and thread; the first observer is asked first, and is the innermost."""
    first, second = Around("1:"), Around("2:")
    node = delayed(where.get, executor=executor)()
    assert await node.compute(observers=[first, second]) == f"2:{node.key},1:{node.key}"
    assert first.seen == [(node.key, node.key)]
    assert (first.threads[0] == threading.get_ident()) == (executor == "loop")
    assert where.get() == "nowhere"


async def test_what_a_coroutine_awaits_is_within() -> None:
    """Until it has ended, however often it is suspended; its siblings see their own."""

    @delayed
    async def look() -> set[str]:
        seen = {where.get()}
        for _ in range(3):
            await asyncio.sleep(0)
            seen.add(where.get())
        return seen

    nodes = [look() for _ in range(5)]
    seen = await compute(*nodes, observers=[Around()])
    assert list(seen) == [{node.key} for node in nodes]


async def test_a_coroutine_that_a_plain_function_returns_is_a_call_of_its_own() -> None:
    """Each is within what is around it: the function in its thread, the coroutine on the loop."""

    async def look() -> str:
        await asyncio.sleep(0)
        return where.get()

    around = Around()
    node = delayed(lambda: (where.get(), look())[1], name="made")()
    assert await node.compute(observers=[around]) == node.key
    assert around.seen == [(node.key, node.key)] * 2
    assert [ident == threading.get_ident() for ident in around.threads] == [False, True]


@pytest.mark.parametrize("executor", ["loop", "thread"])
async def test_an_error_leaves_as_it_is(executor: str) -> None:
    """Its traceback begins with the user's own function."""

    def fail() -> None:
        raise ValueError("bad")

    with pytest.raises(ValueError) as caught:
        await delayed(fail, executor=executor)().compute(observers=[Around()])
    assert caught.traceback[-1].name == "fail"
    assert not any(str(entry.path).endswith("/observe/around.py") for entry in caught.traceback)


@pytest.mark.parametrize(
    ("at", "line"),
    [
        ("around", "the observer Failing raised RuntimeError: no at around, and is told no more"),
        ("enter", "%s: what an observer has put around it could not be entered"),
        ("leave", "%s: what an observer has put around it could not be left"),
    ],
)
async def test_one_that_fails_keeps_no_node_from_running(
    caplog: pytest.LogCaptureFixture, at: str, line: str
) -> None:
    """It is logged."""
    caplog.set_level(logging.WARNING, "asyncgraph.observe")
    node = delayed(abs)(-1)
    assert await node.compute(observers=[Failing(at)]) == 1
    assert [record.getMessage() for record in caplog.records] == [line.replace("%s", node.key)]


async def test_data_and_choices_have_nothing_around_them() -> None:
    """Nothing of the user's is called for them."""
    around = Around()
    await start(delayed([1]) * 2, observers=[around])
    assert [key.rpartition("-")[0] for _, key in around.seen] == ["mul"]
