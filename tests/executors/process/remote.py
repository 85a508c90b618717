"""What the tests run in worker processes. Imports little, because every worker imports it."""

# ruff: noqa: D103 - helpers whose names say it

from __future__ import annotations

import functools
import itertools
import os
import signal
import subprocess
import sys
import threading
import weakref

TEST_MARK = "a global of the importable module"


class Counter:
    """Has a state, which its calls change."""

    def __init__(self, start):
        self.count = start

    def add(self, more=1):
        """Count on."""
        self.count += more
        return self.count

    __call__ = add


def echo(*args, **kwargs):
    return (*args, kwargs) if kwargs or len(args) != 1 else args[0]


def add(a, b):
    return a + b


def pid():
    return os.getpid()


def say(fifo, word="ready"):
    with open(fifo, "w") as stream:
        stream.write(f"{os.getpid()} {word}\n")


def hold(fifo):
    """Say that it runs, then run for ever."""
    say(fifo)
    while True:
        signal.pause()


def hold_the_interpreter(fifo):
    """Say that it runs, then run C code for ever that lets no other thread run."""
    say(fifo)
    sum(itertools.repeat(0))


def hold_with_child(fifo):
    """Start a process of its own, say its id, then run for ever."""
    with open(fifo, "w") as stream:
        subprocess.Popen(["/bin/sh", "-c", "echo $$ child; exec sleep 600"], stdout=stream)
    while True:
        signal.pause()


def wait_for(fifo):
    """Return what somebody writes into `fifo`."""
    with open(fifo) as stream:
        return stream.read()


def stay(fifo, gate):
    """Say that it runs, and return 1 when there is something to read at `gate`; `fifo` is open until then."""
    with open(fifo, "w") as stream, open(gate, "rb", buffering=0) as opened:
        stream.write(f"{os.getpid()}\n")
        stream.flush()
        opened.read(1)
    return 1


def exit_at_once(code):
    os._exit(code)


def kill_itself(number):
    os.kill(os.getpid(), number)
    signal.pause()


def fork_and_die(fifo):
    """Die, while a forked child with copies of all descriptors lives on."""
    if not os.fork():
        say(fifo, "child")
        while True:
            signal.pause()
    os._exit(7)


def fork_and_return():
    """Return in both the worker and a forked child."""
    return "child" if not os.fork() else "worker"


def close_everything():
    """Close the descriptors of others, and go on."""
    os.closerange(3, 256)
    while True:
        signal.pause()


def scribble():
    """Write into every descriptor that is not ours, and go on."""
    for fd in range(3, 64):
        try:
            os.write(fd, b"scribble" * 4)
        except OSError:
            continue
    while True:
        signal.pause()


def die_after_answering(value):
    """Return `value` from a worker that ends as soon as the answer is written."""
    from asyncgraph.executors.process.outbox import Outbox

    for name in ("write", "write_payload"):
        write = getattr(Outbox, name)

        def write_and_die(*args, write=write):
            write(*args)
            os._exit(9)

        setattr(Outbox, name, write_and_die)
    return value


def print_both():
    print("to stdout")
    print("to stderr", file=sys.stderr)


def environment(*names):
    return [os.environ.get(name) for name in names]


def surroundings():
    return {
        "cwd": os.getcwd(),
        "path": sys.path,
        "argv": sys.argv,
        "stdin": sys.stdin.read(),
        "sigint": signal.getsignal(signal.SIGINT) is signal.SIG_IGN,
        "session": os.getsid(0) == os.getpid(),
        "dev": sys.flags.dev_mode,
        "main": vars(sys.modules["__main__"]).get("__file__"),
    }


def modules():
    return sorted(sys.modules)


def inheritable():
    """Which descriptors a program that the call starts would inherit."""
    return [fd for fd in range(3, 256) if _is_open(fd) and os.get_inheritable(fd)]


def _is_open(fd):
    try:
        os.fstat(fd)
    except OSError:
        return False
    return True


def leave(code):
    sys.exit(code)


def interrupt():
    raise KeyboardInterrupt


