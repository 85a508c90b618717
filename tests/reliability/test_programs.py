"""Rows 35 to 40: how programs end, and what is left of them then."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import threading
from typing import Any

import pytest

from asyncgraph import Runtime, compute, delayed, run, start
from asyncgraph.errors import RuntimeClosedError
from tests.reliability import harness
from tests.reliability.harness import PATIENCE, Stage, Witness, first_line, outcome_of, program

# A program with one of each kind of node under way, and an idle worker beside them. Its arguments are how
# it runs, and the pipe of the witness.
BUSY = """
import asyncio, signal, sys, threading
from asyncgraph import Runtime, compute, delayed, run
from tests.reliability.harness import hold, report

how, path = sys.argv[1:]
begun, release = threading.Semaphore(0), threading.Event()

@delayed
async def endless():
    begun.release()
    try:
        await asyncio.get_running_loop().create_future()
    finally:
        await asyncio.sleep(0)
        print("coroutine cleaned up", flush=True)
        release.set()

@delayed(executor="thread")
def blocked():
    begun.release()
    release.wait()
    print("thread ended", flush=True)

async def announce():
    await delayed(report, executor="process")(path)
    for _ in range(2):
        await asyncio.to_thread(begun.acquire)
    print("begun", flush=True)

async def main():
    if how == "handled":
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, asyncio.current_task().cancel)
    async with Runtime(processes=2):
        announcing = asyncio.ensure_future(announce())
        await compute(endless(), blocked(), delayed(hold, executor="process")(path))

try:
    (run if how == "run" else asyncio.run)(main())
except KeyboardInterrupt:
    sys.exit(130)
except asyncio.CancelledError:
    sys.exit(143)
"""


FORGETS = """
import asyncio, sys, threading
from asyncgraph import Runtime, delayed, start
from tests.reliability.harness import hold, report

async def main():
    runtime = Runtime(processes=2)
    await runtime.__aenter__()
    begun = asyncio.Event()
    loop = asyncio.get_running_loop()

    @delayed(executor="thread")
    def blocked():
        loop.call_soon_threadsafe(begun.set)
        threading.Event().wait()

    @delayed
    async def endless():
        await loop.create_future()

    runs = [start(blocked()), start(endless()), start(delayed(hold, executor="process")(sys.argv[1]))]
    await begun.wait()
    await delayed(report, executor="process")(sys.argv[1])
    return runtime, runs

loop = asyncio.new_event_loop()
kept = loop.run_until_complete(main())
print("begun", flush=True)
sys.stdin.read()
loop.close()
"""


def test_row_35_forgets_to_close(witness: Witness):
    """A program that closes nothing waits for no node when it ends, and is silent; no worker is left."""
    with program(FORGETS, witness.path, stdin=-1) as process:
        assert first_line(process) == "begun"
        assert witness.pid() != witness.pid()
        assert outcome_of(process) == (0, "", "")
    assert witness.is_alone(PATIENCE)


VANISHES = """
import asyncio, os, sys
from asyncgraph import Runtime, delayed, start
from tests.reliability.harness import hold, hold_the_interpreter, report

async def main():
    async with Runtime(processes=3):
        nodes = [delayed(each, executor="process")(sys.argv[1]) for each in (hold, hold_the_interpreter)]
        run = start(nodes)
        await delayed(report, executor="process")(sys.argv[1])
        print("begun", flush=True)
        await asyncio.to_thread(sys.stdin.read)
        os._exit(1)

asyncio.run(main())
"""


@pytest.mark.parametrize("how", ["SIGKILL", "os._exit"])
def test_row_36_parent_vanishes(witness: Witness, how: str):
    """Within a second of a program that was killed no worker is left, idle or busy, even deep in C code."""
    with program(VANISHES, witness.path, stdin=-1) as process:
        assert first_line(process) == "begun"
        assert len({witness.pid() for _ in range(3)}) == 3
        if how == "SIGKILL":
            process.kill()
        else:
            assert process.stdin is not None
            process.stdin.close()
        process.wait(harness.PATIENCE)
        assert witness.is_alone(PATIENCE)


def _uses_in_child(runtime: Runtime) -> list[str]:
    """What comes of the parent's runtime in a forked child, in which no loop is running."""
    seen = []
    for use in (lambda: runtime.start(delayed(1)), lambda: runtime.compute(delayed(1)).send(None)):
        try:
            use()
        except RuntimeClosedError as error:
            seen.append("forked" if "forked" in str(error) else str(error))
    try:
        runtime.__aexit__(None, None, None).send(None)
    except StopIteration:
        seen.append("left")
    seen.append(run(compute(delayed(abs, executor="thread")(-5))))
    return seen


