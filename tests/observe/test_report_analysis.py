"""What a report finds out: schedules made by hand, whose answers are known."""

from __future__ import annotations

import itertools
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from asyncgraph.observe import Recording
from asyncgraph.observe.counters import Series, series_of
from asyncgraph.observe.report.analysis import Intervals, excess_of, quantile
from asyncgraph.observe.report.hints import hints_of
from asyncgraph.observe.report.stalls import Stall
from asyncgraph.observe.report.study import Study
from asyncgraph.observe.report.words import count_of, duration, share, size
from tests.observe.telling import Telling


class Slots:
    """A runtime with these slots."""

    def __init__(self, **slots):
        self._slots = slots

    def usage(self):
        """Say so, as a runtime does."""
        kind = type("Usage", (), {})
        rows = []
        for executor, capacity in self._slots.items():
            row = kind()
            row.executor, row.capacity = executor, capacity
            rows.append(row)
        return rows


def study_of(tell, *, stalls=(), **options):
    """Return the study of the run that a function tells of."""
    recording = Recording()
    told = Telling(recording, **options).begin()
    tell(told)
    return Study(recording.runs[0], recording.workers, stalls)


def two_in_one_slot(told):
    """Two calls that one thread makes, one after the other; what joins them follows at once."""
    told.add("a-1", "b-1", "join-1 < a-1 b-1")
    told.call("a-1", 1.0, 1.0, 3.0, "thread 1")
    told.call("b-1", 1.0, 3.0, 7.0, "thread 1")
    told.call("join-1", 7.5, 8.0, 9.0, "thread 1")
    told.end(10.0)


def test_the_critical_path_names_each_second():
    """Begin, call, the wait for the slot, the hand-over and the end, each with its length."""
    study = study_of(two_in_one_slot, runtime=Slots(thread=1))
    steps = [(step.kind, step.key, step.began, step.ended) for step in study.path.steps]
    assert steps == [
        ("begin", "", 0.0, 1.0),
        ("slot", "b-1", 1.0, 3.0),
        ("call", "b-1", 3.0, 7.0),
        ("loop", "join-1", 7.0, 8.0),
        ("call", "join-1", 8.0, 9.0),
        ("end", "", 9.0, 10.0),
    ]
    assert study.path.steps[1].behind == "a-1"
    assert study.path.seconds == 10.0
    assert study.path.seconds_by_kind() == {"begin": 1.0, "slot": 2.0, "call": 5.0, "loop": 1.0, "end": 1.0}


def test_between_two_calls_of_a_queue_a_slot_is_not_free():
    """What waits behind others waits for a slot until the call before its own is over, also in between."""

    def tell(told):
        told.add(*[f"f-{number}" for number in range(4)])
        for number in range(4):
            told.call(f"f-{number}", 0.0, number * 1.0, number + 0.75, "thread 1")
        told.end(3.75)

    steps = study_of(tell, runtime=Slots(thread=1)).path.steps
    assert [(step.kind, step.seconds) for step in steps] == [("slot", 2.75), ("loop", 0.25), ("call", 0.75)]


def test_what_is_held_back_waits_for_those_it_feeds():
    """A node that needs nothing, and has a slot, is held back while what it feeds waits for other slots."""

    def tell(told):
        told.add("fetch-1", "slow-1 < fetch-1", "fetch-2", "join-1 < slow-1 fetch-2")
        told.call("fetch-1", 0.0, 0.0, 1.0, "thread 1")
        told.call("slow-1", 1.0, 1.0, 7.0, "process 1")
        told.call("fetch-2", 0.0, 6.0, 8.0, "thread 1")
        told.call("join-1", 8.0, 8.0, 9.0, "thread 1")
        told.end(9.0)

    study = study_of(tell, runtime=Slots(thread=4, process=1))
    (held,) = [step for step in study.path.steps if step.kind == "held"]
    assert (held.key, held.began, held.ended, held.behind) == ("fetch-2", 0.0, 6.0, "process")
    assert study.path.seconds == 9.0
    (hint,) = [hint for hint in hints_of(study) if hint.title.startswith("Held back")]
    assert hint.title == "Held back for process slots"
    assert "For 6 s of the critical path, 67 % of the run, calls of fetch were held back" in hint.text
    assert "Runtime(processes=...)" in hint.text


def test_the_longest_chain_is_that_of_dependencies():
    """Slots do not count: with enough of them, the run would take so long."""
    study = study_of(two_in_one_slot, runtime=Slots(thread=1))
    assert study.chain.seconds == 5.0
    assert [study.schedule.key_of(call) for call in study.chain.calls] == ["b-1", "join-1"]


