"""What this process may use of its machine: cores, memory, processes, open files.

Control groups, in which containers are, are read as files; where there are none, nothing is limited.
"""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

__all__ = ["ControlGroup", "memory", "open_files", "shared_memory"]

# From this number of bytes on a limit on memory is none: the old groups write 2**63 less a page for that.
_NO_LIMIT = 1 << 60


class ControlGroup:
    """The limits of the control groups that this process is in, of either version.

    Args:
        root: Where they are mounted.
        membership: The file that says which ones those are.
    """

    def __init__(
        self, root: Path = Path("/sys/fs/cgroup"), membership: Path = Path("/proc/self/cgroup")
    ) -> None:
        self._root = root
        self._groups: list[tuple[list[str], str]] = []
        for line in (_read(membership) or "").splitlines():
            _, controllers, path = line.split(":", 2)
            self._groups.append((controllers.split(",") if controllers else [], path))

    def cores(self) -> float | None:
        """How many cores' time it may use; None if that is not limited."""
        quotas = [_ratio(*text.split()) for text in self._texts("cpu", "cpu.max")]
        for folder in self._folders("cpu"):
            quota, period = _read(folder / "cpu.cfs_quota_us"), _read(folder / "cpu.cfs_period_us")
            if quota and period:
                quotas.append(_ratio(quota, period))
        return min((quota for quota in quotas if quota is not None), default=None)

    def memory(self) -> int | None:
        """How many bytes it may use; None if that is not limited."""
        texts = [*self._texts("memory", "memory.max"), *self._texts("memory", "memory.limit_in_bytes")]
        limits = [int(text) for text in texts if text.isdecimal()]
        return min((limit for limit in limits if limit < _NO_LIMIT), default=None)

    def processes(self) -> int | None:
        """How many processes and threads there may be; None if that is not limited."""
        return min((int(text) for text in self._texts("pids", "pids.max") if text.isdecimal()), default=None)

    def _texts(self, controller: str, name: str) -> Iterator[str]:
        for folder in self._folders(controller):
            if text := _read(folder / name):
                yield text

    def _folders(self, controller: str) -> Iterator[Path]:
        """The group that the controller is for, and those around it; as far as they are to be seen."""
        for controllers, path in self._groups:
            if controllers and controller not in controllers:
                continue
            root = self._root / controller if controllers else self._root
            group = root / path.lstrip("/")
            yield from (each for each in (group, *group.parents) if each.is_relative_to(root))


def memory() -> int | None:
    """The machine's memory, in bytes; None if the system does not tell."""
    try:
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, ValueError, OSError):
        return None


def open_files() -> tuple[int, int] | None:
    """How many files may be open: now, and how many may be asked for; None if the system does not tell."""
    if sys.platform == "win32":
        return None
    import resource

    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    most = sys.maxsize
    return (most if soft == resource.RLIM_INFINITY else soft), (
        most if hard == resource.RLIM_INFINITY else hard
    )


def shared_memory() -> int | None:
    """Bytes that are free in /dev/shm; None if there is none."""
    try:
        return shutil.disk_usage("/dev/shm").free
    except OSError:
        return None


def _ratio(quota: str, period: str) -> float | None:
    return int(quota) / int(period) if quota.isdecimal() and int(period) else None


def _read(path: Path) -> str | None:
    try:
        return path.read_text().strip()
    except OSError:
        return None
