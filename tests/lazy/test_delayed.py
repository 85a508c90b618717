"""`delayed`: every kind of callable and of data, and the options."""

from __future__ import annotations

import functools
import inspect
import operator
import threading

import pytest

import asyncgraph
from asyncgraph import Delayed, delayed
from tests.lazy import functions
from tests.lazy.functions import Account, AsyncScaler, Scaler, add, inc


async def coroutine_function(x, y=0):
    """Add, on the loop."""
    return x + y


KINDS = {
    "function": (functions.plain, 4),
    "lambda": (lambda x: x + 1, 3),
    "partial": (functools.partial(operator.add, 10), 12),
    "partial of a lambda": (functools.partial(lambda x, y: x + y, y=6), 8),
    "builtin": (abs, 2),
    "bound method": (Scaler(7).__call__, 14),
    "async bound method": (Account(7).awaited, 9),
    "method of a builtin": ("<{}>".format, "<2>"),
    "class": (Account, Account(2)),
    "builtin class": (str, "2"),
    "callable": (Scaler(3), 6),
    "async callable": (AsyncScaler(3), 6),
    "coroutine function": (coroutine_function, 2),
    "async partial": (functools.partial(coroutine_function, y=5), 7),
    "partial of an async callable": (functools.partial(AsyncScaler(3)), 6),
    "lambda that returns a coroutine": (lambda x: coroutine_function(x, 5), 7),
    "wrapper of a coroutine function": (functions.passing(coroutine_function), 2),
    "cached": (functools.lru_cache(functions.plain), 4),
    "methodcaller": (operator.methodcaller("bit_length"), 2),
}


@pytest.mark.parametrize("kind", KINDS)
async def test_every_kind_of_callable(kind):
    """It is called with the values, and awaited where it gives something to await."""
    call, expected = KINDS[kind]
    node = delayed(call)(delayed(2))
    assert isinstance(node, Delayed)
    assert await node == expected


@pytest.mark.parametrize(
    ("executor", "on_loop"),
    [("loop", True), ("thread", False), (None, False)],
    ids=["loop", "thread", "default"],
)
async def test_where_a_function_runs(executor, on_loop):
    """On the loop if that is said; otherwise a plain function is in a thread."""
    node = delayed(threading.current_thread, executor=executor)()
    assert (await node is threading.current_thread()) == on_loop


async def test_async_functions_run_on_the_loop():
    """The thread of a coroutine function is the caller's, whichever way it is hidden."""

    async def where(*args):
        return threading.current_thread()

    for call in (where, functools.partial(where), lambda: where(1)):
        assert await delayed(call)() is threading.current_thread()


@pytest.mark.parametrize("value", [None, 5, "text", [1, 2], {"k": (1,)}, Account(3), ...], ids=repr)
async def test_data_is_wrapped(value):
    """The node's value is the very object, if there are no nodes in it."""
    node = delayed(value)
    assert isinstance(node, Delayed)
    assert await node is value


async def test_nodes_in_data_are_dependencies():
    """Wrapped containers have the values of the nodes in their places, at any depth."""
    node = delayed({"a": [inc(1), (inc(2), {inc(3)})], inc(4): Account(inc(5))})
    assert await node == {"a": [2, (3, {4})], 5: Account(6)}


async def test_arguments_are_searched():
    """Nodes may be anywhere in the arguments, positional and by keyword; one that is shared runs once."""
    calls = []
    shared = delayed(lambda: calls.append(1) or 5, executor="loop")()

    @delayed(executor="loop")
    def show(*args, **kwargs):
        return args, kwargs

    node = show(shared, [shared, 1], {"k": shared}, slice(shared), key=shared, other=[shared])
    assert await node == ((5, [5, 1], {"k": 5}, slice(5)), {"key": 5, "other": [5]})
    assert calls == [1]


async def test_a_list_changed_after_the_call_changes_nothing():
    """What the call said holds, if there are nodes in the list."""
    items = [inc(1), 5]
    total = delayed(sum)(items)
    items.append(100)
    assert await total == 7


async def test_a_list_without_nodes_is_passed_on_as_it_is():
    """The function gets the very list, as in an ordinary call."""
    items = [1, [2]]
    assert await delayed(lambda x: x, executor="loop")(items) is items


