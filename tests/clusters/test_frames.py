"""What travels to and from Dask's scheduler, by whatever protocol: buffers are not copied into a pickle."""

from __future__ import annotations

import threading

import numpy as np
import pytest
from distributed.protocol import to_serialize
from distributed.protocol.core import dumps, loads

from asyncgraph.errors import SerializationError
from asyncgraph.executors.dask_frames import moved_in_frames
from asyncgraph.executors.packing import Packed, packed_value
from asyncgraph.executors.travel import Held

# As Dask's scheduler has it with everybody.
OLD = {"pickle-protocol": 4}


@pytest.fixture(autouse=True)
def told() -> None:
    """Let Dask know, which is not done when our types were imported before Dask."""
    for kind in (Packed, Held):
        moved_in_frames(kind)


@pytest.mark.parametrize("wrapped", [packed_value, lambda array: Held(array, "key")], ids=["packed", "held"])
def test_large_buffers_travel_as_they_are(wrapped):
    """What is sent is the memory of the array; what arrives is an array that can be written to."""
    array = np.arange(100_000)
    frames = dumps({"data": to_serialize(wrapped(array))}, context=OLD)
    assert any(np.shares_memory(np.frombuffer(frame, np.uint8), array) for frame in frames)
    arrived = loads([bytearray(frame) for frame in frames])["data"]
    value = arrived.value() if isinstance(arrived, Held) else arrived.load()
    assert (value == array).all()
    assert value.flags.writeable


def test_what_does_not_pickle():
    """A word about that goes in its place, as in any other way; and it is sent on as it came."""
    held = Held(threading.Lock(), "lock-1")
    for _ in range(2):
        held = loads(dumps({"data": to_serialize(held)}, context=OLD))["data"]
        with pytest.raises(SerializationError, match="The result of lock-1 cannot be sent back"):
            held.value()