@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
async def test_row_37_fork():
    """A forked child cannot use the runtime, nor harm it: what the parent has under way there goes on."""
    stage = Stage()
    async with Runtime(processes=1, threads=2) as runtime:
        worker = await delayed(os.getpid, executor="process")()
        going_on = start(stage.thread())
        await stage.have_begun("thread")
        reading, writing = os.pipe()
        child = os.fork()
        if not child:
            try:
                os.write(writing, repr(_uses_in_child(runtime)).encode())
            finally:
                os._exit(0)
        os.close(writing)
        with open(reading) as stream:
            assert await asyncio.to_thread(stream.read) == "['forked', 'forked', 'left', 5]"
        await asyncio.to_thread(os.waitpid, child, 0)
        assert not going_on.done()
        stage.release.set()
        assert await going_on == "thread"
        assert await delayed(os.getpid, executor="process")() == worker


@pytest.mark.parametrize("loops", ["asyncio", "uvloop"])
def test_row_38_loop_ends_with_work_pending(witness: Witness, loops: str):
    """When `asyncio.run` ends, what is going on is stopped, and has ended; the next loop starts anew."""
    factory = pytest.importorskip(loops).new_event_loop
    stages, cleaned_up = [], []

    async def clean() -> None:
        cleaned_up.append(asyncio.current_task())

    async def main() -> Any:
        stage = Stage()
        stages.append(stage)
        nodes = [stage.coroutine(name, clean=clean) for name in ("first", "second", "third")]
        nodes += [stage.thread(), delayed(harness.hold, executor="process")(witness.path)]
        going_on = start(nodes)
        await stage.have_begun("first", "second", "third", "thread")
        await witness.next_pid()
        return going_on

    before = threading.active_count()
    for _ in range(2):
        with asyncio.Runner(loop_factory=factory) as runner:
            going_on = runner.run(main())
            assert not going_on.done()
        assert going_on.done()
        assert stages[-1].running == []
        assert len(cleaned_up) == 3
        cleaned_up.clear()
        assert witness.is_alone()
        assert threading.active_count() == before


def _is_under_way(process: subprocess.Popen[str], witness: Witness) -> bool:
    """Wait until all nodes of `BUSY` have begun."""
    return first_line(process) == "begun" and witness.pid() != witness.pid()


CLEANED_UP = "coroutine cleaned up\nthread ended\n"


@pytest.mark.parametrize("how", ["run", "asyncio.run"])
def test_row_39_ctrl_c(witness: Witness, how: str):
    """One Ctrl-C ends a program whose nodes would never end: they have cleaned up, and no worker is left."""
    with program(BUSY, how, witness.path) as process:
        assert _is_under_way(process, witness)
        os.killpg(process.pid, signal.SIGINT)  # as a terminal does
        assert outcome_of(process) == (130, CLEANED_UP, "")
        assert witness.is_alone()


def test_row_40_sigterm(witness: Witness):
    """SIGTERM ends a program that does not handle it, and with it the workers."""
    with program(BUSY, "asyncio.run", witness.path) as process:
        assert _is_under_way(process, witness)
        process.terminate()
        assert outcome_of(process) == (-signal.SIGTERM, "", "")
        assert witness.is_alone(PATIENCE)


def test_row_40_sigterm_handled(witness: Witness):
    """A program that answers SIGTERM with a cancel of its task has cleaned up when that ends."""
    with program(BUSY, "handled", witness.path) as process:
        assert _is_under_way(process, witness)
        process.terminate()
        assert outcome_of(process) == (143, CLEANED_UP, "")
        assert witness.is_alone()
