"""Tracebacks as plain data: which frames travel, and how a traceback is made of them again.

Only where each frame was is kept, never its variables: nobody has asked to see them, and they would
keep, or send, whatever the user's function was working on.
"""

from __future__ import annotations

import traceback
from itertools import islice
from types import CodeType, TracebackType
from typing import Any

__all__ = ["Frames", "flatten", "rebuild", "render"]

Columns = tuple[int, int, int]  # the first; the last line, and the last column there
Frame = tuple[
    str, str, str, int, int, Columns | None
]  # file, module, function, where that begins, line, columns
Frames = tuple[list[Frame], int]  # and how many were left out after the first _KEPT

# Of a deep recursion the first and the last hundred frames tell all there is to know.
_KEPT = 100


def flatten(top: TracebackType | None) -> Frames:
    """The frames from `top` on, and how many of them are left out in the middle."""
    entries: list[TracebackType] = []
    while top is not None:
        entries.append(top)
        top = top.tb_next
    omitted = max(0, len(entries) - 2 * _KEPT)
    if omitted:
        del entries[_KEPT:-_KEPT]
    return [_flat(entry) for entry in entries], omitted


def _flat(entry: TracebackType) -> Frame:
    code = entry.tb_frame.f_code
    module = entry.tb_frame.f_globals.get("__name__", "")
    line = entry.tb_lineno or 0  # it can be None where a compiler gave an instruction no line
    first = min(code.co_firstlineno, line)
    return code.co_filename, str(module), code.co_name, first, line, _columns(code, entry.tb_lasti, line)


def _columns(code: CodeType, instruction: int, line: int) -> Columns | None:
    """What of `line` the instruction is about, if that is known: not all compilers say so."""
    positions = islice(code.co_positions(), max(instruction, 0) // 2, None)
    begins, last_line, column, last_column = next(positions, (None,) * 4)
    if begins != line or last_line is None or column is None or last_column is None:
        return None
    return (column, last_line, last_column) if (line, column) <= (last_line, last_column) else None


def rebuild(frames: list[Frame]) -> TracebackType | None:
    """A real traceback that shows `frames`."""
    result: TracebackType | None = None
    for frame in reversed(frames):
        file, module, *_, line, _ = frame
        try:
            exec(_stub(frame), {"__name__": module, "__file__": file}, {})
        except ZeroDivisionError as error:
            here: Any = error.__traceback__
            result = TracebackType(result, here.tb_next.tb_frame, here.tb_next.tb_lasti, line)
    return result


def _stub(frame: Frame) -> CodeType:
    """Code that does nothing but fail, and looks in a traceback as that of `frame` does.

    Each instruction has the line and columns of the one that failed, where whatever shows tracebacks reads
    them. A traceback without an instruction is no way out: `executing`, which notebooks use, hangs on it.
    """
    import ast

    file, _, function, first, line, columns = frame
    column, last_line, last_column = columns or (-1, line, -1)
    tree = ast.parse("1 / 0")
    for node in ast.walk(tree):
        if isinstance(node, ast.expr | ast.stmt):
            node.lineno, node.col_offset = line - first + 1, column
            node.end_lineno, node.end_col_offset = last_line - first + 1, last_column
    code: CodeType = compile(tree, file, "exec")
    return code.replace(co_name=function, co_qualname=function, co_firstlineno=first)


def render(frames: Frames, ending: str) -> str:
    """The text that Python would print of `frames`, with `ending` as its last line."""
    kept, omitted = frames
    lines = _format(kept[:_KEPT] if omitted else kept)
    if omitted:
        lines += [f"  ... {omitted} frames omitted ...\n", *_format(kept[_KEPT:])]
    return "".join(["Traceback (most recent call last):\n", *lines, ending])


def _format(frames: list[Frame]) -> list[str]:
    summaries = [traceback.FrameSummary(file, line, function) for file, _, function, _, line, _ in frames]
    return traceback.StackSummary.from_list(summaries).format()
