"""Rule C12: Ctrl-C for the second time; and on loops that do not answer it as `asyncio.run` does."""

from __future__ import annotations

import os
import signal
import subprocess

import pytest

from tests.reliability.harness import Witness, first_line, outcome_of, program

# A worker that is busy, and one that is idle; and a coroutine that does not end when it is cancelled.
STUBBORN = """
import asyncio, sys
from asyncgraph import Runtime, compute, delayed, run
from tests.leaks import Snapshot
from tests.reliability.harness import hold, report

how, path = sys.argv[1:]

@delayed
async def clean_up_for_ever():
    begun.set()
    try:
        await asyncio.get_running_loop().create_future()
    finally:
        # The busy worker has been killed, the idle one has not.
        while len(Snapshot.take().children) > 1:
            await asyncio.sleep(0)
        loop = asyncio.get_running_loop()
        loop.call_soon(lambda: print("cleaning up", flush=True))  # when it waits, and does not run itself
        await loop.create_future()

async def announce():
    await delayed(report, executor="process")(path)
    await begun.wait()
    print("begun", flush=True)

async def main():
    global begun
    begun = asyncio.Event()
    async with Runtime(processes=2):
        announcing = asyncio.ensure_future(announce())
        await compute(clean_up_for_ever(), delayed(hold, executor="process")(path))

try:
    (run if how == "run" else asyncio.run)(main())
except KeyboardInterrupt:
    sys.exit(130)
"""


@pytest.mark.parametrize("how", ["run", "asyncio.run"])
def test_c12_second_ctrl_c(witness: Witness, how: str):
    """What still cleans up after the first Ctrl-C is cut short by the second, and no worker is left."""
    with program(STUBBORN, how, witness.path) as process:
        assert first_line(process) == "begun"
        assert witness.pid() != witness.pid()
        os.killpg(process.pid, signal.SIGINT)
        assert first_line(process) == "cleaning up"
        os.killpg(process.pid, signal.SIGINT)
        assert outcome_of(process) == (130, "", "")
        assert witness.is_alone()


ENDLESS = """
import asyncio, os
from asyncgraph import run

def interrupt():
    raise KeyboardInterrupt

async def endless():
    loop = asyncio.get_running_loop()
    while True:
        loop.call_soon(interrupt)
        try:
            await loop.create_future()
        except (asyncio.CancelledError, GeneratorExit):
            pass

try:
    run(endless())
except KeyboardInterrupt:
    os._exit(130)
"""


def test_c12_interrupts_until_the_end():
    """A `run` that is interrupted until it gives up raises KeyboardInterrupt, whatever its coroutine does."""
    with program(ENDLESS) as process:
        assert outcome_of(process)[0] == 130


# A call in a thread that nothing stops, beside one of each other kind.
STUCK = """
import asyncio, sys, threading
from asyncgraph import Runtime, compute, delayed, run
from tests.reliability.harness import hold, report

how, path = sys.argv[1:]

@delayed(executor="thread")
def stuck():
    loop.call_soon_threadsafe(begun.set)
    threading.Event().wait()

@delayed
async def endless():
    try:
        await loop.create_future()
    finally:
        loop.call_soon(lambda: print("cancelled", flush=True))

async def announce():
    await delayed(report, executor="process")(path)
    await begun.wait()
    print("begun", flush=True)

async def computing():
    announcing = asyncio.ensure_future(announce())
    await compute(endless(), stuck(), delayed(hold, executor="process")(path))

async def main():
    global loop, begun
    loop, begun = asyncio.get_running_loop(), asyncio.Event()
    if how.endswith("default"):
        await computing()
    else:
        async with Runtime(processes=2):
            await computing()

try:
    (asyncio.run if how.startswith("asyncio.run") else run)(main())
except KeyboardInterrupt:
    sys.exit(130)
"""


