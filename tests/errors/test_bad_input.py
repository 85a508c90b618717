"""What cannot be right is refused at once, by an error that says what would be; and nothing has run."""

from __future__ import annotations

import asyncio
import functools
import gc
import math
import threading
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest

from asyncgraph import Retry, Runtime, as_completed, compile, compute, delayed, from_graph, start
from asyncgraph._graph import once
from asyncgraph.errors import GraphError, RuntimeClosedError
from tests.errors.reading import failure_of

calls: list[Any] = []


@pytest.fixture(autouse=True)
def _nothing_runs() -> Any:
    """Hold that no test here calls what it refuses, or leaves a thread behind that was to."""
    calls.clear()
    yield
    assert calls == []


def call(value: Any = None) -> Any:
    """What must not be called."""
    calls.append(value)


async def call_later(value: Any = None) -> Any:
    """The same as a coroutine."""
    calls.append(value)


def message_of(kind: type[BaseException], act: Callable[[], Any]) -> str:
    """What the error says."""
    with pytest.raises(kind) as caught:
        act()
    assert type(caught.value) is kind
    return str(caught.value)


# -- options of functions

IN_PLACES: list[Callable[..., Any]] = [
    functools.partial(delayed, call),
    delayed,
    delayed(call).options,
    functools.partial(delayed, delayed(call)),
]

EXECUTORS = "'loop', 'thread', 'process'"
NAMED = "one in Runtime(executors=...)"
SECONDS = "takes a number of seconds"
TIMES = "takes a number of times"
ON = "on= takes a class of exceptions, a tuple of some, or a function of the error, not"

OPTIONS = [
    (TypeError, {"timeout": "5"}, f"timeout= {SECONDS}, not '5'"),
    (TypeError, {"timeout": True}, f"timeout= {SECONDS}, not True"),
    (TypeError, {"timeout": False}, f"timeout= {SECONDS}, not False"),
    (TypeError, {"timeout": [5]}, f"timeout= {SECONDS}, not [5]"),
    (ValueError, {"timeout": 0}, f"timeout= {SECONDS} above 0, not 0"),
    (ValueError, {"timeout": -0.5}, f"timeout= {SECONDS} above 0, not -0.5"),
    (ValueError, {"timeout": math.nan}, f"timeout= {SECONDS} above 0, not nan"),
    (ValueError, {"timeout": math.inf}, f"timeout= {SECONDS} above 0, not inf; None is for no limit"),
    (ValueError, {"timeout": -math.inf}, f"timeout= {SECONDS} above 0, not -inf"),
    (ValueError, {"timeout": 10**310}, f"timeout= {SECONDS} above 0, not {10**310}; None is for no limit"),
    (TypeError, {"executor": 3}, f"executor= takes one of the names {EXECUTORS}, or {NAMED}, not 3"),
    (TypeError, {"executor": len}, f"executor= takes one of the names {EXECUTORS}, or {NAMED}, not {len!r}"),
    (
        ValueError,
        {"executor": "threads"},
        f"there is no executor 'threads': did you mean 'thread'? executor= is one of {EXECUTORS}, or {NAMED}",
    ),
    (ValueError, {"executor": ""}, f"there is no executor '': executor= is one of {EXECUTORS}, or {NAMED}"),
    (TypeError, {"retries": "3"}, f"retries= {TIMES} or a Retry, not '3'"),
    (TypeError, {"retries": 1.5}, f"retries= {TIMES} or a Retry, not 1.5"),
    (TypeError, {"retries": 0.0}, f"retries= {TIMES} or a Retry, not 0.0"),
    (TypeError, {"retries": True}, f"retries= {TIMES} or a Retry, not True"),
    (TypeError, {"retries": False}, f"retries= {TIMES} or a Retry, not False"),
    (TypeError, {"retries": Retry}, f"retries= {TIMES} or a Retry, not {Retry!r}"),
    (ValueError, {"retries": -1}, f"retries= {TIMES} of at least 0, not -1"),
    (TypeError, {"retries_on_crash": False}, f"retries_on_crash= {TIMES}, not False"),
    (ValueError, {"retries_on_crash": -1}, f"retries_on_crash= {TIMES} of at least 0, not -1"),
    (TypeError, {"isolate": 1}, "isolate= takes True or False, not 1"),
    (TypeError, {"abandon_on_cancel": "no"}, "abandon_on_cancel= takes True or False, not 'no'"),
    (TypeError, {"name": 5}, "name= takes a string, not 5"),
    (ValueError, {"name": ""}, "name= takes a string that is not empty"),
    (TypeError, {"nout": 2.0}, "nout= takes a number of items, not 2.0"),
    (ValueError, {"nout": 0}, "nout= takes a number of items of at least 1, not 0"),
]


