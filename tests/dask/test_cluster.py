"""Nodes on a cluster of Dask's: two worker processes."""

from __future__ import annotations

import asyncio
import os

import dask
import pytest

from asyncgraph import delayed, when


@delayed
def inc(number):
    """A function that another process finds by name."""
    return number + 1


@delayed
async def later(number):
    """A coroutine function; it says where it ran."""
    await asyncio.sleep(0)
    return number * 10, os.getpid()


@delayed
def refuse(number):
    """A function that fails."""
    raise ValueError(f"not {number}")


@pytest.fixture(autouse=True)
def _no_leaks():
    """A client opens connections and threads as it goes, and keeps them until it is closed."""


@pytest.fixture(scope="module")
def client():
    """A client of two worker processes, whose own threads are there before the tests."""
    from distributed import Client, LocalCluster

    options = {"n_workers": 2, "threads_per_worker": 1, "dashboard_address": ":0", "silence_logs": 50}
    with LocalCluster(**options) as cluster, Client(cluster, set_as_default=False) as client:
        client.submit(abs, -1).result()
        client.gather(client.compute([inc(1), inc(2)]))
        yield client


def test_a_client_computes_nodes(client):
    """Functions and coroutines run in the workers, and share what they need."""
    shared = inc(1)
    (value, pid), number = client.gather(client.compute([later(shared), shared + 1]))
    assert value == 20
    assert number == 3
    assert pid != os.getpid()


def test_choices_and_returned_nodes_run_in_the_worker(client):
    """What is chosen, or returned, is computed inside the task."""

    @delayed
    def grow(number):
        return inc(number) if number > 1 else grow(number + 1)

    chosen = when(inc(1) > 1, grow(0), refuse(1))
    assert client.compute(chosen).result() == 3


def test_a_failure_comes_back_as_itself(client):
    """The exception of a node has its class and message."""
    with pytest.raises(ValueError, match="not 2"):
        client.compute(refuse(inc(1))).result()


def test_dask_delayed_takes_nodes_there(client):
    """A node among the arguments of Dask's delayed function is computed on the cluster."""
    total = client.compute(dask.delayed(sum)([inc(1), inc(2)]))
    assert total.result() == 5


def test_persisted_values_stay_on_the_cluster(client):
    """A persisted node is a Dask collection, whose value later calls use."""
    kept = client.persist(inc(1))
    assert client.compute(kept).result() == 2
    assert client.compute(dask.delayed(abs)(kept)).result() == 2


def test_a_result_that_does_not_pickle_fails(client):
    """Nothing hangs: the future has the error."""
    import threading

    lock = delayed(threading.Lock)()
    with pytest.raises(TypeError, match="pickle"):
        client.compute(lock).result()
