"""What the pool decides, one event after another, with workers that do what the test says."""

from __future__ import annotations

import asyncio
import signal

import pytest

from asyncgraph.errors import NodeTimeoutError, RuntimeClosedError, WorkerCrashedError, WorkerStartError
from asyncgraph.executors.process.frames import ERROR, PICKLE
from tests.executors.process.fakes import World

SHORT = 0.0001


@pytest.fixture
def make_world():
    """Make worlds, in which all is well when the test ends."""
    worlds = []

    def make(slots=2, **options):
        worlds.append(World(slots, **options))
        return worlds[-1]

    yield make
    for world in worlds:
        world.check()
        world.close()


def test_an_outcome_is_never_delivered_from_within_cancel(make_world):
    """What a worker has finished when one of its calls is cancelled is delivered soon, and not at once."""
    world = make_world(1)
    first, second = world.start(1, SHORT), world.start(1, SHORT)
    (link,) = world.ready()
    link.begin()
    link.finish()
    world.cancel(second)
    world.loop.settle()
    assert first.error() is None
    assert isinstance(second.error(), asyncio.CancelledError)
    assert link.lives


def test_a_finished_call_of_a_cancelled_job_does_not_cost_the_worker(make_world):
    """A call that has begun after that of the cancelled job, and is of another, goes on."""
    world = make_world(1)
    cancelled, other = world.start(1, SHORT), world.start(1, SHORT)
    (link,) = world.ready()
    link.begin()
    link.finish()
    link.begin()
    world.cancel(cancelled)
    world.loop.settle()
    assert link.lives
    link.finish()
    link.tell()
    assert cancelled.error() is None
    assert other.error() is None


def test_a_call_that_waits_for_the_end_of_its_worker_is_cancelled(make_world):
    """Mates of a call that was killed do not begin elsewhere if they are cancelled meanwhile."""
    world = make_world(1)
    killed, mate = world.start(1, SHORT), world.start(3, SHORT)
    (link,) = world.ready()
    link.begin()
    world.cancel(killed)
    world.cancel(mate)
    world.finish()
    assert isinstance(killed.error(), asyncio.CancelledError)
    assert all(isinstance(mate.error(index), asyncio.CancelledError) for index in range(3))
    assert not any(number == mate.number for number, _ in world.begun)


def test_a_call_that_has_crashed_is_not_begun_again_after_it_was_cancelled(make_world):
    """A cancel between the crash and the reaping wins over crash_retries."""
    world = make_world(1)
    job = world.start(crash_retries=3)
    (link,) = world.ready()
    link.begin()
    link.die()
    world.cancel(job)
    world.finish()
    assert isinstance(job.error(), asyncio.CancelledError)
    assert world.begun.total() == 1


def test_a_batch_given_at_once_is_watched(make_world):
    """What waits behind a call that takes longer than it should goes to another worker."""
    world = make_world(2)
    job = world.start(4, SHORT)
    first, *_ = world.ready()
    first.begin()
    world.loop.sleep(0.02)
    (second,) = [link for link in world.ready(2) if link is not first]
    assert not first.tokens
    while second.tokens:
        second.begin()
        second.finish()
    second.tell()
    assert len(job.outcomes) == 3
    first.finish()
    first.tell()
    assert job.is_over


def test_a_worker_that_is_slow_to_begin_is_not_given_up(make_world):
    """A worker that the system has not let run yet keeps a call, and serves again when it runs."""
    world = make_world(1)
    job = world.start(4, SHORT)
    (link,) = world.ready()
    world.loop.sleep(0.1)
    world.finish()
    assert job.is_over
    assert world.links == [link]


def test_a_worker_from_which_a_long_call_was_taken_back_gets_short_ones(make_world):
    """A worker is as any idle one after its only call was cancelled before it began."""
    world = make_world(1)
    long = world.start()
    (link,) = world.ready()
    world.cancel(long)
    short = world.start(1, SHORT)
    assert list(link.tokens)
    world.finish()
    assert short.error() is None
    assert world.links == [link]


@pytest.mark.parametrize("options", [{"is_isolated": True}, {}])
def test_a_retiring_worker_leaves_when_its_call_is_cancelled(make_world, options):
    """A worker that was to leave after a call leaves although the call does not begin."""
    world = make_world(1, max_tasks=1)
    job = world.start(**options)
    (link,) = world.ready()
    world.cancel(job)
    assert link.is_over
    assert not world.pool._crew.workers


