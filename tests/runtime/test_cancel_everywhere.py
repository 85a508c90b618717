"""A cancel after every single step of a run, whoever cancels and however often.

`stepping` has the loop, `scenes` the graphs that are run on it, and `sides` who ends them. Here is what has
to be true afterwards, wherever that has struck.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import os
import select
import threading
from collections.abc import AsyncIterator, Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from asyncgraph import Runtime, compute, delayed, start
from asyncgraph._runtime import slices, stopping
from asyncgraph._runtime.lanes import COROUTINE, PROCESS, THREAD
from tests.errors.reading import failure_of
from tests.executors.process import remote
from tests.runtime import scenes, sides
from tests.runtime.eager import eager_loop  # noqa: F401 - a fixture
from tests.runtime.scenes import Graph, Mine, Scene, total
from tests.runtime.sides import STOPPED, Side
from tests.runtime.stepping import SteppedThreads, SteppingLoop, Strike, everywhere


@pytest.fixture
def anyio_backend() -> Any:
    """The loop of these tests."""
    return "asyncio", {"loop_factory": SteppingLoop}


@pytest.fixture
async def runtime() -> AsyncIterator[Runtime]:
    """Few slots, so that some nodes wait for one; and one worker, which is kept from run to run."""
    async with Runtime(threads=2, concurrency=3, processes=1) as runtime:
        yield runtime


@pytest.fixture
async def complaints(_running_loop: Any) -> list[dict[str, Any]]:
    """What the loop's exception handler is told, but for failures that nodes are meant to have."""
    told: list[dict[str, Any]] = []

    def hear(_: object, context: dict[str, Any]) -> None:
        if type(context.get("exception")) is not Mine:
            told.append(context)

    _running_loop.set_exception_handler(hear)
    return told


# -- what has to be true afterwards


async def attempt(side: Side, strike: Strike, scene: Scene, runtime: Runtime) -> bool:
    """Run a scene that is struck from that side, and see what there is afterwards; whether it was stopped."""
    tasks = asyncio.all_tasks()

    task = asyncio.ensure_future(heard(side, strike, scene))
    await asyncio.wait([task])
    value = task.result()
    assert value == STOPPED or [counted(each) for each in value] == scene.expected
    await nothing_is_left(scene, runtime, tasks)
    return bool(value == STOPPED)


async def heard(side: Side, strike: Strike, scene: Scene) -> Any:
    """What comes of a scene that is struck from that side; no cancel of that may be left over."""
    try:
        value = await side(strike, scene)
    finally:
        strike.disarm()
    task = asyncio.current_task()
    assert task is not None
    assert task.cancelling() == 0, "a cancel is left over"
    await asyncio.sleep(0)  # and none is yet to come
    return value


def counted(value: Any) -> Any:
    """What a value is in `Scene.expected`."""
    return 10 if isinstance(value, Exception) else value


async def nothing_is_left(scene: Scene, runtime: Runtime, tasks: set[asyncio.Task[Any]]) -> None:
    """See that nothing runs or is remembered, and that no slot is lost: so many calls can meet."""
    assert scene.running == []
    assert scene.cut_short == []
    assert asyncio.all_tasks() == tasks
    assert not runtime._runs
    assert stopping._nested == set()
    assert runtime._lanes is not None
    for lane in runtime._lanes._lanes.values():
        assert (lane.slots.used, lane.slots.waiting, lane.slots.promised) == (0, {}, set())
    await all_slots_are_there(runtime)


async def all_slots_are_there(runtime: Runtime) -> None:
    """Have as many calls wait for each other as there are slots."""
    assert runtime._lanes is not None
    threads, coroutines = (runtime._lanes[lane].slots.capacity for lane in (THREAD, COROUTINE))
    if isinstance(runtime._lanes[THREAD].made, SteppedThreads):
        threads = 0  # they cannot wait for each other
    in_threads, on_loop = threading.Barrier(threads or 1, timeout=30), asyncio.Barrier(coroutines)
    calls = [delayed(in_threads.wait, executor="thread")() for _ in range(threads)]
    met = await runtime.compute(calls, [delayed(on_loop.wait)() for _ in range(coroutines)])
    assert [sorted(each) for each in met] == [[*range(threads)], [*range(coroutines)]]


