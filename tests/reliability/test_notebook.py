"""A notebook's kernel, a real one: cells with `await`, which are interrupted, and what is left of them.

Whoever drives a kernel has threads, sockets and a loop of their own. So a program does that here, too: it is
told which cells to run, by name, and says what came of each.
"""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.reliability.harness import PATIENCE, Witness, first_line, outcome_of, program

pytest.importorskip("ipykernel")

DRIVER = """
import json, os, sys, warnings
warnings.simplefilter("ignore")  # those of the libraries that drive the kernel
from jupyter_client import KernelManager

folder = os.environ["IPYTHONDIR"] = sys.argv[1]
manager = KernelManager(transport="ipc", ip=f"{folder}/ipc", connection_file=f"{folder}/connection.json")
manager.start_kernel(env=os.environ)
client = manager.blocking_client()
client.start_channels()
client.wait_for_ready(timeout=30)

def on_message(message):
    content = message["content"]
    if message["msg_type"] == "stream":
        print(content["text"], end="", flush=True)
        if content["text"] == "interrupt me\\n":
            manager.interrupt_kernel()
    elif message["msg_type"] == "execute_result":
        print(content["data"]["text/plain"], flush=True)

for line in sys.stdin:
    order, code = json.loads(line)
    if order == "run":
        reply = client.execute_interactive(code, output_hook=on_message)["content"]
        print("over:", reply.get("ename", reply["status"]), flush=True)
    else:
        client.stop_channels()
        manager.shutdown_kernel(now=order == "kill")
        print("ended", flush=True)
        break
"""

SETUP = """
import asyncio, threading
from asyncgraph import compute, delayed, start
from tests.reliability.harness import hold, pid, report

def raise_(kind):
    raise kind(3)

async def raise_later(kind):
    await asyncio.sleep(0)
    raise kind(3)

# An interrupt does not wake the loop of ipykernel, whatever is awaited: something else has to.
async def tick():
    while True:
        await asyncio.sleep(0.01)

ticking = asyncio.ensure_future(tick())
"""

# Nodes of each kind that never end by themselves; and one that waits for the others.
ENDLESS = """
release, begun = threading.Event(), threading.Semaphore(0)

@delayed
async def endless():
    begun.release()
    try:
        await asyncio.get_running_loop().create_future()
    finally:
        await asyncio.sleep(0)
        print("coroutine cleaned up", flush=True)
        release.set()

@delayed
def blocked():
    begun.release()
    release.wait()

@delayed
async def interrupt():
    for _ in range(2):
        await asyncio.to_thread(begun.acquire)
    await asyncio.to_thread(lambda: open({ready!r}).close())  # the worker
    loop = asyncio.get_running_loop()
    loop.call_soon(lambda: print("interrupt me", flush=True))  # when no node runs
    await loop.create_future()

await compute(endless(), blocked(), delayed(hold, executor="process")({path!r}), interrupt())
"""


class Kernel:
    """A kernel, and who drives it."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process
        self.has_ended = False

    def begin(self, cell: str) -> None:
        """Run a cell, and do not wait for it."""
        self._tell("run", cell)

    def run(self, cell: str) -> list[str]:
        """Run a cell; what it has printed, and the name of its error."""
        self.begin(cell)
        return self.outcome()

    def outcome(self) -> list[str]:
        """What the cell that is running prints, and the name of its error."""
        lines = [first_line(self._process)]
        while not lines[-1].startswith("over: "):
            assert lines[-1], outcome_of(self._process)
            lines.append(first_line(self._process))
        return [*lines[:-1], lines[-1].removeprefix("over: ")]

    def end(self, how: str) -> None:
        """End the kernel."""
        self.has_ended = True
        self._tell(how, "")
        assert outcome_of(self._process)[:2] == (0, "ended\n")

    def _tell(self, order: str, code: str) -> None:
        print(json.dumps([order, code]), file=self._process.stdin, flush=True)


@pytest.fixture
def kernel(tmp_path: Path) -> Iterator[Kernel]:
    """A kernel that has begun."""
    with program(DRIVER, str(tmp_path), stdin=subprocess.PIPE) as process:
        kernel = Kernel(process)
        assert kernel.run(SETUP) == ["ok"]
        yield kernel
        if not kernel.has_ended:
            kernel.end("kill")


def test_c12_a_notebook(kernel: Kernel, witness: Witness, tmp_path: Path) -> None:
    """An interrupted cell has cleaned up and left no worker that was busy; the next one computes."""
    ready = tmp_path / "ready"
    for number in range(2):
        ready.unlink(missing_ok=True)
        os.mkfifo(ready)
        kernel.begin(ENDLESS.format(path=witness.path, ready=str(ready)))
        witness.pid()
        ready.write_text("")
        lines = kernel.outcome()
        assert lines[:-1] == ["interrupt me", "coroutine cleaned up"]
        assert lines[-1] in {"KeyboardInterrupt", "CancelledError"}
        assert witness.is_alone(PATIENCE)
        cell = f"await compute(delayed(abs)({-number}), delayed(abs, executor='process')(-2))"
        assert kernel.run(cell) == [f"({number}, 2)", "ok"]


def test_cells_of_a_notebook(kernel: Kernel, witness: Witness) -> None:
    """`await` works at the top of a cell, runs go on between cells, and no worker outlives the kernel."""
    assert kernel.run("await (delayed(abs)(-3) + 1)") == ["4", "ok"]
    define = "def double(x):\n    return 2 * x\n"
    assert kernel.run(f"{define}run = start(delayed(double, executor='process')(4))") == ["ok"]
    assert kernel.run("await run") == ["8", "ok"]
    assert kernel.run("await delayed(double, executor='process')(5)") == ["10", "ok"]
    assert kernel.run("await (delayed(1) / 0)") == ["ZeroDivisionError"]
    for kind in ("KeyboardInterrupt", "SystemExit"):
        leaving = {
            "delayed(raise_later)": kind,
            "delayed(raise_, executor='loop')": kind,
            "delayed(raise_, executor='thread')": "NodeExitedError",
            "delayed(raise_, executor='process')": "NodeExitedError",
        }
        for function, expected in leaving.items():
            assert kernel.run(f"await {function}({kind})")[-1] == expected
            assert kernel.run("await delayed(abs)(-3)") == ["3", "ok"]
    leave_workers(kernel, witness)
    kernel.end("shut down")
    assert witness.is_alone(PATIENCE)


@pytest.mark.parametrize("executor", ["loop", "thread", "process"])
def test_a_failure_is_shown_in_a_cell(kernel: Kernel, executor: str) -> None:
    """The kernel reads the frames of an exception, those of a worker process too, and goes on."""
    assert kernel.run(f"await delayed(raise_, executor={executor!r})(KeyError)") == ["KeyError"]
    assert kernel.run("await delayed(abs)(-3)") == ["3", "ok"]


def test_no_worker_outlives_a_kernel_that_is_killed(kernel: Kernel, witness: Witness) -> None:
    """Neither one that is idle nor one that is busy."""
    leave_workers(kernel, witness)
    kernel.end("kill")
    assert witness.is_alone(PATIENCE)


def leave_workers(kernel: Kernel, witness: Witness) -> None:
    """Have a worker that is busy, and one that is idle."""
    report, hold = (f"delayed({each}, executor='process')({witness.path!r})" for each in ("report", "hold"))
    assert kernel.run(f"busy = start([{hold}])\nawait {report}\nNone") == ["ok"]
    assert witness.pid() != witness.pid()
