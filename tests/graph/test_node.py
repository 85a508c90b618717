"""Nodes as data: their keys, where they were built, and their order."""

from __future__ import annotations

import functools
import inspect
import itertools
import sys
import threading

import pytest

from asyncgraph._graph import node as module
from asyncgraph._graph.node import Site, in_dependency_order, key_of, site_of, tree_order
from asyncgraph._graph.pieces import whole
from tests.graph.nodes import chain, node, tree


@pytest.fixture(autouse=True)
def _count_anew(monkeypatch):
    """Number the nodes of each test from 1, whatever has been built before."""
    monkeypatch.setattr(module, "_counters", {})


def here(offset=0):
    """Return the number of the line that calls this, plus an offset."""
    return sys._getframe(1).f_lineno + offset


def test_a_key_is_the_name_and_a_number():
    """Nodes of one name are numbered in the order in which their keys are asked for, and keep them."""
    first, second = node("named-so"), node("named-so")
    assert [key_of(second), key_of(first), key_of(second)] == ["named-so-1", "named-so-2", "named-so-1"]


def test_names_that_look_like_keys_give_no_equal_keys():
    """A name that ends in a number gets one more."""
    assert {key_of(node("look")), key_of(node("look-1"))} == {"look-1", "look-1-1"}


def test_two_threads_get_one_key():
    """Whoever asks for the key of one node at the same time gets the same answer; nothing is left over."""
    nodes = [node("asked-by-all") for _ in range(300)]
    answers = together(8, lambda: [key_of(each) for each in nodes])
    assert all(keys == answers[0] for keys in answers)
    assert len(set(answers[0])) == 300
    assert module._claims == {}


def test_threads_get_different_keys_for_different_nodes():
    """Threads that use a name for the first time do not both begin to count."""
    names = [f"new-{number}" for number in range(200)]
    answers = together(8, lambda: [key_of(node(name)) for name in names])
    keys = [key for answer in answers for key in answer]
    assert len(set(keys)) == len(keys) == 1600


def test_another_thread_in_the_middle_of_a_first_count(monkeypatch):
    """If somebody else names a node of the same name just as counting begins, the counts do not collide."""
    other = node("interrupted")

    class Interrupted:
        @staticmethod
        def count(first):
            monkeypatch.setattr(module, "itertools", itertools)
            key_of(other)
            return itertools.count(first)

    monkeypatch.setattr(module, "itertools", Interrupted)
    assert {key_of(node("interrupted")), key_of(other)} == {"interrupted-1", "interrupted-2"}


def test_another_thread_in_the_middle_of_naming(monkeypatch):
    """If somebody else names this very node meanwhile, that name holds."""
    named = node("overtaken")

    class Interrupted(dict):
        def setdefault(self, key, value):
            monkeypatch.setattr(module, "_claims", {})
            self["theirs"] = key_of(named)
            return super().setdefault(key, value)

    claims = Interrupted()
    monkeypatch.setattr(module, "_claims", claims)
    assert key_of(named) == claims["theirs"] == named._key


def test_the_site_is_the_line_and_the_function_of_the_call():
    """A node knows file, line and function in which it was built."""
    built, line = node("here"), here()
    function = "test_the_site_is_the_line_and_the_function_of_the_call"
    assert site_of(built) == Site(__file__, line, function)
    assert str(site_of(built)) == f"{__file__}, line {line}, in {function}"


def test_the_site_of_a_call_over_several_lines():
    """A call that is written over several lines was built where it begins."""
    line = here(1)
    built = node(
        "several",
        node("inner"),
        [
            1,
        ],
    )
    assert site_of(built).line == line
    assert site_of(built._dependencies[0]).line == line + 2


def test_the_site_within_a_comprehension():
    """A node that is built in a comprehension or a lambda has the line that it is written on."""
    line = here(2)
    built = [
        node("of comprehension", number)
        for number in range(3)
    ]  # fmt: skip
    assert {site_of(each).line for each in built} == {line}
    build = functools.partial(lambda: node("of lambda"))
    assert site_of(build()).line == line + 4


