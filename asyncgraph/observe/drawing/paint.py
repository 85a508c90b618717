"""The colors of shapes, and the legend that explains them. They are legible on light and on dark pages."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

from asyncgraph.observe.drawing.model import COLORS, STATES, Color, Marks
from asyncgraph.observe.drawing.shapes import Shape
from asyncgraph.observe.drawing.tally import Tally, seconds_in_words

__all__ = ["INK", "LINE", "Fill", "Legend", "Painted", "check_color", "painted"]

INK = "#1b1f24"
"""Of text in shapes."""

LINE = "#767676"
"""Of edges, and of text outside of shapes: as far from white as from black."""


class Fill(NamedTuple):
    """The color of a shape, and of the line around it."""

    inside: str
    around: str


Legend = list[tuple[Fill | None, str]]
"""Colors, and what each means; words alone go before the colors of a scale."""


class Painted(NamedTuple):
    """The colors of a picture.

    Attributes:
        fills: The color of each shape.
        legend: What the colors mean.
        lines: What the tooltip of each shape says besides.
    """

    fills: list[Fill]
    legend: Legend
    lines: list[tuple[str, ...]]


_PLAIN = Fill("#f1f3f5", "#868e96")

_EXECUTORS = {
    "loop": Fill("#d6e8fc", "#3a7bd5"),
    "thread": Fill("#d5f2dc", "#2b9a58"),
    "process": Fill("#fee3c3", "#df7a14"),
}
_OTHER_EXECUTOR = Fill("#ebdcfb", "#8a5bd8")

_STATES = {
    "waiting": Fill("#f1f3f5", "#adb5bd"),
    "ready": Fill("#fff3bf", "#d9a400"),
    "running": Fill("#c9e1fd", "#1c7ed6"),
    "finished": Fill("#cdf0d5", "#2b9a58"),
    "failed": Fill("#ffc9c9", "#e03131"),
    "not run": Fill("#fde2ee", "#c2628f"),
    "cancelled": Fill("#e6dcf7", "#8a5bd8"),
    "released": Fill("#e9f7ec", "#8cc79c"),
}

# What a shape of many boxes shows: the first of these that one of them is in.
_SALIENT = ("failed", "running", "not run", "cancelled", "ready", "waiting", "finished", "released")

# What is shown of a shape also while nothing is known of some of its boxes.
_TOLD = ("failed", "running", "not run", "cancelled")

# From little to much.
_DURATIONS = (Fill("#fff8e8", "#d9b96a"), Fill("#ff7a4d", "#b93c10"))
_ORDERS = (Fill("#e3f4ff", "#4b9cd3"), Fill("#a08bfa", "#5f3dc4"))

_STEPS = 5
"""So many colors of a scale its legend shows."""


def check_color(color: str, paint: Marks | None) -> None:
    """Raise ValueError if there is no such color, or if it needs marks and there are none."""
    if color not in COLORS:
        raise ValueError(f"there is no color {color!r}: color= is one of {', '.join(map(repr, COLORS))}")
    if color != "executor" and paint is None:
        raise ValueError(
            f"color={color!r} shows what a run has done, and there is none: give run= its Recording, "
            f"or color='executor'"
        )


def painted(shapes: Sequence[Shape], tallies: Sequence[Tally] | None, color: Color) -> Painted:
    """The colors of the shapes; `tallies` says what a run has made of each, if there was one."""
    if tallies is None:
        return _by_executor(shapes)
    lines = [tally.lines(len(shape.members)) for shape, tally in zip(shapes, tallies, strict=True)]
    if color == "executor":
        return _by_executor(shapes)._replace(lines=lines)
    if color == "state":
        states = [_state_of(shape, tally) for shape, tally in zip(shapes, tallies, strict=True)]
        fills = [_STATES.get(state, _PLAIN) for state in states]
        return Painted(fills, [(_STATES[state], state) for state in STATES if state in states], lines)
    if color == "duration":
        durations = [tally.seconds if tally.timed else None for tally in tallies]
        return Painted(*_on_scale(durations, _DURATIONS, seconds_in_words), lines)
    orders = [tally.orders / tally.ordered if tally.ordered else None for tally in tallies]
    return Painted(*_on_scale(orders, _ORDERS, lambda order: f"{_ordinal(order)} to begin"), lines)


def _by_executor(shapes: Sequence[Shape]) -> Painted:
    executors = list(dict.fromkeys(shape.executor for shape in shapes if shape.kind != "data"))
    fills = [_PLAIN if shape.kind == "data" else _fill_of_executor(shape.executor) for shape in shapes]
    known = [each for each in _EXECUTORS if each in executors]
    others = [each for each in executors if each not in _EXECUTORS]
    legend: Legend = [(_fill_of_executor(each), each) for each in (*known, *others)]
    return Painted(fills, legend if len(legend) > 1 else [], [()] * len(shapes))


def _fill_of_executor(executor: str) -> Fill:
    return _EXECUTORS.get(executor, _OTHER_EXECUTOR)


def _state_of(shape: Shape, tally: Tally) -> str:
    """The state that a shape shows; none for data that no run has told of."""
    if shape.kind == "data" and not tally.states:
        return ""
    if tally.marked < len(shape.members) and tally.states.keys().isdisjoint(_TOLD):
        return "ready" if "ready" in tally.states else "waiting"
    return next(state for state in _SALIENT if state in tally.states)


def _on_scale(
    values: Sequence[float | None], scale: tuple[Fill, Fill], in_words: Callable[[float], str]
) -> tuple[list[Fill], Legend]:
    """The colors for these values, from the first color of the scale to the second, and what they mean."""
    known = [value for value in values if value is not None]
    if not known:
        return [_PLAIN] * len(values), [(_PLAIN, "not begun")]
    least, most = min(known), max(known)
    span = most - least or 1.0
    fills = [_PLAIN if each is None else _between(scale, (each - least) / span) for each in values]
    legend: Legend = [(_between(scale, step / (_STEPS - 1)), "") for step in range(_STEPS)]
    legend = [(None, in_words(least)), *legend[:-1], (scale[1], in_words(most))]
    if least == most:
        legend = [(scale[0], in_words(least))]
    if len(known) < len(values):
        legend.append((_PLAIN, "not begun"))
    return fills, legend


def _between(scale: tuple[Fill, Fill], share: float) -> Fill:
    """The color so far on the way from the first to the second."""
    return Fill(*(_mixed(one, other, share) for one, other in zip(*scale, strict=True)))


def _mixed(one: str, other: str, share: float) -> str:
    pairs = [(int(one[at : at + 2], 16), int(other[at : at + 2], 16)) for at in (1, 3, 5)]
    return "#" + "".join([f"{round(low + (high - low) * share):02x}" for low, high in pairs])


def _ordinal(order: float) -> str:
    number = round(order) + 1
    last = "th" if number % 100 in (11, 12, 13) else {1: "st", 2: "nd", 3: "rd"}.get(number % 10, "th")
    return f"{number:,}{last}"
