"""The connections alone: what is sent, offered, taken back and collected, with a real worker at the end."""

# ruff: noqa: D102 - helpers whose names say it

from __future__ import annotations

import asyncio
import fcntl
import marshal
import os
import pickle
import signal
import socket
import termios

import pytest

from asyncgraph.executors.process import descriptors
from asyncgraph.executors.process.connections import Connector, connector_for
from asyncgraph.executors.process.frames import ATOM, ERROR, GARBAGE, HELLO, METER, frame_of
from asyncgraph.executors.process.link import PipeLink
from asyncgraph.executors.process.threaded import ThreadedLink
from tests.executors.process import remote
from tests.executors.process.harness import PATIENCE, gone, only_pipes, only_threads


class Peer:
    """A connection, and what has been collected from it."""

    def __init__(self, kind):
        self.records = []
        self.is_lost = self.is_closed = False
        self._changed = asyncio.Event()
        self.sent = 0
        self.link = Connector(kind, asyncio.get_running_loop())(1, self._collect, self._lose)

    def _collect(self):
        # Bodies are copied, since they are views of what has been read.
        self.records += [
            (kind, body if kind == ATOM else bytes(body))
            for kind, body in self.link.collect()
            if kind != METER
        ]
        self._changed.set()

    def _lose(self):
        self.is_lost = True
        self._changed.set()

    def call(self, function, *calls, offered=True):
        data = pickle.dumps(function)
        numbers = range(self.sent, self.sent + len(calls))
        new = [(id(function), data)]
        self.link.send(
            frame_of((self.sent, id(function), new, [], list(calls), [], 0, False, [], [])),
            (),
            numbers if offered else (),
        )
        self.sent += len(calls)

    @property
    def values(self):
        return [value for kind, body in self.records if kind == ATOM for value in body]

    async def until(self, condition):
        async with asyncio.timeout(PATIENCE):
            while not condition():
                self._changed.clear()
                await self._changed.wait()

    async def reaped(self):
        """Wait until the worker has ended."""
        assert await gone(self.link.process.pid)
        assert self.link.process.reap()

    async def aclose(self):
        if self.is_closed:
            return
        self.is_closed = True
        self.link.process.kill()
        self.link.hang_up()
        await self.reaped()
        self._collect()
        self.link.close()


@pytest.fixture
async def peer(link):
    """A connection with a worker that has said hello."""
    peer = Peer(link)
    await peer.until(lambda: peer.records)
    assert peer.records.pop() == (HELLO, b"")
    yield peer
    await peer.aclose()


async def test_calls_are_answered_in_order(peer):
    """One record for each."""
    for number in range(5):
        peer.call(remote.echo, (number,))
        await peer.until(lambda number=number: len(peer.values) > number)
    assert peer.values == list(range(5))


@only_pipes
async def test_only_what_is_offered_begins(peer):
    """Calls that have arrived wait for their tokens."""
    peer.call(remote.echo, (1,), (2,), offered=False)
    peer.call(remote.echo, (3,))
    await peer.until(lambda: peer.values)
    assert peer.values == [3]


@only_pipes
async def test_what_has_not_begun_can_be_taken_back(peer, fifo):
    """The one that runs is not among it; what is offered once more begins."""
    peer.call(remote.hold, (fifo.path,))
    pid = await fifo.pid()
    assert pid == peer.link.process.pid
    peer.call(remote.echo, (1,), (2,), (3,))
    assert peer.link.take_back() == [1, 2, 3]
    assert peer.link.take_back() == []


@only_pipes
async def test_what_is_offered_again_begins(peer, tmp_path):
    """In the order of the numbers, and nothing else."""
    gate = tmp_path / "gate"
    os.mkfifo(gate)
    peer.call(remote.wait_for, (str(gate),))
    peer.call(remote.echo, *((number,) for number in range(10)))
    stream = await asyncio.to_thread(open, gate, "w")
    numbers = peer.link.take_back()
    assert numbers == list(range(1, 11))
    peer.link.offer_again(numbers[:4])
    stream.close()
    await peer.until(lambda: len(peer.values) == 5)
    assert peer.values == ["", 0, 1, 2, 3]
    assert peer.link.take_back() == []


@only_pipes
async def test_what_has_not_been_written_can_be_taken_back(peer):
    """Calls behind a frame that the pipe has no room for are neither begun nor lost."""
    os.kill(peer.link.process.pid, signal.SIGSTOP)
    large = b"x" * 2_000_000
    peer.call(remote.size_of, (large,))
    peer.call(remote.echo, (1,))
    assert peer.link.take_back() == [0, 1]
    peer.link.offer_again([1])
    os.kill(peer.link.process.pid, signal.SIGCONT)
    await peer.until(lambda: peer.values)
    assert peer.values == [1]


@only_pipes
async def test_writing_never_blocks(peer):
    """A worker that does not read holds nobody up; all of it arrives when it does."""
    os.kill(peer.link.process.pid, signal.SIGSTOP)
    data = [os.urandom(300_000) for _ in range(10)]
    for each in data:
        peer.call(remote.size_of, (each,))
    assert peer.link._outgoing
    os.kill(peer.link.process.pid, signal.SIGCONT)
    sizes = []
    await peer.until(
        lambda: len(sizes) == 10 or sizes.extend(_unpickled(peer, len(sizes))) or len(sizes) == 10
    )
    assert sizes == [[300_000]] * 10
    assert not peer.link._outgoing


