"""One worker process, seen from outside: how it is started, killed and reaped.

Decides the command line, the environment and the descriptors of a worker. Knows nothing of calls;
when to start or kill which worker is the pool's business.
"""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterable
from typing import Any

from asyncgraph.executors.base import usable_cores
from asyncgraph.executors.process.descriptors import close_fd, own_fd
from asyncgraph.executors.process.frames import setup_frame

__all__ = ["WorkerProcess", "describe_setup"]

# Bytes of a worker's report that are looked at.
_REPORTED = 4096

# Reads the first frame before anything of asyncgraph is imported: asyncgraph may be importable only
# with the parent's sys.path. Never runs the user's `__main__`.
_BOOTSTRAP = """\
import marshal, sys
def start(fds):
    stream = open(fds["requests"], "rb", closefd=False)
    setup = marshal.loads(stream.read(int.from_bytes(stream.read(8), "little")))
    sys.path[:], sys.argv[:] = setup["path"], setup["argv"]
    from asyncgraph.executors.process.worker import main
    main(setup, stream, fds)
fds = {name: int(fd) for name, fd in (each.split("=") for each in sys.argv[1:])}
if sys.platform == "win32":
    import msvcrt
    fds = {name: msvcrt.open_osfhandle(handle, 0) for name, handle in fds.items()}
start(fds)
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
    """A worker process and the parent's ends of what leads to it.

    Attributes:
        pid: Its process id, which is also the id of its process group.
        requests: The pipe that frames are written to.
        results: The pipe that records are read from.
        tokens: The pipe that tokens are written to; -1 if there are none.
        unclaimed: The other end of that pipe, where they are taken back from; likewise.
        line: The socket on which the worker says that there are records, and over which descriptors go;
            likewise.
    """

    def __init__(self, slots: int, *, has_tokens: bool) -> None:
        """Start a worker.

        Args:
            slots: How many share the cores.
            has_tokens: Whether there are tokens, and a line.

        Raises:
            OSError: It could not be started; nothing is left open.
        """
        self._fds: list[int] = []
        theirs: dict[str, int] = {}
        try:
            theirs["requests"], self.requests = self._own(os.pipe())
            self.results, theirs["results"] = self._own(os.pipe())
            theirs["lifeline"], self._lifeline = self._own(os.pipe())
            self.tokens = self.unclaimed = self.line = -1
            if has_tokens:
                theirs["tokens"], self.tokens = self._own(os.pipe())
                self.line, theirs["line"] = self._own(_socket_pair())
                self.unclaimed = theirs["tokens"]
            self._report = self._open_report(theirs)
            self._popen = _popen(theirs, self._report, slots)
        except BaseException:  # whatever it is, it goes on up; only the descriptors stay here
            self.close()
            raise
        self.pid = self._popen.pid
        for fd in theirs.values():
            if fd not in (self.unclaimed, self._report):
                self._fds.remove(fd)
                close_fd(fd)

    def _own(self, pair: Iterable[int]) -> list[int]:
        fds = [own_fd(_above_stdio(fd)) for fd in pair]
        self._fds += fds
        return fds

    def _open_report(self, theirs: dict[str, int]) -> int:
        """Where the worker writes why it does not start, or crashes: memory, which never fills up."""
        try:
            stderr = os.dup(2)
        except OSError:
            return -1  # there is none
        (theirs["stderr"],) = self._own((stderr,))
        try:
            report = os.memfd_create("asyncgraph-report", os.MFD_CLOEXEC)
        except (AttributeError, OSError):
            return -1  # it writes to standard error, and the user has to look there
        (theirs["report"],) = self._own((report,))
        return theirs["report"]

    def hang_up(self) -> None:
        """Close what it gets calls from: it leaves when it has done the one that it is at."""
        for fd in (self.requests, self.tokens):
            if fd in self._fds:
                self._fds.remove(fd)
                close_fd(fd)

    def close(self) -> None:
        """Close all that leads to it; it ends if it is still there."""
        while self._fds:
            close_fd(self._fds.pop())

    def report(self) -> str:
        """The end of what it has written about its own end."""
        if self._report < 0:
            return ""
        size = os.fstat(self._report).st_size
        return os.pread(self._report, _REPORTED, max(size - _REPORTED, 0)).decode(errors="replace").strip()

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

    @property
    def was_shot(self) -> bool:
        """Whether SIGKILL has ended it: by us, or by the system, as it does when memory runs out."""
        return self.signal is not None and self.signal == getattr(signal, "SIGKILL", None)

    def kill(self) -> None:
        """Kill it with everything it has started, unless it is reaped already."""
        if self._popen.returncode is not None:
            return
        if sys.platform == "win32":  # without what it has started
            self._popen.kill()
            return
        # EPERM is what macOS says of a group in which only zombies are left.
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self.pid, signal.SIGKILL)

    def reap(self) -> bool:
        """Collect it if it has ended; whether it has. Never blocks."""
        if self._popen.returncode is None and self._has_ended():
            # What it left running goes with it; before the reaping, while its id is surely its own.
            self.kill()
            self._popen.poll()
        return self._popen.returncode is not None

    def _has_ended(self) -> bool:
        if not hasattr(os, "waitid"):  # macOS before Python 3.13
            return self._popen.poll() is not None
        try:
            return os.waitid(os.P_PID, self.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None
        except ChildProcessError:
            return True  # somebody else has reaped it; Popen.poll copes


def describe_setup() -> bytes:
    """What a worker must know of this process before it can import anything: the first frame."""
    setup = {
        "path": [str(entry) for entry in filter(_is_text, sys.path)],
        "argv": [str(argument) for argument in getattr(sys, "argv", [])],
        "cwd": _working_directory(),
        "parent": os.getpid(),
        # The kernel's death signal follows the thread that started the worker, not the process: a
        # thread that ends before the process would take the worker with it.
        "die_with_parent": threading.current_thread() is threading.main_thread(),
    }
    return setup_frame(setup)


def _is_text(entry: object) -> bool:
    return isinstance(entry, str)  # anything else is ignored by the import system, too


def _working_directory() -> str:
    try:
        return os.getcwd()
    except OSError:
        return ""  # it has been deleted; the worker then inherits what there is


def _socket_pair() -> tuple[int, int]:
    one, other = socket.socketpair()
    return one.detach(), other.detach()


def _above_stdio(fd: int) -> int:
    # Where the standard streams are closed, a pipe would get their numbers, and lose them to the
    # worker's own standard streams.
    if fd > 2 or sys.platform == "win32":
        return fd
    import fcntl

    try:
        return fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, 3)
    finally:
        os.close(fd)


def _popen(fds: dict[str, int], report: int, slots: int) -> subprocess.Popen[Any]:
    if not sys.executable:
        raise FileNotFoundError("sys.executable is not set: there is no interpreter to run workers with")
    options: dict[str, Any] = {"pass_fds": list(fds.values()), "start_new_session": True}
    if sys.platform == "win32":
        import msvcrt

        fds = {name: msvcrt.get_osfhandle(fd) for name, fd in fds.items()}
        for handle in fds.values():
            os.set_handle_inheritable(handle, True)
        startup = subprocess.STARTUPINFO(lpAttributeList={"handle_list": list(fds.values())})
        options = {"startupinfo": startup, "creationflags": subprocess.CREATE_NEW_PROCESS_GROUP}
    flags: list[str] = vars(subprocess)["_args_from_interpreter_flags"]()  # what multiprocessing uses
    # A session of its own: a terminal's Ctrl-C does not reach it, and it can be killed with all that it has
    # started.
    return subprocess.Popen(
        [sys.executable, *flags, "-c", _BOOTSTRAP, *(f"{name}={fd}" for name, fd in fds.items())],
        stdin=subprocess.DEVNULL,
        stderr=None if report < 0 else report,
        close_fds=True,
        env=_environment(slots),
        **options,
    )


def _environment(slots: int) -> dict[str, str]:
    # Numeric libraries start a thread a core; that many in each of `slots` workers would be too many.
    threads = str(max(1, usable_cores() // slots))
    return {**dict.fromkeys(_THREAD_COUNTS, threads), **os.environ}
