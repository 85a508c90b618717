"""Pickling of nodes and delayed functions: what travels by name, what by value, and what stays shared."""

from __future__ import annotations

import operator
import pickle
import subprocess
import sys
import threading
from pathlib import Path

import cloudpickle
import pytest

import asyncgraph
from asyncgraph import Retry, compute, delayed
from asyncgraph._graph.function import Function
from asyncgraph._lazy import pickling
from tests.lazy.functions import Account, Scaler, add, decorated, fetch, inc, plain, renamed

ROOT = Path(__file__).parent.parent.parent

by_both = pytest.mark.parametrize("module", [pickle, cloudpickle], ids=["pickle", "cloudpickle"])


def again(value, module=pickle):
    """Return a value as it comes back from its pickle."""
    return pickle.loads(module.dumps(value))


@by_both
async def test_a_node_comes_back_with_its_value(module):
    """With calls, keywords, operators, items, methods, data and containers of nodes."""
    text = delayed("abc").upper()[inc(0) :] + "d"
    node = add(inc(1), b=delayed([inc(2), {"k": inc(3)}])[1]["k"])
    pair = delayed((1, 2), nout=2)
    nodes = [text, node, sum(pair), fetch(delayed({inc(1)})), delayed(Account(inc(4))).balance]
    assert await compute(*again(nodes, module)) == ("BCd", 6, 3, {2}, 5)


@by_both
async def test_shared_nodes_stay_shared(module):
    """Two nodes in one pickle share what they shared, and a node that is there twice is one."""
    shared = inc(1)
    left, right, twice = again([shared + 1, [shared * 2], (shared, shared)], module)
    assert twice[0] is twice[1]
    assert left._dependencies[0] is right[0]._dependencies[0] is twice[0]
    assert await compute(left, right, twice) == (3, [4], (2, 2))


def test_a_node_hidden_in_an_object_stays_shared():
    """So is a node that the search does not see, because an object of the user's holds it."""
    node = inc(1)
    holder = Scaler(node)
    back, holder = again([node + 1, holder])
    assert back._dependencies[0] is holder.factor


@by_both
@pytest.mark.parametrize(
    "function",
    [
        inc,
        add,
        fetch,
        decorated,
        renamed,
        inc.options(name="other"),
        renamed.options(name="other"),
        decorated.options(),
        delayed(plain),
        delayed(operator.add),
        delayed(len),
        delayed(Account),
        Account.plus,
        Account.fee,
        delayed(Account(3).doubled),
        delayed(Scaler(3)),
        Account(3).plus,
        Account.opened,
        Account(3).plus.options(name="other"),
    ],
    ids=repr,
)
def test_delayed_functions_pickle(function, module):
    """By name where there is one, also when the name now belongs to the delayed function."""
    data = module.dumps(function)
    back = pickle.loads(data)
    assert repr(back) == repr(function)
    assert back.function.nout == function.function.nout
    assert b"co_code" not in data
    assert len(data) < 500


@by_both
async def test_functions_travel_by_name(module):
    """The copy of a node calls the very function, decorated or not, with its options."""
    for function in (inc, decorated, inc.options(name="other"), renamed, delayed(plain), Account(1).plus):
        node = function(5)
        copied = again(node, module)
        assert copied._function.call is node._function.call
        assert repr(copied._function) == repr(node._function)
        assert await copied == await node


def test_the_options_of_a_function_travel():
    """All of them: what a worker process returns is run as it says."""
    retry = Retry(3, on=OSError)
    made = [
        delayed(abs, retries=retry, timeout=5, abandon_on_cancel=True, nout=2, name="other"),
        delayed(abs, executor="process", retries_on_crash=2, isolate=True),
    ]
    for function in made:
        before, after = function.function, pickle.loads(pickle.dumps(function(-1)))._function
        for option in set(Function.__slots__) - {"durations"}:
            assert getattr(after, option) == getattr(before, option)


def test_a_name_that_is_gone_is_an_error():
    """A pickle that refers to what is not there says so when it is read, and gives no None."""
    function, node = pickle.dumps(inc), pickle.dumps(inc(1))
    wrapped = pickle.dumps(inc.options(name="other"))
    for data in (function, node, wrapped):
        with pytest.raises(AttributeError, match="has no attribute 'gne'"):
            pickle.loads(data.replace(b"\x8c\x03inc\x94", b"\x8c\x03gne\x94"))
        with pytest.raises(ModuleNotFoundError):
            pickle.loads(data.replace(b"lazy.functions", b"lazy.functionz"))


