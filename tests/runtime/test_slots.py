"""Slots: fair, nothing lost, promises kept."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from asyncgraph._runtime.slots import Slots


class Claimant:
    """Remembers how often it was woken."""

    def __init__(self, name="claimant"):
        self.name = name
        self.woken = 0

    def wake(self):
        """Count."""
        self.woken += 1

    def __repr__(self):
        return self.name


def test_as_many_as_there_are():
    """Slots are given until there are no more; then the claimant is remembered."""
    slots, one = Slots(2), Claimant()
    assert [slots.claim(one, must_have=False) for _ in range(4)] == [True, True, False, False]
    assert slots.used == 2
    assert slots.will_wake(one)
    assert not one.woken


def test_a_free_slot_wakes_one():
    """Of those that wait, who asked first is woken, once."""
    slots, one, two, three = Slots(1), Claimant(), Claimant(), Claimant()
    slots.claim(one, must_have=False)
    slots.claim(two, must_have=False)
    slots.claim(three, must_have=False)
    slots.give_back()
    assert (two.woken, three.woken) == (1, 0)


def test_a_promised_slot_is_not_taken_by_another():
    """Between being woken and claiming, the slot is kept, also from one that is always quicker."""
    slots, quick, slow = Slots(1), Claimant(), Claimant()
    slots.claim(quick, must_have=False)
    slots.claim(slow, must_have=False)
    slots.give_back()
    assert not slots.claim(quick, must_have=False)
    assert slots.claim(slow, must_have=False)
    assert slots.used == 1


def test_a_renounced_promise_goes_on_to_the_next():
    """Who does not want its slot any more lets the next have it."""
    slots, one, two, three = Slots(1), Claimant(), Claimant(), Claimant()
    slots.claim(one, must_have=False)
    slots.claim(two, must_have=False)
    slots.claim(three, must_have=False)
    slots.give_back()
    slots.renounce(two)
    assert three.woken == 1
    assert not slots.will_wake(two)
    assert slots.claim(three, must_have=False)


def test_renouncing_nothing_changes_nothing():
    """One that only waits keeps its place."""
    slots, one, two = Slots(1), Claimant(), Claimant()
    slots.claim(one, must_have=False)
    slots.claim(two, must_have=False)
    slots.renounce(two)
    slots.renounce(one)
    slots.give_back()
    assert two.woken == 1


@pytest.mark.parametrize("woken", [False, True])
def test_who_is_forgotten_blocks_nobody(woken):
    """Whether it waits or has been woken, a claimant that is over lets the next have its turn."""
    slots, one, two, three = Slots(1), Claimant(), Claimant(), Claimant()
    slots.claim(one, must_have=False)
    slots.claim(two, must_have=False)
    slots.claim(three, must_have=False)
    if woken:
        slots.give_back()
        slots.forget(two)
    else:
        slots.forget(two)
        slots.give_back()
    assert three.woken == 1
    assert two.woken == woken


def test_who_must_have_one_takes_it():
    """It goes beyond the capacity, and the next slot that comes back is nobody's."""
    slots, one, nested, two = Slots(1), Claimant(), Claimant(), Claimant()
    slots.claim(one, must_have=False)
    assert slots.claim(nested, must_have=True)
    assert slots.used == 2
    slots.claim(two, must_have=False)
    slots.give_back()
    assert not two.woken
    slots.give_back()
    assert two.woken == 1


def test_asking_again_keeps_the_place():
    """Somebody who asks twice neither loses its place nor gets two."""
    slots, one, two, three = Slots(1), Claimant(), Claimant(), Claimant()
    slots.claim(one, must_have=False)
    slots.claim(two, must_have=False)
    slots.claim(three, must_have=False)
    slots.claim(two, must_have=False)
    slots.give_back()
    assert (two.woken, three.woken) == (1, 0)


