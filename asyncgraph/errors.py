"""The errors that asyncgraph itself raises, one class a cause.

A user's own exception leaves `compute()` as itself and is never wrapped in one of these::

    Exception
    └── AsyncgraphError
        ├── GraphError                     the graph cannot be run as it is written
        │   ├── CycleError                 ... nodes wait for each other in a circle
        │   └── MissingKeyError            ... a key is referred to that the graph does not have
        ├── DependencyError                not run: something it needs has failed
        ├── NodeTimeoutError               a node ran longer than its own `timeout=` (a TimeoutError)
        ├── NodeExitedError                a node's function tried to leave the program
        ├── SerializationError             something cannot be sent to, or back from, a worker process
        ├── RemoteError                    stands in for an exception that cannot leave its worker process
        ├── WorkerCrashedError             a worker process died while it was running the node
        ├── WorkerStartError               a worker process could not be started
        ├── RuntimeClosedError             a runtime is used after its end (a RuntimeError)
        └── InternalError                  a fault in asyncgraph; please report it

Every class pickles. The attributes `node`, `key` and `path` say which node an error is about, where
it is about one; they are filled in by the run.
"""

from __future__ import annotations

from typing import Any

__all__ = [
    "AsyncgraphError",
    "CycleError",
    "DependencyError",
    "GraphError",
    "InternalError",
    "MissingKeyError",
    "NodeExitedError",
    "NodeTimeoutError",
    "RemoteError",
    "RuntimeClosedError",
    "SerializationError",
    "WorkerCrashedError",
    "WorkerStartError",
]


class AsyncgraphError(Exception):
    """Base of every error that asyncgraph raises on its own account.

    Attributes:
        node: Name of the node that the error is about, or None.
        key: Key of that node, or None.
        path: Keys from the requested output down to that node; empty where it is not known.
    """

    node: str | None = None
    key: str | None = None
    path: tuple[str, ...] = ()

    def __init__(self, message: str = "", /, **attributes: Any) -> None:
        # Exactly one positional argument, the rest in __dict__: the default __reduce__ then rebuilds
        # any subclass, in another process too.
        super().__init__(message)
        self.__dict__.update(attributes)


class GraphError(AsyncgraphError):
    """Raised when a graph cannot be run as it is written; nothing has run."""


class CycleError(GraphError):
    """Raised when nodes of a graph wait for each other in a circle.

    Attributes:
        cycle: The keys on the circle in order; the first is repeated at the end.

    Example:
        >>> from asyncgraph import from_graph
        >>> try:
        ...     from_graph({"a": (abs, "b"), "b": (abs, "a")}, "a")
        ... except CycleError as error:
        ...     print(error.cycle)
        ('a', 'b', 'a')
    """

    cycle: tuple[str, ...] = ()


class MissingKeyError(GraphError):
    """Raised when a key is asked for, or referred to, that the graph does not have.

    Attributes:
        missing: The key.

    Example:
        >>> from asyncgraph import from_graph
        >>> try:
        ...     from_graph({"a": 1}, "total")
        ... except MissingKeyError as error:
        ...     print(error.missing)
        total
    """

    missing: str = ""


class DependencyError(AsyncgraphError):
    """Stands for a node that was not run because something it depends on has failed.

    Its `__cause__` is that failure. It appears among the results of
    `compute(..., return_exceptions=True)`; otherwise the failure itself is raised.

    Example:
        >>> from asyncgraph import compute, delayed
        >>> ratio = delayed(1) / 0
        >>> behind = await compute(ratio + 1, return_exceptions=True)
        >>> type(behind).__name__, behind.node, behind.__cause__
        ('DependencyError', 'add', ZeroDivisionError('division by zero'))
    """


class NodeTimeoutError(AsyncgraphError, TimeoutError):
    """Raised when a node ran longer than its own `timeout=`.

    The timeout of a whole `compute(timeout=...)` is a plain `TimeoutError` instead.
    """


class NodeExitedError(AsyncgraphError):
    """Raised when a node's function tried to leave the program instead of returning.

    That is: a GeneratorExit, or a CancelledError that nobody asked for, wherever the function runs; and in a
    thread or a worker process also SystemExit, KeyboardInterrupt and all else that is no `Exception`.

    Attributes:
        original: The exception that the function raised; also the `__cause__`.
        code: The exit code, where the function called `sys.exit(code)`.

    Example:
        >>> import sys
        >>> from asyncgraph import compute, delayed
        >>> exited = await compute(delayed(sys.exit)(3), return_exceptions=True)
        >>> type(exited).__name__, exited.code, exited.original
        ('NodeExitedError', 3, SystemExit(3))
    """

    original: BaseException | None = None
    code: Any = None


class SerializationError(AsyncgraphError):
    """Raised when an argument or a result cannot travel between this process and a worker.

    The `__cause__` is what pickle raised. An exception that cannot travel is a `RemoteError`.

    Attributes:
        stage: One of "arg-pickle", "arg-unpickle", "result-pickle", "result-unpickle".
        location: Where in the arguments or the result the culprit is, as "args[1]['lock']".
    """

    stage: str = ""
    location: str = ""


class RemoteError(AsyncgraphError):
    """Stands in for an exception of a worker process that cannot be rebuilt in this one.

    Attributes:
        type_qualname: Module and name of the original class.
        message: `str()` of the original.
        traceback_text: The original traceback, formatted in the worker.
        notes: The original's notes.
        attrs_repr: `repr()` of each of the original's attributes, by name.
    """

    type_qualname: str = ""
    message: str = ""
    traceback_text: str = ""
    notes: tuple[str, ...] = ()
    attrs_repr: dict[str, str] = {}  # noqa: RUF012 - an empty default that nobody writes to


class WorkerCrashedError(AsyncgraphError):
    """Raised when a worker process died while it was running the node.

    Attributes:
        exitcode: Exit code of the worker, or None if a signal ended it.
        signal: Number of the signal that ended it, or None.
    """

    exitcode: int | None = None
    signal: int | None = None


class WorkerStartError(AsyncgraphError):
    """Raised when a worker process could not be started; the `__cause__` says why where it is known."""


class RuntimeClosedError(AsyncgraphError, RuntimeError):
    """Raised when a runtime is used after its `async with` block, or in a forked child."""


class InternalError(AsyncgraphError):
    """Raised when asyncgraph itself is at fault; please report it with the text it prints."""
