"""File nodes: reading and writing files without blocking the loop, on aiofiles.

Each function builds a node; paths and data may be nodes themselves. A file is read and written in large
chunks, between which the loop serves others and a cancelled node stops. Writing is atomic: into a
temporary file beside the target, which then replaces it. Whoever reads the target sees the old content
or the new one, and a write that fails or is cancelled leaves the old one and no temporary file. (What
was written is not forced to the disk: after a power failure it may be missing.)
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import pathlib
import secrets
import stat
from collections.abc import AsyncGenerator, Awaitable
from typing import Any, TypeVar

from asyncgraph._graph.node import Node
from asyncgraph._lazy.delayed import delayed
from asyncgraph._lazy.node import Delayed
from asyncgraph._runtime.options import whole_number
from asyncgraph._runtime.waiting import until_done

__all__ = ["blocks", "read_bytes", "read_text", "write_bytes", "write_text"]

T = TypeVar("T")
_Path = str | os.PathLike[str]

# Bytes or characters at a time: large beside the cost of a hop to a thread (some 100 µs), small beside
# what a person would wait for a cancelled read.
_CHUNK = 4 << 20

# Bytes at a time in the search for a delimiter, which is usually near.
_SCAN = 64 << 10


@delayed
async def read_bytes(path: _Path) -> bytes:
    """The content of a file.

    Args:
        path: The file.

    Raises:
        OSError: The file cannot be read; FileNotFoundError if it is not there.

    Example:
        >>> import pathlib, tempfile
        >>> folder = pathlib.Path(tempfile.mkdtemp())
        >>> await read_bytes(write_bytes(folder / "data", b"abc"))
        b'abc'
    """
    async with _opened(path, "rb") as file:
        return b"".join([chunk async for chunk in _chunks(file)])


@delayed
async def read_text(path: _Path, *, encoding: str = "utf-8") -> str:
    r"""The content of a text file, line ends as "\n".

    Args:
        path: The file.
        encoding: How characters are stored in it.

    Raises:
        OSError: The file cannot be read.
        UnicodeDecodeError: It is not in that encoding.
    """
    async with _opened(path, "r", encoding=encoding) as file:
        return "".join([chunk async for chunk in _chunks(file)])


@delayed
async def write_bytes(path: _Path, data: bytes | bytearray | memoryview) -> pathlib.Path:
    """Write a file, or replace it, in one step as seen by others.

    An existing file keeps its permissions, and a symbolic link stays one: what it points to is replaced.

    Args:
        path: The file. Its folder must be there.
        data: The new content, bytes or anything with a buffer.

    Returns:
        `path`.

    Raises:
        OSError: The file cannot be written; it is then as it was before.
        TypeError: `data` is not bytes.
    """
    await _replace(path, memoryview(data).cast("B"), "xb")
    return pathlib.Path(path)


@delayed
async def write_text(path: _Path, text: str, *, encoding: str = "utf-8") -> pathlib.Path:
    """Write a text file, or replace it, in one step as seen by others; see `write_bytes`.

    Args:
        path: The file. Its folder must be there.
        text: The new content.
        encoding: How characters are stored.

    Returns:
        `path`.

    Raises:
        OSError: The file cannot be written; it is then as it was before.
        UnicodeEncodeError: The text has a character that the encoding lacks; likewise.
        TypeError: `text` is not a string.
    """
    if not isinstance(text, str):
        raise TypeError(f"write_text takes a string, not {type(text).__name__}; write_bytes takes bytes")
    await _replace(path, text, "x", encoding=encoding)
    return pathlib.Path(path)


def blocks(path: _Path, size: int, *, delimiter: bytes | None = b"\n") -> list[Delayed[bytes]]:
    r"""A list of nodes, one for each block of a file, cut where the delimiter is.

    The blocks together are the file, in order. A block of about `size` bytes ends with a delimiter (the
    last one need not); records longer than that make some blocks longer and leave others empty. How
    long the file is, is looked up now, and nothing else; what is appended later is not read. Nodes that
    only read are held back while the nodes that take their blocks are waiting for a place to run, and
    `Runtime(concurrency=)` bounds how many read at once.

    Args:
        path: The file. A path, not a node, because the number of blocks depends on it.
        size: Bytes of a block.
        delimiter: What blocks end with; None cuts every `size` bytes exactly.

    Raises:
        OSError: The file is not there. In a node: it cannot be read, or is shorter than it was.
        TypeError: An argument is of the wrong type.
        ValueError: `size` is less than 1, or `delimiter` is empty.

    Example:
        >>> import pathlib, tempfile
        >>> file = pathlib.Path(tempfile.mkdtemp()) / "lines"
        >>> _ = file.write_text("one\ntwo\nthree\n")
        >>> [await block for block in blocks(file, 5)]
        [b'one\ntwo\n', b'three\n', b'']
    """
    if isinstance(path, Node):
        raise TypeError("blocks() takes a path and not a node, because it looks up the file's size at once")
    whole_number("size", size, of="number of bytes")
    if delimiter is not None and not isinstance(delimiter, bytes):
        raise TypeError(f"delimiter= takes bytes such as b'\\n', or None, not {delimiter!r}")
    if delimiter == b"":
        raise ValueError("delimiter= takes bytes such as b'\\n', or None, but not empty ones")
    length = os.stat(path).st_size
    return [_block(path, start, start + size, length, delimiter) for start in range(0, length, size)]


@delayed(name="block")
async def _block(path: _Path, start: int, stop: int, length: int, delimiter: bytes | None) -> bytes:
    """The bytes between the cuts at `start` and at `stop`, in a file of `length` bytes."""
    async with _opened(path, "rb") as file:
        first = await _cut(file, start, length, delimiter)
        last = await _cut(file, stop, length, delimiter)
        await _whole(file.seek(first))
        data = b"".join([chunk async for chunk in _chunks(file, last - first)])
    if len(data) != last - first:
        raise OSError(f"{os.fspath(path)!r} has become shorter than the {length} bytes that it had")
    return data


async def _cut(file: Any, position: int, length: int, delimiter: bytes | None) -> int:
    """Where the cut for `position` is: there, or behind the first delimiter that ends there or later.

    Blocks on both sides of a cut find it by this rule, each for itself.
    """
    if delimiter is None or position <= 0 or position >= length:
        return min(max(position, 0), length)
    scanned = max(position - len(delimiter), 0)
    await _whole(file.seek(scanned))
    tail = b""
    while chunk := await _whole(file.read(_SCAN)):
        window = tail + chunk
        found: int = window.find(delimiter)
        if found >= 0:
            return min(scanned - len(tail) + found + len(delimiter), length)
        scanned += len(chunk)
        tail = window[-(len(delimiter) - 1) :] if len(delimiter) > 1 else b""
    return length


async def _chunks(file: Any, count: int | None = None) -> AsyncGenerator[Any, None]:
    """The rest of the file, or the next `count` bytes of it, in large pieces."""
    while chunk := await _whole(file.read(_CHUNK if count is None else min(_CHUNK, count))):
        yield chunk
        if count is not None:
            count -= len(chunk)


async def _replace(path: _Path, data: Any, mode: str, **options: Any) -> None:
    """Write `data` beside `path`, then put it in its place."""
    import aiofiles.os

    target = await _whole(asyncio.to_thread(os.path.realpath, os.fspath(path)))
    temporary = f"{target}.{secrets.token_hex(4)}.tmp"
    try:
        async with _opened(temporary, mode, **options) as file:
            for start in range(0, len(data), _CHUNK):
                await _whole(file.write(data[start : start + _CHUNK]))
        await _whole(asyncio.to_thread(_keep_permissions, target, temporary))
        await _whole(aiofiles.os.replace(temporary, target))
    except BaseException:
        with contextlib.suppress(FileNotFoundError):
            await _whole(aiofiles.os.unlink(temporary))
        raise


def _keep_permissions(old: str, new: str) -> None:
    with contextlib.suppress(FileNotFoundError):
        os.chmod(new, stat.S_IMODE(os.stat(old).st_mode))


@contextlib.asynccontextmanager
async def _opened(path: _Path, mode: Any, **options: Any) -> AsyncGenerator[Any, None]:
    import aiofiles

    # Cancelled while it opens, the file is opened to the end, and then closed.
    opening = asyncio.ensure_future(_coroutine(aiofiles.open(path, mode, **options)))
    try:
        file = await _whole(opening)
    except asyncio.CancelledError:
        if opening.done() and opening.exception() is None:
            await _whole(opening.result().close())
        raise
    try:
        yield file
    finally:
        await _whole(file.close())


async def _coroutine(awaitable: Awaitable[T]) -> T:
    return await awaitable


async def _whole(step: Awaitable[T]) -> T:
    """Wait for one step of work on a file to its end, also when cancelled: then raise that.

    A thread does the step and cannot be stopped; a node that left before its end would still be at work.
    """
    task = asyncio.ensure_future(step)
    cancelled = await until_done(task, on_cancel=_nothing)
    if cancelled is not None:
        task.exception()  # looked at: it does not count
        raise cancelled
    return task.result()


def _nothing() -> None:
    """The step goes on."""
