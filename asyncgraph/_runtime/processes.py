"""The process calls of an execution: which of them go to the pool together, and what came of them.

Calls that are known to be short share a slot, so that the pool can give a worker several at a time. A chain
of calls, each of which needs nothing but the value of the one before, goes as one job and stays in one
worker. Large values stay as they came, pickled, where only other process calls need them.

All this happens on the loop; what workers do is the pool's business. It is imported with the first process
call, because pickling and all that is no business of a service that has none.
"""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Iterable, Mapping
from functools import partial
from typing import Any

from asyncgraph._graph.function import Function
from asyncgraph._graph.node import Node, key_of
from asyncgraph._graph.scheduler import RUNNING
from asyncgraph._runtime.arguments import resolve_in_order
from asyncgraph._runtime.lanes import PROCESS
from asyncgraph._runtime.owner import Guard, Owner
from asyncgraph._runtime.sightings import Sighting, handed_over
from asyncgraph._runtime.slices import Slice
from asyncgraph.executors.process.job import Job, Step
from asyncgraph.executors.process.outcomes import loaded
from asyncgraph.executors.process.payload import LARGE, Payload
from asyncgraph.executors.process.pickling import ATOMS, PREVIOUS, pack_by_reference
from asyncgraph.executors.process.placing import SHORT, WINDOW
from asyncgraph.executors.process.pool import ProcessExecutor
from asyncgraph.executors.process.refusal import Refusal
from asyncgraph.executors.process.shipping import Shipped

__all__ = ["Processes", "unpacked_result", "worker_name"]

# A slot, in the units in which calls pay for their share of one, and the least that one pays.
_SLOT = 1024
_LEAST = 2

# A chain has at most so many calls.
_CHAIN = 100

# So many functions are remembered: those that workers return by value are others each time.
_REMEMBERED = 1000

# Strings and bytes of more than this go in shared memory, perhaps, and not among plain arguments.
_LONG = 1 << 12


