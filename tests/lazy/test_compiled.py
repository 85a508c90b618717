"""`Input` and `compile`: planned once, called with values."""

# ruff: noqa: D103 - helpers whose names say it

from __future__ import annotations

import asyncio
import gc
import operator
import threading
import weakref
from typing import Any

import cloudpickle
import pytest

from asyncgraph import Input, Runtime, as_completed, compile, compute, delayed, run, start
from asyncgraph.errors import GraphError

add = delayed(operator.add, executor="loop")
in_thread = delayed(operator.mul, executor="thread")
in_process = delayed(operator.sub, executor="process")


@delayed
async def later(value: Any) -> Any:
    await asyncio.sleep(0)
    return value


@delayed
async def at_once(value: Any) -> Any:
    return value


@pytest.mark.parametrize(
    ("build", "result"),
    [
        (add, 5),
        (lambda x, y: at_once(x) + at_once(y), 5),
        (lambda x, y: later(x) + later(y), 5),
        (in_thread, 6),
        (in_process, -1),
        (lambda x, y: delayed(dict)(a=x, b=[y, {x}]), {"a": 2, "b": [3, {2}]}),
        (lambda x, y: delayed(sorted)([y, x, Input("x")]), [2, 2, 3]),
        (lambda x, y: x + x * y, 8),
        (lambda x, y: y, 3),
    ],
)
async def test_inputs_have_the_values_of_the_call(build, result):
    """Wherever they are used: in any executor, in containers, twice, or as what is asked for."""
    x, y = Input("x"), Input("y")
    node = build(x, y)
    f = compile([node]) if node is y else compile([node, x, y])
    values = {"x": 2, "y": 3} if len(f.inputs) == 2 else {"y": 3}
    for _ in range(2):
        assert (await f(**values))[0] == result


async def test_several_results():
    """A compiled graph gives what `compute` would, in the same shape."""
    x = Input("x")
    f = compile(add(x, 1), {"twice": [add(x, x)], "plain": 7})
    assert await f(x=3) == (4, {"twice": [6], "plain": 7})


async def test_no_inputs():
    """A graph without any can be compiled too."""
    f = compile(add(1, 2))
    assert f.inputs == ()
    assert await f() == await f() == 3
    with pytest.raises(TypeError, match="takes no inputs; unknown: x="):
        f(x=1)


@pytest.mark.parametrize(
    ("args", "inputs", "text"),
    [
        ((), {}, "takes the inputs x=, y=; missing: x=, y="),
        ((), {"x": 1}, "missing: y="),
        ((), {"x": 1, "y": 2, "z": 3}, "unknown: z="),
        ((), {"x": 1, "z": 3}, "missing: y=; unknown: z="),
        ((1, 2), {}, "takes the inputs x=, y= by name, not 2 without a name"),
        ((), {"x": 1, "y": add(1, 2)}, "y= takes a value, and .* is a node: await it first"),
    ],
)
async def test_wrong_inputs(args, inputs, text):
    """They are refused at the call, before anything runs, with what would be right."""
    f = compile(add(Input("x"), Input("y")))
    for call in (f, f.start):
        with pytest.raises(TypeError, match=text):
            call(*args, **inputs)


@pytest.mark.parametrize("name", ["", "two words", "class", "1st"])
def test_names_that_no_argument_can_have(name):
    """An input is given by name, so that it needs one that can be written in a call."""
    with pytest.raises(ValueError, match="a name that an argument can have"):
        Input(name)


def test_a_name_is_a_string():
    """Anything else is a mistake."""
    with pytest.raises(TypeError, match="Input takes a name"):
        Input(1)  # type: ignore[arg-type]


async def test_inputs_have_no_value_elsewhere():
    """Computing a graph that has inputs says that it has to be compiled."""
    node = add(Input("x"), 1)
    for request in (lambda: compute(node), node.compute, lambda: _awaited(as_completed([node]))):
        with pytest.raises(GraphError, match=r"inputs without values \(x\): compile it"):
            await request()
    with pytest.raises(GraphError, match="compile it"):
        start(node)


async def _awaited(iterator: Any) -> None:
    async for _ in iterator:
        pass


async def test_a_returned_node_cannot_have_inputs():
    """A node that a function returns is computed as it is."""
    with pytest.raises(GraphError, match="the input 'y' has no value here"):
        await compile(delayed(lambda x: add(x, Input("y")), executor="loop")(Input("x")))(x=1)