async def everywhere_from(side: Side, graph: Graph, runtime: Runtime) -> int:
    """Strike after each step; how often that has stopped the run."""
    stopped = 0
    for strike in everywhere():
        stopped += await attempt(side, strike, Scene(graph), runtime)
    return stopped


@pytest.mark.parametrize("graph", scenes.GRAPHS)
@pytest.mark.parametrize("side", [sides.by_task, sides.by_run])
async def test_every_graph(runtime, complaints, side, graph):
    """Cancelled after any step, a run has ended when that is said, and what comes next has all it needs."""
    assert await everywhere_from(side, graph, runtime) > 5
    assert complaints == []


@pytest.mark.parametrize("graph", [scenes.mixed, scenes.with_resources])
@pytest.mark.parametrize("side", sides.SIDES)
async def test_every_side(runtime, complaints, side, graph):
    """Whoever ends a run, after any step, gets their own cancel back and no other, and nothing goes on."""
    assert await everywhere_from(side, graph, runtime) > 5
    assert complaints == []


@pytest.mark.parametrize("graph", [scenes.in_window, scenes.in_stretches, scenes.growing, scenes.retried])
@pytest.mark.parametrize("side", [sides.by_task, sides.by_run])
async def test_every_step_of_threads(runtime, complaints, side, graph):
    """Before a thread has begun, before it is heard of, and at all times in between."""
    runtime._lanes[THREAD].made = SteppedThreads(2)
    assert await everywhere_from(side, graph, runtime) > 5
    assert complaints == []


@pytest.mark.parametrize("graph", scenes.GRAPHS)
async def test_every_piece(runtime, complaints, monkeypatch, graph):
    """As in a large graph: planning, and all else that is done in slices of time, takes many steps."""
    monkeypatch.setattr(slices, "SLICE", 0)
    assert await everywhere_from(sides.by_task, graph, runtime) > 10
    assert complaints == []


@pytest.mark.parametrize(
    "side",
    [sides.by_task, sides.by_run, sides.by_timeout, sides.by_sibling, sides.by_scope, sides.by_failure],
)
async def test_inside_a_node(runtime, complaints, side):
    """A run that a node stops, after any step, is its own affair: the run that it is part of goes on."""
    stopped = 0
    for strike in everywhere():
        inner, outer, tasks = Scene(scenes.mixed), Scene(scenes.small), asyncio.all_tasks()
        node = delayed(heard)(side, strike, inner)
        value, *values = await outer_values(outer, node)
        assert value == STOPPED or value == inner.expected
        assert values == [1, 2, *outer.expected]
        assert inner.running == []
        stopped += value == STOPPED
        await nothing_is_left(outer, runtime, tasks)
    assert stopped > 5
    assert complaints == []


async def outer_values(scene: Scene, node: Any) -> list[Any]:
    """Compute the node, among others, some of which wait for it."""
    values: list[Any] = await compute([node, scene.coroutine(1, node), scene.inline(2, node), *scene.request])
    return values


async def test_timeouts_inside_nodes(runtime, complaints):
    """A node's own timeout, wherever it strikes, ends that node alone, and none that its runner has next."""

    async def wait(number: int, *_: Any) -> int:
        try:
            async with asyncio.timeout(sides.TIMEOUT + number):
                for _ in range(4):
                    await asyncio.sleep(0)
        except TimeoutError:
            return -number
        return number

    timed_out = set()
    for strike in everywhere():
        tasks = asyncio.all_tasks()
        scene = Scene(scenes.small)
        first = [delayed(wait)(number) for number in range(1, 7)]
        second = [delayed(wait)(number, *first) for number in range(7, 10)]
        strike.arm(sides.leap)
        *values, others = await compute(*first, *second, scene.request)
        strike.disarm()
        assert [abs(value) for value in values] == [*range(1, 10)]
        assert others == scene.expected
        timed_out |= {-value for value in values if value < 0}
        await nothing_is_left(scene, runtime, tasks)
    assert timed_out == {*range(1, 10)}
    assert complaints == []


