"""Inside a worker process: read a call, run it, write its outcome, until the parent closes the pipe.

Decides how an outcome is put into a frame, and that no fault of one call ends the worker. Knows
nothing of pools; and imports little, because every worker pays for it before its first result:
cloudpickle and the transport of exceptions only when something needs them.
"""

from __future__ import annotations

import contextlib
import os
import pickle
import signal
import sys
import threading
from collections.abc import Callable
from typing import IO, Any

from asyncgraph.errors import SerializationError
from asyncgraph.executors.base import perform, without_own_frames
from asyncgraph.executors.process.channel import (
    BEGUN,
    ERROR,
    HELLO,
    VALUE,
    close_fd,
    own_fd,
    read_frame,
    write_frame,
)
from asyncgraph.executors.safe_text import describe_error

__all__ = ["main"]

# Values of these types are nothing to look into; plain pickle spares the import of cloudpickle.
_PLAIN = frozenset({type(None), bool, int, float, complex, str, bytes})

_PR_SET_PDEATHSIG = 1  # <linux/prctl.h>


def main(setup: dict[str, Any], stream: IO[bytes], requests: int, results: int, lifeline: int) -> None:
    """Serve calls until the parent closes the pipe.

    Args:
        setup: What the parent said of itself, see `spawn.describe_setup`.
        stream: Where the parent's frames are read from.
        requests: The descriptor behind `stream`.
        results: The descriptor that frames for the parent are written to.
        lifeline: A pipe on which nothing ever comes but its end, when the parent is gone.
    """
    for fd in (requests, results, lifeline):
        os.set_inheritable(own_fd(fd), False)
    _settle(setup)
    threading.Thread(target=_die_with, args=(lifeline,), name="asyncgraph-lifeline", daemon=True).start()
    # EPIPE: the parent has closed the pool, or is gone.
    with contextlib.suppress(BrokenPipeError):
        write_frame(results, HELLO)
        if setup["die_with_parent"]:
            _ask_for_death_signal(setup["parent"])
        _serve(stream, results)
    close_fd(results)


def _settle(setup: dict[str, Any]) -> None:
    # Ctrl-C is the parent's to answer: it kills this process if that is what it takes.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    with contextlib.suppress(OSError):
        os.chdir(setup["cwd"])
    with contextlib.suppress(Exception):  # there may be no standard error to write to
        import faulthandler

        faulthandler.enable()


def _die_with(lifeline: int) -> None:
    try:
        os.read(lifeline, 1)
    except OSError:
        return  # the user's code has closed it; the death signal is left
    if os.getpgrp() == os.getpid():
        os.kill(0, signal.SIGKILL)  # the whole group: what the call has started ends with it
    os._exit(70)


def _ask_for_death_signal(parent: int) -> None:
    # The lifeline's thread needs the interpreter, which C code may hold for long. Linux can do without.
    if sys.platform != "linux":
        return
    with contextlib.suppress(Exception):  # no ctypes, another libc: the lifeline is left
        import ctypes

        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != parent:
        os._exit(70)  # it was gone before the signal was asked for


def _serve(stream: IO[bytes], results: int) -> None:
    pid = os.getpid()
    while (payload := read_frame(stream)) is not None:
        write_frame(results, BEGUN)
        calls = [payload]
        del payload
        kind, answer = _answer(calls)
        if os.getpid() != pid:
            os._exit(0)  # the call has forked, and this is the child, on its way home to nowhere
        write_frame(results, kind, answer)
        del answer  # not to be kept until the next call comes


def _answer(calls: list[bytes]) -> tuple[int, bytes]:
    """Run the call in `calls`, taking it out so that nothing but the call itself refers to it."""
    try:
        key, function, args, kwargs = pickle.loads(calls.pop())
    except BaseException as error:  # runs the user's code, which must not end the worker
        return ERROR, _encode(_refusal(error))
    outcome = perform(function, args, kwargs, key)
    del function, args, kwargs
    _flush()
    return _frame(*outcome, key)


def _frame(value: Any, error: BaseException | None, key: str) -> tuple[int, bytes]:
    if error is not None:
        return ERROR, _encode(error)
    if type(value) in _PLAIN:
        return VALUE, pickle.dumps(value, pickle.HIGHEST_PROTOCOL)
    from asyncgraph.executors.process.serialization import pickle_result

    try:
        return VALUE, pickle_result(value, key)
    except SerializationError as failure:
        return ERROR, _encode(failure)


def _refusal(cause: BaseException) -> SerializationError:
    refusal = SerializationError(
        "The call could not be unpickled in the worker process: "
        f"{describe_error(cause)}. Its function and arguments must be importable there, and "
        "their classes must be able to rebuild what they pickle.",
        stage="arg-unpickle",
    )
    refusal.__cause__ = without_own_frames(cause)
    return refusal


def _encode(error: BaseException) -> bytes:
    from asyncgraph.executors.process.exceptions import encode

    return encode(error)


def _flush() -> None:
    # What the call printed is seen now, and is not lost when the worker is killed later.
    streams: list[Callable[[], object] | None] = [
        getattr(stream, "flush", None) for stream in (sys.stdout, sys.stderr)
    ]
    for flush in streams:
        with contextlib.suppress(Exception):  # closed or replaced by the user's code
            if flush is not None:
                flush()
