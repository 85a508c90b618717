"""Refusals: what does not pickle or unpickle, where in a call or a result that is, and how a user is told."""

from __future__ import annotations

from types import FrameType
from typing import Any

from asyncgraph.errors import SerializationError
from asyncgraph.executors.base import PACKAGE
from asyncgraph.executors.safe_text import describe_error

__all__ = ["Refusal"]

_PROBLEMS = {
    "arg-pickle": "{key} cannot be sent to a worker process: {what} does not pickle ({why}). {way}",
    "arg-unpickle": "{key} could not be unpickled in its worker process: {what} fails with {why}. Its "
    "classes and functions must be importable there, and its classes able to rebuild what they pickle.",
    "result-pickle": "The result of {key} cannot be sent back from its worker process: {what} does not "
    "pickle ({why}). {way}",
    "result-unpickle": "The result of {key} has come back from its worker process but could not be unpickled "
    "here: {why}. Its classes must be importable here, and able to rebuild what they pickle.",
}

_WAY = (
    "Leave it out, make it where it is used (as from a path or settings), or run the node with "
    'executor="thread".'
)

# Where everything goes to a cluster, whatever executor it asks for.
_WAY_OF_WHOLE = (
    "Leave it out, make it where it is used (as from a path or settings), or keep the node here: a "
    "DaskRuntime sends whole graphs to its cluster, and Runtime(executors={'process': DaskExecutor(client)}) "
    'what has executor="process".'
)


class Refusal(Exception):  # noqa: N818 - not an error that a user ever meets
    """Something that does not pickle or unpickle.

    Attributes:
        stage: Where: see `SerializationError`.
        place: An expression for the part at fault, as "args[1]['lock']"; empty where it is not known.
        kind: The name of that part's type.
        cause: What was raised.
        missing: The module that could not be imported, or lacks a name; or "".
    """

    def __init__(self, stage: str, place: str, culprit: Any, cause: BaseException, missing: str = "") -> None:
        super().__init__(stage, place)
        self.stage = stage
        self.place = place
        self.kind = culprit if type(culprit) is str else type(culprit).__qualname__
        self.cause = cause
        self.missing = missing

    def as_error(self, key: str, *, is_whole: bool = False) -> SerializationError:
        """The error for the node with this key.

        Args:
            key: The key.
            is_whole: Whether the node is in a graph that a cluster has as a whole.
        """
        what = f"{self.place}, of type {self.kind}," if self.place else "it"
        why = describe_error(self.cause)
        way = _WAY_OF_WHOLE if is_whole else _WAY
        message = _PROBLEMS[self.stage].format(key=key, what=what, why=why, way=way)
        error = SerializationError(message, stage=self.stage, location=self.place)
        error.__cause__ = _without_pickling(self.cause)
        return error


def _without_pickling(error: BaseException) -> BaseException:
    """Drop the frames of those who pickle from the top of the traceback: they have all that was pickled."""
    traceback = error.__traceback__
    while traceback is not None and _is_pickling(traceback.tb_frame):
        traceback = traceback.tb_next
    return BaseException.with_traceback(error, traceback)


def _is_pickling(frame: FrameType) -> bool:
    is_of_cloudpickle = str(frame.f_globals.get("__name__")).startswith("cloudpickle.")
    return is_of_cloudpickle or frame.f_code.co_filename.startswith(PACKAGE)
