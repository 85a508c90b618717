"""Numbers as a reader wants them: durations, sizes, shares and counts."""

from __future__ import annotations

__all__ = ["count_of", "duration", "grouped", "share", "size"]


def duration(seconds: float) -> str:
    """Seconds, with three digits and the unit that suits them: "3.21 s", "45 ms", "2 min 5 s"."""
    if seconds < 0:
        return f"-{duration(-seconds)}"
    if seconds < 0.9995e-3:
        return f"{seconds * 1e6:.3g} µs" if seconds >= 0.5e-6 else "0 s"
    if seconds < 0.9995:
        return f"{seconds * 1e3:.3g} ms"
    if seconds < 99.95:
        return f"{seconds:.3g} s"
    whole = round(seconds)
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole // 3600} h {whole % 3600 // 60} min"


def size(count: float) -> str:
    """Bytes, in the unit that suits them: "12 B", "3.4 MB"."""
    for unit in ("B", "kB", "MB", "GB"):
        if count < 999.5:
            return f"{count:.3g} {unit}"
        count /= 1000
    return f"{count:.3g} TB"


def share(part: float) -> str:
    """A share in percent: "92 %", "< 1 %"."""
    if 0 < part < 0.005:
        return "< 1 %"
    return f"{100 * part:.0f} %"


def count_of(number: int, thing: str) -> str:
    """So many of something: "1 node", "12 345 nodes"."""
    return f"{grouped(number)} {thing}{'' if number == 1 else 's'}"


def grouped(number: int) -> str:
    """A whole number, its digits in groups of three: "12 345"."""
    return f"{number:,}".replace(",", "\u00a0")  # a space at which no line is broken
