"""A call as bytes, for executors whose workers are elsewhere, and its outcome likewise."""

from __future__ import annotations

import pickle
from typing import Any

from asyncgraph.executors.base import Call, failure_of, without_own_frames
from asyncgraph.executors.process.exceptions import decode, encode
from asyncgraph.executors.process.refusal import Refusal
from asyncgraph.executors.process.serialization import dumps, find_culprit

__all__ = ["packed", "run_packed", "unpacked_outcome"]

_VALUE, _ERROR, _REFUSED = range(3)


def packed(call: Call) -> bytes:
    """The call as bytes.

    Raises:
        SerializationError: Something of it does not pickle.
    """
    try:
        return dumps((call.function, call.args, call.kwargs))
    except BaseException as error:  # the user's code runs here
        cause = error
    roots = [("args", call.args), ("kwargs", call.kwargs), ("function", call.function)]
    raise Refusal("arg-pickle", *find_culprit(roots), cause).as_error(call.key)


def run_packed(data: bytes) -> tuple[int, Any]:
    """Make the call, where the executor does that; what comes of it, as bytes."""
    try:
        function, args, kwargs = pickle.loads(data)
    except BaseException as error:  # the user's code runs here, too
        return _REFUSED, ("arg-unpickle", encode(without_own_frames(error)))
    try:
        value = function(*args, **kwargs)
    except BaseException as error:
        return _ERROR, encode(without_own_frames(error))
    try:
        return _VALUE, dumps(value)
    except BaseException as error:
        return _REFUSED, ("result-pickle", encode(without_own_frames(error)))


def unpacked_outcome(outcome: tuple[int, Any], key: str) -> tuple[Any, BaseException | None]:
    """The value of a call and None, or None and its error; raises nothing."""
    kind, data = outcome
    try:
        if kind == _VALUE:
            return pickle.loads(data), None
        if kind == _ERROR:
            return None, failure_of(decode(data), key)
        stage, cause = data
        return None, Refusal(stage, "", "", decode(cause)).as_error(key)
    except BaseException as error:
        return None, Refusal("result-unpickle", "", "", error).as_error(key)
