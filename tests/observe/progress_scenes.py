"""Programs that show progress in a terminal: `python -m tests.observe.progress_scenes NAME`.

Whenever one says `look`, its screen is compared with the file in `golden` that has its name.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import Callable, Coroutine
from typing import Any

from asyncgraph import Runtime, delayed, start
from tests.observe.staging import Bar, Stage


async def pipeline() -> None:
    """Three functions, one after another, up to the end."""
    stage = Stage()
    fetch, parse, save = (stage.function(name) for name in ("fetch", "parse", "save"))
    print("before")
    async with Runtime(concurrency=4):
        with stage.bar:
            run = start(delayed(len, executor="loop")([save(parse(fetch(number))) for number in range(12)]))
            await stage.settle()
            stage.look("it has begun", after=0.5)
            await stage.let("fetch", 4)
            stage.look("some are fetched", after=2)
            await stage.let("parse", 3)
            await stage.let("save", 2)
            stage.look("some are saved", after=2)
            for _ in range(3):
                for name in ("fetch", "parse", "save"):
                    await stage.let(name, 4)
            print("The length is", await run)
    stage.look("the end")


async def prints() -> None:
    """What the program prints meanwhile is all there."""
    stage = Stage()
    step = stage.function("step")
    with stage.bar:
        run = start(delayed(len, executor="loop")([step(number) for number in range(4)]))
        await stage.settle()
        stage.look("nothing is printed", after=1)
        print("a line")
        stage.look("a line is printed", after=1)
        print("one line")
        print("another line, which is longer than the terminal is wide, so that it has two lines there")
        print("a third line")
        stage.look("some lines are printed", after=1)
        print("a line that is not com", end="", flush=True)
        stage.look("a part of a line is printed", after=1)
        print("plete", flush=True)
        stage.look("its end is printed", after=1)
        for number in range(30):
            print("line", number)
        stage.look("more than the screen holds is printed", after=1)
        await stage.let("step", 4)
        await run
    print("after")
    stage.look("the end")


async def growing() -> None:
    """There are more nodes than at first; one after another is returned."""
    stage = Stage()
    leaf = stage.function("leaf")
    branch = stage.function("branch", lambda: delayed(len, executor="loop")([leaf() for _ in range(6)]))
    with stage.bar:
        run = start(delayed(sum, executor="loop")([branch(), branch()]))
        await stage.settle()
        stage.look("nothing is known of leaves", after=1)
        await stage.let("branch", 1)
        await stage.let("leaf", 3)
        stage.look("one branch has leaves", after=1)
        await stage.let("branch", 1)
        await stage.let("leaf", 9)
        print(await run)
    stage.look("the end")


async def nested() -> None:
    """A run that is begun in a node of another is shown below that, and leaves nothing."""
    stage = Stage()
    part = stage.function("part")
    whole = stage.function("whole", lambda: delayed(len, executor="loop")([part(), part(), part()]).compute())
    with stage.bar:
        run = start(stage.function("after")(whole()))
        await stage.settle()
        stage.look("the outer run", after=1)
        await stage.let("whole", 1)
        await stage.let("part", 1)
        stage.look("both runs", after=1)
        await stage.let("part", 2)
        stage.look("the inner run is over", after=1)
        await stage.let("after", 1)
        await run
    stage.look("the end")


async def at_once() -> None:
    """Two runs at once, by two bars, share a terminal."""
    stage = Stage()
    left, right = stage.function("left"), stage.function("right")
    first = start(delayed(len, executor="loop")([left(), left()]), observers=[stage.bar])
    await stage.settle()
    stage.look("one run", after=1)
    other = Bar(stage.clock, minimum=0)
    second = start(right(), observers=[other])
    await stage.settle()
    stage.look("two runs", after=1)
    await stage.let("left", 2)
    await first
    stage.look("one is over", after=1)
    await stage.let("right", 1)
    await second
    stage.look("the end")


async def failing() -> None:
    """A run that fails says so, and what has become of its nodes."""
    stage = Stage()
    load, check = stage.function("load"), stage.function("check", lambda _: 1 / 0)
    with stage.bar:
        run = start(delayed(len, executor="loop")([check(load()) for _ in range(5)]))
        await stage.let("load", 3)
        stage.look("nothing has failed", after=1)
        await stage.let("check", 1)
        try:
            await run
        except ZeroDivisionError as error:
            print(error)
    stage.look("the end")


async def failures_as_values() -> None:
    """With `return_exceptions=True` a run goes on when something has failed."""
    stage = Stage()
    check = stage.function("check", lambda value: 1 / value)
    nodes = [check(number) for number in (0, 1, 0, 2, 3)]
    nodes += [delayed(round, name="save", executor="loop")(node) for node in nodes]
    with stage.bar:
        run = start(nodes, return_exceptions=True)
        await stage.let("check", 3)
        stage.look("two have failed", after=1)
        await stage.let("check", 2)
        print(len(await run))
    stage.look("the end")


async def cancelled() -> None:
    """A run that is cancelled says so."""
    stage = Stage()
    load = stage.function("load")
    with stage.bar:
        run = start(delayed(len, executor="loop")([load() for _ in range(5)]))
        await stage.let("load", 2)
        stage.look("some are loaded", after=1)
        run.cancel()
        try:
            await run
        except asyncio.CancelledError:
            print("cancelled")
    stage.look("the end")


async def interrupted() -> None:
    """Ctrl-C amid a run: its last state stays, and the cursor is below."""
    stage = Stage()
    load = stage.function("load")
    with stage.bar:
        run = start(delayed(len, executor="loop")([load() for _ in range(5)]))
        await stage.let("load", 2)
        stage.look("some are loaded", after=1)
        os.kill(os.getpid(), signal.SIGINT)
        try:
            await run
        finally:
            stage.look("the end")


async def left_behind() -> None:
    """A loop that is closed amid a run: its last state stays, and the program ends."""
    stage = Stage()
    load = stage.function("load")
    run = start(delayed(len, executor="loop")([load() for _ in range(5)]), observers=[stage.bar])
    await stage.let("load", 2)
    stage.look("some are loaded", after=1)
    loop = asyncio.get_running_loop()
    loop.set_exception_handler(lambda *_: None)  # what is said of tasks that were left behind
    loop.stop()
    await run


async def many_functions() -> None:
    """There are more functions than lines: those to which something happens are shown."""
    stage = Stage()
    functions = [stage.function(f"function {number}") for number in range(40)]
    with stage.bar:
        nodes: list[Any] = [function() for function in functions[:20]]
        nodes += [after(before) for after, before in zip(functions[20:], nodes, strict=True)]
        run = start(delayed(len, executor="loop")(nodes))
        for number in range(0, 20, 3):
            await stage.let(f"function {number}", 1)
        stage.look("some are running", after=1)
        for number in range(40):
            await stage.let(f"function {number}", 1)
        await run
    stage.look("the end")


async def names() -> None:
    """Names may be long, wide, or hold what is no text; all columns stay in line."""
    stage = Stage()
    texts = (
        "a_name_that_is_much_longer_than_there_is_room_for_it",
        "下载网页",
        "größe",
        "tab\there\nthere \x1b[2J",
        "👍",
    )
    with stage.bar:
        nodes = [stage.function(text)() for text in texts]
        run = start(delayed(len, executor="loop")(nodes))
        await stage.settle()
        stage.look("all are running", after=1)
        for text in texts:
            await stage.let(text, 1)
        await run
    stage.look("the end")


SCENES: dict[str, Callable[[], Coroutine[Any, Any, None]]] = {
    scene.__name__: scene
    for scene in (
        pipeline,
        prints,
        growing,
        nested,
        at_once,
        failing,
        failures_as_values,
        cancelled,
        interrupted,
        left_behind,
        many_functions,
        names,
    )
}

if __name__ == "__main__":
    if sys.argv[1] == "left_behind":
        loop = asyncio.new_event_loop()
        main = loop.create_task(left_behind())
        loop.run_forever()
        asyncio.set_event_loop(None)
        loop.close()
        assert not main.done()
    else:
        try:
            asyncio.run(SCENES[sys.argv[1]]())
        except KeyboardInterrupt:
            print("interrupted")
