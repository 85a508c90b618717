"""Slots: how many calls of one kind run at once, shared fairly by the runs of a runtime."""

from __future__ import annotations

from typing import Protocol

__all__ = ["Claimant", "Slots"]


class Claimant(Protocol):
    """What asks for slots: a run."""

    def wake(self) -> None:
        """A slot is promised to you: claim it soon, or renounce it."""


class Slots:
    """Counts slots. Whoever finds none free is promised one, in order of asking, and woken.

    Laws:

    1. Nobody waits while a slot is neither taken nor promised.
    2. A promise is kept for its claimant, who claims the slot or renounces it. Without promises a run
       that is always busy would take each slot before the run that was woken for it gets its turn.

    Attributes:
        capacity: How many there are.
        used: How many are taken. It can exceed the capacity: see `claim`.
        waiting: Who waits for one, in order of asking.
        promised: Who has been promised one, and woken.
    """

    __slots__ = ("capacity", "promised", "used", "waiting")

    def __init__(self, capacity: int) -> None:
        self.capacity = capacity
        self.used = 0
        self.waiting: dict[Claimant, None] = {}
        self.promised: set[Claimant] = set()

    @property
    def free(self) -> int:
        """How many are neither taken nor promised."""
        return max(self.capacity - self.used - len(self.promised), 0)

    def claim(self, claimant: Claimant, *, must_have: bool) -> bool:
        """Take a slot, or be remembered and woken later.

        Args:
            claimant: Who is woken.
            must_have: Take one even if none is free. A run inside a node of another run does this
                for its first call, because the slot it would wait for may be that node's own.
        """
        if claimant in self.promised:
            self.promised.remove(claimant)
        elif self.used + len(self.promised) >= self.capacity and not must_have:
            self.waiting[claimant] = None
            return False
        self.used += 1
        return True

    def claim_free(self, most: int) -> int:
        """Take so many slots, or as many as are free; nobody is remembered. Returns how many."""
        count = min(most, self.free)
        self.used += count
        return count

    def give_back(self) -> None:
        """Return a slot."""
        self.used -= 1
        if self.waiting:
            self._promise()

    def renounce(self, claimant: Claimant) -> None:
        """The claimant does not want the slot that was promised to it, if one was."""
        if claimant in self.promised:
            self.promised.remove(claimant)
            self._promise()

    def forget(self, claimant: Claimant) -> None:
        """The claimant is over and wants no slot any more."""
        self.waiting.pop(claimant, None)
        self.renounce(claimant)

    def is_wanted_besides(self, claimant: Claimant) -> bool:
        """Whether somebody else waits for a slot."""
        return len(self.waiting) > (claimant in self.waiting)

    def will_wake(self, claimant: Claimant) -> bool:
        """Whether the claimant waits for a slot, or has been woken for one."""
        return claimant in self.waiting or claimant in self.promised

    def _promise(self) -> None:
        while self.waiting and self.used + len(self.promised) < self.capacity:
            claimant = next(iter(self.waiting))
            del self.waiting[claimant]
            self.promised.add(claimant)
            claimant.wake()
