"""What workers tell, record by record: whose outcome it is, and what that is.

A record that makes no sense was written by somebody else. Whoever hears that decides what is to be done.
"""

from __future__ import annotations

from functools import partial
from typing import Any

from asyncgraph.executors.base import failure_of
from asyncgraph.executors.process.crew import Crew
from asyncgraph.executors.process.frames import (
    ATOM,
    ERROR,
    HELLO,
    METER,
    PASSED,
    PAYLOAD,
    PICKLE,
    REFUSED,
    TIMES,
)
from asyncgraph.executors.process.handle import Segment, Worker
from asyncgraph.executors.process.job import Job
from asyncgraph.executors.process.loading import Loading, is_to_be_loaded_apart
from asyncgraph.executors.process.outcomes import (
    decoded_error,
    loaded,
    marshalled,
    payload_of,
    take_meter,
    take_times,
)
from asyncgraph.executors.process.payload import Payload
from asyncgraph.executors.process.refusal import Refusal
from asyncgraph.executors.process.resending import pack_anew
from asyncgraph.executors.process.shipping import Shipping
from asyncgraph.executors.process.waiting import Waiting

__all__ = ["Records"]

# How often a call is pickled anew for a worker that lacks modules.
_RESENT = 3

# Results stay in shared memory as long as descriptors are lower than this: others need some, too.
_MOST_DESCRIPTORS = 500

# Records that say something of calls, beside what has come of them.
_ABOUT_CALLS = {METER: take_meter, TIMES: take_times}


class Records:
    """Delivers what records say.

    Args:
        crew: The workers, which say hello.
        waiting: Where calls go that are sent once more.
        loading: Unpickles large results.
        shipping: The functions that are known.
    """

    def __init__(self, crew: Crew, waiting: Waiting, loading: Loading, shipping: Shipping) -> None:
        self._crew = crew
        self._waiting = waiting
        self._loading = loading
        self._shipping = shipping

    def take(self, worker: Worker, kind: int, body: Any) -> bool:
        """Deliver what a record says; False if it makes no sense."""
        if kind == ATOM:
            return self._take_values(worker, body)
        if kind in _ABOUT_CALLS:
            return _ABOUT_CALLS[kind](worker, body)
        if kind == HELLO:
            self._crew.greet(worker)
            return True
        if not worker.segments:
            return False
        segment = worker.segments[0]
        job, index, step = segment.job, segment.start, segment.step
        if kind == PASSED:
            return self._take_step(worker, job, step)
        if kind == REFUSED:
            return self._take_refusal(worker, job, index, step, body)
        if kind == ERROR:
            worker.pass_by(1)
            key = job.key(index, step)
            job.ended(index, step, None, failure_of(decoded_error(body, key), key))
            return True
        payload = payload_of(worker, kind, body) if kind in (PICKLE, PAYLOAD) else None
        if payload is None:
            return False
        worker.pass_by(1)
        self._take_payload(payload, job, index, step)
        return True

    def _take_step(self, worker: Worker, job: Job, step: int) -> bool:
        if step >= len(job.steps):
            return False
        worker.pass_step()
        job.passed(step)
        return True

    def _take_payload(self, payload: Payload, job: Job, index: int, step: int) -> None:
        if 0 <= payload.fd < _MOST_DESCRIPTORS and job.keeps_payload(index, step):
            job.ended(index, step, payload, None)
        elif is_to_be_loaded_apart(payload):
            self._loading.load(payload, job, index, step)
        else:
            job.ended(index, step, *loaded(payload, partial(job.key, index, step)))

    def _take_values(self, worker: Worker, values: list[Any]) -> bool:
        if not worker.segments:
            return False
        segment = worker.segments[0]
        job, index = segment.job, segment.start
        count = min(len(segment), len(values))
        if count < len(values):
            worker.records.appendleft((ATOM, values[count:]))
            del values[count:]
        if job.steps:
            step = segment.step
            worker.pass_by(1)
            job.ended(index, step, values[0], None)
        else:
            worker.pass_by(count)
            job.done(index, values)
        return True

    def _take_refusal(self, worker: Worker, job: Job, index: int, step: int, body: Any) -> bool:
        refusal = marshalled(body)
        if refusal is None:
            return False
        stage, place, kind, missing, cause = refusal
        worker.pass_by(1)
        is_lacking = bool(missing) and not step and stage == "arg-unpickle"
        if is_lacking and self._may_resend(job) and pack_anew(self._shipping, job, index, missing):
            job.resent += 1
            self._waiting.put_back([Segment(job, index, index + 1)])
            return True
        key = job.key(index, step)
        job.ended(index, step, None, Refusal(stage, place, kind, decoded_error(cause, key)).as_error(key))
        return True

    def _may_resend(self, job: Job) -> bool:
        return not self._waiting.is_closed and job.verdict is None and job.resent < _RESENT * len(job.calls)
