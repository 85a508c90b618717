"""`delayed`: turns a function into one whose calls build nodes, and a value into a node."""

from __future__ import annotations

import functools
import inspect
import sys
from collections.abc import Callable, Coroutine, Mapping
from types import FrameType, MethodType
from typing import Any, Generic, ParamSpec, Protocol, TypeVar, Unpack, overload

from asyncgraph._graph.function import Function, name_of, target_of
from asyncgraph._graph.node import NO_KWARGS, Node
from asyncgraph._graph.retry import Retry
from asyncgraph._lazy.node import Delayed, build_node
from asyncgraph._lazy.options import Given, Options, options_of
from asyncgraph._lazy.pickling import load, reference_to

__all__ = ["DelayedFunction", "DelayedMethod", "delayed", "value_node"]

P = ParamSpec("P")
T = TypeVar("T")
_Callable = Callable[..., Any]


class DelayedFunction(Generic[P, T]):
    """A function whose calls build nodes; what `delayed(function)` gives.

    It keeps the function's name, docstring and signature, and has it as `__wrapped__`. As a method of
    a class it binds like one.

    Attributes:
        function: The function with its options, as its nodes have it.
    """

    def __init__(self, call: Callable[P, Any], function: Function) -> None:
        # Without what is in its __dict__, where a class or an instance may have an `options` of its own.
        functools.update_wrapper(self, call, updated=())
        self.__wrapped__ = call
        self.function = function

    def __call__(self, /, *args: Any, **kwargs: Any) -> Delayed[T]:
        """Record a call. Any argument may be a node, or a container with nodes in it."""
        return build_node(self.function, args, kwargs, sys._getframe(1))

    def options(
        self,
        *,
        executor: str | None = None,
        name: str | None = None,
        nout: int | None = None,
        timeout: float | None = None,
        retries: int | Retry | None = None,
        retries_on_crash: int | None = None,
        isolate: bool | None = None,
        abandon_on_cancel: bool | None = None,
        priority: float | None = None,
        resources: Mapping[str, float] | None = None,
    ) -> DelayedFunction[P, T]:
        """The same function with other options, as in `fn.options(executor="process")(x)`.

        Args:
            executor: As in `delayed`; None leaves it as it is. So it is for all of them.
            name: Likewise.
            nout: Likewise.
            timeout: Likewise.
            retries: Likewise; 0 for none.
            retries_on_crash: Likewise; 0 for none.
            isolate: Likewise.
            abandon_on_cancel: Likewise.
            priority: Likewise; 0 for none.
            resources: Likewise; {} for none.

        Raises:
            TypeError: An option is of the wrong type.
            ValueError: An option has a value that cannot be right.
        """
        given = Options(
            executor,
            name,
            nout,
            timeout,
            retries,
            retries_on_crash,
            isolate,
            abandon_on_cancel,
            priority,
            resources,
        )
        given.check()
        old = self.function
        # To a process and back a call takes longer.
        durations = old.durations if executor in {None, old.executor} else None
        return DelayedFunction(
            self.__wrapped__, given.over(options_of(old)).function(self.__wrapped__, durations)
        )

    @overload
    def __get__(self, instance: None, owner: type, /) -> DelayedFunction[P, T]: ...
    @overload
    def __get__(self, instance: object, owner: type | None = None, /) -> DelayedMethod[T]: ...
    def __get__(self, instance: object, owner: type | None = None, /) -> Any:
        return self if instance is None else DelayedMethod(self, instance)

    def __repr__(self) -> str:
        return f"<delayed function {self.function.name}, executor {self.function.executor!r}>"

    def __reduce__(self) -> tuple[Any, ...]:
        reference = reference_to(self)
        if reference is not None:
            return load, reference
        return _delayed_function, (self.function,)


class DelayedMethod(Generic[T]):
    """A delayed function looked up on an instance, which its calls pass on as the first argument.

    A `types.MethodType` would do, if `instance.method.options(...)` did not lose the instance.
    """

    __slots__ = ("__func__", "__self__")

    def __init__(self, function: DelayedFunction[..., T], instance: object) -> None:
        self.__func__ = function
        self.__self__ = instance

    def __call__(self, /, *args: Any, **kwargs: Any) -> Delayed[T]:
        """Record a call, as the function does."""
        return build_node(self.__func__.function, (self.__self__, *args), kwargs, sys._getframe(1))

    def options(self, **options: Unpack[Given]) -> DelayedMethod[T]:
        """The same method with other options."""
        return DelayedMethod(self.__func__.options(**options), self.__self__)

    @property
    def __wrapped__(self) -> MethodType:
        return MethodType(self.__func__.__wrapped__, self.__self__)

    def __getattr__(self, name: str) -> Any:
        if name == "__func__":  # not there yet, while a pickle or a copy is being filled
            raise AttributeError(name)
        return getattr(self.__func__, name)

    def __repr__(self) -> str:
        return f"<delayed method {self.__func__.function.name} of {self.__self__!r}>"


class _Decorator(Protocol):
    """What `@delayed(...)` with options is: it takes the function."""

    @overload
    def __call__(self, function: Callable[P, Coroutine[Any, Any, T]], /) -> DelayedFunction[P, T]: ...
    @overload
    def __call__(self, function: Callable[P, Delayed[T]], /) -> DelayedFunction[P, T]: ...
    @overload
    def __call__(self, function: Callable[P, T | Delayed[T]], /) -> DelayedFunction[P, T]: ...


class _NotGiven:
    """Tells `delayed(...)` without a value from `delayed(None)`."""


