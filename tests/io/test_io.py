"""File nodes: whole files, blocks cut at a delimiter, and writes that happen entirely or not at all."""

from __future__ import annotations

import asyncio
import os
import pathlib
import stat
import tempfile
from typing import Any

import aiofiles.os
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from asyncgraph import compute, delayed, start
from asyncgraph import io as files


def names_in(folder: pathlib.Path) -> list[str]:
    """What lies in a folder."""
    return sorted(each.name for each in folder.iterdir())


async def test_bytes_come_back_as_they_were_written(tmp_path: pathlib.Path) -> None:
    """A node of the written path can be read from: the read waits for the write."""
    data = bytes(range(256)) * 40_000
    written = files.write_bytes(tmp_path / "data", data)
    path, read = await compute(written, files.read_bytes(written))
    assert (path, read) == (tmp_path / "data", data)
    assert names_in(tmp_path) == ["data"]


async def test_text_comes_back_in_its_encoding(tmp_path: pathlib.Path) -> None:
    """The encoding is the caller's, also one that begins with a mark."""
    text = "größer\n" * 1000
    path = await files.write_text(tmp_path / "text", text, encoding="utf-16")
    assert path.read_bytes()[:2] in (b"\xff\xfe", b"\xfe\xff")
    assert await files.read_text(path, encoding="utf-16") == text


