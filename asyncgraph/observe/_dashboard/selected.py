"""A run that somebody looks at: its picture, its calls that are going on, and those that have ended lately.

Calls that are over come in portions, each with the version in which it came: who has seen that version is
told of the later ones only.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

from asyncgraph.observe._dashboard.parts import Parts, encoded
from asyncgraph.observe._dashboard.picture import Picture
from asyncgraph.observe._dashboard.timeline import MOST_BARS

if TYPE_CHECKING:
    from asyncgraph.observe._dashboard.state import KnownRun

__all__ = ["Selected"]


class Selected:
    """What is shown of the run that is looked at.

    Args:
        known: The run.
        since: The version from which on somebody looks.

    Attributes:
        known: The run.
        since: That version: who has seen only earlier ones knows nothing of this.
        clients: How many browsers look at it.
        parts: What is shown.
        picture: Its picture.
    """

    def __init__(self, known: KnownRun, since: int) -> None:
        self.known = known
        self.since = since
        self.clients = 0
        self.parts = Parts()
        self.picture = Picture(known)
        self._seen_bars = 0
        # Version, how many bars, and these as JSON.
        self._portions: deque[tuple[int, int, str]] = deque()

    def refresh(self, version: int) -> bool:
        """Take stock; whether something has changed."""
        self.picture.look()
        about = {"id": self.known.id, "drawn": self.picture.drawn, "problem": self.picture.problem}
        has_changed = self.parts.put("picture", about, version)
        has_changed |= self.parts.put("paint", self.picture.paint(), version)
        timeline = self.known.timeline
        if timeline is None:
            return has_changed
        has_changed |= self.parts.put("lanes", timeline.lanes, version)
        has_changed |= self.parts.put("open", timeline.open_calls(), version)
        return self._add_bars(version) or has_changed

    def bars_since(self, version: int) -> list[str]:
        """The JSON of the calls that have come after that version."""
        return [text for came, _, text in self._portions if came > version]

    def _add_bars(self, version: int) -> bool:
        timeline = self.known.timeline
        if timeline is None or timeline.count == self._seen_bars:
            return False
        bars = timeline.new_bars(self._seen_bars)
        self._seen_bars = timeline.count
        self._portions.append((version, len(bars), ",".join(map(encoded, bars))))
        kept = sum(count for _, count, _ in self._portions)
        while kept - self._portions[0][1] >= MOST_BARS:
            kept -= self._portions.popleft()[1]
        return True
