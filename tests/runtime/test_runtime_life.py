"""A runtime from its opening to its end: defaults, selection, forks, nesting, the interpreter's end."""

from __future__ import annotations

import asyncio
import contextvars
import gc
import os
import subprocess
import sys
import textwrap
import threading
from collections.abc import AsyncIterator, Callable
from typing import Any

import anyio
import pytest

from asyncgraph import Runtime, compute, delayed, start
from asyncgraph._runtime import runtime as module
from asyncgraph.errors import RuntimeClosedError
from tests.runtime import durations

inc = delayed(lambda x: x + 1, executor="loop", name="inc")
thread_inc = delayed(lambda x: x + 1, executor="thread", name="thread_inc")


def own_threads() -> list[threading.Thread]:
    """The threads of asyncgraph that are there."""
    return [thread for thread in threading.enumerate() if thread.name.startswith("asyncgraph-")]


def script(text: str, *options: str) -> subprocess.CompletedProcess[str]:
    """Run a script in an interpreter that shows each warning."""
    command = [sys.executable, "-W", "error", *options, "-c", textwrap.dedent(text)]
    return subprocess.run(command, capture_output=True, text=True, timeout=50, check=False)


# -- the default runtime


def _loops() -> list[Any]:
    uvloop = pytest.importorskip("uvloop")
    return [asyncio.new_event_loop, uvloop.new_event_loop]


@pytest.mark.parametrize("factory", _loops(), ids=["asyncio", "uvloop"])
def test_each_loop_has_a_default_runtime_that_is_closed_with_it(factory: Callable[[], Any]) -> None:
    """Loop after loop, nothing of the one before is left: no thread, no entry in the registry."""
    seen = []

    async def main() -> None:
        assert await thread_inc(1) == 2
        runtime = module.current_runtime(None)
        assert module.current_runtime(None) is runtime
        seen.append(runtime)
        assert own_threads()

    for _ in range(3):
        with asyncio.Runner(loop_factory=factory) as runner:
            runner.run(main())
        assert own_threads() == []
        assert module._defaults == {}
    assert len(set(map(id, seen))) == 3
    assert all(runtime.is_closed for runtime in seen)


def test_asyncio_run_twice_and_anyio_run() -> None:
    """The usual ways to run a program work one after the other."""

    async def main() -> int:
        return await thread_inc(await inc(1))

    assert [asyncio.run(main()), asyncio.run(main()), anyio.run(main)] == [3, 3, 3]
    assert own_threads() == []


def test_a_runner_keeps_its_runtime_between_runs() -> None:
    """One loop, one default runtime, however many coroutines it is given."""

    async def main() -> Runtime:
        await thread_inc(1)
        return module.current_runtime(None)

    with asyncio.Runner() as runner:
        assert runner.run(main()) is runner.run(main())
    assert own_threads() == []


def test_a_background_run_ends_with_its_loop() -> None:
    """`asyncio.run` cancels what is still going on, and waits for its cleanup."""
    ended = []

    async def endless() -> None:
        try:
            await asyncio.get_running_loop().create_future()
        finally:
            await asyncio.sleep(0)
            ended.append(1)

    async def main() -> Any:
        run = start(delayed(endless)())
        for _ in range(5):
            await asyncio.sleep(0)
        return run

    run = asyncio.run(main())
    assert ended == [1]
    assert run.done()


def test_a_loop_closed_without_shutdown_leaves_nothing_for_long() -> None:
    """A loop that is closed without `shutdown_asyncgens` is cleaned up when the next one begins."""
    loop = asyncio.new_event_loop()
    loop.run_until_complete(thread_inc(1).compute())
    loop.close()
    assert asyncio.run(inc(1).compute()) == 2
    gc.collect()
    assert module._defaults == {}


# -- which one is used


async def test_the_runtime_of_the_enclosing_block_is_used() -> None:
    """The innermost block counts; outside it is the one around, and then the default."""
    default = module.current_runtime(None)
    async with Runtime() as outer:
        assert module.current_runtime(None) is outer
        async with Runtime() as inner:
            assert module.current_runtime(None) is inner
            assert module.current_runtime(outer) is outer
        assert module.current_runtime(None) is outer
        assert await inc(1) == 2
    assert module.current_runtime(None) is default


async def test_a_task_inherits_the_runtime_and_others_do_not_see_it() -> None:
    """The block counts for what is started in it, not for tasks that began before."""
    go, done = asyncio.Event(), asyncio.Event()

    async def look() -> Runtime:
        await go.wait()
        return module.current_runtime(None)

    before = asyncio.ensure_future(look())
    async with Runtime() as runtime:
        within = asyncio.ensure_future(look())
        go.set()
        assert await within is runtime
        assert await before is not runtime
        done.set()


