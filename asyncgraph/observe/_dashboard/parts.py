"""What is shown, in parts, each with the version in which it has changed last.

A browser that has seen a version is sent the parts that have changed since, once, as they are now: so nothing
is queued for anybody, and one that was slow, or away, gets the same message as all others.
"""

from __future__ import annotations

import json
from typing import Any

__all__ = ["Parts", "encoded"]


class Parts:
    """Parts by name: their JSON, and the version in which that has changed last."""

    def __init__(self) -> None:
        self._parts: dict[str, tuple[int, str]] = {}

    def put(self, name: str, value: Any, version: int) -> bool:
        """A part is this from that version on; whether it differs from what it was."""
        text = encoded(value)
        if name in self._parts and self._parts[name][1] == text:
            return False
        self._parts[name] = version, text
        return True

    def keep_only(self, names: set[str]) -> None:
        """Forget all others."""
        for name in self._parts.keys() - names:
            del self._parts[name]

    def since(self, version: int) -> dict[str, str]:
        """The JSON of those that have changed after that version, by name."""
        return {name: text for name, (changed, text) in self._parts.items() if changed > version}


def encoded(value: Any) -> str:
    """The value as JSON on one line; what is no JSON is text."""
    return json.dumps(value, separators=(",", ":"), default=str)
