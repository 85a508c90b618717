"""The scheduler: a state machine that decides what runs next and which results are kept.

It is told what finished, failed or stopped, and it answers what to start. It does no I/O, holds no
clock and calls nobody; the same events in the same order give the same answers. Tasks are numbers
here, and the number is the priority, unless `urgency` says otherwise: lower goes first (see `plan`). Tasks
that `expand` adds go before all others, the latest first: recursion runs depth first too.

States of a task, and the only ways between them::

    waiting ──> ready ──> running ──> finished ──> released
       │          │          ├──────> failed
       │          │          ├──────> waiting       (it returned a node: `expand`, `renew`; or it is to be
       │          │          │                      begun again later: `postpone`)
       │          │          └──────> cancelled     (`stop`)
       ├──────────┴─────────────────> cancelled     (`cancel`)
       ├────────────────────────────> not run       (something it needs has failed)
       ├────────────────────────────> failed        (the node that it returned has)
       ├────────────────────────────> finished      (the node that it returned has)
       └────────────> running                       (it was taken ahead: `take_ahead`)

and back from running to ready, for a task that has not begun after all (`untake`), from waiting to ready when
a pause is over (`go_on`), and when all is over from failed, not run and cancelled to waiting or ready
(`revive`), and from finished or released to cancelled, for a result that is of no use any more (`withdraw`,
`forget`).

Laws, which `validate` checks:

1. A task is waiting exactly while a dependency of it is not finished, it was postponed or it sleeps, and
   ready from then until it is taken. It is taken once, unless it is given back, consumes once after that,
   and only then finishes, fails, is stopped or expanded. One that was expanded is not run again; one that was
   renewed is another call from then on.
2. A result is kept exactly while its task is an output, has a dependent that has not consumed it or is kept
   by the caller. A task that holds its inputs, because it may be begun again, consumes them when it is over.
3. A task that can never run is not run or cancelled at once, not when its turn would come. One that is not
   run, or has failed, knows the failure that it is behind.
4. `remaining` counts the tasks that are waiting, ready or running, but for those that sleep; the run is over
   when it is zero.
5. A waiting task may be taken ahead while all that it waits for is running or was taken ahead itself. It
   is running, and not ready, as soon as the last of that has finished.
6. A lazy task sleeps until a task that does not sleep waits for nothing but lazy ones, this one among them.
   When nothing can need it any more, it is cancelled, unless inputs are held.
"""

from __future__ import annotations

from bisect import insort
from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from heapq import heappop, heappush
from typing import Any

from asyncgraph._graph import expansion, laws
from asyncgraph._graph.pieces import PIECE, Pieces, cut, whole
from asyncgraph._graph.states import (
    CANCELLED,
    FAILED,
    FINISHED,
    NOT_RUN,
    READY,
    RELEASED,
    RUNNING,
    STATES,
    WAITING,
)

__all__ = [
    "CANCELLED",
    "FAILED",
    "FINISHED",
    "NOT_RUN",
    "READY",
    "RELEASED",
    "RUNNING",
    "STATES",
    "WAITING",
    "NewStates",
    "Scheduler",
]

NewStates = Callable[[list[int]], list[int]]
"""Makes, of states, a list of them."""

# What becomes of each state when a run is cancelled, for `bytes.translate`.
_CANCEL = bytes([CANCELLED, CANCELLED, *range(RUNNING, 256)])


