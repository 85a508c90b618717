"""`Retry`: which errors a call is made again for, and after how long."""

# ruff: noqa: D103 - helpers whose names say it

from __future__ import annotations

import pickle

import pytest

from asyncgraph import Retry
from asyncgraph.errors import NodeExitedError, NodeTimeoutError, RemoteError, WorkerCrashedError


def is_busy(error: BaseException) -> bool:
    return "busy" in str(error)


@pytest.mark.parametrize(
    ("on", "error", "expected"),
    [
        (Exception, ValueError(), True),
        (ConnectionError, ConnectionResetError(), True),
        (ConnectionError, ValueError(), False),
        ((ValueError, KeyError), KeyError(), True),
        ((), ValueError(), False),
        (is_busy, OSError("busy"), True),
        (is_busy, OSError("gone"), False),
        (is_busy, SystemExit("busy"), False),
        (Exception, NodeTimeoutError(), True),
        (Exception, RemoteError(), True),
        (Exception, NodeExitedError(), False),
        (WorkerCrashedError, WorkerCrashedError(), False),
        (Exception, KeyboardInterrupt(), False),
    ],
)
def test_which_errors_it_covers(on, error, expected):
    """Those that `on` says; of asyncgraph's own only those that may pass."""
    assert Retry(2, on=on).covers(error) is expected


def test_the_longest_pause_doubles_up_to_a_limit():
    """Whatever the attempt: two to the thousandth is no reason to fail."""
    retry = Retry(2000, backoff=0.5, max_backoff=3)
    assert [retry.pause(attempt, 1.0) for attempt in (1, 2, 3, 4, 1500)] == [0.5, 1.0, 2.0, 3.0, 3.0]
    assert retry.pause(2, 0.25) == 0.25
    assert retry.pause(2, 0.0) == 0.0
    assert Retry(2, backoff=0).pause(1, 1.0) == 0.0


def test_a_function_may_say_how_long():
    """It gets the number of the attempt that has failed; the random share is its own business."""
    assert [Retry(3, backoff=lambda attempt: attempt * 10).pause(number, 0.5) for number in (1, 2)] == [
        10,
        20,
    ]


@pytest.mark.parametrize(
    ("seconds", "error"), [(-1, ValueError), (float("nan"), ValueError), ("1", TypeError)]
)
def test_a_function_that_says_nonsense_is_told(seconds, error):
    """By the error that also a number would have given."""
    with pytest.raises(error, match="the function given as backoff has to return a number of seconds"):
        Retry(3, backoff=lambda _: seconds).pause(1, 1.0)


@pytest.mark.parametrize(
    ("error", "message", "arguments"),
    [
        (TypeError, "attempts= takes a whole number, not '3'", {"attempts": "3"}),
        (TypeError, "attempts= takes a whole number, not True", {"attempts": True}),
        (ValueError, "at least 1, not 0", {"attempts": 0}),
        (ValueError, "at least 1, not -2", {"attempts": -2}),
        (TypeError, "on= takes a class of exceptions", {"attempts": 2, "on": "ValueError"}),
        (TypeError, "on= takes a class of exceptions", {"attempts": 2, "on": int}),
        (TypeError, "on= takes a class of exceptions", {"attempts": 2, "on": (ValueError, 3)}),
        (ValueError, "backoff= takes a number of seconds of at least 0", {"attempts": 2, "backoff": -0.1}),
        (TypeError, "backoff= takes a number of seconds", {"attempts": 2, "backoff": "soon"}),
        (ValueError, "max_backoff= takes", {"attempts": 2, "max_backoff": float("inf")}),
    ],
)
def test_what_cannot_be_right_is_refused(error, message, arguments):
    """At once, with what would be right."""
    attempts = arguments.pop("attempts")
    with pytest.raises(error, match=message):
        Retry(attempts, **arguments)


def test_it_is_a_value():
    """Equal ones are equal, hash alike and pickle; its text can be typed."""
    one, other = Retry(3, on=KeyError), Retry(3, on=KeyError)
    assert one == other == pickle.loads(pickle.dumps(one))
    assert hash(one) == hash(other)
    assert one != Retry(4, on=KeyError)
    assert one != 3
    assert repr(one) == "Retry(3, on=<class 'KeyError'>, backoff=0.1, max_backoff=30.0)"
