"""contextvars, tasks, timeouts, groups and scopes inside nodes; and loops that were there before."""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import threading

import anyio
import pytest

from asyncgraph import Runtime, as_completed, compute, delayed, start

variable: contextvars.ContextVar[str] = contextvars.ContextVar("variable", default="unset")

EVERYWHERE = ["coroutine", "inline", "thread", "returned node", "returned coroutine"]


def anywhere(where, function):
    """A delayed function that calls `function` in one of the ways in which a node can run."""

    async def later(*args):
        await asyncio.sleep(0)
        return function(*args)

    def returns_node(*args):
        return delayed(function, executor="thread")(*args)

    def returns_coroutine(*args):
        return later(*args)

    return {
        "coroutine": delayed(later),
        "inline": delayed(function, executor="loop"),
        "thread": delayed(function, executor="thread"),
        "returned node": delayed(returns_node, executor="loop"),
        "returned coroutine": delayed(returns_coroutine, executor="thread"),
    }[where]


def swap(value, *_):
    """Set the variable; return what it was, and whether it is set."""
    before = variable.get()
    variable.set(value)
    return before, variable.get()


# -- contextvars


@pytest.mark.parametrize("where", EVERYWHERE)
@pytest.mark.parametrize("entrance", ["compute", "await", "start", "as_completed", "runtime"])
async def test_nodes_see_the_context_of_the_call(where, entrance):
    """What is set when a run begins is what its nodes see, wherever they run, and not what is set later."""
    node = anywhere(where, variable.get)()
    variable.set("when it was built, or later")
    async with Runtime() as runtime:
        variable.set("at the call")
        if entrance == "compute":
            value = await compute(node)
        elif entrance == "await":
            value = await node
        elif entrance == "start":
            run = start(node)
            variable.set("after the call")
            value = await run
        elif entrance == "as_completed":
            async for _, each in as_completed([node]):
                value = each
        else:
            value = await runtime.compute(node)
    assert value == "at the call"


@pytest.mark.parametrize("where", EVERYWHERE)
async def test_what_a_node_sets_nobody_else_sees(where):
    """Neither siblings, nor dependents, nor the caller see it; the node itself does."""
    variable.set("of the caller")
    function = anywhere(where, swap)
    siblings = [function(str(number)) for number in range(5)]
    results = await compute([*siblings, function("last", *siblings)])
    assert results == [("of the caller", str(number)) for number in [0, 1, 2, 3, 4, "last"]]
    assert variable.get() == "of the caller"


async def test_concurrent_runs_have_each_their_own_context():
    """Requests that are served at the same time do not see each other's variables."""

    async def request(name):
        variable.set(name)
        return await compute([anywhere(where, variable.get)() for where in EVERYWHERE])

    names = [str(number) for number in range(10)]
    results = await asyncio.gather(*map(request, names))
    assert results == [[name] * len(EVERYWHERE) for name in names]


async def test_a_nested_run_sees_the_context_of_its_node():
    """What a coroutine sets before it computes is what the inner nodes see."""

    async def outer():
        variable.set("of the node")
        return await compute(*[delayed(variable.get, executor=name)() for name in ("thread", "loop")])

    assert await delayed(outer)() == ("of the node", "of the node")
    assert variable.get() == "unset"


# -- tasks, timeouts, groups, scopes


async def test_each_coroutine_is_a_task_with_the_name_of_its_node():
    """`current_task` inside a node is that node's own; its name is the key."""

    async def me():
        task = asyncio.current_task()
        await asyncio.sleep(0)
        assert asyncio.current_task() is task
        return task

    nodes = [delayed(me)() for _ in range(3)]
    tasks = await compute(nodes)
    assert len({asyncio.current_task(), *tasks}) == 4
    assert [task.get_name() for task in tasks] == [node.key for node in nodes]


async def test_an_asyncio_timeout_inside_a_node_is_the_node_s_own():
    """It ends what is inside of it; whether it leaves the node as a TimeoutError is the node's business."""

    async def catches():
        try:
            async with asyncio.timeout(0):
                await asyncio.Event().wait()
        except TimeoutError:
            return "went on"

    async def does_not():
        async with asyncio.timeout(0):
            await asyncio.Event().wait()

    async def ends_in_time():
        async with asyncio.timeout(30):
            await asyncio.sleep(0)
        return "in time"

    first, second, third = await compute(
        delayed(catches)(), delayed(does_not)(), delayed(ends_in_time)(), return_exceptions=True
    )
    assert (first, third) == ("went on", "in time")
    assert type(second) is TimeoutError
    assert "does_not" in second.__notes__[0]


