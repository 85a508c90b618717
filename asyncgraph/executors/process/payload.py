"""Payloads: a pickled value and its large buffers, in this process's memory or in anonymous shared memory.

Buffers that pickle protocol 5 hands out (numpy arrays, for instance) are not copied into the pickle. What
is large goes into memory that the kernel shares, and frees with the last process that has it: it has no
name, and nothing of it is left, whoever dies. A receiver maps it privately: it may write to what it got,
and nobody else sees that. Where there is no such memory, everything travels in band.

Used on both sides; what a payload stands for is known to neither.
"""

from __future__ import annotations

import errno
import mmap
import os
import pickle
import sys
from collections.abc import Iterator, Sequence
from typing import Any

__all__ = ["BUFFER", "LARGE", "Part", "Payload"]

# Bytes: from this size on a buffer stays out of the pickle, and a payload goes into shared memory.
BUFFER = 1 << 15
LARGE = 1 << 18

# Bytes that are written into shared memory at once: a millisecond, more or less.
_PIECE = 1 << 21

# Buffers begin at multiples of this in shared memory, as numeric code likes its arrays.
_ALIGNMENT = 64

Part = bytes | bytearray | memoryview


class Payload:
    """A pickle and its buffers.

    Attributes:
        sizes: The length of the pickle, in bytes, and that of each buffer.
        stream: The pickle, in pieces; empty once it is in shared memory.
        buffers: The buffers; likewise.
        fd: The descriptor of the shared memory, or -1. It is closed with the payload.
    """

    __slots__ = ("buffers", "fd", "sizes", "stream")

    def __init__(
        self, sizes: Sequence[int], stream: Sequence[Part] = (), buffers: Sequence[Part] = (), fd: int = -1
    ) -> None:
        self.fd = fd
        self.sizes = tuple(sizes)
        self.stream = stream
        self.buffers = buffers

    @classmethod
    def of(cls, stream: Sequence[Part], buffers: Sequence[pickle.PickleBuffer]) -> Payload:
        """The payload of a pickle, in pieces, and its buffers."""
        raw = [buffer.raw() for buffer in buffers]
        return cls([sum(map(len, stream)), *(buffer.nbytes for buffer in raw)], stream, raw)

    def __del__(self) -> None:
        if self.fd >= 0:
            os.close(self.fd)
            self.fd = -1

    @property
    def size(self) -> int:
        """Bytes, all together."""
        return sum(self.sizes)

    def share(self) -> Iterator[None]:
        """Move it into shared memory, a piece for each step; or leave it where it is, if there is none."""
        try:
            fd = os.memfd_create("asyncgraph", os.MFD_CLOEXEC)
        except (AttributeError, OSError):  # not Linux; or no descriptor is left
            return
        try:
            for offset, part in self._places():
                rest = memoryview(part).cast("B")
                while rest:
                    written = os.pwrite(fd, rest[:_PIECE], offset)
                    offset, rest = offset + written, rest[written:]
                    yield
            os.ftruncate(fd, _offsets(self.sizes)[-1] + self.sizes[-1])  # its last buffer may be empty
        except OSError:  # there is no memory to share
            os.close(fd)
        except BaseException:  # it is not wanted any more
            os.close(fd)
            raise
        else:
            self.fd, self.stream, self.buffers = fd, (), ()

    def load(self, *, apart: bool = False) -> Any:
        """The value. Raises whatever its unpickling raises.

        Args:
            apart: Whether this is a thread, and the payload is in shared memory: then the interpreter is free
                for others while large bytes are copied.
        """
        if self.fd < 0:
            if not self.stream:
                raise OSError(errno.EMFILE, "there was no descriptor left to receive it with")
            stream = self.stream[0] if len(self.stream) == 1 else b"".join(self.stream)
            return pickle.loads(stream, buffers=self.buffers)
        offsets = _offsets(self.sizes)
        memory = _mapped(self.fd, offsets[-1] + self.sizes[-1])
        parts = [memory[start : start + size] for start, size in zip(offsets, self.sizes, strict=True)]
        if apart:
            return pickle.load(_File(self.fd), buffers=parts[1:])
        return pickle.loads(parts[0], buffers=parts[1:])

    def _places(self) -> Iterator[tuple[int, Part]]:
        offset = 0
        for part in self.stream:
            yield offset, part
            offset += len(part)
        yield from zip(_offsets(self.sizes)[1:], self.buffers, strict=True)


class _File:
    """A file for an unpickler, which reads large bytes in one go to where they belong."""

    def __init__(self, fd: int) -> None:
        self._fd = fd
        self._offset = 0

    def read(self, size: int) -> bytes:
        data = os.pread(self._fd, size, self._offset)
        self._offset += len(data)
        return data

    def readinto(self, target: memoryview) -> int:
        rest = memoryview(target).cast("B")
        while rest:  # the system reads 2 GB at a time, at most
            count = os.preadv(self._fd, [rest], self._offset)
            self._offset += count
            rest = rest[count:]
        return len(target)

    def readline(self) -> bytes:
        raise NotImplementedError("there are no lines in a binary pickle")


def _mapped(fd: int, size: int) -> memoryview:
    """The memory of `fd`, privately. It lives as long as somebody refers to it, and needs no descriptor."""
    if sys.version_info >= (3, 13):
        return memoryview(mmap.mmap(fd, size, access=mmap.ACCESS_COPY, trackfd=False))
    # Before, `mmap` keeps a descriptor of its own: a program with a thousand results would have none left.
    import ctypes
    import weakref

    libc = ctypes.CDLL(None, use_errno=True)
    libc.mmap.restype = ctypes.c_void_p
    libc.mmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t, *[ctypes.c_int] * 3, ctypes.c_int64]
    libc.munmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t]
    address = libc.mmap(None, size, mmap.PROT_READ | mmap.PROT_WRITE, mmap.MAP_PRIVATE, fd, 0)
    if address == ctypes.c_void_p(-1).value:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
    memory = (ctypes.c_char * size).from_address(address)
    # Not at exit: somebody may look at it until the very end.
    weakref.finalize(memory, libc.munmap, address, size).atexit = False
    return pickle.PickleBuffer(memory).raw()


def _offsets(sizes: Sequence[int]) -> list[int]:
    offsets, end = [], 0
    for size in sizes:
        offsets.append(end)
        end += -(-size // _ALIGNMENT) * _ALIGNMENT
    return offsets