def test_what_contains_itself_and_a_node_is_refused_at_once():
    """The call raises, not the run."""
    items = [inc(1)]
    items.append(items)
    with pytest.raises(ValueError, match="contains itself"):
        inc(items)


async def test_a_function_that_returns_a_node_is_replaced_by_it():
    """The node is computed in its place; that gives recursion."""

    @delayed(executor="loop")
    def fibonacci(n):
        return n if n < 2 else add(fibonacci(n - 1), fibonacci(n - 2))

    assert await fibonacci(10) == 55


def test_a_delayed_function_looks_like_the_function():
    """It has its name, docstring, module and signature, and the function itself."""
    assert (inc.__name__, inc.__qualname__, inc.__module__) == ("inc", "inc", functions.__name__)
    assert inc.__doc__ == "Add one."
    assert str(inspect.signature(add)) == "(a, b=10)"
    assert inc.__wrapped__(1) == 2
    assert repr(inc) == "<delayed function inc, executor 'loop'>"


@pytest.mark.parametrize("call", [Scaler, Scaler(2)], ids=["class", "instance"])
async def test_attributes_of_the_callable_do_not_get_in_the_way(call):
    """A class or instance may have `options` and `function` of its own."""
    function = delayed(call).options(name="mine")
    assert function(1).key.startswith("mine-")
    assert function.function.name == "mine"


def test_options_given_when_decorating():
    """`@delayed(...)` with options and `@delayed()` decorate; the options are the nodes'."""

    @delayed(executor="process", name="heavy", nout=2)
    def work():
        pass

    @delayed()
    def light():
        pass

    (task,) = work().graph.values()
    assert (task.name, task.executor, len(work())) == ("heavy", "process", 2)
    assert light().key.startswith("light-")


async def test_options_given_for_one_call():
    """`fn.options(...)` changes what it names and nothing else, and not the function itself."""
    pair = delayed(lambda x: (x, x + 1), name="pair", executor="loop", nout=2)
    other = pair.options(name="couple")
    first, second = other(1)
    assert (await first, await second) == (1, 2)
    assert (pair.function.name, other.function.name) == ("pair", "couple")
    assert (other.function.executor, other.function.nout) == ("loop", 2)
    assert other.options(executor="thread").function.executor == "thread"


def test_delayed_of_what_is_delayed():
    """A node stays itself, a delayed function or method takes the options."""
    node = inc(1)
    assert delayed(node) is node
    assert delayed(inc, name="again").function.name == "again"
    assert delayed(inc).__wrapped__ is inc.__wrapped__
    assert delayed(Account(1).plus, name="more")(1).key.startswith("more-")


@pytest.mark.parametrize(
    "place",
    [delayed, functools.partial(delayed, functions.plain), functools.partial(delayed, [1]), inc.options],
    ids=["decorator", "call", "data", "options"],
)
@pytest.mark.parametrize(
    ("option", "error", "message"),
    [
        ({"name": 5}, TypeError, "name= takes a string, not 5"),
        ({"name": ""}, ValueError, "name= takes a string that is not empty"),
        ({"nout": "2"}, TypeError, "nout= takes a number of items, not '2'"),
        ({"nout": True}, TypeError, "nout= takes a number of items, not True"),
        ({"nout": 0}, ValueError, "nout= takes a number of items of at least 1, not 0"),
        (
            {"executor": 3},
            TypeError,
            "executor= takes one of the names 'loop', 'thread', 'process', or one in",
        ),
        ({"executor": "threads"}, ValueError, "there is no executor 'threads': did you mean 'thread'?"),
        ({"retry": 3}, TypeError, "unexpected keyword argument 'retry'"),
    ],
    ids=repr,
)
def test_wrong_options_are_refused_at_once(place, option, error, message):
    """The error says what would be right, wherever the option is given, before anything is called."""
    with pytest.raises(error) as caught:
        place(**option)
    assert message in str(caught.value)


def test_options_are_given_by_name():
    """Nothing but the function or the value is positional."""
    with pytest.raises(TypeError, match="positional"):
        delayed(functions.plain, "thread")
    with pytest.raises(TypeError, match="positional"):
        inc.options("thread")


