"""Refusals: what does not pickle or unpickle, where in a call or a result that is, and how a user is told."""

from __future__ import annotations

from typing import Any

from asyncgraph.errors import SerializationError
from asyncgraph.executors.base import without_own_frames
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

    def as_error(self, key: str) -> SerializationError:
        """The error for the node with this key."""
        what = f"{self.place}, of type {self.kind}," if self.place else "it"
        why = describe_error(self.cause)
        message = _PROBLEMS[self.stage].format(key=key, what=what, why=why, way=_WAY)
        error = SerializationError(message, stage=self.stage, location=self.place)
        error.__cause__ = without_own_frames(self.cause)
        return error