async def test_data_larger_than_a_chunk_is_whole(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Chunks are put together in order, characters of several bytes between them too."""
    monkeypatch.setattr(files, "_CHUNK", 7)
    data, text = os.urandom(1000), "ä€𝄞x" * 300
    await files.write_bytes(tmp_path / "data", data)
    await files.write_text(tmp_path / "text", text)
    assert await files.read_bytes(tmp_path / "data") == data
    assert await files.read_text(tmp_path / "text") == text


@pytest.mark.parametrize("data", [b"abc", bytearray(b"abc"), memoryview(b"abc")])
async def test_anything_with_a_buffer_can_be_written(tmp_path: pathlib.Path, data: Any) -> None:
    """Bytes need not be copied first to be written."""
    path = await files.write_bytes(tmp_path / "data", data)
    assert path.read_bytes() == b"abc"


async def test_a_missing_file_is_the_users_own_error(tmp_path: pathlib.Path) -> None:
    """The error names the file, and the note the node."""
    with pytest.raises(FileNotFoundError, match="absent") as caught:
        await files.read_bytes(tmp_path / "absent")
    assert "node read_bytes-" in caught.value.__notes__[0]
    assert "test_io.py" in caught.value.__notes__[0]


async def test_a_failed_write_leaves_the_old_file_alone(tmp_path: pathlib.Path) -> None:
    """An error in the middle leaves the old content and no temporary file."""
    target = tmp_path / "text"
    target.write_text("old")
    with pytest.raises(UnicodeEncodeError):
        await files.write_text(target, "x" * 100 + "€", encoding="ascii")
    assert target.read_text() == "old"
    assert names_in(tmp_path) == ["text"]


@pytest.mark.parametrize(
    ("write", "wrong"), [(files.write_text, b"bytes"), (files.write_bytes, "text"), (files.write_bytes, 3)]
)
async def test_the_wrong_kind_of_data_is_refused(tmp_path: pathlib.Path, write: Any, wrong: Any) -> None:
    """Text is no bytes and bytes are no text; nothing is left behind."""
    with pytest.raises(TypeError):
        await write(tmp_path / "file", wrong)
    assert names_in(tmp_path) == []


async def test_a_replaced_file_keeps_its_permissions(tmp_path: pathlib.Path) -> None:
    """Replacing is not seen by those who may read the file."""
    target = tmp_path / "file"
    target.write_text("old")
    target.chmod(0o640)
    await files.write_text(target, "new")
    assert stat.S_IMODE(target.stat().st_mode) == 0o640
    assert target.read_text() == "new"


async def test_a_new_file_has_the_usual_permissions(tmp_path: pathlib.Path) -> None:
    """A new file is no more private than one made by `open`."""
    (tmp_path / "usual").write_text("")
    await files.write_text(tmp_path / "new", "")
    assert (tmp_path / "new").stat().st_mode == (tmp_path / "usual").stat().st_mode


async def test_a_symbolic_link_stays_one(tmp_path: pathlib.Path) -> None:
    """What the link points to is replaced, not the link."""
    (tmp_path / "real").write_text("old")
    (tmp_path / "link").symlink_to(tmp_path / "real")
    await files.write_text(tmp_path / "link", "new")
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "real").read_text() == "new"


async def test_a_cancelled_write_leaves_nothing(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Cancelled just before the replacement, the old file stays and the temporary one goes."""
    (tmp_path / "file").write_text("old")
    about_to_replace = asyncio.Event()

    async def held(*_: object) -> None:
        about_to_replace.set()
        await never

    never: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    monkeypatch.setattr(aiofiles.os, "replace", held)
    run = start(files.write_text(tmp_path / "file", "new"))
    await about_to_replace.wait()
    run.cancel()
    assert not run.done()
    # The step that has begun is waited for: here, it ends now.
    never.set_result(None)
    with pytest.raises(asyncio.CancelledError):
        await run
    assert names_in(tmp_path) == ["file"]
    assert (tmp_path / "file").read_text() == "old"


async def test_a_cancelled_open_closes_the_file(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A file that is opened after its node was cancelled is closed again (the leak check sees to it)."""
    (tmp_path / "file").write_bytes(b"abc")
    opening, go_on = asyncio.Event(), asyncio.Event()
    really_open = aiofiles.open

    async def slowly(*args: Any, **options: Any) -> Any:
        opening.set()
        await go_on.wait()
        return await really_open(*args, **options)

    monkeypatch.setattr(aiofiles, "open", slowly)
    run = start(files.read_bytes(tmp_path / "file"))
    await opening.wait()
    run.cancel()
    go_on.set()
    with pytest.raises(asyncio.CancelledError):
        await run


def blocks_of(data: bytes, size: int, delimiter: bytes | None) -> list[bytes]:
    """The blocks of a file with this content, computed."""

    async def main(path: str) -> list[bytes]:
        return await compute(files.blocks(path, size, delimiter=delimiter))  # type: ignore[no-any-return]

    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "file")
        pathlib.Path(path).write_bytes(data)
        return asyncio.run(main(path))


@given(
    data=st.lists(st.sampled_from([b"a", b"bc", b"\n", b"\r\n", b"--", b"-"]), max_size=60).map(b"".join),
    size=st.integers(1, 30),
    delimiter=st.sampled_from([b"\n", b"\r\n", b"--"]),
)
@example(data=b"--" * 5 + b"-", size=1, delimiter=b"--")
@example(data=b"no delimiter at all", size=4, delimiter=b"\n")
@example(data=b"", size=4, delimiter=b"\n")
def test_blocks_are_the_file_cut_behind_delimiters(data: bytes, size: int, delimiter: bytes) -> None:
    """In order they are the whole file, and what is before a cut ends with a delimiter."""
    parts = blocks_of(data, size, delimiter)
    assert len(parts) == -(-len(data) // size)
    assert b"".join(parts) == data
    before = [b"".join(parts[:number]) for number in range(1, len(parts))]
    assert all(start == data or start.endswith(delimiter) for start in before)


@pytest.mark.parametrize("scan", [1, 2, 3, 5])
def test_a_delimiter_across_two_reads_is_found(monkeypatch: pytest.MonkeyPatch, scan: int) -> None:
    """The search keeps what may be the beginning of a delimiter."""
    monkeypatch.setattr(files, "_SCAN", scan)
    assert blocks_of(b"abc<->def<->g", 4, b"<->") == [b"abc<->", b"def<->", b"", b"g"]


def test_without_a_delimiter_every_block_has_its_size() -> None:
    """None cuts exactly."""
    assert blocks_of(b"abcdefgh", 3, None) == [b"abc", b"def", b"gh"]


async def test_a_file_that_became_shorter_is_an_error(tmp_path: pathlib.Path) -> None:
    """A block that is not all there is not passed on as if it were."""
    path = tmp_path / "file"
    path.write_bytes(b"x" * 100)
    blocks = files.blocks(path, 50, delimiter=None)
    path.write_bytes(b"x" * 60)
    with pytest.raises(OSError, match="shorter than the 100 bytes"):
        await compute(blocks)


async def test_what_is_appended_later_is_not_read(tmp_path: pathlib.Path) -> None:
    """The blocks are of the file as it was when they were made."""
    path = tmp_path / "file"
    path.write_bytes(b"one\ntwo\n")
    blocks = files.blocks(path, 4)
    with path.open("ab") as file:
        file.write(b"three\n")
    assert await compute(blocks) == [b"one\n", b"two\n"]


@pytest.mark.parametrize(
    ("size", "delimiter", "error", "message"),
    [
        (0, b"\n", ValueError, "at least 1"),
        (True, b"\n", TypeError, "number of bytes"),
        ("4", b"\n", TypeError, "number of bytes"),
        (4, "\n", TypeError, "takes bytes"),
        (4, b"", ValueError, "not empty"),
    ],
)
def test_wrong_arguments_of_blocks_are_refused_at_once(
    tmp_path: pathlib.Path, size: Any, delimiter: Any, error: type[Exception], message: str
) -> None:
    """The error says what would be right."""
    (tmp_path / "file").write_bytes(b"x")
    with pytest.raises(error, match=message):
        files.blocks(tmp_path / "file", size, delimiter=delimiter)


def test_blocks_of_a_node_or_a_missing_file_are_refused_at_once(tmp_path: pathlib.Path) -> None:
    """The number of blocks is known when they are made, or never."""
    with pytest.raises(TypeError, match="takes a path and not a node"):
        files.blocks(delayed("file"), 4)  # type: ignore[arg-type]
    with pytest.raises(FileNotFoundError):
        files.blocks(tmp_path / "absent", 4)