class Processes:
    """Runs the process calls of one execution.

    Args:
        owner: The execution.

    Attributes:
        passing: The tasks of chains whose value nobody but the next task of the chain will ever have.
    """

    def __init__(self, owner: Owner) -> None:
        self.passing: set[int] = set()
        self._owner = owner
        self._guard = Guard(owner)
        self._jobs: set[_Job] = set()
        self._shipped: dict[Function, Shipped] = {}
        # The context variables that calls are to see; and their values, when they have been taken down, or
        # why they cannot be.
        self._variables = [each for each in owner.lanes.context if each in owner.context]
        self._context: Shipped | Refusal | None = None
        # What is left of the slots that have been claimed.
        self._units = 0
        self._has_kept_any = False

    @property
    def is_observed(self) -> bool:
        """Whether anybody wants to know when calls begin and end."""
        return self._owner.recorder is not None

    def is_busy(self) -> bool:
        """Whether the pool has any call of the execution."""
        return bool(self._jobs)

    def running(self) -> list[Node[Any]]:
        """The nodes that are being computed, or will be soon."""
        nodes, state = self._owner.nodes, self._owner.scheduler.state
        return [nodes[task] for job in self._jobs for task in job.tasks if state[task] == RUNNING]

    def sightings(self) -> list[Sighting]:
        """Where the nodes are that the pool has."""
        nodes, pool, now = self._owner.nodes, self._owner.lanes[PROCESS].made, time.monotonic()
        jobs = self._jobs.copy()
        seen: dict[int, Sighting] = {}
        for job, call, step, pid, is_ready, since in [] if pool is None else pool.seats():
            if job not in jobs:
                continue
            task = job.tasks[call + step]
            if since is None:
                where = f"in line at worker process {pid}" + ("" if is_ready else ", which is starting")
                seen[task] = handed_over(task, nodes[task], where)
            else:
                # A worker does not tell of each step at once.
                or_later = ", or at what follows it there," if step < len(job.steps) else ""
                where = f"in worker process {pid}{or_later}"
                seen[task] = Sighting(task, nodes[task], where, seconds=now - since)
        waiting = (task for job in jobs for task in job.tasks if task not in seen)
        return [*seen.values(), *(handed_over(task, nodes[task], "for a worker process") for task in waiting)]

    def begun(self) -> list[tuple[int, float, str]]:
        """The calls that have begun, as far as has been heard: each with since when, and where."""
        pool, jobs = self._owner.lanes[PROCESS].made, self._jobs
        # Workers' times are told on another clock, which elsewhere than on Linux is not the same.
        offset = time.perf_counter() - time.monotonic()
        return [
            (job.tasks[call + step], since + offset, worker_name(pid))
            for job, call, step, pid, _, since in ([] if pool is None else pool.seats())
            if since is not None and job in jobs
        ]

    def cancel(self) -> None:
        """Let nothing more begin, and stop what is running; to do so again does no harm."""
        if self._jobs:
            self._executor.cancel(self._jobs)
            self._owner.loop.call_soon(self._forget_lost)  # after what is delivered soon

    def _forget_lost(self) -> None:
        """What Ctrl-C has lost, which may strike while outcomes are delivered, is over: no worker has it."""
        if not self._jobs:
            return
        owner, lost = self._owner, self._jobs - self._executor.held()
        with self._guard:
            for job in lost:
                self._jobs.discard(job)
                for task in job.tasks:
                    if owner.scheduler.state[task] == RUNNING:
                        owner.settle(task, PROCESS, None, asyncio.CancelledError())
        if lost:
            owner.wake()

    def fill(self, slice_: Slice) -> bool:
        """Hand to the pool what finds a slot, or its share of one; whether that was anything.

        Args:
            slice_: How long.
        """
        owner, jobs = self._owner, list[_Job]()
        if self._waits_for_slot():
            return False
        try:
            while owner.has_call(PROCESS) and not owner.is_stopping:
                if not self._next_jobs(jobs, slice_):
                    break
                # After the first, so that there is progress on a machine that hardly lets us run, too.
                if slice_.is_over():
                    break
        finally:
            self._hand_over(jobs)
        return bool(jobs)

    def _waits_for_slot(self) -> bool:
        """Whether there is not even a share of a slot, as has been found out before: it is woken for one."""
        slots = self._owner.lanes[PROCESS].slots
        return self._units < _SLOT // 2 and bool(self._jobs) and self._owner in slots.waiting

    @property
    def _executor(self) -> ProcessExecutor:
        executor: ProcessExecutor = self._owner.lanes[PROCESS].executor
        return executor

    def _hand_over(self, jobs: list[_Job]) -> None:
        if not jobs:
            return
        for job in jobs:
            job.left = len(job.calls)
        self._jobs.update(jobs)
        if self._owner.is_stopping:  # since the first of them was made
            # Later: with the last of them the execution may be over, and those who called this are in the
            # midst of it.
            for job in jobs:
                for index in range(len(job.calls)):
                    self._owner.loop.call_soon(job.ended, index, 0, None, asyncio.CancelledError())
            return
        try:
            self._executor.start(jobs)
        except BaseException:  # it must not raise, and may not deliver now
            self._jobs.difference_update(jobs)
            raise

    # -- what becomes a job

    def _next_jobs(self, jobs: list[_Job], slice_: Slice) -> bool:
        """Take what comes next, and what is like it; False if there is no slot for it."""
        owner, scheduler = self._owner, self._owner.scheduler
        hold = owner.holds_producers(PROCESS)
        first = scheduler.first(PROCESS, hold_producers=hold)
        if first is None:
            return False
        function = owner.nodes[first]._function
        seconds = function.durations.mean
        units = _units_for(function)
        if self._units < max(units, _SLOT // 2 if self._jobs else 0):
            # With half a slot used up: to hand over each short call by itself would cost more than some take.
            if not owner.claim(PROCESS):
                return False
            self._units += _SLOT
        try:
            shipped = self._shipped_for(first)
            context = self._ship_context() if self._variables else None
        except Exception as error:
            self._fail(first, error, hold=hold)
            return True
        job = _Job(self, shipped, seconds, units)
        job.context = context
        goes_alone = units >= _SLOT or self._surrounds
        self._fill_job(job, function, 1 if goes_alone else self._units // units, jobs, slice_, hold=hold)
        return True

    def _fill_job(
        self, job: _Job, function: Function, most: int, jobs: list[_Job], slice_: Slice, *, hold: bool
    ) -> None:
        """Take tasks of this function; those with large arguments become jobs of their own."""
        owner, scheduler, nodes = self._owner, self._owner.scheduler, self._owner.nodes
        calls, tasks = job.calls, job.tasks
        is_plain = job.shipped.data is not None
        jobs.append(job)
        if is_plain and most > 1 and not hold:
            most -= self._fill_quickly(job, function, most)
        for _ in range(most):
            task = scheduler.first(PROCESS, hold_producers=hold)
            if task is None or nodes[task]._function is not function:
                break
            scheduler.take(PROCESS, hold_producers=hold)
            node = nodes[task]
            args, kwargs = node._args, node._kwargs
            if node._dependencies:
                prepared = owner.prepare(task)
                if prepared is None:
                    if owner.is_stopping:
                        break
                    continue
                _, args, kwargs = prepared
            if is_plain and not kwargs and _are_plain(args):
                tasks.append(task)
                calls.append(args)
                continue
            try:
                packed = self._pack(job.shipped, args, kwargs)
            except Refusal as refusal:
                owner.settle(task, PROCESS, None, refusal.as_error(key_of(node)))
                if owner.is_stopping:
                    break
                continue
            if len(packed) == 1 and packed[0].fd < 0 and len(packed[0].sizes) == 1 and packed[0].size < LARGE:
                tasks.append(task)
                calls.append(b"".join(packed[0].stream))
            else:
                jobs.append(_Job(self, job.shipped, job.seconds, job.units).of(task, packed))
                jobs[-1].context = job.context
            # To pickle what goes to calls that are short themselves may take long.
            if slice_.is_over():
                break
        self._pay(jobs, job)

    def _fill_quickly(self, job: _Job, function: Function, most: int) -> int:
        """Take tasks that depend on nothing, as long as their arguments are plain; returns how many."""
        nodes = self._owner.nodes

        def is_wanted(task: int) -> bool:
            node = nodes[task]
            return node._function is function and not node._kwargs and _are_plain(node._args)

        tasks = self._owner.scheduler.take_producers(PROCESS, most, is_wanted)
        job.tasks += tasks
        job.calls += [nodes[task]._args for task in tasks]
        return len(tasks)

    def _pay(self, jobs: list[_Job], first: _Job) -> None:
        """Pay for these jobs, from `first` on; return slots that are not needed."""
        start = jobs.index(first)
        for job in jobs[start:]:
            self._units -= job.units * len(job.tasks)
        for job in jobs[start:]:
            if len(job.tasks) == 1:
                self._specialize(job)
        if not first.tasks:
            del jobs[start]
        self._give_back()

    def _give_back(self) -> None:
        while self._units >= _SLOT:
            self._units -= _SLOT
            self._owner.give_back(PROCESS)

    @property
    def _surrounds(self) -> bool:
        """Whether something is put around each call, which is another for each."""
        return self._owner.recorder is not None and self._owner.recorder.surrounds

    def _shipped_for(self, task: int) -> Shipped:
        """What is called for a task."""
        function, recorder = self._owner.nodes[task]._function, self._owner.recorder
        if recorder is not None and recorder.surrounds:
            return Shipped(recorder.around(task, function.call), None, function.durations)
        return self._shipped.get(function) or self._ship(function)

    def _ship(self, function: Function) -> Shipped:
        shipped = self._executor.shipping.ship(function.call, function.durations)
        self._shipped[function] = shipped
        if len(self._shipped) > _REMEMBERED:
            del self._shipped[next(iter(self._shipped))]
        return shipped

    def _ship_context(self) -> Shipped:
        """Take down the context variables that calls are to see, once.

        Raises:
            Refusal: The value of one does not pickle.
        """
        if self._context is None:
            values = [(each, self._owner.context[each]) for each in self._variables]
            try:
                self._context = self._executor.shipping.ship_context(values)
            except Refusal as refusal:
                self._context = refusal
        if isinstance(self._context, Refusal):
            raise self._context
        return self._context

    def _fail(self, task: int, error: Exception, *, hold: bool) -> None:
        """The first ready task fails: it, or its context, does not pickle, or there are no workers."""
        owner = self._owner
        owner.scheduler.take(PROCESS, hold_producers=hold)
        owner.scheduler.consume(task)
        self._give_back()
        key = key_of(owner.nodes[task])
        owner.settle(task, PROCESS, None, error.as_error(key) if isinstance(error, Refusal) else error)

    def _pack(self, shipped: Shipped, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> list[Payload]:
        """Pickle arguments; and the payloads that they refer to."""
        named = dict(kwargs)
        arguments = (args, named) if shipped.data is not None else (shipped.call, args, named)
        by_value = self._executor.shipping.by_value
        is_simple = not (self._has_kept_any or by_value)
        quick = pack_by_reference(arguments) if is_simple else None
        if quick is not None:
            return [quick]
        from asyncgraph.executors.process.serialization import pack_arguments, pickled_by_value

        attached: list[Payload] = []
        with pickled_by_value(by_value):
            return [pack_arguments(arguments, attached), *attached]

    # -- chains

    def _specialize(self, job: _Job) -> None:
        """Give a job of one call what its function asks for, and the steps that can follow it."""
        function = self._owner.nodes[job.tasks[0]]._function
        job.timeout = function.timeout
        job.crash_retries = function.crash_retries
        job.is_isolated = function.is_isolated
        steps: list[Step] = []
        # Where inputs are held, the values between the steps would be missed.
        most = 1 if self._owner.scheduler.holds_inputs else _CHAIN
        while len(job.tasks) < most and not job.is_isolated:
            task = self._follower(job.tasks[-1])
            if task is None:
                break
            step = self._step(task)
            if step is None or not self._pay_for_step(job, task):
                break
            steps.append(step)
            self.passing.add(job.tasks[-1])
            job.tasks.append(task)
            self._owner.scheduler.take_ahead(task)
            mean = self._owner.nodes[task]._function.durations.mean
            job.seconds = None if job.seconds is None or mean is None else job.seconds + mean
        job.steps = steps

    def _pay_for_step(self, job: _Job, task: int) -> bool:
        """Pay for one more step of a chain, up to a whole slot; whether there was enough for that."""
        units = min(_units_for(self._owner.nodes[task]._function), _SLOT - job.units)
        if self._units < units:
            if not self._owner.claim(PROCESS):
                return False
            self._units += _SLOT
        self._units -= units
        job.units += units
        return True

    def _follower(self, task: int) -> int | None:
        """The task that takes the value of this one, which nobody else does, and nothing else."""
        scheduler = self._owner.scheduler
        dependents = scheduler.dependents[task]
        if len(dependents) != 1 or scheduler.is_kept(task):
            return None
        follower = dependents[0]
        if scheduler.lanes[follower] != PROCESS or len(scheduler.dependencies[follower]) != 1:
            return None
        function = self._owner.nodes[follower]._function
        if (
            function.crash_retries
            or function.is_isolated
            or function.retry
            or not scheduler.can_go_ahead(follower)
        ):
            return None
        return follower

    def _step(self, task: int) -> Step | None:
        """A task as a step of a chain; None if it has to go alone."""
        node = self._owner.nodes[task]
        function = node._function
        try:
            shipped = self._shipped_for(task)
            args, kwargs = resolve_in_order(node, [PREVIOUS])
            (packed, *_) = self._pack(shipped, args, kwargs)
        except Exception:  # it fails in its turn, with whatever is known then
            return None
        if len(packed.sizes) > 1 or packed.size >= LARGE:
            return None
        return Step(shipped, b"".join(packed.stream), function.timeout)

    # -- outcomes

    def done(self, job: _Job, index: int, values: list[Any]) -> None:
        """Calls of a job have these values."""
        owner = self._owner
        with self._guard:
            self._over(job, len(values))
            owner.settle_many(job.tasks[index : index + len(values)], PROCESS, values)
            self._executor.afterwards(self._go_on)

    def passed(self, job: _Job, step: int) -> None:
        """A call of a chain has a value, which has gone to the next one; that has begun."""
        owner, scheduler = self._owner, self._owner.scheduler
        with self._guard:
            self.passing.discard(job.tasks[step])
            if scheduler.state[job.tasks[step]] == RUNNING:
                owner.settle(job.tasks[step], PROCESS, None, None)
            if scheduler.state[job.tasks[step + 1]] == RUNNING:
                scheduler.consume(job.tasks[step + 1])

    def ended(self, job: _Job, index: int, step: int, value: Any, error: BaseException | None) -> None:
        """A call, or a step of a chain, has this outcome, and nothing follows."""
        if job not in self._jobs:
            return  # it was given up as lost
        owner, scheduler = self._owner, self._owner.scheduler
        with self._guard:
            self._over(job, 1)
            task = job.tasks[index + step]
            if step < len(job.steps):
                scheduler.untake_behind(task)
                self.passing.difference_update(job.tasks)
            if scheduler.state[task] == RUNNING:  # else it was cancelled while the one before was running
                # In no variable of a frame that goes on: it would be behind those in a traceback.
                outcome = [(value, error)]
                del value, error
                owner.settle(task, PROCESS, *outcome.pop())
            self._executor.afterwards(self._go_on)

    def _go_on(self) -> None:
        """Begin what can begin now; or conclude, without another turn of the loop."""
        owner = self._owner
        if owner.is_over:
            return
        with self._guard:
            owner.begin_others()
        owner.wake()
        owner.check_over()

    def took(self, job: _Job, index: int, step: int, began: float, ended: float, pid: int) -> None:
        """A call of a job, of which an outcome follows, began and ended then."""
        if self._owner.recorder is not None:
            task = job.tasks[index + step]
            # The value of a step of a chain is nowhere but in the worker.
            size = 0 if task in self.passing else None
            self._owner.recorder.took(task, began, ended, worker_name(pid), size)

    def _over(self, job: _Job, count: int) -> None:
        """So many calls of the job are over."""
        job.left -= count
        self._units += job.units * count
        self._give_back()
        if not job.left:
            self._jobs.discard(job)
            job.payloads = ()

    def unpack(self, tasks: Iterable[int]) -> None:
        """Unpickle the results of these tasks that are still pickled, because they are needed here now.

        Raises:
            SerializationError: One does not unpickle.
        """
        results = self._owner.scheduler.results
        for task in tasks:
            results[task] = unpacked_result(self._owner.nodes[task], results[task])

    def keeps(self, task: int) -> bool:
        """Whether the value of a task is needed by process calls only."""
        scheduler = self._owner.scheduler
        is_kept = not scheduler.is_kept(task) and all(
            scheduler.lanes[each] == PROCESS and not scheduler.is_alias(each)
            for each in scheduler.dependents[task]
        )
        self._has_kept_any = self._has_kept_any or is_kept
        return is_kept


def worker_name(pid: int) -> str:
    """What events call a worker process."""
    return f"process {pid}"


def unpacked_result(node: Node[Any], result: Any) -> Any:
    """The value of a node, if it is still pickled.

    Raises:
        SerializationError: It does not unpickle.
    """
    if type(result) is not Payload:
        return result
    value, error = loaded(result, partial(key_of, node))
    if error is not None:
        raise error
    return value


class _Job(Job):
    """Calls of tasks: one for each; or one for the first, followed by the others as its steps.

    Attributes:
        tasks: The tasks.
        units: What each call pays.
        left: How many calls have no outcome yet.
    """

    __slots__ = ("_processes", "left", "tasks", "units")

    def __init__(self, processes: Processes, shipped: Shipped, seconds: float | None, units: int) -> None:
        super().__init__(shipped, [], seconds)
        self.tasks: list[int] = []
        self.units = units
        self.left = 0
        self.is_noted = processes.is_observed
        self._processes = processes

    def of(self, task: int, packed: list[Payload]) -> _Job:
        """Let it be the one call of a task, whose arguments are large."""
        self.tasks.append(task)
        first = packed[0]
        if len(first.sizes) == 1 and first.size < LARGE:
            self.calls, packed = [b"".join(first.stream)], packed[1:]
        else:
            self.calls = [None]
        self.payloads = packed
        return self

    def key(self, index: int, step: int) -> str:
        """The key of the node."""
        return key_of(self._processes._owner.nodes[self.tasks[index + step]])

    def done(self, index: int, values: list[Any]) -> None:
        """See `Job`."""
        self._processes.done(self, index, values)

    def passed(self, step: int) -> None:
        """See `Job`."""
        self._processes.passed(self, step)

    def ended(self, index: int, step: int, value: Any, error: BaseException | None) -> None:
        """See `Job`."""
        self._processes.ended(self, index, step, value, error)

    def took(self, index: int, step: int, began: float, ended: float, pid: int) -> None:
        """See `Job`."""
        self._processes.took(self, index, step, began, ended, pid)

    def keeps_payload(self, index: int, step: int) -> bool:
        """See `Job`."""
        return self._processes.keeps(self.tasks[index + step])


def _units_for(function: Function) -> int:
    """What a call pays: its share of a slot, if it is known to be short."""
    seconds = function.durations.mean
    if seconds is None or seconds >= SHORT or function.is_special:
        return _SLOT
    return max(math.ceil(seconds / WINDOW * _SLOT), _LEAST)


def _are_plain(args: tuple[Any, ...]) -> bool:
    """Whether marshal copies them, and that is best."""
    for each in args:
        kind = type(each)
        if kind not in ATOMS or ((kind is str or kind is bytes) and len(each) > _LONG):
            return False
    return True
