"""How much memory a process has."""

from __future__ import annotations

import os

__all__ = ["resident_bytes"]


def resident_bytes(pid: int) -> int:
    """Bytes that the process has in memory; 0 where the system does not tell, or it is gone."""
    try:
        with open(f"/proc/{pid}/statm", "rb") as stream:
            return int(stream.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except OSError:
        return 0