@pytest.mark.parametrize("place", IN_PLACES, ids=["call", "decorator", "options", "made"])
@pytest.mark.parametrize(("kind", "option", "message"), OPTIONS, ids=repr)
def test_options_of_functions(kind: Any, option: Any, message: str, place: Any) -> None:
    """Whether they are given when a function is made lazy, or later."""
    assert message_of(kind, lambda: place(**option)) == message


TOGETHER = [
    (
        {"executor": "loop", "timeout": 5},
        (
            "call is a plain function on the event loop, which nothing can stop: timeout= needs `async def`, "
            'or executor="thread" or "process"'
        ),
    ),
    (
        {"retries_on_crash": 1},
        'retries_on_crash= is about worker processes: it needs executor="process"',
    ),
    ({"isolate": True}, 'isolate= is about worker processes: it needs executor="process"'),
    (
        {"abandon_on_cancel": True, "executor": "process"},
        'abandon_on_cancel= is about threads: it needs executor="thread"',
    ),
]


@pytest.mark.parametrize(("options", "message"), TOGETHER, ids=repr)
def test_options_that_do_not_go_together(options: Any, message: str) -> None:
    """Each may be right by itself."""
    assert message_of(ValueError, lambda: delayed(call, **options)) == message
    assert message_of(ValueError, lambda: delayed(call).options(**options)) == message


def test_a_coroutine_function_has_its_place() -> None:
    """It runs on the loop."""
    assert message_of(ValueError, lambda: delayed(call_later, executor="thread")) == (
        "call_later is a coroutine function, which runs on the event loop: executor='thread' is for a plain "
        "`def`"
    )


RETRIES = [
    (TypeError, ("3",), {}, "attempts= takes a whole number, not '3'"),
    (TypeError, (True,), {}, "attempts= takes a whole number, not True"),
    (ValueError, (0,), {}, "attempts= counts the first one, too: it is at least 1, not 0"),
    (TypeError, (2,), {"on": "OSError"}, f"{ON} 'OSError'"),
    (TypeError, (2,), {"on": None}, f"{ON} None"),
    (TypeError, (2,), {"on": int}, f"{ON} {int!r}"),
    (TypeError, (2,), {"on": [OSError]}, f"{ON} [{OSError!r}]"),
    (TypeError, (2,), {"on": (OSError, 3)}, f"{ON} ({OSError!r}, 3)"),
    (TypeError, (2,), {"on": OSError("x")}, f"{ON} OSError('x')"),
    (TypeError, (2,), {"backoff": None}, f"backoff= {SECONDS}, not None"),
    (TypeError, (2,), {"backoff": "1"}, f"backoff= {SECONDS}, not '1'"),
    (TypeError, (2,), {"backoff": True}, f"backoff= {SECONDS}, not True"),
    (ValueError, (2,), {"backoff": -1}, f"backoff= {SECONDS} of at least 0, not -1"),
    (ValueError, (2,), {"backoff": math.nan}, f"backoff= {SECONDS} of at least 0, not nan"),
    (ValueError, (2,), {"backoff": math.inf}, f"backoff= {SECONDS} of at least 0, not inf"),
    (ValueError, (2,), {"backoff": 10**310}, f"backoff= {SECONDS} of at least 0, not {10**310}"),
    (ValueError, (2,), {"max_backoff": -1}, f"max_backoff= {SECONDS} of at least 0, not -1"),
]


@pytest.mark.parametrize(("kind", "arguments", "options", "message"), RETRIES, ids=repr)
def test_retry(kind: Any, arguments: Any, options: Any, message: str) -> None:
    """How often, for what and after how long has to make sense."""
    assert message_of(kind, lambda: Retry(*arguments, **options)) == message


# -- what is made lazy