# A node is callable too, and data may be: the first that fits counts.
@overload
def delayed(value: Delayed[T], /) -> Delayed[T]: ...  # type: ignore[overload-overlap]
@overload
def delayed(  # type: ignore[overload-overlap]
    value: Callable[P, Coroutine[Any, Any, T]],
    /,
    **options: Unpack[Given],
) -> DelayedFunction[P, T]: ...
@overload
def delayed(  # type: ignore[overload-overlap]
    value: Callable[P, Delayed[T]],
    /,
    **options: Unpack[Given],
) -> DelayedFunction[P, T]: ...
@overload
def delayed(  # type: ignore[overload-overlap]
    value: Callable[P, T | Delayed[T]],
    /,
    **options: Unpack[Given],
) -> DelayedFunction[P, T]: ...
@overload
def delayed(**options: Unpack[Given]) -> _Decorator: ...
@overload
def delayed(value: T, /, *, name: str | None = None, nout: int | None = None) -> Delayed[T]: ...
def delayed(
    value: Any = _NotGiven,
    /,
    *,
    executor: str | None = None,
    name: str | None = None,
    nout: int | None = None,
    timeout: float | None = None,
    retries: int | Retry | None = None,
    retries_on_crash: int | None = None,
    isolate: bool | None = None,
    abandon_on_cancel: bool | None = None,
    priority: float | None = None,
    resources: Mapping[str, float] | None = None,
) -> Any:
    """Make a function lazy, or wrap a value as a node.

    `delayed(function)`, `@delayed` and `@delayed(executor="process")` give a function whose calls
    are recorded instead of run: each is a node. `delayed(value)` gives a node whose value is `value`,
    with the values of the nodes in it in their places.

    Args:
        value: A function or any other callable, or data. A node is returned as it is.
        executor: Where the function runs: "loop" (on the event loop; a plain `def` inline), "thread",
            "process", or a name that the runtime knows by `Runtime(executors=...)`. By default "loop" for
            `async def` and "thread" for everything else. A coroutine function can only be on the loop.
        name: What its nodes are called; the first part of their keys.
        nout: How many items the value has, if its node is to be unpacked: `a, b = fn(x)`.
        timeout: How many seconds an attempt may take, from when the call begins. Then a coroutine is
            cancelled, and a worker process killed with all that it has started; a thread is told, see
            `check_cancelled`, and waited for. The node fails with `NodeTimeoutError`, unless its value is
            there by then. A plain function on the loop cannot have one.
        retries: How often a call that has failed is made again, or a `Retry` that says more. Between two
            attempts the node holds no slot, thread or task. By default never.
        retries_on_crash: How often a call is begun again after its worker process has died of it. By default
            never: what the call has done by then would be done twice. (Clusters begin such calls again by
            themselves: it is how often one is handed over again that they have given up.)
        isolate: Whether each call has a worker process that nothing else has run in, or will.
        abandon_on_cancel: Whether a run that is stopped, or a timeout that has passed, does not wait for the
            thread of a call. That goes on by itself, keeping its slot; what comes of it is dropped.
        priority: On a cluster that knows priorities (Dask does), calls with a higher number go first; by
            default it is 0. Elsewhere it has no effect.
        resources: How much a call takes of what workers have, by name, as `{"GPU": 1}`: on a cluster it runs
            where there is as much (see `DaskExecutor`, `RayExecutor`). Executors that know no resources
            refuse the graph, with `GraphError`.

    Raises:
        TypeError: An option is of the wrong type, or the function is a generator function.
        ValueError: An option has a value that cannot be right.

    Example:
        >>> from asyncgraph import delayed
        >>> @delayed
        ... def increment(x):
        ...     return x + 1
        >>> await (increment(1) + increment(2))
        5
    """
    options = Options(
        executor,
        name,
        nout,
        timeout,
        retries,
        retries_on_crash,
        isolate,
        abandon_on_cancel,
        priority,
        resources,
    )
    options.check()
    if value is _NotGiven:
        return functools.partial(delayed, **options._asdict())
    if isinstance(value, Node):
        return _same_node(value, options)
    if isinstance(value, staticmethod | classmethod | property):
        kind = type(value).__name__
        raise TypeError(f"@delayed makes a function lazy, and not a {kind}: write it below @{kind}")
    if isinstance(value, DelayedFunction | DelayedMethod):
        return value.options(**options._asdict())
    if callable(value):
        _refuse_generators(value)
        return DelayedFunction(value, options.function(value))
    if inspect.iscoroutine(value):
        value.close()
        raise TypeError(
            "a coroutine runs once, wherever it is awaited: make its function delayed, and call that"
        )
    for option, said in options._asdict().items():
        if said is not None and option not in {"name", "nout"}:
            raise TypeError(f"{option}= is for functions: data does not run anywhere")
    return value_node(value, name, nout, sys._getframe(1))


def _same_node(node: Node[Any], options: Options) -> Node[Any]:
    if options != Options():
        raise TypeError("a node has its options already: give them to the function, or with fn.options(...)")
    return node


def value_node(value: Any, name: str | None, nout: int | None, frame: FrameType) -> Delayed[Any]:
    """The node for data: its value is `value`, with the values of the nodes in it."""
    function = Function(_itself, name or type(value).__name__, "loop", is_value=True, is_part=True, nout=nout)
    return build_node(function, (value,), NO_KWARGS, frame)


def _itself(value: Any) -> Any:
    return value


def _refuse_generators(call: _Callable) -> None:
    target = target_of(call)
    if inspect.isgeneratorfunction(target) or inspect.isasyncgenfunction(target):
        raise TypeError(
            f"{name_of(call)} is a generator function, and a node has one value: "
            "let it return a list, or call it inside a delayed function"
        )


def _delayed_function(function: Function) -> DelayedFunction[..., Any]:
    return DelayedFunction(function.call, function)
