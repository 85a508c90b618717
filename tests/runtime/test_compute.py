"""`compute` and `await node`: shapes, sharing, failures, timeouts, wrong requests, large graphs."""

from __future__ import annotations

import asyncio
import math
import re
from collections import Counter
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple

import pytest

from asyncgraph import Runtime, compute, delayed, start
from asyncgraph.errors import CycleError, DependencyError

MANY = 50_000

Compute = Callable[..., Coroutine[Any, Any, Any]]


@delayed(executor="loop")
def inc(x: int) -> int:
    """Add one, inline."""
    return x + 1


@delayed(executor="loop")
def add(a: int, b: int) -> int:
    """Add, inline."""
    return a + b


@delayed
async def later(x: Any) -> Any:
    """Give it back a turn later."""
    await asyncio.sleep(0)
    return x


@delayed(executor="loop")
def fail(error: BaseException, *_: Any) -> Any:
    """Raise it, inline."""
    raise error


in_thread = delayed(inc.__wrapped__, executor="thread")


class Point(NamedTuple):
    x: Any
    y: Any


@dataclass
class Pair:
    left: Any
    right: Any


# -- shapes


async def test_await_and_compute_give_the_value() -> None:
    """A node is awaited by itself, by its method and by the function, each time with its value."""
    node = add(inc(1), later(10))
    assert (await node, await node.compute(), await compute(node)) == (12, 12, 12)


async def test_a_node_can_be_awaited_again_and_runs_again() -> None:
    """Results belong to a run: a second await computes anew."""
    calls: list[int] = []
    node = delayed(lambda: calls.append(1) or len(calls))()
    assert [await node, await node] == [1, 2]


async def test_several_arguments_give_a_tuple() -> None:
    """One value for each argument, in order; what is no node stays as it is."""
    marker = object()
    result = await compute(inc(1), [inc(2), 5], {"a": inc(3), "b": (inc(4), {inc(5)})}, marker)
    assert result == (2, [3, 5], {"a": 4, "b": (5, {6})}, marker)
    assert result[3] is marker


@pytest.mark.parametrize(
    ("build", "value"),
    [
        (lambda: [inc(1)], [2]),
        (lambda: (inc(1),), (2,)),
        (lambda: {inc(1)}, {2}),
        (lambda: frozenset([inc(1)]), frozenset([2])),
        (lambda: {"k": inc(1)}, {"k": 2}),
        (lambda: {inc(1): "v"}, {2: "v"}),
        (lambda: Point(inc(1), 0), Point(2, 0)),
        (lambda: Pair(inc(1), [inc(2)]), Pair(2, [3])),
        (lambda: slice(inc(1), None, inc(2)), slice(2, None, 3)),
        (list, []),
        (lambda: {"plain": 1}, {"plain": 1}),
    ],
)
async def test_a_single_container_comes_back_in_its_own_shape(build: Callable[[], Any], value: Any) -> None:
    """A single argument gives its value and no tuple around it."""
    result = await compute(build())
    assert result == value
    assert type(result) is type(value)


async def test_the_same_node_twice_is_one_value_twice() -> None:
    """A node asked for in several places runs once and appears in all of them."""
    made: list[object] = []
    node = delayed(lambda: made.append(object()) or made[-1])()
    first, second, (third,) = await compute(node, node, [node])
    assert first is second is third
    assert len(made) == 1


async def test_shared_nodes_run_once() -> None:
    """A node that many depend on, over all lanes, is called once in one compute."""
    calls: Counter[str] = Counter()

    def counted(name: str, *_: Any) -> str:
        calls[name] += 1
        return name

    base = delayed(counted)("base")
    middle = [delayed(counted, executor=lane)(f"m{i}", base) for i, lane in enumerate(["loop", "thread"] * 5)]
    tops = [delayed(counted)(f"t{i}", *middle) for i in range(10)]
    await compute(tops, base, middle[0])
    assert set(calls.values()) == {1}
    assert len(calls) == 21


async def test_values_that_look_like_something_else_stay_values() -> None:
    """Nodes whose values are exceptions, classes, None or functions give these as they are."""
    error = ValueError("a value")
    give = delayed(lambda value: value)
    assert await compute(delayed(error), delayed(None), give(int), give(len)) == (error, None, int, len)


# -- return_exceptions


async def test_return_exceptions_completes_what_is_independent() -> None:
    """Every branch that can run does; failures come back in the places of their nodes."""
    ran: list[int] = []
    error = ValueError("boom")
    bad = fail(error)
    behind = inc(inc(bad))
    good = [later(i) for i in range(10)] + [delayed(lambda i: ran.append(i) or i)(i) for i in range(10)]
    result = await compute(bad, {"behind": [behind]}, good, return_exceptions=True)
    assert result[0] is error
    dependency = result[1]["behind"][0]
    assert type(dependency) is DependencyError
    assert dependency.__cause__ is error
    assert result[2] == [*range(10), *range(10)]
    assert sorted(ran) == list(range(10))


