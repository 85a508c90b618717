"""The rig itself: what it must report it reports, and what is clean it lets pass.

Inner test files run in a pytest of their own, under the settings of this project.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.leaks import Snapshot

ROOT = Path(__file__).parent.parent

LEAKY_CONFTEST = """
import tests.leaks

pytest_plugins = ["tests.conftest"]
tests.leaks.GRACE = 0.3  # long enough for test_clean_late_thread
"""

LEAKY = """
from __future__ import annotations

import asyncio, os, subprocess, sys, threading, types

import pytest
from hypothesis import given, settings, strategies as st

kept = []


class Resource:
    def __init__(self):
        self.task = None

    def start(self):
        self.task = asyncio.create_task(asyncio.Event().wait(), name="of a fixture")


@pytest.fixture
async def resource():
    resource = Resource()
    yield resource
    resource.task.cancel()


def test_clean():
    pass


async def test_clean_async():
    await asyncio.gather(asyncio.sleep(0), asyncio.to_thread(int))


async def test_clean_fixture(resource):
    resource.start()


async def test_clean_end_of_loop():
    async def until_the_loop_closes():
        reading, writing = os.pipe()
        try:
            yield
        finally:
            os.close(reading)
            os.close(writing)
    kept.append(until_the_loop_closes())
    await anext(kept[-1])


def test_clean_cycle():
    class Node:
        def __init__(self):
            self.file = os.fdopen(os.dup(0))
            self.me = self
        def __del__(self):
            self.file.close()
    Node()


def test_clean_late_thread():
    started = threading.Event()
    def work():
        started.set()
        threading.Event().wait(0.05)
    threading.Thread(target=work, daemon=True).start()
    started.wait()


@given(st.integers())
async def test_clean_hypothesis(number):
    await asyncio.sleep(0)


def test_leaks_thread():
    threading.Thread(target=threading.Event().wait, name="forgotten", daemon=True).start()


def test_leaks_descriptor():
    kept.append(os.pipe())


def test_leaks_child():
    kept.append(subprocess.Popen([sys.executable, "-c", "input('forgotten child')"], stdin=subprocess.PIPE,
                                 stdout=subprocess.DEVNULL))


def test_leaks_zombie():
    child = subprocess.Popen([sys.executable, "-c", ""], stdout=subprocess.PIPE)
    with child.stdout:
        child.stdout.read()
    kept.append(child)


async def test_leaks_task():
    kept.append(asyncio.create_task(asyncio.Event().wait(), name="forgotten task"))


@settings(max_examples=20)
@given(st.integers())
async def test_leaks_task_hypothesis(number):
    kept.append(asyncio.create_task(asyncio.Event().wait(), name="forgotten task"))


def test_fails_for_itself():
    kept.append(os.dup(0))
    assert 1 == 2


async def test_loop(anyio_backend_options):
    name = type(asyncio.get_running_loop()).__module__.partition(".")[0]
    assert name == ("uvloop" if anyio_backend_options.get("use_uvloop") else "asyncio")
"""

HANGING = """
from __future__ import annotations

import threading


def test_before():
    pass


def test_hangs():
    threading.Event().wait()


def test_after():
    pass
"""

DOCUMENT = """
# A document

```python
import asyncio
word = await asyncio.sleep(0, "first")
```

Later blocks see the same names and the same loop.

```python
>>> word
'first'
>>> await asyncio.sleep(0, len(word))
5
>>> for letter in "ab":
...     print(letter)
a
b
>>> 1 / 0
Traceback (most recent call last):
ZeroDivisionError: division by zero
```

<!--- skip: next -->
```python
raise SystemExit("skipped by the comment")
```

```python notest
if __name__ == "__main__":
    print("the info string does not exempt", word)
    raise LookupError("run all the same")
```

```pycon
>>> word
'second'
```

```sh
exit 1
```
"""

MODULE = '''
"""A module.

Example:
    >>> import asyncio
    >>> await asyncio.sleep(0, twice(2))
    4