@pytest.mark.parametrize("call", [coroutine_function, AsyncScaler(1), functools.partial(coroutine_function)])
def test_a_coroutine_function_is_for_the_loop(call):
    """Any other executor is refused, and the loop may be named."""
    with pytest.raises(
        ValueError, match=r"is a coroutine function, .* executor='process' is for a plain `def`"
    ):
        delayed(call, executor="process")
    assert delayed(call, executor="loop").function.is_async


def test_options_that_are_not_for_data_or_nodes():
    """Data runs nowhere, and a node has its options already."""
    with pytest.raises(TypeError, match="executor= is for functions: data does not run anywhere"):
        delayed([1], executor="thread")
    for option in ({"name": "x"}, {"nout": 2}, {"executor": "loop"}):
        with pytest.raises(TypeError, match=r"a node has its options already: .* fn\.options\(\.\.\.\)"):
            delayed(inc(1), **option)


def test_generator_functions_are_refused():
    """A node has one value: the message says what to do."""

    def numbers():
        yield 1

    async def async_numbers():
        yield 1

    for call in (numbers, async_numbers, functools.partial(numbers)):
        with pytest.raises(TypeError, match=r"numbers is a generator function.* let it return a list"):
            delayed(call)


async def test_delayed_methods():
    """A decorated method passes its instance on; `async def` and options work as for functions."""
    account = Account(7)
    assert await account.plus(inc(2)) == 10
    assert await account.fetched() == 7
    assert await account.plus.options(name="more", executor="thread")(5) == 12
    assert await Account.plus(account, 1) == 8
    assert account.plus.options(name="more")(5).key.startswith("more-")


async def test_class_methods_and_static_methods():
    """@classmethod and @staticmethod go above @delayed, and are called on class and instance."""
    assert await Account.opened(3) == await Account(1).opened(3) == Account(3)
    assert await Account.fee(25) == await Account(1).fee(25) == 2


@pytest.mark.parametrize("kind", [classmethod, staticmethod, property])
def test_delayed_above_a_descriptor_is_refused(kind):
    """The message says that the order is the other."""
    name = kind.__name__
    with pytest.raises(TypeError, match=f"and not a {name}: write it below @{name}"):
        delayed(kind(functions.plain))


async def test_the_instance_of_a_method_is_an_argument():
    """Nodes in the fields of a dataclass instance are found there too."""
    assert await Account(inc(1)).plus(inc(2)) == 5


def test_a_delayed_method_looks_like_the_method():
    """It has name and signature, and the plain method as `__wrapped__`."""
    method = Account(4).plus
    assert (method.__name__, method.__qualname__) == ("plus", "Account.plus")
    assert str(inspect.signature(method)) == "(amount)"
    assert method.__wrapped__(1) == 5
    assert repr(method) == "<delayed method plus of Account(balance=4)>"
    with pytest.raises(AttributeError):
        _ = method.missing


async def test_methods_of_values_that_are_delayed():
    """A delayed method of a value is called like any other: its node is computed in its place."""
    assert await delayed(Account)(5).plus(inc(1)) == 7


async def test_nout_unpacks():
    """With `nout=` a node has a length and is iterated over; each item is a node."""
    first, (second, third) = delayed(lambda: (1, [2, 3]), executor="loop", nout=2)(), delayed([4, 5], nout=2)
    assert len(delayed((1, 2, 3), nout=3)) == 3
    values = await asyncgraph.compute(*first, second, third)
    assert values == (1, [2, 3], 4, 5)


@pytest.mark.parametrize("value", [(1, 2, 3), [1], "x"], ids=repr)
async def test_nout_is_a_promise(value):
    """A value with more or fewer items is an error that says so."""
    first, _ = delayed(value, nout=2)
    with pytest.raises(ValueError, match=f"nout=2 was promised, but there are {len(value)} items"):
        await first


async def test_building_needs_no_loop_and_starts_nothing():
    """Nodes are built in another thread, and nothing runs before they are computed."""
    calls = []
    built = []

    def build():
        node = delayed(calls.append, executor="loop")(1)
        built.append([node, delayed(repr)(node)])

    thread = threading.Thread(target=build)
    thread.start()
    thread.join()
    assert calls == []
    assert await asyncgraph.compute(built[0]) == [None, "None"]
    assert calls == [1]