async def test_return_exceptions_of_a_single_node() -> None:
    """A single node gives its exception itself, or the DependencyError."""
    error = KeyError("k")
    assert await compute(fail(error), return_exceptions=True) is error
    behind = await inc(fail(error)).compute(return_exceptions=True)
    assert type(behind) is DependencyError
    assert behind.__cause__ is error
    assert "fail" in str(behind)
    assert "inc" in str(behind)


async def test_return_exceptions_from_each_executor() -> None:
    """Coroutines, threads and worker processes bring their exceptions into the result alike."""

    def raising(text: str) -> None:
        raise ValueError(text)

    async def raising_later(text: str) -> None:
        await asyncio.sleep(0)
        raise ValueError(text)

    async with Runtime(processes=1) as runtime:
        errors = await runtime.compute(
            delayed(raising)("inline"),
            delayed(raising_later)("coroutine"),
            delayed(raising, executor="thread")("thread"),
            delayed(raising, executor="process")("process"),
            return_exceptions=True,
        )
    assert [(type(each), str(each)) for each in errors] == [
        (ValueError, text) for text in ("inline", "coroutine", "thread", "process")
    ]


async def test_a_failure_is_not_returned_for_system_exit() -> None:
    """SystemExit ends the program, return_exceptions or not."""
    with pytest.raises(SystemExit) as caught:
        await compute(fail(SystemExit(3)), inc(1), return_exceptions=True)
    assert caught.value.code == 3


async def test_without_return_exceptions_the_failure_is_raised_as_itself() -> None:
    """The user's own exception object leaves compute, and nothing else has begun after it."""
    error = ValueError("boom")
    with pytest.raises(ValueError, match="boom") as caught:
        await compute(inc(fail(error)), later(1))
    assert caught.value is error


async def test_an_unhashable_value_for_a_place_in_a_set_fails_clearly() -> None:
    """A list as the value of a node in a set is a TypeError of its node, or of the compute itself."""
    with pytest.raises(TypeError, match="unhashable"):
        await compute({delayed(list)(), 1})
    with pytest.raises(TypeError, match="unhashable"):
        await delayed(len)({delayed(list)()})


# -- timeouts


async def test_timeout_says_how_long_and_what_was_running() -> None:
    """TimeoutError names the seconds and the running nodes, all of which have been stopped."""
    stopped: list[int] = []

    async def endless(i: int) -> None:
        try:
            await asyncio.get_running_loop().create_future()
        finally:
            stopped.append(i)

    with pytest.raises(TimeoutError) as caught:
        await compute([delayed(endless)(i) for i in range(7)], timeout=0.2)
    pattern = r"not finished within 0\.2 s; still running: (endless\S*, ){5}\.\.\."
    assert re.fullmatch(pattern, str(caught.value))
    assert sorted(stopped) == list(range(7))


async def test_timeout_with_one_node_names_it_alone() -> None:
    """The names of few running nodes are given without an ellipsis; all entry points take a timeout."""

    async def endless() -> None:
        await asyncio.get_running_loop().create_future()

    node = delayed(endless)()
    for begun in (node.compute(timeout=0.2), compute(node, timeout=0.2), _awaited(start(node, timeout=0.2))):
        with pytest.raises(TimeoutError, match=r"not finished within 0\.2 s; still running: endless\S*$"):
            await begun


async def test_timeout_does_not_make_a_failure_of_return_exceptions() -> None:
    """The time of the whole run is not a node's failure: it is raised."""

    async def endless() -> None:
        await asyncio.get_running_loop().create_future()

    with pytest.raises(TimeoutError):
        await compute(inc(1), delayed(endless)(), return_exceptions=True, timeout=0.01)


async def test_a_timeout_that_is_not_reached_leaves_nothing() -> None:
    """The timer of a run that ends in time is cancelled with it."""
    loop = asyncio.get_running_loop()
    run = start(inc(1), timeout=3600)
    assert await run == 2
    assert run._timer is not None
    assert run._timer.cancelled()
    assert loop.is_running()


