"""Slots: how many calls of one kind run at once, shared fairly by the runs of a runtime."""

from __future__ import annotations

from typing import Protocol

__all__ = ["Slots"]


class Claimant(Protocol):
    """What asks for slots: a run."""

    def wake(self) -> None:
        """A slot may be free: claim it, soon."""


class Slots:
    """Counts slots; whoever finds none free is woken, in order of asking, when one is.

    Attributes:
        capacity: How many there are.
        used: How many are taken. It can exceed the capacity: see `claim`.
    """

    __slots__ = ("_waiting", "capacity", "used")

    def __init__(self, capacity: int) -> None:
        self.capacity = capacity
        self.used = 0
        self._waiting: dict[Claimant, None] = {}

    def claim(self, claimant: Claimant, *, must_have: bool) -> bool:
        """Take a slot, or be remembered and woken later.

        Args:
            claimant: Who is woken.
            must_have: Take one even if none is free. A run inside a node of another run does this
                for its first call, because the slot it would wait for may be that node's own.
        """
        if self.used < self.capacity or must_have:
            self.used += 1
            return True
        self._waiting[claimant] = None
        return False

    def give_back(self) -> None:
        """Return a slot."""
        self.used -= 1
        self.pass_on()

    def pass_on(self) -> None:
        """If a slot is free, wake who has waited longest for one.

        Whoever is woken calls this when it has claimed what it wants, so that a slot it leaves goes on
        to the next.
        """
        if self._waiting and self.used < self.capacity:
            claimant = next(iter(self._waiting))
            del self._waiting[claimant]
            claimant.wake()

    def forget(self, claimant: Claimant) -> None:
        """The claimant is over and wants no slot any more."""
        self._waiting.pop(claimant, None)
