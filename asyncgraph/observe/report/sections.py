"""The parts of the page that are about one run, as HTML. Each says what its figures mean."""

from __future__ import annotations

import time

from asyncgraph.observe.drawing import Drawing, boxes_of_nodes
from asyncgraph.observe.recording import marks_of_run
from asyncgraph.observe.report.analysis import ExecutorUse
from asyncgraph.observe.report.hints import hints_of
from asyncgraph.observe.report.html import Cell, code, number, prose, section, shipped, table, text
from asyncgraph.observe.report.mishaps import failures, retries, stalls, workers
from asyncgraph.observe.report.path import Step
from asyncgraph.observe.report.payload import MOST_CALLS
from asyncgraph.observe.report.study import Study
from asyncgraph.observe.report.words import count_of, duration, grouped, share, size

__all__ = ["sections_of"]

# So many rows of a table are shown, and of more those that matter most.
_FUNCTIONS = 100
_STEPS = 25

# The bar of the critical path has so many parts; a longer path is drawn in as many pieces.
_PARTS = 240

# Larger graphs are not drawn: that takes some 20 us a node, with sorts that the loop would feel.
_DRAWN = 20_000

EXECUTORS = {
    "loop": "loop, inline",
    "coroutine": "loop, coroutines",
    "thread": "threads",
    "process": "processes",
}

_KINDS = {
    "call": ("calls", "a function was being computed"),
    "slot": ("waiting for a slot", "a node was ready, and all slots of its executor were in use"),
    "worker": (
        "waiting for a worker",
        "a node was ready, and the worker process it went to was not there yet",
    ),
    "held": (
        "held back",
        "a node that only feeds others was ready, and those that are fed waited for slots already",
    ),
    "pause": ("pauses", "an attempt had failed, and the next one was not due"),
    "loop": ("between calls", "the loop was busy, or a call or value was on its way to or from a worker"),
    "begin": ("beginning", "until the first node of the path was ready: planning"),
    "end": ("end", "after the last call: until the run was over"),
}


def sections_of(study: Study) -> str:
    """All parts, in the order of the page."""
    parts = (
        _title,
        _tiles,
        _hints,
        _timeline,
        _path,
        _graph,
        _functions,
        stalls,
        failures,
        retries,
        workers,
    )
    return "".join(part(study) for part in parts)


def _title(study: Study) -> str:
    run = study.run
    began = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(run.wall_time))
    inner = "" if run.outer is None else f", in {code(run.outer[1])} of run {run.outer[0]}"
    return (
        f'<h1>{text(run.name)}<span class="badge {run.state}" title="how it ended">{run.state}</span></h1>'
        f'<p class="soft">Run {run.id}, begun at {began}{inner}</p>\n'
    )


# -- figures


def _tiles(study: Study) -> str:
    run = study.run
    counts = run.counts()
    states = [f"{grouped(counts[each])} {each}" for each in counts if counts[each]]
    more = f", {run.omitted} not kept" if run.omitted else ""
    tiles = [
        _tile("Time", duration(study.seconds), "from the beginning of the run until all was over"),
        _tile("Nodes", grouped(len(run) + run.omitted), ", ".join(states) + more),
        _tile(
            "Parallelism",
            f"{study.parallelism:.3g}",
            f"calls that went on at the same time, on average; {study.running.peak} at the most",
        ),
        *[_use(use) for use in study.executors],
        _memory(study),
    ]
    return f'<div class="tiles">{"".join(tiles)}</div>\n'


def _tile(title: str, figure: str, explanation: str, meter: float | None = None) -> str:
    bar = "" if meter is None else f'<div class="meter"><i style="width:{100 * meter:.1f}%"></i></div>'
    return (
        f'<div class="tile"><span>{text(title)}</span><b>{prose(figure)}</b>{bar}'
        f"<small>{prose(explanation)}</small></div>"
    )


