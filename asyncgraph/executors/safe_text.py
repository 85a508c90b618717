"""Words about the user's objects that cannot fail, whatever their `__repr__` and `__str__` do."""

from __future__ import annotations

import reprlib

__all__ = ["describe_error", "safe_repr", "safe_str"]

_short = reprlib.Repr()
_short.maxstring = _short.maxother = _short.maxlong = 200
_short.maxlist = _short.maxtuple = _short.maxdict = _short.maxset = _short.maxfrozenset = 10


def safe_repr(value: object) -> str:
    """`repr(value)`, shortened; its type where that fails."""
    try:
        return _short.repr(value)
    except Exception:  # the user's code
        return f"<{type(value).__qualname__}, whose repr fails>"


def safe_str(value: object) -> str:
    """`str(value)`; its type where that fails."""
    try:
        return str(value)
    except Exception:  # the user's code
        return f"<{type(value).__qualname__}, whose str fails>"


def describe_error(error: BaseException) -> str:
    """Class and message, as the last line of a traceback has them."""
    message = safe_str(error)
    return f"{type(error).__qualname__}: {message}" if message else type(error).__qualname__
