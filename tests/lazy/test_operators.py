"""Operators, items, attributes and methods: what they give lazily is what they give eagerly."""

from __future__ import annotations

import datetime as dt
import decimal
import fractions
import math
import operator

import pytest

from asyncgraph import Delayed, delayed
from tests.lazy.functions import Account, Scaler


class Matrix:
    """Knows `@`, from both sides."""

    def __eq__(self, other):
        return type(other) is Matrix

    __hash__ = None

    def __matmul__(self, other):
        return f"matrix @ {other}" if isinstance(other, int) else NotImplemented

    def __rmatmul__(self, other):
        return f"{other} @ matrix" if isinstance(other, str) else NotImplemented


NUMBERS = [
    operator.add,
    operator.sub,
    operator.mul,
    operator.truediv,
    operator.floordiv,
    operator.mod,
    divmod,
    pow,
    operator.lshift,
    operator.rshift,
    operator.and_,
    operator.or_,
    operator.xor,
    operator.lt,
    operator.le,
    operator.eq,
    operator.ne,
    operator.ge,
    operator.gt,
]
BINARY = [
    *((operation, 7, 3) for operation in NUMBERS),
    (operator.add, [1], [2]),
    (operator.add, "a", "b"),
    (operator.mul, "ab", 3),
    (operator.mul, 3, (1, 2)),
    (operator.matmul, Matrix(), 3),
    (operator.matmul, "x", Matrix()),
    (operator.sub, {1, 2}, {2}),
    (operator.or_, {"a": 1}, {"b": 2}),
    (operator.and_, {1, 2}, frozenset({2})),
    (operator.sub, dt.date(2024, 3, 1), dt.timedelta(days=1)),
    (operator.sub, dt.date(2024, 3, 1), dt.date(2024, 2, 1)),
    (operator.truediv, fractions.Fraction(1, 3), 2),
    (operator.lt, 2.5, decimal.Decimal(3)),
    (operator.eq, [1], (1,)),
    (operator.ne, None, 1),
]
UNARY = {
    "-x": (operator.neg, 5),
    "+x": (operator.pos, decimal.Decimal("1.10")),
    "~x": (operator.invert, 5),
    "abs": (abs, -3.5),
    "round": (round, 2.6),
    "round to digits": (lambda x: round(x, 1), 2.66),
    "floor": (math.floor, 2.6),
    "ceil": (math.ceil, 2.2),
    "trunc": (math.trunc, -2.6),
    "pow with modulus": (lambda x: pow(x, 5, 7), 3),
    "item": (lambda x: x[1], "abc"),
    "item of item": (lambda x: x[-1][0], [1, [2]]),
    "key": (lambda x: x["k"], {"k": 1}),
    "slice": (lambda x: x[1:], "abcdef"),
    "slice with step": (lambda x: x[::-2], "abcdef"),
    "tuple as key": (lambda x: x[0, 1], {(0, 1): "there"}),
    "ellipsis": (lambda x: x[...], {...: 1}),
    "attribute": (lambda x: x.balance, Account(3)),
    "method": (lambda x: x.doubled(), Account(3)),
    "method with arguments": (lambda x: x.split(",", maxsplit=1), "a,b,c"),
    "chain of methods": (lambda x: x.replace("a", "b").upper().split("B"), "banana"),
    "class method": (lambda x: x.from_bytes(b"ab", "big"), 3),
}


def name_of(value):
    """Name a test's parameter after its operation or type."""
    return getattr(value, "__name__", None) or type(value).__name__


@pytest.mark.parametrize(("operation", "left", "right"), BINARY, ids=name_of)
async def test_binary_operations(operation, left, right):
    """With the node on the left, on the right and on both sides, the value is the eager result."""
    expected = operation(left, right)
    for node in (
        operation(delayed(left), right),
        operation(left, delayed(right)),
        operation(delayed(left), delayed(right)),
    ):
        assert isinstance(node, Delayed)
        value = await node
        assert (value, type(value)) == (expected, type(expected))