def _use(use: ExecutorUse) -> str:
    title, calls = EXECUTORS.get(use.executor, use.executor).capitalize(), count_of(use.calls, "call")
    if use.executor == "coroutine":
        of = f", of {count_of(use.slots, 'slot')}" if use.is_known else ""
        return _tile(title, f"{use.peak} at once", f"at the most{of}; {calls} in all")
    busy = f"{share(use.utilisation)} busy"
    if use.executor == "loop":
        what = f"the share of the time that {calls} took on the loop itself"
    elif use.is_known:
        slots = "the slot" if use.slots == 1 else f"the {use.slots} slots"
        what = f"the share of the time of {slots} that was in use, by {calls}; {use.peak} at once at the most"
    else:
        what = f"the share of the time of the {use.slots} that were in use at once at the most, by {calls}"
    return _tile(title, busy, what, use.utilisation)


def _memory(study: Study) -> str:
    alive = study.alive
    if not alive.peak:
        return ""
    when = alive.times[alive.values.index(alive.peak)] - study.run.began
    explanation = (
        f"at the most, after {duration(when)}: the sizes, as far as can be told quickly, of all values"
    )
    return _tile("Live results", size(alive.peak), f"{explanation} that were needed then")


def _hints(study: Study) -> str:
    hints = hints_of(study)
    explanation = "What the times of this run show, with what it is about most first."
    if not hints:
        return section("What would make it shorter", "Nothing stands out in the times of this run.")
    rows = "".join(f"<li><h3>{text(hint.title)}</h3>{prose(hint.text)}</li>" for hint in hints)
    return section("What would make it shorter", explanation, f'<ul class="hints">{rows}</ul>', name="advice")


# -- pictures


def _timeline(study: Study) -> str:
    calls = len(study.schedule.calls)
    if not calls:
        return section("Timeline", "No function was called in this run.")
    left = f" The shortest {calls - MOST_CALLS} calls are not drawn." if calls > MOST_CALLS else ""
    explanation = (
        "Each row is a worker, and each bar a call; coroutines have as many rows as were being computed "
        "at once. A dark edge above marks the critical path, a red one below a call that failed. Red "
        "stretches are times in which the loop did not answer. Drag to move, double-click or Ctrl+wheel "
        f"to zoom, point at a call for more.{left}"
    )
    return section("Timeline", explanation, shipped("timeline.html"), name="timeline")


def _graph(study: Study) -> str:
    run = study.run
    if not run:
        return ""
    explanation = (
        "The nodes, dependencies below what needs them, colored by how long their calls took. Similar "
        "nodes of a large graph are drawn as one."
    )
    if len(run) > _DRAWN:
        left = f"The graph has {count_of(len(run), 'node')}, more than are drawn here: see node.visualize()."
        return section("Graph", left)
    # Nodes whose function was replaced by what it has returned have the dependencies of that.
    drawing = Drawing(boxes_of_nodes(run.infos))
    picture = drawing.svg(color="duration", paint=dict(marks_of_run(run)))
    return section("Graph", explanation, _GRAPH_TOOLS, f'<div class="graph">{picture}</div>')


_GRAPH_TOOLS = '<div class="tools"><button data-whole aria-pressed="false">Actual size</button></div>'


# -- the critical path


def _path(study: Study) -> str:
    path, chain = study.path, study.chain
    if not path.steps:
        return ""
    explanation = (
        "What the run waited for at each moment, followed from its end back to its beginning: of the "
        "calls that a call had to wait for, the one that ended last. Together the steps take as long as "
        "the run."
    )
    beside = (
        f"<p>Of {duration(study.seconds)}, the longest chain of calls, each of which needs the one "
        f"before it, takes <b>{duration(chain.seconds)}</b> ({count_of(len(chain.calls), 'call')}): no "
        "number of workers makes the run shorter than that.</p>"
    )
    longest = sorted(path.steps, key=lambda step: -step.seconds)[:_STEPS]
    shown = sorted(longest, key=lambda step: step.began)
    rows = [_step_row(step, study) for step in shown]
    heads = (
        ("At", "when it began, after the beginning of the run"),
        ("Took", "how long"),
        ("Share", "of the whole run"),
        ("Step", "what the run waited for"),
    )
    left = len(path.steps) - len(shown)
    rest = f'<p class="soft">{count_of(left, "shorter step")} not listed.</p>' if left else ""
    return section(
        "Critical path",
        explanation,
        _bar(study),
        _kinds(study),
        beside,
        table(heads, rows),
        rest,
        name="path",
    )


