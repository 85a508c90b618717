"""Ctrl-C amid the pool's own work: wherever it strikes, the laws hold, and cancelling and closing end."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from asyncgraph.executors.process.frames import ERROR, PICKLE
from tests.executors.process.fakes import World
from tests.interrupting import everywhere

SHORT = 0.0001
Event = Callable[[], object]

# Where it strikes.
FILES = tuple(
    f"process/{name}.py" for name in ("crew", "handle", "losses", "patience", "pool", "records", "waiting")
)


def crash(world: World) -> Event:
    """A worker dies of a call; calls that it had finished, or not begun, are under way too."""
    world.start(4, SHORT)
    world.start(1, crash_retries=1)
    first, *_ = world.ready(2)
    first.begin()
    first.finish()
    first.begin()
    return first.die


def outcomes(world: World) -> Event:
    """Outcomes of all kinds arrive together."""
    world.start(3, SHORT)
    world.start(2, SHORT)
    (link,) = world.ready()
    for kind in (PICKLE, ERROR):
        link.begin()
        link.finish(kind)
    for _ in range(2):
        link.begin()
        link.finish()
    return link.tell


def steps(world: World) -> Event:
    """A chain passes a step."""
    world.start(1, SHORT, steps=2)
    (link,) = world.ready()
    link.begin()
    link.pass_step()
    return link.tell


def cancel(world: World) -> Event:
    """Of three jobs two are cancelled, one of which has begun."""
    first, _ = world.start(2, None), world.start(2, SHORT)
    job = world.start(4, SHORT)
    one, *_ = world.ready(2)
    one.begin()
    return lambda: world.pool.cancel([first, job])


def timeout(world: World) -> Event:
    """A call takes too long."""
    world.start(timeout=0.5)
    world.start(1, SHORT)
    (link,) = world.ready()
    link.begin()
    return lambda: world.loop.sleep(1.0)


def failed_start(world: World) -> Event:
    """A worker ends before it has said hello, and another one is started."""
    world.start(2)
    world.loop.settle()
    return world.links[0].die


def leaving(world: World) -> Event:
    """Idle workers leave, one of them only when it is killed."""
    world.start(2, None)
    for link in world.ready(2):
        link.begin()
        link.finish()
        link.tell()
    world.loop.sleep(50.0)
    return lambda: world.loop.sleep(70.0)


def dismissal(world: World) -> Event:
    """The pool is closed with calls that run, that wait, and that have not been heard of."""
    world.start(8, SHORT)
    world.start(1, None)
    first, *_ = world.ready(2)
    first.begin()
    first.finish()
    return world.pool._dismiss


@pytest.mark.parametrize(
    "scene",
    [crash, outcomes, steps, cancel, timeout, failed_start, leaving, dismissal],
    ids=lambda s: s.__name__,
)
def test_an_interrupt_at_any_line(scene: Callable[[World], Event]) -> None:
    """KeyboardInterrupt leaves; then what was under way can be cancelled, and the pool closed."""
    struck = 0
    for make in everywhere(*FILES):
        world = World(2)
        event = scene(world)
        interrupt = make()
        try:
            with interrupt:
                event()
                world.loop.sleep(0.3)
        except KeyboardInterrupt:
            assert interrupt.has_struck
        struck += interrupt.has_struck
        end(world, interrupt.where)
    assert struck > 10


def end(world: World, where: str) -> None:
    """As a program ends in which Ctrl-C has struck: cancel all there is, and close."""
    pool, loop = world.pool, world.loop
    before = dict(world.begun)
    jobs = [job for job in world.jobs if not job.is_over]
    pool.cancel(jobs)
    loop.settle()
    loop.sleep(0.1)
    assert not pool.held() & set(jobs), where
    assert world.begun == before, where
    pool._dismiss()
    loop.settle()
    for link in world.links:
        if link.lives and link.is_over and link.process.signal is None:
            link.leave()
    loop.sleep(3.0)
    assert not pool._crew.workers, where
    assert not pool._crew.dying, where
    for link in world.links:
        assert link.is_closed, where
        assert not link.lives, where
