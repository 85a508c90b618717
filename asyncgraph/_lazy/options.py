"""The options of a delayed function: what they may be, and what becomes of them in a `Function`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, NamedTuple, TypedDict

from asyncgraph._graph.function import NO_RESOURCES, Durations, Function, is_async, name_of
from asyncgraph._graph.retry import Retry
from asyncgraph._runtime.options import (
    MISTAKEN,
    check_number,
    check_resources,
    check_seconds,
    whole_number,
)

__all__ = ["Given", "Options", "options_of"]

_EXECUTORS = ("loop", "thread", "process")

# Options that mean something to one executor only, and what they are about.
_NEEDS = (
    ("isolate", "process", "worker processes"),
    ("abandon_on_cancel", "thread", "threads"),
)
# Executors that the user has given names to may well have some.
_WITHOUT_WORKERS = ("loop", "thread")


class Given(TypedDict, total=False):
    """The options by name, for signatures that pass them on."""

    executor: str | None
    name: str | None
    nout: int | None
    timeout: float | None
    retries: int | Retry | None
    retries_on_crash: int | None
    isolate: bool | None
    abandon_on_cancel: bool | None
    priority: float | None
    resources: Mapping[str, float] | None


class Options(NamedTuple):
    """The options, None where nothing is said; what they mean is said at `delayed`."""

    executor: str | None = None
    name: str | None = None
    nout: int | None = None
    timeout: float | None = None
    retries: int | Retry | None = None
    retries_on_crash: int | None = None
    isolate: bool | None = None
    abandon_on_cancel: bool | None = None
    priority: float | None = None
    resources: Mapping[str, float] | None = None

    def check(self) -> None:
        """Raise unless each is right by itself: TypeError for a wrong type, ValueError for a wrong value."""
        names = ", ".join(map(repr, _EXECUTORS))
        if self.executor is not None and not isinstance(self.executor, str):
            raise TypeError(
                f"executor= takes one of the names {names}, or one in Runtime(executors=...), not "
                f"{self.executor!r}"
            )
        if self.executor == "" or self.executor in MISTAKEN:
            hint = f": did you mean {MISTAKEN[self.executor]!r}?" if self.executor else ""
            raise ValueError(
                f"there is no executor {self.executor!r}{hint or ':'} executor= is one of {names}, or one in "
                "Runtime(executors=...)"
            )
        if self.name is not None and not isinstance(self.name, str):
            raise TypeError(f"name= takes a string, not {self.name!r}")
        if self.name == "":
            raise ValueError("name= takes a string that is not empty")
        if self.nout is not None:
            whole_number("nout", self.nout, of="number of items")
        check_seconds("timeout", self.timeout)
        if isinstance(self.retries, bool) or not isinstance(self.retries, int | Retry | None):
            raise TypeError(f"retries= takes a number of times or a Retry, not {self.retries!r}")
        if not isinstance(self.retries, Retry):
            _check_times("retries", self.retries)
        _check_times("retries_on_crash", self.retries_on_crash)
        for option in ("isolate", "abandon_on_cancel"):
            value = getattr(self, option)
            if value is not None and not isinstance(value, bool):
                raise TypeError(f"{option}= takes True or False, not {value!r}")
        if self.priority is not None:
            check_number("priority", self.priority)
        if self.resources is not None:
            check_resources(self.resources)

    def over(self, others: Options) -> Options:
        """These, and the others where these say nothing."""
        said = {name: value for name, value in self._asdict().items() if value is not None}
        return others._replace(**said)

    def function(self, call: Callable[..., Any], durations: Durations | None = None) -> Function:
        """The function with these options, each of which is right by itself.

        Raises:
            ValueError: They do not go together.
        """
        awaits = is_async(call)
        executor = self.executor or ("loop" if awaits else "thread")
        if awaits and executor != "loop":
            raise ValueError(
                f"{name_of(call)} is a coroutine function, which runs on the event loop: "
                f"executor={executor!r} is for a plain `def`"
            )
        for option, needed, about in _NEEDS:
            if getattr(self, option) and executor != needed:
                raise ValueError(f'{option}= is about {about}: it needs executor="{needed}"')
        if self.retries_on_crash and executor in _WITHOUT_WORKERS:
            raise ValueError('retries_on_crash= is about worker processes: it needs executor="process"')
        if self.timeout and executor == "loop" and not awaits:
            raise ValueError(
                f"{name_of(call)} is a plain function on the event loop, which nothing can stop: "
                'timeout= needs `async def`, or executor="thread" or "process"'
            )
        return Function(
            call,
            self.name or name_of(call),
            executor,
            is_async=awaits,
            nout=self.nout,
            timeout=self.timeout,
            crash_retries=self.retries_on_crash or 0,
            is_isolated=bool(self.isolate),
            retry=_retry(self.retries),
            is_abandonable=bool(self.abandon_on_cancel),
            priority=self.priority or 0,
            resources=MappingProxyType(dict(self.resources)) if self.resources else NO_RESOURCES,
            durations=durations,
        )


def options_of(function: Function) -> Options:
    """The options that a function has."""
    return Options(
        function.executor,
        function.name,
        function.nout,
        function.timeout,
        function.retry,
        function.crash_retries or None,
        function.is_isolated or None,
        function.is_abandonable or None,
        function.priority or None,
        function.resources or None,
    )


def _check_times(option: str, value: object) -> None:
    if value is not None:
        whole_number(option, value, of="number of times", least=0)


def _retry(retries: int | Retry | None) -> Retry | None:
    return retries if isinstance(retries, Retry) else Retry(1 + retries) if retries else None