def _bar(study: Study) -> str:
    parts = "".join(
        f'<i class="{step.kind}" style="flex-grow:{max(step.seconds / study.seconds, 1e-9):.9f}" '
        f'title="{text(_described(step))}"></i>'
        for step in _pieces(study.path.steps)
    )
    return f'<div class="bar">{parts}</div>'


def _pieces(steps: list[Step]) -> list[Step]:
    """The steps, or where they are too many the longest of each piece, which then stands for it."""
    width = -(-len(steps) // _PARTS) if steps else 1
    if width == 1:
        return steps
    pieces = [steps[first : first + width] for first in range(0, len(steps), width)]
    return [
        max(piece, key=lambda step: step.seconds)._replace(began=piece[0].began, ended=piece[-1].ended)
        for piece in pieces
    ]


def _kinds(study: Study) -> str:
    seconds = study.path.seconds_by_kind()
    rows = "".join(
        f'<li title="{text(explanation)}"><i class="{kind}"></i>{title}: <b>{duration(seconds[kind])}</b>, '
        f'<span class="soft">{text(explanation)}</span></li>'
        for kind, (title, explanation) in _KINDS.items()
        if kind in seconds
    )
    return f'<ul class="kinds">{rows}</ul>'


def _described(step: Step) -> str:
    title = _KINDS[step.kind][0]
    what = {"call": step.key, "begin": "beginning", "end": "end"}.get(step.kind, f"{title}: {step.key}")
    return f"{what}, {duration(step.seconds)}"


def _step_row(step: Step, study: Study) -> list[Cell]:
    where = EXECUTORS.get(step.executor, step.executor)
    if step.kind == "call":
        what = f"{code(step.key)} <small>{text(where)}</small>"
    elif step.kind in {"begin", "end"}:
        what = text(_KINDS[step.kind][1])
    else:
        behind = _behind(step)
        what = f"{code(step.key)} <small>{text(_KINDS[step.kind][0])}, {text(where)}{behind}</small>"
    return [
        number(duration(step.began - study.run.began), step.began),
        number(duration(step.seconds), step.seconds),
        number(share(step.seconds / study.seconds), step.seconds),
        Cell(f'<i class="{step.kind} dot"></i>{what}'),
    ]


def _behind(step: Step) -> str:
    if step.behind and step.kind == "slot":
        return f" (the slot it got was that of {code(step.behind)})"
    if step.kind == "held":
        return f", for slots of {text(EXECUTORS.get(step.behind, step.behind))}"
    return ""


# -- functions


def _functions(study: Study) -> str:
    heads = (
        ("Function", "its name"),
        ("Where", "where it was called"),
        ("Calls", "how many there were, failed and repeated ones included"),
        ("Total", "all calls added up"),
        ("Mean", "the average call"),
        ("Median", "half of the calls took longer"),
        ("95 %", "one call in twenty took longer"),
        ("Longest", "the longest call, and its node"),
        ("Failed", "nodes that failed, and calls that were repeated or stopped"),
    )
    rows = [
        [
            Cell(code(row.name)),
            Cell(text(EXECUTORS.get(row.executor, row.executor))),
            number(grouped(row.count), row.count),
            *[number(duration(each), each) for each in (row.total, row.mean, row.median, row.p95)],
            Cell(f"{duration(row.longest)} <small>{code(row.longest_key)}</small>", row.longest),
            number(
                _unhappy(row.failed, row.retried, row.cancelled), row.failed + row.retried + row.cancelled
            ),
        ]
        for row in study.functions[:_FUNCTIONS]
    ]
    if not rows:
        return ""
    left = len(study.functions) - len(rows)
    rest = f'<p class="soft">{count_of(left, "function")} with less time not listed.</p>' if left else ""
    explanation = "How long the calls of each function took; click a head to sort."
    return section("Slowest functions", explanation, table(heads, rows, sorted_by=3), rest, name="functions")


def _unhappy(failed: int, retried: int, cancelled: int) -> str:
    counts = (("failed", failed), ("repeated", retried), ("cancelled", cancelled))
    return ", ".join(f"{count} {what}" for what, count in counts if count) or "0"