async def test_calls_that_nobody_waits_for(runtime, complaints):
    """They keep nothing but their thread and their slot, and these until they end."""

    def graph(scene: Scene) -> tuple[list[Any], Any]:
        held = scene.held(1, abandon_on_cancel=True)
        return [total(held, scene.opener(2), scene.coroutine(3))], [6]

    left = 0
    for strike in everywhere():
        scene, tasks = Scene(graph), asyncio.all_tasks()
        scene.is_deaf = True
        await sides.by_task(strike, scene)
        strike.disarm()
        left += scene.running == ["thread 1"]
        assert set(scene.running) <= {"thread 1"}
        assert asyncio.all_tasks() == tasks
        scene.gate.set()
        await all_slots_are_there(runtime)
        await nothing_is_left(scene, runtime, tasks)
    assert left
    assert complaints == []


@pytest.mark.parametrize("graph", [scenes.on_the_loop, scenes.mixed, scenes.nested, scenes.with_resources])
@pytest.mark.parametrize("how", ["run", "task"])
def test_the_end_of_the_loop(graph, how):
    """At the end of `asyncio.run`, which cancels each task once, what is going on cleans up undisturbed."""
    for strike in everywhere():
        with asyncio.Runner(loop_factory=SteppingLoop) as runner:
            scene, background = runner.run(begun_until(strike, graph, how))
            is_over = background.done()
        assert scene.running == []
        # What is being closed by then is cancelled for the first time.
        assert [each for each in scene.cut_short if not each.startswith("closing")] == []
        assert background.done()
        assert background.cancelled() if how == "task" and not is_over else True


async def begun_until(strike: Strike, graph: Graph, how: str) -> tuple[Scene, Any]:
    """Begin a scene, and leave it when the strike falls, or it has ended."""
    scene, is_struck = Scene(graph), asyncio.Event()
    strike.arm(is_struck.set)
    background: Any = start(scene.request) if how == "run" else asyncio.ensure_future(scene.compute())
    background.add_done_callback(lambda _: is_struck.set())
    await is_struck.wait()
    return scene, background


# -- what goes on


@pytest.mark.parametrize("graph", scenes.GRAPHS)
async def test_gone_on_with(runtime, complaints, graph):
    """Cancelled after any step, gone on with and cancelled again, a run has its values at last."""
    resumed = 0
    for strike in everywhere():
        scene, tasks = Scene(graph), asyncio.all_tasks()
        going_on = start(scene.request, **scene.options)
        for each in (strike, Strike(4), Strike(9)):
            each.arm(going_on.cancel)
            try:
                await going_on
            except asyncio.CancelledError:
                assert scene.running == []
                going_on = going_on.resume()
                resumed += 1
            each.disarm()
        assert [counted(each) for each in await going_on] == scene.expected
        await nothing_is_left(scene, runtime, tasks)
    assert resumed > 5
    assert complaints == []


@pytest.mark.parametrize("graph", [scenes.mixed, scenes.growing, scenes.in_window, scenes.failing])
@pytest.mark.parametrize("comes", ["before", "after"])
async def test_another_run(runtime, complaints, graph, comes):
    """A run beside it that wants the same slots is not harmed, whichever of the two was there before."""
    for strike in everywhere():
        scene, other, tasks = Scene(graph), Scene(graph), asyncio.all_tasks()
        tasks_of_both = []
        for each in (other, scene) if comes == "before" else (scene, other):
            tasks_of_both.append(asyncio.ensure_future(each.compute()))
            if each is scene:
                strike.arm(tasks_of_both[-1].cancel)
        await asyncio.wait(tasks_of_both)
        strike.disarm()
        values = tasks_of_both[comes == "after"].result()
        assert [counted(each) for each in values] == other.expected
        assert other.running == []
        await nothing_is_left(scene, runtime, tasks)
    assert strike.steps > 20
    assert complaints == []


@pytest.mark.parametrize("graph", [scenes.on_the_loop, scenes.growing, scenes.nested, scenes.retried])
async def test_a_single_slot_of_each_kind(complaints, graph):
    """Where nodes wait for each other's slots, and inner runs for those of the nodes that they are in."""
    async with Runtime(threads=1, concurrency=1) as runtime:
        for side in (sides.by_task, sides.by_run):
            assert await everywhere_from(side, graph, runtime) > 5
    assert complaints == []