@pytest.mark.parametrize(
    ("nodes", "options", "kind"),
    [
        ((), {}, TypeError),
        ((at_once,), {}, TypeError),
        ((add(1, 2),), {"timeout": -1}, ValueError),
        ((add(1, 2),), {"timeout": "1"}, TypeError),
        ((add(1, 2),), {"runtime": 1}, TypeError),
    ],
)
def test_wrong_requests(nodes, options, kind):
    """What cannot be computed cannot be compiled."""
    with pytest.raises(kind):
        compile(*nodes, **options)


@pytest.mark.parametrize("step", [at_once, later, in_thread])
async def test_many_calls_at_once(step):
    """Hundreds of calls share the plan, and none the values of another."""
    x = Input("x")
    node = step(x, 1) if step is in_thread else step(x)
    f = compile(add(add(node, x), add(node, node)))
    assert await asyncio.gather(*(f(x=number) for number in range(300))) == [4 * n for n in range(300)]


def test_calls_in_two_loops():
    """A compiled graph belongs to no loop."""
    f = compile(add(later(Input("x")), in_thread(Input("x"), 2)))
    results: dict[int, Any] = {}

    def serve(number: int) -> None:
        async def main() -> list[Any]:
            return await asyncio.gather(*(f(x=number * each) for each in range(50)))

        results[number] = asyncio.run(main())

    threads = [threading.Thread(target=serve, args=(number,)) for number in (1, 2, 3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert results == {number: [3 * number * each for each in range(50)] for number in (1, 2, 3)}


async def test_a_failure_is_that_calls_alone():
    """It is raised as `compute` would, with its note, and the next call is none the worse."""
    f = compile(delayed(operator.truediv, executor="loop", name="divide")(1, Input("x")))
    for _ in range(3):
        with pytest.raises(ZeroDivisionError) as caught:
            await f(x=0)
        assert "(divide) failed" in caught.value.__notes__[0]
        assert await f(x=2) == 0.5
    g = compile(delayed(operator.truediv)(1, Input("x")), return_exceptions=True)
    assert type(await g(x=0)) is ZeroDivisionError


async def test_cancelling_one_call():
    """Others of the same graph go on."""
    gates = {name: asyncio.Event() for name in "ab"}

    @delayed
    async def wait(name: str) -> str:
        await gates[name].wait()
        return name

    f = compile(wait(Input("name")))
    first, second = f.start(name="a"), f.start(name="b")
    await asyncio.sleep(0)
    first.cancel()
    with pytest.raises(asyncio.CancelledError):
        await first
    gates["b"].set()
    assert await second == "b"


async def test_options_hold_for_every_call():
    """The timeout, and the runtime."""

    @delayed
    async def never(x: int) -> None:
        await asyncio.Event().wait()

    f = compile(never(Input("x")), timeout=0.001)
    for _ in range(2):
        with pytest.raises(TimeoutError):
            await f(x=1)
    async with Runtime(threads=1) as runtime:
        g = compile(in_thread(Input("x"), 2), runtime=runtime)
        assert await g(x=4) == 8
    with pytest.raises(RuntimeError, match="closed"):
        await g(x=4)


async def test_a_run_does_not_change_the_plan():
    """Functions that return nodes add them to their run alone."""
    grow = delayed(lambda x: add(later(x), in_thread(x, 10)), executor="loop")
    f = compile(add(grow(Input("x")), grow(Input("x"))))
    for number in range(20):
        assert await f(x=number) == 22 * number
    assert repr(f) == "<compiled graph of 5 nodes, inputs: x>"


def test_it_pickles():
    """With cloudpickle, as nodes do."""
    f = cloudpickle.loads(cloudpickle.dumps(compile(add(Input("x"), 1), [Input("y")], timeout=5)))
    assert f.inputs == ("x", "y")
    assert run(f(x=1, y=2)) == (2, [2])


async def test_nothing_is_kept_after_a_call():
    """Neither what was given nor what came of it."""

    class Thing:
        pass

    f = compile(at_once(Input("thing")))
    thing = Thing()
    watch = weakref.ref(thing)
    result = await f(thing=thing)
    assert result is thing
    del thing, result
    await asyncio.sleep(0)
    gc.collect()
    assert watch() is None


def test_the_graph_of_it():
    """It can be looked at as any other."""
    f = compile(delayed(max, name="top")(Input("x"), 3))
    assert f.inputs == ("x",)
    assert "Input('x')" in map(repr, f.graph.values())
    assert f.graph.outputs[0].startswith("top-")
