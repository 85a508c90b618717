"""Observers: what is called with the events of runs, and which runs these are.

An observer is any callable that takes an event. Those are told of a run that were given to it
(`observers=` of `compute` and `start`), or to its runtime, or in whose `with` block it was begun, and those
of the run in one of whose nodes it was begun. There is no list of observers for the whole process: two runs
that go on at the same time do not see each other.
"""

from __future__ import annotations

import contextlib
import inspect
import threading
from collections.abc import Iterable, Iterator
from collections.abc import Set as AbstractSet
from types import TracebackType
from typing import Any, ClassVar, Self, get_args

from asyncgraph.observe.entered import AnyObserver, entered
from asyncgraph.observe.events import Event

__all__ = ["ALL_EVENTS", "Observer", "check_observers", "kinds_of", "observing"]

ALL_EVENTS: frozenset[type[Event]] = frozenset(get_args(Event))


class Observer:
    """Base class for observers that are also `with` blocks: they are told of all runs begun inside.

    An observer is called on the thread of the loop, between two nodes, and so has to be quick. One that
    raises is dropped, with one line in the log; the run goes on.

    Attributes:
        telling: Held while it is called: runs on several loops tell it one after another.
        kinds: The classes of events that it wants to be called with; all, by default. While somebody wants
            those of single nodes, a run keeps a record of each step: some 25 to 50 microseconds a node.

    Example:
        >>> from asyncgraph import delayed
        >>> from asyncgraph.observe import NodeFinished, Observer
        >>> class Names(Observer):
        ...     kinds = frozenset({NodeFinished})
        ...
        ...     def __call__(self, event):
        ...         print(event.node.key)
        >>> with Names():
        ...     await delayed(sum)([1, 2]).compute()
        sum-1
        3
    """

    kinds: ClassVar[frozenset[type[Event]]] = ALL_EVENTS
    telling: threading.RLock

    def __new__(cls, *args: Any, **kwargs: Any) -> Self:
        """Make one that can be told; whatever the `__init__` of a class does or does not do."""
        observer = super().__new__(cls)
        observer.telling = threading.RLock()
        return observer

    def __call__(self, event: Any) -> None:
        """Hear of an event."""
        raise NotImplementedError(f"{type(self).__name__} has no __call__(self, event)")

    def __enter__(self) -> Self:
        """Be told of the runs that are begun from here on, in this context."""
        entered.set((*entered.get(), *check_observers((self,))))
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Be told of no further runs; of those that have begun, still."""
        # By name and not by token: several tasks may be in the block of the same observer, each its own.
        left = list(entered.get())
        for place in reversed(range(len(left))):
            if left[place] is self:
                del left[place]
                entered.set(tuple(left))
                break


@contextlib.contextmanager
def observing(*observers: AnyObserver) -> Iterator[None]:
    """Let these be told of all runs that are begun in the `with` block.

    Raises:
        TypeError: One cannot be called.

    Example:
        >>> from asyncgraph import delayed
        >>> from asyncgraph.observe import RunFinished, observing
        >>> events = []
        >>> with observing(events.append):
        ...     await delayed(sum)([1, 2]).compute()
        3
        >>> isinstance(events[-1], RunFinished)
        True
    """
    token = entered.set((*entered.get(), *check_observers(observers)))
    try:
        yield
    finally:
        with contextlib.suppress(ValueError):
            entered.reset(token)


def kinds_of(observer: AnyObserver) -> frozenset[type[Event]]:
    """The classes of events that an observer wants."""
    return getattr(observer, "kinds", ALL_EVENTS)


def check_observers(observers: object) -> tuple[AnyObserver, ...]:
    """What `observers=` says.

    Raises:
        TypeError: It is no list of callables.
    """
    if isinstance(observers, str) or not isinstance(observers, Iterable):
        hint = f": observers=[{getattr(observers, '__name__', type(observers).__name__)}]"
        raise TypeError(
            f"observers= takes a list of observers, not {observers!r}{hint if callable(observers) else ''}"
        )
    given = tuple(observers)
    for each in given:
        if isinstance(each, type):
            raise TypeError(f"an observer is an object, not a class: {each.__name__}()")
        wanted = getattr(each, "kinds", ALL_EVENTS)
        if not isinstance(wanted, AbstractSet) or not ALL_EVENTS.issuperset(wanted):
            raise TypeError(
                f"{each!r}.kinds is to be a set of classes of events, as in frozenset({{NodeFinished}}), not "
                f"{wanted!r}"
            )
        if inspect.iscoroutinefunction(each) or inspect.iscoroutinefunction(getattr(each, "__call__", None)):  # noqa: B004
            raise TypeError(f"an observer is called and not awaited, and {each!r} is a coroutine function")
        if not callable(each):
            raise TypeError(f"an observer is called with each event, and {each!r} cannot be called")
    return given
