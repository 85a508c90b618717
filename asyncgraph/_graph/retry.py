"""When a call that has failed is made again, and after how long."""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable
from typing import Any

from asyncgraph.errors import AsyncgraphError, NodeTimeoutError, RemoteError

__all__ = ["Retry"]

# What says that an error may pass: classes, or whoever is asked.
_On = type[BaseException] | tuple[type[BaseException], ...] | Callable[[BaseException], bool]


class Retry:
    """How often a call is made, for which errors again, and after how long.

    `retries=3` is short for `Retry(attempts=4)`. While a node waits for its next attempt, it holds no slot,
    no thread and no task; it keeps its arguments. Each attempt has the node's whole `timeout=`. An attempt
    that fails leaves no trace but a line in the note of the last one's error.

    Args:
        attempts: How often the call is made at most, the first time included.
        on: The errors that it is made again for: a class of exceptions, a tuple of some, or a function that
            is called on the event loop with the error and returns a bool. By default every `Exception`. Never
            for errors of asyncgraph's own, which come back when the call does (as when an argument does not
            pickle); a node's `NodeTimeoutError` and a `RemoteError` are no such errors. For a dead worker
            process there is `retries_on_crash=`.
        backoff: Seconds before the second attempt, at most; the longest pause doubles with each further
            attempt, and the pause is a random share of it ("full jitter": Marc Brooker, Exponential Backoff
            And Jitter, AWS Architecture Blog, 2015). Or a function that gets the number of the attempt that
            has failed, 1 for the first, and returns the seconds. 0 for no pause.
        max_backoff: The longest pause, in seconds, where `backoff` is a number.

    Raises:
        TypeError: An argument is of the wrong type.
        ValueError: An argument has a value that cannot be right.

    Example:
        >>> from asyncgraph import Retry, delayed
        >>> answers = iter([ConnectionError("busy"), ConnectionError("busy"), "here"])
        >>> @delayed(retries=Retry(attempts=3, on=ConnectionError, backoff=0.01))
        ... async def ask():
        ...     answer = next(answers)
        ...     if isinstance(answer, Exception):
        ...         raise answer
        ...     return answer
        >>> await ask()
        'here'
    """

    __slots__ = ("attempts", "backoff", "max_backoff", "on")

    def __init__(
        self,
        attempts: int,
        *,
        on: _On = Exception,
        backoff: float | Callable[[int], float] = 0.1,
        max_backoff: float = 30.0,
    ) -> None:
        given: object = attempts
        if not isinstance(given, int) or isinstance(given, bool):
            raise TypeError(f"attempts= takes a whole number, not {attempts!r}")
        if attempts < 1:
            raise ValueError(f"attempts= counts the first one, too: it is at least 1, not {attempts}")
        _check_errors(on)
        if not callable(backoff):
            _check_pause("backoff", backoff)
        _check_pause("max_backoff", max_backoff)
        self.attempts = attempts
        self.on = on
        self.backoff = backoff
        self.max_backoff = max_backoff

    def covers(self, error: BaseException) -> bool:
        """Whether a call is made again after this error, if there are attempts left.

        Raises:
            Exception: What the function given as `on` raises.
        """
        if isinstance(error, AsyncgraphError) and not isinstance(error, NodeTimeoutError | RemoteError):
            return False
        if inspect.isclass(self.on) or isinstance(self.on, tuple):
            return isinstance(error, self.on)
        return isinstance(error, Exception) and bool(self.on(error))

    def pause(self, attempt: int, share: float) -> float:
        """Seconds to wait after the attempt with this number, the first of which is 1.

        Args:
            attempt: The number.
            share: A random number from 0 to 1: which share of the longest pause it is to be.

        Raises:
            Exception: What the function given as `backoff` raises.
            TypeError: It has returned no number.
            ValueError: It has returned a negative one, or one that is not finite.
        """
        if callable(self.backoff):
            seconds = self.backoff(attempt)
            _check_pause("the function given as backoff", seconds)
            return seconds
        # Capped before the power, which would overflow after a thousand attempts.
        longest = min(self.backoff * 2.0 ** min(attempt - 1, 64), self.max_backoff)
        return share * longest

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Retry) and all(
            getattr(self, name) == getattr(other, name) for name in self.__slots__
        )

    def __hash__(self) -> int:
        return hash((self.attempts, self.on, self.backoff, self.max_backoff))

    def __repr__(self) -> str:
        said = (f"{name}={getattr(self, name)!r}" for name in ("on", "backoff", "max_backoff"))
        return f"Retry({self.attempts}, {', '.join(said)})"


def _check_errors(on: Any) -> None:
    classes = on if isinstance(on, tuple) else (on,)
    if all(inspect.isclass(each) and issubclass(each, BaseException) for each in classes):
        return
    if inspect.isclass(on) or not callable(on):
        raise TypeError(
            f"on= takes a class of exceptions, a tuple of some, or a function of the error, not {on!r}"
        )


def _check_pause(option: str, seconds: Any) -> None:
    what = f"{option}= takes" if option.isidentifier() else f"{option} has to return"
    if not isinstance(seconds, int | float) or isinstance(seconds, bool):
        raise TypeError(f"{what} a number of seconds, not {seconds!r}")
    if not 0 <= seconds <= sys.float_info.max:  # of whole numbers some are larger than any float
        raise ValueError(f"{what} a number of seconds of at least 0, not {seconds!r}")