def test_how_busy_executors_were():
    """Utilisation is the share of the slots' time, and crowded when all are in use and nodes wait."""
    study = study_of(two_in_one_slot, runtime=Slots(thread=1))
    (use,) = study.executors
    assert (use.executor, use.slots, use.is_known, use.calls) == ("thread", 1, True, 3)
    assert (use.busy, use.utilisation, use.peak) == (7.0, 0.7, 1)
    assert use.full.total == 7.0
    assert use.crowded.stretches == [(1.0, 3.0)]
    assert use.most_ready == 1
    assert study.parallelism == 0.7


def test_slots_that_are_not_known_are_those_that_were_used():
    """Then the report says so little about them as is certain."""
    study = study_of(two_in_one_slot)
    (use,) = study.executors
    assert (use.slots, use.is_known) == (1, False)
    assert not any("slot" in hint.title for hint in hints_of(study))


def test_the_wait_for_a_worker_process_is_told_apart():
    """Until the worker was there, nothing else was the cause."""

    def tell(told):
        told.add("a-1 process")
        told.worker_started("process 7", 4.0, pid=7)
        told.call("a-1", 1.0, 4.5, 9.0, "process 7")
        told.end(9.0)

    study = study_of(tell, runtime=Slots(process=2))
    steps = [(step.kind, step.began, step.ended) for step in study.path.steps]
    assert steps == [("begin", 0.0, 1.0), ("worker", 1.0, 4.0), ("loop", 4.0, 4.5), ("call", 4.5, 9.0)]
    assert [each.pid for each in study.its_workers] == [7]
    assert any(hint.title == "Waiting for worker processes" for hint in hints_of(study))


def test_attempts_and_pauses_are_steps():
    """The path goes through all attempts of a node."""

    def tell(told):
        told.add("a-1")
        told.ready("a-1", 0.0)
        told.started("a-1", 0.0, "thread 1")
        told.retrying("a-1", 0.0, 2.0, "thread 1", 1, "OSError", 3.0)
        told.ready("a-1", 5.0)
        told.started("a-1", 5.0, "thread 1", attempt=2)
        told.finished("a-1", 5.0, 6.0, "thread 1")
        told.end(6.0)

    study = study_of(tell)
    assert [(step.kind, step.seconds) for step in study.path.steps] == [
        ("call", 2.0),
        ("pause", 3.0),
        ("call", 1.0),
    ]
    (row,) = study.functions
    assert (row.count, row.retried, row.failed) == (2, 1, 0)
    assert study.chain.seconds == 3.0
    assert any("next attempt of a:" in hint.text for hint in hints_of(study))


def test_a_node_that_returns_nodes_is_before_them():
    """What it has returned hangs on its call, and what needs its value on what it has returned."""

    def tell(told):
        told.add("grow-1", "last-1 < grow-1")
        told.call("grow-1", 0.0, 0.0, 2.0, "thread 1")
        told.add("leaf-1", source="grow-1", time=2.0)
        told.expanded("grow-1", 0.0, 2.0, "thread 1", "leaf-1")
        told.call("leaf-1", 2.0, 2.0, 5.0, "thread 2")
        told.finished("grow-1", 5.0, 5.0, "")
        told.call("last-1", 5.0, 5.0, 6.0, "thread 1")
        told.end(6.0)

    study = study_of(tell)
    assert [step.key for step in study.path.steps] == ["grow-1", "leaf-1", "last-1"]
    assert study.chain.seconds == 6.0


def test_how_long_functions_take():
    """Count, total, mean, median, 95th percentile and the longest, those with most time first."""

    def tell(told):
        told.add(*[f"f-{number}" for number in range(1, 21)], "g-1 async")
        for number in range(1, 21):
            told.call(f"f-{number}", 0.0, 0.0, float(number), f"thread {number}")
        told.call("g-1", 0.0, 0.0, 100.0, "loop")
        told.end(100.0)

    study = study_of(tell)
    first, second = study.functions
    assert (second.name, second.executor, first.count) == ("g", "coroutine", 20)
    assert (first.total, first.mean, first.median, first.p95, first.longest) == (
        210.0,
        10.5,
        10.0,
        19.0,
        20.0,
    )
    assert first.longest_key == "f-20"


def test_live_results_over_time():
    """Values count from when they came until they are let go of; those of returned nodes once."""

    def tell(told):
        told.add("grow-1", "b-1")
        told.started("grow-1", 0.0, "thread 1")
        told.add("leaf-1", source="grow-1", time=1.0)
        told.expanded("grow-1", 0.0, 1.0, "thread 1", "leaf-1")
        told.call("leaf-1", 1.0, 1.0, 2.0, "thread 1", 1000)
        told.finished("grow-1", 2.0, 2.0, "", 1000)
        told.released("leaf-1", 3.0)
        told.call("b-1", 3.0, 3.0, 4.0, "thread 1", 10)
        told.end(5.0)

    assert list(study_of(tell).alive) == [(2.0, 1000), (3.0, 0), (4.0, 10)]


