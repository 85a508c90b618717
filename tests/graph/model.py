"""The scheduler's double: the same events told to it and to a plain model, and the two compared.

The model keeps sets, recomputes everything after each event and knows no cleverness. What a task's value
must be is worked out by recursion over the graph as it is written.
"""

from __future__ import annotations

import copy

import pytest

from asyncgraph._graph.plan import dependents_of
from asyncgraph._graph.scheduler import CANCELLED, RELEASED, STATES, Scheduler
from asyncgraph.errors import CycleError

LANES = (0, 1, 2)


class Pair:
    """A scheduler and its model, driven together; every event checks that they agree."""

    def __init__(self, dependencies, lanes, outputs, holders=(), lazy=(), *, holds_inputs=False):
        self.holds_inputs, self.holders, self.postponed = holds_inputs, set(holders), set()
        self.lazy = set(lazy) - set(outputs)
        self.asleep = self.lazy.copy()
        self.scheduler = Scheduler(
            dependencies,
            dependents_of(dependencies),
            lanes,
            outputs,
            holds_inputs=holds_inputs,
            lazy=self.lazy,
        )
        for task in holders:
            self.scheduler.hold_inputs(task)
        self.dependencies = list(dependencies)
        self.planned = len(dependencies)
        self.lanes = list(lanes)
        # Sorting by this gives the order in which ready tasks are begun.
        self.rank = [(0, task) for task in range(len(dependencies))]
        self.kept, self.kept_besides = set(outputs), []
        self.outputs = set(outputs)
        self.alias, self.values = {}, {}
        self.running, self.consumed, self.ahead = set(), set(), set()
        self.finished, self.failed, self.cancelled = set(), set(), set()
        self.own_failures = set()
        self.is_over = self.has_lost = False
        self.log = []
        self.agree()

    # -- events

    def take(self, lane, hold_producers=False):
        """Begin a task; it must be the first of those that are ready."""
        ready = [task for task in self.ready(lane) if self.dependencies[task] or not hold_producers]
        expected = min(ready, key=self.rank.__getitem__, default=None)
        assert self.scheduler.first(lane, hold_producers=hold_producers) == expected
        assert self.scheduler.take(lane, hold_producers=hold_producers) == expected
        self.running |= {expected} - {None}
        self.agree("take", expected)
        return expected

    def take_ahead(self, task):
        """Take a task that waits for nothing but tasks which have been taken."""
        self.scheduler.take_ahead(task)
        self.ahead.add(task)
        self.agree("take_ahead", task)

    def untake(self, task):
        """Give a task back that has not begun; what was taken ahead behind it must come back with it."""
        given_back = self.scheduler.untake(task)
        assert given_back[0] == task
        assert once(given_back) == {task} | self.ahead_behind(task)
        self.ahead -= set(given_back)
        self.running.discard(task)
        self.agree("untake", task)

    def untake_behind(self, task):
        """Give back what was taken ahead behind a task that will not finish now."""
        given_back = self.scheduler.untake_behind(task)
        assert once(given_back) == self.ahead_behind(task)
        if given_back:
            self.ahead -= set(given_back)
            self.agree("untake_behind", task)

    def consume(self, task):
        """Take the arguments, which must be what recursion says."""
        results = self.scheduler.results
        arguments = [results[each] for each in self.dependencies[task]]
        assert arguments == [self.value_of(each) for each in self.dependencies[task]]
        self.consumed.add(task)
        self.scheduler.consume(task)
        self.agree("consume", task)

    def finish(self, task):
        """Give a result; what finishes with it must be the tasks that had returned its node."""
        ended = self.scheduler.finish(task, self.value_of(task))
        self.running.remove(task)
        self.finished.add(task)
        assert ended[0] == task
        assert self.settle() | {task} == once(ended)
        begun = {each for each in self.ahead if set(self.dependencies[each]) <= self.finished}
        self.ahead -= begun
        self.running |= begun
        self.agree("finish", task)

    def postpone(self, task):
        """Let a task that holds its inputs be begun again later."""
        self.untake_behind(task)
        self.scheduler.postpone(task)
        self.running.remove(task)
        self.consumed.remove(task)
        self.postponed.add(task)
        self.agree("postpone", task)

    def go_on(self, task):
        """End the pause of a task."""
        self.scheduler.go_on(task)
        self.postponed.remove(task)
        self.agree("go_on", task)

    def revive(self):
        """Let all that failed or was cancelled be begun after all."""
        self.scheduler.revive()
        self.consumed -= self.failed | self.cancelled
        for tasks in (self.failed, self.cancelled, self.own_failures):
            tasks.clear()
        self.is_over = False
        self.settle()
        self.agree("revive")

    def withdraw(self, task):
        """Forget a result that is not to be used again, and that of the node which is its own."""
        self.has_lost = True
        for each in self.with_aliases(task):
            self.scheduler.withdraw(each)
            self.values.pop(each, None)
            self.finished.remove(each)
            self.cancelled.add(each)
            self.asleep.add(each)
            self.lazy.add(each)
        self.agree("withdraw", task)

    def lose(self, task):
        """Lose a result, which is to be made again, with what it needs that was dropped."""
        self.has_lost = True
        lost = self.scheduler.needed_again([task])
        assert once(lost) == self.lost_with(task)
        self.scheduler.forget(lost)
        for each in lost:
            self.values.pop(each, None)
            self.finished.remove(each)
            self.consumed.discard(each)
            self.cancelled.add(each)
            if each in self.lazy and each not in self.alias:
                self.asleep.add(each)
        self.agree("lose", task)

    def assign(self, lanes):
        """Let all tasks run in other lanes from now on."""
        self.scheduler.assign(lanes)
        self.lanes = list(lanes)
        self.agree("assign")

    def keep(self, task):
        """Keep a result, or what will be one."""
        self.scheduler.keep(task)
        self.kept_besides.append(task)
        self.agree("keep", task)

    def let_go(self, task):
        """Keep it no more, for one reason."""
        self.scheduler.let_go(task)
        self.kept_besides.remove(task)
        self.agree("let_go", task)

    def fail(self, task):
        """Fail a task; everything that waits for it must fail."""
        self.untake_behind(task)
        ended = self.scheduler.fail(task)
        self.running.remove(task)
        self.failed.add(task)
        self.own_failures.add(task)
        assert self.settle() == once(ended)
        self.agree("fail", task)

    def cancel(self):
        """Cancel the run; what has not begun must be cancelled."""
        self.scheduler.cancel()
        self.cancelled |= self.waiting() | {task for lane in LANES for task in self.ready(lane)}
        if not self.holds_inputs:
            self.asleep.clear()
        self.ahead.clear()
        self.postponed.clear()
        self.is_over = True
        self.agree("cancel")

    def stop(self, task):
        """Stop a running task of a cancelled run."""
        self.scheduler.stop(task)
        self.running.remove(task)
        self.cancelled.add(task)
        self.agree("stop", task)

    def give_up(self, output):
        """Hand over an output."""
        self.scheduler.give_up(output)
        self.kept.remove(output)
        self.agree("give_up", output)

    def expand(self, task, dependencies, lanes, root, lazy=()):
        """Put new tasks in place of one; a circle must be refused, with nothing changed."""
        self.untake_behind(task)
        first = len(self.dependencies)
        named = {root, *(each for new in dependencies for each in new)}
        if any(self.waits_for(each, task) for each in named if each < first):
            before = copy.deepcopy(self.visible())
            with pytest.raises(CycleError):
                self.scheduler.expand(task, dependencies, lanes, root, lazy)
            assert self.visible() == before
            self.agree("refuse", task)
            return
        ended = self.scheduler.expand(task, dependencies, lanes, root, lazy)
        self.lazy |= set(lazy)
        self.asleep |= set(lazy)
        self.running.remove(task)
        self.holders.discard(task)
        self.dependencies[task] = (root,)
        self.alias[task] = root
        self.dependencies += dependencies
        self.lanes += lanes
        self.rank += [(-first, task) for task in range(first, first + len(lanes))]
        assert self.settle() == once(ended)
        assert self.scheduler.final(task) == self.final(task)
        self.agree("expand", task)

    def renew(self, task, dependencies, lanes, own, lane):
        """Let an added task be another call; a circle must be refused, with nothing changed."""
        self.untake_behind(task)
        first = len(self.dependencies)
        named = {*own, *(each for new in dependencies for each in new)}
        if any(self.waits_for(each, task) for each in named if each < first):
            before = copy.deepcopy(self.visible())
            with pytest.raises(CycleError):
                self.scheduler.renew(task, dependencies, lanes, own, lane)
            assert self.visible() == before
            self.agree("refuse", task)
            return
        ended = self.scheduler.renew(task, dependencies, lanes, own, lane)
        self.running.remove(task)
        self.consumed.remove(task)
        self.holders.discard(task)
        self.dependencies[task], self.lanes[task] = own, lane
        self.dependencies += dependencies
        self.lanes += lanes
        self.rank += [(-first, task) for task in range(first, first + len(lanes))]
        assert self.settle() == once(ended)
        self.agree("renew", task)

    def drain(self):
        """Let everything that can run do so; nothing may be left over, and what is revived runs, too."""
        self.run_out()
        assert self.scheduler.remaining == 0
        assert self.ended() | self.asleep == set(range(len(self.dependencies)))
        for output in self.kept & self.finished:
            assert self.scheduler.results[output] == self.value_of(output)
        if self.can_revive():
            self.revive()
            self.drain()

    def run_out(self, choose=min):
        """Let everything that can run do so, and what is running when all is over be stopped."""
        for task in list(self.postponed):
            self.go_on(task)
        self.begin_all()
        while self.running:
            task = choose(sorted(self.running))
            if task not in self.consumed:
                self.consume(task)
            self.stop(task) if self.is_over else self.finish(task)
            self.begin_all()

    def begin_all(self):
        """Begin all that is ready."""
        for lane in LANES:
            while self.take(lane) is not None:
                pass

    # -- what must be true

    def value_of(self, task):
        """The value of a task, by recursion: its number and the values of its dependencies make it."""
        if task in self.values:
            return self.values[task]
        if task in self.alias:
            value = self.value_of(self.alias[task])
        else:
            value = hash((task, *(self.value_of(each) for each in self.dependencies[task])))
        if task in self.finished:
            self.values[task] = value
        return value

    def final(self, task):
        """The task whose outcome is this one's."""
        return self.final(self.alias[task]) if task in self.alias else task

    def ended(self):
        """All tasks that are over."""
        return self.finished | self.failed | self.cancelled

    def not_begun(self):
        """All tasks that are neither over nor running."""
        return set(range(len(self.dependencies))) - self.ended() - self.running

    def waiting(self):
        """Those that something keeps from being ready."""
        missing = {task for task in self.not_begun() if not set(self.dependencies[task]) <= self.finished}
        return missing | self.postponed | (self.asleep & self.not_begun())

    def ready(self, lane):
        """Those of a lane that nothing keeps."""
        return {task for task in self.not_begun() - self.waiting() if self.lanes[task] == lane}

    def can_go_ahead(self):
        """Those that wait to be called, and for nothing but tasks that have been taken."""
        in_hand = self.finished | self.running | self.ahead
        waiting = self.waiting() - self.ahead - self.alias.keys() - self.postponed - self.asleep
        return {task for task in waiting if set(self.dependencies[task]) <= in_hand}

    def can_go_back(self):
        """Those that have been taken and have not begun, in a run that goes on."""
        return set() if self.is_over else (self.running - self.consumed) | self.ahead

    def can_be_postponed(self):
        """Those that have been begun and hold their inputs, in a run that goes on."""
        taken = self.running & self.consumed
        return set() if self.is_over else taken if self.holds_inputs else taken & self.holders

    def can_be_renewed(self):
        """Those that have been added, and are called now."""
        return {task for task in self.running & self.consumed if task >= self.planned}

    def can_revive(self):
        """Whether all is over, and not all has finished, and has kept what it needs."""
        ended = self.ended() | self.asleep == set(range(len(self.dependencies)))
        return self.holds_inputs and ended and bool(self.failed | self.cancelled)

    def can_withdraw(self):
        """Those results that can be made again, once all is over."""
        if not self.can_revive() or self.scheduler.renewals:  # which do not say what they need
            return set()
        there = {task for task in self.finished if self.is_kept(task)}
        needs = {task: {task, *self.dependencies[task]} for task in range(len(self.dependencies))}
        return {
            task for task in there if set().union(*(needs[each] for each in self.with_aliases(task))) <= there
        }

    def can_be_lost(self):
        """Those results that are there once all is over."""
        return {task for task in self.finished if self.is_kept(task)} if self.can_revive() else set()

    def lost_with(self, task):
        """Return a task, what it needs that was dropped, and so on."""
        needs = self.finished.intersection(self.dependencies[task])
        dropped = {each for each in needs if not self.is_kept(each)}
        return {task}.union(*map(self.lost_with, dropped))

    def with_aliases(self, task):
        """Return a task, the one that computes what it has returned, and so on."""
        return [task, *(self.with_aliases(self.alias[task]) if task in self.alias else ())]

    def ahead_behind(self, task):
        """Those taken ahead that wait for a task, through any number of others."""
        behind = {each for each in self.ahead if task in self.dependencies[each]}
        return behind.union(*(self.ahead_behind(each) for each in behind))

    def waits_for(self, task, other):
        """Whether a task is another, or waits for it through any number of others."""
        waiting = self.waiting() | (self.failed if self.holds_inputs else set())
        if self.has_lost:
            waiting = range(len(self.dependencies))
        if task == other or task not in waiting:
            return task == other
        return any(self.waits_for(each, other) for each in self.dependencies[task])

    def settle(self):
        """Let finish what had returned a finished node, and fail what is behind a failure; say which."""
        settled = set()
        while True:
            done = {task for task in self.not_begun() if self.alias.get(task) in self.finished}
            lost = {task for task in self.not_begun() if self.failed & set(self.dependencies[task])}
            if not done | lost:
                return settled
            self.finished |= done
            self.failed |= lost
            self.asleep -= done | lost
            settled |= done | lost

    def sleep(self):
        """Wake what something waits for that waits for nothing else, and cancel what nobody needs."""
        while True:
            missing = [
                set(self.dependencies[task]) - self.finished for task in self.not_begun() - self.asleep
            ]
            woken = self.asleep & set().union(*(each for each in missing if each <= self.lazy))
            unneeded = {task for task in self.asleep - self.ended() if not self.is_kept(task)}
            unneeded -= unneeded if self.holds_inputs else set()
            self.asleep -= woken | unneeded
            self.cancelled |= unneeded
            if not woken | unneeded:
                return

    def is_kept(self, task):
        """Whether somebody still needs the result of a finished task, or will need that of another."""
        users = {each for each, needs in enumerate(self.dependencies) if task in needs}
        if task in self.kept or task in self.kept_besides:
            return True
        if self.holds_inputs:
            return bool(users - self.finished)
        have_taken = self.consumed - self.alias.keys() - self.holders
        return bool(users - self.ended() - have_taken)

    def state_of(self, task):
        """The state that a task must be in."""
        if task in self.finished:
            return "finished" if self.is_kept(task) else "released"
        if task in self.failed:
            return "failed" if self.final(task) in self.own_failures else "not run"
        for state in ("running", "cancelled"):
            if task in getattr(self, state):
                return state
        return "waiting" if task in self.waiting() else "ready"

    def agree(self, *event):
        """Compare everything that can be seen of the scheduler with the model."""
        self.log.append(event)
        self.sleep()
        scheduler = self.scheduler
        scheduler.validate()
        tasks = range(len(self.dependencies))
        assert [STATES[state] for state in scheduler.state] == [self.state_of(task) for task in tasks]
        alive = {task for task in self.finished if self.is_kept(task)}
        assert {task for task in tasks if scheduler.results[task] is not None} == alive
        assert all(scheduler.results[task] == self.value_of(task) for task in alive)
        assert scheduler.remaining == len(tasks) - len(self.ended() | self.asleep)
        assert {task for task in tasks if scheduler.is_kept(task)} == {*self.outputs, *self.kept_besides}
        assert self.failed == scheduler.behind.keys()
        assert set(scheduler.behind.values()) <= self.own_failures
        assert all(scheduler.behind[task] == task for task in self.own_failures)
        may_go = self.waiting() - self.ahead - self.alias.keys() - self.postponed - self.asleep
        assert {task for task in tasks if scheduler.can_go_ahead(task)} == may_go
        missing = [sum(each not in self.finished for each in self.dependencies[task]) for task in tasks]
        assert all(
            scheduler.missing(task) == missing[task] + (task in self.asleep) for task in self.waiting()
        )
        assert all(scheduler.task_at(scheduler.rank(task)) == task for task in tasks)
        for lane in LANES:
            ready = self.ready(lane)
            assert scheduler.is_ready(lane) == bool(ready)
            assert scheduler.backlog(lane) == sum(bool(self.dependencies[task]) for task in ready)

    def visible(self):
        """Everything that can be seen of the scheduler."""
        scheduler = self.scheduler
        return (
            [*map(tuple, scheduler.dependencies)],
            [*map(tuple, scheduler.dependents)],
            [*scheduler.lanes],
            scheduler.state,
            scheduler.results,
            scheduler.ready,
            scheduler.producers,
            scheduler.behind,
            scheduler.remaining,
            sorted(scheduler._ahead),
            sorted(scheduler._postponed),
            sorted(scheduler._asleep),
            sorted(scheduler._lazy),
        )

    # -- what may happen next

    def possible(self):
        """The names of the events that are legal now."""
        taken = self.running & self.consumed
        return [
            "take",
            *(["take_ahead"] if self.can_go_ahead() else []),
            *(["untake"] if self.can_go_back() else []),
            *(["consume"] if self.running - self.consumed else []),
            *(["finish", "fail"] if taken else []),
            *(["expand"] if taken and not self.is_over else []),
            *(["stop"] if taken and self.is_over else []),
            *(["postpone"] if self.can_be_postponed() else []),
            *(["go_on"] if self.postponed else []),
            *(["revive"] if self.can_revive() else []),
            *(["withdraw"] if self.can_withdraw() else []),
            *(["lose"] if self.can_be_lost() else []),
            *(["assign"] if self.can_revive() else []),
            *(["keep"] if self.nameable() else []),
            *(["let_go"] if self.kept_besides else []),
            *(["give_up"] if self.kept & (self.finished | self.failed) and not self.holds_inputs else []),
            *(["renew"] if self.can_be_renewed() and not self.is_over else []),
            *(["cancel"] if not self.is_over else []),
        ]

    def nameable(self):
        """Tasks that the node which a task returns may depend on."""
        states = self.scheduler.state
        return [task for task, state in enumerate(states) if state != RELEASED and state != CANCELLED]


def once(tasks):
    """Return tasks as a set; each may be there once."""
    assert len(set(tasks)) == len(tasks)
    return set(tasks)
