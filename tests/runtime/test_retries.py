"""`retries=`: what has failed is called again, and holds nothing until then."""

# ruff: noqa: ASYNC110, D102, D103 - turns of the loop are waited for; helpers whose names say it

from __future__ import annotations

import asyncio
import functools
import gc
import logging
import threading
import weakref

import pytest
import stamina
import tenacity

from asyncgraph import Retry, Runtime, as_completed, compute, delayed, start
from asyncgraph.errors import NodeTimeoutError, SerializationError
from tests.runtime.background import begin

SECONDS = 30
AT_ONCE = Retry(4, backoff=0)
NEVER = Retry(4, backoff=lambda _: 3600.0)


class Fickle:
    """Fails so many times, then returns its argument; counts its calls."""

    def __init__(self, failures, error=ConnectionError):
        self.failures = failures
        self.error = error
        self.calls = 0

    def __call__(self, value=None):
        self.calls += 1
        if self.calls <= self.failures:
            raise self.error(f"no. {self.calls}")
        return value

    async def later(self, value=None):
        await asyncio.sleep(0)
        return self(value)


def fail_in_file(path, failures):
    with open(path, "a") as stream:
        stream.write("x")
    with open(path) as stream:
        calls = len(stream.read())
    if calls <= failures:
        raise ConnectionError(f"no. {calls}")
    return calls


def in_lane(fickle, lane, retries):
    if lane == "coroutine":
        return delayed(fickle.later, retries=retries, name="fickle")
    return delayed(fickle, executor=lane, retries=retries, name="fickle")


lanes = pytest.mark.parametrize("lane", ["coroutine", "thread", "loop"])


@lanes
async def test_a_call_is_made_again_until_it_succeeds(lane):
    """With the same arguments; nobody who needs its value hears of the attempts before."""
    fickle = Fickle(3)
    one = delayed(1)
    assert await (in_lane(fickle, lane, AT_ONCE)(one + 1) + one) == 3
    assert fickle.calls == 4


@lanes
async def test_the_last_error_is_raised_and_tells_of_the_others(lane):
    """As it was raised, with a line in its note for each attempt before."""
    fickle = Fickle(9)
    with pytest.raises(ConnectionError, match=r"no\. 4") as caught:
        await in_lane(fickle, lane, AT_ONCE)(1)
    assert fickle.calls == 4
    (note,) = caught.value.__notes__
    executor = "thread" if lane == "thread" else "loop"
    assert f"(fickle) failed, {executor} executor, attempt 4\n" in note
    assert [line.strip() for line in note.splitlines()[1:4]] == [
        f"attempt {number}: ConnectionError: no. {number}" for number in (1, 2, 3)
    ]
    assert "\n  built at:  " in note


async def test_a_call_in_a_worker_process_is_made_again(tmp_path):
    """There, too, with arguments that come from other nodes; in a chain of such calls as well."""
    flaky = delayed(fail_in_file, executor="process", retries=AT_ONCE)
    text = delayed(str, executor="process")
    async with Runtime(processes=1):
        path = delayed(str)(tmp_path / "calls")
        assert await text(flaky(text(path), delayed(2))) == "3"
        with pytest.raises(ConnectionError, match=r"no\. 2") as caught:
            await flaky.options(retries=1)(str(tmp_path / "others"), 9)
    assert "process executor, attempt 2" in caught.value.__notes__[0]


async def test_retries_count_what_comes_after_the_first():
    """`retries=2` makes three attempts; 0 takes back what the function says."""
    fickle = Fickle(9)
    node = delayed(fickle, retries=Retry(3, backoff=0))
    with pytest.raises(ConnectionError, match=r"no\. 3"):
        await node()
    with pytest.raises(ConnectionError, match=r"no\. 4"):
        await node.options(retries=0)()
    assert delayed(fickle, retries=2).function.retry == Retry(3)


async def test_only_what_it_covers_is_tried_again():
    """Another error is the last one; one that says what was tried before says so then, too."""
    errors = iter([ConnectionError("busy"), ValueError("wrong")])

    @delayed(retries=Retry(9, on=ConnectionError, backoff=0))
    async def ask():
        raise next(errors)

    with pytest.raises(ValueError, match="wrong") as caught:
        await ask()
    assert "attempt 2\n  attempt 1: ConnectionError: busy" in caught.value.__notes__[0]


async def test_what_does_not_pickle_is_not_tried_again():
    """It would not the next time, either."""
    calls = []

    class Stubborn:
        def __reduce__(self):
            calls.append(1)
            raise TypeError("I stay here")

    async with Runtime(processes=1):
        with pytest.raises(SerializationError):
            await delayed(repr, executor="process", retries=AT_ONCE)(Stubborn())
    once = len(calls)
    calls.clear()
    async with Runtime(processes=1):
        with pytest.raises(SerializationError):
            await delayed(repr, executor="process")(Stubborn())
    assert once == len(calls)