@pytest.mark.parametrize("place", ["", "no.such.module", "asyncgraph.no_such_module"])
def test_a_function_of_no_module_goes_by_value(place):
    """What cannot be found by its name is left to pickle."""
    call = Scaler(2)
    call.__module__, call.__qualname__ = place, "scale"
    assert again(delayed(call)).__wrapped__.factor == 2


async def test_lambdas_and_closures_need_cloudpickle():
    """They go by value with cloudpickle; pickle says what it cannot do."""
    offset = 5
    node = delayed(lambda x: x + offset, executor="loop")(1)
    assert await again(node, cloudpickle) == 6
    with pytest.raises((pickle.PicklingError, AttributeError), match="lambda"):
        pickle.dumps(node)


def test_key_and_site_survive():
    """A key that was asked for is kept, and so is the line where the node was built."""
    node = inc(inc(1))
    key, site = node.key, node.graph[node.key].site
    copied = again(node)
    assert (copied.key, copied.graph[key].site) == (key, site)


def test_a_copy_without_a_key_gets_one_of_its_own():
    """Nobody has seen a key of the original yet: the copy is named where it is."""
    copied = again(inc(1))
    assert copied.key.startswith("inc-")
    assert copied.key != again(inc(1)).key


async def test_pickles_of_pickles():
    """A node that came from a pickle pickles again, operators and all."""
    node = again(again(again(delayed("a").upper() + "b", cloudpickle)), cloudpickle)
    assert await node == "Ab"


async def test_deeply_nested_arguments():
    """A container 2 000 deep around a node adds no depth to the pickle."""
    value = inc(1)
    for _ in range(2_000):
        value = [value]
    result = await again(delayed(value))
    for _ in range(2_000):
        (result,) = result
    assert result == 2


def test_threads_that_pickle_one_graph_at_once():
    """Each gets a pickle in which what is shared is shared."""
    node = delayed(0)
    for _ in range(300):
        node = add(node, node)
    pickles, barrier = [], threading.Barrier(4)

    def work():
        barrier.wait()
        pickles.extend(pickle.dumps(node) for _ in range(5))

    threads = [threading.Thread(target=work) for _ in range(4)]
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    finally:
        sys.setswitchinterval(interval)
    assert {len(pickle.loads(data).graph) for data in pickles} == {301}


def test_nothing_is_kept_of_what_was_pickled():
    """The records that pickle remembers go when pickle does."""
    data = pickle.dumps(inc(1))
    assert isinstance(pickle.loads(data), asyncgraph.Delayed)
    assert dict(pickling._records) == {}


def test_functions_of_main_go_by_value():
    """A script's own functions, delayed, recursive and as methods, are computed in another process."""
    script = """
import cloudpickle, sys
from asyncgraph import delayed

@delayed(executor="loop")
def factorial(n):
    return 1 if n == 0 else delayed(multiply, executor="loop")(n, factorial(n - 1))

def multiply(a, b):
    return a * b

class Scaler:
    factor = 10
    @delayed(executor="loop")
    def scaled(self, x):
        return self.factor * x

node = Scaler().scaled(factorial.options(name="fact")(5)) + (lambda: 4)()
sys.stdout.buffer.write(cloudpickle.dumps([node, node]))
"""
    reader = """
import pickle, sys, asyncgraph
first, second = pickle.loads(sys.stdin.buffer.read())
assert first is second
print(asyncgraph.run(first))
"""
    data = subprocess.run([sys.executable, "-c", script], check=True, stdout=subprocess.PIPE, cwd=ROOT).stdout
    printed = subprocess.run(
        [sys.executable, "-c", reader], check=True, input=data, stdout=subprocess.PIPE, cwd=ROOT
    ).stdout
    assert printed.split() == [b"1204"]


def test_pickling_needs_no_loop_and_runs_nothing():
    """Nodes go to and from bytes outside of any event loop; `run` takes the copy."""
    assert asyncgraph.run(again(inc(1))) == 2
