from __future__ import annotations

import os
from importlib import metadata

import pytest

from asyncgraph._cli import machine
from asyncgraph._cli.machine import ControlGroup
from asyncgraph._cli.packages import Package, packages


@pytest.fixture
def group(tmp_path):
    """Make control groups out of files, and read them."""

    def make(membership, **files):
        (tmp_path / "membership").write_text(membership)
        for place, text in files.items():
            path = tmp_path / "cgroup" / place
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(f"{text}\n")
        return ControlGroup(tmp_path / "cgroup", tmp_path / "membership")

    return make


def test_the_unified_groups(group):
    """Of a group and those around it, the least limit holds; "max" is none."""
    found = group(
        "0::/jobs/one\n",
        **{
            "jobs/one/cpu.max": "max 100000",
            "jobs/cpu.max": "150000 100000",
            "cpu.max": "400000 100000",
            "jobs/one/memory.max": "1048576",
            "jobs/memory.max": "max",
            "jobs/one/pids.max": "64",
        },
    )
    assert (found.cores(), found.memory(), found.processes()) == (1.5, 1048576, 64)


def test_the_old_groups(group):
    """Each controller has folders of its own; -1 is no limit."""
    found = group(
        "4:memory:/job\n3:cpu,cpuacct:/job\n2:pids:/\n1:name=systemd:/job\n",
        **{
            "cpu/job/cpu.cfs_quota_us": "50000",
            "cpu/job/cpu.cfs_period_us": "100000",
            "cpu/cpu.cfs_quota_us": "-1",
            "cpu/cpu.cfs_period_us": "100000",
            "memory/job/memory.limit_in_bytes": "2097152",
            "pids/pids.max": "max",
        },
    )
    assert (found.cores(), found.memory(), found.processes()) == (0.5, 2097152, None)


def test_an_old_group_without_a_limit_on_memory(group):
    """A number near 2**63 is how the old groups write that there is none."""
    found = group("4:memory:/\n", **{"memory/memory.limit_in_bytes": str(2**63 - 4096)})
    assert found.memory() is None


def test_no_groups(tmp_path):
    """Where there are none, nothing is limited."""
    found = ControlGroup(tmp_path / "nothing", tmp_path / "nothing")
    assert (found.cores(), found.memory(), found.processes()) == (None, None, None)


def test_what_this_machine_tells():
    """Memory is a number of bytes; no more files may be open now than may be asked for."""
    assert machine.memory() == os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    now, most = machine.open_files()
    assert 0 < now <= most


def test_required_packages():
    """Requirements are read as installed metadata has them; what is for working on asyncgraph is left out."""
    found = packages(
        [
            "pytest>=1.0",
            'pytest-cov (>=99.5) ; extra == "more"',
            "no-such-thing",
            'ruff>=0.15; extra == "dev"',
            'asyncgraph[more]; extra == "all"',
            'uvicorn[standard]>=0.1; sys_platform != "win32" and extra == "more"',
        ]
    )
    assert [each._replace(version=None) for each in found] == [
        Package("no-such-thing", None, "", ""),
        Package("pytest", None, "1.0", ""),
        Package("pytest-cov", None, "99.5", "more"),
        Package("uvicorn", None, "0.1", "more"),
    ]
    assert [each.version is not None for each in found] == [False, True, True, True]
    assert [each.is_old for each in found] == [False, False, True, False]


def test_a_checkout_that_is_not_installed(monkeypatch):
    """Without metadata nothing is known of packages."""

    def unknown(name):
        raise metadata.PackageNotFoundError(name)

    monkeypatch.setattr(metadata, "requires", unknown)
    assert packages() == []


def test_the_packages_that_asyncgraph_needs():
    """The installed metadata is read by default."""
    assert {"aiofiles", "cloudpickle"} <= {each.name for each in packages() if not each.extra}
