"""`Delayed`: the handle that users hold, on which every operation builds a node and runs nothing."""

from __future__ import annotations

import math
import operator
import sys
from collections import deque
from collections.abc import Callable, Coroutine, Generator, Iterable, Iterator, Mapping
from functools import lru_cache
from types import FrameType, GeneratorType
from typing import Any, TypeVar

from asyncgraph._graph.arguments import ATOMS, search
from asyncgraph._graph.function import Function
from asyncgraph._graph.node import NO_KWARGS, Node, key_of
from asyncgraph._graph.once import give
from asyncgraph._lazy.collection import DaskCollection, is_dask_collection, with_nodes
from asyncgraph._lazy.pickling import reduce_node
from asyncgraph._lazy.refusals import Refusals, refuse
from asyncgraph._lazy.shown import Shown
from asyncgraph._runtime.front import compute
from asyncgraph._runtime.runtime import Runtime
from asyncgraph.observe.entered import AnyObserver

__all__ = ["Delayed", "build_node"]

T_co = TypeVar("T_co", covariant=True)

_Unary = Callable[[Any], "Delayed[Any]"]
_Binary = Callable[[Any, Any], "Delayed[Any]"]


# Names by which libraries ask what they have been given. A node as the answer would mislead them.
_NEVER_LAZY = {
    "add_done_callback": "a node is no future (asyncio.wait takes asyncio.ensure_future(node))",
    "dask": "Dask asks nodes for it",
}


def _unpacked(value: Any, index: int, count: int) -> Any:
    """Item `index` of a value that was promised, with `nout=`, to have `count` items."""
    if len(value) != count:
        raise ValueError(f"nout={count} was promised, but there are {len(value)} items")
    return value[index]


