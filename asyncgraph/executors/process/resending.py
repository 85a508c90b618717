"""What a worker could not import is sent to it again, by value."""

from __future__ import annotations

from asyncgraph.executors.process.job import Job
from asyncgraph.executors.process.payload import Payload
from asyncgraph.executors.process.pickling import unpacked
from asyncgraph.executors.process.shipping import Shipping

__all__ = ["pack_anew"]


def pack_anew(shipping: Shipping, job: Job, index: int, missing: str) -> bool:
    """Pickle a call by value where it refers to a module; whether that can be done.

    Args:
        shipping: Is told of the module.
        job: The job.
        index: Which of its calls.
        missing: The name of the module that a worker cannot import.
    """
    try:
        shipping.ship_by_value(missing)
        job.shipped = shipping.ship(job.shipped.call, job.shipped.durations)
        for step in job.steps:
            step.shipped = shipping.ship(step.shipped.call, step.shipped.durations)
        if job.context is not None:
            job.context = shipping.ship_context_anew(job.context)
        call = job.calls[index]
        if not isinstance(call, tuple):
            _pack_arguments(shipping, job, index, call)
    except Exception:  # it does not go by value either: the first refusal says more
        return False
    return True


def _pack_arguments(shipping: Shipping, job: Job, index: int, call: bytes | None) -> None:
    from asyncgraph.executors.process.serialization import pack_arguments, pickled_by_value

    payloads = [*job.payloads] if call is None else [Payload([len(call)], [call]), *job.payloads]
    attached: list[Payload] = []
    with pickled_by_value(shipping.by_value):
        payload = pack_arguments(unpacked(payloads[0], payloads[1:], []), attached)
    if len(payload.sizes) == 1:
        job.calls[index] = b"".join(payload.stream)
    else:
        job.calls[index], job.payloads = None, [payload]