async def test_timeout_waits_for_a_running_thread() -> None:
    """A thread cannot be stopped: the TimeoutError comes when its call has ended."""
    import threading

    release, ended = threading.Event(), threading.Event()

    def busy() -> None:
        release.wait(30)
        ended.set()

    loop = asyncio.get_running_loop()
    run = start(delayed(busy, executor="thread")(), timeout=0.2)
    while not run._execution.is_stopping:  # noqa: ASYNC110 - there is no event for that
        await asyncio.sleep(0.005)
    assert not run.done()
    loop.call_soon(release.set)
    with pytest.raises(TimeoutError, match="running: busy"):
        await run
    assert ended.is_set()


# -- wrong requests


def _function() -> None:
    """A plain function."""


WRONG = [
    ((), TypeError, "there is nothing to compute: give at least one node"),
    ((_function,), TypeError, "is a function and not a node: call it, as in `await function(...)`"),
    ((inc,), TypeError, "is a function and not a node: call it, as in `await function(...)`"),
    ((inc(1), _function), TypeError, "is a function and not a node"),
]


@pytest.mark.parametrize(("nodes", "kind", "text"), WRONG)
async def test_wrong_requests_are_refused_at_the_call(nodes: Any, kind: type[Exception], text: str) -> None:
    """What cannot be computed is refused at once, before anything is awaited, with what to do."""
    with pytest.raises(kind, match=re.escape(text)):
        compute(*nodes)
    async with Runtime() as runtime:
        with pytest.raises(kind, match=re.escape(text)):
            runtime.compute(*nodes)


async def test_a_coroutine_or_future_is_no_node() -> None:
    """Awaitables that are no nodes are refused, with the way to make them nodes."""

    async def fetch() -> int:
        return 1

    coroutine = fetch()
    future: asyncio.Future[int] = asyncio.get_running_loop().create_future()
    try:
        for each in (coroutine, future):
            with pytest.raises(TypeError, match="is not a node: make its function `delayed` and call that"):
                compute(each)
            with pytest.raises(TypeError, match="is not a node"):
                start(each)
    finally:
        coroutine.close()


@pytest.mark.parametrize("timeout", [0, -1, 0.0, -0.5, math.nan, math.inf, -math.inf])
async def test_a_timeout_is_above_zero_and_finite(timeout: float) -> None:
    """A number that is no duration is a ValueError at the call."""
    for begin in _entrances(timeout=timeout):
        with pytest.raises(
            ValueError, match=re.escape(f"timeout= takes a number of seconds above 0, not {timeout!r}")
        ):
            begin()


@pytest.mark.parametrize("timeout", [True, False, "1", [1], 1j])
async def test_a_timeout_is_a_number(timeout: Any) -> None:
    """Anything but a number is a TypeError at the call, a bool as well."""
    for begin in _entrances(timeout=timeout):
        with pytest.raises(
            TypeError, match=re.escape(f"timeout= takes a number of seconds, not {timeout!r}")
        ):
            begin()


@pytest.mark.parametrize("runtime", [1, "thread", Runtime, object()])
async def test_runtime_takes_a_runtime(runtime: Any) -> None:
    """Anything else is a TypeError that shows what was given."""
    text = re.escape(f"runtime= takes a Runtime, not {runtime!r}")
    with pytest.raises(TypeError, match=text):
        await compute(inc(1), runtime=runtime)
    with pytest.raises(TypeError, match=text):
        start(inc(1), runtime=runtime)


def test_without_a_loop_the_way_out_is_named() -> None:
    """`start` outside of a loop says how to get one."""
    with pytest.raises(RuntimeError, match=re.escape("`asyncgraph.run(node)` in a plain script")):
        start(inc(1))


def _entrances(**options: Any) -> list[Callable[[], Any]]:
    """All functions that take a timeout, not called yet."""
    from asyncgraph import as_completed

    node = inc(1)
    return [
        partial(compute, node, **options),
        partial(node.compute, **options),
        partial(start, node, **options),
        partial(as_completed, [node], **options),
        partial(Runtime().compute, node, **options),
        partial(Runtime().start, node, **options),
    ]


async def _awaited(awaitable: Any) -> Any:
    return await awaitable


# -- nodes that return nodes


async def test_a_returned_node_is_computed_in_place() -> None:
    """A function may return a node, in any executor that shares the memory; its value is the value."""

    @delayed(executor="loop")
    def outer(x: int) -> Any:
        return inc(later(x))

    @delayed
    async def outer_later(x: int) -> Any:
        return outer(x)

    outer_thread = delayed(outer.__wrapped__, executor="thread")
    assert await compute(outer(1), outer_later(2), outer_thread(3), add(outer(4), outer_later(5))) == (
        2,
        3,
        4,
        11,
    )


