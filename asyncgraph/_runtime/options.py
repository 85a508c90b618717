"""Checks of options: each raises at once, with an error that says what would be right."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from contextvars import ContextVar
from typing import Any

from asyncgraph.observe.entered import AnyObserver

__all__ = [
    "MISTAKEN",
    "check_number",
    "check_resources",
    "check_seconds",
    "checked_observers",
    "context_variables",
    "named_executors",
    "whole_number",
]


MISTAKEN = {
    "threads": "thread",
    "processes": "process",
    "async": "loop",
    "asyncio": "loop",
    "coroutine": "loop",
}
"""Names that are easily given to asyncgraph's own executors, and so to no other."""


def whole_number(option: str, value: object, *, of: str = "whole number", least: int = 1) -> int:
    """`value` if it is a whole number, and large enough.

    Args:
        option: Name of the option, for the message.
        value: What was given.
        of: What is counted, for the message, as "number of items".
        least: How large it is at least.

    Raises:
        TypeError: It is no whole number.
        ValueError: It is less than that.
    """
    if not isinstance(value, int) or isinstance(value, bool):
        raise TypeError(f"{option}= takes a {of}, not {value!r}")
    if value < least:
        raise ValueError(f"{option}= takes a {of} of at least {least}, not {value}")
    return value


def check_seconds(option: str, value: object) -> None:
    """Raise unless `value` is None or a number of seconds above 0.

    Raises:
        TypeError: It is no number.
        ValueError: It is not above 0, or not finite.
    """
    if value is None:
        return
    if not isinstance(value, int | float) or isinstance(value, bool):
        raise TypeError(f"{option}= takes a number of seconds, not {value!r}")
    # Of whole numbers some are larger than any float.
    if not 0 < value <= sys.float_info.max:
        hint = "; None is for no limit" if value > 0 else ""
        raise ValueError(f"{option}= takes a number of seconds above 0, not {value!r}{hint}")


def check_number(option: str, value: object) -> None:
    """Raise unless `value` is a finite number.

    Raises:
        TypeError: It is no number.
        ValueError: It is not finite.
    """
    if not isinstance(value, int | float) or isinstance(value, bool):
        raise TypeError(f"{option}= takes a number, not {value!r}")
    if not -sys.float_info.max <= value <= sys.float_info.max:
        raise ValueError(f"{option}= takes a finite number, not {value!r}")


def check_resources(value: object) -> None:
    """Raise unless `value` says how much there is to be of what.

    Raises:
        TypeError: It is no mapping of names to numbers.
        ValueError: A number is not above 0, or not finite.
    """
    if not isinstance(value, Mapping):
        raise TypeError(f"resources= takes a mapping of names to numbers, as {{'GPU': 1}}, not {value!r}")
    for name, amount in value.items():
        if not isinstance(name, str) or not name:
            raise TypeError(f"resources= takes names as keys, as 'GPU', not {name!r}")
        if not isinstance(amount, int | float) or isinstance(amount, bool):
            raise TypeError(f"resources= takes numbers, and {name!r} is {amount!r}")
        if not 0 < amount <= sys.float_info.max:
            raise ValueError(f"resources= takes numbers above 0, and {name!r} is {amount!r}")


def checked_observers(given: object) -> tuple[AnyObserver, ...]:
    """What `observers=` says.

    Raises:
        TypeError: It is no list of callables.
    """
    if given == ():
        return ()
    # Imported when needed: events are no business of those who observe nothing.
    from asyncgraph.observe.observer import check_observers

    return check_observers(given)


def named_executors(given: object) -> dict[str, Any]:
    """What `executors=` says.

    Raises:
        TypeError: It is no mapping of names to executors.
        ValueError: A name is one of asyncgraph's own.
    """
    if given is None:
        return {}
    if not isinstance(given, Mapping):
        raise TypeError(f"executors= takes a mapping of names to executors, not {given!r}")
    for name, executor in given.items():
        if not isinstance(name, str) or not name:
            raise TypeError(f"executors= takes names as keys, as 'gpu', not {name!r}")
        if name in ("loop", "thread", *MISTAKEN):
            raise ValueError(f"executors= cannot replace {name!r}: give it another name, as 'gpu'")
        is_class = isinstance(executor, type)
        is_client = type(executor).__module__.startswith("distributed.client")
        has_method = callable(getattr(executor, "submit", None)) or callable(getattr(executor, "bind", None))
        if is_class or is_client or not has_method:
            hint = ": call it" if is_class else ": give it as DaskExecutor(client)" if is_client else ""
            raise TypeError(
                "executors= takes executors of concurrent.futures, which have `submit`, and those of "
                f"asyncgraph, as DaskExecutor; {name!r} is {executor!r}{hint}"
            )
    return dict(given)


def context_variables(given: object) -> tuple[ContextVar[Any], ...]:
    """What `context=` says: variables that worker processes can find.

    Raises:
        TypeError: It is no list or tuple of context variables.
        ValueError: There is no name by which a worker could find one.
    """
    if not isinstance(given, list | tuple):
        raise TypeError(f"context= takes a list of ContextVar objects, not {given!r}")
    if not given:
        return ()
    # Imported when needed: worker processes are no business of a service that has no such calls.
    from asyncgraph.executors.process.variables import place_of

    for variable in given:
        if not isinstance(variable, ContextVar):
            raise TypeError(f"context= takes a list of ContextVar objects, and {variable!r} is none")
        if place_of(variable) is None:
            raise ValueError(
                f"no worker process can find the context variable {variable.name!r} of context=: no "
                "module has a name for it. Make it at the top level of a module: "
                f"NAME = ContextVar({variable.name!r})"
            )
    return tuple(given)