def test_options_of_what_is_no_function() -> None:
    """Data does not run, a coroutine runs once, and a node has its options."""
    assert message_of(TypeError, lambda: delayed([1], retries=3)) == (  # type: ignore[call-overload, unused-ignore]
        "retries= is for functions: data does not run anywhere"
    )
    assert message_of(TypeError, lambda: delayed([1], timeout=3)) == (  # type: ignore[call-overload, unused-ignore]
        "timeout= is for functions: data does not run anywhere"
    )
    for options in ({}, {"retries": 3}):
        coroutine: Any = call_later()
        assert message_of(TypeError, lambda: delayed(coroutine, **options)) == (  # noqa: B023
            "a coroutine runs once, wherever it is awaited: make its function delayed, and call that"
        )
    assert message_of(TypeError, lambda: delayed(delayed(call)(1), retries=3)) == (
        "a node has its options already: give them to the function, or with fn.options(...)"
    )


# -- entrances

NODE = delayed(call)(1)

ENTRANCES: dict[str, Callable[..., Any]] = {
    "compute": functools.partial(compute, NODE),
    "node.compute": NODE.compute,
    "start": functools.partial(start, NODE),
    "as_completed": functools.partial(as_completed, [NODE]),
    "compile": functools.partial(compile, NODE),
    "Runtime.compute": functools.partial(Runtime().compute, NODE),
    "Runtime.start": functools.partial(Runtime().start, NODE),
}


@pytest.mark.parametrize("entrance", ENTRANCES)
@pytest.mark.parametrize(
    ("kind", "option", "message"), [each for each in OPTIONS if "timeout" in each[1]], ids=repr
)
async def test_timeouts_of_runs(kind: Any, option: Any, message: str, entrance: str) -> None:
    """They are refused by the call itself, before anything is awaited."""
    assert message_of(kind, lambda: ENTRANCES[entrance](**option)) == message


async def test_timeouts_of_runs_that_are_gone_on_with() -> None:
    """And the run can still be gone on with."""
    run = start(delayed(lambda: 1 / 0)())
    assert isinstance(await failure_of(run), ZeroDivisionError)
    for kind, option, message in OPTIONS:
        if "timeout" in option:
            assert message_of(kind, lambda: run.resume(**option)) == message  # noqa: B023
    assert isinstance(await failure_of(run.resume()), ZeroDivisionError)


async def test_what_is_no_node() -> None:
    """A function, a coroutine, a generator of nodes, and nothing at all."""
    coroutine = call_later()
    generator = (delayed(call)(number) for number in range(3))
    refused = [
        ((), "there is nothing to compute: give at least one node"),
        ((call,), f"{call!r} is a function and not a node: call it, as in `await function(...)`"),
        ((coroutine,), f"{coroutine!r} is not a node: make its function `delayed` and call that"),
        ((generator,), f"{generator!r} is not a node: give a list of nodes, as in `compute([...])`"),
    ]
    for nodes, message in refused:
        for entrance in (compute, compile, Runtime().compute):
            assert message_of(TypeError, lambda: entrance(*nodes)) == message  # noqa: B023
    coroutine.close()
    wrong: Any = 5
    assert message_of(TypeError, lambda: as_completed(wrong)) == (
        "as_completed takes several nodes, as in as_completed([node]), not 5"
    )
    assert message_of(TypeError, lambda: as_completed([wrong])) == "as_completed takes nodes, not 5"


# -- where and when


async def test_a_runtime_that_is_closed() -> None:
    """Whatever would run there is refused, and starts no thread."""
    closed = "this runtime is closed; use nodes inside its `async with` block"
    async with Runtime() as runtime:
        compiled = compile(NODE, runtime=runtime)
        run = start(delayed(lambda: 1 / 0)())
        assert isinstance(await failure_of(run), ZeroDivisionError)
    threads = threading.active_count()
    for begin in (
        lambda: runtime.start(NODE),
        lambda: start(NODE, runtime=runtime),
        compiled.start,
        lambda: run.resume(runtime=runtime),
    ):
        assert message_of(RuntimeClosedError, begin) == closed
    for awaited in (
        runtime.compute(NODE),
        NODE.compute(runtime=runtime),
        compute(NODE, runtime=runtime),
        compiled(),
        anext(as_completed([NODE], runtime=runtime)),
    ):
        error = await failure_of(awaited)
        assert (type(error), str(error)) == (RuntimeClosedError, closed)
    assert threading.active_count() == threads


async def test_a_run_of_another_loop() -> None:
    """It can be awaited where it belongs, afterwards, too."""
    may_end = asyncio.Event()
    run = start(delayed(may_end.wait)())

    async def elsewhere() -> str:
        return str(await failure_of(run))

    said = await asyncio.to_thread(lambda: asyncio.run(elsewhere()))
    assert said == "this run belongs to another event loop: await it where it was started"
    may_end.set()
    assert await run is True


