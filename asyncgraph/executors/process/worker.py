"""Inside a worker process: take a call, run it, write its outcome, until the parent closes the pipes.

Decides how an outcome is put into a record, and that no fault of one call ends the worker. Where calls come
from, and where records go, is decided in `inbox` and `outbox`. Imports little, because every worker pays
for it before its first result: cloudpickle and the transport of exceptions only when something needs them.
"""

from __future__ import annotations

import contextlib
import marshal
import os
import pickle
import signal
import sys
import threading
import time
from collections.abc import Callable
from contextvars import Context, copy_context
from typing import Any

import asyncgraph.executors.process as package
from asyncgraph.executors.base import without_own_frames
from asyncgraph.executors.process.descriptors import close_fd, own_fd
from asyncgraph.executors.process.frames import ATOM, ERROR, HELLO, METER, PASSED, PICKLE, REFUSED, TIMES
from asyncgraph.executors.process.inbox import NOTHING, Inbox
from asyncgraph.executors.process.outbox import Outbox
from asyncgraph.executors.process.payload import LARGE, Payload
from asyncgraph.executors.process.pickling import ATOMS, pack_plainly, unpacked
from asyncgraph.executors.process.refusal import Refusal
from asyncgraph.executors.process.variables import context_with

__all__ = ["main"]

_PR_SET_PDEATHSIG = 1  # <linux/prctl.h>

# Seconds after which the parent is told of outcomes although there are more calls.
_TELL_AFTER = 0.0025

# Types of values that take no memory to speak of.
_SMALL = frozenset({type(None), bool, int, float, complex})


def main(setup: dict[str, Any], stream: Any, fds: dict[str, int]) -> None:
    """Serve calls until the parent closes the pipes.

    Args:
        setup: What the parent said of itself, see `spawn.describe_setup`.
        stream: Where the parent's frames are read from.
        fds: The worker's ends of what leads to the parent, see `spawn.WorkerProcess`.
    """
    package.is_worker = True
    for fd in fds.values():
        os.set_inheritable(own_fd(fd), False)
    _settle(setup, fds)
    outbox = Outbox(fds["results"], fds.get("line"))
    inbox = Inbox(stream, fds.get("tokens"), fds.get("line"), outbox)
    _watch_parent(fds["lifeline"])
    # EPIPE: the parent has closed the pool, or is gone.
    with contextlib.suppress(BrokenPipeError):
        outbox.write(HELLO)
        outbox.tell()
        if setup["die_with_parent"]:
            _ask_for_death_signal(setup["parent"])
        _Service(inbox, outbox).run()
    for fd in fds.values():
        with contextlib.suppress(OSError):
            close_fd(fd)


def _settle(setup: dict[str, Any], fds: dict[str, int]) -> None:
    # Ctrl-C is the parent's to answer: it kills this process if that is what it takes.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    with contextlib.suppress(OSError):
        os.chdir(setup["cwd"])
    if "stderr" in fds:
        # So far it was the report, in which the parent finds out why a worker does not start.
        os.dup2(fds["stderr"], 2)
    with contextlib.suppress(Exception):  # there may be no standard error to write to
        import faulthandler

        faulthandler.enable(fds.get("report", 2))
    outputs: list[Any] = [sys.stdout, sys.stderr]
    for output in outputs:
        with contextlib.suppress(Exception):  # there may be none
            # Lines are seen as soon as they are printed, and are not lost when the worker is killed.
            output.reconfigure(line_buffering=True)


def _watch_parent(lifeline: int) -> None:
    threading.Thread(target=_die_with, args=(lifeline,), name="asyncgraph-lifeline", daemon=True).start()


def _die_with(lifeline: int) -> None:
    try:
        os.read(lifeline, 1)
    except OSError:
        return  # the user's code has closed it; the death signal is left
    if os.name == "posix" and os.getpgrp() == os.getpid():
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


