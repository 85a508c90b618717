"""Rule C12: Ctrl-C for the second time, when the first has not yet ended the program."""

from __future__ import annotations

import os
import signal
import time

import pytest

from tests.reliability.harness import Witness, first_line, outcome_of, program

QUICK = 1.5
"""Seconds: how long an interrupted program may take to end."""

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
        began = time.monotonic()
        os.killpg(process.pid, signal.SIGINT)
        assert outcome_of(process) == (130, "", "")
        assert time.monotonic() - began < QUICK
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