def test_the_site_of_each_call_on_a_line_and_in_a_loop():
    """Calls in different branches of a loop keep their lines apart."""
    built, lines = [], []
    for number in range(4):
        if number % 2:
            built.append(node("odd")), lines.append(here())
        else:
            built.append(node("even")), lines.append(here())
    assert [site_of(each).line for each in built] == lines


def test_a_site_may_be_given_or_unknown():
    """A node that comes from a pickle has its site as such; one that has none says so."""
    built = node("elsewhere")
    built._code = Site("there.py", 3, "main")
    assert site_of(built) == Site("there.py", 3, "main")
    built._code = None
    assert site_of(built) is None


def test_an_instruction_without_a_line_falls_back_to_the_function():
    """Where the compiler tells no line for an instruction, it is the line of the function."""
    built = node("odd")
    built._code, built._lasti = inspect.unwrap(here).__code__, 10_000
    assert site_of(built).line == here.__code__.co_firstlineno


def test_dependencies_come_first():
    """Each node comes once, and after everything that it depends on."""
    root, built = tree(20)
    ordered = in_dependency_order([root, built[0]])
    assert len(ordered) == len(built) == len(set(map(id, ordered)))
    place = {id(each): number for number, each in enumerate(ordered)}
    assert all(place[id(need)] < place[id(each)] for each in ordered for need in each._dependencies)


def test_what_is_placed_already_is_left_out():
    """So is what only that needs; the rest comes in its order."""
    a = node("a")
    b = node("b", a)
    c, d = node("c"), node("d", b)
    assert in_dependency_order([node("e", d, c), b], lambda each: each is b)[:2] == [d, c]
    assert in_dependency_order([b], lambda each: each is b) == []


@pytest.mark.parametrize("width", [1, 2])
def test_order_needs_no_recursion_and_looks_at_each_edge_once(width):
    """100 000 nodes in a row are ordered; doubled edges double nothing."""
    last = node("first")
    for _ in range(100_000 // width):
        last = node("next", *[last] * width)
    assert len(in_dependency_order([last])) == 100_000 // width + 1


@pytest.mark.parametrize("leaves", [1, 2, 7, 1_000, 5_000])
def test_the_order_of_a_tree(leaves):
    """It is the same by either way, for one tree and for several."""
    roots = [tree(leaves)[0], tree(3)[0], node("alone")]
    by_tree, by_any = whole(tree_order(roots)), in_dependency_order(roots)
    assert list(map(id, by_tree)) == list(map(id, by_any))


@pytest.mark.parametrize("length", [1, 700, 100_000])
def test_the_tree_order_of_a_chain(length):
    """Depth needs no recursion."""
    assert len(whole(tree_order([chain(length)]))) == length


def test_what_is_no_tree_has_no_tree_order():
    """A node that is needed twice, whether it is found early, late or at the end."""
    a = node("a")
    assert whole(tree_order([a, a])) is None
    assert whole(tree_order([node("b", a, a)])) is None
    assert whole(tree_order([node("b", a), *[node("c", number) for number in range(5_000)], a])) is None
    assert whole(tree_order([])) == []


def test_levels_that_double_are_noticed():
    """A ladder of 200 levels has 2 ** 200 ways down, which nobody walks."""
    last = node("first")
    for _ in range(200):
        last = node("next", last, last)
    assert whole(tree_order([last])) is None
    assert len(in_dependency_order([last])) == 201


def test_a_chain_is_collected_without_recursion():
    """100 000 nodes in a row are dropped with their last one."""
    last = chain(100_000)
    del last


def together(count, function):
    """Run a function in several threads that begin at once, switching often; return their answers."""
    barrier, answers = threading.Barrier(count), [None] * count

    def work(number):
        barrier.wait()
        answers[number] = function()

    threads = [threading.Thread(target=work, args=(number,)) for number in range(count)]
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    finally:
        sys.setswitchinterval(interval)
    return answers
