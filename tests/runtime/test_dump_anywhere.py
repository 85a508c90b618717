"""`dump` from wherever it is asked, other threads and signals among it, and to wherever it is written."""

from __future__ import annotations

import asyncio
import io
import os
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from asyncgraph import delayed, dump, dump_on_signal, start
from asyncgraph._graph import node as nodes
from tests.reliability.harness import PATIENCE, first_line, program
from tests.runtime.background import begin
from tests.runtime.dumping import SECONDS, read
from tests.runtime.durations import tiny


@pytest.fixture(autouse=True)
def _numbers(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the numbers in keys begin with 1."""
    monkeypatch.setattr(nodes, "_counters", {})


@pytest.mark.parametrize("go", [begin, start])
async def test_from_another_thread(go: Any) -> None:
    """While a plain function blocks the loop, another thread sees at which line."""
    told: list[str] = []
    may_look, has_looked = threading.Event(), threading.Event()

    def look() -> None:
        assert may_look.wait(SECONDS)
        told.append(read(run.dump))
        has_looked.set()

    def block() -> None:
        may_look.set() or has_looked.wait(SECONDS)  # at one line, as in `Gate`

    thread = threading.Thread(target=look)
    thread.start()
    run = go(delayed(block, executor="loop")())
    await run
    thread.join(SECONDS)
    assert re.search(
        r"    block-1: on the loop, running.*\n      at 'may_look.set\(\) or has_looked", told[0]
    )


async def test_from_threads_while_it_runs() -> None:
    """Threads that look all the time harm nobody."""
    may_end = threading.Event()
    looks: list[str] = []

    def look() -> None:
        while not may_end.is_set():
            file = io.StringIO()
            dump(file=file)
            looks.append(file.getvalue())

    async def later(number: int) -> int:
        await asyncio.sleep(0)
        return number

    threads = [threading.Thread(target=look) for _ in range(2)]
    for thread in threads:
        thread.start()
    try:
        for go in (begin, start):
            kinds = [
                delayed(later),
                delayed(abs),
                tiny(delayed(abs, executor="thread")),
                delayed(abs, executor="loop"),
            ]
            numbers = [kind(number) for kind in kinds for number in range(15)]
            assert await go(delayed(sum)(numbers)) == 4 * sum(range(15))
    finally:
        may_end.set()
        for thread in threads:
            thread.join(SECONDS)
    assert any("Run of sum-" in look for look in looks)


SIGNALLED = """
import asyncio, signal, sys
from asyncgraph import Runtime, compute, delayed, dump_on_signal

where, loop, handled_by = sys.argv[1:]

def block():
    print("begun", flush=True), sys.stdin.readline()

async def wait():
    reading = asyncio.get_running_loop().run_in_executor(None, sys.stdin.readline)
    asyncio.get_running_loop().call_soon(lambda: print("begun", flush=True))  # when it waits
    await reading

def before(*_):
    print("before", file=sys.stderr, flush=True)

async def main():
    if handled_by == "function":
        signal.signal(signal.SIGUSR1, before)
    elif handled_by == "loop":
        asyncio.get_running_loop().add_signal_handler(signal.SIGUSR1, before)
    dump_on_signal()
    dump_on_signal(signal.SIGUSR1)
    await compute(delayed(block, executor="loop")() if where == "blocked" else delayed(wait)())

factory = None
if loop == "uvloop":
    import uvloop
    factory = uvloop.new_event_loop
with asyncio.Runner(loop_factory=factory) as runner:
    runner.run(main())
"""

IN_PROGRAM = {
    "blocked": """\
  running:
    block-1: on the loop, running for … s
      at <string>:8, in block
""",
    "idle": """\
  running:
    wait-1: on the loop, suspended for … s
      at <string>:13, in wait
""",
}


@pytest.mark.parametrize("handled_by", ["nobody", "function", "loop"])
@pytest.mark.parametrize("loop", ["asyncio", "uvloop"])
@pytest.mark.parametrize("where", IN_PROGRAM)
def test_on_a_signal(where: str, loop: str, handled_by: str) -> None:
    """A program dumps, whether its loop is blocked or not; who has handled the signal before does too."""
    if loop == "uvloop":
        pytest.importorskip("uvloop")
    with program(SIGNALLED, where, loop, handled_by, stdin=subprocess.PIPE) as process:
        assert first_line(process) == "begun"
        process.send_signal(signal.SIGUSR1)
        text = _first_dump(process)
        assert process.stdin is not None
        assert process.stderr is not None
        process.stdin.write("\n")
        process.stdin.close()
        more, code = process.stderr.read(), process.wait(PATIENCE)
    assert text.startswith(f"asyncgraph in process {process.pid}: 1 run\nRun of ")
    assert IN_PROGRAM[where] in re.sub(r"\d\.\d\d s", "… s", text)
    assert (code, more) == (0, "" if handled_by == "nobody" else "before\n")


def _first_dump(process: subprocess.Popen[str]) -> str:
    """What a program writes, up to where a node was built."""
    assert process.stderr is not None
    lines: list[str] = []
    while not lines or not lines[-1].startswith("      built at "):
        lines.append(process.stderr.readline())
        assert lines[-1], "".join(lines)
    return "".join(lines)


@pytest.fixture
def handler() -> Iterator[Callable[[], Any]]:
    """Asks what handles SIGUSR1, which is put back in the end."""
    before = signal.getsignal(signal.SIGUSR1)
    yield lambda: signal.getsignal(signal.SIGUSR1)
    signal.signal(signal.SIGUSR1, before)


def test_on_a_signal_once(handler: Callable[[], Any], capsys: pytest.CaptureFixture[str]) -> None:
    """To ask for it twice makes one dump; to put the default back takes it away."""
    dump_on_signal()
    first = handler()
    dump_on_signal(signum=signal.SIGUSR1)
    assert handler() is first
    signal.raise_signal(signal.SIGUSR1)
    assert capsys.readouterr().err == f"asyncgraph in process {os.getpid()}: 0 runs\n"
    signal.signal(signal.SIGUSR1, signal.SIG_IGN)
    dump_on_signal()
    signal.raise_signal(signal.SIGUSR1)
    assert capsys.readouterr().err == f"asyncgraph in process {os.getpid()}: 0 runs\n"


WRONG = [
    ("SIGUSR1", TypeError, "dump_on_signal takes a signal, such as signal.SIGUSR1, not 'SIGUSR1'"),
    (True, TypeError, "dump_on_signal takes a signal, such as signal.SIGUSR1, not True"),
    (999, ValueError, "there is no signal 999: give one of signal.Signals, such as signal.SIGUSR1"),
    (0, ValueError, "there is no signal 0: give one of signal.Signals, such as signal.SIGUSR1"),
    (signal.SIGKILL, ValueError, "SIGKILL cannot be handled: give another, such as signal.SIGUSR1"),
    (
        signal.SIGSEGV,
        ValueError,
        (
            "SIGSEGV tells of a fault in machine code, which no function in Python can handle: use "
            "faulthandler.enable()"
        ),
    ),
]


@pytest.mark.parametrize(("signum", "kind", "message"), WRONG)
def test_wrong_signals(signum: Any, kind: type[Exception], message: str) -> None:
    """What cannot be right is refused, and what would be right is said."""
    with pytest.raises(kind) as caught:
        dump_on_signal(signum)
    assert str(caught.value) == message


def test_a_system_without_the_signal(monkeypatch: pytest.MonkeyPatch) -> None:
    """On Windows another signal has to be named."""
    monkeypatch.delattr(signal, "SIGUSR1")
    monkeypatch.setattr(sys, "platform", "win32")
    with pytest.raises(ValueError) as caught:
        dump_on_signal()
    assert str(caught.value) == (
        "there is no SIGUSR1 on this system: name a signal, as in dump_on_signal(signal.SIGBREAK)"
    )


def test_a_signal_in_another_thread() -> None:
    """Signals are the main thread's."""
    errors: list[BaseException] = []

    def try_it() -> None:
        try:
            dump_on_signal()
        except RuntimeError as error:
            errors.append(error)

    thread = threading.Thread(target=try_it)
    thread.start()
    thread.join(SECONDS)
    assert [str(error) for error in errors] == [
        "signals are handled by the main thread, and this is another one: call dump_on_signal in that"
    ]


# -- where to


class Busy(io.StringIO):
    """A file that is amid being written to, as standard error may be when a signal comes."""

    def write(self, text: str) -> int:
        """Refuse."""
        raise RuntimeError("reentrant call inside <_io.BufferedWriter name='<stderr>'>")


def test_where_it_is_written(capsys: pytest.CaptureFixture[str]) -> None:
    """By default that is standard error."""
    dump()
    assert capsys.readouterr().err == f"asyncgraph in process {os.getpid()}: 0 runs\n"


def test_standard_error_that_cannot_be_written_to(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """It is gone round; a program that has none is not harmed."""
    monkeypatch.setattr(sys, "stderr", Busy())
    dump()
    assert capfd.readouterr().err == f"asyncgraph in process {os.getpid()}: 0 runs\n"
    monkeypatch.setattr(sys, "stderr", None)
    dump()
    assert capfd.readouterr().err == ""


def test_a_file_that_fails() -> None:
    """What is wrong with a file that was given is told."""
    with pytest.raises(RuntimeError, match="reentrant"):
        dump(file=Busy())