async def test_a_task_group_inside_a_node():
    """Its tasks run beside the node; a failure of one is the node's, in its group, and stays so."""

    async def double(x):
        await asyncio.sleep(0)
        return 2 * x

    async def gathers():
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(double(number)) for number in range(3)]
        return [task.result() for task in tasks]

    async def fails():
        async with asyncio.TaskGroup() as group:
            group.create_task(asyncio.Event().wait())
            group.create_task(asyncio.wait_for(asyncio.Event().wait(), 0))

    assert await delayed(gathers)() == [0, 2, 4]
    with pytest.raises(ExceptionGroup) as caught:
        await delayed(fails)()
    (error,) = caught.value.exceptions
    assert type(error) is TimeoutError


async def test_anyio_inside_a_node():
    """Cancel scopes, task groups and threads of anyio work in a coroutine as in any task."""

    async def scopes():
        with anyio.move_on_after(0) as scope:
            await anyio.sleep_forever()
        with anyio.CancelScope() as inner:
            inner.cancel()
            await anyio.sleep_forever()
        return scope.cancelled_caught and inner.cancelled_caught

    async def groups():
        results = []
        async with anyio.create_task_group() as group:
            for number in range(3):
                group.start_soon(lambda n: asyncio.sleep(0, results.append(n)), number)
        return sorted(results)

    async def fails_after():
        with anyio.fail_after(0):
            await anyio.sleep_forever()

    assert await compute(delayed(scopes)(), delayed(groups)()) == (True, [0, 1, 2])
    with pytest.raises(TimeoutError):
        await delayed(fails_after)()


async def test_cancelling_a_run_while_a_node_is_in_a_scope_cancels_the_node():
    """The cancel is the run's, and no scope or timeout inside takes it for its own."""
    inside = asyncio.Event()
    seen = []

    async def node():
        try:
            with anyio.move_on_after(3600) as scope:
                async with asyncio.timeout(3600):
                    inside.set()
                    await asyncio.Event().wait()
            seen.append("went on")
        except asyncio.CancelledError:
            seen.append((scope.cancelled_caught, asyncio.current_task().cancelling()))
            raise

    run = start(delayed(node)())
    await inside.wait()
    run.cancel()
    with pytest.raises(asyncio.CancelledError):
        await run
    assert seen == [(False, 1)]


async def test_a_node_that_cancels_another_task_harms_only_that():
    """Tasks that a node makes are its own to cancel."""

    async def node():
        task = asyncio.create_task(asyncio.Event().wait())
        await asyncio.sleep(0)
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task
        return "done"

    assert await delayed(node)() == "done"


async def test_locks_and_queues_of_asyncio_work_across_nodes():
    """Coroutines of one run are on one loop: what synchronises tasks synchronises them."""
    queue: asyncio.Queue[int] = asyncio.Queue(1)

    async def put(numbers):
        for number in numbers:
            await queue.put(number)

    async def get(count):
        return [await queue.get() for _ in range(count)]

    _, got = await compute(delayed(put)(range(20)), delayed(get)(20))
    assert got == list(range(20))


# -- loops that were there before


def test_a_loop_that_runs_for_ever_in_a_thread():
    """As in a notebook: the loop runs already, cells are coroutines on it, and its end closes the rest."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, name="a notebook's loop")
    thread.start()

    async def cell(number):
        return await (delayed(abs, executor="thread")(-number) + delayed(asyncio.sleep)(0, 10))

    async def finish():
        await loop.shutdown_asyncgens()
        loop.stop()

    try:
        results = [asyncio.run_coroutine_threadsafe(cell(number), loop).result(30) for number in range(3)]
    finally:
        asyncio.run_coroutine_threadsafe(finish(), loop)
        thread.join(30)
        loop.close()
    assert results == [10, 11, 12]


def test_two_loops_in_two_threads_share_a_graph():
    """Each loop computes the same nodes for itself, in its own threads, at the same time."""
    barrier = threading.Barrier(2)
    calls = []

    def meet():
        barrier.wait(30)
        calls.append(threading.get_ident())
        return 1

    node = delayed(sum)([delayed(meet, executor="thread")(), 1])
    results = []
    threads = [threading.Thread(target=lambda: results.append(asyncio.run(node.compute()))) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert results == [2, 2]
    assert len(set(calls)) == 2


async def test_a_loop_of_its_own_inside_a_thread_node():
    """A blocking function may call `asyncio.run`, and compute there, on that loop's own runtime."""

    def blocking(number):
        nodes = delayed(abs, executor="thread")(number), delayed(asyncio.sleep)(0, number)
        return asyncio.run(compute(*nodes))

    async with Runtime(threads=1, concurrency=1):
        assert await delayed(blocking, executor="thread")(-5) == (5, -5)