async def test_the_runtime_is_that_of_the_call_in_nodes_too() -> None:
    """A compute inside a node uses the runtime of its block."""

    async def look() -> Runtime:
        return module.current_runtime(None)

    async with Runtime() as runtime:
        assert await delayed(look)() is runtime


async def test_leaving_the_block_in_another_context_works() -> None:
    """A fixture or lifespan may be left in another task than it was entered in."""
    runtime = Runtime()
    loop = asyncio.get_running_loop()
    await loop.create_task(runtime.__aenter__(), context=contextvars.Context())
    assert await runtime.compute(inc(1)) == 2
    await loop.create_task(runtime.__aexit__(None, None, None), context=contextvars.Context())
    with pytest.raises(RuntimeClosedError):
        await runtime.compute(inc(1))


def test_a_runtime_of_another_loop_is_refused() -> None:
    """Used where it does not belong, a runtime says so; a block inherited by a thread's loop is not meant."""

    async def main() -> None:
        async with Runtime() as runtime:

            async def elsewhere() -> str:
                assert await inc(1) == 2  # on that loop's own
                with pytest.raises(RuntimeError) as caught:
                    await compute(inc(1), runtime=runtime)
                assert type(caught.value) is RuntimeError
                return str(caught.value)

            text = await asyncio.to_thread(lambda: asyncio.run(elsewhere()))
            assert "this runtime belongs to another event loop" in text

    asyncio.run(main())


# -- closed, not open, open again


async def test_a_runtime_is_used_inside_its_block() -> None:
    """Before and after, each use is a RuntimeClosedError that says which it is."""
    runtime = Runtime()
    with pytest.raises(RuntimeClosedError, match="not open yet: `async with Runtime"):
        await runtime.compute(inc(1))
    async with runtime:
        run = runtime.start(inc(1))
        with pytest.raises(RuntimeError, match="is open already") as caught:
            await runtime.__aenter__()
        assert not isinstance(caught.value, RuntimeClosedError)
    assert await run == 2
    for begin in (lambda: runtime.start(inc(1)), lambda: start(inc(1), runtime=runtime)):
        with pytest.raises(RuntimeClosedError, match="closed"):
            begin()
    with pytest.raises(RuntimeClosedError, match="opens once; make a new Runtime"):
        await runtime.__aenter__()
    assert isinstance(RuntimeClosedError(), RuntimeError)


@pytest.mark.parametrize("option", ["processes", "threads", "concurrency"])
@pytest.mark.parametrize(
    ("value", "kind"),
    [(0, ValueError), (-1, ValueError), (1.0, TypeError), ("4", TypeError), (True, TypeError)],
)
def test_limits_are_whole_numbers_above_zero(option: str, value: Any, kind: type[Exception]) -> None:
    """Each limit is checked at once, and named."""
    with pytest.raises(kind, match=f"^{option}= takes a whole number"):
        Runtime(**{option: value})


def test_concurrency_has_no_none() -> None:
    """None stands for a default where that depends on the machine, and only there."""
    Runtime(processes=None, threads=None)
    with pytest.raises(TypeError, match="concurrency="):
        Runtime(concurrency=None)  # type: ignore[arg-type]


async def test_limits_are_kept() -> None:
    """No more threads and coroutines run at once than were allowed."""
    lock = threading.Lock()
    now = {"thread": 0, "loop": 0}
    most = {"thread": 0, "loop": 0}
    barrier, five = threading.Barrier(3), asyncio.Barrier(5)

    def in_thread(_: int) -> None:
        with lock:
            now["thread"] += 1
            most["thread"] = max(most["thread"], now["thread"])
        barrier.wait(30)  # three at a time, no fewer
        with lock:
            now["thread"] -= 1

    async def on_loop(_: int) -> None:
        now["loop"] += 1
        most["loop"] = max(most["loop"], now["loop"])
        await five.wait()  # and five of these
        now["loop"] -= 1

    async with Runtime(threads=3, concurrency=5) as runtime:
        blocking = [delayed(in_thread, executor="thread")(i) for i in range(30)]
        await runtime.compute(blocking, [delayed(on_loop)(i) for i in range(100)])
    assert most == {"thread": 3, "loop": 5}


# -- forks


def _status_in_child(runtime: Runtime) -> int:
    """What the exit code of a forked child says: 0 if its parent's runtime can be neither used nor closed."""
    for begin in (runtime.start, lambda node: start(node, runtime=runtime)):
        try:
            begin(inc(1))
        except RuntimeClosedError as error:
            if "forked" not in str(error):
                return 2
        except RuntimeError:
            # Python says that no loop is running in a forked child, before the runtime is asked.
            if begin == runtime.start:
                return 3
    runtime.close()
    try:
        runtime.aclose(cancel=True).send(None)
    except StopIteration:
        return 0
    return 4


