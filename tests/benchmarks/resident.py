"""How much memory this process has (RSS), now and at the most, as the kernel counts it."""

from __future__ import annotations

from pathlib import Path

_STATUS = Path("/proc/self/status")
_CLEAR = Path("/proc/self/clear_refs")

IS_KNOWN = _STATUS.exists()
WITHOUT = f"not measured: needs {_STATUS}"
"""What is said where it is not known."""


def now() -> int:
    """Bytes; 0 where there is no /proc."""
    return _bytes("VmRSS:")


def peak() -> int:
    """The most so far, or since `forget_peak`, in bytes; 0 where there is no /proc.

    `getrusage` would do elsewhere, but it counts the parent's peak, too. Who looks again and again from a
    thread misses the peak: it does not get its turn while pickle copies, which is when memory is needed.
    """
    return _bytes("VmHWM:")


def forget_peak() -> None:
    """From now on the peak is what it is now or later; does nothing where there is no /proc."""
    if _CLEAR.exists():
        _CLEAR.write_text("5")


def _bytes(field: str) -> int:
    if not IS_KNOWN:
        return 0
    lines = _STATUS.read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(field)) * 1024
