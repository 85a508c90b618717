"""The scheduler against its model: random graphs, random events, everything compared after each."""

from __future__ import annotations

import random

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule

from tests.graph.model import LANES, Pair

KINDS = ["take", "consume", "finish", "fail", "cancel", "stop", "give_up", "expand", "renew", "refuse"]
KINDS += ["take_ahead", "untake", "untake_behind", "postpone", "go_on", "revive"]
KINDS += ["keep", "let_go", "withdraw", "lose", "assign"]


class Machine(RuleBasedStateMachine):
    """Hypothesis chooses the graph and each event, and finds the shortest history that goes wrong."""

    pair = None

    @initialize(data=st.data())
    def begin(self, data):
        """Make a graph of a few tasks."""
        count = data.draw(st.integers(1, 10), label="tasks")
        dependencies = [drawn_dependencies(data, list(range(task))) for task in range(count)]
        lanes = data.draw(st.lists(st.sampled_from(LANES), min_size=count, max_size=count), label="lanes")
        outputs = data.draw(st.sets(st.integers(0, count - 1), min_size=1), label="outputs")
        holders = data.draw(st.sets(st.integers(0, count - 1)), label="holders")
        lazy = data.draw(st.sets(st.integers(0, count - 1)), label="lazy")
        holds_inputs = data.draw(st.booleans(), label="holds inputs")
        self.pair = Pair(dependencies, lanes, outputs, holders, lazy, holds_inputs=holds_inputs)

    def can(event):
        """Restrict a rule to when its event is legal."""
        return precondition(lambda self: self.pair is not None and event in self.pair.possible())

    @can("take")
    @rule(lane=st.sampled_from(LANES), hold_producers=st.booleans())
    def take(self, lane, hold_producers):
        """Begin a task and let it take its arguments, or not yet."""
        self.pair.take(lane, hold_producers)

    @can("take_ahead")
    @rule(data=st.data())
    def take_ahead(self, data):
        """Take any task whose dependencies have been taken."""
        self.pair.take_ahead(drawn(data, self.pair.can_go_ahead()))

    # Else most would be given back.
    @can("untake")
    @rule(data=st.data(), chance=st.integers(0, 2))
    def untake(self, data, chance):
        """Give back a task that has not begun."""
        task = drawn(data, self.pair.can_go_back())
        if chance == 0:
            self.pair.untake(task)

    @can("consume")
    @rule(data=st.data())
    def consume(self, data):
        """Let a task take its arguments."""
        self.pair.consume(drawn(data, self.pair.running - self.pair.consumed))

    @can("finish")
    @rule(data=st.data())
    def finish(self, data):
        """Finish any running task."""
        self.pair.finish(drawn(data, self.pair.running & self.pair.consumed))

    @can("fail")
    @rule(data=st.data())
    def fail(self, data):
        """Fail any running task."""
        self.pair.fail(drawn(data, self.pair.running & self.pair.consumed))

    @can("expand")
    @rule(data=st.data(), count=st.integers(0, 4))
    def expand(self, data, count):
        """Let any running task return a node, of new tasks and of tasks in any legal state."""
        pair = self.pair
        task = drawn(data, pair.running & pair.consumed)
        first, nameable = len(pair.dependencies), pair.nameable()
        new = [drawn_dependencies(data, [*nameable, *range(first, first + each)]) for each in range(count)]
        lanes = data.draw(st.lists(st.sampled_from(LANES), min_size=count, max_size=count))
        root = drawn(data, {*nameable, *range(first, first + count)})
        lazy = data.draw(st.sets(st.sampled_from(range(first, first + count)))) if count else set()
        pair.expand(task, new, lanes, root, lazy)

    @can("renew")
    @rule(data=st.data(), count=st.integers(0, 3))
    def renew(self, data, count):
        """Let any task that was added return a new node."""
        pair = self.pair
        first, nameable = len(pair.dependencies), pair.nameable()
        new = [drawn_dependencies(data, [*nameable, *range(first, first + each)]) for each in range(count)]
        lanes = data.draw(st.lists(st.sampled_from(LANES), min_size=count, max_size=count))
        own = drawn_dependencies(data, [*nameable, *range(first, first + count)])
        lane = data.draw(st.sampled_from(LANES))
        pair.renew(drawn(data, pair.can_be_renewed()), new, lanes, own, lane)

    @can("postpone")
    @rule(data=st.data())
    def postpone(self, data):
        """Let any running task that holds its inputs wait for another attempt."""
        self.pair.postpone(drawn(data, self.pair.can_be_postponed()))

    @can("go_on")
    @rule(data=st.data())
    def go_on(self, data):
        """Let any of these be begun again."""
        self.pair.go_on(drawn(data, self.pair.postponed))

    @can("revive")
    @rule()
    def revive(self):
        """Begin what is left of a run that is over."""
        self.pair.revive()

    @can("withdraw")
    @rule(data=st.data())
    def withdraw(self, data):
        """Forget the result of a task that can be run again."""
        self.pair.withdraw(drawn(data, self.pair.can_withdraw()))

    @can("lose")
    @rule(data=st.data())
    def lose(self, data):
        """Lose any result that is there."""
        self.pair.lose(drawn(data, self.pair.can_be_lost()))

    @can("assign")
    @rule(data=st.data())
    def assign(self, data):
        """Let all tasks run elsewhere."""
        count = len(self.pair.lanes)
        self.pair.assign(data.draw(st.lists(st.sampled_from(LANES), min_size=count, max_size=count)))

    @can("keep")
    @rule(data=st.data())
    def keep(self, data):
        """Keep the result of any task that is not released."""
        self.pair.keep(drawn(data, self.pair.nameable()))

    @can("let_go")
    @rule(data=st.data())
    def let_go(self, data):
        """Keep it no more."""
        self.pair.let_go(drawn(data, self.pair.kept_besides))

    @can("stop")
    @rule(data=st.data())
    def stop(self, data):
        """Stop any running task."""
        self.pair.stop(drawn(data, self.pair.running & self.pair.consumed))

    @can("give_up")
    @rule(data=st.data())
    def give_up(self, data):
        """Hand over an output."""
        self.pair.give_up(drawn(data, self.pair.kept & (self.pair.finished | self.pair.failed)))

    # Most histories should be long: one in ten may be cut off here.
    @can("cancel")
    @rule(chance=st.integers(0, 9))
    def cancel(self, chance):
        """Cancel the run."""
        if chance == 0:
            self.pair.cancel()

    def teardown(self):
        """Let the rest run: it must all come to an end."""
        if self.pair is not None:
            self.pair.drain()