@given(st.lists(st.integers(1, 30), min_size=2, max_size=5))
def test_busy_claimants_take_turns(wishes):
    """Nobody gets the one slot twice in a row while another waits, however quick it is to ask again."""
    slots = Slots(1)
    claimants = [Claimant(str(number)) for number in range(len(wishes))]
    wanted = dict(zip(claimants, wishes, strict=True))
    order = []

    def ask(claimant):
        if wanted[claimant] and slots.claim(claimant, must_have=False):
            wanted[claimant] -= 1
            order.append(claimant)
        slots.renounce(claimant)

    for claimant in claimants:
        ask(claimant)
    for position in range(sum(wishes)):
        holder = order[position]
        slots.give_back()
        # The holder looks for more at once, before the one that was woken has its turn.
        ask(holder)
        for claimant in claimants:
            if claimant is not holder:
                ask(claimant)
    assert len(order) == sum(wishes)
    for position, (one, next_one) in enumerate(itertools.pairwise(order)):
        assert one is not next_one or set(order[position:]) == {one}


class SlotsMachine(RuleBasedStateMachine):
    """Claimants that come, are woken, claim, renounce and end in any order."""

    def __init__(self):
        super().__init__()
        self.slots = Slots(2)
        self.claimants = [Claimant(str(number)) for number in range(4)]
        self.held = dict.fromkeys(self.claimants, 0)
        self.asked = []

    @rule(number=st.integers(0, 3), must_have=st.booleans())
    def claim(self, number, must_have):
        """One asks for a slot."""
        claimant = self.claimants[number]
        was_promised = claimant in self.slots.promised
        free = self.slots.capacity - self.slots.used - len(self.slots.promised)
        got = self.slots.claim(claimant, must_have=must_have)
        assert got == (was_promised or must_have or free > 0)
        self.held[claimant] += got
        if not got and claimant not in self.asked:
            self.asked.append(claimant)

    @rule(number=st.integers(0, 3), most=st.integers(0, 4))
    def claim_free(self, number, most):
        """One takes several at once, as far as they are free; what is promised is not."""
        free = max(self.slots.capacity - self.slots.used - len(self.slots.promised), 0)
        got = self.slots.claim_free(most)
        assert got == min(most, free)
        self.held[self.claimants[number]] += got

    @precondition(lambda self: any(self.held.values()))
    @rule(data=st.data())
    def give_back(self, data):
        """One that has a slot returns it."""
        holder = data.draw(st.sampled_from([each for each in self.claimants if self.held[each]]))
        self.held[holder] -= 1
        self._expect_in_order(self.slots.give_back)

    @rule(number=st.integers(0, 3))
    def renounce(self, number):
        """One does not want what it was promised, if it was."""
        self._expect_in_order(lambda: self.slots.renounce(self.claimants[number]))

    @rule(number=st.integers(0, 3))
    def forget(self, number):
        """One is over."""
        claimant = self.claimants[number]
        if claimant in self.asked:
            self.asked.remove(claimant)
        self._expect_in_order(lambda: self.slots.forget(claimant))
        assert not self.slots.will_wake(claimant)

    def _expect_in_order(self, step):
        before = {each: each.woken for each in self.claimants}
        step()
        woken = [each for each in self.claimants if each.woken > before[each]]
        assert sorted(map(repr, woken)) == sorted(map(repr, self.asked[: len(woken)]))
        del self.asked[: len(woken)]

    @invariant()
    def nobody_waits_beside_a_free_slot(self):
        """What is counted is what is held, and the first law."""
        slots = self.slots
        assert slots.used == sum(self.held.values())
        assert list(slots.waiting) == self.asked
        assert not slots.waiting or slots.used + len(slots.promised) >= slots.capacity


TestSlotsMachine = SlotsMachine.TestCase
TestSlotsMachine.settings = settings(max_examples=200, stateful_step_count=40)
TestSlotsMachine.__doc__ = "In any order of events the laws of `Slots` hold."
