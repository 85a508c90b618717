"""`run()`: what a plain script calls."""

from __future__ import annotations

import asyncio
import shlex
import signal
import subprocess
import sys
import textwrap
from typing import Any

import pytest

from asyncgraph import delayed, run

inc = delayed(lambda x: x + 1, executor="thread", name="inc")


def test_run_takes_a_node() -> None:
    """A node is computed on a loop of its own, and again on another."""
    assert [run(inc(1)), run(inc(2))] == [2, 3]


def test_run_takes_a_coroutine() -> None:
    """`main()` runs with the default runtime at hand."""

    async def main(x: int) -> int:
        return await inc(await inc(x))

    assert run(main(1)) == 3


def test_run_uses_uvloop_where_it_is_installed() -> None:
    """The fast loop is found without being asked for."""
    uvloop = pytest.importorskip("uvloop")

    async def main() -> object:
        return asyncio.get_running_loop()

    assert isinstance(run(main()), uvloop.Loop)


@pytest.mark.parametrize("closed", ["<&-", ">&-", "2>&-", "<&- >&- 2>&-"])
def test_run_works_where_a_standard_stream_is_closed(closed: str) -> None:
    """Uvloop would abort the program when it closes descriptors that have the numbers of these streams."""
    script = """
    from asyncgraph import delayed, run
    raise SystemExit(run(delayed(abs)(-3) + delayed(abs, executor="process")(-4)))
    """
    command = shlex.join([sys.executable, "-c", textwrap.dedent(script)])
    ended = subprocess.run(["sh", "-c", f"exec {command} {closed}"], check=False, timeout=50)
    assert ended.returncode == 7


def test_run_raises_what_the_node_raises() -> None:
    """The user's own exception leaves run."""
    error = ValueError("boom")

    @delayed
    def fail() -> None:
        raise error

    with pytest.raises(ValueError, match="boom") as caught:
        run(fail())
    assert caught.value is error


async def test_run_inside_a_running_loop_says_what_to_do() -> None:
    """It is refused with `await` as the way out, and the coroutine does not warn that nobody awaited it."""

    async def main() -> None:
        """Never begun."""

    for given in (main(), inc(1)):
        with pytest.raises(RuntimeError, match="an event loop is running here already: `await` the node"):
            run(given)


@pytest.mark.parametrize("wrong", [1, None, "main", len, inc, [inc(1)]])
def test_run_refuses_what_is_neither(wrong: Any) -> None:
    """Anything else is a TypeError that shows it."""
    with pytest.raises(TypeError, match=r"run\(\) takes a node or a coroutine, not"):
        run(wrong)


@pytest.mark.parametrize("kind", ["coroutine", "process"])
def test_ctrl_c_ends_a_script_cleanly(kind: str) -> None:
    """One SIGINT cancels the run, kills its workers, and leaves a KeyboardInterrupt and nothing beside it."""
    source = f"""
        import asyncio, sys, time
        from asyncgraph import delayed, run, start

        async def sleep():
            try:
                await asyncio.sleep(1000)
            finally:
                print("cleaned", flush=True)

        async def main():
            kind = {kind!r}
            node = delayed(sleep)() if kind == "coroutine" else delayed(time.sleep, executor="process")(1000)
            going_on = start(node)
            while not going_on.statistics().running:
                await asyncio.sleep(0)
            print("ready", flush=True)
            await going_on

        run(main())
    """
    command = [sys.executable, "-W", "error", "-c", textwrap.dedent(source)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=30)  # and not 1000
    assert out == ("cleaned\n" if kind == "coroutine" else "")
    assert process.returncode == -signal.SIGINT
    assert err.rstrip().endswith("KeyboardInterrupt")
    for word in ("never retrieved", "destroyed", "never awaited", "Warning", "ignored in"):
        assert word not in err