class _Service:
    """The loop of a worker, and what it keeps between calls."""

    def __init__(self, inbox: Inbox, outbox: Outbox) -> None:
        self._inbox = inbox
        self._outbox = outbox
        self._functions = inbox.functions
        # So many calls of one function have taken so many seconds since that was reported; and when the
        # parent was told of outcomes.
        self._function = 0
        self._calls = 0
        self._seconds = 0.0
        self._told_at = 0.0
        if hasattr(os, "register_at_fork"):
            # The call has forked, and this is the child, on its way home to nowhere.
            os.register_at_fork(after_in_child=self._become_nobody)
        self._is_nobody = False

    def run(self) -> None:
        """Serve, in a context in which no variable is set; in a new one when a call has set one."""
        context = Context()
        while context.run(self._serve, context):
            context = Context()

    def _serve(self, own: Context) -> bool:
        """Serve until there is no more, or a call has set a variable of this context; whether it was that."""
        # A context for each call would take as long as some calls. So plain ones share it, as long as it is
        # empty, which is seen at once: what one has set, the next one is not to see. It stays empty unless
        # the loading of a function sets variables: these are for all calls.
        take, inbox, functions = self._inbox.take, self._inbox, self._functions
        write, clock = self._outbox.write, time.perf_counter
        is_set = False
        while True:
            arguments = take()
            if arguments is NOTHING:
                if not self._rest():
                    return False
                continue
            frame = inbox.frame
            number = frame.function
            is_plain = type(arguments) is tuple and not (frame.needs_care or is_set)
            if not is_plain or type(functions[number]) is bytes:
                self._run_with_care(arguments)
                is_set = len(own) > 0
                continue
            # Plain arguments: in as few steps as possible, since the call may take less than they do.
            began = clock()
            try:
                value = functions[number](*arguments)
            except BaseException as error:
                self._write_error(error)
                value = error = arguments = None  # type: ignore[assignment]
                if len(own):
                    return True
                continue
            seconds = clock() - began
            arguments = None
            if self._is_nobody:
                os._exit(0)
            if type(value) in _SMALL:
                write(ATOM, marshal.dumps(value))
            else:
                self._write_value(value)
            value = None
            if number == self._function:
                self._calls += 1
                self._seconds += seconds
            else:
                self._took(number, seconds)
            if began + seconds - self._told_at > _TELL_AFTER:
                self._tell(began + seconds)
            if len(own):
                return True

    def _rest(self) -> bool:
        """Nothing is to be done: say what has been, and wait; False if nothing will be."""
        self._tell(time.perf_counter())
        self._flush()
        return self._inbox.wait()

    def _run_with_care(self, arguments: Any) -> None:
        """Run a call with arguments that have to be unpickled; and what follows it, if it is a chain."""
        frame, outbox = self._inbox.frame, self._outbox
        number, steps = frame.function, frame.steps
        previous: list[Any] = []
        try:
            context = self._load_context(frame.context)
            call = self._unpacked(number, arguments, frame.payloads, previous)
            arguments, frame.payloads = None, []
            value = self._timed(number, call, context)
            for number, pickle_of_arguments, is_timed, is_after_timed in steps:
                # The time until the value has passed is that of the call before.
                is_new = type(self._functions[number]) is bytes
                if _must_be_seen(value) or (is_new and is_after_timed):
                    break
                previous.append(value)
                try:
                    call = self._unpacked(number, pickle_of_arguments, [], previous)
                except Refusal as refusal:
                    if refusal.missing:
                        break  # alone, it is sent in another way: see `Shipping.by_value`
                    outbox.write(PASSED)
                    raise
                value = None
                outbox.write(PASSED)
                if is_timed:  # the parent watches the time from now on
                    self._tell(time.perf_counter())
                else:
                    self._tell_if_due()
                value = self._timed(number, call, context)
        except Refusal as refusal:
            self._write_refusal(refusal)
        except BaseException as error:
            self._write_error(error)
        else:
            self._write_value(value)
        finally:
            previous.clear()
            # From Python 3.12 on, the traceback of an error leads to this frame, which is to keep nothing.
            value = call = arguments = context = None  # type: ignore[assignment]
        self._tell_if_due()

    def _unpacked(
        self, number: int, arguments: Any, payloads: list[Payload], previous: list[Any]
    ) -> list[Any]:
        """The function and its arguments, in a list that `_timed` empties."""
        function = self._load_function(number)
        if type(arguments) is tuple:
            return [function, arguments, {}]
        own = payloads[0] if arguments is None else Payload([len(arguments)], [arguments])
        try:
            call = list(unpacked(own, payloads[arguments is None :], previous))
        except BaseException as error:  # runs the user's code, which must not end the worker
            cause = error
        else:
            return call if function is None else [function, *call]
        raise Refusal("arg-unpickle", "", "", cause, _missing_module(own, cause))

    def _load_function(self, number: int) -> Callable[..., Any] | None:
        """The function; None if it comes with the arguments."""
        function: Callable[..., Any] | bytes | None = self._functions[number]
        if not isinstance(function, bytes):
            return function
        try:
            loaded: Callable[..., Any] = pickle.loads(function)
        except BaseException as error:  # runs the user's code, which must not end the worker
            cause = error
        else:
            self._functions[number] = loaded
            return loaded
        missing = _missing_module(Payload([len(function)], [function]), cause)
        raise Refusal("arg-unpickle", "function", "function", cause, missing)

    def _load_context(self, number: int) -> Callable[[], Context]:
        """What makes the context for a call that is to see the variables with this number, or none for 0."""
        if not number:
            return copy_context
        pickled: Context | bytes = self._functions[number]
        if not isinstance(pickled, bytes):
            return pickled.copy
        try:
            context: Context = context_with(pickle.loads(pickled))
        except BaseException as error:  # runs the user's code, which must not end the worker
            cause = error
        else:
            self._functions[number] = context
            return context.copy
        missing = _missing_module(Payload([len(pickled)], [pickled]), cause)
        raise Refusal("arg-unpickle", "context", "context", cause, missing)

    def _timed(self, number: int, call: list[Any], context: Callable[[], Context]) -> Any:
        function, args, kwargs = call
        call.clear()
        began = time.perf_counter()
        try:
            value = context().run(function, *args, **kwargs)
        finally:
            if self._is_nobody:
                os._exit(0)
            if self._inbox.frame.is_noted:
                self._outbox.write(TIMES, marshal.dumps((began, time.perf_counter())))
        self._took(number, time.perf_counter() - began)
        return value

    # -- outcomes

    def _write_value(self, value: Any) -> None:
        if type(value) in _SMALL or (type(value) in ATOMS and len(value) < LARGE):
            self._outbox.write(ATOM, marshal.dumps(value))
            return
        payload = pack_plainly(value)
        if payload is None:
            from asyncgraph.executors.process.serialization import pack_result

            try:
                payload = pack_result(value)
            except Refusal as refusal:
                self._write_refusal(refusal)
                return
        # What is in shared memory may stay there, unseen.
        if payload.size >= LARGE and self._outbox.can_share and not _must_be_seen(value):
            for _ in payload.share():
                pass
        if payload.fd < 0 and len(payload.sizes) == 1:
            self._outbox.write(PICKLE, b"".join(payload.stream))
        else:
            self._outbox.write_payload(payload)

    def _write_error(self, error: BaseException) -> None:
        from asyncgraph.executors.process.exceptions import encode

        if self._is_nobody:
            os._exit(0)
        self._outbox.write(ERROR, encode(without_own_frames(error)))

    def _write_refusal(self, refusal: Refusal) -> None:
        from asyncgraph.executors.process.exceptions import encode

        parts = refusal.stage, refusal.place, refusal.kind, refusal.missing
        self._outbox.write(REFUSED, marshal.dumps((*parts, encode(without_own_frames(refusal.cause)))))

    # -- what the parent is told

    def _took(self, number: int, seconds: float) -> None:
        if number != self._function:
            self._write_meter()
            self._function = number
        self._calls += 1
        self._seconds += seconds

    def _write_meter(self) -> None:
        if self._calls:
            self._outbox.write(METER, marshal.dumps((self._function, self._calls, self._seconds)))
            self._calls, self._seconds = 0, 0.0

    def _tell_if_due(self) -> None:
        now = time.perf_counter()
        if now - self._told_at > _TELL_AFTER:
            self._tell(now)

    def _tell(self, now: float) -> None:
        self._write_meter()
        self._outbox.tell()
        self._told_at = now

    def _become_nobody(self) -> None:
        self._is_nobody = True

    def _flush(self) -> None:
        # What calls have printed without ending the line.
        for stream in (sys.stdout, sys.stderr):
            with contextlib.suppress(Exception):  # closed or replaced by the user's code
                stream.flush()


def _must_be_seen(value: Any) -> bool:
    """Whether the parent has to decide what becomes of a value: it may be a node."""
    node = sys.modules.get("asyncgraph._graph.node")
    return node is not None and issubclass(type(value), node.Node)


def _missing_module(payload: Payload, error: BaseException) -> str:
    """The module that could not be imported, or lacks the name that was looked for, if that is the fault."""
    if isinstance(error, ModuleNotFoundError):
        return error.name or ""
    if not isinstance(error, (AttributeError, ImportError)):
        return ""
    last = ""

    class Finder(pickle.Unpickler):
        def find_class(self, module: str, name: str) -> Any:
            nonlocal last
            last = module
            return super().find_class(module, name)

    import io

    with contextlib.suppress(BaseException):
        Finder(io.BytesIO(b"".join(payload.stream)), buffers=payload.buffers).load()
    return last
