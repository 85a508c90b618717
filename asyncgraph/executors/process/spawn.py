"""One worker process, seen from outside: how it is started, killed and reaped.

Decides the command line, the environment and the descriptors of a worker. Knows nothing of calls;
when to start or kill which worker is the pool's business.
"""

from __future__ import annotations

import contextlib
import marshal
import os
import signal
import subprocess
import sys
import threading

from asyncgraph.executors.process.channel import close_fd, own_fd

__all__ = ["WorkerProcess", "describe_setup"]

# Reads the SETUP frame before anything of asyncgraph is imported: asyncgraph may be importable only
# with the parent's sys.path. Never runs the user's `__main__`.
_BOOTSTRAP = """\
import marshal, sys
def start(requests, results, lifeline):
    stream = open(requests, "rb", closefd=False)
    setup = marshal.loads(stream.read(int.from_bytes(stream.read(9)[:8], "big")))
    sys.path[:], sys.argv[:] = setup["path"], setup["argv"]
    from asyncgraph.executors.process.worker import main
    main(setup, stream, requests, results, lifeline)
start(*map(int, sys.argv[1:]))
"""

_THREAD_COUNTS = (
    "BLIS_NUM_THREADS",
    "MKL_NUM_THREADS",
    "NUMEXPR_NUM_THREADS",
    "OMP_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "VECLIB_MAXIMUM_THREADS",
)


class WorkerProcess:
    """A worker process and the parent's ends of its three pipes.

    Attributes:
        pid: Its process id, which is also the id of its process group.
        requests: Where the parent writes; to be closed by whoever takes it over.
        results: Where the parent reads; likewise.
    """

    def __init__(self, slots: int) -> None:
        """Start a worker, one of `slots`.

        Raises:
            OSError: It could not be started; nothing is left open.
        """
        fds: list[int] = []
        try:
            for _ in range(3):
                fds += _pipe()
            theirs = [fds[0], fds[3], fds[4]]
            self._popen = _popen(theirs, slots)
        except BaseException:  # whatever it is, it goes on up; only the descriptors stay here
            for fd in fds:
                close_fd(fd)
            raise
        for fd in theirs:
            close_fd(fd)
        self.requests, self.results, self._lifeline = fds[1], fds[2], fds[5]
        os.set_blocking(self.requests, False)
        os.set_blocking(self.results, False)
        self.pid = self._popen.pid

    @property
    def exitcode(self) -> int | None:
        """Its exit code; None if a signal ended it, or while it lives."""
        code = self._popen.returncode
        return code if code is not None and code >= 0 else None

    @property
    def signal(self) -> int | None:
        """The signal that ended it, if one did."""
        code = self._popen.returncode
        return -code if code is not None and code < 0 else None

    def kill(self) -> None:
        """Kill it with everything it has started, unless it is reaped already."""
        if self._popen.returncode is None:
            # EPERM is what macOS says of a group in which only zombies are left.
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(self.pid, signal.SIGKILL)

    def reap(self) -> bool:
        """Collect it if it has ended; whether it has. Never blocks."""
        if self._popen.returncode is None and self._has_ended():
            # What it left running goes with it; before the reaping, while its id is surely its own.
            self.kill()
            self._popen.poll()
        if self._popen.returncode is None:
            return False
        if self._lifeline >= 0:
            close_fd(self._lifeline)
            self._lifeline = -1  # the number may be somebody else's the next time
        return True

    def _has_ended(self) -> bool:
        if not hasattr(os, "waitid"):  # macOS before Python 3.13
            return self._popen.poll() is not None
        try:
            return os.waitid(os.P_PID, self.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None
        except ChildProcessError:
            return True  # somebody else has reaped it; Popen.poll copes


def describe_setup() -> bytes:
    """What a worker must know of this process before it can import anything: the SETUP payload."""
    setup = {
        "path": [str(entry) for entry in filter(_is_text, sys.path)],
        "argv": [str(argument) for argument in getattr(sys, "argv", [])],
        "cwd": _working_directory(),
        "parent": os.getpid(),
        # The kernel's death signal follows the thread that started the worker, not the process: a
        # thread that ends before the process would take the worker with it.
        "die_with_parent": threading.current_thread() is threading.main_thread(),
    }
    return marshal.dumps(setup)


def _is_text(entry: object) -> bool:
    return isinstance(entry, str)  # anything else is ignored by the import system, too


def _working_directory() -> str:
    try:
        return os.getcwd()
    except OSError:
        return ""  # it has been deleted; the worker then inherits what there is


def _pipe() -> list[int]:
    return [own_fd(_above_stdio(fd)) for fd in os.pipe()]


def _above_stdio(fd: int) -> int:
    # Where the standard streams are closed, a pipe would get their numbers, and lose them to the
    # worker's own standard streams.
    if fd > 2:
        return fd
    import fcntl

    try:
        return fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, 3)
    finally:
        os.close(fd)


def _popen(fds: list[int], slots: int) -> subprocess.Popen[bytes]:
    if not sys.executable:
        raise FileNotFoundError("sys.executable is not set: there is no interpreter to run workers with")
    flags: list[str] = vars(subprocess)["_args_from_interpreter_flags"]()  # what multiprocessing uses
    return subprocess.Popen(
        [sys.executable, *flags, "-c", _BOOTSTRAP, *map(str, fds)],
        stdin=subprocess.DEVNULL,
        close_fds=True,
        pass_fds=fds,
        env=_environment(slots),
        # A session of its own: a terminal's Ctrl-C does not reach it, and it can be killed with all
        # that it has started.
        start_new_session=True,
    )


def _environment(slots: int) -> dict[str, str]:
    # Numeric libraries start a thread a core; that many in each of `slots` workers would be too many.
    threads = str(max(1, _cores() // slots))
    return {**dict.fromkeys(_THREAD_COUNTS, threads), **os.environ, "ASYNCGRAPH_WORKER": "1"}


def _cores() -> int:
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
