"""What the tests of the command line share: a folder with files to run, and commands run in this process."""

from __future__ import annotations

import sys
import textwrap
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from asyncgraph.cli import main

GRAPH = """
from __future__ import annotations
import asyncio
from asyncgraph import Input, compile, compute, delayed

@delayed
async def fetch(x):
    return x * 10

@delayed
def inc(x):
    return x + 1

@delayed(executor="process")
def invert(x):
    return 1 / x

total = delayed(sum)([fetch(1), inc(2)])
broken = delayed(sum)([invert(4), invert(0)])
area = Input("width") * Input("height")
page = compile(area, inc(1))
pair = {"total": total, "broken": broken}
number = 3
_hidden = inc(1)

def build(count, *, by=1):
    return [inc(index) * by for index in range(count)]

def scaled(width):
    return area + Input("width") * width

def anything(**values):
    return delayed(dict)(values)

async def later(count=2):
    await asyncio.sleep(0)
    return build(count)

async def computing(count=2):
    return await compute(*build(count))
"""


class Ended(NamedTuple):
    """How a command has ended.

    Attributes:
        code: Its exit code.
        out: What it has written to standard output.
        err: What it has written to standard error.
    """

    code: int
    out: str
    err: str


Command = Callable[..., Ended]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Be in a folder with `graph.py`; what is imported from it is forgotten afterwards."""
    (tmp_path / "graph.py").write_text(GRAPH)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])
    yield tmp_path
    for name, module in list(sys.modules.items()):
        if (getattr(module, "__file__", None) or "").startswith(f"{tmp_path}/"):
            del sys.modules[name]


@pytest.fixture
def command(folder: Path, capsys: pytest.CaptureFixture[str]) -> Command:
    """Run a command in this process, from that folder."""

    def run(*words: str) -> Ended:
        code = main(words)
        captured = capsys.readouterr()
        return Ended(code, captured.out, captured.err)

    return run


@pytest.fixture
def program(folder: Path) -> Callable[[str, str], None]:
    """Write a file into that folder."""

    def write(name: str, source: str) -> None:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(textwrap.dedent(source))

    return write
