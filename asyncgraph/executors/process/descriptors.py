"""Descriptors: which are ours, and how one goes to another process over a socket.

A socket here is a plain descriptor, like the pipes. `_socket` is what is below `socket`, and a worker
imports it in a tenth of the time.
"""

from __future__ import annotations

import os
import sys
from typing import Any

__all__ = ["close_fd", "own_fd", "receive_descriptors", "send_descriptor"]

# Bytes that are received at a time, and what the descriptors that come with them take.
_MANY = 4096
_ROOM = 256

_owned: set[int] = set()


def own_fd(fd: int) -> int:
    """Count `fd` among the descriptors that a fork of this process must not keep open."""
    _owned.add(fd)
    return fd


def close_fd(fd: int) -> None:
    """Close a descriptor of `own_fd`, once."""
    if fd in _owned:
        _owned.discard(fd)
        os.close(fd)


def _close_in_fork() -> None:
    # A forked child that kept them would hide the death of one side from the other: the pipe's last
    # writer would live on in it.
    while _owned:
        try:
            os.close(_owned.pop())
        except OSError:
            pass  # closed behind our back; there is nothing left to do


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_close_in_fork)


def send_descriptor(line: int, fd: int) -> None:
    """Send `fd` over the socket.

    Raises:
        BlockingIOError: There is no room now.
        OSError: The other side is gone, or the system has too many descriptors under way.
    """
    import _socket

    rights = (_socket.SOL_SOCKET, _socket.SCM_RIGHTS, fd.to_bytes(4, sys.byteorder))
    sock = _socket_of(line)
    try:
        sock.sendmsg([b"\0"], [rights])
    finally:
        sock.detach()


def receive_descriptors(line: int) -> list[int] | None:
    """The descriptors that have come over the socket by now; None if nothing will come any more.

    Bytes that came without one are dropped. For a descriptor that this process has no room for there is -1.
    """
    import _socket

    # What comes is closed in programs that this process starts.
    on_exec = getattr(_socket, "MSG_CMSG_CLOEXEC", 0)
    sock = _socket_of(line)
    descriptors: list[int] = []
    try:
        while True:
            # The kernel never puts two messages with descriptors into one: at most one is cut off.
            data, ancillary, flags, _ = sock.recvmsg(_MANY, _ROOM, on_exec)
            if not data:
                return descriptors or None
            for _, _, sent in ancillary:  # nothing else is ever asked for
                descriptors += memoryview(sent).cast("i").tolist()
                if not on_exec:
                    os.set_inheritable(descriptors[-1], False)
            if flags & _socket.MSG_CTRUNC:
                descriptors.append(-1)
            elif not ancillary and len(data) < _MANY:
                return descriptors  # these bytes were all there was
    except BlockingIOError:
        return descriptors
    except OSError:
        return descriptors or None
    finally:
        sock.detach()


def _socket_of(line: int) -> Any:
    # Not kept: in a forked child, the end of an object that is would close whatever has its number by then.
    import _socket

    sock = _socket.socket(_socket.AF_UNIX, _socket.SOCK_STREAM, 0, line)
    sock.setblocking(False)  # whatever the user's default timeout is
    return sock
