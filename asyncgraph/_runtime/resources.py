"""The resources of an execution: opened when something needs them at once, closed when nothing does any more.

What uses a resource: each task that has its value as an argument, until that task is over; and each that has
as an argument what was got out of it by an operator, an attribute, an item or a call, as `fetch` in
`fetch(db.cursor())`. A resource that was opened with another uses that as long as it is open itself.

Each is opened and closed in one aio_task of its own, as context managers want it that have cancel scopes or
task groups inside. Those that nothing needs any more at the same moment, as at the end of an execution that
is stopped, are closed one after another, the one that was opened last first.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterable
from functools import partial
from itertools import pairwise
from typing import Any, NamedTuple, Protocol, Self

from asyncgraph._graph.node import Node, key_of
from asyncgraph._graph.scheduler import FINISHED, RELEASED
from asyncgraph._runtime.lanes import RESOURCE
from asyncgraph._runtime.managers import entered, left
from asyncgraph._runtime.owner import Owner, Resolved
from asyncgraph._runtime.sightings import Sighting
from asyncgraph._runtime.stacks import place_of_coroutine
from asyncgraph._runtime.stopping import has_stopped
from asyncgraph.executors.base import without_own_frames
from asyncgraph.executors.loop import failure_on_loop

__all__ = ["Holding", "Resources"]


class Holder(Owner, Protocol):
    """An execution, as its resources see it.

    Attributes:
        failure: The error that it was stopped for, or None.
    """

    failure: BaseException | None

    def may_be_chosen(self, node: Node[Any]) -> bool:
        """Whether a choice that has not been made may need the node."""
        ...

    def closing_failed(self, task: int, error: BaseException) -> None:
        """A resource could not be closed as it should."""


class Resources:
    """The resources of one execution.

    Args:
        owner: The execution.
    """

    def __init__(self, owner: Holder) -> None:
        self._owner = owner
        # The tasks that use each resource, and are not over; and the resources that each task uses.
        self._users: dict[int, set[int]] = {}
        self._used: dict[int, list[int]] = {}
        # The resources that the value of a task is, or may have been got out of.
        self._origins: dict[int, list[int]] = {}
        # What the tasks that have origins need, where that is kept to make their values anew.
        self._kept: dict[int, tuple[int, ...]] = {}
        # All that are being opened, are open or are being closed, in the order in which that began.
        self._keepers: dict[int, Keeper] = {}

    def of(self, owner: Holder) -> Self:
        """The same in another execution, which goes on with this one: nothing is open."""
        self._owner = owner
        self._users = {resource: set() for resource in self._users}
        self._used = {}
        for task, state in enumerate(owner.scheduler.state):
            if state not in (FINISHED, RELEASED):
                self._use(task, self._origins_of_arguments(task))
                if task in self._origins and task not in self._kept:  # it had been let go of
                    self._keep_inputs(task)
        return self

    def note(self, tasks: Iterable[int]) -> None:
        """There are these new tasks, dependencies before dependents."""
        owner, scheduler, origins = self._owner, self._owner.scheduler, self._origins
        for task in tasks:
            function = owner.nodes[task]._function
            used = self._origins_of_arguments(task)
            self._use(task, used)
            if function.is_resource:
                self._users[task] = set()
                origins[task] = [task]
            elif used and function.is_part:
                origins[task] = list(dict.fromkeys(used))
            else:
                continue
            if scheduler.holds_inputs:
                self._keep_inputs(task)

    def _keep_inputs(self, task: int) -> None:
        self._kept[task] = self._owner.scheduler.dependencies[task]
        for dependency in self._kept[task]:
            self._owner.scheduler.keep(dependency)

    def returned(self, task: int, root: int) -> None:
        """A task has returned a node, whose value may be a resource, or got out of one."""
        origins = self._origins.get(root)
        if not origins:
            return
        owner, reached = self._owner, [task]
        for current in reached:
            self._origins[current] = list(dict.fromkeys([*self._origins.get(current, ()), *origins]))
            for dependent in owner.scheduler.dependents[current]:
                self._use(dependent, origins)
                is_part = owner.nodes[dependent]._function.is_part or owner.scheduler.is_alias(dependent)
                if is_part and dependent not in reached:
                    reached.append(dependent)

    def _origins_of_arguments(self, task: int) -> list[int]:
        origins = self._origins
        dependencies = self._owner.scheduler.dependencies[task]
        return [each for dependency in dependencies for each in origins.get(dependency, ())]

    def _use(self, task: int, resources: Iterable[int]) -> None:
        for resource in resources:
            if resource in self._users and task not in self._users[resource]:
                self._users[resource].add(task)
                self._used.setdefault(task, []).append(resource)

    # -- opening

    def open(self) -> bool:
        """Open what is needed now; whether that was anything."""
        owner, scheduler = self._owner, self._owner.scheduler
        has_begun = False
        while not owner.is_stopping and (task := scheduler.take(RESOURCE)) is not None:
            has_begun = True
            prepared = owner.prepare(task)
            if prepared is not None:
                self._keepers[task] = Keeper(self, task, owner, prepared)
        return has_begun

    def opened(self, keeper: Keeper, value: Any, error: BaseException | None) -> None:
        """A resource has this value, or could not be opened."""
        owner, task = self._owner, keeper.task
        if error is None:
            keeper.is_open, keeper.began = True, time.monotonic()
        else:
            del self._keepers[task]
            self._over(task)
        owner.settle(task, RESOURCE, value, error)
        del error
        self.close_unused()
        owner.wake()

    # -- closing

    def over(self, tasks: Iterable[int]) -> None:
        """These tasks are over."""
        is_unused = False
        for task in tasks:
            if task in self._used and task not in self._keepers:
                is_unused |= self._over(task)
        if is_unused:
            self.close_unused()

    def _over(self, task: int) -> bool:
        """The task uses nothing any more; whether any resource has lost its last user."""
        is_unused = False
        for resource in self._used.pop(task, ()):
            self._users[resource].discard(task)
            is_unused |= not self._users[resource]
        return is_unused

    def close_unused(self) -> None:
        """Close what is open and used no more, unless all is being stopped: then that is for the end."""
        owner = self._owner
        if not owner.is_stopping:
            unused = [each for task, each in self._keepers.items() if not self._users[task]]
            self._close([each for each in unused if not owner.may_be_chosen(owner.nodes[each.task])], None)

    def close_all(self) -> bool:
        """Nothing is running any more: close all that is open; False if nothing is."""
        failure = self._owner.failure
        self._close(list(self._keepers.values()), asyncio.CancelledError() if failure is None else failure)
        return bool(self._keepers)

    def _close(self, keepers: list[Keeper], failure: BaseException | None) -> None:
        keepers = [keeper for keeper in reversed(keepers) if keeper.is_open and not keeper.is_closing]
        for keeper in keepers:
            keeper.is_closing = True
        for first, second in pairwise(keepers):
            first.then = second
        if keepers:
            keepers[0].close(failure)

    def closed(self, keeper: Keeper, failure: BaseException | None, error: BaseException | None) -> None:
        """A resource has been closed, because of `failure`, which went wrong if there is another `error`."""
        owner = self._owner
        del self._keepers[keeper.task]
        if error is not None:
            owner.closing_failed(keeper.task, error)
            failure = owner.failure or failure
        if keeper.then is not None:
            keeper.then.close(failure)
        if self._over(keeper.task):
            self.close_unused()
        if not owner.is_stopping:
            for task in [task for task in self._kept if keeper.task in self._origins[task]]:
                self._let_go(task)
        owner.wake()
        owner.check_over()

    def withdraw(self) -> None:
        """All is over, and may be gone on with: what is needed and not open any more is to be opened anew."""
        scheduler, state = self._owner.scheduler, self._owner.scheduler.state
        for task in self._dependents_first():
            is_needed = any(state[each] not in (FINISHED, RELEASED) for each in scheduler.dependents[task])
            if not (is_needed or scheduler.is_kept(task)):
                self._let_go(task)
            elif state[task] == FINISHED:
                scheduler.withdraw(task)

    def _dependents_first(self) -> list[int]:
        """The tasks that have origins. What has returned a node depends on that: numbers tell nothing."""
        dependents, ordered, entered = self._owner.scheduler.dependents, dict[int, None](), set[int]()
        stack = list(self._origins)
        while stack:
            task = stack[-1]
            if task in entered:
                ordered.setdefault(stack.pop())
            else:
                entered.add(task)
                stack += [each for each in dependents[task] if each in self._origins and each not in entered]
        return list(ordered)

    def _let_go(self, task: int) -> None:
        """The value of the task is not to be made anew."""
        for dependency in self._kept.pop(task, ()):
            self._owner.scheduler.let_go(dependency)

    # -- what is going on

    def is_busy(self) -> bool:
        """Whether anything is being opened or closed."""
        return any(keeper.is_closing or not keeper.is_open for keeper in self._keepers.values())

    def running_keys(self) -> list[str]:
        """The keys of those that are being opened or closed."""
        keys = {key_of(self._owner.nodes[task]): each for task, each in self._keepers.items()}
        opening = [f"{key} (opening)" for key, keeper in keys.items() if not keeper.is_open]
        return [*opening, *(f"{key} (closing)" for key, keeper in keys.items() if keeper.is_closing)]

    def sightings(self) -> list[Sighting]:
        """Where the nodes are that are being opened."""
        now = time.monotonic()
        return [
            Sighting(
                task,
                self._owner.nodes[task],
                "on the loop, being opened",
                seconds=now - keeper.began,
                locate=partial(place_of_coroutine, keeper.get_coro()),
            )
            for task, keeper in self._keepers.copy().items()
            if not keeper.is_open
        ]

    def task_on_loop(self) -> int | None:
        """The resource that the loop is opening or closing; for those who look."""
        for task, keeper in self._keepers.copy().items():
            if keeper.is_at_work():
                return task
        return None

    def holdings(self) -> list[Holding]:
        """What is open, or is being closed."""
        nodes, now = self._owner.nodes, time.monotonic()
        return [
            Holding(
                nodes[task],
                now - keeper.began,
                [nodes[each] for each in self._users[task].copy()],
                is_closing=keeper.is_closing,
            )
            for task, keeper in self._keepers.copy().items()
            if keeper.is_open
        ]

    def cancel(self) -> None:
        """Cancel what is being opened."""
        for keeper in list(self._keepers.values()):
            if not (keeper.is_open or keeper.was_shut_down):  # see `Coroutines.cancel`
                keeper.cancel()

    def cut_short(self) -> None:
        """Cancel what is being closed, too."""
        for keeper in list(self._keepers.values()):
            if keeper.is_closing or not keeper.is_open:
                keeper.cancel()

    def silence(self) -> None:
        """The loop is gone."""
        for keeper in self._keepers.values():
            keeper.silence()


class Holding(NamedTuple):
    """A resource that is open, for those who look.

    Attributes:
        node: Its node.
        seconds: How long it has been open.
        users: The nodes that use it.
        is_closing: Whether it is being closed.
    """

    node: Node[Any]
    seconds: float
    users: list[Node[Any]]
    is_closing: bool


class Keeper(asyncio.Task[None]):
    """Opens one resource, waits until it is to be closed, and closes it.

    Attributes:
        task: The number of its node.
        began: When it began to be opened, or was open, by `time.monotonic()`.
        is_open: Whether it has been opened.
        is_closing: Whether it is being closed, or is to be when its turn comes.
        then: The one that is to be closed after this, or None.
        was_shut_down: Whether it was cancelled while the loop stood still, as `asyncio.run` does at its end.
    """

    def __init__(self, resources: Resources, task: int, owner: Holder, prepared: Resolved) -> None:
        self.task = task
        self.began = time.monotonic()
        self.is_open = self.is_closing = False
        self.then: Keeper | None = None
        self._resources = resources
        self._has_begun = self._was_cancelled = self.was_shut_down = False
        self._is_told = False
        self._failure: BaseException | None = None
        self._may_close: asyncio.Future[None] = owner.loop.create_future()
        key = key_of(owner.nodes[task])
        super().__init__(
            self._keep(owner, key, prepared), loop=owner.loop, name=key, context=owner.context.copy()
        )

    def cancel(self, msg: Any = None) -> bool:
        """As a task's; but one that has not begun does begin, to hear of it."""
        self._was_cancelled = True
        self.was_shut_down = self.was_shut_down or not self.get_loop().is_running()
        return super().cancel(msg) if self._has_begun else True

    def is_at_work(self) -> bool:
        """Whether the loop is in it."""
        coroutine: Any = self.get_coro()
        return bool(coroutine.cr_running)

    def silence(self) -> None:
        """Do not complain when the task is destroyed before its end: its loop is gone."""
        self._log_destroy_pending = False

    def close(self, failure: BaseException | None) -> None:
        """Close it now, because of `failure`, if there is one."""
        self._is_told = True
        self._failure = failure
        if not self._may_close.done():
            self._may_close.set_result(None)

    async def _keep(self, owner: Holder, key: str, prepared: Resolved) -> None:
        resources = self._resources
        self._has_begun = True
        try:
            if self._was_cancelled:
                raise asyncio.CancelledError
            function, args, kwargs = prepared
            enter = entered
            if owner.recorder is not None:
                enter = owner.recorder.around(self.task, entered, is_awaited=True)
            manager, value = await enter(function.call, args, kwargs)
        except GeneratorExit:
            owner.abandon()  # it is being thrown away: its loop is gone
            raise
        except BaseException as error:
            resources.opened(self, None, self._meaning(error, key, owner))
            owner.check_over()
            return
        finally:
            del prepared
        resources.opened(self, value, None)
        del value
        try:
            await self._until_told(owner)
            await left(manager, self._failure)
        except GeneratorExit:
            owner.abandon()
            raise
        except BaseException as error:
            resources.closed(self, self._failure, self._meaning(error, key, owner))
        else:
            resources.closed(self, self._failure, None)

    async def _until_told(self, owner: Holder) -> None:
        while not self._is_told:
            try:
                await self._may_close
            except asyncio.CancelledError as error:
                # Not by us: the loop is being shut down. What uses this has to end first all the same.
                self._may_close = owner.loop.create_future()
                owner.runner_failed(error)

    def _meaning(self, error: BaseException, key: str, owner: Holder) -> BaseException:
        is_cancelled = isinstance(error, asyncio.CancelledError) and (
            self._was_cancelled or self.cancelling()
        )
        if is_cancelled or has_stopped(error, owner):
            return without_own_frames(error)
        return failure_on_loop(error, key)
