"""What type checkers say of running graphs. Not run: mypy and pyright read it, see `make types`."""

from __future__ import annotations

from typing import Any, assert_type

from asyncgraph import Run, Runtime, as_completed, compute, delayed, run, start


@delayed
def count(text: str) -> int:
    """Be plain."""
    return len(text)


@delayed
async def fetch(url: str) -> str:
    """Be async."""
    return url


async def one() -> None:
    """The value of a node, both ways of asking for it."""
    assert_type(await count("a").compute(), int)
    assert_type(await count("a"), int)
    assert_type(await fetch("a").compute(timeout=5, return_exceptions=True), str)
    assert_type(await fetch("a"), str)
    assert_type(await (count("a") + 1), Any)
    assert_type(await delayed([1]), list[int])


async def several() -> None:
    """A tuple with the type of each; what is no node is anything."""
    assert_type(await compute(count("a")), int)
    assert_type(await compute(count("a"), fetch("b")), tuple[int, str])
    assert_type(await compute(count("a"), fetch("b"), count("c")), tuple[int, str, int])
    assert_type(await compute(count("a"), {"k": fetch("b")}), Any)
    assert_type(await compute([count("a")], timeout=5), Any)


async def in_the_background() -> None:
    """A run has the type of its node."""
    background = start(count("a"))
    assert_type(background, Run[int])
    assert_type(await background, int)
    assert_type(background.done(), bool)
    assert_type(await background.fetch(fetch("b")), str)
    assert_type(start([count("a")]), Run[Any])


async def as_they_come() -> None:
    """Pairs of a node and its value."""
    async for node, value in as_completed([count("a"), count("b")]):
        assert_type(value, int)
        assert_type(await compute(node), int)


async def on_a_runtime() -> None:
    """A runtime is what it is within its block."""
    async with Runtime(processes=2, threads=4) as runtime:
        assert_type(runtime, Runtime)
        assert_type(await count("a").compute(runtime=runtime), int)


async def main() -> bytes:
    """Be the main coroutine of a script."""
    return b""


def in_a_script() -> None:
    """`run` gives the value of a node or a coroutine."""
    assert_type(run(count("a")), int)
    assert_type(run(main()), bytes)