def _called(function: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Any:
    return function(*args, **kwargs)


def _operator(function: Callable[..., Any], name: str, nout: int | None = None) -> Function:
    return Function(function, name, "loop", is_part=True, nout=nout)


_ATTRIBUTE = _operator(getattr, "getattr")
_ITEM = _operator(operator.getitem, "getitem")
_UNPACK = _operator(_unpacked, "item")


@lru_cache(maxsize=1024)
def _call_of(name: str) -> Function:
    """For nodes that call a value or a method of one: in a thread, or on the loop if that is async."""
    return Function(_called, name, "thread", is_dynamic=True, is_part=True)


def _unary(function: Callable[[Any], Any]) -> _Unary:
    spec = _operator(function, function.__name__)

    def operation(self: Delayed[Any]) -> Delayed[Any]:
        return build_node(spec, (self,), NO_KWARGS, sys._getframe(1))

    return operation


def _binary(function: Callable[..., Any], nout: int | None = None) -> tuple[_Binary, _Binary]:
    """The operation with the node on the left, and the one with the node on the right."""
    spec = _operator(function, function.__name__.strip("_"), nout)

    def operation(self: Delayed[Any], other: Any) -> Delayed[Any]:
        return build_node(spec, (self, other), NO_KWARGS, sys._getframe(1))

    def reflected(self: Delayed[Any], other: Any) -> Delayed[Any]:
        return build_node(spec, (other, self), NO_KWARGS, sys._getframe(1))

    return operation, reflected


def _in_place(function: Callable[[Any, Any], Any], symbol: str) -> _Binary:
    """`node += x`: a new node under the old name, unless `x` says that a container is to be changed."""
    spec = _operator(function, function.__name__.strip("_"))

    def operation(self: Delayed[Any], other: Any) -> Delayed[Any]:
        if isinstance(other, list | dict | set | bytearray | deque):
            kind = type(other).__name__
            refuse(
                f"`node {symbol}= {kind}`, which would change a {kind} in place,",
                f"write node = node {symbol} ...",
            )
        return build_node(spec, (self, other), NO_KWARGS, sys._getframe(1))

    return operation


class Delayed(Refusals, DaskCollection, Shown[T_co]):
    """A node: a call that has been recorded and not run; `await` it for its value.

    Operators, items, slices, attributes and calls on a node give nodes. Names that start with an
    underscore are never lazy, nor are the four public attributes `compute`, `graph`, `key` and
    `visualize`: for an attribute of the value with such a name write `delayed(getattr)(node, "key")`.
    What cannot be lazy (`bool`, `len`, iteration, assignment, ...) is a TypeError that names the way
    round. Nodes are immutable, hashable by identity, and pickle (with cloudpickle, where their
    functions need it). They are Dask collections, too, which is why `node.dask` is not lazy, and no futures,
    which is why `node.add_done_callback` is not.

    Example:
        >>> from asyncgraph import delayed
        >>> total = delayed([1, 2])[0] + 10
        >>> await total
        11
    """

    __slots__ = ()

    # numpy then leaves `array + node` to the node, instead of making an array of nodes; and so does
    # pandas, whose own classes have up to 4000 of this.
    __array_ufunc__ = None
    __pandas_priority__ = 10_000

    def compute(
        self,
        *,
        timeout: float | None = None,
        return_exceptions: bool = False,
        runtime: Runtime | None = None,
        observers: Iterable[AnyObserver] = (),
    ) -> Coroutine[Any, Any, T_co]:
        """Run the graph behind this node on the running event loop and return its value.

        Args:
            timeout: Seconds after which everything is cancelled and TimeoutError raised.
            return_exceptions: Run all that can run, and return a failure instead of raising it.
            runtime: Where to run; by default the runtime whose `async with` block this is in, or else
                the default runtime of the loop.
            observers: Who is told of what the run does, beside those of the runtime and of `with`
                blocks; see `asyncgraph.observe`.

        Raises:
            Exception: What a node raised, as itself, with a note that says which node it was. The
                other nodes have been cancelled by then, and none of them is running any more.
            TimeoutError: `timeout` has passed.
            asyncio.CancelledError: The awaiting task was cancelled; so were all nodes.
        """
        return compute(
            self, timeout=timeout, return_exceptions=return_exceptions, runtime=runtime, observers=observers
        )

    def __await__(self) -> Generator[Any, None, T_co]:
        return self.compute().__await__()

    @property
    def key(self) -> str:
        """The node's readable identity, as `parse-7`."""
        return key_of(self)

    def __repr__(self) -> str:
        return f"<Delayed {key_of(self)}>"

    def __dir__(self) -> list[str]:
        return ["compute", "graph", "key", "visualize"]

    # A prescription does not change, so that a copy of it is itself (as with functions).
    def __copy__(self) -> Delayed[T_co]:
        return self

    def __deepcopy__(self, memo: dict[int, Any]) -> Delayed[T_co]:
        return self

    def __reduce__(self) -> tuple[Any, ...]:
        return reduce_node(self)

    __hash__ = object.__hash__

    def __getattr__(self, name: str) -> Delayed[Any]:
        if name.startswith("_") or name in _NEVER_LAZY:
            why = _NEVER_LAZY.get(name, "it starts with an underscore")
            raise AttributeError(
                f"{name!r} is not lazy, because {why}; "
                f"write delayed(getattr)(node, {name!r}) for that attribute of the value"
            )
        return build_node(_ATTRIBUTE, (self, name), NO_KWARGS, sys._getframe(1))

    def __call__(self, /, *args: Any, **kwargs: Any) -> Delayed[Any]:
        name = self._args[1] if self._function is _ATTRIBUTE else "call"
        return build_node(_call_of(name), (self, *args), kwargs, sys._getframe(1))

    def __getitem__(self, item: Any) -> Delayed[Any]:
        return build_node(_ITEM, (self, item), NO_KWARGS, sys._getframe(1))

    def __iter__(self) -> Iterator[Delayed[Any]]:
        count = self._function.nout
        if count is None:
            refuse(
                "iterating over a node, or unpacking it,",
                "iterate inside a delayed function, or say how many items there are: "
                "`a, b = function.options(nout=2)(...)`",
            )
        frame = sys._getframe(1)
        return iter([build_node(_UNPACK, (self, index, count), NO_KWARGS, frame) for index in range(count)])

    def __len__(self) -> int:
        count = self._function.nout
        if count is None:
            refuse("len(node)", "write delayed(len)(node)")
        return count

    __add__, __radd__ = _binary(operator.add)
    __sub__, __rsub__ = _binary(operator.sub)
    __mul__, __rmul__ = _binary(operator.mul)
    __matmul__, __rmatmul__ = _binary(operator.matmul)
    __truediv__, __rtruediv__ = _binary(operator.truediv)
    __floordiv__, __rfloordiv__ = _binary(operator.floordiv)
    __mod__, __rmod__ = _binary(operator.mod)
    __divmod__, __rdivmod__ = _binary(divmod, nout=2)
    __lshift__, __rlshift__ = _binary(operator.lshift)
    __rshift__, __rrshift__ = _binary(operator.rshift)
    __and__, __rand__ = _binary(operator.and_)
    __xor__, __rxor__ = _binary(operator.xor)
    __or__, __ror__ = _binary(operator.or_)
    _, __rpow__ = _binary(pow)

    __lt__, _ = _binary(operator.lt)
    __le__, _ = _binary(operator.le)
    __gt__, _ = _binary(operator.gt)
    __ge__, _ = _binary(operator.ge)
    del _

    __iadd__ = _in_place(operator.add, "+")
    __isub__ = _in_place(operator.sub, "-")
    __imul__ = _in_place(operator.mul, "*")
    __iand__ = _in_place(operator.and_, "&")
    __ixor__ = _in_place(operator.xor, "^")
    __ior__ = _in_place(operator.or_, "|")

    __neg__ = _unary(operator.neg)
    __pos__ = _unary(operator.pos)
    __invert__ = _unary(operator.invert)
    __abs__ = _unary(abs)
    __trunc__ = _unary(math.trunc)
    __floor__ = _unary(math.floor)
    __ceil__ = _unary(math.ceil)

    # These two promise, in `object`, a bool.

    def __eq__(self, other: object) -> Delayed[Any]:  # type: ignore[override]  # pyright: ignore[reportIncompatibleMethodOverride]
        return build_node(_EQUAL, (self, other), NO_KWARGS, sys._getframe(1))

    def __ne__(self, other: object) -> Delayed[Any]:  # type: ignore[override]  # pyright: ignore[reportIncompatibleMethodOverride]
        return build_node(_UNEQUAL, (self, other), NO_KWARGS, sys._getframe(1))

    def __pow__(self, exponent: Any, *modulus: Any) -> Delayed[Any]:
        return build_node(_POW, (self, exponent, *modulus), NO_KWARGS, sys._getframe(1))

    def __round__(self, ndigits: Any = None) -> Delayed[Any]:
        return build_node(_ROUND, (self, ndigits), NO_KWARGS, sys._getframe(1))


# `object.__new__`, known to the type checkers as what makes a node.
new_node: Callable[[type[Node[Any]]], Any] = object.__new__

_EQUAL = _operator(operator.eq, "eq")
_UNEQUAL = _operator(operator.ne, "ne")
_POW = _operator(pow, "pow")
_ROUND = _operator(round, "round")


def build_node(
    function: Function, args: tuple[Any, ...], kwargs: Mapping[str, Any], frame: FrameType
) -> Delayed[Any]:
    """The node for a call of `function`, written at `frame`; finds the nodes among its arguments.

    Raises:
        TypeError: An argument is a generator that another call was given, or that has no items any more.
        ValueError: A container among the arguments holds nodes and itself.
    """
    # Mostly all arguments are nodes or atoms. Looking for that here, in one pass and without a call, keeps
    # the whole under half a microsecond.
    count = 0
    for value in args:
        if type(value) is Delayed:
            count += 1
        elif type(value) not in ATOMS:
            args, kwargs, dependencies = _search_arguments(args, kwargs, frame)
            break
    else:
        if kwargs:
            args, kwargs, dependencies = _search_arguments(args, kwargs, frame)
        elif count == len(args):
            dependencies = args  # one tuple serves for both
        else:
            dependencies = tuple([value for value in args if type(value) is Delayed]) if count else ()
    # Not by calling the class: `__init__` and its frame are half of what a node costs.
    node: Delayed[Any] = new_node(Node)
    node._function = function
    node._args = args
    node._kwargs = kwargs or NO_KWARGS
    node._dependencies = dependencies
    node._code = frame.f_code
    node._lasti = frame.f_lasti
    node._key = None
    # A `Delayed` refuses assignment, which would make setting its own fields through the slots'
    # descriptors three times as slow: it becomes one when it is complete.
    node.__class__ = Delayed
    return node


def _search_arguments(
    args: tuple[Any, ...], kwargs: Mapping[str, Any], frame: FrameType
) -> tuple[tuple[Any, ...], Mapping[str, Any], tuple[Any, ...]]:
    """Both kinds of arguments with templates for containers with nodes inside, and all the nodes."""
    found: list[Any] = []
    is_other = is_dask_collection if "dask" in sys.modules else None
    searched = tuple([_searched(value, found, is_other) for value in args])
    named = {name: _searched(value, found, is_other) for name, value in kwargs.items()}
    if is_other is not None and not all(isinstance(each, Node) for each in found):
        return with_nodes(searched, named, found, frame)
    return searched, named, tuple(found)


def _searched(value: Any, found: list[Any], is_other: Callable[[Any], bool] | None) -> Any:
    if type(value) is Delayed:
        found.append(value)
        return value
    if type(value) is GeneratorType:
        give(value)
    return search(value, Node, found, is_other)
