"""What type checkers refuse: an ignore that is idle fails `make types`, so each such line is an error."""

from __future__ import annotations

from asyncgraph import Delayed, Runtime, compute, delayed, from_graph, run, start


@delayed
def count(text: str) -> int:
    """Be plain."""
    return len(text)


@delayed
async def fetch(url: str) -> str:
    """Be async."""
    return url


def options() -> None:
    """Options are of the right type, known, and given by name."""
    delayed(len, executor=3)  # type: ignore[call-overload]  # pyright: ignore[reportCallIssue, reportArgumentType]
    delayed(len, retry=3)  # type: ignore[call-overload]  # pyright: ignore[reportCallIssue]
    delayed(len, "thread")  # type: ignore[call-overload]  # pyright: ignore[reportCallIssue]
    delayed(name=5)  # type: ignore[call-overload]  # pyright: ignore[reportArgumentType]
    delayed([1], executor="thread")  # type: ignore[call-overload]  # pyright: ignore[reportCallIssue, reportArgumentType]
    count.options(nout="2")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    count.options(retry=3)  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
    Runtime(threads="4")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]


def nodes_are_not_values() -> None:
    """A node is not what it will be."""
    number: int = count("a")  # type: ignore[assignment]  # pyright: ignore[reportAssignmentType]
    text: str = fetch("a")  # type: ignore[assignment]  # pyright: ignore[reportAssignmentType]
    other: Delayed[str] = count("a")  # type: ignore[assignment]  # pyright: ignore[reportAssignmentType]
    print(number, text, other)


async def values_have_their_types() -> None:
    """What is awaited has the type of the function's value."""
    text: str = await count("a")  # type: ignore[assignment]  # pyright: ignore[reportAssignmentType]
    number: int = await fetch("a").compute()  # type: ignore[assignment]  # pyright: ignore[reportAssignmentType]
    pair = await compute(count("a"), fetch("b"))
    first: str = pair[0]  # type: ignore[assignment]  # pyright: ignore[reportAssignmentType]
    background = start(count("a"))
    other: str = await background  # type: ignore[assignment]  # pyright: ignore[reportAssignmentType]
    print(text, number, first, other)


async def running() -> None:
    """What runs nodes takes nodes, and its options by name."""
    await count("a").compute(5)  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
    await count("a").compute(timeout="5")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    count("a").visualize(format="gif")  # type: ignore[call-overload]  # pyright: ignore[reportCallIssue, reportArgumentType]
    run(5)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    from_graph([1], "x")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]


def refusals() -> None:
    """What a node refuses is seen before it runs, where a type can tell."""
    node = count("a")
    node.key = "other"  # type: ignore[misc]  # pyright: ignore[reportAttributeAccessIssue]
