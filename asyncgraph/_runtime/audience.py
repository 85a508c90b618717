"""Who is told of a run, and how: observers are called one after another, and none can harm the run."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager, nullcontext
from typing import Any

from asyncgraph.executors.safe_text import describe_error
from asyncgraph.observe.around import surrounding
from asyncgraph.observe.entered import AnyObserver
from asyncgraph.observe.events import NODE_EVENTS, Event, NodeInfo, ObservedRun
from asyncgraph.observe.observer import kinds_of

__all__ = ["Audience"]

_NOTHING: AbstractContextManager[Any] = nullcontext()

logger = logging.getLogger("asyncgraph.observe")


class Audience:
    """The observers of one run.

    Args:
        observers: Who they are; one that is there twice is told once.
        on_dropped: Called with an observer that has raised, and is told nothing more.

    Attributes:
        observers: Those that are left.
        wanted: The classes of events that any of them wants.
        surrounds: Whether any of them puts something around calls.
    """

    def __init__(self, observers: Iterable[AnyObserver], on_dropped: Callable[[AnyObserver], object]) -> None:
        self.observers = list({id(each): each for each in observers}.values())
        self._on_dropped = on_dropped
        # By class of event, those that want it.
        self._wanting: dict[type[Event], list[AnyObserver]] = {}
        for observer in self.observers:
            for kind in kinds_of(observer):
                self._wanting.setdefault(kind, []).append(observer)
        self.wanted = frozenset(self._wanting)
        self.surrounds = any(map(surrounding, self.observers))

    @property
    def wants_nodes(self) -> bool:
        """Whether anybody wants to hear of single nodes, or to be there when they run."""
        return self.surrounds or not self.wanted.isdisjoint(NODE_EVENTS)

    def tell(self, event: Any) -> None:
        """Tell those who want to know."""
        for observer in self._wanting.get(type(event), ()):
            try:
                # A run in a thread of another has a loop of its own, and tells the same observers.
                with getattr(observer, "telling", _NOTHING):
                    observer(event)
            except (KeyboardInterrupt, SystemExit):  # the program's, not the observer's
                raise
            except BaseException as error:  # a CancelledError, too, is no reason to stop the run
                self._drop(observer, type(event).__name__, error)

    def add(self, observer: AnyObserver) -> None:
        """Tell one more, but of no single nodes: of these one hears from the beginning or not at all."""
        if any(each is observer for each in self.observers):
            return
        self.observers = [*self.observers, observer]
        for kind in kinds_of(observer).difference(NODE_EVENTS):
            self._wanting = {**self._wanting, kind: [*self._wanting.get(kind, ()), observer]}

    def drop(self, observer: AnyObserver) -> None:
        """Tell an observer no more."""
        self.observers = [each for each in self.observers if each is not observer]
        # New lists: one may be in use, here or further up.
        self._wanting = {
            kind: [each for each in those if each is not observer] for kind, those in self._wanting.items()
        }

    def around(
        self, run: ObservedRun, node: NodeInfo, call: Callable[..., Any]
    ) -> list[AbstractContextManager[Any]]:
        """What a call is to be made in, the innermost first."""
        managers: list[AbstractContextManager[Any]] = []
        for observer in self.observers:
            around = surrounding(observer)
            if around is None:
                continue
            try:
                manager = around(run, node, call)
                _refuse_unusable(manager, node)
            except Exception as error:
                self._drop(observer, "around", error)
            else:
                managers += [] if manager is None else [manager]
        return managers

    def _drop(self, observer: AnyObserver, what: str, error: BaseException) -> None:
        self.drop(observer)
        self._on_dropped(observer)
        # One line: what an observer does wrong, it may do with each event of each run.
        name = getattr(observer, "__qualname__", type(observer).__qualname__)
        logger.error(
            "the observer %s raised %s at %s, and is told no more", name, describe_error(error), what
        )
        logger.debug("where it was raised", exc_info=error)


def _refuse_unusable(manager: object, node: NodeInfo) -> None:
    """Raise TypeError for what a call cannot be made in: no context manager, or one that cannot go there."""
    if manager is None:
        return
    if not hasattr(type(manager), "__enter__"):
        raise TypeError(f"around is to return a context manager or None, not {manager!r}")
    if node.executor == "process":
        from asyncgraph.executors.process.serialization import dumps

        try:
            dumps(manager)
        except Exception as error:
            what = f"what around returns for {node.key} does not pickle, and the node is for a worker process"
            raise TypeError(f"{what}: {describe_error(error)}") from error
