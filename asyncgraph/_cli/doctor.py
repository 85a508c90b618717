"""`asyncgraph doctor`: what asyncgraph runs on here, what would not work, and what to do about it.

Each check looks at one thing and says how it is: "well", "warning" if something is less than it could be, or
"wrong" if something would not work.
"""

from __future__ import annotations

import argparse
import inspect
import os
import platform
import sys
import time
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import asyncgraph
from asyncgraph._cli import machine
from asyncgraph._cli.exits import FAILED, FINE
from asyncgraph._cli.output import as_json, write
from asyncgraph._cli.packages import Package, packages
from asyncgraph._cli.worker_trial import Trial, try_a_worker
from asyncgraph.executors.base import usable_cores

__all__ = [
    "Check",
    "check_compiled",
    "check_cores",
    "check_memory",
    "check_open_files",
    "check_package",
    "check_processes",
    "check_shared_memory",
    "check_trial",
    "doctor",
]

WELL, WARNING, WRONG = "well", "warning", "wrong"

# Coroutines that a runtime runs at once by default.
CONCURRENCY: int = inspect.signature(asyncgraph.Runtime).parameters["concurrency"].default

# Descriptors that a worker process takes here, and those that a program has open anyway; both generous.
_PER_WORKER = 10
_OTHERS = 32

# Seconds: a worker takes a tenth of one to start where asyncgraph's modules have been compiled.
_SLOW_START = 2.0

_MARKS = {WELL: " ", WARNING: "!", WRONG: "X"}


class Check(NamedTuple):
    """What was found out about one thing.

    Attributes:
        name: What it is about.
        text: How it is, in words.
        state: "well", "warning" or "wrong".
        advice: What to do about it; "" if nothing is to be done.
        data: The same in numbers.
    """

    name: str
    text: str
    state: str = WELL
    advice: str = ""
    data: Any = None


def doctor(options: argparse.Namespace) -> int:
    """Carry the command out; the exit code."""
    found = {title: list(section()) for title, section in SECTIONS.items()}
    every = [check for section in found.values() for check in section]
    is_well = all(check.state != WRONG for check in every)
    if options.json:
        write(as_json({"is_well": is_well, **{title: _as_data(checks) for title, checks in found.items()}}))
    else:
        write("".join([*map(_as_text, found, found.values()), _verdict(every)]))
    return FINE if is_well else FAILED


def _as_data(section: list[Check]) -> dict[str, Any]:
    return {
        check.name: {"state": check.state, "text": check.text, "advice": check.advice, "data": check.data}
        for check in section
    }


def _as_text(title: str, section: list[Check]) -> str:
    lines = [f"{title}\n"]
    for check in section:
        lines.append(f"{_MARKS[check.state]} {check.name:<15} {check.text}\n")
        lines += [f"  {'':<15} {line}\n" for line in check.advice.splitlines()]
    return "".join([*lines, "\n"])


def _verdict(every: list[Check]) -> str:
    wrong, warnings = ([check.name for check in every if check.state == state] for state in (WRONG, WARNING))
    if wrong:
        return f"X Something would not work: {', '.join(wrong)}.\n"
    if warnings:
        return f"! All works, but look at: {', '.join(warnings)}.\n"
    return "All is well.\n"


# --- versions ---


def _versions() -> Iterator[Check]:
    yield Check("asyncgraph", asyncgraph.__version__, data=asyncgraph.__version__)
    python = f"{platform.python_version()} ({platform.python_implementation()}), {sys.executable}"
    yield Check("Python", python, data=platform.python_version())
    yield Check("system", platform.platform(), data=platform.platform())
    yield from map(check_package, packages())


def check_package(package: Package) -> Check:
    """Whether a package is there that is needed, and new enough."""
    name, version = package.name, package.version
    if version is None and package.extra:
        return Check(name, "not installed", advice=f"for it: pip install 'asyncgraph[{package.extra}]'")
    if version is None and name == "uvloop":
        return Check(name, "not installed", WARNING, "asyncio's own loop is used: pip install uvloop")
    least = f">={package.least}" if package.least else ""
    if version is None:
        return Check(name, "not installed", WRONG, f"pip install '{name}{least}'")
    if package.is_old:
        return Check(name, version, WRONG, f"too old: pip install '{name}{least}'", version)
    return Check(name, version, data=version)


# --- the machine ---


def _machine() -> Iterator[Check]:
    group = machine.ControlGroup()
    yield check_cores(usable_cores(), os.cpu_count() or 1, group.cores())
    yield check_memory(machine.memory(), group.memory())
    yield check_shared_memory(hasattr(os, "memfd_create"), machine.shared_memory())
    yield check_open_files(machine.open_files(), usable_cores())
    yield check_processes(group.processes(), usable_cores())
    yield _clock()
    yield check_compiled(sys.dont_write_bytecode, _is_compiled())


def check_cores(usable: int, all_cores: int, quota: float | None) -> Check:
    """Whether as many worker processes are started as there is time for."""
    data = {"usable": usable, "all": all_cores, "quota": quota}
    text = f"{usable} of {all_cores} may be used"
    if quota is None or quota >= usable:
        return Check("cores", text, data=data)
    fitting = max(1, round(quota))
    advice = f"that many worker processes would slow each other down: Runtime(processes={fitting})"
    return Check("cores", f"{text}, with the time of {quota:g} (control group)", WARNING, advice, data)


