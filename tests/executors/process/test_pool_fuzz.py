"""The pool against workers, deaths, cancels and timers in any order: its laws hold after each event.

The laws are in `fakes.World.check`, and in what the fakes refuse: nothing is sent to a worker that is on its
way out, no call begins more often than it may, each has one outcome, and none arrives from within `start` or
`cancel`.
"""

# ruff: noqa: D102 - rules whose names say it

from __future__ import annotations

import signal

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from asyncgraph.errors import WorkerCrashedError
from asyncgraph.executors.process.frames import ATOM, ERROR, PICKLE, REFUSED
from tests.executors.process.fakes import World

picks = st.integers(0, 1000)
kinds = st.sampled_from([ATOM, ATOM, ATOM, PICKLE, ERROR, REFUSED, "missing"])


class PoolMachine(RuleBasedStateMachine):
    """Events from users, workers and the clock."""

    @initialize(
        slots=st.integers(1, 3),
        depth=st.sampled_from([1, 3, 16]),
        max_tasks=st.sampled_from([None, None, 1, 5]),
    )
    def begin_anew(self, slots, depth, max_tasks):
        self.world = World(slots, depth, max_tasks=max_tasks)

    def link(self, pick, wanted):
        links = [link for link in self.world.links if link.lives and wanted(link)]
        return links[pick % len(links)] if links else None

    def job(self, pick):
        jobs = [job for job in self.world.jobs if not job.is_over]
        return jobs[pick % len(jobs)] if jobs else None

    # -- users

    @rule(count=st.integers(1, 30), seconds=st.sampled_from([1e-6, 0.0003, 0.0015]))
    def start_short(self, count, seconds):
        self.world.start(count, seconds)

    @rule(
        seconds=st.sampled_from([None, 0.0001, 1.0]),
        steps=st.integers(0, 2),
        timeout=st.sampled_from([None, None, 0.5]),
        step_timeout=st.sampled_from([None, None, 0.2]),
        crash_retries=st.integers(0, 2),
        is_isolated=st.booleans(),
    )
    def start_single(self, seconds, steps, timeout, step_timeout, crash_retries, is_isolated):
        job = self.world.start(
            1,
            seconds,
            steps=0 if is_isolated else steps,
            timeout=timeout,
            crash_retries=crash_retries,
            is_isolated=is_isolated,
        )
        for step in job.steps:
            step.timeout = step_timeout

    @precondition(lambda self: self.world.jobs)
    @rule(pick=picks, other=st.none() | picks)
    def cancel(self, pick, other):
        jobs = {job for job in (self.job(pick), other is not None and self.job(other)) if job}
        self.world.cancel(*jobs)

    @precondition(lambda self: self.world.jobs)
    @rule(pick=picks)
    def cancel_what_is_over(self, pick):
        self.world.cancel(self.world.jobs[pick % len(self.world.jobs)])

    @precondition(lambda self: self.world.jobs)
    @rule(pick=picks, other=picks, count=st.integers(0, 5))
    def do_more_on_delivery(self, pick, other, count):
        """Let whoever gets an outcome start calls and cancel others at once."""
        job, victim = self.job(pick), self.job(other)
        if job is None:
            return

        def act():
            if count:
                self.world.start(count, 0.0003)
            if victim is not None:
                self.world.cancel(victim)

        job.then = act

    # -- workers

    @rule(pick=picks)
    def hello(self, pick):
        if link := self.link(pick, lambda link: not link.is_ready and not link.is_over):
            link.hello()

    @rule(pick=picks, kind=kinds, is_told=st.booleans(), count=st.integers(1, 10))
    def work(self, pick, kind, is_told, count):
        """Do some calls, and say so or not."""
        link = self.link(pick, lambda link: link.running or link.tokens)
        for _ in range(count):
            if link is None or not (link.running or link.tokens):
                return
            if link.running is None:
                link.begin()
            while link.step < link.running[2]:
                link.pass_step()
            link.finish(kind)
            if is_told:
                link.tell()

    @rule(pick=picks)
    def begin(self, pick):
        if link := self.link(pick, lambda link: link.is_ready and link.running is None and link.tokens):
            link.begin()

    @rule(pick=picks, is_told=st.booleans())
    def pass_step(self, pick, is_told):
        if link := self.link(pick, lambda link: link.running and link.step < link.running[2]):
            link.pass_step()
            if is_told:
                link.tell()

    @rule(pick=picks)
    def tell(self, pick):
        if link := self.link(pick, lambda link: link.is_ready):
            link.meter()
            link.tell()

    @rule(pick=picks, is_noticed=st.booleans(), end=st.sampled_from([(1, None), (None, signal.SIGKILL)]))
    def die(self, pick, is_noticed, end):
        if link := self.link(pick, lambda link: True):
            link.process.end(*end)
            if is_noticed:
                link.close_line()

    @rule(pick=picks)
    def write_nonsense(self, pick):
        if link := self.link(pick, lambda link: link.is_ready and not link.is_over):
            link.write_nonsense()
            link.tell()

    @rule(pick=picks)
    def leave(self, pick):
        if link := self.link(pick, lambda link: link.is_over):
            link.leave()

    # -- the system and the clock

    @rule(fails=st.booleans())
    def spawning(self, fails):
        self.world.spawn_error = OSError("no more processes") if fails else None

    @rule(turns=st.integers(1, 5))
    def turn(self, turns):
        for _ in range(turns):
            self.world.loop.turn()

    @rule()
    def strike(self):
        self.world.loop.settle()
        self.world.loop.strike()

    @rule(seconds=st.sampled_from([0.002, 0.3, 100.0]))
    def sleep(self, seconds):
        self.world.loop.sleep(seconds)

    @precondition(lambda self: len(self.world.jobs) > 5)
    @rule()
    def close(self):
        self.world.pool._dismiss()

    # -- the laws

    @invariant()
    def laws_hold(self):
        self.world.check()

    def teardown(self):
        if not hasattr(self, "world"):
            return
        self.world.finish()
        self.world.loop.sleep(1000.0)
        self.world.check()
        assert len(self.world.pool._crew.workers) == 0, "an idle worker did not leave"
        for job in self.world.jobs:
            for index in range(len(job.calls)):
                error = job.error(index)
                if isinstance(error, WorkerCrashedError) and error.attempts:
                    assert self.world.begun[job.number, index], "a call is blamed that has never begun"
        self.world.close()


PoolMachine.TestCase.settings = settings(max_examples=300, stateful_step_count=40, deadline=None)
TestPool = PoolMachine.TestCase