def drawn(data, tasks):
    """Draw one of some tasks."""
    return data.draw(st.sampled_from(sorted(tasks)))


def drawn_dependencies(data, tasks):
    """Draw up to four of some tasks; one may come twice."""
    return tuple(data.draw(st.lists(st.sampled_from(tasks), max_size=4))) if tasks else ()


TestMachine = Machine.TestCase
TestMachine.settings = settings(max_examples=150, stateful_step_count=60)


WEIGHTS = {"take": 6, "take_ahead": 4, "consume": 6, "finish": 5, "stop": 5}
WEIGHTS |= {"fail": 0.3, "expand": 1, "renew": 2, "cancel": 0.2, "go_on": 2}
GROWING = {**WEIGHTS, "expand": 6, "renew": 20, "cancel": 0.05}


def random_history(seed, pair_of=Pair, weights=WEIGHTS):
    """Drive a larger random graph to its end by random events; return the log of them."""
    dice = random.Random(seed)
    count = dice.randint(1, 40)
    dependencies = [some(dice, range(task)) for task in range(count)]
    outputs = dice.sample(range(count), dice.randint(1, count))
    lanes = [dice.choice(LANES) for _ in range(count)]
    holders = dice.sample(range(count), dice.randint(0, count // 2))
    lazy = dice.sample(range(count), dice.randint(0, count // 3))
    pair = pair_of(dependencies, lanes, outputs, holders, lazy, holds_inputs=dice.random() < 0.4)
    for _ in range(150):
        events = pair.possible()
        (event,) = dice.choices(events, [weights.get(event, 1) for event in events])
        happen(dice, pair, event)
    pair.drain()
    return pair.log


def happen(dice, pair, event):
    """Let one event happen to a task that it can happen to."""
    taken = sorted(pair.running & pair.consumed)
    if event == "take":
        pair.take(dice.choice(LANES), hold_producers=dice.random() < 0.3)
    elif event == "take_ahead":
        pair.take_ahead(dice.choice(sorted(pair.can_go_ahead())))
    elif event == "untake":
        pair.untake(dice.choice(sorted(pair.can_go_back())))
    elif event in {"cancel", "revive"}:
        getattr(pair, event)()
    elif event == "postpone":
        pair.postpone(dice.choice(sorted(pair.can_be_postponed())))
    elif event == "go_on":
        pair.go_on(dice.choice(sorted(pair.postponed)))
    elif event in {"withdraw", "lose"}:
        possible = pair.can_withdraw() if event == "withdraw" else pair.can_be_lost()
        getattr(pair, event)(dice.choice(sorted(possible)))
    elif event == "assign":
        pair.assign([dice.choice(LANES) for _ in pair.lanes])
    elif event == "keep":
        pair.keep(dice.choice(pair.nameable()))
    elif event == "let_go":
        pair.let_go(dice.choice(pair.kept_besides))
    elif event == "consume":
        pair.consume(dice.choice(sorted(pair.running - pair.consumed)))
    elif event == "give_up":
        pair.give_up(dice.choice(sorted(pair.kept & (pair.finished | pair.failed))))
    elif event == "stop":
        pair.stop(dice.choice(taken))
    elif event == "expand":
        first, nameable, count = len(pair.dependencies), pair.nameable(), dice.randint(0, 6)
        new = [some(dice, [*nameable, *range(first, first + each)]) for each in range(count)]
        root = dice.choice([*nameable, *range(first, first + count)])
        lazy = {first + each for each in range(count) if dice.random() < 0.2}
        pair.expand(dice.choice(taken), new, [dice.choice(LANES) for _ in new], root, lazy)
    elif event == "renew":
        first, nameable, count = len(pair.dependencies), pair.nameable(), dice.randint(0, 3)
        new = [some(dice, [*nameable, *range(first, first + each)]) for each in range(count)]
        own, lane = some(dice, [*nameable, *range(first, first + count)]), dice.choice(LANES)
        task = dice.choice(sorted(pair.can_be_renewed()))
        pair.renew(task, new, [dice.choice(LANES) for _ in new], own, lane)
    else:
        getattr(pair, event)(dice.choice(taken))


def some(dice, tasks):
    """Return up to four of some tasks; one may come twice."""
    return tuple(dice.choices(tasks, k=dice.randint(0, 4))) if tasks else ()


@pytest.mark.parametrize("seed", range(60))
def test_larger_random_graphs_agree_with_the_model(seed):
    """Graphs of up to 40 tasks that grow, fail and are cancelled agree with the model at every step."""
    random_history(seed)


@pytest.mark.parametrize("seed", range(100, 160))
def test_graphs_that_grow_agree_with_the_model(seed):
    """Most calls return further nodes, also those that were returned themselves."""
    random_history(seed, weights=GROWING)


LOSING = {**WEIGHTS, "take_ahead": 1, "fail": 0.6, "expand": 3, "renew": 6, "cancel": 0.3}


def losing_history(seed):
    """Let a graph fail or be cancelled, lose results and be revived, time and again; return the log of it."""
    dice = random.Random(seed)
    count = dice.randint(1, 14)
    dependencies = [some(dice, range(max(0, task - 4), task)) for task in range(count)]
    outputs = dice.sample(range(count), dice.randint(1, max(1, count // 3)))
    lanes = [dice.choice(LANES) for _ in range(count)]
    lazy = dice.sample(range(count), dice.randint(0, count // 3))
    pair = Pair(dependencies, lanes, outputs, [], lazy, holds_inputs=True)
    for _ in range(4):
        for _ in range(dice.randint(5, 40)):
            is_full = len(pair.dependencies) > 30
            events = [each for each in pair.possible() if not (is_full and each in {"expand", "renew"})]
            (event,) = dice.choices(events, [LOSING.get(event, 1) for event in events])
            happen(dice, pair, event)
        if not pair.is_over and dice.random() < 0.6:
            pair.cancel()
        pair.run_out(dice.choice)
        for _ in range(dice.randint(0, 5)):
            for event in (each for each in ("lose", "withdraw") if each in pair.possible()):
                happen(dice, pair, event)
        if pair.can_revive():
            pair.revive()
    pair.drain()
    return pair.log


@pytest.mark.parametrize("seed", range(200, 350))
def test_what_has_lost_results_agrees_with_the_model(seed):
    """Whatever is lost or withdrawn, once or again, all comes to its end."""
    losing_history(seed)


def test_the_same_events_give_the_same_answers():
    """A history told twice is answered the same way, to the order of what finished."""
    seen = []

    class Recorder(Pair):
        def agree(self, *event):
            super().agree(*event)
            seen.append((event, repr(self.visible())))

    random_history(7, Recorder)
    first, seen[:] = list(seen), []
    random_history(7, Recorder)
    assert first == seen
    assert len({event[0] for event, _ in seen if event}) > 4


def test_every_kind_of_event_is_tried():
    """The random histories hold every event there is, refused circles included."""
    histories = [
        random_history(seed, weights=weights) for seed in range(20) for weights in (WEIGHTS, GROWING)
    ]
    kinds = {event[0] for history in histories for event in history if event}
    assert kinds == {*KINDS}
