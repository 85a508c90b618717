from __future__ import annotations

import json
import sys

import pytest

import asyncgraph
from asyncgraph._cli import doctor
from asyncgraph._cli.packages import Package
from asyncgraph._cli.worker_trial import Trial
from asyncgraph.cli import main
from asyncgraph.errors import WorkerStartError

GIB = 2**30
TRIAL = Trial("uvloop.Loop", 0.06, 0.0003, 0.05, True, True)


def states(*checks):
    """The states of checks, and the advice of all."""
    return [check.state for check in checks], " / ".join(check.advice for check in checks if check.advice)


def test_a_machine_on_which_all_works(capsys):
    """A real worker process is started; what was found is printed, and the exit code is 0."""
    assert main(["doctor"]) == 0
    out, err = capsys.readouterr()
    assert err == ""
    assert f"  asyncgraph      {asyncgraph.__version__}\n" in out
    for name in ("cores", "memory", "open files", "event loop", "worker start", "round trip", "large values"):
        assert f" {name:<15} " in out
    assert out.splitlines()[-1].startswith(("All is well.", "! All works, but look at: "))


def test_the_same_as_json(capsys):
    """As JSON there are numbers, and whether all is well."""
    assert main(["doctor", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["is_well"] is True
    assert list(found) == ["is_well", "versions", "machine", "running"]
    assert found["versions"]["asyncgraph"]["data"] == asyncgraph.__version__
    assert found["running"]["worker start"]["data"] > found["running"]["round trip"]["data"] > 0
    assert found["machine"]["open files"]["data"]["needed"] > 256


def test_a_machine_on_which_no_worker_starts(capsys, monkeypatch):
    """What would not work is said, with the reason, and the exit code is 1."""

    async def fail():
        raise WorkerStartError("no process could be started")

    monkeypatch.setattr(doctor, "try_a_worker", fail)
    assert main(["doctor"]) == 1
    out = capsys.readouterr().out
    assert "X worker process  does not work\n" in out
    assert "WorkerStartError: no process could be started\n" in out
    assert out.endswith("X Something would not work: worker process.\n")


def test_a_machine_that_could_be_better(capsys, monkeypatch):
    """Warnings are named in the last line; all does work, so that the exit code is 0."""

    async def slow():
        return TRIAL._replace(start=5.0)

    monkeypatch.setattr(doctor, "try_a_worker", slow)
    monkeypatch.setitem(doctor.SECTIONS, "machine", lambda: iter([doctor.check_cores(8, 8, None)]))
    assert main(["doctor"]) == 0
    assert capsys.readouterr().out.endswith("! All works, but look at: worker start.\n")


def test_packages():
    """What is needed and missing or too old is wrong; uvloop is a loss, and extras are only told of."""
    found = [
        doctor.check_package(Package("cloudpickle", "3.0", "3.0", "")),
        doctor.check_package(Package("cloudpickle", "2.2.1", "3.0", "")),
        doctor.check_package(Package("cloudpickle", None, "3.0", "")),
        doctor.check_package(Package("uvloop", None, "0.21", "")),
        doctor.check_package(Package("rich", None, "13", "rich")),
    ]
    assert states(*found)[0] == ["well", "wrong", "wrong", "warning", "well"]
    assert [check.advice.partition("pip install ")[2] for check in found] == [
        "",
        "'cloudpickle>=3.0'",
        "'cloudpickle>=3.0'",
        "uvloop",
        "'asyncgraph[rich]'",
    ]


def test_cores():
    """A control group that gives less time than there are cores is a warning."""
    assert states(doctor.check_cores(4, 8, None), doctor.check_cores(4, 8, 4.0)) == (["well", "well"], "")
    check = doctor.check_cores(8, 8, 1.5)
    assert check.text == "8 of 8 may be used, with the time of 1.5 (control group)"
    assert (check.state, check.advice.rpartition(": ")[2]) == ("warning", "Runtime(processes=2)")


@pytest.mark.parametrize(
    ("installed", "limit", "text"),
    [
        (8 * GIB, None, "8.0 GiB, without a limit"),
        (8 * GIB, 16 * GIB, "8.0 GiB, without a limit"),
        (8 * GIB, GIB // 2, "512 MiB (control group), of 8.0 GiB"),
        (None, GIB, "1.0 GiB (control group), of unknown"),
        (None, None, "the system does not tell"),
    ],
)
def test_memory(installed, limit, text):
    """The limit of the control group counts, if there is one."""
    assert doctor.check_memory(installed, limit).text == text


def test_shared_memory():
    """Without anonymous memory, large values take the slow way."""
    assert doctor.check_shared_memory(True, None).state == "well"
    assert doctor.check_shared_memory(False, GIB).state == "warning"


def test_open_files():
    """Too few for the coroutines that run at once is a warning that says how many would do."""
    well = [(1024, 4096), (sys.maxsize, sys.maxsize)]
    assert states(*(doctor.check_open_files(limits, 2) for limits in [*well, None]))[0] == ["well"] * 3
    check = doctor.check_open_files((256, 10_000), 2)
    assert check.state == "warning"
    assert check.advice.endswith("need 308:\n`ulimit -n 4096`, or Runtime(concurrency=204)")
    # it cannot be raised so far
    assert doctor.check_open_files((256, 256), 2).advice.endswith("need 308:\nRuntime(concurrency=204)")


def test_processes():
    """A control group with room for too few processes is a warning."""
    found = [doctor.check_processes(None, 2), doctor.check_processes(100, 2), doctor.check_processes(5, 2)]
    assert states(*found)[0] == ["well", "well", "warning"]


def test_compiled_code():
    """Whether modules are kept compiled, and if not, what keeps them from it."""
    found = [doctor.check_compiled(*each) for each in [(False, True), (True, False), (False, False)]]
    assert [check.state for check in found] == ["well", "warning", "warning"]
    assert "PYTHONDONTWRITEBYTECODE" in found[1].advice
    assert "cannot be written to" in found[2].advice


def test_a_trial():
    """A worker that is slow, none at all, or one with another clock is a warning."""
    assert states(*doctor.check_trial(TRIAL)) == (["well"] * 4, "")
    odd = TRIAL._replace(start=5.0, is_apart=False, has_same_clock=False)
    found = {check.name: check.state for check in doctor.check_trial(odd)}
    warned = [name for name, state in found.items() if state == "warning"]
    assert warned == ["worker start", "worker process", "shared clock"]
