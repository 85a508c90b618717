"""Frames on pipes: whole whatever the pieces they come in, and never in the way of the loop."""

# ruff: noqa: D102 - helpers whose names say it

from __future__ import annotations

import asyncio
import os

import pytest

from asyncgraph.executors.process import channel
from asyncgraph.executors.process.channel import BEGUN, HEADER, HELLO, VALUE, Channel
from tests.executors.process.harness import PATIENCE


class Line:
    """A channel, and the worker's two ends of its pipes."""

    def __init__(self):
        self.frames, self.lost = [], asyncio.Event()
        results, self.results = os.pipe()
        self.requests, requests = os.pipe()
        for fd in (results, requests):
            os.set_blocking(fd, False)
            channel.own_fd(fd)
        self.channel = Channel(
            asyncio.get_running_loop(),
            results,
            requests,
            lambda kind, payload: self.frames.append((kind, bytes(payload))),
            self.lost.set,
        )

    def hang_up(self):
        if self.results >= 0:
            os.close(self.results)
            self.results = -1

    async def end(self):
        self.hang_up()
        await asyncio.wait_for(self.lost.wait(), PATIENCE)

    def close(self):
        self.channel.close()
        self.channel.close()
        self.hang_up()
        os.close(self.requests)


@pytest.fixture
async def line():
    """A fresh line, closed afterwards."""
    line = Line()
    yield line
    line.close()


async def test_frames_are_whole_however_they_are_cut(line):
    """Frames that arrive byte by byte come out complete, in order, before the end."""
    expected = [(HELLO, b""), (BEGUN, b""), (VALUE, b"payload")]
    for byte in b"".join(HEADER.pack(len(payload), kind) + payload for kind, payload in expected):
        os.write(line.results, bytes([byte]))
        await asyncio.sleep(0)
    await line.end()
    assert line.frames == expected


async def test_frames_that_come_together_are_told_apart(line):
    """Several frames in one piece come out one by one."""
    channel.write_frame(line.results, HELLO)
    channel.write_frame(line.results, VALUE, b"abc")
    await line.end()
    assert line.frames == [(HELLO, b""), (VALUE, b"abc")]


async def test_a_half_frame_at_the_end_is_no_frame(line):
    """What was not written completely is not handed over."""
    os.write(line.results, HEADER.pack(10, VALUE) + b"half")
    await line.end()
    assert line.frames == []


@pytest.mark.parametrize(
    "garbage", [b"\0" * 9, b"\xff" * 9, HEADER.pack(1, channel.CALL), HEADER.pack(1 << 60, VALUE)]
)
async def test_garbage_is_a_lost_channel(line, garbage):
    """Bytes that can be no frame end the channel at once, not after as many bytes as they announce."""
    os.write(line.results, garbage)
    await asyncio.wait_for(line.lost.wait(), PATIENCE)
    assert line.frames == []


async def test_large_frames_go_in_pieces(line):
    """A frame larger than the pipe is written as the reader makes room, and the loop goes on meanwhile."""
    payload = os.urandom(3_000_000)
    line.channel.send(VALUE, payload)
    line.channel.send(VALUE, b"second")

    def read():
        with open(line.requests, "rb", closefd=False) as stream:
            return channel.read_frame(stream), channel.read_frame(stream)

    assert await asyncio.to_thread(read) == (payload, b"second")


async def test_writing_to_nobody_is_no_error(line):
    """A reader that is gone is noticed by the reading side only, after all it had written."""
    channel.write_frame(line.results, VALUE, b"last words")
    os.close(line.requests)
    line.requests = os.open(os.devnull, os.O_RDONLY)
    line.channel.send(VALUE, b"x" * 1_000_000)
    await line.end()
    assert line.frames == [(VALUE, b"last words")]
