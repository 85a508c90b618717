"""The worker pool: which calls go to which worker, and what becomes of them when a worker is lost.

Its laws:

- Every call is delivered exactly once, on the loop, and never from within `start` or `cancel`.
- A worker does its calls one after another, in the order in which it got them. When it dies, the one that
  had begun is to blame; what it had finished counts, and what it had not begun goes to others.
- A call that has begun is never begun again, unless its job says so.
- No call waits behind a longer one while a worker is idle. Workers are given more than one call only where
  calls are known to be short; what turns out to wait is taken back.
- A lost worker is reaped before its call is delivered: by then nothing of it runs any more.
- Nothing here blocks the loop. The one exception is `close`, which is for when there is no loop.

Here calls are handed over and outcomes come in, in an order that keeps these laws. What that takes is in
other modules: `waiting` has the calls without a worker, `crew` the workers; `placing` says which worker gets
which calls, `records` what workers tell, `patience` what takes too long, `losses` what becomes of the calls
of a worker that is gone. What happens in a worker, and how bytes get there and back, is not known here.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Collection, Iterable
from contextvars import Context

from asyncgraph.executors.process import verdicts
from asyncgraph.executors.process.connections import Connector, connector_for
from asyncgraph.executors.process.crew import Crew, OnWorker
from asyncgraph.executors.process.handle import Seat, Segment, Worker
from asyncgraph.executors.process.job import Job
from asyncgraph.executors.process.loading import Loading
from asyncgraph.executors.process.losses import Losses
from asyncgraph.executors.process.patience import Patience
from asyncgraph.executors.process.placing import is_long, place_for, uneven
from asyncgraph.executors.process.records import Records
from asyncgraph.executors.process.sharing import Sharing, is_to_be_shared
from asyncgraph.executors.process.shipping import Shipping
from asyncgraph.executors.process.waiting import Waiting, end_soon

__all__ = ["ProcessExecutor"]


class ProcessExecutor:
    """Runs calls in worker processes of its own.

    Workers are started when they are needed, and kept for later calls. They never import the user's
    `__main__`.

    Attributes:
        slots: How many workers there are at most. A nested call may start one more, which leaves
            when it is done.
        shipping: The functions that it knows.
    """

    def __init__(
        self,
        slots: int,
        loop: asyncio.AbstractEventLoop,
        *,
        max_tasks: int | None = None,
        max_memory: int | None = None,
        connect: Connector | None = None,
        on_worker: OnWorker | None = None,
    ) -> None:
        """Start nothing yet.

        Args:
            slots: How many workers there are to be, at least 1.
            loop: The loop that everything happens on.
            max_tasks: After so many calls a worker is replaced; None for never.
            max_memory: A worker that has more bytes than this in memory is replaced; None for never.
            connect: Starts workers; by default, whatever suits the loop.
            on_worker: Told of workers that are there, and of those that are gone.

        Raises:
            ValueError: `slots` is less than 1.
        """
        if slots < 1:
            raise ValueError(f"slots must be at least 1, not {slots!r}")
        self.slots = slots
        self.shipping = Shipping()
        self._loop = loop
        self._max_tasks = max_tasks
        self._connect = connect or connector_for(loop)
        self._waiting = waiting = Waiting(loop)
        self._crew = crew = Crew(
            slots,
            loop,
            self._connect,
            waiting,
            max_memory=max_memory,
            on_told=self._on_told,
            on_more=self._dispatch,
            on_reaped=self._settle,
            on_worker=on_worker,
        )
        self._sharing = Sharing(loop, self._on_shared)
        self._loading = Loading(loop, self._see_whether_quiet)
        self._records = Records(crew, waiting, self._loading, self.shipping)
        self._losses = Losses(crew, waiting)
        self._patience = Patience(loop, crew, waiting, self._collect, self._dispatch)
        # How deep in the delivery of outcomes this is, and what is to be called at its end.
        self._delivering = 0
        self._afterwards: dict[Callable[[], None], None] = {}
        self._none_dying = asyncio.Event()

    # -- what is asked of it

    def start(self, jobs: Iterable[Job]) -> None:
        """Give calls to workers, or let them wait for one. Never raises."""
        if self._waiting.is_closed or self._crew.is_forked():
            self._refuse(jobs)
            return
        for job in jobs:
            if job.payloads and self._connect.can_share and is_to_be_shared(job):
                self._sharing.add(job)
            else:
                self._waiting.add([job])
        self._dispatch()

    def _refuse(self, jobs: Iterable[Job]) -> None:
        loop, error = self._loop, verdicts.closed
        if self._crew.is_forked():
            error = verdicts.forked
            # The child may have a loop of its own; the parent's, which it has inherited, is idle there.
            with contextlib.suppress(RuntimeError):
                loop = asyncio.get_running_loop()
        for job in jobs:
            end_soon(loop, Segment(job, 0, len(job.calls)), error)

    def cancel(self, jobs: Collection[Job]) -> None:
        """Let nothing of these jobs begin any more, and kill the workers that have begun something of them.

        Calls that have no outcome yet end with CancelledError.
        """
        if self._crew.is_forked():
            return
        self._crew.see_to_the_dying()
        wanted = set(jobs)
        for job in wanted:
            # Also for calls of dying workers, which would otherwise begin elsewhere when those are reaped.
            job.verdict = job.verdict or verdicts.cancelled
            if self._sharing.remove(job):
                self._waiting.end(Segment(job, 0, 1), verdicts.cancelled)
        self._waiting.cancel(wanted)
        for worker in list(self._crew.workers):
            if any(segment.job in wanted for segment in worker.segments):
                self._cancel_in(worker, wanted)
        self._dispatch()

    def _cancel_in(self, worker: Worker, wanted: set[Job]) -> None:
        self._waiting.put_back_but(wanted, worker.take_back())
        # From here on nothing begins there: what runs now is what would be killed.
        running = worker.running()
        if running is not None and running.job in wanted:
            self._crew.put_down(worker)
        elif worker.count:
            self._loop.call_soon(self._on_told, worker, context=Context())
        else:
            self._crew.rest(worker)

    def held(self) -> set[Job]:
        """The jobs of which anything is here; others are delivered, or soon will be, or lost to Ctrl-C."""
        segments = [*self._waiting]
        for worker in (*self._crew.workers, *self._crew.dying):
            segments += worker.segments
        return {*(segment.job for segment in segments), *self._sharing.jobs(), *self._loading.jobs()}

    def seats(self) -> list[Seat]:
        """Where the calls are that workers have, as far as has been heard; for any thread."""
        workers = *self._crew.workers.copy(), *self._crew.dying.copy()
        return [seat for worker in workers for seat in worker.seats()]

    def afterwards(self, action: Callable[[], None]) -> None:
        """Call `action` when all outcomes that have come together are delivered, once; now, if none are.

        To look for what comes next after each of them would take longer than some calls.
        """
        if self._delivering:
            self._afterwards[action] = None
        else:
            action()

    async def aclose(self) -> None:
        """End all workers: those without a call may leave by themselves, for a second, then are killed."""
        if self._crew.is_forked():
            return
        self._dismiss()
        try:
            while self._crew.dying or self._loading:
                self._none_dying.clear()
                await self._none_dying.wait()
            await asyncio.sleep(0)  # what was still to be delivered is delivered before this returns
        finally:
            self._reap(may_leave=False)  # nothing is left to do, unless the waiting was cut short

    def close(self) -> None:
        """As `aclose`, blocking, and without the help of a loop."""
        if not self._crew.is_forked():
            self._dismiss()
            self._reap(may_leave=True)

    # -- calls to workers

    def _on_shared(self, jobs: list[Job]) -> None:
        self._waiting.add(jobs)
        self._dispatch()

    def _dispatch(self) -> None:
        """Give waiting calls to workers, and start as many workers as are still missing."""
        waiting, workers = self._waiting, self._crew.workers
        isolated: list[Segment] = []
        while waiting and not waiting.is_on_hold(workers):
            first = waiting.first
            worker, count = place_for(first, workers, self._max_tasks)
            if worker is not None:
                self._give(worker, waiting.take(count))
            elif first.job.is_isolated and not first.job.is_alone:
                isolated.append(waiting.take(len(first)))  # it waits for a new worker, which others need not
            else:
                break
        waiting.put_back(isolated)
        if waiting:
            self._crew.grow()
        else:
            self._even_out()

    def _give(self, worker: Worker, segment: Segment) -> None:
        job = segment.job
        is_first = not worker.count
        worker.has_long = is_long(job)
        worker.give(segment)
        if is_first:
            self._patience.watch(worker)
        if worker.count > 1:
            self._patience.look_later()
        if job.is_isolated or (self._max_tasks is not None and worker.given >= self._max_tasks):
            worker.is_retiring = True

    def _even_out(self) -> None:
        """Nothing waits: give an idle worker half of what another has not begun, if that is worth it."""
        pair = uneven(self._crew.workers)
        if pair is not None:
            fullest, idle = pair
            most = fullest.count if self._max_tasks is None else self._max_tasks - idle.given
            for segment in fullest.take_back(keep=max(fullest.count // 2, fullest.count - most)):
                self._give(idle, segment)

    # -- what workers tell

    def _on_told(self, worker: Worker) -> None:
        if worker in self._crew.workers and self._collect(worker):
            self._dispatch()

    def _collect(self, worker: Worker) -> bool:
        """Deliver what the worker has written; whether there was anything."""
        worker.read()
        has_any = bool(worker.records)
        before = self._delivering
        try:
            self._delivering = before + 1
            self._deliver(worker)
        except Exception:
            raise
        except BaseException:
            # Ctrl-C: nobody knows which of its calls have been taken from it by now.
            self._keep_from_beginning(worker)
            self._crew.put_down(worker)
            raise
        finally:
            self._delivering = before
        if has_any and worker in self._crew.workers:
            self._after_outcomes(worker)
        while self._afterwards and not self._delivering:
            self._afterwards.popitem()[0]()
        return has_any

    def _deliver(self, worker: Worker) -> None:
        # Those whom an outcome is delivered to may come back here, and must find things in order.
        while worker.records:
            kind, body = worker.records.popleft()
            if not self._records.take(worker, kind, body):  # it makes no sense: somebody else has written it
                self._keep_from_beginning(worker)
                self._crew.expel(worker)
                return

    def _keep_from_beginning(self, worker: Worker) -> None:
        """Let nothing more begin there: nobody would know what has come of it."""
        worker.records.clear()
        if worker in self._crew.workers:
            self._waiting.put_back(worker.take_back())

    def _after_outcomes(self, worker: Worker) -> None:
        if worker.count:
            self._patience.watch(worker)
        self._crew.see_to_memory(worker)
        if not worker.count and worker.is_ready:
            self._crew.rest(worker)

    # -- the end of workers

    def _settle(self, worker: Worker) -> None:
        """Draw the conclusions from the end of `worker`, which is reaped.

        If Ctrl-C strikes amid this, it is called again: what has been taken from the worker by then is not
        taken twice.
        """
        dying = self._crew.dying
        if worker not in dying:
            return  # `close` was faster
        ended: list[tuple[Segment, BaseException]] = []
        if not worker.is_closed:
            self._collect(worker)
            if worker not in dying:
                return  # somebody to whom an outcome was delivered has called `close`
            ended = self._losses.take_calls_of(worker)
        worker.close()
        dying.discard(worker)
        self._see_whether_quiet()
        self._dispatch()
        try:
            self._crew.tell_of_end(worker)
        finally:
            if not self._loop.is_closed():
                for segment, error in ended:
                    segment.job.ended(segment.start, segment.step, None, error)

    def _see_whether_quiet(self) -> None:
        if not self._crew.dying and not self._loading:
            self._none_dying.set()

    def _dismiss(self) -> None:
        self._waiting.is_closed = True
        self._crew.see_to_the_dying()
        self._patience.stop()
        for job in self._sharing.clear():
            self._waiting.end(Segment(job, 0, 1), verdicts.closed)
        self._waiting.end_all(verdicts.closed)
        self._crew.dismiss()

    def _reap(self, *, may_leave: bool) -> None:
        self._crew.reap(may_leave=may_leave)
        self._loading.join()
