"""Random graphs, mostly in worker processes, do what the same calls do one after another."""

from __future__ import annotations

import asyncio
import os
import random
import zlib
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from asyncgraph import Runtime, delayed
from asyncgraph._runtime.lanes import COROUTINE, PROCESS, THREAD
from asyncgraph._runtime.processes import Processes
from asyncgraph.errors import DependencyError, WorkerCrashedError
from tests.runtime.background import begin

SECONDS = 25

GRAPHS = 7
KINDS = ("small", "small", "small", "text", "list", "large", "dict", "tail", "big tail", "raise", "crash")
DURATIONS = (None, 1e-6, 1e-4, 1e-3, 0.05)


def digest(value: Any) -> int:
    """A number that stands for a value; there is none for a node, a payload or whatever else may come."""
    if isinstance(value, dict):
        value = [*value.items()]
    if isinstance(value, (list, tuple)):
        return zlib.crc32(repr([digest(each) for each in value]).encode())
    assert isinstance(value, (int, str, bytes)), f"a {type(value)} came"
    return zlib.crc32(value if isinstance(value, bytes) else repr(value).encode())


def call(log: str, name: str, kind: str, /, *args: Any, **kwargs: Any) -> Any:
    """Note that it has begun, and make something of what it is given."""
    if log:
        fd = os.open(log, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
        os.write(fd, f"{name}\n".encode())
        os.close(fd)
    number = digest([name, args, kwargs])
    if kind == "raise":
        raise LookupError(name)
    if kind == "crash":
        if not log:
            raise WorkerCrashedError(name)
        os._exit(1)
    if kind.endswith("tail"):
        rest = b"c" * (400_000 if kind == "big tail" else 10)
        if not log:
            return call("", f"{name}+", "large", number, rest)
        return delayed(executor="process")(call)(log, f"{name}+", "large", number, rest)
    made = {"text": str(number), "list": [number, "x"], "large": number.to_bytes(4, "big") * 100_000}
    return {"v": made["large"]} if kind == "dict" else made.get(kind, number)


def other(*args: Any, **kwargs: Any) -> Any:
    """The same, as another function."""
    return call(*args, **kwargs)


async def acall(*args: Any, **kwargs: Any) -> Any:
    """The same, as a coroutine."""
    await asyncio.sleep(0)
    return call(*args, **kwargs)


def some_functions(random_: random.Random) -> list[Any]:
    """These functions, most of them in worker processes; of some it is known how long they take."""
    functions = [delayed(executor="process")(each) for each in (call, call, other, other)]
    for function in functions:
        seconds = random_.choice(DURATIONS)
        if seconds is not None:
            function.function.durations.add(500 * seconds, 500)
    return [*functions, *functions, delayed(call), delayed(executor="loop")(call), delayed(acall)]


def some_graph(random_: random.Random, log: str) -> tuple[list[Any], list[Any]]:
    """Nodes, and what becomes of each: its value, or the class of the error at the bottom of it."""
    functions, bias = some_functions(random_), random_.random()
    nodes: list[Any] = []
    wanted: list[Any] = []
    for index in range(random_.randint(1, 20)):
        function = random_.choice(functions)
        kind = random_.choice(KINDS if random_.random() < 0.6 else KINDS[:8])
        if kind == "crash" and function.function.executor != "process":
            kind = "raise"
        needed = [index - 1 if random_.random() < bias else random_.randrange(index)] if index else []
        needed += [random_.randrange(index) for _ in range(random_.choice((0, 0, 1, 2)) if index else 0)]
        wraps = [random_.choice((lambda x: x, lambda x: [x, 1], lambda x: {"k": x})) for _ in needed]
        by_name = random_.random() < 0.2 and bool(needed)

        def arguments(
            values: list[Any], needed: Any = needed, wraps: Any = wraps, by_name: Any = by_name
        ) -> Any:
            args = [wrap(values[each]) for each, wrap in zip(needed, wraps, strict=True)]
            return (args[1:], {"last": args[0]}) if by_name else (args, {})

        args, kwargs = arguments(nodes)
        nodes.append(function(log, str(index), kind, *args, **kwargs))
        failed = [wanted[each] for each in needed if isinstance(wanted[each], set)]
        try:
            if failed:
                wanted.append(set[Any]().union(*failed))
                continue
            args, kwargs = arguments(wanted)
            wanted.append(call("", str(index), kind, *args, **kwargs))
        except Exception as error:
            wanted.append({type(error)})
    return nodes, wanted


def assert_outcome(got: Any, wanted: Any) -> None:
    """One node has ended as it does alone."""
    if isinstance(wanted, set):
        error = got.__cause__ if isinstance(got, DependencyError) else got
        assert type(error) in wanted
    else:
        assert got == wanted


async def compute_and_compare(random_: random.Random, runtime: Runtime, log: Path) -> None:
    """One graph; or a part of it, because it is cancelled."""
    nodes, wanted = some_graph(random_, str(log))
    asked = sorted({len(nodes) - 1, *random_.choices(range(len(nodes)), k=random_.choice((0, 1, 5)))})
    make = random_.choice((runtime.start, begin))  # what can be resumed keeps more
    run = make([nodes[each] for each in asked], return_exceptions=True)
    if random_.random() < 0.3:
        await asyncio.sleep(random_.choice((0, 0.001, 0.02, 0.1)))
        run.cancel()
    try:
        for got, each in zip(await run, asked, strict=True):
            assert_outcome(got, wanted[each])
    except asyncio.CancelledError:
        pass
    begun = log.read_text().split() if log.exists() else []
    await asyncio.sleep(0)
    assert begun == (log.read_text().split() if log.exists() else []), "something began after the end"
    assert max(Counter(begun).values(), default=0) <= 1, "a call began twice"


@pytest.mark.parametrize("processes", [1, 2])
async def test_random_graphs(processes, monkeypatch, tmp_path):
    """Values, errors, no call begun twice or after the end; and all slots are there at the end."""
    made: list[Processes] = []
    original = Processes.__init__

    def init(self: Processes, owner: Any) -> None:
        original(self, owner)
        made.append(self)

    monkeypatch.setattr(Processes, "__init__", init)
    # What fails while its run is being cancelled is reported to the loop, which is as it should be.
    complaints: list[str] = []
    loop = asyncio.get_running_loop()
    monkeypatch.setattr(loop, "call_exception_handler", lambda context: complaints.append(context["message"]))
    async with Runtime(processes=processes) as runtime:
        assert runtime._lanes is not None
        for seed in range(GRAPHS):
            random_ = random.Random(f"a {processes} {seed}")
            logs = [tmp_path / f"{seed} {number}" for number in range(random_.choice((1, 1, 3)))]
            async with asyncio.timeout(10):
                await asyncio.gather(*[compute_and_compare(random_, runtime, log) for log in logs])
            for lane in (COROUTINE, THREAD, PROCESS):
                slots = runtime._lanes[lane].slots
                assert (slots.used, slots.waiting, slots.promised) == (0, {}, set()), f"seed {seed}"
            assert all((each._units, each._jobs, each.passing) == (0, set(), set()) for each in made)
            made.clear()
    assert all("failed while its run was being cancelled" in complaint for complaint in complaints)
