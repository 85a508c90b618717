from __future__ import annotations

import importlib.util
import re
import sys
from pathlib import Path

import pytest
from starlette.testclient import TestClient

from tests.examples.running import EXAMPLES, command, output_of, run

HELLO = """\
<Delayed truediv-1>

Nothing has run yet; this is what it would take:
  'inc-1': inc(1)
  'inc-2': inc(2)
  'add-1': add(inc-1, inc-2)
  'truediv-1': truediv(add-1, 2)

Now it runs, the two inc at once:
  await average = 2.5

The graph as a picture, in Mermaid:
flowchart BT
    n0("inc-1")
    n1("inc-2")
    n2("add-1")
    n3("truediv-1")
    n0 -->|"one"| n2
    n1 -->|"other"| n2
    n2 --> n3
"""


def test_hello():
    """The first example prints the node, its graph as a dictionary, its value and its picture."""
    assert output_of(*command("hello.py")) == HELLO


def test_delayed_execution():
    """Each way of delaying comes to the same area; the node's graph is printed before it runs."""
    lines = output_of(*command("delayed_execution.py")).splitlines()
    headings = [line.partition(":")[0] for line in lines if not line.startswith(" ")]
    assert headings == ["A string", "A closure", "A partial", "A generator", "A node"]
    assert [lines[number].split()[-1] for number in (2, 5, 8)] == ["6", "6", "6"]
    assert lines[11] == "  6, then None"
    assert lines[13:17] == [
        "  area-1: area(2, 3)",
        "  area-2: area(area-1, 10)",
        "  area-3: area(area-1, 100)",
        "  add-1: add(area-2, area-3)",
    ]
    assert lines[17:] == [
        "  (multiplying 2 by 3)",
        "  (multiplying 6 by 10)",
        "  (multiplying 6 by 100)",
        "  660",
    ]


def test_three_csv_files():
    """Each of the three ways counts all rows, and says how long it took."""
    lines = output_of(*command("three_csv_files.py")).splitlines()
    assert [re.sub(r"[\d.]+ s$", "... s", line).split() for line in lines] == [
        [way, "4,500,000", "rows", "in", "...", "s"]
        for way in ("one_after_the_other", "written_out", "as_a_loop")
    ]


def test_word_count():
    """All words of a file are counted, in much less memory than the file has."""
    # A shell in between: the kernel counts the memory of whoever starts a process as that process's own.
    script = '"$@"; exit $?'
    lines = output_of("sh", "-c", script, "sh", *command("word_count.py", "200")).splitlines()
    words = 200_000_000 // (1000 * 79) * 1000 * 18
    assert lines[0].startswith(f"{words:,} words in 200 MB, counted in ")
    assert lines[2:] == ["as many as were written"]
    peak, before = map(int, re.findall(r"\d+", lines[1]))
    assert before < 100
    assert peak - before < 100


def test_background_download():
    """The download arrives while other work goes on, and the failed one as its own exception."""
    process = run(*command("background_download.py"))
    assert process.returncode == 0, process.stderr
    first, *failure = process.stdout.splitlines()
    rounds = re.fullmatch(r"'12 lines of figures', after (\d+) rounds of other work", first)
    assert rounds is not None
    assert int(rounds[1]) > 1
    assert failure[:2] == [
        "<HTTPError 404: 'Not Found'>, the original",
        "asyncgraph: node download-1 (download) failed, thread executor, attempt 1",
    ]
    assert re.fullmatch(r"  built at:  \S+background_download\.py:\d+, in main", failure[2])


def test_resources():
    """The pages arrive in the database, and the directory that it was in is gone afterwards."""
    assert output_of(*command("resources.py")) == ("3 rows: TEA, CAKE, SCONES\nthe directory is gone: True\n")


def test_service_as_a_script():
    """As a script, the service makes one request to itself and prints the answer."""
    lines = output_of(*command("service.py")).splitlines()
    assert lines[0] == "HTTP/1.1 200 OK"
    assert lines[-1] == '{"prices":{"tea":4,"cake":5},"total":9}'


def test_service():
    """The service computes a graph for each request, and answers 404 to an item that it does not have."""
    spec = importlib.util.spec_from_file_location("service", EXAMPLES / "service.py")
    service = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(service)
    with TestClient(service.app) as client:
        assert client.get("/bill/cake,cake").json() == {"prices": {"cake": 5}, "total": 5}
        assert client.get("/bill/tea,cake").json() == {"prices": {"tea": 4, "cake": 5}, "total": 9}
        failed = client.get("/bill/tea,coffee")
        assert (failed.status_code, failed.json()) == (404, {"error": "we have no coffee"})


@pytest.mark.parametrize("path", sorted(EXAMPLES.glob("*.py")), ids=lambda path: path.name)
def test_an_example_is_short_and_tested(path: Path):
    """An example has less than 60 lines, and a test; two that are whole programs may have more."""
    tests = "".join(file.read_text() for file in Path(__file__).parent.glob("test_*.py"))
    assert f'"{path.name}"' in tests
    programs = {"demo.py", "dataframe_in_a_service.py"}
    assert len(path.read_text().splitlines()) < (250 if path.name in programs else 60)


def test_on_a_cluster():
    """One graph gives the same here, half and whole on a cluster; an error is the user's own."""
    # Not in development mode: in a loop in debug mode, a cluster takes long to begin.
    here, *there = output_of(sys.executable, "-W", "error", str(EXAMPLES / "on_a_cluster.py")).splitlines()
    words = "[('it', 2), ('was', 2)], 3.64 letters a word"
    assert here == f"here:   {words}"
    ways = [("hybrid: ", False, "process"), ("whole:  ", True, "dask")]
    for (name, is_all, executor), lines in zip(ways, (there[:5], there[5:]), strict=True):
        value, equal, error, note, _ = lines
        assert value == name + words
        assert equal == f"        equal: True, all of it on the cluster: {is_all}"
        assert error == "ZeroDivisionError"
        assert re.match(rf"asyncgraph: node summary-\d+ \(summary\) failed, {executor} executor", note)


@pytest.mark.skipif(sys.platform != "linux", reason="it limits its own memory, as only Linux does")
def test_dataframe_in_a_service():
    """Requests are answered from data larger than the limit; equal ones share, one that leaves stops."""
    # Not in development mode, in which memory has margins.
    words = [sys.executable, "-W", "error", str(EXAMPLES / "dataframe_in_a_service.py")]
    lines = output_of(*words, "--data", "180", "--limit", "160").splitlines()
    assert lines[0] == "six requests, three for each of two questions:"
    whole = r"  (/mean-price/shop|/top-items/5)-1 finished: (\d+) of \2 nodes, [\d.]+ s"
    assert {re.fullmatch(whole, line)[1] for line in lines[1:3]} == {"/mean-price/shop", "/top-items/5"}
    assert re.fullmatch(r"/health was answered \d+ times meanwhile, in \d+ ms at most", lines[3])
    stopped = re.fullmatch(r"  /mean-price/item-1 cancelled: (\d+) of (\d+) nodes, [\d.]+ s", lines[5])
    assert int(stopped[1]) < int(stopped[2])
    assert lines[6] == "all answers are those of plain Dask"
    peak = re.fullmatch(r"180 MB of data; (\d+) MB in memory at most, beside \d+ MB of libraries", lines[7])
    assert int(peak[1]) < 160
    assert len(lines) == 8
