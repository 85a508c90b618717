"""A loop, a connection and workers that do nothing by themselves: the pool's decisions, one by one.

The connection keeps what the kernel would keep: tokens, and records that nobody has read. A worker is what a
test does with it: `hello`, `begin`, `finish`, `tell`, `die`.
"""

# ruff: noqa: D102 - helpers whose names say it

from __future__ import annotations

import functools
import heapq
import itertools
import marshal
import pickle
import signal
import struct
from collections import Counter, deque

from asyncgraph.executors.process.exceptions import encode
from asyncgraph.executors.process.frames import ATOM, ERROR, GARBAGE, HELLO, METER, PASSED, PICKLE, REFUSED
from asyncgraph.executors.process.job import Job, Step
from asyncgraph.executors.process.pool import ProcessExecutor
from asyncgraph.executors.process.shipping import Shipped
from tests.executors.process.harness import Nowhere

ERROR_BODY = encode(ValueError("an error of the call"))
FRAME = struct.calcsize("=QI")


class Handle:
    def __init__(self, action):
        self.action = action

    def cancel(self):
        self.action = None

    def run(self):
        action, self.action = self.action, None
        if action is not None:
            action()


class Loop:
    """A loop that goes on when it is told to, with a clock that shows what it is set to."""

    def __init__(self):
        self.now = 0.0
        self._ready = deque()
        self._timers = []
        self._order = itertools.count()

    def call_soon(self, callback, *args, context=None):
        handle = Handle(functools.partial(callback, *args))
        self._ready.append(handle)
        return handle

    def call_later(self, delay, callback, *args, context=None):
        handle = Handle(functools.partial(callback, *args))
        heapq.heappush(self._timers, (self.now + delay, next(self._order), handle))
        return handle

    def time(self):
        return self.now

    def is_closed(self):
        return False

    def turn(self):
        """One iteration, without any time passing; whether anything was to be done."""
        count = len(self._ready)
        for _ in range(count):
            self._ready.popleft().run()  # one by one: an interrupt loses no other
        return bool(count)

    def settle(self):
        """Iterate until nothing is ready."""
        while self.turn():
            pass

    def strike(self):
        """Let the time of the next timer come; whether there was one."""
        while self._timers:
            self.now, _, handle = heapq.heappop(self._timers)
            if handle.action is not None:
                handle.run()
                return True
        return False

    def sleep(self, seconds):
        """Let time pass, with all that happens in it."""
        until = self.now + seconds
        self.settle()
        while self._timers and self._timers[0][0] <= until:
            self.strike()
            self.settle()
        self.now = until


class Process:
    """What the pool sees of a process."""

    def __init__(self, pid, on_end):
        self.pid = pid
        self.on_end = on_end
        self.exitcode = None
        self.signal = None
        self.was_shot = False

    @property
    def is_gone(self):
        return self.exitcode is not None or self.signal is not None

    def end(self, exitcode=None, number=None):
        if not self.is_gone:
            self.exitcode, self.signal = exitcode, number
            self.was_shot = number == signal.SIGKILL
            self.on_end()

    def kill(self):
        self.end(number=signal.SIGKILL)

    def reap(self):
        return self.is_gone

    def report(self):
        return ""


