"""What would make a run shorter, in sentences: only what its times show.

Each rule looks at one thing and says nothing if it does not matter. The thresholds are shares of the run that
are worth the reader's time.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from asyncgraph.observe.report.analysis import ExecutorUse
from asyncgraph.observe.report.study import Study
from asyncgraph.observe.report.words import count_of, duration, share

__all__ = ["Hint", "hints_of"]

_BOUND = 0.8
"""From this share of the run on, the longest chain of calls is what the run is."""

_MUCH = 0.1
"""A share of the run that is worth a sentence."""

_CROWDED = 0.2
"""A share of the run with all slots in use while nodes wait that is worth a sentence."""

_SHORT = 1e-3
"""Seconds: calls that take less are dear to hand over."""

# What gives an executor more slots, and when they help.
_OPTIONS = {
    "process": ("processes=", "as long as the machine has idle cores"),
    "thread": ("threads=", "if the calls wait rather than compute"),
    "coroutine": ("concurrency=", "if whatever they wait for bears it"),
}


class Hint(NamedTuple):
    """A sentence about a run.

    Attributes:
        weight: About how many seconds it is about; those that are about more come first.
        title: What it is about, in a few words.
        text: The sentence.
    """

    weight: float
    title: str
    text: str


def hints_of(study: Study) -> list[Hint]:
    """What is worth saying about a run, what matters most first."""
    if study.seconds <= 0 or not study.schedule.calls:
        return []
    rules = (_chain, _slots, _held, _inline, _stalls, _workers, _pauses, _between, _company)
    hints = [hint for rule in rules for hint in rule(study)]
    hints.sort(key=lambda hint: -hint.weight)
    return hints


def _chain(study: Study) -> Iterator[Hint]:
    chain, seconds = study.chain, study.seconds
    if chain.seconds <= 0:
        return
    longest = max(chain.calls, key=lambda call: call.ended - call.began)
    part = share((longest.ended - longest.began) / chain.seconds)
    worst = f"{study.schedule.key_of(longest)} is {part} of it"
    takes, whole = duration(chain.seconds), duration(seconds)
    if chain.seconds >= _BOUND * seconds:
        yield Hint(
            chain.seconds,
            "Bound by one chain of calls",
            f"The longest chain of calls, each needing the one before it, takes {takes} of the {whole}. "
            f"More workers will not make the run shorter than that, shorter calls in the chain will. "
            f"It has {count_of(len(chain.calls), 'call')}; {worst}.",
        )
    elif chain.seconds < (1 - _MUCH) * seconds:
        yield Hint(
            (seconds - chain.seconds) / 10,
            "Room to be shorter",
            f"The longest chain of calls, each needing the one before it, takes {takes}. With a slot "
            f"for every node that is ready, the run would take about that instead of {whole}; {worst}.",
        )


def _slots(study: Study) -> Iterator[Hint]:
    for use in study.executors:
        part = use.crowded.total / study.seconds
        if use.executor in _OPTIONS and use.is_known and part >= _CROWDED:
            yield Hint(use.crowded.total, f"Too few {use.executor} slots", _about_slots(use, part))


def _about_slots(use: ExecutorUse, part: float) -> str:
    option, condition = _OPTIONS[use.executor]
    if use.slots == 1:
        which = f"The only {use.executor} slot was"
    else:
        which = f"All {use.slots} {use.executor} slots were"
    nodes = count_of(use.most_ready, "node")
    were = "was" if use.most_ready == 1 else "were"
    return (
        f"{which} in use for {share(part)} of the run while up to {nodes} {were} ready: "
        f"more of them, Runtime({option}...), would make it shorter, {condition}."
    )


def _held(study: Study) -> Iterator[Hint]:
    held = [step for step in study.path.steps if step.kind == "held"]
    seconds = sum(step.seconds for step in held)
    if seconds < _MUCH * study.seconds:
        return
    longest = max(held, key=lambda step: step.seconds)
    option, condition = _OPTIONS.get(longest.behind, ("", ""))
    remedy = f" More of those, Runtime({option}...), would help, {condition}." if option else ""
    yield Hint(
        seconds,
        f"Held back for {longest.behind} slots",
        f"For {duration(seconds)} of the critical path, {share(seconds / study.seconds)} of the run, calls "
        f"of {longest.name} were held back, so that what they give would not pile up in memory: what was "
        f"there already waited for {longest.behind} slots.{remedy}",
    )


def _inline(study: Study) -> Iterator[Hint]:
    for use in study.executors:
        if use.executor != "loop" or use.busy < _MUCH * study.seconds:
            continue
        worst = next(row for row in study.functions if row.executor == "loop")
        yield Hint(
            use.busy,
            "Inline calls keep the loop busy",
            f"Calls on the loop itself took {duration(use.busy)}, {share(use.busy / study.seconds)} of the "
            f"run; {duration(worst.total)} of that is {count_of(worst.count, 'call')} of {worst.name}. "
            f'Nothing else runs on the loop meanwhile: executor="thread" or "process" would keep it free.',
        )


def _stalls(study: Study) -> Iterator[Hint]:
    total = sum(stall.seconds for stall in study.stalls)
    if total < _MUCH / 2 * study.seconds or not study.stalls:
        return
    index = max(range(len(study.stalls)), key=lambda each: study.stalls[each].seconds)
    suspects, longest = study.suspects[index], duration(study.stalls[index].seconds)
    if suspects and suspects[0].is_sure:
        rest = (
            f"; in the longest, {longest}, {suspects[0].key} was running. Coroutines and inline calls must "
            f"not compute or block for long: a plain function runs in a thread."
        )
    else:
        rest = (
            f", for {longest} at the longest. No node can be named for certain: other code on the loop may "
            f"have held it up, or the machine had no core to spare."
        )
    yield Hint(
        total,
        "The loop did not answer",
        f"For {duration(total)} in all, {share(total / study.seconds)} of the run, the event loop served "
        f"nobody{rest}",
    )


def _workers(study: Study) -> Iterator[Hint]:
    seconds = study.path.seconds_by_kind().get("worker", 0.0)
    if seconds >= _MUCH * study.seconds:
        yield Hint(
            seconds,
            "Waiting for worker processes",
            f"For {duration(seconds)}, {share(seconds / study.seconds)} of the run, it waited for worker "
            f"processes to start. A Runtime that stays open keeps them for the next run.",
        )


def _pauses(study: Study) -> Iterator[Hint]:
    seconds = study.path.seconds_by_kind().get("pause", 0.0)
    if seconds >= _MUCH * study.seconds:
        names = dict.fromkeys(step.name for step in study.path.steps if step.kind == "pause")
        yield Hint(
            seconds,
            "Waiting between attempts",
            f"For {duration(seconds)} the run waited for the next attempt of {', '.join([*names][:3])}: "
            f"a shorter backoff= of Retry, or fewer failures, would make it shorter.",
        )


def _between(study: Study) -> Iterator[Hint]:
    seconds = study.path.seconds_by_kind().get("loop", 0.0)
    if seconds < 2 * _MUCH * study.seconds:
        return
    short = sum(row.count for row in study.functions if row.median < _SHORT)
    why = " Most calls are very short: let one node do more." if 2 * short > len(study.schedule.calls) else ""
    yield Hint(
        seconds,
        "Between the calls",
        f"For {duration(seconds)} of the critical path, {share(seconds / study.seconds)} of the run, nothing "
        f"ran that the rest waited for, though there were slots: the loop was busy, or calls and values were "
        f"on their way between it and the workers.{why}",
    )


def _company(study: Study) -> Iterator[Hint]:
    """Calls in threads that take longer while others of them go on."""
    for name, alone, together, total in study.crowded_functions:
        if total >= _MUCH * study.seconds:
            yield Hint(
                total / 2,
                f"{name} is slower in company",
                f"A call of {name} in a thread took {duration(together)} (median) if others of it were going "
                f"on when it began, and {duration(alone)} if none was. They get in each other's way, as "
                f'calls do that hold the GIL: executor="process" would run them side by side.',
            )
