"""What a node refuses: the operations to which Python wants an answer at once.

Each is a TypeError that names the operation and the way round it.
"""

from __future__ import annotations

from typing import Any, NoReturn

__all__ = ["Refusals", "refuse"]

_CHANGE = "make the change inside a delayed function that returns the changed value"


def refuse(what: str, instead: str) -> NoReturn:
    """Raise the TypeError that every refusal is."""
    raise TypeError(f"{what} is not possible, because a node has no value until it is computed: {instead}")


class Refusals:
    """Base of a node: each method is an operation that cannot be lazy."""

    __slots__ = ()

    def __bool__(self) -> NoReturn:
        refuse(
            "bool(node), as in `if node:`, `a < b < c` or `node in [...]`,",
            "await it first, or put the condition inside a delayed function",
        )

    def __contains__(self, item: Any) -> NoReturn:
        refuse("`item in node`", "write delayed(operator.contains)(node, item)")

    def __setattr__(self, name: str, value: Any) -> NoReturn:
        refuse(f"`node.{name} = ...`", _CHANGE)

    def __delattr__(self, name: str) -> NoReturn:
        refuse(f"`del node.{name}`", _CHANGE)

    def __setitem__(self, item: Any, value: Any) -> NoReturn:
        refuse("`node[...] = ...`", _CHANGE)

    def __delitem__(self, item: Any) -> NoReturn:
        refuse("`del node[...]`", _CHANGE)

    def __int__(self) -> NoReturn:
        refuse("int(node)", "write delayed(int)(node)")

    def __float__(self) -> NoReturn:
        refuse("float(node)", "write delayed(float)(node)")

    def __complex__(self) -> NoReturn:
        refuse("complex(node)", "write delayed(complex)(node)")

    def __index__(self) -> NoReturn:
        refuse("a node as an index or a count, as in `range(node)`,", "use it inside a delayed function")

    def __bytes__(self) -> NoReturn:
        refuse("bytes(node)", "write delayed(bytes)(node)")

    def __reversed__(self) -> NoReturn:
        refuse("reversed(node)", "write node[::-1] for a sequence, or reverse inside a delayed function")

    def __format__(self, spec: str) -> NoReturn:
        # Without a format, too: f"/items/{node}" would silently ask for the wrong page.
        refuse(
            "formatting a node, as in f'{node}',",
            f"write delayed('{{:{spec}}}'.format)(node)"
            if spec
            else "write delayed('{}'.format)(node), or f'{node!r}' to show which node it is",
        )

    def __enter__(self) -> NoReturn:
        refuse("`with node:`", "open and close inside a delayed function")

    def __exit__(self, *error: object) -> NoReturn:
        refuse("`with node:`", "open and close inside a delayed function")

    def __aenter__(self) -> NoReturn:
        refuse("`async with node:`", "open and close inside an async delayed function")

    def __aexit__(self, *error: object) -> NoReturn:
        refuse("`async with node:`", "open and close inside an async delayed function")

    def __aiter__(self) -> NoReturn:
        refuse("`async for ... in node`", "iterate inside an async delayed function")
