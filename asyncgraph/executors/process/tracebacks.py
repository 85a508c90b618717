"""Tracebacks as plain data: which frames travel, and how a traceback is made of them again.

Only where each frame was is kept, never its variables: nobody has asked to see them, and they would
keep, or send, whatever the user's function was working on.
"""

from __future__ import annotations

import traceback
from types import TracebackType

__all__ = ["Frames", "flatten", "rebuild", "render"]

Frame = tuple[str, str, int, str]  # file, function, line, module
Frames = tuple[list[Frame], int]  # and how many were left out after the first _KEPT

# Of a deep recursion the first and the last hundred frames tell all there is to know.
_KEPT = 100


def flatten(top: TracebackType | None) -> Frames:
    """The frames from `top` on, and how many of them are left out in the middle."""
    frames: list[Frame] = []
    while top is not None:
        code = top.tb_frame.f_code
        module = top.tb_frame.f_globals.get("__name__", "")
        # tb_lineno can be None where a compiler gave an instruction no line.
        frames.append((code.co_filename, code.co_name, top.tb_lineno or 0, str(module)))
        top = top.tb_next
    omitted = max(0, len(frames) - 2 * _KEPT)
    if omitted:
        del frames[_KEPT:-_KEPT]
    return frames, omitted


def rebuild(frames: list[Frame]) -> TracebackType | None:
    """A real traceback that shows `frames`."""
    import tblib

    result: TracebackType | None = None
    for file, function, line, module in reversed(frames):
        # Frame by frame: from_dict is recursive, and a RecursionError is among what travels.
        stub = tblib.Traceback.from_dict(
            {
                "tb_frame": {
                    "f_globals": {"__name__": module, "__file__": file},
                    "f_locals": {},
                    "f_code": {"co_filename": file, "co_name": function},
                    "f_lineno": line,
                },
                "tb_lineno": line,
                "tb_next": None,
            }
        ).as_traceback()
        # Instruction -1: without columns. Those of the stub would put markers under the wrong words.
        result = TracebackType(result, stub.tb_frame, -1, line)
    return result


def render(frames: Frames, ending: str) -> str:
    """The text that Python would print of `frames`, with `ending` as its last line."""
    kept, omitted = frames
    lines = _format(kept[:_KEPT] if omitted else kept)
    if omitted:
        lines += [f"  ... {omitted} frames omitted ...\n", *_format(kept[_KEPT:])]
    return "".join(["Traceback (most recent call last):\n", *lines, ending])


def _format(frames: list[Frame]) -> list[str]:
    summaries = [traceback.FrameSummary(file, line, function) for file, function, line, _ in frames]
    return traceback.StackSummary.from_list(summaries).format()