def test_one_worker_is_retired_for_an_isolated_call(make_world):
    """While a worker for it is being started, no other makes room."""
    world = make_world(3)
    jobs = [world.start() for _ in range(3)]
    links = world.ready(3)
    isolated = world.start(is_isolated=True)
    for link in links:
        link.begin()
    for link in links:
        link.finish()
        link.tell()
        world.loop.turn()
    assert sum(link.is_over for link in links) == 1
    world.finish()
    assert isolated.error() is None
    assert all(job.error() is None for job in jobs)


def test_others_need_not_wait_for_an_isolated_call(make_world):
    """While a worker for it is being started, those that are there take what comes after it."""
    world = make_world(2)
    held = [world.start() for _ in range(2)]
    first, second = world.ready(2)
    for link in (first, second):
        link.begin()
    isolated, other = world.start(is_isolated=True), world.start()
    first.finish()
    first.tell()
    assert first.tokens, "the other call has to wait"
    second.finish()
    second.tell()
    world.loop.turn()
    first.begin()
    assert second.is_over, "it makes room for a new one"
    world.finish()
    assert all(job.error() is None for job in (*held, isolated, other))


def one_may_begin_again(world, **options):
    """Two calls that have begun, the first of which may begin again, and their workers."""
    jobs = world.start(crash_retries=1, **options), world.start()
    links = world.ready(2)
    for link in links:
        link.begin()
    return *jobs, *links


def test_what_may_have_run_out_of_memory_runs_alone(make_world):
    """Begun again, it waits for what is running, and all others wait for it."""
    world = make_world(2)
    hungry, beside, first, second = one_may_begin_again(world)
    first.process.end(number=signal.SIGKILL)
    first.close_line()
    world.loop.settle()
    late = world.start()
    world.loop.settle()
    assert not second.tokens
    assert len(world.live) == 1, "a worker is started for what has to wait anyway"
    second.finish()
    second.tell()
    assert len(second.tokens) == 1
    second.begin()
    assert second.running[0] == hungry.number
    world.loop.settle()
    assert len(world.live) == 1
    second.finish()
    second.tell()
    world.finish()
    assert hungry.error() is beside.error() is late.error() is None


def test_an_isolated_call_runs_alone_too(make_world):
    """Nothing begins before it while it waits for a worker of its own."""
    world = make_world(2)
    hungry, beside, first, second = one_may_begin_again(world, is_isolated=True)
    first.process.end(number=signal.SIGKILL)
    first.close_line()
    world.loop.settle()
    late = world.start()
    second.finish()
    second.tell()
    assert not second.tokens, "another begins beside it, or before it"
    world.finish()
    assert hungry.error() is beside.error() is late.error() is None


def test_what_the_pool_has_killed_does_not_run_alone(make_world):
    """A call that has crashed by itself is begun again beside others."""
    world = make_world(2)
    crashing, beside, first, second = one_may_begin_again(world)
    first.die()
    world.loop.settle()
    (third,) = [link for link in world.ready(2) if link is not second]
    third.begin()
    assert third.running[0] == crashing.number
    world.finish()
    assert crashing.error() is beside.error() is None


def test_it_is_said_once_that_workers_are_missing(make_world, caplog):
    """Where others still do the work, a start that fails is only worth a warning, and only one."""
    world = make_world(2)
    (link,) = (world.start(), world.ready())[1]
    link.begin()
    world.spawn_error = OSError("no more processes")
    for _ in range(3):
        world.start()
        world.loop.settle()
    world.spawn_error = None
    world.finish()
    (record,) = caplog.records
    assert (record.name, record.levelname) == ("asyncgraph", "WARNING")
    assert record.getMessage() == (
        "no further worker process starts, going on with 1 of 2: OSError: no more processes"
    )


def test_a_step_that_crashes_is_not_begun_again(make_world):
    """crash_retries of the first call of a chain say nothing of the steps after it."""
    world = make_world(1)
    job = world.start(steps=2, crash_retries=3)
    (link,) = world.ready()
    link.begin()
    link.pass_step()
    link.die()
    world.loop.settle()
    assert isinstance(job.error(), WorkerCrashedError)
    assert "+1" in str(job.error())


