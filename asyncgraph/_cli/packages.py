"""Which of the packages that asyncgraph needs, or can make use of, are there."""

from __future__ import annotations

import re
from importlib import metadata
from typing import NamedTuple

__all__ = ["Package", "packages"]

# Extras that are for working on asyncgraph itself.
_INNER = {"bench", "dev", "examples"}

_REQUIREMENT = re.compile(r"([\w.-]+)(?:\[[^\]]*\])?\s*\(?([^;)]*)\)?\s*;?\s*(.*)")
_EXTRA = re.compile(r"extra\s*==\s*['\"]([\w-]+)['\"]")


class Package(NamedTuple):
    """A package, as it is here.

    Attributes:
        name: Its name.
        version: The version that is installed; None if it is not.
        least: The version that it takes; "" if any will do.
        extra: The extra that it belongs to; "" if asyncgraph needs it anyway.
    """

    name: str
    version: str | None
    least: str
    extra: str

    @property
    def is_old(self) -> bool:
        """Whether it is older than it should be."""
        return self.version is not None and _numbers(self.version) < _numbers(self.least)


def packages(requirements: list[str] | None = None) -> list[Package]:
    """Those that are needed, and then those of the extras.

    Args:
        requirements: What asyncgraph requires; by default what its installed metadata says.
    """
    if requirements is None:
        try:
            requirements = metadata.requires("asyncgraph") or []
        except metadata.PackageNotFoundError:
            requirements = []
    found = [each for text in requirements if (each := _package(text)) is not None]
    return sorted(found, key=lambda each: (each.extra, each.name))


def _package(requirement: str) -> Package | None:
    matched = _REQUIREMENT.fullmatch(requirement.strip())
    if matched is None or matched[1] == "asyncgraph":
        return None
    extra = _EXTRA.search(matched[3])
    if extra is not None and extra[1] in _INNER:
        return None
    least = re.search(r">=\s*([\w.]+)", matched[2])
    return Package(matched[1], _version(matched[1]), least[1] if least else "", extra[1] if extra else "")


def _version(name: str) -> str | None:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None


def _numbers(version: str) -> tuple[int, ...]:
    numbers = [int(number) for number in re.findall(r"\d+", version)[:3]]
    return tuple(numbers + [0] * (3 - len(numbers)))