def _unpickled(peer, start):
    outcomes = [pickle.loads(body) for kind, body in peer.records if kind not in (ATOM, ERROR, GARBAGE)]
    return outcomes[start:]


async def test_a_large_result_comes_in_pieces(peer):
    """It is larger than any pipe, and the loop reads it as it comes."""
    peer.call(remote.echo, (b"x" * 200_000,))
    await peer.until(lambda: peer.values)
    assert peer.values == [b"x" * 200_000]


async def test_a_worker_that_ends_is_noticed(peer):
    """Once, and what it has written before is there."""
    peer.call(remote.exit_at_once, (3,))
    await peer.until(lambda: peer.is_lost)
    await peer.reaped()
    assert peer.link.process.exitcode == 3


async def test_what_was_written_before_a_kill_is_collected(peer, fifo):
    """A worker is killed while its records have not been read."""
    if peer.link.depth > 1:
        peer.call(remote.echo, *((number,) for number in range(20)))
    peer.call(remote.hold, (fifo.path,))
    await fifo.pid()
    await peer.aclose()
    assert peer.values == list(range(20 if peer.link.depth > 1 else 0))


@only_threads
async def test_a_plain_worker_that_was_gone_has_not_begun(peer):
    """What was sent to it can be taken back when it is over, and not before."""
    os.kill(peer.link.process.pid, signal.SIGSTOP)
    peer.call(remote.echo, (1,))
    assert peer.link.take_back() == []
    await peer.aclose()
    assert peer.link.take_back() == [0]


@only_threads
async def test_a_plain_worker_has_one_call_at_a_time(peer):
    """Nothing is shared, nothing waits in it."""
    assert peer.link.depth == 1
    assert not peer.link.can_share
    with pytest.raises(ValueError, match="nothing is shared"):
        peer.link.take_descriptor()


@only_threads
async def test_a_plain_worker_that_does_not_read_holds_nobody_up(peer):
    """Threads block, the loop does not; killing the worker ends them."""
    os.kill(peer.link.process.pid, signal.SIGSTOP)
    peer.call(remote.echo, (b"x" * 5_000_000,))
    await peer.aclose()
    assert not any(thread.is_alive() for thread in peer.link._threads)


async def test_the_connection_suits_the_loop(monkeypatch):
    """Pipes where the loop can watch them, threads where it cannot."""
    loop = asyncio.get_running_loop()
    assert connector_for(loop)._kind is PipeLink

    def cannot(*args):
        raise NotImplementedError

    class Proactor:
        add_reader = cannot

    assert connector_for(Proactor())._kind is ThreadedLink


# --- descriptors ----------------------------------------------------------------------------------


@pytest.fixture
def line():
    """Both ends of a socket, as descriptors."""
    one, other = socket.socketpair()
    fds = one.detach(), other.detach()
    yield fds
    for fd in fds:
        os.close(fd)


def test_descriptors_come_in_order(line):
    """Each is a new one for the same file, which programs do not inherit; words without one are dropped."""
    files = [os.memfd_create(str(number)) for number in range(30)]
    for number, fd in enumerate(files):
        descriptors.send_descriptor(line[0], fd)
        if number % 7 == 0:
            os.write(line[0], b"\0")
    received = descriptors.receive_descriptors(line[1])
    assert [os.fstat(fd).st_ino for fd in received] == [os.fstat(fd).st_ino for fd in files]
    assert not any(os.get_inheritable(fd) for fd in received)
    assert descriptors.receive_descriptors(line[1]) == []
    for fd in [*files, *received]:
        os.close(fd)


def test_a_descriptor_without_room_is_missed(line):
    """At the limit of descriptors there is a gap for each that does not fit."""
    import resource

    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    files = [os.memfd_create(str(number)) for number in range(3)]
    for fd in files:
        descriptors.send_descriptor(line[0], fd)
    spare = os.dup(0)
    os.close(spare)
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (spare + 1, limits[1]))
        received = descriptors.receive_descriptors(line[1])
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, limits)
    assert received[0] >= 0
    assert received[1:] == [-1, -1]
    for fd in [*files, received[0]]:
        os.close(fd)


def test_the_end_of_the_line_is_told(line):
    """After what has come before it."""
    file = os.memfd_create("file")
    descriptors.send_descriptor(line[0], file)
    with socket.socket(fileno=os.dup(line[0])) as end:
        end.shutdown(socket.SHUT_RDWR)
    (received,) = descriptors.receive_descriptors(line[1])
    assert descriptors.receive_descriptors(line[1]) is None
    os.close(received)
    os.close(file)


def test_no_token_is_split():
    """The pipe of tokens, when it is full, holds a whole number of them."""
    read, write = os.pipe()
    os.set_blocking(write, False)
    while True:
        try:
            os.write(write, marshal.dumps(0)[:1] * 8)
        except BlockingIOError:
            break
    held = fcntl.ioctl(read, termios.FIONREAD, bytes(4))
    assert int.from_bytes(held, "little") % 8 == 0
    os.close(read)
    os.close(write)
