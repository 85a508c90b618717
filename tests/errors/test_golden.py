"""Printed tracebacks as their readers get them, compared with the files in `golden`.

What is printed is part of what users are promised. So it changes on purpose only: to renew the files, run
this with ASYNCGRAPH_RENEW_GOLDEN=1, and look at what `git diff` says of them.
"""

from __future__ import annotations

import os
import re
import traceback
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import pytest

import asyncgraph
from asyncgraph._graph import node as nodes
from tests.errors.failing import CASES

FOLDER = Path(__file__).with_name("golden")
PACKAGE = str(Path(asyncgraph.__file__).parent)

_OWN_FRAME = re.compile(rf'File "{re.escape(PACKAGE)}/([^"]+)", line \d+')
# What the standard library and others have in their lines differs between versions, as do the marks under
# the part of a line that failed.
_OTHERS_FRAME = re.compile(r'(?m)^( [ |]*)File "[^"]*/python3[^"]*/(\w+\.py)", line \d+, in (\w+)\n.*\n')
_CARETS = re.compile(r"(?m)^[ |]*[ ~^]*[~^][ ~^]*\n")


@pytest.fixture(autouse=True)
def _keys_from_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(nodes, "_counters", {})


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.__name__)
async def test_a_failure_prints_as_in_its_file(case: Callable[[], Coroutine[Any, Any, Any]]) -> None:
    """The user's frames, whole; one of asyncgraph's for each await; and the note that names the node."""
    with pytest.raises(BaseException) as caught:
        await case()
    error = caught.value
    assert error.__traceback__ is not None
    shown = printed(error.with_traceback(error.__traceback__.tb_next))  # without the frame of this test
    path = FOLDER / f"{case.__name__}.txt"
    if os.environ.get("ASYNCGRAPH_RENEW_GOLDEN"):
        path.write_text(shown, "utf-8")
    assert shown == path.read_text("utf-8")


def test_there_is_a_file_for_each_case_and_no_other() -> None:
    """No file is left of a case that is gone."""
    assert sorted(path.name for path in FOLDER.iterdir()) == sorted(f"{case.__name__}.txt" for case in CASES)


def test_there_are_hardly_any_frames_of_ours() -> None:
    """For each line of the user's that awaits there is at most one frame of asyncgraph's below it."""
    for path in FOLDER.iterdir():
        text = path.read_text("utf-8")
        assert text.count('File "asyncgraph/') <= max(text.count("    return await "), 1), path.name


def printed(error: BaseException) -> str:
    """What the interpreter prints, without what differs from machine to machine and version to version."""
    text = "".join(traceback.format_exception(error))
    text = _CARETS.sub("", text)
    text = _OWN_FRAME.sub(r'File "asyncgraph/\1", line …', text)
    text = _OTHERS_FRAME.sub(r'\1File "\2", line …, in \3\n', text)
    text = text.replace(f"{Path(__file__).parent}/", "")
    return re.sub(r"pid \d+", "pid …", text)