class Link:
    """The connection with one worker, what is in it, and the worker at its end."""

    can_share = False

    def __init__(self, world, on_told, on_lost):
        self.world = world
        self.depth = world.depth
        self.process = Process(next(world.pids), self._close_line_soon)
        self.on_told = on_told
        self.on_lost = on_lost
        self.tokens = deque()
        self.unread = []
        self.calls = {}
        self.running = None
        self.step = 0
        self.begun = 0
        self.is_ready = False
        self.is_over = False
        self.is_closed = False
        self.is_lost = self.is_broken = False

    # -- what the pool does

    def send(self, frame, shared, numbers):
        assert not self.is_over, "something is sent to a worker that is on its way out"
        assert self.is_ready, "something is sent to a worker that has not said hello"
        _, _, _, _, calls, steps, *_ = marshal.loads(frame[0][FRAME:])
        assert len(numbers) == len(calls)
        for number, call in zip(numbers, calls, strict=True):
            self.calls[number] = (*call, len(steps))
        self.tokens += numbers

    def take_back(self):
        taken = list(self.tokens)
        self.tokens.clear()
        return taken

    def offer_again(self, numbers):
        self.tokens += numbers

    def collect(self):
        assert not self.is_closed
        unread, self.unread = self.unread, []
        return unread

    def take_descriptor(self):
        raise AssertionError

    def hang_up(self):
        self.is_over = True

    def close(self):
        assert self.process.is_gone
        self.is_closed = True

    # -- what the worker does

    @property
    def lives(self):
        return not self.process.is_gone

    @property
    def is_idle(self):
        return self.is_ready and self.running is None

    def hello(self):
        self.is_ready = True
        self.write(HELLO, b"")
        self.tell()

    def begin(self):
        number = self.tokens.popleft()
        job, index, _ = self.running = self.calls[number]
        self.step = 0
        self.begun += 1
        self.world.began(self, job, index)

    def finish(self, kind=ATOM):
        """Write an outcome of the call that is running."""
        job, index, _ = self.running
        self.running = None
        value = (job, index, self.step)
        if kind == ATOM:
            if self.unread and self.unread[-1][0] == ATOM:
                self.unread[-1][1].append(value)
            else:
                self.write(ATOM, [value])
        elif kind == PICKLE:
            self.write(PICKLE, memoryview(pickle.dumps(value)))
        elif kind == ERROR:
            self.write(ERROR, memoryview(ERROR_BODY))
        else:
            missing = "a_module" if kind == "missing" else ""
            self.write(REFUSED, marshal.dumps(("arg-unpickle", "", "", missing, ERROR_BODY)))

    def pass_step(self):
        self.step += 1
        number, _, _ = self.running
        self.world.steps_begun[number, self.step] += 1
        assert self.world.steps_begun[number, self.step] == 1, "a step began again"
        self.write(PASSED, b"")

    def meter(self):
        self.write(METER, marshal.dumps((1, 1, 0.001)))

    def write(self, kind, body):
        self.unread.append((kind, body))

    def write_nonsense(self):
        self.is_broken = True
        self.write(GARBAGE, b"")

    def tell(self):
        if not self.is_over:
            self.on_told()

    def die(self, exitcode=1):
        self.process.end(exitcode)
        self.close_line()

    def close_line(self):
        """End the connection, whatever the process does."""
        if not self.is_over and not self.is_lost:
            self.is_lost = True
            self.on_lost()

    def _close_line_soon(self):
        self.world.loop.call_later(0.01, self.close_line)

    def leave(self):
        """As a worker does that has been hung up on."""
        assert self.is_over
        if self.running is None:
            self.process.end(0)


class Given(Job):
    """A job of the tests."""

    def __init__(self, world, number, count, seconds, steps):
        shipped = Shipped(len, b"", Nowhere())
        super().__init__(shipped, [(number, index) for index in range(count)], seconds)
        self.world = world
        self.number = number
        self.steps = [Step(shipped, b"", None) for _ in range(steps)]
        self.outcomes = {}
        self.passes = []
        self.is_cancelled = False
        self.then = None

    def __repr__(self):
        return f"<job {self.number}: {len(self.calls)} calls>"

    def key(self, index, step):
        return f"job{self.number}[{index}]+{step}"

    def done(self, index, values):
        for offset, value in enumerate(values):
            self._deliver(index + offset, 0, value, None)
        self._go_on()

    def passed(self, step):
        assert not self.world.within
        self.passes.append(step)

    def ended(self, index, step, value, error):
        self._deliver(index, step, value, error)
        self._go_on()

    def _deliver(self, index, step, value, error):
        assert not self.world.within, f"delivered from within {self.world.within}"
        assert index not in self.outcomes, f"{self.key(index, step)} has been delivered before"
        if error is None:
            assert value == (self.number, index, step)
        self.outcomes[index] = value, error

    def _go_on(self):
        then, self.then = self.then, None
        if then is not None:
            self.world.is_delivering = True
            then()
            self.world.is_delivering = False

    @property
    def is_over(self):
        return len(self.outcomes) == len(self.calls)

    def error(self, index=0):
        return self.outcomes[index][1]