def test_a_call_that_crashes_is_begun_again_as_often_as_it_says(make_world):
    """The attempts are counted, and told."""
    world = make_world(1)
    job = world.start(crash_retries=2)
    for _ in range(3):
        assert not job.is_over
        (link,) = world.ready()
        link.begin()
        link.die()
        world.loop.settle()
    assert isinstance(job.error(), WorkerCrashedError)
    assert job.error().attempts == 3


def test_a_timeout_spares_those_that_wait_behind(make_world):
    """A step runs out of time in a worker that has more calls: these do not begin before it is killed."""
    world = make_world(1)
    chain = world.start(1, SHORT, steps=1)
    chain.steps[0].timeout = 0.5
    mate = world.start(2, SHORT)
    (link,) = world.ready()
    link.begin()
    link.pass_step()
    link.tell()
    world.loop.sleep(1.0)
    assert isinstance(chain.error(), NodeTimeoutError)
    assert "+1" in str(chain.error())
    world.finish()
    assert mate.error(0) is None
    assert mate.error(1) is None


def test_the_timeout_counts_from_the_beginning(make_world):
    """A call that its worker has not begun has not used up any of its time."""
    world = make_world(1)
    job = world.start(timeout=0.5)
    (link,) = world.ready()
    world.loop.sleep(0.75)
    link.begin()
    world.loop.sleep(0.1)
    link.finish()
    link.tell()
    assert job.error() is None


def test_a_worker_that_never_begins_is_given_up(make_world):
    """A worker that does not even begin a call in several seconds is as one that is stuck in it."""
    world = make_world(1)
    job = world.start(timeout=0.5)
    (link,) = world.ready()
    world.loop.sleep(60.0)
    assert isinstance(job.error(), NodeTimeoutError)
    assert not link.lives


def test_a_result_that_is_complete_wins_over_the_timeout(make_world):
    """It need not have been told of."""
    world = make_world(1)
    job = world.start(timeout=0.5)
    (link,) = world.ready()
    link.begin()
    link.finish(PICKLE)
    world.loop.sleep(1.0)
    assert job.error() is None
    assert link.lives


def test_each_call_has_an_error_of_its_own(make_world):
    """Calls of one job that were running in several workers do not share what is raised."""
    world = make_world(2, depth=1)
    job = world.start(2, SHORT)
    for link in world.ready(2):
        link.begin()
    world.pool._dismiss()
    world.loop.settle()
    errors = [job.error(index) for index in range(2)]
    assert [type(error) for error in errors] == [RuntimeClosedError] * 2
    assert [f"[{index}]" in str(errors[index]) for index in range(2)] == [True, True]


def test_calls_are_not_suspected_of_deaths_that_the_pool_has_caused(make_world):
    """A mate of calls that are cancelled, one after another, is no cause of anything."""
    world = make_world(1)
    mate = None
    for _ in range(4):
        job = world.start(1, SHORT)
        mate = mate or world.start(1, SHORT)
        (link,) = world.ready()
        if mate.number in [link.calls[number][0] for number in link.tokens][:1]:
            break
        link.begin()
        world.cancel(job)
        world.loop.settle()
    world.finish()
    assert mate.error() is None


def test_a_refusal_after_the_end_is_the_outcome(make_world):
    """A call that would be sent once more is not, once the pool is closed."""
    world = make_world(1)
    job = world.start()
    (link,) = world.ready()
    link.begin()
    link.finish("missing")
    link.process.end(1)
    link.on_lost()
    world.pool._dismiss()
    world.loop.settle()
    assert job.is_over


def test_max_tasks_holds_for_calls_that_are_passed_on(make_world):
    """An idle worker takes no more from another than it may still run."""
    world = make_world(2, depth=64, max_tasks=10)
    job = world.start(40, 0.0003)
    world.finish()
    assert job.is_over
    assert max(link.begun for link in world.links) <= 10


@pytest.mark.parametrize("max_tasks", [1, 3])
def test_no_call_is_lost_over_the_replacing_of_workers(make_world, max_tasks):
    """A thousand calls, of which a worker runs a few."""
    world = make_world(2, depth=64, max_tasks=max_tasks)
    jobs = [world.start(100, 0.0003) for _ in range(9)] + [world.start() for _ in range(100)]
    world.finish()
    assert world.begun.total() == 1000
    assert all(job.is_over for job in jobs)
    assert {link.begun for link in world.links} <= set(range(max_tasks + 1))