@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
async def test_a_forked_child_cannot_use_the_runtime_and_the_parent_is_unharmed() -> None:
    """In the child each use is a RuntimeClosedError; the parent's workers go on."""
    async with Runtime(processes=1, threads=1) as runtime:
        pid_node = delayed(os.getpid, executor="process")
        worker = await runtime.compute(pid_node())
        assert await runtime.compute(thread_inc(1)) == 2
        child = os.fork()
        if child == 0:
            status = 1
            try:
                status = _status_in_child(runtime)
            finally:
                os._exit(status)
        _, status = await asyncio.to_thread(os.waitpid, child, 0)
        assert os.waitstatus_to_exitcode(status) == 0
        assert await runtime.compute(pid_node()) == worker
        assert await runtime.compute(thread_inc(1)) == 2


def test_a_forked_child_has_a_loop_of_its_own_and_exits_quietly() -> None:
    """A child that begins a loop of its own computes on it, and its exit leaves the parent's alone."""
    done = script(
        """
        import asyncio, atexit, os, warnings
        from asyncgraph import compute, delayed

        warnings.simplefilter("ignore", DeprecationWarning)
        parent = delayed(os.getppid, executor="process")
        worker = delayed(os.getpid, executor="process")

        loop = asyncio.new_event_loop()
        pid = loop.run_until_complete(worker().compute())
        child = os.fork()
        if child == 0:
            status = 1
            try:
                assert asyncio.run(compute(delayed(lambda: 7, executor="thread")())) == 7
                assert asyncio.run(parent().compute()) == os.getpid()
                atexit._run_exitfuncs()
                status = 0
            finally:
                os._exit(status)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
        assert loop.run_until_complete(worker().compute()) == pid
        loop.run_until_complete(loop.shutdown_asyncgens())
        loop.close()
        print("unharmed")
        """
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "unharmed\n", "")


# -- the end of the interpreter


@pytest.mark.parametrize("kind", ["coroutine", "thread", "process"])
def test_the_interpreter_waits_for_no_run_and_is_silent(kind: str) -> None:
    """A program that ends with a run in the background, and nothing closed, neither waits nor complains."""
    done = script(
        f"""
        import asyncio, time
        from asyncgraph import delayed, start

        async def sleep():
            await asyncio.sleep(1000)

        kind = {kind!r}
        node = delayed(sleep)() if kind == "coroutine" else delayed(time.sleep, executor=kind)(1000)
        loop = asyncio.new_event_loop()

        async def main():
            global run
            run = start(node)
            while not run.statistics().running:
                await asyncio.sleep(0)

        loop.run_until_complete(main())
        loop.close()
        """,
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


# -- computes inside nodes


@pytest.fixture
async def narrow() -> AsyncIterator[Runtime]:
    """A runtime with one slot of each kind."""
    async with Runtime(concurrency=1, threads=1, processes=1) as runtime:
        yield runtime


async def test_nested_computes_do_not_deadlock(narrow: Runtime) -> None:
    """A coroutine node that computes, five deep, beside others, finds a slot though all are taken."""

    async def nested(depth: int) -> int:
        if not depth:
            return await compute(thread_inc(0), runtime=narrow)
        values = await compute([delayed(nested)(depth - 1), thread_inc(depth)], runtime=narrow)
        return sum(values)

    results = await narrow.compute([delayed(nested)(5) for _ in range(3)])
    assert results == [1 + sum(depth + 1 for depth in range(1, 6))] * 3


async def test_a_thread_that_computes_on_its_loop_does_not_deadlock(narrow: Runtime) -> None:
    """A blocking node may compute through `run_coroutine_threadsafe`, with the only thread being its own."""
    loop = asyncio.get_running_loop()

    def blocking(x: int) -> int:
        return asyncio.run_coroutine_threadsafe(narrow.compute(thread_inc(inc(x))), loop).result(30)

    nodes = [delayed(blocking, executor="thread")(i) for i in range(3)]
    assert await narrow.compute(nodes) == [2, 3, 4]


async def test_two_runs_share_the_slots(narrow: Runtime) -> None:
    """With one thread, a short run that begins later is not kept until a long one is over."""
    order: list[str] = []
    call = durations.long(delayed(lambda name, *_: order.append(name), executor="thread"))
    long = narrow.start([call("long") for _ in range(200)])
    short = narrow.start([call("short") for _ in range(5)])
    await short
    assert order.count("long") < 50
    await long
    assert len(order) == 205


async def test_the_loop_is_served_while_inline_nodes_run() -> None:
    """A hundred thousand calls inline are many turns of the loop and not one."""
    run = start([inc(i) for i in range(100_000)])
    count = 0
    while not run.done():
        await asyncio.sleep(0)
        count += 1
    assert (await run)[-1] == 100_000
    assert count > 20
