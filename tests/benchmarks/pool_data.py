"""Large data and worker processes: what handing it on costs in time and memory, and how it stalls a loop."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import importlib.util
import statistics
import time
from collections.abc import Awaitable, Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from typing import Any

from asyncgraph import Runtime, delayed
from tests.benchmarks import called, resident
from tests.benchmarks.loop_stall import longest_wait
from tests.benchmarks.pool_contenders import EXECUTOR, Opened, there, warm_ours, warm_stdlib
from tests.benchmarks.table import Row
from tests.benchmarks.timing import OURS, Benchmark, taking_turns

_HAS_NUMPY = importlib.util.find_spec("numpy") is not None
_NO_NUMPY = "not measured: needs numpy"

_MEGABYTE = 1_000_000


# -- arrays from one call to the next

_ARRAYS = 8
_READING = (called.total, called.highest)

_HERE = "in this process"

Measured = tuple[float, float]
"""Seconds, and megabytes by which this process's memory (RSS) grew at the peak."""

_Work = Callable[[int], Measured]


class _Watch:
    """Time and memory from its making on."""

    def __init__(self) -> None:
        resident.forget_peak()
        self._memory, self._began = resident.now(), time.perf_counter()

    def measured(self) -> Measured:
        """So far."""
        seconds = time.perf_counter() - self._began
        return seconds, (resident.peak() - self._memory) / _MEGABYTE