class Scheduler:
    """The state of one run.

    It is long, and one thing: each transition is small, but touches states, counts and queues alike, on the
    hot path; to divide these would put a call between them, and leave no law to anybody alone.

    Args:
        dependencies: For each task, the tasks whose results it takes; one may be listed twice.
        dependents: The same edges the other way round.
        lanes: For each task, the number of the lane in which it will run. A lane is a queue of ready
            tasks that share slots; what it stands for is known to the caller alone.
        outputs: The tasks whose results are kept to the end.
        begun: So many tasks, the first ones, have been begun already.
        results: The results of these that are still needed, by task. What is not here is released.
        running: Those of them that are running, and have consumed what they need. The others have finished.
        urgency: All tasks, the one that goes first in front, if that is not the order of their numbers.
        holds_inputs: Whether all tasks hold their inputs, and keep them if they do not finish, so that it
            can be revived.
        lazy: The tasks, no outputs among them, that are lazy: they sleep until they are needed at once.
        states: Makes, of the first states, the list that `state` is to be: one that notes changes, perhaps.

    Attributes:
        holds_inputs: The same.
        state: For each task, one of the states above.
        results: For each finished task, its result; None once it is released.
        behind: For each task that has failed or is not run, the task whose own failure is the reason: itself,
            or another.
        remaining: How many tasks are waiting, ready or running.
        renewals: How many calls there have been, beside those of the tasks as they are, in `renew`.
    """

    __slots__ = (
        "_ahead",
        "_aliases",
        "_asleep",
        "_dependencies",
        "_dependents",
        "_holders",
        "_holds",
        "_is_own",
        "_kept",
        "_lanes",
        "_lazy",
        "_lazy_missing",
        "_missing",
        "_planned",
        "_postponed",
        "_rank",
        "_renewed",
        "_task_at",
        "_uses",
        "_withdrawn",
        "behind",
        "dependencies",
        "dependents",
        "holds_inputs",
        "lanes",
        "outputs",
        "producers",
        "ready",
        "remaining",
        "renewals",
        "results",
        "state",
    )

    def __init__(
        self,
        dependencies: Sequence[tuple[int, ...]],
        dependents: Sequence[Sequence[int]],
        lanes: Sequence[int],
        outputs: Iterable[int],
        begun: int = 0,
        results: Mapping[int, Any] | None = None,
        running: Sequence[int] = (),
        urgency: Sequence[int] | None = None,
        *,
        holds_inputs: bool = False,
        lazy: Iterable[int] = (),
        states: NewStates | None = None,
    ) -> None:
        start = begun, results, running, urgency
        options: dict[str, Any] = {"holds_inputs": holds_inputs, "lazy": lazy, "states": states}
        whole(self._make(dependencies, dependents, lanes, outputs, *start, **options))

    @classmethod
    def in_pieces(cls, *args: Any, **options: Any) -> Pieces[Scheduler]:
        """Make a scheduler in pieces, of the same arguments."""
        scheduler = cls.__new__(cls)
        yield from scheduler._make(*args, **options)
        return scheduler

    def _make(
        self,
        dependencies: Sequence[tuple[int, ...]],
        dependents: Sequence[Sequence[int]],
        lanes: Sequence[int],
        outputs: Iterable[int],
        begun: int = 0,
        results: Mapping[int, Any] | None = None,
        running: Sequence[int] = (),
        urgency: Sequence[int] | None = None,
        *,
        holds_inputs: bool = False,
        lazy: Iterable[int] = (),
        states: NewStates | None = None,
    ) -> Pieces[None]:
        self.dependencies = dependencies
        self.dependents = dependents
        self.lanes = lanes
        self.outputs = frozenset(outputs)
        count = self.remaining = self._planned = len(dependencies)
        self.state = [WAITING] * count if states is None else states([WAITING] * count)
        self.results: list[Any] = [None] * count
        self.behind: dict[int, int] = {}
        yield from self._count_edges()
        self._hold(holds_inputs=holds_inputs)
        self._set_apart()
        self._make_queues(urgency)
        self._lay_asleep(lazy)
        if begun:
            yield from self._skip(begun, results or {}, running)
        yield from self._begin(begun, urgency)

    def _count_edges(self) -> Pieces[None]:
        """How many dependencies of each task are not finished, and how many need its result."""
        self._missing: list[int] = []
        self._uses: list[int] = []
        for edges, counts in ((self.dependencies, self._missing), (self.dependents, self._uses)):
            for some in cut(edges, 10 * PIECE):
                counts.extend(map(len, some))
                yield
        for output in self.outputs:
            self._uses[output] += 1

    def _hold(self, *, holds_inputs: bool) -> None:
        """What is kept for longer than until the last dependent has taken it."""
        # Tasks whose results are kept for other reasons, each with how many there are.
        self._kept: dict[int, int] = {}
        # Single tasks that hold their inputs; and whether any do.
        self._holders: set[int] = set()
        self._holds = self.holds_inputs = holds_inputs

    def _set_apart(self) -> None:
        """Tasks that are not as all others, of which there are none yet."""
        # Tasks that wait for nothing but their next attempt.
        self._postponed: set[int] = set()
        # Waiting tasks that have been taken.
        self._ahead: set[int] = set()
        # For a task that returned a node: the task that computes it. It finishes when that does.
        self._aliases: dict[int, int] = {}
        # Those that are another call by now than when they were added, by `expand`. What has finished may not
        # count them among its dependents, or still do so.
        self._renewed: set[int] = set()
        self.renewals = 0
        # Tasks whose results have been forgotten: what has taken them may have finished.
        self._withdrawn: set[int] = set()
        # Whether the graph is a copy, and not what the plan shares with other runs.
        self._is_own = False

    def _make_queues(self, urgency: Sequence[int] | None) -> None:
        # The place in the queues, where it is not the number: that of tasks which `expand` added is negative;
        # and the task at each such place.
        self._rank: dict[int, int] = {}
        self._task_at: dict[int, int] = {}
        if urgency is not None:
            self._rank = {task: rank for rank, task in enumerate(urgency)}
            self._task_at = dict(enumerate(urgency))
        # By lane: tasks whose dependencies have finished, as a heap, and apart from them tasks that have
        # none, which only produce and may be held back. These become ready first to last, so that no heap
        # is needed, which would take 0.4 µs for each of 50 000.
        self.ready: dict[int, list[int]] = {lane: [] for lane in set(self.lanes)}
        self.producers: dict[int, deque[int]] = {lane: deque() for lane in self.ready}

    def _lay_asleep(self, lazy: Iterable[int]) -> None:
        """Lazy tasks sleep at first."""
        self._lazy = set(lazy)
        # For tasks that need lazy ones: how many of these are not finished. And those that sleep.
        self._lazy_missing: dict[int, int] = {}
        self._asleep: set[int] = set()
        for task in self._lazy:
            self._fall_asleep(task, self.dependents[task])
        self.remaining -= len(self._asleep)

    def _begin(self, begun: int, urgency: Sequence[int] | None) -> Pieces[None]:
        """Make all ready that need not wait, in the order in which it goes."""
        place = 0
        for tasks in cut(range(len(self.state)) if urgency is None else urgency):
            self._make_first_ready(tasks, place, begun)
            place += len(tasks)
            yield
        for task in self._lazy_missing:
            self._wake_for(task)
        if self._asleep:
            self._end_unneeded()

    def _make_first_ready(self, tasks: Sequence[int], place: int, begun: int) -> None:
        """What of these tasks, the first of which is at this place, waits for nothing is ready."""
        state, lanes, producers = self.state, self.lanes, self.producers
        for rank, task in enumerate(tasks, place):
            if task < begun or self._missing[task]:
                continue
            if self.dependencies[task]:
                self._make_ready(task)
            else:
                state[task] = READY
                producers[lanes[task]].append(rank)

    # -- what to start

    def take(self, lane: int, *, hold_producers: bool = False) -> int | None:
        """Begin the first ready task of `lane`; None if there is none, or only producers on hold."""
        ready = self.ready.get(lane)
        producers = None if hold_producers else self.producers.get(lane)
        if ready and not (producers and producers[0] < ready[0]):
            rank = heappop(ready)
        elif producers:
            rank = producers.popleft()
        else:
            return None
        task = self._task_at.get(rank, rank)
        self.state[task] = RUNNING
        return task

    def take_producers(self, lane: int, most: int, is_wanted: Callable[[int], bool]) -> list[int]:
        """Begin up to so many ready tasks of `lane` that have no dependencies, while they come first.

        Args:
            lane: The lane.
            most: How many at most.
            is_wanted: Asked for each task; the first that is not wanted stays, with all behind it.
        """
        ready, producers = self.ready.get(lane), self.producers.get(lane)
        tasks: list[int] = []
        while producers and len(tasks) < most and not (ready and ready[0] < producers[0]):
            rank = producers[0]
            task = self._task_at.get(rank, rank)
            if not is_wanted(task):
                break
            producers.popleft()
            self.state[task] = RUNNING
            tasks.append(task)
        return tasks

    def first(self, lane: int, *, hold_producers: bool = False) -> int | None:
        """The task that `take` would begin."""
        ready = self.ready.get(lane)
        producers = None if hold_producers else self.producers.get(lane)
        if ready and not (producers and producers[0] < ready[0]):
            rank = ready[0]
        elif producers:
            rank = producers[0]
        else:
            return None
        return self._task_at.get(rank, rank)

    def take_ahead(self, task: int) -> None:
        """Take a waiting task, which will be begun where all that it waits for is being done, after that."""
        self._ahead.add(task)

    def untake(self, task: int) -> list[int]:
        """Give back a task that was taken, in whichever way, and has consumed nothing.

        Returns:
            The tasks that were given back: this one, and those that were taken ahead behind it.
        """
        if task in self._ahead:
            self._ahead.remove(task)
        else:
            self._give_back(task)
        return [task, *self.untake_behind(task)]

    def untake_behind(self, task: int) -> list[int]:
        """Give back all that was taken ahead and waits for `task`; returns these tasks."""
        reached = [task]
        for current in reached:
            for dependent in self.dependents[current]:
                if dependent in self._ahead:
                    self._ahead.remove(dependent)
                    reached.append(dependent)
        return reached[1:]

    def can_go_ahead(self, task: int) -> bool:
        """Whether the task waits to be called, and has not been taken; what for is not looked at."""
        is_waiting = self.state[task] == WAITING and task not in self._postponed
        is_awake = task not in self._asleep
        return is_waiting and is_awake and task not in self._ahead and task not in self._aliases

    def is_alias(self, task: int) -> bool:
        """Whether the task has returned a node, whose result becomes its own."""
        return task in self._aliases

    def sleeps(self, task: int) -> bool:
        """Whether the task sleeps, as a lazy one does at first."""
        return task in self._asleep

    def missing(self, task: int) -> int:
        """How many dependencies of the task are not finished; one that is listed twice counts twice."""
        return self._missing[task]

    def rank(self, task: int) -> int:
        """The place of the task in the order in which tasks are begun: the lowest goes first."""
        return self._rank.get(task, task) if self._rank else task

    def task_at(self, rank: int) -> int:
        """The task at a place in that order."""
        return self._task_at.get(rank, rank)

    def backlog(self, lane: int) -> int:
        """How many tasks of `lane` are ready and hold results alive until they are begun."""
        return len(self.ready.get(lane, ()))

    def ready_count(self, lane: int) -> int:
        """How many tasks of `lane` are ready."""
        return len(self.ready.get(lane, ())) + len(self.producers.get(lane, ()))

    def is_ready(self, lane: int) -> bool:
        """Whether any task of `lane` is ready."""
        return bool(self.ready.get(lane) or self.producers.get(lane))

    def consume(self, task: int) -> None:
        """The task has taken what it needs from the results: drop those that nobody else needs."""
        if self._holds and (self.holds_inputs or task in self._holders):
            return  # not before it is over
        self._give_up(self.dependencies[task])

    def hold_inputs(self, task: int) -> None:
        """Keep what a task needs until it is over: it may be begun again."""
        self._holders.add(task)
        self._holds = True

    def postpone(self, task: int) -> None:
        """A running task, which holds its inputs, is to be begun again later; nothing behind it is ahead."""
        self.state[task] = WAITING
        self._postponed.add(task)

    def go_on(self, task: int) -> None:
        """The pause of a task that was postponed is over."""
        self._postponed.remove(task)
        self._give_back(task)

    def note_states(self, states: NewStates) -> None:
        """Let `state` be another list from now on, which is made of the present one."""
        self.state = states(self.state)

    def revive(self) -> None:
        """Let all that has failed or was cancelled be begun after all; all inputs are held."""
        whole(self.revive_in_pieces())

    def revive_in_pieces(self) -> Pieces[None]:
        """The same, in pieces."""
        self.behind.clear()
        revived: list[int] = []
        for tasks in cut(range(len(self.state))):
            revived += [task for task in tasks if self.state[task] in (FAILED, NOT_RUN, CANCELLED)]
            yield
        for tasks in cut(revived):
            for task in tasks:
                self.state[task] = WAITING
            yield
        self.remaining += len(revived) - len(self._asleep.intersection(revived))
        for tasks in cut(revived):
            for task in tasks:
                if task in self._aliases:
                    self._rouse_alias(task)
                if not self._missing[task] and self.state[task] == WAITING:
                    self._revive(task)
                elif self._lazy:
                    self._wake_for(task)
            yield

    def _revive(self, task: int) -> None:
        if task in self._aliases:  # what it has returned finished when it was cancelled itself
            self.finish(task, self.results[self._aliases[task]])
        else:
            self._give_back(task)

    def _give_up(self, inputs: tuple[int, ...]) -> None:
        uses, state, results = self._uses, self.state, self.results
        for dependency in inputs:
            uses[dependency] -= 1
            # As `_release` does, without the call, which a task with a hundred thousand dependencies feels.
            if not uses[dependency] and state[dependency] == FINISHED:
                state[dependency] = RELEASED
                results[dependency] = None

    # -- what became of it

    def finish(self, task: int, result: Any) -> list[int]:
        """A running task has this result; its dependents may become ready.

        Returns:
            The tasks that finished: this one, and those that had returned its node.
        """
        finished = [task]
        state, missing, aliases, ahead = self.state, self._missing, self._aliases, self._ahead
        lazy = self._lazy
        for current in finished:
            self.remaining -= 1
            if lazy and current in lazy:
                for dependent in self.dependents[current]:
                    self._lazy_missing[dependent] -= 1
            if self._holds and (self.holds_inputs or current in self._holders):
                self._give_up(self.dependencies[current])
            if self._uses[current]:
                state[current] = FINISHED
                self.results[current] = result
            else:
                state[current] = RELEASED
            for dependent in self.dependents[current]:
                missing[dependent] -= 1
                if lazy and dependent in aliases:
                    self._rouse_alias(dependent)
                # A dependent may also have failed meanwhile, through another dependency.
                if missing[dependent]:
                    if lazy:
                        self._wake_for(dependent)
                elif state[dependent] == WAITING:
                    if dependent in aliases:
                        self.consume(dependent)
                        finished.append(dependent)
                    elif dependent in ahead:
                        ahead.remove(dependent)
                        state[dependent] = RUNNING
                    else:
                        self._make_ready(dependent)
        return finished

    def finish_many(self, tasks: Sequence[int], results: Sequence[Any]) -> None:
        """Running tasks have these results: as `finish`, in less than half the time where nothing follows."""
        state, uses, dependents, kept = self.state, self._uses, self.dependents, self.results
        holds = self._holds
        for task, result in zip(tasks, results, strict=True):
            if dependents[task] or holds:
                self.finish(task, result)
            elif uses[task]:
                self.remaining -= 1
                state[task] = FINISHED
                kept[task] = result
            else:
                self.remaining -= 1
                state[task] = RELEASED

    def fail(self, task: int) -> list[int]:
        """A running task has failed, and with it everything that waits for it; nothing of that is ahead.

        Returns:
            The tasks that are over with it: what is not run, and what had returned its node.
        """
        failed = self._fail(task, task)
        if self._asleep:
            self._end_unneeded()
        return failed

    def stop(self, task: int) -> None:
        """A running task was stopped, in a run that is cancelled."""
        self._end(task, CANCELLED)
        self._drop_held(task)

    def cancel(self) -> None:
        """Nothing more is to start: whatever is not running yet is cancelled, also what was taken ahead."""
        self._ahead.clear()
        self._postponed.clear()
        if not self.holds_inputs:
            self._asleep.clear()
        for queue in (*self.ready.values(), *self.producers.values()):
            queue.clear()
        # By operations on bytes, a hundredth of what a loop takes; only results, and what will be one, are
        # looked at one by one.
        states, aliases, renewed = bytes(self.state), self._aliases, self._renewed
        for task in aliases:  # it has consumed what else it is a dependent of
            if states[task] == WAITING:
                self.consume(task)
        for task in () if self.holds_inputs else renewed:
            if states[task] <= READY and task not in aliases:
                self._give_up(self.dependencies[task])
        for kind in () if self.holds_inputs else (FINISHED, RUNNING):
            task = states.find(kind)
            while task >= 0:
                for dependent in self.dependents[task]:
                    if states[dependent] <= READY and dependent not in aliases and dependent not in renewed:
                        self._uses[task] -= 1
                if not self._uses[task]:
                    self._release(task)
                task = states.find(kind, task + 1)
        self.state[:] = bytes(self.state).translate(_CANCEL)
        self.remaining = states.count(RUNNING)

    def give_up(self, output: int) -> None:
        """An output has been handed over: its result need not be kept for the end."""
        self._uses[output] -= 1
        if not self._uses[output]:
            self._release(output)

    def keep(self, task: int) -> None:
        """Keep the result of a task, which is not released, until `let_go` is called as often."""
        self._uses[task] += 1
        self._kept[task] = self._kept.get(task, 0) + 1

    def let_go(self, task: int) -> None:
        """There is one reason less to keep the result of a task."""
        if self._kept[task] == 1:
            del self._kept[task]
        else:
            self._kept[task] -= 1
        self.give_up(task)
        if self._asleep:
            self._end_unneeded()

    def is_kept(self, task: int) -> bool:
        """Whether the result of a task is kept for others than its dependents."""
        return task in self.outputs or task in self._kept

    def withdraw(self, task: int) -> None:
        """Forget the result of a finished task: when all is revived, it is a lazy one that has not begun.

        All is over, and inputs are held. What it needs is there, and whatever has taken its result and is not
        to be begun again keeps what it has made of it. Where it has returned a node, that is to be withdrawn
        next.
        """
        self._own_the_graph()
        self._lazy.add(task)
        self._fall_asleep(task, self._forget(task, self.dependents[task]))

    def needed_again(self, lost: Iterable[int]) -> list[int]:
        """Finished tasks whose results are lost, and what was released that they need, and so on."""
        again = dict.fromkeys(lost)
        reached = list(again)
        for task in reached:
            for each in self.dependencies[task]:
                if self.state[each] == RELEASED and each not in again:
                    again[each] = None
                    reached.append(each)
        return reached

    def forget(self, tasks: Iterable[int]) -> None:
        """Forget what these finished or released tasks have come to: when all is revived, they run again.

        All is over, and inputs are held. Of what they need, nothing is released that is not among them.
        """
        self._own_the_graph()
        # What has finished need not know these, which may need it: see `_connect`.
        renewed: dict[int, list[int]] = {}
        for each in self._renewed:
            for dependency in self.dependencies[each]:
                renewed.setdefault(dependency, []).append(each)
        for task in tasks:
            dependents = self._forget(task, [*self.dependents[task], *renewed.get(task, ())])
            # One that has returned a node takes the result of that as soon as it is there.
            if task in self._lazy and task not in self._aliases:
                self._fall_asleep(task, dependents)
            elif task in self._lazy:
                self._count_lazy(dependents)

    def _forget(self, task: int, dependents: Iterable[int]) -> list[int]:
        """Forget one result; returns those that wait for it now, whatever they have come to."""
        state, missing = self.state, self._missing
        state[task] = CANCELLED
        self.results[task] = None
        for dependency in self.dependencies[task]:
            self._uses[dependency] += 1
        # Those that have returned a node wait for that now, which may be this one's; and those that have
        # become another call may need others.
        self._dependents[task] = dependents = [
            each for each in dict.fromkeys(dependents) for _ in range(self.dependencies[each].count(task))
        ]
        needed = sum(state[each] not in (FINISHED, RELEASED) for each in dependents)
        self._uses[task] = needed + self._kept.get(task, 0) + (task in self.outputs)
        self._withdrawn.add(task)
        for each in dependents:
            missing[each] += 1
        return dependents

    def assign(self, lanes: Sequence[int]) -> None:
        """Let tasks run in these lanes from now on; nothing is ready."""
        self._own_the_graph()
        self.lanes = self._lanes = list(lanes)
        self.ready, self.producers = {}, {}
        for lane in set(lanes):
            self._note_lane(lane)

    def expand(
        self,
        task: int,
        dependencies: Sequence[tuple[int, ...]],
        lanes: Sequence[int],
        root: int,
        lazy: Iterable[int] = (),
    ) -> list[int]:
        """A running task has returned a node: new tasks compute it, and the task takes their result.

        Args:
            task: The running task. It waits again, for `root` alone, and finishes or fails as that does.
                Nothing behind it may have been taken ahead: see `untake_behind`.
            dependencies: Those of the new tasks, which are numbered from the present count on. They
                may name tasks that are here already, but none that is released or cancelled.
            lanes: The lanes of the new tasks.
            root: The task whose result becomes the task's own: a new one, or one that is here.
            lazy: The new tasks that are lazy.

        Returns:
            The tasks that are over at once, because what they wait for is.

        Raises:
            CycleError: The returned node depends on `task` itself. Nothing has changed.
        """
        return expansion.expand(self, task, dependencies, lanes, root, lazy)

    def is_added(self, task: int) -> bool:
        """Whether the task is one of those that `expand` has added."""
        return task >= self._planned

    def renew(
        self,
        task: int,
        dependencies: Sequence[tuple[int, ...]],
        lanes: Sequence[int],
        own: tuple[int, ...],
        lane: int,
    ) -> list[int]:
        """A running task that was added has returned a new node: it is the call of that node from now on.

        Its dependents know no difference. So a function that returns a call of itself, and so on, takes no
        more memory the deeper it goes, and all of that ends at once.

        Args:
            task: The running task. Nothing behind it may have been taken ahead: see `untake_behind`.
            dependencies: Those of the new tasks that the node needs, as in `expand`.
            lanes: The lanes of these.
            own: The dependencies of the node itself, each new or here.
            lane: Its lane.

        Returns:
            The tasks that are not run, because what they wait for has failed.

        Raises:
            CycleError: The returned node depends on `task` itself. Nothing has changed.
        """
        return expansion.renew(self, task, dependencies, lanes, own, lane)

    def final(self, task: int) -> int:
        """The task whose outcome is the outcome of `task`: itself, unless it returned a node."""
        while task in self._aliases:
            task = self._aliases[task]
        return task

    # -- inside

    def _skip(self, begun: int, results: Mapping[int, Any], running: Sequence[int]) -> Pieces[None]:
        """The first tasks have been begun: what they took is taken, what they gave is there or released."""
        missing, uses, state = self._missing, self._uses, self.state
        state[:begun] = [RELEASED] * begun
        for task in running:
            state[task] = RUNNING
            missing[task] = 0
        self.remaining -= begun - len(running)
        # What is released has no dependents that have not been begun: nothing else has changed.
        for some in cut(list(results.items())):
            for task, result in some:
                state[task] = FINISHED
                self.results[task] = result
                for dependent in self.dependents[task]:
                    if dependent < begun:
                        uses[task] -= 1
                    else:
                        missing[dependent] -= 1
            yield

    def _make_ready(self, task: int) -> None:
        self.state[task] = READY
        heappush(self.ready[self.lanes[task]], self._rank.get(task, task) if self._rank else task)

    def _give_back(self, task: int) -> None:
        if self.dependencies[task]:
            self._make_ready(task)
            return
        self.state[task] = READY
        producers, rank = self.producers[self.lanes[task]], self.rank(task)
        # Nearly always before all others, having been the first.
        if not producers or rank < producers[0]:
            producers.appendleft(rank)
        else:
            insort(producers, rank)

    def _drop_held(self, task: int) -> None:
        """A task is over that may have held its inputs for itself; where all do, they keep them."""
        if task in self._holders and not self.holds_inputs:
            self._holders.remove(task)
            self._give_up(self.dependencies[task])

    def _release(self, task: int) -> None:
        # Also called for a task that failed or was cancelled, which has no result to drop.
        if self.state[task] == FINISHED:
            self.state[task] = RELEASED
            self.results[task] = None

    def _end(self, task: int, state: int) -> None:
        if task in self._asleep:
            self._rouse(task)
        self.state[task] = state
        self.remaining -= 1

    def _fail(self, task: int, origin: int) -> list[int]:
        over = [task]
        self._end_behind(task, origin)
        self._drop_held(task)
        for current in over:
            for dependent in self.dependents[current]:
                if self.state[dependent] == WAITING:
                    self._end_behind(dependent, origin)
                    self._holders.discard(dependent)
                    self.consume(dependent)
                    over.append(dependent)
        return over[1:]

    def _end_behind(self, task: int, origin: int) -> None:
        self._end(task, FAILED if self.final(task) == origin else NOT_RUN)
        self.behind[task] = origin

    # -- sleep

    def _fall_asleep(self, task: int, dependents: Iterable[int]) -> None:
        """A task that sleeps waits for one thing more: that it is woken."""
        self._asleep.add(task)
        self._missing[task] += 1
        self._count_lazy(dependents)

    def _count_lazy(self, dependents: Iterable[int]) -> None:
        """For these tasks, a lazy one more is missing."""
        for each in dependents:
            self._lazy_missing[each] = self._lazy_missing.get(each, 0) + 1

    def _rouse(self, task: int) -> None:
        """The task sleeps no more; whatever it waits for besides, it goes on waiting for."""
        self._asleep.remove(task)
        self._missing[task] -= 1
        self.remaining += 1

    def _rouse_alias(self, task: int) -> None:
        """What has returned a node, and was withdrawn, need not be woken when the result of that is there."""
        if task in self._asleep and self._missing[task] == 1 and self.state[task] == WAITING:
            self._rouse(task)

    def _wake_for(self, task: int) -> None:
        """Wake what the task needs, if it waits for nothing but lazy tasks; and what that needs in turn."""
        waiting = [task]
        for current in waiting:
            if self.state[current] != WAITING or self._lazy_missing.get(current) != self._missing[current]:
                continue
            for each in self._asleep.intersection(self.dependencies[current]):
                self._rouse(each)
                if self._missing[each]:
                    waiting.append(each)
                else:
                    self._give_back(each)

    def _end_unneeded(self) -> None:
        """Cancel what sleeps and nothing needs; what can be revived sleeps on, or it would run then."""
        unneeded = [] if self.holds_inputs else list(self._asleep)
        for task in unneeded:
            if task in self._asleep and not self._uses[task]:
                self._end(task, CANCELLED)
                self._holders.discard(task)
                self.consume(task)
                unneeded += self._asleep.intersection(self.dependencies[task])

    # -- for `expansion`

    def _own_the_graph(self) -> None:
        """Copy what the plan shares with other runs, before the first change."""
        if not self._is_own:
            self._is_own = True
            self.dependencies = self._dependencies = list(self.dependencies)
            self.dependents = self._dependents = [list(each) for each in self.dependents]
            self.lanes = self._lanes = list(self.lanes)

    def _note_lane(self, lane: int) -> None:
        self.ready.setdefault(lane, [])
        self.producers.setdefault(lane, deque())

    # -- laws

    def validate(self) -> None:
        """Check the laws above; raises AssertionError with the task that breaks one."""
        laws.validate(self)
