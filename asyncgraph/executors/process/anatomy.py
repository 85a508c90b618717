"""What an exception consists of, and how one is put together without its class's `__init__`.

Three layers: what C code made of the arguments (`OSError.errno`, the members of a group), slots, and
`__dict__`. Taking them off one and putting them on another needs no help from the user's class.
"""

from __future__ import annotations

import contextlib
from types import GetSetDescriptorType, MemberDescriptorType
from typing import Any

__all__ = [
    "Unpicklable",
    "assemble",
    "attributes_of",
    "bare_arguments",
    "c_base",
    "has_own_reduce",
    "link",
    "members_of",
    "restore",
]

_HEAP_TYPE = 1 << 9  # Py_TPFLAGS_HEAPTYPE: made at run time, so not one of the interpreter's own

# Not members of the exception's own: links between exceptions, and what is restored in other ways.
# `obj` is any object that an attribute was looked up on; pickle does not send it either.
_ELSEWHERE = frozenset(
    {
        "__cause__",
        "__context__",
        "__dict__",
        "__suppress_context__",
        "__traceback__",
        "__weakref__",
        "exceptions",
        "obj",
    }
)


class Unpicklable:
    """Stands where an exception had an argument or attribute that could not leave the worker.

    Attributes:
        text: `repr()` of the original, shortened.
    """

    def __init__(self, text: str) -> None:
        self.text = text

    def __repr__(self) -> str:
        return f"Unpicklable({self.text!r})"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Unpicklable) and other.text == self.text

    def __hash__(self) -> int:
        return hash(self.text)


def c_base(kind: type[BaseException]) -> type[BaseException]:
    """The nearest class below `kind` that the interpreter itself defines.

    Along `__base__`, not the MRO: with several bases, it is the one whose `__new__` is safe to call.
    """
    base: type = kind
    while base.__flags__ & _HEAP_TYPE and base.__base__ is not None:
        base = base.__base__
    return base


def has_own_reduce(kind: type[BaseException]) -> bool:
    """Whether a class other than the interpreter's own says how `kind` is pickled, in Python or not."""
    return any(
        next(owner for owner in kind.__mro__ if name in vars(owner)).__module__ != "builtins"
        for name in ("__reduce__", "__reduce_ex__")
    )


def bare_arguments(error: BaseException) -> tuple[Any, ...]:
    """What the C-level base must be called with to make such an error."""
    base = c_base(type(error))
    if issubclass(base, BaseExceptionGroup):
        # Not args[1]: it is whatever sequence the group was made from, and may have changed since.
        return (_read(error, base, "message"), list(_read(error, base, "exceptions")))
    reduced: Any = base.__reduce__(error)
    return tuple(reduced[1])


def assemble(
    kind: type[BaseException], base: type[BaseException], arguments: tuple[Any, ...]
) -> BaseException:
    """Make an instance of `kind` with nothing but its C-level base's constructor."""
    error = base.__new__(kind, *arguments)
    base.__init__(error, *arguments)
    return error


def members_of(error: BaseException) -> dict[str, Any]:
    """What the error keeps outside its `__dict__`: C-level fields, among them `args`, and slots."""
    members: dict[str, Any] = {}
    for kind in type(error).__mro__:
        for name, member in vars(kind).items():
            if isinstance(member, (MemberDescriptorType, GetSetDescriptorType)) and name not in _ELSEWHERE:
                with contextlib.suppress(AttributeError):  # it is not set
                    members.setdefault(name, member.__get__(error))
    return members


def attributes_of(error: BaseException) -> dict[str, Any]:
    """The error's `__dict__`, notes included."""
    return dict(object.__getattribute__(error, "__dict__"))


def restore(error: BaseException, members: dict[str, Any], attributes: dict[str, Any]) -> None:
    """Put members and attributes back, past any `__setattr__` of the user's."""
    for name, value in members.items():
        # None is what an unset C field reads as; set to None, some print themselves differently.
        if value is not None:
            _write(error, name, value)
    object.__getattribute__(error, "__dict__").update(attributes)


def link(error: BaseException, name: str, value: object) -> None:
    """Set `__cause__` or another of the links that every exception has, past the user's `__setattr__`."""
    object.__setattr__(error, name, value)


def _read(error: BaseException, kind: type, name: str) -> Any:
    return vars(kind)[name].__get__(error)


def _write(error: BaseException, name: str, value: Any) -> None:
    for kind in type(error).__mro__:
        member = vars(kind).get(name)
        if isinstance(member, (MemberDescriptorType, GetSetDescriptorType)):
            with contextlib.suppress(AttributeError, TypeError):  # read-only: set by the constructor
                member.__set__(error, value)
            return
