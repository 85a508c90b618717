"""The options for worker processes: what they do, what is refused, and that they stay with the function."""

# ruff: noqa: D103 - helpers whose names say it

from __future__ import annotations

import os
import pickle
import signal

import cloudpickle
import pytest

from asyncgraph import Runtime, compute, delayed
from asyncgraph.errors import NodeTimeoutError, WorkerCrashedError
from tests.lazy import functions


def wait_for_ever():
    while True:
        signal.pause()


def crash_first(path):
    """Die at the first call, then return how many there were."""
    with open(path, "a") as stream:
        stream.write("x")
    calls = os.path.getsize(path)
    if calls < 3:
        os._exit(9)
    return calls


async def test_a_timeout_fails_its_node_alone():
    """The node fails with NodeTimeoutError, which says so; others are not touched."""
    late = delayed(wait_for_ever, executor="process", timeout=0.05)
    async with Runtime(processes=2):
        slow, fine = await compute(late(), delayed(abs, executor="process")(-1), return_exceptions=True)
    assert isinstance(slow, NodeTimeoutError)
    assert isinstance(slow, TimeoutError)
    assert "timeout of 0.05 s" in str(slow)
    assert slow.node == "wait_for_ever"
    assert fine == 1


async def test_a_call_is_begun_again_after_a_crash_if_it_says_so(tmp_path):
    """`retries_on_crash=2` stands two crashes; one fewer, and the error tells of the attempts."""
    crash = delayed(crash_first, executor="process", retries_on_crash=2)
    async with Runtime(processes=1):
        assert await crash(str(tmp_path / "enough")) == 3
        with pytest.raises(WorkerCrashedError) as caught:
            await crash.options(retries_on_crash=1)(str(tmp_path / "too_few"))
    assert caught.value.attempts == 2


async def test_an_isolated_call_has_a_worker_of_its_own():
    """Nothing has run in its worker before, nor will after it."""
    pid = delayed(os.getpid, executor="process")
    async with Runtime(processes=2):
        before = await pid()
        alone = await compute(*[pid.options(isolate=True)() for _ in range(3)])
        after = await pid()
    assert len({before, *alone}) == 4
    assert after not in alone


@pytest.mark.parametrize(
    ("option", "value", "error", "message"),
    [
        ("timeout", 0, ValueError, "above 0"),
        ("timeout", -1, ValueError, "above 0"),
        ("timeout", float("inf"), ValueError, "above 0"),
        ("timeout", "5", TypeError, "number of seconds"),
        ("retries_on_crash", -1, ValueError, "at least 0"),
        ("retries_on_crash", 1.5, TypeError, "number of times"),
        ("retries_on_crash", True, TypeError, "number of times"),
        ("isolate", 1, TypeError, "True or False"),
    ],
)
def test_values_that_cannot_be_right_are_refused(option, value, error, message):
    """At once, with what would be right."""
    with pytest.raises(error, match=message):
        delayed(abs, executor="process", **{option: value})
    with pytest.raises(error, match=message):
        delayed(abs, executor="process").options(**{option: value})


@pytest.mark.parametrize("options", [{"retries_on_crash": 1}, {"isolate": True}])
def test_they_are_for_worker_processes_only(options):
    """Elsewhere they would be promises that cannot be kept."""
    for executor in ("loop", "thread"):
        with pytest.raises(ValueError, match='needs executor="process"'):
            delayed(abs, executor=executor, **options)
    with pytest.raises(ValueError, match='needs executor="process"'):
        delayed(abs).options(**options)
    with pytest.raises(TypeError, match="data does not run anywhere"):
        delayed(5, **options)
    with pytest.raises(TypeError, match="a node has its options already"):
        delayed(delayed(abs)(1), **options)


def test_no_retries_may_be_said():
    """0 is the default, and may be written down."""
    assert delayed(abs, executor="process", retries_on_crash=0).function.crash_retries == 0


def test_they_stay_with_the_function():
    """Other options change none of them, and they are pickled with a node."""
    function = delayed(functions.plain, executor="process", timeout=5, retries_on_crash=2, isolate=True)
    other = function.options(name="other")
    node = pickle.loads(cloudpickle.dumps(other(1)))
    for each in (other.function, node._function):
        assert (each.timeout, each.crash_retries, each.is_isolated) == (5, 2, True)


@pytest.mark.parametrize("option", ["max_tasks_per_worker", "max_worker_memory"])
def test_limits_of_workers_are_whole_numbers(option):
    """Of a runtime, likewise."""
    for value, error in ((0, ValueError), ("1", TypeError), (1.5, TypeError)):
        with pytest.raises(error, match=option):
            Runtime(**{option: value})


async def test_a_worker_is_replaced_after_so_many_calls():
    """No call is lost over it."""
    pid = delayed(os.getpid, executor="process")
    async with Runtime(processes=1, max_tasks_per_worker=2):
        pids = [await pid() for _ in range(6)]
    assert len(set(pids)) == 3