def test_full_slots_make_a_sentence():
    """It says for which share of the run, how many nodes were ready, and which option gives more."""

    def tell(told):
        told.add(*[f"f-{number} process" for number in range(10)])
        for number in range(10):
            worker = f"process {number % 2}"
            told.call(f"f-{number}", 0.0, number // 2 * 1.0, number // 2 + 1.0, worker)
        told.end(5.0)

    texts = [hint.text for hint in hints_of(study_of(tell, runtime=Slots(process=2)))]
    assert texts[0] == (
        "All 2 process slots were in use for 80 % of the run while up to 8 nodes were ready: "
        "more of them, Runtime(processes=...), would make it shorter, as long as the machine has idle cores."
    )


def test_one_chain_makes_a_sentence():
    """It says that more workers do not help, and which call is most of it."""

    def tell(told):
        told.add("a-1", "b-1 < a-1")
        told.call("a-1", 0.0, 0.0, 3.0, "thread 1")
        told.call("b-1", 3.0, 3.0, 4.0, "thread 1")
        told.end(4.1)

    (hint,) = hints_of(study_of(tell, runtime=Slots(thread=4)))
    assert "takes 4 s of the 4.1 s. More workers will not make the run shorter" in hint.text
    assert hint.text.endswith("It has 2 calls; a-1 is 75 % of it.")


def test_calls_that_harm_each_other_make_a_sentence():
    """Threads whose calls take twice as long in company: only where both can be compared."""

    def tell(told, slow):
        told.add(*[f"f-{number}" for number in range(40)])
        for number in range(20):
            told.call(f"f-{number}", 0.0, number * 1.0, number + 1.0, "thread 1")
        for number in range(20, 40):
            began = 20.0 + (number - 20) // 2 * slow
            told.call(f"f-{number}", 0.0, began, began + slow, f"thread {1 + number % 2}")
        told.end(20.0 + 10 * slow)

    titles = [hint.title for hint in hints_of(study_of(lambda told: tell(told, 2.0)))]
    assert "f is slower in company" in titles
    titles = [hint.title for hint in hints_of(study_of(lambda told: tell(told, 1.0)))]
    assert "f is slower in company" not in titles


@given(st.integers(0, 1000))
def test_calls_of_any_length_do_not_seem_to_harm_each_other(seed):
    """That short calls are more often alone from beginning to end is not taken for a cause."""

    def tell(told):
        rng = random.Random(seed)
        free = [0.0] * 4
        told.add(*[f"f-{number}" for number in range(400)])
        for number in range(400):
            worker = min(range(4), key=free.__getitem__)
            began = free[worker] + rng.expovariate(0.5)
            free[worker] = began + rng.expovariate(1.0) + 0.2
            told.call(f"f-{number}", 0.0, began, free[worker], f"thread {worker}")
        told.end(max(free))

    assert study_of(tell).crowded_functions == []


def test_who_held_up_the_loop():
    """An inline call that fills the stall is the one; of coroutines, those that began or ended in it."""

    def tell(told):
        told.add("block-1 inline", "a-1 async", "b-1 async", "c-1 async")
        told.call("a-1", 0.0, 0.0, 10.0, "loop")
        told.call("block-1", 1.0, 1.0, 2.0, "loop")
        told.call("b-1", 5.0, 5.0, 6.0, "loop")
        told.call("c-1", 8.0, 8.0, 9.5, "loop")
        told.end(10.0)

    stalls = (Stall(1.01, 0.95), Stall(4.99, 0.9), Stall(12.0, 1.0))
    study = study_of(tell, stalls=stalls)
    assert study.stalls == [*stalls[:2]]
    sure, likely = study.suspects
    assert sure == [("block-1", "block", True)]
    assert [each.key for each in likely] == ["b-1", "a-1"]
    assert any("in the longest, 950 ms, block-1 was running" in hint.text for hint in hints_of(study))


def test_a_run_without_calls():
    """It has a path, from its beginning to its end, and nothing to say."""
    study = study_of(lambda told: told.end(2.0))
    assert [(step.kind, step.seconds) for step in study.path.steps] == [("end", 2.0)]
    assert (study.chain.seconds, study.functions, study.executors, study.parallelism) == (0.0, [], [], 0.0)
    assert hints_of(study) == []


@st.composite
def schedules(draw):
    """Return a function that tells of a run as a scheduler with some slots would make it."""
    slots = draw(st.integers(1, 4))
    seconds = draw(st.lists(st.floats(0, 5), min_size=1, max_size=25))
    seed = draw(st.integers(0, 10_000))

    def tell(told):
        rng = random.Random(seed)
        free = [(0.5, f"thread {number}") for number in range(slots)]
        ends = []
        for number, each in enumerate(seconds):
            needed = [other for other in range(number) if rng.random() < 0.2]
            told.add(f"f-{number} < {' '.join(f'f-{other}' for other in needed)}")
            ready = max([ends[other] for other in needed], default=0.5) + rng.choice([0.0, 0.25])
            free.sort()
            since, worker = free.pop(0)
            began = max(ready, since)
            ends.append(began + each)
            free.append((ends[-1], worker))
            told.call(f"f-{number}", ready, began, ends[-1], worker)
        told.end(max(ends) + 0.5)

    return slots, tell


@given(schedules())
def test_laws_of_every_schedule(schedule):
    """A path as long as the run, a chain no longer, no slot more than busy, and quantiles in order."""
    slots, tell = schedule
    study = study_of(tell, runtime=Slots(thread=slots))
    steps = study.path.steps
    assert study.path.seconds == pytest.approx(study.seconds)
    assert steps[0].began == study.run.began
    assert steps[-1].ended == study.run.ended
    for step, following in itertools.pairwise(steps):
        assert step.ended == following.began
        assert step.seconds > 0
    assert sum(study.path.seconds_by_kind().values()) == pytest.approx(study.seconds)
    assert study.chain.seconds <= study.seconds + 1e-9
    assert study.chain.seconds == pytest.approx(sum(call.ended - call.began for call in study.chain.calls))
    for use in study.executors:
        assert 0 <= use.utilisation <= 1
        assert use.peak <= use.slots == slots
        assert use.crowded.total <= use.full.total + 1e-9 <= study.seconds + 1e-6
    for row in study.functions:
        assert 0 <= row.median <= row.p95 <= row.longest <= row.total + 1e-9
    for series in (study.running, study.ready, study.alive):
        assert min(series.values, default=0) >= 0
    assert study.running.total(study.run.ended) == pytest.approx(sum(row.total for row in study.functions))
    hints_of(study)


@given(st.lists(st.tuples(st.integers(0, 50), st.integers(-5, 5))), st.integers(2, 20))
def test_thinning_keeps_the_peak_and_the_end(changes, most):
    """Whatever is left out, the highest value and the last one are still there, in order."""
    series = series_of(changes)
    thin = series.thinned(most)
    assert len(thin) <= most
    assert thin.peak == series.peak
    assert thin.values[-1:] == series.values[-1:]
    assert thin.times == sorted(set(thin.times))


@given(
    st.lists(st.integers(0, 100), unique=True).map(sorted),
    st.integers(0, 100),
    st.integers(0, 100),
)
def test_how_much_stretches_cover(edges, start, end):
    """It is what adding them up one by one gives."""
    stretches = list(zip(edges[::2], edges[1::2], strict=False))
    expected = sum(max(min(finish, end) - max(begin, start), 0) for begin, finish in stretches)
    assert Intervals(iter(stretches)).within(start, end) == max(expected, 0)


def test_how_far_from_chance():
    """Larger throughout is far from it; alike is not."""
    assert excess_of(range(20, 40), range(20)) == pytest.approx(5.41, abs=0.01)
    assert excess_of([1.0] * 20, [1.0] * 20) == 0
    assert excess_of([], [1.0]) == 0


def test_series():
    """Changes of one moment are one step, and the last value goes on."""
    series = series_of([(1.0, 2), (0.0, 1), (1.0, -3)])
    assert list(series) == [(0.0, 1), (1.0, 0)]
    assert list(Series([0.0], [5]).pieces(2.0)) == [(0.0, 2.0, 5)]
    assert series.total(10.0) == 1.0


def test_quantiles():
    """They are values that are there."""
    assert [quantile([1.0, 2.0, 3.0, 4.0], part) for part in (0.0, 0.5, 0.75, 0.95)] == [1.0, 2.0, 3.0, 4.0]


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0 s"),
        (2.5e-6, "2.5 µs"),
        (0.000_999_9, "1 ms"),
        (0.0456, "45.6 ms"),
        (0.9999, "1 s"),
        (3.207, "3.21 s"),
        (99.96, "1 min 40 s"),
        (125, "2 min 5 s"),
        (7300, "2 h 1 min"),
        (-1, "-1 s"),
    ],
)
def test_durations_in_words(seconds, text):
    """Three digits, and the unit that suits them."""
    assert duration(seconds) == text


def test_other_numbers_in_words():
    """Sizes, shares and counts."""
    assert [size(each) for each in (0, 12, 999.6, 3.4e6, 5e13)] == ["0 B", "12 B", "1 kB", "3.4 MB", "50 TB"]
    assert [share(each) for each in (0, 0.001, 0.126, 1)] == ["0 %", "< 1 %", "13 %", "100 %"]
    assert [count_of(each, "node") for each in (1, 0, 12345)] == ["1 node", "0 nodes", "12\u00a0345 nodes"]