@pytest.mark.parametrize("graph", [scenes.on_the_loop, scenes.mixed, scenes.growing, scenes.nested])
@pytest.mark.parametrize("side", [sides.by_task, sides.by_run, sides.by_sibling_of_its_task])
@pytest.mark.usefixtures("eager_loop")
async def test_eager_tasks(runtime, complaints, side, graph):
    """On a loop that begins each task at once, so that a run may end before anybody waits for it."""
    assert await everywhere_from(side, graph, runtime) > 5
    assert complaints == []


# -- worker processes


class Stay:
    """A call in a worker process that goes on until it is let go of, and is seen to have ended.

    Args:
        folder: For its pipes.
    """

    def __init__(self, folder: Path) -> None:
        folder.mkdir()
        self._paths = [str(folder / name) for name in ("fifo", "gate")]
        for path in self._paths:
            os.mkfifo(path)
        self._fifo = os.open(self._paths[0], os.O_RDONLY | os.O_NONBLOCK)
        self._gate = os.open(self._paths[1], os.O_RDWR)
        self._has_begun = asyncio.Event()
        asyncio.get_running_loop().add_reader(self._fifo, self._begun)

    def node(self) -> Any:
        """The call; its value is 1."""
        return delayed(remote.stay, executor="process")(*self._paths)

    async def let_go(self) -> int:
        """Let go of it when it has begun."""
        await self._has_begun.wait()
        return os.write(self._gate, b"1")

    def has_begun(self) -> None:
        """Wait until it has begun, and hold the loop until then."""
        assert select.select([self._fifo], [], [], 30)[0]

    def has_ended(self) -> bool:
        """Whether no process is at it."""
        with contextlib.suppress(BlockingIOError):
            while os.read(self._fifo, 100):
                pass
            return True
        return False

    def close(self) -> None:
        """Close the pipes."""
        asyncio.get_running_loop().remove_reader(self._fifo)
        os.close(self._fifo)
        os.close(self._gate)

    def _begun(self) -> None:
        asyncio.get_running_loop().remove_reader(self._fifo)
        self._has_begun.set()


class Late(Strike):
    """A strike for which the loop is held until the worker, if it has been given the call, has begun it."""

    def __init__(self, strike: Strike, runtime: Runtime, stay: Stay) -> None:
        super().__init__(strike.steps)
        self._strike, self._runtime, self._stay = strike, runtime, stay

    def arm(self, action: Callable[[], object]) -> None:
        """As any strike."""
        self._strike.arm(partial(self._strike_late, action))

    def disarm(self) -> None:
        """As any strike."""
        self._strike.disarm()

    def _strike_late(self, action: Callable[[], object]) -> None:
        assert self._runtime._lanes is not None
        if self._runtime._lanes[PROCESS].slots.used:
            self._stay.has_begun()
        action()


@pytest.mark.parametrize("is_late", [False, True], ids=["at-once", "late"])
@pytest.mark.parametrize("side", [sides.by_task, sides.by_own_timeout])
async def test_worker_processes(runtime, complaints, tmp_path, side, is_late):
    """No worker is at a call of a run that has ended, and what comes next has a worker."""
    add, echo = (delayed(each, executor="process") for each in (remote.add, remote.echo))
    assert await runtime.compute(echo(1)) == 1
    stopped = 0
    for strike in everywhere():
        stay = Stay(tmp_path / str(strike.steps))

        def graph(scene: Scene, stay: Stay = stay) -> tuple[list[Any], Any]:
            first = add(add(stay.node(), 1), scene.coroutine(2))
            return [total(first, delayed(stay.let_go)()), scene.inline(3, first), add(first, 4)], [
                5,
                3,
                8,
            ]

        struck = Late(strike, runtime, stay) if is_late else strike
        stopped += await attempt(side, struck, Scene(graph), runtime)
        assert stay.has_ended()
        assert await runtime.compute(echo(strike.steps)) == strike.steps
        stay.close()
    assert stopped > 5
    assert complaints == []


