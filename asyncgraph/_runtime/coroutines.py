"""The coroutines of an execution: which runner takes which, and how many runners there are."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Callable, Coroutine, Mapping
from functools import partial
from typing import Any

from asyncgraph._graph.node import NO_KWARGS, key_of
from asyncgraph._runtime.deadline import within_timeout
from asyncgraph._runtime.lanes import COROUTINE
from asyncgraph._runtime.owner import Owner
from asyncgraph._runtime.runner import Home, Runner, failure_in, turn
from asyncgraph._runtime.sightings import Sighting, handed_over
from asyncgraph._runtime.stacks import place_of_coroutine

__all__ = ["Coroutines"]

# At most so many runners begin, or wait for their next turn, at once: as many as a slice can serve. Each
# costs a microsecond a turn, whether it is served or not.
_MOST = 256

# A call that gives something to await: its task, and what to call.
_Call = tuple[int, Callable[..., Any], tuple[Any, ...], Mapping[str, Any]]


class Coroutines:
    """Runs the coroutines of one execution.

    Attributes:
        runners: All that have not ended.
        made: Calls of functions that turned out to be coroutines only when they were made.
        waiting: How many runners have not begun yet, or wait for their next turn: they will see what there is
            to do.
    """

    def __init__(self, owner: Owner) -> None:
        """Nothing runs yet."""
        self.runners: set[Runner] = set()
        self.made: deque[_Call] = deque()
        self._owner = owner
        self._home = Home(owner)
        self._slots = owner.lanes[COROUTINE].slots
        self.waiting = 0
        # How many runners may be added in the next turn.
        self._allowance = 1

    def add(
        self, task: int, function: Callable[..., Any], args: tuple[Any, ...], kwargs: Mapping[str, Any]
    ) -> None:
        """A running task turned out to be this coroutine function with these arguments."""
        self.made.append((task, function, args, kwargs))
        self._owner.wake()

    def add_made(self, task: int, coroutine: Coroutine[Any, Any, Any]) -> None:
        """A plain function has returned a coroutine, as `lambda: fetch(url)` does."""
        self.add(task, _awaiting, (coroutine,), NO_KWARGS)

    def begin(self) -> bool:
        """Let new runners take coroutines that are ready, if all those there are have suspended in one.

        Twice as many as last time: if they suspend, hundreds are at work after a few turns of the loop;
        if they do not, one takes them all, and none was made in vain.

        Returns:
            Whether there is a runner that will have its turn, a new one or another.
        """
        if self.waiting:
            return True
        owner, runners, home = self._owner, self.runners, self._home
        if not (owner.has_call(COROUTINE) and owner.claim(COROUTINE)):
            return False
        wanted = min(self._allowance, owner.count_ready(COROUTINE))
        for _ in range(1 + (owner.claim_free(COROUTINE, wanted - 1) if wanted > 1 else 0)):
            runner = Runner(owner.work_as_runner(), home)
            runner.has_slot = True
            runners.add(runner)
            self.waiting += 1
        self._allowance = min(2 * self._allowance, _MOST)
        return True

    def add_runner(self, main: Coroutine[Any, Any, None]) -> Runner:
        """Add a runner. Its `main` begins in the next turn, with `begun`; it ends with `end` or `serve`."""
        runner = Runner(main, self._home)
        self.runners.add(runner)
        self.waiting += 1
        return runner

    def begun(self) -> Runner:
        """The runner in which this is called, which has just begun."""
        runner = asyncio.current_task()
        assert isinstance(runner, Runner)
        runner.has_begun = True
        self.waiting -= 1
        if runner.was_cancelled:
            self._owner.runner_failed(asyncio.CancelledError())
        return runner

    def end(self, runner: Runner) -> None:
        """A runner runs nothing more."""
        runners, owner = self.runners, self._owner
        runners.discard(runner)
        if runner.has_slot:
            owner.give_back(COROUTINE)
        owner.wake()
        if not runners:
            owner.check_over()

    async def serve(self, runner: Runner | None = None) -> None:
        """Take coroutines that are ready, one after another, until none is; then end.

        Args:
            runner: The runner in which this is called, if it has done something else before.
        """
        # All in one frame: there are as many of it as suspended coroutines.
        owner, slots = self._owner, self._slots
        runner = runner or self.begun()
        try:
            while runner.has_slot or (owner.has_call(COROUTINE) and self.claim_for(runner)):
                while owner.slice.is_over():
                    if not owner.has_call(COROUTINE) or not await self.next_turn():
                        return
                call = self._next()
                if call is None:
                    return
                runner.began = began = time.monotonic()
                runner.task, function, args, kwargs = call
                if owner.recorder is not None:  # else `get_name` tells, to whoever asks in this process
                    runner.set_name(key_of(owner.nodes[runner.task]))
                del call
                try:
                    value, error = await function(*args, **kwargs), None
                    owner.nodes[runner.task]._function.durations.add(time.monotonic() - began)
                except BaseException as raised:
                    value, error = None, failure_in(runner, raised, owner.nodes[runner.task])
                del args, kwargs
                is_clean = runner.is_clean()
                if not is_clean:
                    error = self.error_of(runner, error)
                task, runner.task = runner.task, None
                owner.settle(task, COROUTINE, value, error)
                del value, error
                if not is_clean:
                    return
                if slots.waiting and slots.is_wanted_besides(owner):
                    # After one node it is the turn of another run.
                    self._give_back(runner)
                owner.begin_others()
                if runner.was_cancelled:
                    return  # by a plain function that was called on the loop
        except GeneratorExit:
            owner.abandon()  # the runner is being thrown away: its loop is gone
            raise
        except BaseException as error:
            owner.runner_failed(error)
        finally:
            self.end(runner)
            del self, owner, slots, runner  # see `Straight.walk`

    async def next_turn(self) -> bool:
        """Let the loop serve others; False, and at once, if there are enough runners that wait for that."""
        if self.waiting >= _MOST:
            return False
        self.waiting += 1
        try:
            await turn()
        finally:
            self.waiting -= 1
        return True

    def cover(self, runner: Runner) -> bool:
        """Whether the runner has a slot, or gets one; other runs that wait for one come first."""
        if self._slots.waiting:
            self.let_others(runner)
        return runner.has_slot or self.claim_for(runner)

    def let_others(self, runner: Runner) -> None:
        """Give a slot back that other runs wait for, if the runner has done a node since its turn began.

        Two runs whose runners gave back what they have just got would wake each other for ever.
        """
        if runner.has_slot and runner.task is not None and self._slots.is_wanted_besides(self._owner):
            self._give_back(runner)

    def _give_back(self, runner: Runner) -> None:
        runner.has_slot = False
        self._owner.give_back(COROUTINE)

    def claim_for(self, runner: Runner) -> bool:
        """Get a slot for a runner, if there is one."""
        runner.has_slot = self._owner.claim(COROUTINE)
        return runner.has_slot

    def error_of(self, runner: Runner, error: BaseException | None) -> BaseException | None:
        """The error of a node that has ended with this one, or none, and left its runner not clean."""
        if error is None and not self._owner.is_stopping and runner.is_to_be_cancelled():
            return asyncio.CancelledError()
        return error

    def runner_here(self) -> Runner | None:
        """The runner whose node this is called from, if that is one of these."""
        try:
            aio_task = asyncio.current_task()
        except RuntimeError:  # in a thread
            return None
        is_ours = isinstance(aio_task, Runner) and aio_task in self.runners and aio_task.task is not None
        return aio_task if is_ours and isinstance(aio_task, Runner) else None

    def running_keys(self) -> list[str]:
        """The keys of the nodes that are being computed."""
        return [runner.get_name() for runner in self.runners if runner.task is not None]

    def task_on_loop(self) -> int | None:
        """The task that the loop is in; for those who look."""
        for runner in self.runners.copy():
            if runner.task is not None and _coroutine_of(runner).cr_running:
                return runner.task
        return None

    def has(self, task: int) -> bool:
        """Whether a runner has the task, or is to have it, because its call has given a coroutine."""
        is_made = any(made == task for made, *_ in self.made.copy())
        return is_made or any(runner.task == task for runner in self.runners.copy())

    def sightings(self) -> list[Sighting]:
        """Where the nodes are that runners have, or are to have."""
        nodes, now = self._owner.nodes, time.monotonic()
        seen = [
            Sighting(
                task,
                nodes[task],
                "on the loop, running" if _coroutine_of(runner).cr_running else "on the loop, suspended",
                seconds=now - runner.began,
                locate=partial(place_of_coroutine, _coroutine_of(runner)),
            )
            for runner in self.runners.copy()
            if (task := runner.task) is not None
        ]
        return seen + [
            handed_over(task, nodes[task], "for a coroutine slot") for task, *_ in self.made.copy()
        ]

    def cancel(self) -> None:
        """Cancel what is running; it is over when the runners have ended."""
        for runner in list(self.runners):
            # Once: at the end of the loop asyncio has done so, and a second one would cut cleaning up short.
            if runner.task is not None and not runner.was_shut_down:
                runner.cancel()

    def forget_ended(self) -> None:
        """Forget runners that Ctrl-C has kept from saying that they have ended."""
        self.runners.difference_update([runner for runner in self.runners if runner.done()])

    def drop(self) -> None:
        """Forget what has not begun."""
        while self.made:
            task, function, args, _ = self.made.popleft()
            self._owner.scheduler.stop(task)
            if function is _awaiting:
                args[0].close()

    def silence(self) -> None:
        """The loop is gone, and the runners with it."""
        for runner in self.runners:
            runner.silence()

    def _next(self) -> _Call | None:
        """The first coroutine that is ready."""
        owner = self._owner
        while not (owner.is_stopping or (owner.recorder is not None and owner.recorder.is_behind)):
            if self.made:
                made, function, args, kwargs = self.made.popleft()
                call = self._around(made, function)
                return made, within_timeout(owner.nodes[made], call), args, kwargs
            task = owner.take(COROUTINE)
            if task is None:
                break
            node = owner.nodes[task]
            call = node._function.call
            if owner.recorder is not None:
                call = self._around(task, call)
            if node._function.is_special:
                call = within_timeout(node, call)
            if not node._dependencies:
                return task, call, node._args, node._kwargs
            prepared = owner.prepare(task)
            if prepared is not None:
                _, args, kwargs = prepared
                return task, call, args, kwargs
        return None

    def _around(self, task: int, call: Callable[..., Any]) -> Callable[..., Any]:
        """What is to be called in place of `call`."""
        recorder = self._owner.recorder
        return call if recorder is None else recorder.around(task, call, is_awaited=True)


def _coroutine_of(runner: Runner) -> Any:
    return runner.get_coro()


async def _awaiting(coroutine: Coroutine[Any, Any, Any]) -> Any:
    """Await a coroutine that was made elsewhere."""
    return await coroutine