"""

def twice(number):
    """Double.

    Example:
        >>> twice(1)
        3
    """
    return 2 * number
'''


@pytest.fixture(scope="module")
def leaky(tmp_path_factory):
    """Run the leaky test file once, for all tests here that look at its report."""
    folder = tmp_path_factory.mktemp("leaky")
    (folder / "conftest.py").write_text(LEAKY_CONFTEST)
    (folder / "test_leaky.py").write_text(LEAKY)
    return run_pytest(folder)


@pytest.fixture(scope="module")
def documents(tmp_path_factory):
    """Run a document and a module with good and bad examples once."""
    folder = tmp_path_factory.mktemp("documents")
    (folder / "conftest.py").write_text((ROOT / "conftest.py").read_text())
    (folder / "asyncgraph").mkdir()
    (folder / "asyncgraph" / "documented.py").write_text(MODULE)
    (folder / "guide.md").write_text(DOCUMENT)
    return run_pytest(folder, PYTHONPATH=f"{ROOT}{os.pathsep}{folder / 'asyncgraph'}")


@pytest.mark.parametrize("loop", ["asyncio", "uvloop"])
@pytest.mark.parametrize("name", ["async", "fixture", "end_of_loop", "hypothesis"])
def test_clean_async_tests_pass(leaky, name, loop):
    """What ends with a fixture, with the loop or in time is no leak, on either loop."""
    assert outcomes(leaky, f"test_clean_{name}[{loop}]") == {"PASSED"}


@pytest.mark.parametrize("name", ["test_clean", "test_clean_cycle", "test_clean_late_thread"])
def test_clean_tests_pass(leaky, name):
    """What the collector closes, or what ends by itself soon, is no leak."""
    assert outcomes(leaky, name) == {"PASSED"}


needs_proc = pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="there is no /proc to read from")


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("thread", r"daemon thread 'forgotten', which is at\n(.*\n)*.*in wait"),
        pytest.param("descriptor", r"descriptor \d+: pipe:\[\d+\]", marks=needs_proc),
        pytest.param("child", r"child \d+: .*input\('forgotten child'\)", marks=needs_proc),
        pytest.param("zombie", r"child \d+: \(has ended, but nobody waited for it\)", marks=needs_proc),
    ],
)
def test_a_leak_is_reported(leaky, name, told):
    """A test that leaves something behind fails in its teardown, with a text that says what."""
    assert outcomes(leaky, f"test_leaks_{name}") == {"PASSED", "ERROR"}
    assert re.search(told, report_of(leaky, f"test_leaks_{name}"))


@pytest.mark.parametrize("loop", ["asyncio", "uvloop"])
@pytest.mark.parametrize("name", ["task", "task_hypothesis"])
def test_a_leaked_task_is_reported(leaky, name, loop):
    """So does an async test that leaves a task pending; the text shows where the task stands."""
    test = f"test_leaks_{name}[{loop}]"
    assert outcomes(leaky, test) == {"PASSED", "ERROR"}
    report = report_of(leaky, test)
    assert re.search(r"task 'forgotten task'\nStack for .*\n(.*\n)*.*in wait", report)
    assert ("- and " in report) == (name == "task_hypothesis")


def test_a_failed_test_is_not_checked(leaky):
    """A failure keeps what its frames hold; it is reported alone."""
    assert outcomes(leaky, "test_fails_for_itself") == {"FAILED"}


@pytest.mark.parametrize("loop", ["asyncio", "uvloop"])
def test_async_tests_run_on_the_loop_they_name(leaky, loop):
    """The variants of an async test run on the event loop in their names."""
    assert outcomes(leaky, f"test_loop[{loop}]") == {"PASSED"}


def test_the_grace_ends_with_the_leak():
    """A descriptor that is closed is no longer a leak, whatever number it had."""
    before = Snapshot.take()
    reading, writing = os.pipe()
    leaks = before.leaks()
    os.close(reading)
    os.close(writing)
    assert len(leaks) == 2 * Path("/proc/self/fd").exists()
    assert before.leaks() == []


def test_document_blocks_run_in_one_session(documents):
    """Blocks of code and `>>>` lines share names and loop, may await, and an expected error is none."""
    assert outcomes(documents, "guide.md::line:4,column:1") == {"PASSED"}
    assert outcomes(documents, "guide.md::line:11,column:1") == {"PASSED"}


def test_document_blocks_are_exempt_only_by_comment(documents):
    """A comment skips the next block; a word in the info string does not."""
    assert outcomes(documents, "guide.md::line:26,column:1") == {"PASSED"}
    assert outcomes(documents, "guide.md::line:30,column:1") == {"FAILED"}
    assert "LookupError: run all the same" in documents
    assert "guide.md:33: LookupError" in documents


def test_document_output_is_compared(documents):
    """A `>>>` line whose output differs fails with its own line, what was expected and what came."""
    assert outcomes(documents, "guide.md::line:36,column:1") == {"FAILED"}
    assert "line 37: word\nExpected:\n    'second'\nGot:\n    'first'" in documents


def test_docstrings_run_like_documents(documents):
    """Examples in docstrings see the module's names, may await, and are compared."""
    assert outcomes(documents, "documented.py::line:5,column:1") == {"PASSED"}
    assert outcomes(documents, "documented.py::line:14,column:1") == {"FAILED"}
    assert "line 14: twice(1)\nExpected:\n    3\nGot:\n    2" in documents


def test_what_hangs_says_where_and_ends(tmp_path):
    """The stacks of a test that takes too long are written, it has failed, and those behind it are run."""
    (tmp_path / "test_hanging.py").write_text(HANGING)
    report = run_pytest(tmp_path, "-n1", "-ofaulthandler_timeout=2")
    assert "Timeout (0:00:02)!" in report
    assert re.search(r"^  File .*, line \d+ in test_hangs$", report, re.MULTILINE)
    assert "crashed while running 'test_hanging.py::test_hangs'" in report
    assert "1 failed, 2 passed" in report


def test_every_folder_of_tests_is_a_package():
    """Test files of one name in two folders do not clash, and workers can import what is in them."""
    folders = {path.parent for path in (ROOT / "tests").rglob("*.py")}
    assert [folder for folder in sorted(folders) if not (folder / "__init__.py").exists()] == []


def run_pytest(folder, *options, **environment):
    """Return the report of a pytest run over a folder."""
    settings = [
        f"-c{ROOT / 'pyproject.toml'}",
        f"--rootdir={folder}",
        "--color=no",
        "-vv",
        "-pno:cacheprovider",
    ]
    finished = subprocess.run(
        [sys.executable, "-m", "pytest", *settings, *options, folder],
        cwd=folder,
        env=os.environ | {"PYTHONPATH": str(ROOT), "COLUMNS": "200"} | environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    return finished.stdout


def outcomes(report, test):
    """Return how a test ended, in a verbose report: a passed test may have an error as well."""
    return set(re.findall(rf"^\S*{re.escape(test)} (PASSED|FAILED|ERROR|SKIPPED)", report, re.MULTILINE))


def report_of(report, test):
    """Return the part of a report that is about the error of a test."""
    return report.partition(f"ERROR at teardown of {test} ")[2].partition("\n____")[0]
