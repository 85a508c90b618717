"""A user's program whose nodes fail, for the printed tracebacks in `golden`, which show its lines."""

# ruff: noqa: D103 - as users write

from __future__ import annotations

import asyncio
import os
import time
from typing import Any

from asyncgraph import compute, delayed, start


class BadRow(Exception):
    def __init__(self, path: str, row: int) -> None:
        super().__init__(f"{path}, row {row}: no amount")
        self.path = path
        self.row = row


def check(path: str) -> None:
    raise BadRow(path, 3)


def read(path: str) -> list[int]:
    check(path)
    return [1]


async def fetch(path: str) -> list[int]:
    await asyncio.sleep(0)
    check(path)
    return [1]


async def inc(value: int) -> int:
    return value + 1


async def fetch_both() -> None:
    async with asyncio.TaskGroup() as group:
        group.create_task(fetch("a.csv"))
        group.create_task(fetch("b.csv"))


def check_all() -> None:
    errors = []
    for path in ("a.csv", "b.csv"):
        try:
            check(path)
        except BadRow as error:
            errors.append(error)
    raise ExceptionGroup("two files are bad", errors)


def translate(path: str) -> None:
    try:
        check(path)
    except BadRow as error:
        raise LookupError("no rows") from error


async def report(path: str) -> Any:
    return await delayed(read)(path)


# -- what is awaited, one case each


async def coroutine() -> Any:
    return await delayed(fetch)("a.csv")


async def inline() -> Any:
    return await delayed(read, executor="loop")("a.csv")


async def thread() -> Any:
    return await delayed(read)("a.csv")


async def process() -> Any:
    return await delayed(read, executor="process")("a.csv")


async def behind_nodes() -> Any:
    rows = delayed(read)("a.csv")
    total = delayed(sum)(rows) + 1
    return await delayed(inc)(total)


async def operator() -> Any:
    total = delayed(sum)([1, 2])
    return await (total / 0)


async def group() -> Any:
    return await delayed(fetch_both)()


async def group_from_process() -> Any:
    return await delayed(check_all, executor="process")()


async def cause_from_process() -> Any:
    return await delayed(translate, executor="process")("a.csv")


async def crash() -> Any:
    return await delayed(os._exit, executor="process", name="crash")(3)


async def argument_that_does_not_pickle() -> Any:
    return await delayed(len, executor="process")([time, (each for each in "abc")])


async def node_timeout() -> Any:
    return await delayed(time.sleep, executor="process", timeout=0.2)(60)


async def compute_timeout() -> Any:
    page = delayed(asyncio.sleep, name="page")(60)
    return await compute(page, page + 1, timeout=0.2)


async def nested() -> Any:
    return await delayed(report)("a.csv")


async def background() -> Any:
    run = start(delayed(read)("a.csv"))
    return await run


async def not_run() -> Any:
    rows = delayed(read)("a.csv")
    (error,) = await compute([delayed(sum)(rows)], return_exceptions=True)
    raise error


CASES = [
    coroutine,
    inline,
    thread,
    process,
    behind_nodes,
    operator,
    group,
    group_from_process,
    cause_from_process,
    crash,
    argument_that_does_not_pickle,
    node_timeout,
    compute_timeout,
    nested,
    background,
    not_run,
]