@pytest.mark.parametrize(
    "retry",
    [Retry(3, on=lambda error: error.missing), Retry(3, backoff=lambda attempt: attempt // 0)],
    ids=["on", "backoff"],
)
async def test_a_fault_in_what_the_user_has_given_ends_the_attempts(retry):
    """The node fails with its own error, which says why it was not tried again."""
    fickle = Fickle(1)
    with pytest.raises(ConnectionError, match=r"no\. 1") as caught:
        await delayed(fickle, retries=retry)()
    assert any("not tried again, because its Retry raised" in note for note in caught.value.__notes__)
    assert fickle.calls == 1


# -- what a node holds that waits for its next attempt


@lanes
async def test_a_waiting_node_holds_no_slot_and_no_task(lane):
    """While it waits for an hour, all slots are for others; then the run is cancelled, and over at once."""
    fickle, before = Fickle(9), asyncio.all_tasks()
    async with Runtime(threads=1, concurrency=1) as runtime, asyncio.timeout(SECONDS):
        run = begin(in_lane(fickle, lane, NEVER)(1))
        while not run._execution.parts.attempts.waiting():
            await asyncio.sleep(0)
        assert runtime._lanes is not None
        assert [runtime._lanes[each].slots.used for each in runtime._lanes.with_slots] == [0, 0, 0]
        assert asyncio.all_tasks() == before
        assert await in_lane(Fickle(0), lane, NEVER)(5) == 5
        assert run.statistics().waiting == 1
        run.cancel()
        with pytest.raises(asyncio.CancelledError):
            await run
    assert fickle.calls == 1


async def test_a_timeout_names_what_waits_for_its_next_attempt():
    """What still runs is not the only thing that a run may be waiting for."""
    with pytest.raises(TimeoutError, match=r"still running: fickle-\d+ \(between attempts\)"):
        await compute(in_lane(Fickle(9), "coroutine", NEVER)(1), timeout=0.01)


async def test_the_failure_of_another_ends_the_waiting():
    """Its next attempt is not made, and nothing waits for it."""
    fickle = Fickle(9)
    waits = in_lane(fickle, "coroutine", NEVER)(1)

    @delayed
    async def fail_when_it_waits():
        while fickle.calls < 1:
            await asyncio.sleep(0)
        await asyncio.sleep(0)
        raise LookupError

    with pytest.raises(LookupError):
        await compute(waits, fail_when_it_waits(), timeout=SECONDS)
    assert fickle.calls == 1


async def test_arguments_are_held_until_the_last_attempt():
    """And not longer: the value that it was called with is gone when the run goes on to something else."""

    class Thing:
        pass

    made = []

    def make():
        thing = Thing()
        made.append(weakref.ref(thing))
        return thing

    attempts = []

    @delayed(retries=AT_ONCE, executor="loop")
    def use(thing):
        assert made[0]() is thing
        attempts.append(1)
        if len(attempts) < 3:
            raise ConnectionError
        return len(attempts)

    @delayed(executor="loop")
    def look(count):
        gc.collect()
        return count, made[0]()

    assert await look(use(delayed(make, executor="loop")())) == (3, None)


async def test_an_error_keeps_no_frame_of_earlier_attempts():
    """What an attempt had in its variables is gone with it."""
    gone = []

    class Thing:
        pass

    @delayed(retries=Retry(2, backoff=0))
    async def hold():
        thing = Thing()
        gone.append(weakref.ref(thing))
        raise ConnectionError

    with pytest.raises(ConnectionError) as caught:
        await hold()
    gc.collect()
    first, last = gone
    assert first() is None
    assert last() is not None
    del caught


async def test_each_attempt_is_logged(caplog):
    """At debug level: which one it was, what it failed with, when the next one is."""
    with caplog.at_level(logging.DEBUG, logger="asyncgraph"):
        await delayed(Fickle(1), name="fickle", retries=AT_ONCE)()
    (record,) = [each for each in caplog.records if "attempt" in each.getMessage()]
    assert "attempt 1 of 4 failed with ConnectionError: no. 1; the next one is in 0 s" in record.getMessage()


# -- together with the rest


async def test_retries_with_return_exceptions_and_as_completed():
    """What gives up comes back as its error; what does not, as its value."""
    good, bad = in_lane(Fickle(2), "thread", AT_ONCE), in_lane(Fickle(9), "coroutine", AT_ONCE)
    value, error = await compute(good(1), bad(2), return_exceptions=True)
    assert value == 1
    assert isinstance(error, ConnectionError)
    nodes = [in_lane(Fickle(number), "coroutine", AT_ONCE)(number) for number in range(4)]
    assert sorted([value async for _, value in as_completed(nodes)]) == [0, 1, 2, 3]


async def test_attempts_of_many_nodes_do_not_mix():
    """A hundred nodes with their own failures, in all lanes, in one run."""
    fickles = [Fickle(number % 4) for number in range(99)]
    names = ("coroutine", "thread", "loop")
    nodes = [in_lane(fickle, names[number % 3], AT_ONCE)(number) for number, fickle in enumerate(fickles)]
    assert await delayed(sum)(nodes) == sum(range(99))
    assert [fickle.calls for fickle in fickles] == [1 + number % 4 for number in range(99)]


async def test_a_timeout_counts_for_each_attempt():
    """An attempt that hangs is given up, and the next one has the whole time."""
    calls = []

    @delayed(timeout=0.02, retries=Retry(3, backoff=0))
    async def hang_twice():
        calls.append(1)
        if len(calls) < 3:
            await asyncio.get_running_loop().create_future()
        return len(calls)

    assert await hang_twice() == 3
    calls.clear()
    with pytest.raises(NodeTimeoutError) as caught:
        await hang_twice.options(retries=Retry(2, backoff=0))()
    assert "attempt 2" in caught.value.__notes__[0]


async def test_a_function_that_returns_a_coroutine_is_tried_again():
    """As a whole: it is called anew for each attempt."""
    fickle = Fickle(2)
    assert await delayed(lambda value: fickle.later(value + 1), retries=AT_ONCE)(6) == 7
    assert fickle.calls == 3


async def test_the_nodes_that_a_node_returns_have_attempts_of_their_own():
    """A function that returned a node has succeeded: what fails then is that node."""
    inner = Fickle(2)
    outer = []

    @delayed(retries=AT_ONCE, executor="loop")
    def expand():
        outer.append(1)
        return delayed(inner, retries=AT_ONCE)(3)

    assert await expand() == 3
    assert (len(outer), inner.calls) == (1, 3)
    failing = Fickle(9)
    with pytest.raises(ConnectionError):
        await delayed(lambda: delayed(failing)(1), retries=AT_ONCE)()
    assert failing.calls == 1


async def test_threads_go_on_after_an_attempt_that_failed():
    """Short calls of other functions beside it are not kept from running."""
    short = delayed(lambda number: number)
    for _ in range(3):
        await delayed(sum)([short(number) for number in range(200)])
    fickle = Fickle(2)
    node = delayed(fickle, retries=AT_ONCE)(1)
    assert await delayed(sum)([node, *(short(node) for _ in range(50)), *map(short, range(50))]) == 51 + 1225


async def test_a_run_that_is_resumed_begins_to_count_anew():
    """All attempts are made again."""
    fickle = Fickle(5)
    run = start(delayed(fickle, retries=AT_ONCE)(1))
    with pytest.raises(ConnectionError):
        await run
    assert await run.resume() == 1
    assert fickle.calls == 6


# -- what others do


async def test_functions_that_try_again_by_themselves_work_unchanged():
    """Those that tenacity and stamina have wrapped, plain ones and coroutine functions."""
    one, two, three = Fickle(2), Fickle(2), Fickle(2)
    stubborn = tenacity.retry(stop=tenacity.stop_after_attempt(3), wait=tenacity.wait_none())
    again = stamina.retry(on=ConnectionError, attempts=3, wait_initial=0, wait_max=0, wait_jitter=0)
    by_tenacity = delayed(stubborn(functools.partial(one)), name="one")
    by_tenacity_on_loop = delayed(stubborn(two.later))

    @delayed
    @again
    async def by_stamina(value):
        return await three.later(value)

    assert by_tenacity_on_loop.function.executor == "loop"
    assert await compute(by_tenacity(1), by_tenacity_on_loop(2), by_stamina(3)) == (1, 2, 3)
    assert threading.current_thread() is threading.main_thread()


@pytest.mark.parametrize(
    ("error", "message", "retries"),
    [
        (TypeError, "retries= takes a number of times or a Retry, not '3'", "3"),
        (TypeError, "retries= takes a number of times or a Retry, not True", True),
        (ValueError, "retries= takes a number of times of at least 0, not -1", -1),
    ],
)
def test_retries_that_cannot_be_right_are_refused(error, message, retries):
    """At once, also in `options`, with what would be right."""
    with pytest.raises(error, match=message):
        delayed(abs, retries=retries)
    with pytest.raises(error, match=message):
        delayed(abs).options(retries=retries)


async def test_a_coroutine_is_not_a_function():
    """It runs once, so that nothing of it could be tried again; what would be right is said."""
    with pytest.raises(TypeError, match="make its function delayed, and call that"):
        delayed(asyncio.sleep(0), retries=3)