def _checked(results: list[float], size: int) -> None:
    assert results == [float(size // 8 * _ARRAYS), 1.0][: len(results)]


def arrays_here(readers: int) -> _Work:
    """Call the functions, and no pool."""

    def work(size: int) -> Measured:
        watch = _Watch()
        arrays = called.some_arrays(_ARRAYS, size)
        results = [each(arrays) for each in _READING[:readers]]
        del arrays
        measured = watch.measured()
        _checked(results, size)
        return measured

    return work


def arrays_ours(opened: Opened, readers: int) -> _Work:
    """A node that makes them, and one or two that need it."""
    runner, runtime = opened
    make, reading = there(called.some_arrays), [there(each) for each in _READING[:readers]]

    async def work(size: int) -> Measured:
        arrays = make(_ARRAYS, size)
        nodes = [each(arrays) for each in reading]
        watch = _Watch()
        results = await runtime.compute(nodes)
        measured = watch.measured()
        _checked(results, size)
        return measured

    return lambda size: runner.run(work(size))


def arrays_stdlib(pool: ProcessPoolExecutor, readers: int) -> _Work:
    """One call, then one or two with what it gave."""

    async def work(size: int) -> Measured:
        loop = asyncio.get_running_loop()
        watch = _Watch()
        arrays = await loop.run_in_executor(pool, called.some_arrays, _ARRAYS, size)
        results = await asyncio.gather(
            *(loop.run_in_executor(pool, each, arrays) for each in _READING[:readers])
        )
        del arrays
        measured = watch.measured()
        _checked(results, size)
        return measured

    return lambda size: asyncio.run(work(size))


def second(work: _Work, size: int) -> Measured:
    """Do it twice, and return what came of the second time.

    The first imports numpy, where that has not been done yet, and asks the system for memory, which in a
    virtual machine takes several times as long when nobody had that memory a few seconds before.
    """
    work(size)
    return work(size)


def arrays(items: int, rounds: int) -> Iterator[Row]:
    """Arrays of so many megabytes, for one reader and for two: time beside the plain calls, and memory."""
    if not _HAS_NUMPY:
        yield Row("arrays", remark=_NO_NUMPY)
        return
    with warm_ours() as opened, warm_stdlib() as pool:
        for shape, readers in {"one reader": 1, "two readers": 2}.items():
            works: dict[str, _Work] = {
                _HERE: arrays_here(readers),
                OURS: arrays_ours(opened, readers),
                EXECUTOR: arrays_stdlib(pool, readers),
            }
            results = taking_turns(
                {name: functools.partial(second, work, items * _MEGABYTE) for name, work in works.items()},
                rounds,
            )
            here = statistics.median(seconds for seconds, _ in results[_HERE])
            for name, each_round in results.items():
                figures = [seconds * 1e3 for seconds, _ in each_round]
                ratio = None if name == _HERE else statistics.median(figures) / 1e3 / here
                yield Row(f"{shape}: {name}", figures, "ms", ratio, at_most=2 if name == OURS else None)
            for name, each_round in results.items():
                label = f"{shape}, growth of memory: {name}"
                if resident.IS_KNOWN:
                    yield Row(label, [grown for _, grown in each_round], "MB")
                else:
                    yield Row(label, remark=resident.WITHOUT)


# -- what others on the loop notice of it

_PAYLOADS = 10
_BYTES_A_CALL = 5_000
"""Beside 10 000 trivial calls, payloads have 50 MB; beside fewer, they are as many times smaller."""

_IDLE = 0.3
"""Seconds for which an idle loop is watched."""

_Call = tuple[Callable[..., Any], Any]

_KINDS: dict[str, Callable[[int], _Call]] = {
    "bytes to workers": lambda size: (called.size_of, called.some_bytes(size)),
    "bytes from workers": lambda size: (called.some_bytes, size),
    "arrays to workers": lambda size: (called.size_of, called.some_array(size)),
    "arrays from workers": lambda size: (called.some_array, size),
}
"""A call with a payload, either way."""


def calls_of(kinds: list[str], trivial: int, size: int) -> list[_Call]:
    """So many trivial calls, and among them ten with payloads, of these kinds in turn."""
    calls: list[_Call] = [(called.inc, number) for number in range(trivial)]
    for index in range(_PAYLOADS if kinds else 0):
        call = _KINDS[kinds[index % len(kinds)]](size)
        calls.insert((trivial + _PAYLOADS) // _PAYLOADS * index, call)
    return calls


def stall_ours(opened: Opened, kinds: list[str], trivial: int, size: int) -> float:
    """Milliseconds, from the call of `start` to the end of the run."""
    runner, runtime = opened
    count = delayed(len, executor="loop")
    functions = {
        each: there(each) for each in (called.inc, called.size_of, called.some_bytes, called.some_array)
    }

    async def main(runtime: Runtime) -> float:
        calls = calls_of(kinds, trivial, size)
        node = count([functions[function](argument) for function, argument in calls])
        return await longest_wait(lambda: runtime.start(node))

    return runner.run(main(runtime))


def stall_stdlib(pool: ProcessPoolExecutor, kinds: list[str], trivial: int, size: int) -> float:
    """The same by `run_in_executor`."""

    async def main() -> float:
        calls = calls_of(kinds, trivial, size)
        loop = asyncio.get_running_loop()

        async def work() -> None:
            await asyncio.gather(
                *(loop.run_in_executor(pool, function, argument) for function, argument in calls)
            )

        return await longest_wait(lambda: asyncio.ensure_future(work()))

    return asyncio.run(main())


def stall_of(work: Callable[[], Awaitable[object]]) -> float:
    """The same of any coroutine."""

    async def main() -> float:
        return await longest_wait(lambda: asyncio.ensure_future(work()))

    return asyncio.run(main())


def stalls(items: int, rounds: int) -> Iterator[Row]:
    """All together, and each by itself."""
    size = items * _BYTES_A_CALL // 8 * 8
    kinds = [kind for kind in _KINDS if _HAS_NUMPY or "arrays" not in kind]
    payloads = f"{_PAYLOADS} of {size / _MEGABYTE:g} MB"
    with contextlib.ExitStack() as stack:
        opened, pool = stack.enter_context(warm_ours()), stack.enter_context(warm_stdlib())
        together = f"{items:,} calls, {payloads}"
        judged: dict[str, Callable[[], float]] = {
            f"{together}: {OURS}": lambda: stall_ours(opened, kinds, items, size),
            f"{items:,} calls: {OURS}": lambda: stall_ours(opened, [], items, size),
            **{
                f"{kind}, {payloads}: {OURS}": functools.partial(stall_ours, opened, [kind], 0, size)
                for kind in kinds
            },
        }
        others: dict[str, Callable[[], float]] = {
            f"{together}: {EXECUTOR}": lambda: stall_stdlib(pool, kinds, items, size),
            f"idle loop, {_IDLE:g} s": lambda: stall_of(lambda: asyncio.sleep(_IDLE)),
        }
        for label, figures in taking_turns({**judged, **others}, rounds).items():
            yield Row(label, figures, "ms", at_most=20 if label in judged else None)
    if not _HAS_NUMPY:
        yield Row("arrays", remark=_NO_NUMPY)


BENCHMARKS = [
    Benchmark(
        "pool-data",
        f"{_ARRAYS} arrays of so many MB from one call to the next, beside calls without a pool",
        64,
        arrays,
        most_rounds=3,
    ),
    Benchmark(
        "pool-stall",
        "the longest wait of another coroutine for its turn while calls and large payloads go to workers",
        10_000,
        stalls,
    ),
]