class World:
    """A pool, its loop and its workers."""

    can_share = False

    def __init__(self, slots=2, depth=8, **options):
        self.loop = Loop()
        self.depth = depth
        self.pids = itertools.count(1000)
        self.links = []
        self.jobs = []
        self.begun = Counter()
        self.steps_begun = Counter()
        self.within = ""
        self.is_delivering = False
        self.spawn_error = None
        self.pool = ProcessExecutor(slots, self.loop, connect=self, **options)

    def __call__(self, slots, on_told, on_lost):
        if self.spawn_error is not None:
            raise self.spawn_error
        self.links.append(Link(self, on_told, on_lost))
        return self.links[-1]

    def began(self, link, number, index):
        job = self.jobs[number]
        self.begun[number, index] += 1
        resent = job.resent
        assert self.begun[number, index] <= 1 + job.crash_retries + resent, f"{job.key(index, 0)} began again"
        assert not job.is_cancelled, f"{job.key(index, 0)} began after it was cancelled"
        assert index not in job.outcomes, f"{job.key(index, 0)} began after its outcome"
        busy = [each for each in self.links if each.running and each.lives and not each.is_over]
        if job.is_alone or any(self.jobs[each.running[0]].is_alone for each in busy):
            assert busy == [link], "a call that is to run alone does not"
        if job.is_isolated:
            assert link.begun == 1, "an isolated call began in a worker that had run something"

    def start(self, count=1, seconds=None, *, steps=0, **options):
        job = Given(self, len(self.jobs), count, seconds, steps)
        for name, value in options.items():
            setattr(job, name, value)
        self.jobs.append(job)
        self._within("start", self.pool.start, [job])
        return job

    def cancel(self, *jobs):
        for job in jobs:
            job.is_cancelled = True
        self._within("cancel", self.pool.cancel, jobs)

    def _within(self, name, method, argument):
        before, self.within = self.within, name
        try:
            method(argument)
        finally:
            self.within = before
        self.check()

    @property
    def live(self):
        return [link for link in self.links if link.lives and not link.is_over]

    def ready(self, count=1):
        """Let so many workers be started and say hello; return them."""
        while not all(link.is_ready for link in self.live) or len(self.live) < count:
            silent = [link for link in self.live if not link.is_ready]
            for link in silent:
                link.hello()
            assert self.loop.turn() or silent, "no more workers are started"
        self.loop.settle()
        return self.live[:count]

    def check(self):
        """The laws that hold at any moment."""
        pool = self.pool
        assert not pool._crew.workers & pool._crew.dying
        for worker in pool._crew.workers | pool._crew.dying:
            assert worker.count == sum(map(len, worker.segments))
            assert all(len(segment) > 0 for segment in worker.segments)
            link = worker.link
            calls = [
                (segment.job.number, index)
                for segment in worker.segments
                for index in range(segment.start, segment.stop)
            ]
            unread = sum(_outcomes(record) for record in [*worker.records, *link.unread])
            is_running = link.running is not None
            if link.is_broken:
                continue
            assert len(calls) == unread + is_running + len(link.tokens)
            assert calls[len(calls) - len(link.tokens) :] == [
                link.calls[number][:2] for number in link.tokens
            ]
            if is_running:
                assert calls[unread] == link.running[:2]
            if not worker.count:
                assert worker.seconds == 0.0
                assert not worker.has_long
            if worker in pool._crew.workers:
                assert not link.is_over
                is_left_over = worker.is_ready and worker.is_retiring and not worker.count
                assert not is_left_over or self.is_delivering
        for segment in pool._waiting:
            assert len(segment) > 0

    def finish(self):
        """Let everybody do what there is to do; every call has its outcome then."""
        self.spawn_error = None
        for _ in range(10_000):
            self.loop.settle()
            self.check()
            moved = False
            for link in self.links:
                moved = self._drive(link) or moved
            self.loop.settle()
            if all(job.is_over for job in self.jobs):
                return
            if not moved and not self.loop.strike():
                break
        left = [job for job in self.jobs if not job.is_over]
        raise AssertionError(f"these never end: {left}")

    def _drive(self, link):
        if not link.lives:
            return False
        if link.is_over:
            link.leave()
            return not link.lives
        if not link.is_ready:
            link.hello()
        elif link.running is not None:
            if link.step < link.running[2]:
                link.pass_step()
            else:
                link.finish()
        elif link.tokens:
            link.begin()
            return True
        elif not link.unread:
            return False
        link.tell()
        return True

    def close(self):
        self.pool._dismiss()
        self.loop.sleep(1.0)
        for link in self.links:
            if link.lives and link.is_over:
                link.leave()
        self.pool.close()
        self.loop.settle()
        assert not self.pool._crew.workers
        assert not self.pool._crew.dying
        assert all(link.is_closed for link in self.links)
        assert all(job.is_over for job in self.jobs), [job for job in self.jobs if not job.is_over]


def _outcomes(record):
    kind, body = record
    return len(body) if kind == ATOM else kind in (PICKLE, ERROR, REFUSED)
