"""Large values: shared memory where there is some, the pipes where there is none, and copies of one's own."""

# ruff: noqa: D103 - helpers whose names say it

from __future__ import annotations

import errno
import gc
import os
import pickle

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from asyncgraph.errors import SerializationError
from asyncgraph.executors.process import descriptors as descriptors_module
from asyncgraph.executors.process.payload import BUFFER, LARGE, Payload
from asyncgraph.executors.process.pickling import pack_plainly
from asyncgraph.executors.process.serialization import pack_result
from tests.executors.process import remote
from tests.executors.process.harness import only_pipes


def shared(payload):
    for _ in payload.share():
        pass
    return payload


def open_fds():
    gc.collect()
    return set(os.listdir("/proc/self/fd"))


ARRAYS = {
    "plain": np.arange(100_000),
    "empty": np.empty((0, 3)),
    "two": np.arange(2_000_000).reshape(1000, 2000),
    "fortran": np.asfortranarray(np.arange(400_000.0).reshape(400, 1000)),
    "strided": np.arange(400_000)[::2],
    "objects": np.array([1, "two", None] * 100, dtype=object),
    "scalar": np.array(5),
}


@pytest.mark.parametrize("name", ARRAYS)
async def test_arrays_cross(pool, name):
    """Whatever their shape and the order of their memory, there and back."""
    array = ARRAYS[name]
    result = await pool.value(remote.echo, array)
    assert result.dtype == array.dtype
    np.testing.assert_array_equal(result, array)
    (result,) = (await pool.value(remote.echo, [array]),)[0]
    np.testing.assert_array_equal(result, array)


async def test_what_a_call_writes_into_its_argument_is_its_own(pool):
    """A call may write into a large array; nobody else sees it, and what comes back may be written to."""
    array = np.zeros(1_000_000)
    calls = [pool.start(remote.fill, array, value) for value in (1, 2)]
    results = [await call.value() for call in calls]
    assert not array.any()
    for value, result in enumerate(results, 1):
        assert (result == value).all()
        result[0] = 7
    assert results[1][1] == 2


async def test_buffers_of_any_length_cross(pool):
    """Empty ones among them, small and large ones, in one call."""
    sizes = [0, 1, BUFFER - 1, BUFFER, LARGE, 0, 3 * LARGE + 1, 0]
    buffers = [pickle.PickleBuffer(bytearray(size)) for size in sizes]
    assert await pool.value(remote.size_of, *buffers) == sizes
    assert list(map(len, await pool.value(remote.echo, [bytearray(size) for size in sizes]))) == sizes


async def test_shared_memory_is_given_back(make_pool):
    """Neither side keeps a descriptor of what has come and gone."""
    pool = make_pool(slots=1)
    await pool.value(remote.echo, np.zeros(LARGE))
    before, there = open_fds(), await pool.value(remote.open_descriptors)
    for _ in range(20):
        await pool.value(remote.echo, np.zeros(LARGE))
    # The worker may still have the frame of the last call.
    assert await pool.value(remote.open_descriptors) <= there
    assert open_fds() <= before


async def test_many_descriptors_are_under_way(make_pool):
    """More large values at a time than one message can hold descriptors for."""
    pool = make_pool(slots=2)
    calls = [pool.start(remote.echo, np.full(LARGE // 8 + 1, number)) for number in range(60)]
    for number, call in enumerate(calls):
        assert ((await call.value()) == number).all()


@pytest.mark.parametrize("fault", ["memfd_create", "pwrite"])
async def test_without_memory_to_share_it_goes_over_the_pipe(pool, monkeypatch, fault):
    """No descriptor, or no space: the value arrives all the same, in band."""
    array = np.arange(1_000_000)

    def fail(*args):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    await pool.value(remote.pid)
    before = open_fds()
    monkeypatch.setattr(os, fault, fail)
    np.testing.assert_array_equal(await pool.value(remote.echo, array), array)
    assert open_fds() <= before


@only_pipes
async def test_a_result_that_finds_no_descriptor_costs_only_its_call(make_pool, monkeypatch):
    """It is missed, and those that follow are not taken for it."""
    pool = make_pool(slots=1)
    receive = descriptors_module.receive_descriptors
    lost = []

    def without_the_first(line):
        received = receive(line)
        if received and not lost:
            lost.append(received[0])
            os.close(received[0])
            received[0] = -1
        return received

    monkeypatch.setattr("asyncgraph.executors.process.link.receive_descriptors", without_the_first)
    error = await pool.error(remote.echo, np.full(LARGE, 1))
    assert isinstance(error, SerializationError)
    assert error.__cause__.errno == errno.EMFILE
    assert ((await pool.value(remote.echo, np.full(LARGE, 2))) == 2).all()


# --- alone ----------------------------------------------------------------------------------------

values = st.recursive(
    st.binary(max_size=10) | st.builds(bytes, st.sampled_from([BUFFER, LARGE])),
    lambda inner: st.lists(inner, max_size=3) | st.lists(inner, max_size=3).map(tuple),
)


@given(values, st.booleans(), st.lists(st.sampled_from([0, 1, 100, BUFFER, LARGE]), max_size=4))
def test_a_payload_has_its_value(value, is_shared, sizes):
    """In band and in shared memory, with and without buffers apart."""
    value = [value, [np.full(size, 7, np.uint8) for size in sizes]]
    for payload in (pack_plainly(value), pack_result(value)):
        if is_shared:
            shared(payload)
            assert payload.fd >= 0
            assert not payload.stream
        loaded, arrays = payload.load()
        assert loaded == value[0]
        assert [array.tolist() for array in arrays] == [[7] * size for size in sizes]


def test_a_payload_can_be_loaded_several_times():
    """Each time anew: what is written into one copy is in no other."""
    payload = shared(pack_plainly(np.zeros(LARGE)))
    first, second = payload.load(), payload.load(apart=True)
    first[:] = 1
    second[:] = 2
    assert not payload.load().any()
    assert (first == 1).all()


def test_large_bytes_are_loaded_apart():
    """Bytes in the pickle itself, and buffers beside it."""
    value = {"bytes": os.urandom(1000) * 5000, "array": np.arange(LARGE), "text": "x" * 100_000}
    loaded = shared(pack_plainly(value)).load(apart=True)
    assert loaded["bytes"] == value["bytes"]
    assert loaded["text"] == value["text"]
    np.testing.assert_array_equal(loaded["array"], value["array"])


def test_sharing_that_is_given_up_leaves_nothing():
    """A payload that is not wanted any more while it is copied."""
    payload = pack_plainly(np.zeros(LARGE * 32))
    before = open_fds()
    steps = payload.share()
    next(steps)
    steps.close()
    assert open_fds() == before
    assert payload.fd < 0
    assert not payload.load().any()


def test_the_descriptor_is_closed_with_the_payload():
    """Nothing has to be said."""
    before = open_fds()
    payload = shared(pack_plainly(np.zeros(LARGE)))
    assert open_fds() != before
    del payload
    assert open_fds() == before


def test_a_payload_whose_memory_has_not_arrived_says_so():
    """As where the process had no descriptor left."""
    with pytest.raises(OSError, match="no descriptor left"):
        Payload((5,), fd=-1).load()