def check_memory(installed: int | None, limit: int | None) -> Check:
    """How much memory there is."""
    data = {"installed": installed, "limit": limit}
    if installed is None and limit is None:
        return Check("memory", "the system does not tell", data=data)
    text = "" if installed is None else _as_size(installed)
    if limit is None or (installed is not None and limit >= installed):
        return Check("memory", f"{text}, without a limit", data=data)
    return Check("memory", f"{_as_size(limit)} (control group), of {text or 'unknown'}", data=data)


def check_shared_memory(has_anonymous: bool, free: int | None) -> Check:  # noqa: FBT001
    """Whether large values can go through memory that the kernel shares."""
    data = {"anonymous": has_anonymous, "dev_shm_free": free}
    beside = "" if free is None else f"; /dev/shm has {_as_size(free)} free, which is not used"
    if has_anonymous:
        return Check("shared memory", f"anonymous (memfd){beside}", data=data)
    advice = "large values go to worker processes through pipes, which takes several times as long"
    return Check("shared memory", f"no anonymous one on this system{beside}", WARNING, advice, data)


def check_open_files(limits: tuple[int, int] | None, cores: int) -> Check:
    """Whether as many coroutines as run at once may each have a connection."""
    if limits is None:
        return Check("open files", "the system does not tell")
    soft, hard = limits
    needed = CONCURRENCY + _PER_WORKER * cores + _OTHERS
    data = {"limit": soft, "at_most": hard, "needed": needed}
    text = f"{'any number of' if soft == sys.maxsize else format(soft, ',')} at once"
    if soft >= needed:
        return Check("open files", text, data=data)
    possible = max(1, soft - _PER_WORKER * cores - _OTHERS)
    raised = f"`ulimit -n {min(hard, max(needed, 4096))}`, or " if hard >= needed else ""
    advice = (
        f"{CONCURRENCY} coroutines with a connection each, and {cores} worker processes, need {needed}:\n"
        f"{raised}Runtime(concurrency={possible})"
    )
    return Check("open files", text, WARNING, advice, data)


def check_processes(limit: int | None, cores: int) -> Check:
    """Whether there may be as many processes and threads as a runtime has by default."""
    needed = cores + min(32, cores + 4) + 4
    if limit is None:
        return Check("processes", "without a limit", data={"limit": None, "needed": needed})
    data = {"limit": limit, "needed": needed}
    text = f"{limit} processes and threads (control group)"
    if limit >= needed:
        return Check("processes", text, data=data)
    advice = f"a runtime begins up to {needed}: Runtime(processes=1, threads=1), or raise pids.max"
    return Check("processes", text, WARNING, advice, data)


def _clock() -> Check:
    about = time.get_clock_info("perf_counter")
    text = f"{about.implementation}, in steps of {about.resolution * 1e9:g} ns"
    return Check("clock", text, data={"resolution": about.resolution})


def check_compiled(is_forbidden: bool, is_compiled: bool) -> Check:  # noqa: FBT001
    """Whether worker processes find asyncgraph's modules compiled."""
    data = {"may_write": not is_forbidden, "found": is_compiled}
    if is_compiled:
        return Check("compiled code", "kept", data=data)
    why = "PYTHONDONTWRITEBYTECODE or -B forbids it" if is_forbidden else "its folder cannot be written to"
    advice = f"each worker process compiles asyncgraph anew, which takes it longer to start:\n{why}"
    return Check("compiled code", "not kept", WARNING, advice, data)


def _is_compiled() -> bool:
    return os.path.exists(getattr(asyncgraph, "__cached__", None) or "")


# --- running ---


def _running() -> Iterator[Check]:
    try:
        trial = asyncgraph.run(try_a_worker())
    except Exception as error:
        advice = f"{type(error).__name__}: {error}\nexecutor='process' does not work here"
        yield Check("worker process", "does not work", WRONG, advice)
        return
    yield from check_trial(trial)


def check_trial(trial: Trial) -> Iterator[Check]:
    """What a trial of a worker process has shown."""
    yield Check("event loop", trial.loop, data=trial.loop)
    start = Check("worker start", _as_time(trial.start), data=trial.start)
    if trial.start > _SLOW_START:
        advice = "the machine may be busy, or reading Python's modules slow"
        start = start._replace(state=WARNING, advice=advice)
    yield start
    yield Check(
        "round trip", f"{_as_time(trial.round_trip)} for a call that does nothing", data=trial.round_trip
    )
    yield Check("large values", f"{_as_time(trial.transfer)} for 8 MB there and back", data=trial.transfer)
    if not trial.is_apart:
        advice = "this is a worker process itself, in which calls for worker processes run in threads"
        yield Check("worker process", "none", WARNING, advice)
    if not trial.has_same_clock:
        yield Check(
            "shared clock",
            "the clock of worker processes is another one",
            WARNING,
            "the times in traces and reports are wrong for what runs there",
        )


SECTIONS: dict[str, Callable[[], Iterator[Check]]] = {
    "versions": _versions,
    "machine": _machine,
    "running": _running,
}


def _as_size(count: int) -> str:
    return f"{count / 2**30:.1f} GiB" if count >= 2**30 else f"{count / 2**20:.0f} MiB"


def _as_time(seconds: float) -> str:
    return f"{seconds * 1e3:.0f} ms" if seconds >= 0.01 else f"{seconds * 1e6:.0f} µs"