def stop_iteration(error):
    raise error


def call(function):
    return function()


# --- values ---------------------------------------------------------------------------------------


class CrashesWhenLoaded:
    def __reduce__(self):
        return os._exit, (4,)


class FailsWhenLoaded:
    def __reduce__(self):
        return fail_to_load, ()


def fail_to_load():
    raise ValueError("it does not like to be loaded")


class FailsInParent:
    """Loads in a worker, and fails anywhere else."""

    def __reduce__(self):
        return fail_outside_worker, (SystemExit("out"),)


def fail_outside_worker(error):
    if "ASYNCGRAPH_WORKER" not in os.environ:
        raise error
    return FailsInParent()


def fails_in_parent():
    return FailsInParent()


class Config:
    def __init__(self, **attributes):
        self.__dict__.update(attributes)


def unpicklable_result():
    return {"rows": [1, Config(lock=threading.Lock())]}


remembered = []


class Big:
    pass


def remember(value):
    remembered.append(weakref.ref(value))
    return value


def remember_and_raise(value):
    remembered.append(weakref.ref(value))
    error = ValueError("with a big frame")
    error.value = value
    raise error


def still_alive():
    return [reference() is not None for reference in remembered]


def decorate(function):
    class Wrapper:
        pass

    wrapper = Wrapper()
    functools.update_wrapper(wrapper, function)
    return wrapper


@decorate
def decorated():
    return decorated.__wrapped__.__globals__ is globals()


@decorate
@decorate
def twice_decorated():
    return __name__


# --- errors ---------------------------------------------------------------------------------------


class TwoArguments(Exception):
    def __init__(self, code, text):
        super().__init__(f"{code}: {text}")
        self.code = code
        self.text = text


def raise_two_arguments(code, text):
    raise TwoArguments(code, text)


def raise_with_everything():
    try:
        try:
            raise KeyError("cause")
        except KeyError as error:
            raise TwoArguments(1, "middle") from error
    except TwoArguments:
        error = OSError(2, "No such file", "/there")
        error.add_note("a note")
        error.extra = {"a": 1}
        raise error  # noqa: B904 - the context is the point


def raise_unpicklable():
    error = TwoArguments(5, "five")
    error.lock = threading.Lock()
    error.args = ("fine", threading.Lock())
    raise error


def raise_class_only_known_here():
    module = type(sys)("only_in_the_worker")
    sys.modules["only_in_the_worker"] = module
    exec("class Odd(Exception):\n    pass", module.__dict__)
    error = module.Odd("an odd one")
    error.detail = 42
    error.add_note("odd note")
    raise error


def raise_group():
    raise ExceptionGroup("several", [TwoArguments(1, "one"), ExceptionGroup("inner", [KeyError("k")])])


def recurse():
    recurse()


# --- batches --------------------------------------------------------------------------------------


def note(path, number):
    """Append a line to a file, which says that the call has begun."""
    fd = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    os.write(fd, b"%d\n" % number)
    os.close(fd)
    return number


def note_and_crash(path, number, crash):
    note(path, number)
    if number == crash:
        os._exit(3)
    return number


def note_and_wait(path, number, fifo):
    note(path, number)
    return wait_for(fifo) if fifo else number


def note_and_hold(path, number, fifo):
    note(path, number)
    return hold(fifo) if fifo else number


def crash_until(path, count):
    note(path, os.getpid())
    with open(path) as stream:
        pids = stream.read().split()
    if len(pids) < count:
        os._exit(3)
    return pids


def double(value):
    return 2 * value


def with_pid(value):
    return [*value, os.getpid()]


def fail_with(value):
    raise ValueError(value)


def hold_after(fifo):
    hold(fifo)


def segfault(*args):
    os.kill(os.getpid(), signal.SIGSEGV)
    signal.pause()


def fill(array, value):
    """Write into an argument; return what it has become."""
    array[:] = value
    return array


def size_of(*buffers):
    return [len(buffer) for buffer in buffers]


def open_descriptors():
    return len(os.listdir("/proc/self/fd"))
