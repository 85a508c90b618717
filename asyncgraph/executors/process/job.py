"""What is handed to the pool: calls of one function, and who hears of their outcomes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from asyncgraph.executors.process.payload import Payload
from asyncgraph.executors.process.shipping import Shipped

__all__ = ["Call", "Job", "Step"]

# The arguments of a call: plain ones; or both kinds, pickled; or None, if they are among the payloads.
Call = tuple[Any, ...] | bytes | None


class Step:
    """A function that is called with the value of the call before it, in the same worker.

    Attributes:
        shipped: The function.
        arguments: The pickled arguments.
        timeout: Seconds that it may take, or None.
    """

    __slots__ = ("arguments", "shipped", "timeout")

    def __init__(self, shipped: Shipped, arguments: bytes, timeout: float | None) -> None:
        self.shipped = shipped
        self.arguments = arguments
        self.timeout = timeout


class Job:
    """Calls of one function that have arrived together; or a single call, with more to it.

    Whoever hands it over derives a class that says what becomes of outcomes. These methods are called on the
    loop, never from within a method of the pool that is called with the job. Each call of it has one outcome.

    Attributes:
        shipped: The function.
        calls: The arguments of each call: a tuple of plain ones, bytes (both kinds, pickled), or None if they
            are the first of the payloads.
        seconds: How long a call is expected to take; None if nobody knows.
        payloads: What the arguments of a single call consist of, or refer to.
        context: The context variables that calls are to see, and their values; None for none.
        steps: What follows a single call.
        timeout: Seconds that a single call may take, or None.
        crash_retries: How often a single call is begun again after its worker has died of it.
        is_isolated: Whether a single call has a worker of its own, which nothing has run in before or after.
        is_alone: Whether it runs while nothing else does, because it may take much memory.
        is_noted: Whether it wants to be told when each call began and ended, by `took`.
        attempts: How often a worker has died of it.
        resent: How often a call has been pickled anew, because a worker lacks a module.
        strays: How often a worker has died before it began.
        verdict: Makes, of the call's key, what it ends with when its worker is gone, if that is decided.
    """

    __slots__ = (
        "attempts",
        "calls",
        "context",
        "crash_retries",
        "is_alone",
        "is_isolated",
        "is_noted",
        "payloads",
        "resent",
        "seconds",
        "shipped",
        "steps",
        "strays",
        "timeout",
        "verdict",
    )

    def __init__(self, shipped: Shipped, calls: list[Call], seconds: float | None) -> None:
        self.shipped = shipped
        self.calls: list[Call] = calls
        self.seconds = seconds
        self.payloads: Sequence[Payload] = ()
        self.context: Shipped | None = None
        self.steps: Sequence[Step] = ()
        self.timeout: float | None = None
        self.crash_retries = 0
        self.is_isolated = False
        self.is_alone = False
        self.is_noted = False
        self.attempts = 0
        self.resent = 0
        self.strays = 0
        self.verdict: Callable[[str], BaseException] | None = None

    def key(self, index: int, step: int) -> str:
        """The key of the node that a call is for, for messages."""
        raise NotImplementedError

    def done(self, index: int, values: list[Any]) -> None:
        """The calls from `index` on have these values."""
        raise NotImplementedError

    def passed(self, step: int) -> None:
        """A single call, or that step after it, has a value, which has gone to the next step."""
        raise NotImplementedError

    def ended(self, index: int, step: int, value: Any, error: BaseException | None) -> None:
        """A call, or a step after it, has this value, or has failed; nothing follows it."""
        raise NotImplementedError

    def took(self, index: int, step: int, began: float, ended: float, pid: int) -> None:
        """A call, or a step after it, of which an outcome follows, began and ended then, in that process.

        Both are seconds on the clock of `time.perf_counter`, which the processes of a machine share.
        """

    def keeps_payload(self, index: int, step: int) -> bool:
        """Whether the value of a call stays pickled if it is large."""
        return False

    def step_timeout(self, step: int) -> float | None:
        """Seconds that the call (0) or one of the steps after it may take."""
        return self.steps[step - 1].timeout if step else self.timeout
