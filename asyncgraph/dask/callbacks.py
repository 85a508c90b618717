"""Dask's callbacks (`dask.callbacks.Callback`, such as its progress bar), told of what `get` does.

They are called as Dask's own schedulers call them, with the graph and a state whose sets say how far it is;
one at a time, but by the threads that run the tasks. What one of them raises is a failure of that task.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable
from typing import Any

from asyncgraph._graph.function import is_async

__all__ = ["Callbacks"]


class Callbacks:
    """The callbacks of one call of `get`.

    Args:
        callbacks: A tuple of five functions, each of which may be None, for each of them.
        graph: The graph; callbacks that are told of the start may put values into it.
    """

    def __init__(self, callbacks: Iterable[tuple[Any, ...]], graph: dict[Any, Any]) -> None:
        self._callbacks = list(callbacks)
        self._started: list[Callable[..., Any]] = []
        self._graph = graph
        self._lock = threading.RLock()
        self._state: dict[str, Any] = {
            "dependencies": {},
            "dependents": {},
            "waiting": {},
            "waiting_data": {},
            "cache": {},
            "ready": [],
            "running": set(),
            "finished": set(),
            "released": set(),
        }

    def start(self) -> None:
        """The graph is known."""
        for start, _, _, _, finish in self._callbacks:
            if start:
                start(self._graph)
            if finish:
                self._started.append(finish)

    def start_state(self) -> None:
        """All tasks are known."""
        for _, start_state, _, _, _ in self._callbacks:
            if start_state:
                start_state(self._graph, self._state)

    def finish(self, *, has_failed: bool) -> None:
        """It is over."""
        for finish in self._started:
            finish(self._graph, self._state, has_failed)

    def wrap(self, key: Any, call: Callable[..., Any]) -> Callable[..., Any]:
        """What is called in place of `call`, the function of a task."""
        state, dependencies = self._state, set(self._graph[key].dependencies)
        state["dependencies"][key], state["waiting"][key] = dependencies, dependencies
        for each in dependencies:
            state["dependents"].setdefault(each, set()).add(key)

        async def told_async(*args: Any, **kwargs: Any) -> Any:
            self._before(key)
            return self._after(key, await call(*args, **kwargs))

        def told(*args: Any, **kwargs: Any) -> Any:
            self._before(key)
            return self._after(key, call(*args, **kwargs))

        return told_async if is_async(call) else told

    def _before(self, key: Any) -> None:
        with self._lock:
            self._state["waiting"].pop(key, None)
            self._state["running"].add(key)
            for _, _, pretask, _, _ in self._callbacks:
                if pretask:
                    pretask(key, self._graph, self._state)

    def _after(self, key: Any, value: Any) -> Any:
        with self._lock:
            self._state["running"].discard(key)
            self._state["finished"].add(key)
            for _, _, _, posttask, _ in self._callbacks:
                if posttask:
                    posttask(key, value, self._graph, self._state, threading.get_ident())
        return value