@pytest.mark.parametrize("executor", ["loop", "thread"])
@pytest.mark.parametrize("loops", ["asyncio", "uvloop"])
def test_a_loop_that_is_being_closed(loops: str, executor: str) -> None:
    """What cleans up when everything is over cannot compute: it is told so, and leaves nothing behind."""
    factory = pytest.importorskip(loops).new_event_loop
    errors: list[BaseException] = []

    async def cleaning_up() -> AsyncIterator[None]:
        try:
            yield
        finally:
            errors.append(await failure_of(delayed(call, executor=executor)(1)))
            errors.append(await failure_of(delayed(call, executor=executor)(1)))

    generators = [cleaning_up() for _ in range(5)]

    async def main() -> None:
        await delayed(1)
        for generator in generators:
            await anext(generator)

    with asyncio.Runner(loop_factory=factory) as runner:
        runner.run(main())
    assert len(errors) == 10
    assert all(isinstance(error, RuntimeClosedError | asyncio.CancelledError) for error in errors)
    if loops == "uvloop":  # it does not tell that it is being closed: what has begun by then is cancelled
        calls.clear()
    else:
        said = (
            "this event loop is being closed: compute nodes before `asyncio.run`, or what else runs it, ends"
        )
        assert {str(error) for error in errors} == {said}


# -- what is changed meanwhile, or used up


async def test_a_graph_is_what_it_was_when_it_was_built() -> None:
    """Changing the mapping, or a list with nodes in it, afterwards or while it runs, changes nothing."""
    begun, may_end = asyncio.Event(), asyncio.Event()

    async def wait(value: int) -> int:
        begun.set()
        await may_end.wait()
        return value

    items: list[Any] = ["x", "y"]
    graph: dict[str, Any] = {"x": (wait, 1), "y": 2, "z": (sum, items)}
    total = from_graph(graph, "z")
    numbers: list[Any] = [total, 10]
    run = start(delayed(sum)(numbers))
    await begun.wait()
    graph["y"] = 1000
    del graph["x"]
    items.append("z")
    numbers.append(1000)
    may_end.set()
    assert await run == 13
    assert await total == 3


async def test_a_generator_gives_its_items_once() -> None:
    """A second run that would find it empty is refused, and so is a second call; a list does both."""
    numbers = (number for number in range(4))
    total = delayed(sum)(numbers)
    once_only, advice = "a generator gives its items once, and", "make a list of them, and give that"
    assert message_of(TypeError, lambda: delayed(max)(numbers)) == (
        f"{once_only} another call was given this one: {advice}"
    )
    assert await total == 6
    said = (
        f"{total.key} was given a generator, which gives its items once, and has begun to do so before: "
        "give it a list of them, or let its function make the generator"
    )
    for again in (total.compute(), compute([delayed(call)(1), total]), compile(total)()):
        error = await failure_of(again)
        assert (type(error), str(error)) == (GraphError, said)
    assert await delayed(abs)(-3) == 3
    spent = (number for number in range(4))
    assert list(spent) == [0, 1, 2, 3]
    assert message_of(TypeError, lambda: delayed(sum)(iterable=spent)) == (
        f"{once_only} this one has given them all: {advice}"
    )


async def test_a_generator_in_a_second_attempt() -> None:
    """Neither a retry nor a run that goes on calls a function with what is left of it."""
    seen: list[int] = []

    def fail(items: Any) -> None:
        seen.append(next(items))
        raise ConnectionError

    error = await failure_of(delayed(fail, retries=Retry(3, backoff=0))(number for number in range(9)))
    assert type(error) is ConnectionError
    assert "not tried again: an argument is a generator, which has begun" in "\n".join(error.__notes__)
    run = start(delayed(fail)(number for number in range(9)))
    assert isinstance(await failure_of(run), ConnectionError)
    with pytest.raises(GraphError, match="was given a generator"):
        run.resume()
    with pytest.raises(GraphError, match="was given a generator"):
        run.resume()
    assert seen == [0, 0]
    assert len(run.failures) == 1


def test_nothing_is_kept_of_generators() -> None:
    """What was given is forgotten with whatever held it."""
    gc.collect()
    before = len(once._given)
    node = delayed(sum)(number for number in range(4))
    assert len(once._given) == before + 1
    del node
    gc.collect()
    assert len(once._given) == before
