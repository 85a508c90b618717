"""Calls that succeed, and how workers are handed out."""

from __future__ import annotations

import os
import pathlib

import pytest

from tests.executors.process import remote

BIG = 50_000_000


async def test_a_call_runs_in_another_process(pool):
    """The value of the function comes back from a process that is not ours."""
    assert await pool.value(remote.add, 2, 3) == 5
    assert await pool.value(remote.pid) != os.getpid()


async def test_keyword_arguments_cross(pool):
    """Positional and keyword arguments arrive as they were given."""
    assert await pool.value(remote.echo, 1, [2], x={"y": 3}) == (1, [2], {"x": {"y": 3}})


async def test_an_idle_worker_is_used_again(make_pool):
    """Calls one after the other all run in one worker."""
    pool = make_pool(slots=4)
    assert len({await pool.value(remote.pid) for _ in range(5)}) == 1


async def test_calls_run_at_the_same_time(pool, fifo):
    """With two slots two calls are running at once, each in a worker of its own."""
    calls = [pool.start(remote.hold, fifo.path) for _ in range(2)]
    assert await fifo.pid() != await fifo.pid()
    for call in calls:
        pool.cancel(call)
        await call.error()


async def test_a_nested_call_gets_a_worker_that_leaves_afterwards(make_pool, fifo, tmp_path):
    """One call beyond the slots runs at once; when it is done there are no more workers than slots."""
    pool = make_pool(slots=1)
    gate = tmp_path / "gate"
    os.mkfifo(gate)
    outer = pool.start(remote.wait_for, gate)
    assert await pool.value(remote.add, 1, 1) == 2
    gate.write_text("done")
    assert await outer.value() == "done"
    pids = [call.start(remote.pid) for call in [pool] * 4]
    assert len({await call.value() for call in pids}) <= 2
    assert len({await pool.value(remote.pid) for _ in range(3)}) == 1


async def test_more_calls_than_workers_all_run(pool):
    """Calls that find no free worker wait for one."""
    calls = [pool.start(remote.echo, number) for number in range(50)]
    assert [await call.value() for call in calls] == list(range(50))


async def test_large_arguments_and_results_cross(pool):
    """50 MB go there and back in one piece."""
    data = os.urandom(1000) * (BIG // 1000)
    assert await pool.value(remote.echo, data) == data


async def test_large_payloads_do_not_hold_others_up(pool):
    """A small call is done while a large one is still under way."""
    large = pool.start(remote.echo, b"x" * BIG)
    assert await pool.value(remote.add, 1, 1) == 2
    assert len(await large.value()) == BIG


@pytest.mark.parametrize("value", [None, True, 1, 1.5, 2j, "text", b"bytes", [], {"a": (1, {2})}])
async def test_values_come_back_with_their_types(pool, value):
    """Plain values and containers are what they were."""
    result = await pool.value(remote.echo, value)
    assert result == value
    assert type(result) is type(value)


async def test_output_goes_to_the_streams_of_the_parent(pool, capfd):
    """What a call prints is seen as soon as the call is over, and does not disturb the channel."""
    await pool.value(remote.print_both)
    assert capfd.readouterr() == ("to stdout\n", "to stderr\n")


async def test_a_worker_has_the_surroundings_of_the_parent(pool, tmp_path, monkeypatch):
    """Working directory, import path and arguments are the parent's; standard input is empty."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path / "added"))
    monkeypatch.setattr("sys.argv", ["program", "--option"])
    seen = await pool.value(remote.surroundings)
    assert seen["cwd"] == str(tmp_path)
    assert str(tmp_path / "added") in seen["path"]
    assert seen["argv"] == ["program", "--option"]
    assert seen["stdin"] == ""
    assert seen["sigint"]
    assert seen["session"]
    assert seen["main"] is None


async def test_numeric_libraries_share_the_cores(make_pool, monkeypatch):
    """Threads of numeric libraries are divided among the slots, unless the user has set them."""
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    monkeypatch.setenv("MKL_NUM_THREADS", "7")
    pool = make_pool(slots=1000)
    seen = await pool.value(remote.environment, "OMP_NUM_THREADS", "MKL_NUM_THREADS")
    assert seen == ["1", "7"]


async def test_programs_started_by_a_call_inherit_nothing_of_ours(pool):
    """The descriptors of the channel are closed in every program that a worker starts."""
    assert await pool.value(remote.inheritable) == []


async def test_a_worker_starts_without_what_it_may_not_need(pool):
    """A worker that has run a plain call has imported neither cloudpickle nor the parent's side."""
    modules = set(await pool.value(remote.modules))
    own = {name for name in modules if name.startswith("asyncgraph.executors.process.")}
    names = {name.rpartition(".")[2] for name in own}
    assert names.isdisjoint({"pool", "spawn", "handle", "exceptions"})


def test_slots_must_be_positive():
    """A pool without slots is refused where it is made."""
    from asyncgraph.executors.process import ProcessExecutor

    with pytest.raises(ValueError, match="at least 1"):
        ProcessExecutor(0, None)


def test_the_files_hold_no_stray_name():
    """The package offers ProcessExecutor and nothing by accident."""
    import asyncgraph.executors.process as package

    assert package.__all__ == ["ProcessExecutor", "is_worker"]
    assert not hasattr(package, "Pool")
    assert pathlib.Path(package.__file__).name == "__init__.py"