def test_an_idle_worker_takes_half(make_world):
    """When nothing waits any more, those that have nothing to do help the fullest."""
    world = make_world(2, depth=64)
    first = world.start(1)
    one, other = [*world.ready(1), None]
    one.begin()
    second = world.start(8, 0.0004)
    other = next(link for link in world.ready(2) if link is not one)
    assert len(other.tokens) == 8
    one.finish()
    one.tell()
    assert len(one.tokens) == 4
    assert len(other.tokens) == 4
    world.finish()
    assert first.error() is None
    assert second.is_over


def test_idle_workers_leave_after_a_while(make_world, monkeypatch):
    """Those that have had nothing to do for long are let go; one that was used meanwhile is not."""
    monkeypatch.setattr("asyncgraph.executors.process.crew._IDLE_TIME", 10.0)
    world = make_world(2)
    world.start()
    world.start()
    links = world.ready(2)
    for link in links:
        link.begin()
        link.finish()
        link.tell()
    world.loop.sleep(9.0)
    world.start()
    (busy,) = [link for link in links if link.tokens]
    busy.begin()
    world.loop.sleep(2.0)
    assert [link.is_over for link in links] == [link is not busy for link in links]
    busy.finish()
    busy.tell()
    world.loop.sleep(30.0)
    assert busy.is_over
    assert not world.pool._crew.workers


def test_three_starts_that_fail_are_told(make_world):
    """The fourth is tried for the next call."""
    world = make_world(2)
    job = world.start()
    for count in range(3):
        while len(world.links) == count:
            assert world.loop.turn()
        world.links[-1].die(3)
        world.loop.settle()
    assert isinstance(job.error(), WorkerStartError)
    assert job.error().exitcode == 3
    again = world.start()
    world.finish()
    assert again.error() is None


def test_starts_that_fail_spare_what_works(make_world):
    """Beside a worker that works nobody is told of failed starts; after a while there is another try."""
    world = make_world(2)
    first = world.start()
    (link,) = world.ready()
    link.begin()
    second = world.start()
    for count in range(1, 4):
        while len(world.links) == count:
            assert world.loop.turn()
        world.links[-1].die(3)
        world.loop.settle()
    assert len(world.links) == 4
    world.finish()
    assert first.error() is second.error() is None
    (link,) = [each for each in world.links if not each.is_over]
    world.start()
    link.begin()
    world.loop.sleep(2.0)
    world.start()
    world.loop.settle()
    assert len(world.links) == 5
    world.finish()


def test_nonsense_costs_the_worker_and_keeps_what_was_finished(make_world):
    """What has come before the nonsense counts; whoever runs is to blame."""
    world = make_world(1)
    job = world.start(3, SHORT)
    (link,) = world.ready()
    link.begin()
    link.finish(ERROR)
    link.begin()
    link.write_nonsense()
    link.process.end(None, signal.SIGKILL)
    link.tell()
    world.loop.settle()
    assert isinstance(job.error(0), ValueError)
    assert isinstance(job.error(1), WorkerCrashedError)
    world.finish()
    assert job.error(2) is None


@pytest.mark.parametrize("kind", [3, 9])
def test_a_record_that_says_nothing_is_nonsense(make_world, kind):
    """A record with a body that cannot be read ends the worker, and raises nothing into the loop."""
    world = make_world(1)
    job = world.start()
    (link,) = world.ready()
    link.begin()
    link.write(kind, b"?")
    link.tell()
    link.process.end(None, signal.SIGKILL)
    world.loop.settle()
    assert isinstance(job.error(), WorkerCrashedError)


def test_functions_that_have_not_been_used_for_long_are_forgotten(make_world, monkeypatch):
    """A worker does not keep every function that it has ever got."""
    monkeypatch.setattr("asyncgraph.executors.process.handle._FUNCTIONS", 2)
    world = make_world(1)
    for _ in range(5):
        world.start()
        (link,) = world.ready()
        link.begin()
        link.finish()
        link.tell()
    (worker,) = world.pool._crew.workers
    assert len(worker._functions) == 2
