"""What a worker's records say: values, errors, durations; and what is no such thing."""

from __future__ import annotations

import marshal
import struct
from collections.abc import Callable
from typing import Any

from asyncgraph.executors.process.frames import PICKLE, split_payload
from asyncgraph.executors.process.handle import Worker
from asyncgraph.executors.process.payload import Payload
from asyncgraph.executors.process.refusal import Refusal

__all__ = ["decoded_error", "loaded", "marshalled", "payload_of", "take_meter", "take_times"]


def take_meter(worker: Worker, body: memoryview) -> bool:
    """Note how long calls have taken; False if it makes no sense."""
    meter = marshalled(body)
    if meter is None:
        return False
    number, calls, seconds = meter
    function = worker.function(number)
    if function is not None:
        function.durations.add(seconds, calls)
    return True


def take_times(worker: Worker, body: memoryview) -> bool:
    """Pass on when the call that the worker is at began and ended; False if it makes no sense."""
    times = marshalled(body)
    if type(times) is not tuple or list(map(type, times)) != [float, float] or not worker.segments:
        return False
    segment = worker.segments[0]
    began, ended = times
    segment.job.took(segment.start, segment.step, began, ended, worker.process.pid)
    return True


def marshalled(body: memoryview) -> Any:
    """What was marshalled; None if nothing was."""
    try:
        return marshal.loads(body)
    except (EOFError, TypeError, ValueError):
        return None


def payload_of(worker: Worker, kind: int, body: memoryview) -> Payload | None:
    """What a PICKLE or a PAYLOAD brings; None if it makes no sense."""
    if kind == PICKLE:
        return Payload([len(body)], [body])
    try:
        sizes, is_shared, rest = split_payload(body)
        if is_shared:
            return Payload(sizes, fd=worker.link.take_descriptor())
    except (EOFError, TypeError, ValueError, LookupError, struct.error):
        return None
    parts = []
    for size in sizes:
        parts.append(bytearray(rest[:size]))
        rest = rest[size:]
    return Payload(sizes, parts[:1], parts[1:])


def loaded(
    payload: Payload, key: Callable[[], str], *, apart: bool = False
) -> tuple[Any, BaseException | None]:
    """The value of a result, and None; or None, and an error. `apart` says that this is a thread."""
    try:
        return payload.load(apart=apart), None
    except BaseException as cause:  # the user's code runs here, and must not end the loop
        return None, Refusal("result-unpickle", "", "", cause).as_error(key())


def decoded_error(data: Any, key: str) -> BaseException:
    """The exception that an ERROR brings."""
    from asyncgraph.executors.process.exceptions import decode

    try:
        return decode(data)
    except BaseException as cause:  # likewise
        return Refusal("result-unpickle", "", "", cause).as_error(key)
