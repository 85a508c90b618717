"""The parts of the page about what went wrong in a run, and about workers, as HTML."""

from __future__ import annotations

from collections import Counter

from asyncgraph.observe.recorded import FAILED, NOT_RUN
from asyncgraph.observe.report.html import Cell, code, number, section, table, text
from asyncgraph.observe.report.study import Study
from asyncgraph.observe.report.words import count_of, duration

__all__ = ["failures", "retries", "stalls", "workers"]

# So many rows of a table are shown, and of more those that matter most.
_STALLS = 20
_RETRIES = 20
_WORKERS = 50


def stalls(study: Study) -> str:
    """When the event loop did not answer, and who may have held it up."""
    explanation = (
        "Times in which the event loop served nobody for more than 30 ms: a beat that was due every 10 "
        "ms came so much later. Meanwhile no coroutine goes on and no request is answered."
    )
    if not study.stalls:
        return section("Loop stalls", "The event loop answered all the time: it was never 30 ms late.")
    order = sorted(range(len(study.stalls)), key=lambda index: -study.stalls[index].seconds)[:_STALLS]
    rows: list[list[Cell]] = []
    for index in order:
        stall, suspects = study.stalls[index], study.suspects[index]
        when = stall.began - study.run.began
        names = ", ".join(code(each.key) for each in suspects)
        certain = "was running" if suspects and suspects[0].is_sure else "may have been running"
        who = f"{names} {certain}" if names else "no node of this run was on the loop"
        rows.append([number(duration(when), when), number(duration(stall.seconds), stall.seconds), Cell(who)])
    heads = (
        ("At", "when it began, after the beginning of the run"),
        ("Late by", "for how long the loop did not answer"),
        ("Meanwhile", "inline calls that fill that time, or coroutines that began, ended or went on in it"),
    )
    left = len(study.stalls) - len(rows)
    rest = f'<p class="soft">{count_of(left, "shorter one")} not listed.</p>' if left else ""
    return section("Loop stalls", explanation, table(heads, rows), rest, name="stalls")


def failures(study: Study) -> str:
    """The nodes that failed by themselves, with their tracebacks."""
    run = study.run
    if not run.failures and run.error is None:
        return ""
    rows: list[str] = []
    for failure in run.failures:
        key = run.infos.key_of(failure.number)
        head = f"{code(key)} <b>{text(failure.type)}</b>: {text(failure.message)}"
        trace = (
            f"<pre>{text(failure.traceback)}</pre>"
            if failure.traceback
            else '<p class="soft">no traceback kept</p>'
        )
        rows.append(f"<details{' open' if not rows else ''}><summary>{head}</summary>{trace}</details>")
    if not rows and run.error is not None:
        error = run.error
        rows.append(
            f"<details open><summary><b>{text(error.type)}</b>: {text(error.message)}</summary>"
            f"<pre>{text(error.traceback)}</pre></details>"
        )
    failed, not_run = run.states.count(FAILED), run.states.count(NOT_RUN)
    behind = f" {count_of(not_run, 'node')} not run because of that." if not_run else ""
    explanation = f"{count_of(failed, 'node')} failed; click one for its traceback.{behind}"
    return section("Failures", explanation, *rows, name="failures")


def retries(study: Study) -> str:
    """What attempts failed with that others followed."""
    failed = [call for call in study.run.calls if call.error]
    if not failed:
        return ""
    groups = Counter((call.name, call.error) for call in failed)
    rows = [
        [number(str(count), count), Cell(code(name)), Cell(text(error))]
        for (name, error), count in groups.most_common(_RETRIES)
    ]
    heads = (
        ("Times", "how often"),
        ("Function", "what was called"),
        ("Failed with", "what the attempt had failed with"),
    )
    left = len(groups) - len(rows)
    rest = f'<p class="soft">{count_of(left, "rarer reason")} not listed.</p>' if left else ""
    lost = sum(call.ended - call.began for call in failed)
    explanation = (
        f"{count_of(len(failed), 'attempt')} failed and {'was' if len(failed) == 1 else 'were'} followed by "
        f"another; they took {duration(lost)} in all."
    )
    return section("Retries", explanation, table(heads, rows), rest, name="retries")


def workers(study: Study) -> str:
    """The worker processes that came or went."""
    if not study.its_workers:
        return ""
    run = study.run
    ended = run.ended or run.began
    rows: list[list[Cell]] = []
    for each in study.its_workers[:_WORKERS]:
        came = "was there" if each.started < run.began else duration(each.started - run.began)
        went = "stayed" if each.lost is None or each.lost > ended else duration(each.lost - run.began)
        reason = each.reason if went != "stayed" else ""
        rows.append([Cell(code(each.worker)), Cell(text(came)), Cell(text(went)), Cell(text(reason))])
    heads = (
        ("Worker", "its process id"),
        ("Started", "when it was there, after the beginning of the run"),
        ("Gone", "when it was gone"),
        ("Why", '"left": by asyncgraph itself; else how the process ended'),
    )
    lost = sum(each.reason not in {"", "left"} for each in study.its_workers)
    explanation = (
        f"{count_of(len(study.its_workers), 'worker process')}".replace("processs", "processes")
        + f" came or went during the run; {lost or 'none'} {'was' if lost == 1 else 'were'} lost."
    )
    return section("Workers", explanation, table(heads, rows), name="workers")
