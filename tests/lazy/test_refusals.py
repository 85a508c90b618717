"""What a node refuses, and that each refusal names the operation and the way round it."""

from __future__ import annotations

import operator
from collections import deque

import pytest

from asyncgraph import delayed

WHY = "is not possible, because a node has no value until it is computed:"
CHANGE = "make the change inside a delayed function that returns the changed value"


REFUSALS = {
    "if node: pass": ("bool(node), as in `if node:`", "await it first"),
    "not node": ("bool(node)", "inside a delayed function"),
    "node and 1": ("bool(node)", "await it first"),
    "1 < node < 3": ("`a < b < c`", "inside a delayed function"),
    "node in [other]": ("`node in [...]`", "await it first"),
    "sorted([node, other])": ("bool(node)", "inside a delayed function"),
    "max(node, 1)": ("bool(node)", "inside a delayed function"),
    "for _ in node: pass": ("iterating over a node", "iterate inside a delayed function"),
    "a, b = node": ("or unpacking it", "function.options(nout=2)(...)"),
    "print(*node)": ("iterating over a node", "function.options(nout=2)(...)"),
    "len(node)": ("len(node)", "write delayed(len)(node)"),
    "1 in node": ("`item in node`", "write delayed(operator.contains)(node, item)"),
    "node['k'] = 1": ("`node[...] = ...`", CHANGE),
    "node['k'] += 1": ("`node[...] = ...`", CHANGE),
    "del node['k']": ("`del node[...]`", CHANGE),
    "node.name = 1": ("`node.name = ...`", CHANGE),
    "node.name += 1": ("`node.name = ...`", CHANGE),
    "node._function = 1": ("`node._function = ...`", CHANGE),
    "del node.name": ("`del node.name`", CHANGE),
    "int(node)": ("int(node)", "write delayed(int)(node)"),
    "float(node)": ("float(node)", "write delayed(float)(node)"),
    "complex(node)": ("complex(node)", "write delayed(complex)(node)"),
    "bytes(node)": ("bytes(node)", "write delayed(bytes)(node)"),
    "range(node)": ("a node as an index or a count", "use it inside a delayed function"),
    "[1, 2][node]": ("a node as an index", "use it inside a delayed function"),
    "hex(node)": ("a node as an index or a count", "use it inside a delayed function"),
    "reversed(node)": ("reversed(node)", "write node[::-1]"),
    "f'{node:>10}'": ("formatting a node", "write delayed('{:>10}'.format)(node)"),
    "with node: pass": ("`with node:`", "open and close inside a delayed function"),
    "node += [1]": ("`node += list`", "write node = node + ..."),
    "node *= [1]": ("`node *= list`", "write node = node * ..."),
    "node += bytearray()": ("`node += bytearray`", "write node = node + ..."),
    "node += deque()": ("`node += deque`", "write node = node + ..."),
    "node -= {1}": ("`node -= set`", "write node = node - ..."),
    "node |= {1: 2}": ("`node |= dict`", "write node = node | ..."),
    "node &= {1}": ("`node &= set`", "write node = node & ..."),
    "node ^= {1}": ("`node ^= set`", "write node = node ^ ..."),
}


@pytest.mark.parametrize("statement", REFUSALS)
def test_a_refusal_names_the_operation_and_the_way_round(statement):
    """What cannot wait for the value is a TypeError that says what, why, and what to do instead."""
    what, instead = REFUSALS[statement]
    with pytest.raises(TypeError) as caught:
        exec(statement, {"node": delayed([1, 2]), "other": delayed([3]), "deque": deque})
    message = str(caught.value)
    before, _, after = message.partition(WHY)
    assert what in before
    assert instead in after


async def test_async_refusals_do_so_too():
    """`async for` and `async with` are refused in the same way."""
    node = delayed([1])
    with pytest.raises(TypeError, match=r"`async for ... in node` is not .*iterate inside an async delayed"):
        async for _ in node:
            pass
    with pytest.raises(TypeError, match=r"`async with node:` is not .*inside an async delayed function"):
        async with node:
            pass


@pytest.mark.parametrize("method", ["__exit__", "__aexit__"])
def test_leaving_what_was_not_entered_is_refused(method):
    """The other half of a `with` statement is refused too, for those who call it by name."""
    with pytest.raises(TypeError, match="with node"):
        getattr(delayed(1), method)(None, None, None)


async def test_the_ways_round_work():
    """What the messages recommend gives the value."""
    node = delayed([3, 1, 2])
    assert await delayed(len)(node) == 3
    assert await delayed(operator.contains)(node, 2) is True
    assert await node[::-1] == [2, 1, 3]
    assert await delayed("{:>3}".format)(node[0]) == "  3"
    assert await delayed(int)(delayed("7")) == 7
    assert await operator.add(node, [4]) == [3, 1, 2, 4]


def test_a_node_can_be_shown_but_not_be_text():
    """In an f-string a node would be text that looks right; asked for on purpose, it shows which it is."""
    node = delayed(1)
    with pytest.raises(TypeError, match=r"write delayed\('\{\}'\.format\)\(node\)"):
        f"{node}"
    assert f"{node!r}" == f"{node!s}" == repr(node)