@pytest.mark.parametrize("side", [sides.by_task, sides.by_own_timeout])
async def test_another_run_in_the_same_worker(runtime, complaints, tmp_path, side):
    """Calls of another run that wait behind those of one that is stopped are made, and once each."""
    note = delayed(remote.note, executor="process")
    note.function.durations.add(0.05, 1000)  # so short that a worker gets many at a time
    assert await runtime.compute(note(str(tmp_path / "first"), 0)) == 0
    for strike in everywhere():
        stay, path = Stay(tmp_path / str(strike.steps)), tmp_path / f"{strike.steps}.txt"

        def graph(scene: Scene, stay: Stay = stay) -> tuple[list[Any], Any]:
            opened = delayed(stay.let_go)()
            return [total(stay.node(), opened), note(str(tmp_path / "first"), 2)], [2, 2]

        scene, tasks = Scene(graph), asyncio.all_tasks()
        computing = asyncio.ensure_future(side(strike, scene))
        await asyncio.sleep(0)
        other = start([note(str(path), number) for number in range(20)])
        await asyncio.wait([computing])
        strike.disarm()
        assert computing.result() in (STOPPED, scene.expected)
        assert await other == [*range(20)]
        assert sorted(map(int, path.read_text().split())) == [*range(20)]
        assert stay.has_ended()
        stay.close()
        await nothing_is_left(scene, runtime, tasks)
    assert complaints == []


# -- a second cancel


async def by_cancel(strike: Strike, scene: Scene) -> Any:
    """The task that this is called in is cancelled."""
    task = asyncio.current_task()
    assert task is not None
    strike.arm(partial(task.cancel, "the first"))
    return await scene.compute()


TWICE = [by_cancel, sides.by_run, sides.by_own_timeout, sides.by_timeout, sides.by_scope, sides.by_failure]


@pytest.mark.parametrize(
    ("side", "graph"),
    [*itertools.product(TWICE, [scenes.small]), (by_cancel, scenes.small_with_resource)],
)
async def test_a_second_cancel(runtime, complaints, side, graph):
    """After the first, at any step, a cancel that comes at any later one hurries nothing and is not lost."""
    both = 0
    for steps in itertools.count():
        for second in everywhere():
            first = Strike(steps)
            both += await struck_twice(side, first, second, Scene(graph), runtime)
        if not first.has_struck:
            break
    assert both > 20
    assert complaints == []


async def struck_twice(side: Side, first: Strike, second: Strike, scene: Scene, runtime: Runtime) -> bool:
    """Run a scene that is struck from that side, and its task cancelled after that; whether it was."""
    tasks = asyncio.all_tasks()
    answers: list[bool] = []

    async def main() -> Any:
        try:
            return await side(first, scene)
        finally:
            first.disarm()

    task = asyncio.ensure_future(main())
    first.afterwards = partial(second.arm, lambda: answers.append(task.cancel("the second")))
    await asyncio.wait([task])
    second.disarm()
    if answers == [True] or (side is by_cancel and first.has_struck):
        assert task.cancelled()
        assert task.cancelling() == (side is by_cancel) + (answers == [True])
        error = await failure_of(task)
        # Of two that come before the task has heard of the first, asyncio passes the second one's on.
        assert side is not by_cancel or error.args in (("the first",), ("the second",))
    else:
        assert task.result() in (STOPPED, scene.expected)
    await nothing_is_left(scene, runtime, tasks)
    return answers == [True]


@pytest.mark.parametrize("ends", [("timeout", "cancel"), ("cancel", "timeout")], ids="-".join)
async def test_what_ends_a_run_first_counts(runtime, complaints, ends):
    """A timeout while a run is being cancelled changes nothing, nor does a cancel after a timeout."""
    both = 0
    for steps in itertools.count():
        for second in everywhere():
            first, scene, tasks = Strike(steps), Scene(scenes.small), asyncio.all_tasks()
            background = start(scene.request, timeout=scenes.NEVER)
            background.add_done_callback(lambda _, first=first: first.disarm())
            background.add_done_callback(lambda _, second=second: second.disarm())
            actions = {"cancel": background.cancel, "timeout": partial(background._expire, 0.0)}
            first.arm(actions[ends[0]])
            first.afterwards = partial(second.arm, actions[ends[1]])
            try:
                assert await background == scene.expected
            except (asyncio.CancelledError, TimeoutError) as error:
                expected = asyncio.CancelledError if ends[0] == "cancel" else TimeoutError
                assert isinstance(error, expected)  # noqa: PT017 - it need not be raised
            both += second.has_struck
            await nothing_is_left(scene, runtime, tasks)
        if not first.has_struck:
            break
    assert both > 20
    assert complaints == []