@pytest.mark.parametrize("how", ["run", "run, default", "asyncio.run", "asyncio.run, default"])
def test_c12_second_ctrl_c_and_a_stuck_thread(witness: Witness, how: str):
    """After the first Ctrl-C a thread is waited for; after the second nobody waits, and no worker is left."""
    with program(STUCK, how, witness.path) as process:
        assert first_line(process) == "begun"
        assert witness.pid() != witness.pid()
        os.killpg(process.pid, signal.SIGINT)
        assert first_line(process) == "cancelled"
        with pytest.raises(subprocess.TimeoutExpired):
            process.wait(0.2)
        os.killpg(process.pid, signal.SIGINT)
        assert outcome_of(process) == (130, "", "")
        assert witness.is_alone()


# As in a notebook: cells are tasks of one loop, which goes on after Ctrl-C. Either a signal handler cancels
# the cell, or KeyboardInterrupt leaves the loop; then the cell is cancelled, and the loop is run again.
NOTEBOOK = """
import asyncio, importlib, signal, sys, threading, time
from asyncgraph import compute, delayed
from tests.reliability.harness import hold, pid

loops, how, path = sys.argv[1:]
loop = importlib.import_module(loops).new_event_loop()
begun = threading.Semaphore(0)

@delayed
async def endless():
    begun.release()
    try:
        await loop.create_future()
    finally:
        await asyncio.sleep(0)
        print("coroutine cleaned up", flush=True)
        release.set()

@delayed(executor="thread")
def blocked():
    begun.release()
    release.wait()
    print("thread ended", flush=True)

@delayed
async def all_have_begun():
    for _ in range(2):
        await asyncio.to_thread(begun.acquire)
    await asyncio.to_thread(sys.stdin.readline)  # the worker

@delayed(executor="loop")
def say_so(_):
    if how == "amid a node":
        print("begun", flush=True)
        while True:
            time.sleep(0.01)
    loop.call_soon(lambda: print("begun", flush=True))  # when no node runs: else this is amid a node, too

def cell(node):
    task = loop.create_task(compute(node))
    task.add_done_callback(lambda _: loop.stop())
    if how == "handler":
        signal.signal(signal.SIGINT, lambda *_: loop.call_soon_threadsafe(task.cancel))
    while not task.done():
        try:
            loop.run_forever()
        except KeyboardInterrupt:
            task.cancel()
    if task.cancelled():
        return "cancelled"
    return repr(task.exception() or task.result())

for _ in range(2):
    release = threading.Event()
    nodes = [endless(), blocked(), delayed(hold, executor="process")(path), say_so(all_have_begun())]
    print(cell(nodes), flush=True)
    print(cell([delayed(abs)(-1), delayed(abs, executor="process")(-2)]), flush=True)
loop.run_until_complete(loop.shutdown_asyncgens())
loop.run_until_complete(loop.shutdown_default_executor())
loop.close()
"""


@pytest.mark.parametrize("how", ["handler", "raised", "amid a node"])
@pytest.mark.parametrize("loops", ["asyncio", "uvloop"])
def test_c12_a_loop_that_goes_on(witness: Witness, loops: str, how: str):
    """In a notebook Ctrl-C ends the cell: nodes clean up, the worker is killed, the next cell computes."""
    pytest.importorskip(loops)
    with program(NOTEBOOK, loops, how, witness.path, stdin=-1) as process:
        for _ in range(2):
            witness.pid()
            assert process.stdin is not None
            print(file=process.stdin, flush=True)
            assert first_line(process) == "begun"
            os.killpg(process.pid, signal.SIGINT)
            outcome = "KeyboardInterrupt()" if how == "amid a node" else "cancelled"
            lines = [first_line(process) for _ in range(3)]
            assert lines == ["coroutine cleaned up", "thread ended", outcome]
            assert witness.is_alone()
            assert first_line(process) == "[1, 2]"
        assert outcome_of(process) == (0, "", "")