@pytest.mark.parametrize("name", UNARY)
async def test_unary_operations_items_attributes_and_methods(name):
    """The value is the eager result."""
    operation, value = UNARY[name]
    node = operation(delayed(value))
    assert isinstance(node, Delayed)
    expected = operation(value)
    result = await node
    assert (result, type(result)) == (expected, type(expected))


async def test_a_value_that_is_a_function_is_called():
    """A node may be called, with any arguments, for what its value returns."""
    scale = delayed(Scaler)(3)
    assert await scale(delayed(2)) == 6
    assert await scale(x=delayed(3)) == 9


async def test_an_async_method_of_a_value_is_awaited():
    """It gives what the coroutine returns, and may take nodes."""
    account = delayed(Account)(7)
    assert await account.awaited() == 7
    assert await account.awaited(extra=delayed(3)) == 10


async def test_nodes_in_slices_and_keys():
    """Bounds of slices and keys may be nodes."""
    first, text = delayed(1), delayed("abcdef")
    assert await text[first : first + 3] == "bcd"
    assert await delayed({(1, "k"): "found"})[first, "k"] == "found"
    assert await delayed([text, "b"])[first] == "b"


async def test_divmod_unpacks():
    """A division with rest is a pair, from either side."""
    quotient, rest = divmod(delayed(17), 5)
    other = divmod(17, delayed(5))
    assert (await quotient, await rest, await other, len(other)) == (3, 2, (3, 2), 2)


async def test_sum_of_nodes():
    """`sum` of a list of nodes is a node: a chain of additions."""
    assert await sum([delayed(1), delayed(2), delayed(3)]) == 6


@pytest.mark.parametrize("symbol", ["+", "-", "*", "/", "//", "%", "**", "<<", ">>", "&", "^", "|", "@"])
async def test_in_place_operations_rebind_the_name(symbol):
    """`node += 2` gives the name to a new node; the one before is as it was."""
    value = Matrix() if symbol == "@" else 7
    names = {"node": delayed(value), "plain": value}
    before = names["node"]
    exec(f"node {symbol}= 2; plain {symbol}= 2", names)
    assert names["node"] is not before
    assert await names["node"] == names["plain"]
    assert await before == value


async def test_in_place_operations_with_a_node_on_the_right():
    """An ordinary value becomes a node."""
    total = 1
    total += delayed(2)
    total -= delayed(0.5)
    assert await total == 2.5
    items = [1]
    items += delayed([2])
    assert await items == [1, 2]


async def test_arrays_leave_operations_to_the_node():
    """What heeds `__array_ufunc__` or `__pandas_priority__`, as numpy and pandas do, gives way to a node."""

    class Array:
        def __add__(self, other):
            return NotImplemented if other.__array_ufunc__ is None else "an array of nodes"

        def __sub__(self, other):
            return NotImplemented if other.__pandas_priority__ > 4000 else "a frame of nodes"

    array = Array()
    assert isinstance(array + delayed(1), Delayed)
    assert isinstance(array - delayed(1), Delayed)


async def test_an_operation_that_fails_raises_what_it_raises():
    """The error is the eager one, and its note names the operation and the line."""
    with pytest.raises(TypeError, match=r"can only concatenate str") as caught:
        await (delayed("a") + delayed(1))
    (note,) = caught.value.__notes__
    assert "(add) failed" in note
    assert f"{__file__}:" in note


def test_operations_are_named_readably():
    """Keys tell what is done: the operator, the item, the attribute, the name of the method."""
    text = delayed("a")
    nodes = [text + "b", "b" + text, text[0], text.upper, text.upper(), text == "a", -text, text(1)]
    names = [node.key.rpartition("-")[0] for node in nodes]
    assert names == ["add", "add", "getitem", "getattr", "upper", "eq", "neg", "call"]


def test_the_line_of_an_operation_is_known():
    """Each operation has the line where it is written, also when several lines make one expression."""
    first, second = delayed(1), delayed(2)
    total = (
        first
        + second
    ).bit_length()  # fmt: skip
    line = test_the_line_of_an_operation_is_known.__code__.co_firstlineno
    lines = {name: task.site.line - line for name, task in total.graph.items() if task.site}
    assert sorted(lines.values()) == [2, 2, 4, 6, 6]