async def test_recursion_needs_no_stack() -> None:
    """Ten thousand calls deep, and wide: recursion costs no frames."""

    @delayed(executor="loop")
    def down(n: int) -> Any:
        return 0 if n == 0 else inc(down(n - 1))

    @delayed(executor="loop")
    def tail(n: int) -> Any:
        return "bottom" if n == 0 else tail(n - 1)

    @delayed(executor="loop")
    def fibonacci(n: int) -> Any:
        return n if n < 2 else add(fibonacci(n - 1), fibonacci(n - 2))

    assert await down(10_000) == 10_000
    assert await tail(10_000) == "bottom"
    assert await fibonacci(15) == 610


async def test_a_failure_deep_in_a_recursion_leaves_whole() -> None:
    """The error of the innermost call is raised as itself; behind it everything is cancelled."""
    error = ValueError("bottom")

    @delayed(executor="loop")
    def down(n: int) -> Any:
        return fail(error) if n == 0 else inc(down(n - 1))

    with pytest.raises(ValueError, match="bottom") as caught:
        await down(2_000)
    assert caught.value is error


async def test_a_shared_returned_node_runs_once() -> None:
    """A node that several functions return, and that others ask for, is one node of the run."""
    calls: list[int] = []
    shared = delayed(lambda: calls.append(1) or object(), executor="loop")()

    @delayed(executor="loop")
    def give() -> Any:
        return shared

    first, second, third, (fourth, fifth) = await compute(
        give(), give(), shared, delayed(lambda a, b: (a, b))(give(), shared)
    )
    assert first is second is third is fourth is fifth
    assert calls == [1]


async def test_a_node_that_returns_one_depending_on_itself_is_a_cycle() -> None:
    """Waiting for oneself is a CycleError with the name of the node, not a hang."""
    box: list[Any] = []
    itself = delayed(lambda: box[0], name="itself")()
    box.append(itself)
    with pytest.raises(CycleError, match="depends on it"):
        await itself
    box[0] = inc(itself)
    with pytest.raises(CycleError, match="depends on it"):
        await compute(inc(itself), later(1))
    result = await compute(itself, later(1), return_exceptions=True)
    assert type(result[0]) is CycleError
    assert result[1] == 1


async def test_a_plain_function_may_return_a_coroutine() -> None:
    """`lambda: fetch(url)` is awaited like the coroutine function it hides, at any depth."""

    async def fetch(x: int) -> int:
        await asyncio.sleep(0)
        return x * 2

    async def twice(x: int) -> Any:
        return inc(x)

    assert await delayed(lambda: fetch(4))() == 8
    assert await delayed(partial(fetch, 5))() == 10
    assert await delayed(lambda: fetch(4), executor="loop")() == 8
    assert await delayed(lambda: twice(4))() == 5
    assert await delayed(sum)([delayed(lambda i=i: fetch(i))() for i in range(100)]) == 9900


async def test_a_returned_coroutine_is_stopped_with_its_run() -> None:
    """Those that run are cancelled; those that were made and never begun are closed, without a warning."""
    ended: list[str] = []
    began = asyncio.Barrier(6)

    async def fetch() -> None:
        try:
            await began.wait()
            await asyncio.get_running_loop().create_future()
        finally:
            ended.append("fetch")

    async def fail_when_begun() -> None:
        await began.wait()
        raise ValueError("boom")

    fetches = [delayed(lambda _: fetch(), executor="loop")(0) for _ in range(5)]
    with pytest.raises(ValueError, match="boom"):
        await compute(fetches, delayed(fail_when_begun)())
    assert ended == ["fetch"] * 5
    # Whether they begin before this failure is a matter of time; the warning would be an error.
    with pytest.raises(ValueError, match="boom"):
        await compute(fetches, fail(ValueError("boom")))


# -- large graphs


@pytest.mark.parametrize("function", [inc, later], ids=["inline", "coroutine"])
async def test_a_chain_of_many_nodes(function: Any) -> None:
    """Depth costs no recursion anywhere."""
    count = MANY if function is inc else MANY // 10
    node = delayed(0)
    for _ in range(count):
        node = function(node)
    assert await node == (count if function is inc else 0)


async def test_fan_in_of_many_nodes() -> None:
    """One node takes the values of fifty thousand."""
    assert await delayed(sum)([inc(i) for i in range(MANY)]) == MANY * (MANY + 1) // 2


async def test_fan_out_to_many_nodes() -> None:
    """Fifty thousand nodes take the value of one."""
    base = inc(0)
    assert await compute([add(base, i) for i in range(MANY)]) == list(range(1, MANY + 1))


async def test_many_coroutines_and_many_threads() -> None:
    """Nodes far beyond the slots are all computed, in both kinds."""
    values = await compute([later(i) for i in range(5_000)], [in_thread(i) for i in range(2_000)])
    assert values == (list(range(5_000)), list(range(1, 2_001)))
